//! The sending side of SMTP and LMTP, sans-IO: used to deliver mail and to ask backends about
//! recipients.
//!
//! Octets of the backend go in with [`Conversation::receive`]; octets for it come out of
//! [`Conversation::output`]. Three machines take the conversation through its life, each a loop
//! of "step, write what is there to write, read":
//!
//! - [`Opening`]: greeting, EHLO or LHLO, STARTTLS, AUTH PLAIN; ends in a conversation that is
//!   ready for MAIL.
//! - [`Envelope`]: MAIL, the RCPTs, then DATA (to deliver) or RSET (to ask); one write and one
//!   read where the backend offers PIPELINING. Ends in an [`EnvelopeAnswer`].
//! - [`MessageAnswers`]: after the message was written ([`Stuffed`]) the replies to the final
//!   dot, one for SMTP, one for each recipient for LMTP (RFC 2033 §4.2).
//!
//! What the backend says is bounded (lines of 2,048 octets, 100 lines a reply) and believed only
//! where it answers something: whatever else it sends is [`Nonsense`].

mod command;
mod conversation;
mod envelope;
mod extensions;
mod message;
mod opening;
mod proxy;
mod reply;
mod stuffing;
#[cfg(test)]
mod tests;

pub use command::{Mail, NeedsSmtpUtf8};
pub use conversation::{Broken, Conversation, Protocol, Reuse, Stage};
pub use envelope::{Ending, Envelope, EnvelopeAnswer};
pub use extensions::{Extensions, SizeLimit};
pub use message::MessageAnswers;
pub use opening::{Login, Opening, OpeningError, Plan, StartTls, Step};
pub use proxy::{proxy_v1, proxy_v2};
pub use reply::{EnhancedCode, Nonsense, Reply};
pub use stuffing::{Content, Stuffed, header_is_eight_bit};
