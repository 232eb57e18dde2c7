//! Dot-stuffing without copying.

use super::*;
use crate::server;
use proptest::prelude::*;

fn written(segments: &[&[u8]]) -> Vec<u8> {
    Stuffed::new(segments.iter().copied())
        .flatten()
        .copied()
        .collect()
}

/// What a strict receiver makes of it (RFC 5321 §4.5.2).
fn received(mut octets: &[u8]) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    while !octets.starts_with(b".\r\n") {
        octets = octets.strip_prefix(b".").unwrap_or(octets);
        let end = memchr::memmem::find(octets, b"\r\n")? + 2;
        message.extend_from_slice(&octets[..end]);
        octets = &octets[end..];
    }
    (octets == b".\r\n").then_some(message)
}

/// What our own session makes of it.
fn by_our_server(octets: &[u8]) -> Vec<u8> {
    let mut session = server::Session::new(server::Settings {
        hostname: "mx".to_owned(),
        starttls: server::StartTls::Unavailable,
        size: 0,
        commands: 10,
        errors: 0,
        rcptmax: None,
    });
    session.greet();
    let envelope = b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n".as_slice();
    let mut body = Vec::new();
    for octets in [envelope, octets] {
        assert_eq!(session.receive(octets), octets.len());
        while let Some(event) = session.poll() {
            match event {
                server::Event::Helo(_) => session.helo(Ok(())),
                server::Event::Mail(_) => session.mail(Ok(server::Transaction {
                    size: 10_000,
                    recipients: 1,
                    bare_newlines_data: server::BareNewlines::Reject,
                    bare_newlines_bdat: server::BareNewlines::Reject,
                })),
                server::Event::Rcpt(rcpt) => session.rcpt(rcpt.id, Ok(())),
                server::Event::Data(_) => session.data(Ok(())),
                server::Event::Body(octets) => body.extend_from_slice(&octets),
                server::Event::Message(_) => return body,
                _ => {}
            }
        }
    }
    panic!("no end of data in {}", octets.escape_ascii());
}

#[test]
fn dots_at_the_start_of_lines_are_doubled() {
    assert_eq!(
        written(&[b".a\r\n.\r\n..b\r\n"]),
        b"..a\r\n..\r\n...b\r\n.\r\n"
    );
    assert_eq!(written(&[b"a.b\r\n"]), b"a.b\r\n.\r\n");
}

#[test]
fn line_breaks_and_dots_may_stand_in_different_segments() {
    let wanted = b"a\r\n..\r\n.\r\n".as_slice();
    assert_eq!(written(&[b"a\r\n", b".\r\n"]), wanted);
    assert_eq!(written(&[b"a\r", b"\n.\r\n"]), wanted);
    assert_eq!(
        written(&[b"a", b"", b"\r", b"", b"\n", b"", b".", b"\r", b"\n"]),
        wanted
    );
}

#[test]
fn a_message_without_a_final_line_break_is_given_one() {
    assert_eq!(written(&[b"a"]), b"a\r\n.\r\n");
    assert_eq!(written(&[b"a\r\n."]), b"a\r\n..\r\n.\r\n");
    assert_eq!(written(&[]), b".\r\n");
    assert_eq!(written(&[b""]), b".\r\n");
}

#[test]
fn only_crlf_ends_a_line() {
    // Neither must occur in a message that is sent; a bare LF would not be doubled after.
    assert_eq!(written(&[b"a\n.b\r\n"]), b"a\n.b\r\n.\r\n");
    assert!(Content::of([b"a\n.b\r\n".as_slice()].into_iter()).bare_lf);
}

#[test]
fn content_is_looked_at_across_segments() {
    let content = |segments: &[&[u8]]| Content::of(segments.iter().copied());
    let plain = content(&[b"a\r", b"\nb\r\n"]);
    assert_eq!(
        plain,
        Content {
            octets: 6,
            eight_bit: false,
            bare_lf: false
        }
    );
    assert!(content(&[b"a", b"\nb\r\n"]).bare_lf);
    assert!(content(&[b"\n"]).bare_lf);
    assert!(content(&[b"a\r\n", b"\xe4\r\n"]).eight_bit);
}

#[test]
fn only_the_header_needs_smtputf8() {
    let header = |segments: &[&[u8]]| header_is_eight_bit(segments.iter().copied());
    assert!(header(&[b"Subject: \xc3\xa4\r\n\r\nb\r\n"]));
    assert!(!header(&[b"Subject: a\r\n\r", b"\n\xc3\xa4\r\n"]));
    assert!(!header(&[b"\r\n\xc3\xa4\r\n"]));
}

proptest! {
    #[test]
    fn a_strict_receiver_gets_what_was_sent(
        lines in prop::collection::vec("[.a\\x20]{0,4}", 0..20),
        cuts in prop::collection::vec(0_usize..100, 0..6),
    ) {
        let message: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(message.len())).collect();
        cuts.extend([0, message.len()]);
        cuts.sort_unstable();
        let segments: Vec<&[u8]> =
            cuts.windows(2).map(|pair| &message.as_bytes()[pair[0]..pair[1]]).collect();
        let sent = written(&segments);
        prop_assert_eq!(received(&sent), Some(message.into_bytes()));
    }

    /// Our two sides agree: what one writes, the other reads.
    #[test]
    fn our_server_gets_what_our_client_sends(
        lines in prop::collection::vec(
            prop::collection::vec(
                prop_oneof![4 => Just(b'.'), 4 => Just(b'a'), 1 => 0x20_u8..],
                0..6),
            1..20),
        ends in any::<bool>(),
        cut in 0_usize..100,
    ) {
        let mut message = lines.join(b"\r\n".as_slice());
        if ends {
            message.extend_from_slice(b"\r\n");
        }
        let (one, two) = message.split_at(cut.min(message.len()));
        let sent = written(&[one, two]);
        if !message.is_empty() && !message.ends_with(b"\r\n") {
            message.extend_from_slice(b"\r\n");
        }
        prop_assert_eq!(by_our_server(&sent), message);
    }
}
