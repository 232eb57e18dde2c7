//! Objects from files, judged as an API server would judge them.
//!
//! In goes one object as JSON and its kind; out come its faults by field path: unknown fields,
//! wrong types, missing fields, texts that break their grammar, bounds, duplicates in lists that
//! have a key. It reads the very schemas that [`crate::crds`] publishes, so the two cannot differ.
//! What relates fields to each other is left to [`crate::validate`].

mod check;
mod node;

use std::fmt;
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{MailGateway, MailPolicy, MailRoute, generate, validate};
use node::Node;

/// A fault in an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldError {
    /// Where: `spec.listeners[0].tls.mode`.
    pub path: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl FieldError {
    /// A fault at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for FieldError {}

/// A kind of this API: it can be read from a file and judged.
pub trait Kind: kube::Resource<DynamicType = ()> + DeserializeOwned + sealed::Sealed {
    /// The schema of the whole object.
    #[doc(hidden)]
    fn schema() -> &'static Schema;

    /// What [`crate::validate`] says of the object's spec.
    #[doc(hidden)]
    fn validate(&self) -> Result<(), Vec<FieldError>>;
}

mod sealed {
    /// Only the kinds of this crate have a schema here.
    pub trait Sealed {}
}

/// A schema, made ready for checking.
#[derive(Debug)]
pub struct Schema(Node);

macro_rules! kind {
    ($kind:ident, $validate:path) => {
        impl sealed::Sealed for $kind {}

        impl Kind for $kind {
            fn schema() -> &'static Schema {
                static SCHEMA: LazyLock<Schema> = LazyLock::new(schema_of::<$kind>);
                &SCHEMA
            }

            fn validate(&self) -> Result<(), Vec<FieldError>> {
                $validate(&self.spec)
            }
        }
    };
}

kind!(MailGateway, validate::mail_gateway);
kind!(MailRoute, validate::mail_route);
kind!(MailPolicy, validate::mail_policy);

/// Reads an object of kind `K`. `object` is the whole object, `apiVersion` and all.
///
/// # Errors
/// All faults of its structure; or, when it has none, all that [`crate::validate`] finds.
pub fn parse<K: Kind>(object: &Value) -> Result<K, Vec<FieldError>> {
    let object = &without_nulls(object);
    let faults = check::object(&K::schema().0, object);
    if !faults.is_empty() {
        return Err(faults);
    }
    // A fault here would be one that the schema does not know; it still must not pass.
    let parsed = K::deserialize(object).map_err(|e| vec![FieldError::new("", e.to_string())])?;
    parsed.validate()?;
    Ok(parsed)
}

/// The faults of an object's structure, in the order of the schema.
#[must_use]
pub fn check<K: Kind>(object: &Value) -> Vec<FieldError> {
    check::object(&K::schema().0, &without_nulls(object))
}

/// A field that is null is no field: an API server prunes it before it looks any further, since no
/// field of ours is nullable. An item of a list that is null stays, and is a fault.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let given = fields.iter().filter(|(_, value)| !value.is_null());
            given
                .map(|(name, value)| (name.clone(), without_nulls(value)))
                .collect()
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// The schema that `K` publishes, with the names of scalars still in it.
fn schema_of<K: JsonSchema>() -> Schema {
    let mut schema = generate::settings()
        .into_generator()
        .into_root_schema_for::<K>()
        .to_value();
    generate::clean(&mut schema);
    for field in ["apiVersion", "kind", "metadata"] {
        // Kubernetes knows these without being told.
        schema["properties"][field] = Value::Object(serde_json::Map::new());
    }
    Schema(Node::new(&schema))
}

#[cfg(test)]
mod tests;
