//! What every stage of a session needs: input, the queue of replies, the queue of events, counters.
//!
//! In: lines and replies. Out: the commands that a stage must serve; those that are the same in
//! every stage are answered here.

use crate::reply::{Refusal, Reply};
use crate::server::command::{BadChunk, Chunk, Command, Verb};
use crate::server::input::{Input, Line};
use crate::server::replies::{Effect, Replies};
use crate::server::{CloseReason, Event, RefusedMail, Settings, StartTls};
use bytes::{Buf, BytesMut};
use std::collections::VecDeque;

/// Replies are handed out when so many octets wait, even if more could follow.
const FLUSH_AT: usize = 4 * 1_024;

/// What a session has beside its stage.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) settings: Settings,
    pub(super) input: Input,
    pub(super) replies: Replies,
    pub(super) events: VecDeque<Event>,
    /// Replies that were released, as octets.
    pub(super) out: BytesMut,
    /// TLS was begun in this session.
    pub(super) secured: bool,
    /// [`super::Session::shutdown`] was called.
    pub(super) shutdown: bool,
    commands: u32,
    errors: u32,
    rcpt_ids: u64,
    refused_chunk: Option<RefusedChunk>,
}

/// A BDAT chunk that is read and thrown away before its command is answered (RFC 3030 §2).
#[derive(Debug)]
struct RefusedChunk {
    remaining: u64,
    reply: Reply,
    effect: Effect,
}

/// Which lines must wait for answers to those before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// None.
    Nothing,
    /// All but RCPT: recipients are asked about together.
    AllButRcpt,
    /// All.
    Everything,
}

/// What came of reading a line.
#[derive(Debug)]
pub(super) enum Read {
    /// There is no complete line, or it must wait.
    Blocked,
    /// It is answered.
    Answered,
    /// The stage must serve it.
    Command(Command),
}

impl Core {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            input: Input::default(),
            replies: Replies::default(),
            events: VecDeque::new(),
            out: BytesMut::new(),
            secured: false,
            shutdown: false,
            commands: 0,
            errors: 0,
            rcpt_ids: 0,
            refused_chunk: None,
        }
    }

    /// A reply from which nothing follows.
    pub(super) fn say(&mut self, reply: Reply) {
        self.replies.push(reply, Effect::None);
    }

    /// A reply to a client's mistake.
    pub(super) fn fault(&mut self, reply: Reply) {
        self.replies.push(reply, Effect::Fault);
    }

    /// The last reply.
    pub(super) fn close(&mut self, reply: Reply, reason: CloseReason) {
        self.replies.push(reply, Effect::Close(reason));
    }

    /// A refusal that was decided outside; with 421 it is the last reply (RFC 5321 §3.8).
    pub(super) fn refusal(&mut self, refusal: &Refusal, effect: Effect) {
        self.replies
            .push(refusal.into(), effect_of(refusal, effect));
    }

    /// An id for a recipient.
    pub(super) fn next_rcpt(&mut self) -> u64 {
        self.rcpt_ids += 1;
        self.rcpt_ids
    }

    /// Counts a fault; true once there are more than the limit allows.
    pub(super) fn is_fault_too_many(&mut self) -> bool {
        self.errors = self.errors.saturating_add(1);
        self.errors > self.settings.errors
    }

    /// Hands out the replies that were released.
    pub(super) fn flush(&mut self) {
        if !self.out.is_empty() {
            self.events
                .push_back(Event::Send(self.out.split().freeze()));
        }
    }

    /// Hands out the replies that were released if they are many.
    pub(super) fn flush_if_full(&mut self) {
        if self.out.len() >= FLUSH_AT {
            self.flush();
        }
    }

    /// Reads and throws away a refused chunk. None if there is none, else whether it went on.
    pub(super) fn discard(&mut self) -> Option<bool> {
        let chunk = self.refused_chunk.as_mut()?;
        let input = self.input.octets();
        let octets = usize::try_from(chunk.remaining).map_or(input.len(), |n| n.min(input.len()));
        input.advance(octets);
        chunk.remaining -= octets as u64;
        if chunk.remaining > 0 {
            return Some(octets > 0);
        }
        if let Some(RefusedChunk { reply, effect, .. }) = self.refused_chunk.take() {
            self.replies.push(reply, effect);
        }
        Some(true)
    }

    /// Whether octets of a refused chunk are awaited.
    pub(super) const fn is_discarding(&self) -> bool {
        self.refused_chunk.is_some()
    }

    /// Answers a BDAT once its octets have been thrown away.
    pub(super) fn refuse_chunk(&mut self, size: u64, reply: Reply, effect: Effect) {
        self.refused_chunk = Some(RefusedChunk {
            remaining: size,
            reply,
            effect,
        });
    }

    /// Reads the argument of BDAT; what is wrong with it is answered here, and given.
    pub(super) fn chunk(&mut self, command: &Command) -> Result<Chunk, Reply> {
        let bad = match command.bdat() {
            Ok(chunk) => return Ok(chunk),
            Err(bad) => bad,
        };
        let reply = match bad {
            BadChunk::Malformed | BadChunk::Surplus(_) => Reply::BDAT_SYNTAX,
            BadChunk::Endless => Reply::MESSAGE_TOO_LARGE,
        };
        match bad {
            BadChunk::Malformed => self.fault(reply.clone()),
            BadChunk::Surplus(size) => self.refuse_chunk(size, reply.clone(), Effect::Fault),
            // So many octets do not end: nothing behind them can be a command.
            BadChunk::Endless => self.close(reply.clone(), CloseReason::Drain),
        }
        Err(reply)
    }

    /// Refuses a command that this stage does not serve. A BDAT's octets are read first.
    pub(super) fn refuse(&mut self, command: &Command, reply: Reply, effect: Effect) {
        if command.verb != Verb::Bdat {
            self.replies.push(reply, effect);
        } else if let Ok(chunk) = self.chunk(command) {
            self.refuse_chunk(chunk.size, reply, effect);
        }
    }

    /// Reads a command line, whatever the verb; what is no command is answered here.
    pub(super) fn read_any(&mut self, hold: Hold) -> Read {
        let Some(line) = self.input.line() else {
            return Read::Blocked;
        };
        let waits = match (hold, &line) {
            (Hold::Nothing, _) => false,
            (Hold::AllButRcpt, Line::Complete(line)) => !Command::begins(line, b"RCPT"),
            (Hold::AllButRcpt | Hold::Everything, _) => true,
        };
        if waits {
            self.input.hold(line);
            return Read::Blocked;
        }
        self.commands = self.commands.saturating_add(1);
        if self.commands > self.settings.commands {
            let reply = Reply::too_many_commands(&self.settings.hostname);
            self.close(reply, CloseReason::Refused);
            return Read::Answered;
        }
        let line = match line {
            Line::Complete(line) => line,
            Line::TooLong => {
                self.fault(Reply::LINE_TOO_LONG);
                return Read::Answered;
            }
            Line::BareNewline => {
                self.close(Reply::BARE_NEWLINE_IN_COMMAND, CloseReason::Drain);
                return Read::Answered;
            }
            Line::Tls => {
                self.close(Reply::TLS_IN_CLEAR, CloseReason::Drain);
                return Read::Answered;
            }
        };
        match Command::read(&line) {
            Ok(command) => Read::Command(command),
            Err(reply) => {
                if Command::begins(&line, b"BDAT") {
                    // How many octets follow cannot be told; none of them may be a command.
                    self.close(reply, CloseReason::Drain);
                } else {
                    self.fault(reply);
                }
                Read::Answered
            }
        }
    }

    /// Reads a command; those that do not depend on the stage are answered here.
    pub(super) fn read(&mut self, hold: Hold) -> Read {
        match self.read_any(hold) {
            Read::Command(command) => self.serve_anywhere(command),
            read => read,
        }
    }

    fn serve_anywhere(&mut self, command: Command) -> Read {
        // RFC 3207 §4: 530 to all but NOOP, EHLO, STARTTLS and QUIT.
        let before_tls = matches!(
            command.verb,
            Verb::Noop | Verb::Ehlo | Verb::StartTls | Verb::Quit
        );
        if self.settings.starttls == StartTls::Required && !before_tls {
            if command.verb == Verb::Mail {
                let refused = RefusedMail::new(command.reverse_path(), &Reply::STARTTLS_FIRST);
                self.events.push_back(Event::MailRefused(refused));
            }
            self.refuse(&command, Reply::STARTTLS_FIRST, Effect::Fault);
            return Read::Answered;
        }
        match command.verb {
            // RFC 5321 §4.1.1.9: its parameter is ignored.
            Verb::Noop => self.say(Reply::OK),
            Verb::Help => self.say(Reply::HELP),
            Verb::Vrfy if command.argument.is_empty() => self.fault(Reply::PARAMETER_MISSING),
            // RFC 5321 §7.3: 252 in place of an answer.
            Verb::Vrfy => self.say(Reply::CANNOT_VERIFY),
            Verb::Expn | Verb::Auth => self.fault(Reply::NOT_IMPLEMENTED),
            Verb::Quit => match command.no_argument() {
                Ok(()) => {
                    let bye = Reply::bye(&self.settings.hostname);
                    self.close(bye, CloseReason::Quit);
                }
                Err(reply) => self.fault(reply),
            },
            _ => return Read::Command(command),
        }
        Read::Answered
    }
}

/// What follows from a refusal: the end if it is 421, else as given.
pub(super) fn effect_of(refusal: &Refusal, effect: Effect) -> Effect {
    if refusal.closes() {
        Effect::Close(CloseReason::Refused)
    } else {
        effect
    }
}
