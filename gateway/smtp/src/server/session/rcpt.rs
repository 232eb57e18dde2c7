//! Stage 4, RCPT: a transaction takes its recipients (RFC 5321 §4.1.1.3).
//!
//! In: RCPT, as many as arrive together. Out: [`Event::Rcpt`] for each, then one
//! [`Event::RcptGroup`]; no other command is read until all are answered.

use super::core::{Core, Hold, Read, effect_of};
use super::{Data, Mail, Stage, helo};
use crate::reply::{Refusal, Reply};
use crate::server::command::{Chunk, Command, Verb};
use crate::server::replies::Effect;
use crate::server::{Answer, Event, Rcpt as Recipient, Transaction};

/// The most recipients that are asked about at the same time.
const MAX_GROUP: u32 = 1_000;

/// A transaction is open.
#[derive(Debug)]
pub(super) struct Rcpt {
    pub(super) transaction: Transaction,
    smtputf8: bool,
    accepted: u32,
    /// Recipients that wait for their answer.
    awaited: u32,
    /// Recipients that were handed out since the last [`Event::RcptGroup`].
    ungrouped: bool,
    /// A recipient was refused.
    refused: bool,
}

impl Rcpt {
    pub(super) const fn new(transaction: Transaction, smtputf8: bool) -> Self {
        let (accepted, awaited, ungrouped, refused) = (0, 0, false, false);
        Self {
            transaction,
            smtputf8,
            accepted,
            awaited,
            ungrouped,
            refused,
        }
    }

    pub(super) const fn awaits_answer(&self) -> bool {
        self.awaited > 0
    }

    pub(super) fn advance(mut self, core: &mut Core) -> (Stage, bool) {
        match core.read(self.hold()) {
            Read::Blocked => {
                let grouped = std::mem::take(&mut self.ungrouped);
                if grouped {
                    core.events.push_back(Event::RcptGroup);
                }
                (Stage::Rcpt(self), grouped)
            }
            Read::Answered => (Stage::Rcpt(self), true),
            Read::Command(command) => (self.serve(core, &command), true),
        }
    }

    /// Whether one more recipient fits is known only once those before it are answered.
    fn hold(&self) -> Hold {
        if self.awaited == 0 {
            Hold::Nothing
        } else if self.is_full(self.awaited) || self.awaited >= MAX_GROUP {
            Hold::Everything
        } else {
            Hold::AllButRcpt
        }
    }

    const fn is_full(&self, awaited: u32) -> bool {
        self.accepted.saturating_add(awaited) >= self.transaction.recipients
    }

    fn serve(self, core: &mut Core, command: &Command) -> Stage {
        match command.verb {
            Verb::Rcpt => self.ask(core, command),
            Verb::Data => self.data(core, command),
            Verb::Bdat => self.bdat(core, command),
            Verb::Rset => self.reset(core, command),
            Verb::Ehlo | Verb::Helo => helo::hello(Stage::Rcpt(self), core, command),
            Verb::StartTls => helo::starttls(Stage::Rcpt(self), core, command),
            _ => {
                core.refuse(command, Reply::NESTED_MAIL, Effect::Fault);
                Stage::Rcpt(self)
            }
        }
    }

    fn ask(mut self, core: &mut Core, command: &Command) -> Stage {
        match command.rcpt(self.smtputf8) {
            Err(reply) => {
                self.refused = true;
                core.fault(reply);
            }
            // RFC 5321 §4.5.3.1.10: 452, and the client sends the rest in another transaction.
            Ok(_) if self.is_full(self.awaited) => {
                self.refused = true;
                core.say(Reply::TOO_MANY_RECIPIENTS);
            }
            Ok(forward_path) => {
                let id = core.next_rcpt();
                core.replies.keep_place(id);
                core.events
                    .push_back(Event::Rcpt(Recipient { id, forward_path }));
                self.awaited += 1;
                self.ungrouped = true;
            }
        }
        Stage::Rcpt(self)
    }

    pub(super) fn answered(mut self, core: &mut Core, id: u64, answer: &Answer) -> Stage {
        let filled = match answer {
            Ok(()) => core.replies.fill(id, Reply::RECIPIENT_OK, Effect::None),
            Err(refusal) => {
                // Only a final refusal is the client's fault: a greylisted list of many is not.
                let effect = match refusal {
                    Refusal::Permanent(_) => Effect::Fault,
                    Refusal::Transient(_) => Effect::None,
                };
                core.replies
                    .fill(id, refusal.into(), effect_of(refusal, effect))
            }
        };
        if filled {
            self.awaited = self.awaited.saturating_sub(1);
            match answer {
                Ok(()) => self.accepted = self.accepted.saturating_add(1),
                Err(_) => self.refused = true,
            }
        }
        Stage::Rcpt(self)
    }

    fn data(self, core: &mut Core, command: &Command) -> Stage {
        if let Err(reply) = command.no_argument() {
            core.fault(reply);
            return Stage::Rcpt(self);
        }
        if self.accepted == 0 {
            let (reply, effect) = self.no_recipients();
            core.refuse(command, reply, effect);
            return Stage::Rcpt(self);
        }
        Stage::Data(Data::ask(self, core))
    }

    fn bdat(self, core: &mut Core, command: &Command) -> Stage {
        if self.accepted == 0 {
            let (reply, effect) = self.no_recipients();
            core.refuse(command, reply, effect);
            return Stage::Rcpt(self);
        }
        match core.chunk(command) {
            Ok(chunk) => self.first_chunk(core, chunk),
            // RFC 3030 §2: the transaction has failed; else the message would lack its beginning.
            Err(reply) => {
                core.events.push_back(Event::Reset(reply.refused()));
                Stage::Mail(Mail::Waiting { refused: true })
            }
        }
    }

    fn first_chunk(self, core: &mut Core, chunk: Chunk) -> Stage {
        // RFC 1870 §6.3: it is known before the first octet that the message is too large.
        if chunk.size > self.transaction.size {
            core.events
                .push_back(Event::Reset(Reply::MESSAGE_TOO_LARGE.refused()));
            core.refuse_chunk(chunk.size, Reply::MESSAGE_TOO_LARGE, Effect::None);
            return Stage::Mail(Mail::Waiting { refused: true });
        }
        Stage::Data(Data::ask_chunk(self, core, chunk))
    }

    /// RFC 5321 §3.3: 503 without RCPT, 554 if all were refused; the latter is no fault of a client
    /// that pipelines.
    const fn no_recipients(&self) -> (Reply, Effect) {
        if self.refused {
            (Reply::NO_VALID_RECIPIENTS, Effect::None)
        } else {
            (Reply::RCPT_FIRST, Effect::Fault)
        }
    }

    fn reset(self, core: &mut Core, command: &Command) -> Stage {
        if let Err(reply) = command.no_argument() {
            core.fault(reply);
            return Stage::Rcpt(self);
        }
        core.events.push_back(Event::Reset(None));
        core.say(Reply::OK);
        Stage::Mail(Mail::Waiting { refused: false })
    }
}
