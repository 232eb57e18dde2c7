//! Reporting: verdicts and what the pods run go in, statuses come out, and each is written only
//! when it says something else than the one that is there.

mod conditions;
pub mod fleet;
mod pods;
pub mod status;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Api, Patch, PatchParams};
use kube::core::object::HasStatus;
use kube::{Client, Resource};
use postern_crds::{MailGateway, MailPolicy, MailRoute};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use tracing::{debug, warn};

use crate::apply::Writes;
use crate::names;
use crate::observe::Own;
use crate::translation::Translation;
use crate::world::{Object, ObjectKey};
pub use pods::Asker;
use status::{Builder, Gateway};

/// Statuses that are written at the same time.
const WRITERS: usize = 8;

/// Our objects as they stand in the cluster.
pub struct Objects {
    /// The MailGateways.
    pub gateways: BTreeMap<ObjectKey, Arc<Own<MailGateway>>>,
    /// The MailRoutes.
    pub routes: BTreeMap<ObjectKey, Arc<Own<MailRoute>>>,
    /// The MailPolicies.
    pub policies: BTreeMap<ObjectKey, Arc<Own<MailPolicy>>>,
}

/// Who reports.
pub struct Reporter<'a> {
    /// The way to the API server.
    pub client: &'a Client,
    /// Counts the writes.
    pub writes: &'a Writes,
    /// `postern.dev/<className>`.
    pub controller: &'a str,
}

/// A status that is to be written.
struct Change {
    key: ObjectKey,
    body: Value,
}

impl Reporter<'_> {
    /// Writes the statuses that have changed. Gives how many could not be written: they are tried
    /// again with the next pass.
    pub async fn report(
        &self,
        objects: &Objects,
        translation: &Translation,
        gateways: &BTreeMap<ObjectKey, Gateway>,
    ) -> usize {
        let builder = Builder {
            controller: self.controller,
            gateways,
            now: Timestamp::now(),
        };
        let mut failed = self
            .write::<MailGateway>(gateway_changes(&builder, objects, translation))
            .await;
        failed += self
            .write::<MailRoute>(route_changes(&builder, objects, translation))
            .await;
        failed
            + self
                .write::<MailPolicy>(policy_changes(&builder, objects, translation))
                .await
    }

    async fn write<K>(&self, changes: Vec<Change>) -> usize
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let writes = stream::iter(changes).map(|change| self.write_one::<K>(change));
        writes
            .buffer_unordered(WRITERS)
            .filter(|written| std::future::ready(!written))
            .count()
            .await
    }

    async fn write_one<K>(&self, change: Change) -> bool
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        if self.writes.one().is_err() {
            return false;
        }
        let kind = K::kind(&());
        let api: Api<K> = Api::namespaced(self.client.clone(), &change.key.namespace);
        let params = PatchParams {
            field_manager: Some(names::MANAGER.to_owned()),
            ..PatchParams::default()
        };
        match api
            .patch_status(&change.key.name, &params, &Patch::Merge(&change.body))
            .await
        {
            Ok(_) => true,
            // It has changed or is gone: the watch tells, and the next pass judges it anew.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                debug!(%kind, key = %change.key, "has changed, its status is not written");
                true
            }
            // The object parses as JSON only: the API server answers with what it has stored.
            Err(kube::Error::SerdeError(_)) => true,
            Err(error) => {
                warn!(%kind, key = %change.key, %error, "the status could not be written");
                false
            }
        }
    }
}

fn gateway_changes(builder: &Builder<'_>, objects: &Objects, wanted: &Translation) -> Vec<Change> {
    let of = |(key, own): (&ObjectKey, &Arc<Own<MailGateway>>)| {
        let live = live_status(own);
        let wanted = wanted.gateway_statuses.get(key)?;
        if conditions::judged_later(&live.conditions, wanted.generation) {
            return None;
        }
        change(key, own, &live, &builder.gateway(key, wanted, &live))
    };
    objects.gateways.iter().filter_map(of).collect()
}

fn route_changes(builder: &Builder<'_>, objects: &Objects, wanted: &Translation) -> Vec<Change> {
    let of = |(key, own): (&ObjectKey, &Arc<Own<MailRoute>>)| {
        let live = live_status(own);
        let next = match wanted.route_statuses.get(key) {
            Some(wanted) if conditions::judged_later(&live.conditions, wanted.generation) => {
                return None;
            }
            Some(wanted) => builder.route(key, wanted, &live),
            None => {
                let mut next = live.clone();
                next.parents = builder.others(&live.parents, |p| &p.controller_name);
                next
            }
        };
        change(key, own, &live, &next)
    };
    objects.routes.iter().filter_map(of).collect()
}

fn policy_changes(builder: &Builder<'_>, objects: &Objects, wanted: &Translation) -> Vec<Change> {
    let of = |(key, own): (&ObjectKey, &Arc<Own<MailPolicy>>)| {
        let live = live_status(own);
        let next = match wanted.policy_statuses.get(key) {
            Some(wanted) if conditions::judged_later(&live.conditions, wanted.generation) => {
                return None;
            }
            Some(wanted) => builder.policy(key, wanted, &live),
            None => {
                let mut next = live.clone();
                next.ancestors = builder.others(&live.ancestors, |a| &a.controller_name);
                next
            }
        };
        change(key, own, &live, &next)
    };
    objects.policies.iter().filter_map(of).collect()
}

/// The status that stands in the cluster; empty when there is none or it cannot be read.
fn live_status<K>(own: &Own<K>) -> K::Status
where
    K: HasStatus,
    K::Status: Clone + Default + DeserializeOwned,
{
    match &own.object {
        Object::Read(object) => object.status().cloned().unwrap_or_default(),
        Object::Malformed { .. } => {
            serde_json::from_value(own.raw_status.clone()).unwrap_or_default()
        }
    }
}

/// A merge patch from one status to another, with the resource version that was read; `None` when
/// they are equal.
fn change<K, S>(key: &ObjectKey, own: &Own<K>, live: &S, next: &S) -> Option<Change>
where
    K: Resource,
    S: PartialEq + Serialize,
{
    if live == next {
        return None;
    }
    let live = serde_json::to_value(live).ok()?;
    let mut next = serde_json::to_value(next).ok()?;
    // A merge patch takes away only what it names.
    for field in live.as_object()?.keys() {
        next.as_object_mut()?.entry(field).or_insert(Value::Null);
    }
    let version = &own.object.metadata().resource_version;
    Some(Change {
        key: key.clone(),
        body: json!({"metadata": {"resourceVersion": version}, "status": next}),
    })
}
