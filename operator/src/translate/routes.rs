//! MailRoutes on one gateway: who is admitted, whose claims pass, who holds what.
//!
//! In go a gateway's judged listeners and the routes that name it; out come the decisions per
//! listener, for the snapshot, and what there is to say at each parent, for the statuses. What a
//! route may not claim is taken out before claims are compared: nobody gains or loses by a claim
//! that was not granted.

use super::claims::{self, Candidate, Decision};
use super::gateway::Gateway;
use super::input::Input;
use super::listeners::{Admission, Judged};
use super::status::{Problem, join, list, not_programmed, reason, refused, verdict};
use crate::translation::{Conditions, Programming, Verdict};
use crate::world::ObjectKey;
use postern_crds::MailRoute;
use postern_crds::common::ParentReference;
use postern_crds::mail_route::Backend;
use postern_crds::scalar::AddressPattern;
use std::collections::{BTreeMap, BTreeSet};

/// All routes of a gateway.
#[derive(Default)]
pub(super) struct Attachments {
    /// For each listener, by its index, who holds what.
    pub(super) decisions: Vec<Decision>,
    /// What became of each parent, by (index of the route, index in its `parentRefs`).
    pub(super) parents: BTreeMap<(usize, usize), Parent>,
}

/// What became of a route at one parent.
#[derive(Default)]
pub(super) struct Parent {
    /// What stands against the whole or some names.
    problems: Vec<Problem>,
    /// What should be looked at.
    warnings: Vec<String>,
    /// Names that this parent grants on a listener that is served, with that listener's index.
    granted: BTreeSet<(usize, String)>,
    /// Those of them that an older route holds.
    lost: BTreeSet<(usize, String)>,
}

impl Attachments {
    /// Attaches the routes that name a gateway.
    pub(super) fn find(input: &Input<'_>, gateway: &Gateway<'_>) -> Self {
        let mut attachments = Self::default();
        let mut candidates: Vec<Vec<Candidate>> = vec![Vec::new(); gateway.listeners.len()];
        let mut admission = Admission::new(input.world, &gateway.key);
        for &(route, parent) in input.referring.get(&gateway.key).into_iter().flatten() {
            let Ok(object) = input
                .routes
                .get(route)
                .map_or(Err(()), |r| r.object.as_ref().map_err(|_| ()))
            else {
                continue;
            };
            let Some(reference) = object.spec.parent_refs.get(parent) else {
                continue;
            };
            let mut attaching = Attaching {
                gateway,
                admission: &mut admission,
                candidates: &mut candidates,
                place: (route, parent),
                outcome: Parent::default(),
            };
            attaching.attach(object, reference);
            attachments
                .parents
                .insert((route, parent), attaching.outcome);
        }
        attachments.decisions = candidates.into_iter().map(claims::decide).collect();
        attachments.tell_losers(input, gateway);
        attachments
    }

    fn tell_losers(&mut self, input: &Input<'_>, gateway: &Gateway<'_>) {
        for (index, decision) in self.decisions.iter().enumerate() {
            let Some(listener) = gateway.listeners.get(index) else {
                continue;
            };
            for loser in &decision.losers {
                let place = (loser.claim.route, loser.claim.parent);
                let Some(parent) = self.parents.get_mut(&place) else {
                    continue;
                };
                let name = spell(&loser.claim.pattern);
                let winner = input.routes.get(loser.winner).map(|r| r.key.to_string());
                parent.problems.push(Problem::new(
                    reason::CONFLICTED,
                    format!(
                        "{name} belongs to the older MailRoute {} on listener {}: agree on one of \
                         the two, or claim single addresses",
                        winner.unwrap_or_default(),
                        listener.spec.name
                    ),
                ));
                parent.lost.insert((index, name));
            }
        }
    }

    /// How many routes hold something on a listener.
    pub(super) fn attached_routes(&self, listener: usize) -> i32 {
        let winners = self.decisions.get(listener).map(|d| d.winners.as_slice());
        let routes: BTreeSet<usize> = winners.into_iter().flatten().map(|c| c.route).collect();
        i32::try_from(routes.len()).unwrap_or(i32::MAX)
    }
}

/// A claim as it is written.
fn spell(pattern: &postern_config::route::RecipientPattern) -> String {
    use postern_config::route::RecipientPattern as P;
    match pattern {
        P::Address(name) | P::Domain(name) => name.clone(),
        P::Wildcard(name) => format!("*.{name}"),
        P::Any => "*".to_owned(),
    }
}

/// Every domain, or every domain of a top-level domain.
fn is_the_world(claim: &AddressPattern) -> bool {
    match claim {
        AddressPattern::Any => true,
        AddressPattern::Below(name) => !name.as_str().contains('.'),
        AddressPattern::Address(_) | AddressPattern::Domain(_) => false,
    }
}

/// One parent reference while it is attached.
struct Attaching<'a, 'w> {
    gateway: &'a Gateway<'w>,
    admission: &'a mut Admission<'w>,
    candidates: &'a mut Vec<Vec<Candidate>>,
    place: (usize, usize),
    outcome: Parent,
}

impl Attaching<'_, '_> {
    fn attach(&mut self, route: &MailRoute, reference: &ParentReference) {
        let namespace = ObjectKey::of(&route.metadata).namespace;
        let listeners = match self.admitting(&namespace, reference) {
            Ok(listeners) => listeners,
            Err(problem) => return self.outcome.problems.push(problem),
        };
        let mut refused: Vec<&AddressPattern> = Vec::new();
        for claim in &route.spec.recipients {
            if is_the_world(claim) && !self.may_take_all(claim, route) {
                continue;
            }
            if !self.claim(claim, &listeners, &namespace) {
                refused.push(claim);
            }
        }
        if !refused.is_empty() {
            self.outcome
                .problems
                .insert(0, self.not_granted(&refused, &listeners));
        }
    }

    /// The accepted listeners that the reference means and that admit the namespace.
    fn admitting(
        &mut self,
        namespace: &str,
        reference: &ParentReference,
    ) -> Result<Vec<usize>, Problem> {
        let gateway = self.gateway;
        if let Some(problem) = &gateway.refusal {
            let message = format!(
                "MailGateway {} is not accepted: {}",
                gateway.key, problem.message
            );
            return Err(Problem::new(reason::NO_MATCHING_PARENT, message));
        }
        let section = reference.section_name.as_deref();
        let meant =
            |one: &&(usize, &Judged<'_>)| section.is_none_or(|name| one.1.spec.name == name);
        let all: Vec<_> = gateway.listeners.iter().enumerate().collect();
        let meant: Vec<_> = all.iter().filter(meant).collect();
        let no_parent = |message: String| Problem::new(reason::NO_MATCHING_PARENT, message);
        if meant.is_empty() {
            let names: Vec<_> = all.iter().map(|(_, one)| one.spec.name.as_str()).collect();
            return Err(no_parent(format!(
                "MailGateway {} has no listener {}; it has {}",
                gateway.key,
                section.unwrap_or_default(),
                list(&names)
            )));
        }
        let accepted: Vec<_> = meant
            .into_iter()
            .filter(|(_, one)| one.refusal.is_none())
            .collect();
        if accepted.is_empty() {
            return Err(no_parent(format!(
                "no listener of MailGateway {} that this reference means is accepted",
                gateway.key
            )));
        }
        let mut admitting = Vec::new();
        for (index, listener) in &accepted {
            if self
                .admission
                .grant(*index, listener.spec, namespace)
                .is_some()
            {
                admitting.push(*index);
            }
        }
        if admitting.is_empty() {
            let names: Vec<_> = accepted
                .iter()
                .map(|(_, one)| one.spec.name.as_str())
                .collect();
            let message = format!(
                "namespace {namespace} is not admitted by allowedRoutes of listener {} of \
                 MailGateway {}: ask those who own the gateway",
                list(&names),
                gateway.key
            );
            return Err(Problem::new(reason::NOT_ALLOWED, message));
        }
        Ok(admitting)
    }

    /// `*` where nobody is identified: who relays it onwards is an open relay. So is `*.com`.
    fn may_take_all(&mut self, claim: &AddressPattern, route: &MailRoute) -> bool {
        let relays = |backend: &Backend| backend.mx.is_some() || backend.auth.is_some();
        let rule = route
            .spec
            .rules
            .iter()
            .find(|rule| rule.backends.iter().any(relays));
        match rule {
            Some(rule) => {
                let message = format!(
                    "{claim} would make the gateway an open relay: rule {} has a backend that is \
                     mx or carries auth, and clients of this listener are not identified; name \
                     the domains instead",
                    rule.name
                );
                self.outcome
                    .problems
                    .push(Problem::new(reason::OPEN_RELAY, message));
                false
            }
            None if *claim != AddressPattern::Any => true,
            None => {
                let warning = "warning: * takes the mail of every domain in the world from clients \
                               that are not identified: name the domains instead";
                self.outcome.warnings.push(warning.to_owned());
                true
            }
        }
    }

    /// Puts a claim forward on every listener that grants it; false when none does.
    fn claim(&mut self, claim: &AddressPattern, listeners: &[usize], namespace: &str) -> bool {
        let gateway = self.gateway;
        let mut is_granted = false;
        for &index in listeners {
            let Some(listener) = gateway.listeners.get(index) else {
                continue;
            };
            let grant = self.admission.grant(index, listener.spec, namespace);
            if !grant.is_some_and(|grant| grant.allows(claim)) {
                continue;
            }
            is_granted = true;
            let (route, parent) = self.place;
            let pattern = claims::pattern(claim);
            if listener.is_served() {
                self.outcome.granted.insert((index, spell(&pattern)));
            }
            if let Some(candidates) = self.candidates.get_mut(index) {
                candidates.push(Candidate {
                    pattern,
                    route,
                    parent,
                });
            }
        }
        is_granted
    }

    fn not_granted(&self, refused: &[&AddressPattern], listeners: &[usize]) -> Problem {
        let listeners = listeners
            .iter()
            .filter_map(|index| self.gateway.listeners.get(*index));
        let names: Vec<_> = listeners.map(|one| one.spec.name.as_str()).collect();
        let message = format!(
            "{} is not granted to this namespace by allowedRoutes of listener {} of MailGateway \
             {}: ask those who own the gateway, or claim only what is granted",
            list(refused),
            list(&names),
            self.gateway.key
        );
        Problem::new(reason::DOMAIN_NOT_GRANTED, message)
    }
}

impl Parent {
    /// The conditions at this parent; `references` is what is wrong with the route's backends.
    pub(super) fn conditions(&self, references: &[Problem]) -> Conditions {
        let resolved_refs = verdict(reason::RESOLVED, "all references are resolved", references);
        let served = self.granted.difference(&self.lost).count();
        if served == 0
            && let Some(problem) = self.problems.first()
        {
            return Conditions {
                accepted: verdict("", "", &self.problems),
                ..refused(problem, Some(resolved_refs))
            };
        }
        Conditions {
            accepted: self.accepted(),
            programming: self.programming(served, &resolved_refs),
            resolved_refs: Some(resolved_refs),
        }
    }

    fn accepted(&self) -> Verdict {
        let message = match self.warnings.as_slice() {
            [] => "accepted".to_owned(),
            warnings => format!("accepted; {}", warnings.join("; ")),
        };
        verdict(reason::ACCEPTED, message, &self.problems)
    }

    fn programming(&self, served: usize, resolved_refs: &Verdict) -> Programming {
        if served == 0 {
            return not_programmed(&Problem::new(
                reason::TARGET_NOT_PROGRAMMED,
                "the listener is not served yet: see the status of the MailGateway",
            ));
        }
        let reason = reason::PARTIALLY_PROGRAMMED;
        let problems = self.problems.iter().map(|problem| problem.message.as_str());
        if !self.problems.is_empty() {
            let message = join(problems.chain(["the other names are served"]));
            return Programming::Partial { reason, message };
        }
        if !resolved_refs.status {
            let consequence = "a rule that has no other backend defers its mail with 451";
            let message = join([resolved_refs.message.as_str(), consequence].into_iter());
            return Programming::Partial { reason, message };
        }
        Programming::Whole
    }

    /// Whether something of the route is served through this parent.
    pub(super) fn is_served(&self) -> bool {
        self.granted.difference(&self.lost).next().is_some()
    }
}
