//! One SMTP connection as a state machine over the five stages.

use crate::reply::Refusal;
use crate::server::{Answer, Event, Settings, Transaction};

/// One connection, sans-IO: octets and answers go in, [`Event`]s come out.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
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
    /// call [`Session::abort_data`] (DESIGN section 5.1).
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
        Self { settings }
    }

    /// What the listener offers, as it stands now (STARTTLS is `Unavailable` under TLS).
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes octets from the client. Returns how many were taken: less than all means that the
    /// input buffer is full; poll, answer, and offer the rest again. After [`Event::StartTls`] and
    /// [`Event::Close`] all are taken and dropped.
    #[must_use = "octets that were not taken must be offered again"]
    pub fn receive(&mut self, octets: &[u8]) -> usize {
        octets.len()
    }

    /// Whether [`Session::receive`] would take anything: stop reading the socket while false.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        true
    }

    /// The next event, or none until there is more input or an answer.
    pub fn poll(&mut self) -> Option<Event> {
        None
    }

    /// Sends 220 (RFC 5321 §3.1).
    pub fn greet(&mut self) {}

    /// Refuses the connection instead of greeting: a transient refusal is 421 and closes; a
    /// permanent one is 554 and waits for QUIT, answering all else with 503 (RFC 5321 §3.1).
    pub fn refuse_connection(&mut self, refusal: Refusal) {
        let _ = refusal;
    }

    /// Answers [`Event::Helo`].
    pub fn helo(&mut self, answer: Answer) {
        let _ = answer;
    }

    /// Answers [`Event::Mail`]. A declared SIZE above the transaction's is refused by the session
    /// itself, and [`Event::Reset`] follows.
    pub fn mail(&mut self, answer: Result<Transaction, Refusal>) {
        let _ = answer;
    }

    /// Answers the [`Event::Rcpt`] with this id; an id that is not awaited is ignored (its
    /// transaction may have ended by a timeout in the meantime).
    pub fn rcpt(&mut self, id: u64, answer: Answer) {
        let _ = (id, answer);
    }

    /// Answers [`Event::Data`].
    pub fn data(&mut self, answer: Answer) {
        let _ = answer;
    }

    /// Refuses the message while it is still coming (memory budget, header block too long): no
    /// further [`Event::Body`], the rest is swallowed, then this refusal is the reply instead of
    /// [`Event::Message`].
    pub fn refuse_data(&mut self, refusal: Refusal) {
        let _ = refusal;
    }

    /// Gives up waiting for the end of data: in [`DataState::Untrusted`] 550 5.6.0, else 421
    /// 4.4.2; then [`Event::Close`].
    pub fn abort_data(&mut self) {}

    /// Answers [`Event::Message`].
    pub fn message(&mut self, answer: Result<Accepted, Refusal>) {
        let _ = answer;
    }

    /// Sends the replies that are ready although others are still awaited (after 1 s of waiting).
    pub fn flush(&mut self) {}

    /// The handshake is complete. The session forgets all that it knew (RFC 3207 §4.2).
    pub fn tls_established(&mut self) {}

    /// Ends the session with 421 4.3.2 at the next command boundary; an open transaction finishes
    /// first.
    pub fn shutdown(&mut self) {}

    /// Ends the session with 421 4.3.2 at once.
    pub fn shutdown_now(&mut self) {}

    /// The client took too long: 421 4.4.2 and close (RFC 5321 §4.5.3.2).
    pub fn timed_out(&mut self) {}

    /// Where the session stands.
    #[must_use]
    pub fn state(&self) -> State {
        State::Connection
    }

    /// Whether an answer from the driver is missing: the client's timeouts do not run then.
    #[must_use]
    pub fn awaits_answer(&self) -> bool {
        true
    }

    /// Octets received and not yet consumed.
    #[must_use]
    pub fn buffered(&self) -> usize {
        0
    }
}
