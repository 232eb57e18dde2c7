//! The access log: one JSON line for each transaction, with its trace id.
//!
//! Lines go through a bounded queue to one thread that writes them; when the reader of our output
//! is too slow, lines are dropped and counted, and no mail waits for a log.

use super::record::{CheckRecord, TransactionRecord};
use super::redact;
use postern_config::telemetry::Recipients;
use serde::Serialize;
use std::borrow::Cow;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

/// Lines that may wait.
const QUEUE: usize = 4096;

/// The way to the writing thread. Dropping it ends the thread once all lines are written.
#[derive(Debug)]
pub struct AccessLog {
    lines: SyncSender<String>,
    dropped: Arc<AtomicU64>,
}

impl AccessLog {
    /// Starts the thread that writes to `out`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(mut out: impl Write + Send + 'static) -> std::io::Result<Self> {
        let (lines, queue) = sync_channel::<String>(QUEUE);
        std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || {
                while let Ok(line) = queue.recv() {
                    // A closed output (`| head`) ends the log, not the gateway.
                    if out
                        .write_all(line.as_bytes())
                        .and_then(|()| out.flush())
                        .is_err()
                    {
                        return;
                    }
                }
            })?;
        Ok(Self {
            lines,
            dropped: Arc::new(AtomicU64::new(0)),
        })
    }

    /// Queues the line of one transaction, or drops it when the queue is full.
    pub fn write(&self, record: &TransactionRecord, recipients: Recipients) {
        if self.lines.try_send(line(record, recipients)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines that were dropped so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// The fields of a line, in their order. docs/telemetry.md describes each.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    trace_id: String,
    span_id: String,
    pod: &'a str,
    listener: &'a str,
    client: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    helo: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    to: Vec<&'a str>,
    recipients: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused: Vec<Refused<'a>>,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a str>,
    disposition: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<String>,
    checks: Vec<Check<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<&'a str>,
    duration_ms: u64,
    snapshot: &'a str,
}

#[derive(Serialize)]
struct Refused<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a str>,
    code: u16,
    text: Cow<'a, str>,
}

#[derive(Serialize)]
struct Check<'a> {
    check: &'static str,
    result: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow: Option<&'static str>,
}

impl<'a> From<&'a CheckRecord> for Check<'a> {
    fn from(record: &'a CheckRecord) -> Self {
        Self {
            check: record.check,
            result: &record.result,
            detail: &record.detail,
            action: record.action,
            policy: record.policy.as_deref(),
            shadow: record.shadow,
        }
    }
}

fn line(record: &TransactionRecord, setting: Recipients) -> String {
    let session = &record.session;
    let took = record
        .span
        .end
        .duration_since(record.span.start)
        .unwrap_or_default();
    let line = Line {
        time: rfc3339(record.span.end),
        trace_id: format!("{:032x}", record.ids.trace_id),
        span_id: format!("{:016x}", record.ids.span_id),
        pod: pod_name(),
        listener: &session.listener,
        client: session.client.ip().to_canonical().to_string(),
        helo: session.helo.as_deref(),
        tls: session.tls.as_ref().map(|(version, _)| version.as_str()),
        from: redact::address(&record.reverse_path, setting),
        to: redact::addresses(record.recipients.iter().map(String::as_str), setting),
        recipients: record.recipients.len(),
        refused: record
            .refused
            .iter()
            .map(|(to, code, text)| Refused {
                to: redact::address(to, setting),
                code: *code,
                text: redact::text(text, setting),
            })
            .collect(),
        size: record.size,
        message_id: record.message_id.as_deref(),
        disposition: record.disposition.as_str(),
        reply: record.reply.as_ref().map(|(code, enhanced, text)| {
            // RFC 2034 §4: no enhanced code on 354 and the like.
            let gap = if enhanced.is_empty() { "" } else { " " };
            format!("{code} {enhanced}{gap}{}", redact::text(text, setting))
        }),
        checks: record.checks.iter().map(Check::from).collect(),
        route: record.route.as_deref(),
        backend: record.backend.as_deref(),
        duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        snapshot: postern_config::chunks::short(&record.snapshot),
    };
    // Plain structs of text and numbers always serialise.
    let mut json = serde_json::to_string(&line).unwrap_or_default();
    json.push('\n');
    json
}

/// `2026-11-22T01:22:27.123Z`.
fn rfc3339(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time)
        .map(|stamp| format!("{stamp:.3}"))
        .unwrap_or_default()
}

/// The pod's name: the host's name inside a pod.
pub(super) fn pod_name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        std::env::var("POD_NAME")
            .or_else(|_| std::fs::read_to_string("/proc/sys/kernel/hostname"))
            .map(|name| name.trim().to_owned())
            .unwrap_or_default()
    })
}
