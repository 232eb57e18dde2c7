//! What the checks of a message find, and what the policies make of it.
//!
//! A received message and the lookups begun at MAIL go in; [`gather`] verifies signatures and asks
//! DMARC, [`judge`] gives a [`Judged`] for each check by the enforced and the shadow policies.

use super::dns::{LIMIT, Looked, traced};
use crate::checks::connection::iprev as iprev_check;
use crate::checks::data::{arc as arc_check, dkim as dkim_check, dmarc as dmarc_check};
use crate::checks::data::{forwarder, from as from_check, sealer};
use crate::checks::mail::spf as spf_check;
use crate::checks::{Finding, Judged, verdict};
use crate::snapshot::Runtime;
use crate::telemetry::record::{SpanRecord, Value};
use bytes::Bytes;
use futures::future::{Either, join_all, select};
use postern_config::policy::{LengthTag, Sourced, Verify};
use postern_verify::authentication_results::{Header, Method, Property};
use postern_verify::dkim::{BodyHashes, BodyKey, Options, Signatures};
use postern_verify::from::Author;
use postern_verify::resolve::{Budget, Resolve};
use postern_verify::{Message, Name, arc, dkim, dmarc, from, iprev, spf};
use std::borrow::Cow;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Lookups of one message's DKIM, ARC and DMARC together.
const QUERIES: u32 = 160;
/// Checks of one message take no longer.
const TIME: Duration = Duration::from_secs(60);
/// What only Monitor policies want to know is waited for no longer.
const MONITOR: Duration = Duration::from_secs(1);
/// Bodies above this are hashed off the threads that serve connections.
const LARGE: usize = 256 << 10;

/// All that was found.
pub(super) struct Evidence {
    author: Author,
    spf: Looked<spf::Identities>,
    iprev: Looked<iprev::Outcome>,
    /// As the enforced policy has signatures verified.
    how: How,
    dkim: Looked<dkim::Outcome>,
    arc: Looked<arc::Outcome>,
    dmarc: Option<Looked<dmarc::Outcome>>,
    /// As Monitor policies would have them verified, where that differs.
    monitored: Vec<Monitored>,
}

/// What policy says of the verification of signatures: how many, and whether `l=` counts.
type How = (u32, LengthTag);

/// What another way of verifying signatures comes to, DMARC included.
struct Monitored {
    how: How,
    dkim: dkim::Outcome,
    dmarc: Option<dmarc::Outcome>,
}

/// The enforced policies, and the shadow ones that differ.
pub(super) type Policies<'p> = (&'p Sourced<Verify>, &'p [&'p Sourced<Verify>]);

/// What was found before the message came.
pub(super) struct Before {
    pub(super) spf: Looked<spf::Identities>,
    pub(super) iprev: Looked<iprev::Outcome>,
}

/// Verifies the message.
pub(super) async fn gather(
    runtime: &Runtime,
    raw: &Bytes,
    message: &Message<'_>,
    before: Before,
    (enforced, shadows): Policies<'_>,
) -> Evidence {
    let author = from::author(message);
    let now = super::mail::unix_now();
    let parse = |how| Signatures::parse(message, author.domain(), &options(how, now));
    let signatures = parse(how(&enforced.value));
    let others = other_ways(&enforced.value, shadows);
    let others: Vec<_> = others.into_iter().map(|how| (how, parse(how))).collect();
    let chain = arc::Chain::parse(message);
    let hashed = signatures.body_keys().chain(chain.body_keys());
    let hashed = hashed
        .chain(others.iter().flat_map(|(_, other)| other.body_keys()))
        .collect();
    let hashes = hash(raw, message.body_offset(), hashed).await;
    let work = Work {
        runtime,
        message,
        hashes,
        author: author.domain(),
        spf: &before.spf.outcome.mail_from,
    };
    let ((mut dkim, arc, dmarc), monitored) = work.all(&signatures, &chain, &others).await;
    if dkim.outcome.untried > 0 {
        dkim.span = dkim.span.with(LIMIT, "signatures");
    }
    if monitored.is_none() {
        dkim.span = dkim.span.with(LIMIT, "monitor");
    }
    Evidence {
        how: how(&enforced.value),
        spf: before.spf,
        iprev: before.iprev,
        dkim,
        arc,
        dmarc,
        monitored: monitored.unwrap_or_default(),
        author,
    }
}

/// What the checks of a message work on.
struct Work<'w> {
    runtime: &'w Runtime,
    message: &'w Message<'w>,
    hashes: BodyHashes,
    author: Option<&'w Name>,
    spf: &'w spf::Outcome,
}

/// What the enforced policies act on.
type Acted = (
    Looked<dkim::Outcome>,
    Looked<arc::Outcome>,
    Option<Looked<dmarc::Outcome>>,
);

impl Work<'_> {
    /// What acts and, beside it, what Monitor policies would go by; none if that is late.
    async fn all(
        self,
        signatures: &Signatures,
        chain: &arc::Chain,
        others: &[(How, Signatures)],
    ) -> (Acted, Option<Vec<Monitored>>) {
        let acting = pin!(self.act(signatures, chain));
        let monitoring = pin!(self.monitor(others));
        match select(acting, monitoring).await {
            Either::Left((acted, rest)) => (acted, timeout(MONITOR, rest).await.ok()),
            Either::Right((monitored, rest)) => (rest.await, Some(monitored)),
        }
    }

    async fn act(&self, signatures: &Signatures, chain: &arc::Chain) -> Acted {
        let budget = Budget::new(QUERIES, Instant::now() + TIME);
        let (dns, keys) = (&self.runtime.resolver, &*self.runtime.dkim_keys);
        let arc = traced("check.arc", dns, &budget, async |resolver| {
            let (message, hashes) = (self.message, &self.hashes);
            chain.verify(&resolver, keys, message, hashes).await
        });
        let prefetch = prefetch(self.runtime, self.author);
        let (dkim, arc, ()) = futures::join!(self.dkim(&budget, signatures), arc, prefetch);
        let dmarc = self.dmarc(&budget, &dkim.outcome).await;
        (dkim, arc, dmarc)
    }

    /// What Monitor policies would go by. Their budget is one for all, and none of those that act.
    async fn monitor(&self, others: &[(How, Signatures)]) -> Vec<Monitored> {
        let budget = &Budget::new(QUERIES, Instant::now() + TIME);
        let one = async |how: How, signatures| {
            let dkim = self.dkim(budget, signatures).await.outcome;
            let dmarc = self.dmarc(budget, &dkim).await;
            let dmarc = dmarc.map(|dmarc| dmarc.outcome);
            Monitored { how, dkim, dmarc }
        };
        join_all(others.iter().map(|(how, signatures)| one(*how, signatures))).await
    }

    async fn dkim(&self, budget: &Arc<Budget>, signatures: &Signatures) -> Looked<dkim::Outcome> {
        let keys = &*self.runtime.dkim_keys;
        let verify = async |resolver| {
            let (message, hashes) = (self.message, &self.hashes);
            signatures.verify(&resolver, keys, message, hashes).await
        };
        traced("check.dkim", &self.runtime.resolver, budget, verify).await
    }

    /// None without an author's domain.
    async fn dmarc(
        &self,
        budget: &Arc<Budget>,
        dkim: &dkim::Outcome,
    ) -> Option<Looked<dmarc::Outcome>> {
        let input = dmarc::Input::new(self.author?, Some(self.spf), Some(dkim));
        let evaluate = async |resolver| dmarc::evaluate(&resolver, &input).await;
        let resolver = &self.runtime.resolver;
        let mut looked = traced("check.dmarc", resolver, budget, evaluate).await;
        if looked.outcome.queries == dmarc::MAX_QUERIES {
            looked.span = looked.span.with(LIMIT, "dns");
        }
        Some(looked)
    }
}

impl Evidence {
    /// What the enforced policies act on.
    fn acting(&self) -> (&dkim::Outcome, Option<&dmarc::Outcome>) {
        let dmarc = self.dmarc.as_ref().map(|looked| &looked.outcome);
        (&self.dkim.outcome, dmarc)
    }

    /// What a Monitor policy would go by; none if that was not known in time.
    fn monitored(&self, verify: &Verify) -> Option<(&dkim::Outcome, Option<&dmarc::Outcome>)> {
        if how(verify) == self.how {
            return Some(self.acting());
        }
        let found = self.monitored.iter().find(|one| one.how == how(verify));
        found.map(|one| (&one.dkim, one.dmarc.as_ref()))
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

fn how(verify: &Verify) -> How {
    (verify.dkim.max_signatures, verify.dkim.length_tag)
}

/// How shadow policies would have signatures verified, if not as the enforced one has it.
fn other_ways(enforced: &Verify, shadows: &[&Sourced<Verify>]) -> Vec<How> {
    let mut ways = Vec::new();
    for way in shadows.iter().map(|shadow| how(&shadow.value)) {
        if way != how(enforced) && !ways.contains(&way) {
            ways.push(way);
        }
    }
    ways
}

fn options((max_signatures, length_tag): How, now: u64) -> Options {
    Options {
        max_signatures: max_signatures as usize,
        length_tag: match length_tag {
            LengthTag::Ignore => dkim::LengthTag::Ignore,
            LengthTag::Count => dkim::LengthTag::Count,
        },
        now,
    }
}

/// What the policies make of it, the check that decides among equals first; with each check's
/// span. `overruled` is what [`overruled`] says.
pub(super) fn judge(
    evidence: &Evidence,
    client: IpAddr,
    (enforced, shadows): Policies<'_>,
    overruled: Option<&str>,
) -> Vec<(Judged, Option<SpanRecord>)> {
    let ours = findings(evidence, client, &enforced.value, evidence.acting());
    let mut theirs: Vec<_> = shadows
        .iter()
        .filter_map(|section| {
            let seen = evidence.monitored(&section.value)?;
            let found = findings(evidence, client, &section.value, seen);
            Some((found.into_iter(), *section))
        })
        .collect();
    let spans = spans(evidence);
    let judged = ours.into_iter().map(|finding| {
        let theirs = theirs.iter_mut();
        let theirs = theirs.filter_map(|(found, section)| Some((found.next()?, *section)));
        verdict::verify((finding, enforced), theirs)
    });
    judged
        .map(|judged| {
            let span = spans
                .iter()
                .find(|(check, _)| *check == judged.finding.check);
            let mut span = span.map(|(_, span)| (*span).clone());
            if judged.finding.check == dmarc_check::CHECK
                && let Some(who) = overruled
            {
                span = span.map(|span| span.with("postern.dmarc.override", who.to_owned()));
            }
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

/// The checks that reached a limit, and which.
pub(super) fn limits(evidence: &Evidence) -> Vec<(&'static str, &'static str)> {
    let mut limits = Vec::new();
    for (check, span) in spans(evidence) {
        for (name, value) in &span.attributes {
            if let (&LIMIT, Value::Text(Cow::Borrowed(limit))) = (name, value) {
                limits.push((check, *limit));
            }
        }
    }
    limits
}

/// What is found under a policy, check by check, always in the same order.
fn findings(
    evidence: &Evidence,
    client: IpAddr,
    verify: &Verify,
    (dkim, dmarc): (&dkim::Outcome, Option<&dmarc::Outcome>),
) -> Vec<Finding> {
    let spf = &evidence.spf.outcome.mail_from;
    let forwarder = forwarder::find(&verify.trusted_forwarders, client, spf, dkim);
    let mut findings = vec![from_check::check(&evidence.author)];
    if let Some(dmarc) = dmarc {
        let facts = dmarc_facts(evidence, (dkim, dmarc), forwarder.as_deref(), verify);
        findings.push(dmarc_check::check(&facts));
    }
    findings.push(spf_check::check(spf, forwarder.as_deref()));
    findings.push(dkim_check::check(dkim));
    findings.push(arc_check::check(&evidence.arc.outcome));
    findings.push(iprev_check::check(&evidence.iprev.outcome));
    findings
}

fn dmarc_facts<'a>(
    evidence: &'a Evidence,
    (dkim, dmarc): (&dkim::Outcome, &'a dmarc::Outcome),
    forwarder: Option<&'a str>,
    verify: &Verify,
) -> dmarc_check::Facts<'a> {
    let arc = &evidence.arc.outcome;
    dmarc_check::Facts {
        outcome: dmarc,
        signed: dkim.any_pass(),
        forwarder,
        sealer: sealer::find(arc, &verify.trusted_sealers).map(Name::as_str),
        sealer_unknown: sealer::is_unknown(arc, &verify.trusted_sealers),
    }
}

/// Who overrules what the author's domain asks for, by the enforced policy.
pub(super) fn overruled(evidence: &Evidence, client: IpAddr, enforced: &Verify) -> Option<String> {
    let (dkim, dmarc) = evidence.acting();
    let spf = &evidence.spf.outcome.mail_from;
    let forwarder = forwarder::find(&enforced.trusted_forwarders, client, spf, dkim);
    let facts = dmarc_facts(evidence, (dkim, dmarc?), forwarder.as_deref(), enforced);
    dmarc_check::overruled(&facts)
}

/// Why SPF fails, in the words of the domain that was checked (RFC 7208 §6.2).
pub(super) fn explanation(evidence: &Evidence) -> Option<(&Name, &str)> {
    let spf = &evidence.spf.outcome.mail_from;
    spf.domain.as_ref().zip(spf.explanation.as_deref())
}

/// The Authentication-Results field (RFC 8601), CRLF included. `overruled` says who overrules the
/// author's domain. `hide`: without a word on where the client is (`receivedClient: Hide`).
pub(super) fn results(
    evidence: &Evidence,
    authserv_id: &str,
    overruled: Option<&str>,
    hide: bool,
) -> Vec<u8> {
    let placed = |method| if hide { without_place(method) } else { method };
    let mut header = Header::new(authserv_id);
    // RFC 8601 §2.7.2: one result for each identity.
    header.push(placed(Method::from(&evidence.spf.outcome.mail_from)));
    header.push(placed(Method::from(&evidence.spf.outcome.helo)));
    for method in evidence.dkim.outcome.methods() {
        header.push(method);
    }
    header.push(match &evidence.dmarc {
        Some(dmarc) => {
            let reason = overruled.map(|who| format!("overruled: {who}"));
            Method::from(&dmarc.outcome).with_reason(reason)
        }
        None => Method::new("dmarc", "permerror").with_comment(evidence.author.problem()),
    });
    header.push(Method::from(&evidence.arc.outcome));
    header.push(placed(Method::from(&evidence.iprev.outcome)));
    header.to_bytes()
}

/// The result alone, and what it was about if that is no address of a host. Comments name the
/// client, or the mechanism that its address matches.
fn without_place(mut method: Method) -> Method {
    method.comment = None;
    method.reason = None;
    let tells = |property: &Property| property.ptype == "policy" || property.value.contains('[');
    method.properties.retain(|property| !tells(property));
    method
}
