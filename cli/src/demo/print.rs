//! How the demonstration shows a transaction: reply, verdicts, whereabouts, trace as a tree.

use postern_gateway::telemetry::record::{SpanRecord, TransactionRecord, Value};
use std::fmt::Write as _;
use std::time::SystemTime;

/// Columns of a tree's names, so that times stand below each other.
const NAMES: usize = 34;

/// The verdict of each check, a line each.
#[must_use]
pub(super) fn checks(record: &TransactionRecord) -> String {
    record.checks.iter().fold(String::new(), |mut text, check| {
        let detail = if check.detail.is_empty() {
            String::new()
        } else {
            format!(" ({})", check.detail)
        };
        let policy = check.policy.as_deref().unwrap_or("default");
        // Writing to a String cannot fail; the same holds below.
        let _ = writeln!(
            text,
            "    {:<8} {}{detail} -> {} [{policy}]",
            check.check, check.result, check.action
        );
        text
    })
}

/// The trace: every span below the transaction with its start and length.
#[must_use]
pub(super) fn trace(record: &TransactionRecord) -> String {
    let mut text = format!("    trace {:032x}\n", record.ids.trace_id);
    branch(&mut text, &record.span, record.span.start, "    ", "");
    text
}

fn branch(text: &mut String, span: &SpanRecord, origin: SystemTime, indent: &str, knot: &str) {
    let since = span.start.duration_since(origin).unwrap_or_default();
    let took = span.end.duration_since(span.start).unwrap_or_default();
    let name = format!("{knot}{}", span.name);
    let width = NAMES.saturating_sub(indent.chars().count());
    let _ = writeln!(
        text,
        "{indent}{name:<width$} +{:>8.3} ms {:>9.3} ms  {}",
        since.as_secs_f64() * 1e3,
        took.as_secs_f64() * 1e3,
        attributes(span)
    );
    let below = match knot {
        "" => indent.to_owned(),
        "└─ " => format!("{indent}   "),
        _ => format!("{indent}│  "),
    };
    let mut children: Vec<&SpanRecord> = span.children.iter().collect();
    children.sort_by_key(|child| child.start);
    let last = children.len().saturating_sub(1);
    for (place, child) in children.into_iter().enumerate() {
        branch(
            text,
            child,
            origin,
            &below,
            if place == last { "└─ " } else { "├─ " },
        );
    }
}

fn attributes(span: &SpanRecord) -> String {
    let shown: Vec<String> = span
        .attributes
        .iter()
        .take(4)
        .map(|(name, value)| match value {
            Value::Text(text) => format!("{name}={text}"),
            Value::Int(number) => format!("{name}={number}"),
            Value::Bool(truth) => format!("{name}={truth}"),
        })
        .collect();
    shown.join(" ")
}
