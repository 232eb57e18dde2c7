//! Header canonicalization (RFC 6376 §3.4.1, §3.4.2) and the choice of what was signed (§5.4.2).
//!
//! A message and the names in `h=` go in; the octets that the signature covers come out, the
//! signature field itself last, without its `b=`.

use crate::message::{Field, Message};
use std::ops::Range;

/// Whether the line end of a field is kept: the signature's own field has none (§3.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineEnd {
    Keep,
    Drop,
}

/// Appends a field in canonical form.
pub(crate) fn canonicalize(field: &Field<'_>, relaxed: bool, end: LineEnd, out: &mut Vec<u8>) {
    match relaxed {
        true => write_relaxed(field.name, field.value, out),
        false => {
            out.extend_from_slice(field.raw_name);
            out.push(b':');
            out.extend_from_slice(field.text());
        }
    }
    if end == LineEnd::Keep {
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends a signature's own field, without the value of its `b=` and without its line end.
pub(crate) fn canonicalize_own(
    field: &Field<'_>,
    b: &Range<usize>,
    relaxed: bool,
    out: &mut Vec<u8>,
) {
    let before = field.value.get(..b.start).unwrap_or_default();
    let behind = field.value.get(b.end..).unwrap_or_default();
    let value = [before, behind].concat();
    canonicalize(
        &Field {
            value: &value,
            ..*field
        },
        relaxed,
        LineEnd::Drop,
        out,
    );
}

/// Appends all fields that `names` choose: for a name that stands several times, fields are taken
/// from the bottom; a name with no field left stands for nothing (§5.4.2). `own`, the signature's
/// own field, is never among them: it was not there when the others were signed (§3.5, `h=`).
pub(crate) fn canonicalize_signed<'n>(
    message: &Message<'_>,
    own: Option<&Field<'_>>,
    names: impl Iterator<Item = &'n [u8]>,
    relaxed: bool,
    out: &mut Vec<u8>,
) {
    let is_own = |field: &Field<'_>| own.is_some_and(|own| own.start == field.start);
    let mut taken: Vec<(&[u8], usize)> = Vec::with_capacity(32);
    for name in names {
        let known = taken
            .iter_mut()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        let count = match known {
            Some((_, count)) => {
                *count += 1;
                *count - 1
            }
            None => {
                taken.push((name, 1));
                0
            }
        };
        let mut others = message
            .fields_upwards(name)
            .filter(|(_, field)| !is_own(field));
        if let Some((_, field)) = others.nth(count) {
            canonicalize(field, relaxed, LineEnd::Keep, out);
        }
    }
}

/// §3.4.2: the name in lower case, the value unfolded, each run of white space one space, none at
/// either end. Without a line end.
fn write_relaxed(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend(name.iter().map(u8::to_ascii_lowercase));
    out.push(b':');
    let start = out.len();
    out.resize(start + value.len(), 0);
    let canonical = out.get_mut(start..).unwrap_or_default();
    // Every octet is written and only some are kept, without a branch: words may be short, and
    // headers of a megabyte are signed eight times.
    let (mut length, mut behind_space) = (0, true);
    for octet in value {
        let is_space = is_space(*octet);
        if let Some(place) = canonical.get_mut(length) {
            *place = if is_space { b' ' } else { *octet };
        }
        length += usize::from(!(is_space & behind_space));
        behind_space = is_space;
    }
    let trailing = usize::from(behind_space && length > 0);
    out.truncate(start + length - trailing);
}

fn is_space(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(raw: &[u8], names: &str, relaxed: bool) -> String {
        let message = Message::parse(raw).unwrap();
        let mut out = Vec::new();
        let names = names.split(':').map(str::as_bytes);
        canonicalize_signed(&message, None, names, relaxed, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// RFC 6376 §3.4.5.
    const EXAMPLE: &[u8] = b"A: X\r\nB : Y\t\r\n\tZ  \r\n\r\n C \r\nD \t E\r\n\r\n\r\n";

    #[test]
    fn as_in_the_rfc() {
        assert_eq!(canonical(EXAMPLE, "a:b", true), "a:X\r\nb:Y Z\r\n");
        assert_eq!(
            canonical(EXAMPLE, "a:b", false),
            "A: X\r\nB : Y\t\r\n\tZ  \r\n"
        );
    }

    #[test]
    fn repeated_names_go_upwards_and_end_in_nothing() {
        let raw = b"A: 1\r\nA: 2\r\nB: 3\r\n\r\n";
        assert_eq!(canonical(raw, "a:A:a:b", true), "a:2\r\na:1\r\nb:3\r\n");
    }

    #[test]
    fn the_own_field_is_not_among_those_signed() {
        let raw = b"Sig: new\r\nSig: old\r\n\r\n";
        let message = Message::parse(raw).unwrap();
        let mut out = Vec::new();
        let names = || [&b"sig"[..], b"sig"].into_iter();
        let own = &message.fields()[0];
        canonicalize_signed(&message, Some(own), names(), true, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "sig:old\r\n");
    }

    #[test]
    fn the_signature_field_loses_b_and_line_end() {
        let raw = b"Sig: a=1; b= xy\r\n z ; c=2\r\n\r\n";
        let message = Message::parse(raw).unwrap();
        let field = &message.fields()[0];
        let tags = crate::tags::TagList::parse(field.value).unwrap();
        let mut out = Vec::new();
        canonicalize_own(field, &tags.raw_range("b").unwrap(), false, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "Sig: a=1; b=; c=2");
    }

    proptest::proptest! {
        #[test]
        fn relaxed_values_are_words_with_a_space_between(value in "[ab \t\r\n]{0,30}") {
            let mut out = Vec::new();
            write_relaxed(b"A", value.as_bytes(), &mut out);
            let words: Vec<&str> = value.split_ascii_whitespace().collect();
            proptest::prop_assert_eq!(String::from_utf8(out).unwrap(), format!("a:{}", words.join(" ")));
        }
    }

    #[test]
    fn values_of_white_space_only() {
        assert_eq!(canonical(b"A:  \t\r\n\r\n", "a", true), "a:\r\n");
        assert_eq!(canonical(b"A:\r\n\r\n", "a", true), "a:\r\n");
    }
}
