//! Which backend: the one that the transaction has already, else by weight, once for each rule and
//! transaction, avoiding those that fail.

use super::backend::{Backend, Backends};
use super::failure::Failure;
use super::locate::Names;
use postern_config::route::Rule;
use postern_smtp::address::{Domain, Mailbox};
use postern_smtp::reply::Refusal;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::Instant;

/// Where a recipient goes: a backend, and for `mx` the recipient's domain.
#[derive(Clone)]
pub struct Destination {
    pub(super) backend: Arc<Backend>,
    pub(super) domain: Option<Domain>,
    pub(super) names: Arc<dyn Names>,
}

/// What makes two destinations one: part of a transaction's key (docs/flow.md, 4. rcpt).
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

/// A backend with the resolver of its snapshot.
#[derive(Clone)]
pub(super) struct Choosable {
    pub(super) backend: Arc<Backend>,
    pub(super) names: Arc<dyn Names>,
}

/// The choices of one transaction.
#[derive(Default)]
pub struct Choices {
    by_rule: BTreeMap<(usize, usize), Choosable>,
    /// Where the recipients of the present group would go, in their order.
    group: Vec<DestinationKey>,
    accepted: Option<DestinationKey>,
}

impl Choices {
    /// A group of recipients begins: what was chosen for those before it, and not accepted, binds
    /// nobody else.
    pub fn begin_group(&mut self) {
        self.group.clear();
    }

    /// The destination of `recipient`, whom `rule` takes. `rule_key` names the rule within the
    /// snapshot (route, rule); the choice is made once for it. What an accepted recipient has goes
    /// before all, for nothing else can share its transaction; then, for a rule that has no choice
    /// yet, what others of the group have, where it works; then the weights.
    ///
    /// # Errors
    /// 451 4.4.1 when the rule has no backend, which a snapshot that was applied cannot have.
    pub fn destination(
        &mut self,
        backends: &Backends,
        rule_key: (usize, usize),
        rule: &Rule,
        recipient: &Mailbox,
    ) -> Result<Destination, Refusal> {
        let chosen = self.choose(backends, rule_key, rule, recipient);
        let chosen = chosen.ok_or_else(|| Failure::NoAddress.refusal())?;
        self.by_rule.insert(rule_key, chosen.clone());
        let destination = chosen.with(recipient);
        let key = destination.key();
        if !self.group.contains(&key) {
            self.group.push(key);
        }
        Ok(destination)
    }

    /// A recipient was accepted for `destination`: from now on all others prefer it.
    pub fn accepted(&mut self, destination: &Destination) {
        self.accepted.get_or_insert_with(|| destination.key());
    }

    fn choose(
        &self,
        backends: &Backends,
        rule_key: (usize, usize),
        rule: &Rule,
        recipient: &Mailbox,
    ) -> Option<Choosable> {
        let chosen = self.by_rule.get(&rule_key);
        // The usual rule: there is nothing to choose.
        if let ([_], Some(chosen)) = (rule.backends.as_slice(), chosen) {
            return Some(chosen.clone());
        }
        let all: Vec<(Choosable, u32)> = rule
            .backends
            .iter()
            .filter_map(|one| Some((backends.get(&one.backend)?, one.weight)))
            .collect();
        // What has no weight gets no mail, whoever prefers it.
        let leads_to = |key: &DestinationKey| {
            let mut weighted = all.iter().filter(|(_, weight)| *weight > 0);
            weighted.find(|(one, _)| one.with(recipient).key() == *key)
        };
        if let Some((accepted, _)) = self.accepted.as_ref().and_then(leads_to) {
            return Some(accepted.clone());
        }
        if let Some(chosen) = chosen {
            return Some(chosen.clone());
        }
        let now = Instant::now();
        let works = |one: &&(Choosable, u32)| !one.0.backend.health().is_avoided(now);
        if let Some((chosen, _)) = self.group.iter().filter_map(leads_to).find(works) {
            return Some(chosen.clone());
        }
        let working: Vec<_> = all.iter().filter(works).collect();
        by_weight(&working, backends.chance())
            .or_else(|| {
                let every: Vec<_> = all.iter().collect();
                by_weight(&every, backends.chance()).or_else(|| every.first().copied())
            })
            .map(|(chosen, _)| chosen.clone())
    }
}

impl Choosable {
    fn with(&self, recipient: &Mailbox) -> Destination {
        Destination {
            backend: self.backend.clone(),
            domain: self.backend.is_mx().then(|| recipient.domain.clone()),
            names: self.names.clone(),
        }
    }
}

/// The one at `chance` of the whole weight; none when there is no weight.
fn by_weight<'c, T>(candidates: &[&'c (T, u32)], chance: f64) -> Option<&'c (T, u32)> {
    let whole: f64 = candidates
        .iter()
        .map(|(_, weight)| f64::from(*weight))
        .sum();
    let mut left = chance * whole;
    let mut with_weight = candidates.iter().filter(|(_, weight)| *weight > 0);
    let at_chance = with_weight.clone().find(|(_, weight)| {
        left -= f64::from(*weight);
        left < 0.0
    });
    at_chance.or(with_weight.next_back()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_weight_and_never_one_without() {
        let all = [("a", 0), ("b", 90), ("c", 10)];
        let all: Vec<_> = all.iter().collect();
        let at = |chance| by_weight(&all, chance).map(|(name, _)| *name);
        assert_eq!(at(0.0), Some("b"));
        assert_eq!(at(0.899), Some("b"));
        assert_eq!(at(0.901), Some("c"));
        assert_eq!(at(1.0), Some("c"));
        assert_eq!(by_weight(&[&("a", 0)], 0.5), None);
        assert_eq!(by_weight::<&str>(&[], 0.5), None);
    }
}
