//! From (RFC 5322 §3.6.2): does the message speak for exactly one domain?

use crate::checks::{Concern, Finding};
use postern_verify::from::Author;

/// The check's name.
pub const CHECK: &str = "from";

/// No domain, several, or a field that cannot be read is ambiguous (RFC 9989 §4.4).
#[must_use]
pub fn check(author: &Author) -> Finding {
    match (author.domain(), author.problem()) {
        (Some(domain), _) => Finding::clear(CHECK, "pass", domain.to_string()),
        (None, problem) => {
            let detail = problem.unwrap_or_default();
            Finding::concern(CHECK, "ambiguous", detail, Concern::FromAmbiguous)
        }
    }
}
