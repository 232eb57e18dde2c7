//! Stage rcpt: whom the mail is for.

pub mod recipients;
