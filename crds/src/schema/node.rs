//! A structural schema in memory, with its patterns compiled.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use crate::scalar::SCALAR;

/// What one value must be like.
#[derive(Debug)]
pub(super) struct Node(pub(super) Shape);

/// The form of a value, with what bounds it.
#[derive(Debug)]
pub(super) enum Shape {
    Object(Object),
    Map {
        values: Box<Node>,
        max: u64,
    },
    Array(Array),
    String(Text),
    IntOrString(Text),
    Integer {
        min: Option<i64>,
        max: Option<i64>,
    },
    Number {
        min: Option<f64>,
        max: Option<f64>,
    },
    Boolean,
    /// Anything: what Kubernetes itself judges (metadata).
    Any,
}

/// An object with named fields.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) properties: BTreeMap<String, Node>,
    pub(super) required: Vec<String>,
    pub(super) min_properties: u64,
}

/// A list.
#[derive(Debug)]
pub(super) struct Array {
    pub(super) items: Box<Node>,
    pub(super) min: u64,
    pub(super) max: u64,
    pub(super) uniqueness: Uniqueness,
}

/// What may not occur twice in a list.
#[derive(Debug)]
pub(super) enum Uniqueness {
    None,
    Items,
    Keys(Vec<String>),
}

/// A string.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) values: Vec<String>,
    pub(super) min: u64,
    pub(super) max: u64,
    pub(super) pattern: Option<Regex>,
    pub(super) scalar: Option<String>,
}

impl Node {
    /// Reads a schema that `generate::clean` has gone over.
    pub(super) fn new(schema: &Value) -> Self {
        Self(shape(schema))
    }
}

fn shape(schema: &Value) -> Shape {
    if schema.get("x-kubernetes-int-or-string").is_some() {
        return Shape::IntOrString(text(schema));
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("string") => Shape::String(text(schema)),
        Some("boolean") => Shape::Boolean,
        Some("integer") => Shape::Integer {
            min: integer(schema, "minimum"),
            max: integer(schema, "maximum"),
        },
        Some("number") => Shape::Number {
            min: schema.get("minimum").and_then(Value::as_f64),
            max: schema.get("maximum").and_then(Value::as_f64),
        },
        Some("array") => Shape::Array(array(schema)),
        Some("object") => object(schema),
        _ => Shape::Any,
    }
}

fn object(schema: &Value) -> Shape {
    if let Some(values) = schema
        .get("additionalProperties")
        .filter(|values| values.is_object())
    {
        let max = count(schema, "maxProperties").unwrap_or(u64::MAX);
        return Shape::Map {
            values: Box::new(Node::new(values)),
            max,
        };
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    let properties = properties.into_iter().flatten();
    Shape::Object(Object {
        properties: properties
            .map(|(name, below)| (name.clone(), Node::new(below)))
            .collect(),
        required: strings(schema, "required"),
        min_properties: count(schema, "minProperties").unwrap_or(0),
    })
}

fn array(schema: &Value) -> Array {
    let keys = strings(schema, "x-kubernetes-list-map-keys");
    let uniqueness = match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => Uniqueness::Items,
        Some("map") => Uniqueness::Keys(keys),
        _ => Uniqueness::None,
    };
    Array {
        items: Box::new(Node::new(schema.get("items").unwrap_or(&Value::Null))),
        min: count(schema, "minItems").unwrap_or(0),
        max: count(schema, "maxItems").unwrap_or(u64::MAX),
        uniqueness,
    }
}

fn text(schema: &Value) -> Text {
    // A pattern that does not compile would be no pattern here: the tests compile them all.
    let pattern = schema.get("pattern").and_then(Value::as_str);
    Text {
        values: strings(schema, "enum"),
        min: count(schema, "minLength").unwrap_or(0),
        max: count(schema, "maxLength").unwrap_or(u64::MAX),
        pattern: pattern.and_then(|pattern| Regex::new(pattern).ok()),
        scalar: schema
            .get(SCALAR)
            .and_then(Value::as_str)
            .map(str::to_owned),
    }
}

fn strings(schema: &Value, key: &str) -> Vec<String> {
    let values = schema
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    values
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn count(schema: &Value, key: &str) -> Option<u64> {
    schema.get(key).and_then(Value::as_u64)
}

/// Bounds may be written as floating point numbers: JSONSchemaProps has no others.
fn integer(schema: &Value, key: &str) -> Option<i64> {
    let bound = schema.get(key)?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "bounds of integers are whole numbers"
    )]
    bound
        .as_i64()
        .or_else(|| bound.as_f64().map(|bound| bound as i64))
}
