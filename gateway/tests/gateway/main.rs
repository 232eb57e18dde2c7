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
mod world;

mod bad_input;
mod changes;
mod drain;
mod follow;
mod limits;
mod proxy;
mod stages;
mod tls;
mod verdicts;
