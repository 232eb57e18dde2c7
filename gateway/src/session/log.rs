//! What a session leaves behind for telemetry, gathered while it runs.

use super::End;
use crate::checks::Judged;
use crate::server::Shared;
use crate::telemetry::metrics::{CheckLabels, Metrics, SessionLabels, ShadowLabels, TlsLabels};
use crate::telemetry::record::{Kind, SessionFacts, SessionRecord, SpanIds, SpanRecord};
use std::io;
use std::net::SocketAddr;
use std::time::SystemTime;

/// Children of the session's span; more are not recorded.
const CHILDREN: usize = 16;

/// A session's record in the making.
pub(super) struct SessionLog {
    pub(super) facts: SessionFacts,
    pub(super) transactions: u32,
    span: SpanRecord,
    end: Option<End>,
}

impl SessionLog {
    /// Begins with the connection.
    pub(super) fn new(listener: &str, port: u16, client: SocketAddr, start: SystemTime) -> Self {
        let facts = SessionFacts {
            ids: SpanIds::new_trace(),
            listener: listener.to_owned(),
            client,
            helo: None,
            tls: None,
        };
        let span = SpanRecord::started("smtp.session", Kind::Server, start)
            .with("server.port", i64::from(port));
        Self {
            facts,
            transactions: 0,
            span,
            end: None,
        }
    }

    /// Why the session is about to end; the first reason stands.
    pub(super) fn end(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    /// Why it is about to end, if that was said.
    pub(super) fn ended(&self) -> Option<End> {
        self.end
    }

    /// A handshake has ended.
    pub(super) fn handshake(
        &mut self,
        metrics: &Metrics,
        error: Option<&io::Error>,
        tls: Option<&rustls::ServerConnection>,
    ) {
        self.facts.tls = tls.and_then(|tls| {
            let version = tls.protocol_version()?.as_str()?.replace('_', ".");
            let suite = tls.negotiated_cipher_suite()?.suite().as_str()?;
            Some((version, suite.replace("TLS13_", "TLS_")))
        });
        let version = match &self.facts.tls {
            Some((version, _)) if version.ends_with("1.3") => "1.3",
            Some(_) => "1.2",
            None => "failed",
        };
        let labels = TlsLabels {
            listener: self.facts.listener.clone(),
            version,
        };
        metrics.tls.get_or_create(&labels).inc();
        if let Some(error) = error {
            self.span.error = Some(format!("TLS handshake: {error}").into());
        }
        if let Some(name) = tls.and_then(rustls::ServerConnection::server_name) {
            self.attribute("tls.client.server_name", name.to_owned());
        }
    }

    /// A check of connection or HELO that found something.
    pub(super) fn check(&mut self, judged: &Judged) {
        self.attribute("postern.check", judged.finding.check);
        self.attribute("postern.check.result", judged.finding.result);
        self.attribute("postern.check.action", judged.verdict.as_str());
        if let Some(shadow) = judged.shadows.first() {
            self.attribute("postern.check.shadow", shadow.as_str());
        }
    }

    fn attribute(&mut self, name: &'static str, value: impl Into<crate::telemetry::record::Value>) {
        if self.span.attributes.len() < 4 * CHILDREN {
            self.span.attributes.push((name, value.into()));
        }
    }

    /// The session is over.
    pub(super) fn finish(mut self, end: &'static str, shared: &Shared) {
        let labels = SessionLabels {
            listener: self.facts.listener.clone(),
            end,
        };
        shared.metrics.sessions.get_or_create(&labels).inc();
        self.attribute("postern.session.end", end);
        shared.sink.session(SessionRecord {
            facts: self.facts,
            span: self.span.ended(SystemTime::now()),
            transactions: self.transactions,
        });
    }
}

/// Counts a check that ran.
pub(super) fn count(metrics: &Metrics, judged: &Judged) {
    let (check, result) = (judged.finding.check, judged.finding.result);
    let action = judged.verdict.as_str();
    metrics
        .checks
        .get_or_create(&CheckLabels {
            check,
            result,
            action,
        })
        .inc();
    for shadow in &judged.shadows {
        let labels = ShadowLabels {
            check,
            enforced: action,
            shadow: shadow.as_str(),
        };
        metrics.shadow.get_or_create(&labels).inc();
    }
}
