//! Paths and mailboxes (RFC 5321 §4.1.2, RFC 6531 §3.3): parsed once, at the edge.
//!
//! Text goes in, typed paths come out; source routes are dropped (RFC 5321 §3.6.1, appendix C),
//! domains are compared as lower-case A-labels, local parts keep their octets.

use std::net::IpAddr;

/// The client's name in HELO or EHLO (RFC 5321 §4.1.1.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ClientName {
    /// A domain name, lower case, A-labels.
    Domain(String),
    /// An address literal, `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 §4.1.3).
    Literal(IpAddr),
}

/// What stands behind the `@` of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Domain {
    /// A domain name as lower-case A-labels (RFC 5891), without a trailing dot.
    Name(String),
    /// An address literal (RFC 5321 §4.1.3).
    Literal(IpAddr),
}

/// One mailbox, `Local-part "@" ( Domain / address-literal )`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mailbox {
    /// The local part without quoting or escapes, its octets as sent; at most 64 octets.
    pub local_part: String,
    /// The domain; at most 255 octets.
    pub domain: Domain,
    /// The domain as the client wrote it (U-labels kept), for the way onward.
    pub domain_as_sent: String,
}

/// MAIL FROM's argument (RFC 5321 §4.1.1.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`, the null reverse-path of bounces.
    Null,
    /// `<local-part@domain>`.
    Mailbox(Mailbox),
}

/// RCPT TO's argument (RFC 5321 §4.1.1.3).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ForwardPath {
    /// `<postmaster>` without a domain, in any case (RFC 5321 §4.5.1).
    Postmaster,
    /// `<local-part@domain>`.
    Mailbox(Mailbox),
}
