//! Sections `limits` and `timeouts`: how much and how long.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cel::{duration_between, size_between};
use crate::scalar::{GoDuration, Quantity};

/// How much. A client network is an IPv4 /32 or an IPv6 /64.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// The largest message, in octets as received; 1Ki to 1Gi. A larger one gets 552 5.3.4.
    /// Default: 25Mi.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = size_between("1Ki", "1Gi")))]
    pub message_size: Option<Quantity>,
    /// Recipients of one message; more get 452 4.5.3. Default: 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub recipients: Option<u32>,
    /// Open connections of each pod. Not on MailRoutes. Default: 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections: Option<u32>,
    /// Open connections of one client network to each pod. Not on MailRoutes. Default: 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_per_network: Option<u32>,
    /// Commands in one session. Not on MailRoutes. Default: 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 1_000_000))]
    pub commands: Option<u32>,
    /// Refused commands in one session, after which it is closed. Not on MailRoutes. Default: 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub errors: Option<u32>,
    /// Received fields in one message; more mean a loop and get 554 5.4.6. Default: 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub received_headers: Option<u32>,
    /// The least octets a second at which a message must come, so that slow clients do not hold
    /// memory; 0 sets no limit. Default: 1Ki.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = size_between("0", "1Gi")))]
    pub min_data_rate: Option<Quantity>,
    /// What happens to a message with CR or LF that are not CRLF: `Reject` (550 5.6.0), or
    /// `Normalize`, which makes a bare LF a CRLF and a bare CR a space before all checks. Not on
    /// MailRoutes. Default: `Reject` for DATA on SMTP listeners, else `Normalize`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bare_newlines: Option<BareNewlines>,
}

/// What happens to bare newlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum BareNewlines {
    /// The message is refused.
    Reject,
    /// They become CRLF and space.
    Normalize,
}

/// How long.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// For the next command, 1s to 1h (RFC 5321 §4.5.3.2.7 wants 5m at least). Not on MailRoutes.
    /// Default: 5m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = duration_between("1s", "1h")))]
    pub command: Option<GoDuration>,
    /// For a whole message, 1s to 24h. Default: 10m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = duration_between("1s", "24h")))]
    pub data: Option<GoDuration>,
    /// For a whole session, 1s to 24h. Not on MailRoutes. Default: 30m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = duration_between("1s", "24h")))]
    pub session: Option<GoDuration>,
}
