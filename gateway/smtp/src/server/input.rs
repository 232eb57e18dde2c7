//! What has arrived and is not consumed yet, and how command lines are cut from it.
//!
//! In: octets. Out: a [`Line`] at a time, or the buffer itself for the framings of the message.
//! Bounded: a line that is too long is thrown away while it comes.

use bytes::{Buf, BytesMut};
use memchr::memchr2;

/// The longest command line, CRLF included. RFC 5321 §4.5.3.1.4 asks for 512 and what extensions
/// add; four times that holds the longest path with the parameters of all of ours.
pub(super) const MAX_COMMAND_LINE: usize = 2_048;
/// The most that is buffered while commands are expected.
const COMMAND_ROOM: usize = 8 * 1_024;
/// The most that is buffered while a message comes.
const DATA_ROOM: usize = 64 * 1_024;
/// An empty buffer that has grown beyond this is given back: idle sessions are many.
const IDLE_CAPACITY: usize = 512;

/// One command line.
#[derive(Debug)]
pub(super) enum Line {
    /// Without its CRLF.
    Complete(BytesMut),
    /// Longer than [`MAX_COMMAND_LINE`]; it was thrown away.
    TooLong,
    /// It holds CR or LF that is not part of CRLF. What follows cannot be trusted.
    BareNewline,
    /// Its first octets are those of a TLS handshake. It may have no end.
    Tls,
}

/// The input of one connection.
#[derive(Debug, Default)]
pub(super) struct Input {
    buffer: BytesMut,
    /// So many octets of the buffer are known to hold no line end.
    scanned: usize,
    /// The line that is being read is too long already.
    skipping: bool,
    /// A line that must wait for answers to those before it.
    held: Option<Line>,
}

impl Input {
    /// Takes as much as there is room for.
    pub(super) fn push(&mut self, octets: &[u8], data: bool) -> usize {
        let taken = octets.len().min(self.room(data));
        self.buffer
            .extend_from_slice(octets.get(..taken).unwrap_or_default());
        taken
    }

    /// How much can be taken.
    pub(super) fn room(&self, data: bool) -> usize {
        let limit = if data { DATA_ROOM } else { COMMAND_ROOM };
        limit.saturating_sub(self.buffer.len())
    }

    /// Octets not consumed.
    pub(super) fn len(&self) -> usize {
        let held = match &self.held {
            Some(Line::Complete(line)) => line.len() + 2,
            Some(Line::TooLong | Line::BareNewline | Line::Tls) | None => 0,
        };
        self.buffer.len() + held
    }

    /// Throws everything away.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Gives memory back that an idle session does not need.
    pub(super) fn shrink(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > IDLE_CAPACITY {
            self.buffer = BytesMut::new();
        }
    }

    /// The octets of a message.
    pub(super) fn octets(&mut self) -> &mut BytesMut {
        self.scanned = 0;
        &mut self.buffer
    }

    /// Puts a line back: it is the next one.
    pub(super) fn hold(&mut self, line: Line) {
        self.held = Some(line);
    }

    /// The next line, none until it is complete.
    pub(super) fn line(&mut self) -> Option<Line> {
        if let Some(line) = self.held.take() {
            return Some(line);
        }
        if !self.skipping && is_tls(&self.buffer) {
            return Some(Line::Tls);
        }
        let unread = self.buffer.get(self.scanned..).unwrap_or_default();
        let Some(found) = memchr2(b'\r', b'\n', unread) else {
            self.incomplete(self.buffer.len());
            return None;
        };
        let end = self.scanned + found;
        match (self.buffer.get(end), self.buffer.get(end + 1)) {
            (Some(b'\r'), Some(b'\n')) => Some(self.cut(end)),
            (Some(b'\r'), None) => {
                self.incomplete(end);
                None
            }
            _ => Some(Line::BareNewline),
        }
    }

    fn cut(&mut self, end: usize) -> Line {
        self.scanned = 0;
        let too_long = std::mem::take(&mut self.skipping) || end + 2 > MAX_COMMAND_LINE;
        let line = self.buffer.split_to(end);
        self.buffer.advance(2);
        if too_long {
            Line::TooLong
        } else {
            Line::Complete(line)
        }
    }

    /// The first `scanned` octets hold no line end; a CR may follow them.
    fn incomplete(&mut self, scanned: usize) {
        self.scanned = scanned;
        if self.skipping || scanned + 2 > MAX_COMMAND_LINE {
            self.skipping = true;
            self.buffer.advance(scanned);
            self.scanned = 0;
        }
    }
}

/// A handshake record of TLS (RFC 8446 §5.1), or the hello of SSL 2.0 (RFC 6101 appendix E), whose
/// second octet is its length. No command begins so.
const fn is_tls(line: &[u8]) -> bool {
    match line {
        [0x16, 3, ..] => true,
        [0x80..=0xff, length, 1, ..] => *length != b'\n',
        _ => false,
    }
}
