//! Every reply that the server can give: code, enhanced code (RFC 3463, 7372), text.
//!
//! In: what happened, as a row of the catalogue below or as a [`Refusal`] that was decided
//! outside the session. Out: a reply that renders itself as the octets of RFC 5321 §4.2.
//!
//! Transient and permanent refusals are different types, so that "reject with 4yz" cannot be
//! written. Session errors and the gateway's verdicts map to these in exhaustive matches.

mod refusal;
mod rendering;

pub use refusal::{Enhanced, Permanent, PermanentCode, Refusal, Transient, TransientCode};
pub(crate) use rendering::Reply;

use crate::address::AddressError;
use rendering::{Text, fixed, made};
use std::borrow::Cow;

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
    /// RFC 5321 §2.3.8: lines end in CRLF. The connection closes: what follows may be smuggled.
    pub(crate) const BARE_NEWLINE_IN_COMMAND: Self = fixed(
        500,
        5,
        2,
        "Bare CR or LF in a command line; lines end in CRLF",
    );
    /// A client that takes this port for one with implicit TLS (RFC 8314 §3) would wait for ever.
    pub(crate) const TLS_IN_CLEAR: Self = fixed(
        500,
        5,
        1,
        "A TLS handshake is no command; TLS begins with STARTTLS, where it is offered",
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
    /// RFC 5321 §3.3: "spaces are not permitted on either side of the colon".
    pub(crate) const MAIL_SPACED: Self = fixed(
        501,
        5,
        4,
        "Syntax: MAIL FROM:<address>, without a space before or after the colon",
    );
    /// As for MAIL.
    pub(crate) const RCPT_SPACED: Self = fixed(
        501,
        5,
        4,
        "Syntax: RCPT TO:<address>, without a space before or after the colon",
    );
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

#[cfg(test)]
mod tests;
