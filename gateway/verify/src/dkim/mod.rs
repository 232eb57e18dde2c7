//! DKIM (RFC 6376, with RFC 8301, 8463 and 8616): who takes responsibility for this message?
//!
//! A scanned message goes in; [`Signatures::parse`] says which signatures are worth trying and
//! which keys they need, [`BodyHashes`] hashes each distinct canonical body once, and
//! [`Signatures::verify`] gives one [`SignatureOutcome`] for each signature tried. [`verify`] does
//! all three in a row.
//!
//! RSA, Ed25519 and SHA-256 are aws-lc-rs's, with keys that are parsed once and kept; the
//! canonicalization and the rules are ours: signatures aligned with From come first, then from the
//! top, and no more than [`Options::max_signatures`] are tried; `rsa-sha1` and RSA keys under 1,024
//! bits never pass (RFC 8301 §3), keys over 4,096 bits are refused; From must be signed
//! (RFC 6376 §5.4); `l=` shorter than the body is worth nothing unless policy says so.

mod body;
mod header;
mod key;
mod signature;
#[cfg(test)]
mod tests;
mod verify;

pub use body::{BodyHash, BodyHashes, BodyKey};
pub use key::{Key, KeyCache, KeyProblem};
pub use signature::{Signature, SignatureProblem};
pub use verify::{Signatures, verify};

#[cfg(any(test, feature = "testing"))]
pub(crate) use header::canonicalize_signed;
pub(crate) use header::{LineEnd, canonicalize, canonicalize_own};
pub(crate) use signature::{SignatureKind, Signer};
pub(crate) use verify::{FetchedKeys, check_signature, fetch_keys};

use crate::name::Name;
use std::fmt;

/// Results of one signature (RFC 8601 §2.7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DkimResult {
    /// The message is not signed.
    None,
    /// The signature verified and the signer is acceptable.
    Pass,
    /// The signature did not verify.
    Fail,
    /// The signature verified, but local policy (algorithm, key size, `l=`) does not count it; or
    /// there were more signatures than are tried.
    Policy,
    /// The signature has syntax errors or could not be processed.
    Neutral,
    /// A question to DNS has no answer now.
    TempError,
    /// It can never be verified: no key, a revoked key, a required tag missing.
    PermError,
}

impl DkimResult {
    /// The word for Authentication-Results, lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Policy => "policy",
            Self::Neutral => "neutral",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

impl fmt::Display for DkimResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Signing algorithms (RFC 6376 §3.3, RFC 8463 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Never passes (RFC 8301 §3.1).
    RsaSha1,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RsaSha256,
    /// Ed25519 over a SHA-256 hash.
    Ed25519Sha256,
}

impl Algorithm {
    /// The `a=` value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RsaSha1 => "rsa-sha1",
            Self::RsaSha256 => "rsa-sha256",
            Self::Ed25519Sha256 => "ed25519-sha256",
        }
    }
}

/// What a body length limit (`l=`) below the length of the body is worth
/// (`verify.dkim.lengthTag`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LengthTag {
    /// Nothing: the result is `policy`, since anybody may have added to the body (§8.2).
    #[default]
    Ignore,
    /// As much as a signature over the whole body.
    Count,
}

/// What policy says about signatures.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// No more signatures are tried; the rest are counted.
    pub max_signatures: usize,
    /// See [`LengthTag`].
    pub length_tag: LengthTag,
    /// Seconds since 1970, for `x=` and `t=`.
    pub now: u64,
}

impl Options {
    /// The defaults: eight signatures, `l=` ignored.
    #[must_use]
    pub fn new(now: u64) -> Self {
        Self {
            max_signatures: 8,
            length_tag: LengthTag::Ignore,
            now,
        }
    }
}

/// What became of one signature that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureOutcome {
    /// The result.
    pub result: DkimResult,
    /// Why, when it is not `pass`; also `key is in testing mode`.
    pub reason: Option<String>,
    /// `d=`, as A-labels; none if it could not be read.
    pub domain: Option<Name>,
    /// `s=`.
    pub selector: Option<String>,
    /// `i=`, decoded; `@` and the domain if it is missing. None if it could not be read.
    pub identity: Option<String>,
    /// `a=`.
    pub algorithm: Option<Algorithm>,
    /// The first eight characters of `b=` (RFC 6008 §3).
    pub b: Option<String>,
    /// The key says `t=y` (§3.6.1): its owner is testing. The result is not changed by it, but a
    /// failure must not count against the message. Known only if there is a key.
    pub testing: bool,
    /// Which DKIM-Signature field this is, from the top, the first being 0.
    pub position: usize,
}

/// What became of all signatures of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Those tried, in the order of the header; empty: the message is not signed.
    pub signatures: Vec<SignatureOutcome>,
    /// How many more there were.
    pub untried: usize,
}

impl Outcome {
    /// Whether any signature passed.
    #[must_use]
    pub fn any_pass(&self) -> bool {
        self.signatures
            .iter()
            .any(|signature| signature.result == DkimResult::Pass)
    }

    /// The result for the message as a whole: the best of its signatures' results.
    #[must_use]
    pub fn best(&self) -> DkimResult {
        const BEST_FIRST: [DkimResult; 6] = [
            DkimResult::Pass,
            DkimResult::TempError,
            DkimResult::Policy,
            DkimResult::Fail,
            DkimResult::PermError,
            DkimResult::Neutral,
        ];
        let has = |result: &DkimResult| self.signatures.iter().any(|s| s.result == *result);
        match BEST_FIRST.into_iter().find(has) {
            Some(best) => best,
            None if self.untried > 0 => DkimResult::Policy,
            None => DkimResult::None,
        }
    }
}
