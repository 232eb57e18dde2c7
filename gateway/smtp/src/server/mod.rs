//! The receiving side of SMTP, one [`Session`] for each connection (RFC 5321 §3, §4).
//!
//! The driver feeds octets with [`Session::receive`], then takes events with [`Session::poll`]
//! until there is none, and answers those events that ask something. While an answer is missing
//! the session parses no command whose reply could depend on it; replies to pipelined commands
//! leave in one [`Event::Send`] (RFC 2920 §3.2).
//!
//! ```text
//! octets -> receive -> poll -> Event::{Helo, Mail, Rcpt, Data, Message} -> the gateway decides
//!                       ^                                                    |
//!                       +--- greet, helo, mail, rcpt, data, message <--------+
//! ```

mod command;
mod framing;
mod input;
mod replies;
mod session;

pub use session::{Accepted, DataState, Session, State};

use crate::address::{ClientName, ForwardPath, ReversePath};
use crate::reply::{Enhanced, Refusal, Reply};
use bytes::Bytes;

/// What the listener offers: fixed for a session, save where [`Transaction`] says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Our name in banner and EHLO reply.
    pub hostname: String,
    /// STARTTLS: not offered, offered, or required before MAIL (530 5.7.0, RFC 3207 §4).
    pub starttls: StartTls,
    /// The SIZE that EHLO advertises, octets; 0 says that there is no fixed limit (RFC 1870 §4).
    pub size: u64,
    /// Commands that are served in the session; the next is answered 421 4.7.0.
    pub commands: u32,
    /// Faults of the client (syntax and sequence errors, recipients refused with 5yz) that are
    /// answered as such; the next is answered 421 4.7.0. What was pipelined behind a refused MAIL,
    /// and DATA when all recipients were refused, is no fault (RFC 2920 §3.1).
    pub errors: u32,
    /// RCPTMAX of LIMITS (RFC 9422), advertised when given.
    pub rcptmax: Option<u32>,
}

/// Whether STARTTLS is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartTls {
    /// Not offered (no TLS at this listener, or TLS already stands).
    Unavailable,
    /// Offered.
    Offered,
    /// MAIL is refused before it.
    Required,
}

/// What to do with bare CR and bare LF in a message (`limits.bareNewlines` of a MailPolicy).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BareNewlines {
    /// 550 5.6.0.
    Reject,
    /// A bare LF becomes CRLF, a bare CR a space.
    Normalize,
}

/// What holds for one transaction; given with the answer to [`Event::Mail`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Largest message, octets; more is 552 5.3.4.
    pub size: u64,
    /// Accepted recipients; more are 452 4.5.3 (RFC 5321 §4.5.3.1.10).
    pub recipients: u32,
    /// Bare newlines in DATA.
    pub bare_newlines_data: BareNewlines,
    /// Bare newlines in BDAT.
    pub bare_newlines_bdat: BareNewlines,
}

/// HELO or EHLO, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helo {
    /// True for EHLO.
    pub extended: bool,
    /// The client's name.
    pub name: ClientName,
}

/// MAIL FROM and its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The reverse-path.
    pub reverse_path: ReversePath,
    /// SIZE= (RFC 1870 §5).
    pub size: Option<u64>,
    /// BODY=8BITMIME (RFC 6152) was given.
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531) was given.
    pub smtputf8: bool,
}

/// A MAIL that the session refused itself, for those who record what is refused: malformed, with a
/// parameter that is not offered, or before the STARTTLS that is required. (MAIL out of order, 503,
/// asks for no transaction.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedMail {
    /// The reverse-path, where it can be read.
    pub reverse_path: Option<ReversePath>,
    /// The code of the reply, three digits.
    pub code: u16,
    /// Its enhanced code (RFC 3463): class, subject, detail.
    pub enhanced: (u16, u16, u16),
    /// Its text.
    pub text: String,
}

impl RefusedMail {
    fn new(reverse_path: Option<ReversePath>, reply: &Reply) -> Self {
        let Enhanced(subject, detail) = reply.enhanced.unwrap_or(Enhanced(0, 0));
        Self {
            reverse_path,
            code: reply.code,
            enhanced: (reply.code / 100, subject, detail),
            text: reply.words().to_owned(),
        }
    }
}

/// One RCPT of the group that came together. Answered by [`Session::rcpt`] with the same id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rcpt {
    /// Counts up within the session.
    pub id: u64,
    /// The forward-path.
    pub forward_path: ForwardPath,
}

/// How the message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// DATA (RFC 5321 §4.1.1.4).
    Data,
    /// BDAT (RFC 3030).
    Bdat,
}

/// Why the session wants the connection closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The client said QUIT.
    Quit,
    /// A limit, a timeout, an error or a shutdown: 421 or 554 was sent.
    Refused,
    /// The framing of the data cannot be trusted: close the writing side and drain for at most
    /// 5 s, reading nothing as a command (docs/flow.md, 5. data).
    Drain,
}

/// What comes out of a [`Session`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Octets to send now.
    Send(Bytes),
    /// The client named itself. Answer with [`Session::helo`].
    Helo(Helo),
    /// A transaction wants to begin. Answer with [`Session::mail`].
    Mail(Mail),
    /// MAIL was refused already: no transaction begins, and nothing is to be answered.
    MailRefused(RefusedMail),
    /// A recipient. Several may come before the first is answered (a pipelined group); answer each
    /// with [`Session::rcpt`], in any order. Replies leave in the order of the commands.
    Rcpt(Rcpt),
    /// All RCPT that have arrived together were handed out: ask about them as one group.
    RcptGroup,
    /// DATA or the first BDAT came in order and with at least one accepted recipient.
    /// Answer with [`Session::data`].
    Data(Framing),
    /// Octets of the message, unstuffed, normalised where that was asked for. A piece is a slice
    /// of what was received, cut where dots and newlines make it so: it may be one octet, and it
    /// keeps its receive buffer alive. Copy pieces into one buffer instead of keeping them.
    Body(Bytes),
    /// The message is complete. Answer with [`Session::message`].
    Message(Framing),
    /// The transaction was given up: forget recipients and body. With the refusal when the session
    /// itself ended it (too large, framing, a limit, a timeout, [`Session::refuse_data`]); its reply
    /// may follow much later, at the end of the data. Without when the client did (RSET, EHLO,
    /// QUIT, STARTTLS).
    Reset(Option<Refusal>),
    /// 220 was sent: make the handshake, then call [`Session::tls_established`]. What the client
    /// sent before it is already dropped (RFC 3207 §4.2).
    StartTls,
    /// Close the connection after everything before this was sent.
    Close(CloseReason),
}

/// The answer to one question: go on, or refuse.
pub type Answer = Result<(), Refusal>;
