//! Whether an object in the cluster is already what it should be.
//!
//! Server-side apply would find that out too, but by a write. Here the desired object is compared
//! with the live one: everything that we would set must be there with the same value; what others
//! have added, and what the API server has filled in, does not matter.

use serde_json::{Map, Value};

/// Whether `live` has everything that `desired` has. Empty and null say nothing; lists of named
/// objects are compared by name, other lists by position and length; quantities by their amount.
pub(super) fn holds(desired: &Value, live: &Value) -> bool {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => object_holds(desired, live),
        (Value::Array(desired), Value::Array(live)) => list_holds(desired, live),
        (Value::String(desired), Value::String(live)) => {
            desired == live || same_amount(desired, live)
        }
        _ => desired == live,
    }
}

fn object_holds(desired: &Map<String, Value>, live: &Map<String, Value>) -> bool {
    desired.iter().all(|(key, value)| match live.get(key) {
        Some(live) => holds(value, live),
        None => says_nothing(value),
    })
}

fn list_holds(desired: &[Value], live: &[Value]) -> bool {
    let named = !desired.is_empty() && desired.iter().all(|item| name(item).is_some());
    if named {
        return desired.iter().all(|item| {
            let twin = live.iter().find(|candidate| name(candidate) == name(item));
            twin.is_some_and(|twin| holds(item, twin))
        });
    }
    desired.len() == live.len() && desired.iter().zip(live).all(|(d, l)| holds(d, l))
}

fn name(item: &Value) -> Option<&str> {
    item.get("name")?.as_str()
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The API server writes `1000m` as `1` and `1024Mi` as `1Gi`.
fn same_amount(desired: &str, live: &str) -> bool {
    match (amount(desired), amount(live)) {
        (Some(desired), Some(live)) => desired == live,
        _ => false,
    }
}

/// Thousandths, of a Quantity with a suffix that occurs in resources.
fn amount(text: &str) -> Option<u128> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let number: u128 = number.parse().ok()?;
    let unit: u128 = match suffix {
        "m" => 1,
        "" => 1000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        _ => return None,
    };
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_others_add_does_not_matter() {
        let desired = json!({"spec": {"replicas": 2, "template": {"containers": [
            {"name": "gateway", "ports": [{"name": "mx", "containerPort": 10025}]}]}}});
        let live = json!({"spec": {"replicas": 2, "paused": false, "template": {"containers": [
            {"name": "mesh"},
            {"name": "gateway", "ports": [
                {"name": "mx", "containerPort": 10025, "protocol": "TCP"}]}]}}});
        assert!(holds(&desired, &live));
    }

    #[test]
    fn what_was_changed_or_taken_away_does() {
        let desired = json!({"spec": {"ports": [{"port": 25}], "type": "LoadBalancer"}});
        for live in [
            json!({"spec": {"ports": [{"port": 26}], "type": "LoadBalancer"}}),
            json!({"spec": {"ports": [{"port": 25}, {"port": 26}], "type": "LoadBalancer"}}),
            json!({"spec": {"ports": [{"port": 25}]}}),
            json!({"spec": {"ports": [], "type": "LoadBalancer"}}),
        ] {
            assert!(!holds(&desired, &live), "{live}");
        }
    }

    #[test]
    fn quantities_are_compared_by_amount_and_nothing_equals_absent() {
        assert!(holds(&json!({"cpu": "1000m"}), &json!({"cpu": "1"})));
        assert!(holds(
            &json!({"memory": "1024Mi"}),
            &json!({"memory": "1Gi"})
        ));
        assert!(!holds(&json!({"cpu": "100m"}), &json!({"cpu": "100"})));
        assert!(holds(&json!({"a": {}, "b": [], "c": null}), &json!({})));
        assert!(!holds(&json!({"a": false}), &json!({})));
    }
}
