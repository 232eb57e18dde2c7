//! After the final dot: one reply for SMTP, one for each recipient for LMTP (RFC 2033 §4.2).

use super::conversation::{Broken, Conversation};
use super::reply::Reply;

/// The replies to one message.
#[derive(Debug)]
pub struct MessageAnswers {
    replies: Vec<Reply>,
}

impl MessageAnswers {
    /// The final dot has been written for `recipients` recipients that were all taken.
    #[must_use]
    pub fn new(conversation: &mut Conversation, recipients: usize) -> Self {
        conversation.await_message(recipients);
        Self {
            replies: Vec::with_capacity(conversation.outstanding()),
        }
    }

    /// Takes the replies that are there; all of them once they are, for LMTP in the order of the
    /// recipients. Each is positive or a refusal.
    ///
    /// # Errors
    /// [`Broken`]: whether the backend has the message is unknown.
    pub fn step(&mut self, conversation: &mut Conversation) -> Result<Option<Vec<Reply>>, Broken> {
        while conversation.outstanding() > 0
            && let Some((_, reply)) = conversation.answer()?
        {
            self.replies.push(reply);
        }
        if conversation.outstanding() > 0 {
            return Ok(None);
        }
        Ok(Some(std::mem::take(&mut self.replies)))
    }

    /// The replies that had come when the conversation broke.
    #[must_use]
    pub fn into_partial(self) -> Vec<Reply> {
        self.replies
    }
}
