//! Stage data: what the message itself tells.

pub mod arc;
pub mod dkim;
pub mod dmarc;
pub mod forwarder;
pub mod from;
pub mod sealer;
