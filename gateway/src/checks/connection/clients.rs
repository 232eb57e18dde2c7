//! `access.clients`: may this address connect at all?

use crate::checks::{Concern, Finding};
use ipnet::IpNet;
use postern_config::policy::ClientAccess;
use std::net::IpAddr;

/// The check's name.
pub const CHECK: &str = "access.clients";

/// Deny wins; a non-empty allow refuses all others. `client` is canonical: an IPv4-mapped address
/// is meant as IPv4.
#[must_use]
pub fn check(client: IpAddr, access: &ClientAccess) -> Finding {
    let within = |networks: &[IpNet]| networks.iter().find(|n| n.contains(&client)).copied();
    if let Some(network) = within(&access.deny) {
        let detail = format!("{client} is in {network}");
        return Finding::concern(CHECK, "denied", detail, Concern::ClientDenied);
    }
    if !access.allow.is_empty() && within(&access.allow).is_none() {
        let detail = format!("{client} is in no network that is allowed");
        return Finding::concern(CHECK, "denied", detail, Concern::ClientDenied);
    }
    Finding::clear(CHECK, "pass", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(allow: &[&str], deny: &[&str]) -> ClientAccess {
        let nets = |list: &[&str]| list.iter().map(|n| n.parse().unwrap()).collect();
        ClientAccess {
            allow: nets(allow),
            deny: nets(deny),
        }
    }

    fn result(client: &str, access: &ClientAccess) -> &'static str {
        check(client.parse().unwrap(), access).result
    }

    #[test]
    fn deny_wins_over_allow() {
        let access = access(&["192.0.2.0/24"], &["192.0.2.8/32"]);
        assert_eq!(result("192.0.2.7", &access), "pass");
        assert_eq!(result("192.0.2.8", &access), "denied");
        assert_eq!(result("198.51.100.1", &access), "denied");
    }

    #[test]
    fn without_lists_all_may_come() {
        assert_eq!(result("2001:db8::1", &access(&[], &[])), "pass");
    }
}
