//! Stage helo: what the client calls itself.

use super::Connection;
use super::log::count;
use crate::checks::helo::access;
use crate::checks::{Verdict, verdict};
use crate::reply;
use postern_smtp::server::Helo;

impl Connection {
    /// HELO or EHLO.
    pub(super) fn on_helo(&mut self, command: Helo) {
        let (enforced, shadow) = self.listener.policies();
        let judged = verdict::access(
            |section| access::check(&command.name, section),
            &enforced.helo.access,
            shadow.map(|shadow| &shadow.helo.access),
        );
        count(&self.shared.metrics, &judged);
        if judged.finding.concern.is_some() || !judged.shadows.is_empty() {
            self.log.check(&judged);
        }
        self.log.facts.helo = Some(command.name.to_string());
        match &judged.verdict {
            Verdict::Reject(reason) => self.smtp.helo(Err(reply::rejected(reason))),
            Verdict::Accept | Verdict::Tag(_) | Verdict::Defer(_) => {
                self.helo = Some(command);
                self.smtp.helo(Ok(()));
            }
        }
    }
}
