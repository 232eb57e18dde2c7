//! Traces, metrics and the access log.
//!
//! The session leaves [`record`]s behind; the [`pipeline`] samples them, turns them into
//! OpenTelemetry spans ([`spans`]) that [`export`] sends by OTLP, and into lines of the
//! [`access_log`]. docs/telemetry.md lists every name.

pub mod access_log;
pub(crate) mod collectors;
pub mod export;
pub mod metrics;
pub mod pipeline;
pub mod record;
pub mod redact;
pub mod sampling;
pub mod spans;
#[cfg(test)]
mod tests;
