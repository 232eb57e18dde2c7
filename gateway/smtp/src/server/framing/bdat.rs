//! The framing of BDAT: chunks of announced size (RFC 3030 §2).

use super::Piece;
use super::content::{Content, Verdict};
use super::scanner::Scanner;
use crate::reply::Refusal;
use crate::server::BareNewlines;
use bytes::BytesMut;

/// One message that comes by BDAT, chunk after chunk.
#[derive(Debug)]
pub(in crate::server) struct Bdat {
    content: Content,
    /// Octets of the current chunk still to come.
    remaining: u64,
    /// Octets that were announced so far.
    announced: u64,
    limit: u64,
}

impl Bdat {
    pub(in crate::server) const fn new(limit: u64, newlines: BareNewlines) -> Self {
        let content = Content::new(Scanner::plain(newlines), limit);
        Self {
            content,
            remaining: 0,
            announced: 0,
            limit,
        }
    }

    /// A BDAT command: so many octets follow it.
    pub(in crate::server) fn chunk(&mut self, size: u64) {
        self.remaining = size;
        self.announced = self.announced.saturating_add(size);
        // RFC 3030 §2: it is accepted and discarded before the reply.
        if self.announced > self.limit {
            self.content.too_large();
        }
    }

    /// The next piece; [`Piece::End`] once the chunk is complete, none until there is more input.
    pub(in crate::server) fn next(&mut self, input: &mut BytesMut, last: bool) -> Option<Piece> {
        let before = input.len();
        let window = usize::try_from(self.remaining).map_or(before, |octets| octets.min(before));
        let piece = self.content.next(input, window);
        self.remaining -= (before - input.len()) as u64;
        if piece.is_some() || self.remaining > 0 {
            return piece;
        }
        let held = if last { self.content.finish() } else { None };
        Some(held.unwrap_or(Piece::End))
    }

    pub(in crate::server) fn refuse(&mut self, refusal: Refusal) {
        self.content.refuse(refusal);
    }

    pub(in crate::server) const fn verdict(&self) -> &Verdict {
        self.content.verdict()
    }
}
