//! The output of [`translate`](crate::translate::translate): what shall be, for every gateway, and
//! what is to be told of every object.
//!
//! Snapshots go to the writer of chunks, manifests to server-side apply, [`Generate`] to whoever
//! makes keys once and lets `observe` read them back, statuses to `report`, which adds times and
//! what the pods acknowledge.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use postern_config::Snapshot;
use postern_crds::common::ParentReference;
use postern_crds::mail_policy::AncestorReference;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

use crate::world::ObjectKey;

/// Everything that follows from a [`World`](crate::world::World).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Translation {
    /// The gateways of our class. One that is not here is none of ours.
    pub gateways: BTreeMap<ObjectKey, GatewayOutput>,
    /// MailGateways of our class.
    pub gateway_statuses: BTreeMap<ObjectKey, GatewayStatus>,
    /// MailRoutes with a parent that is ours, or that does not exist.
    pub route_statuses: BTreeMap<ObjectKey, RouteStatus>,
    /// MailPolicies with a target that is ours, or that does not exist.
    pub policy_statuses: BTreeMap<ObjectKey, PolicyStatus>,
    /// When the same world would be translated otherwise: the next time that a certificate begins
    /// or ends to be valid.
    pub recheck_at: Option<Timestamp>,
}

/// What shall be for one gateway.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GatewayOutput {
    /// What its pods shall run; `None` leaves them what they run (the gateway is not accepted).
    pub snapshot: Option<Snapshot>,
    /// Its objects in the cluster; `None` leaves them as they are (not accepted, or under
    /// [`Mode::Standalone`](crate::world::Mode)).
    pub manifests: Option<Box<Manifests>>,
    /// What must be made once, before all of the gateway can work.
    pub generate: Vec<Generate>,
    /// Names of all generated Secrets that the gateway needs, made already or not. Others that
    /// carry its uid can be swept.
    pub generated: BTreeSet<ObjectKey>,
}

/// The objects of a gateway, with labels, annotations and owner references, for server-side apply.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifests {
    /// Whom the pods run as.
    pub service_account: ServiceAccount,
    /// What they may read: the head and the chunks of both sets, by name.
    pub role: Role,
    /// Joins the two.
    pub role_binding: RoleBinding,
    /// The pods.
    pub deployment: Deployment,
    /// Where clients connect.
    pub service: Service,
    /// One pod at a time.
    pub pod_disruption_budget: PodDisruptionBudget,
    /// Listener ports for all, the admin port for operator and monitoring.
    pub network_policy: NetworkPolicy,
}

/// Something to be created once and read back by `observe`, never overwritten.
#[derive(Debug, Clone, PartialEq)]
pub struct Generate {
    /// The Secret (type kubernetes.io/tls) that holds it in a cluster, and its key in
    /// [`World::generated`](crate::world::World).
    pub name: ObjectKey,
    /// What it is.
    pub kind: GenerateKind,
    /// The MailGateway; absent where objects have no uid (in files).
    pub owner: Option<OwnerReference>,
    /// Labels of the Secret, the uid of the object that it serves among them.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the Secret.
    pub annotations: BTreeMap<String, String>,
}

/// What can be generated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GenerateKind {
    /// A self-signed certificate with its key.
    SelfSigned {
        /// The host name, as subject and as the only DNS name.
        hostname: String,
    },
}

/// The status of a condition that translate decides, with its reason and message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// True or False.
    pub status: bool,
    /// Why, in the Gateway API's words where it has them.
    pub reason: &'static str,
    /// Why, in a sentence that says what to do.
    pub message: String,
}

/// Whether pods will run it: what `report` makes the condition Programmed of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Programming {
    /// It is in the snapshot whole: True once the pods have acknowledged that.
    Whole,
    /// It is in the snapshot in part: as above, with this reason and message.
    Partial {
        /// `PartiallyProgrammed`.
        reason: &'static str,
        /// Which part is not, and why.
        message: String,
    },
    /// It is not: False whatever the pods say.
    Not {
        /// Why, in one word.
        reason: &'static str,
        /// Why, in a sentence.
        message: String,
    },
}

/// The conditions of an object, a listener, a parent or an ancestor. All carry the generation of
/// the object as `observedGeneration`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Conditions {
    /// `Accepted`.
    pub accepted: Verdict,
    /// `ResolvedRefs`; absent on MailPolicies, which refer to nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_refs: Option<Verdict>,
    /// What `Programmed` is made of.
    pub programming: Programming,
}

/// The status of a MailGateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatus {
    /// `metadata.generation` that was judged; 0 in files.
    pub generation: i64,
    /// The worst over all listeners.
    pub conditions: Conditions,
    /// The listeners, in the order of the spec.
    pub listeners: Vec<ListenerStatus>,
}

/// The status of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// Its name.
    pub name: String,
    /// Routes with at least one claim that it serves.
    pub attached_routes: i32,
    /// Its conditions.
    pub conditions: Conditions,
}

/// The status of a MailRoute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteStatus {
    /// `metadata.generation` that was judged; 0 in files.
    pub generation: i64,
    /// The worst over `parents`, and over parents that do not exist.
    pub conditions: Conditions,
    /// The parents of our class that exist, in the order of the spec.
    pub parents: Vec<ParentStatus>,
}

/// The status of a MailRoute at one parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentStatus {
    /// As the spec has it.
    pub parent_ref: ParentReference,
    /// The MailGateway whose pods decide Programmed.
    #[serde(skip)]
    pub gateway: ObjectKey,
    /// The conditions there.
    pub conditions: Conditions,
}

/// The status of a MailPolicy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// `metadata.generation` that was judged; 0 in files.
    pub generation: i64,
    /// The worst over `ancestors`, and over targets that do not exist.
    pub conditions: Conditions,
    /// The gateways on which the policy acts, and targets that have none; at most 32.
    pub ancestors: Vec<AncestorStatus>,
}

/// The status of a MailPolicy on one gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AncestorStatus {
    /// The MailGateway (with its listener, where the policy names one), or the target itself.
    pub ancestor_ref: AncestorReference,
    /// The MailGateway whose pods decide Programmed; `None` when no gateway has the target.
    #[serde(skip)]
    pub gateway: Option<ObjectKey>,
    /// The conditions there.
    pub conditions: Conditions,
}
