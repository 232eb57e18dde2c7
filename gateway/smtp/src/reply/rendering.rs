//! One reply and the octets that it is sent as (RFC 5321 §4.2).
//!
//! In: a code and a text from anywhere. Out: lines of printable ASCII, each at most 512 octets.

use super::{Enhanced, PermanentCode, Refusal, TransientCode};
use bytes::BytesMut;
use std::borrow::Cow;
use std::fmt::Write as _;

/// The longest reply line, CRLF included (RFC 5321 §4.5.3.1.5).
pub(super) const MAX_LINE: usize = 512;
/// The most lines that one refusal's text may fill.
pub(super) const MAX_LINES: usize = 16;

/// One reply, ready to be rendered (RFC 5321 §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) enhanced: Option<Enhanced>,
    pub(super) text: Text,
}

/// The text of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Text {
    /// Flowing text: broken into lines where it is too long.
    Flowing(Cow<'static, str>),
    /// Lines that stay as they are: the EHLO response.
    Lines(Vec<Cow<'static, str>>),
}

/// A reply whose text never changes.
pub(super) const fn fixed(code: u16, subject: u16, detail: u16, text: &'static str) -> Reply {
    Reply {
        code,
        enhanced: Some(Enhanced(subject, detail)),
        text: Text::Flowing(Cow::Borrowed(text)),
    }
}

/// A reply with a text of its own.
pub(super) fn made(code: u16, subject: u16, detail: u16, text: String) -> Reply {
    Reply {
        code,
        enhanced: Some(Enhanced(subject, detail)),
        text: Text::Flowing(Cow::Owned(text)),
    }
}

impl Reply {
    /// A refusal in place of the greeting: only 421 and 554 may stand there (RFC 5321 §4.3.2).
    pub(crate) fn instead_of_greeting(refusal: &Refusal) -> Self {
        let code = match refusal {
            Refusal::Transient(_) => 421,
            Refusal::Permanent(_) => 554,
        };
        Self {
            code,
            ..Self::from(refusal)
        }
    }

    /// What it refuses, for those who record it; none if it is positive. A code that only the
    /// session may give (500 to 504, 555) stands as 554.
    pub(crate) fn refused(&self) -> Option<Refusal> {
        let enhanced = self.enhanced.unwrap_or(Enhanced(0, 0));
        let Text::Flowing(text) = &self.text else {
            return None;
        };
        let text = text.as_ref();
        match self.code {
            421 => {
                let code = TransientCode::ServiceNotAvailable;
                Some(Refusal::transient(code, enhanced, text))
            }
            400..500 => Some(Refusal::transient(
                TransientCode::relayed(self.code),
                enhanced,
                text,
            )),
            500.. => Some(Refusal::permanent(
                PermanentCode::relayed(self.code),
                enhanced,
                text,
            )),
            _ => None,
        }
    }

    /// Its flowing text; empty for one of fixed lines.
    pub(crate) fn words(&self) -> &str {
        match &self.text {
            Text::Flowing(text) => text,
            Text::Lines(_) => "",
        }
    }

    /// Appends the octets of the reply: one or more lines of at most 512 octets.
    pub(crate) fn render(&self, out: &mut BytesMut) {
        match &self.text {
            Text::Lines(lines) => {
                for (index, line) in lines.iter().enumerate() {
                    self.line(line, index + 1 == lines.len(), out);
                }
            }
            // "ddd ", "d.ddd.ddd " and CRLF
            Text::Flowing(text) => {
                let clean = printable(text);
                let mut rest: &str = &clean;
                for index in 1..=MAX_LINES {
                    let (line, more) = split_line(rest, MAX_LINE - 4 - 10 - 2);
                    rest = more;
                    let last = rest.is_empty() || index == MAX_LINES;
                    self.line(line, last, out);
                    if last {
                        break;
                    }
                }
            }
        }
    }

    fn line(&self, text: &str, last: bool, out: &mut BytesMut) {
        let separator = if last { ' ' } else { '-' };
        let code = self.code;
        let start = out.len();
        // Writing to a BytesMut cannot fail: it grows.
        let _ = match self.enhanced {
            // RFC 2034 §4: the code stands on every line.
            Some(Enhanced(subject, detail)) => {
                write!(
                    out,
                    "{code}{separator}{}.{subject}.{detail} {text}",
                    code / 100
                )
            }
            None => write!(out, "{code}{separator}{text}"),
        };
        while out.len() > start + 4 && out.ends_with(b" ") {
            out.truncate(out.len() - 1);
        }
        out.extend_from_slice(b"\r\n");
    }
}

impl From<&Refusal> for Reply {
    fn from(refusal: &Refusal) -> Self {
        let (_, subject, detail) = refusal.enhanced();
        made(refusal.code(), subject, detail, refusal.text().to_owned())
    }
}

/// RFC 5321 §4.2: reply text is printable ASCII. A line break becomes a space, what cannot be
/// said becomes `?`, so that no text from outside can forge a second reply.
fn printable(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|octet| (b' '..=b'~').contains(&octet)) {
        return Cow::Borrowed(text);
    }
    let replace = |c: char| match c {
        ' '..='~' => c,
        '\r' | '\n' | '\t' => ' ',
        _ => '?',
    };
    Cow::Owned(text.chars().map(replace).collect())
}

/// Splits ASCII text after at most `width` octets, at a space where there is one.
fn split_line(text: &str, width: usize) -> (&str, &str) {
    let Some(head) = text.get(..width).filter(|_| text.len() > width) else {
        return (text, "");
    };
    let at = head.rfind(' ').filter(|at| *at > 0).unwrap_or(width);
    let (line, rest) = text.split_at(at);
    (line, rest.trim_start_matches(' '))
}
