//! Records to OpenTelemetry spans.
//!
//! A finished [`TransactionRecord`] or [`SessionRecord`] goes in, `SpanData` with the recorded
//! times comes out. Spans are built by hand instead of through a tracer, because their
//! identifiers were given out while the transaction ran (a `Traceparent` to the backend, the
//! access log) and their times lie in the past.

use super::record::{Kind, SessionRecord, SpanIds, SpanRecord, TransactionRecord, Value};
use super::redact;
use opentelemetry::trace::{
    Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use postern_config::telemetry::Recipients;

/// The spans of a transaction: `smtp.transaction` and all below it.
#[must_use]
pub fn of_transaction(record: &TransactionRecord, recipients: Recipients) -> Vec<SpanData> {
    let mut spans = Vec::with_capacity(16);
    let (parent, remote) = match &record.remote_parent {
        Some(parent) => (parent.ids.span_id, true),
        None => (record.session.ids.span_id, false),
    };
    push(&mut spans, &record.span, record.ids, parent);
    if let Some(root) = spans.first_mut() {
        root.parent_span_is_remote = remote;
        root.attributes
            .extend(transaction_attributes(record, recipients));
        if remote {
            root.links
                .links
                .push(Link::with_context(context(record.session.ids, false)));
        }
    }
    spans
}

/// The span of a session.
#[must_use]
pub fn of_session(record: &SessionRecord) -> Vec<SpanData> {
    let mut spans = Vec::with_capacity(4);
    push(&mut spans, &record.span, record.facts.ids, 0);
    if let Some(root) = spans.first_mut() {
        root.attributes.extend(session_attributes(record));
    }
    spans
}

fn push(spans: &mut Vec<SpanData>, record: &SpanRecord, ids: SpanIds, parent: u64) {
    spans.push(span(record, ids, parent));
    for child in &record.children {
        push(spans, child, ids.child(), ids.span_id);
    }
}

fn span(record: &SpanRecord, ids: SpanIds, parent: u64) -> SpanData {
    SpanData {
        span_context: context(ids, false),
        parent_span_id: SpanId::from_bytes(parent.to_be_bytes()),
        parent_span_is_remote: false,
        span_kind: match record.kind {
            Kind::Server => SpanKind::Server,
            Kind::Internal => SpanKind::Internal,
            Kind::Client => SpanKind::Client,
        },
        name: record.name.into(),
        start_time: record.start,
        end_time: record.end.max(record.start),
        attributes: record
            .attributes
            .iter()
            .map(|(name, value)| key_value(name, value))
            .collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: record
            .error
            .as_ref()
            .map_or(Status::Unset, |error| Status::error(error.to_string())),
        instrumentation_scope: scope(),
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("postern")
        .with_version(env!("CARGO_PKG_VERSION"))
        .build()
}

fn context(ids: SpanIds, remote: bool) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(ids.trace_id.to_be_bytes()),
        SpanId::from_bytes(ids.span_id.to_be_bytes()),
        TraceFlags::SAMPLED,
        remote,
        TraceState::default(),
    )
}

fn key_value(name: &'static str, value: &Value) -> KeyValue {
    match value {
        Value::Text(text) => KeyValue::new(name, text.to_string()),
        Value::Int(number) => KeyValue::new(name, *number),
        Value::Bool(truth) => KeyValue::new(name, *truth),
    }
}

fn strings<'a>(list: impl IntoIterator<Item = &'a str>) -> opentelemetry::Value {
    let list: Vec<StringValue> = list
        .into_iter()
        .map(|text| StringValue::from(text.to_owned()))
        .collect();
    opentelemetry::Value::Array(Array::String(list))
}

/// What only the whole record knows, and all that names a person.
fn transaction_attributes(record: &TransactionRecord, recipients: Recipients) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("postern.disposition", record.disposition.as_str()),
        KeyValue::new("postern.listener", record.session.listener.clone()),
        KeyValue::new("postern.snapshot", record.snapshot.clone()),
        KeyValue::new(
            "client.address",
            record.session.client.ip().to_canonical().to_string(),
        ),
        KeyValue::new(
            "smtp.message.size",
            i64::try_from(record.size).unwrap_or(i64::MAX),
        ),
        KeyValue::new(
            "smtp.recipients.accepted",
            i64::try_from(record.recipients.len()).unwrap_or(i64::MAX),
        ),
    ];
    if let Some((code, enhanced, _)) = &record.reply {
        attributes.push(KeyValue::new("smtp.reply.code", i64::from(*code)));
        attributes.push(KeyValue::new("smtp.reply.enhanced_code", enhanced.clone()));
    }
    let optional = [
        ("postern.route", &record.route),
        ("postern.backend", &record.backend),
        ("email.message_id", &record.message_id),
    ];
    for (name, value) in optional {
        attributes.extend(value.as_ref().map(|text| KeyValue::new(name, text.clone())));
    }
    if let Some(sender) = redact::address(&record.reverse_path, recipients) {
        attributes.push(KeyValue::new("smtp.reverse_path", sender.to_owned()));
    }
    let shown = redact::addresses(record.recipients.iter().map(String::as_str), recipients);
    if !shown.is_empty() {
        attributes.push(KeyValue::new("smtp.forward_paths", strings(shown)));
    }
    for check in &record.checks {
        let name = format!("postern.verdict.{}", check.check);
        attributes.push(KeyValue::new(name, check.result.to_string()));
        if let Some(shadow) = check.shadow {
            attributes.push(KeyValue::new(
                format!("postern.shadow.{}", check.check),
                shadow,
            ));
        }
    }
    attributes
}

fn session_attributes(record: &SessionRecord) -> Vec<KeyValue> {
    let facts = &record.facts;
    let mut attributes = vec![
        KeyValue::new("postern.listener", facts.listener.clone()),
        KeyValue::new(
            "client.address",
            facts.client.ip().to_canonical().to_string(),
        ),
        KeyValue::new("client.port", i64::from(facts.client.port())),
        KeyValue::new("network.transport", "tcp"),
        KeyValue::new("network.protocol.name", "smtp"),
        KeyValue::new("smtp.transactions", i64::from(record.transactions)),
    ];
    if let Some(helo) = &facts.helo {
        attributes.push(KeyValue::new("smtp.helo", helo.clone()));
    }
    if let Some((version, cipher)) = &facts.tls {
        attributes.push(KeyValue::new("tls.protocol.name", "tls"));
        attributes.push(KeyValue::new(
            "tls.protocol.version",
            version.trim_start_matches("TLSv").to_owned(),
        ));
        attributes.push(KeyValue::new("tls.cipher", cipher.clone()));
    }
    attributes
}
