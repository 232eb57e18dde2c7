//! Macros (RFC 7208 §7): parsed with the record, expanded when a term needs its domain.
//!
//! The text of a `domain-spec` or of an explanation goes in, a [`MacroString`] comes out;
//! [`MacroString::expand`] makes text of it for one [`Context`].

use std::fmt::Write as _;
use std::net::IpAddr;

/// A longer expanded domain loses labels on its left (§7.3).
const MAX_DOMAIN: usize = 253;
/// An expanded explanation is cut there (our bound; a reply line holds 512 octets).
const MAX_EXPLANATION: usize = 4096;

/// A `macro-string` (§7.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MacroString(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(Box<str>),
    Expand(Macro),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Macro {
    letter: Letter,
    /// An upper-case letter: the result is URL-escaped.
    escape: bool,
    /// Labels that are kept, from the right; none: all.
    keep: Option<usize>,
    reverse: bool,
    /// Empty means ".".
    delimiters: Box<str>,
}

/// §7.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Letter {
    Sender,
    LocalPart,
    SenderDomain,
    Domain,
    Address,
    ValidatedName,
    AddressKind,
    Helo,
    ReadableAddress,
    Receiver,
    Timestamp,
}

/// Where a macro string stands: `c`, `r`, `t` and spaces belong in explanations only (§7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A `domain-spec`: has a `domain-end`.
    Domain,
    /// The value of an unknown modifier: any macro string.
    Modifier,
    /// The text of an explanation.
    Explanation,
}

/// What macros expand to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    /// `l`.
    pub(super) local_part: &'a str,
    /// `o`.
    pub(super) sender_domain: &'a str,
    /// `d`.
    pub(super) domain: &'a str,
    /// `i`, `c` and `v`.
    pub(super) client: IpAddr,
    /// `p`; none is `unknown`.
    pub(super) validated: Option<&'a str>,
    /// `h`.
    pub(super) helo: &'a str,
    /// `r`.
    pub(super) receiver: &'a str,
    /// `t`.
    pub(super) now: u64,
}

impl MacroString {
    /// Parses printable ASCII; none is a syntax error.
    pub(super) fn parse(text: &str, place: Place) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(percent) = rest.find('%') {
            let (before, macro_text) = rest.split_at(percent);
            literal.push_str(before);
            let mut chars = macro_text.get(1..)?.chars();
            match chars.next()? {
                '%' => literal.push('%'),
                '_' => literal.push(' '),
                '-' => literal.push_str("%20"),
                '{' => {
                    let (inner, _) = chars.as_str().split_once('}')?;
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
                    }
                    pieces.push(Piece::Expand(Macro::parse(inner, place)?));
                    rest = chars.as_str().get(inner.len() + 1..)?;
                    continue;
                }
                _ => return None,
            }
            rest = chars.as_str();
        }
        literal.push_str(rest);
        if !text.bytes().all(|octet| is_literal(octet, place)) {
            return None;
        }
        if place == Place::Domain && !has_domain_end(text) {
            return None;
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.into()));
        }
        Some(Self(pieces))
    }

    /// Whether the expansion needs the validated name (`%{p}`).
    pub(super) fn needs_validated_name(&self) -> bool {
        self.0.iter().any(|piece| match piece {
            Piece::Literal(_) => false,
            Piece::Expand(expand) => expand.letter == Letter::ValidatedName,
        })
    }

    /// The text, unbounded by DNS; at most some kilobytes.
    pub(super) fn expand(&self, context: &Context<'_>) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Expand(expand) => expand.write(context, &mut text),
            }
            if text.len() > MAX_EXPLANATION {
                break;
            }
        }
        text
    }

    /// The text as a domain: what is too long is cut from the left, label by label (§7.3).
    pub(super) fn expand_domain(&self, context: &Context<'_>) -> String {
        let text = self.expand(context);
        let mut domain = text.strip_suffix('.').unwrap_or(&text);
        while domain.len() > MAX_DOMAIN {
            match domain.split_once('.') {
                Some((_, shorter)) => domain = shorter,
                None => break,
            }
        }
        domain.to_owned()
    }
}

/// `macro-literal` = %x21-24 / %x26-7E; explanations also have spaces (§6.2 `explain-string`).
fn is_literal(octet: u8, place: Place) -> bool {
    (0x21..=0x7e).contains(&octet) || (place == Place::Explanation && octet == b' ')
}

/// `domain-end` = ( "." toplabel [ "." ] ) / macro-expand (§7.1).
fn has_domain_end(text: &str) -> bool {
    let ends_with_macro = text.ends_with('}')
        || text.strip_suffix(['%', '_', '-']).is_some_and(|before| {
            // An odd number of percent signs: the last one begins a macro-expand.
            before
                .bytes()
                .rev()
                .take_while(|octet| *octet == b'%')
                .count()
                % 2
                == 1
        });
    if ends_with_macro {
        return true;
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    text.rsplit_once('.')
        .is_some_and(|(_, label)| is_toplabel(label))
}

/// `toplabel`: letters, digits and inner hyphens, not digits alone.
fn is_toplabel(label: &str) -> bool {
    let octets = label.as_bytes();
    let edges = octets.first().zip(octets.last());
    edges.is_some_and(|(a, b)| a.is_ascii_alphanumeric() && b.is_ascii_alphanumeric())
        && octets
            .iter()
            .all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-')
        && !octets.iter().all(u8::is_ascii_digit)
}

impl Macro {
    fn parse(inner: &str, place: Place) -> Option<Self> {
        let mut chars = inner.chars();
        let first = chars.next()?;
        let letter = Letter::parse(first.to_ascii_lowercase(), place)?;
        let rest = chars.as_str();
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = rest.split_at_checked(digits)?;
        let keep = match number {
            "" => None,
            // §7.3: "The DIGIT transformer ... MUST be nonzero"; more labels than any domain has
            // are all of them.
            number if number.bytes().all(|digit| digit == b'0') => return None,
            number => Some(number.parse().unwrap_or(usize::MAX)),
        };
        let without_r = rest.strip_prefix(['r', 'R']);
        let delimiters = without_r.unwrap_or(rest);
        if !delimiters.bytes().all(|octet| b".-+,/_=".contains(&octet)) {
            return None;
        }
        Some(Self {
            letter,
            escape: first.is_ascii_uppercase(),
            keep,
            reverse: without_r.is_some(),
            delimiters: delimiters.into(),
        })
    }

    fn write(&self, context: &Context<'_>, out: &mut String) {
        let value = self.letter.value(context);
        if self.keep.is_none() && !self.reverse && self.delimiters.is_empty() {
            return push(out, &value, self.escape);
        }
        let is_delimiter = |character: char| match &*self.delimiters {
            "" => character == '.',
            delimiters => delimiters.contains(character),
        };
        let mut parts: Vec<&str> = value.split(is_delimiter).collect();
        if self.reverse {
            parts.reverse();
        }
        let skip = parts.len() - self.keep.unwrap_or(parts.len()).min(parts.len());
        let kept = parts.get(skip..).unwrap_or_default();
        push(out, &kept.join("."), self.escape);
    }
}

/// Appends, URL-escaped if wanted (§7.3, RFC 3986 §2.3 unreserved characters stay).
fn push(out: &mut String, value: &str, escape: bool) {
    if !escape {
        return out.push_str(value);
    }
    for octet in value.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            out.push(char::from(octet));
        } else {
            let _ = write!(out, "%{octet:02X}");
        }
    }
}

impl Letter {
    fn parse(letter: char, place: Place) -> Option<Self> {
        let explanation = place != Place::Domain;
        Some(match letter {
            's' => Self::Sender,
            'l' => Self::LocalPart,
            'o' => Self::SenderDomain,
            'd' => Self::Domain,
            'i' => Self::Address,
            'p' => Self::ValidatedName,
            'v' => Self::AddressKind,
            'h' => Self::Helo,
            'c' if explanation => Self::ReadableAddress,
            'r' if explanation => Self::Receiver,
            't' if explanation => Self::Timestamp,
            _ => return None,
        })
    }

    fn value(self, context: &Context<'_>) -> String {
        match self {
            Self::Sender => format!("{}@{}", context.local_part, context.sender_domain),
            Self::LocalPart => context.local_part.to_owned(),
            Self::SenderDomain => context.sender_domain.to_owned(),
            Self::Domain => context.domain.to_owned(),
            Self::Address => dotted(context.client),
            Self::ValidatedName => context.validated.unwrap_or("unknown").to_owned(),
            Self::AddressKind => match context.client {
                IpAddr::V4(_) => "in-addr".to_owned(),
                IpAddr::V6(_) => "ip6".to_owned(),
            },
            Self::Helo => context.helo.to_owned(),
            Self::ReadableAddress => context.client.to_string(),
            Self::Receiver => context.receiver.to_owned(),
            Self::Timestamp => context.now.to_string(),
        }
    }
}

/// `i`: a dotted quad, or the nibbles of an IPv6 address with dots between (§7.3), in upper case as
/// the test suite has them.
fn dotted(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let mut text = String::with_capacity(63);
            for octet in v6.octets() {
                for nibble in [octet >> 4, octet & 15] {
                    if !text.is_empty() {
                        text.push('.');
                    }
                    let _ = write!(text, "{nibble:X}");
                }
            }
            text
        }
    }
}
