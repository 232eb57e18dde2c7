//! Domain names and header fields.

use std::fmt;
use std::str::FromStr;

use super::{ScalarError, string_scalar};

/// A domain name: LDH labels (RFC 5321 §4.1.2; underscores are not allowed), no final dot, at most
/// 253 octets. The last label begins with a letter, so that no IPv4 address is taken for a name.
/// Kept in lower case; names in other scripts are written as A-labels (`xn--...`, RFC 5890).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainName(String);

/// Labels, of which the last begins with a letter.
macro_rules! domain {
    () => {
        "([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\\.)*[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    };
}
pub(super) use domain;

string_scalar!(DomainName, max_length: 253, pattern: concat!("^", domain!(), "$"));

impl DomainName {
    /// The name in lower case, without a final dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this name stands below `ancestor`, at any depth; no name is below itself.
    #[must_use]
    pub fn is_below(&self, ancestor: &Self) -> bool {
        self.0
            .strip_suffix(ancestor.as_str())
            .is_some_and(|rest| rest.ends_with('.'))
    }
}

impl FromStr for DomainName {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let last_is_alphabetic = text
            .rsplit('.')
            .next()
            .is_some_and(|last| last.starts_with(|c: char| c.is_ascii_alphabetic()));
        if text.len() > 253 || !last_is_alphabetic || !text.split('.').all(is_label) {
            return Err(ScalarError::new(
                text,
                "a domain name such as example.com (letters, digits and hyphens; write other \
                 scripts as xn-- labels)",
            ));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

/// RFC 5321 §4.1.2, `sub-domain`, with RFC 1035's 63 octets.
fn is_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || *b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A domain name, or every name below one: `acme.test` is that name alone, `*.acme.test` all names
/// below it at any depth (and not `acme.test` itself).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DomainPattern {
    /// `acme.test`
    Exact(DomainName),
    /// `*.acme.test`
    Below(DomainName),
}

string_scalar!(DomainPattern, max_length: 255, pattern: concat!("^(\\*\\.)?", domain!(), "$"));

impl DomainPattern {
    /// Whether `name` is meant.
    #[must_use]
    pub fn matches(&self, name: &DomainName) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Below(ancestor) => name.is_below(ancestor),
        }
    }
}

impl FromStr for DomainPattern {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let parsed = match text.strip_prefix("*.") {
            Some(ancestor) => ancestor.parse().map(Self::Below),
            None => text.parse().map(Self::Exact),
        };
        let expected = "a domain name such as example.com, or *.example.com for all names below it";
        parsed.map_err(|_| ScalarError::new(text, expected))
    }
}

impl fmt::Display for DomainPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => name.fmt(f),
            Self::Below(name) => write!(f, "*.{name}"),
        }
    }
}

/// The name of a header field (RFC 5322 §3.6.8), restricted to letters, digits and hyphens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderName(String);

string_scalar!(HeaderName, max_length: 64, pattern: "^[A-Za-z][A-Za-z0-9-]*$");

impl HeaderName {
    /// The name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HeaderName {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic());
        let goes_well = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !starts_well || !goes_well || text.len() > 64 {
            return Err(ScalarError::new(
                text,
                "a header field name such as X-Origin",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The body of a header field that we write: printable US-ASCII and inner spaces on one line
/// (RFC 5322 §2.2), so that it can neither start a field of its own nor need an encoding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderValue(String);

string_scalar!(HeaderValue, max_length: 512, pattern: "^[!-~]([ -~]*[!-~])?$");

impl HeaderValue {
    /// The text after the colon and space.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HeaderValue {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let printable = text.bytes().all(|b| (b' '..=b'~').contains(&b));
        if text.is_empty() || text.len() > 512 || !printable || text.trim() != text {
            return Err(ScalarError::new(
                text,
                "one line of printable ASCII without spaces at its ends",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for HeaderValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
