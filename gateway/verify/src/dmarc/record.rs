//! x
/// Alignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alignment {
    /// r
    Relaxed,
    /// s
    Strict,
}
/// psd
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Psd {
    /// y
    Yes,
    /// n
    No,
    /// u
    Unknown,
}
/// fo
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureOptions;
/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record;
/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordProblem;
