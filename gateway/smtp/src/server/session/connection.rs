//! Stage 1, the connection: greeted, or refused (RFC 5321 §3.1).
//!
//! In: the driver's decision. Out: 220, or 421 and the end, or 554 and nothing but QUIT.

use super::core::{Core, Hold, Read};
use super::{Helo, Stage};
use crate::reply::{Refusal, Reply};
use crate::server::CloseReason;
use crate::server::command::Verb;
use crate::server::replies::Effect;

/// Before, or instead of, the greeting.
#[derive(Debug)]
pub(super) enum Connection {
    /// The driver has not decided yet.
    New,
    /// 554 was said; QUIT is awaited.
    Refused,
}

impl Connection {
    pub(super) fn greet(core: &mut Core) -> Stage {
        if core.shutdown {
            core.close(
                Reply::shutting_down(&core.settings.hostname),
                CloseReason::Refused,
            );
            return Stage::Connection(Self::Refused);
        }
        core.say(Reply::greeting(&core.settings.hostname));
        Stage::Helo(Helo::Waiting)
    }

    pub(super) fn refuse(core: &mut Core, refusal: &Refusal) -> Stage {
        let reply = Reply::instead_of_greeting(refusal);
        match refusal {
            Refusal::Transient(_) => core.close(reply, CloseReason::Refused),
            Refusal::Permanent(_) => core.say(reply),
        }
        Stage::Connection(Self::Refused)
    }

    pub(super) fn advance(self, core: &mut Core) -> (Stage, bool) {
        let read = match self {
            Self::New => Read::Blocked,
            Self::Refused => core.read_any(Hold::Nothing),
        };
        match read {
            Read::Blocked => return (Stage::Connection(self), false),
            Read::Answered => {}
            Read::Command(command) if command.verb == Verb::Quit => {
                core.close(Reply::bye(&core.settings.hostname), CloseReason::Quit);
            }
            // RFC 5321 §3.1: 503 to all but QUIT.
            Read::Command(command) => core.refuse(&command, Reply::ONLY_QUIT, Effect::Fault),
        }
        (Stage::Connection(self), true)
    }
}
