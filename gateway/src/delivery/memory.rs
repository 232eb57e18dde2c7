//! What backends took, and refused, of messages whose answers differed.
//!
//! An LMTP backend answers for each recipient (RFC 2033 §4.2), an SMTP client gets one answer for
//! all. When the answers differ it gets 451, and here stands, for 24 hours, who has the message
//! already (the retry leaves them out) and who was refused for good (the retry is told so at
//! RCPT). Bounded, of this pod only and lost with it.

use super::limits::Limits;
use super::message::{Envelope, Message};
use super::remembered::Remembered;
use crate::network::network;
use aws_lc_rs::digest::{Context, SHA256};
use postern_smtp::address::{Mailbox, ReversePath};
use postern_smtp::reply::Refusal;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A refusal that was told once is forgotten so much later: the message is known by its body,
/// which RCPT does not show, and the next mail of the sender should not meet it.
const TOLD: Duration = Duration::from_mins(5);

/// SHA-256 of a message as it was received.
pub(super) type BodyHash = [u8; 32];

/// Client network, reverse-path, recipient.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Who {
    network: IpAddr,
    reverse_path: Arc<str>,
    recipient: Arc<str>,
}

/// A refusal that a retry meets at RCPT.
#[derive(Debug, Clone)]
struct Refused {
    refusal: Refusal,
    /// `SIZE=` of the mail: the best that RCPT knows of the message.
    size: Option<u64>,
    /// RCPT itself was refused: where backends are asked, they are asked again.
    at_rcpt: bool,
}

/// See the module.
pub(super) struct Memory {
    delivered: Mutex<Remembered<(Who, BodyHash), ()>>,
    refused: Mutex<Remembered<Who, Refused>>,
}

/// The recipients of one message from one client.
pub(super) struct Senders {
    network: IpAddr,
    reverse_path: Arc<str>,
}

impl Senders {
    pub(super) fn new(client: IpAddr, reverse_path: &ReversePath) -> Self {
        Self {
            network: network(client),
            reverse_path: reverse_path.to_string().into(),
        }
    }

    pub(super) fn to(&self, recipient: &Mailbox) -> Who {
        Who {
            network: self.network,
            reverse_path: self.reverse_path.clone(),
            recipient: recipient.key().into(),
        }
    }
}

/// The hash by which a retry is known: of what was received, without our own header fields.
pub(super) fn body_hash(message: &Message) -> BodyHash {
    let mut context = Context::new(&SHA256);
    for segment in &message.received {
        context.update(segment);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

impl Memory {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            delivered: Mutex::new(Remembered::new(limits.delivered_entries)),
            refused: Mutex::new(Remembered::new(limits.delivered_entries)),
        }
    }

    /// Entries now.
    pub(super) fn len(&self) -> usize {
        let delivered = self
            .delivered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len();
        delivered
            + self
                .refused
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .len()
    }

    /// Nothing was delivered in part lately: the body need not be hashed.
    pub(super) fn has_delivered_none(&self) -> bool {
        self.delivered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
            == 0
    }

    /// Nobody was refused lately while others were not.
    pub(super) fn has_refused_none(&self) -> bool {
        self.refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
            == 0
    }

    /// Whether the recipient has this message already.
    pub(super) fn has(&self, who: &Who, hash: &BodyHash) -> bool {
        let delivered = self
            .delivered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        delivered
            .get(&(who.clone(), *hash), Instant::now())
            .is_some()
    }

    /// The recipient has this message.
    pub(super) fn delivered(&self, who: Who, hash: BodyHash, limits: &Limits) {
        let now = Instant::now();
        let mut delivered = self
            .delivered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        delivered.insert((who, hash), (), now, now + limits.delivered);
    }

    /// The recipient was refused for good, while others were not.
    pub(super) fn refused(
        &self,
        who: Who,
        envelope: &Envelope,
        (refusal, at_rcpt): (Refusal, bool),
        limits: &Limits,
    ) {
        let now = Instant::now();
        let entry = Refused {
            refusal,
            size: envelope.size,
            at_rcpt,
        };
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.insert(who, entry, now, now + limits.delivered);
    }

    /// What a retry is told at RCPT. `asked`: the backend will be asked otherwise, so what it
    /// said at RCPT does not count.
    pub(super) fn refusal(&self, who: &Who, envelope: &Envelope, asked: bool) -> Option<Refusal> {
        let now = Instant::now();
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = refused.get(who, now)?;
        if entry.size != envelope.size || (asked && entry.at_rcpt) {
            return None;
        }
        let refusal = entry.refusal.clone();
        refused.expire_by(who, now + TOLD);
        Some(refusal)
    }

    /// The whole message has been answered for: nobody needs to remember its recipients.
    pub(super) fn forget(&self, recipients: &[Who], hash: &BodyHash) {
        let mut delivered = self
            .delivered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for who in recipients {
            delivered.remove(&(who.clone(), *hash));
        }
    }
}
