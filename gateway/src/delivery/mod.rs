//! Delivery: accepted mail goes to its backends, and recipients are asked of them beforehand.
//!
//! A compiled snapshot goes in once ([`Deliveries::prepare`]), then for each session a [`Leg`]. A
//! transaction chooses a [`Destination`] for each recipient ([`Choices`]), asks it at RCPT
//! ([`Leg::ask`]) and delivers the whole message after its checks ([`Leg::deliver`]). Out come
//! replies for the client ([`Outcome`], [`Asked`]), what telemetry wants to know of it
//! ([`Record`]), and for `/configz` the backends that refuse us ([`Deliveries::misconfigured`]).
//!
//! PassThrough: there is no 250 here before the backend's 250. What the wire looks like is
//! decided in [`postern_smtp::client`]; this module adds sockets, TLS, names, clocks and memory.
//!
//! ```text
//! choice -> ask     -> answers (cache) -> pool -> connect (locate, tls) -> link -> backend
//!        -> deliver -> memory (LMTP)   -> pool -> connect (locate, tls) -> link -> backend
//! ```

mod answers;
mod ask;
mod backend;
mod choice;
mod connect;
mod counters;
mod deliver;
mod failure;
mod health;
mod leg;
mod limits;
mod link;
mod locate;
mod memory;
mod message;
mod outcome;
mod pool;
mod remembered;
#[cfg(test)]
mod tests;
mod tls;

pub use backend::{ApplyError, Backend, Backends, Deliveries};
pub use choice::{Choices, Destination, DestinationKey};
pub use counters::Counters;
pub use leg::Leg;
pub use limits::Limits;
pub use locate::Names;
pub use message::{Envelope, Message, Progress};
pub use outcome::{Asked, BackendReply, Outcome, Record, Tls};
