//! RFC 5321 and its extensions, server and client side, sans-IO.
//!
//! Octets and answers go in, octets and events come out. The crate knows no socket, no resolver
//! and no clock, so every state can be tested by a plain function call and every driver (tokio,
//! a test, a fuzzer) is a loop of a few lines.
//!
//! - [`server`]: the receiving side, one [`server::Session`] for each connection.
//! - [`client`]: the sending side, used for delivery and for asking backends about recipients.
//! - [`address`]: paths and mailboxes by the grammar of RFC 5321 §4.1.2.
//! - [`reply`]: every reply that the server can give, with its codes and their source.

pub mod address;
pub mod client;
pub mod reply;
pub mod server;
