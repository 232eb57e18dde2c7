//! The snapshot: what the operator writes and the gateway reads, and nothing else joins the two.
//!
//! The operator compiles custom resources into a [`Snapshot`], encodes it into chunks
//! ([`chunks`]) that fit ConfigMaps and Secrets, and points a [`head::Head`] at them. The gateway
//! reads head and chunks back, from a mounted folder or from the API, and applies the whole or
//! nothing. Secret material stands in [`Keys`] only; [`Config`] may be read by anyone.

pub mod backend;
pub mod chunks;
pub mod configz;
pub mod head;
pub mod listener;
pub mod policy;
pub mod route;
pub mod telemetry;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub use backend::Backend;
pub use listener::Listener;
pub use policy::{ListenerPolicy, RecipientPolicy};
pub use route::Route;

/// The schema that this crate writes; see [`head::Head::schema`].
pub const SCHEMA: u32 = 1;

/// Everything that one gateway runs on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Snapshot {
    /// The part without secrets.
    pub config: Config,
    /// The part with them.
    pub keys: Keys,
}

/// The part of a [`Snapshot`] that holds no secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// Which MailGateway this is.
    pub gateway: GatewayIdentity,
    /// Our name in banner, EHLO and Received.
    pub hostname: String,
    /// authserv-id of Authentication-Results (RFC 8601 §2.5).
    pub authserv_id: String,
    /// Where `<postmaster>` without a domain goes, `local-part@domain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postmaster: Option<String>,
    /// The listeners that were accepted, by name.
    pub listeners: Vec<Listener>,
    /// The routes that some listener refers to by index.
    pub routes: Vec<Route>,
    /// The backends that some rule refers to, by id.
    pub backends: BTreeMap<String, Backend>,
    /// The DNS resolver for everything but headless Services.
    pub resolver: Resolver,
    /// Traces, metrics and access log.
    pub telemetry: telemetry::Telemetry,
    /// The end of a pod's life.
    pub drain: Drain,
    /// For each object that this snapshot was compiled from, `Kind/namespace/name` to its
    /// generation; lets the operator say since which snapshot an object is live.
    pub generations: BTreeMap<String, i64>,
}

/// Which MailGateway a snapshot belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GatewayIdentity {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// The DNS resolver (`spec.resolver`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Resolver {
    /// `ip:port` of each name server; empty: the system's.
    pub nameservers: Vec<std::net::SocketAddr>,
    /// For one question to one server, milliseconds.
    pub timeout_ms: u64,
    /// Questions before the answer is "temporary error".
    pub attempts: u32,
    /// Cached answers; 0 is no cache.
    pub cache_entries: u64,
    /// No answer is kept longer, seconds.
    pub cache_max_ttl_s: u64,
}

/// The end of a pod's life (`spec.infrastructure.drain`), counted from SIGTERM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Drain {
    /// Accepting goes on for so long, milliseconds.
    pub min_duration_ms: u64,
    /// Open transactions get 421 then, milliseconds.
    pub timeout_ms: u64,
}

/// The part of a [`Snapshot`] that holds secrets. Its `Debug` shows names only.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Keys {
    /// Certificate chains with their private keys, by the id that listeners name.
    pub certificates: BTreeMap<String, CertificateKey>,
    /// Credentials for backends, by the id that backends name.
    pub credentials: BTreeMap<String, Credential>,
}

/// A certificate chain and its key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CertificateKey {
    /// PEM, leaf first.
    pub chain_pem: String,
    /// PEM, PKCS#8, PKCS#1 or SEC1.
    pub key_pem: String,
}

/// User name and password for a backend (SASL PLAIN, only ever over TLS).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Credential {
    /// The name.
    pub username: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for CertificateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CertificateKey(..)")
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential(..)")
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("certificates", &self.certificates.keys())
            .field("credentials", &self.credentials.keys())
            .finish()
    }
}
