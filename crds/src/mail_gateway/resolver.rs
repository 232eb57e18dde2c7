//! How a gateway looks up names.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cel::duration_between;
use crate::scalar::{GoDuration, Nameserver};

/// DNS lookups of the gateway: SPF, keys, DMARC, MX and hosts. Services of the cluster are looked
/// up by the pod's own configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resolver {
    /// Name servers by IP address, with a port where it is not 53, in the order in which they are
    /// asked. Default: those of the pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 8))]
    pub nameservers: Vec<Nameserver>,
    /// How long one question to one name server may take, 100ms to 30s. Default: 2s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = duration_between("100ms", "30s")))]
    pub timeout: Option<GoDuration>,
    /// How often a question is asked before it has failed. Default: 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub attempts: Option<u32>,
    /// Answers that are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<DnsCache>,
}

/// The cache of DNS answers in each pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DnsCache {
    /// How many answers are kept; 0 keeps none. Default: 100000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub entries: Option<u32>,
    /// The longest time that an answer is kept, whatever its TTL says; at most 168h. Default: 1h.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = duration_between("0s", "168h")))]
    pub max_ttl: Option<GoDuration>,
}
