//! SPF, DKIM, ARC, DMARC, iprev and Authentication-Results: who sent this message, and how sure
//! is that.
//!
//! In go a message ([`Message`]), what the SMTP session knows (client address, HELO, reverse-path)
//! and a resolver ([`Resolve`]); out come typed results ([`spf::Outcome`], [`dkim::Outcome`],
//! [`arc::Outcome`], [`dmarc::Outcome`], [`iprev::Outcome`]) and the header field that tells them
//! ([`authentication_results`]). Nothing here decides about a message: policy does, elsewhere.
//!
//! The order of a message's checks:
//!
//! ```text
//! connection   iprev::check
//! mail         spf::check_host                      (one future; may run while the client talks on)
//! data         Message::parse -> from::author -> dkim::Signatures::parse, arc::Chain::parse
//!              -> BodyHashes::compute (CPU) -> verify (keys in parallel, then CPU)
//!              -> dmarc::evaluate -> authentication_results
//! ```

// Files that tests of other crates share name the crate from outside.
#[cfg(test)]
extern crate self as postern_verify;

pub mod arc;
pub mod authentication_results;
pub mod dkim;
pub mod dmarc;
pub mod from;
pub mod iprev;
pub mod message;
pub mod name;
pub mod resolve;
#[cfg(any(test, feature = "testing"))]
pub mod signer;
pub mod spf;
mod tags;
#[cfg(any(test, feature = "testing"))]
pub mod zone;

pub use dkim::{BodyHashes, KeyCache};
pub use message::Message;
pub use name::Name;
pub use resolve::{DnsError, HickoryResolver, Resolve};
