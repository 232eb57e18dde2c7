//! Body hashes: each distinct canonical body is hashed once, whoever asks for it.
//!
//! A body and the [`BodyKey`]s of all signatures go in, a [`BodyHashes`] comes out. At most two
//! passes are made, one for each canonicalization; hashes of a part (`l=`) are taken on the way.

use aws_lc_rs::digest::{self, Context, Digest};
use mail_auth::common::crypto::{HashContext, HashOutput};
use mail_auth::common::headers::Writer;
use mail_auth::dkim::Canonicalization;
use mail_auth::dkim::canonicalize::BodyHasher;

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
    let (kind, body) = match relaxed {
        true => (Canonicalization::Relaxed, without_blank_end(body)),
        false => (Canonicalization::Simple, body),
    };
    let mut hasher = BodyHasher::new(Hashing::new(lengths), kind, 0);
    hasher.write(body);
    // The second half of the pair counts octets before canonicalization, which nobody needs.
    hasher.finish().0.finish()
}

/// Drops everything behind the last line that has more than white space. The canonicalization that
/// is called next would keep a last line of white space only as an empty line, but RFC 6376 §3.4.4
/// ignores it; it adds the line end that is taken away here.
fn without_blank_end(body: &[u8]) -> &[u8] {
    let last = body.iter().rposition(|octet| !b" \t\r\n".contains(octet));
    body.get(..last.map_or(0, |last| last + 1))
        .unwrap_or_default()
}

/// Hashes what it is given, and remembers the hash at certain lengths.
struct Hashing {
    context: Context,
    written: u64,
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
        let mut hashing = Self {
            context,
            written: 0,
            lengths,
            parts: Vec::new(),
        };
        hashing.mark();
        hashing
    }

    fn mark(&mut self) {
        while self.lengths.last() == Some(&self.written) {
            self.lengths.pop();
            self.parts
                .push((self.written, self.context.clone().finish()));
        }
    }

    fn finish(self) -> Hashed {
        Hashed {
            whole: self.context.finish(),
            total: self.written,
            parts: self.parts,
        }
    }
}

impl Writer for Hashing {
    fn write(&mut self, octets: &[u8]) {
        let mut rest = octets;
        while let Some(next) = self.lengths.last() {
            let upto = usize::try_from(next - self.written).unwrap_or(usize::MAX);
            let Some((part, behind)) = rest.split_at_checked(upto) else {
                break;
            };
            self.context.update(part);
            self.written += part.len() as u64;
            rest = behind;
            self.mark();
        }
        self.context.update(rest);
        self.written += rest.len() as u64;
    }
}

impl HashContext for Hashing {
    fn complete(self) -> HashOutput {
        HashOutput::Digest(self.context.finish())
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
            prop_oneof![Just(" "), Just("\t"), Just("\r\n"), Just("a"), Just("bcdefghijklmnop")],
            0..40,
        )) {
            let body = parts.concat().into_bytes();
            let canonical = relaxed_by_the_book(&body);
            prop_assert_eq!(hash(&body, true, None).unwrap(), sha256(&canonical));
        }
    }
}
