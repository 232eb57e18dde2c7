//! The gateway over real sockets: every stage, TLS, PROXY, limits, bad input, changes of the
//! configuration, the end of a pod's life.

mod backend;
mod client;
mod dns;
mod world;

mod bad_input;
mod changes;
mod drain;
mod limits;
mod proxy;
mod stages;
mod tls;
mod verdicts;
