//! The dialogues of `tests/dialogues` against the session itself, without a socket.
//!
//! In: every `.smtp` file of a stage. Each runs three times: what the client sends without waiting
//! in one packet, octet by octet, and in pieces of seven octets, which must make no difference.
//! Out: a failure names file and line, what was expected, and what the server said.

#![allow(clippy::panic, reason = "test code: a panic is how a test fails")]

use postern_smtp::reply::{Enhanced, PermanentCode, Refusal, TransientCode};
use postern_smtp::server::{
    Accepted, BareNewlines, CloseReason, Event, Session, Settings, StartTls, Transaction,
};
use postern_tests::dialogue::{Action, Closing, Dialogue, Driver, Said};
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

#[test]
fn connection() {
    play_stage("connection");
}

#[test]
fn helo() {
    play_stage("helo");
}

#[test]
fn mail() {
    play_stage("mail");
}

#[test]
fn rcpt() {
    play_stage("rcpt");
}

#[test]
fn data() {
    play_stage("data");
}

#[test]
fn tls() {
    play_stage("tls");
}

/// A file that no test reads would prove nothing.
#[test]
fn every_file_stands_in_a_stage() {
    let stages = ["connection", "data", "helo", "mail", "rcpt", "tls"];
    for entry in std::fs::read_dir(root()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(
            stages.contains(&name.as_str()) || name == "README.md",
            "{name} is neither a stage nor README.md"
        );
    }
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/dialogues"))
}

fn play_stage(stage: &str) {
    let dialogues = Dialogue::read_folder(&root().join(stage)).unwrap_or_else(|e| panic!("{e}"));
    assert!(!dialogues.is_empty(), "no dialogue in {stage}");
    let mut failures = Vec::new();
    for dialogue in &dialogues {
        for pieces in [usize::MAX, 1, 7] {
            if let Err(failure) = Player::new(dialogue, pieces).and_then(Player::play) {
                failures.push(failure);
                break;
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// Plays one dialogue.
struct Player<'a> {
    dialogue: &'a Dialogue,
    session: Session,
    transaction: Transaction,
    /// The client's octets come in pieces of so many.
    pieces: usize,
    /// What the server has sent and no step has expected yet.
    sent: Vec<u8>,
    envelope: String,
    body: Vec<u8>,
    accepted: VecDeque<(String, Vec<u8>)>,
    wants_tls: bool,
    closed: Option<CloseReason>,
    line: usize,
}

impl<'a> Player<'a> {
    fn new(dialogue: &'a Dialogue, pieces: usize) -> Result<Self, String> {
        let mut settings = dialogue.settings.clone();
        let session = Session::new(session_settings(&mut settings)?);
        let transaction = transaction(&mut settings)?;
        if let Some(name) = settings.keys().next() {
            return Err(format!(
                "{}: unknown setting {name}",
                dialogue.path.display()
            ));
        }
        Ok(Self {
            dialogue,
            session,
            transaction,
            pieces,
            sent: Vec::new(),
            envelope: String::new(),
            body: Vec::new(),
            accepted: VecDeque::new(),
            wants_tls: false,
            closed: None,
            line: 0,
        })
    }

    fn play(mut self) -> Result<(), String> {
        match &self.dialogue.answers.connect {
            Some(said) => self.session.refuse_connection(refusal(said)),
            None => self.session.greet(),
        }
        self.drive();
        for step in &self.dialogue.steps {
            self.line = step.line;
            self.act(&step.action)?;
        }
        if !self.sent.is_empty() {
            let rest = String::from_utf8_lossy(&self.sent).into_owned();
            return Err(self.failure(&format!("the server also said {rest:?}")));
        }
        if let Some((_, message)) = self.accepted.front() {
            let message = String::from_utf8_lossy(message).into_owned();
            return Err(self.failure(&format!("a message was accepted as well: {message:?}")));
        }
        match self.closed {
            Some(reason) => Err(self.failure(&format!("the server closed: {reason:?}"))),
            None => Ok(()),
        }
    }

    fn act(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::Send(octets) => self.send(octets)?,
            Action::Expect(pattern) => {
                let line = self.next_line()?;
                if !pattern.matches(&line) {
                    return Err(self.failure(&format!("the server said {line:?}")));
                }
            }
            Action::ExpectReply(code) => loop {
                let line = self.next_line()?;
                match line
                    .strip_prefix(code.as_str())
                    .and_then(|rest| rest.chars().next())
                {
                    Some('-') => {}
                    Some(' ') => break,
                    _ => return Err(self.failure(&format!("the server said {line:?}"))),
                }
            },
            Action::Tls => {
                if !std::mem::take(&mut self.wants_tls) {
                    return Err(self.failure("the server does not wait for a handshake"));
                }
                self.session.tls_established();
            }
            Action::Close(closing) => {
                let wanted = match closing {
                    Closing::Quit => CloseReason::Quit,
                    Closing::Refused => CloseReason::Refused,
                    Closing::Drain => CloseReason::Drain,
                };
                let closed = self.closed.take();
                if closed != Some(wanted) {
                    return Err(self.failure(&format!("the server closed: {closed:?}")));
                }
            }
            Action::Envelope(wanted) => match self.accepted.front() {
                Some((envelope, _)) if envelope == wanted => {}
                other => {
                    let found = other.map(|(envelope, _)| envelope.clone());
                    return Err(self.failure(&format!("the envelope is {found:?}")));
                }
            },
            Action::Message(wanted) => match self.accepted.pop_front() {
                Some((_, message)) if message == *wanted => {}
                other => {
                    let found = other.map(|(_, octets)| octets.escape_ascii().to_string());
                    return Err(self.failure(&format!("the message is {found:?}")));
                }
            },
            Action::Driver(driver) => self.happen(driver),
        }
        self.drive();
        Ok(())
    }

    fn happen(&mut self, driver: &Driver) {
        match driver {
            Driver::Shutdown => self.session.shutdown(),
            Driver::ShutdownNow => self.session.shutdown_now(),
            Driver::TimedOut => self.session.timed_out(),
            Driver::AbortData => self.session.abort_data(),
            Driver::RefuseData(said) => self.session.refuse_data(refusal(said)),
        }
    }

    fn send(&mut self, octets: &[u8]) -> Result<(), String> {
        if matches!(self.closed, Some(CloseReason::Quit | CloseReason::Refused)) {
            return Err(self.failure("the client sends on a closed connection"));
        }
        for piece in octets.chunks(self.pieces.min(octets.len()).max(1)) {
            let mut rest = piece;
            while !rest.is_empty() {
                let taken = self.session.receive(rest);
                rest = &rest[taken..];
                let answered = self.drive();
                if taken == 0 && !answered {
                    return Err(self.failure("the session takes nothing and says nothing"));
                }
            }
        }
        Ok(())
    }

    /// Takes events and answers them; false if there was none.
    fn drive(&mut self) -> bool {
        let mut any = false;
        while let Some(event) = self.session.poll() {
            any = true;
            self.on(event);
        }
        any
    }

    fn on(&mut self, event: Event) {
        let answers = &self.dialogue.answers;
        match event {
            Event::Send(octets) => self.sent.extend_from_slice(&octets),
            Event::Helo(helo) => {
                let answer = answers.helo.get(&helo.name.to_string());
                self.session
                    .helo(answer.map_or(Ok(()), |said| Err(refusal(said))));
            }
            Event::Mail(mail) => {
                let path = mail.reverse_path.to_string();
                let name = if path == "<>" {
                    "<>"
                } else {
                    path.trim_matches(['<', '>'])
                };
                match answers.mail.get(name) {
                    Some(said) => self.session.mail(Err(refusal(said))),
                    None => {
                        self.envelope = format!("FROM:{path}");
                        if mail.eight_bit_mime {
                            self.envelope += " BODY=8BITMIME";
                        }
                        if mail.smtputf8 {
                            self.envelope += " SMTPUTF8";
                        }
                        self.session.mail(Ok(self.transaction.clone()));
                    }
                }
            }
            Event::Rcpt(rcpt) => {
                let path = rcpt.forward_path.to_string();
                let answer = answers.rcpt.get(path.trim_matches(['<', '>']));
                if answer.is_none() {
                    self.envelope += &format!(" TO:{path}");
                }
                self.session
                    .rcpt(rcpt.id, answer.map_or(Ok(()), |said| Err(refusal(said))));
            }
            Event::Data(_) => {
                let answer = answers.data.as_ref();
                self.session
                    .data(answer.map_or(Ok(()), |said| Err(refusal(said))));
            }
            Event::Body(octets) => self.body.extend_from_slice(&octets),
            Event::Message(_) => self.decide(),
            Event::Reset(_) => self.forget(),
            Event::StartTls => self.wants_tls = true,
            Event::Close(reason) => self.closed = Some(reason),
            Event::RcptGroup | Event::MailRefused(_) => {}
        }
    }

    fn decide(&mut self) {
        let text = match &self.dialogue.answers.message {
            Some(said) if said.code >= 400 => {
                self.session.message(Err(refusal(said)));
                return self.forget();
            }
            Some(said) => said.text.clone(),
            None => "Accepted".to_owned(),
        };
        self.session.message(Ok(Accepted { text }));
        let message = (
            std::mem::take(&mut self.envelope),
            std::mem::take(&mut self.body),
        );
        self.accepted.push_back(message);
    }

    fn forget(&mut self) {
        self.envelope.clear();
        self.body.clear();
    }

    fn next_line(&mut self) -> Result<String, String> {
        let Some(end) = self.sent.windows(2).position(|pair| pair == b"\r\n") else {
            let said = self.sent.escape_ascii().to_string();
            return Err(self.failure(&format!("the server said no line, only {said:?}")));
        };
        let line = self.sent.drain(..end + 2).take(end).collect();
        String::from_utf8(line).map_err(|_| self.failure("the server's line is not UTF-8"))
    }

    fn failure(&self, what: &str) -> String {
        let pieces = match self.pieces {
            usize::MAX => "in one packet".to_owned(),
            octets => format!("in pieces of {octets}"),
        };
        format!(
            "{}:{}: {what} ({pieces})",
            self.dialogue.path.display(),
            self.line
        )
    }
}

fn refusal(said: &Said) -> Refusal {
    let enhanced = Enhanced(said.enhanced.0, said.enhanced.1);
    match said.code {
        421 => Refusal::transient(TransientCode::ServiceNotAvailable, enhanced, &*said.text),
        530 => Refusal::permanent(PermanentCode::AuthenticationRequired, enhanced, &*said.text),
        400..500 => Refusal::transient(TransientCode::relayed(said.code), enhanced, &*said.text),
        _ => Refusal::permanent(PermanentCode::relayed(said.code), enhanced, &*said.text),
    }
}

fn session_settings(settings: &mut BTreeMap<String, String>) -> Result<Settings, String> {
    let starttls = match settings.remove("starttls").as_deref() {
        None | Some("unavailable") => StartTls::Unavailable,
        Some("offered") => StartTls::Offered,
        Some("required") => StartTls::Required,
        Some(other) => return Err(format!("unknown starttls {other}")),
    };
    Ok(Settings {
        hostname: settings
            .remove("hostname")
            .unwrap_or_else(|| "mx.example.com".to_owned()),
        starttls,
        size: number(settings, "size")?.unwrap_or(1_000_000),
        commands: number(settings, "commands")?.unwrap_or(1_000),
        errors: number(settings, "errors")?.unwrap_or(10),
        rcptmax: number(settings, "rcptmax")?,
    })
}

fn transaction(settings: &mut BTreeMap<String, String>) -> Result<Transaction, String> {
    let mut newlines = |name| match settings.remove(name).as_deref() {
        None if name == "bare-newlines-bdat" => Ok(BareNewlines::Normalize),
        None | Some("reject") => Ok(BareNewlines::Reject),
        Some("normalize") => Ok(BareNewlines::Normalize),
        Some(other) => Err(format!("unknown {name} {other}")),
    };
    let bare_newlines_data = newlines("bare-newlines-data")?;
    let bare_newlines_bdat = newlines("bare-newlines-bdat")?;
    Ok(Transaction {
        size: number(settings, "message-size")?.unwrap_or(1_000_000),
        recipients: number(settings, "recipients")?.unwrap_or(100),
        bare_newlines_data,
        bare_newlines_bdat,
    })
}

fn number<N: std::str::FromStr>(
    settings: &mut BTreeMap<String, String>,
    name: &str,
) -> Result<Option<N>, String> {
    let value = settings.remove(name);
    value
        .map(|text| {
            text.parse()
                .map_err(|_| format!("{name}: no number: {text}"))
        })
        .transpose()
}
