//! One transaction from MAIL to its end, with the snapshot that it began with.

use super::ahead::Ahead;
use super::dns::Looked;
use crate::checks::Judged;
use crate::delivery::{Choices, Destination, DestinationKey, Envelope};
use crate::server::Shared;
use crate::server::budget::Share;
use crate::snapshot::{ListenerRuntime, Runtime};
use crate::telemetry::metrics::TransactionLabels;
use crate::telemetry::record::{
    CheckRecord, Disposition, Kind, RemoteParent, SessionFacts, SpanIds, SpanRecord,
    TransactionRecord,
};
use bytes::BytesMut;
use postern_smtp::address::{Mailbox, ReversePath};
use postern_smtp::reply::Refusal;
use postern_verify::spf;
use std::sync::Arc;
use std::time::SystemTime;

/// Refused recipients that a record lists.
const REFUSED: usize = 100;

/// A transaction.
pub(super) struct Transaction {
    /// The snapshot that it began with.
    pub(super) runtime: Arc<Runtime>,
    /// The listener in that snapshot.
    pub(super) listener: Arc<ListenerRuntime>,
    /// MAIL.
    pub(super) envelope: Envelope,
    /// SPF, under way since MAIL.
    pub(super) spf: Option<Ahead<Looked<spf::Identities>>>,
    /// Accepted recipients.
    pub(super) recipients: Vec<Mailbox>,
    /// How many of them Monitor policies would have let through.
    pub(super) monitored: u64,
    /// Their rules, each once. What they enforce on the message is the same, what their Monitor
    /// policies would may differ.
    pub(super) rules: Vec<(usize, usize)>,
    /// Which backend each rule got.
    pub(super) choices: Choices,
    /// Set by the first accepted recipient.
    pub(super) key: Option<Key>,
    /// The message as far as it came.
    pub(super) message: BytesMut,
    /// Its part of the pod's memory.
    pub(super) share: Share,
    /// What telemetry will be told.
    pub(super) log: TransactionLog,
}

/// What recipients of one transaction have in common (docs/flow.md, 4. rcpt).
pub(super) struct Key {
    /// The backend.
    pub(super) destination: Destination,
    /// The backend as it is compared.
    pub(super) backend: DestinationKey,
    /// Number of the data-stage policy.
    pub(super) data_policy: usize,
    /// The first recipient's rule.
    pub(super) rule: (usize, usize),
}

/// A transaction's record in the making.
pub(super) struct TransactionLog {
    /// Its span's identifiers.
    pub(super) ids: SpanIds,
    /// A trusted Traceparent.
    pub(super) remote_parent: Option<RemoteParent>,
    /// Message-ID.
    pub(super) message_id: Option<String>,
    /// Octets of the message as received.
    pub(super) size: u64,
    /// How it ended, when a reply has ended it.
    pub(super) outcome: Option<(Disposition, (u16, String, String))>,
    span: SpanRecord,
    checks: Vec<CheckRecord>,
    refused: Vec<(String, u16, String)>,
    last_refusal: Option<Refusal>,
}

impl Transaction {
    /// Begins at MAIL.
    pub(super) fn new(
        runtime: Arc<Runtime>,
        listener: Arc<ListenerRuntime>,
        envelope: Envelope,
        share: Share,
        session: &SessionFacts,
    ) -> Self {
        Self {
            runtime,
            listener,
            envelope,
            spf: None,
            recipients: Vec::new(),
            monitored: 0,
            rules: Vec::new(),
            choices: Choices::default(),
            key: None,
            message: BytesMut::new(),
            share,
            log: TransactionLog::new(session.ids.child()),
        }
    }

    /// The message is dropped and its memory given back: nothing will be done with it.
    pub(super) fn forget_message(&mut self) {
        self.message = BytesMut::new();
        self.share.clear();
    }

    /// The transaction is over: its record goes out.
    pub(super) fn finish(self, shared: &Shared, session: &SessionFacts) {
        let route = self
            .key
            .as_ref()
            .and_then(|key| self.runtime.rule(key.rule))
            .map(|found| {
                format!(
                    "{}/{}/{}",
                    found.route.namespace, found.route.name, found.rule.name
                )
            });
        let backend = self
            .key
            .as_ref()
            .map(|key| key.destination.backend().display().to_owned());
        let ended = Ended {
            session: session.clone(),
            reverse_path: path(&self.envelope.reverse_path),
            recipients: self.recipients.iter().map(ToString::to_string).collect(),
            route,
            backend,
            snapshot: self.runtime.hash.to_string(),
        };
        self.log.finish(ended, shared);
    }
}

/// The reverse-path for telemetry: `<>` when null, else without angle brackets.
pub(super) fn path(reverse_path: &ReversePath) -> String {
    match reverse_path {
        ReversePath::Null => "<>".to_owned(),
        ReversePath::Mailbox(mailbox) => mailbox.to_string(),
    }
}

/// What is known besides the log when a transaction ends.
pub(super) struct Ended {
    session: SessionFacts,
    reverse_path: String,
    recipients: Vec<String>,
    route: Option<String>,
    backend: Option<String>,
    snapshot: String,
}

impl Ended {
    /// A transaction that MAIL did not begin: it was refused.
    pub(super) fn at_mail(session: &SessionFacts, reverse_path: String, snapshot: String) -> Self {
        Self {
            session: session.clone(),
            reverse_path,
            recipients: Vec::new(),
            route: None,
            backend: None,
            snapshot,
        }
    }
}

impl TransactionLog {
    /// Begins now.
    pub(super) fn new(ids: SpanIds) -> Self {
        Self {
            ids,
            remote_parent: None,
            message_id: None,
            size: 0,
            outcome: None,
            span: SpanRecord::started("smtp.transaction", Kind::Internal, SystemTime::now()),
            checks: Vec::new(),
            refused: Vec::new(),
            last_refusal: None,
        }
    }

    /// A trusted sender's trace goes on: the transaction's span is a child in it.
    pub(super) fn continue_trace(&mut self, parent: RemoteParent) {
        self.ids.trace_id = parent.ids.trace_id;
        self.remote_parent = Some(parent);
    }

    /// A check's verdict, and its span when it has one.
    pub(super) fn check(&mut self, judged: &Judged, span: Option<SpanRecord>) {
        self.checks.push(judged.record());
        let Some(mut span) = span else { return };
        span = span
            .with("postern.check.result", judged.finding.result)
            .with("postern.check.action", judged.verdict.as_str());
        if let Some(shadow) = judged.shadows.first() {
            span = span.with("postern.check.shadow", shadow.as_str());
        }
        self.span.children.push(span);
    }

    /// A check without a span.
    pub(super) fn checked(&mut self, check: CheckRecord) {
        self.checks.push(check);
    }

    /// Whether the check is on record.
    pub(super) fn has_check(&self, check: &str) -> bool {
        self.checks.iter().any(|record| record.check == check)
    }

    /// A piece of work that is no check.
    pub(super) fn span(&mut self, span: SpanRecord) {
        self.span.children.push(span);
    }

    /// A recipient was refused.
    pub(super) fn refused(&mut self, recipient: &str, refusal: &Refusal) {
        if self.refused.len() < REFUSED {
            let text = refusal.text().to_owned();
            self.refused
                .push((recipient.to_owned(), refusal.code(), text));
        }
        self.last_refusal = Some(refusal.clone());
    }

    /// A refusal ended the transaction.
    pub(super) fn refuse(&mut self, refusal: &Refusal) {
        let disposition = match refusal {
            Refusal::Permanent(_) => Disposition::Rejected,
            Refusal::Transient(_) => Disposition::Deferred,
        };
        self.outcome = Some((disposition, reply(refusal)));
    }

    /// The record goes out, and is counted.
    pub(super) fn finish(self, ended: Ended, shared: &Shared) {
        let record = self.record(ended);
        let labels = TransactionLabels {
            listener: record.session.listener.clone(),
            disposition: record.disposition.as_str(),
        };
        shared.metrics.transactions.get_or_create(&labels).inc();
        let took = record
            .span
            .end
            .duration_since(record.span.start)
            .unwrap_or_default();
        shared
            .metrics
            .transaction_seconds
            .observe(took.as_secs_f64());
        shared.sink.transaction(record);
    }

    fn record(mut self, ended: Ended) -> TransactionRecord {
        // All recipients refused and no more said: that is how it ended.
        if self.outcome.is_none()
            && ended.recipients.is_empty()
            && let Some(last) = self.last_refusal.take()
        {
            self.refuse(&last);
        }
        let (disposition, reply) = match self.outcome {
            Some((disposition, reply)) => (disposition, Some(reply)),
            None => (Disposition::Abandoned, None),
        };
        TransactionRecord {
            session: ended.session,
            ids: self.ids,
            remote_parent: self.remote_parent,
            span: self.span.ended(SystemTime::now()),
            disposition,
            reply,
            reverse_path: ended.reverse_path,
            recipients: ended.recipients,
            refused: self.refused,
            size: self.size,
            message_id: self.message_id,
            checks: self.checks,
            route: ended.route,
            backend: ended.backend,
            snapshot: ended.snapshot,
        }
    }
}

fn reply(refusal: &Refusal) -> (u16, String, String) {
    let (class, subject, detail) = refusal.enhanced();
    (
        refusal.code(),
        format!("{class}.{subject}.{detail}"),
        refusal.text().to_owned(),
    )
}
