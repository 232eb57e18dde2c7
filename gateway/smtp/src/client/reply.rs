//! Replies of a backend (RFC 5321 §4.2), read within bounds.
//!
//! Octets go in as they come, whole [`Reply`]s come out in order, or [`Nonsense`].

use std::borrow::Cow;

/// The longest line that is read, its line break included. RFC 5321 §4.5.3.1.5 allows 512; real
/// servers say more.
pub(super) const MAX_LINE: usize = 2048;
/// The most lines of one reply.
pub(super) const MAX_LINES: usize = 100;

/// An enhanced status code (RFC 3463 §2): class, subject, detail.
pub type EnhancedCode = (u8, u16, u16);

/// One reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Three digits, 200 to 599.
    pub code: u16,
    /// The enhanced status code (RFC 2034 §4), where the reply has one of its own class.
    pub enhanced: Option<EnhancedCode>,
    /// Printable ASCII, lines separated by LF, each without its enhanced code.
    pub text: String,
}

/// What a backend sent that is no SMTP, or not now. The connection is of no further use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Nonsense {
    /// More than 2,048 octets without a line break.
    #[error("a reply line of more than {MAX_LINE} octets")]
    LongLine,
    /// More than 100 lines.
    #[error("a reply of more than {MAX_LINES} lines")]
    ManyLines,
    /// A line that does not begin with a code from 200 to 599 and a space, hyphen or line break.
    #[error("a line that is no reply")]
    NotAReply,
    /// Lines of one reply with different codes.
    #[error("a reply whose lines say {0} and {1}")]
    CodeChanged(u16, u16),
    /// A reply that nothing was waiting for.
    #[error("{0} that answers nothing")]
    Unsolicited(u16),
    /// A reply whose class does not answer the command: 354 to RCPT, 250 to DATA.
    #[error("{code} in reply to {stage}")]
    Unexpected {
        /// What was waiting.
        stage: super::Stage,
        /// What came.
        code: u16,
    },
    /// Octets behind the reply to STARTTLS, before the handshake (RFC 3207 §6): somebody between
    /// us and the backend put them there.
    #[error("octets between the reply to STARTTLS and the handshake")]
    Injected,
}

impl Reply {
    /// 2yz.
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 3yz.
    #[must_use]
    pub const fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }

    /// 4yz.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5yz.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// `550 5.1.1`, or `550` alone.
    #[must_use]
    pub fn codes(&self) -> String {
        match self.enhanced {
            Some((class, subject, detail)) => {
                format!("{} {class}.{subject}.{detail}", self.code)
            }
            None => self.code.to_string(),
        }
    }
}

/// Cuts octets into replies.
#[derive(Debug, Default)]
pub(super) struct ReplyReader {
    buffer: Vec<u8>,
    /// Octets of `buffer` that were read already.
    read: usize,
    /// Octets behind `read` that are known to hold no line break.
    scanned: usize,
    partial: Option<(Reply, usize)>,
}

impl ReplyReader {
    pub(super) fn receive(&mut self, octets: &[u8]) {
        if self.read > 0 {
            self.buffer.drain(..self.read);
            self.read = 0;
        }
        self.buffer.extend_from_slice(octets);
    }

    /// Whether nothing is left, not even a part of a reply.
    pub(super) fn is_empty(&self) -> bool {
        self.partial.is_none() && self.read == self.buffer.len()
    }

    pub(super) fn next(&mut self) -> Result<Option<Reply>, Nonsense> {
        while let Some((start, end)) = self.line()? {
            let line = Line::parse(self.buffer.get(start..end).unwrap_or_default())?;
            let (mut reply, lines) = match self.partial.take() {
                None => (line.begin(), 1),
                Some((mut reply, lines)) => {
                    line.continue_(&mut reply)?;
                    (reply, lines + 1)
                }
            };
            if line.last {
                reply.text.shrink_to_fit();
                return Ok(Some(reply));
            }
            if lines >= MAX_LINES {
                return Err(Nonsense::ManyLines);
            }
            self.partial = Some((reply, lines));
        }
        Ok(None)
    }

    /// Where the next line stands, without its line break. A bare LF ends one too: nothing that a
    /// backend says is passed on as lines.
    fn line(&mut self) -> Result<Option<(usize, usize)>, Nonsense> {
        let start = self.read;
        let pending = self.buffer.get(start + self.scanned..).unwrap_or_default();
        let Some(at) = memchr::memchr(b'\n', pending) else {
            self.scanned += pending.len();
            if self.scanned >= MAX_LINE {
                return Err(Nonsense::LongLine);
            }
            return Ok(None);
        };
        let end = start + self.scanned + at;
        if end + 1 - start > MAX_LINE {
            return Err(Nonsense::LongLine);
        }
        self.read = end + 1;
        self.scanned = 0;
        let has_cr = end > start && self.buffer.get(end - 1) == Some(&b'\r');
        Ok(Some((start, if has_cr { end - 1 } else { end })))
    }
}

/// One line, taken apart.
struct Line<'l> {
    code: u16,
    last: bool,
    text: &'l [u8],
}

impl<'l> Line<'l> {
    fn parse(line: &'l [u8]) -> Result<Self, Nonsense> {
        let (&[a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9'], rest) =
            line.split_first_chunk::<3>().ok_or(Nonsense::NotAReply)?
        else {
            return Err(Nonsense::NotAReply);
        };
        let code = [a, b, c]
            .iter()
            .fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
        match rest.split_first() {
            None => Ok(Self {
                code,
                last: true,
                text: rest,
            }),
            Some((b' ', text)) => Ok(Self {
                code,
                last: true,
                text,
            }),
            Some((b'-', text)) => Ok(Self {
                code,
                last: false,
                text,
            }),
            Some(_) => Err(Nonsense::NotAReply),
        }
    }

    fn begin(&self) -> Reply {
        let enhanced = enhanced(self.code, self.text);
        let text = enhanced.map_or(self.text, |(_, rest)| rest);
        let text = printable(text).into_owned();
        Reply {
            code: self.code,
            enhanced: enhanced.map(|(code, _)| code),
            text,
        }
    }

    fn continue_(&self, reply: &mut Reply) -> Result<(), Nonsense> {
        if self.code != reply.code {
            // RFC 5321 §4.2.1: "the reply code on each of the lines MUST be the same".
            return Err(Nonsense::CodeChanged(reply.code, self.code));
        }
        let text = match enhanced(self.code, self.text) {
            Some((_, rest)) if reply.enhanced.is_some() => rest,
            _ => self.text,
        };
        reply.text.push('\n');
        reply.text.push_str(&printable(text));
        Ok(())
    }
}

/// `class "." subject "." detail` and a space or nothing (RFC 2034 §4), of the code's class.
fn enhanced(code: u16, text: &[u8]) -> Option<(EnhancedCode, &[u8])> {
    let end = memchr::memchr(b' ', text).unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end)?;
    let mut numbers = std::str::from_utf8(word).ok()?.split('.');
    let class = number(numbers.next()?, 1)?;
    let subject = number(numbers.next()?, 3)?;
    let detail = number(numbers.next()?, 3)?;
    if numbers.next().is_some() || class != code / 100 {
        return None;
    }
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    Some(((u8::try_from(class).ok()?, subject, detail), rest))
}

fn number(digits: &str, most: usize) -> Option<u16> {
    let sane = (1..=most).contains(&digits.len()) && digits.bytes().all(|d| d.is_ascii_digit());
    if sane { digits.parse().ok() } else { None }
}

fn printable(text: &[u8]) -> Cow<'_, str> {
    let sane = text.iter().all(|octet| matches!(octet, b' '..=b'~'));
    match std::str::from_utf8(text) {
        Ok(text) if sane => Cow::Borrowed(text),
        _ => Cow::Owned(text.iter().map(|octet| shown(*octet)).collect()),
    }
}

fn shown(octet: u8) -> char {
    match octet {
        b' '..=b'~' => char::from(octet),
        b'\t' => ' ',
        _ => '?',
    }
}
