//! The header scan: one pass over a received message, without copying.
//!
//! Octets go in as they came from the client (after Normalize, where it applies); a [`Message`]
//! comes out: the header fields as slices, in order from the top, and the body. Every check reads
//! from it.

use memchr::memchr;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::OnceLock;

/// A header field of more octets, folding included, is refused.
pub const MAX_FIELD: usize = 100_000;
/// A header block of more octets is refused.
pub const MAX_HEADER: usize = 1_000_000;
/// More header fields are refused.
pub const MAX_FIELDS: usize = 10_000;
/// More lines of the header block that are no field are refused.
pub const MAX_NAMELESS: usize = 1_000;

/// Why a message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// A header field has more than [`MAX_FIELD`] octets.
    #[error("a header field has more than {MAX_FIELD} octets")]
    LongField,
    /// The header block has more than [`MAX_HEADER`] octets.
    #[error("the header has more than {MAX_HEADER} octets")]
    LongHeader,
    /// There are more than [`MAX_FIELDS`] header fields.
    #[error("the header has more than {MAX_FIELDS} fields")]
    ManyFields,
    /// The header block has more than [`MAX_NAMELESS`] lines that are no field.
    #[error(
        "more than {MAX_NAMELESS} lines before the first empty line are no header field; an empty \
         line must divide header and body"
    )]
    ManyNameless,
    /// The first line begins with white space: it would continue the field above, and those above
    /// are ours.
    #[error("the first line begins with white space, but continues no header field")]
    LeadingSpace,
}

/// A header field (RFC 5322 §2.2), borrowed from the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as it stands, without white space before the colon. Empty: this line is no field.
    pub name: &'a [u8],
    /// The name as it stands with white space before the colon (RFC 5322 §4.5 allows it; simple
    /// canonicalization keeps it).
    pub raw_name: &'a [u8],
    /// All behind the colon, folding and the final line end included.
    pub value: &'a [u8],
    /// Where it begins, counted from the start of the message.
    pub start: usize,
    /// Where it ends, behind its line end.
    pub end: usize,
}

impl<'a> Field<'a> {
    /// Whether it has this name, in any case.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// Name, colon and value as they stand, line end included.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// The value without its final line end.
    #[must_use]
    pub fn text(&self) -> &'a [u8] {
        let value = self.value.strip_suffix(b"\n").unwrap_or(self.value);
        value.strip_suffix(b"\r").unwrap_or(value)
    }
}

/// A message that was scanned.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    raw: &'a [u8],
    fields: Vec<Field<'a>>,
    body: usize,
    index: OnceLock<FieldIndex>,
}

/// Fields by name, so that a signature over hundreds of names does not walk thousands of fields for
/// each.
#[derive(Debug, Clone)]
struct FieldIndex {
    hasher: RandomState,
    /// Hash of the name in lower case, and position; sorted.
    entries: Vec<(u64, usize)>,
}

impl FieldIndex {
    fn new(fields: &[Field<'_>]) -> Self {
        let hasher = RandomState::new();
        let hash = |field: &Field<'_>| hasher.hash_one(field.name.to_ascii_lowercase());
        let mut entries: Vec<(u64, usize)> = fields
            .iter()
            .enumerate()
            .map(|(at, field)| (hash(field), at))
            .collect();
        entries.sort_unstable();
        Self { hasher, entries }
    }
}

impl<'a> Message<'a> {
    /// Scans the header block. It ends at the first empty line or at the end. A line that is
    /// neither a field nor a continuation is a field without a name, the first line too: readers
    /// do not agree whether the header ends there (RFC 5322 does not say), and what stands below, a
    /// second From perhaps, must not escape the checks. Only an empty first line means that there
    /// is no header.
    ///
    /// # Errors
    /// [`MessageError`]: a limit is passed, or the first line continues nothing. Nothing else is
    /// refused.
    pub fn parse(raw: &'a [u8]) -> Result<Self, MessageError> {
        if let Some(b' ' | b'\t') = raw.first() {
            return Err(MessageError::LeadingSpace);
        }
        let mut fields: Vec<Field<'a>> = Vec::with_capacity(32);
        let (mut at, mut nameless) = (0, 0);
        while let Some(end) = field_end(raw, at) {
            if end - at > MAX_FIELD {
                return Err(MessageError::LongField);
            }
            if end > MAX_HEADER {
                return Err(MessageError::LongHeader);
            }
            let field = field(raw, at, end);
            if field.name.is_empty() {
                if nameless == MAX_NAMELESS {
                    return Err(MessageError::ManyNameless);
                }
                nameless += 1;
            }
            if fields.len() == MAX_FIELDS {
                return Err(MessageError::ManyFields);
            }
            fields.push(field);
            at = end;
        }
        let rest = raw.get(at..).unwrap_or_default();
        let body = at
            + if rest.starts_with(b"\r\n") {
                2
            } else {
                usize::from(rest.starts_with(b"\n"))
            };
        Ok(Self {
            raw,
            fields,
            body,
            index: OnceLock::new(),
        })
    }

    /// The whole message.
    #[must_use]
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The header fields from the top.
    #[must_use]
    pub fn fields(&self) -> &[Field<'a>] {
        &self.fields
    }

    /// The fields of one name, in any case, from the top.
    pub fn fields_named<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Field<'a>> + 's {
        self.fields.iter().filter(move |field| field.is(name))
    }

    /// The fields of one name, in any case, from the bottom, with their positions; does not walk
    /// the others.
    pub(crate) fn fields_upwards<'s>(
        &'s self,
        name: &'s [u8],
    ) -> impl Iterator<Item = (usize, &'s Field<'a>)> + 's {
        let index = self.index.get_or_init(|| FieldIndex::new(&self.fields));
        let wanted = index.hasher.hash_one(name.to_ascii_lowercase());
        let start = index.entries.partition_point(|(hash, _)| *hash < wanted);
        let end = index.entries.partition_point(|(hash, _)| *hash <= wanted);
        let entries = index
            .entries
            .get(start..end)
            .unwrap_or_default()
            .iter()
            .rev();
        entries.filter_map(move |(_, at)| {
            let field = self.fields.get(*at)?;
            field
                .name
                .eq_ignore_ascii_case(name)
                .then_some((*at, field))
        })
    }

    /// All behind the empty line.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.raw.get(self.body..).unwrap_or_default()
    }

    /// Where the body begins.
    #[must_use]
    pub fn body_offset(&self) -> usize {
        self.body
    }

    /// How many Received fields there are (RFC 5321 §6.3: loops).
    #[must_use]
    pub fn received_count(&self) -> usize {
        self.fields_named("Received").count()
    }
}

/// Where the field that begins at `at` ends; none for an empty line or the end of the message.
fn field_end(raw: &[u8], at: usize) -> Option<usize> {
    let rest = raw.get(at..)?;
    if rest.is_empty() || rest.starts_with(b"\r\n") || rest.starts_with(b"\n") {
        return None;
    }
    let mut end = at;
    loop {
        let line = raw.get(end..).unwrap_or_default();
        end += memchr(b'\n', line).map_or(line.len(), |newline| newline + 1);
        // RFC 5322 §2.2.3: a line that begins with white space continues the field. A line of
        // white space only does so too (§4.2, obs-FWS).
        match raw.get(end) {
            Some(b' ' | b'\t') => {}
            _ => return Some(end),
        }
        if end - at > MAX_FIELD {
            return Some(end);
        }
    }
}

/// The field between two places; without a name if it has none that fits RFC 5322 §2.2 (printable
/// US-ASCII without colon), its value then being the whole.
fn field(raw: &[u8], start: usize, end: usize) -> Field<'_> {
    let whole = raw.get(start..end).unwrap_or_default();
    let nameless = Field {
        name: b"",
        raw_name: b"",
        value: whole,
        start,
        end,
    };
    let Some((raw_name, rest)) = memchr(b':', whole).and_then(|at| whole.split_at_checked(at))
    else {
        return nameless;
    };
    let name = raw_name.trim_ascii_end();
    if !name.iter().all(|octet| (33..=126).contains(octet)) {
        return nameless;
    }
    Field {
        name,
        raw_name,
        value: rest.get(1..).unwrap_or_default(),
        start,
        end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(raw: &[u8]) -> Vec<String> {
        let message = Message::parse(raw).unwrap();
        message
            .fields()
            .iter()
            .map(|f| String::from_utf8_lossy(f.name).into_owned())
            .collect()
    }

    #[test]
    fn fields_and_body() {
        let raw = b"From: a@b.test\r\nSubject: one\r\n two\r\n\r\nBody\r\n";
        let message = Message::parse(raw).unwrap();
        assert_eq!(names(raw), ["From", "Subject"]);
        assert_eq!(message.fields()[1].value, b" one\r\n two\r\n");
        assert_eq!(message.fields()[1].text(), b" one\r\n two");
        assert_eq!(message.body(), b"Body\r\n");
    }

    #[test]
    fn without_body_or_header() {
        assert_eq!(names(b""), [""; 0]);
        let only_body = Message::parse(b"\r\nhello\r\n").unwrap();
        assert_eq!(
            (only_body.fields().len(), only_body.body()),
            (0, &b"hello\r\n"[..])
        );
        let only_header = Message::parse(b"A: 1\r\nB: 2").unwrap();
        assert_eq!(
            (only_header.fields().len(), only_header.body()),
            (2, &b""[..])
        );
    }

    #[test]
    fn a_line_that_is_no_field_hides_nothing() {
        let raw = b"From: a@b.test\r\nno field here\r\n\xc3\x9c: x\r\nFrom: c@d.test\r\n\r\nBody";
        assert_eq!(names(raw), ["From", "", "", "From"]);
        let message = Message::parse(raw).unwrap();
        assert_eq!(message.fields()[1].value, b"no field here\r\n");
        assert_eq!(message.body(), b"Body");
    }

    #[test]
    fn a_first_line_that_is_no_field_hides_nothing() {
        let raw = b"no field here\r\nFrom: c@d.test\r\n\r\nmore";
        assert_eq!(names(raw), ["", "From"]);
        assert_eq!(Message::parse(raw).unwrap().body(), b"more");
    }

    #[test]
    fn lines_that_are_no_fields_hide_nothing_however_many() {
        let below = b"From: c@d.test\r\nAuthentication-Results: mx.test; spf=pass\r\n\r\nBody";
        let with = |lines: usize| [&b"x\r\n".repeat(lines), below.as_slice()].concat();
        let most = with(MAX_NAMELESS);
        let message = Message::parse(&most).unwrap();
        assert_eq!(message.fields_named("From").count(), 1);
        assert_eq!(message.fields_named("Authentication-Results").count(), 1);
        assert_eq!(message.body(), b"Body");
        assert_eq!(
            Message::parse(&with(MAX_NAMELESS + 1)).unwrap_err(),
            MessageError::ManyNameless
        );
    }

    #[test]
    fn a_first_line_that_continues_nothing_is_refused() {
        for raw in [" x\r\nA: 1\r\n\r\n", "\tx: y\r\n\r\n", " \r\n\r\n"] {
            assert_eq!(
                Message::parse(raw.as_bytes()).unwrap_err(),
                MessageError::LeadingSpace,
                "{raw:?}"
            );
        }
        assert_eq!(Message::parse(b"\r\n x\r\n").unwrap().body(), b" x\r\n");
    }

    #[test]
    fn white_space_before_the_colon() {
        let message = Message::parse(b"Subject \t: x\r\n\r\n").unwrap();
        assert!(message.fields()[0].is("SUBJECT"));
        assert_eq!(message.fields()[0].raw_name, b"Subject \t");
    }

    #[test]
    fn fields_from_the_bottom() {
        let message = Message::parse(b"A: 1\r\nb: 2\r\na: 3\r\n\r\n").unwrap();
        let found: Vec<usize> = message.fields_upwards(b"a").map(|(at, _)| at).collect();
        assert_eq!(found, [2, 0]);
        assert_eq!(message.fields_upwards(b"c").count(), 0);
    }

    #[test]
    fn limits() {
        let long = [b"A: ".as_slice(), &vec![b'x'; MAX_FIELD], b"\r\n\r\n"].concat();
        assert_eq!(Message::parse(&long).unwrap_err(), MessageError::LongField);
        let folded = [b"A: x\r\n".as_slice(), &b" y\r\n".repeat(MAX_FIELD / 4)].concat();
        assert_eq!(
            Message::parse(&folded).unwrap_err(),
            MessageError::LongField
        );
        let many = b"A: x\r\n".repeat(MAX_FIELDS + 1);
        assert_eq!(Message::parse(&many).unwrap_err(), MessageError::ManyFields);
        let large = [b"A: ".as_slice(), &vec![b'x'; 90_000], b"\r\n"]
            .concat()
            .repeat(12);
        assert_eq!(
            Message::parse(&large).unwrap_err(),
            MessageError::LongHeader
        );
    }

    proptest! {
        #[test]
        fn every_octet_is_in_one_place(raw in proptest::collection::vec(prop_oneof![
            Just(b'\r'), Just(b'\n'), Just(b':'), Just(b' '), Just(b'a'), any::<u8>(),
        ], 0..200)) {
            let parsed = Message::parse(&raw);
            if let Some(b' ' | b'\t') = raw.first() {
                prop_assert_eq!(parsed.unwrap_err(), MessageError::LeadingSpace);
                return Ok(());
            }
            let message = parsed.unwrap();
            let mut at = 0;
            for field in message.fields() {
                prop_assert_eq!(field.start, at);
                let colon = usize::from(field.value.len() < field.end - field.start);
                let length = field.raw_name.len() + colon + field.value.len();
                prop_assert_eq!(length, field.end - field.start);
                at = field.end;
            }
            prop_assert!(message.body_offset() >= at && message.body_offset() <= at + 2);
            prop_assert_eq!(&raw[message.body_offset()..], message.body());
        }
    }
}
