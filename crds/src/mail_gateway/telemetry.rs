//! What a gateway tells of its mail.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cel::duration_between;
use crate::scalar::GoDuration;

/// Traces, metrics and the access log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Telemetry {
    /// OpenTelemetry traces. Default: none are exported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traces: Option<Traces>,
    /// Metrics pushed to a collector, the same as on `/metrics` of the admin port, which answers
    /// in any case. Default: none are pushed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// The access log on standard output, one JSON line for each transaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,
}

/// A collector's URL: no user, query or fragment.
const ENDPOINT: &str = "^https?://[^\\s/?#@]+(/[^\\s?#]*)?$";

/// The export of traces by OTLP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Traces {
    /// The collector: `http://collector:4317` for gRPC, `http://collector:4318` for HTTP (the path
    /// `/v1/traces` is added); `https://` is verified against the system's authorities.
    #[schemars(
        length(min = 1, max = 512),
        regex(pattern = ENDPOINT)
    )]
    pub endpoint: String,
    /// `grpc` or `http` (protobuf). Default: `grpc`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<OtlpProtocol>,
    /// The part of the traces that begin here which is exported, 0 to 1. Default: 0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub sample_ratio: Option<f64>,
    /// Transactions that are exported whatever the ratio says; an empty list means none. Default:
    /// all three.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 3))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub always_sample: Option<Vec<AlwaysSample>>,
}

/// The push of metrics by OTLP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// The collector: `http://collector:4317` for gRPC, `http://collector:4318` for HTTP (the path
    /// `/v1/metrics` is added); `https://` is verified against the system's authorities.
    #[schemars(
        length(min = 1, max = 512),
        regex(pattern = ENDPOINT)
    )]
    pub endpoint: String,
    /// `grpc` or `http` (protobuf). Default: `grpc`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<OtlpProtocol>,
    /// The time from one push to the next, 1s to 1h. Default: 1m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = duration_between("1s", "1h")))]
    pub interval: Option<GoDuration>,
}

/// A form of OTLP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OtlpProtocol {
    /// OTLP/gRPC.
    #[default]
    Grpc,
    /// OTLP/HTTP with protobuf.
    Http,
}

/// A kind of transaction that is worth a trace.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum AlwaysSample {
    /// Answered with 5yz.
    Rejected,
    /// Answered with 4yz.
    Deferred,
    /// More than 5 s from MAIL to the reply.
    Slow,
}

/// The access log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessLog {
    /// What of addresses is written, in the log and in traces: their `Domain` only, or the whole
    /// `Address`. Default: `Domain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipients: Option<RecipientDetail>,
}

/// How much of an address is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RecipientDetail {
    /// The domain.
    #[default]
    Domain,
    /// All of it.
    Address,
}
