//! Every reply that the server can give: code, enhanced code (RFC 3463, 7372), text.
//!
//! In: what happened, as a row of the catalogue below or as a [`Refusal`] that was decided
//! outside the session. Out: a [`Reply`] that renders itself as the octets of RFC 5321 §4.2.
//!
//! Transient and permanent refusals are different types, so that "reject with 4yz" cannot be
//! written. Session errors and the gateway's verdicts map to these in exhaustive matches.

use crate::address::AddressError;
use bytes::BytesMut;
use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// The longest reply line, CRLF included (RFC 5321 §4.5.3.1.5).
const MAX_LINE: usize = 512;
/// The most lines that one refusal's text may fill.
const MAX_LINES: usize = 16;

/// An enhanced status code (RFC 3463 §2) without its class: `subject.detail`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Enhanced(pub u16, pub u16);

/// A refusal that may succeed later: 4yz.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transient {
    /// 421, 450, 451, 452 or 454.
    pub code: TransientCode,
    /// Detail; the class is always 4.
    pub enhanced: Enhanced,
    /// Text for a person, without line breaks; sent as one or more lines of at most 512 octets.
    pub text: String,
}

/// The basic codes of a [`Transient`] refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransientCode {
    /// 421: the connection is closed after it.
    ServiceNotAvailable,
    /// 450: mailbox unavailable now.
    MailboxUnavailable,
    /// 451: local error in processing.
    LocalError,
    /// 452: insufficient storage, or too many recipients.
    InsufficientStorage,
    /// 454: TLS or authentication not available now (RFC 3207 §4, 4954 §4).
    TemporarilyUnavailable,
}

/// A final refusal: 5yz.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permanent {
    /// 530, 550, 552, 553, 554 or 556 (RFC 7504).
    pub code: PermanentCode,
    /// Detail; the class is always 5.
    pub enhanced: Enhanced,
    /// Text for a person, as in [`Transient::text`].
    pub text: String,
}

/// The basic codes of a [`Permanent`] refusal that a decision outside the session may give.
/// (Syntax and sequence errors, 500 to 504, and 555 are the session's own.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PermanentCode {
    /// 530: TLS or authentication is required first (RFC 3207 §4).
    AuthenticationRequired,
    /// 550: mailbox unavailable, or refused by policy.
    MailboxUnavailable,
    /// 552: exceeded storage allocation.
    ExceededStorage,
    /// 553: mailbox name not allowed.
    MailboxNameNotAllowed,
    /// 554: transaction failed; as a greeting: no SMTP service here.
    TransactionFailed,
    /// 556: domain does not accept mail (RFC 7504).
    DomainDoesNotAcceptMail,
}

/// A refusal of either kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// 4yz, the client may try again.
    Transient(Transient),
    /// 5yz, it may not.
    Permanent(Permanent),
}

impl TransientCode {
    /// The three digits.
    #[must_use]
    pub const fn as_u16(self) -> u16 {
        match self {
            Self::ServiceNotAvailable => 421,
            Self::MailboxUnavailable => 450,
            Self::LocalError => 451,
            Self::InsufficientStorage => 452,
            Self::TemporarilyUnavailable => 454,
        }
    }

    /// The code to relay for a backend's 4yz: itself where it is one of ours, else 451. A
    /// backend's 421 is about its own connection, so it also becomes 451.
    #[must_use]
    pub const fn relayed(code: u16) -> Self {
        match code {
            450 => Self::MailboxUnavailable,
            452 => Self::InsufficientStorage,
            454 => Self::TemporarilyUnavailable,
            _ => Self::LocalError,
        }
    }
}

impl PermanentCode {
    /// The three digits.
    #[must_use]
    pub const fn as_u16(self) -> u16 {
        match self {
            Self::AuthenticationRequired => 530,
            Self::MailboxUnavailable => 550,
            Self::ExceededStorage => 552,
            Self::MailboxNameNotAllowed => 553,
            Self::TransactionFailed => 554,
            Self::DomainDoesNotAcceptMail => 556,
        }
    }

    /// The code to relay for a backend's 5yz: itself where it is one of ours, else 554 (a client
    /// that does not know the last digit treats all of 55z alike, RFC 5321 §4.2.1).
    #[must_use]
    pub const fn relayed(code: u16) -> Self {
        match code {
            550 => Self::MailboxUnavailable,
            552 => Self::ExceededStorage,
            553 => Self::MailboxNameNotAllowed,
            556 => Self::DomainDoesNotAcceptMail,
            _ => Self::TransactionFailed,
        }
    }
}

impl Refusal {
    /// A 4yz refusal with the enhanced code 4.`enhanced`.
    #[must_use]
    pub fn transient(code: TransientCode, enhanced: Enhanced, text: impl Into<String>) -> Self {
        Self::Transient(Transient {
            code,
            enhanced,
            text: text.into(),
        })
    }

    /// A 5yz refusal with the enhanced code 5.`enhanced`.
    #[must_use]
    pub fn permanent(code: PermanentCode, enhanced: Enhanced, text: impl Into<String>) -> Self {
        Self::Permanent(Permanent {
            code,
            enhanced,
            text: text.into(),
        })
    }

    /// The basic code, three digits.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::Transient(refusal) => refusal.code.as_u16(),
            Self::Permanent(refusal) => refusal.code.as_u16(),
        }
    }

    /// The enhanced code with its class: (4 or 5, subject, detail).
    #[must_use]
    pub const fn enhanced(&self) -> (u8, u16, u16) {
        match self {
            Self::Transient(refusal) => (4, refusal.enhanced.0, refusal.enhanced.1),
            Self::Permanent(refusal) => (5, refusal.enhanced.0, refusal.enhanced.1),
        }
    }

    /// The text for a person.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Transient(refusal) => &refusal.text,
            Self::Permanent(refusal) => &refusal.text,
        }
    }

    /// Whether the connection ends with it (421, RFC 5321 §3.8).
    #[must_use]
    pub const fn closes(&self) -> bool {
        matches!(
            self,
            Self::Transient(Transient {
                code: TransientCode::ServiceNotAvailable,
                ..
            })
        )
    }
}

impl fmt::Display for Refusal {
    /// `550 5.7.26 text`, as one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (class, subject, detail) = self.enhanced();
        write!(
            f,
            "{} {class}.{subject}.{detail} {}",
            self.code(),
            self.text()
        )
    }
}

/// One reply, ready to be rendered (RFC 5321 §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    code: u16,
    enhanced: Option<Enhanced>,
    text: Text,
}

/// The text of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Text {
    /// Flowing text: broken into lines where it is too long.
    Flowing(Cow<'static, str>),
    /// Lines that stay as they are: the EHLO response.
    Lines(Vec<Cow<'static, str>>),
}

const fn fixed(code: u16, subject: u16, detail: u16, text: &'static str) -> Reply {
    Reply {
        code,
        enhanced: Some(Enhanced(subject, detail)),
        text: Text::Flowing(Cow::Borrowed(text)),
    }
}

fn made(code: u16, subject: u16, detail: u16, text: String) -> Reply {
    Reply {
        code,
        enhanced: Some(Enhanced(subject, detail)),
        text: Text::Flowing(Cow::Owned(text)),
    }
}

/// The catalogue, positive and intermediate replies.
///
/// The greeting, the answer to HELO and EHLO, and 354 carry no enhanced code (RFC 2034 §4).
impl Reply {
    /// RFC 5321 §4.1.1.2.
    pub(crate) const SENDER_OK: Self = fixed(250, 1, 0, "Sender ok");
    /// RFC 5321 §4.1.1.3.
    pub(crate) const RECIPIENT_OK: Self = fixed(250, 1, 5, "Recipient ok");
    /// RSET and NOOP, RFC 5321 §4.1.1.5 and §4.1.1.9.
    pub(crate) const OK: Self = fixed(250, 0, 0, "Ok");
    /// RFC 5321 §3.5.3: VRFY neither confirms nor denies.
    pub(crate) const CANNOT_VERIFY: Self = fixed(
        252,
        0,
        0,
        "Cannot verify the user, but will take a message and try to deliver it",
    );
    /// RFC 5321 §4.1.1.8.
    pub(crate) const HELP: Self = fixed(
        214,
        0,
        0,
        "EHLO HELO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY HELP STARTTLS; see RFC 5321",
    );
    /// RFC 3207 §4.
    pub(crate) const READY_FOR_TLS: Self = fixed(220, 0, 0, "Ready to start TLS");
    /// RFC 5321 §4.1.1.4.
    pub(crate) const START_MAIL_INPUT: Self = Self {
        code: 354,
        enhanced: None,
        text: Text::Flowing(Cow::Borrowed("Start mail input; end with <CRLF>.<CRLF>")),
    };

    /// 220 (RFC 5321 §3.1, §4.2).
    pub(crate) fn greeting(hostname: &str) -> Self {
        let text = Text::Flowing(format!("{hostname} ESMTP Postern").into());
        Self {
            code: 220,
            enhanced: None,
            text,
        }
    }

    /// The answer to HELO (RFC 5321 §4.1.1.1).
    pub(crate) fn helo(hostname: &str) -> Self {
        Self {
            code: 250,
            enhanced: None,
            text: Text::Flowing(hostname.to_owned().into()),
        }
    }

    /// The answer to EHLO: our name, then a keyword a line (RFC 5321 §4.1.1.1).
    pub(crate) fn ehlo(hostname: &str, keywords: Vec<Cow<'static, str>>) -> Self {
        let mut lines = vec![Cow::Owned(hostname.to_owned())];
        lines.extend(keywords);
        Self {
            code: 250,
            enhanced: None,
            text: Text::Lines(lines),
        }
    }

    /// A BDAT chunk was taken (RFC 3030 §2).
    pub(crate) fn chunk(octets: u64) -> Self {
        made(250, 0, 0, format!("{octets} octets received"))
    }

    /// The message was accepted (RFC 5321 §4.1.1.4).
    pub(crate) fn accepted(text: String) -> Self {
        made(250, 0, 0, text)
    }

    /// The answer to QUIT (RFC 5321 §4.1.1.10).
    pub(crate) fn bye(hostname: &str) -> Self {
        made(221, 0, 0, format!("{hostname} closing connection"))
    }
}

/// The catalogue, what ends the session: 421 (RFC 5321 §3.8).
impl Reply {
    /// RFC 3463 X.3.2: system not accepting network messages.
    pub(crate) fn shutting_down(hostname: &str) -> Self {
        made(421, 3, 2, format!("{hostname} shutting down, try again"))
    }

    /// RFC 3463 X.4.2: bad connection; RFC 5321 §4.5.3.2.
    pub(crate) fn timeout(hostname: &str) -> Self {
        made(
            421,
            4,
            2,
            format!("{hostname} timed out waiting for the client"),
        )
    }

    /// `limits.commands`.
    pub(crate) fn too_many_commands(hostname: &str) -> Self {
        made(
            421,
            7,
            0,
            format!("{hostname} too many commands in one session"),
        )
    }

    /// `limits.errors`.
    pub(crate) fn too_many_errors(hostname: &str) -> Self {
        made(421, 7, 0, format!("{hostname} too many errors"))
    }
}

/// The catalogue, syntax: 500, 501, 502 and 555 (RFC 5321 §4.2.4), limits (§4.5.3.1).
impl Reply {
    pub(crate) const UNKNOWN_COMMAND: Self = fixed(500, 5, 1, "Command not recognized");
    /// RFC 5321 §4.5.3.1.4 and §4.5.3.1.9.
    pub(crate) const LINE_TOO_LONG: Self = fixed(500, 5, 2, "Line too long");
    /// RFC 5321 §2.3.8: lines end in CRLF; DESIGN section 5.1: the connection closes.
    pub(crate) const BARE_NEWLINE_IN_COMMAND: Self = fixed(
        500,
        5,
        2,
        "Bare CR or LF in a command line; lines end in CRLF",
    );
    /// RFC 5321 §2.4: commands are printable ASCII, or UTF-8 by extension (RFC 6531 §3.3).
    pub(crate) const BAD_OCTETS: Self = fixed(
        500,
        5,
        2,
        "Control octet or malformed UTF-8 in a command line",
    );
    pub(crate) const NO_PARAMETERS: Self = fixed(501, 5, 4, "This command takes no parameters");
    pub(crate) const PARAMETER_MISSING: Self = fixed(501, 5, 4, "This command needs a parameter");
    pub(crate) const MAIL_SYNTAX: Self = fixed(501, 5, 4, "Syntax: MAIL FROM:<address>");
    pub(crate) const RCPT_SYNTAX: Self = fixed(501, 5, 4, "Syntax: RCPT TO:<address>");
    /// RFC 3030 §2.
    pub(crate) const BDAT_SYNTAX: Self = fixed(501, 5, 4, "Syntax: BDAT size [LAST]");
    pub(crate) const NOT_IMPLEMENTED: Self = fixed(502, 5, 1, "Command not implemented");
    /// RFC 3207 §4: not advertised here.
    pub(crate) const NO_TLS_HERE: Self = fixed(502, 5, 1, "STARTTLS is not offered here");

    /// The argument of HELO or EHLO (RFC 5321 §4.1.1.1).
    pub(crate) fn bad_client_name(why: &AddressError) -> Self {
        made(501, 5, 4, format!("Bad domain or address literal: {why}"))
    }

    /// RFC 3463 X.1.7: bad sender's mailbox address syntax; RFC 6531 §3.5: 550 X.6.7.
    pub(crate) fn bad_sender(why: &AddressError) -> Self {
        match why {
            AddressError::NonAscii => made(550, 6, 7, why.to_string()),
            _ => made(501, 1, 7, format!("Bad sender address: {why}")),
        }
    }

    /// RFC 3463 X.1.3: bad destination mailbox address syntax; RFC 6531 §3.5: 553 X.6.7.
    pub(crate) fn bad_recipient(why: &AddressError) -> Self {
        match why {
            AddressError::NonAscii => made(553, 6, 7, why.to_string()),
            _ => made(501, 1, 3, format!("Bad recipient address: {why}")),
        }
    }

    /// A parameter that we know has a value that it must not have, or stands twice.
    pub(crate) fn bad_parameter(keyword: &str) -> Self {
        made(501, 5, 4, format!("Bad value of parameter {keyword}"))
    }

    /// RFC 5321 §4.1.1.11: a parameter that was not offered.
    pub(crate) fn unknown_parameter(keyword: &str) -> Self {
        made(
            555,
            5,
            4,
            format!("Parameter {keyword} not recognized or not implemented"),
        )
    }
}

/// The catalogue, sequence: 503 (RFC 5321 §4.1.4), 530, 554.
impl Reply {
    pub(crate) const EHLO_FIRST: Self = fixed(503, 5, 1, "Send EHLO first");
    pub(crate) const MAIL_FIRST: Self = fixed(503, 5, 1, "Send MAIL first");
    pub(crate) const RCPT_FIRST: Self = fixed(503, 5, 1, "Send RCPT first");
    pub(crate) const NESTED_MAIL: Self = fixed(503, 5, 1, "A transaction is open; RSET ends it");
    /// RFC 3030 §2: DATA, and anything that would change the envelope, is out of place.
    pub(crate) const BDAT_BEGUN: Self = fixed(
        503,
        5,
        1,
        "The message has begun; send BDAT, or RSET to give it up",
    );
    /// RFC 5321 §3.1: after a 554 greeting only QUIT is served.
    pub(crate) const ONLY_QUIT: Self = fixed(503, 5, 1, "No service here; send QUIT");
    pub(crate) const TLS_ALREADY: Self = fixed(503, 5, 1, "TLS is active already");
    /// RFC 3207 §4.
    pub(crate) const STARTTLS_FIRST: Self = fixed(530, 7, 0, "Must issue a STARTTLS command first");
    /// RFC 5321 §3.3: all RCPT were refused.
    pub(crate) const NO_VALID_RECIPIENTS: Self = fixed(554, 5, 1, "No valid recipients");
}

/// The catalogue, the message and its limits.
impl Reply {
    /// RFC 1870 §6.1 and §6.4.
    pub(crate) const MESSAGE_TOO_LARGE: Self = fixed(
        552,
        3,
        4,
        "Message size exceeds the fixed maximum message size",
    );
    /// RFC 5321 §4.5.3.1.10.
    pub(crate) const TOO_MANY_RECIPIENTS: Self = fixed(
        452,
        5,
        3,
        "Too many recipients; send the others in another transaction",
    );
    /// RFC 5321 §2.3.8 and §4.1.1.4.
    pub(crate) const BARE_CR: Self = fixed(
        550,
        6,
        0,
        "Message contains a bare CR; lines must end in CRLF",
    );
    /// RFC 5321 §2.3.8 and §4.1.1.4.
    pub(crate) const BARE_LF: Self = fixed(
        550,
        6,
        0,
        "Message contains a bare LF; lines must end in CRLF",
    );
    /// A server that drops NUL would see the end of data here.
    pub(crate) const NUL_AT_DOT: Self = fixed(
        550,
        6,
        0,
        "Message contains NUL beside a dot that stands alone on its line",
    );
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

#[cfg(test)]
mod tests;
