//! The sending side of one session.

use super::choice::Destination;
use super::limits::Limits;
use super::message::{Envelope, Message, Progress};
use super::outcome::{Asked, Outcome, Record};
use postern_config::route::VerifyRecipients;
use postern_smtp::address::Mailbox;
use postern_smtp::reply::{Enhanced, Refusal, TransientCode};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::time::Instant;

/// The sending side of one session; holds the connections that belong to it alone (those with a
/// PROXY header).
pub struct Leg {
    #[expect(dead_code, reason = "the machinery follows")]
    limits: Arc<Limits>,
    #[expect(dead_code, reason = "the machinery follows")]
    client: SocketAddr,
    #[expect(dead_code, reason = "the machinery follows")]
    listener: SocketAddr,
}

impl Leg {
    pub(super) fn new(limits: Arc<Limits>, client: SocketAddr, listener: SocketAddr) -> Self {
        Self {
            limits,
            client,
            listener,
        }
    }

    /// Asks the backend about a group of recipients with one destination, at RCPT. With
    /// [`VerifyRecipients::None`] nobody is asked: only what the backend refused of an earlier
    /// attempt at the same mail is remembered. Takes at most 20 s.
    pub async fn ask(
        &mut self,
        destination: &Destination,
        envelope: &Envelope,
        recipients: &[Mailbox],
        verify: VerifyRecipients,
    ) -> Asked {
        let _ = (destination, envelope, verify);
        let answers = recipients
            .iter()
            .map(|_| Err(unreachable_backend()))
            .collect();
        Asked {
            answers,
            record: None,
        }
    }

    /// Delivers a message that was received and checked; the reply for the client comes out.
    /// Nothing is sent twice, and nothing is 250 that the backend did not take. `deadline` is
    /// 4 minutes after the end of data. Run it to its end: dropping it cuts the connection, and
    /// after the final dot nobody knows then whether the backend has the message.
    pub async fn deliver(
        &mut self,
        destination: &Destination,
        message: &Message,
        deadline: Instant,
        progress: &Progress,
    ) -> Outcome {
        let _ = (message, deadline, progress);
        let start = SystemTime::now();
        let record = Record {
            name: "smtp.delivery",
            backend: destination.backend().display().into(),
            protocol: "smtp",
            host: None,
            peer: None,
            tls: None,
            reused: false,
            reply: None,
            error: Some("not_connected".into()),
            start,
            connected: None,
            envelope: None,
            data: None,
            end: start,
        };
        Outcome {
            result: Err(unreachable_backend()),
            record,
        }
    }
}

fn unreachable_backend() -> Refusal {
    Refusal::transient(
        TransientCode::LocalError,
        Enhanced(4, 1),
        "the backend cannot be reached",
    )
}
