//! ARC (RFC 8617): is the record of those who handled the message before whole?

use crate::checks::{Concern, Finding};
use postern_verify::arc::{ArcResult, Outcome};

/// The check's name.
pub const CHECK: &str = "arc";

/// A broken chain raises no concern of its own: it says no more than none (RFC 8617 §5.2).
#[must_use]
pub fn check(outcome: &Outcome) -> Finding {
    let concern =
        (outcome.result == ArcResult::Fail && outcome.temporary).then_some(Concern::ArcTempError);
    let detail = match (&outcome.problem, outcome.last_sealer()) {
        (Some(problem), _) => problem.clone(),
        (None, Some(sealer)) => sealer.to_string(),
        (None, None) => String::new(),
    };
    Finding {
        check: CHECK,
        result: outcome.result.as_str(),
        detail,
        concern,
    }
}
