//! The pods and the Service that the operator makes for a gateway.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cel::{duration_between, rule};
use crate::common::OBJECT_NAME;
use crate::defaults;
use crate::scalar::GoDuration;

/// Pods and Service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Infrastructure {
    /// How many pods; `kubectl scale` writes it.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: i32,
    /// The Service in front of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// How a pod ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
    /// CPU and memory of each pod. Default: requests of 100m and 128Mi, a memory limit of 1Gi.
    /// Changing it restarts the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Over what the pods are spread, as far as possible. Default: `Zone`. Changing it restarts the
    /// pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology_spread: Option<TopologySpread>,
    /// Fields of the pod template that the platform team may set. Changing them restarts the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_template_patch: Option<PodTemplatePatch>,
}

impl Default for Infrastructure {
    fn default() -> Self {
        Self {
            replicas: defaults::REPLICAS,
            service: None,
            drain: None,
            resources: None,
            topology_spread: None,
            pod_template_patch: None,
        }
    }
}

fn default_replicas() -> i32 {
    defaults::REPLICAS
}

/// The Service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = service_rules()))]
pub struct Service {
    /// The Service's type. Default: `LoadBalancer`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<ServiceType>,
    /// `Local` keeps the client's address, which SPF and limits need; `Cluster` hides it. Only for
    /// `LoadBalancer` and `NodePort`. Default: `Local`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<ExternalTrafficPolicy>,
    /// Annotations for the load balancer. Keys under `postern.dev/` are ours.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "annotations_schema")]
    pub annotations: BTreeMap<String, String>,
}

/// A type of Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// An address from the cloud's or the cluster's load balancer.
    #[default]
    LoadBalancer,
    /// A port on every node.
    NodePort,
    /// Reachable in the cluster only.
    #[serde(rename = "ClusterIP")]
    ClusterIp,
}

/// Which pods a node hands outside connections to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ExternalTrafficPolicy {
    /// To those on the same node, with the client's address.
    #[default]
    Local,
    /// To any, with a node's address.
    Cluster,
}

/// How a pod ends: it goes on accepting for `minDuration`, then finishes what is open until
/// `timeout`, counted from the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = drain_rules()))]
pub struct Drain {
    /// How long new connections are still taken, because load balancers still send them. Less than
    /// `timeout`. Default: 30s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_duration: Option<GoDuration>,
    /// When open transactions get 421; at most 1h. Changing it restarts the pods. Default: 5m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = duration_between("1s", "1h")))]
    pub timeout: Option<GoDuration>,
}

/// CPU and memory, as in a container's `resources`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What is set aside for the pod, by name: `cpu`, `memory`, `ephemeral-storage`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities_schema")]
    pub requests: BTreeMap<String, Quantity>,
    /// What the pod cannot exceed, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities_schema")]
    pub limits: BTreeMap<String, Quantity>,
}

/// Over what pods are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TopologySpread {
    /// Over zones, then over nodes.
    #[default]
    Zone,
    /// Over nodes.
    Node,
    /// As the scheduler likes.
    None,
}

/// The part of a pod template that may be set. Everything else of it is the operator's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = pod_template_patch_rules()))]
pub struct PodTemplatePatch {
    /// Labels to add. Keys under `postern.dev/` are ours.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels_schema")]
    pub labels: BTreeMap<String, String>,
    /// Annotations to add. Keys under `postern.dev/` are ours.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "annotations_schema")]
    pub annotations: BTreeMap<String, String>,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels_schema")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that the pods bear.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// Where the pods may or should run, as in a pod's `spec.affinity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(transform = without_descriptions)]
    pub affinity: Option<Affinity>,
    /// The pods' PriorityClass.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub priority_class_name: Option<String>,
    /// The pods' RuntimeClass.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub runtime_class_name: Option<String>,
    /// Secrets with which the image is pulled, in the gateway's namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Environment variables to add, by value only. Names that begin with `POSTERN_` are ours.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,
}

/// An object in the same namespace, by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LocalObjectReference {
    /// The object's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
}

/// An environment variable. It cannot refer to Secrets: who may write a MailGateway may not
/// therefore read them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = env_rules()))]
pub struct EnvVar {
    /// The variable's name.
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = "^[A-Za-z_][A-Za-z0-9_]*$")
    )]
    pub name: String,
    /// The variable's value. Default: empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub value: String,
}

/// Kubernetes documents its own types; what it says of affinity would be a third of this kind.
fn without_descriptions(schema: &mut schemars::Schema) {
    fn below(value: &mut serde_json::Value) {
        let Some(node) = value.as_object_mut() else {
            return;
        };
        // A field may be called `description`; a description is a string.
        node.retain(|key, value| key != "description" || !value.is_string());
        node.values_mut().for_each(below);
    }
    for below_field in ["properties", "anyOf"] {
        match schema.get_mut(below_field) {
            Some(serde_json::Value::Array(parts)) => parts.iter_mut().for_each(below),
            Some(part) => below(part),
            None => {}
        }
    }
}

fn labels_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    string_map(64, 63)
}

fn annotations_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    string_map(64, 4096)
}

/// An object of at most `properties` strings of at most `length` characters.
fn string_map(properties: u32, length: u32) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": properties,
        "additionalProperties": {"type": "string", "maxLength": length},
    })
}

fn quantities_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {
            "x-kubernetes-int-or-string": true,
            "maxLength": 32,
            "pattern": "^[0-9]+(\\.[0-9]+)?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$",
        },
    })
}

/// What labels and annotations under `postern.dev/` are answered with; `field` names the map.
pub(crate) fn reserved_keys_message(field: &str) -> String {
    format!("{field} under postern.dev/ are set by the operator")
}

/// No key of the map `field` is ours.
fn reserved_keys_rule(field: &str) -> Rule {
    rule(
        &format!("!has(self.{field}) || self.{field}.all(k, !k.startsWith('postern.dev/'))"),
        &format!(".{field}"),
        &reserved_keys_message(field),
    )
}

fn service_rules() -> [Rule; 2] {
    [
        rule(
            "!(has(self.externalTrafficPolicy) && has(self.type) && self.type == 'ClusterIP')",
            ".externalTrafficPolicy",
            "externalTrafficPolicy is for type LoadBalancer and NodePort: ClusterIP has no outside",
        ),
        reserved_keys_rule("annotations"),
    ]
}

fn drain_rules() -> [Rule; 1] {
    [rule(
        "duration(has(self.minDuration) ? self.minDuration : '30s') < \
         duration(has(self.timeout) ? self.timeout : '5m')",
        ".minDuration",
        "minDuration (default 30s) must be less than timeout (default 5m)",
    )]
}

fn pod_template_patch_rules() -> [Rule; 2] {
    [
        reserved_keys_rule("labels"),
        reserved_keys_rule("annotations"),
    ]
}

fn env_rules() -> [Rule; 1] {
    [rule(
        "!self.name.startsWith('POSTERN_')",
        ".name",
        "environment variables that begin with POSTERN_ are set by the operator",
    )]
}
