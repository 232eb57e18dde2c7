//! Which signatures are tried, and what becomes of each (RFC 6376 §6.1).

use super::header::{canonicalize_own, canonicalize_signed};
use super::key::{KeyProblem, Keys};
use super::signature::{SignatureKind, domain_of};
use super::{
    Algorithm, BodyHashes, BodyKey, DkimResult, KeyCache, LengthTag, Options, Outcome, Signature,
    SignatureOutcome, SignatureProblem,
};
use crate::message::{Field, Message};
use crate::name::Name;
use crate::resolve::Resolve;
use crate::tags::{TagError, TagList, squeeze};
use aws_lc_rs::digest;
use futures::future::join_all;

/// The signatures of a message that are tried, and how many are not.
#[derive(Debug, Clone)]
pub struct Signatures {
    /// In the order of the header.
    tried: Vec<Tried>,
    untried: usize,
    length_tag: LengthTag,
}

#[derive(Debug, Clone)]
struct Tried {
    /// Among the message's fields.
    field: usize,
    /// What is known of it already; its result is the problem's, or replaced by the verification's.
    outcome: SignatureOutcome,
    /// None: the outcome stands.
    signature: Option<Signature>,
}

impl Signatures {
    /// Reads the DKIM-Signature fields and chooses: those first whose `d=` may be aligned with the
    /// author's domain `from`, then from the top, at most [`Options::max_signatures`].
    #[must_use]
    pub fn parse(message: &Message<'_>, from: Option<&Name>, options: &Options) -> Self {
        let fields = message.fields().iter().enumerate();
        let mut found: Vec<Found<'_>> = fields
            .filter(|(_, field)| field.is("DKIM-Signature"))
            .enumerate()
            .map(|(position, (field, text))| {
                let tags = TagList::parse(text.value);
                let domain = tags.as_ref().ok().and_then(domain_of);
                Found {
                    field,
                    position,
                    tags,
                    domain,
                }
            })
            .collect();
        // Stable: equals stay in the order of the header.
        found.sort_by_key(|found| !may_align(found.domain.as_ref(), from));
        let untried = found.len().saturating_sub(options.max_signatures);
        found.truncate(options.max_signatures);
        found.sort_by_key(|found| found.position);
        let tried = found
            .into_iter()
            .map(|found| found.read(options.now))
            .collect();
        Self {
            tried,
            untried,
            length_tag: options.length_tag,
        }
    }

    /// What has to be hashed of the body, for [`BodyHashes::compute`].
    pub fn body_keys(&self) -> impl Iterator<Item = BodyKey> {
        self.signatures().map(|(_, signature)| signature.body)
    }

    /// Fetches the keys, in parallel, and verifies. A key is fetched even where the body hash
    /// disagrees: it may say that its owner is only testing (§3.6.1).
    /// `message` must be the one that was parsed, `hashes` made for its body.
    pub async fn verify(
        &self,
        resolver: &impl Resolve,
        cache: &KeyCache,
        message: &Message<'_>,
        hashes: &BodyHashes,
    ) -> Outcome {
        let names = self
            .signatures()
            .map(|(_, signature)| &signature.signer.key_name);
        let keys = fetch_keys(resolver, cache, names).await;
        let signatures = self.tried.iter().map(|tried| {
            let mut outcome = tried.outcome.clone();
            if let (Some(signature), Some(field)) =
                (&tried.signature, message.fields().get(tried.field))
            {
                let checked = self.check(message, field, signature, hashes, &keys);
                outcome.testing = checked.testing;
                (outcome.result, outcome.reason) = (checked.result, checked.reason);
            }
            outcome
        });
        Outcome {
            signatures: signatures.collect(),
            untried: self.untried,
        }
    }

    fn signatures(&self) -> impl Iterator<Item = (&Tried, &Signature)> {
        self.tried
            .iter()
            .filter_map(|tried| Some((tried, tried.signature.as_ref()?)))
    }

    fn check(
        &self,
        message: &Message<'_>,
        field: &Field<'_>,
        signature: &Signature,
        hashes: &BodyHashes,
        keys: &FetchedKeys,
    ) -> Checked {
        let checked = check_signature(message, field, signature, hashes, keys);
        let partial = signature.body.length.zip(hashes.get(signature.body));
        match (checked.result, partial, self.length_tag) {
            (DkimResult::Pass, Some((length, hash)), LengthTag::Ignore)
                if length < hash.total() =>
            {
                let reason = format!("l= covers {length} of {} body octets", hash.total());
                Checked {
                    result: DkimResult::Policy,
                    reason: Some(reason),
                    ..checked
                }
            }
            _ => checked,
        }
    }
}

/// Parses, hashes, fetches and verifies in one go; see [`Signatures`] for the steps.
pub async fn verify(
    resolver: &impl Resolve,
    cache: &KeyCache,
    message: &Message<'_>,
    from: Option<&Name>,
    options: &Options,
) -> Outcome {
    let signatures = Signatures::parse(message, from, options);
    let hashes = BodyHashes::compute(message.body(), signatures.body_keys());
    signatures.verify(resolver, cache, message, &hashes).await
}

/// A DKIM-Signature field before it was chosen.
struct Found<'a> {
    field: usize,
    position: usize,
    tags: Result<TagList<'a>, TagError>,
    domain: Option<Name>,
}

impl Found<'_> {
    fn read(self, now: u64) -> Tried {
        let mut outcome = SignatureOutcome {
            result: DkimResult::Neutral,
            reason: None,
            domain: self.domain,
            selector: None,
            identity: None,
            algorithm: None,
            b: None,
            testing: false,
            position: self.position,
        };
        let parsed = match &self.tags {
            Ok(tags) => {
                describe(tags, &mut outcome);
                Signature::parse(tags, SignatureKind::Dkim, now)
            }
            Err(error) => Err(SignatureProblem::from(*error)),
        };
        let signature = match parsed {
            Ok(signature) => {
                outcome.identity = Some(signature.identity.clone());
                outcome.algorithm = Some(signature.signer.algorithm);
                Some(signature)
            }
            Err(problem) => {
                (outcome.result, outcome.reason) = (problem.result(), Some(problem.to_string()));
                None
            }
        };
        Tried {
            field: self.field,
            outcome,
            signature,
        }
    }
}

/// What a report can say of a signature even if it cannot be used.
fn describe(tags: &TagList<'_>, outcome: &mut SignatureOutcome) {
    let text = |tag| {
        tags.get(tag)
            .and_then(|value| std::str::from_utf8(value).ok())
    };
    outcome.selector = text("s").map(str::to_owned);
    outcome.algorithm = [
        Algorithm::RsaSha1,
        Algorithm::RsaSha256,
        Algorithm::Ed25519Sha256,
    ]
    .into_iter()
    .find(|known| text("a").is_some_and(|a| a.eq_ignore_ascii_case(known.as_str())));
    // RFC 6008 §4: at least eight characters tell signatures apart.
    let b = tags.get("b").map(squeeze).unwrap_or_default();
    let b: String = b.iter().take(8).map(|octet| char::from(*octet)).collect();
    outcome.b = (!b.is_empty()).then_some(b);
}

/// Whether the domain may be aligned with the author's: the last two labels are the same. The
/// organizational domain is not known here, and only the order depends on this.
fn may_align(domain: Option<&Name>, from: Option<&Name>) -> bool {
    let (Some(domain), Some(from)) = (domain, from) else {
        return false;
    };
    domain
        .labels()
        .rev()
        .take(2)
        .eq(from.labels().rev().take(2))
}

/// Keys by the name at which they stand.
pub(crate) type FetchedKeys = Vec<(Name, Keys)>;

/// Fetches each name once, all in parallel.
pub(crate) async fn fetch_keys<'n>(
    resolver: &impl Resolve,
    cache: &KeyCache,
    names: impl Iterator<Item = &'n Name>,
) -> FetchedKeys {
    let mut names: Vec<&Name> = names.collect();
    names.sort_unstable();
    names.dedup();
    let fetch = async |name: &Name| (name.clone(), Keys::fetch(resolver, cache, name).await);
    join_all(names.into_iter().map(fetch)).await
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checked {
    pub(crate) result: DkimResult,
    pub(crate) reason: Option<String>,
    pub(crate) testing: bool,
}

impl Checked {
    fn failed(result: DkimResult, reason: impl Into<String>) -> Self {
        Self {
            result,
            reason: Some(reason.into()),
            testing: false,
        }
    }
}

fn body_agrees(signature: &Signature, hashes: &BodyHashes) -> Result<(), &'static str> {
    match hashes.get(signature.body) {
        None => Err("l= is longer than the body"),
        Some(hash) if hash.as_bytes() != signature.bh => Err("body hash did not verify"),
        Some(_) => Ok(()),
    }
}

/// RFC 6376 §6.1.2, §6.1.3: a key that fits, the body hash, then the signature over the header by
/// any of the keys.
pub(crate) fn check_signature(
    message: &Message<'_>,
    field: &Field<'_>,
    signature: &Signature,
    hashes: &BodyHashes,
    keys: &FetchedKeys,
) -> Checked {
    let signer = &signature.signer;
    let Some((_, keys)) = keys.iter().find(|(name, _)| *name == signer.key_name) else {
        return Checked::failed(DkimResult::TempError, "key was not fetched");
    };
    let keys = match (
        keys.fitting(signer.algorithm),
        body_agrees(signature, hashes),
    ) {
        (Ok(keys), _) => keys,
        // No answer that is missing could make it pass.
        (Err(KeyProblem::Unavailable(_)), Err(reason)) => {
            return Checked::failed(DkimResult::Fail, reason);
        }
        (Err(problem), _) => return Checked::failed(problem.result(), problem.to_string()),
    };
    let testing = keys.iter().all(|key| key.is_testing());
    let failed = |result, reason| Checked {
        testing,
        ..Checked::failed(result, reason)
    };
    if let Err(reason) = body_agrees(signature, hashes) {
        return failed(DkimResult::Fail, reason);
    }
    let mut header = Vec::with_capacity(4096);
    let relaxed = signature.header_relaxed;
    let names = signature.signed_names();
    canonicalize_signed(message, Some(field), names, relaxed, &mut header);
    canonicalize_own(field, &signer.b_range, relaxed, &mut header);
    let digest = digest::digest(&digest::SHA256, &header);
    let Some(key) = keys
        .into_iter()
        .find(|key| key.verifies(&digest, &signer.b))
    else {
        return failed(DkimResult::Fail, "signature did not verify");
    };
    // RFC 6376 §3.6.1, t=s.
    if key.is_strict() && signature.identity_domain != signer.domain {
        return Checked::failed(DkimResult::PermError, "key wants i= in exactly d=");
    }
    let reason = key
        .is_testing()
        .then(|| "key is in testing mode".to_owned());
    Checked {
        result: DkimResult::Pass,
        reason,
        testing: key.is_testing(),
    }
}
