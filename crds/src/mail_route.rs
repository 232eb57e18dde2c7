//! MailRoute: the application team's kind. Recipients to backends.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cel::{rule, value_rule};
use crate::common::{ConfigMapReference, LABEL_NAME, ParentReference, SecretReference};
use crate::mail_gateway::TlsMode;
use crate::scalar::{AddressPattern, DomainName, Host};
use crate::status::{ParentStatus, conditions_schema};

/// Which recipients, and where their mail goes.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "postern.dev",
    version = "v1alpha1",
    kind = "MailRoute",
    plural = "mailroutes",
    namespaced,
    shortname = "mroute",
    category = "mail",
    status = "MailRouteStatus",
    derive = "PartialEq",
    doc = "A MailRoute takes the mail of some recipients from a MailGateway to backends. It belongs to the application team.",
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
        name = "Recipients",
        type_ = "string",
        json_path = ".spec.recipients",
        priority = 1
    ),
    printcolumn(
        name = "Gateways",
        type_ = "string",
        json_path = ".spec.parentRefs[*].name",
        priority = 1
    )
)]
#[schemars(extend("x-kubernetes-validations" = spec_rules()))]
pub struct MailRouteSpec {
    /// The MailGateways, or single listeners of them, that shall serve this route.
    #[schemars(length(min = 1, max = 16))]
    pub parent_refs: Vec<ParentReference>,
    /// The recipients: `ops@example.com` an address, `acme.test` all of a domain, `*.acme.test` all
    /// of every domain below it, `*` everyone. Of several routes the most specific wins, then the
    /// older one.
    #[schemars(length(min = 1, max = 256))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub recipients: Vec<AddressPattern>,
    /// Where the mail goes: the first rule that matches decides. If none matches, the recipient
    /// does not exist (550 5.1.1).
    #[schemars(length(min = 1, max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub rules: Vec<Rule>,
}

/// One rule of a route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rule_rules()))]
pub struct Rule {
    /// The rule's name, which `sectionName` of policies refers to.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL_NAME))]
    pub name: String,
    /// Which of the route's recipients: those that one of these matches. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub matches: Vec<RecipientMatch>,
    /// `Ask`: at RCPT the backend is asked whether it takes the recipient, and its refusal is
    /// ours. `None`: every recipient is accepted until the message is delivered. Backends of the
    /// kinds `mx` and `discard` are never asked. Default: `Ask`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify_recipients: Option<VerifyRecipients>,
    /// The backends. Of several, one is chosen for each transaction by weight.
    #[schemars(length(min = 1, max = 16))]
    pub backends: Vec<Backend>,
}

/// Whether recipients are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum VerifyRecipients {
    /// The backend is asked at RCPT.
    #[default]
    Ask,
    /// Nobody is asked.
    None,
}

/// What a recipient must be like; all that is given must match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecipientMatch {
    /// What stands before the `@`.
    pub local_part: LocalPartMatch,
}

/// A comparison with a local part, in which ASCII letters of either case are alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = local_part_rules()))]
pub struct LocalPartMatch {
    /// How it is compared. Default: `Exact`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<LocalPartMatchType>,
    /// What with. A regular expression (RE2 syntax) must match the whole local part.
    #[schemars(length(min = 1, max = 256))]
    pub value: String,
}

/// How a local part is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum LocalPartMatchType {
    /// The whole is equal.
    #[default]
    Exact,
    /// It begins so.
    Prefix,
    /// It ends so.
    Suffix,
    /// The whole matches a regular expression.
    RegularExpression,
}

/// Where mail goes: exactly one of `service`, `host`, `mx` and `discard`, and how it is spoken to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = backend_rules()))]
pub struct Backend {
    /// A Service of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceBackend>,
    /// A machine by name or address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HostBackend>,
    /// The mail exchangers of the recipient's domain (RFC 5321 §5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mx: Option<MxBackend>,
    /// Nowhere: the mail is accepted and forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discard: Option<DiscardBackend>,
    /// What the backend speaks. Default: `SMTP`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<BackendProtocol>,
    /// Its share of the transactions, against the sum over all backends of the rule; 0 gets none.
    /// Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: Option<u32>,
    /// `Together`: all recipients of a message in one transaction. `One`: each in its own, so that
    /// each gets its own answer; senders are asked to split (452 4.5.3). Default: `Together`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multiple_recipients: Option<MultipleRecipients>,
    /// TLS to the backend. Default: `Opportunistic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,
    /// Credentials for the backend. They are never sent without TLS, so `tls.mode` must be
    /// `Required` or `Implicit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<BackendAuth>,
    /// Tell the backend the client's address by a PROXY header of this version. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocolVersion>,
}

/// A protocol that a backend speaks.
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
pub enum BackendProtocol {
    /// RFC 5321.
    #[default]
    #[serde(rename = "SMTP")]
    Smtp,
    /// RFC 2033, with an answer for each recipient.
    #[serde(rename = "LMTP")]
    Lmtp,
}

/// A Service of the cluster. Services of type ExternalName are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceBackend {
    /// The Service's name.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL_NAME))]
    pub name: String,
    /// The Service's namespace. Default: the route's own. Another namespace needs a ReferenceGrant
    /// there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL_NAME))]
    pub namespace: Option<String>,
    /// The port of the Service.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
}

impl ServiceBackend {
    /// The namespace of the Service, when the route stands in `own`.
    #[must_use]
    pub fn namespace_or<'a>(&'a self, own: &'a str) -> &'a str {
        self.namespace.as_deref().unwrap_or(own)
    }
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostBackend {
    /// Its domain name, which is looked up as it stands, or its IP address.
    pub name: Host,
    /// The port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
}

/// The mail exchangers of the recipient's domain. It has no settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MxBackend {}

/// Nowhere. It has no settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiscardBackend {}

/// How a message with several recipients is delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum MultipleRecipients {
    /// In one transaction.
    #[default]
    Together,
    /// One recipient in each transaction.
    One,
}

/// TLS to a backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = backend_tls_rules()))]
pub struct BackendTls {
    /// `Disabled`: never. `Opportunistic`: STARTTLS where it is offered, with any certificate.
    /// `Required`: STARTTLS with a certificate that verifies, or no delivery. `Implicit`: the same,
    /// with TLS from the first byte.
    pub mode: TlsMode,
    /// ConfigMaps whose key `ca.crt` holds the authorities that are trusted, in PEM. Only with
    /// `Required` and `Implicit`. Default: the system's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub ca_refs: Vec<ConfigMapReference>,
    /// The name that is sent as SNI and that the certificate must carry. Only with `Required` and
    /// `Implicit`. Default: the host's name, or `<service>.<namespace>.svc`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<DomainName>,
}

/// Credentials for a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendAuth {
    /// A Secret of type kubernetes.io/basic-auth with `username` and `password`.
    pub secret_ref: SecretReference,
}

/// A version of the PROXY protocol.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum ProxyProtocolVersion {
    /// The line of text.
    V1,
    /// The binary header.
    V2,
}

/// The state of a MailRoute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MailRouteStatus {
    /// The worst over all parents: `Accepted`, `ResolvedRefs` and `Programmed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
    /// The parents one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub parents: Vec<ParentStatus>,
}

fn spec_rules() -> [kube::core::Rule; 1] {
    [rule(
        "self.parentRefs.all(a, self.parentRefs.exists_one(b, a == b))",
        ".parentRefs",
        "parentRefs must differ from each other",
    )]
}

fn rule_rules() -> [kube::core::Rule; 1] {
    [rule(
        "self.backends.exists(b, !has(b.weight) || b.weight > 0)",
        ".backends",
        "at least one backend must have a weight above 0",
    )]
}

fn local_part_rules() -> [kube::core::Rule; 1] {
    [rule(
        "!self.value.contains('@')",
        ".value",
        "value is compared with what stands before the @ and cannot contain one; domains go into \
         recipients",
    )]
}

fn backend_rules() -> [kube::core::Rule; 4] {
    [
        value_rule(
            "[has(self.service), has(self.host), has(self.mx), has(self.discard)]\
             .exists_one(x, x)",
            "exactly one of service, host, mx and discard is needed",
        ),
        rule(
            "!has(self.mx) || !(has(self.auth) || has(self.proxyProtocol) || \
             has(self.protocol) && self.protocol != 'SMTP' || \
             has(self.tls) && (has(self.tls.serverName) || self.tls.mode == 'Implicit'))",
            ".mx",
            "mx takes no auth, proxyProtocol, protocol LMTP, tls.serverName or tls.mode Implicit: \
             other mail servers know none of them",
        ),
        rule(
            "!has(self.discard) || !(has(self.protocol) || has(self.multipleRecipients) || \
             has(self.tls) || has(self.auth) || has(self.proxyProtocol))",
            ".discard",
            "discard takes nothing but a weight: nobody is spoken to",
        ),
        rule(
            "!has(self.auth) || has(self.tls) && self.tls.mode in ['Required', 'Implicit']",
            ".auth",
            "auth needs tls.mode Required or Implicit: credentials are never sent in the clear",
        ),
    ]
}

fn backend_tls_rules() -> [kube::core::Rule; 1] {
    [rule(
        "self.mode in ['Required', 'Implicit'] || !(has(self.caRefs) || has(self.serverName))",
        ".mode",
        "caRefs and serverName need mode Required or Implicit: certificates are verified in no \
         other",
    )]
}
