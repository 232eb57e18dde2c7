//! Asking a backend about recipients, at RCPT (docs/delivery.md).

use super::backend::Purpose;
use super::choice::Destination;
use super::failure::{Failure, Verdict, at_mail, at_rcpt, codes, needs_smtputf8, too_large};
use super::leg::{Acquired, Leg};
use super::memory::Senders;
use super::message::Envelope;
use super::outcome::{Asked, Record};
use postern_config::route::VerifyRecipients;
use postern_smtp::address::{Mailbox, ReversePath};
use postern_smtp::client::{self, Ending, EnvelopeAnswer, Extensions, Mail, Reply, Stage};
use postern_smtp::reply::Refusal;
use std::time::SystemTime;
use tokio::time::Instant;

/// The answer for one recipient.
type Answer = Result<(), Refusal>;

impl Leg {
    /// By when a group of recipients must have been asked about, if that begins now: in 20 s.
    #[must_use]
    pub fn ask_deadline(&self) -> Instant {
        Instant::now() + self.shared.limits.ask
    }

    /// Asks the backend about those recipients of a group who share this destination, at RCPT. With
    /// [`VerifyRecipients::None`], and for the backend `mx`, nobody is asked: only what the backend
    /// refused of an earlier attempt at the same mail is remembered. Ends by `deadline`
    /// ([`Leg::ask_deadline`], one for the whole group). Several questions may run at once.
    pub async fn ask(
        &self,
        destination: &Destination,
        envelope: &Envelope,
        recipients: &[Mailbox],
        verify: VerifyRecipients,
        deadline: Instant,
    ) -> Asked {
        let mut answers: Vec<Option<Answer>> = recipients
            .iter()
            .map(|recipient| self.known(destination, envelope, recipient, verify))
            .collect();
        let unknown: Vec<Mailbox> = recipients
            .iter()
            .zip(&answers)
            .filter(|(_, answer)| answer.is_none())
            .map(|(recipient, _)| recipient.clone())
            .collect();
        self.shared
            .totals
            .recipients_cached
            .add(recipients.len() - unknown.len());
        let mut record = None;
        if !unknown.is_empty() {
            self.shared.totals.recipients_asked.add(unknown.len());
            let question = (envelope, unknown.as_slice());
            let (fresh, asking) = self.inquire(destination, question, deadline).await;
            record = Some(asking);
            let unanswered = answers.iter_mut().filter(|answer| answer.is_none());
            for (answer, fresh) in unanswered.zip(fresh) {
                *answer = Some(fresh);
            }
        }
        let lost = || Err(Failure::Lost(Stage::Rcpt).refusal());
        let answers = answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(lost))
            .collect();
        Asked { answers, record }
    }

    /// The answer that needs no question.
    fn known(
        &self,
        destination: &Destination,
        envelope: &Envelope,
        recipient: &Mailbox,
        verify: VerifyRecipients,
    ) -> Option<Answer> {
        let backend = &destination.backend;
        if backend.discards() {
            return Some(Ok(()));
        }
        // The mail servers of others say at RCPT what they think of our address as well, and many
        // take a question without a message for probing.
        let asked = verify == VerifyRecipients::Ask && !backend.is_mx();
        if !self.shared.memory.has_refused_none() {
            let who = Senders::new(self.client.ip(), &envelope.reverse_path).to(recipient);
            if let Some(refusal) = self.shared.memory.refusal(&who, envelope, asked) {
                return Some(Err(refusal));
            }
        }
        if !asked {
            return Some(Ok(()));
        }
        let key = self.answer_key(destination, &envelope.reverse_path, recipient);
        self.shared.answers.get(&key)
    }

    /// Asks; an answer for each, and fresh answers into the cache.
    async fn inquire(
        &self,
        destination: &Destination,
        question: (&Envelope, &[Mailbox]),
        deadline: Instant,
    ) -> (Vec<Answer>, Record) {
        let mut record = Record::begin("smtp.ask", destination);
        let limits = &self.shared.limits;
        // A backend that had less time than a connection may take is not to blame for being late.
        let fair = Instant::now() + limits.connect.min(limits.ask / 2) <= deadline;
        let asked = self
            .question(destination, question, deadline, &mut record)
            .await;
        let asked = asked.map_err(|failure| match failure {
            late if !fair && late.is_want_of_time() => Failure::Unasked,
            other => other,
        });
        let answers = match asked {
            Ok(answers) => answers,
            Err(failure) => {
                self.note(destination, &failure);
                record.error = failure.error_type();
                vec![Err(failure.refusal()); question.1.len()]
            }
        };
        (answers, record.ended())
    }

    /// One transaction without a message; a pooled connection that is dead is replaced once.
    async fn question(
        &self,
        destination: &Destination,
        (envelope, recipients): (&Envelope, &[Mailbox]),
        deadline: Instant,
        record: &mut Record,
    ) -> Result<Vec<Answer>, Failure> {
        if deadline <= Instant::now() {
            return Err(Failure::Unasked);
        }
        let mut fresh = false;
        loop {
            let mut acquired = self
                .acquire(destination, Purpose::Ask, (fresh, deadline), record)
                .await?;
            let asked = transact(&mut acquired, envelope, recipients, deadline).await;
            record.envelope = Some(SystemTime::now());
            match asked {
                Err(failure) if acquired.reused && !fresh && failure.is_dead_connection() => {
                    self.shared.totals.connections_replaced.one();
                    fresh = true;
                }
                Err(failure) => {
                    self.release(destination, Purpose::Ask, acquired);
                    return Err(failure);
                }
                Ok(replies) => {
                    record.reply = replies.iter().flatten().last().map(codes);
                    let refused = replies
                        .iter()
                        .flatten()
                        .filter(|reply| !reply.is_positive())
                        .count();
                    acquired.link.refusals += u32::try_from(refused).unwrap_or(u32::MAX);
                    self.release(destination, Purpose::Ask, acquired);
                    return Ok(self.conclude(destination, envelope, recipients, replies));
                }
            }
        }
    }

    /// Replies to answers; the cache learns them.
    fn conclude(
        &self,
        destination: &Destination,
        envelope: &Envelope,
        recipients: &[Mailbox],
        replies: Vec<Option<Reply>>,
    ) -> Vec<Answer> {
        let mut misconfigured = false;
        let mut answers = Vec::with_capacity(replies.len());
        for (recipient, reply) in recipients.iter().zip(replies) {
            let Some(reply) = reply else {
                answers.push(Err(needs_smtputf8()));
                continue;
            };
            let verdict = at_rcpt(reply);
            misconfigured |= matches!(verdict, Verdict::Misconfigured(_));
            answers.push(self.learn(destination, &envelope.reverse_path, recipient, verdict));
        }
        if !misconfigured {
            self.note_success(destination);
        }
        answers
    }

    /// A verdict of the backend replaces what was known of the recipient.
    pub(super) fn learn(
        &self,
        destination: &Destination,
        reverse_path: &ReversePath,
        recipient: &Mailbox,
        verdict: Verdict,
    ) -> Answer {
        let answer = match verdict {
            Verdict::Taken => Ok(()),
            Verdict::Refused(refusal) => Err(refusal),
            Verdict::Misconfigured(reply) => {
                let failure = Failure::Misconfigured(reply);
                self.note(destination, &failure);
                Err(failure.refusal())
            }
        };
        let key = self.answer_key(destination, reverse_path, recipient);
        self.shared
            .answers
            .replace(key, &answer, &self.shared.limits);
        answer
    }
}

/// MAIL, RCPT for each, RSET. A recipient that cannot be said to this backend has no reply.
async fn transact(
    acquired: &mut Acquired,
    envelope: &Envelope,
    recipients: &[Mailbox],
    deadline: Instant,
) -> Result<Vec<Option<Reply>>, Failure> {
    let link = &mut acquired.link;
    let offered = *link.conversation.extensions();
    // RFC 1870 §6.1: what is declared to be larger than the backend takes need not be asked.
    if envelope.size.is_some_and(|size| !offered.takes_size(size)) {
        return Err(Failure::Refused(too_large()));
    }
    let sayable = |mailbox: &Mailbox| can_say(mailbox, envelope, &offered);
    if matches!(&envelope.reverse_path, ReversePath::Mailbox(sender) if !sayable(sender)) {
        return Err(Failure::Refused(needs_smtputf8()));
    }
    let asked: Vec<Mailbox> = recipients
        .iter()
        .filter(|one| sayable(one))
        .cloned()
        .collect();
    if asked.is_empty() {
        return Ok(vec![None; recipients.len()]);
    }
    let mail = Mail {
        reverse_path: &envelope.reverse_path,
        size: envelope.size,
        eight_bit_mime: envelope.eight_bit_mime,
        smtputf8: envelope.smtputf8,
    };
    let mut question = client::Envelope::new(&mut link.conversation, &mail, &asked, Ending::Reset)
        .map_err(|_| Failure::Refused(needs_smtputf8()))?;
    match link
        .drive(Stage::Rcpt, deadline, |conversation| {
            question.step(conversation)
        })
        .await?
    {
        EnvelopeAnswer::MailRefused(reply) | EnvelopeAnswer::DataRefused(reply) => {
            Err(at_mail(reply))
        }
        EnvelopeAnswer::GoAhead => Err(Failure::Lost(Stage::Rcpt)),
        EnvelopeAnswer::Recipients(replies) => {
            let mut replies = replies.into_iter();
            let reply_to = |one: &Mailbox| if sayable(one) { replies.next() } else { None };
            Ok(recipients.iter().map(reply_to).collect())
        }
    }
}

fn can_say(mailbox: &Mailbox, envelope: &Envelope, offered: &Extensions) -> bool {
    mailbox.local_part.is_ascii() || (envelope.smtputf8 && offered.smtputf8)
}
