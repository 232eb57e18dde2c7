//! Traces, metrics and the access log.
//!
//! The session leaves [`record`]s behind; the [`pipeline`] samples them, turns them into
//! OpenTelemetry spans ([`spans`]) that [`export`] sends by OTLP, and into lines of the
//! [`access_log`]. [`metrics`] are counted in one registry, which the admin port shows and the push
//! sends by OTLP. docs/telemetry.md lists every name.

pub mod access_log;
pub mod collector;
pub(crate) mod collectors;
pub mod export;
pub mod metrics;
pub mod otlp;
pub mod pipeline;
pub(crate) mod push;
pub mod record;
pub mod redact;
mod resource;
pub mod sampling;
pub mod spans;
#[cfg(test)]
mod tests;
