//! What Postern's tests stand on: real neighbours, started and stopped by the test.
//!
//! In: the programs that `tests/tools/install` has put into the cache. Out: a
//! Kubernetes control plane ([`cluster::ControlPlane`]), a trace store
//! ([`jaeger::Jaeger`]), Postern's own binary ([`tools::postern`]), programs that
//! die with the test ([`program::Program`]), free ports ([`ports::free_port`]) and a
//! way to wait for a condition instead of sleeping ([`wait::eventually`]).
//!
//! This crate is test code: a function that cannot do its work panics, and the
//! message says what to do about it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "test code: a panic is how a test fails"
)]

pub mod bench;
pub mod cluster;
pub mod collector;
pub mod dialogue;
pub mod folder;
pub mod http;
pub mod jaeger;
pub mod ports;
pub mod program;
pub mod standalone;
pub mod tls;
pub mod tools;
pub mod wait;
