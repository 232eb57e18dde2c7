//! Any octets behind DATA, or in BDAT chunks: how they are cut makes no difference, and what is
//! passed on is read alike by strict and by lenient servers.

#![no_main]

use libfuzzer_sys::fuzz_target;
use postern_fuzz::input::{front, pieces};
use postern_fuzz::lenient::{assert_safe, received};
use postern_fuzz::session::{SIZE, assert_replies, play};
use postern_smtp::client::{Content, Stuffed};
use postern_smtp::server::BareNewlines;

const ENVELOPE: &[u8] = b"EHLO c\r\nMAIL FROM:<a@c.test>\r\nRCPT TO:<b@c.test>\r\n";

fuzz_target!(|input: &[u8]| {
    let ([mode, chunk, sizes @ ..], octets) = front::<6>(input);
    let newlines = match mode % 2 {
        0 => BareNewlines::Reject,
        _ => BareNewlines::Normalize,
    };
    let mut said = ENVELOPE.to_vec();
    match mode & 2 {
        0 => said.extend([b"DATA\r\n", octets, b"\r\n.\r\nNOOP\r\n"].concat()),
        _ => in_chunks(&mut said, octets, usize::from(chunk).max(1)),
    }
    let whole = play(&[&said], newlines);
    assert_replies(&whole.sent);
    assert_eq!(play(&pieces(&said, &sizes), newlines), whole);
    for message in &whole.messages {
        assert!(message.len() as u64 <= SIZE);
        assert_safe(message);
        goes_on(message, chunk);
    }
});

/// BDAT in chunks of so many octets, the last of none.
fn in_chunks(said: &mut Vec<u8>, octets: &[u8], size: usize) {
    for chunk in octets.chunks(size) {
        said.extend(format!("BDAT {}\r\n", chunk.len()).bytes());
        said.extend_from_slice(chunk);
    }
    said.extend_from_slice(b"BDAT 0 LAST\r\nNOOP\r\n");
}

/// Dots stuffed and unstuffed again, the message is the same, in whatever segments it was.
fn goes_on(message: &[u8], cut: u8) {
    let (one, two) = message.split_at(usize::from(cut).min(message.len()));
    let segments = [one, two];
    let content = Content::of(segments.into_iter());
    assert_eq!(content.octets, message.len() as u64);
    assert!(!content.bare_lf);
    let sent: Vec<u8> = Stuffed::new(segments.into_iter())
        .flatten()
        .copied()
        .collect();
    let mut whole = message.to_vec();
    if !whole.is_empty() && !whole.ends_with(b"\r\n") {
        whole.extend_from_slice(b"\r\n");
    }
    assert_eq!(received(&sent), Some((whole, b"".as_slice())));
}
