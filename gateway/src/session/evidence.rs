//! What the checks of a message find, and what the policies make of it.
//!
//! A received message and the lookups begun at MAIL go in; [`gather`] verifies signatures and asks
//! DMARC, [`judge`] gives a [`Judged`] for each check by the enforced and the shadow policies.

use super::dns::{Looked, traced};
use crate::checks::connection::iprev as iprev_check;
use crate::checks::data::{arc as arc_check, dkim as dkim_check, dmarc as dmarc_check};
use crate::checks::data::{forwarder, from as from_check, sealer};
use crate::checks::mail::spf as spf_check;
use crate::checks::{Finding, Judged, verdict};
use crate::snapshot::Runtime;
use crate::telemetry::record::SpanRecord;
use bytes::Bytes;
use postern_config::policy::{LengthTag, Sourced, Verify};
use postern_verify::authentication_results::{Header, Method};
use postern_verify::dkim::{BodyHashes, BodyKey, Options, Signatures};
use postern_verify::from::Author;
use postern_verify::resolve::{Budget, Resolve};
use postern_verify::{Message, Name, arc, dkim, dmarc, from, iprev, spf};
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::Instant;

/// Lookups of one message's DKIM, ARC and DMARC together.
const QUERIES: u32 = 160;
/// Checks of one message take no longer.
const TIME: Duration = Duration::from_secs(60);
/// Bodies above this are hashed off the threads that serve connections.
const LARGE: usize = 256 << 10;

/// All that was found.
pub(super) struct Evidence {
    author: Author,
    spf: Looked<spf::Outcome>,
    iprev: Looked<iprev::Outcome>,
    dkim: Looked<dkim::Outcome>,
    /// With the shadow policy's options, where they differ.
    shadow_dkim: Option<dkim::Outcome>,
    arc: Looked<arc::Outcome>,
    dmarc: Option<Looked<dmarc::Outcome>>,
}

/// What was found before the message came.
pub(super) struct Before {
    pub(super) spf: Looked<spf::Outcome>,
    pub(super) iprev: Looked<iprev::Outcome>,
}

/// Verifies the message.
pub(super) async fn gather(
    runtime: &Runtime,
    raw: &Bytes,
    message: &Message<'_>,
    before: Before,
    (enforced, shadow): (&Verify, Option<&Verify>),
) -> Evidence {
    let author = from::author(message);
    let now = super::mail::unix_now();
    let signatures = Signatures::parse(message, author.domain(), &options(enforced, now));
    let shadow = shadow
        .map(|verify| options(verify, now))
        .filter(|o| !same(o, enforced, now));
    let shadow = shadow.map(|options| Signatures::parse(message, author.domain(), &options));
    let chain = arc::Chain::parse(message);
    let hashed = signatures.body_keys().chain(chain.body_keys());
    let hashed = hashed
        .chain(shadow.iter().flat_map(Signatures::body_keys))
        .collect();
    let hashes = hash(raw, message.body_offset(), hashed).await;
    let budget = Budget::new(QUERIES, Instant::now() + TIME);
    let (dns, keys) = (&runtime.resolver, &*runtime.dkim_keys);
    let dkim = traced("check.dkim", dns, &budget, async |resolver| {
        signatures.verify(&resolver, keys, message, &hashes).await
    });
    let arc = traced("check.arc", dns, &budget, async |resolver| {
        chain.verify(&resolver, keys, message, &hashes).await
    });
    let (dkim, arc, ()) = futures::join!(dkim, arc, prefetch(runtime, author.domain()));
    let shadow_dkim = match &shadow {
        Some(signatures) => {
            let outcome = traced("check.dkim", dns, &budget, async |resolver| {
                signatures.verify(&resolver, keys, message, &hashes).await
            });
            Some(outcome.await.outcome)
        }
        None => None,
    };
    let dmarc = match author.domain() {
        Some(domain) => {
            let input = dmarc::Input::new(domain, Some(&before.spf.outcome), Some(&dkim.outcome));
            let check = async |resolver| dmarc::evaluate(&resolver, &input).await;
            Some(traced("check.dmarc", dns, &budget, check).await)
        }
        None => None,
    };
    Evidence {
        author,
        spf: before.spf,
        iprev: before.iprev,
        dkim,
        shadow_dkim,
        arc,
        dmarc,
    }
}

/// Asks for the author's policy while the keys are asked for, so that DMARC finds it in the cache.
async fn prefetch(runtime: &Runtime, author: Option<&Name>) {
    // Without a cache the answer would be lost.
    if runtime.config.resolver.cache_entries == 0 {
        return;
    }
    if let Some(name) = author.and_then(|domain| domain.prefixed("_dmarc").ok()) {
        let _ = runtime.resolver.txt(&name).await;
    }
}

/// Hashes the body in each way that a signature asks for.
async fn hash(raw: &Bytes, body: usize, keys: Vec<BodyKey>) -> BodyHashes {
    if keys.is_empty() || raw.len() - body <= LARGE {
        return BodyHashes::compute(raw.get(body..).unwrap_or_default(), keys);
    }
    let (octets, again) = (raw.slice(body..), keys.clone());
    let hashing = tokio::task::spawn_blocking(move || BodyHashes::compute(&octets, keys));
    match hashing.await {
        Ok(hashes) => hashes,
        // Only when the process is ending, or by a panic that would come again here.
        Err(_) => BodyHashes::compute(raw.get(body..).unwrap_or_default(), again),
    }
}

fn options(verify: &Verify, now: u64) -> Options {
    Options {
        max_signatures: verify.dkim.max_signatures as usize,
        length_tag: match verify.dkim.length_tag {
            LengthTag::Ignore => dkim::LengthTag::Ignore,
            LengthTag::Count => dkim::LengthTag::Count,
        },
        now,
    }
}

fn same(one: &Options, verify: &Verify, now: u64) -> bool {
    let other = options(verify, now);
    one.max_signatures == other.max_signatures && one.length_tag == other.length_tag
}

/// What the policies make of it, the check that decides among equals first; with each check's
/// span.
pub(super) fn judge(
    evidence: &Evidence,
    client: IpAddr,
    enforced: &Sourced<Verify>,
    shadow: Option<&Sourced<Verify>>,
) -> Vec<(Judged, Option<SpanRecord>)> {
    let shadow_dkim = evidence
        .shadow_dkim
        .as_ref()
        .unwrap_or(&evidence.dkim.outcome);
    let ours = findings(evidence, &evidence.dkim.outcome, client, &enforced.value);
    let theirs = shadow.map(|section| findings(evidence, shadow_dkim, client, &section.value));
    let mut theirs = theirs.into_iter().flatten();
    let spans = spans(evidence);
    let judged = ours.into_iter().map(|finding| {
        verdict::verify(
            (finding, enforced),
            shadow.and_then(|s| Some((theirs.next()?, s))),
        )
    });
    judged
        .map(|judged| {
            let span = spans
                .iter()
                .find(|(check, _)| *check == judged.finding.check);
            let span = span.map(|(_, span)| (*span).clone());
            (judged, span)
        })
        .collect()
}

fn spans(evidence: &Evidence) -> Vec<(&'static str, &SpanRecord)> {
    let mut spans = vec![
        (spf_check::CHECK, &evidence.spf.span),
        (iprev_check::CHECK, &evidence.iprev.span),
        (dkim_check::CHECK, &evidence.dkim.span),
        (arc_check::CHECK, &evidence.arc.span),
    ];
    spans.extend(
        evidence
            .dmarc
            .iter()
            .map(|dmarc| (dmarc_check::CHECK, &dmarc.span)),
    );
    spans
}

fn findings(
    evidence: &Evidence,
    dkim: &dkim::Outcome,
    client: IpAddr,
    verify: &Verify,
) -> Vec<Finding> {
    let arc = &evidence.arc.outcome;
    let spf = &evidence.spf.outcome;
    let forwarder = forwarder::find(&verify.trusted_forwarders, client, spf, dkim);
    let sealer = sealer::find(arc, &verify.trusted_sealers);
    let mut findings = vec![from_check::check(&evidence.author)];
    if let Some(dmarc) = &evidence.dmarc {
        findings.push(dmarc_check::check(&dmarc_check::Facts {
            outcome: &dmarc.outcome,
            signed: dkim.any_pass(),
            forwarder: forwarder.as_deref(),
            sealer: sealer.map(Name::as_str),
            sealer_unknown: sealer::is_unknown(arc, &verify.trusted_sealers),
        }));
    }
    findings.push(spf_check::check(spf, forwarder.as_deref()));
    findings.push(dkim_check::check(dkim));
    findings.push(arc_check::check(arc));
    findings.push(iprev_check::check(&evidence.iprev.outcome));
    findings
}

/// The Authentication-Results field (RFC 8601), CRLF included.
pub(super) fn results(evidence: &Evidence, authserv_id: &str) -> Vec<u8> {
    let mut header = Header::new(authserv_id);
    header.push(Method::from(&evidence.spf.outcome));
    for method in evidence.dkim.outcome.methods() {
        header.push(method);
    }
    header.push(match &evidence.dmarc {
        Some(dmarc) => Method::from(&dmarc.outcome),
        None => Method::new("dmarc", "permerror").with_comment(evidence.author.problem()),
    });
    header.push(Method::from(&evidence.arc.outcome));
    header.push(Method::from(&evidence.iprev.outcome));
    header.to_bytes()
}
