//! The table of good and bad objects against `schema` and `validate`, and against the list of CEL
//! rules: a rule without an accepted and a rejected object fails. `tests/tests/crds.rs` runs the
//! same table against a real API server.

#![allow(
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "test code"
)]

#[path = "objects/table.rs"]
mod table;

use postern_crds::schema::{FieldError, Kind, parse};
use postern_crds::{MailGateway, MailPolicy, MailRoute, crds, validate};
use serde::Serialize;
use serde_json::Value;
use table::{Case, Table};

#[test]
fn the_table_holds_without_an_api_server() {
    let mut wrong = Vec::new();
    for table in Table::all() {
        for case in &table.cases {
            let verdict = match table.kind.as_str() {
                "MailGateway" => case.from.as_ref().map_or_else(
                    || judge::<MailGateway>(&table, case),
                    |from| judge_change(&table, case, from),
                ),
                "MailRoute" => judge::<MailRoute>(&table, case),
                "MailPolicy" => judge::<MailPolicy>(&table, case),
                other => panic!("{other} is no kind"),
            };
            wrong.extend(
                verdict
                    .err()
                    .map(|why| format!("{}, {}: {why}", table.kind, case.name)),
            );
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn judge<K: Kind + Serialize>(table: &Table, case: &Case) -> Result<(), String> {
    if let Some(patch) = &case.accept {
        let object = parse::<K>(&table.object("good", patch))
            .map_err(|e| format!("refused: {}", shown(&e)))?;
        // What is written back means the same.
        let written = serde_json::to_value(&object).expect("an object is JSON");
        let again = parse::<K>(&written)
            .map_err(|e| format!("refused when written back: {}", shown(&e)))?;
        if serde_json::to_value(&again).expect("an object is JSON") != written {
            return Err("changes when it is read again".to_owned());
        }
    }
    let Some(patch) = &case.reject else {
        return Ok(());
    };
    match parse::<K>(&table.object("bad", patch)) {
        Ok(_) => Err("accepted".to_owned()),
        Err(errors) => expect(case, &errors),
    }
}

fn judge_change(table: &Table, case: &Case, from: &Value) -> Result<(), String> {
    let read = |patch| {
        let object = table.object("changing", patch);
        parse::<MailGateway>(&object)
            .map_err(|e| shown(&e))
            .map(|gateway| gateway.spec)
    };
    let old = read(from)?;
    if let Some(patch) = &case.accept {
        validate::mail_gateway_update(&old, &read(patch)?).map_err(|e| shown(&e))?;
    }
    let Some(patch) = &case.reject else {
        return Ok(());
    };
    match validate::mail_gateway_update(&old, &read(patch)?) {
        Ok(()) => Err("accepted".to_owned()),
        Err(errors) => expect(case, &errors),
    }
}

fn expect(case: &Case, errors: &[FieldError]) -> Result<(), String> {
    let message = case.here.as_ref().unwrap_or(&case.message);
    let said = errors
        .iter()
        .any(|e| e.path == case.path && e.message.contains(message.as_str()));
    let wanted = format!("{}: {message}", case.path);
    if said {
        Ok(())
    } else {
        Err(format!("wanted {wanted:?}, got {}", shown(errors)))
    }
}

fn shown(errors: &[FieldError]) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

#[test]
fn every_cel_rule_has_an_accepted_and_a_rejected_object() {
    let tables = Table::all();
    let mut count = 0;
    let mut without = Vec::new();
    for crd in crds() {
        let table = tables
            .iter()
            .find(|t| t.kind == crd.spec.names.kind)
            .expect("a table");
        let mut rules = Vec::new();
        collect(
            &serde_json::to_value(&crd.spec.versions).expect("JSON"),
            &mut rules,
        );
        rules.sort_by_key(ToString::to_string);
        rules.dedup();
        count += rules.len();
        without.extend(
            rules
                .into_iter()
                .filter(|rule| !covered(table, rule))
                .map(|rule| format!("{}: {rule}", table.kind)),
        );
    }
    assert!(
        without.is_empty(),
        "rules without a pair of objects:\n{}",
        without.join("\n")
    );
    assert!(count > 30, "only {count} rules were found");
}

/// All rules in a schema and below it.
fn collect(schema: &Value, rules: &mut Vec<Value>) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::Array(own)) = fields.get("x-kubernetes-validations") {
                rules.extend(own.iter().cloned());
            }
            fields.values().for_each(|below| collect(below, rules));
        }
        Value::Array(items) => items.iter().for_each(|below| collect(below, rules)),
        _ => {}
    }
}

fn covered(table: &Table, rule: &Value) -> bool {
    let field_path = rule["fieldPath"].as_str().unwrap_or_default();
    table.cases.iter().any(|case| {
        case.accept.is_some()
            && case.reject.is_some()
            && rule["message"] == case.message.as_str()
            && case.path.ends_with(field_path)
    })
}

#[test]
fn every_string_and_every_list_has_an_end_and_nothing_is_nullable() {
    let crds = serde_json::to_value(crds()).expect("JSON");
    let mut endless = Vec::new();
    for crd in crds.as_array().expect("a list") {
        let name = crd["metadata"]["name"].as_str().expect("a name");
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        look(schema, name, &mut endless);
    }
    assert!(endless.is_empty(), "\n{}", endless.join("\n"));
}

fn look(schema: &Value, path: &str, endless: &mut Vec<String>) {
    if schema.is_null() {
        return;
    }
    let is = |kind: &str| schema["type"] == kind;
    let has = |key: &str| !schema[key].is_null();
    let wrong = [
        (
            is("string") && !has("maxLength") && !has("enum") && !has("format"),
            "has no maxLength",
        ),
        (is("array") && !has("maxItems"), "has no maxItems"),
        (
            is("object") && has("additionalProperties") && !has("maxProperties"),
            "has no maxProperties",
        ),
        (has("nullable"), "is nullable"),
        (
            schema["format"]
                .as_str()
                .is_some_and(|f| f.starts_with('u')),
            "has a format of Rust's",
        ),
    ];
    endless.extend(
        wrong
            .iter()
            .filter(|(wrong, _)| *wrong)
            .map(|(_, why)| format!("{path} {why}")),
    );
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        look(below, &format!("{path}.{name}"), endless);
    }
    for key in ["items", "additionalProperties"] {
        look(&schema[key], &format!("{path}[]"), endless);
    }
}

#[test]
fn every_field_is_described() {
    fn bare(schema: &Value, path: &str, found: &mut Vec<String>) {
        for (name, below) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            // Kubernetes' own types are documented by Kubernetes.
            if path.ends_with("affinity") || path.ends_with("metadata") {
                continue;
            }
            if below["description"].is_null()
                && !["apiVersion", "kind", "status"].contains(&name.as_str())
            {
                found.push(path.clone());
            }
            bare(below, &path, found);
            if below["items"].is_object() {
                bare(&below["items"], &path, found);
            }
        }
    }
    let mut found = Vec::new();
    for crd in serde_json::to_value(crds())
        .expect("JSON")
        .as_array()
        .expect("a list")
    {
        let name = crd["metadata"]["name"].as_str().expect("a name");
        bare(
            &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"],
            name,
            &mut found,
        );
    }
    assert!(
        found.is_empty(),
        "without a description:\n{}",
        found.join("\n")
    );
}
