//! The checks, in the order of a transaction: [`connection`], [`helo`], [`mail`], [`rcpt`],
//! [`data`].
//!
//! Each check is one file with one public function. Typed facts go in, a [`Finding`] comes out:
//! what was found and which [`Concern`] follows from it. A check knows no policy and no socket;
//! [`verdict`] makes a [`Verdict`] of the finding by what policy says, and only the session makes
//! a reply of that.

pub mod connection;
pub mod data;
pub mod helo;
pub mod mail;
pub mod pattern;
pub mod rcpt;
pub mod verdict;

pub use verdict::{Concern, Finding, Judged, Reason, Verdict};
