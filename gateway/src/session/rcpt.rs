//! Stage rcpt: each recipient is routed, judged, asked about and, last, held against the
//! transaction's key.
//!
//! RCPT commands that came together are one group: those with one destination are asked about in
//! one go, and replies that are ready are sent after one second of waiting.

use super::log::count;
use super::transaction::{Key, Transaction};
use super::{Connection, End};
use crate::checks::rcpt::recipients;
use crate::checks::{Verdict, verdict};
use crate::delivery::{Destination, Leg};
use crate::reply::{self, Stop};
use crate::server::Shared;
use crate::server::sessions::Phase;
use crate::snapshot::Unrouted;
use postern_config::route::VerifyRecipients;
use postern_smtp::address::{ForwardPath, Mailbox};
use postern_smtp::reply::Refusal;
use postern_smtp::server::{Event, Rcpt};
use std::time::Duration;
use tokio::time::sleep;

/// Replies that are ready wait no longer for those that are not (DESIGN section 4, Ask).
const FLUSH: Duration = Duration::from_secs(1);

/// A recipient that has passed all but ask and key.
struct Candidate {
    id: u64,
    mailbox: Mailbox,
    rule: (usize, usize),
    data_policy: usize,
    verify: VerifyRecipients,
    recipients: u32,
    destination: Destination,
    answer: Result<(), Refusal>,
}

impl Connection {
    /// All RCPT that came together.
    pub(super) async fn on_group(&mut self) -> Result<(), End> {
        let group = std::mem::take(&mut self.group);
        let Some(mut transaction) = self.transaction.take() else {
            return Ok(());
        };
        let mut candidates = Vec::with_capacity(group.len());
        for rcpt in group {
            let id = rcpt.id;
            match transaction.candidate(&self.shared, &rcpt) {
                Ok(candidate) => candidates.push(candidate),
                Err(refusal) => {
                    transaction
                        .log
                        .refused(&plain(&rcpt.forward_path), &refusal);
                    self.smtp.rcpt(id, Err(refusal));
                }
            }
        }
        let asked = self.ask(&mut transaction, &mut candidates).await;
        for candidate in candidates {
            let (id, address) = (candidate.id, candidate.mailbox.to_string());
            let answer = transaction.admit(candidate);
            if let Err(refusal) = &answer {
                transaction.log.refused(&address, refusal);
            }
            self.smtp.rcpt(id, answer);
        }
        self.transaction = Some(transaction);
        asked
    }

    /// Asks about all candidates. While that takes long, replies that are ready are sent.
    async fn ask(
        &mut self,
        transaction: &mut Transaction,
        candidates: &mut [Candidate],
    ) -> Result<(), End> {
        let mut asking = Box::pin(ask_all(&mut self.leg, transaction, candidates));
        let seat = &self.seat;
        let smtp = &mut self.smtp;
        let stream = &mut self.stream;
        let limit = self.clock.command();
        let mut flush = std::pin::pin!(sleep(FLUSH));
        let mut flushed = false;
        loop {
            tokio::select! {
                biased;
                () = &mut asking => return Ok(()),
                () = seat.reached(Phase::Deadline) => break,
                () = &mut flush, if !flushed => {
                    flushed = true;
                    smtp.flush();
                    while let Some(event) = smtp.poll() {
                        let Event::Send(octets) = event else { continue };
                        match tokio::time::timeout(limit, stream.send(&octets)).await {
                            Ok(Ok(())) => {}
                            Ok(Err(_)) => return Err(End::ClientGone),
                            Err(_) => return Err(End::Timeout),
                        }
                    }
                }
            }
        }
        drop(asking);
        for candidate in candidates {
            candidate.answer = Err(reply::stop(&Stop::ShuttingDown));
        }
        Ok(())
    }
}

/// One question for each destination among the candidates.
async fn ask_all(leg: &mut Leg, transaction: &mut Transaction, candidates: &mut [Candidate]) {
    let mut done = 0;
    while let Some(first) = candidates.get(done) {
        let (key, verify) = (first.destination.key(), first.verify);
        let destination = first.destination.clone();
        let same = |candidate: &Candidate| {
            candidate.verify == verify && candidate.destination.key() == key
        };
        let length = candidates
            .iter()
            .skip(done)
            .take_while(|one| same(one))
            .count();
        let Some(group) = candidates.get_mut(done..done + length) else {
            return;
        };
        let mailboxes: Vec<Mailbox> = group.iter().map(|one| one.mailbox.clone()).collect();
        let asked = leg
            .ask(&destination, &transaction.envelope, &mailboxes, verify)
            .await;
        if let Some(record) = &asked.record {
            transaction.log.span(record.span());
        }
        for (candidate, answer) in group.iter_mut().zip(asked.answers) {
            candidate.answer = answer;
        }
        done += length;
    }
}

impl Transaction {
    /// Routing and access: everything that needs no backend.
    fn candidate(&mut self, shared: &Shared, rcpt: &Rcpt) -> Result<Candidate, Refusal> {
        let mailbox = match &rcpt.forward_path {
            ForwardPath::Mailbox(mailbox) => mailbox.clone(),
            ForwardPath::Postmaster => {
                let ours = self.runtime.postmaster.clone();
                ours.ok_or_else(|| reply::stop(&Stop::NoRule))?
            }
        };
        let routed = self
            .runtime
            .routed(&self.listener, &mailbox)
            .map_err(|why| match why {
                Unrouted::NoRoute => reply::stop(&Stop::NoRoute),
                Unrouted::NoRule => reply::stop(&Stop::NoRule),
            })?;
        let enforced = &routed.rule.enforced;
        // DESIGN section 5.12: `<postmaster>` passes access.
        if rcpt.forward_path != ForwardPath::Postmaster {
            let judged = verdict::access(
                |section| recipients::check(&mailbox, section),
                &enforced.rcpt.recipients,
                routed
                    .rule
                    .shadow
                    .as_ref()
                    .map(|shadow| &shadow.rcpt.recipients),
            );
            count(&shared.metrics, &judged);
            if judged.finding.concern.is_some() || judged.shadow.is_some() {
                self.log.check(&judged, None);
            }
            if let Verdict::Reject(reason) = &judged.verdict {
                return Err(reply::rejected(reason));
            }
        }
        // RFC 1870 §6.1: a declared size may also be refused at RCPT, for this recipient alone.
        let limit = enforced.data.limits.value.message_size;
        if self.envelope.size.is_some_and(|size| size > limit) {
            return Err(reply::stop(&Stop::TooLarge(limit)));
        }
        let destination =
            self.choices
                .destination(&self.runtime.backends, routed.key, routed.rule, &mailbox)?;
        Ok(Candidate {
            id: rcpt.id,
            rule: routed.key,
            data_policy: routed.data_policy,
            verify: routed.rule.verify_recipients,
            recipients: enforced.rcpt.limits.value.recipients,
            mailbox,
            destination,
            answer: Ok(()),
        })
    }

    /// The backend's answer, the limit, and last the transaction's key.
    fn admit(&mut self, candidate: Candidate) -> Result<(), Refusal> {
        candidate.answer?;
        if self.recipients.len() as u64 >= u64::from(candidate.recipients) {
            return Err(reply::stop(&Stop::TooManyRecipients));
        }
        let backend = candidate.destination.key();
        match &self.key {
            Some(key) if key.backend != backend || key.data_policy != candidate.data_policy => {
                return Err(reply::stop(&Stop::OtherTransaction));
            }
            Some(key) if key.destination.backend().takes_one_recipient() => {
                return Err(reply::stop(&Stop::OneRecipient));
            }
            Some(_) => {}
            None => {
                self.choices.accepted(&candidate.destination);
                self.key = Some(Key {
                    destination: candidate.destination,
                    backend,
                    data_policy: candidate.data_policy,
                    rule: candidate.rule,
                });
            }
        }
        // The same recipient twice is one (RFC 5321 §4.1.1.3 leaves it open); it gets one copy.
        if !self.recipients.contains(&candidate.mailbox) {
            self.recipients.push(candidate.mailbox);
        }
        Ok(())
    }
}

/// A forward-path for telemetry, without angle brackets.
fn plain(path: &ForwardPath) -> String {
    match path {
        ForwardPath::Postmaster => "postmaster".to_owned(),
        ForwardPath::Mailbox(mailbox) => mailbox.to_string(),
    }
}
