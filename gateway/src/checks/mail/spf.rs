//! SPF (RFC 7208): may this client send for the reverse-path's domain?
//!
//! The lookup begins at MAIL; what follows from its result is decided once the recipients and
//! with them the policy are known.

use crate::checks::{Concern, Finding};
use postern_verify::spf::{Outcome, SpfResult};

/// The check's name.
pub const CHECK: &str = "spf";

/// What SPF says. `forwarder` names the trusted forwarder whose mail is not held to it.
#[must_use]
pub fn check(outcome: &Outcome, forwarder: Option<&str>) -> Finding {
    let concern = match outcome.result {
        SpfResult::Pass | SpfResult::None | SpfResult::Neutral => None,
        SpfResult::Fail => Some(Concern::SpfFail),
        SpfResult::SoftFail => Some(Concern::SpfSoftFail),
        SpfResult::TempError => Some(Concern::SpfTempError),
        SpfResult::PermError => Some(Concern::SpfPermError),
    };
    let mut detail = outcome
        .domain
        .as_ref()
        .map_or_else(String::new, ToString::to_string);
    // The domain's explanation stays out: its macros may hold the sender's whole address.
    for more in [&outcome.mechanism, &outcome.problem].into_iter().flatten() {
        detail.push_str(if detail.is_empty() { "" } else { ": " });
        detail.push_str(more);
    }
    let concern = match forwarder {
        Some(forwarder) if concern.is_some() => {
            detail = format!("{detail} (trusted forwarder {forwarder})");
            None
        }
        _ => concern,
    };
    Finding {
        check: CHECK,
        result: outcome.result.as_str(),
        detail,
        concern,
    }
}
