//! The grammar of RFC 5321 §4.1.2 and §4.1.3 with RFC 6531 §3.3: text goes in, the typed path and
//! the text behind it come out; and how a local part and a literal are written back.

use super::{
    AddressError, Domain, ForwardPath, MAX_DOMAIN, MAX_LOCAL_PART, MAX_PATH, Mailbox, ReversePath,
};
use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest label of a domain name (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// `Reverse-path = Path / "<>"`, and the text behind it.
pub(crate) fn reverse_path(text: &str) -> Result<(ReversePath, &str), AddressError> {
    if let Some(rest) = text.strip_prefix("<>") {
        return Ok((ReversePath::Null, rest));
    }
    path(text).map(|(mailbox, rest)| (ReversePath::Mailbox(mailbox), rest))
}

/// `"<Postmaster>" / Forward-path`, and the text behind it.
pub(crate) fn forward_path(text: &str) -> Result<(ForwardPath, &str), AddressError> {
    const POSTMASTER: &str = "<postmaster>";
    if let Some((head, rest)) = text.split_at_checked(POSTMASTER.len())
        && head.eq_ignore_ascii_case(POSTMASTER)
    {
        return Ok((ForwardPath::Postmaster, rest));
    }
    path(text).map(|(mailbox, rest)| (ForwardPath::Mailbox(mailbox), rest))
}

/// `Mailbox` alone, to the end of the text.
pub(super) fn mailbox_alone(text: &str) -> Result<Mailbox, AddressError> {
    match mailbox(text)? {
        (mailbox, "") => Ok(mailbox),
        _ => Err(AddressError::TrailingText),
    }
}

/// `Path = "<" [ A-d-l ":" ] Mailbox ">"`.
fn path(text: &str) -> Result<(Mailbox, &str), AddressError> {
    let inner = text.strip_prefix('<').ok_or(AddressError::AngleBrackets)?;
    let (mailbox, rest) = mailbox(source_route(inner)?)?;
    let rest = rest.strip_prefix('>').ok_or(AddressError::AngleBrackets)?;
    if text.len() - rest.len() > MAX_PATH {
        return Err(AddressError::PathTooLong);
    }
    Ok((mailbox, rest))
}

/// `A-d-l = At-domain *( "," At-domain )`: read, checked and dropped (RFC 5321 §3.6.1: a server
/// must accept it and should ignore it).
fn source_route(text: &str) -> Result<&str, AddressError> {
    if !text.starts_with('@') {
        return Ok(text);
    }
    let mut rest = text;
    loop {
        let at_domain = rest.strip_prefix('@').ok_or(AddressError::SourceRoute)?;
        let (name, behind) = domain_text(at_domain);
        name.parse::<Domain>()?;
        if let Some(mailbox) = behind.strip_prefix(':') {
            return Ok(mailbox);
        }
        rest = behind.strip_prefix(',').ok_or(AddressError::SourceRoute)?;
    }
}

fn mailbox(text: &str) -> Result<(Mailbox, &str), AddressError> {
    let (local_part, rest) = local_part(text)?;
    if local_part.len() > MAX_LOCAL_PART {
        return Err(AddressError::LocalPartTooLong);
    }
    let rest = rest.strip_prefix('@').ok_or(AddressError::DomainMissing)?;
    let (domain_as_sent, rest) = domain_text(rest);
    if domain_as_sent.is_empty() {
        return Err(AddressError::DomainMissing);
    }
    let domain = domain(domain_as_sent)?;
    Ok((
        Mailbox {
            local_part,
            domain,
            domain_as_sent: domain_as_sent.to_owned(),
        },
        rest,
    ))
}

/// `Local-part = Dot-string / Quoted-string`, its content without quoting.
fn local_part(text: &str) -> Result<(String, &str), AddressError> {
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted_string(quoted);
    }
    let end = text
        .find(|c| !is_atext(c) && c != '.')
        .unwrap_or(text.len());
    let (dot_string, rest) = text.split_at(end);
    // An empty atom: at the start, at the end, or between two dots.
    if dot_string.split('.').any(str::is_empty) {
        return Err(AddressError::LocalPart);
    }
    Ok((dot_string.to_owned(), rest))
}

/// `Quoted-string = DQUOTE *QcontentSMTP DQUOTE`, from behind its first quote.
fn quoted_string(text: &str) -> Result<(String, &str), AddressError> {
    let mut content = String::new();
    let mut chars = text.chars();
    loop {
        let c = match chars.next() {
            Some('"') => return Ok((content, chars.as_str())),
            // quoted-pairSMTP = %d92 %d32-126
            Some('\\') => chars.next().filter(|c| matches!(c, ' '..='~')),
            // qtextSMTP = %d32-33 / %d35-91 / %d93-126 / UTF8-non-ascii
            other => other.filter(|c| matches!(c, ' '..='~') || !c.is_ascii()),
        };
        content.push(c.ok_or(AddressError::LocalPart)?);
    }
}

/// `atext` of RFC 5322 §3.2.3 with RFC 6531 §3.3's UTF8-non-ascii.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii()
}

/// Splits what may be a domain or a literal from what follows it in a path.
fn domain_text(text: &str) -> (&str, &str) {
    let end = match text.strip_prefix('[').and_then(|inner| inner.find(']')) {
        Some(bracket) => bracket + 2,
        None => text.find(['>', ',', ':', ' ']).unwrap_or(text.len()),
    };
    text.split_at(end)
}

/// `Domain / address-literal`, the whole text.
pub(super) fn domain(text: &str) -> Result<Domain, AddressError> {
    if text.starts_with('[') {
        return literal(text)
            .map(Domain::Literal)
            .ok_or(AddressError::Literal);
    }
    if text.len() > MAX_DOMAIN {
        return Err(AddressError::DomainTooLong);
    }
    if text.is_ascii() {
        name(text, is_let_dig)?;
        return Ok(Domain::Name(text.to_ascii_lowercase()));
    }
    // RFC 6531 §3.2: U-labels are looked up, and compared, as A-labels.
    let a_labels = idna::domain_to_ascii_strict(text).map_err(|_| AddressError::Domain)?;
    name(&a_labels, is_let_dig)?;
    Ok(Domain::Name(a_labels))
}

/// What a client calls itself in HELO or EHLO, ASCII: `Domain / address-literal`, and beyond the
/// grammar an underscore where a letter may stand. Hosts are named so that send genuine mail, and
/// the name is no address that anything is sent to.
pub(super) fn client_name(text: &str) -> Result<Domain, AddressError> {
    if text.starts_with('[') || text.len() > MAX_DOMAIN {
        return domain(text);
    }
    name(text, |octet| is_let_dig(octet) || octet == b'_')?;
    Ok(Domain::Name(text.to_ascii_lowercase()))
}

/// `Let-dig = ALPHA / DIGIT`.
const fn is_let_dig(octet: u8) -> bool {
    octet.is_ascii_alphanumeric()
}

/// `sub-domain *("." sub-domain)`, `sub-domain = Let-dig [Ldh-str]`.
fn name(text: &str, let_dig: fn(u8) -> bool) -> Result<(), AddressError> {
    for label in text.split('.') {
        let octets = label.as_bytes();
        let (Some(&first), Some(&last)) = (octets.first(), octets.last()) else {
            return Err(AddressError::Domain);
        };
        let inner = octets.iter().all(|octet| let_dig(*octet) || *octet == b'-');
        if !inner || !let_dig(first) || !let_dig(last) {
            return Err(AddressError::Domain);
        }
        if octets.len() > MAX_LABEL {
            return Err(AddressError::DomainTooLong);
        }
    }
    Ok(())
}

/// `"[" ( IPv4-address-literal / IPv6-address-literal ) "]"` (RFC 5321 §4.1.3). No tag but `IPv6:`
/// is registered.
fn literal(text: &str) -> Option<IpAddr> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    match inner.split_at_checked("IPv6:".len()) {
        Some((tag, v6)) if tag.eq_ignore_ascii_case("IPv6:") => {
            v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        _ => ipv4(inner).map(IpAddr::V4),
    }
}

/// `Snum 3("." Snum)`, `Snum = 1*3DIGIT`: unlike the standard library's, leading zeros are legal
/// and decimal.
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut numbers = text.split('.');
    for octet in &mut octets {
        let number = numbers.next()?;
        if number.len() > 3 || !number.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        *octet = number.parse().ok()?;
    }
    numbers.next().is_none().then(|| Ipv4Addr::from(octets))
}

/// Writes an address literal with its brackets.
pub(super) fn write_literal(address: IpAddr, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match address {
        IpAddr::V4(v4) => write!(f, "[{v4}]"),
        IpAddr::V6(v6) => write!(f, "[IPv6:{v6}]"),
    }
}

/// A local part as it is sent: RFC 5321 §4.1.2 asks for the form without quotes where it serves.
pub(super) struct Local<'a>(pub(super) &'a str);

impl fmt::Display for Local<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_atom = |atom: &str| !atom.is_empty() && atom.chars().all(is_atext);
        if self.0.split('.').all(is_atom) {
            return f.write_str(self.0);
        }
        f.write_char('"')?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                f.write_char('\\')?;
            }
            f.write_char(c)?;
        }
        f.write_char('"')
    }
}
