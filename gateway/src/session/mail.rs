//! Stage mail: a transaction begins, with the snapshot that is current now. SPF and iprev set out.

use super::ahead::Ahead;
use super::dns::{Looked, traced};
use super::log::count;
use super::transaction::{Ended, Transaction, TransactionLog, path};
use super::{Connection, dns};
use crate::checks::mail::senders;
use crate::checks::{Verdict, verdict};
use crate::delivery::Envelope;
use crate::reply::{self, Stop};
use crate::snapshot::{ListenerRuntime, Runtime};
use crate::telemetry::record::Disposition;
use postern_config::policy;
use postern_smtp::address::ReversePath;
use postern_smtp::reply::Refusal;
use postern_smtp::server::{self as smtp, BareNewlines, Mail, RefusedMail};
use postern_verify::resolve::Budget;
use postern_verify::{iprev, spf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Lookups of SPF for one identity. The worst record that RFC 7208 §4.6.4 allows takes 123: ten
/// terms with eleven each, the record, the explanation, and eleven for its `%{p}`.
const SPF_QUERIES: u32 = 128;
/// Lookups of iprev: the names of the client and their addresses.
const IPREV_QUERIES: u32 = 24;
/// RFC 7208 §4.6.4: at least 20 s for SPF.
const TIME: Duration = Duration::from_secs(20);

impl Connection {
    /// MAIL.
    pub(super) async fn on_mail(&mut self, command: Mail) {
        self.finish_transaction();
        let answer = match self.current() {
            Ok((runtime, listener)) => self.begin_transaction(runtime, listener, command).await,
            Err(refusal) => {
                let mut log = TransactionLog::new(self.log.facts.ids.child());
                log.refuse(&refusal);
                self.never_began(log, path(&command.reverse_path));
                Err(refusal)
            }
        };
        if let Err(refusal) = &answer
            && let Some(transaction) = &mut self.transaction
        {
            transaction.log.refuse(refusal);
        }
        let refused = answer.is_err();
        self.smtp.mail(answer);
        if refused {
            self.finish_transaction();
        }
    }

    /// MAIL, and the session has refused it.
    pub(super) fn on_mail_refused(&mut self, refused: RefusedMail) {
        let disposition = match refused.code {
            500.. => Disposition::Rejected,
            _ => Disposition::Deferred,
        };
        let (class, subject, detail) = refused.enhanced;
        let enhanced = format!("{class}.{subject}.{detail}");
        let mut log = TransactionLog::new(self.log.facts.ids.child());
        log.outcome = Some((disposition, (refused.code, enhanced, refused.text)));
        let reverse_path = refused.reverse_path.as_ref().map(path);
        self.never_began(log, reverse_path.unwrap_or_default());
    }

    /// A refusal at MAIL is on record like any other.
    fn never_began(&mut self, log: TransactionLog, reverse_path: String) {
        self.log.transactions += 1;
        let runtime = self.shared.state.current();
        let runtime = runtime.as_ref().unwrap_or(&self.runtime);
        let ended = Ended::at_mail(&self.log.facts, reverse_path, runtime.hash.to_string());
        log.finish(ended, &self.shared);
    }

    /// The snapshot in use now, and this session's listener in it.
    fn current(&self) -> Result<(Arc<Runtime>, Arc<ListenerRuntime>), Refusal> {
        let gone = || reply::stop(&Stop::ListenerGone);
        let runtime = self.shared.state.current().ok_or_else(gone)?;
        if Arc::ptr_eq(&runtime, &self.runtime) {
            return Ok((runtime, Arc::clone(&self.listener)));
        }
        let listener = Arc::clone(
            runtime
                .listener(&self.listener.config.name)
                .ok_or_else(gone)?,
        );
        Ok((runtime, listener))
    }

    async fn begin_transaction(
        &mut self,
        runtime: Arc<Runtime>,
        listener: Arc<ListenerRuntime>,
        command: Mail,
    ) -> Result<smtp::Transaction, Refusal> {
        let envelope = Envelope {
            reverse_path: command.reverse_path,
            size: command.size,
            eight_bit_mime: command.eight_bit_mime,
            smtputf8: command.smtputf8,
        };
        let share = self.shared.budget.share();
        let transaction = self.transaction.insert(Box::new(Transaction::new(
            Arc::clone(&runtime),
            Arc::clone(&listener),
            envelope,
            share,
            &self.log.facts,
        )));
        self.log.transactions += 1;
        let (enforced, shadow) = listener.policies();
        let judged = verdict::access(
            |section| senders::check(&transaction.envelope.reverse_path, section),
            &enforced.mail.senders,
            shadow.map(|shadow| &shadow.mail.senders),
        );
        count(&self.shared.metrics, &judged);
        if judged.finding.concern.is_some() || !judged.shadows.is_empty() {
            transaction.log.check(&judged, None);
        }
        if let Verdict::Reject(reason) = &judged.verdict {
            return Err(reply::rejected(reason));
        }
        // RFC 1870 §6.1. The session would see it as well, but SPF need not set out for it.
        let limit = enforced.mail.limits.value.message_size;
        if transaction.envelope.size.is_some_and(|size| size > limit) {
            return Err(reply::stop(&Stop::TooLarge));
        }
        transaction.monitor_size(&self.shared.metrics, shadow.map(|shadow| &shadow.mail));
        self.look_up(&runtime).await;
        Ok(terms(&enforced.mail))
    }

    /// SPF for this reverse-path; iprev once a session.
    async fn look_up(&mut self, runtime: &Arc<Runtime>) {
        let client = self.client_ip();
        let deadline = Instant::now() + TIME;
        if self.iprev.is_none() {
            let resolver = Arc::clone(&runtime.resolver);
            let budget = Budget::new(IPREV_QUERIES, deadline);
            self.iprev = Some(
                Ahead::start(async move {
                    let check =
                        |dns: dns::Resolver| async move { iprev::check(&dns, client).await };
                    traced("check.iprev", &resolver, &budget, check).await
                })
                .await,
            );
        }
        let Some(transaction) = &mut self.transaction else {
            return;
        };
        let helo = self
            .helo
            .as_ref()
            .map_or_else(String::new, |helo| helo.name.to_string());
        let sender = match &transaction.envelope.reverse_path {
            ReversePath::Null => None,
            ReversePath::Mailbox(one) => Some((one.local_part.clone(), one.domain.to_string())),
        };
        let sender = sender
            .as_ref()
            .map(|(local, domain)| (local.as_str(), domain.as_str()));
        let hostname = &runtime.config.hostname;
        let request = spf::Request::mail_from(client, &helo, sender, hostname, unix_now());
        let resolver = Arc::clone(&runtime.resolver);
        transaction.spf =
            Some(Ahead::start(async move { check_spf(&resolver, deadline, request).await }).await);
    }

    /// The transaction is over, if one is open: its record goes out.
    pub(super) fn finish_transaction(&mut self) {
        if let Some(transaction) = self.transaction.take() {
            transaction.finish(&self.shared, &self.log.facts);
        }
        self.group.clear();
    }

    /// RSET and the like, or the session itself refused the message.
    pub(super) fn on_reset(&mut self, refusal: Option<Refusal>) {
        if let (Some(transaction), Some(refusal)) = (&mut self.transaction, refusal) {
            transaction.log.refuse(&refusal);
        }
        self.finish_transaction();
    }
}

/// MAIL FROM and HELO at the same time, with a budget each: an endless record of the HELO name must
/// not cost MAIL FROM its answer.
async fn check_spf(
    resolver: &Arc<postern_verify::HickoryResolver>,
    deadline: Instant,
    request: spf::Request,
) -> Looked<spf::Identities> {
    let budget = || Budget::new(SPF_QUERIES, deadline);
    let check = |dns: dns::Resolver| async move {
        let for_helo = dns.within(budget());
        spf::check_identities(&dns, &for_helo, &request).await
    };
    let mut looked = traced("check.spf", resolver, &budget(), check).await;
    let helo = looked.outcome.helo.result.as_str();
    looked.span = looked.span.with("postern.spf.helo", helo);
    looked
}

/// What holds for the transaction as far as it is known at MAIL. Recipients are limited by the rule
/// of each, at RCPT.
fn terms(mail: &policy::MailPolicy) -> smtp::Transaction {
    let limits = &mail.limits.value;
    let set = limits.bare_newlines.map(|set| match set {
        policy::BareNewlines::Reject => BareNewlines::Reject,
        policy::BareNewlines::Normalize => BareNewlines::Normalize,
    });
    smtp::Transaction {
        size: limits.message_size,
        recipients: u32::MAX,
        // Exchange Online sends bare LF in BDAT, where no end can be smuggled (docs/flow.md, 5. data).
        bare_newlines_data: set.unwrap_or(BareNewlines::Reject),
        bare_newlines_bdat: set.unwrap_or(BareNewlines::Normalize),
    }
}

/// Seconds since 1970.
pub(super) fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
