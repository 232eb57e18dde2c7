//! Body hashes.
/// Which canonical body is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BodyKey {
    /// `c=`'s body part is `relaxed`.
    pub relaxed: bool,
    /// SHA-1 rather than SHA-256.
    pub sha1: bool,
    /// `l=`, canonical octets.
    pub length: Option<u64>,
}
/// A hash.
#[derive(Debug, Clone, Copy)]
pub struct BodyHash;
/// The hashes of a body, each computed once.
#[derive(Debug, Clone, Default)]
pub struct BodyHashes(Vec<(BodyKey, BodyHash)>);
impl BodyHashes {
    /// Hashes.
    #[must_use]
    pub fn compute(body: &[u8], keys: impl IntoIterator<Item = BodyKey>) -> Self {
        let _ = body;
        Self(keys.into_iter().map(|k| (k, BodyHash)).collect())
    }
}
