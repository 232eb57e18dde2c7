//! MAIL and the RCPTs, then DATA to deliver or RSET to ask (RFC 5321 §3.3, RFC 2920).
//!
//! The commands are rendered once. With PIPELINING they go out in windows of 64, the last one
//! together with DATA or RSET; without it one by one. All replies are read before anything is
//! concluded, so a conversation never carries an answer over into the next transaction.

use super::command::{self, Mail, NeedsSmtpUtf8};
use super::conversation::{Broken, Conversation, Reuse, Stage};
use super::reply::Reply;
use crate::address::Mailbox;

/// Commands that wait for their replies at most, so that neither side blocks on a full TCP window
/// (RFC 2920 §3.1).
const WINDOW: usize = 64;

/// What follows the recipients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// DATA: a message will be sent if every recipient is taken.
    Data,
    /// RSET: it was only a question.
    Reset,
}

/// How the backend answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvelopeAnswer {
    /// MAIL was refused.
    MailRefused(Reply),
    /// One reply for each recipient, in order. With [`Ending::Data`] at least one is a refusal,
    /// and no message may be sent.
    Recipients(Vec<Reply>),
    /// Every recipient was taken, DATA was refused.
    DataRefused(Reply),
    /// 354: the message goes next.
    GoAhead,
}

/// One envelope on its way; see the module.
#[derive(Debug)]
pub struct Envelope {
    octets: Vec<u8>,
    /// Ends of MAIL and of each RCPT in `octets`, in order.
    ends: Vec<usize>,
    /// Whether [`Envelope::step`] was called: from then on replies are awaited.
    begun: bool,
    /// Commands of `ends` that are sent.
    sent: usize,
    ending: Ending,
    ending_sent: bool,
    mail: Option<Reply>,
    recipients: Vec<Reply>,
    data: Option<Reply>,
}

impl Envelope {
    /// Renders the commands for `conversation`, whose last transaction is over.
    ///
    /// # Errors
    /// [`NeedsSmtpUtf8`]; nothing has been sent then.
    pub fn new(
        conversation: &mut Conversation,
        mail: &Mail<'_>,
        recipients: &[Mailbox],
        ending: Ending,
    ) -> Result<Self, NeedsSmtpUtf8> {
        let offered = conversation.extensions;
        let mut octets = Vec::with_capacity(128 + recipients.len() * 64);
        let mut ends = Vec::with_capacity(1 + recipients.len());
        command::mail(&mut octets, mail, &offered)?;
        ends.push(octets.len());
        for recipient in recipients {
            command::rcpt(&mut octets, recipient, mail.smtputf8 && offered.smtputf8)?;
            ends.push(octets.len());
        }
        if conversation.reuse == Reuse::AfterReset {
            conversation.send(Stage::Reset, command::plain(Stage::Reset));
        }
        conversation.reuse = Reuse::Never;
        Ok(Self {
            octets,
            ends,
            begun: false,
            sent: 0,
            ending,
            ending_sent: false,
            mail: None,
            recipients: Vec::with_capacity(recipients.len()),
            data: None,
        })
    }

    /// Takes the replies that are there and queues the commands that may go out; the answer once
    /// it is whole. Call it first, and again whenever octets came.
    ///
    /// # Errors
    /// [`Broken`]: the conversation is over, and no message was sent.
    pub fn step(
        &mut self,
        conversation: &mut Conversation,
    ) -> Result<Option<EnvelopeAnswer>, Broken> {
        if !std::mem::replace(&mut self.begun, true) {
            conversation.quiet()?;
        }
        while conversation.outstanding() > 0
            && let Some((stage, reply)) = conversation.answer()?
        {
            match stage {
                Stage::Mail => self.mail = Some(reply),
                Stage::Rcpt => self.recipients.push(reply),
                Stage::Data => self.data = Some(reply),
                _ => {}
            }
        }
        self.send(conversation);
        if conversation.outstanding() > 0 {
            return Ok(None);
        }
        Ok(Some(self.conclude(conversation)))
    }

    fn send(&mut self, conversation: &mut Conversation) {
        let window = if conversation.extensions.pipelining {
            WINDOW
        } else {
            1
        };
        while conversation.outstanding() < window {
            if self.sent < self.ends.len() && !self.mail_refused() {
                self.send_next(conversation);
            } else if !self.ending_sent {
                self.send_ending(conversation);
            } else {
                return;
            }
        }
    }

    fn send_next(&mut self, conversation: &mut Conversation) {
        let start = match self.sent {
            0 => 0,
            sent => self.ends.get(sent - 1).copied().unwrap_or_default(),
        };
        let end = self
            .ends
            .get(self.sent)
            .copied()
            .unwrap_or(self.octets.len());
        let stage = if self.sent == 0 {
            Stage::Mail
        } else {
            Stage::Rcpt
        };
        conversation.send(stage, self.octets.get(start..end).unwrap_or_default());
        self.sent += 1;
    }

    /// DATA is not said once a refusal is known: RSET leaves the connection in order.
    fn send_ending(&mut self, conversation: &mut Conversation) {
        let refused = self.mail_refused() || !self.recipients.iter().all(Reply::is_positive);
        let stage = match self.ending {
            Ending::Data if !refused => Stage::Data,
            Ending::Data | Ending::Reset => Stage::Reset,
        };
        conversation.send(stage, command::plain(stage));
        self.ending_sent = true;
    }

    fn mail_refused(&self) -> bool {
        self.mail.as_ref().is_some_and(|reply| !reply.is_positive())
    }

    fn conclude(&mut self, conversation: &mut Conversation) -> EnvelopeAnswer {
        let all_taken = self.recipients.iter().all(Reply::is_positive);
        let go_ahead = self.data.as_ref().is_some_and(Reply::is_intermediate);
        conversation.reuse = match &self.data {
            // The backend waits for a message. None may be sent: RFC 2920 §3.1 would have us send
            // a lone dot, which some servers deliver to those recipients that they took.
            Some(_) if go_ahead => Reuse::Never,
            Some(_) => Reuse::AfterReset,
            None => Reuse::Ready,
        };
        match (self.mail.take(), self.data.take()) {
            (Some(reply), _) if !reply.is_positive() => EnvelopeAnswer::MailRefused(reply),
            (_, Some(_)) if all_taken && go_ahead => EnvelopeAnswer::GoAhead,
            (_, Some(reply)) if all_taken => EnvelopeAnswer::DataRefused(reply),
            _ => EnvelopeAnswer::Recipients(std::mem::take(&mut self.recipients)),
        }
    }
}
