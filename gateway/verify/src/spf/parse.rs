//! The syntax of a record (RFC 7208 §12): the whole of it, before any of it is evaluated (§4.6).

use super::macros::{MacroString, Place};
use super::record::{Directive, DualCidr, Mechanism, Qualifier, Record, Test};

/// Why a record is a permerror.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SyntaxError {
    #[error("the SPF record has characters beyond printable ASCII")]
    NotAscii,
    #[error("syntax error in the SPF record at {0:?}")]
    Term(String),
    #[error("{0}= stands twice in the SPF record")]
    Twice(&'static str),
}

/// The terms behind the version of an SPF record; none: this text is no SPF record (§4.5).
pub(super) fn version_of(text: &[u8]) -> Option<&[u8]> {
    let (version, rest) = text.split_at_checked(6)?;
    let ends = rest.first().is_none_or(|octet| *octet == b' ');
    (version.eq_ignore_ascii_case(b"v=spf1") && ends).then_some(rest)
}

impl Record {
    /// Parses the terms behind the version.
    pub(super) fn parse(terms: &[u8]) -> Result<Self, SyntaxError> {
        let terms = std::str::from_utf8(terms)
            .ok()
            .filter(|terms| terms.is_ascii());
        let terms = terms.ok_or(SyntaxError::NotAscii)?;
        let mut record = Self {
            directives: Vec::new(),
            redirect: None,
            exp: None,
        };
        for term in terms.split(' ').filter(|term| !term.is_empty()) {
            record.add(term)?;
        }
        Ok(record)
    }

    fn add(&mut self, term: &str) -> Result<(), SyntaxError> {
        let wrong = || SyntaxError::Term(term.chars().take(64).collect());
        let Some((name, value)) = modifier(term) else {
            let directive = directive(term).ok_or_else(wrong)?;
            self.directives.push(directive);
            return Ok(());
        };
        let (slot, name) = if name.eq_ignore_ascii_case("redirect") {
            (&mut self.redirect, "redirect")
        } else if name.eq_ignore_ascii_case("exp") {
            (&mut self.exp, "exp")
        } else {
            // §6: unknown modifiers are ignored, but their syntax is not.
            return MacroString::parse(value, Place::Modifier)
                .map(drop)
                .ok_or_else(wrong);
        };
        // §6: "these modifiers MUST NOT appear more than once".
        if slot.is_some() {
            return Err(SyntaxError::Twice(name));
        }
        *slot = Some(MacroString::parse(value, Place::Domain).ok_or_else(wrong)?);
        Ok(())
    }
}

/// `name "=" value`; a name begins with a letter and has letters, digits, "-", "_" and ".".
fn modifier(term: &str) -> Option<(&str, &str)> {
    let (name, value) = term.split_once('=')?;
    let mut octets = name.bytes();
    let is_name = octets
        .next()
        .is_some_and(|octet| octet.is_ascii_alphabetic())
        && octets.all(|octet| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet));
    is_name.then_some((name, value))
}

fn directive(term: &str) -> Option<Directive> {
    let (qualifier, rest) = match term.as_bytes().first()? {
        b'+' => (Qualifier::Pass, term.get(1..)?),
        b'-' => (Qualifier::Fail, term.get(1..)?),
        b'~' => (Qualifier::SoftFail, term.get(1..)?),
        b'?' => (Qualifier::Neutral, term.get(1..)?),
        _ => (Qualifier::Pass, term),
    };
    let end = rest.find([':', '/']).unwrap_or(rest.len());
    let (name, argument) = rest.split_at_checked(end)?;
    let mechanism = mechanism(name, argument)?;
    Some(Directive {
        qualifier,
        mechanism,
        text: term.into(),
    })
}

/// `argument` begins with the colon or slash, or is empty.
fn mechanism(name: &str, argument: &str) -> Option<Mechanism> {
    if name.eq_ignore_ascii_case("include") {
        return domain_spec(argument).map(Mechanism::Include);
    }
    test(name, argument).map(Mechanism::Test)
}

fn test(name: &str, argument: &str) -> Option<Test> {
    let named = |known: &str| name.eq_ignore_ascii_case(known);
    if named("all") {
        argument.is_empty().then_some(Test::All)
    } else if named("exists") {
        domain_spec(argument).map(Test::Exists)
    } else if named("ptr") {
        match argument {
            "" => Some(Test::Ptr(None)),
            argument => domain_spec(argument).map(|domain| Test::Ptr(Some(domain))),
        }
    } else if named("a") {
        domain_and_cidr(argument).map(|(domain, cidr)| Test::A { domain, cidr })
    } else if named("mx") {
        domain_and_cidr(argument).map(|(domain, cidr)| Test::Mx { domain, cidr })
    } else if named("ip4") {
        let (network, prefix) = network(argument, 32)?;
        Some(Test::Ip4 {
            network: network.parse().ok()?,
            prefix,
        })
    } else if named("ip6") {
        let (network, prefix) = network(argument, 128)?;
        Some(Test::Ip6 {
            network: network.parse().ok()?,
            prefix,
        })
    } else {
        None
    }
}

/// `":" domain-spec`
fn domain_spec(argument: &str) -> Option<MacroString> {
    MacroString::parse(argument.strip_prefix(':')?, Place::Domain)
}

/// `":" ip-network [ "/" prefix ]`
fn network(argument: &str, longest: u8) -> Option<(&str, u8)> {
    let text = argument.strip_prefix(':')?;
    match text.split_once('/') {
        Some((network, length)) => Some((network, prefix(length, longest)?)),
        None => Some((text, longest)),
    }
}

/// `[ ":" domain-spec ] [ dual-cidr-length ]`
fn domain_and_cidr(argument: &str) -> Option<(Option<MacroString>, DualCidr)> {
    // A domain-end has no slash that digits and slashes alone follow, so the lengths are whatever
    // of that kind stands last.
    let digits = argument
        .trim_end_matches(|c: char| c.is_ascii_digit() || c == '/')
        .len();
    let lengths = argument.get(digits..)?;
    let start = digits + lengths.find('/').unwrap_or(lengths.len());
    let (domain, lengths) = argument.split_at_checked(start)?;
    let domain = match domain {
        "" => None,
        domain => Some(domain_spec(domain)?),
    };
    let (v4, v6) = match lengths.split_once("//") {
        Some((v4, v6)) => (v4, prefix(v6, 128)?),
        None => (lengths, 128),
    };
    let v4 = match v4 {
        "" => 32,
        v4 => prefix(v4.strip_prefix('/')?, 32)?,
    };
    Some((domain, DualCidr { v4, v6 }))
}

/// `"0" / %x31-39 *DIGIT`, at most `longest`.
fn prefix(text: &str, longest: u8) -> Option<u8> {
    let plain = text == "0" || (!text.starts_with('0') && text.bytes().all(|o| o.is_ascii_digit()));
    if !plain {
        return None;
    }
    text.parse().ok().filter(|length| *length <= longest)
}
