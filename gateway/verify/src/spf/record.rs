//! What an SPF record says, once it was parsed (RFC 7208 §4.6.1, §5, §6).

use super::macros::MacroString;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A record whose syntax is right as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// In the order in which they are evaluated.
    pub(super) directives: Vec<Directive>,
    /// `redirect=` (§6.1).
    pub(super) redirect: Option<MacroString>,
    /// `exp=` (§6.2).
    pub(super) exp: Option<MacroString>,
}

/// A qualifier and a mechanism.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directive {
    pub(super) qualifier: Qualifier,
    pub(super) mechanism: Mechanism,
    /// As it stands in the record.
    pub(super) text: Box<str>,
}

/// What a match means (§4.6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Qualifier {
    Pass,
    Fail,
    SoftFail,
    Neutral,
}

/// §5.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mechanism {
    /// Another record is evaluated (§5.2).
    Include(MacroString),
    /// The client is held against something.
    Test(Test),
}

/// The mechanisms that need no other record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Test {
    All,
    A {
        domain: Option<MacroString>,
        cidr: DualCidr,
    },
    Mx {
        domain: Option<MacroString>,
        cidr: DualCidr,
    },
    Ptr(Option<MacroString>),
    Ip4 {
        network: Ipv4Addr,
        prefix: u8,
    },
    Ip6 {
        network: Ipv6Addr,
        prefix: u8,
    },
    Exists(MacroString),
}

/// Prefix lengths of `a` and `mx` (§5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DualCidr {
    pub(super) v4: u8,
    pub(super) v6: u8,
}

/// Whether both addresses have the same first `prefix` bits.
pub(super) fn same_network_v4(a: Ipv4Addr, b: Ipv4Addr, prefix: u8) -> bool {
    let differ = u32::from(a) ^ u32::from(b);
    // A shift by all bits, for the prefix 0, leaves nothing to differ.
    differ
        .checked_shr(32 - u32::from(prefix.min(32)))
        .unwrap_or(0)
        == 0
}

/// Whether both addresses have the same first `prefix` bits.
pub(super) fn same_network_v6(a: Ipv6Addr, b: Ipv6Addr, prefix: u8) -> bool {
    let differ = u128::from(a) ^ u128::from(b);
    differ
        .checked_shr(128 - u32::from(prefix.min(128)))
        .unwrap_or(0)
        == 0
}
