//! The notation of the rules that an API server evaluates (`x-kubernetes-validations`).
//!
//! Each rule stands beside the type that it judges and has a twin of the same message in
//! [`crate::validate`]; `tests/objects.rs` holds an accepted and a rejected object for every one.

use kube::core::Rule;

/// A rule on an object. `field_path` (`.tls.mode`) is where the error is shown, below the object.
pub(crate) fn rule(expression: &str, field_path: &str, message: &str) -> Rule {
    value_rule(expression, message).field_path(field_path)
}

/// A rule whose error is shown where the value itself stands.
pub(crate) fn value_rule(expression: &str, message: &str) -> Rule {
    Rule::new(expression).message(message)
}

/// The rule of a duration field: both bounds are Go durations and allowed themselves.
pub(crate) fn duration_between(min: &str, max: &str) -> [Rule; 1] {
    let expression =
        format!("duration(self) >= duration('{min}') && duration(self) <= duration('{max}')");
    [value_rule(
        &expression,
        &format!("must be between {min} and {max}"),
    )]
}

/// The rule of a size field: both bounds are Quantities and allowed themselves.
pub(crate) fn size_between(min: &str, max: &str) -> [Rule; 1] {
    let expression = format!(
        "quantity(string(self)).compareTo(quantity('{min}')) >= 0 && \
         quantity(string(self)).compareTo(quantity('{max}')) <= 0"
    );
    [value_rule(
        &expression,
        &format!("must be between {min} and {max}"),
    )]
}
