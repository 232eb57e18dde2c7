//! Every write to the API server passes here, so that a test can end an operator between any two.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many writes may still be made.
#[derive(Debug, Default)]
pub struct Writes(Option<AtomicUsize>);

/// No further write may be made: what a kill would have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ended between two writes")]
pub struct Ended;

impl Writes {
    /// As many as it takes.
    #[must_use]
    pub fn unlimited() -> Self {
        Self(None)
    }

    /// So many, and then [`Ended`].
    #[must_use]
    pub fn at_most(writes: usize) -> Self {
        Self(Some(AtomicUsize::new(writes)))
    }

    /// Asks for one write.
    ///
    /// # Errors
    /// [`Ended`] when there are no more.
    pub fn one(&self) -> Result<(), Ended> {
        let Some(left) = &self.0 else { return Ok(()) };
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        })
        .map(|_| ())
        .map_err(|_| Ended)
    }
}
