//! What comes of asking and delivering: the client's reply and a record for telemetry.

use crate::telemetry::record::{Kind, SpanRecord};
use postern_smtp::client::EnhancedCode;
use postern_smtp::reply::Refusal;
use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

/// The end of [`super::Leg::deliver`].
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The backend's 250, or what the client is told instead.
    pub result: Result<BackendReply, Refusal>,
    /// For `smtp.delivery`.
    pub record: Record,
}

/// The end of [`super::Leg::ask`].
#[derive(Debug, Clone)]
pub struct Asked {
    /// For each recipient, in the order of the question: taken, or what the client is told.
    pub answers: Vec<Result<(), Refusal>>,
    /// For `smtp.ask`; absent when every answer was known.
    pub record: Option<Record>,
}

/// A positive reply of the backend, as it said it; text is cut at 512 characters and printable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendReply {
    /// Three digits.
    pub code: u16,
    /// The enhanced code (RFC 2034), when there is one.
    pub enhanced: Option<EnhancedCode>,
    /// The text without the enhanced code.
    pub text: String,
}

/// TLS as it was negotiated with the backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// `1.3` or `1.2`.
    pub version: &'static str,
    /// The IANA name of the cipher suite.
    pub cipher: &'static str,
    /// Whether the certificate was verified.
    pub verified: bool,
}

/// What was done, for telemetry. Times that were not reached are absent.
#[derive(Debug, Clone)]
pub struct Record {
    /// `smtp.delivery` or `smtp.ask`.
    pub name: &'static str,
    /// [`postern_config::Backend::display`].
    pub backend: Arc<str>,
    /// `smtp` or `lmtp`.
    pub protocol: &'static str,
    /// The host that was connected to; absent when the backend is given by addresses.
    pub host: Option<String>,
    /// Its address, when a connection was made or tried.
    pub peer: Option<SocketAddr>,
    /// TLS on the connection.
    pub tls: Option<Tls>,
    /// Whether the connection came from the pool.
    pub reused: bool,
    /// The last reply that decided: code and enhanced code.
    pub reply: Option<(u16, Option<EnhancedCode>)>,
    /// `error.type`: why it failed for technical reasons; a refused mail is no error.
    pub error: Option<Cow<'static, str>>,
    /// When it began.
    pub start: SystemTime,
    /// When a connection was ready for MAIL.
    pub connected: Option<SystemTime>,
    /// When all envelope replies were there.
    pub envelope: Option<SystemTime>,
    /// When the final dot had been written.
    pub data: Option<SystemTime>,
    /// When it ended.
    pub end: SystemTime,
}

impl Record {
    /// The span, kind CLIENT, with its phases as children. Names no person.
    #[must_use]
    pub fn span(&self) -> SpanRecord {
        let mut span = SpanRecord::started(self.name, Kind::Client, self.start)
            .with("postern.backend", self.backend.to_string())
            .with("network.protocol.name", self.protocol)
            .with("postern.delivery.reused", self.reused);
        if let Some(peer) = self.peer {
            span = span
                .with("network.peer.address", peer.ip().to_string())
                .with("network.peer.port", i64::from(peer.port()));
        }
        if let Some(host) = &self.host {
            span = span.with("server.address", host.clone());
        }
        if let Some(tls) = &self.tls {
            span = span
                .with("tls.protocol.version", tls.version)
                .with("tls.cipher", tls.cipher)
                .with("postern.delivery.tls_verified", tls.verified);
        }
        if let Some((code, enhanced)) = self.reply {
            span = span.with("smtp.reply.code", i64::from(code));
            if let Some((class, subject, detail)) = enhanced {
                let enhanced = format!("{class}.{subject}.{detail}");
                span = span.with("smtp.reply.enhanced_code", enhanced);
            }
        }
        if let Some(error) = &self.error {
            span = span.with("error.type", error.to_string());
            span.error = Some(error.clone());
        }
        span.children = self.phases();
        span.ended(self.end)
    }

    fn phases(&self) -> Vec<SpanRecord> {
        let mut phases = Vec::with_capacity(4);
        let mut from = self.start;
        let named = [
            ("smtp.delivery.connect", self.connected),
            ("smtp.delivery.envelope", self.envelope),
            ("smtp.delivery.data", self.data),
        ];
        for (name, until) in named {
            let Some(until) = until else { break };
            phases.push(SpanRecord::started(name, Kind::Client, from).ended(until));
            from = until;
        }
        if self.data.is_some() {
            let reply = SpanRecord::started("smtp.delivery.reply", Kind::Client, from);
            phases.push(reply.ended(self.end));
        }
        phases
    }
}
