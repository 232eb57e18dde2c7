//! Refusals that are decided outside the session.
//!
//! Transient and permanent ones are different types, so that "reject with 4yz" cannot be written.

use super::Reply;
use std::fmt;

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

    /// The message is larger than is taken (RFC 1870 §6.1), in the session's own words.
    #[must_use]
    pub fn message_too_large() -> Self {
        let text = Reply::MESSAGE_TOO_LARGE.words().to_owned();
        Self::permanent(PermanentCode::ExceededStorage, Enhanced(3, 4), text)
    }

    /// More recipients than one transaction takes (RFC 5321 §4.5.3.1.10), in the session's own
    /// words.
    #[must_use]
    pub fn too_many_recipients() -> Self {
        let text = Reply::TOO_MANY_RECIPIENTS.words().to_owned();
        Self::transient(TransientCode::InsufficientStorage, Enhanced(5, 3), text)
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
