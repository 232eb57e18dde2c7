//! The gateway: accepts SMTP connections, checks mail by the compiled policies, delivers it to its
//! backends and says what it did.
//!
//! A [`postern_config::Snapshot`] goes in, SMTP replies, deliveries and telemetry come out.

pub mod delivery;
pub mod telemetry;
