//! `access.recipients`: is this forward-path closed?

use crate::checks::{Concern, Finding, pattern};
use postern_config::policy::RecipientAccess;
use postern_smtp::address::Mailbox;

/// The check's name.
pub const CHECK: &str = "access.recipients";

/// A denied mailbox is refused. (`<postmaster>` without a domain is never asked about here: RFC
/// 5321 §4.5.1 has its mail taken.)
#[must_use]
pub fn check(mailbox: &Mailbox, access: &RecipientAccess) -> Finding {
    if access
        .deny
        .iter()
        .any(|pattern| pattern::mailbox(pattern, mailbox))
    {
        let detail = format!("a recipient in {} is denied", mailbox.domain);
        return Finding::concern(CHECK, "denied", detail, Concern::RecipientDenied);
    }
    Finding::clear(CHECK, "pass", "")
}
