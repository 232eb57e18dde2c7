//! Tag lists (RFC 6376 §3.2): `v=1; a=rsa-sha256; ...` of DKIM signatures, DKIM keys and ARC.
//!
//! Octets go in; names and values come out as slices, with the place of each value, so that `b=`
//! can be taken out of what was signed.

use std::ops::Range;

/// More tags are a syntax error; the known ones are about a dozen.
const MAX_TAGS: usize = 100;

/// A tag list whose syntax is right.
#[derive(Debug, Clone)]
pub(crate) struct TagList<'a> {
    text: &'a [u8],
    tags: Vec<Tag<'a>>,
}

#[derive(Debug, Clone)]
struct Tag<'a> {
    name: &'a [u8],
    /// All between "=" and ";", white space included.
    raw: Range<usize>,
}

/// Why a text is no tag list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TagError {
    /// It does not fit the grammar.
    #[error("no tag list")]
    Syntax,
    /// "Tags with duplicate names MUST NOT occur within a single tag-list".
    #[error("a tag stands twice")]
    Duplicate,
    /// More than [`MAX_TAGS`].
    #[error("more than {MAX_TAGS} tags")]
    Many,
}

impl<'a> TagList<'a> {
    /// Reads `tag-spec *( ";" tag-spec ) [ ";" ]`, with white space and folding wherever the
    /// grammar has FWS.
    pub(crate) fn parse(text: &'a [u8]) -> Result<Self, TagError> {
        let mut tags: Vec<Tag<'a>> = Vec::with_capacity(12);
        let mut start = 0;
        for spec in text.split(|octet| *octet == b';') {
            let end = start + spec.len();
            if spec.trim_ascii().is_empty() {
                // Only behind the last semicolon.
                return match end == text.len() && !tags.is_empty() {
                    true => Ok(Self { text, tags }),
                    false => Err(TagError::Syntax),
                };
            }
            let equals = spec
                .iter()
                .position(|octet| *octet == b'=')
                .ok_or(TagError::Syntax)?;
            let (name, value) = spec.split_at_checked(equals).ok_or(TagError::Syntax)?;
            let name = name.trim_ascii();
            if !is_name(name) || !value.iter().all(|octet| is_value(*octet)) {
                return Err(TagError::Syntax);
            }
            if tags.iter().any(|tag| tag.name == name) {
                return Err(TagError::Duplicate);
            }
            if tags.len() == MAX_TAGS {
                return Err(TagError::Many);
            }
            tags.push(Tag {
                name,
                raw: start + equals + 1..end,
            });
            start = end + 1;
        }
        Ok(Self { text, tags })
    }

    /// The value of a tag without the white space around it.
    pub(crate) fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.raw_range(name)
            .and_then(|range| self.text.get(range))
            .map(<[u8]>::trim_ascii)
    }

    /// Where the value of a tag stands, white space around it included.
    pub(crate) fn raw_range(&self, name: &str) -> Option<Range<usize>> {
        self.tags
            .iter()
            .find(|tag| tag.name == name.as_bytes())
            .map(|tag| tag.raw.clone())
    }

    /// The name of the first tag.
    pub(crate) fn first(&self) -> Option<&'a [u8]> {
        self.tags.first().map(|tag| tag.name)
    }
}

/// `ALPHA *( ALPHA / DIGIT / "_" )`
fn is_name(name: &[u8]) -> bool {
    name.first().is_some_and(u8::is_ascii_alphabetic)
        && name
            .iter()
            .all(|octet| octet.is_ascii_alphanumeric() || *octet == b'_')
}

/// Printable, white space or folding; UTF-8 by RFC 8616 §2.
fn is_value(octet: u8) -> bool {
    octet >= 0x20 && octet != 0x7f || matches!(octet, b'\t' | b'\r' | b'\n')
}

/// Without any white space: for values where FWS may stand anywhere (base64, lists).
pub(crate) fn squeeze(value: &[u8]) -> Vec<u8> {
    value
        .iter()
        .copied()
        .filter(|octet| !b" \t\r\n".contains(octet))
        .collect()
}

/// The items of a colon-separated list, without the white space around each.
pub(crate) fn colon_list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|octet| *octet == b':').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_and_folding() {
        let list = TagList::parse(b" v = 1 ;\r\n\ta= rsa-\r\n sha256;b= abc\r\n def ;").unwrap();
        assert_eq!(list.get("v"), Some(&b"1"[..]));
        assert_eq!(list.get("a"), Some(&b"rsa-\r\n sha256"[..]));
        assert_eq!(squeeze(list.get("b").unwrap()), b"abcdef");
        assert_eq!(list.raw_range("v"), Some(4..7));
        assert_eq!(list.get("V"), None);
    }

    #[test]
    fn refused() {
        for (text, error) in [
            (&b""[..], TagError::Syntax),
            (b";", TagError::Syntax),
            (b"a=1;;b=2", TagError::Syntax),
            (b"a=1;b", TagError::Syntax),
            (b"1a=1", TagError::Syntax),
            (b"a=\x00", TagError::Syntax),
            (b"a=1; a=1", TagError::Duplicate),
        ] {
            assert_eq!(TagList::parse(text).unwrap_err(), error, "{text:?}");
        }
    }

    #[test]
    fn empty_values_are_values() {
        assert_eq!(TagList::parse(b"p=").unwrap().get("p"), Some(&b""[..]));
    }
}
