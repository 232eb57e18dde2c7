//! Tail-like sampling: a transaction's outcome is known before anything is exported.
//!
//! A finished record goes in, yes or no comes out. Rejected, deferred and slow transactions are
//! exported whatever the share says, when the configuration lists them.

use super::record::{Disposition, TransactionRecord};
use postern_config::telemetry::{AlwaysSample, Traces};
use std::time::Duration;

/// From MAIL to the reply; longer is [`AlwaysSample::Slow`] (docs/telemetry.md, Sampling).
const SLOW: Duration = Duration::from_secs(5);

/// Whether the share of `sample_ratio` holds this trace. The decision is a function of the trace's
/// identifier alone, as OpenTelemetry's TraceIdRatioBased sampler makes it, so all pods and all
/// transactions of a session decide alike.
#[must_use]
pub fn in_ratio(trace_id: u128, ratio: f64) -> bool {
    if ratio >= 1.0 {
        return true;
    }
    // The low 63 bits against the ratio's share of 2^63. Both casts are what the definition asks
    // for: the share needs no more precision than a double has.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss
    )]
    let bound = (ratio.max(0.0) * (1_u64 << 63) as f64) as u64;
    #[expect(clippy::cast_possible_truncation)]
    let low = (trace_id as u64) >> 1;
    low < bound
}

/// Whether this transaction is exported.
#[must_use]
pub fn exports(record: &TransactionRecord, traces: &Traces) -> bool {
    record.remote_parent.is_some_and(|parent| parent.sampled)
        || in_ratio(record.ids.trace_id, traces.sample_ratio)
        || traces
            .always_sample
            .iter()
            .any(|kind| is_of_kind(record, *kind))
}

fn is_of_kind(record: &TransactionRecord, kind: AlwaysSample) -> bool {
    match kind {
        AlwaysSample::Rejected => {
            record.disposition == Disposition::Rejected
                || record.refused.iter().any(|(_, code, _)| *code >= 500)
        }
        AlwaysSample::Deferred => {
            record.disposition == Disposition::Deferred
                || record
                    .refused
                    .iter()
                    .any(|(_, code, _)| (400..500).contains(code))
        }
        AlwaysSample::Slow => record
            .span
            .end
            .duration_since(record.span.start)
            .is_ok_and(|took| took > SLOW),
    }
}
