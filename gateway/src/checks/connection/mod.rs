//! Stage connection: what the client's address alone tells.

pub mod clients;
pub mod iprev;
