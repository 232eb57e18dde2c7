//! Traces, metrics and the access log.

pub mod record;
