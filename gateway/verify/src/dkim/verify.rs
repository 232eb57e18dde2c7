//! x
use super::*;
use crate::{Message, Resolve};
/// The signatures of a message in the order in which they are tried.
#[derive(Debug)]
pub struct Signatures;
impl Signatures {
    /// Reads the DKIM-Signature fields; `from` is the author's domain if there is one.
    #[must_use]
    pub fn parse(message: &Message<'_>, from: Option<&Name>, options: &Options) -> Self { let _ = (message, from, options); Self }
    /// What has to be hashed.
    pub fn body_keys(&self) -> impl Iterator<Item = BodyKey> + '_ { [].into_iter() }
    /// Fetches the keys in parallel and verifies.
    pub async fn verify(&self, resolver: &impl Resolve, keys: &KeyCache, message: &Message<'_>, hashes: &BodyHashes) -> Outcome { let _ = (resolver, keys, message, hashes); Outcome::default() }
}
/// All in one.
pub async fn verify(resolver: &impl Resolve, keys: &KeyCache, message: &Message<'_>, from: Option<&Name>, options: &Options) -> Outcome {
    let s = Signatures::parse(message, from, options);
    let hashes = BodyHashes::compute(message.body(), s.body_keys());
    s.verify(resolver, keys, message, &hashes).await
}
