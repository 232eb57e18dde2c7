//! IP networks and name servers.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;

use super::name::domain;
use super::{DomainName, ScalarError, string_scalar};
use crate::cel::value_rule;
use crate::defaults::DNS_PORT;

/// A network in CIDR notation, with no bit set behind its prefix (RFC 4632 §3.1): `10.0.0.0/8`,
/// `2001:db8::/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr(IpNet);

string_scalar!(Cidr, max_length: 43, pattern: "^[0-9A-Fa-f.:]+/[0-9]{1,3}$", rules: [value_rule(
    "isCIDR(self) && cidr(self).masked() == cidr(self)",
    "must be a network such as 192.0.2.0/24 or 2001:db8::/32, with no bits behind the prefix",
)]);

impl Cidr {
    /// The network.
    #[must_use]
    pub const fn get(self) -> IpNet {
        self.0
    }
}

impl FromStr for Cidr {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let expected =
            "a network such as 192.0.2.0/24 or 2001:db8::/32 (no bits behind the prefix)";
        match text.parse::<IpNet>() {
            Ok(net) if net.trunc() == net && !is_mapped(net.addr()) => Ok(Self(net)),
            _ => Err(ScalarError::new(text, expected)),
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// IPv4-mapped IPv6 (`::ffff:192.0.2.1`) is IPv4 in disguise: an API server refuses it, and so do
/// we, since a list of networks would otherwise have two spellings of one.
fn is_mapped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

/// A DNS server by its IP address, with a port where it is not 53: `10.96.0.10`,
/// `127.0.0.1:5353`, `[2001:db8::53]:53`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nameserver(SocketAddr);

/// A port, 1 to 65535.
const PORT: &str =
    "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";

string_scalar!(
    Nameserver,
    max_length: 53,
    pattern: format!("^([0-9.]+(:{PORT})?|[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*|\\[[0-9A-Fa-f:.]+\\]:{PORT})$"),
    rules: [value_rule(
        "isIP(self.matches('^[0-9.]+:[0-9]+$') ? self.split(':')[0] : \
         self.startsWith('[') ? self.substring(1, self.indexOf(']')) : self)",
        "must be an IP address, with a port where it is not 53: 10.96.0.10, 127.0.0.1:5353 or \
         [2001:db8::53]:53",
    )]
);

impl Nameserver {
    /// Where to send the queries.
    #[must_use]
    pub const fn get(self) -> SocketAddr {
        self.0
    }
}

impl FromStr for Nameserver {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let with_port = text.parse::<SocketAddr>();
        let address = with_port.or_else(|_| Ok((text.parse::<IpAddr>()?, DNS_PORT).into()));
        match address {
            Ok(address) if address.port() != 0 && !is_mapped(address.ip()) => Ok(Self(address)),
            Ok(_) | Err::<_, std::net::AddrParseError>(_) => Err(ScalarError::new(
                text,
                "a name server such as 10.96.0.10, 127.0.0.1:5353 or [2001:db8::53]:53",
            )),
        }
    }
}

impl fmt::Display for Nameserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A machine by its domain name or its IP address (an IPv6 address stands without brackets).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// To be looked up.
    Name(DomainName),
    /// To be used as it is.
    Ip(IpAddr),
}

string_scalar!(
    Host,
    max_length: 253,
    pattern: concat!(
        "^([0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9A-Fa-f]*:[0-9A-Fa-f.:]+|", domain!(), ")$"
    ),
    rules: [value_rule(
        "!self.matches('^[0-9.]+$|:') || isIP(self)",
        "must be a host such as mail.example.com, 192.0.2.1 or 2001:db8::1",
    )]
);

impl FromStr for Host {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let expected = "a host such as mail.example.com, 192.0.2.1 or 2001:db8::1";
        match text.parse::<IpAddr>() {
            Ok(ip) if is_mapped(ip) => Err(ScalarError::new(text, expected)),
            Ok(ip) => Ok(Self::Ip(ip)),
            Err(_) => text
                .parse()
                .map(Self::Name)
                .map_err(|_| ScalarError::new(text, expected)),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}
