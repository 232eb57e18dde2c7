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
            snapshot: known.and_then(|known| {
                Some(SnapshotStatus {
                    hash: known.progress.hash()?.to_owned(),
                    ready_pods: count(known.fleet.ready),
                    acknowledged_pods: count(known.fleet.acknowledged),
                })
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
        let foreign = self.others(&live.parents, |p| &p.controller_name);
        let mut own = Vec::new();
        for parent in &wanted.parents {
            let before = live.parents.iter().find(|old| {
                old.controller_name == self.controller && old.parent_ref == parent.parent_ref
            });
            let before = before.map(|old| &*old.conditions).unwrap_or_default();
            let gateway = Some(&parent.gateway);
            let at = self.refused(&parent.conditions, gateway, key);
            let was = was_true(before, PROGRAMMED, generation);
            let programmed = self.programmed(&at, gateway, &object, (generation, was));
            own.push(ParentStatus {
                parent_ref: parent.parent_ref.clone(),
                controller_name: self.controller.to_owned(),
                conditions: self.finish(conditions::of(&at, programmed, generation), before),
            });
        }
        let mut top = conditions::of(&wanted.conditions, whole(&wanted.conditions), generation);
        let of = |entry: &ParentStatus| entry.conditions.clone();
        agree(&mut top, &live.conditions, &own, &foreign, of);
        MailRouteStatus {
            conditions: self.finish(top, &live.conditions),
            parents: in_order(&live.parents, own, foreign, |a, b| {
                a.controller_name == b.controller_name && a.parent_ref == b.parent_ref
            }),
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
        let foreign = self.others(&live.ancestors, |a| &a.controller_name);
        let mut own = Vec::new();
        for ancestor in &wanted.ancestors {
            let before = live.ancestors.iter().find(|old| {
                old.controller_name == self.controller && old.ancestor_ref == ancestor.ancestor_ref
            });
            let before = before.map(|old| &*old.conditions).unwrap_or_default();
            let at = &ancestor.conditions;
            let was = was_true(before, PROGRAMMED, generation);
            let programmed =
                self.programmed(at, ancestor.gateway.as_ref(), &object, (generation, was));
            own.push(AncestorStatus {
                ancestor_ref: ancestor.ancestor_ref.clone(),
                controller_name: self.controller.to_owned(),
                conditions: self.finish(conditions::of(at, programmed, generation), before),
            });
        }
        let mut top = conditions::of(&wanted.conditions, whole(&wanted.conditions), generation);
        let of = |entry: &AncestorStatus| entry.conditions.clone();
        agree(&mut top, &live.conditions, &own, &foreign, of);
        MailPolicyStatus {
            conditions: self.finish(top, &live.conditions),
            ancestors: in_order(&live.ancestors, own, foreign, |a, b| {
                a.controller_name == b.controller_name && a.ancestor_ref == b.ancestor_ref
            }),
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
                    progress: &known.progress,
                };
                fleet::of_object(&conditions.programming, journey)
            }
            None => without_gateway(&conditions.programming),
        }
    }

    /// A backend that refuses us is a reference that does not work (docs/delivery.md,
    /// At RCPT).
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
            if conditions.programming == Programming::Whole {
                conditions.programming = Programming::Partial {
                    reason: "PartiallyProgrammed",
                    message: refusal.clone(),
                };
            }
        }
        conditions
    }

    fn finish(&self, mut conditions: Vec<Condition>, before: &[Condition]) -> Vec<Condition> {
        keep_times(&mut conditions, before, self.now);
        conditions
    }
}

/// Makes of our judgement of an object the conditions of the whole: the worst of the entries, ours
/// and other controllers'.
fn agree<T>(
    top: &mut [Condition],
    live: &[Condition],
    own: &[T],
    foreign: &[T],
    conditions: fn(&T) -> Vec<Condition>,
) {
    let own: Vec<_> = own.iter().map(conditions).collect();
    let foreign: Vec<_> = foreign.iter().map(conditions).collect();
    // Ours first: their Programmed is what the pods make of our judgement.
    let all = || own.iter().chain(&foreign).map(Vec::as_slice);
    conditions::worst(top, all());
    conditions::partial(top, all());
    conditions::leave(top, live, foreign.iter().map(Vec::as_slice));
}

/// Our entries and those of other controllers in the order in which they stand, what is new at the
/// end: two controllers that each put their own last would write for ever.
fn in_order<T: Clone>(
    live: &[T],
    mut own: Vec<T>,
    foreign: Vec<T>,
    same: fn(&T, &T) -> bool,
) -> Vec<T> {
    let mut list = Vec::new();
    for old in live {
        if let Some(at) = own.iter().position(|new| same(new, old)) {
            list.push(own.remove(at));
        } else if foreign.iter().any(|theirs| same(theirs, old)) {
            list.push(old.clone());
        }
    }
    list.extend(own);
    list
}

/// Programmed of the whole object, before its entries are looked at.
fn whole(conditions: &Conditions) -> Programmed {
    match &conditions.programming {
        Programming::Not { .. } => without_gateway(&conditions.programming),
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
