//! What one SMTP session and its transactions leave behind: plain data, written by the session,
//! read by the exporter, the access log, the metrics and `postern demo`.
//!
//! Spans are recorded with their times while the transaction runs and handed over at its end
//! (DESIGN section 6), so no exporter can slow a session down and sampling can look at the
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
        Self { name, kind, start, end: start, attributes: vec![], error: None, children: vec![] }
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
