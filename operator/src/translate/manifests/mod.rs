//! The objects of a gateway in the cluster.
//!
//! In goes a gateway that runs; out come its ServiceAccount, Role, RoleBinding, Deployment,
//! Service, PodDisruptionBudget and NetworkPolicy, all under one fixed name, for server-side
//! apply. The pod template is constant: only image, resources, topologySpread, drain.timeout and
//! podTemplatePatch restart pods; listeners, routes, policies and certificates do not.

mod access;
mod deployment;
mod network;

use super::gateway::Gateway;
use crate::names;
use crate::translation::Manifests;
use crate::world::{Mode, World};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use postern_crds::MailGateway;
use postern_crds::mail_gateway::{Listener, MailGatewaySpec};

/// What the manifests are rendered from.
struct Frame<'a> {
    world: &'a World,
    gateway: &'a MailGateway,
    name: &'a str,
    spec: &'a MailGatewaySpec,
    /// The listeners that are accepted.
    listeners: Vec<&'a Listener>,
}

impl Frame<'_> {
    /// Metadata of an object under the gateway's fixed name.
    fn metadata(&self) -> ObjectMeta {
        names::metadata(
            self.gateway,
            &self.world.installation,
            names::base(self.name),
        )
    }

    fn selector(&self) -> LabelSelector {
        LabelSelector {
            match_labels: Some(names::selector(self.name)),
            match_expressions: None,
        }
    }
}

/// The manifests of a gateway; `None` outside a cluster, and for one that does not run.
pub(super) fn render(world: &World, gateway: &Gateway<'_>) -> Option<Manifests> {
    let object = gateway
        .object
        .filter(|_| gateway.runs() && world.mode == Mode::Cluster)?;
    let accepted = gateway.listeners.iter().filter(|one| one.refusal.is_none());
    let frame = Frame {
        world,
        gateway: object,
        name: &gateway.key.name,
        spec: &object.spec,
        listeners: accepted.map(|one| one.spec).collect(),
    };
    Some(Manifests {
        service_account: access::service_account(&frame),
        role: access::role(&frame),
        role_binding: access::role_binding(&frame),
        deployment: deployment::deployment(&frame),
        service: network::service(&frame),
        pod_disruption_budget: deployment::pod_disruption_budget(&frame),
        network_policy: network::network_policy(&frame),
    })
}
