//! DMARC policy records (RFC 9989 §4.7, §4.8), with the fields for reports (RFC 9990, RFC 9991).
//!
//! A TXT record goes in; a [`Record`] comes out, or nothing if the text is none. Unknown tags, and
//! known ones whose value is wrong, fall back to their default; only `p`, `sp` and `np` remember
//! that they were wrong, since that changes what the record asks for (§4.10.1).

use super::Policy;

/// URIs that are kept of one tag.
const MAX_URIS: usize = 16;

/// A policy record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// `p`, `sp` and `np`.
    requests: Result<Requests, RecordProblem>,
    /// `adkim`.
    pub dkim_alignment: Alignment,
    /// `aspf`.
    pub spf_alignment: Alignment,
    /// `psd`.
    pub psd: Psd,
    /// `t=y`: the policy is to be applied one step milder.
    pub testing: bool,
    /// `rua`: where aggregate reports go, URIs without size limits, at most 16.
    pub aggregate_reports: Vec<String>,
    /// `ruf`: where failure reports go, likewise.
    pub failure_reports: Vec<String>,
    /// `fo`.
    pub failure_options: FailureOptions,
}

/// What is asked for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Requests {
    domain: Policy,
    subdomains: Option<Policy>,
    nonexistent: Option<Policy>,
}

/// `p` is missing or wrong, or `sp` or `np` is wrong, and there is nobody to report it to: no DMARC
/// processing (§4.10.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the DMARC record has no valid p=, or a wrong sp= or np=, and no rua=")]
pub struct RecordProblem;

/// Alignment modes (§4.7, `adkim` and `aspf`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Alignment {
    /// The same organizational domain is enough.
    #[default]
    Relaxed,
    /// The domains must be the same.
    Strict,
}

/// Whether the domain is a public suffix (§4.7, `psd`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Psd {
    /// It is.
    Yes,
    /// It is not: it is an organizational domain.
    No,
    /// It does not say.
    #[default]
    Unknown,
}

/// When failure reports are wanted (§4.7, `fo`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FailureOptions {
    /// `1` rather than `0`: if any mechanism fails to pass aligned, not only if all do.
    pub any: bool,
    /// `d`: if a signature fails, aligned or not.
    pub dkim: bool,
    /// `s`: if SPF fails, aligned or not.
    pub spf: bool,
}

/// A tag with one of some keywords.
enum Keyword<T> {
    Absent,
    Wrong,
    Is(T),
}

impl Record {
    /// Parses a TXT record; none if it does not begin with `v=DMARC1`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut tags = text.split(|octet| *octet == b';').map(tag);
        // §4.7: v is first, and its value is case-sensitive.
        match tags.next()? {
            Some((name, b"DMARC1")) if name.eq_ignore_ascii_case(b"v") => {}
            _ => return None,
        }
        let tags: Vec<(&[u8], &[u8])> = tags.flatten().take(64).collect();
        let aggregate_reports = uris(value(&tags, "rua"));
        Some(Self {
            requests: requests(&tags, !aggregate_reports.is_empty()),
            dkim_alignment: alignment(&tags, "adkim"),
            spf_alignment: alignment(&tags, "aspf"),
            psd: match keyword(&tags, "psd", &[("y", Psd::Yes), ("n", Psd::No)]) {
                Keyword::Is(psd) => psd,
                Keyword::Absent | Keyword::Wrong => Psd::Unknown,
            },
            testing: matches!(keyword(&tags, "t", &[("y", ())]), Keyword::Is(())),
            aggregate_reports,
            failure_reports: uris(value(&tags, "ruf")),
            failure_options: failure_options(value(&tags, "fo")),
        })
    }

    /// What is asked for mail from the domain itself (`p`).
    ///
    /// # Errors
    /// [`RecordProblem`]: the record asks for no processing at all.
    pub fn for_domain(&self) -> Result<Policy, RecordProblem> {
        self.requests.map(|requests| requests.domain)
    }

    /// What is asked for mail from a subdomain that exists (`sp`, else `p`).
    ///
    /// # Errors
    /// As [`Record::for_domain`].
    pub fn for_subdomain(&self) -> Result<Policy, RecordProblem> {
        self.requests
            .map(|requests| requests.subdomains.unwrap_or(requests.domain))
    }

    /// What is asked for mail from a subdomain that does not exist (`np`, else `sp`, else `p`).
    ///
    /// # Errors
    /// As [`Record::for_domain`].
    pub fn for_nonexistent(&self) -> Result<Policy, RecordProblem> {
        match self.requests {
            Ok(Requests {
                nonexistent: Some(policy),
                ..
            }) => Ok(policy),
            _ => self.for_subdomain(),
        }
    }

    /// What is to be applied where `policy` is asked for (`t=y`: one step milder).
    #[must_use]
    pub fn applied(&self, policy: Policy) -> Policy {
        match (policy, self.testing) {
            (policy, false) => policy,
            (Policy::Reject, true) => Policy::Quarantine,
            (Policy::Quarantine | Policy::None, true) => Policy::None,
        }
    }
}

/// Name and value without the white space around them.
fn tag(spec: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = spec.iter().position(|octet| *octet == b'=')?;
    let (name, value) = spec.split_at_checked(equals)?;
    Some((name.trim_ascii(), value.get(1..)?.trim_ascii()))
}

/// Of a tag that stands twice, the first counts.
fn value<'a>(tags: &[(&'a [u8], &'a [u8])], name: &str) -> Option<&'a [u8]> {
    let found = tags
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()));
    found.map(|(_, value)| *value)
}

fn keyword<T: Copy>(tags: &[(&[u8], &[u8])], name: &str, keywords: &[(&str, T)]) -> Keyword<T> {
    let Some(value) = value(tags, name) else {
        return Keyword::Absent;
    };
    let known = keywords
        .iter()
        .find(|(word, _)| value.eq_ignore_ascii_case(word.as_bytes()));
    known.map_or(Keyword::Wrong, |(_, meaning)| Keyword::Is(*meaning))
}

fn alignment(tags: &[(&[u8], &[u8])], name: &str) -> Alignment {
    match keyword(tags, name, &[("s", Alignment::Strict)]) {
        Keyword::Is(strict) => strict,
        Keyword::Absent | Keyword::Wrong => Alignment::Relaxed,
    }
}

/// §4.10.1, "If a retrieved DMARC Policy Record does not contain a valid "p" tag, or contains an
/// "sp" or "np" tag that is not valid".
fn requests(tags: &[(&[u8], &[u8])], reportable: bool) -> Result<Requests, RecordProblem> {
    const POLICIES: [(&str, Policy); 3] = [
        (Policy::None.as_str(), Policy::None),
        (Policy::Quarantine.as_str(), Policy::Quarantine),
        (Policy::Reject.as_str(), Policy::Reject),
    ];
    let optional = |name| match keyword(tags, name, &POLICIES) {
        Keyword::Is(policy) => Ok(Some(policy)),
        Keyword::Absent => Ok(None),
        Keyword::Wrong => Err(RecordProblem),
    };
    let read = || {
        Ok(Requests {
            domain: optional("p")?.ok_or(RecordProblem)?,
            subdomains: optional("sp")?,
            nonexistent: optional("np")?,
        })
    };
    let nothing = Requests {
        domain: Policy::None,
        subdomains: None,
        nonexistent: None,
    };
    read().or_else(|problem| {
        if reportable {
            Ok(nothing)
        } else {
            Err(problem)
        }
    })
}

/// §4.8 `dmarc-urilist`: those that are URIs at all; the obsolete size behind "!" is dropped.
fn uris(value: Option<&[u8]>) -> Vec<String> {
    let texts = value.unwrap_or_default().split(|octet| *octet == b',');
    texts
        .filter_map(|text| uri(text.trim_ascii()))
        .take(MAX_URIS)
        .collect()
}

fn uri(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text)
        .ok()
        .filter(|text| text.bytes().all(is_uri_octet))?;
    let text = text.split_once('!').map_or(text, |(uri, _)| uri);
    let (scheme, rest) = text.split_once(':')?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || b"+-.".contains(&octet));
    let addressed = !scheme.eq_ignore_ascii_case("mailto") || rest.contains('@');
    (is_scheme && !rest.is_empty() && addressed).then(|| text.to_owned())
}

fn is_uri_octet(octet: u8) -> bool {
    octet.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&octet)
}

fn failure_options(value: Option<&[u8]>) -> FailureOptions {
    let options = value
        .unwrap_or_default()
        .split(|octet| *octet == b':')
        .map(<[u8]>::trim_ascii);
    let mut wanted = FailureOptions {
        any: false,
        dkim: false,
        spf: false,
    };
    for option in options {
        match option {
            b"1" => wanted.any = true,
            b"d" | b"D" => wanted.dkim = true,
            b"s" | b"S" => wanted.spf = true,
            _ => {}
        }
    }
    wanted
}
