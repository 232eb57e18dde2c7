//! x
use super::*;
use crate::{BodyHashes, KeyCache, Message, Resolve, dkim::BodyKey};
/// The ARC sets of a message.
#[derive(Debug)]
pub struct Chain;
impl Chain {
    /// Reads the ARC fields.
    #[must_use]
    pub fn parse(message: &Message<'_>) -> Self { let _ = message; Self }
    /// What has to be hashed.
    pub fn body_keys(&self) -> impl Iterator<Item = BodyKey> + '_ { [].into_iter() }
    /// Fetches the keys in parallel and validates.
    pub async fn verify(&self, resolver: &impl Resolve, keys: &KeyCache, message: &Message<'_>, hashes: &BodyHashes) -> Outcome { let _ = (resolver, keys, message, hashes); Outcome { result: ArcResult::None, sets: vec![], oldest_pass: None, problem: None, temporary: false } }
}
