//! Key records (RFC 6376 §3.6.1, RFC 8301, RFC 8463 §3.2): parsed, judged, kept.
//!
//! The texts at `selector._domainkey.domain` go in; the keys that fit an algorithm come out, or why
//! there is none. [`KeyCache`] keeps parsed keys by the text of their record, since parsing an RSA
//! key costs a good part of what a verification costs.

use super::Algorithm;
use crate::resolve::{DnsError, Resolve};
use crate::tags::{TagList, colon_list, squeeze};
use crate::{Name, dkim::DkimResult};
use aws_lc_rs::digest::Digest;
use aws_lc_rs::signature::{
    ED25519, ParsedPublicKey, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::sync::Arc;

/// RFC 8301 §3.2: smaller keys "MUST NOT" be considered valid.
const MIN_RSA_BITS: usize = 1024;
/// RFC 8301 §3.2: verifiers "MUST be able to validate" up to this; larger keys only cost time.
const MAX_RSA_BITS: usize = 4096;
/// Keys of one name that are tried for one signature (RFC 6376 §6.1.2 leaves it open).
const MAX_TRIED: usize = 2;
/// TXT records of one name that are looked at.
const MAX_RECORDS: usize = 16;

/// Base64 whose padding may be missing: signers in the wild leave it out.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A key that can verify.
pub struct Key {
    public: ParsedPublicKey,
    kind: Kind,
    /// `h=` allows SHA-256.
    sha256: bool,
    /// `s=` allows mail.
    email: bool,
    /// `t=y`.
    testing: bool,
    /// `t=s`: `i=` must be in exactly the domain.
    strict: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    Ed25519,
}

/// Why there is no key for a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// There is no TXT record, or no such name.
    #[error("no key for signature")]
    Missing,
    /// DNS does not tell now.
    #[error("key unavailable: {0}")]
    Unavailable(DnsError),
    /// The record is no key record.
    #[error("key record has a syntax error")]
    Syntax,
    /// `p=` is empty.
    #[error("key is revoked")]
    Revoked,
    /// `p=` holds no key of its kind.
    #[error("key cannot be read")]
    Unreadable,
    /// `k=` is not known.
    #[error("key is of an unknown type")]
    UnknownType,
    /// `k=` does not fit the signature's `a=`.
    #[error("key is of another type than the signature")]
    OtherType,
    /// `h=` does not allow the signature's hash.
    #[error("key does not allow the hash")]
    Hash,
    /// `s=` does not allow mail.
    #[error("key is not for mail")]
    Service,
    /// RSA with fewer bits than RFC 8301 allows.
    #[error("RSA key of {0} bits is too small")]
    Small(usize),
    /// RSA with more bits than are tried.
    #[error("RSA key of {0} bits is too large")]
    Large(usize),
}

impl KeyProblem {
    /// What it makes of the signature.
    #[must_use]
    pub fn result(&self) -> DkimResult {
        match self {
            Self::Unavailable(_) => DkimResult::TempError,
            Self::Small(_) | Self::Large(_) => DkimResult::Policy,
            Self::Missing
            | Self::Syntax
            | Self::Revoked
            | Self::Unreadable
            | Self::UnknownType
            | Self::OtherType
            | Self::Hash
            | Self::Service => DkimResult::PermError,
        }
    }
}

impl Key {
    /// Parses one TXT record.
    ///
    /// # Errors
    /// [`KeyProblem`], of the record alone.
    pub fn parse(record: &[u8]) -> Result<Self, KeyProblem> {
        let tags = TagList::parse(record).map_err(|_| KeyProblem::Syntax)?;
        // §3.6.1: v= is optional; if it is there, it is the first tag.
        match tags.get("v") {
            None => {}
            Some(b"DKIM1") if tags.first() == Some(b"v") => {}
            Some(_) => return Err(KeyProblem::Syntax),
        }
        let encoded = squeeze(tags.get("p").ok_or(KeyProblem::Syntax)?);
        if encoded.is_empty() {
            return Err(KeyProblem::Revoked);
        }
        let public = BASE64.decode(encoded).map_err(|_| KeyProblem::Unreadable)?;
        let (kind, public) = match tags.get("k") {
            None => (Kind::Rsa, rsa(&public)?),
            Some(kind) if kind.eq_ignore_ascii_case(b"rsa") => (Kind::Rsa, rsa(&public)?),
            Some(kind) if kind.eq_ignore_ascii_case(b"ed25519") => {
                (Kind::Ed25519, ed25519(&public)?)
            }
            Some(_) => return Err(KeyProblem::UnknownType),
        };
        let lists = |tag: &str, wanted: &[&[u8]]| {
            tags.get(tag).map(|list| {
                colon_list(list).any(|item| wanted.iter().any(|w| item.eq_ignore_ascii_case(w)))
            })
        };
        Ok(Self {
            public,
            kind,
            sha256: lists("h", &[b"sha256"]).unwrap_or(true),
            email: lists("s", &[b"*", b"email"]).unwrap_or(true),
            testing: lists("t", &[b"y"]).unwrap_or(false),
            strict: lists("t", &[b"s"]).unwrap_or(false),
        })
    }

    /// Whether its owner is testing (`t=y`).
    #[must_use]
    pub fn is_testing(&self) -> bool {
        self.testing
    }

    /// Whether `i=` must be in exactly the domain (`t=s`).
    #[must_use]
    pub fn is_strict(&self) -> bool {
        self.strict
    }

    /// Whether `signature` is this key's over what has this SHA-256 hash (RFC 6376 §3.3.2,
    /// RFC 8463 §3: Ed25519 signs the hash).
    #[must_use]
    pub fn verifies(&self, digest: &Digest, signature: &[u8]) -> bool {
        match self.kind {
            Kind::Rsa => self.public.verify_digest_sig(digest, signature),
            Kind::Ed25519 => self.public.verify_sig(digest.as_ref(), signature),
        }
        .is_ok()
    }

    fn fits(&self, algorithm: Algorithm) -> Result<(), KeyProblem> {
        let kind = match algorithm {
            Algorithm::RsaSha1 | Algorithm::RsaSha256 => Kind::Rsa,
            Algorithm::Ed25519Sha256 => Kind::Ed25519,
        };
        if self.kind != kind {
            Err(KeyProblem::OtherType)
        } else if !self.sha256 {
            Err(KeyProblem::Hash)
        } else if !self.email {
            Err(KeyProblem::Service)
        } else {
            Ok(())
        }
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// RFC 8463 §4: the 32 octets themselves, not a `SubjectPublicKeyInfo`, which aws-lc-rs reads too.
fn ed25519(octets: &[u8]) -> Result<ParsedPublicKey, KeyProblem> {
    if octets.len() != 32 {
        return Err(KeyProblem::Unreadable);
    }
    ParsedPublicKey::new(&ED25519, octets).map_err(|_| KeyProblem::Unreadable)
}

fn rsa(der: &[u8]) -> Result<ParsedPublicKey, KeyProblem> {
    // RFC 6376 §3.6.1 has the bare RSAPublicKey, its erratum and practice the SubjectPublicKeyInfo.
    let bits = rsa_bits(der).ok_or(KeyProblem::Unreadable)?;
    match bits {
        0..MIN_RSA_BITS => Err(KeyProblem::Small(bits)),
        MIN_RSA_BITS..=MAX_RSA_BITS => {
            ParsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, der)
                .map_err(|_| KeyProblem::Unreadable)
        }
        _ => Err(KeyProblem::Large(bits)),
    }
}

/// The length of the modulus in a `SubjectPublicKeyInfo` (RFC 5280 §4.1) or `RSAPublicKey`
/// (RFC 8017 §A.1.1).
fn rsa_bits(der: &[u8]) -> Option<usize> {
    let (content, _) = der_value(der, 0x30)?;
    let public = match content.first()? {
        0x30 => {
            let (_, rest) = der_value(content, 0x30)?;
            let (bits, _) = der_value(rest, 0x03)?;
            der_value(bits.get(1..)?, 0x30)?.0
        }
        _ => content,
    };
    let (modulus, _) = der_value(public, 0x02)?;
    let zeros = modulus.iter().take_while(|octet| **octet == 0).count();
    let first = modulus.get(zeros)?;
    Some((modulus.len() - zeros) * 8 - first.leading_zeros() as usize)
}

/// The content of the first element, which must have this tag, and what follows it.
fn der_value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81..=0x82 => {
            let (octets, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (
                octets
                    .iter()
                    .fold(0, |sum, octet| sum << 8 | usize::from(*octet)),
                rest,
            )
        }
        _ => return None,
    };
    (*first == tag).then_some(())?;
    rest.split_at_checked(length)
}

type Parsed = Arc<Result<Key, KeyProblem>>;

/// Parsed keys by the text of their record; bounded. Share one between all messages.
#[derive(Debug, Clone)]
pub struct KeyCache(moka::sync::Cache<Box<[u8]>, Parsed>);

impl KeyCache {
    /// Keeps so many records of ordinary size (1 kB); 0 keeps none.
    #[must_use]
    pub fn new(entries: u64) -> Self {
        Self(
            moka::sync::Cache::<Box<[u8]>, Parsed>::builder()
                .max_capacity(entries)
                .weigher(|record, _| u32::try_from(1 + record.len() / 1024).unwrap_or(u32::MAX))
                .build(),
        )
    }

    fn parse(&self, record: &[u8]) -> Parsed {
        if let Some(parsed) = self.0.get(record) {
            return parsed;
        }
        let parsed = Arc::new(Key::parse(record));
        self.0.insert(record.into(), Arc::clone(&parsed));
        parsed
    }
}

/// The records at one key name, parsed.
#[derive(Debug, Clone)]
pub(crate) struct Keys(Result<Vec<Parsed>, DnsError>);

impl Keys {
    pub(crate) async fn fetch(resolver: &impl Resolve, cache: &KeyCache, name: &Name) -> Self {
        let texts = resolver.txt(name).await;
        Self(texts.map(|texts| {
            texts
                .iter()
                .take(MAX_RECORDS)
                .map(|text| cache.parse(text))
                .collect()
        }))
    }

    /// Those that fit the algorithm, the first ones first; never empty.
    pub(crate) fn fitting(&self, algorithm: Algorithm) -> Result<Vec<&Key>, KeyProblem> {
        let records = match &self.0 {
            Ok(records) => records,
            Err(DnsError::NoRecords { .. }) => return Err(KeyProblem::Missing),
            Err(error) => return Err(KeyProblem::Unavailable(*error)),
        };
        let mut keys = Vec::new();
        let mut problem = KeyProblem::Missing;
        for record in records {
            match record.as_ref() {
                Ok(key) => match key.fits(algorithm) {
                    Ok(()) => keys.push(key),
                    Err(misfit) => problem = misfit,
                },
                // A foreign TXT record beside a key is not the key's problem.
                Err(KeyProblem::Syntax) if problem != KeyProblem::Missing => {}
                Err(other) => problem = other.clone(),
            }
        }
        keys.truncate(MAX_TRIED);
        if keys.is_empty() {
            Err(problem)
        } else {
            Ok(keys)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::Zone;

    const ED25519_KEY: &str = "k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

    async fn keys(zone: &str) -> Keys {
        let zone = Zone::parse(zone).unwrap();
        let name = Name::parse("s._domainkey.a.test").unwrap();
        Keys::fetch(&zone, &KeyCache::new(8), &name).await
    }

    async fn problem(record: &str) -> KeyProblem {
        let keys = keys(&format!("s._domainkey.a.test TXT \"{record}\"")).await;
        keys.fitting(Algorithm::Ed25519Sha256).unwrap_err()
    }

    #[tokio::test]
    async fn what_a_record_may_lack() {
        for (record, wanted) in [
            ("v=DKIM1; p=", KeyProblem::Revoked),
            ("v=DKIM1", KeyProblem::Syntax),
            ("v=DKIM2; p=AAAA", KeyProblem::Syntax),
            ("p=AAAA; v=DKIM1", KeyProblem::Syntax),
            ("k=ed25519; p=AAAA", KeyProblem::Unreadable),
            ("k=rsa; p=AAAA", KeyProblem::Unreadable),
            // RFC 8410 §10.1's example: a SubjectPublicKeyInfo.
            (
                "k=ed25519; p=MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=",
                KeyProblem::Unreadable,
            ),
            ("k=dsa; p=AAAA", KeyProblem::UnknownType),
            (&format!("h=sha1; {ED25519_KEY}"), KeyProblem::Hash),
            (&format!("s=tlsrpt; {ED25519_KEY}"), KeyProblem::Service),
        ] {
            assert_eq!(problem(record).await, wanted, "{record}");
        }
    }

    #[tokio::test]
    async fn lists_and_flags() {
        let record = format!("v=DKIM1; g=; h=sha1 : sha256; s=email:x; t=y:s; n=x; {ED25519_KEY}");
        let keys = keys(&format!("s._domainkey.a.test TXT \"{record}\"")).await;
        let fitting = keys.fitting(Algorithm::Ed25519Sha256).unwrap();
        assert!(fitting[0].is_testing() && fitting[0].is_strict());
        assert_eq!(
            keys.fitting(Algorithm::RsaSha256).unwrap_err(),
            KeyProblem::OtherType
        );
    }

    #[tokio::test]
    async fn the_fitting_one_of_several_records() {
        let keys = keys(&format!(
            "s._domainkey.a.test TXT \"v=spf1 -all\"\n\
             s._domainkey.a.test TXT \"v=DKIM1; p=\"\n\
             s._domainkey.a.test TXT \"{ED25519_KEY}\""
        ))
        .await;
        assert_eq!(keys.fitting(Algorithm::Ed25519Sha256).unwrap().len(), 1);
    }

    #[tokio::test]
    async fn dns_errors_are_kept_apart() {
        let missing = keys("a.test A 192.0.2.1").await;
        assert_eq!(
            missing.fitting(Algorithm::RsaSha256).unwrap_err(),
            KeyProblem::Missing
        );
        let failed = keys("s._domainkey.a.test SERVFAIL").await;
        let problem = failed.fitting(Algorithm::RsaSha256).unwrap_err();
        assert_eq!(problem.result(), DkimResult::TempError);
    }
}
