//! Keys.
/// A parsed key record.
#[derive(Debug)]
pub struct Key;
/// Why not.
#[derive(Debug)]
pub struct KeyProblem;
/// Parsed keys by their record; share it between messages.
#[derive(Debug)]
pub struct KeyCache;
impl KeyCache {
    /// Keeps as many.
    #[must_use]
    pub fn new(entries: u64) -> Self { let _ = entries; Self }
}
