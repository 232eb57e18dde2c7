//! One listener: a port, its protocol, its TLS, and whose routes it admits.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ADMIN_PORT;
use crate::cel::rule;
use crate::common::{LABEL_NAME, SecretReference};
use crate::scalar::{Cidr, DomainPattern};

/// A port on which mail is taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = listener_rules()))]
pub struct Listener {
    /// The listener's name, which `sectionName` of routes and policies refers to.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL_NAME))]
    pub name: String,
    /// The port of the Service. Under `postern run` the port itself.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// What is spoken: `SMTP` from other mail servers; `Submission` (STARTTLS) and `Submissions`
    /// (TLS from the first byte, RFC 8314) from senders of our own; `LMTP`. So far only `SMTP` is
    /// built: the others are `Accepted=False`, reason `UnsupportedValue`.
    pub protocol: Protocol,
    /// What stands behind a 250: `PassThrough`, the backend has taken the mail; `Fsync`, it is in a
    /// spool on disk; `Replicated`, it is in a spool on several machines. Default: `PassThrough`.
    /// The others are not built yet: `Accepted=False`, reason `UnsupportedValue`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub durability: Option<Durability>,
    /// TLS on this listener. Default: none is offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Take the client's address from a PROXY header, version 1 or 2. Default: the address of the
    /// connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Whether the header fields that we add (Received, Authentication-Results) show the client's
    /// address. Default: `Show`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received_client: Option<ReceivedClient>,
    /// Whose routes are admitted, and for which domains. An object is admitted by the first entry
    /// that covers it. Default: routes of the gateway's own namespace, for any domain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    pub allowed_routes: Vec<AllowedRoutes>,
}

/// A protocol that a listener speaks.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Protocol {
    /// RFC 5321, from other mail servers.
    #[serde(rename = "SMTP")]
    Smtp,
    /// RFC 6409, with STARTTLS.
    Submission,
    /// RFC 6409 in TLS from the first byte (RFC 8314 §3.3).
    Submissions,
    /// RFC 2033.
    #[serde(rename = "LMTP")]
    Lmtp,
}

/// What must have happened before a mail is acknowledged.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum Durability {
    /// The backend has acknowledged it.
    #[default]
    PassThrough,
    /// It is on disk.
    Fsync,
    /// A quorum of machines has it.
    Replicated,
}

/// TLS on a listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = tls_rules()))]
pub struct Tls {
    /// `Disabled`: not offered. `Opportunistic`: STARTTLS is offered. `Required`: nothing but
    /// STARTTLS is answered before it. `Implicit`: TLS from the first byte, on `Submissions` and
    /// only there.
    pub mode: TlsMode,
    /// The lowest version that is spoken. Default: `1.2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,
    /// Secrets of type kubernetes.io/tls. The client's SNI chooses among them; the first is used
    /// when it names none of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    pub certificate_refs: Vec<SecretReference>,
    /// Instead of `certificateRefs`: one self-signed certificate for `hostname`, made once and
    /// shared by all pods. Other mail servers take it, people's mail programs do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_signed: Option<SelfSigned>,
}

/// When TLS is spoken.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum TlsMode {
    /// Never.
    Disabled,
    /// If the other side wants it; certificates are not verified.
    Opportunistic,
    /// Always, by STARTTLS.
    Required,
    /// Always, from the first byte.
    Implicit,
}

/// A version of TLS.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum TlsVersion {
    /// RFC 5246.
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    V1_3,
}

/// A certificate that the operator makes. It has no settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SelfSigned {}

/// From whom PROXY headers are taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProxyProtocol {
    /// The networks of the load balancers. A connection from them must begin with a PROXY header;
    /// from elsewhere a PROXY header is never believed.
    #[serde(rename = "trustedCIDRs")]
    #[schemars(length(min = 1, max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub trusted_cidrs: Vec<Cidr>,
}

/// Whether header fields of ours (Received, Authentication-Results) show the client's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ReceivedClient {
    /// It is.
    #[default]
    Show,
    /// It is not.
    Hide,
}

/// Who may attach to a listener, and for what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedRoutes {
    /// The namespaces of the objects. Default: the gateway's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<RouteNamespaces>,
    /// The domains that they may claim: `acme.test` is that name alone, `*.acme.test` every name
    /// below it at any depth. Default: any domain; give this whenever `from` is `All` or
    /// `Selector`, or one team can claim another's mail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 256))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub domains: Vec<DomainPattern>,
}

/// A choice of namespaces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = namespaces_rules()))]
pub struct RouteNamespaces {
    /// `Same`: the gateway's own. `All`: every one. `Selector`: those whose labels match
    /// `selector`. Default: `Same`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<FromNamespaces>,
    /// Labels of namespaces; needed by `Selector` and refused elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// Which namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FromNamespaces {
    /// The gateway's own.
    #[default]
    Same,
    /// All.
    All,
    /// Those whose labels match.
    Selector,
}

fn listener_rules() -> [Rule; 2] {
    [
        rule(
            &format!("self.port != {ADMIN_PORT}"),
            ".port",
            &format!("port {ADMIN_PORT} is the pods' admin port: choose another"),
        ),
        rule(
            "(self.protocol == 'Submissions') == (has(self.tls) && self.tls.mode == 'Implicit')",
            ".tls",
            "protocol Submissions needs tls.mode Implicit, and no other protocol takes it",
        ),
    ]
}

fn tls_rules() -> [Rule; 2] {
    [
        rule(
            "self.mode == 'Disabled' || has(self.certificateRefs) != has(self.selfSigned)",
            ".certificateRefs",
            "exactly one of certificateRefs and selfSigned is needed, unless mode is Disabled",
        ),
        rule(
            "self.mode != 'Disabled' || !(has(self.certificateRefs) || has(self.selfSigned))",
            ".mode",
            "mode Disabled takes neither certificateRefs nor selfSigned",
        ),
    ]
}

fn namespaces_rules() -> [Rule; 1] {
    [rule(
        "(has(self.from) && self.from == 'Selector') == has(self.selector)",
        ".selector",
        "selector goes with from: Selector, and only with it",
    )]
}
