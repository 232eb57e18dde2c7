//! Paths and mailboxes (RFC 5321 §4.1.2, RFC 6531 §3.3): parsed once, at the edge.
//!
//! Text goes in, typed paths come out; source routes are dropped (RFC 5321 §3.6.1, appendix C),
//! domains are compared as lower-case A-labels, local parts keep their octets. `FromStr` reads a
//! value that stands alone (in YAML, say), and [`std::fmt::Display`] writes it back as it must be
//! sent, quoted where the grammar asks for it.

mod grammar;

pub(crate) use grammar::{forward_path, reverse_path};

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The longest local part, octets without quoting (RFC 5321 §4.5.3.1.1).
pub const MAX_LOCAL_PART: usize = 64;
/// The longest domain, octets (RFC 5321 §4.5.3.1.2).
pub const MAX_DOMAIN: usize = 255;
/// The longest path, octets, with its angle brackets (RFC 5321 §4.5.3.1.3).
pub const MAX_PATH: usize = 256;

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
///
/// `==` is exact. To ask whether two mailboxes are the same for routing and policy compare their
/// [`Mailbox::key`]s.
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

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AddressError {
    /// There is no `<`, or no `>` that ends the path.
    #[error("the address must stand between < and >")]
    AngleBrackets,
    /// Something follows where the address should have ended.
    #[error("there is text after the address")]
    TrailingText,
    /// The source route does not end in a colon, or holds something else than `@domain`.
    #[error("malformed source route")]
    SourceRoute,
    /// The local part is neither a dot-string nor a quoted string (RFC 5321 §4.1.2).
    #[error("malformed local part")]
    LocalPart,
    /// The local part has more than [`MAX_LOCAL_PART`] octets.
    #[error("the local part is longer than 64 octets")]
    LocalPartTooLong,
    /// There is no `@` and domain.
    #[error("the domain is missing")]
    DomainMissing,
    /// The domain is not by the grammar, or is no valid internationalised name.
    #[error("malformed domain")]
    Domain,
    /// The domain has more than [`MAX_DOMAIN`] octets, or a label has more than 63.
    #[error("the domain or one of its labels is too long")]
    DomainTooLong,
    /// Neither an IPv4 address nor `IPv6:` and an IPv6 address stands between the brackets.
    #[error("malformed address literal")]
    Literal,
    /// The whole path has more than [`MAX_PATH`] octets.
    #[error("the path is longer than 256 octets")]
    PathTooLong,
    /// Octets above 127, and SMTPUTF8 was not asked for (RFC 6531 §3.5).
    #[error("a non-ASCII address needs the parameter SMTPUTF8")]
    NonAscii,
}

impl Mailbox {
    /// What mailboxes are compared by: the local part with ASCII letters in lower case, `@`, the
    /// domain as A-labels. RFC 5321 §2.4 leaves the case of a local part to its host, and hosts
    /// where it matters are hardly left. It is not an address to send to.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}@{}", self.local_part.to_ascii_lowercase(), self.domain)
    }

    /// Whether `local_part` (without quoting) names the same local part: ASCII letters compare
    /// without case, all else by its octets.
    #[must_use]
    pub fn matches_local(&self, local_part: &str) -> bool {
        self.local_part.eq_ignore_ascii_case(local_part)
    }

    /// Whether the mailbox can be sent as it came without SMTPUTF8.
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        self.local_part.is_ascii() && self.domain_as_sent.is_ascii()
    }

    /// The mailbox for a receiver without SMTPUTF8: its domain as A-labels; none if the local part
    /// is not ASCII (RFC 6531 §3.2).
    #[must_use]
    pub fn to_ascii(&self) -> Option<String> {
        let domain = &self.domain;
        self.local_part
            .is_ascii()
            .then(|| format!("{}@{domain}", self.local()))
    }

    /// The local part as it is sent.
    fn local(&self) -> grammar::Local<'_> {
        grammar::Local(&self.local_part)
    }
}

impl ForwardPath {
    /// Whether this is the postmaster of some domain, or of ours (RFC 5321 §4.5.1).
    #[must_use]
    pub fn is_postmaster(&self) -> bool {
        match self {
            Self::Postmaster => true,
            Self::Mailbox(mailbox) => mailbox.matches_local("postmaster"),
        }
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(name) => f.write_str(name),
            Self::Literal(address) => grammar::write_literal(*address, f),
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Literal(address) => grammar::write_literal(*address, f),
        }
    }
}

impl fmt::Display for Mailbox {
    /// As it is sent: quoted where it must be, the domain as it came.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local(), self.domain_as_sent)
    }
}

impl fmt::Display for ReversePath {
    /// With its angle brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<>"),
            Self::Mailbox(mailbox) => write!(f, "<{mailbox}>"),
        }
    }
}

impl fmt::Display for ForwardPath {
    /// With its angle brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postmaster => f.write_str("<postmaster>"),
            Self::Mailbox(mailbox) => write!(f, "<{mailbox}>"),
        }
    }
}

impl FromStr for ClientName {
    type Err = AddressError;

    /// Reads a domain name (ASCII, RFC 5321 §2.3.5; an underscore is taken for a letter) or an
    /// address literal.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        // RFC 6531 §3.7.1: what EHLO carries was sent before any extension was agreed on.
        if !text.is_ascii() {
            return Err(AddressError::Domain);
        }
        match grammar::client_name(text)? {
            Domain::Name(name) => Ok(Self::Domain(name)),
            Domain::Literal(address) => Ok(Self::Literal(address)),
        }
    }
}

impl FromStr for Domain {
    type Err = AddressError;

    /// Reads a domain name, U-labels included, or an address literal.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        grammar::domain(text)
    }
}

impl FromStr for Mailbox {
    type Err = AddressError;

    /// Reads `local-part@domain` without angle brackets; non-ASCII is taken.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        grammar::mailbox_alone(text)
    }
}

#[cfg(test)]
mod tests;
