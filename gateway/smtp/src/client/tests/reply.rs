//! Replies within bounds.

use super::super::reply::{MAX_LINE, MAX_LINES, ReplyReader};
use super::*;
use proptest::prelude::*;

/// Everything that comes of these octets, given in pieces.
fn read(octets: &[u8], piece: usize) -> (Vec<Reply>, Option<Nonsense>) {
    let mut reader = ReplyReader::default();
    let mut replies = Vec::new();
    for octets in octets.chunks(piece) {
        reader.receive(octets);
        loop {
            match reader.next() {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(nonsense) => return (replies, Some(nonsense)),
            }
        }
    }
    (replies, None)
}

fn one(octets: &[u8]) -> Reply {
    let (replies, nonsense) = read(octets, usize::MAX);
    assert_eq!((replies.len(), nonsense), (1, None));
    replies.into_iter().next().unwrap()
}

fn nonsense(octets: &[u8]) -> Nonsense {
    read(octets, usize::MAX).1.unwrap()
}

#[test]
fn enhanced_codes_are_taken_out_of_every_line() {
    let reply = one(b"550-5.1.1 no such\r\n550 5.1.1 user\r\n");
    assert_eq!(reply.code, 550);
    assert_eq!(reply.enhanced, Some((5, 1, 1)));
    assert_eq!(reply.text, "no such\nuser");
    assert_eq!(reply.codes(), "550 5.1.1");
}

#[test]
fn an_enhanced_code_of_another_class_is_text() {
    let reply = one(b"450 5.1.1 odd\r\n");
    assert_eq!((reply.enhanced, reply.text.as_str()), (None, "5.1.1 odd"));
}

#[test]
fn a_code_alone_is_a_reply() {
    assert_eq!(one(b"250\r\n").text, "");
    assert_eq!(one(b"250 \n").text, "");
}

#[test]
fn text_becomes_printable() {
    assert_eq!(one(b"250 a\tb\0c\x1b\xc3\xa4\r\n").text, "a b?c???");
}

#[test]
fn glued_replies_come_apart() {
    let (replies, nonsense) = read(b"250 a\r\n550 5.1.1 b\r\n354 c\r\n25", usize::MAX);
    let codes: Vec<u16> = replies.iter().map(|reply| reply.code).collect();
    assert_eq!((codes, nonsense), (vec![250, 550, 354], None));
}

#[test]
fn the_code_must_not_change_within_a_reply() {
    assert_eq!(
        nonsense(b"250-a\r\n550 b\r\n"),
        Nonsense::CodeChanged(250, 550)
    );
}

#[test]
fn lines_that_are_no_reply() {
    for line in [
        "", "x", "25", "2500 x", "199 x", "600 x", "2x0 y", "250_x", " 250 x", "HTTP/1.1",
    ] {
        assert_eq!(
            nonsense(format!("{line}\r\n").as_bytes()),
            Nonsense::NotAReply,
            "{line}"
        );
    }
}

#[test]
fn a_line_has_at_most_2048_octets() {
    let mut line = b"250 ".to_vec();
    line.resize(MAX_LINE - 2, b'x');
    let longest = [&line[..], b"\r\n"].concat();
    assert_eq!(one(&longest).text.len(), MAX_LINE - 6);
    assert_eq!(
        nonsense(&[&line[..], b"x\r\n"].concat()),
        Nonsense::LongLine
    );
    // Without a line break the octets are not gathered for ever.
    assert_eq!(read(&[b'2'; 10_000], 1).1, Some(Nonsense::LongLine));
}

#[test]
fn a_reply_has_at_most_100_lines() {
    let longest = "250-x\r\n".repeat(MAX_LINES - 1) + "250 x\r\n";
    assert_eq!(one(longest.as_bytes()).text.lines().count(), MAX_LINES);
    let longer = "250-x\r\n".repeat(MAX_LINES) + "250 x\r\n";
    assert_eq!(nonsense(longer.as_bytes()), Nonsense::ManyLines);
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        octets in prop::collection::vec(
            prop_oneof![Just(b'2'), Just(b'5'), Just(b'0'), Just(b' '), Just(b'-'), Just(b'.'),
                        Just(b'\r'), Just(b'\n'), any::<u8>()],
            0..200),
        piece in 1_usize..20,
    ) {
        prop_assert_eq!(read(&octets, piece), read(&octets, usize::MAX));
    }

    #[test]
    fn any_octets_are_read_without_panic(octets in prop::collection::vec(any::<u8>(), 0..5000)) {
        read(&octets, 7);
    }
}
