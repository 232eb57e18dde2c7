//! The statuses of our three kinds, built whole: verdicts of `translate`, what the pods have
//! acknowledged, and the entries of other controllers as they were.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use postern_crds::mail_gateway::{Address, ListenerStatus, MailGatewayStatus, SnapshotStatus};
use postern_crds::mail_policy::{AncestorStatus, MailPolicyStatus};
use postern_crds::mail_route::MailRouteStatus;
use postern_crds::status::{PROGRAMMED, ParentStatus};
use std::collections::BTreeMap;

use super::conditions::{self, keep_times, was_true};
use super::fleet::{self, Fleet, Journey, Programmed, Progress};
use crate::translation::{self, Conditions, Programming, Verdict};
use crate::world::ObjectKey;

/// What is known of one gateway's pods and snapshot.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// The pods.
    pub fleet: Fleet,
    /// The snapshot.
    pub progress: Progress,
    /// The generations in the last snapshot that all ready pods have acknowledged, by
    /// `Kind/namespace/name`.
    pub confirmed: BTreeMap<String, i64>,
    /// The routes (`namespace/name`) of which a backend has said that we are misconfigured, and
    /// what it said.
    pub refused: BTreeMap<String, String>,
    /// Where the Service can be reached.
    pub addresses: Vec<Address>,
    /// The label selector of its pods.
    pub selector: String,
}

/// What statuses are built with.
pub(super) struct Builder<'a> {
    pub(super) controller: &'a str,
    pub(super) gateways: &'a BTreeMap<ObjectKey, Gateway>,
    pub(super) now: Timestamp,
}

impl Builder<'_> {
    pub(super) fn gateway(
        &self,
        key: &ObjectKey,
        wanted: &translation::GatewayStatus,
        live: &MailGatewayStatus,
    ) -> MailGatewayStatus {
        let known = self.gateways.get(key);
        let conditions = |c: &Conditions, before: &[Condition]| {
            let programmed = match known {
                Some(known) => fleet::of_gateway(&c.programming, &known.progress, &known.fleet),
                None => without_gateway(&c.programming),
            };
            self.finish(conditions::of(c, programmed, wanted.generation), before)
        };
        let listener = |listener: &translation::ListenerStatus| {
            let before = live.listeners.iter().find(|old| old.name == listener.name);
            let before = before.map(|old| &*old.conditions).unwrap_or_default();
            ListenerStatus {
                name: listener.name.clone(),
                attached_routes: listener.attached_routes,
                conditions: conditions(&listener.conditions, before),
            }
        };
        let count = |pods: usize| i32::try_from(pods).unwrap_or(i32::MAX);
        MailGatewayStatus {
            conditions: conditions(&wanted.conditions, &live.conditions),
            listeners: wanted.listeners.iter().map(listener).collect(),
            addresses: known
                .map(|known| known.addresses.clone())
                .unwrap_or_default(),
            replicas: known.map(|known| count(known.fleet.pods)),
            selector: known.map(|known| known.selector.clone()),
            snapshot: known.and_then(|known| match &known.progress {
                Progress::Written(hash) | Progress::Waiting(hash) => Some(SnapshotStatus {
                    hash: hash.clone(),
                    ready_pods: count(known.fleet.ready),
                    acknowledged_pods: count(known.fleet.acknowledged),
                }),
                Progress::Failed { .. } => None,
            }),
        }
    }

    pub(super) fn route(
        &self,
        key: &ObjectKey,
        wanted: &translation::RouteStatus,
        live: &MailRouteStatus,
    ) -> MailRouteStatus {
        let generation = wanted.generation;
        let object = format!("MailRoute/{key}");
        let mut parents: Vec<ParentStatus> = self.others(&live.parents, |p| &p.controller_name);
        let foreign = parents.len();
        for parent in &wanted.parents {
            let before = live.parents.iter().find(|old| {
                old.controller_name == self.controller && old.parent_ref == parent.parent_ref
            });
            let before = before.map(|old| &*old.conditions).unwrap_or_default();
            let gateway = Some(&parent.gateway);
            let at = self.refused(&parent.conditions, gateway, key);
            let was = was_true(before, PROGRAMMED, generation);
            let programmed = self.programmed(&at, gateway, &object, (generation, was));
            parents.push(ParentStatus {
                parent_ref: parent.parent_ref.clone(),
                controller_name: self.controller.to_owned(),
                conditions: self.finish(conditions::of(&at, programmed, generation), before),
            });
        }
        let entries = || parents.iter().map(|parent| &*parent.conditions);
        let conditions = self.top(&wanted.conditions, generation, entries(), foreign);
        MailRouteStatus {
            conditions: self.finish(conditions, &live.conditions),
            parents,
        }
    }

    pub(super) fn policy(
        &self,
        key: &ObjectKey,
        wanted: &translation::PolicyStatus,
        live: &MailPolicyStatus,
    ) -> MailPolicyStatus {
        let generation = wanted.generation;
        let object = format!("MailPolicy/{key}");
        let mut ancestors: Vec<AncestorStatus> =
            self.others(&live.ancestors, |a| &a.controller_name);
        let foreign = ancestors.len();
        for ancestor in &wanted.ancestors {
            let before = live.ancestors.iter().find(|old| {
                old.controller_name == self.controller && old.ancestor_ref == ancestor.ancestor_ref
            });
            let before = before.map(|old| &*old.conditions).unwrap_or_default();
            let at = &ancestor.conditions;
            let was = was_true(before, PROGRAMMED, generation);
            let programmed =
                self.programmed(at, ancestor.gateway.as_ref(), &object, (generation, was));
            ancestors.push(AncestorStatus {
                ancestor_ref: ancestor.ancestor_ref.clone(),
                controller_name: self.controller.to_owned(),
                conditions: self.finish(conditions::of(at, programmed, generation), before),
            });
        }
        let entries = || ancestors.iter().map(|ancestor| &*ancestor.conditions);
        let conditions = self.top(&wanted.conditions, generation, entries(), foreign);
        MailPolicyStatus {
            conditions: self.finish(conditions, &live.conditions),
            ancestors,
        }
    }

    /// The entries that other controllers have written.
    pub(super) fn others<T: Clone>(&self, entries: &[T], controller: fn(&T) -> &String) -> Vec<T> {
        entries
            .iter()
            .filter(|entry| controller(entry) != self.controller)
            .cloned()
            .collect()
    }

    /// The conditions of the whole object: our judgement of it, with the worst of the entries, of
    /// which the first `foreign` are other controllers'.
    fn top<'a>(
        &self,
        wanted: &Conditions,
        generation: i64,
        entries: impl Iterator<Item = &'a [Condition]> + Clone,
        foreign: usize,
    ) -> Vec<Condition> {
        let programmed = match &wanted.programming {
            Programming::Not { .. } => without_gateway(&wanted.programming),
            Programming::Partial { reason, message } => Programmed {
                status: true,
                reason: (*reason).to_owned(),
                message: message.clone(),
            },
            Programming::Whole => Programmed {
                status: true,
                reason: PROGRAMMED.to_owned(),
                message: "All ready pods have run it".to_owned(),
            },
        };
        let mut list = conditions::of(wanted, programmed, generation);
        // Ours first: their Programmed is what the pods make of our judgement.
        conditions::worst(&mut list, entries.clone().skip(foreign));
        conditions::worst(&mut list, entries.take(foreign));
        list
    }

    fn programmed(
        &self,
        conditions: &Conditions,
        gateway: Option<&ObjectKey>,
        object: &str,
        (generation, was): (i64, bool),
    ) -> Programmed {
        match gateway.and_then(|gateway| self.gateways.get(gateway)) {
            Some(known) => {
                let confirmed = known.confirmed.get(object).copied();
                let journey = Journey {
                    generation,
                    confirmed,
                    was,
                    fleet: &known.fleet,
                };
                fleet::of_object(&conditions.programming, journey)
            }
            None => without_gateway(&conditions.programming),
        }
    }

    /// A backend that refuses us is a reference that does not work (DESIGN section 4, Ask).
    fn refused(
        &self,
        conditions: &Conditions,
        gateway: Option<&ObjectKey>,
        route: &ObjectKey,
    ) -> Conditions {
        let mut conditions = conditions.clone();
        let known = gateway.and_then(|gateway| self.gateways.get(gateway));
        let refusal = known.and_then(|known| known.refused.get(&route.to_string()));
        let resolved = conditions
            .resolved_refs
            .as_mut()
            .filter(|resolved| resolved.status);
        if let (Some(refusal), Some(resolved)) = (refusal, resolved) {
            *resolved = Verdict {
                status: false,
                reason: "BackendRefused",
                message: refusal.clone(),
            };
        }
        conditions
    }

    fn finish(&self, mut conditions: Vec<Condition>, before: &[Condition]) -> Vec<Condition> {
        keep_times(&mut conditions, before, self.now);
        conditions
    }
}

/// There are no pods to ask.
fn without_gateway(programming: &Programming) -> Programmed {
    let (reason, message) = match programming {
        Programming::Not { reason, message } => (*reason, message.clone()),
        Programming::Whole | Programming::Partial { .. } => {
            ("Pending", "Waiting for the gateway".to_owned())
        }
    };
    Programmed {
        status: false,
        reason: reason.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests;
