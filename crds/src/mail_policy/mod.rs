//! MailPolicy: rules for mail, attached to a gateway, a listener, a route or a rule.

mod access;
mod limits;
mod mark;
mod verify;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use access::{Access, ClientAccess, HeloAccess, RecipientAccess, SenderAccess};
pub use limits::{BareNewlines, Limits, Timeouts};
pub use mark::{Mark, MarkHeader};
pub use verify::{
    Action, Arc, Dkim, Dmarc, From, Iprev, LengthTag, OnReject, Spf, TrustedForwarders, Verify,
};

use crate::cel::{rule, value_rule};
use crate::common::{LABEL_NAME, OBJECT_NAME};
use crate::status::conditions_schema;

/// What is checked and what follows from it.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "postern.dev",
    version = "v1alpha1",
    kind = "MailPolicy",
    plural = "mailpolicies",
    namespaced,
    shortname = "mpol",
    category = "mail",
    status = "MailPolicyStatus",
    derive = "PartialEq",
    doc = "A MailPolicy says what mail must be like, and what happens to mail that is not. It is attached to MailGateways and MailRoutes of its own namespace.",
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
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
        name = "Targets",
        type_ = "string",
        json_path = ".spec.targetRefs[*].name",
        priority = 1
    )
)]
#[schemars(extend("x-kubernetes-validations" = spec_rules()))]
pub struct MailPolicySpec {
    /// What this policy is attached to, in its own namespace.
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<TargetReference>,
    /// `Enforce`: the policy acts. `Monitor`: it is evaluated beside the enforced ones and its
    /// result shown in traces, metrics and the access log, but it never acts. Default: `Enforce`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Sections that hold unless a more specific target has its own: of gateway, listener, route
    /// and rule the last one wins. A section is taken whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub defaults: Option<Sections>,
    /// Sections that hold whatever more specific targets say: of gateway, listener, route and rule
    /// the first one wins. A section is taken whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overrides: Option<Sections>,
}

/// What a policy is attached to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = target_rules()))]
pub struct TargetReference {
    /// The API group. Default, and only value so far: `postern.dev`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Group>,
    /// The kind. `MailSender` is not built yet: `Accepted=False`, reason `UnsupportedValue`.
    pub kind: TargetKind,
    /// The object's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
    /// One listener of a MailGateway, or one rule of a MailRoute. Default: all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL_NAME))]
    pub section_name: Option<String>,
}

/// The API groups of targets.
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
pub enum Group {
    /// Postern's own.
    #[default]
    #[serde(rename = "postern.dev")]
    Postern,
}

/// A kind that policies can be attached to.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum TargetKind {
    /// All mail of a gateway or a listener.
    MailGateway,
    /// The mail of a route or a rule.
    MailRoute,
    /// The mail of a sender.
    MailSender,
}

/// Whether a policy acts.
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
pub enum Mode {
    /// It does.
    #[default]
    Enforce,
    /// It only shows what it would do.
    Monitor,
}

/// The sections of a policy. Each is taken or left whole when policies are merged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
pub struct Sections {
    /// Who may connect, greet, send and be sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// How much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// How long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// Who a mail is really from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<Verify>,
    /// What is written on accepted mail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
}

/// The state of a MailPolicy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MailPolicyStatus {
    /// The worst over all ancestors: `Accepted` and `Programmed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
    /// The gateways on which the policy acts, one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub ancestors: Vec<AncestorStatus>,
}

/// How a policy fares on one gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AncestorStatus {
    /// The MailGateway on which the policy acts, or the target itself where there is none.
    pub ancestor_ref: AncestorReference,
    /// Who wrote this entry: `postern.dev/<className>`.
    #[schemars(length(min = 1, max = 253))]
    pub controller_name: String,
    /// `Accepted` and `Programmed` on this gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
}

/// An object on which a policy acts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AncestorReference {
    /// The API group.
    #[schemars(length(max = 253))]
    pub group: String,
    /// The kind.
    pub kind: TargetKind,
    /// The namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub namespace: Option<String>,
    /// The name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The listener, where the policy names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub section_name: Option<String>,
}

/// A section, and those of its fields that act before the recipient, and so the route, is known.
pub(crate) const BEFORE_RCPT: [(&str, &[&str]); 3] = [
    ("access", &["clients", "helo", "senders"]),
    (
        "limits",
        &[
            "connections",
            "connectionsPerNetwork",
            "commands",
            "errors",
            "bareNewlines",
        ],
    ),
    ("timeouts", &["command", "session"]),
];

/// What a MailRoute's policy with such a field is answered with.
pub(crate) fn before_rcpt_message(section: &str, fields: &[&str]) -> String {
    let fields = fields.join(", ");
    format!(
        "of {section}, these act before the recipient is known and cannot be attached to a \
         MailRoute: {fields}"
    )
}

/// No field of `section` that acts before RCPT, where a target is a MailRoute.
fn before_rcpt_rule(part: &str, section: &str, fields: &[&str]) -> Rule {
    let present: Vec<_> = fields
        .iter()
        .map(|field| format!("has(self.{part}.{section}.{field})"))
        .collect();
    rule(
        &format!(
            "!has(self.{part}) || !has(self.{part}.{section}) || \
             !self.targetRefs.exists(t, t.kind == 'MailRoute') || !({})",
            present.join(" || ")
        ),
        &format!(".{part}.{section}"),
        &before_rcpt_message(section, fields),
    )
}

fn spec_rules() -> Vec<Rule> {
    let mut rules = vec![
        rule(
            "self.targetRefs.all(a, self.targetRefs.exists_one(b, a == b))",
            ".targetRefs",
            "targetRefs must differ from each other",
        ),
        value_rule(
            "has(self.defaults) || has(self.overrides)",
            "defaults or overrides is needed: the policy says nothing",
        ),
    ];
    for part in ["defaults", "overrides"] {
        rules.extend(BEFORE_RCPT.map(|(section, fields)| before_rcpt_rule(part, section, fields)));
    }
    rules
}

fn target_rules() -> [Rule; 1] {
    [rule(
        "self.kind != 'MailSender' || !has(self.sectionName)",
        ".sectionName",
        "a MailSender has no sections: remove sectionName",
    )]
}
