//! `access.senders`: is this reverse-path one that we take mail from?

use crate::checks::{Concern, Finding, pattern};
use postern_config::policy::SenderAccess;
use postern_smtp::address::ReversePath;

/// The check's name.
pub const CHECK: &str = "access.senders";

/// Deny wins; a non-empty allow refuses all others. The null reverse-path passes: bounces and
/// callouts come with it (RFC 5321 §4.5.5), and no pattern can name it.
#[must_use]
pub fn check(reverse_path: &ReversePath, access: &SenderAccess) -> Finding {
    let ReversePath::Mailbox(mailbox) = reverse_path else {
        return Finding::clear(CHECK, "pass", "");
    };
    let matches = |list: &[_]| {
        list.iter()
            .any(|pattern| pattern::mailbox(pattern, mailbox))
    };
    if matches(&access.deny) {
        let detail = format!("a sender in {} is denied", mailbox.domain);
        return Finding::concern(CHECK, "denied", detail, Concern::SenderDenied);
    }
    if !access.allow.is_empty() && !matches(&access.allow) {
        let detail = format!("a sender in {} is not among those allowed", mailbox.domain);
        return Finding::concern(CHECK, "denied", detail, Concern::SenderDenied);
    }
    Finding::clear(CHECK, "pass", "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_config::policy::AddressPattern;

    #[test]
    fn deny_allow_and_the_null_path() {
        let access = SenderAccess {
            allow: vec![AddressPattern::Domain("good.test".into())],
            deny: vec![AddressPattern::Address("spam@good.test".into())],
        };
        let from = |text: &str| ReversePath::Mailbox(text.parse().unwrap());
        assert_eq!(check(&from("a@good.test"), &access).concern, None);
        assert_eq!(
            check(&from("SPAM@good.test"), &access).concern,
            Some(Concern::SenderDenied)
        );
        assert_eq!(
            check(&from("a@other.test"), &access).concern,
            Some(Concern::SenderDenied)
        );
        assert_eq!(check(&ReversePath::Null, &access).concern, None);
    }
}
