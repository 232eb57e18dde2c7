//! What a person who mistypes is told. The table in `tests/objects` holds the rest.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;

fn faults(object: &Value) -> Vec<String> {
    let faults = check::<MailGateway>(object);
    // The order is the object's own, which depends on how it was read.
    let texts: BTreeSet<_> = faults.iter().map(ToString::to_string).collect();
    texts.into_iter().collect()
}

fn gateway(spec: &Value) -> Value {
    json!({"apiVersion": "postern.dev/v1alpha1", "kind": "MailGateway", "metadata": {"name": "edge"}, "spec": spec})
}

#[test]
fn a_typing_error_is_told_with_what_was_meant() {
    let object = gateway(&json!({
        "hostname": "mx.example.com",
        "listeners": [{"name": "mx", "port": 25, "protcol": "SMTP"}],
    }));
    assert_eq!(
        faults(&object),
        [
            "spec.listeners[0].protcol: is unknown; did you mean protocol?",
            "spec.listeners[0].protocol: is required",
        ]
    );
}

#[test]
fn all_faults_are_told_at_once() {
    let object =
        gateway(&json!({"hostname": 7, "listeners": {}, "infrastructure": {"replicas": "two"}}));
    assert_eq!(
        faults(&object),
        [
            "spec.hostname: must be a string (put it in quotes if it looks like something else), not 7",
            "spec.infrastructure.replicas: must be a whole number, not \"two\"",
            "spec.listeners: must be a list, not an object",
        ]
    );
}

#[test]
fn an_object_without_a_spec_is_told_so() {
    assert_eq!(faults(&json!({"metadata": {}})), ["spec: is required"]);
    assert_eq!(
        faults(&json!([])),
        ["the object: must be an object, not a list"]
    );
}

#[test]
fn an_endless_list_is_not_walked() {
    let listener = json!({"name": "mx", "port": 25, "protocol": "SMTP"});
    let object =
        gateway(&json!({"hostname": "mx.example.com", "listeners": vec![listener; 100_000]}));
    assert_eq!(
        faults(&object),
        ["spec.listeners: must have at most 16 items, not 100000"]
    );
}

#[test]
fn every_pattern_compiles_here() {
    fn patterns(schema: &Value, found: &mut Vec<String>) {
        match schema {
            Value::Object(fields) => {
                if let Some(Value::String(pattern)) = fields.get("pattern") {
                    found.push(pattern.clone());
                }
                fields.values().for_each(|below| patterns(below, found));
            }
            Value::Array(items) => items.iter().for_each(|below| patterns(below, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    patterns(&serde_json::to_value(crate::crds()).unwrap(), &mut found);
    assert!(found.len() > 20);
    for pattern in found {
        assert!(regex::Regex::new(&pattern).is_ok(), "{pattern}");
    }
}
