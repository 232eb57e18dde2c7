//! Stage 2, HELO: the client names itself, perhaps again, perhaps under TLS (RFC 5321 §4.1.1.1,
//! RFC 3207).
//!
//! In: EHLO, HELO, STARTTLS, from any stage that takes commands. Out: [`Event::Helo`] and, once it
//! is answered, the stage MAIL; [`Event::StartTls`] and a session that knows nothing.

use super::core::{Core, Hold, Read};
use super::{Mail, Stage};
use crate::reply::Reply;
use crate::server::command::{Command, Verb};
use crate::server::replies::Effect;
use crate::server::{Answer, Event, StartTls};
use std::borrow::Cow;

/// The client is about to name itself.
#[derive(Debug)]
pub(super) enum Helo {
    /// EHLO is awaited.
    Waiting,
    /// [`Event::Helo`] was handed out.
    Asked {
        /// It was EHLO.
        extended: bool,
        /// Where the session stood: it stays there if the name is refused (RFC 5321 §4.1.4).
        before: Box<Stage>,
    },
    /// 220 was said to STARTTLS.
    Handshake,
}

impl Helo {
    pub(super) fn advance(self, core: &mut Core) -> (Stage, bool) {
        let read = match self {
            Self::Waiting => core.read(Hold::Nothing),
            Self::Asked { .. } | Self::Handshake => Read::Blocked,
        };
        match read {
            Read::Blocked => (Stage::Helo(self), false),
            Read::Answered => (Stage::Helo(self), true),
            Read::Command(command) => (self.serve(core, &command), true),
        }
    }

    fn serve(self, core: &mut Core, command: &Command) -> Stage {
        let stage = Stage::Helo(self);
        match command.verb {
            Verb::Ehlo | Verb::Helo => hello(stage, core, command),
            // RFC 5321 §4.1.4: RSET needs no EHLO.
            Verb::Rset => reset(stage, core, command),
            _ => {
                core.refuse(command, Reply::EHLO_FIRST, Effect::Fault);
                stage
            }
        }
    }

    pub(super) fn answered(
        core: &mut Core,
        extended: bool,
        before: Stage,
        answer: Answer,
    ) -> Stage {
        if let Err(refusal) = answer {
            core.refusal(&refusal, Effect::None);
            return before;
        }
        if before.has_transaction() {
            core.events.push_back(Event::Reset(None));
        }
        let hostname = &core.settings.hostname;
        core.say(if extended {
            Reply::ehlo(hostname, keywords(core))
        } else {
            Reply::helo(hostname)
        });
        Stage::Mail(Mail::Waiting { refused: false })
    }
}

/// EHLO or HELO, at any time (RFC 5321 §4.1.4).
pub(super) fn hello(before: Stage, core: &mut Core, command: &Command) -> Stage {
    match command.client_name() {
        Ok(name) => {
            let extended = command.verb == Verb::Ehlo;
            core.events
                .push_back(Event::Helo(crate::server::Helo { extended, name }));
            Stage::Helo(Helo::Asked {
                extended,
                before: Box::new(before),
            })
        }
        Err(reply) => {
            core.fault(reply);
            before
        }
    }
}

/// STARTTLS (RFC 3207 §4).
pub(super) fn starttls(before: Stage, core: &mut Core, command: &Command) -> Stage {
    if let Err(reply) = command.no_argument() {
        core.fault(reply);
        return before;
    }
    if core.settings.starttls == StartTls::Unavailable {
        core.fault(if core.secured {
            Reply::TLS_ALREADY
        } else {
            Reply::NO_TLS_HERE
        });
        return before;
    }
    if before.has_transaction() {
        core.events.push_back(Event::Reset(None));
    }
    // RFC 3207 §4.2: nothing that came in the clear is read as if it had come under TLS.
    core.input.clear();
    core.replies.push(Reply::READY_FOR_TLS, Effect::Handshake);
    Stage::Helo(Helo::Handshake)
}

/// RSET (RFC 5321 §4.1.1.5) in a stage without a transaction.
pub(super) fn reset(stage: Stage, core: &mut Core, command: &Command) -> Stage {
    match command.no_argument() {
        Ok(()) => core.say(Reply::OK),
        Err(reply) => core.fault(reply),
    }
    stage
}

/// What EHLO advertises.
fn keywords(core: &Core) -> Vec<Cow<'static, str>> {
    let mut keywords = vec![
        Cow::Borrowed("PIPELINING"),
        Cow::Owned(format!("SIZE {}", core.settings.size)),
        Cow::Borrowed("8BITMIME"),
        Cow::Borrowed("SMTPUTF8"),
        Cow::Borrowed("ENHANCEDSTATUSCODES"),
        Cow::Borrowed("CHUNKING"),
    ];
    if core.settings.starttls != StartTls::Unavailable {
        keywords.push(Cow::Borrowed("STARTTLS"));
    }
    if let Some(rcptmax) = core.settings.rcptmax {
        // RFC 9422 §4.2.
        keywords.push(Cow::Owned(format!("LIMITS RCPTMAX={rcptmax}")));
    }
    keywords
}
