//! The framings against a plain reading of the rules, and against every way to cut the input.

use super::*;
use crate::server::BareNewlines::{self, Normalize, Reject};
use bytes::BytesMut;
use proptest::prelude::*;

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    content: Vec<u8>,
    good: bool,
    /// Octets of the input behind the end; none if the end was not reached.
    left: Option<usize>,
}

/// Feeds octets in pieces until the end.
fn data(input: &[u8], newlines: BareNewlines, limit: u64, pieces: &[usize]) -> Outcome {
    let mut framing = Data::new(limit, newlines);
    let (mut content, mut buffer, mut rest) = (Vec::new(), BytesMut::new(), input);
    let mut sizes = pieces.iter().copied().chain(std::iter::repeat(usize::MAX));
    while !rest.is_empty() {
        let size = sizes.next().unwrap().clamp(1, rest.len());
        buffer.extend_from_slice(&rest[..size]);
        rest = &rest[size..];
        while let Some(piece) = framing.next(&mut buffer) {
            match piece {
                Piece::Body(octets) => content.extend_from_slice(&octets),
                Piece::GivenUp => content.clear(),
                Piece::End | Piece::Overrun => {
                    let good = *framing.verdict() == Verdict::Good;
                    let left = (piece == Piece::End).then_some(buffer.len() + rest.len());
                    return Outcome {
                        content,
                        good,
                        left,
                    };
                }
            }
        }
        assert!(buffer.is_empty(), "a framing takes all that it is given");
    }
    Outcome {
        content,
        good: *framing.verdict() == Verdict::Good,
        left: None,
    }
}

/// The rules of docs/flow.md, 5. data, read off without regard to speed. None: there is no end.
fn data_by_the_rules(input: &[u8], newlines: BareNewlines) -> Option<Outcome> {
    let all = [b"\r\n", input].concat();
    let end = all.windows(5).position(|five| five == b"\r\n.\r\n")?;
    let left = Some(all.len() - end - 5);
    let text = &all[2.min(end + 2)..end + 2];
    let (mut content, mut good) = (Vec::new(), true);
    for line in split(text, b"\r\n") {
        good &= !is_dot_and_nuls(line);
        let line = line.strip_prefix(b".").unwrap_or(line);
        good &= newlines == Normalize || !line.iter().any(|octet| b"\r\n".contains(octet));
        for soft in split(line, b"\n") {
            good &= !is_dot_and_nuls(soft);
        }
        content.extend(normalized(line));
        content.extend_from_slice(b"\r\n");
    }
    content.truncate(content.len().saturating_sub(2));
    if !good {
        content.clear();
    }
    Some(Outcome {
        content,
        good,
        left,
    })
}

/// The lines of a text, the last one (which is empty if the text ends in a line end) included.
fn split<'a>(text: &'a [u8], end: &[u8]) -> Vec<&'a [u8]> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(end.len()).position(|window| window == end) {
        lines.push(&rest[..at]);
        rest = &rest[at + end.len()..];
    }
    lines.push(rest);
    lines
}

/// NULs and one dot, up to what may be taken for a line end.
fn is_dot_and_nuls(line: &[u8]) -> bool {
    let line = line.split(|octet| b"\r\n".contains(octet)).next().unwrap();
    let others: Vec<u8> = line.iter().copied().filter(|octet| *octet != 0).collect();
    line.contains(&0) && others == b"."
}

fn normalized(line: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    for octet in line {
        match octet {
            b'\r' => octets.push(b' '),
            b'\n' => octets.extend_from_slice(b"\r\n"),
            other => octets.push(*other),
        }
    }
    octets
}

fn bdat(chunks: &[&[u8]], newlines: BareNewlines, limit: u64, size: usize) -> (Vec<u8>, bool) {
    let mut framing = Bdat::new(limit, newlines);
    let mut content = Vec::new();
    for (index, chunk) in chunks.iter().enumerate() {
        let mut buffer = BytesMut::new();
        let mut rest = *chunk;
        let last = index + 1 == chunks.len();
        framing.chunk(chunk.len() as u64);
        loop {
            match framing.next(&mut buffer, last) {
                Some(Piece::Body(octets)) => content.extend_from_slice(&octets),
                Some(Piece::GivenUp) => content.clear(),
                Some(Piece::End) => break,
                Some(Piece::Overrun) => panic!("chunks do not overrun"),
                None => {
                    let (now, later) = rest.split_at(size.min(rest.len()));
                    assert!(!now.is_empty(), "a chunk ends with its last octet");
                    buffer.extend_from_slice(now);
                    rest = later;
                }
            }
        }
        assert!(buffer.is_empty() && rest.is_empty());
    }
    (content, *framing.verdict() == Verdict::Good)
}

fn bdat_by_the_rules(text: &[u8], newlines: BareNewlines) -> (Vec<u8>, bool) {
    let (mut content, mut good) = (Vec::new(), true);
    for line in split(text, b"\r\n") {
        good &= newlines == Normalize || !line.iter().any(|octet| b"\r\n".contains(octet));
        good &= split(line, b"\n")
            .into_iter()
            .all(|soft| !is_dot_and_nuls(soft));
        content.extend(normalized(line));
        content.extend_from_slice(b"\r\n");
    }
    content.truncate(content.len() - 2);
    if good {
        (content, true)
    } else {
        (Vec::new(), false)
    }
}

/// Octets of which most matter to framing.
fn octets() -> impl Strategy<Value = Vec<u8>> {
    let one = prop_oneof![
        4 => Just(b"\r\n".to_vec()),
        2 => Just(b"\r".to_vec()),
        2 => Just(b"\n".to_vec()),
        4 => Just(b".".to_vec()),
        2 => Just(b"\0".to_vec()),
        3 => Just(b"a".to_vec()),
        1 => any::<u8>().prop_map(|octet| vec![octet]),
        1 => Just(b"a longer run of text".to_vec()),
    ];
    proptest::collection::vec(one, 0..40).prop_map(|parts| parts.concat())
}

fn newlines() -> impl Strategy<Value = BareNewlines> {
    prop_oneof![Just(Reject), Just(Normalize)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn data_is_read_by_the_rules(
        input in octets(),
        newlines in newlines(),
        pieces in proptest::collection::vec(1..5_usize, 0..30),
    ) {
        let input = [input.as_slice(), b"\r\n.\r\nQUIT\r\n"].concat();
        let found = data(&input, newlines, 1_000_000, &pieces);
        prop_assert_eq!(Some(found), data_by_the_rules(&input, newlines));
    }

    #[test]
    fn chunks_are_read_by_the_rules(
        text in octets(),
        newlines in newlines(),
        cuts in proptest::collection::vec(0..60_usize, 0..4),
        size in 1..9_usize,
    ) {
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.sort_unstable();
        let mut chunks = Vec::new();
        let mut from = 0;
        for cut in cuts {
            chunks.push(&text[from..cut]);
            from = cut;
        }
        chunks.push(&text[from..]);
        prop_assert_eq!(
            bdat(&chunks, newlines, 1_000_000, size),
            bdat_by_the_rules(&text, newlines)
        );
    }

    #[test]
    fn no_more_than_the_limit_is_passed_on(
        input in octets(),
        newlines in newlines(),
        limit in 0..40_u64,
        pieces in proptest::collection::vec(1..5_usize, 0..30),
    ) {
        let input = [input.as_slice(), b"\r\n.\r\n"].concat();
        let whole = data(&input, newlines, limit, &[]);
        prop_assert!(whole.content.len() as u64 <= limit);
        // Whether the end or the limit is met first when data is swallowed depends on the pieces;
        // either is the same refusal.
        let cut = data(&input, newlines, limit, &pieces);
        prop_assert_eq!((whole.content, whole.good), (cut.content, cut.good));
    }

    /// What we pass on, stuffed again and sent, is one message to a server that takes any of CRLF,
    /// LF and CR for a line end and drops NUL.
    #[test]
    fn nothing_passed_on_can_be_misread(input in octets(), newlines in newlines()) {
        let input = [input.as_slice(), b"\r\n.\r\n"].concat();
        let message = data(&input, newlines, 1_000_000, &[]);
        if !message.good {
            return Ok(());
        }
        for line in split(&message.content, b"\r\n") {
            let stuffed = if line.starts_with(b".") { [b".", line].concat() } else { line.to_vec() };
            let lenient: Vec<u8> = stuffed.into_iter().filter(|octet| *octet != 0).collect();
            let ends = lenient.split(|octet| b"\r\n".contains(octet)).any(|part| part == b".");
            prop_assert!(!ends, "{:?}", message.content.escape_ascii().to_string());
        }
    }
}

#[test]
fn whole_lines_are_one_slice() {
    let text = "a line of ordinary length, as it is found in most mails\r\n".repeat(100);
    let mut buffer = BytesMut::from(format!("{text}..x\r\n.\r\n").as_bytes());
    let start = buffer.as_ptr();
    let mut framing = Data::new(1_000_000, Reject);
    let Some(Piece::Body(first)) = framing.next(&mut buffer) else {
        panic!("no content");
    };
    assert_eq!(first, text.as_bytes());
    assert_eq!(first.as_ptr(), start, "the slice is the input's own memory");
    assert_eq!(framing.next(&mut buffer), Some(Piece::Body(".".into())));
    assert_eq!(framing.next(&mut buffer), Some(Piece::Body("x\r\n".into())));
    assert_eq!(framing.next(&mut buffer), Some(Piece::End));
}
