//! The gateway over real sockets: every stage, TLS, PROXY, limits, bad input, changes of the
//! configuration, the end of a pod's life.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says so by a panic; clippy knows only #[test] functions"
)]

mod backend;
mod client;
mod dns;
// The backend of delivery's own tests, which does whatever a script says.
#[path = "../../src/delivery/tests/backend.rs"]
#[allow(dead_code, reason = "delivery's own tests use the rest of it")]
mod scripted;
mod world;

mod adversary;
mod asking;
mod bad_input;
mod changes;
mod drain;
mod follow;
mod limits;
mod monitor;
mod proxy;
mod refused;
mod stages;
mod stalling;
mod tls;
mod verdicts;
