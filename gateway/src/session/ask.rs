//! A group of recipients is asked about: one question for each destination, all of them at once
//! and by one deadline (docs/delivery.md, At RCPT).
//!
//! Candidates go in; for each a reply goes to the session, as soon as nothing before it can change
//! what it is. While questions are out, replies that are ready are sent after a second.

use super::rcpt::Candidate;
use super::transaction::Transaction;
use super::{Connection, End};
use crate::delivery::{Asked, Destination, DestinationKey, Envelope, Leg};
use crate::reply::{self, Stop};
use crate::server::sessions::Phase;
use crate::server::stream::Stream;
use crate::telemetry::metrics::Metrics;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use postern_config::route::VerifyRecipients;
use postern_smtp::address::Mailbox;
use postern_smtp::reply::Refusal;
use postern_smtp::server::{self as smtp, Event, State};
use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Replies that are ready wait no longer for those that are not (docs/delivery.md, At RCPT).
const FLUSH: Duration = Duration::from_secs(1);
/// Destinations that one session asks at the same time.
const AT_ONCE: usize = 16;

/// One destination's part of a group.
struct Question {
    destination: Destination,
    verify: VerifyRecipients,
    /// Where its recipients stand among the candidates.
    places: Vec<usize>,
    recipients: Vec<Mailbox>,
}

/// Candidates in the order of their commands. They are admitted in that order, because the first
/// who is accepted decides for the others.
struct Turns {
    waiting: VecDeque<(Candidate, Option<Result<(), Refusal>>)>,
    /// So many have had their turn.
    over: usize,
    /// Those who could join the transaction at another backend of their rule.
    again: Vec<Candidate>,
}

impl Connection {
    /// Asks about all candidates and answers each.
    pub(super) async fn ask(
        &mut self,
        transaction: &mut Transaction,
        mut candidates: Vec<Candidate>,
    ) -> Result<(), End> {
        let deadline = self.leg.ask_deadline();
        // At most twice: who is asked about again goes where the transaction goes.
        while !candidates.is_empty() && self.smtp.state() != State::Closed {
            candidates = self.ask_once(transaction, candidates, deadline).await?;
        }
        Ok(())
    }

    /// Asks each destination among the candidates. Returns who is to be asked about again.
    async fn ask_once(
        &mut self,
        transaction: &mut Transaction,
        candidates: Vec<Candidate>,
        deadline: Instant,
    ) -> Result<Vec<Candidate>, End> {
        let mut questions = questions(&candidates).into_iter();
        let mut turns = Turns::new(candidates);
        let envelope = transaction.envelope.clone();
        let Self {
            shared,
            leg,
            smtp,
            stream,
            seat,
            clock,
            later,
            ..
        } = self;
        let put = |question| put(leg, &envelope, question, deadline);
        let mut asking: FuturesUnordered<_> = questions.by_ref().take(AT_ONCE).map(put).collect();
        let mut flush = pin!(sleep(FLUSH));
        // Beside the questions: a client that does not read must not keep a backend's places.
        let (mut idle, mut sending) = (Some(stream), FuturesUnordered::new());
        // Too many faults among the answers end the session: nobody waits for the others then.
        while smtp.state() != State::Closed {
            tokio::select! {
                biased;
                asked = asking.next() => {
                    let Some((places, asked)) = asked else { break };
                    asking.extend(questions.next().map(put));
                    turns.answered(&places, asked, transaction);
                    turns.admit(&shared.metrics, transaction, smtp);
                }
                () = seat.reached(Phase::Deadline) => {
                    turns.give_up();
                    turns.admit(&shared.metrics, transaction, smtp);
                    break;
                }
                Some((stream, sent)) = sending.next() => {
                    sent?;
                    idle = Some(stream);
                }
                () = &mut flush => {
                    flush.as_mut().reset(Instant::now() + FLUSH);
                    if let Some(stream) = idle.take() {
                        sending.push(send(stream, ready(smtp, later), clock.command()));
                    }
                }
            }
        }
        drop(asking);
        while let Some((_, sent)) = sending.next().await {
            sent?;
        }
        Ok(turns.again)
    }
}

/// Candidates by destination, wherever they stand.
fn questions(candidates: &[Candidate]) -> Vec<Question> {
    let mut questions: Vec<(DestinationKey, Question)> = Vec::new();
    for (place, candidate) in candidates.iter().enumerate() {
        let (key, verify) = (candidate.destination.key(), candidate.verify);
        let same = |(other, question): &&mut (DestinationKey, Question)| {
            *other == key && question.verify == verify
        };
        if let Some((_, question)) = questions.iter_mut().find(same) {
            question.places.push(place);
            question.recipients.push(candidate.mailbox.clone());
            continue;
        }
        let question = Question {
            destination: candidate.destination.clone(),
            verify,
            places: vec![place],
            recipients: vec![candidate.mailbox.clone()],
        };
        questions.push((key, question));
    }
    questions
        .into_iter()
        .map(|(_, question)| question)
        .collect()
}

/// Puts one question; says for whom the answers are.
async fn put(
    leg: &Leg,
    envelope: &Envelope,
    question: Question,
    deadline: Instant,
) -> (Vec<usize>, Asked) {
    let Question {
        destination,
        verify,
        places,
        recipients,
    } = question;
    let asked = leg
        .ask(&destination, envelope, &recipients, verify, deadline)
        .await;
    (places, asked)
}

/// The replies that need not wait. What else comes of it is kept for later.
fn ready(smtp: &mut smtp::Session, later: &mut VecDeque<Event>) -> Vec<u8> {
    smtp.flush();
    let mut replies = Vec::new();
    while let Some(event) = smtp.poll() {
        match event {
            Event::Send(octets) => replies.extend_from_slice(&octets),
            other => later.push_back(other),
        }
    }
    replies
}

/// Sends replies, and gives the stream back.
async fn send(
    stream: &mut Stream,
    octets: Vec<u8>,
    limit: Duration,
) -> (&mut Stream, Result<(), End>) {
    let sent = match timeout(limit, stream.send(&octets)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::ClientGone),
        Err(_) => Err(End::Timeout),
    };
    (stream, sent)
}

impl Turns {
    fn new(candidates: Vec<Candidate>) -> Self {
        Self {
            waiting: candidates.into_iter().map(|one| (one, None)).collect(),
            over: 0,
            again: Vec::new(),
        }
    }

    /// A destination has answered for the candidates at these places.
    fn answered(&mut self, places: &[usize], asked: Asked, transaction: &mut Transaction) {
        if let Some(record) = &asked.record {
            transaction.log.span(record.span());
        }
        for (place, answer) in places.iter().zip(asked.answers) {
            let turn = place.checked_sub(self.over);
            if let Some(turn) = turn.and_then(|turn| self.waiting.get_mut(turn)) {
                turn.1 = Some(answer);
            }
        }
    }

    /// Nobody is asked any more: the pod is going away.
    fn give_up(&mut self) {
        let again = self.again.drain(..).map(|candidate| (candidate, None));
        self.over = self.over.saturating_sub(again.len());
        let left = self.waiting.drain(..);
        self.waiting = again.chain(left).collect();
        for (_, answer) in &mut self.waiting {
            *answer = Some(Err(reply::stop(&Stop::ShuttingDown)));
        }
    }

    /// Everybody whose turn it is gets a reply, or another chance.
    fn admit(
        &mut self,
        metrics: &Metrics,
        transaction: &mut Transaction,
        smtp: &mut smtp::Session,
    ) {
        while let Some((_, Some(_))) = self.waiting.front() {
            let Some((mut candidate, Some(answer))) = self.waiting.pop_front() else {
                return;
            };
            self.over += 1;
            let elsewhere = answer.is_ok().then(|| transaction.joining(&candidate));
            if let Some(destination) = elsewhere.flatten() {
                candidate.destination = destination;
                self.again.push(candidate);
                continue;
            }
            let answer = answer.and_then(|()| transaction.admit(metrics, &candidate));
            if let Err(refusal) = &answer {
                let address = candidate.mailbox.to_string();
                transaction.log.refused(&address, refusal);
            }
            smtp.rcpt(candidate.id, answer);
        }
    }
}
