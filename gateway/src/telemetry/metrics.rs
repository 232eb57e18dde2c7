//! Metrics: recorded once, in one prometheus-client registry that the admin port and the push by
//! OTLP read.
//!
//! Sessions and the server count here; what delivery and the resolver count themselves is read
//! from them when the registry is asked ([`Metrics::collect`]). docs/telemetry.md lists the names.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ListenerLabel {
    /// Its name.
    pub listener: String,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SessionLabels {
    /// The listener.
    pub listener: String,
    /// `quit`, `client_gone`, `refused`, `timeout` ...
    pub end: &'static str,
}

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TransactionLabels {
    /// The listener.
    pub listener: String,
    /// `accepted`, `rejected`, `deferred`, `abandoned`.
    pub disposition: &'static str,
}

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CheckLabels {
    /// The check.
    pub check: &'static str,
    /// Its result.
    pub result: &'static str,
    /// What policy made of it.
    pub action: &'static str,
}

/// A check that reached one of its limits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LimitLabels {
    /// The check.
    pub check: &'static str,
    /// `dns`: questions or time; `signatures`: there were more than are tried; `monitor`: what
    /// Monitor policies would go by was late.
    pub limit: &'static str,
}

/// What Monitor policies would have done.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ShadowLabels {
    /// The check.
    pub check: &'static str,
    /// What policy made of it.
    pub enforced: &'static str,
    /// What it would have made of it.
    pub shadow: &'static str,
}

/// Why something was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusalLabels {
    /// The listener.
    pub listener: String,
    /// `connections`, `network`, `proxy`, `memory` ...
    pub reason: &'static str,
}

/// The TLS version of a handshake.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TlsLabels {
    /// The listener.
    pub listener: String,
    /// `1.2`, `1.3`; `failed`.
    pub version: &'static str,
}

/// The registry and all that sessions and server count. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    started: SystemTime,
    /// Sessions that ended.
    pub sessions: Family<SessionLabels, Counter>,
    /// Sessions that are open.
    pub sessions_open: Family<ListenerLabel, Gauge>,
    /// Transactions that ended.
    pub transactions: Family<TransactionLabels, Counter>,
    /// Seconds from MAIL to the end.
    pub transaction_seconds: Histogram,
    /// Octets of messages that came whole.
    pub message_bytes: Histogram,
    /// Checks that ran.
    pub checks: Family<CheckLabels, Counter>,
    /// Checks that reached a limit.
    pub check_limits: Family<LimitLabels, Counter>,
    /// Checks in which Monitor policies would have acted differently.
    pub shadow: Family<ShadowLabels, Counter>,
    /// Connections and messages that were refused for want of room.
    pub refused: Family<RefusalLabels, Counter>,
    /// TLS handshakes.
    pub tls: Family<TlsLabels, Counter>,
    /// Panics that ended a session with 421.
    pub panics: Counter,
    /// Snapshots that were applied.
    pub snapshots_applied: Counter,
    /// Snapshots that were refused.
    pub snapshots_rejected: Counter,
    /// The generation in use.
    pub snapshot_generation: Gauge,
    /// Pushes that the collector took.
    pub pushes: Counter,
    /// Pushes that it did not.
    pub pushes_failed: Counter,
}

impl Metrics {
    /// An empty registry with every metric in it.
    #[must_use]
    pub fn new() -> Self {
        let metrics = Self {
            registry: Arc::new(Mutex::new(Registry::with_prefix("postern"))),
            started: SystemTime::now(),
            sessions: Family::default(),
            sessions_open: Family::default(),
            transactions: Family::default(),
            transaction_seconds: Histogram::new(exponential_buckets(0.001, 2.5, 14)),
            message_bytes: Histogram::new(exponential_buckets(1024.0, 4.0, 10)),
            checks: Family::default(),
            check_limits: Family::default(),
            shadow: Family::default(),
            refused: Family::default(),
            tls: Family::default(),
            panics: Counter::default(),
            snapshots_applied: Counter::default(),
            snapshots_rejected: Counter::default(),
            snapshot_generation: Gauge::default(),
            pushes: Counter::default(),
            pushes_failed: Counter::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let r = &mut *registry;
        r.register("sessions", "Sessions that ended", self.sessions.clone());
        r.register("sessions_open", "Open sessions", self.sessions_open.clone());
        r.register(
            "transactions",
            "Transactions that ended",
            self.transactions.clone(),
        );
        r.register_with_unit(
            "transaction_duration",
            "From MAIL to the end of the transaction",
            Unit::Seconds,
            self.transaction_seconds.clone(),
        );
        r.register_with_unit(
            "message_size",
            "Size of messages that came whole",
            Unit::Bytes,
            self.message_bytes.clone(),
        );
        r.register("checks", "Checks by result and action", self.checks.clone());
        r.register(
            "check_limits",
            "Checks that reached a limit",
            self.check_limits.clone(),
        );
        r.register(
            "shadow",
            "Checks that Monitor policies judge differently",
            self.shadow.clone(),
        );
        r.register("refused", "Refused for want of room", self.refused.clone());
        r.register(
            "tls_handshakes",
            "TLS handshakes by version",
            self.tls.clone(),
        );
        r.register(
            "panics",
            "Sessions that ended by a fault of ours",
            self.panics.clone(),
        );
        r.register(
            "snapshots_applied",
            "Snapshots applied",
            self.snapshots_applied.clone(),
        );
        r.register(
            "snapshots_rejected",
            "Snapshots refused",
            self.snapshots_rejected.clone(),
        );
        r.register(
            "snapshot_generation",
            "Generation in use",
            self.snapshot_generation.clone(),
        );
        r.register(
            "telemetry_pushes",
            "Pushes of metrics that the collector took",
            self.pushes.clone(),
        );
        r.register(
            "telemetry_pushes_failed",
            "Pushes of metrics that it did not take",
            self.pushes_failed.clone(),
        );
    }

    /// Adds numbers that somebody else keeps; they are read when the registry is.
    pub fn collect(&self, collector: impl Collector) {
        self.with_registry(|registry| registry.register_collector(Box::new(collector)));
    }

    /// Lends the registry, to read it or to add to it.
    pub fn with_registry<T>(&self, work: impl FnOnce(&mut Registry) -> T) -> T {
        work(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Since when they are counted.
    #[must_use]
    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// All metrics in the text format of OpenMetrics.
    ///
    /// # Errors
    /// When formatting fails, which means that a collector failed.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        self.with_registry(|registry| {
            prometheus_client::encoding::text::encode(&mut text, registry)
        })?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
