//! Which snapshot is in use, since when, and which one was refused.

use super::Runtime;
use arc_swap::ArcSwapOption;
use postern_config::configz::{Applied, MAX_REASON, Rejected};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The snapshot in use; sessions read it at MAIL, without a lock.
#[derive(Default)]
pub struct State {
    current: ArcSwapOption<Runtime>,
    report: Mutex<Report>,
}

#[derive(Default)]
struct Report {
    applied: Option<Applied>,
    rejected: Option<Rejected>,
}

impl State {
    /// The snapshot in use; none before the first.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Runtime>> {
        self.current.load_full()
    }

    /// What is in use since when, and what was refused last.
    #[must_use]
    pub fn report(&self) -> (Option<Applied>, Option<Rejected>) {
        let report = self.locked();
        (report.applied.clone(), report.rejected.clone())
    }

    /// Swaps a compiled snapshot in.
    pub(crate) fn set(&self, runtime: Arc<Runtime>) {
        let applied = Applied {
            hash: runtime.hash.to_string(),
            generation: runtime.generation,
            applied_at: jiff::Timestamp::now().to_string(),
        };
        tracing::info!(
            hash = postern_config::chunks::short(&applied.hash),
            generation = applied.generation,
            "snapshot applied"
        );
        self.current.store(Some(runtime));
        *self.locked() = Report {
            applied: Some(applied),
            rejected: None,
        };
    }

    /// Notes that a snapshot was refused; the one in use stays.
    pub(crate) fn reject(&self, hash: &str, generation: u64, reason: &str) {
        let reason = cut(reason, MAX_REASON);
        tracing::warn!(
            hash = postern_config::chunks::short(hash),
            generation,
            reason,
            "snapshot rejected"
        );
        let rejected = Rejected {
            hash: hash.to_owned(),
            generation,
            reason: reason.to_owned(),
        };
        self.locked().rejected = Some(rejected);
    }

    fn locked(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The text up to `octets`, not in the middle of a character.
fn cut(text: &str, octets: usize) -> &str {
    text.get(..text.floor_char_boundary(octets)).unwrap_or(text)
}
