//! Every reply of the gateway's own that is not the session's: from a reason to code, enhanced code
//! and text, in exhaustive matches.
//!
//! The session itself speaks of syntax and order ([`postern_smtp::reply`], whose words are taken
//! where both may say the same); delivery relays what the backend said; all the rest stands here.
//! Texts name the reason and the policy that decided.

use crate::checks::{Concern, Reason};
use postern_smtp::reply::{Enhanced, PermanentCode, Refusal, TransientCode};

/// What stops a session or a transaction without any policy's action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The listener has as many connections as `limits.connections` allows.
    TooManyConnections,
    /// The client's network has as many as `limits.connectionsPerNetwork` allows.
    TooManyFromNetwork,
    /// The listener is no longer in the configuration.
    ListenerGone,
    /// No route claims the recipient's domain.
    NoRoute,
    /// The route has no rule for the local part.
    NoRule,
    /// A recipient with another backend or another policy than the first (docs/flow.md, 4.
    /// rcpt).
    OtherTransaction,
    /// A second recipient for a backend that takes one.
    OneRecipient,
    /// More recipients than `limits.recipients`.
    TooManyRecipients,
    /// `limits.messageSize` is below the size that MAIL declared, or that was received.
    TooLarge,
    /// More Received fields than `limits.receivedHeaders`.
    Loop(u32),
    /// The header is beyond the limits of what is read; why.
    Header(String),
    /// The pod's memory for messages is spent.
    Memory,
    /// A fault of our own.
    Fault,
    /// Checks and delivery did not end in time.
    Slow,
    /// The pod's life ends before the message was delivered.
    ShuttingDown,
}

/// The reply to [`Stop`].
#[must_use]
pub fn stop(stop: &Stop) -> Refusal {
    use PermanentCode::{MailboxUnavailable, TransactionFailed};
    use TransientCode::{InsufficientStorage, LocalError, ServiceNotAvailable};
    match stop {
        Stop::TooManyConnections => transient(
            ServiceNotAvailable,
            (7, 0),
            "Too many connections, try again later",
        ),
        Stop::TooManyFromNetwork => transient(
            ServiceNotAvailable,
            (7, 0),
            "Too many connections from your network, try again later",
        ),
        Stop::ListenerGone => transient(
            ServiceNotAvailable,
            (3, 2),
            "This service has moved, connect again",
        ),
        // RFC 3463 §3.8: 5.7.1, the sender is not authorized to send to the destination.
        Stop::NoRoute => permanent(MailboxUnavailable, (7, 1), "Relaying denied"),
        Stop::NoRule => permanent(MailboxUnavailable, (1, 1), "No such recipient here"),
        Stop::OtherTransaction => transient(
            InsufficientStorage,
            (5, 3),
            "This recipient needs a transaction of its own, send it in the next",
        ),
        Stop::TooManyRecipients => Refusal::too_many_recipients(),
        Stop::OneRecipient => transient(
            InsufficientStorage,
            (5, 3),
            "One recipient a message, send this one in the next",
        ),
        Stop::TooLarge => Refusal::message_too_large(),
        // RFC 5321 §6.3; RFC 3463 §3.5: X.4.6, routing loop detected.
        Stop::Loop(limit) => permanent(
            TransactionFailed,
            (4, 6),
            &format!("More than {limit} Received fields"),
        ),
        Stop::Header(why) => permanent(MailboxUnavailable, (6, 0), why),
        Stop::Memory => transient(InsufficientStorage, (3, 1), "No memory for messages now"),
        Stop::Fault => transient(LocalError, (3, 0), "A check ended without a result"),
        Stop::Slow => transient(LocalError, (4, 7), "Checking and delivering took too long"),
        Stop::ShuttingDown => transient(
            ServiceNotAvailable,
            (3, 2),
            "The service is shutting down, try again",
        ),
    }
}

/// The reply to a Reject.
#[must_use]
pub fn rejected(reason: &Reason) -> Refusal {
    let code = match reason.concern {
        // RFC 5321 §3.1: 554 instead of a greeting.
        Concern::ClientDenied => PermanentCode::TransactionFailed,
        Concern::HeloDenied
        | Concern::HeloNotFqdn
        | Concern::SenderDenied
        | Concern::RecipientDenied
        | Concern::FromAmbiguous
        | Concern::SpfFail
        | Concern::SpfSoftFail
        | Concern::SpfPermError
        | Concern::SpfTempError
        | Concern::DkimFail
        | Concern::DkimTempError
        | Concern::DmarcReject { .. }
        | Concern::DmarcQuarantine
        | Concern::DmarcUndecided
        | Concern::DmarcTempError
        | Concern::ArcTempError
        | Concern::IprevFail
        | Concern::IprevTempError => PermanentCode::MailboxUnavailable,
    };
    Refusal::permanent(code, enhanced(reason.concern), text(reason))
}

/// What stands before the words of a domain; telemetry that tells no whole address stops here.
pub const EXPLAINS: &str = " explains: ";

/// The reply to a Reject for an SPF fail that the domain explains. RFC 7208 §6.2: it must be seen
/// that the words are not ours.
#[must_use]
pub fn explained(reason: &Reason, domain: &str, words: &str) -> Refusal {
    let code = PermanentCode::MailboxUnavailable;
    let text = format!("{}. The domain {domain}{EXPLAINS}{words}", text(reason));
    Refusal::permanent(code, enhanced(reason.concern), text)
}

/// The reply to a Defer.
#[must_use]
pub fn deferred(reason: &Reason) -> Refusal {
    // RFC 7208 §8.6: 451, and the enhanced code of the check.
    Refusal::transient(
        TransientCode::LocalError,
        enhanced(reason.concern),
        text(reason),
    )
}

/// The subject and detail for a concern (RFC 3463, RFC 7372).
const fn enhanced(concern: Concern) -> Enhanced {
    match concern {
        Concern::ClientDenied
        | Concern::HeloDenied
        | Concern::HeloNotFqdn
        | Concern::SenderDenied
        | Concern::RecipientDenied => Enhanced(7, 1),
        Concern::FromAmbiguous => Enhanced(6, 0),
        // RFC 7372 §3.1: 20, no passing DKIM signature found.
        Concern::DkimFail | Concern::DkimTempError => Enhanced(7, 20),
        // RFC 7372 §3.2: 23, SPF validation failed; 24, SPF validation error.
        Concern::SpfFail | Concern::SpfSoftFail => Enhanced(7, 23),
        Concern::SpfPermError | Concern::SpfTempError => Enhanced(7, 24),
        // RFC 7372 §3.3: 25, reverse DNS validation failed.
        Concern::IprevFail | Concern::IprevTempError => Enhanced(7, 25),
        // RFC 7372 §3.4: 26, multiple authentication checks failed; what DMARC failures carry.
        Concern::DmarcReject { .. }
        | Concern::DmarcQuarantine
        | Concern::DmarcUndecided
        | Concern::DmarcTempError => Enhanced(7, 26),
        Concern::ArcTempError => Enhanced(7, 0),
    }
}

/// What happened, what it was about, and whose policy decided.
fn text(reason: &Reason) -> String {
    let what = match reason.concern {
        Concern::ClientDenied => "Your address may not connect",
        Concern::HeloDenied => "This HELO name is refused",
        Concern::HeloNotFqdn => "A fully qualified HELO name is needed",
        Concern::SenderDenied => "This sender is refused",
        Concern::RecipientDenied => "This recipient takes no mail",
        Concern::FromAmbiguous => "From does not name one author domain",
        Concern::SpfFail => "SPF fails",
        Concern::SpfSoftFail => "SPF softfails",
        Concern::SpfPermError => "The SPF record cannot be read",
        Concern::SpfTempError => "The SPF record cannot be looked up now",
        Concern::DkimFail => "No DKIM signature passes",
        Concern::DkimTempError => "The DKIM keys cannot be looked up now",
        Concern::DmarcReject { .. } => "DMARC policy of the author's domain is reject",
        Concern::DmarcQuarantine => "DMARC policy of the author's domain is quarantine",
        Concern::DmarcUndecided | Concern::DmarcTempError => "DMARC cannot be decided now",
        Concern::ArcTempError => "ARC cannot be validated now",
        Concern::IprevFail => "Your address has no name that leads back to it",
        Concern::IprevTempError => "Your address's name cannot be looked up now",
    };
    let about = if reason.detail.is_empty() { "" } else { ": " };
    match &reason.policy {
        Some(policy) => format!("{what}{about}{} (policy {policy})", reason.detail),
        None => format!("{what}{about}{} (default policy)", reason.detail),
    }
}

fn transient(code: TransientCode, (subject, detail): (u16, u16), text: &str) -> Refusal {
    Refusal::transient(code, Enhanced(subject, detail), text)
}

fn permanent(code: PermanentCode, (subject, detail): (u16, u16), text: &str) -> Refusal {
    Refusal::permanent(code, Enhanced(subject, detail), text)
}

#[cfg(test)]
mod tests;
