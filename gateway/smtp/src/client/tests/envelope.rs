//! MAIL, RCPT, DATA or RSET, the message and its replies.

use super::*;
use crate::address::{Mailbox, ReversePath};

const PIPELINING: &str = "250-mail\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250 8BITMIME\r\n";
const PLAIN: &str = "250 mail\r\n";

/// A conversation that is ready for MAIL.
fn ready(protocol: Protocol, offered: &str) -> Conversation {
    let plan = Plan {
        hello: "mx1".into(),
        starttls: StartTls::Never,
        login: None,
    };
    let mut opening = Opening::new(protocol, plan);
    opening.conversation().receive(b"220 mail\r\n");
    assert_eq!(opening.step(), Ok(Step::Wait));
    opening.conversation().written();
    opening.conversation().receive(offered.as_bytes());
    assert_eq!(opening.step(), Ok(Step::Ready));
    opening.into_conversation()
}

fn mailbox(address: &str) -> Mailbox {
    address.parse().unwrap()
}

/// One transaction: envelope, then the message if it may go, then its replies.
struct Transaction {
    conversation: Conversation,
    recipients: usize,
    envelope: Option<Envelope>,
    message: Option<MessageAnswers>,
}

impl Transaction {
    fn new(mut conversation: Conversation, recipients: &[&str], ending: Ending) -> Self {
        let reverse_path = ReversePath::Mailbox(mailbox("joe@client.test"));
        let mail = Mail {
            reverse_path: &reverse_path,
            size: Some(500),
            eight_bit_mime: true,
            smtputf8: false,
        };
        let recipients: Vec<Mailbox> = recipients.iter().map(|address| mailbox(address)).collect();
        let envelope = Envelope::new(&mut conversation, &mail, &recipients, ending).unwrap();
        Self {
            conversation,
            recipients: recipients.len(),
            envelope: Some(envelope),
            message: None,
        }
    }
}

fn codes(replies: &[Reply]) -> String {
    let codes: Vec<String> = replies.iter().map(Reply::codes).collect();
    codes.join(", ")
}

impl Machine for Transaction {
    fn conversation(&mut self) -> &mut Conversation {
        &mut self.conversation
    }

    fn step(&mut self) -> Option<String> {
        if let Some(message) = &mut self.message {
            return match message.step(&mut self.conversation) {
                Ok(replies) => replies.map(|replies| format!("message {}", codes(&replies))),
                Err(broken) => Some(format!("error: {broken}")),
            };
        }
        match self.envelope.as_mut()?.step(&mut self.conversation) {
            Ok(None) => None,
            Ok(Some(EnvelopeAnswer::GoAhead)) => {
                match self.conversation.early() {
                    Ok(None) => {}
                    Ok(Some(reply)) => return Some(format!("early {}", reply.codes())),
                    Err(broken) => return Some(format!("error: {broken}")),
                }
                // The harness compares this line like a command.
                self.conversation.output_for_test(b"message.\r\n");
                self.message = Some(MessageAnswers::new(&mut self.conversation, self.recipients));
                None
            }
            Ok(Some(EnvelopeAnswer::MailRefused(reply))) => Some(format!("MAIL {}", reply.codes())),
            Ok(Some(EnvelopeAnswer::DataRefused(reply))) => Some(format!("DATA {}", reply.codes())),
            Ok(Some(EnvelopeAnswer::Recipients(replies))) => {
                Some(format!("RCPT {}", codes(&replies)))
            }
            Err(broken) => Some(format!("error: {broken}")),
        }
    }
}

/// Plays it in one piece and octet by octet; what may follow comes out.
fn transaction(
    (protocol, offered): (Protocol, &str),
    recipients: &[&str],
    ending: Ending,
    dialogue: &str,
) -> Reuse {
    let [whole, split] = [usize::MAX, 1].map(|piece| {
        let mut transaction = Transaction::new(ready(protocol, offered), recipients, ending);
        play(&mut transaction, dialogue, piece);
        transaction.conversation.reuse()
    });
    assert_eq!(whole, split);
    whole
}

const ONE: &[&str] = &["a@acme.test"];
const TWO: &[&str] = &["a@acme.test", "b@acme.test"];

#[test]
fn with_pipelining_the_envelope_is_one_write() {
    let reuse = transaction(
        (Protocol::Smtp, PIPELINING),
        TWO,
        Ending::Data,
        "C: MAIL FROM:<joe@client.test> SIZE=500 BODY=8BITMIME
         C: RCPT TO:<a@acme.test>
         C: RCPT TO:<b@acme.test>
         C: DATA
         S: 250 2.1.0 ok
         S: 250-2.1.5 ok
         S: 250 2.1.5 ok
         S: 250 2.1.5 ok
         S: 354 go
         C: message.
         S: 250 2.0.0 queued
         E: message 250 2.0.0",
    );
    assert_eq!(reuse, Reuse::Ready);
}

#[test]
fn without_pipelining_commands_go_one_by_one_and_without_parameters() {
    transaction(
        (Protocol::Smtp, PLAIN),
        TWO,
        Ending::Data,
        "C: MAIL FROM:<joe@client.test>
         S: 250 ok
         C: RCPT TO:<a@acme.test>
         S: 251 ok
         C: RCPT TO:<b@acme.test>
         S: 250 ok
         C: DATA
         S: 354 go
         C: message.
         S: 554 5.6.0 spam
         E: message 554 5.6.0",
    );
}

#[test]
fn a_refused_mail_ends_it() {
    let reuse = transaction(
        (Protocol::Smtp, PLAIN),
        TWO,
        Ending::Data,
        "C: MAIL FROM:<joe@client.test>
         S: 550 5.7.1 who are you
         C: RSET
         S: 250 ok
         E: MAIL 550 5.7.1",
    );
    assert_eq!(reuse, Reuse::Ready);
    let reuse = transaction(
        (Protocol::Smtp, PIPELINING),
        ONE,
        Ending::Data,
        "C: MAIL FROM:<joe@client.test> SIZE=500 BODY=8BITMIME
         C: RCPT TO:<a@acme.test>
         C: DATA
         S: 452 4.3.1 full
         S: 503 5.5.1 MAIL first
         S: 503 5.5.1 RCPT first
         E: MAIL 452 4.3.1",
    );
    assert_eq!(reuse, Reuse::AfterReset);
}

#[test]
fn without_pipelining_a_refused_recipient_means_that_data_is_never_said() {
    let reuse = transaction(
        (Protocol::Smtp, PLAIN),
        TWO,
        Ending::Data,
        "C: MAIL FROM:<joe@client.test>
         S: 250 ok
         C: RCPT TO:<a@acme.test>
         S: 550 5.1.1 no
         C: RCPT TO:<b@acme.test>
         S: 250 ok
         C: RSET
         S: 250 ok
         E: RCPT 550 5.1.1, 250",
    );
    assert_eq!(reuse, Reuse::Ready);
}

#[test]
fn with_pipelining_a_refused_recipient_costs_the_connection_if_data_was_taken() {
    let dialogue = "C: MAIL FROM:<joe@client.test> SIZE=500 BODY=8BITMIME
         C: RCPT TO:<a@acme.test>
         C: RCPT TO:<b@acme.test>
         C: DATA
         S: 250 ok
         S: 550 5.1.1 no
         S: 250 ok
         S: 354 go
         E: RCPT 550 5.1.1, 250";
    let reuse = transaction((Protocol::Smtp, PIPELINING), TWO, Ending::Data, dialogue);
    assert_eq!(reuse, Reuse::Never);
    let dialogue = dialogue.replace("354 go", "503 5.5.1 no");
    let reuse = transaction((Protocol::Smtp, PIPELINING), TWO, Ending::Data, &dialogue);
    assert_eq!(reuse, Reuse::AfterReset);
}

#[test]
fn data_may_be_refused() {
    transaction(
        (Protocol::Smtp, PIPELINING),
        ONE,
        Ending::Data,
        "C: MAIL FROM:<joe@client.test> SIZE=500 BODY=8BITMIME
         C: RCPT TO:<a@acme.test>
         C: DATA
         S: 250 ok
         S: 250 ok
         S: 451 4.3.0 later
         E: DATA 451 4.3.0",
    );
}

#[test]
fn asking_ends_with_rset_in_the_same_write() {
    let reuse = transaction(
        (Protocol::Lmtp, PIPELINING),
        TWO,
        Ending::Reset,
        "C: MAIL FROM:<joe@client.test> SIZE=500 BODY=8BITMIME
         C: RCPT TO:<a@acme.test>
         C: RCPT TO:<b@acme.test>
         C: RSET
         S: 250 ok
         S: 250 ok
         S: 450 4.2.1 later
         S: 250 ok
         E: RCPT 250, 450 4.2.1",
    );
    assert_eq!(reuse, Reuse::Ready);
}

#[test]
fn the_next_transaction_begins_with_rset_where_one_was_left_open() {
    let mut first = Transaction::new(ready(Protocol::Smtp, PIPELINING), ONE, Ending::Data);
    assert_eq!(first.step(), None);
    first.conversation.written();
    first
        .conversation
        .receive(b"250 ok\r\n250 ok\r\n451 later\r\n");
    assert_eq!(first.step().as_deref(), Some("DATA 451"));
    let mut second = Transaction::new(first.conversation, ONE, Ending::Data);
    play(
        &mut second,
        "C: RSET
         C: MAIL FROM:<joe@client.test> SIZE=500 BODY=8BITMIME
         C: RCPT TO:<a@acme.test>
         C: DATA
         S: 250 ok
         S: 250 ok
         S: 250 ok
         S: 354 go
         C: message.
         S: 250 ok
         E: message 250",
        1,
    );
}

#[test]
fn without_pipelining_that_rset_is_waited_for() {
    let mut first = Transaction::new(ready(Protocol::Smtp, PLAIN), ONE, Ending::Data);
    play(
        &mut first,
        "C: MAIL FROM:<joe@client.test>
         S: 250 ok
         C: RCPT TO:<a@acme.test>
         S: 250 ok
         C: DATA
         S: 451 4.3.0 later
         E: DATA 451 4.3.0",
        1,
    );
    assert_eq!(first.conversation.reuse(), Reuse::AfterReset);
    let mut second = Transaction::new(first.conversation, ONE, Ending::Data);
    play(
        &mut second,
        "C: RSET
         S: 250 ok
         C: MAIL FROM:<joe@client.test>
         S: 250 ok
         C: RCPT TO:<a@acme.test>
         S: 250 ok
         C: DATA
         S: 354 go
         C: message.
         S: 250 ok
         E: message 250",
        1,
    );
}

#[test]
fn what_was_said_before_a_command_answers_none() {
    for (offered, open) in [(PIPELINING, false), (PLAIN, false), (PLAIN, true)] {
        let mut conversation = ready(Protocol::Smtp, offered);
        if open {
            conversation.reuse = Reuse::AfterReset;
        }
        let mut transaction = Transaction::new(conversation, ONE, Ending::Data);
        transaction.conversation.receive(b"250 2.0.0 ok\r\n");
        assert_eq!(
            transaction.step().as_deref(),
            Some("error: the backend sent 250 that answers nothing")
        );
    }
}

#[test]
fn many_recipients_go_in_windows() {
    let addresses: Vec<String> = (0..100).map(|n| format!("u{n}@acme.test")).collect();
    let recipients: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut transaction =
        Transaction::new(ready(Protocol::Smtp, PIPELINING), &recipients, Ending::Data);
    assert_eq!(transaction.step(), None);
    let lines = |transaction: &Transaction| {
        transaction
            .conversation
            .output()
            .iter()
            .filter(|octet| **octet == b'\n')
            .count()
    };
    assert_eq!(lines(&transaction), 64);
    transaction.conversation.written();
    transaction
        .conversation
        .receive("250 ok\r\n".repeat(64).as_bytes());
    assert_eq!(transaction.step(), None);
    assert!(
        transaction
            .conversation
            .output()
            .ends_with(b"RCPT TO:<u99@acme.test>\r\nDATA\r\n")
    );
    assert_eq!(lines(&transaction), 38);
}

#[test]
fn lmtp_answers_for_each_recipient() {
    transaction(
        (Protocol::Lmtp, PIPELINING),
        TWO,
        Ending::Data,
        "C: MAIL FROM:<joe@client.test> SIZE=500 BODY=8BITMIME
         C: RCPT TO:<a@acme.test>
         C: RCPT TO:<b@acme.test>
         C: DATA
         S: 250 ok
         S: 250 ok
         S: 250 ok
         S: 354 go
         C: message.
         S: 250 2.0.0 ok
         S: 452 4.2.2 full
         E: message 250 2.0.0, 452 4.2.2",
    );
}

#[test]
fn a_250_that_is_early_is_never_taken_for_the_answer_to_the_message() {
    let mut early = Transaction::new(ready(Protocol::Smtp, PIPELINING), ONE, Ending::Data);
    play(
        &mut early,
        "C: MAIL FROM:<joe@client.test> SIZE=500 BODY=8BITMIME
         C: RCPT TO:<a@acme.test>
         C: DATA
         S: 250 ok
         S: 250 ok
         S: 354 go
         S: 250 2.0.0 queued already
         E: error: the backend sent 250 that answers nothing",
        usize::MAX,
    );
}

#[test]
fn replies_of_the_wrong_class_are_nonsense() {
    for (data, end) in [
        ("250 fine", "error: the backend sent 250 in reply to DATA"),
        (
            "421 4.3.2 bye",
            "error: the backend closes the connection: 421 4.3.2",
        ),
        (
            "nonsense",
            "error: the backend sent a line that is no reply",
        ),
    ] {
        let dialogue = format!(
            "C: MAIL FROM:<joe@client.test> SIZE=500 BODY=8BITMIME
             C: RCPT TO:<a@acme.test>
             C: DATA
             S: 250 ok
             S: 250 ok
             S: {data}
             E: {end}"
        );
        transaction((Protocol::Smtp, PIPELINING), ONE, Ending::Data, &dialogue);
    }
}

#[test]
fn addresses_by_what_the_backend_offers() {
    let said = |offered: &str, address: &str| {
        let mut conversation = ready(Protocol::Smtp, offered);
        let recipients = [mailbox(address)];
        let mail = Mail {
            reverse_path: &ReversePath::Null,
            size: None,
            eight_bit_mime: false,
            smtputf8: true,
        };
        let mut envelope =
            Envelope::new(&mut conversation, &mail, &recipients, Ending::Data).ok()?;
        envelope.step(&mut conversation).unwrap();
        Some(String::from_utf8(conversation.output().to_vec()).unwrap())
    };
    let utf8 = "250-mail\r\n250-PIPELINING\r\n250 SMTPUTF8\r\n";
    assert_eq!(
        said(utf8, "jos\u{e9}@b\u{fc}cher.test").unwrap(),
        "MAIL FROM:<> SMTPUTF8\r\nRCPT TO:<jos\u{e9}@b\u{fc}cher.test>\r\nDATA\r\n"
    );
    assert_eq!(
        said(PIPELINING, "joe@b\u{fc}cher.test").unwrap(),
        "MAIL FROM:<>\r\nRCPT TO:<joe@xn--bcher-kva.test>\r\nDATA\r\n"
    );
    assert_eq!(said(PIPELINING, "jos\u{e9}@acme.test"), None);
    assert_eq!(
        said(PIPELINING, "\"a b\"@acme.test").unwrap(),
        "MAIL FROM:<>\r\nRCPT TO:<\"a b\"@acme.test>\r\nDATA\r\n"
    );
}

#[test]
fn proxy_headers() {
    let v4 = (
        "192.0.2.1:1234".parse().unwrap(),
        "198.51.100.2:25".parse().unwrap(),
    );
    let v6 = (
        "[2001:db8::1]:1234".parse().unwrap(),
        "[2001:db8::2]:25".parse().unwrap(),
    );
    assert_eq!(
        proxy_v1(v4.0, v4.1),
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1234 25\r\n"
    );
    assert_eq!(
        proxy_v1(v6.0, v6.1),
        b"PROXY TCP6 2001:db8::1 2001:db8::2 1234 25\r\n"
    );
    assert_eq!(
        proxy_v1(v4.0, v6.1),
        b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1234 25\r\n"
    );
    let mapped = "[::ffff:192.0.2.1]:1234".parse().unwrap();
    assert_eq!(proxy_v1(mapped, v4.1), proxy_v1(v4.0, v4.1));
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x02\x04\xd2\0\x19";
    assert_eq!(proxy_v2(v4.0, v4.1), header);
    assert_eq!(proxy_v2(v6.0, v6.1).len(), 16 + 36);
    assert_eq!(proxy_v2(v6.0, v6.1)[12..16], [0x21, 0x21, 0, 36]);
}

#[test]
fn a_reply_that_came_before_the_envelope_does_not_answer_it() {
    for (early, wanted) in [
        ("250 ok\r\n", "250 that answers nothing"),
        ("550 no\r\n", "550 that answers nothing"),
        ("25", "a line that is no reply"),
    ] {
        let mut transaction =
            Transaction::new(ready(Protocol::Smtp, PIPELINING), ONE, Ending::Data);
        transaction.conversation.receive(early.as_bytes());
        let end = transaction.step().unwrap();
        assert_eq!(end, format!("error: the backend sent {wanted}"));
    }
}

#[test]
fn a_refusal_behind_354_is_an_early_answer_to_the_message() {
    let mut early = Transaction::new(ready(Protocol::Smtp, PIPELINING), ONE, Ending::Data);
    play(
        &mut early,
        "C: MAIL FROM:<joe@client.test> SIZE=500 BODY=8BITMIME
         C: RCPT TO:<a@acme.test>
         C: DATA
         S: 250 ok
         S: 250 ok
         S: 354 go
         S: 552 5.3.4 too large
         E: early 552 5.3.4",
        usize::MAX,
    );
}
