//! Which backend: by weight, once for each rule and transaction, avoiding those that fail.

use super::backend::{Backend, Backends};
use super::failure::Failure;
use super::locate::Names;
use postern_config::route::{Rule, WeightedBackend};
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
    accepted: Option<Arc<str>>,
}

impl Choices {
    /// The destination of `recipient`, whom `rule` takes. `rule_key` names the rule within the
    /// snapshot (route, rule); the choice is made once for it. A backend that an accepted
    /// recipient has goes before the weights.
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
        let chosen = match self.by_rule.get(&rule_key) {
            Some(chosen) => chosen.clone(),
            None => choose(backends, &rule.backends, self.accepted.as_deref())
                .ok_or_else(|| Failure::NoAddress.refusal())?,
        };
        self.by_rule.insert(rule_key, chosen.clone());
        let domain = chosen.backend.is_mx().then(|| recipient.domain.clone());
        Ok(Destination {
            backend: chosen.backend,
            domain,
            names: chosen.names,
        })
    }

    /// A recipient was accepted for `destination`: other rules prefer its backend from now on.
    pub fn accepted(&mut self, destination: &Destination) {
        self.accepted
            .get_or_insert_with(|| destination.backend.id().clone());
    }
}

/// `accepted` if it is among them; else by weight among those that work, and if none does, among
/// all.
fn choose(
    backends: &Backends,
    weighted: &[WeightedBackend],
    accepted: Option<&str>,
) -> Option<Choosable> {
    if let Some(known) = weighted
        .iter()
        .find(|one| accepted == Some(one.backend.as_str()))
    {
        return backends.get(&known.backend);
    }
    let now = Instant::now();
    let all: Vec<(Choosable, u32)> = weighted
        .iter()
        .filter_map(|one| Some((backends.get(&one.backend)?, one.weight)))
        .collect();
    let works = |one: &&(Choosable, u32)| !one.0.backend.health().is_avoided(now);
    let working: Vec<_> = all.iter().filter(works).collect();
    by_weight(&working, backends.chance())
        .or_else(|| {
            let every: Vec<_> = all.iter().collect();
            by_weight(&every, backends.chance()).or_else(|| every.first().copied())
        })
        .map(|(chosen, _)| chosen.clone())
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
