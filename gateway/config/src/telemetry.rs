//! Traces, metrics and access log, as the gateway is told.

use serde::{Deserialize, Serialize};

/// `spec.telemetry`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Telemetry {
    /// Export of traces; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traces: Option<Traces>,
    /// Push of metrics; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// What the access log says of recipients and senders.
    pub recipients: Recipients,
}

/// Export of traces by OTLP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Traces {
    /// URL of the collector.
    pub endpoint: String,
    /// Transport.
    pub protocol: OtlpProtocol,
    /// Share of the transactions that is exported, 0 to 1.
    pub sample_ratio: f64,
    /// Transactions that are exported whatever the share says.
    pub always_sample: Vec<AlwaysSample>,
}

/// Push of metrics by OTLP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Metrics {
    /// URL of the collector.
    pub endpoint: String,
    /// Transport.
    pub protocol: OtlpProtocol,
    /// From one push to the next, milliseconds.
    pub interval_ms: u64,
}

/// Transport of OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OtlpProtocol {
    /// gRPC.
    Grpc,
    /// HTTP with protobuf.
    Http,
}

/// A kind of transaction that is always exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlwaysSample {
    /// Refused with 5yz.
    Rejected,
    /// Refused with 4yz.
    Deferred,
    /// Over 5 s from MAIL to the reply.
    Slow,
}

/// How mail addresses are recorded in traces and access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recipients {
    /// Their domain only.
    Domain,
    /// Whole.
    Full,
    /// Not at all.
    None,
}
