//! Listeners: where a connection enters, and what holds for it.

use crate::policy::ListenerPolicy;
use crate::route::Claim;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// One accepted listener of the gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Listener {
    /// `spec.listeners[].name`.
    pub name: String,
    /// The port of the Service, for messages and telemetry.
    pub port: u16,
    /// The port that the process opens (ports below 1024 are served at +10000 in pods).
    pub bind_port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// TLS; absent is `Disabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Peers that must send a PROXY header; empty: nobody is believed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proxy_trusted: Vec<IpNet>,
    /// Whether Received shows the client's address.
    pub received_client: ReceivedClient,
    /// RCPTMAX=1 is advertised: every backend reachable from here takes one recipient a message.
    pub one_recipient: bool,
    /// The claims that passed, most specific first; the first that matches a recipient wins.
    pub claims: Vec<Claim>,
    /// The merged policies of connection, helo and mail, read without MailRoutes.
    pub enforced: ListenerPolicy,
    /// The same with Monitor policies; absent when there is no difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ListenerPolicy>,
}

/// `spec.listeners[].protocol`, as far as it is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// Plain SMTP between servers, RFC 5321.
    #[serde(rename = "SMTP")]
    Smtp,
}

/// TLS of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Tls {
    /// When it starts.
    pub mode: TlsMode,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// Ids in [`crate::Keys::certificates`], in the order of the spec; the first is the default
    /// when no name of SNI matches.
    pub certificates: Vec<String>,
}

/// When TLS starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsMode {
    /// STARTTLS is offered (RFC 3207).
    Opportunistic,
    /// STARTTLS is required before MAIL.
    Required,
    /// With the first octet (RFC 8314).
    Implicit,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TlsVersion {
    /// RFC 5246.
    #[serde(rename = "1.2")]
    V1_2,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    V1_3,
}

/// Whether our Received header names the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReceivedClient {
    /// It does.
    Show,
    /// It does not.
    Hide,
}
