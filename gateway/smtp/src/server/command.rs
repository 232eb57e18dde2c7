//! Command lines (RFC 5321 §4.1.1 and its extensions): text in, [`Command`] out.
//!
//! A line is read in two steps: [`Command::read`] finds the verb, and the state that may serve it
//! has its argument parsed by one of the functions below. So a command out of order is 503
//! whatever its argument.

use super::Mail;
use crate::address::{self, ClientName, ForwardPath, ReversePath};
use crate::reply::Reply;

/// The commands that are known, in the order of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Ehlo,
    Helo,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Quit,
    Vrfy,
    Expn,
    Help,
}

/// One command line, its argument not yet read.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) verb: Verb,
    /// What follows the verb and one space; empty if nothing does.
    pub(super) argument: String,
}

/// The argument of BDAT (RFC 3030 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Octets that follow the command.
    pub(super) size: u64,
    /// Whether this chunk ends the message.
    pub(super) last: bool,
}

/// The largest chunk, octets. No client sends more than this in one: a size beyond it is a mistake,
/// or there to keep a session busy with octets that are thrown away.
const MAX_CHUNK: u64 = u32::MAX as u64;

/// Why a BDAT command is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BadChunk {
    /// No size can be read: nothing is taken to follow.
    Malformed,
    /// A size, and then something else than LAST: so many octets follow.
    Surplus(u64),
    /// More octets follow than [`MAX_CHUNK`].
    Endless,
}

impl Verb {
    fn read(text: &str) -> Option<Self> {
        const VERBS: [(&str, Verb); 14] = [
            ("RCPT", Verb::Rcpt),
            ("MAIL", Verb::Mail),
            ("DATA", Verb::Data),
            ("EHLO", Verb::Ehlo),
            ("QUIT", Verb::Quit),
            ("BDAT", Verb::Bdat),
            ("RSET", Verb::Rset),
            ("NOOP", Verb::Noop),
            ("HELO", Verb::Helo),
            ("STARTTLS", Verb::StartTls),
            ("AUTH", Verb::Auth),
            ("VRFY", Verb::Vrfy),
            ("EXPN", Verb::Expn),
            ("HELP", Verb::Help),
        ];
        // RFC 5321 §2.4: verbs are not case-sensitive.
        VERBS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text))
            .map(|(_, verb)| *verb)
    }
}

impl Command {
    /// Reads a line without its CRLF.
    pub(super) fn read(line: &[u8]) -> Result<Self, Reply> {
        // RFC 5321 §4.1.1: white space before CRLF should be tolerated.
        let end = line
            .iter()
            .rposition(|octet| !matches!(octet, b' ' | b'\t'));
        let line = line
            .get(..end.map_or(0, |last| last + 1))
            .unwrap_or_default();
        let text = std::str::from_utf8(line).map_err(|_| Reply::BAD_OCTETS)?;
        if text.bytes().any(|octet| octet.is_ascii_control()) {
            return Err(Reply::BAD_OCTETS);
        }
        let (verb, argument) = text.split_once(' ').unwrap_or((text, ""));
        let verb = Verb::read(verb).ok_or(Reply::UNKNOWN_COMMAND)?;
        Ok(Self {
            verb,
            argument: argument.to_owned(),
        })
    }

    /// Whether a line is a command with this verb, before anything else is known of it.
    pub(super) fn begins(line: &[u8], verb: &[u8; 4]) -> bool {
        line.split_at_checked(4).is_some_and(|(begin, rest)| {
            begin.eq_ignore_ascii_case(verb) && matches!(rest, [] | [b' ' | b'\t', ..])
        })
    }

    /// The argument of a command that has none.
    pub(super) fn no_argument(&self) -> Result<(), Reply> {
        if self.argument.is_empty() {
            Ok(())
        } else {
            Err(Reply::NO_PARAMETERS)
        }
    }

    /// The argument of HELO and EHLO (RFC 5321 §4.1.1.1).
    pub(super) fn client_name(&self) -> Result<ClientName, Reply> {
        if self.argument.is_empty() {
            return Err(Reply::PARAMETER_MISSING);
        }
        self.argument
            .parse()
            .map_err(|why| Reply::bad_client_name(&why))
    }

    /// The argument of MAIL (RFC 5321 §4.1.1.2).
    pub(super) fn mail(&self) -> Result<Mail, Reply> {
        let path = behind_keyword(&self.argument, "FROM").map_err(|missing| match missing {
            NoPath::Keyword => Reply::MAIL_SYNTAX,
            NoPath::Spaced => Reply::MAIL_SPACED,
        })?;
        let (reverse_path, rest) =
            address::reverse_path(path).map_err(|why| Reply::bad_sender(&why))?;
        let null = ReversePath::Null;
        let mut mail = Mail {
            reverse_path: null,
            size: None,
            eight_bit_mime: false,
            smtputf8: false,
        };
        let mut seen = Vec::new();
        for parameter in Parameters::read(rest).ok_or(Reply::MAIL_SYNTAX)? {
            let Parameter { keyword, value } = parameter.ok_or(Reply::MAIL_SYNTAX)?;
            let keyword = keyword.to_ascii_uppercase();
            match (keyword.as_str(), value) {
                ("SIZE", value) => mail.size = Some(size(value)?),
                ("BODY", value) => mail.eight_bit_mime = body(value)?,
                ("SMTPUTF8", None) => mail.smtputf8 = true,
                // RFC 6531 §3.4: the parameter takes no value.
                ("SMTPUTF8", Some(_)) => return Err(Reply::bad_parameter("SMTPUTF8")),
                _ => return Err(Reply::unknown_parameter(&keyword)),
            }
            if seen.contains(&keyword) {
                return Err(Reply::bad_parameter(&keyword));
            }
            seen.push(keyword);
        }
        let sent = path.strip_suffix(rest).unwrap_or(path);
        if !mail.smtputf8 && !sent.is_ascii() {
            return Err(Reply::bad_sender(&address::AddressError::NonAscii));
        }
        mail.reverse_path = reverse_path;
        Ok(mail)
    }

    /// The reverse-path of a MAIL that is refused, where it can be read.
    pub(super) fn reverse_path(&self) -> Option<ReversePath> {
        let path = behind_keyword(&self.argument, "FROM").ok()?;
        address::reverse_path(path).ok().map(|(path, _)| path)
    }

    /// The argument of RCPT (RFC 5321 §4.1.1.3); no parameter is offered.
    pub(super) fn rcpt(&self, smtputf8: bool) -> Result<ForwardPath, Reply> {
        let path = behind_keyword(&self.argument, "TO").map_err(|missing| match missing {
            NoPath::Keyword => Reply::RCPT_SYNTAX,
            NoPath::Spaced => Reply::RCPT_SPACED,
        })?;
        let (forward_path, rest) =
            address::forward_path(path).map_err(|why| Reply::bad_recipient(&why))?;
        if let Some(parameter) = Parameters::read(rest).ok_or(Reply::RCPT_SYNTAX)?.next() {
            let Parameter { keyword, .. } = parameter.ok_or(Reply::RCPT_SYNTAX)?;
            return Err(Reply::unknown_parameter(&keyword.to_ascii_uppercase()));
        }
        if !smtputf8 && !path.is_ascii() {
            return Err(Reply::bad_recipient(&address::AddressError::NonAscii));
        }
        Ok(forward_path)
    }

    /// The argument of BDAT: `chunk-size [ SP "LAST" ]`, `chunk-size = 1*DIGIT`.
    pub(super) fn bdat(&self) -> Result<Chunk, BadChunk> {
        // However the rest is written: where a size can be read, octets follow, and they must not
        // be taken for commands.
        let argument = self.argument.trim_start_matches(' ');
        let digits = argument.split(' ').next().unwrap_or_default();
        if digits.is_empty() || !digits.bytes().all(|octet| octet.is_ascii_digit()) {
            return Err(BadChunk::Malformed);
        }
        let size = digits
            .parse()
            .ok()
            .filter(|size| *size <= MAX_CHUNK)
            .ok_or(BadChunk::Endless)?;
        match self.argument.strip_prefix(digits) {
            Some("") => Ok(Chunk { size, last: false }),
            Some(marker) if marker.eq_ignore_ascii_case(" LAST") => Ok(Chunk { size, last: true }),
            _ => Err(BadChunk::Surplus(size)),
        }
    }
}

/// Why no path is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoPath {
    /// There is no `FROM:` or `TO:`.
    Keyword,
    /// There is, and a space at its colon.
    Spaced,
}

/// What follows `FROM:` or `TO:`. RFC 5321 §3.3: "spaces are not permitted on either side of the
/// colon".
fn behind_keyword<'a>(argument: &'a str, keyword: &str) -> Result<&'a str, NoPath> {
    let (_, rest) = argument
        .split_at_checked(keyword.len())
        .filter(|(head, _)| head.eq_ignore_ascii_case(keyword))
        .ok_or(NoPath::Keyword)?;
    match rest.strip_prefix(':') {
        Some(path) if !path.starts_with(' ') => Ok(path),
        _ if rest.trim_start_matches(' ').starts_with(':') => Err(NoPath::Spaced),
        _ => Err(NoPath::Keyword),
    }
}

/// `SIZE=` (RFC 1870 §5: `1*20DIGIT`). What does not fit is larger than any limit.
fn size(value: Option<&str>) -> Result<u64, Reply> {
    let digits = value.filter(|value| {
        (1..=20).contains(&value.len()) && value.bytes().all(|octet| octet.is_ascii_digit())
    });
    let digits = digits.ok_or_else(|| Reply::bad_parameter("SIZE"))?;
    Ok(digits.parse().unwrap_or(u64::MAX))
}

/// `BODY=` (RFC 6152 §3): whether it is 8BITMIME.
fn body(value: Option<&str>) -> Result<bool, Reply> {
    match value.map(str::to_ascii_uppercase).as_deref() {
        Some("7BIT") => Ok(false),
        Some("8BITMIME") => Ok(true),
        // RFC 3030 §3 is not offered.
        Some("BINARYMIME") => Err(Reply::unknown_parameter("BODY=BINARYMIME")),
        _ => Err(Reply::bad_parameter("BODY")),
    }
}

/// `esmtp-keyword ["=" esmtp-value]` (RFC 5321 §4.1.2).
#[derive(Debug)]
struct Parameter<'a> {
    keyword: &'a str,
    value: Option<&'a str>,
}

/// The parameters behind a path, one by one.
struct Parameters<'a>(std::str::Split<'a, char>);

impl<'a> Parameters<'a> {
    /// None if something else than a space follows the path.
    fn read(text: &'a str) -> Option<Self> {
        match text.strip_prefix(' ') {
            Some(parameters) => Some(Self(parameters.split(' '))),
            None if text.is_empty() => {
                let mut nothing = text.split(' ');
                nothing.next();
                Some(Self(nothing))
            }
            None => None,
        }
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Option<Parameter<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.0.find(|text| !text.is_empty())?;
        let (keyword, value) = match text.split_once('=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (text, None),
        };
        let is_keyword = keyword.starts_with(|c: char| c.is_ascii_alphanumeric())
            && keyword
                .bytes()
                .all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
        // esmtp-value = 1*(%d33-60 / %d62-126), no "="; RFC 6531 §3.3 adds non-ASCII.
        let is_value = |value: &str| {
            !value.is_empty() && value.chars().all(|c| c != '=' && !c.is_ascii_control())
        };
        Some((is_keyword && value.is_none_or(is_value)).then_some(Parameter { keyword, value }))
    }
}
