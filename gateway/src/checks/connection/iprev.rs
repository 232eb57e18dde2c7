//! iprev (RFC 8601 §2.7.3): does the client's address have a name that leads back to it?

use crate::checks::{Concern, Finding};
use postern_verify::iprev::{IprevResult, Outcome};

/// The check's name.
pub const CHECK: &str = "iprev";

/// What the lookup says about the client.
#[must_use]
pub fn check(outcome: &Outcome) -> Finding {
    let concern = match outcome.result {
        IprevResult::Pass => None,
        // An address without a name fails like one whose names lead elsewhere (RFC 7372 §3.3).
        IprevResult::Fail | IprevResult::PermError => Some(Concern::IprevFail),
        IprevResult::TempError => Some(Concern::IprevTempError),
    };
    let detail = match (&outcome.name, &outcome.problem) {
        (Some(name), _) => name.to_string(),
        (None, Some(problem)) => problem.clone(),
        (None, None) => String::new(),
    };
    Finding {
        check: CHECK,
        result: outcome.result.as_str(),
        detail,
        concern,
    }
}
