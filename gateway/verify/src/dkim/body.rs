//! Body hashes (RFC 6376 §3.4.3, §3.4.4): each distinct canonical body is hashed once, whoever asks
//! for it.
//!
//! A body and the [`BodyKey`]s of all signatures go in, a [`BodyHashes`] comes out. At most two
//! passes are made, one for each canonicalization; hashes of a part (`l=`) are taken on the way.
//! The canonicalization is ours: mail-auth 0.13.3 keeps a last line of white space, counts `l=`
//! before canonicalization, and takes three times as long.

use aws_lc_rs::digest::{self, Context, Digest};

/// Octets that are looked at together for white space that is not canonical yet.
const BLOCK: usize = 64;
/// Short pieces are gathered until there are so many octets to hash.
const GATHER: usize = 4096;

/// Which canonical body is hashed (SHA-256, the only hash that counts by RFC 8301 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BodyKey {
    /// `c=` says `relaxed` for the body (RFC 6376 §3.4.4), else `simple` (§3.4.3).
    pub relaxed: bool,
    /// `l=`: so many octets of the canonical body; none: all of it.
    pub length: Option<u64>,
}

/// The hash of a canonical body or of its beginning.
#[derive(Debug, Clone, Copy)]
pub struct BodyHash {
    digest: Digest,
    total: u64,
}

impl BodyHash {
    /// The SHA-256 hash, 32 octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.digest.as_ref()
    }

    /// How long the whole canonical body is, in octets.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }
}

/// The hashes of one body.
#[derive(Debug, Clone, Default)]
pub struct BodyHashes(Vec<(BodyKey, BodyHash)>);

impl BodyHashes {
    /// Hashes a body for all who need it. Work for the CPU: about 1 ms for a megabyte.
    #[must_use]
    pub fn compute(body: &[u8], keys: impl IntoIterator<Item = BodyKey>) -> Self {
        let mut keys: Vec<BodyKey> = keys.into_iter().collect();
        keys.sort_unstable();
        keys.dedup();
        let mut hashes = Vec::with_capacity(keys.len());
        for relaxed in [false, true] {
            // Sorted: the whole body first, then the parts by length.
            let of_kind = keys.iter().filter(|key| key.relaxed == relaxed);
            let lengths: Vec<u64> = of_kind.clone().filter_map(|key| key.length).collect();
            if of_kind.clone().next().is_none() {
                continue;
            }
            let hashed = canonicalize(body, relaxed, lengths);
            hashes.extend(of_kind.map(|key| (*key, hashed.hash(key.length))));
        }
        Self(hashes)
    }

    /// The hash that was computed for this key. None if it was not asked for, or if `l=` says more
    /// than the body has (RFC 6376 §3.5: it "MUST NOT be larger").
    #[must_use]
    pub fn get(&self, key: BodyKey) -> Option<BodyHash> {
        let (_, hash) = self.0.iter().find(|(known, _)| *known == key)?;
        (key.length.unwrap_or(0) <= hash.total).then_some(*hash)
    }
}

fn canonicalize(body: &[u8], relaxed: bool, lengths: Vec<u64>) -> Hashed {
    let mut hashing = Hashing::new(lengths);
    if relaxed {
        write_relaxed(body, &mut hashing);
    } else {
        write_simple(body, &mut hashing);
    }
    hashing.finish()
}

/// §3.4.3: empty lines at the end are one line end, as is no body.
fn write_simple(body: &[u8], out: &mut Hashing) {
    let mut text = body;
    while let Some(shorter) = text.strip_suffix(b"\r\n") {
        text = shorter;
    }
    out.write(text);
    out.write(b"\r\n");
}

/// §3.4.4: runs of white space are one space, none stands at the end of a line; empty lines at the
/// end are nothing, as is no body.
fn write_relaxed(body: &[u8], out: &mut Hashing) {
    // A last line of white space only is an empty line once that is gone.
    let Some(last) = body.iter().rposition(|octet| !b" \t\r\n".contains(octet)) else {
        return;
    };
    let mut rest = body.get(..=last).unwrap_or_default();
    while let Some(at) = irregular(rest) {
        let (text, space) = rest.split_at(at);
        out.write(text);
        let end = space
            .iter()
            .position(|octet| !b" \t".contains(octet))
            .unwrap_or(space.len());
        rest = space.get(end..).unwrap_or_default();
        if !rest.starts_with(b"\r\n") {
            out.write(b" ");
        }
    }
    out.write(rest);
    out.write(b"\r\n");
}

/// Where the first white space stands that may have to be changed: a tab, or a space before
/// another white space or a line end. `text` does not end in white space.
fn irregular(text: &[u8]) -> Option<usize> {
    let is_irregular =
        |(octet, next): (&u8, &u8)| (*octet == b' ') & (*next <= b' ') | (*octet == b'\t');
    let mut start = 0;
    // Whole blocks without a branch inside, which the compiler makes vector code of.
    while let (Some(block), Some(shifted)) = (
        text.get(start..start + BLOCK),
        text.get(start + 1..=start + BLOCK),
    ) {
        let found = block
            .iter()
            .zip(shifted)
            .fold(false, |found, pair| found | is_irregular(pair));
        if found {
            break;
        }
        start += BLOCK;
    }
    let rest = text.get(start..)?;
    let pairs = rest.iter().zip(rest.get(1..)?);
    pairs
        .map(is_irregular)
        .position(|found| found)
        .map(|at| start + at)
}

/// Hashes what it is given, and remembers the hash at certain lengths.
struct Hashing {
    context: Context,
    gathered: Vec<u8>,
    /// Octets that the context was given.
    hashed: u64,
    /// Lengths still to come, ascending from the end.
    lengths: Vec<u64>,
    parts: Vec<(u64, Digest)>,
}

struct Hashed {
    whole: Digest,
    total: u64,
    parts: Vec<(u64, Digest)>,
}

impl Hashing {
    fn new(mut lengths: Vec<u64>) -> Self {
        lengths.reverse();
        let context = Context::new(&digest::SHA256);
        let gathered = Vec::with_capacity(GATHER);
        let mut hashing = Self {
            context,
            gathered,
            hashed: 0,
            lengths,
            parts: Vec::new(),
        };
        hashing.mark();
        hashing
    }

    fn write(&mut self, octets: &[u8]) {
        if self.gathered.len() + octets.len() <= GATHER {
            self.gathered.extend_from_slice(octets);
        } else {
            self.flush();
            self.update(octets);
        }
    }

    fn flush(&mut self) {
        let mut gathered = std::mem::take(&mut self.gathered);
        self.update(&gathered);
        gathered.clear();
        self.gathered = gathered;
    }

    fn update(&mut self, octets: &[u8]) {
        let mut rest = octets;
        while let Some(next) = self.lengths.last() {
            let upto = usize::try_from(next - self.hashed).unwrap_or(usize::MAX);
            let Some((part, behind)) = rest.split_at_checked(upto) else {
                break;
            };
            self.context.update(part);
            self.hashed += part.len() as u64;
            rest = behind;
            self.mark();
        }
        self.context.update(rest);
        self.hashed += rest.len() as u64;
    }

    fn mark(&mut self) {
        while self.lengths.last() == Some(&self.hashed) {
            self.lengths.pop();
            self.parts
                .push((self.hashed, self.context.clone().finish()));
        }
    }

    fn finish(mut self) -> Hashed {
        self.flush();
        Hashed {
            whole: self.context.finish(),
            total: self.hashed,
            parts: self.parts,
        }
    }
}

impl Hashed {
    fn hash(&self, length: Option<u64>) -> BodyHash {
        let part = length.and_then(|wanted| self.parts.iter().find(|(at, _)| *at == wanted));
        BodyHash {
            digest: part.map_or(self.whole, |(_, digest)| *digest),
            total: self.total,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sha256(text: &[u8]) -> Vec<u8> {
        digest::digest(&digest::SHA256, text).as_ref().to_vec()
    }

    fn hash(body: &[u8], relaxed: bool, length: Option<u64>) -> Option<Vec<u8>> {
        let key = BodyKey { relaxed, length };
        BodyHashes::compute(body, [key])
            .get(key)
            .map(|hash| hash.as_bytes().to_vec())
    }

    fn assert_canonical(body: &[u8], relaxed: bool, canonical: &[u8]) {
        assert_eq!(
            hash(body, relaxed, None).unwrap(),
            sha256(canonical),
            "{body:?} {relaxed}"
        );
    }

    #[test]
    fn simple() {
        // RFC 6376 §3.4.5.
        assert_canonical(b" C \r\nD \t E\r\n\r\n\r\n", false, b" C \r\nD \t E\r\n");
        assert_canonical(b"", false, b"\r\n");
        assert_canonical(b"\r\n\r\n", false, b"\r\n");
        assert_canonical(b"no end", false, b"no end\r\n");
        assert_canonical(b"a\r\n \r\n", false, b"a\r\n \r\n");
    }

    #[test]
    fn relaxed() {
        assert_canonical(b" C \r\nD \t E\r\n\r\n\r\n", true, b" C\r\nD E\r\n");
        assert_canonical(b"", true, b"");
        assert_canonical(b"\r\n\r\n", true, b"");
        assert_canonical(b"no end  ", true, b"no end\r\n");
        assert_canonical(b"\tx\r\n  y\t\tz \r\n", true, b" x\r\n y z\r\n");
    }

    #[test]
    fn relaxed_ignores_last_lines_of_white_space() {
        assert_canonical(b"a\r\n  \r\n", true, b"a\r\n");
        assert_canonical(b"a\r\n\r\n \t\r\n\r\n", true, b"a\r\n");
        assert_canonical(b"a\r\n \r\nb\r\n", true, b"a\r\n\r\nb\r\n");
        assert_canonical(b"   \r\n", true, b"");
        assert_canonical(b" ", true, b"");
    }

    #[test]
    fn a_part_is_of_the_canonical_body() {
        assert_eq!(hash(b"a  b\r\n", true, Some(3)), Some(sha256(b"a b")));
        assert_eq!(hash(b"a  b\r\n", true, Some(0)), Some(sha256(b"")));
        assert_eq!(hash(b"a  b\r\n", true, Some(5)), Some(sha256(b"a b\r\n")));
        assert_eq!(hash(b"a  b\r\n", true, Some(6)), None);
    }

    #[test]
    fn many_parts_in_one_pass() {
        let body = b"one  two\r\nthree\r\n";
        let keys = (0..=30).map(|length| BodyKey {
            relaxed: true,
            length: Some(length),
        });
        let hashes = BodyHashes::compute(body, keys.clone());
        let canonical = b"one two\r\nthree\r\n";
        for key in keys {
            let length = usize::try_from(key.length.unwrap()).unwrap();
            let wanted = canonical.get(..length).map(sha256);
            assert_eq!(
                hashes.get(key).map(|hash| hash.as_bytes().to_vec()),
                wanted,
                "{length}"
            );
        }
    }

    #[test]
    fn white_space_at_every_place_of_a_block() {
        for at in 0..200 {
            for space in ["  ", "\t", " \t ", " \r\n", " "] {
                let body = format!("{}{space}{}\r\n", "x".repeat(at), "y".repeat(200 - at));
                let canonical = relaxed_by_the_book(body.as_bytes());
                assert_canonical(body.as_bytes(), true, &canonical);
            }
        }
    }

    #[test]
    fn more_than_is_gathered() {
        let body = format!("{}  {}\r\n", "x y ".repeat(3_000), "z\tz ".repeat(3_000));
        assert_canonical(body.as_bytes(), true, &relaxed_by_the_book(body.as_bytes()));
        assert_canonical(body.as_bytes(), false, body.as_bytes());
    }

    /// RFC 6376 §3.4.4 word for word, slowly.
    fn relaxed_by_the_book(body: &[u8]) -> Vec<u8> {
        let text = String::from_utf8(body.to_vec()).unwrap();
        let mut lines: Vec<String> = text
            .split("\r\n")
            .map(|line| {
                let mut reduced = String::new();
                for c in line.trim_end_matches([' ', '\t']).chars() {
                    match c {
                        ' ' | '\t' if reduced.ends_with(' ') => {}
                        ' ' | '\t' => reduced.push(' '),
                        c => reduced.push(c),
                    }
                }
                reduced
            })
            .collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
            .iter()
            .flat_map(|line| [line.as_bytes(), b"\r\n"].concat())
            .collect()
    }

    proptest! {
        #[test]
        fn relaxed_as_by_the_book(parts in proptest::collection::vec(
            prop_oneof![
                Just(" "), Just("\t"), Just("\r\n"), Just("a"), Just("\x01"), Just("bcdefghijklmnop"),
            ],
            0..60,
        )) {
            let body = parts.concat().into_bytes();
            let canonical = relaxed_by_the_book(&body);
            prop_assert_eq!(hash(&body, true, None).unwrap(), sha256(&canonical));
        }
    }
}
