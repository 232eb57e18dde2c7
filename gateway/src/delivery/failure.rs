//! Everything that can go wrong between a message and its backend, and what the client is told:
//! one type, one exhaustive match.

use postern_smtp::client::{Broken, EnhancedCode, Nonsense, OpeningError, Reply, Stage};
use postern_smtp::reply::{Enhanced, PermanentCode, Refusal, TransientCode};
use std::borrow::Cow;
use std::io;

/// The most of a backend's text that is passed on, octets.
const MAX_TEXT: usize = 512;

/// Why a backend has no answer of its own for a message.
#[derive(Debug)]
pub(super) enum Failure {
    /// The recipient's domain does not exist, or has neither MX nor address.
    NoSuchDomain,
    /// The recipient's domain takes no mail (RFC 7505).
    NullMx,
    /// We are the best MX of the domain (RFC 5321 §5.1).
    MxLoop,
    /// The name servers do not answer, or not now.
    Dns,
    /// The name has no address: a Service without endpoints, or a host that is not there.
    NoAddress,
    /// All connections to the backend are in use.
    Congested,
    /// The group's time was over before its backend could be asked.
    Unasked,
    /// No connection.
    Connect(io::ErrorKind),
    /// No connection in time.
    ConnectTimeout,
    /// The TLS handshake failed; why.
    Tls(String),
    /// Greeting, EHLO, STARTTLS or AUTH failed.
    Opening(OpeningError),
    /// A login is configured without verified TLS.
    LoginUnverified,
    /// The backend's own TLS settings cannot be used: a CA certificate that is none.
    TlsUnusable,
    /// No reply in time to what was sent last.
    Timeout(Stage),
    /// The connection ended while this was awaited.
    Lost(Stage),
    /// The backend made no sense, or said 421.
    Broken(Broken),
    /// The message has a bare LF, which the session must not let through.
    BareLf,
    /// MAIL, RCPT or DATA was refused in a way that tells of us, not of the mail.
    Misconfigured(Reply),
    /// A refusal that is the mail's own.
    Refused(Refusal),
    /// Some recipients were refused that had been accepted, or LMTP's answers differ.
    Mixed(&'static str),
}

impl Failure {
    /// Whether the connection died in a way that a fresh one may mend.
    pub(super) const fn is_dead_connection(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Broken(Broken::Closing(_)))
    }

    /// Whether it may only have been too late to begin.
    pub(super) const fn is_want_of_time(&self) -> bool {
        matches!(
            self,
            Self::Congested | Self::ConnectTimeout | Self::Timeout(_)
        )
    }

    /// Whether the backend itself is in a bad way and others should be preferred for a while.
    pub(super) const fn is_backends_fault(&self) -> bool {
        match self {
            Self::NoSuchDomain
            | Self::NullMx
            | Self::MxLoop
            | Self::Unasked
            | Self::BareLf
            | Self::LoginUnverified
            | Self::TlsUnusable
            | Self::Misconfigured(_)
            | Self::Refused(_)
            | Self::Mixed(_) => false,
            Self::Dns
            | Self::NoAddress
            | Self::Congested
            | Self::Connect(_)
            | Self::ConnectTimeout
            | Self::Tls(_)
            | Self::Opening(_)
            | Self::Timeout(_)
            | Self::Lost(_)
            | Self::Broken(_) => true,
        }
    }

    /// The codes by which a backend shows that we are misconfigured. (TLS that cannot be used is
    /// known, logged and shown since the snapshot was applied.)
    pub(super) fn misconfiguration(&self) -> Option<String> {
        match self {
            Self::Misconfigured(reply) => Some(reply.codes()),
            Self::Opening(OpeningError::Refused { reply, .. }) if reply.is_permanent() => {
                Some(reply.codes())
            }
            Self::Opening(OpeningError::NoAuthPlain) => Some("no AUTH PLAIN".to_owned()),
            Self::Opening(OpeningError::NoStartTls) => Some("no STARTTLS".to_owned()),
            Self::LoginUnverified | Self::Opening(OpeningError::LoginInClear) => {
                Some("AUTH without verified TLS".to_owned())
            }
            _ => None,
        }
    }

    /// `error.type` of the span; none for refusals that are answers.
    pub(super) fn error_type(&self) -> Option<Cow<'static, str>> {
        Some(Cow::Borrowed(match self {
            Self::NoSuchDomain | Self::NullMx | Self::MxLoop | Self::Refused(_) => return None,
            Self::Mixed(_) => return None,
            Self::Dns => "dns",
            Self::NoAddress => "no_address",
            Self::Congested => "congested",
            Self::Unasked => "unasked",
            Self::Connect(io::ErrorKind::ConnectionRefused) => "connection_refused",
            Self::Connect(_) => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls(_) => "tls",
            Self::Opening(OpeningError::Broken(broken)) | Self::Broken(broken) => match broken {
                Broken::Nonsense(_) => "nonsense",
                Broken::Closing(_) => "closing",
            },
            Self::Opening(_) => "opening_refused",
            Self::LoginUnverified | Self::TlsUnusable | Self::Misconfigured(_) => "misconfigured",
            Self::Timeout(_) => "timeout",
            Self::Lost(_) => "connection_lost",
            Self::BareLf => "bare_lf",
        }))
    }

    /// Whether the backend sent something that is no SMTP.
    pub(super) const fn nonsense(&self) -> Option<&Nonsense> {
        match self {
            Self::Broken(Broken::Nonsense(nonsense))
            | Self::Opening(OpeningError::Broken(Broken::Nonsense(nonsense))) => Some(nonsense),
            _ => None,
        }
    }

    /// What the client is told. Only what the mail itself brought about is final.
    pub(super) fn refusal(self) -> Refusal {
        match self {
            Self::NoSuchDomain => permanent(
                PermanentCode::MailboxUnavailable,
                (1, 2),
                "the recipient's domain has no mail server",
            ),
            Self::NullMx => permanent(
                // RFC 7505 §4.2.
                PermanentCode::DomainDoesNotAcceptMail,
                (1, 10),
                "the recipient's domain does not accept mail",
            ),
            Self::MxLoop => permanent(
                PermanentCode::TransactionFailed,
                (4, 6),
                "mail for the recipient's domain loops back to this server",
            ),
            Self::Dns => deferred(
                (4, 3),
                "the name of the next server cannot be looked up now",
            ),
            Self::NoAddress => deferred((4, 1), "the next server has no address now"),
            Self::Congested => deferred((4, 5), "too many connections to the next server"),
            Self::Unasked => deferred((4, 5), "there was no time left to ask the next server"),
            Self::Connect(_) => deferred((4, 1), "the next server cannot be reached"),
            Self::ConnectTimeout => deferred((4, 1), "the next server does not answer"),
            Self::Tls(_) => deferred((7, 5), "no trusted TLS with the next server"),
            Self::Opening(error) => opening(error),
            Self::Timeout(stage) => deferred(
                (4, 2),
                format!("the next server took too long to answer {stage}"),
            ),
            // RFC 1047: after the final dot the message may have been taken all the same.
            Self::Lost(stage) => deferred(
                (4, 2),
                format!("the next server went away before it answered {stage}"),
            ),
            Self::Broken(broken) => broken_refusal(broken),
            Self::BareLf => deferred((3, 0), "the message cannot be sent on"),
            Self::LoginUnverified | Self::TlsUnusable | Self::Misconfigured(_) => misconfigured(),
            Self::Refused(refusal) => refusal,
            Self::Mixed(text) => deferred((3, 0), text),
        }
    }
}

fn opening(error: OpeningError) -> Refusal {
    match error {
        OpeningError::Refused { reply, .. } if reply.is_transient() => relayed(&reply),
        OpeningError::Refused { .. }
        | OpeningError::NoAuthPlain
        | OpeningError::NoStartTls
        | OpeningError::LoginInClear => misconfigured(),
        OpeningError::Broken(broken) => broken_refusal(broken),
    }
}

fn broken_refusal(broken: Broken) -> Refusal {
    match broken {
        Broken::Nonsense(_) => deferred((5, 0), "the next server does not speak SMTP properly"),
        Broken::Closing(reply) => relayed(&reply),
    }
}

/// Never a bounce for what an operator can mend.
fn misconfigured() -> Refusal {
    deferred(
        (3, 5),
        "this server is not set up properly for the recipient",
    )
}

fn deferred(enhanced: (u16, u16), text: impl Into<String>) -> Refusal {
    let enhanced = Enhanced(enhanced.0, enhanced.1);
    Refusal::transient(TransientCode::LocalError, enhanced, text)
}

fn permanent(code: PermanentCode, enhanced: (u16, u16), text: &str) -> Refusal {
    Refusal::permanent(code, Enhanced(enhanced.0, enhanced.1), text)
}

/// The message is larger than the backend takes (RFC 1870 §6.1).
pub(super) fn too_large() -> Refusal {
    let text = "the message is larger than the next server takes";
    permanent(PermanentCode::ExceededStorage, (3, 4), text)
}

/// The message has octets above 127 and the backend lacks 8BITMIME (RFC 6152 §3).
pub(super) fn needs_eight_bit() -> Refusal {
    let text = "the next server takes no 8-bit content";
    permanent(PermanentCode::TransactionFailed, (6, 3), text)
}

/// An address or header field is not ASCII and the backend lacks SMTPUTF8 (RFC 6531 §3.5).
pub(super) fn needs_smtputf8() -> Refusal {
    let text = "the next server takes no internationalized mail";
    permanent(PermanentCode::MailboxUnavailable, (6, 7), text)
}

/// A backend's refusal as we pass it on.
pub(super) fn relayed(reply: &Reply) -> Refusal {
    let mut text = reply.text.replace('\n', " ");
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
    }
    let (_, subject, detail) = reply.enhanced.unwrap_or_default();
    let enhanced = Enhanced(subject, detail);
    if reply.is_permanent() {
        Refusal::permanent(PermanentCode::relayed(reply.code), enhanced, text)
    } else {
        Refusal::transient(TransientCode::relayed(reply.code), enhanced, text)
    }
}

/// What a backend says to a recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// 2yz.
    Taken,
    /// The mail's own refusal.
    Refused(Refusal),
    /// A refusal that tells of us.
    Misconfigured(Reply),
}

/// Reads a reply to RCPT.
pub(super) fn at_rcpt(reply: Reply) -> Verdict {
    if reply.is_positive() {
        return Verdict::Taken;
    }
    if !reply.is_permanent() {
        return Verdict::Refused(relayed(&reply));
    }
    match (reply.code, reply.enhanced) {
        // RFC 5321 §4.5.3.1.10: "too many recipients" is transient whatever its code.
        (_, Some((5, 5, 3))) => Verdict::Refused(Refusal::transient(
            TransientCode::InsufficientStorage,
            Enhanced(5, 3),
            "too many recipients for the next server",
        )),
        _ if is_about_us(&reply) => Verdict::Misconfigured(reply),
        _ => Verdict::Refused(relayed(&reply)),
    }
}

/// Reads a refusal of MAIL: a 5yz before RCPT is never the mail's own fault.
pub(super) fn at_mail(reply: Reply) -> Failure {
    if reply.is_permanent() {
        Failure::Misconfigured(reply)
    } else {
        Failure::Refused(relayed(&reply))
    }
}

/// Reads a refusal of DATA or of the message: policy of the backend (5.7.x) is about the mail
/// here, a protocol error is about us.
pub(super) fn at_data(reply: Reply) -> Failure {
    if reply.is_permanent() && is_protocol_error(&reply) {
        return Failure::Misconfigured(reply);
    }
    Failure::Refused(relayed(&reply))
}

fn is_about_us(reply: &Reply) -> bool {
    matches!(reply.enhanced, Some((5, 7, _))) || is_protocol_error(reply)
}

/// Bad sequence, unknown command or parameter, authentication required: codes that no mail can
/// bring about. (501 and 553 may be about the recipient's address.)
fn is_protocol_error(reply: &Reply) -> bool {
    const OURS: [u16; 8] = [500, 502, 503, 504, 530, 535, 538, 555];
    OURS.contains(&reply.code) || matches!(reply.enhanced, Some((5, 5, _)))
}

/// The code and enhanced code of a reply, for the record.
pub(super) fn codes(reply: &Reply) -> (u16, Option<EnhancedCode>) {
    (reply.code, reply.enhanced)
}
