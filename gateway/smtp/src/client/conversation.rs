//! One connection to a backend: octets out in order of the commands, replies in to the command
//! that each answers.

use super::extensions::Extensions;
use super::reply::{Nonsense, Reply, ReplyReader};
use std::collections::VecDeque;
use std::fmt;

/// Which of the two protocols is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 5321.
    Smtp,
    /// RFC 2033: LHLO, and one reply for each accepted recipient after the final dot.
    Lmtp,
}

/// What a reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The connection itself.
    Greeting,
    /// EHLO, HELO or LHLO.
    Hello,
    /// STARTTLS.
    StartTls,
    /// AUTH.
    Login,
    /// RSET.
    Reset,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA.
    Data,
    /// The final dot.
    Message,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Greeting => "the connection",
            Self::Hello => "EHLO",
            Self::StartTls => "STARTTLS",
            Self::Login => "AUTH",
            Self::Reset => "RSET",
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Data => "DATA",
            Self::Message => "the message",
        })
    }
}

/// Why a conversation cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The backend made no sense.
    #[error("the backend sent {0}")]
    Nonsense(#[from] Nonsense),
    /// 421: the backend closes the connection (RFC 5321 §3.8).
    #[error("the backend closes the connection: {}", .0.codes())]
    Closing(Reply),
}

/// Whether another transaction may follow on the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// It may begin with MAIL.
    Ready,
    /// A transaction is open there: RSET goes in front of the next MAIL.
    AfterReset,
    /// The connection must be closed: an answer is outstanding, or the backend waits for a
    /// message that must not be sent.
    Never,
}

/// One connection; see the module.
#[derive(Debug)]
pub struct Conversation {
    pub(super) protocol: Protocol,
    pub(super) extensions: Extensions,
    pub(super) reuse: Reuse,
    reader: ReplyReader,
    awaiting: VecDeque<Stage>,
    output: Vec<u8>,
}

impl Conversation {
    /// A connection that was made just now: the backend speaks first.
    #[must_use]
    pub fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            extensions: Extensions::default(),
            reuse: Reuse::Never,
            reader: ReplyReader::default(),
            awaiting: VecDeque::from([Stage::Greeting]),
            output: Vec::new(),
        }
    }

    /// The protocol.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// What the backend offers, as of its last reply to EHLO or LHLO.
    #[must_use]
    pub const fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// Whether another transaction may follow.
    #[must_use]
    pub fn reuse(&self) -> Reuse {
        if self.awaiting.is_empty() && self.reader.is_empty() && self.output.is_empty() {
            self.reuse
        } else {
            Reuse::Never
        }
    }

    /// Takes octets from the backend.
    pub fn receive(&mut self, octets: &[u8]) {
        self.reader.receive(octets);
    }

    /// Octets for the backend; the caller writes them and then calls [`Conversation::written`].
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// The output has been written.
    pub fn written(&mut self) {
        self.output.clear();
    }

    /// Before and while a message is written nothing may come from the backend, save a refusal
    /// (RFC 5321 §3.8 lets it give up at any time).
    ///
    /// # Errors
    /// Anything but a refusal.
    pub fn early(&mut self) -> Result<Option<Reply>, Broken> {
        match self.reader.next()? {
            None => Ok(None),
            Some(reply) if reply.code == 421 => Err(Broken::Closing(reply)),
            Some(reply) if reply.is_transient() || reply.is_permanent() => Ok(Some(reply)),
            // A 250 that is early would be taken for the answer to the final dot.
            Some(reply) => Err(Nonsense::Unsolicited(reply.code).into()),
        }
    }

    /// The final dot has been written: replies for `recipients` are awaited, for SMTP one.
    pub(super) fn await_message(&mut self, recipients: usize) {
        let replies = match self.protocol {
            Protocol::Smtp => 1,
            Protocol::Lmtp => recipients,
        };
        self.awaiting
            .extend(std::iter::repeat_n(Stage::Message, replies));
        self.reuse = Reuse::Ready;
    }

    pub(super) fn send(&mut self, stage: Stage, octets: &[u8]) {
        self.output.extend_from_slice(octets);
        self.awaiting.push_back(stage);
    }

    pub(super) fn outstanding(&self) -> usize {
        self.awaiting.len()
    }

    /// Before a command is sent nothing may have come: it would be taken for the answer.
    pub(super) fn quiet(&mut self) -> Result<(), Broken> {
        match self.early()? {
            Some(reply) => Err(Nonsense::Unsolicited(reply.code).into()),
            None if self.is_quiet() => Ok(()),
            None => Err(Nonsense::NotAReply.into()),
        }
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.reader.is_empty()
    }

    /// The next reply with what it answers; its class is one that can answer it.
    pub(super) fn answer(&mut self) -> Result<Option<(Stage, Reply)>, Broken> {
        let Some(reply) = self.reader.next()? else {
            return Ok(None);
        };
        if reply.code == 421 {
            self.reuse = Reuse::Never;
            return Err(Broken::Closing(reply));
        }
        let Some(stage) = self.awaiting.pop_front() else {
            return Err(Nonsense::Unsolicited(reply.code).into());
        };
        let fits = match reply.code / 100 {
            2 => stage != Stage::Data,
            3 => matches!(stage, Stage::Data | Stage::Login),
            _ => stage != Stage::Reset,
        };
        if fits {
            Ok(Some((stage, reply)))
        } else {
            Err(Nonsense::Unexpected {
                stage,
                code: reply.code,
            }
            .into())
        }
    }

    /// Puts octets among the output without awaiting anything.
    #[cfg(test)]
    pub(super) fn output_for_test(&mut self, octets: &[u8]) {
        self.output.extend_from_slice(octets);
    }
}
