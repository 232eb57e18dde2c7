//! The replies of a session in the order of its commands (RFC 2920 §3.2).
//!
//! In: replies, and places kept for replies that wait for an answer. Out: those at the front that
//! are ready, each with what follows from it, so that a refusal takes effect when its turn comes
//! and not when it was decided.

use super::CloseReason;
use crate::reply::Reply;
use std::collections::VecDeque;

/// What follows once a reply is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    None,
    /// It counts against `limits.errors`.
    Fault,
    /// The handshake begins (RFC 3207 §4).
    Handshake,
    /// The connection closes; replies behind it are not sent.
    Close(CloseReason),
}

/// A reply, or the place of one.
#[derive(Debug)]
enum Slot {
    Ready(Reply, Effect),
    Awaited(u64),
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Replies {
    slots: VecDeque<Slot>,
}

impl Replies {
    /// Adds a reply at the end.
    pub(super) fn push(&mut self, reply: Reply, effect: Effect) {
        self.slots.push_back(Slot::Ready(reply, effect));
    }

    /// Keeps a place at the end for the answer with this id.
    pub(super) fn keep_place(&mut self, id: u64) {
        self.slots.push_back(Slot::Awaited(id));
    }

    /// Fills the place that was kept for this id; false if there is none.
    pub(super) fn fill(&mut self, id: u64, reply: Reply, effect: Effect) -> bool {
        let is_it = |slot: &&mut Slot| matches!(slot, Slot::Awaited(awaited) if *awaited == id);
        let Some(slot) = self.slots.iter_mut().find(is_it) else {
            return false;
        };
        *slot = Slot::Ready(reply, effect);
        true
    }

    /// Takes the reply at the front if it is ready.
    pub(super) fn release(&mut self) -> Option<(Reply, Effect)> {
        match self.slots.pop_front()? {
            Slot::Ready(reply, effect) => Some((reply, effect)),
            awaited @ Slot::Awaited(_) => {
                self.slots.push_front(awaited);
                None
            }
        }
    }

    /// Drops all that was not released.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
    }
}
