//! What a session hands over: the envelope at RCPT, the whole message at the end of its data.

use bytes::Bytes;
use postern_smtp::address::{Mailbox, ReversePath};
use std::slice::Iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// MAIL as the client sent it (RFC 5321 §4.1.1.2 with RFC 1870, 6152 and 6531).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The reverse-path.
    pub reverse_path: ReversePath,
    /// `SIZE=`, octets; absent when the client did not say.
    pub size: Option<u64>,
    /// `BODY=8BITMIME`.
    pub eight_bit_mime: bool,
    /// `SMTPUTF8`.
    pub smtputf8: bool,
}

/// A message that was received and checked.
#[derive(Debug, Clone)]
pub struct Message {
    /// MAIL as the client sent it; what is sent on is decided by the content
    /// (docs/delivery.md, After the message).
    pub envelope: Envelope,
    /// The accepted recipients, in the order of their RCPT commands; at least one. `<postmaster>`
    /// stands here as the mailbox that it was mapped to.
    pub recipients: Vec<Mailbox>,
    /// Header fields of ours that go in front, each ending in CRLF: Authentication-Results,
    /// Received and the like. They are left out of the body hash by which a retry is known again.
    pub prepended: Vec<Bytes>,
    /// The message as received, without the ranges that were removed, in order; no dot-stuffing,
    /// no bare CR, no bare LF.
    pub received: Vec<Bytes>,
}

/// The segments of a message in order.
#[derive(Debug, Clone)]
pub(super) struct Segments<'m> {
    prepended: Iter<'m, Bytes>,
    received: Iter<'m, Bytes>,
}

impl Message {
    pub(super) fn segments(&self) -> Segments<'_> {
        Segments {
            prepended: self.prepended.iter(),
            received: self.received.iter(),
        }
    }
}

impl<'m> Iterator for Segments<'m> {
    type Item = &'m [u8];

    fn next(&mut self) -> Option<&'m [u8]> {
        let segment = self.prepended.next().or_else(|| self.received.next())?;
        Some(segment)
    }
}

/// How far a delivery has come, to be looked at from outside while it runs: at a drain's end a
/// message whose final dot is at the backend is waited for.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<AtomicBool>);

impl Progress {
    /// Whether the final dot has been written: the backend may have taken the message.
    #[must_use]
    pub fn dot_written(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    pub(super) fn set_dot_written(&self) {
        self.0.store(true, Ordering::Release);
    }
}
