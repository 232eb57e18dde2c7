//! The gateway: accepts SMTP connections, checks mail by the compiled policies, delivers it to its
//! backends and says what it did.
//!
//! A [`postern_config::Snapshot`] goes in, SMTP replies, deliveries and telemetry come out.
//!
//! ```text
//! snapshot -> server -> session -> checks(stage) -> verdict -> reply
//!                          |
//!                          +-> route -> delivery -> backend
//!                          +-> telemetry
//! ```

pub mod checks;
pub mod delivery;
pub mod reply;
pub mod route;
pub mod server;
pub mod snapshot;
pub mod telemetry;

mod admin;
mod gateway;
mod network;
mod session;

#[cfg(test)]
mod testing;

pub use gateway::{ApplyError, BootError, Gateway, Options, StartError};
