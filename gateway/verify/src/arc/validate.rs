//! x
use super::*;
use crate::{BodyHashes, KeyCache, Message, Resolve};
/// All in one.
pub async fn verify(resolver: &impl Resolve, keys: &KeyCache, message: &Message<'_>) -> Outcome {
    let c = Chain::parse(message);
    let hashes = BodyHashes::compute(message.body(), c.body_keys());
    c.verify(resolver, keys, message, &hashes).await
}
