//! Mail addresses, and patterns that mean some of them.

use std::fmt;
use std::str::FromStr;

use super::name::domain;
use super::{DomainName, ScalarError, string_scalar};
use crate::cel::value_rule;

/// The local part of an address that needs no quotes: a dot-string (RFC 5321 §4.1.2), where
/// characters beyond US-ASCII are allowed too (RFC 6531 §3.3).
macro_rules! local_part {
    () => {
        "[^\\x00-\\x20\\x7f\"(),.:;<>@\\[\\]\\\\*]+(\\.[^\\x00-\\x20\\x7f\"(),.:;<>@\\[\\]\\\\*]+)*"
    };
}

/// A mailbox: a local part that needs no quotes, `@`, and a domain name. Both are kept in lower
/// case as far as ASCII goes, since that is how we compare them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EmailAddress {
    local_part: String,
    domain: DomainName,
}

/// Octets of a local part (RFC 5321 §4.5.3.1.1).
const LOCAL_PART: usize = 64;

/// What the parser says of a longer one.
const SHORT_ENOUGH: &str = "an address with at most 64 octets before the @";

/// The rule's message. A pattern counts characters, and the limit is in octets.
const TOO_LONG: &str = "must have at most 64 octets before the @";

string_scalar!(
    EmailAddress,
    max_length: 254,
    pattern: concat!("^", local_part!(), "@", domain!(), "$"),
    rules: [value_rule("bytes(self.split('@')[0]).size() <= 64", TOO_LONG)]
);

impl EmailAddress {
    /// What stands before the `@`, ASCII letters in lower case.
    #[must_use]
    pub fn local_part(&self) -> &str {
        &self.local_part
    }

    /// What stands after the `@`.
    #[must_use]
    pub fn domain(&self) -> &DomainName {
        &self.domain
    }
}

impl FromStr for EmailAddress {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let error = || ScalarError::new(text, "an address such as postmaster@example.com");
        let (local_part, domain) = text.split_once('@').ok_or_else(error)?;
        // RFC 5321 §4.5.3.1.3: 256 with the angle brackets; §4.5.3.1.1: 64 octets of local part.
        if text.chars().count() > 254 || !is_dot_string(local_part) {
            return Err(error());
        }
        if local_part.len() > LOCAL_PART {
            return Err(ScalarError::new(text, SHORT_ENOUGH));
        }
        let domain = domain.parse().map_err(|_| error())?;
        Ok(Self {
            local_part: local_part.to_ascii_lowercase(),
            domain,
        })
    }
}

/// RFC 5321 §4.1.2 with RFC 6531 §3.3; an asterisk is an atom there, and a wildcard here.
fn is_dot_string(local_part: &str) -> bool {
    let is_atext = |c: char| !matches!(c, '\0'..=' ' | '\x7f') && !"\"(),.:;<>@[]\\*".contains(c);
    local_part
        .split('.')
        .all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local_part, self.domain)
    }
}

/// Some addresses: one, all of a domain, all of the domains below one, or all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressPattern {
    /// `ops@example.com`: this address alone.
    Address(EmailAddress),
    /// `example.com`, also written `*@example.com`: all addresses of this domain.
    Domain(DomainName),
    /// `*.example.com`, also written `*@*.example.com`: all addresses of all domains below this one,
    /// at any depth.
    Below(DomainName),
    /// `*`: every address.
    Any,
}

string_scalar!(
    AddressPattern,
    max_length: 255,
    pattern: concat!(
        "^(\\*|((\\*@)?\\*\\.|\\*@|", local_part!(), "@)?", domain!(), ")$"
    ),
    rules: [value_rule(
        "!self.contains('@') || bytes(self.split('@')[0]).size() <= 64",
        TOO_LONG
    )]
);

impl AddressPattern {
    /// Whether an address, given by its local part and domain, is meant. The null reverse-path has
    /// no domain and is meant by none.
    #[must_use]
    pub fn matches(&self, local_part: &str, domain: &DomainName) -> bool {
        match self {
            Self::Address(address) => {
                address.domain() == domain && address.local_part().eq_ignore_ascii_case(local_part)
            }
            Self::Domain(exact) => exact == domain,
            Self::Below(ancestor) => domain.is_below(ancestor),
            Self::Any => true,
        }
    }
}

impl FromStr for AddressPattern {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let parsed = if text == "*" {
            return Ok(Self::Any);
        } else if let Some(ancestor) = text.strip_prefix("*@*.").or(text.strip_prefix("*.")) {
            ancestor.parse().map(Self::Below)
        } else if let Some(domain) = text.strip_prefix("*@") {
            domain.parse().map(Self::Domain)
        } else if text.contains('@') {
            text.parse().map(Self::Address)
        } else {
            text.parse().map(Self::Domain)
        };
        let expected =
            "an address pattern: user@example.com, example.com, *.example.com (names below), or *";
        parsed.map_err(|error| match error.expected {
            SHORT_ENOUGH => error,
            _ => ScalarError::new(text, expected),
        })
    }
}

impl fmt::Display for AddressPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Domain(name) => name.fmt(f),
            Self::Below(name) => write!(f, "*.{name}"),
            Self::Any => f.write_str("*"),
        }
    }
}
