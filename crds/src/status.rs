//! What the statuses of all kinds share: conditions in the vocabulary of the Gateway API.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::common::ParentReference;

/// The spec is valid and nothing stands against it.
pub const ACCEPTED: &str = "Accepted";
/// Everything that the spec refers to is there, of the right type and permitted.
pub const RESOLVED_REFS: &str = "ResolvedRefs";
/// Every ready pod of the gateway runs it.
pub const PROGRAMMED: &str = "Programmed";
/// The reason of every condition that no controller has written yet.
pub const PENDING: &str = "Pending";

/// How a route fares at one of its parents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentStatus {
    /// The parent, as the spec names it.
    pub parent_ref: ParentReference,
    /// Who wrote this entry: `postern.dev/<className>`.
    #[schemars(length(min = 1, max = 253))]
    pub controller_name: String,
    /// `Accepted`, `ResolvedRefs` and `Programmed` at this parent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
}

/// A list of conditions, keyed by type, as `metav1.Condition` has it (k8s-openapi's own schema
/// lacks the bounds).
pub(crate) fn conditions_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "maxItems": 8,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "type": {
                    "type": "string",
                    "description": "What is judged: Accepted, ResolvedRefs or Programmed.",
                    "maxLength": 316,
                    "pattern": "^[A-Za-z][A-Za-z0-9/.-]*$",
                },
                "status": {
                    "type": "string",
                    "description": "True, False or Unknown.",
                    "enum": ["True", "False", "Unknown"],
                },
                "reason": {
                    "type": "string",
                    "description": "Why, in one word for programs.",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "message": {
                    "type": "string",
                    "description": "Why, in words for people, and what to do.",
                    "maxLength": 32768,
                },
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                    "description": "The metadata.generation that was judged.",
                },
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "description": "When the status last changed.",
                },
            },
        },
    })
}

/// The status that the API server shows until a controller writes one: Unknown, Pending.
pub(crate) fn pending_status() -> serde_json::Value {
    let condition = |kind: &str| {
        json!({
            "type": kind,
            "status": "Unknown",
            "reason": PENDING,
            "message": "Waiting for a controller",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        })
    };
    json!({"conditions": [condition(ACCEPTED), condition(PROGRAMMED)]})
}
