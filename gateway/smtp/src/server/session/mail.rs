//! Stage 3, MAIL: a transaction is asked for (RFC 5321 §4.1.1.2).
//!
//! In: MAIL. Out: [`Event::Mail`] and, once it is answered, the stage RCPT; or
//! [`Event::MailRefused`].

use super::core::{Core, Hold, Read};
use super::{Rcpt, Stage, helo};
use crate::reply::{Refusal, Reply};
use crate::server::command::{Command, Verb};
use crate::server::replies::Effect;
use crate::server::{Event, RefusedMail, Transaction};

/// Named, and no transaction is open.
#[derive(Debug)]
pub(super) enum Mail {
    /// MAIL is awaited.
    Waiting {
        /// The last MAIL was refused: RCPT and DATA behind it were pipelined in good faith, and are
        /// no fault (RFC 2920 §3.1).
        refused: bool,
    },
    /// [`Event::Mail`] was handed out.
    Asked {
        /// What the client asked for, without its path.
        declared: Declared,
    },
}

/// Parameters of MAIL that later stages need.
#[derive(Debug, Clone, Copy)]
pub(super) struct Declared {
    /// SIZE= (RFC 1870 §5).
    size: Option<u64>,
    /// SMTPUTF8 (RFC 6531 §3.4).
    pub(super) smtputf8: bool,
}

impl Mail {
    pub(super) fn advance(self, core: &mut Core) -> (Stage, bool) {
        let Self::Waiting { refused } = self else {
            return (Stage::Mail(self), false);
        };
        match core.read(Hold::Nothing) {
            Read::Blocked => (Stage::Mail(self), false),
            Read::Answered => (Stage::Mail(self), true),
            Read::Command(command) => (Self::serve(refused, core, &command), true),
        }
    }

    fn serve(refused: bool, core: &mut Core, command: &Command) -> Stage {
        let stage = Stage::Mail(Self::Waiting { refused });
        match command.verb {
            Verb::Mail => Self::ask(core, command),
            Verb::Ehlo | Verb::Helo => helo::hello(stage, core, command),
            Verb::StartTls => helo::starttls(stage, core, command),
            Verb::Rset => helo::reset(Stage::Mail(Self::Waiting { refused: false }), core, command),
            _ => {
                let effect = if refused { Effect::None } else { Effect::Fault };
                core.refuse(command, Reply::MAIL_FIRST, effect);
                stage
            }
        }
    }

    fn ask(core: &mut Core, command: &Command) -> Stage {
        let mail = match command.mail() {
            Ok(mail) => mail,
            Err(reply) => {
                let refused = RefusedMail::new(command.reverse_path(), &reply);
                core.events.push_back(Event::MailRefused(refused));
                core.fault(reply);
                return Stage::Mail(Self::Waiting { refused: true });
            }
        };
        let declared = Declared {
            size: mail.size,
            smtputf8: mail.smtputf8,
        };
        core.events.push_back(Event::Mail(mail));
        Stage::Mail(Self::Asked { declared })
    }

    pub(super) fn answered(
        core: &mut Core,
        declared: Declared,
        answer: Result<Transaction, Refusal>,
    ) -> Stage {
        match answer {
            // RFC 1870 §6.1. An advertised SIZE of 0 means no fixed limit (§4).
            Ok(transaction)
                if declared.exceeds(transaction.size)
                    || (core.settings.size > 0 && declared.exceeds(core.settings.size)) =>
            {
                core.events
                    .push_back(Event::Reset(Reply::MESSAGE_TOO_LARGE.refused()));
                core.say(Reply::MESSAGE_TOO_LARGE);
                Stage::Mail(Self::Waiting { refused: true })
            }
            Ok(transaction) => {
                core.say(Reply::SENDER_OK);
                Stage::Rcpt(Rcpt::new(transaction, declared.smtputf8))
            }
            Err(refusal) => {
                core.refusal(&refusal, Effect::None);
                Stage::Mail(Self::Waiting { refused: true })
            }
        }
    }
}

impl Declared {
    fn exceeds(self, limit: u64) -> bool {
        self.size.is_some_and(|size| size > limit)
    }
}
