//! A message as it is written after DATA: dots doubled at the start of lines, and the final dot
//! (RFC 5321 §4.5.2), without copying.

/// What a look at a message tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Content {
    /// Octets as RFC 1870 §5 counts them: without doubled dots and without the final dot.
    pub octets: u64,
    /// An octet above 127 is in it (RFC 6152).
    pub eight_bit: bool,
    /// A LF without a CR before it. Such a message must not be sent: some servers take
    /// LF "." CRLF for its end.
    pub bare_lf: bool,
}

impl Content {
    /// Looks through the segments of a message once.
    #[must_use]
    pub fn of<'m>(segments: impl Iterator<Item = &'m [u8]>) -> Self {
        let mut content = Self::default();
        let mut before = 0;
        for segment in segments {
            content.octets += segment.len() as u64;
            content.eight_bit = content.eight_bit || !segment.is_ascii();
            content.bare_lf = content.bare_lf || has_bare_lf(segment, before);
            before = segment.last().copied().unwrap_or(before);
        }
        content
    }
}

fn has_bare_lf(segment: &[u8], before: u8) -> bool {
    memchr::memchr_iter(b'\n', segment).any(|at| {
        let previous = match at.checked_sub(1) {
            None => before,
            Some(index) => segment.get(index).copied().unwrap_or_default(),
        };
        previous != b'\r'
    })
}

/// Whether the header section (up to the first empty line) has an octet above 127: such a message
/// needs SMTPUTF8 (RFC 6532 §3.2).
#[must_use]
pub fn header_is_eight_bit<'m>(segments: impl Iterator<Item = &'m [u8]>) -> bool {
    let mut line_is_empty = true;
    for octet in segments.flatten() {
        match octet {
            128.. => return true,
            b'\n' if line_is_empty => return false,
            b'\n' => line_is_empty = true,
            b'\r' => {}
            _ => line_is_empty = false,
        }
    }
    false
}

/// The pieces to write, in order: the message with doubled dots and then its end. Pieces are
/// slices of the segments; where a dot is doubled, one piece ends with it and the next begins with
/// the same octet.
#[derive(Debug)]
pub struct Stuffed<'m, I> {
    segments: I,
    /// What is left of the current segment.
    rest: &'m [u8],
    line: Line,
    ended: bool,
}

/// Where in a line the next octet stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Start,
    /// At the dot that was written already, and is written again.
    Doubled,
    Inside,
    BehindCr,
}

impl<'m, I: Iterator<Item = &'m [u8]>> Stuffed<'m, I> {
    /// The segments of a message, in order.
    pub fn new(segments: I) -> Self {
        Self {
            segments,
            rest: &[],
            line: Line::Start,
            ended: false,
        }
    }

    /// RFC 5321 §4.1.1.4: the message ends in CRLF; one that does not is given it.
    fn end(&mut self) -> Option<&'m [u8]> {
        if std::mem::replace(&mut self.ended, true) {
            return None;
        }
        Some(match self.line {
            Line::Start => b".\r\n",
            _ => b"\r\n.\r\n",
        })
    }

    /// The next piece of a segment that is not empty.
    fn piece(&mut self) -> &'m [u8] {
        if self.line == Line::Start && self.rest.first() == Some(&b'.') {
            self.line = Line::Doubled;
            return self.rest.get(..1).unwrap_or_default();
        }
        if self.line == Line::BehindCr && self.rest.first() == Some(&b'\n') {
            // CR and LF of one line break stand in two segments.
            self.line = Line::Start;
            let (piece, rest) = self.rest.split_at(1);
            self.rest = rest;
            return piece;
        }
        let at_dot = self.line == Line::Doubled;
        match next_dot(self.rest, usize::from(at_dot)) {
            Some(dot) => {
                let (piece, _) = self.rest.split_at(dot + 1);
                self.rest = self.rest.get(dot..).unwrap_or_default();
                self.line = Line::Doubled;
                piece
            }
            None => {
                self.line = line_after(self.rest);
                std::mem::take(&mut self.rest)
            }
        }
    }
}

fn line_after(piece: &[u8]) -> Line {
    match piece {
        [.., b'\r', b'\n'] => Line::Start,
        [.., b'\r'] => Line::BehindCr,
        _ => Line::Inside,
    }
}

/// Where, behind `from`, the first dot stands that follows CRLF.
fn next_dot(piece: &[u8], from: usize) -> Option<usize> {
    memchr::memmem::find(piece.get(from..)?, b"\r\n.").map(|at| from + at + 2)
}

impl<'m, I: Iterator<Item = &'m [u8]>> Iterator for Stuffed<'m, I> {
    type Item = &'m [u8];

    fn next(&mut self) -> Option<&'m [u8]> {
        while self.rest.is_empty() {
            match self.segments.next() {
                Some(segment) => self.rest = segment,
                None => return self.end(),
            }
        }
        Some(self.piece())
    }
}
