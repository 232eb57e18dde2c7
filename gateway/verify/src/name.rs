//! Domain names as DNS is asked for them: absolute, lower case, checked for length once.
//!
//! Text goes in; a [`Name`] comes out that any resolver can be asked about. Labels may hold any
//! characters but a dot (an SPF macro puts local parts into names, RFC 7208 §7.3).

use std::fmt;
use std::sync::Arc;

/// The longest name as text without its final dot (RFC 1035 §2.3.4: 255 octets on the wire).
const MAX_NAME: usize = 253;
/// The longest label in octets (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// An absolute domain name: ASCII letters in lower case, no final dot, labels of 1 to 63 octets,
/// at most 253 octets in all. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

/// Why a text is no [`Name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing, or only a dot.
    #[error("the name is empty")]
    Empty,
    /// Two dots in a row, or one in front.
    #[error("the name has an empty label")]
    EmptyLabel,
    /// A label of more than 63 octets.
    #[error("the name has a label of more than 63 octets")]
    LongLabel,
    /// More than 253 octets.
    #[error("the name has more than 253 octets")]
    Long,
    /// No A-label can be made of a U-label (RFC 5891 §4, UTS 46).
    #[error("the name is no valid internationalized domain name")]
    Idna,
}

impl Name {
    /// Takes a name as it stands; one final dot is dropped, ASCII letters become lower case.
    ///
    /// # Errors
    /// Empty labels and lengths beyond RFC 1035 §2.3.4.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(InvalidName::Empty);
        }
        if text.len() > MAX_NAME {
            return Err(InvalidName::Long);
        }
        for label in text.split('.') {
            match label.len() {
                0 => return Err(InvalidName::EmptyLabel),
                1..=MAX_LABEL => {}
                _ => return Err(InvalidName::LongLabel),
            }
        }
        if text.bytes().any(|octet| octet.is_ascii_uppercase()) {
            return Ok(Self(text.to_ascii_lowercase().into()));
        }
        Ok(Self(text.into()))
    }

    /// Takes a name as people write it: U-labels become A-labels first (RFC 5891 §4.4, RFC 8616 §3).
    ///
    /// # Errors
    /// As [`Name::parse`], and [`InvalidName::Idna`].
    pub fn from_unicode(text: &str) -> Result<Self, InvalidName> {
        if text.is_ascii() {
            return Self::parse(text);
        }
        let ascii = idna::domain_to_ascii_cow(text.as_bytes(), idna::AsciiDenyList::EMPTY)
            .map_err(|_| InvalidName::Idna)?;
        Self::parse(&ascii)
    }

    /// The name, lower case, without a final dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its labels, from the left.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }

    /// The name without its leftmost label; none for a single label.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0
            .split_once('.')
            .map(|(_, parent)| Self(parent.into()))
    }

    /// Whether it is `ancestor` or stands below it.
    #[must_use]
    pub fn is_at_or_below(&self, ancestor: &Self) -> bool {
        match self.0.strip_suffix(&*ancestor.0) {
            Some(rest) => rest.is_empty() || rest.ends_with('.'),
            None => false,
        }
    }

    /// `prefix` and this name, joined by a dot.
    ///
    /// # Errors
    /// As [`Name::parse`].
    pub fn prefixed(&self, prefix: &str) -> Result<Self, InvalidName> {
        Self::parse(&format!("{prefix}.{}", self.0))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_case_and_final_dot() {
        assert_eq!(
            Name::parse("Mail.Example.COM.").unwrap().as_str(),
            "mail.example.com"
        );
        assert_eq!(Name::parse("a..b"), Err(InvalidName::EmptyLabel));
        assert_eq!(Name::parse("."), Err(InvalidName::Empty));
        assert_eq!(Name::parse(&"a".repeat(64)), Err(InvalidName::LongLabel));
        assert_eq!(Name::parse(&"abc.".repeat(64)), Err(InvalidName::Long));
    }

    #[test]
    fn u_labels_become_a_labels() {
        assert_eq!(
            Name::from_unicode("BÜCHER.example").unwrap().as_str(),
            "xn--bcher-kva.example"
        );
    }

    #[test]
    fn below() {
        let name = Name::parse("a.example.com").unwrap();
        assert!(name.is_at_or_below(&Name::parse("example.com").unwrap()));
        assert!(name.is_at_or_below(&name));
        assert!(!name.is_at_or_below(&Name::parse("ample.com").unwrap()));
    }
}
