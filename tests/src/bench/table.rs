//! The table that `make bench` prints.

use super::load::Outcome;
use std::fmt::Write as _;

/// One row: a kind of load and what it came to.
#[derive(Debug)]
pub struct Row {
    /// What was sent, in words.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
    /// CPU time of the gateway, seconds.
    pub cpu_seconds: f64,
    /// Its peak memory so far, kB.
    pub peak_kb: f64,
}

/// All rows below a heading.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<44} {:>8} {:>9} {:>9} {:>12} {:>9} {:>8}\n",
        "load", "mails/s", "p50 ms", "p99 ms", "CPU s/1000", "peak MiB", "refused"
    );
    for row in rows {
        let mails = row.outcome.latencies.len().max(1) as f64;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:<44} {:>8.0} {:>9.2} {:>9.2} {:>12.3} {:>9.1} {:>8}",
            row.name,
            row.outcome.rate(),
            row.outcome.quantile(0.5).as_secs_f64() * 1e3,
            row.outcome.quantile(0.99).as_secs_f64() * 1e3,
            row.cpu_seconds / mails * 1000.0,
            row.peak_kb / 1024.0,
            row.outcome.refused,
        );
    }
    text
}
