//! What a command fails with, for a person to read.

/// Why a command ended without having done its job.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The arguments or files are not usable: exit status 1, the text says what to change.
    #[error("{0}")]
    Usage(String),
    /// Something did not work: exit status 1.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// A failure with what was being done and why it did not work.
    pub fn failed(doing: &str, why: impl std::fmt::Display) -> Self {
        Self::Failed(format!("{doing}: {why}"))
    }
}
