//! iprev (RFC 8601 §2.7.3): does the client's address have a name that leads back to it?
//!
//! An address goes in; the names are asked for by PTR, at most ten of them are looked up, and an
//! [`Outcome`] comes out.

use crate::name::Name;
use crate::resolve::{DnsError, Resolve};
use std::fmt;
use std::net::IpAddr;

/// Names of an address that are looked up (RFC 7208 §4.6.4 has the same bound).
const MAX_NAMES: usize = 10;

/// Results of iprev (RFC 8601 §2.7.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IprevResult {
    /// A name leads back to the address.
    Pass,
    /// The address has names, but none leads back.
    Fail,
    /// A question to DNS has no answer now.
    TempError,
    /// The address has no name.
    PermError,
}

impl IprevResult {
    /// The word for Authentication-Results, lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

impl fmt::Display for IprevResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What [`check`] found. RFC 7372 §3.3: a refusal for it carries 5.7.25.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The result.
    pub result: IprevResult,
    /// The address, IPv4-mapped ones as IPv4.
    pub address: IpAddr,
    /// The name that leads back to it.
    pub name: Option<Name>,
    /// What was wrong.
    pub problem: Option<String>,
}

/// Looks the address up, backwards and forwards.
pub async fn check(resolver: &impl Resolve, address: IpAddr) -> Outcome {
    let address = address.to_canonical();
    let outcome = |result, name, problem: Option<String>| Outcome {
        result,
        address,
        name,
        problem,
    };
    let names = match resolver.ptr(address).await {
        Ok(names) => names,
        Err(DnsError::NoRecords { .. }) => {
            return outcome(
                IprevResult::PermError,
                None,
                Some("the address has no name".into()),
            );
        }
        Err(error) => {
            return outcome(IprevResult::TempError, None, Some(format!("PTR: {error}")));
        }
    };
    let mut unknown = None;
    for name in names.iter().take(MAX_NAMES) {
        match leads_to(resolver, name, address).await {
            Ok(true) => return outcome(IprevResult::Pass, Some(name.clone()), None),
            Err(error) if error.is_temporary() => unknown = Some(format!("{name}: {error}")),
            Ok(false) | Err(_) => {}
        }
    }
    match unknown {
        Some(problem) => outcome(IprevResult::TempError, None, Some(problem)),
        None => outcome(
            IprevResult::Fail,
            None,
            Some("no name of the address leads back to it".into()),
        ),
    }
}

async fn leads_to(resolver: &impl Resolve, name: &Name, address: IpAddr) -> Result<bool, DnsError> {
    match address {
        IpAddr::V4(v4) => Ok(resolver.a(name).await?.contains(&v4)),
        IpAddr::V6(v6) => Ok(resolver.aaaa(name).await?.contains(&v6)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::Zone;

    async fn result(zone: &str, address: &str) -> Outcome {
        check(&Zone::parse(zone).unwrap(), address.parse().unwrap()).await
    }

    #[tokio::test]
    async fn names_that_lead_back() {
        let zone = "192.0.2.1 PTR other.test\n192.0.2.1 PTR mail.test\nmail.test A 192.0.2.1\n\
                    2001:db8::1 PTR six.test\nsix.test AAAA 2001:db8::1";
        let outcome = result(zone, "::ffff:192.0.2.1").await;
        assert_eq!(outcome.result, IprevResult::Pass);
        assert_eq!(outcome.name, Some(Name::parse("mail.test").unwrap()));
        assert_eq!(result(zone, "2001:db8::1").await.result, IprevResult::Pass);
    }

    #[tokio::test]
    async fn names_that_do_not() {
        let zone = "192.0.2.1 PTR mail.test\nmail.test A 192.0.2.2\n\
                    192.0.2.3 PTR slow.test\nslow.test TIMEOUT\n192.0.2.4 SERVFAIL";
        assert_eq!(result(zone, "192.0.2.1").await.result, IprevResult::Fail);
        assert_eq!(
            result(zone, "192.0.2.9").await.result,
            IprevResult::PermError
        );
        assert_eq!(
            result(zone, "192.0.2.3").await.result,
            IprevResult::TempError
        );
        assert_eq!(
            result(zone, "192.0.2.4").await.result,
            IprevResult::TempError
        );
    }

    #[tokio::test]
    async fn at_most_ten_names() {
        let mut zone: String = (0..10)
            .map(|n| format!("192.0.2.1 PTR n{n}.test\n"))
            .collect();
        zone.push_str("192.0.2.1 PTR mail.test\nmail.test A 192.0.2.1");
        assert_eq!(result(&zone, "192.0.2.1").await.result, IprevResult::Fail);
    }
}
