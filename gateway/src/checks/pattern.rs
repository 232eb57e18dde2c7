//! Whether a name or a mailbox is meant by a pattern of a policy.
//!
//! Compiled patterns are lower case and A-labels; what is compared with them is brought to the
//! same form by [`postern_smtp::address`].

use postern_config::policy::{AddressPattern, DomainPattern};
use postern_smtp::address::{Domain, Mailbox};

/// Whether `name` (lower-case A-labels) is meant.
#[must_use]
pub fn domain(pattern: &DomainPattern, name: &str) -> bool {
    match pattern {
        DomainPattern::Domain(domain) => name == domain,
        DomainPattern::Wildcard(domain) => is_below(name, domain),
    }
}

/// Whether the mailbox is meant. Local parts compare ASCII case-insensitively.
#[must_use]
pub fn mailbox(pattern: &AddressPattern, mailbox: &Mailbox) -> bool {
    let Domain::Name(name) = &mailbox.domain else {
        // An address literal belongs to no domain; it can only be named as a whole, or by `*`.
        return match pattern {
            AddressPattern::Address(address) => *address == mailbox.key(),
            AddressPattern::Any => true,
            AddressPattern::Domain(_) | AddressPattern::Wildcard(_) => false,
        };
    };
    match pattern {
        AddressPattern::Address(address) => address
            .rsplit_once('@')
            .is_some_and(|(local, at)| at == name && mailbox.matches_local(local)),
        AddressPattern::Domain(domain) => name == domain,
        AddressPattern::Wildcard(domain) => is_below(name, domain),
        AddressPattern::Any => true,
    }
}

/// Whether `name` stands below `domain`, at any depth; a domain is not below itself.
fn is_below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain)
        .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Mailbox {
        text.parse().unwrap()
    }

    #[test]
    fn a_wildcard_means_all_below_and_not_itself() {
        let pattern = DomainPattern::Wildcard("spam.test".into());
        assert!(domain(&pattern, "a.spam.test"));
        assert!(domain(&pattern, "a.b.spam.test"));
        assert!(!domain(&pattern, "spam.test"));
        assert!(!domain(&pattern, "notspam.test"));
        assert!(!domain(&pattern, ".spam.test"));
    }

    #[test]
    fn local_parts_compare_without_case_and_domains_as_a_labels() {
        let pattern = AddressPattern::Address("bob@xn--bcher-kva.test".into());
        assert!(mailbox(&pattern, &address("BOB@b\u{fc}cher.test")));
        assert!(!mailbox(&pattern, &address("bobby@b\u{fc}cher.test")));
        assert!(mailbox(
            &AddressPattern::Domain("a.test".into()),
            &address("x@A.TEST")
        ));
        assert!(!mailbox(
            &AddressPattern::Domain("a.test".into()),
            &address("x@b.a.test")
        ));
        assert!(mailbox(
            &AddressPattern::Wildcard("a.test".into()),
            &address("x@b.a.test")
        ));
    }

    #[test]
    fn an_address_literal_belongs_to_no_domain() {
        let literal = address("x@[192.0.2.1]");
        assert!(!mailbox(
            &AddressPattern::Domain("192.0.2.1".into()),
            &literal
        ));
        assert!(mailbox(
            &AddressPattern::Address("x@[192.0.2.1]".into()),
            &literal
        ));
    }
}
