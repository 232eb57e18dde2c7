//! Backends: where accepted mail goes.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A backend as compiled: equal ones have one id, so they share connections and cached answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Backend {
    /// How a person knows it: `service ns/name:24`, `host mail.acme.test:25`, `mx`, `discard`.
    pub display: String,
    /// The MailRoutes (`namespace/name`) that use it: who is told of its misconfiguration.
    pub routes: Vec<String>,
    /// Where it is.
    pub target: Target,
    /// SMTP or LMTP.
    pub protocol: BackendProtocol,
    /// TLS towards it.
    pub tls: BackendTls,
    /// Key of [`crate::Keys::credentials`], when it wants a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// A PROXY header is sent to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyVersion>,
    /// One recipient a message, or all together.
    pub multiple_recipients: MultipleRecipients,
    /// Whether `Traceparent` is written to it (Services, or where it opts in).
    pub traceparent: bool,
}

/// Where a backend is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// A Service with a cluster address (or, under `run`, the addresses of its EndpointSlices).
    Addresses {
        /// Tried in turn.
        addresses: Vec<IpAddr>,
        /// The port.
        port: u16,
    },
    /// A headless Service: looked up by the pod with the system's resolver, TTL at most 5 s.
    Headless {
        /// `name.namespace.svc`.
        name: String,
        /// The port.
        port: u16,
    },
    /// A host outside, looked up by `spec.resolver` (A and AAAA).
    Host {
        /// Absolute name as A-labels, or an address.
        name: String,
        /// The port.
        port: u16,
    },
    /// The recipient domain's MX hosts (RFC 5321 §5).
    Mx,
    /// Nowhere: 250 and gone.
    Discard,
}

/// The protocol towards a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackendProtocol {
    /// RFC 5321.
    #[serde(rename = "SMTP")]
    Smtp,
    /// RFC 2033.
    #[serde(rename = "LMTP")]
    Lmtp,
}

/// TLS towards a backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BackendTls {
    /// When it is used.
    pub mode: BackendTlsMode,
    /// Trust anchors, PEM; empty: the system's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ca_pem: Vec<String>,
    /// The name that is verified; absent: the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

/// When TLS is used towards a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackendTlsMode {
    /// Never.
    Disabled,
    /// STARTTLS when offered, any certificate (RFC 7435).
    Opportunistic,
    /// STARTTLS with a verified certificate, else 451.
    Required,
    /// TLS with the first octet, verified.
    Implicit,
}

/// The PROXY protocol's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProxyVersion {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// `multipleRecipients` of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MultipleRecipients {
    /// All recipients of the transaction in one message.
    Together,
    /// 452 4.5.3 after the first.
    One,
}
