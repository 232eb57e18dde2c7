//! MailGateway: the platform team's kind. Where mail is taken, under which name and certificate,
//! by whose routes, and on what pods.

mod infrastructure;
mod listener;
mod resolver;
mod status;
mod telemetry;

use kube::CustomResource;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use infrastructure::reserved_keys_message;
pub use infrastructure::{
    Drain, EnvVar, ExternalTrafficPolicy, Infrastructure, LocalObjectReference, PodTemplatePatch,
    Resources, Service, ServiceType, TopologySpread,
};
pub use listener::{
    AllowedRoutes, Durability, FromNamespaces, Listener, Protocol, ProxyProtocol, ReceivedClient,
    RouteNamespaces, SelfSigned, Tls, TlsMode, TlsVersion,
};
pub use resolver::{DnsCache, Resolver};
pub use status::{Address, AddressType, ListenerStatus, MailGatewayStatus, SnapshotStatus};
pub use telemetry::{
    AccessLog, AlwaysSample, Metrics, OtlpProtocol, RecipientDetail, Telemetry, Traces,
};

use crate::cel::rule;
use crate::defaults;
use crate::scalar::{DomainName, EmailAddress};

/// A mail gateway: listeners on the wire, and the pods that serve them.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "postern.dev",
    version = "v1alpha1",
    kind = "MailGateway",
    plural = "mailgateways",
    namespaced,
    shortname = "mgw",
    category = "mail",
    status = "MailGatewayStatus",
    derive = "PartialEq",
    doc = "A MailGateway takes mail: it says on which ports, under which name and certificate, whose routes it admits, and on what pods it runs. It belongs to the platform team.",
    scale(
        spec_replicas_path = ".spec.infrastructure.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Accepted")].status"#
    ),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Programmed")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Programmed")].reason"#
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Programmed")].message"#
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Hostname",
        type_ = "string",
        json_path = ".spec.hostname",
        priority = 1
    ),
    printcolumn(
        name = "Address",
        type_ = "string",
        json_path = ".status.addresses[*].value",
        priority = 1
    ),
    printcolumn(
        name = "Pods",
        type_ = "integer",
        json_path = ".status.replicas",
        priority = 1
    ),
    printcolumn(
        name = "Class",
        type_ = "string",
        json_path = ".spec.className",
        priority = 1
    )
)]
#[schemars(extend("x-kubernetes-validations" = spec_rules()))]
pub struct MailGatewaySpec {
    /// Which installation of the operator serves this gateway: the one whose controller name is
    /// `postern.dev/<className>`. Cannot be changed.
    #[serde(default = "default_class_name")]
    #[schemars(length(min = 1, max = 63), regex(pattern = crate::common::LABEL_NAME))]
    pub class_name: String,
    /// The name by which the gateway speaks: in its greeting, in Received, and in EHLO when it is
    /// the client. It should resolve to the gateway's address.
    pub hostname: DomainName,
    /// The authentication service identifier (RFC 8601 §2.5) under which results are written; those
    /// that arrive under it are removed. Default: `hostname`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authserv_id: Option<DomainName>,
    /// Where mail to `<postmaster>` without a domain goes (RFC 5321 §4.5.1). Default: `postmaster`
    /// at `hostname`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postmaster: Option<EmailAddress>,
    /// The ports on which mail is taken. A port below 1024 is served at 10000 more in the pods and
    /// mapped back by the Service; so no two listeners may meet on one port after that either, and
    /// none may meet the admin port, 9090.
    #[schemars(length(min = 1, max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub listeners: Vec<Listener>,
    /// How names are looked up. Default: with the system's name servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolver: Option<Resolver>,
    /// The pods and the Service that the operator makes.
    #[serde(default)]
    pub infrastructure: Infrastructure,
    /// Traces, metrics and the access log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<Telemetry>,
}

fn default_class_name() -> String {
    defaults::CLASS_NAME.to_owned()
}

fn spec_rules() -> [Rule; 3] {
    [
        rule(
            "self.className == oldSelf.className",
            ".className",
            "className cannot be changed: delete the MailGateway and create it anew",
        ),
        rule(
            "self.hostname.contains('.')",
            ".hostname",
            "hostname must be fully qualified, such as mx1.example.com",
        ),
        rule(
            "self.listeners.all(a, self.listeners.exists_one(b, \
             (a.port < 1024 ? a.port + 10000 : a.port) == \
             (b.port < 1024 ? b.port + 10000 : b.port)))",
            ".listeners",
            "two listeners would meet on one port of the pods, where ports below 1024 are served \
             at 10000 more",
        ),
    ]
}
