//! How replies are rendered, and that the catalogue keeps to the RFCs.

use super::rendering::{MAX_LINE, MAX_LINES};
use super::*;
use bytes::BytesMut;

fn render(reply: &Reply) -> String {
    let mut out = BytesMut::new();
    reply.render(&mut out);
    String::from_utf8(out.to_vec()).unwrap()
}

fn catalogue() -> Vec<Reply> {
    vec![
        Reply::SENDER_OK,
        Reply::RECIPIENT_OK,
        Reply::OK,
        Reply::CANNOT_VERIFY,
        Reply::HELP,
        Reply::READY_FOR_TLS,
        Reply::chunk(u64::MAX),
        Reply::bye("mx.example.com"),
        Reply::shutting_down("mx.example.com"),
        Reply::timeout("mx.example.com"),
        Reply::too_many_commands("mx.example.com"),
        Reply::too_many_errors("mx.example.com"),
        Reply::UNKNOWN_COMMAND,
        Reply::LINE_TOO_LONG,
        Reply::BARE_NEWLINE_IN_COMMAND,
        Reply::BAD_OCTETS,
        Reply::NO_PARAMETERS,
        Reply::PARAMETER_MISSING,
        Reply::MAIL_SYNTAX,
        Reply::RCPT_SYNTAX,
        Reply::BDAT_SYNTAX,
        Reply::NOT_IMPLEMENTED,
        Reply::NO_TLS_HERE,
        Reply::bad_client_name(&AddressError::Domain),
        Reply::bad_sender(&AddressError::NonAscii),
        Reply::bad_recipient(&AddressError::LocalPart),
        Reply::bad_parameter("SIZE"),
        Reply::unknown_parameter("RET"),
        Reply::EHLO_FIRST,
        Reply::MAIL_FIRST,
        Reply::RCPT_FIRST,
        Reply::NESTED_MAIL,
        Reply::BDAT_BEGUN,
        Reply::ONLY_QUIT,
        Reply::TLS_ALREADY,
        Reply::STARTTLS_FIRST,
        Reply::NO_VALID_RECIPIENTS,
        Reply::MESSAGE_TOO_LARGE,
        Reply::TOO_MANY_RECIPIENTS,
        Reply::BARE_CR,
        Reply::BARE_LF,
        Reply::NUL_AT_DOT,
    ]
}

/// What is refused by the session and by those who decide for it reads the same.
#[test]
fn one_reply_has_one_wording() {
    let large = Reply::from(&Refusal::message_too_large());
    assert_eq!(render(&large), render(&Reply::MESSAGE_TOO_LARGE));
    let many = Reply::from(&Refusal::too_many_recipients());
    assert_eq!(render(&many), render(&Reply::TOO_MANY_RECIPIENTS));
}

/// RFC 2034 §4: the class of the enhanced code is the first digit of the code.
#[test]
fn every_reply_is_one_line_with_both_codes() {
    for reply in catalogue() {
        let line = render(&reply);
        assert!(line.len() <= MAX_LINE && line.ends_with("\r\n"), "{line}");
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert_eq!(&line[3..4], " ", "{line}");
        assert_eq!(line[4..6], format!("{}.", &line[..1]), "{line}");
    }
}

#[test]
fn long_texts_are_broken_at_spaces_and_end() {
    let refusal = Refusal::permanent(
        PermanentCode::MailboxUnavailable,
        Enhanced(7, 26),
        "word ".repeat(150),
    );
    let text = render(&Reply::from(&refusal));
    let lines: Vec<_> = text.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("550-5.7.26 word ") && lines[0].ends_with("word"));
    assert!(lines[1].starts_with("550 5.7.26 word "));
    let solid = Refusal::transient(
        TransientCode::LocalError,
        Enhanced(3, 0),
        "x".repeat(100_000),
    );
    let text = render(&Reply::from(&solid));
    assert_eq!(text.matches("\r\n").count(), MAX_LINES);
    assert!(text.split("\r\n").all(|line| line.len() + 2 <= MAX_LINE));
}

#[test]
fn a_text_cannot_forge_a_reply() {
    let refusal = Refusal::transient(
        TransientCode::LocalError,
        Enhanced(3, 0),
        "no\r\n250 2.0.0 yes\0\u{1b}[2J\u{85}ü",
    );
    assert_eq!(
        render(&Reply::from(&refusal)),
        "451 4.3.0 no  250 2.0.0 yes??[2J??\r\n"
    );
}

#[test]
fn an_empty_text_leaves_no_space_behind() {
    assert_eq!(render(&Reply::accepted(String::new())), "250 2.0.0\r\n");
}

#[test]
fn refusals_say_what_they_are() {
    let refusal = Refusal::permanent(PermanentCode::MailboxUnavailable, Enhanced(1, 1), "nobody");
    assert_eq!(refusal.to_string(), "550 5.1.1 nobody");
    assert_eq!(Reply::from(&refusal).refused(), Some(refusal));
    assert_eq!(Reply::OK.refused(), None);
    let closing = Reply::timeout("mx").refused().unwrap();
    assert!(closing.closes());
    assert_eq!(closing.enhanced(), (4, 4, 2));
}

#[test]
fn codes_of_a_backend_become_ours() {
    assert_eq!(TransientCode::relayed(421).as_u16(), 451);
    assert_eq!(TransientCode::relayed(452).as_u16(), 452);
    assert_eq!(PermanentCode::relayed(521).as_u16(), 554);
    assert_eq!(PermanentCode::relayed(553).as_u16(), 553);
}
