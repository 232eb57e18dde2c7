//! Which backend: by weight, once for each rule and transaction, avoiding those that fail.

use super::backend::{Backend, Backends};
use postern_config::route::Rule;
use postern_smtp::address::{Domain, Mailbox};
use postern_smtp::reply::Refusal;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where a recipient goes: a backend, and for `mx` the recipient's domain.
#[derive(Debug, Clone)]
pub struct Destination {
    pub(super) backend: Arc<Backend>,
    pub(super) domain: Option<Domain>,
}

/// What makes two destinations one: part of a transaction's key (DESIGN section 4).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DestinationKey {
    backend: Arc<str>,
    domain: Option<Domain>,
}

impl Destination {
    /// The backend.
    #[must_use]
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Compare by this: recipients with different keys cannot share a transaction.
    #[must_use]
    pub fn key(&self) -> DestinationKey {
        DestinationKey {
            backend: self.backend.id().clone(),
            domain: self.domain.clone(),
        }
    }
}

/// The choices of one transaction.
#[derive(Debug, Default)]
pub struct Choices {
    by_rule: BTreeMap<(usize, usize), Arc<Backend>>,
    accepted: Option<Arc<str>>,
}

impl Choices {
    /// The destination of `recipient`, whom `rule` takes. `rule_key` names the rule within the
    /// snapshot (route, rule); the choice is made once for it. A backend that an accepted
    /// recipient has goes before the weights.
    ///
    /// # Errors
    /// 451 4.3.0 when the rule has no backend, which a snapshot that was applied cannot have.
    pub fn destination(
        &mut self,
        backends: &Backends,
        rule_key: (usize, usize),
        rule: &Rule,
        recipient: &Mailbox,
    ) -> Result<Destination, Refusal> {
        let backend = match self.by_rule.get(&rule_key) {
            Some(chosen) => chosen.clone(),
            None => backends.choose(&rule.backends, self.accepted.as_deref())?,
        };
        self.by_rule.insert(rule_key, backend.clone());
        let domain = backend.is_mx().then(|| recipient.domain.clone());
        Ok(Destination { backend, domain })
    }

    /// A recipient was accepted for `destination`: other rules prefer its backend from now on.
    pub fn accepted(&mut self, destination: &Destination) {
        self.accepted
            .get_or_insert_with(|| destination.backend.id().clone());
    }
}
