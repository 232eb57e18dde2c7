//! A DNS zone as a text, for tests: what is asked, what is answered, and what goes wrong.
//!
//! A text goes in, a [`Zone`] comes out that answers like a resolver ([`Resolve`]), at once and
//! without a network; [`Server`] answers the same over UDP and TCP.
//!
//! ```text
//! ; name            type      data
//! example.test      TXT       "v=spf1 a -all"
//! long.test         TXT       "strings are " "concatenated; \" \\ and \255 escape"
//! example.test      A         192.0.2.1
//! example.test      AAAA      2001:db8::1
//! example.test      MX        10 mail.example.test
//! null.test         MX        0 .
//! 192.0.2.1         PTR       mail.example.test
//! alias.test        CNAME     example.test
//! broken.test       SERVFAIL            ; for every type
//! slow.test         TXT TIMEOUT         ; for one type
//! ```

mod server;

pub use server::Server;

use crate::name::Name;
use crate::resolve::{DnsError, Mx, RecordType, Resolve, Temporary, Txt};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// CNAMEs that are followed, as many as the real resolver does.
const MAX_CNAMES: usize = 8;

/// One record, or one thing that goes wrong, at a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The strings of a TXT record.
    Txt(Vec<Vec<u8>>),
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// A mail exchanger.
    Mx(Mx),
    /// The name of the address whose reverse name this is.
    Ptr(Name),
    /// Another name.
    Cname(Name),
    /// Questions for this type, or all, end so.
    Failure(Option<RecordType>, Temporary),
}

/// A line that is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("zone line {line}: {problem}")]
pub struct ZoneError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// A zone; it counts the questions it was asked.
#[derive(Debug)]
pub struct Zone {
    names: BTreeMap<Name, Vec<Record>>,
    asked: AtomicU32,
    /// Of every record, seconds.
    ttl: u32,
}

impl Default for Zone {
    fn default() -> Self {
        Self {
            names: BTreeMap::new(),
            asked: AtomicU32::new(0),
            ttl: 300,
        }
    }
}

impl Zone {
    /// Reads a zone; see the module.
    ///
    /// # Errors
    /// [`ZoneError`] names the first line that cannot be read.
    pub fn parse(text: &str) -> Result<Self, ZoneError> {
        let mut zone = Self::default();
        for (index, line) in text.lines().enumerate() {
            let problem = |problem| ZoneError {
                line: index + 1,
                problem,
            };
            let words = words(line).map_err(problem)?;
            if !words.is_empty() {
                let (name, record) = record(&words).map_err(problem)?;
                zone.add(name, record);
            }
        }
        Ok(zone)
    }

    /// Gives every record this time to live, seconds; 300 unless it is set.
    #[must_use]
    pub fn with_ttl(mut self, ttl: u32) -> Self {
        self.ttl = ttl;
        self
    }

    /// Adds a record.
    pub fn add(&mut self, name: Name, record: Record) {
        self.names.entry(name).or_default().push(record);
    }

    /// All records, by name.
    pub fn records(&self) -> impl Iterator<Item = (&Name, &Record)> {
        self.names
            .iter()
            .flat_map(|(name, records)| records.iter().map(move |r| (name, r)))
    }

    /// How many questions were asked so far.
    #[must_use]
    pub fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    fn answer<T>(
        &self,
        name: &Name,
        record_type: RecordType,
        pick: impl Fn(&Record) -> Option<T>,
    ) -> Result<Arc<[T]>, DnsError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut name = name;
        for _ in 0..MAX_CNAMES {
            let Some(records) = self.names.get(name) else {
                let suffix = format!(".{name}");
                let exists = self
                    .names
                    .keys()
                    .any(|known| known.as_str().ends_with(&suffix));
                return Err(DnsError::NoRecords { nxdomain: !exists });
            };
            if let Some(failure) = records.iter().find_map(|r| failure(r, record_type)) {
                return Err(DnsError::Temporary(failure));
            }
            let found: Arc<[T]> = records.iter().filter_map(&pick).collect();
            if !found.is_empty() {
                return Ok(found);
            }
            match records.iter().find_map(cname) {
                Some(target) => name = target,
                None => break,
            }
        }
        Err(DnsError::NoRecords { nxdomain: false })
    }
}

fn failure(record: &Record, asked: RecordType) -> Option<Temporary> {
    match record {
        Record::Failure(of, failure) if of.is_none_or(|of| of == asked) => Some(*failure),
        _ => None,
    }
}

fn cname(record: &Record) -> Option<&Name> {
    match record {
        Record::Cname(target) => Some(target),
        _ => None,
    }
}

impl Resolve for Zone {
    async fn txt(&self, name: &Name) -> Result<Txt, DnsError> {
        self.answer(name, RecordType::Txt, |record| match record {
            Record::Txt(strings) => Some(strings.concat().into_boxed_slice()),
            _ => None,
        })
    }

    async fn a(&self, name: &Name) -> Result<Arc<[Ipv4Addr]>, DnsError> {
        self.answer(name, RecordType::A, |record| match record {
            Record::A(address) => Some(*address),
            _ => None,
        })
    }

    async fn aaaa(&self, name: &Name) -> Result<Arc<[Ipv6Addr]>, DnsError> {
        self.answer(name, RecordType::Aaaa, |record| match record {
            Record::Aaaa(address) => Some(*address),
            _ => None,
        })
    }

    async fn mx(&self, name: &Name) -> Result<Arc<[Mx]>, DnsError> {
        let mut hosts = self
            .answer(name, RecordType::Mx, |record| match record {
                Record::Mx(mx) => Some(mx.clone()),
                _ => None,
            })?
            .to_vec();
        hosts.sort_by_key(|mx| mx.preference);
        Ok(hosts.into())
    }

    async fn ptr(&self, address: IpAddr) -> Result<Arc<[Name]>, DnsError> {
        self.answer(
            &reverse_name(address),
            RecordType::Ptr,
            |record| match record {
                Record::Ptr(name) => Some(name.clone()),
                _ => None,
            },
        )
    }
}

/// The name below `in-addr.arpa` or `ip6.arpa` at which the names of an address stand
/// (RFC 1035 §3.5, RFC 3596 §2.5).
///
/// # Panics
/// Never: such names are short enough.
#[must_use]
pub fn reverse_name(address: IpAddr) -> Name {
    let text = match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let octets = v6.octets();
            let nibbles = octets
                .iter()
                .rev()
                .flat_map(|octet| [octet & 15, octet >> 4]);
            let mut text: String = nibbles.map(|nibble| format!("{nibble:x}.")).collect();
            text.push_str("ip6.arpa");
            text
        }
    };
    #[expect(
        clippy::expect_used,
        reason = "at most 72 octets in labels of at most 3"
    )]
    Name::parse(&text).expect("a reverse name")
}

/// A word of a line; a quoted one has its escapes resolved.
#[derive(Debug, PartialEq)]
enum Word {
    Plain(String),
    Quoted(Vec<u8>),
}

fn words(line: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut octets = line.bytes().peekable();
    while let Some(&first) = octets.peek() {
        match first {
            b';' => break,
            b' ' | b'\t' | b'\r' => {
                octets.next();
            }
            b'"' => {
                octets.next();
                words.push(Word::Quoted(quoted(&mut octets)?));
            }
            _ => {
                let mut word = Vec::new();
                while let Some(octet) = octets.next_if(|octet| !b" \t\r;\"".contains(octet)) {
                    word.push(octet);
                }
                words.push(Word::Plain(String::from_utf8_lossy(&word).into_owned()));
            }
        }
    }
    Ok(words)
}

fn quoted(octets: &mut impl Iterator<Item = u8>) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    loop {
        match octets.next().ok_or("a quote is not closed")? {
            b'"' => return Ok(text),
            b'\\' => match octets.next().ok_or("a backslash at the end")? {
                digit @ b'0'..=b'9' => {
                    let mut value = u32::from(digit - b'0');
                    for _ in 0..2 {
                        let digit = octets.next().filter(u8::is_ascii_digit);
                        let digit = digit.ok_or("three digits are wanted behind a backslash")?;
                        value = value * 10 + u32::from(digit - b'0');
                    }
                    text.push(u8::try_from(value).map_err(|_| "an octet above 255")?);
                }
                other => text.push(other),
            },
            octet => text.push(octet),
        }
    }
}

fn record(words: &[Word]) -> Result<(Name, Record), String> {
    let mut plain = Vec::new();
    let mut strings = Vec::new();
    for word in words {
        match word {
            Word::Plain(text) => plain.push(text.as_str()),
            Word::Quoted(text) => strings.push(text.clone()),
        }
    }
    let (Some(owner), Some(keyword)) = (plain.first(), plain.get(1)) else {
        return Err("name, type and data are wanted".to_owned());
    };
    let name = match owner.parse::<IpAddr>() {
        Ok(address) => reverse_name(address),
        Err(_) => domain(owner)?,
    };
    if let Some(failure) = temporary(keyword) {
        return Ok((name, Record::Failure(None, failure)));
    }
    let data = plain.get(2).copied().unwrap_or_default();
    let record = match (record_type(keyword), temporary(data)) {
        (Some(of), Some(failure)) => Record::Failure(Some(of), failure),
        (Some(RecordType::Txt), None) if !strings.is_empty() => Record::Txt(strings),
        (Some(RecordType::Txt), None) => return Err("a TXT string is quoted".to_owned()),
        (Some(RecordType::A), None) => Record::A(data.parse().map_err(|_| "no IPv4 address")?),
        (Some(RecordType::Aaaa), None) => {
            Record::Aaaa(data.parse().map_err(|_| "no IPv6 address")?)
        }
        (Some(RecordType::Mx), None) => Record::Mx(mx(data, plain.get(3).copied())?),
        (Some(RecordType::Ptr), None) => Record::Ptr(domain(data)?),
        (None, _) if keyword.eq_ignore_ascii_case("CNAME") => Record::Cname(domain(data)?),
        (None, _) => return Err(format!("{keyword} is no type that is known here")),
    };
    Ok((name, record))
}

fn domain(text: &str) -> Result<Name, String> {
    Name::parse(text).map_err(|error| format!("{text}: {error}"))
}

fn mx(preference: &str, exchange: Option<&str>) -> Result<Mx, String> {
    let preference = preference.parse().map_err(|_| "no preference")?;
    let exchange = match exchange {
        Some(".") => None,
        Some(host) => Some(domain(host)?),
        None => return Err("an exchange is wanted".to_owned()),
    };
    Ok(Mx {
        preference,
        exchange,
    })
}

fn record_type(keyword: &str) -> Option<RecordType> {
    let types = [
        RecordType::A,
        RecordType::Aaaa,
        RecordType::Mx,
        RecordType::Ptr,
        RecordType::Txt,
    ];
    types
        .into_iter()
        .find(|known| known.as_str().eq_ignore_ascii_case(keyword))
}

fn temporary(keyword: &str) -> Option<Temporary> {
    match keyword {
        "SERVFAIL" => Some(Temporary::ServFail),
        "TIMEOUT" => Some(Temporary::Timeout),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[tokio::test]
    async fn answers_and_failures() {
        let zone = Zone::parse(
            r#"
            example.test TXT "a; " "b\"\255"   ; a comment
            alias.test   CNAME example.test
            loop.test    CNAME loop.test
            192.0.2.1    PTR mail.example.test
            broken.test  SERVFAIL
            slow.test    TXT TIMEOUT
            slow.test    A 192.0.2.9
            "#,
        )
        .unwrap();
        assert_eq!(
            &*zone.txt(&name("alias.test")).await.unwrap()[0],
            b"a; b\"\xff"
        );
        assert_eq!(
            zone.ptr("192.0.2.1".parse().unwrap()).await.unwrap()[0],
            name("mail.example.test")
        );
        let none = |nxdomain| DnsError::NoRecords { nxdomain };
        assert_eq!(zone.txt(&name("loop.test")).await, Err(none(false)));
        assert_eq!(zone.a(&name("example.test")).await, Err(none(false)));
        assert_eq!(zone.txt(&name("test")).await, Err(none(false)));
        assert_eq!(zone.txt(&name("nowhere")).await, Err(none(true)));
        let temporary = |kind| DnsError::Temporary(kind);
        assert_eq!(
            zone.mx(&name("broken.test")).await,
            Err(temporary(Temporary::ServFail))
        );
        assert_eq!(
            zone.txt(&name("slow.test")).await,
            Err(temporary(Temporary::Timeout))
        );
        assert!(zone.a(&name("slow.test")).await.is_ok());
    }

    #[test]
    fn bad_lines_are_named() {
        assert_eq!(Zone::parse("\na.test FOO x").unwrap_err().line, 2);
        assert!(Zone::parse("a.test TXT unquoted").is_err());
        assert!(Zone::parse("a.test TXT \"open").is_err());
    }

    #[test]
    fn reverse_names() {
        let v6 = reverse_name("2001:db8::567:89ab".parse().unwrap());
        assert_eq!(
            v6.as_str(),
            "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
    }
}
