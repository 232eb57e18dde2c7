//! Chain validation (RFC 8617 §5.2), from step 4 on: the newest message signature, the older ones,
//! every seal.

use super::chain::{Chain, Link, Structure};
use super::{ArcResult, Outcome, Set};
use crate::dkim::{
    BodyHashes, BodyKey, DkimResult, FetchedKeys, KeyCache, LineEnd, canonicalize,
    canonicalize_own, check_signature, fetch_keys,
};
use crate::message::Message;
use crate::resolve::Resolve;
use aws_lc_rs::digest::{self, Context};

/// Message signatures below the newest are only looked at for the oldest pass; a long chain over
/// large headers ends the search when so many octets of header may have been hashed.
const MAX_SEARCH: usize = 2_000_000;

impl Chain {
    /// Fetches the keys in parallel, the newest message signature's first, and validates the chain.
    /// `message` must be the one that was parsed, `hashes` made for its body.
    pub async fn verify(
        &self,
        resolver: &impl Resolve,
        cache: &KeyCache,
        message: &Message<'_>,
        hashes: &BodyHashes,
    ) -> Outcome {
        let links = match &self.0 {
            Structure::Absent => return outcome(ArcResult::None, &[], None),
            Structure::Broken(problem) => return failed(&[], Failure::lasting(problem.clone())),
            Structure::Whole(links) => links.as_slice(),
        };
        Outcome {
            signs_all: links.last().is_some_and(|link| signs_all(link, hashes)),
            ..validate(resolver, cache, message, hashes, links).await
        }
    }
}

async fn validate(
    resolver: &impl Resolve,
    cache: &KeyCache,
    message: &Message<'_>,
    hashes: &BodyHashes,
    links: &[Link],
) -> Outcome {
    let Some((newest, older)) = links.split_last() else {
        return outcome(ArcResult::None, &[], None);
    };
    // One key first: most broken chains end here, at the cost of one question.
    let first = newest
        .signature
        .iter()
        .map(|signature| &signature.signer.key_name);
    let keys = fetch_keys(resolver, cache, first).await;
    if let Err(failure) = check_message(message, newest, hashes, &keys) {
        return failed(links, failure);
    }
    let sealers = links.iter().map(|link| &link.sealer.key_name);
    let signers = older.iter().filter_map(|link| link.signature.as_ref().ok());
    let others = signers.map(|signature| &signature.signer.key_name);
    let keys = fetch_keys(resolver, cache, sealers.chain(others)).await;
    match check_seals(message, links, &keys) {
        Ok(()) => outcome(
            ArcResult::Pass,
            links,
            Some(oldest_pass(message, older, hashes, &keys)),
        ),
        Err(failure) => failed(links, failure),
    }
}

/// Whether the message signature names From and has no `l=` below the body's length, whichever way
/// it is canonicalized.
fn signs_all(link: &Link, hashes: &BodyHashes) -> bool {
    let covers_body = |key: BodyKey| {
        key.length
            .is_none_or(|length| hashes.get(key).is_some_and(|hash| hash.total() == length))
    };
    link.signature.as_ref().is_ok_and(|signature| {
        let mut names = signature.signed_names();
        names.any(|name| name.eq_ignore_ascii_case(b"from"))
            && covers_body(signature.body)
            && link
                .relaxed
                .as_ref()
                .is_none_or(|relaxed| covers_body(relaxed.body))
    })
}

/// Parses, hashes, fetches and validates in one go; see [`Chain`] for the steps.
pub async fn verify(resolver: &impl Resolve, cache: &KeyCache, message: &Message<'_>) -> Outcome {
    let chain = Chain::parse(message);
    let hashes = BodyHashes::compute(message.body(), chain.body_keys());
    chain.verify(resolver, cache, message, &hashes).await
}

struct Failure {
    problem: String,
    temporary: bool,
}

impl Failure {
    fn lasting(problem: String) -> Self {
        Self {
            problem,
            temporary: false,
        }
    }
}

fn outcome(result: ArcResult, links: &[Link], oldest_pass: Option<u32>) -> Outcome {
    let sets: Vec<Set> = links.iter().map(|link| link.set.clone()).collect();
    Outcome {
        result,
        sets,
        oldest_pass,
        signs_all: false,
        problem: None,
        temporary: false,
    }
}

fn failed(links: &[Link], failure: Failure) -> Outcome {
    let Failure { problem, temporary } = failure;
    Outcome {
        problem: Some(problem),
        temporary,
        ..outcome(ArcResult::Fail, links, None)
    }
}

/// Step 4, and step 5 for one older set.
fn check_message(
    message: &Message<'_>,
    link: &Link,
    hashes: &BodyHashes,
    keys: &FetchedKeys,
) -> Result<(), Failure> {
    let named = |why: &str| format!("message signature {}: {why}", link.set.instance);
    let signature = link
        .signature
        .as_ref()
        .map_err(|why| Failure::lasting(named(why)))?;
    let Some(field) = message.fields().get(link.message) else {
        return Err(Failure::lasting(named("is gone")));
    };
    let check = |signature| check_signature(message, field, signature, hashes, keys);
    let mut checked = check(signature);
    if checked.result == DkimResult::Fail
        && let Some(relaxed) = &link.relaxed
    {
        checked = check(relaxed);
    }
    match checked.result {
        DkimResult::Pass => Ok(()),
        result => Err(Failure {
            problem: named(&checked.reason.unwrap_or_default()),
            temporary: result == DkimResult::TempError,
        }),
    }
}

/// Step 5: going back from the newest, the last one that still passes; 0 if all do.
fn oldest_pass(
    message: &Message<'_>,
    older: &[Link],
    hashes: &BodyHashes,
    keys: &FetchedKeys,
) -> u32 {
    let mut searched = 0;
    for link in older.iter().rev() {
        searched += message.body_offset();
        if searched > MAX_SEARCH || check_message(message, link, hashes, keys).is_err() {
            return link.set.instance + 1;
        }
    }
    0
}

/// Step 6: each seal covers all sets up to its own, in relaxed form, itself last and without `b=`
/// (§5.1.1). What the sets before have in common is hashed once.
fn check_seals(message: &Message<'_>, links: &[Link], keys: &FetchedKeys) -> Result<(), Failure> {
    let mut before = Context::new(&digest::SHA256);
    let mut text = Vec::with_capacity(4096);
    for link in links {
        let field = |at: usize| message.fields().get(at);
        let (Some(results), Some(signature), Some(seal)) =
            (field(link.results), field(link.message), field(link.seal))
        else {
            return Err(Failure::lasting("a field is gone".to_owned()));
        };
        text.clear();
        canonicalize(results, true, LineEnd::Keep, &mut text);
        canonicalize(signature, true, LineEnd::Keep, &mut text);
        before.update(&text);
        text.clear();
        canonicalize_own(seal, &link.sealer.b_range, true, &mut text);
        let mut own = before.clone();
        own.update(&text);
        check_seal(link, &own.finish(), keys)?;
        text.clear();
        canonicalize(seal, true, LineEnd::Keep, &mut text);
        before.update(&text);
    }
    Ok(())
}

fn check_seal(link: &Link, digest: &digest::Digest, keys: &FetchedKeys) -> Result<(), Failure> {
    let named = |why: &str| format!("seal {}: {why}", link.set.instance);
    let Some((_, keys)) = keys.iter().find(|(name, _)| *name == link.sealer.key_name) else {
        return Err(Failure {
            problem: named("key was not fetched"),
            temporary: true,
        });
    };
    let keys = keys
        .fitting(link.sealer.algorithm)
        .map_err(|problem| Failure {
            problem: named(&problem.to_string()),
            temporary: problem.result() == DkimResult::TempError,
        })?;
    let verified = keys
        .into_iter()
        .any(|key| key.verifies(digest, &link.sealer.b));
    verified
        .then_some(())
        .ok_or_else(|| Failure::lasting(named("did not verify")))
}
