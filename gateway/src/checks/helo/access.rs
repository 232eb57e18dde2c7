//! `access.helo`: is the name in HELO or EHLO one that we talk to?

use crate::checks::{Concern, Finding, pattern};
use postern_config::policy::HeloAccess;
use postern_smtp::address::ClientName;

/// The check's name.
pub const CHECK: &str = "access.helo";

/// A denied name is refused; with `requireFqdn` also one without a dot that is no address literal.
#[must_use]
pub fn check(name: &ClientName, access: &HeloAccess) -> Finding {
    let ClientName::Domain(domain) = name else {
        return Finding::clear(CHECK, "pass", "");
    };
    if access
        .deny
        .iter()
        .any(|pattern| pattern::domain(pattern, domain))
    {
        let detail = format!("{domain} is denied");
        return Finding::concern(CHECK, "denied", detail, Concern::HeloDenied);
    }
    if access.require_fqdn && !domain.contains('.') {
        let detail = format!("{domain} is not fully qualified");
        return Finding::concern(CHECK, "denied", detail, Concern::HeloNotFqdn);
    }
    Finding::clear(CHECK, "pass", "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_config::policy::DomainPattern;

    #[test]
    fn denied_names_and_names_without_a_dot() {
        let deny = vec![DomainPattern::Domain("localhost.test".into())];
        let access = HeloAccess {
            require_fqdn: true,
            deny,
        };
        let concern = |name: &str| check(&name.parse().unwrap(), &access).concern;
        assert_eq!(concern("LOCALHOST.test"), Some(Concern::HeloDenied));
        assert_eq!(concern("friend"), Some(Concern::HeloNotFqdn));
        assert_eq!(concern("mx.friend.test"), None);
        assert_eq!(concern("[192.0.2.1]"), None);
    }
}
