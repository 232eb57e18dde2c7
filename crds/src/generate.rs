//! The CustomResourceDefinitions, as an API server takes them.
//!
//! Out of the Rust types come schemas; this module makes them say what Kubernetes understands and
//! no more: no `nullable` (so that null is an error and cannot slip past a rule), no number formats
//! that only schemars knows, a bound on every list and string of embedded Kubernetes types, and a
//! status that says Pending before any controller has spoken.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use kube::core::schema::{OptionalEnum, OptionalIntOrString, StructuralSchemaRewriter};
use schemars::generate::SchemaSettings;
use schemars::transform::AddNullable;
use serde_json::{Map, Value, json};

use crate::status::pending_status;
use crate::{MailGateway, MailPolicy, MailRoute};

/// The longest string and the longest list of embedded types that set no bound themselves. What
/// they hold is bounded by Kubernetes: label values by 63, keys by 317 characters.
const EMBEDDED_MAX_LENGTH: u32 = 1024;
const EMBEDDED_MAX_ITEMS: u32 = 64;

/// All kinds, in the order in which a reader meets them.
///
/// # Panics
/// Never: the types are fixed at build time, and a test generates them all.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    [MailGateway::crd(), MailRoute::crd(), MailPolicy::crd()]
        .into_iter()
        .map(finish)
        .collect()
}

/// All kinds as one YAML stream of documents, the same at every call.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "a CustomResourceDefinition always has a YAML form"
)]
pub fn yaml() -> String {
    let documents = crds().into_iter().map(|crd| {
        let body = serde_saphyr::to_string(&crd).expect("a definition serializes");
        format!("---\n{body}")
    });
    documents.collect()
}

/// One kind's definition, made fit for an API server.
#[expect(clippy::expect_used, reason = "what was a definition stays one")]
fn finish(crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let mut crd = serde_json::to_value(crd).expect("a definition is JSON");
    for version in crd["spec"]["versions"].as_array_mut().into_iter().flatten() {
        let schema = &mut version["schema"]["openAPIV3Schema"];
        clean(schema);
        schema["properties"]["status"]["default"] = pending_status();
    }
    serde_json::from_value(crd).expect("a definition is a definition")
}

/// How schemas are made of types: as kube's `CustomResource` does it.
pub(crate) fn settings() -> SchemaSettings {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    settings
        .with_transform(AddNullable::default())
        .with_transform(StructuralSchemaRewriter)
        .with_transform(OptionalEnum)
        .with_transform(OptionalIntOrString)
}

/// Makes a schema and all below it fit.
pub(crate) fn clean(schema: &mut Value) {
    let Some(node) = schema.as_object_mut() else {
        return;
    };
    node.remove("nullable");
    unwrap_description(node);
    clean_format(node);
    bound(node);
    for below in ["items", "additionalProperties"] {
        node.get_mut(below).map(clean);
    }
    let properties = node.get_mut("properties").and_then(Value::as_object_mut);
    properties
        .into_iter()
        .flat_map(Map::values_mut)
        .for_each(clean);
}

/// A doc comment is wrapped for the reader of the source; the reader of `kubectl explain` has a
/// width of his own. Empty lines stay.
fn unwrap_description(node: &mut Map<String, Value>) {
    if let Some(Value::String(text)) = node.get_mut("description") {
        let paragraphs: Vec<_> = text
            .split("\n\n")
            .map(|part| part.replace('\n', " "))
            .collect();
        *text = paragraphs.join("\n\n");
    }
}

/// Kubernetes knows int32 and int64, and warns about `uint16` and its like.
fn clean_format(node: &mut Map<String, Value>) {
    let format = match node.get("format").and_then(Value::as_str) {
        Some("uint8" | "uint16" | "int8" | "int16") => "int32",
        Some("uint32" | "uint64") => "int64",
        _ => return,
    };
    node.insert("format".into(), json!(format));
}

/// Every string and every list has an end.
fn bound(node: &mut Map<String, Value>) {
    let has = |key: &str| node.contains_key(key);
    match node.get("type").and_then(Value::as_str) {
        Some("string") if !has("maxLength") && !has("enum") && !has("format") => {
            node.insert("maxLength".into(), json!(EMBEDDED_MAX_LENGTH));
        }
        Some("array") if !has("maxItems") => {
            node.insert("maxItems".into(), json!(EMBEDDED_MAX_ITEMS));
        }
        Some("object") if has("additionalProperties") && !has("maxProperties") => {
            node.insert("maxProperties".into(), json!(EMBEDDED_MAX_ITEMS));
        }
        _ => {}
    }
}
