//! The statuses of MailRoutes and MailPolicies, gathered over the gateways.
//!
//! In go the judged gateways with their attachments; out comes for each object an entry per parent
//! or ancestor of ours and the worst of them. A parent that does not exist has no entry, since
//! entries of deleted gateways are swept, but counts for the worst.

use super::gateway::Gateway;
use super::input::{Input, Judged};
use super::policies::{Policies, Target};
use super::routes::Attachments;
use super::snapshot::Rules;
use super::status::{Problem, list, not_programmed, reason, refused, resolved, verdict, worst};
use crate::translation::{
    AncestorStatus, Conditions, ParentStatus, PolicyStatus, Programming, RouteStatus,
};
use crate::world::ObjectKey;
use postern_crds::common::ParentReference;
use postern_crds::mail_policy::{AncestorReference, TargetKind};
use postern_crds::{MailPolicy, MailRoute};
use std::collections::{BTreeMap, BTreeSet};

/// Ancestors that the status of a policy takes.
const ANCESTORS: usize = 32;

/// All gateways by name, with their attachments.
pub(super) type Gateways<'w> = BTreeMap<ObjectKey, (Gateway<'w>, Attachments)>;

/// The statuses of all routes that concern us.
pub(super) fn routes(
    input: &Input<'_>,
    gateways: &Gateways<'_>,
    rules: &BTreeMap<usize, Rules>,
) -> BTreeMap<ObjectKey, RouteStatus> {
    let statuses = input
        .routes
        .iter()
        .enumerate()
        .filter_map(|(index, route)| {
            let problems = rules
                .get(&index)
                .map(|r| r.problems.as_slice())
                .unwrap_or_default();
            Some((
                route.key.clone(),
                route_status(input, gateways, (index, route), problems)?,
            ))
        });
    statuses.collect()
}

fn route_status(
    input: &Input<'_>,
    gateways: &Gateways<'_>,
    (index, route): (usize, &Judged<'_, MailRoute>),
    problems: &[Problem],
) -> Option<RouteStatus> {
    let generation = route.generation;
    let object = match &route.object {
        Ok(object) => *object,
        Err(problem) => {
            let conditions = refused(problem, Some(resolved()));
            return Some(RouteStatus {
                generation,
                conditions,
                parents: Vec::new(),
            });
        }
    };
    let mut parents = Vec::new();
    let mut missing = Vec::new();
    for (position, reference) in object.spec.parent_refs.iter().enumerate() {
        let gateway = ObjectKey::new(
            reference.namespace_or(&route.key.namespace),
            &reference.name,
        );
        let found = gateways
            .get(&gateway)
            .filter(|(gateway, _)| !gateway.is_anothers());
        let parent = found.and_then(|(_, attachments)| attachments.parents.get(&(index, position)));
        if let Some(parent) = parent {
            let conditions = parent.conditions(problems);
            parents.push(ParentStatus {
                parent_ref: reference.clone(),
                gateway,
                conditions,
            });
        } else if !input.has_gateway(&gateway) {
            let message = format!(
                "MailGateway {gateway} does not exist: create it, or name another in parentRefs"
            );
            let problem = Problem::new(reason::NO_MATCHING_PARENT, message);
            let resolved_refs = verdict(reason::RESOLVED, "all references are resolved", problems);
            missing.push((gateway, refused(&problem, Some(resolved_refs))));
        }
    }
    let label = |parent: &ParentStatus| match &parent.parent_ref.section_name {
        Some(section) => format!("{} listener {section}", parent.gateway),
        None => parent.gateway.to_string(),
    };
    let mut all: Vec<_> = parents.iter().map(|p| (label(p), &p.conditions)).collect();
    all.extend(
        missing
            .iter()
            .map(|(gateway, conditions)| (gateway.to_string(), conditions)),
    );
    if all.is_empty() {
        return None;
    }
    let conditions = worst(&all, &Problem::new(reason::NO_MATCHING_PARENT, ""));
    Some(RouteStatus {
        generation,
        conditions,
        parents,
    })
}

/// The statuses of all policies that concern us.
pub(super) fn policies(
    input: &Input<'_>,
    gateways: &Gateways<'_>,
    policies: &Policies<'_>,
) -> BTreeMap<ObjectKey, PolicyStatus> {
    let seen = Seen::new(input, gateways, policies);
    let statuses = input.policies.iter().enumerate();
    let statuses = statuses
        .filter_map(|(index, policy)| Some((policy.key.clone(), seen.status(index, policy)?)));
    statuses.collect()
}

/// What a policy's targets are looked up in.
struct Seen<'a, 'w> {
    input: &'a Input<'w>,
    gateways: &'a Gateways<'w>,
    policies: &'a Policies<'w>,
    routes: BTreeMap<&'a ObjectKey, usize>,
    /// For each route that is served, the gateways that do.
    served_by: BTreeMap<usize, BTreeSet<&'a ObjectKey>>,
}

/// An ancestor with the gateway whose pods decide.
type Entry = (AncestorReference, Option<ObjectKey>, Conditions);

impl<'a, 'w> Seen<'a, 'w> {
    fn new(input: &'a Input<'w>, gateways: &'a Gateways<'w>, policies: &'a Policies<'w>) -> Self {
        let mut served_by: BTreeMap<usize, BTreeSet<&ObjectKey>> = BTreeMap::new();
        for (key, (_, attachments)) in gateways {
            for (&(route, _), parent) in &attachments.parents {
                if parent.is_served() {
                    served_by.entry(route).or_default().insert(key);
                }
            }
        }
        let routes = input
            .routes
            .iter()
            .enumerate()
            .map(|(index, route)| (&route.key, index));
        Self {
            input,
            gateways,
            policies,
            routes: routes.collect(),
            served_by,
        }
    }

    /// `None` when all of its targets are other installations'.
    fn status(&self, index: usize, policy: &Judged<'_, MailPolicy>) -> Option<PolicyStatus> {
        let generation = policy.generation;
        let object = match &policy.object {
            Ok(object) => *object,
            Err(problem) => {
                let conditions = refused(problem, None);
                return Some(PolicyStatus {
                    generation,
                    conditions,
                    ancestors: Vec::new(),
                });
            }
        };
        let targets = object.spec.target_refs.iter();
        let targets: BTreeSet<_> = targets
            .map(|one| Target::of(&policy.key.namespace, one))
            .collect();
        let mut grouped: BTreeMap<AncestorReference, (Option<ObjectKey>, Vec<Conditions>)> =
            BTreeMap::new();
        for target in &targets {
            for (ancestor, gateway, conditions) in self.entries(index, target) {
                let group = grouped.entry(ancestor).or_insert((gateway, Vec::new()));
                group.1.push(conditions);
            }
        }
        let none = Problem::new(reason::TARGET_NOT_FOUND, "");
        let ancestors: Vec<_> = grouped
            .into_iter()
            .map(|(ancestor_ref, (gateway, all))| {
                let label = spell(&ancestor_ref);
                let all: Vec<_> = all.iter().map(|c| (label.clone(), c)).collect();
                AncestorStatus {
                    conditions: worst(&all, &none),
                    ancestor_ref,
                    gateway,
                }
            })
            .collect();
        if ancestors.is_empty() {
            return None;
        }
        let all: Vec<_> = ancestors
            .iter()
            .map(|a| (spell(&a.ancestor_ref), &a.conditions))
            .collect();
        let conditions = worst(&all, &none);
        let ancestors = ancestors.into_iter().take(ANCESTORS).collect();
        Some(PolicyStatus {
            generation,
            conditions,
            ancestors,
        })
    }

    fn entries(&self, index: usize, target: &Target) -> Vec<Entry> {
        match target.kind {
            TargetKind::MailGateway => self.at_gateway(index, target),
            TargetKind::MailRoute => self.at_route(index, target),
            TargetKind::MailSender => {
                let message = "targets of kind MailSender are not supported by this version";
                let problem = Problem::new(reason::UNSUPPORTED, message);
                vec![(reference(target), None, refused(&problem, None))]
            }
        }
    }

    fn at_gateway(&self, index: usize, target: &Target) -> Vec<Entry> {
        if self.is_anothers(&target.key) {
            return Vec::new();
        }
        let Some((gateway, _)) = self.gateways.get(&target.key) else {
            return vec![not_found(target, "a policy acts in its own namespace only")];
        };
        let section = target.section.as_deref();
        let names: Vec<_> = gateway
            .listeners
            .iter()
            .map(|one| one.spec.name.as_str())
            .collect();
        if gateway.refusal.is_none() && section.is_some_and(|name| !names.contains(&name)) {
            return vec![not_found(
                target,
                &format!("its listeners are {}", list(&names)),
            )];
        }
        let mut meant = gateway
            .listeners
            .iter()
            .filter(|one| section.is_none_or(|name| one.spec.name == name));
        let is_served = meant.any(super::listeners::Judged::is_served);
        let conditions = self.conditions(index, target, is_served);
        vec![(reference(target), Some(target.key.clone()), conditions)]
    }

    fn at_route(&self, index: usize, target: &Target) -> Vec<Entry> {
        let route = self.routes.get(&target.key);
        let route = route.and_then(|at| Some((*at, self.input.routes.get(*at)?)));
        let Some((at, route)) = route else {
            return vec![not_found(target, "a policy acts in its own namespace only")];
        };
        if let (Ok(object), Some(section)) = (&route.object, &target.section) {
            let names: Vec<_> = object
                .spec
                .rules
                .iter()
                .map(|rule| rule.name.as_str())
                .collect();
            if !names.contains(&section.as_str()) {
                return vec![not_found(
                    target,
                    &format!("its rules are {}", list(&names)),
                )];
            }
        }
        if let Ok(object) = &route.object {
            let parents = &object.spec.parent_refs;
            let gateway = |parent: &ParentReference| {
                ObjectKey::new(parent.namespace_or(&route.key.namespace), &parent.name)
            };
            if parents
                .iter()
                .all(|parent| self.is_anothers(&gateway(parent)))
            {
                return Vec::new();
            }
        }
        let served_by: Vec<_> = self.served_by.get(&at).into_iter().flatten().collect();
        if served_by.is_empty() {
            let conditions = self.conditions(index, target, false);
            return vec![(reference(target), None, conditions)];
        }
        let entry = |gateway: &&&ObjectKey| {
            let ancestor = AncestorReference {
                group: postern_crds::GROUP.to_owned(),
                kind: TargetKind::MailGateway,
                namespace: Some(gateway.namespace.clone()),
                name: gateway.name.clone(),
                section_name: None,
            };
            let conditions = self.conditions(index, target, true);
            (ancestor, Some((**gateway).clone()), conditions)
        };
        served_by.iter().map(entry).collect()
    }

    /// Whether a gateway is another installation's.
    fn is_anothers(&self, gateway: &ObjectKey) -> bool {
        self.input.foreign.contains(gateway)
            || self
                .gateways
                .get(gateway)
                .is_some_and(|(gateway, _)| gateway.is_anothers())
    }

    /// The conditions of a policy whose target is there.
    fn conditions(&self, index: usize, target: &Target, is_served: bool) -> Conditions {
        let lost = self.policies.lost(index, target);
        let message = lost.iter().map(|(section, older)| {
            format!(
                "{section} is not used on {}: the older MailPolicy {older} has it there too",
                spell(&reference(target))
            )
        });
        let messages: Vec<_> = message.collect();
        let programming = if !is_served {
            let message = format!("{} is not served by any gateway", spell(&reference(target)));
            not_programmed(&Problem::new(reason::TARGET_NOT_PROGRAMMED, message))
        } else if messages.is_empty() {
            Programming::Whole
        } else {
            let reason = reason::PARTIALLY_PROGRAMMED;
            Programming::Partial {
                reason,
                message: messages.join("; "),
            }
        };
        Conditions {
            accepted: verdict(reason::ACCEPTED, "accepted", &[]),
            resolved_refs: None,
            programming,
        }
    }
}

fn not_found(target: &Target, hint: &str) -> Entry {
    let message = format!("{} does not exist: {hint}", spell(&reference(target)));
    let problem = Problem::new(reason::TARGET_NOT_FOUND, message);
    (reference(target), None, refused(&problem, None))
}

/// A target as it stands in the list of ancestors.
fn reference(target: &Target) -> AncestorReference {
    AncestorReference {
        group: postern_crds::GROUP.to_owned(),
        kind: target.kind,
        namespace: Some(target.key.namespace.clone()),
        name: target.key.name.clone(),
        section_name: target.section.clone(),
    }
}

/// `MailGateway mail/edge listener mx`.
fn spell(reference: &AncestorReference) -> String {
    let namespace = reference.namespace.as_deref().unwrap_or_default();
    let whole = format!("{:?} {namespace}/{}", reference.kind, reference.name);
    let part = match reference.kind {
        TargetKind::MailGateway => "listener",
        TargetKind::MailRoute => "rule",
        TargetKind::MailSender => "section",
    };
    match &reference.section_name {
        Some(section) => format!("{whole} {part} {section}"),
        None => whole,
    }
}
