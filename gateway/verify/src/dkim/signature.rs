//! A DKIM-Signature or ARC-Message-Signature field, parsed (RFC 6376 §3.5, RFC 8617 §4.1.2).
//!
//! A field's value goes in; a [`Signature`] comes out, or the [`SignatureProblem`] that says which
//! result it has without any verification.

use super::key::BASE64;
use super::{Algorithm, BodyKey, DkimResult};
use crate::name::Name;
use crate::tags::{TagError, TagList, colon_list, squeeze};
use base64::Engine as _;
use std::ops::Range;

/// Names in one `h=`; more are refused.
const MAX_SIGNED: usize = 500;
/// A signature from the future by more than this is refused: clocks differ.
const CLOCK_SKEW: u64 = 3600;

/// What signs, in all three kinds of fields: DKIM-Signature, ARC-Message-Signature, ARC-Seal.
#[derive(Debug, Clone)]
pub(crate) struct Signer {
    pub(crate) algorithm: Algorithm,
    pub(crate) domain: Name,
    pub(crate) selector: String,
    /// `selector._domainkey.domain`.
    pub(crate) key_name: Name,
    /// `b=`, decoded.
    pub(crate) b: Vec<u8>,
    /// Where the value of `b=` stands in the field's value.
    pub(crate) b_range: Range<usize>,
}

/// A signature over header fields and body.
#[derive(Debug, Clone)]
pub struct Signature {
    pub(crate) signer: Signer,
    /// `bh=`, decoded.
    pub(crate) bh: Vec<u8>,
    /// `c=` says `relaxed` for the header.
    pub(crate) header_relaxed: bool,
    /// What `bh=` is the hash of.
    pub(crate) body: BodyKey,
    /// `h=` without white space.
    pub(crate) h: Vec<u8>,
    /// `i=`, decoded; `@` and the domain if it is missing.
    pub(crate) identity: String,
    /// The domain of `i=`.
    pub(crate) identity_domain: Name,
}

/// Which field it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignatureKind {
    Dkim,
    ArcMessage,
}

/// Why a signature is not worth verifying.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureProblem {
    /// The field is no tag list (RFC 6376 §3.2).
    #[error("signature syntax error: {0}")]
    Syntax(&'static str),
    /// `v=` is not 1.
    #[error("unsupported version")]
    Version,
    /// A required tag is missing.
    #[error("{0}= is missing")]
    Missing(&'static str),
    /// A tag's value does not fit its grammar.
    #[error("{0}= is malformed")]
    Malformed(&'static str),
    /// `a=`, `c=` or `q=` has nothing that is known here.
    #[error("{0}= has an unsupported value")]
    Unsupported(&'static str),
    /// `a=rsa-sha1` (RFC 8301 §3.1).
    #[error("rsa-sha1 is not acceptable")]
    Sha1,
    /// `h=` does not name From (RFC 6376 §5.4, §6.1.1).
    #[error("From is not signed")]
    FromNotSigned,
    /// `h=` names what must not be signed (RFC 8617 §4.1.2).
    #[error("ARC-Seal is signed")]
    SealSigned,
    /// `i=` is not at or below `d=`.
    #[error("i= is outside of d=")]
    Identity,
    /// `x=` has passed.
    #[error("signature expired")]
    Expired,
    /// `t=` is to come.
    #[error("signature is from the future")]
    Future,
    /// More than 500 names in `h=`.
    #[error("h= names more than {MAX_SIGNED} fields")]
    ManyFields,
}

impl SignatureProblem {
    /// The result it means (RFC 8601 §2.7.1).
    #[must_use]
    pub fn result(&self) -> DkimResult {
        match self {
            Self::Syntax(_)
            | Self::Version
            | Self::Malformed(_)
            | Self::Unsupported(_)
            | Self::ManyFields => DkimResult::Neutral,
            Self::Missing(_) | Self::FromNotSigned | Self::SealSigned | Self::Identity => {
                DkimResult::PermError
            }
            Self::Sha1 => DkimResult::Policy,
            Self::Expired | Self::Future => DkimResult::Fail,
        }
    }
}

impl From<TagError> for SignatureProblem {
    fn from(error: TagError) -> Self {
        match error {
            TagError::Syntax => Self::Syntax("no tag list"),
            TagError::Duplicate => Self::Syntax("a tag stands twice"),
            TagError::Many => Self::Syntax("too many tags"),
        }
    }
}

impl Signer {
    /// Reads `a=`, `b=`, `d=` and `s=`.
    pub(crate) fn parse(tags: &TagList<'_>) -> Result<Self, SignatureProblem> {
        let domain = domain_of(tags).ok_or(SignatureProblem::Malformed("d"));
        let domain = present(tags, "d").and(domain)?;
        let selector = text(present(tags, "s")?, "s")?;
        let key_name = Name::from_unicode(&format!("{selector}._domainkey.{domain}"))
            .ok()
            .filter(is_host_name)
            .ok_or(SignatureProblem::Malformed("s"))?;
        let algorithm = algorithm(present(tags, "a")?)?;
        let b = squeeze(present(tags, "b")?);
        Ok(Self {
            algorithm,
            domain,
            selector: selector.to_owned(),
            key_name,
            b: BASE64
                .decode(b)
                .map_err(|_| SignatureProblem::Malformed("b"))?,
            b_range: tags.raw_range("b").ok_or(SignatureProblem::Missing("b"))?,
        })
    }
}

impl Signature {
    /// Reads a field. `now` is for `t=` and `x=`, which ARC has not.
    pub(crate) fn parse(
        tags: &TagList<'_>,
        kind: SignatureKind,
        now: u64,
    ) -> Result<Self, SignatureProblem> {
        if kind == SignatureKind::Dkim && present(tags, "v")? != b"1" {
            return Err(SignatureProblem::Version);
        }
        let signer = Signer::parse(tags)?;
        let bh = BASE64.decode(squeeze(present(tags, "bh")?));
        let h = match (kind, tags.get("h")) {
            (SignatureKind::ArcMessage, Some([])) => Vec::new(),
            _ => squeeze(present(tags, "h")?),
        };
        check_signed_names(&h, kind)?;
        let (header_relaxed, body_relaxed) = canonicalization(tags.get("c"))?;
        let length = tags.get("l").map(|value| number(value, "l")).transpose()?;
        // RFC 8617 §4.1.2: in ARC i= is the instance.
        let i = tags.get("i").filter(|_| kind == SignatureKind::Dkim);
        let (identity, identity_domain) = identity(i, &signer.domain)?;
        check_query(tags.get("q"))?;
        if kind == SignatureKind::Dkim {
            check_times(tags, now)?;
        }
        if signer.algorithm == Algorithm::RsaSha1 {
            return Err(SignatureProblem::Sha1);
        }
        Ok(Self {
            signer,
            bh: bh.map_err(|_| SignatureProblem::Malformed("bh"))?,
            header_relaxed,
            body: BodyKey {
                relaxed: body_relaxed,
                length,
            },
            h,
            identity,
            identity_domain,
        })
    }

    /// The names of the fields that are signed, in order.
    pub(crate) fn signed_names(&self) -> impl Iterator<Item = &[u8]> {
        let names = self.h.split(|octet| *octet == b':');
        names.filter(|name| !name.is_empty())
    }

    /// The same as if `c=` said `relaxed/relaxed`.
    pub(crate) fn relaxed(&self) -> Self {
        let body = BodyKey {
            relaxed: true,
            ..self.body
        };
        Self {
            header_relaxed: true,
            body,
            ..self.clone()
        }
    }
}

/// `d=` as A-labels, if it can be read (§3.5 `domain-name`: at least two labels).
pub(crate) fn domain_of(tags: &TagList<'_>) -> Option<Name> {
    let domain = std::str::from_utf8(tags.get("d")?).ok()?;
    let name = Name::from_unicode(domain).ok()?;
    (is_host_name(&name) && name.parent().is_some() && !domain.ends_with('.')).then_some(name)
}

/// §2.3 `sub-domain`, and underscores, which some selectors and hosts have.
fn is_host_name(name: &Name) -> bool {
    name.labels().all(|label| {
        let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_".contains(&octet);
        !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(is_plain)
    })
}

fn present<'a>(tags: &TagList<'a>, name: &'static str) -> Result<&'a [u8], SignatureProblem> {
    match tags.get(name) {
        None => Err(SignatureProblem::Missing(name)),
        Some([]) => Err(SignatureProblem::Malformed(name)),
        Some(value) => Ok(value),
    }
}

fn text<'a>(value: &'a [u8], tag: &'static str) -> Result<&'a str, SignatureProblem> {
    let text = std::str::from_utf8(value).ok();
    text.filter(|text| !text.contains(char::is_whitespace))
        .ok_or(SignatureProblem::Malformed(tag))
}

/// RFC 6376 §3.5, RFC 8463 §3.
fn algorithm(value: &[u8]) -> Result<Algorithm, SignatureProblem> {
    let known = [
        Algorithm::RsaSha256,
        Algorithm::Ed25519Sha256,
        Algorithm::RsaSha1,
    ];
    known
        .into_iter()
        .find(|algorithm| value.eq_ignore_ascii_case(algorithm.as_str().as_bytes()))
        .ok_or(SignatureProblem::Unsupported("a"))
}

/// Whether header and body are relaxed; the body is simple unless it is named (§3.5, `c=`).
fn canonicalization(value: Option<&[u8]>) -> Result<(bool, bool), SignatureProblem> {
    let relaxed = |name: &[u8]| match name.trim_ascii() {
        name if name.eq_ignore_ascii_case(b"relaxed") => Ok(true),
        name if name.eq_ignore_ascii_case(b"simple") => Ok(false),
        _ => Err(SignatureProblem::Unsupported("c")),
    };
    let Some(value) = value else {
        return Ok((false, false));
    };
    let mut names = value.splitn(2, |octet| *octet == b'/');
    let header = relaxed(names.next().unwrap_or_default())?;
    let body = names.next().map(relaxed).transpose()?.unwrap_or(false);
    Ok((header, body))
}

/// Digits only; what no 64 bits hold is as good as the largest that they do.
fn number(value: &[u8], tag: &'static str) -> Result<u64, SignatureProblem> {
    if value.is_empty() || value.len() > 76 || !value.iter().all(u8::is_ascii_digit) {
        return Err(SignatureProblem::Malformed(tag));
    }
    let digits = value.iter().map(|digit| u64::from(digit - b'0'));
    Ok(digits.fold(0_u64, |sum, digit| {
        sum.saturating_mul(10).saturating_add(digit)
    }))
}

fn check_signed_names(h: &[u8], kind: SignatureKind) -> Result<(), SignatureProblem> {
    let names = || h.split(|octet| *octet == b':');
    if names().count() > MAX_SIGNED {
        return Err(SignatureProblem::ManyFields);
    }
    // RFC 6376 §3.5 has no empty name. In ARC it is read as one that no field has, as everybody
    // does and RFC 8617's test suite wants it.
    let is_name = |name: &[u8]| match name {
        [] => kind == SignatureKind::ArcMessage,
        name => name.iter().all(|octet| (33..=126).contains(octet)),
    };
    if !names().all(is_name) {
        return Err(SignatureProblem::Malformed("h"));
    }
    let has = |wanted: &[u8]| names().any(|name| name.eq_ignore_ascii_case(wanted));
    match kind {
        SignatureKind::Dkim if !has(b"from") => Err(SignatureProblem::FromNotSigned),
        SignatureKind::ArcMessage if has(b"arc-seal") => Err(SignatureProblem::SealSigned),
        SignatureKind::Dkim | SignatureKind::ArcMessage => Ok(()),
    }
}

/// `i=` decoded, and its domain, which is `d=` or below it (§3.5).
fn identity(value: Option<&[u8]>, domain: &Name) -> Result<(String, Name), SignatureProblem> {
    let Some(value) = value else {
        return Ok((format!("@{domain}"), domain.clone()));
    };
    let malformed = SignatureProblem::Malformed("i");
    let identity = quoted_printable(value).ok_or(malformed.clone())?;
    let (_, identity_domain) = identity.rsplit_once('@').ok_or(malformed.clone())?;
    let identity_domain = Name::from_unicode(identity_domain).map_err(|_| malformed)?;
    if !identity_domain.is_at_or_below(domain) {
        return Err(SignatureProblem::Identity);
    }
    Ok((identity, identity_domain))
}

/// §2.11, `dkim-quoted-printable`: white space is nothing, `=XX` an octet.
fn quoted_printable(value: &[u8]) -> Option<String> {
    let squeezed = squeeze(value);
    let mut octets = squeezed.iter();
    let mut text = Vec::with_capacity(squeezed.len());
    while let Some(octet) = octets.next() {
        if *octet == b'=' {
            let mut digit = || {
                octets
                    .next()
                    .and_then(|digit| char::from(*digit).to_digit(16))
            };
            let (high, low) = (digit()?, digit()?);
            text.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            text.push(*octet);
        }
    }
    String::from_utf8(text).ok()
}

/// `q=`: `dns/txt` is the only method there is; others are ignored beside it.
fn check_query(value: Option<&[u8]>) -> Result<(), SignatureProblem> {
    let known = |method: &[u8]| method.eq_ignore_ascii_case(b"dns/txt");
    match value {
        Some(methods) if !colon_list(methods).any(known) => Err(SignatureProblem::Unsupported("q")),
        _ => Ok(()),
    }
}

fn check_times(tags: &TagList<'_>, now: u64) -> Result<(), SignatureProblem> {
    let time = |tag| tags.get(tag).map(|value| number(value, tag)).transpose();
    let (timestamp, expiration) = (time("t")?, time("x")?);
    // "The value of the 'x=' tag MUST be greater than the value of the 't=' tag if both are
    // present."
    if timestamp.zip(expiration).is_some_and(|(t, x)| x <= t) {
        return Err(SignatureProblem::Malformed("x"));
    }
    if timestamp.is_some_and(|t| t > now.saturating_add(CLOCK_SKEW)) {
        return Err(SignatureProblem::Future);
    }
    if expiration.is_some_and(|x| now > x) {
        return Err(SignatureProblem::Expired);
    }
    Ok(())
}
