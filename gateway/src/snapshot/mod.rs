//! The snapshot in use: read from a folder ([`folder`]) or from the API ([`follow`]), compiled once
//! into a [`Runtime`], and swapped in as a whole.
//!
//! A [`postern_config::Snapshot`] goes in; what sessions look things up in comes out. Nothing of a
//! snapshot is used before all of it was parsed, and what was refused leaves the last good one in
//! place and a reason in [`State`].

pub mod folder;
pub mod follow;
mod runtime;
mod state;

pub use runtime::{CompileError, Environment, ListenerRuntime, Routed, Runtime, Unrouted};
pub use state::State;
