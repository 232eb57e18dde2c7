//! Delivering a message that was received and checked (docs/delivery.md, After the message and
//! LMTP).

use super::backend::Purpose;
use super::choice::Destination;
use super::failure::{
    Failure, Verdict, at_data, at_mail, at_rcpt, codes, needs_eight_bit, needs_smtputf8, relayed,
    too_large,
};
use super::leg::{Acquired, Leg};
use super::link::Unfinished;
use super::memory::{BodyHash, Senders, Who, body_hash};
use super::message::{Message, Progress};
use super::outcome::{BackendReply, Outcome, Record};
use postern_smtp::address::{Mailbox, ReversePath};
use postern_smtp::client::{
    self, Content, Ending, EnvelopeAnswer, Extensions, Mail, MessageAnswers, Protocol, Reply,
    Stage, header_is_eight_bit,
};
use postern_smtp::reply::Refusal;
use std::borrow::Cow;
use std::time::SystemTime;
use tokio::time::Instant;

/// A message on its way, with what is found out about it once.
struct Job<'j> {
    destination: &'j Destination,
    message: &'j Message,
    content: Content,
    deadline: Instant,
    progress: &'j Progress,
}

/// What the backend said, when it said anything.
enum Answered {
    /// RCPT was answered; at least one is a refusal, nothing was sent.
    Recipients(Vec<Reply>),
    /// The replies to the message: one, or with LMTP one for each recipient, as far as they came,
    /// and what broke then.
    Message(Vec<Reply>, Option<Failure>),
}

impl Leg {
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
        let mut record = Record::begin("smtp.delivery", destination);
        let content = Content::of(message.segments());
        let job = Job {
            destination,
            message,
            content,
            deadline,
            progress,
        };
        let result = self.attempt(&job, &mut record).await;
        let result = result.map_err(|failure| {
            self.note(destination, &failure);
            record.error = failure.error_type();
            failure.refusal()
        });
        self.count(&result);
        Outcome {
            result,
            record: record.ended(),
        }
    }

    fn count(&self, result: &Result<BackendReply, Refusal>) {
        let totals = &self.shared.totals;
        match result {
            Ok(_) => totals.delivered.one(),
            Err(Refusal::Transient(_)) => totals.deferred.one(),
            Err(Refusal::Permanent(_)) => totals.rejected.one(),
        }
    }

    async fn attempt(
        &mut self,
        job: &Job<'_>,
        record: &mut Record,
    ) -> Result<BackendReply, Failure> {
        if job.destination.backend.discards() {
            return Ok(taken("discarded"));
        }
        if job.content.bare_lf {
            tracing::error!("a message with a bare LF came to delivery; it is not sent on");
            return Err(Failure::BareLf);
        }
        let (left, known) = self.without_delivered(job);
        if left.is_empty() {
            return Ok(taken("every recipient has this message"));
        }
        let answered = self.exchange(job, &left, record).await?;
        match answered {
            Answered::Recipients(replies) => Err(self.recipients_refused(job, &left, replies)),
            Answered::Message(replies, broken) => {
                record.reply = replies.last().map(codes);
                match job.destination.backend.protocol() {
                    Protocol::Smtp => self.answered_once(job, replies, broken),
                    Protocol::Lmtp => self.answered_each(job, (&left, known), replies, broken),
                }
            }
        }
    }

    /// The recipients that do not have the message from an earlier attempt, and its hash when
    /// somebody has it.
    fn without_delivered<'j>(&self, job: &Job<'j>) -> (Cow<'j, [Mailbox]>, Option<BodyHash>) {
        let recipients = &job.message.recipients;
        let memory = &self.shared.memory;
        let lmtp = job.destination.backend.protocol() == Protocol::Lmtp;
        if !lmtp || memory.has_delivered_none() {
            return (Cow::Borrowed(recipients), None);
        }
        let hash = body_hash(job.message);
        let senders = self.senders(job);
        let has_not = |one: &&Mailbox| !memory.has(&senders.to(one), &hash);
        let left: Vec<Mailbox> = recipients.iter().filter(has_not).cloned().collect();
        let known = (left.len() < recipients.len()).then_some(hash);
        (Cow::Owned(left), known)
    }

    fn senders(&self, job: &Job<'_>) -> Senders {
        Senders::new(self.client.ip(), &job.message.envelope.reverse_path)
    }

    /// One transaction. A pooled connection that turns out dead is replaced once, silently, as
    /// long as the final dot has not been written.
    async fn exchange(
        &mut self,
        job: &Job<'_>,
        recipients: &[Mailbox],
        record: &mut Record,
    ) -> Result<Answered, Failure> {
        let mut fresh = false;
        loop {
            let how = (fresh, job.deadline);
            let mut acquired = self
                .acquire(job.destination, Purpose::Deliver, how, record)
                .await?;
            let answered = job.transact(&mut acquired, recipients, record).await;
            match answered {
                Err(failure)
                    if acquired.reused
                        && !fresh
                        && failure.is_dead_connection()
                        && !job.progress.dot_written() =>
                {
                    self.shared.totals.connections_replaced.one();
                    fresh = true;
                }
                answered => {
                    self.release(job.destination, Purpose::Deliver, acquired);
                    return answered;
                }
            }
        }
    }

    /// Some or all recipients were refused, and nothing was sent.
    fn recipients_refused(
        &self,
        job: &Job<'_>,
        recipients: &[Mailbox],
        replies: Vec<Reply>,
    ) -> Failure {
        let envelope = &job.message.envelope;
        let senders = self.senders(job);
        let mut refusals = Vec::new();
        for (recipient, reply) in recipients.iter().zip(replies) {
            let verdict = at_rcpt(reply);
            // The refusal replaces the cached answer, so that the retry meets it at RCPT.
            let answer = self.learn(
                job.destination,
                &envelope.reverse_path,
                recipient,
                verdict.clone(),
            );
            let Err(refusal) = answer else { continue };
            if let Verdict::Refused(refusal @ Refusal::Permanent(_)) = verdict {
                let who = senders.to(recipient);
                let limits = &self.shared.limits;
                self.shared
                    .memory
                    .refused(who, envelope, (refusal, true), limits);
            }
            refusals.push(refusal);
        }
        if refusals.len() < job.message.recipients.len() {
            return Failure::Mixed("some recipients are not accepted any more; try again");
        }
        alike(refusals).map_or(
            Failure::Mixed("the recipients were refused"),
            Failure::Refused,
        )
    }

    /// SMTP: one reply for all.
    fn answered_once(
        &self,
        job: &Job<'_>,
        replies: Vec<Reply>,
        broken: Option<Failure>,
    ) -> Result<BackendReply, Failure> {
        match (replies.into_iter().next(), broken) {
            (Some(reply), _) if reply.is_positive() => {
                self.note_success(job.destination);
                Ok(backend_reply(reply))
            }
            (Some(reply), _) => Err(at_data(reply)),
            (None, broken) => Err(broken.unwrap_or(Failure::Lost(Stage::Message))),
        }
    }

    /// LMTP: one reply for each (RFC 2033 §4.2). All alike are relayed; otherwise the client
    /// gets 451 and the next attempt knows who has the message and who was refused.
    fn answered_each(
        &self,
        job: &Job<'_>,
        (left, known): (&[Mailbox], Option<BodyHash>),
        replies: Vec<Reply>,
        broken: Option<Failure>,
    ) -> Result<BackendReply, Failure> {
        let some_have_it = known.is_some();
        let answered = replies.len();
        let positive = replies.iter().filter(|reply| reply.is_positive()).count();
        if positive == left.len() {
            self.note_success(job.destination);
            self.forget(job, known);
            return replies.into_iter().next().map(backend_reply).ok_or(lost());
        }
        if positive == 0 && !some_have_it {
            if answered < left.len() {
                return Err(broken.unwrap_or(lost()));
            }
            let first = replies.first().cloned();
            if let Some(refusal) = alike(replies.iter().map(relayed).collect()) {
                let ours = first
                    .map(at_data)
                    .filter(|failure| failure.misconfiguration().is_some());
                return Err(ours.unwrap_or(Failure::Refused(refusal)));
            }
        }
        self.remember(job, left, replies, known);
        Err(broken.unwrap_or(Failure::Mixed(
            "some recipients have the message; try again",
        )))
    }

    /// After answers that differ.
    fn remember(
        &self,
        job: &Job<'_>,
        left: &[Mailbox],
        replies: Vec<Reply>,
        known: Option<BodyHash>,
    ) {
        let hash = known.unwrap_or_else(|| body_hash(job.message));
        let senders = self.senders(job);
        let memory = &self.shared.memory;
        let limits = &self.shared.limits;
        for (recipient, reply) in left.iter().zip(replies) {
            let who = senders.to(recipient);
            if reply.is_positive() {
                memory.delivered(who, hash, limits);
            } else if let Failure::Refused(refusal @ Refusal::Permanent(_)) = at_data(reply) {
                memory.refused(who, &job.message.envelope, (refusal, false), limits);
            }
        }
    }

    /// The message has been answered for whole.
    fn forget(&self, job: &Job<'_>, known: Option<BodyHash>) {
        let Some(hash) = known else { return };
        let senders = self.senders(job);
        let all: Vec<Who> = job
            .message
            .recipients
            .iter()
            .map(|one| senders.to(one))
            .collect();
        self.shared.memory.forget(&all, &hash);
    }
}

impl Job<'_> {
    async fn transact(
        &self,
        acquired: &mut Acquired,
        recipients: &[Mailbox],
        record: &mut Record,
    ) -> Result<Answered, Failure> {
        let link = &mut acquired.link;
        let smtputf8 = self.fits(link.conversation.extensions(), recipients)?;
        let mail = Mail {
            reverse_path: &self.message.envelope.reverse_path,
            size: Some(self.content.octets),
            eight_bit_mime: self.content.eight_bit,
            smtputf8,
        };
        let mut envelope =
            client::Envelope::new(&mut link.conversation, &mail, recipients, Ending::Data)
                .map_err(|_| Failure::Refused(needs_smtputf8()))?;
        let answer = link
            .drive(Stage::Rcpt, self.deadline, |conversation| {
                envelope.step(conversation)
            })
            .await?;
        record.envelope = Some(SystemTime::now());
        match answer {
            EnvelopeAnswer::GoAhead => self.send(acquired, recipients.len(), record).await,
            EnvelopeAnswer::Recipients(replies) => {
                let refused = replies.iter().find(|reply| !reply.is_positive());
                record.reply = refused.map(codes);
                Ok(Answered::Recipients(replies))
            }
            EnvelopeAnswer::MailRefused(reply) => {
                record.reply = Some(codes(&reply));
                Err(at_mail(reply))
            }
            EnvelopeAnswer::DataRefused(reply) => {
                record.reply = Some(codes(&reply));
                Err(at_data(reply))
            }
        }
    }

    /// Whether SMTPUTF8 is said. Need is judged by content: what has no octet above 127, or no
    /// address or header field with one, goes to any backend (RFC 6531 §3.4; docs/delivery.md, After
    /// the message).
    fn fits(&self, offered: &Extensions, recipients: &[Mailbox]) -> Result<bool, Failure> {
        if !offered.takes_size(self.content.octets) {
            return Err(Failure::Refused(too_large()));
        }
        let international = self.message.envelope.smtputf8
            && (header_is_eight_bit(self.message.segments())
                || self.has_unicode_address(recipients));
        if international && !offered.smtputf8 && !self.can_do_without(recipients) {
            return Err(Failure::Refused(needs_smtputf8()));
        }
        if self.content.eight_bit && !offered.eight_bit_mime {
            return Err(Failure::Refused(needs_eight_bit()));
        }
        Ok(international)
    }

    fn addresses<'a>(&'a self, recipients: &'a [Mailbox]) -> impl Iterator<Item = &'a Mailbox> {
        let sender = match &self.message.envelope.reverse_path {
            ReversePath::Mailbox(mailbox) => Some(mailbox),
            ReversePath::Null => None,
        };
        sender.into_iter().chain(recipients)
    }

    fn has_unicode_address(&self, recipients: &[Mailbox]) -> bool {
        self.addresses(recipients)
            .any(|address| !address.is_ascii())
    }

    /// U-labels alone can be said as A-labels.
    fn can_do_without(&self, recipients: &[Mailbox]) -> bool {
        self.addresses(recipients)
            .all(|address| address.local_part.is_ascii())
            && !header_is_eight_bit(self.message.segments())
    }

    /// The message, its final dot, and the answer to it.
    async fn send(
        &self,
        acquired: &mut Acquired,
        recipients: usize,
        record: &mut Record,
    ) -> Result<Answered, Failure> {
        let link = &mut acquired.link;
        let written = link
            .write_message(self.message.segments(), self.deadline, self.progress)
            .await;
        match written {
            Ok(()) => record.data = Some(SystemTime::now()),
            Err(Unfinished::Refused(reply)) => {
                record.reply = Some(codes(&reply));
                return Err(at_data(reply));
            }
            Err(Unfinished::Failed(failure)) => return Err(failure),
        }
        let mut answers = MessageAnswers::new(&mut link.conversation, recipients);
        let step = |conversation: &mut _| answers.step(conversation);
        match link.drive(Stage::Message, self.deadline, step).await {
            Ok(replies) => Ok(Answered::Message(replies, None)),
            // RFC 1047: whether it was taken is unknown. What LMTP said of some holds.
            Err(failure) => Ok(Answered::Message(answers.into_partial(), Some(failure))),
        }
    }
}

/// The first refusal if all are 5yz or all are 4yz.
fn alike(refusals: Vec<Refusal>) -> Option<Refusal> {
    let class = |refusal: &Refusal| refusal.enhanced().0;
    let mut refusals = refusals.into_iter();
    let first = refusals.next()?;
    refusals
        .all(|refusal| class(&refusal) == class(&first))
        .then_some(first)
}

fn lost() -> Failure {
    Failure::Lost(Stage::Message)
}

fn taken(text: &str) -> BackendReply {
    BackendReply {
        code: 250,
        enhanced: Some((2, 0, 0)),
        text: text.to_owned(),
    }
}

fn backend_reply(reply: Reply) -> BackendReply {
    let Reply {
        code,
        enhanced,
        mut text,
    } = reply;
    text.truncate(text.floor_char_boundary(512));
    BackendReply {
        code,
        enhanced,
        text: text.replace('\n', " "),
    }
}
