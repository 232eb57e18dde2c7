//! Section `verify`: who a mail is really from, and what follows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scalar::{Cidr, DomainName, DomainPattern};

/// Sender verification. All methods run; their results stand in Authentication-Results whatever
/// the actions are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verify {
    /// SPF (RFC 7208).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spf: Option<Spf>,
    /// DKIM (RFC 6376).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dkim: Option<Dkim>,
    /// DMARC (RFC 9989).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dmarc: Option<Dmarc>,
    /// ARC (RFC 8617).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arc: Option<Arc>,
    /// The client's name in reverse DNS (RFC 8601 §2.7.3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iprev: Option<Iprev>,
    /// The From header field itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<From>,
    /// Those who may pass on mail whose sender does not verify.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_forwarders: Option<TrustedForwarders>,
}

/// What a finding leads to.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Action {
    /// Nothing: the mail goes on.
    Accept,
    /// The mail goes on with the field X-Postern-Verdict, which names check and policy.
    Tag,
    /// 4yz: try again later.
    Defer,
    /// 5yz.
    Reject,
}

/// SPF.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Spf {
    /// The domain says that the client may not send. Default: `Tag`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_fail: Option<Action>,
    /// The domain says that the client probably may not send. Default: `Accept`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_soft_fail: Option<Action>,
    /// The domain's record is wrong. Default: `Tag`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_perm_error: Option<Action>,
    /// The record could not be had. Default: `Tag`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_temp_error: Option<Action>,
}

/// DKIM.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dkim {
    /// There are signatures, and none of them verifies. Default: `Accept`, as RFC 6376 §6.1 asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_fail: Option<Action>,
    /// How many signatures are tried. Default: 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub max_signatures: Option<u32>,
    /// Whether a signature that covers only a part of the body (`l=`) counts for DMARC: `Ignore`
    /// says no, `Count` says yes. Default: `Ignore`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length_tag: Option<LengthTag>,
}

/// What a signature with `l=` is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum LengthTag {
    /// Nothing for DMARC, unless it covers the whole body.
    #[default]
    Ignore,
    /// As much as any other.
    Count,
}

/// DMARC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dmarc {
    /// The domain asks for rejection: `Reject` it; `RejectWithoutEvidence`, which does what
    /// `onQuarantine` says when any DKIM signature passes, and else rejects (RFC 9989 §7.4);
    /// `Quarantine`, which always does what `onQuarantine` says. Default: `Reject`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_reject: Option<OnReject>,
    /// The domain asks for quarantine. Default: `Tag`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_quarantine: Option<Action>,
}

/// What is done about p=reject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OnReject {
    /// The mail is rejected.
    #[default]
    Reject,
    /// The mail is rejected unless some DKIM signature passes.
    RejectWithoutEvidence,
    /// As if the domain had asked for quarantine.
    Quarantine,
}

/// ARC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Arc {
    /// Domains whose seals we believe: where one of them saw DMARC pass and the chain holds, its
    /// word overrules our own failure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub trusted_sealers: Vec<DomainName>,
}

/// Reverse DNS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Iprev {
    /// The client has no name that leads back to its address. Default: `Accept`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_fail: Option<Action>,
}

/// The From header field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct From {
    /// There is no From, or it names no or several domains, so that DMARC has no subject. Default:
    /// `Reject` (550 5.6.0).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_ambiguous: Option<Action>,
}

/// Forwarders whose mail is not rejected for DMARC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrustedForwarders {
    /// By the client's address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub networks: Vec<Cidr>,
    /// By the domain of a DKIM signature that passes, or of a reverse-path for which SPF passes:
    /// `lists.example.com` itself, `*.example.com` all below it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub domains: Vec<DomainPattern>,
}
