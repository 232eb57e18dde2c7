//! The table of good and bad objects, read: one file for each kind, told in `mailgateway.yaml`.

use serde::Deserialize;
use serde_json::{Value, json};

/// The objects of one kind.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    pub kind: String,
    base: Value,
    pub cases: Vec<Case>,
}

/// One rule, by what it lets pass and what it does not.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    /// Before the change, where the rule is about a change.
    pub from: Option<Value>,
    pub accept: Option<Value>,
    pub reject: Option<Value>,
    /// Where the error is shown.
    #[serde(default)]
    pub path: String,
    /// A part of what the API server says.
    #[serde(default)]
    pub message: String,
    /// A part of what this crate says, where it is not the same.
    pub here: Option<String>,
}

impl Table {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let files = [
            include_str!("mailgateway.yaml"),
            include_str!("mailroute.yaml"),
            include_str!("mailpolicy.yaml"),
        ];
        files
            .into_iter()
            .map(|text| serde_saphyr::from_str(text).expect("a table"))
            .collect()
    }

    /// The object that a patch of the base's spec makes.
    pub fn object(&self, name: &str, patch: &Value) -> Value {
        let mut spec = self.base.clone();
        merge(&mut spec, patch);
        json!({
            "apiVersion": "postern.dev/v1alpha1",
            "kind": self.kind,
            "metadata": {"name": name},
            "spec": spec,
        })
    }
}

/// RFC 7386 §2.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().expect("made one");
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.as_str()).or_insert(Value::Null), value);
        }
    }
}
