//! One SMTP connection as a state machine over the five stages.
//!
//! In: octets, and the driver's answers. Out: [`Event`]s. Each stage is a type in the file of its
//! name that owns what is known there; to go on means to consume it and give back the next one.
//!
//! ```text
//! connection -> helo -> mail -> rcpt -> data -> mail ...
//! ```

mod connection;
mod data;
mod helo;
mod mail;
mod rcpt;

mod core;

use self::connection::Connection;
use self::core::Core;
use self::data::Data;
use self::helo::Helo;
use self::mail::Mail;
use self::rcpt::Rcpt;
use crate::reply::{Refusal, Reply};
use crate::server::replies::Effect;
use crate::server::{Answer, CloseReason, Event, Settings, StartTls, Transaction};

/// One connection, sans-IO: octets and answers go in, [`Event`]s come out.
///
/// ```
/// use postern_smtp::server::{Event, Session, Settings, StartTls};
///
/// let mut session = Session::new(Settings {
///     hostname: "mx.example.com".to_owned(),
///     starttls: StartTls::Unavailable,
///     size: 1_000_000,
///     commands: 1_000,
///     errors: 10,
///     rcptmax: None,
/// });
/// session.greet();
/// assert_eq!(session.receive(b"EHLO client.example\r\n"), 21);
/// assert!(matches!(session.poll(), Some(Event::Helo(_))));
/// session.helo(Ok(()));
/// assert!(matches!(session.poll(), Some(Event::Send(_))));
/// assert_eq!(session.poll(), None);
/// ```
#[derive(Debug)]
pub struct Session {
    core: Core,
    stage: Stage,
}

/// The stage of a session, with what is known in it.
#[derive(Debug)]
enum Stage {
    Connection(Connection),
    Helo(Helo),
    Mail(Mail),
    Rcpt(Rcpt),
    Data(Data),
    Closed,
}

impl Stage {
    /// Serves what is in the input; false if nothing could be done.
    fn advance(self, core: &mut Core) -> (Self, bool) {
        match self {
            Self::Connection(connection) => connection.advance(core),
            Self::Helo(helo) => helo.advance(core),
            Self::Mail(mail) => mail.advance(core),
            Self::Rcpt(rcpt) => rcpt.advance(core),
            Self::Data(data) => data.advance(core),
            Self::Closed => (Self::Closed, false),
        }
    }

    /// Whether the gateway holds a transaction, of which [`Event::Reset`] must tell the end.
    fn has_transaction(&self) -> bool {
        match self {
            Self::Connection(_) | Self::Mail(_) | Self::Closed => false,
            Self::Helo(Helo::Asked { before, .. }) => before.has_transaction(),
            Self::Helo(Helo::Waiting | Helo::Handshake) => false,
            Self::Rcpt(_) => true,
            Self::Data(data) => data.has_transaction(),
        }
    }

    fn awaits_answer(&self) -> bool {
        match self {
            Self::Connection(Connection::New)
            | Self::Helo(Helo::Asked { .. } | Helo::Handshake)
            | Self::Mail(Mail::Asked { .. })
            | Self::Data(Data::Asked(_) | Data::ChunkAsked(..) | Data::Decided) => true,
            Self::Rcpt(rcpt) => rcpt.awaits_answer(),
            Self::Connection(Connection::Refused)
            | Self::Helo(Helo::Waiting)
            | Self::Mail(Mail::Waiting { .. })
            | Self::Data(Data::Receiving(_) | Data::Chunk(..) | Data::BetweenChunks(_))
            | Self::Closed => false,
        }
    }

    /// Whether the session may end here without cutting a transaction or a handshake.
    const fn is_boundary(&self) -> bool {
        matches!(
            self,
            Self::Connection(Connection::Refused)
                | Self::Helo(Helo::Waiting)
                | Self::Mail(Mail::Waiting { .. })
        )
    }

    /// Octets of a message are expected, not commands.
    const fn is_in_message(&self) -> bool {
        matches!(self, Self::Data(Data::Receiving(_) | Data::Chunk(..)))
    }
}

/// Where a session stands, for timeouts and telemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Before the greeting.
    Connection,
    /// Greeted; the client has not named itself yet, or TLS has just begun.
    Helo,
    /// 220 was sent to STARTTLS: the handshake is the driver's.
    Handshake,
    /// Named; no transaction is open.
    Mail,
    /// A transaction is open and takes recipients.
    Rcpt,
    /// DATA or BDAT.
    Data(DataState),
    /// [`Event::Close`] was handed out, or will be next.
    Closed,
}

/// Where a session stands within [`State::Data`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataState {
    /// [`Event::Data`] waits for its answer.
    Asked,
    /// Octets of the message are expected.
    Receiving,
    /// Between two BDAT chunks: a command is expected.
    BetweenChunks,
    /// The message is refused already (too large, or by [`Session::refuse_data`]); its rest is
    /// read and thrown away.
    Swallowing,
    /// As `Swallowing`, but the end of the data cannot be trusted: after 30 s without an octet
    /// call [`Session::abort_data`] (docs/flow.md, 5. data).
    Untrusted,
    /// [`Event::Message`] waits for its answer.
    Message,
}

/// A message was accepted: 250 2.0.0 and this text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Text for a person, without line breaks, e.g. what the backend said.
    pub text: String,
}

impl Session {
    /// A session before its greeting: call [`Session::greet`] or [`Session::refuse_connection`].
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            core: Core::new(settings),
            stage: Stage::Connection(Connection::New),
        }
    }

    /// What the listener offers, as it stands now (STARTTLS is `Unavailable` under TLS).
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.core.settings
    }

    /// Takes octets from the client. Returns how many were taken: less than all means that the
    /// input buffer is full; poll, answer, and offer the rest again. After [`Event::StartTls`] and
    /// [`Event::Close`] all are taken and dropped.
    #[must_use = "octets that were not taken must be offered again"]
    pub fn receive(&mut self, octets: &[u8]) -> usize {
        if matches!(self.stage, Stage::Helo(Helo::Handshake) | Stage::Closed) {
            return octets.len();
        }
        self.core.input.push(octets, self.is_in_message())
    }

    /// Whether [`Session::receive`] would keep anything: stop reading the socket while false.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        match self.stage {
            Stage::Helo(Helo::Handshake) | Stage::Closed => false,
            _ => self.core.input.room(self.is_in_message()) > 0,
        }
    }

    /// The next event, or none until there is more input or an answer.
    pub fn poll(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.core.events.pop_front() {
                return Some(event);
            }
            if !self.advance() {
                self.rest();
                return self.core.events.pop_front();
            }
        }
    }

    /// Sends 220 (RFC 5321 §3.1).
    pub fn greet(&mut self) {
        self.transition(|stage, core| match stage {
            Stage::Connection(Connection::New) => Connection::greet(core),
            other => other,
        });
    }

    /// Refuses the connection instead of greeting: a transient refusal is 421 and closes; a
    /// permanent one is 554 and waits for QUIT, answering all else with 503 (RFC 5321 §3.1).
    pub fn refuse_connection(&mut self, refusal: Refusal) {
        self.transition(|stage, core| match stage {
            Stage::Connection(Connection::New) => Connection::refuse(core, &refusal),
            other => other,
        });
    }

    /// Answers [`Event::Helo`].
    pub fn helo(&mut self, answer: Answer) {
        self.transition(|stage, core| match stage {
            Stage::Helo(Helo::Asked { extended, before }) => {
                Helo::answered(core, extended, *before, answer)
            }
            other => other,
        });
    }

    /// Answers [`Event::Mail`]. A declared SIZE above the transaction's is refused by the session
    /// itself, and [`Event::Reset`] follows.
    pub fn mail(&mut self, answer: Result<Transaction, Refusal>) {
        self.transition(|stage, core| match stage {
            Stage::Mail(Mail::Asked { declared }) => Mail::answered(core, declared, answer),
            other => other,
        });
    }

    /// Answers the [`Event::Rcpt`] with this id; an id that is not awaited is ignored (its
    /// transaction may have ended by a timeout in the meantime).
    pub fn rcpt(&mut self, id: u64, answer: Answer) {
        self.transition(|stage, core| match stage {
            Stage::Rcpt(rcpt) => rcpt.answered(core, id, &answer),
            other => other,
        });
    }

    /// Answers [`Event::Data`].
    pub fn data(&mut self, answer: Answer) {
        self.transition(|stage, core| match stage {
            Stage::Data(data) => data.answered(core, answer),
            other => other,
        });
    }

    /// Refuses the message while it is still coming (memory budget, header block too long): no
    /// further [`Event::Body`], the rest is swallowed, then this refusal is the reply instead of
    /// [`Event::Message`]. [`Event::Reset`] follows at once.
    pub fn refuse_data(&mut self, refusal: Refusal) {
        if let Stage::Data(data) = &mut self.stage {
            data.refuse(&mut self.core, refusal);
        }
    }

    /// Gives up waiting for the end of data: in [`DataState::Untrusted`] the message's refusal
    /// (550 5.6.0), else 421 4.4.2; then [`Event::Close`].
    pub fn abort_data(&mut self) {
        self.transition(|stage, core| match stage {
            Stage::Data(data) => data.abort(core),
            other => other,
        });
        if !matches!(self.stage, Stage::Closed) {
            self.timed_out();
        }
    }

    /// Answers [`Event::Message`].
    pub fn message(&mut self, answer: Result<Accepted, Refusal>) {
        self.transition(|stage, core| match stage {
            Stage::Data(Data::Decided) => Data::decided(core, answer),
            other => other,
        });
    }

    /// Sends the replies that are ready although others are still awaited (after 1 s of waiting).
    pub fn flush(&mut self) {
        self.core.flush();
    }

    /// The handshake is complete. The session forgets all that it knew (RFC 3207 §4.2).
    pub fn tls_established(&mut self) {
        self.transition(|stage, core| match stage {
            Stage::Helo(Helo::Handshake) => {
                core.settings.starttls = StartTls::Unavailable;
                core.secured = true;
                Stage::Helo(Helo::Waiting)
            }
            other => other,
        });
    }

    /// Ends the session with 421 4.3.2 at the next command boundary; an open transaction finishes
    /// first.
    pub fn shutdown(&mut self) {
        self.core.shutdown = true;
    }

    /// Ends the session with 421 4.3.2 at once.
    pub fn shutdown_now(&mut self) {
        self.end(&Reply::shutting_down(&self.core.settings.hostname));
    }

    /// The client took too long: 421 4.4.2 and close (RFC 5321 §4.5.3.2).
    pub fn timed_out(&mut self) {
        self.end(&Reply::timeout(&self.core.settings.hostname));
    }

    /// Where the session stands.
    #[must_use]
    pub fn state(&self) -> State {
        match &self.stage {
            Stage::Connection(_) => State::Connection,
            Stage::Helo(Helo::Waiting) => State::Helo,
            // The client names itself anew: the stage that it leaves is over or goes on.
            Stage::Helo(Helo::Asked { .. }) => State::Helo,
            Stage::Helo(Helo::Handshake) => State::Handshake,
            Stage::Mail(_) => State::Mail,
            Stage::Rcpt(_) => State::Rcpt,
            Stage::Data(data) => State::Data(data.state()),
            Stage::Closed => State::Closed,
        }
    }

    /// Whether an answer from the driver is missing: the client's timeouts do not run then.
    #[must_use]
    pub fn awaits_answer(&self) -> bool {
        self.stage.awaits_answer()
    }

    /// Octets received and not yet consumed.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.core.input.len()
    }

    fn is_in_message(&self) -> bool {
        self.stage.is_in_message() || self.core.is_discarding()
    }

    /// Consumes the stage and puts the next one in its place.
    fn transition(&mut self, step: impl FnOnce(Stage, &mut Core) -> Stage) {
        let stage = std::mem::replace(&mut self.stage, Stage::Closed);
        self.stage = step(stage, &mut self.core);
        self.settle();
    }

    /// Serves one command, or one piece of the message. False if there is nothing to do.
    fn advance(&mut self) -> bool {
        let moved = match self.core.discard() {
            Some(moved) => moved,
            None if self.core.shutdown && self.stage.is_boundary() => {
                self.end(&Reply::shutting_down(&self.core.settings.hostname));
                return true;
            }
            None => {
                let stage = std::mem::replace(&mut self.stage, Stage::Closed);
                let (stage, moved) = stage.advance(&mut self.core);
                self.stage = stage;
                moved
            }
        };
        self.settle();
        self.core.flush_if_full();
        moved
    }

    /// Nothing is left to do: the client waits for us, or we for an answer.
    fn rest(&mut self) {
        if !self.stage.awaits_answer() {
            // RFC 2920 §3.2: the replies to all that came together leave together.
            self.core.flush();
            self.core.input.shrink();
        }
    }

    /// Releases the replies whose turn it is, and lets take effect what follows from them.
    fn settle(&mut self) {
        while let Some((reply, effect)) = self.core.replies.release() {
            match effect {
                Effect::Fault if self.core.is_fault_too_many() => {
                    let last = Reply::too_many_errors(&self.core.settings.hostname);
                    return self.close_with(&last, CloseReason::Refused);
                }
                Effect::None | Effect::Fault => reply.render(&mut self.core.out),
                Effect::Handshake => {
                    reply.render(&mut self.core.out);
                    self.core.flush();
                    self.core.events.push_back(Event::StartTls);
                }
                Effect::Close(reason) => return self.close_with(&reply, reason),
            }
        }
    }

    /// Ends the session from outside; answers that are awaited are not waited for.
    fn end(&mut self, reply: &Reply) {
        match self.stage {
            Stage::Closed => {}
            // Nothing can be said in the clear any more, and nothing under TLS yet.
            Stage::Helo(Helo::Handshake) => self.close(CloseReason::Refused, None),
            // The client is still sending: it shall be able to read the reply.
            _ if self.is_in_message() => self.close_with(reply, CloseReason::Drain),
            _ => self.close_with(reply, CloseReason::Refused),
        }
    }

    /// Says the last reply and closes.
    fn close_with(&mut self, reply: &Reply, reason: CloseReason) {
        reply.render(&mut self.core.out);
        self.close(reason, reply.refused());
    }

    fn close(&mut self, reason: CloseReason, refused: Option<Refusal>) {
        if self.stage.has_transaction() {
            self.core.events.push_back(Event::Reset(refused));
        }
        self.core.flush();
        self.core.events.push_back(Event::Close(reason));
        self.core.replies.clear();
        self.core.input.clear();
        self.stage = Stage::Closed;
    }
}

#[cfg(test)]
mod tests;
