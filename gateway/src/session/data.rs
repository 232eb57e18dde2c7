//! Stage data: the message is received, verified, judged, given its header fields and delivered.
//!
//! Octets come in as they are received, taken from the pod's budget; at the end the reply of the
//! backend, or ours, goes out. There is no 250 that the backend did not give.

use super::ahead::Ahead;
use super::dns::Looked;
use super::evidence::{self, Before, Evidence};
use super::log::count;
use super::transaction::Transaction;
use super::{Connection, header};
use crate::checks::{Concern, Reason, Verdict};
use crate::delivery::{self, BackendReply, Progress};
use crate::reply::{self, Stop};
use crate::server::sessions::Phase;
use crate::snapshot::Routed;
use crate::telemetry::metrics::{LimitLabels, RefusalLabels};
use crate::telemetry::record::{Disposition, SpanIds};
use crate::telemetry::sampling;
use bytes::Bytes;
use postern_config::listener::ReceivedClient;
use postern_smtp::reply::Refusal;
use postern_smtp::server::{self as smtp, Framing};
use postern_verify::{Message, iprev};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Checks and delivery, from the end of data (docs/flow.md, 5. data): RFC 5321 §4.5.3.2.6 has
/// the client wait ten minutes for the reply, but not all do.
const FINISH: Duration = Duration::from_mins(4);
/// Room that is made at once for a message whose size MAIL declared.
const RESERVE: u64 = 1 << 20;
/// Octets of Message-ID that telemetry keeps.
const MESSAGE_ID: usize = 250;

impl Connection {
    /// DATA or the first BDAT.
    pub(super) fn on_data(&mut self) {
        let Some(transaction) = &mut self.transaction else {
            return;
        };
        if let Some(found) = transaction.rule() {
            let data = &found.rule.enforced.data;
            let limit = Duration::from_millis(data.timeouts.value.data_ms);
            self.clock.data(limit, data.limits.value.min_data_rate);
        }
        let declared = transaction.envelope.size.unwrap_or(0).min(RESERVE);
        transaction
            .message
            .reserve(usize::try_from(declared).unwrap_or(0));
        self.smtp.data(Ok(()));
    }

    /// Octets of the message.
    pub(super) fn on_body(&mut self, octets: &Bytes) {
        let Some(transaction) = &mut self.transaction else {
            return;
        };
        let stop = match transaction.take(octets) {
            Ok(()) => return,
            Err(stop) => stop,
        };
        transaction.forget_message();
        if stop == Stop::Memory {
            let labels = RefusalLabels {
                listener: self.listener.config.name.clone(),
                reason: "memory",
            };
            self.shared.metrics.refused.get_or_create(&labels).inc();
        }
        self.smtp.refuse_data(reply::stop(&stop));
    }

    /// The message is complete.
    pub(super) async fn on_message(&mut self, _: Framing) {
        let Some(mut transaction) = self.transaction.take() else {
            return;
        };
        let raw = transaction.message.split().freeze();
        transaction.log.size = raw.len() as u64;
        self.shared.metrics.message_bytes.observe(raw.len() as f64);
        let answer = self.finish_message(&mut transaction, raw).await;
        let answer = match answer {
            Ok(accepted) => {
                let text = accepted.text.clone();
                let enhanced = accepted.enhanced.unwrap_or((2, 0, 0));
                let enhanced = format!("{}.{}.{}", enhanced.0, enhanced.1, enhanced.2);
                let reply = (accepted.code, enhanced, accepted.text);
                transaction.log.outcome = Some((Disposition::Accepted, reply));
                Ok(smtp::Accepted { text })
            }
            Err(refusal) => {
                transaction.log.refuse(&refusal);
                Err(refusal)
            }
        };
        transaction.forget_message();
        transaction.finish(&self.shared, &self.log.facts);
        self.smtp.message(answer);
    }

    /// Checks and delivery, within their time and the pod's life.
    async fn finish_message(
        &mut self,
        transaction: &mut Transaction,
        raw: Bytes,
    ) -> Result<BackendReply, Refusal> {
        let deadline = Instant::now() + FINISH;
        let progress = Progress::default();
        let mut iprev = self.iprev.take();
        let checked = tokio::select! {
            checked = timeout_at(deadline, self.check(transaction, &mut iprev, &raw)) => {
                checked.unwrap_or_else(|_| Err(reply::stop(&Stop::Slow)))
            }
            () = self.seat.reached(Phase::Deadline) => Err(reply::stop(&Stop::ShuttingDown)),
        };
        self.iprev = iprev;
        let message = checked?;
        let Some(key) = &transaction.key else {
            return Err(reply::stop(&Stop::NoRule));
        };
        let work = self
            .leg
            .deliver(&key.destination, &message, deadline, &progress);
        let mut work = std::pin::pin!(work);
        let mut phase = Phase::Deadline;
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut work => break outcome,
                () = self.seat.reached(phase) => {
                    // What the backend may have taken is waited for until the grace ends.
                    if phase == Phase::Over || !progress.dot_written() {
                        return Err(reply::stop(&Stop::ShuttingDown));
                    }
                    phase = Phase::Over;
                }
            }
        };
        transaction.log.span(outcome.record.span());
        outcome.result
    }

    /// Verifies and judges the message, and makes of it what the backend gets.
    async fn check(
        &self,
        transaction: &mut Transaction,
        iprev: &mut Option<Ahead<Looked<iprev::Outcome>>>,
        raw: &Bytes,
    ) -> Result<delivery::Message, Refusal> {
        let message =
            Message::parse(raw).map_err(|error| reply::stop(&Stop::Header(error.to_string())))?;
        let runtime = transaction.runtime.clone();
        let key = transaction.key.as_ref().map(|key| key.rule);
        let found = key.and_then(|rule| runtime.rule(rule));
        let Some(found) = found else {
            return Err(reply::stop(&Stop::NoRule));
        };
        let limit = found.rule.enforced.data.limits.value.received_headers;
        // RFC 5321 §6.3.
        if message.received_count() > limit as usize {
            return Err(reply::stop(&Stop::Loop(limit)));
        }
        let came = (raw.len(), message.received_count());
        transaction.monitor_limits(&self.shared.metrics, came);
        transaction.log.message_id = message_id(&message);
        let client = self.client_ip();
        let trusted = &found
            .rule
            .enforced
            .data
            .verify
            .value
            .trusted_forwarders
            .networks;
        if trusted.iter().any(|network| network.contains(&client))
            && let Some(parent) = header::remote_parent(&message)
        {
            transaction.log.continue_trace(parent);
        }
        let before = before(transaction, iprev).await?;
        let verify = &found.rule.enforced.data.verify;
        let shadows = transaction.shadows(&runtime, verify);
        let policies = (verify, shadows.as_slice());
        let evidence = evidence::gather(&runtime, raw, &message, before, policies).await;
        for (check, limit) in evidence::limits(&evidence) {
            let labels = LimitLabels { check, limit };
            self.shared
                .metrics
                .check_limits
                .get_or_create(&labels)
                .inc();
        }
        let who = evidence::overruled(&evidence, client, &policies.0.value);
        let tags = self.judge(transaction, &evidence, policies, who.as_deref())?;
        let hide = self.listener.config.received_client == ReceivedClient::Hide;
        let id = &runtime.config.authserv_id;
        let results = evidence::results(&evidence, id, who.as_deref(), hide);
        Ok(delivery::Message {
            envelope: transaction.envelope.clone(),
            recipients: transaction.recipients.clone(),
            prepended: self.prepended(transaction, &found, Bytes::from(results), &tags),
            received: header::stripped(raw, &message, &runtime.config.authserv_id),
        })
    }

    /// The verdict over all checks: the tags, or the refusal.
    fn judge(
        &self,
        transaction: &mut Transaction,
        evidence: &Evidence,
        policies: evidence::Policies<'_>,
        overruled: Option<&str>,
    ) -> Result<Vec<Reason>, Refusal> {
        let mut worst = Verdict::Accept;
        let mut tags = Vec::new();
        for (judged, span) in evidence::judge(evidence, self.client_ip(), policies, overruled) {
            count(&self.shared.metrics, &judged);
            transaction.log.check(&judged, span);
            if let Verdict::Tag(reason) = &judged.verdict {
                tags.push(reason.clone());
            }
            worst = worst.worse(judged.verdict);
        }
        match &worst {
            Verdict::Accept | Verdict::Tag(_) => Ok(tags),
            Verdict::Defer(reason) => Err(reply::deferred(reason)),
            Verdict::Reject(reason) => Err(match evidence::explanation(evidence) {
                Some((domain, words)) if reason.concern == Concern::SpfFail => {
                    reply::explained(reason, domain.as_str(), words)
                }
                _ => reply::rejected(reason),
            }),
        }
    }

    /// Our header fields, from the top.
    fn prepended(
        &self,
        transaction: &Transaction,
        found: &Routed<'_>,
        results: Bytes,
        tags: &[Reason],
    ) -> Vec<Bytes> {
        let mut fields = vec![results, header::received(self, transaction)];
        fields.extend(tags.iter().map(header::verdict));
        let marks = &found.rule.enforced.data.mark.value.headers;
        fields.extend(marks.iter().map(|(name, value)| header::mark(name, value)));
        let wants = |key: &super::transaction::Key| key.destination.backend().wants_traceparent();
        if transaction.key.as_ref().is_some_and(wants) {
            let ids: SpanIds = transaction.log.ids;
            let traces = transaction.runtime.config.telemetry.traces.as_ref();
            let sampled = match &transaction.log.remote_parent {
                Some(parent) => parent.sampled,
                None => traces.is_some_and(|t| sampling::in_ratio(ids.trace_id, t.sample_ratio)),
            };
            fields.push(header::traceparent(ids, sampled));
        }
        fields
    }
}

impl Transaction {
    /// The rule of the first accepted recipient.
    pub(super) fn rule(&self) -> Option<Routed<'_>> {
        self.runtime.rule(self.key.as_ref()?.rule)
    }

    /// Takes octets of the message, within the rule's size and the pod's memory.
    fn take(&mut self, octets: &Bytes) -> Result<(), Stop> {
        let sum = (self.message.len() + octets.len()) as u64;
        let limit = self
            .rule()
            .map(|found| found.rule.enforced.data.limits.value.message_size);
        if limit.is_some_and(|limit| sum > limit) {
            return Err(Stop::TooLarge);
        }
        if !self.share.take(octets.len() as u64) {
            return Err(Stop::Memory);
        }
        self.message.extend_from_slice(octets);
        Ok(())
    }
}

/// SPF and iprev, begun at MAIL.
async fn before(
    transaction: &mut Transaction,
    iprev: &mut Option<Ahead<Looked<iprev::Outcome>>>,
) -> Result<Before, Refusal> {
    let spf = match &mut transaction.spf {
        Some(spf) => spf.result().await.cloned(),
        None => None,
    };
    let iprev = match iprev {
        Some(iprev) => iprev.result().await.cloned(),
        None => None,
    };
    match (spf, iprev) {
        (Some(spf), Some(iprev)) => Ok(Before { spf, iprev }),
        // A check without a result is a fault of ours; it must not become a pass.
        (None, _) | (_, None) => Err(reply::stop(&Stop::Fault)),
    }
}

fn message_id(message: &Message<'_>) -> Option<String> {
    let field = message.fields_named("Message-ID").next()?;
    let text = std::str::from_utf8(field.text()).ok()?.trim();
    (text.len() <= MESSAGE_ID).then(|| text.to_owned())
}
