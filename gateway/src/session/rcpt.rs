//! Stage rcpt: each recipient is routed, judged, asked about and, last, held against the
//! transaction's key.
//!
//! RCPT commands that came together are one group: [`super::ask`] asks about all of them at once.

use super::log::count;
use super::transaction::{Key, Transaction};
use super::{Connection, End};
use crate::checks::rcpt::recipients;
use crate::checks::{Verdict, verdict};
use crate::delivery::Destination;
use crate::reply::{self, Stop};
use crate::server::Shared;
use crate::snapshot::Unrouted;
use crate::telemetry::metrics::Metrics;
use postern_config::route::VerifyRecipients;
use postern_smtp::address::{ForwardPath, Mailbox};
use postern_smtp::reply::Refusal;
use postern_smtp::server::Rcpt;

/// A recipient that has passed all but ask and key.
pub(super) struct Candidate {
    pub(super) id: u64,
    pub(super) mailbox: Mailbox,
    pub(super) verify: VerifyRecipients,
    pub(super) destination: Destination,
    rule: (usize, usize),
    data_policy: usize,
    /// The rule's `limits.recipients`.
    recipients: u32,
}

impl Connection {
    /// All RCPT that came together.
    pub(super) async fn on_group(&mut self) -> Result<(), End> {
        let group = std::mem::take(&mut self.group);
        let Some(mut transaction) = self.transaction.take() else {
            return Ok(());
        };
        transaction.choices.begin_group();
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
        let asked = self.ask(&mut transaction, candidates).await;
        self.transaction = Some(transaction);
        asked
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
        // RFC 5321 §4.5.1: mail to `<postmaster>` is taken, whatever access says.
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
            if judged.finding.concern.is_some() || !judged.shadows.is_empty() {
                self.log.check(&judged, None);
            }
            if let Verdict::Reject(reason) = &judged.verdict {
                return Err(reply::rejected(reason));
            }
        }
        // RFC 1870 §6.1: a declared size may also be refused at RCPT, for this recipient alone.
        let limit = enforced.data.limits.value.message_size;
        if self.envelope.size.is_some_and(|size| size > limit) {
            return Err(reply::stop(&Stop::TooLarge));
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
        })
    }

    /// The transaction's own destination for a candidate whose rule leads there as well as to the
    /// other one that was chosen for it: there it would need a transaction of its own (452 4.5.3).
    pub(super) fn joining(&mut self, candidate: &Candidate) -> Option<Destination> {
        let key = self.key.as_ref()?;
        let may = key.data_policy == candidate.data_policy
            && key.backend != candidate.destination.key()
            && !key.destination.backend().takes_one_recipient();
        let found = self.runtime.rule(candidate.rule).filter(|_| may)?;
        let backends = &self.runtime.backends;
        let chosen = self
            .choices
            .destination(backends, found.key, found.rule, &candidate.mailbox);
        chosen.ok().filter(|chosen| chosen.key() == key.backend)
    }

    /// The limit, and last the transaction's key, of a recipient whom its backend takes.
    pub(super) fn admit(
        &mut self,
        metrics: &Metrics,
        candidate: &Candidate,
    ) -> Result<(), Refusal> {
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
                    destination: candidate.destination.clone(),
                    backend,
                    data_policy: candidate.data_policy,
                    rule: candidate.rule,
                });
            }
        }
        if !self.rules.contains(&candidate.rule) {
            self.rules.push(candidate.rule);
        }
        // The same recipient twice is one (RFC 5321 §4.1.1.3 leaves it open); it gets one copy.
        let monitored = self.monitor_recipient(metrics, candidate.rule);
        if !self.recipients.contains(&candidate.mailbox) {
            self.monitored += u64::from(monitored);
            self.recipients.push(candidate.mailbox.clone());
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
