//! The operator on a real control plane, as the chart's ServiceAccount with the chart's roles.
//!
//! Every test has namespaces and an installation of its own on one shared control plane; the
//! operator is the real binary, started with the arguments that the chart gives it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod columns;
mod deleted;
mod events;
mod installation;
mod leadership;
mod malformed;
mod objects;
mod permissions;
mod pods;
mod references;
mod rejected;
mod scripted;
mod snapshot;
mod thousand_routes;
mod too_large;
mod writes;
