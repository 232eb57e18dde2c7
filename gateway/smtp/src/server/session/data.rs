//! Stage 5, DATA: the message comes, by DATA or by BDAT, and is decided on (RFC 5321 §4.1.1.4,
//! RFC 3030).
//!
//! In: the octets behind DATA or BDAT. Out: [`Event::Data`], [`Event::Body`], [`Event::Message`];
//! or, for a message that is refused, [`Event::Reset`] and the reply at its end.

use super::core::{Core, Hold, Read};
use super::{Mail, Rcpt, Stage, helo};
use crate::reply::{Refusal, Reply};
use crate::server::command::{Chunk, Command, Verb};
use crate::server::framing::{Bdat, Data as Dotted, Flaw, Piece, Verdict};
use crate::server::replies::Effect;
use crate::server::{Accepted, Answer, CloseReason, DataState, Event, Framing};

/// A message is on its way.
#[derive(Debug)]
pub(super) enum Data {
    /// [`Event::Data`] was handed out for DATA.
    Asked(Rcpt),
    /// [`Event::Data`] was handed out for the first BDAT.
    ChunkAsked(Rcpt, Chunk),
    /// 354 was said.
    Receiving(Dotted),
    /// The octets of a chunk are awaited.
    Chunk(Bdat, Chunk),
    /// A chunk was taken, and it was not the last.
    BetweenChunks(Bdat),
    /// [`Event::Message`] was handed out.
    Decided,
}

impl Data {
    pub(super) fn ask(transaction: Rcpt, core: &mut Core) -> Self {
        core.events.push_back(Event::Data(Framing::Data));
        Self::Asked(transaction)
    }

    pub(super) fn ask_chunk(transaction: Rcpt, core: &mut Core, chunk: Chunk) -> Self {
        core.events.push_back(Event::Data(Framing::Bdat));
        Self::ChunkAsked(transaction, chunk)
    }

    /// Whether the gateway still holds a transaction.
    pub(super) fn has_transaction(&self) -> bool {
        match self {
            Self::Asked(_) | Self::ChunkAsked(..) | Self::Decided => true,
            Self::Receiving(dotted) => *dotted.verdict() == Verdict::Good,
            Self::Chunk(bdat, _) | Self::BetweenChunks(bdat) => *bdat.verdict() == Verdict::Good,
        }
    }

    pub(super) fn state(&self) -> DataState {
        match self {
            Self::Asked(_) | Self::ChunkAsked(..) => DataState::Asked,
            Self::Receiving(dotted) if !dotted.is_trusted() => DataState::Untrusted,
            Self::Receiving(_) | Self::Chunk(..) if self.has_transaction() => DataState::Receiving,
            Self::Receiving(_) | Self::Chunk(..) => DataState::Swallowing,
            Self::BetweenChunks(_) => DataState::BetweenChunks,
            Self::Decided => DataState::Message,
        }
    }

    pub(super) fn advance(self, core: &mut Core) -> (Stage, bool) {
        match self {
            Self::Receiving(dotted) => receive(dotted, core),
            Self::Chunk(bdat, chunk) => receive_chunk(bdat, chunk, core),
            Self::BetweenChunks(bdat) => match core.read(Hold::Nothing) {
                Read::Blocked => (Stage::Data(Self::BetweenChunks(bdat)), false),
                Read::Answered => (Stage::Data(Self::BetweenChunks(bdat)), true),
                Read::Command(command) => (serve(bdat, core, &command), true),
            },
            Self::Asked(_) | Self::ChunkAsked(..) | Self::Decided => (Stage::Data(self), false),
        }
    }

    /// The answer to [`Event::Data`].
    pub(super) fn answered(self, core: &mut Core, answer: Answer) -> Stage {
        match (self, answer) {
            (Self::Asked(Rcpt { transaction, .. }), Ok(())) => {
                core.say(Reply::START_MAIL_INPUT);
                let newlines = transaction.bare_newlines_data;
                Stage::Data(Self::Receiving(Dotted::new(transaction.size, newlines)))
            }
            // The client may send DATA again, or RSET.
            (Self::Asked(transaction), Err(refusal)) => {
                core.refusal(&refusal, Effect::None);
                Stage::Rcpt(transaction)
            }
            (Self::ChunkAsked(Rcpt { transaction, .. }, chunk), Ok(())) => {
                let mut bdat = Bdat::new(transaction.size, transaction.bare_newlines_bdat);
                bdat.chunk(chunk.size);
                Stage::Data(Self::Chunk(bdat, chunk))
            }
            // RFC 3030 §2: the octets are taken before the reply, and the transaction has failed.
            (Self::ChunkAsked(_, chunk), Err(refusal)) => {
                let effect = super::core::effect_of(&refusal, Effect::None);
                core.refuse_chunk(chunk.size, (&refusal).into(), effect);
                core.events.push_back(Event::Reset(Some(refusal)));
                Stage::Mail(Mail::Waiting { refused: true })
            }
            (other, _) => Stage::Data(other),
        }
    }

    /// [`super::Session::refuse_data`].
    pub(super) fn refuse(&mut self, core: &mut Core, refusal: Refusal) {
        if !self.has_transaction() {
            return;
        }
        match self {
            Self::Receiving(dotted) => dotted.refuse(refusal.clone()),
            Self::Chunk(bdat, _) | Self::BetweenChunks(bdat) => bdat.refuse(refusal.clone()),
            Self::Asked(_) | Self::ChunkAsked(..) | Self::Decided => return,
        }
        core.events.push_back(Event::Reset(Some(refusal)));
    }

    /// [`super::Session::abort_data`]: the refusal that would stand at the end of the data.
    pub(super) fn abort(self, core: &mut Core) -> Stage {
        match self {
            Self::Receiving(dotted) if !dotted.is_trusted() => untrusted(&dotted, core),
            other => Stage::Data(other),
        }
    }

    /// The answer to [`Event::Message`].
    pub(super) fn decided(core: &mut Core, answer: Result<Accepted, Refusal>) -> Stage {
        match answer {
            Ok(accepted) => core.say(Reply::accepted(accepted.text)),
            Err(refusal) => core.refusal(&refusal, Effect::None),
        }
        Stage::Mail(Mail::Waiting { refused: false })
    }
}

fn receive(mut dotted: Dotted, core: &mut Core) -> (Stage, bool) {
    let Some(piece) = dotted.next(core.input.octets()) else {
        return (Stage::Data(Data::Receiving(dotted)), false);
    };
    let stage = match piece {
        Piece::Body(octets) => {
            core.events.push_back(Event::Body(octets));
            Stage::Data(Data::Receiving(dotted))
        }
        Piece::GivenUp => {
            core.events
                .push_back(Event::Reset(refused(dotted.verdict())));
            Stage::Data(Data::Receiving(dotted))
        }
        Piece::End => ended(&dotted, core),
        Piece::Overrun => untrusted(&dotted, core),
    };
    (stage, true)
}

/// CRLF "." CRLF was read.
fn ended(dotted: &Dotted, core: &mut Core) -> Stage {
    if !dotted.is_trusted() {
        return untrusted(dotted, core);
    }
    let Some((reply, effect)) = refusal(dotted.verdict()) else {
        core.events.push_back(Event::Message(Framing::Data));
        return Stage::Data(Data::Decided);
    };
    core.replies.push(reply, effect);
    Stage::Mail(Mail::Waiting { refused: false })
}

/// docs/flow.md, 5. data: what stands behind such data is never read as a command.
fn untrusted(dotted: &Dotted, core: &mut Core) -> Stage {
    if let Some((reply, _)) = refusal(dotted.verdict()) {
        core.close(reply, CloseReason::Drain);
    }
    Stage::Mail(Mail::Waiting { refused: false })
}

/// The reply at the end of a message that is refused, none for one that is not.
fn refusal(verdict: &Verdict) -> Option<(Reply, Effect)> {
    match verdict {
        Verdict::Good => None,
        Verdict::TooLarge => Some((Reply::MESSAGE_TOO_LARGE, Effect::None)),
        Verdict::Malformed(Flaw::BareCr) => Some((Reply::BARE_CR, Effect::None)),
        Verdict::Malformed(Flaw::BareLf) => Some((Reply::BARE_LF, Effect::None)),
        Verdict::Malformed(Flaw::NulAtDot) => Some((Reply::NUL_AT_DOT, Effect::None)),
        Verdict::Refused(refusal) => Some((
            refusal.into(),
            super::core::effect_of(refusal, Effect::None),
        )),
    }
}

/// The same, for [`Event::Reset`].
fn refused(verdict: &Verdict) -> Option<Refusal> {
    refusal(verdict).and_then(|(reply, _)| reply.refused())
}

fn receive_chunk(mut bdat: Bdat, chunk: Chunk, core: &mut Core) -> (Stage, bool) {
    let Some(piece) = bdat.next(core.input.octets(), chunk.last) else {
        return (Stage::Data(Data::Chunk(bdat, chunk)), false);
    };
    let stage = match piece {
        Piece::Body(octets) => {
            core.events.push_back(Event::Body(octets));
            Stage::Data(Data::Chunk(bdat, chunk))
        }
        Piece::GivenUp => {
            core.events.push_back(Event::Reset(refused(bdat.verdict())));
            Stage::Data(Data::Chunk(bdat, chunk))
        }
        Piece::End | Piece::Overrun => chunk_ended(bdat, chunk, core),
    };
    (stage, true)
}

/// The last octet of a chunk was read.
fn chunk_ended(bdat: Bdat, chunk: Chunk, core: &mut Core) -> Stage {
    match (refusal(bdat.verdict()), bdat.verdict()) {
        // The size of a chunk holds whatever it contains: read to LAST, then refused.
        (Some(_), Verdict::Malformed(_)) | (None, _) if !chunk.last => {
            core.say(Reply::chunk(chunk.size));
            Stage::Data(Data::BetweenChunks(bdat))
        }
        (None, _) => {
            core.events.push_back(Event::Message(Framing::Bdat));
            Stage::Data(Data::Decided)
        }
        // RFC 3030 §2: the transaction has failed; chunks behind it get 503.
        (Some((reply, effect)), _) => {
            core.replies.push(reply, effect);
            Stage::Mail(Mail::Waiting { refused: true })
        }
    }
}

/// A command between two chunks.
fn serve(mut bdat: Bdat, core: &mut Core, command: &Command) -> Stage {
    match command.verb {
        Verb::Bdat => match core.chunk(command) {
            Ok(chunk) => {
                bdat.chunk(chunk.size);
                Stage::Data(Data::Chunk(bdat, chunk))
            }
            // RFC 3030 §2: the transaction has failed; else the message would have a hole.
            Err(reply) => {
                if *bdat.verdict() == Verdict::Good {
                    core.events.push_back(Event::Reset(reply.refused()));
                }
                Stage::Mail(Mail::Waiting { refused: true })
            }
        },
        Verb::Rset => {
            if let Err(reply) = command.no_argument() {
                core.fault(reply);
                return Stage::Data(Data::BetweenChunks(bdat));
            }
            if *bdat.verdict() == Verdict::Good {
                core.events.push_back(Event::Reset(None));
            }
            core.say(Reply::OK);
            Stage::Mail(Mail::Waiting { refused: false })
        }
        Verb::Ehlo | Verb::Helo => {
            helo::hello(Stage::Data(Data::BetweenChunks(bdat)), core, command)
        }
        Verb::StartTls => helo::starttls(Stage::Data(Data::BetweenChunks(bdat)), core, command),
        // RFC 3030 §2: DATA is 503, and so is what would change the envelope.
        _ => {
            core.refuse(command, Reply::BDAT_BEGUN, Effect::Fault);
            Stage::Data(Data::BetweenChunks(bdat))
        }
    }
}
