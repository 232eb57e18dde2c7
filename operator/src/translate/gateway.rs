//! One MailGateway of ours: whether it is accepted, and its listeners.
//!
//! In goes a judged MailGateway; out comes what stands against the whole, or the listeners with
//! their certificates.

use super::certificates::{Owner, Pairs};
use super::input::{self, Input};
use super::listeners::{self, Judged};
use super::routes::Attachments;
use super::status::{Problem, join, list, reason, refused, resolved, verdict, worst};
use crate::translation::{Conditions, GatewayStatus, ListenerStatus, Programming, Verdict};
use crate::world::{Mode, ObjectKey, World};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_crds::MailGateway;

/// A gateway and what was decided about it.
pub(super) struct Gateway<'w> {
    pub(super) key: ObjectKey,
    pub(super) metadata: &'w ObjectMeta,
    pub(super) generation: i64,
    /// `None` when the object is invalid.
    pub(super) object: Option<&'w MailGateway>,
    /// What stands against the whole; with it there are no listeners.
    pub(super) refusal: Option<Problem>,
    pub(super) listeners: Vec<Judged<'w>>,
    pub(super) pairs: Pairs,
}

impl<'w> Gateway<'w> {
    pub(super) fn judge(input: &Input<'w>, gateway: &input::Judged<'w, MailGateway>) -> Self {
        let mut judged = Self {
            key: gateway.key.clone(),
            metadata: gateway.metadata,
            generation: gateway.generation,
            object: gateway.object.as_ref().ok().copied(),
            refusal: None,
            listeners: Vec::new(),
            pairs: Pairs::default(),
        };
        let object = match &gateway.object {
            Ok(object) => *object,
            Err(problem) => {
                judged.refusal = Some(problem.clone());
                return judged;
            }
        };
        judged.refusal =
            foreign(input.world, &judged).or_else(|| not_bound(input.world, &judged.key));
        if judged.refusal.is_none() {
            let owner = Owner {
                key: gateway.key.clone(),
                object,
            };
            judged.listeners = listeners::judge(input, &owner, &mut judged.pairs);
        }
        judged
    }

    /// Whether another installation has it: nothing is said of its routes and policies then.
    pub(super) fn is_anothers(&self) -> bool {
        self.refusal
            .as_ref()
            .is_some_and(|problem| problem.reason == reason::CLASS_CONFLICT)
    }

    /// Whether there is anything to run: at least one listener that is accepted.
    pub(super) fn runs(&self) -> bool {
        self.listeners.iter().any(|one| one.refusal.is_none())
    }

    pub(super) fn status(&self, attachments: &Attachments) -> GatewayStatus {
        let listeners: Vec<_> = self
            .listeners
            .iter()
            .enumerate()
            .map(|(index, one)| ListenerStatus {
                name: one.spec.name.clone(),
                attached_routes: attachments.attached_routes(index),
                conditions: conditions(one),
            })
            .collect();
        let conditions = match &self.refusal {
            Some(problem) => refused(problem, Some(resolved())),
            None => {
                let all: Vec<_> = listeners
                    .iter()
                    .map(|one| (format!("listener {}", one.name), &one.conditions))
                    .collect();
                worst(&all, &Problem::new(reason::INVALID, "there is no listener"))
            }
        };
        GatewayStatus {
            generation: self.generation,
            conditions,
            listeners,
        }
    }
}

fn conditions(listener: &Judged<'_>) -> Conditions {
    if let Some(problem) = &listener.refusal {
        return refused(problem, Some(resolved()));
    }
    let message = match listener.warnings.as_slice() {
        [] => "accepted".to_owned(),
        warnings => format!("accepted; {}", warnings.join("; ")),
    };
    Conditions {
        accepted: verdict(reason::ACCEPTED, message, &[]),
        resolved_refs: Some(references_of(listener)),
        programming: programming(listener),
    }
}

fn references_of(listener: &Judged<'_>) -> Verdict {
    let references = &listener.references;
    if listener.expiring.is_empty() {
        return verdict(reason::RESOLVED, "all references are resolved", references);
    }
    let message = join(listener.expiring.iter().map(String::as_str));
    verdict(reason::CERTIFICATE_EXPIRING, message, references)
}

fn programming(listener: &Judged<'_>) -> Programming {
    let Some(first) = listener.references.first() else {
        return Programming::Whole;
    };
    let message = join(
        listener
            .references
            .iter()
            .map(|problem| problem.message.as_str()),
    );
    if listener.is_served() {
        let reason = reason::PARTIALLY_PROGRAMMED;
        return Programming::Partial { reason, message };
    }
    let reason = first.reason;
    Programming::Not { reason, message }
}

/// Objects of another installation, or of nobody, under the names that would be ours.
fn foreign(world: &World, gateway: &Gateway<'_>) -> Option<Problem> {
    let ours = world.installation.to_string();
    let annotations = gateway.metadata.annotations.as_ref();
    let written = annotations.and_then(|a| a.get(crate::names::INSTALLATION));
    if let Some(other) = written.filter(|other| **other != ours) {
        let message = format!(
            "this MailGateway belongs to installation {other} by its annotation {}: it is left \
             alone by {ours}",
            crate::names::INSTALLATION
        );
        return Some(Problem::new(reason::CLASS_CONFLICT, message));
    }
    let children = world.children.get(&gateway.key).into_iter().flatten();
    let foreign: Vec<_> = children
        .filter(|child| child.installation.as_ref() != Some(&ours))
        .map(|child| match &child.installation {
            Some(other) => format!("{} {} (installation {other})", child.kind, child.name),
            None => format!("{} {} (not written by Postern)", child.kind, child.name),
        })
        .collect();
    if foreign.is_empty() {
        return None;
    }
    let message = format!(
        "{} is not of installation {ours} and is left alone: give one of the installations \
         another class, or delete or rename these objects",
        list(&foreign)
    );
    Some(Problem::new(reason::CLASS_CONFLICT, message))
}

/// A namespace in which the operator may not write.
fn not_bound(world: &World, gateway: &ObjectKey) -> Option<Problem> {
    let namespace = &gateway.namespace;
    if world.mode == Mode::Standalone || world.gateway_namespaces.contains(namespace) {
        return None;
    }
    let message = format!(
        "the operator may not write in namespace {namespace}; bind it with `helm upgrade {} \
         charts/postern -n {} --reuse-values --set 'gatewayNamespaces={{{}}}'`",
        world.installation.name,
        world.installation.namespace,
        world.gateway_namespaces.and(namespace)
    );
    Some(Problem::new(reason::NAMESPACE_NOT_PERMITTED, message))
}
