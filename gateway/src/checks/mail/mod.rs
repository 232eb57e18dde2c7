//! Stage mail: who the mail says it comes from, as the envelope has it.

pub mod senders;
pub mod spf;
