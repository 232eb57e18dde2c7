//! The content of one message as it comes: its size limit and whether it is still wanted.
//!
//! In: a window of the input. Out: [`Piece`]s. Once the message is refused nothing is passed on,
//! and nothing is kept.

use super::Piece;
pub(in crate::server) use super::scanner::Flaw;
use super::scanner::{Scanner, Step};
use crate::reply::Refusal;
use bytes::{Buf, Bytes, BytesMut};

/// What is to be said at the end of the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::server) enum Verdict {
    /// Nothing stands against it.
    Good,
    /// More octets than the transaction may have (RFC 1870 §6.3).
    TooLarge,
    /// It breaks a rule of framing.
    Malformed(Flaw),
    /// Refused from outside while it came.
    Refused(Refusal),
}

/// One message on its way in.
#[derive(Debug)]
pub(super) struct Content {
    scanner: Scanner,
    /// The largest message, octets of content.
    limit: u64,
    /// Octets of content passed on.
    passed: u64,
    /// Octets of input read.
    read: u64,
    verdict: Verdict,
    /// Whether a flaw was seen: the place where the sender thinks that it ended is not known.
    flawed: bool,
    /// A [`Piece::GivenUp`] that is still to be told.
    untold: bool,
}

impl Content {
    pub(super) const fn new(scanner: Scanner, limit: u64) -> Self {
        let verdict = Verdict::Good;
        Self {
            scanner,
            limit,
            passed: 0,
            read: 0,
            verdict,
            flawed: false,
            untold: false,
        }
    }

    pub(super) const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    pub(super) fn is_good(&self) -> bool {
        self.verdict == Verdict::Good
    }

    pub(super) const fn is_flawed(&self) -> bool {
        self.flawed
    }

    /// More octets of input than the largest message has.
    pub(super) const fn is_overrun(&self) -> bool {
        self.read > self.limit
    }

    /// Refuses the message from outside, unless it is refused already.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        if self.is_good() {
            self.verdict = Verdict::Refused(refusal);
        }
    }

    /// Refuses the message for its size, unless it is refused already.
    pub(super) fn too_large(&mut self) {
        self.give_up(Verdict::TooLarge);
    }

    /// The next piece from the first `window` octets of `input`, which are taken out of it; none
    /// once they are used up.
    pub(super) fn next(&mut self, input: &mut BytesMut, window: usize) -> Option<Piece> {
        let mut window = window;
        loop {
            if std::mem::take(&mut self.untold) {
                return Some(Piece::GivenUp);
            }
            let step = self
                .scanner
                .step(input.get(..window).filter(|octets| !octets.is_empty())?);
            let before = input.len();
            let piece = self.apply(step, input);
            let consumed = before - input.len();
            window -= consumed;
            self.read = self.read.saturating_add(consumed as u64);
            if piece.is_some() {
                return piece;
            }
        }
    }

    /// What was held back at the end of the last chunk.
    pub(super) fn finish(&mut self) -> Option<Piece> {
        while let Some(step) = self.scanner.finish() {
            let piece = self.apply(step, &mut BytesMut::new());
            if piece.is_some() {
                return piece;
            }
        }
        std::mem::take(&mut self.untold).then_some(Piece::GivenUp)
    }

    fn apply(&mut self, step: Step, input: &mut BytesMut) -> Option<Piece> {
        match step {
            Step::Content(octets) if self.is_good() => self.pass(input.split_to(octets).freeze()),
            Step::Insert(text, octets) => {
                input.advance(octets);
                if self.is_good() {
                    self.pass(Bytes::from_static(text))
                } else {
                    None
                }
            }
            Step::Content(octets) | Step::Skip(octets) => {
                input.advance(octets);
                None
            }
            Step::Bad(flaw) => {
                self.flawed = true;
                self.give_up(Verdict::Malformed(flaw));
                None
            }
            Step::End(octets) => {
                input.advance(octets);
                Some(Piece::End)
            }
        }
    }

    /// Passes content on up to the limit.
    fn pass(&mut self, mut octets: Bytes) -> Option<Piece> {
        let room = self.limit - self.passed;
        if octets.len() as u64 > room {
            octets.truncate(usize::try_from(room).unwrap_or(usize::MAX));
            self.give_up(Verdict::TooLarge);
        }
        self.passed += octets.len() as u64;
        (!octets.is_empty()).then_some(Piece::Body(octets))
    }

    fn give_up(&mut self, verdict: Verdict) {
        if self.is_good() {
            self.verdict = verdict;
            self.untold = true;
        }
    }
}
