//! Line ends, dots and NULs of a message, one run of octets at a time.
//!
//! In: the octets as they come, cut anywhere. Out: a [`Step`], which says how many of them are
//! content, are left out, or make up something that is refused. Every octet of state is explicit,
//! so that it makes no difference where the input is cut.
//!
//! The hot path is [`Scanner::middle`]: it walks from line end to line end with `memchr` and gives
//! whole runs of lines as one slice.

use crate::server::BareNewlines;
use memchr::memchr2;

/// What the next octets of the input are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// So many octets of the input are content as they stand.
    Content(usize),
    /// These are content, in place of so many octets of the input (or of a CR held back).
    Insert(&'static [u8], usize),
    /// So many octets of the input are not content.
    Skip(usize),
    /// A rule is broken. Told once; the walk goes on to find the end.
    Bad(Flaw),
    /// The end of data: so many octets of the input, which are not content.
    End(usize),
}

/// Which rule a message breaks (docs/flow.md, 5. data).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Flaw {
    /// CR without LF.
    BareCr,
    /// LF without CR.
    BareLf,
    /// NUL between line end and dot, or dot and line end.
    NulAtDot,
}

/// Where the walk stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Behind a CRLF, where a dot may be stuffing or the end of data.
    LineStart,
    /// At the start of a line of content, where a dot is a dot: in BDAT, or behind a normalised LF.
    ContentLine,
    /// Within a line.
    Middle,
    /// Behind a CR that is not passed on yet.
    Cr,
    /// Behind the first dot of a line, which is not content (RFC 5321 §4.5.2).
    Dot,
    /// Behind CRLF, dot and CR, none of the last two passed on.
    DotCr,
    /// Behind a line's first dot, which is content.
    ContentDot,
    /// The line holds only NULs so far.
    Nul,
    /// The line holds a dot and NULs, nothing else.
    NulDot,
    /// The line came as a stuffing dot and NULs: of its content only NULs so far.
    DotNul,
}

/// The walk through one message.
#[derive(Debug)]
pub(super) struct Scanner {
    at: At,
    /// Whether dots are stuffed and a dot alone ends the data.
    dots: bool,
    /// Whether flaws are told: no longer after the first.
    strict: bool,
    newlines: BareNewlines,
}

const CRLF: &[u8] = b"\r\n";

impl Scanner {
    /// For DATA: the command's own CRLF counts as the line end before the first line
    /// (RFC 5321 §4.1.1.4).
    pub(super) const fn dotted(newlines: BareNewlines) -> Self {
        Self {
            at: At::LineStart,
            dots: true,
            strict: true,
            newlines,
        }
    }

    /// For BDAT: octets are content as they are (RFC 3030 §2).
    pub(super) const fn plain(newlines: BareNewlines) -> Self {
        Self {
            at: At::ContentLine,
            dots: false,
            strict: true,
            newlines,
        }
    }

    /// The next step; `input` must not be empty. A step may consume nothing, but then it changes
    /// the state, and at most three such follow each other.
    pub(super) fn step(&mut self, input: &[u8]) -> Step {
        let Some(&first) = input.first() else {
            return Step::Skip(0);
        };
        match (self.at, first) {
            (At::LineStart, b'.') => self.go(At::Dot, Step::Skip(1)),
            (At::LineStart | At::ContentLine | At::Nul, 0) => self.go(At::Nul, Step::Content(1)),
            (At::ContentLine, b'.') => self.go(At::ContentDot, Step::Content(1)),
            // RFC 5321 §4.1.1.4: CRLF "." CRLF and nothing else.
            (At::Dot, b'\r') => self.go(At::DotCr, Step::Skip(1)),
            (At::DotCr, b'\n') => self.go(At::LineStart, Step::End(1)),
            // The dot was stuffing: what follows is the line.
            (At::Dot, b'.') => self.go(At::ContentDot, Step::Content(1)),
            (At::Dot | At::DotNul, 0) => self.go(At::DotNul, Step::Content(1)),
            (At::ContentDot | At::NulDot, 0) => self.go(At::NulDot, Step::Content(1)),
            (At::Nul | At::DotNul, b'.') => self.go(At::NulDot, Step::Content(1)),
            (At::NulDot | At::DotNul, b'\r' | b'\n') => self.flaw(Flaw::NulAtDot),
            (At::Cr, b'\n') => self.go(self.line_start(), Step::Insert(CRLF, 1)),
            (At::Cr | At::DotCr, _) => self.bare_cr(0),
            _ => self.middle(input),
        }
    }

    /// The input ends here (BDAT LAST): what was held back, or what is wrong.
    pub(super) fn finish(&mut self) -> Option<Step> {
        match self.at {
            At::Cr => Some(self.bare_cr(0)),
            // The sender of the message will put a line end behind it.
            At::NulDot => Some(self.flaw(Flaw::NulAtDot)),
            _ => None,
        }
    }

    fn middle(&mut self, input: &[u8]) -> Step {
        let mut from = 0;
        loop {
            let rest = input.get(from..).unwrap_or_default();
            let Some(found) = memchr2(b'\r', b'\n', rest) else {
                return self.go(At::Middle, Step::Content(input.len()));
            };
            let end = from + found;
            match (rest.get(found), rest.get(found + 1)) {
                (Some(b'\r'), Some(b'\n')) => match input.get(end + 2) {
                    Some(b'.' | 0) | None => {
                        return self.go(self.line_start(), Step::Content(end + 2));
                    }
                    Some(_) => from = end + 2,
                },
                // The content before it first, then the odd one by itself.
                _ if end > 0 => return self.go(At::Middle, Step::Content(end)),
                (Some(b'\r'), None) => return self.go(At::Cr, Step::Skip(1)),
                (Some(b'\r'), Some(_)) => return self.bare_cr(1),
                _ => return self.bare_lf(),
            }
        }
    }

    /// A CR without LF, which may have been read already.
    fn bare_cr(&mut self, octets: usize) -> Step {
        self.at = if octets == 0 { At::Cr } else { At::Middle };
        if self.strict && self.newlines == BareNewlines::Reject {
            return self.flaw(Flaw::BareCr);
        }
        self.go(At::Middle, Step::Insert(b" ", octets))
    }

    fn bare_lf(&mut self) -> Step {
        if self.strict && self.newlines == BareNewlines::Reject {
            self.at = At::Middle;
            return self.flaw(Flaw::BareLf);
        }
        // Only behind a true CRLF may a dot be stuffing or the end.
        self.go(At::ContentLine, Step::Insert(CRLF, 1))
    }

    /// Tells a flaw once; the octet that showed it is still in the input.
    fn flaw(&mut self, flaw: Flaw) -> Step {
        if matches!(self.at, At::NulDot | At::DotNul) {
            self.at = At::Middle;
        }
        if !self.strict {
            return Step::Skip(0);
        }
        self.strict = false;
        Step::Bad(flaw)
    }

    const fn line_start(&self) -> At {
        if self.dots {
            At::LineStart
        } else {
            At::ContentLine
        }
    }

    const fn go(&mut self, at: At, step: Step) -> Step {
        self.at = at;
        step
    }
}
