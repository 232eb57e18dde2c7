//! A session and a gateway that answers it at once.
//!
//! The client's octets go in, in pieces; out comes what the client and the gateway saw, which must
//! not depend on the pieces.

use postern_smtp::reply::{Enhanced, PermanentCode, Refusal, TransientCode};
use postern_smtp::server::{
    Accepted, BareNewlines, Event, Session, Settings, StartTls, Transaction,
};

/// The largest message that is taken, octets.
pub const SIZE: u64 = 2_000;

/// What was seen.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The replies.
    pub sent: Vec<u8>,
    /// Every other event, in order; the pieces of a message as one.
    pub events: Vec<String>,
    /// The messages that were complete.
    pub messages: Vec<Vec<u8>>,
    body: Vec<u8>,
}

/// Plays a session to the end of its input.
#[must_use]
pub fn play(pieces: &[&[u8]], newlines: BareNewlines) -> Seen {
    let mut session = Session::new(Settings {
        hostname: "mx.example.com".to_owned(),
        starttls: StartTls::Offered,
        size: 2 * SIZE,
        commands: 10_000,
        errors: 1_000,
        rcptmax: Some(50),
    });
    session.greet();
    let mut seen = Seen::default();
    seen.take(&mut session, newlines);
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let taken = session.receive(rest);
            let before = session.buffered();
            seen.take(&mut session, newlines);
            assert!(
                taken > 0 || session.buffered() < before,
                "the session neither takes octets nor uses those it has"
            );
            rest = rest.get(taken..).unwrap_or_default();
        }
    }
    seen
}

impl Seen {
    fn take(&mut self, session: &mut Session, newlines: BareNewlines) {
        while let Some(event) = session.poll() {
            self.note(&event);
            answer(session, event, newlines);
        }
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Send(octets) => self.sent.extend_from_slice(octets),
            // Who arrives together depends on the pieces.
            Event::RcptGroup => {}
            Event::Body(octets) => self.body.extend_from_slice(octets),
            other => {
                let body = std::mem::take(&mut self.body);
                if !body.is_empty() || matches!(other, Event::Message(_)) {
                    self.events.push(body.escape_ascii().to_string());
                }
                if matches!(other, Event::Message(_)) {
                    self.messages.push(body);
                }
                self.events.push(format!("{other:?}"));
            }
        }
    }
}

fn answer(session: &mut Session, event: Event, newlines: BareNewlines) {
    match event {
        Event::Helo(helo) => session.helo(verdict(&helo.name.to_string())),
        Event::Mail(mail) => {
            session.mail(
                verdict(&mail.reverse_path.to_string()).map(|()| Transaction {
                    size: SIZE,
                    recipients: 10,
                    bare_newlines_data: newlines,
                    bare_newlines_bdat: newlines,
                }),
            )
        }
        Event::Rcpt(rcpt) => session.rcpt(rcpt.id, verdict(&rcpt.forward_path.to_string())),
        Event::Data(_) => session.data(Ok(())),
        Event::Message(_) => session.message(Ok(Accepted {
            text: "taken".to_owned(),
        })),
        _ => {}
    }
}

/// Names that begin so are refused, with their own text in the reply.
fn verdict(name: &str) -> Result<(), Refusal> {
    match name.trim_start_matches('<').as_bytes() {
        [b'n', ..] => Err(Refusal::permanent(
            PermanentCode::MailboxUnavailable,
            Enhanced(1, 1),
            name,
        )),
        [b'g', ..] => Err(Refusal::transient(
            TransientCode::MailboxUnavailable,
            Enhanced(7, 1),
            name,
        )),
        [b'z', ..] => Err(Refusal::transient(
            TransientCode::ServiceNotAvailable,
            Enhanced(3, 2),
            name,
        )),
        _ => Ok(()),
    }
}

/// Fails unless the octets are replies by RFC 5321 §4.2: whole lines of printable ASCII, at most
/// 512 octets, one code for each reply.
pub fn assert_replies(mut sent: &[u8]) {
    let mut going_on: Option<&[u8]> = None;
    while !sent.is_empty() {
        let end = sent.windows(2).position(|pair| pair == b"\r\n");
        let (line, rest) = sent.split_at(end.expect("a reply ends in CRLF") + 2);
        sent = rest;
        let shown = line.escape_ascii().to_string();
        assert!(line.len() <= 512, "{} octets: {shown}", line.len());
        let (code, text) = line
            .split_at_checked(line.len() - 2)
            .and_then(|(line, _)| line.split_at_checked(3))
            .expect(&shown);
        assert!(code.iter().all(u8::is_ascii_digit), "{shown}");
        assert!(text.iter().all(|o| matches!(o, b' '..=b'~')), "{shown}");
        assert!(going_on.is_none_or(|before| before == code), "{shown}");
        going_on = match text.first() {
            Some(b'-') => Some(code),
            None | Some(b' ') => None,
            Some(_) => panic!("{shown}"),
        };
    }
    assert!(going_on.is_none(), "the last reply is cut");
}
