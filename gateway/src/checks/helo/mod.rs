//! Stage helo: what the client calls itself.

pub mod access;
