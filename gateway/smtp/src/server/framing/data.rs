//! The framing of DATA: dots unstuffed, the end at CRLF "." CRLF (RFC 5321 §4.1.1.4, §4.5.2).

use super::Piece;
use super::content::{Content, Verdict};
use super::scanner::Scanner;
use crate::reply::Refusal;
use crate::server::BareNewlines;
use bytes::BytesMut;

/// One message that comes by DATA.
#[derive(Debug)]
pub(in crate::server) struct Data {
    content: Content,
}

impl Data {
    pub(in crate::server) const fn new(limit: u64, newlines: BareNewlines) -> Self {
        Self {
            content: Content::new(Scanner::dotted(newlines), limit),
        }
    }

    /// The next piece of the message; none until there is more input.
    pub(in crate::server) fn next(&mut self, input: &mut BytesMut) -> Option<Piece> {
        let window = input.len();
        let piece = self.content.next(input, window);
        // docs/flow.md, 5. data: what cannot be trusted is swallowed up to the size limit. What
        // was too large before it went wrong is read to its end like any other.
        let malformed = matches!(self.content.verdict(), Verdict::Malformed(_));
        if piece.is_none() && malformed && self.content.is_overrun() {
            return Some(Piece::Overrun);
        }
        piece
    }

    pub(in crate::server) fn refuse(&mut self, refusal: Refusal) {
        self.content.refuse(refusal);
    }

    pub(in crate::server) const fn verdict(&self) -> &Verdict {
        self.content.verdict()
    }

    /// Whether the place where the client thinks that its data ends is known.
    pub(in crate::server) const fn is_trusted(&self) -> bool {
        !self.content.is_flawed()
    }
}
