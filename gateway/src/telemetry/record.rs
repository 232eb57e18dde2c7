//! What one SMTP session and its transactions leave behind: plain data, written by the session,
//! read by the exporter, the access log, the metrics and `postern demo`.
//!
//! Spans are recorded with their times while the transaction runs and handed over at its end
//! (docs/telemetry.md, Traces), so no exporter can slow a session down and sampling can look at the
//! outcome.

use std::borrow::Cow;
use std::time::SystemTime;

/// An attribute's value, as OpenTelemetry knows them.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    Text(Cow<'static, str>),
    /// A whole number.
    Int(i64),
    /// A truth value.
    Bool(bool),
}

/// What a span is to its peer (OpenTelemetry `SpanKind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `smtp.session`.
    Server,
    /// Inside the gateway.
    Internal,
    /// `smtp.delivery`, DNS.
    Client,
}

/// One finished piece of work.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanRecord {
    /// Its name, one of those in docs/telemetry.md.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// When it began.
    pub start: SystemTime,
    /// When it ended.
    pub end: SystemTime,
    /// Attributes; names from docs/telemetry.md.
    pub attributes: Vec<(&'static str, Value)>,
    /// Set when the work failed for technical reasons (a refused mail is no error).
    pub error: Option<Cow<'static, str>>,
    /// What it consisted of.
    pub children: Vec<SpanRecord>,
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}
impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}
impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}
impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl SpanRecord {
    /// A span that began at `start` and ends with [`SpanRecord::ended`].
    #[must_use]
    pub fn started(name: &'static str, kind: Kind, start: SystemTime) -> Self {
        Self {
            name,
            kind,
            start,
            end: start,
            attributes: vec![],
            error: None,
            children: vec![],
        }
    }

    /// The same with one more attribute.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }

    /// The same, ended.
    #[must_use]
    pub fn ended(mut self, end: SystemTime) -> Self {
        self.end = end;
        self
    }
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// 250: the backend took it.
    Accepted,
    /// 5yz, at any stage from MAIL on.
    Rejected,
    /// 4yz.
    Deferred,
    /// The client gave up: RSET, QUIT or the connection ended.
    Abandoned,
}

impl Disposition {
    /// The word in traces, metrics and access log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Deferred => "deferred",
            Self::Abandoned => "abandoned",
        }
    }
}

/// The identifiers of a span (W3C Trace Context §3.2.2): never all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanIds {
    /// 16 octets, one for all spans of a trace.
    pub trace_id: u128,
    /// 8 octets, one for each span.
    pub span_id: u64,
}

/// A parent in another process, out of a `Traceparent` header that was trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteParent {
    /// Its identifiers.
    pub ids: SpanIds,
    /// Its sampled flag.
    pub sampled: bool,
}

/// The facts of a session that its transactions repeat.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionFacts {
    /// Identifiers of `smtp.session`.
    pub ids: SpanIds,
    /// `spec.listeners[].name`.
    pub listener: String,
    /// The client, from the PROXY header where one was trusted.
    pub client: std::net::SocketAddr,
    /// The name in HELO or EHLO, as sent; absent before it.
    pub helo: Option<String>,
    /// TLS version and cipher suite, `TLSv1.3` and the IANA name; absent in clear.
    pub tls: Option<(String, String)>,
}

/// A session at its end.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRecord {
    /// What its transactions share.
    pub facts: SessionFacts,
    /// `smtp.session`.
    pub span: SpanRecord,
    /// Transactions that began in it.
    pub transactions: u32,
}

/// What one check found, for people and for the access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRecord {
    /// `spf`, `dkim`, `dmarc`, `arc`, `iprev`, `access` ...
    pub check: &'static str,
    /// The result's word as in Authentication-Results: `pass`, `fail`, `temperror` ...
    pub result: Cow<'static, str>,
    /// What it was about: `header.d=acme.test` or a reason; empty when there is nothing to say.
    pub detail: String,
    /// What the enforced policy made of it: `Accept`, `Tag`, `Defer`, `Reject`.
    pub action: &'static str,
    /// The MailPolicy (`namespace/name`) that decided; absent: a default.
    pub policy: Option<String>,
    /// What the policies in mode Monitor would have made of it, where that differs.
    pub shadow: Option<&'static str>,
}

/// One transaction, MAIL to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct TransactionRecord {
    /// The session's facts at its end.
    pub session: SessionFacts,
    /// Identifiers of `smtp.transaction`: the session's trace, or the remote parent's.
    pub ids: SpanIds,
    /// A trusted `Traceparent`: the span is its child then and links to the session.
    pub remote_parent: Option<RemoteParent>,
    /// `smtp.transaction` with its checks and its delivery below it.
    pub span: SpanRecord,
    /// How it ended.
    pub disposition: Disposition,
    /// The last reply that decided it: code, enhanced code, text.
    pub reply: Option<(u16, String, String)>,
    /// The reverse-path, `<>` when null; empty where MAIL was refused because it cannot be read.
    pub reverse_path: String,
    /// The accepted recipients.
    pub recipients: Vec<String>,
    /// The recipients that were refused: address, code, text. At most 100 are kept.
    pub refused: Vec<(String, u16, String)>,
    /// Message size as received, octets.
    pub size: u64,
    /// Message-ID of the message, as it stands there; absent when there is none.
    pub message_id: Option<String>,
    /// Every check in the order in which it ran.
    pub checks: Vec<CheckRecord>,
    /// The MailRoute and rule (`namespace/name/rule`) that took it.
    pub route: Option<String>,
    /// The backend that was chosen, [`postern_config::Backend::display`].
    pub backend: Option<String>,
    /// Hash of the snapshot that the transaction ran on.
    pub snapshot: String,
}

/// What telemetry itself has lost and sent, since the process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SinkCounts {
    /// Spans that the collector took.
    pub spans_exported: u64,
    /// Spans that were dropped: the queue was full, or the collector did not take them.
    pub spans_dropped: u64,
    /// Lines of the access log that were dropped: its reader is too slow.
    pub log_lines_dropped: u64,
}

/// Who takes the records. Must not block: a full queue drops and counts.
pub trait Sink: Send + Sync + 'static {
    /// A snapshot is about to be used: takes over its settings.
    ///
    /// # Errors
    /// Why they cannot be used; the snapshot is rejected then.
    fn apply(&self, config: &postern_config::Config) -> Result<(), String> {
        let _ = config;
        Ok(())
    }
    /// What was lost and sent so far.
    fn counts(&self) -> SinkCounts {
        SinkCounts::default()
    }
    /// A transaction ended.
    fn transaction(&self, record: TransactionRecord);
    /// A session ended.
    fn session(&self, record: SessionRecord);
}

impl SpanIds {
    /// Fresh random identifiers, for a new trace.
    #[must_use]
    pub fn new_trace() -> Self {
        let mut octets = [0_u8; 24];
        fill_random(&mut octets);
        let (trace, span) = octets.split_at(16);
        Self {
            trace_id: trace
                .iter()
                .fold(0, |id, octet| id << 8 | u128::from(*octet))
                .max(1),
            span_id: span
                .iter()
                .fold(0, |id, octet| id << 8 | u64::from(*octet))
                .max(1),
        }
    }

    /// A fresh span in the same trace.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            trace_id: self.trace_id,
            span_id: Self::new_trace().span_id,
        }
    }
}

fn fill_random(octets: &mut [u8]) {
    // aws-lc's generator is seeded at start and reseeds itself; it fails only where the
    // operating system has no randomness at all, and then no TLS would work either.
    if aws_lc_rs::rand::fill(octets).is_err() {
        tracing::error!("no randomness for trace identifiers");
    }
}

/// Takes nothing.
impl Sink for () {
    fn transaction(&self, _: TransactionRecord) {}
    fn session(&self, _: SessionRecord) {}
}
