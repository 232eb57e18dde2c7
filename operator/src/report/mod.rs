//! Reporting: verdicts and what the pods run go in, statuses come out, and each is written only
//! when it says something else than the one that is there.

mod conditions;
pub mod events;
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
use events::News;
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

/// What became of the statuses.
#[derive(Debug, Default)]
pub struct Reported {
    /// How many could not be written: they are tried again with the next pass.
    pub failed: usize,
    /// What has turned at MailGateways whose statuses were written.
    pub news: Vec<(ObjectKey, Vec<News>)>,
}

/// A status that is to be written.
struct Change {
    key: ObjectKey,
    body: Value,
    /// What it turns.
    news: Vec<News>,
}

/// What became of one status.
enum Written {
    Yes(ObjectKey, Vec<News>),
    /// The object has changed meanwhile or is gone.
    Overtaken,
    No,
}

impl Reporter<'_> {
    /// Writes the statuses that have changed.
    pub async fn report(
        &self,
        objects: &Objects,
        translation: &Translation,
        gateways: &BTreeMap<ObjectKey, Gateway>,
    ) -> Reported {
        let builder = Builder {
            controller: self.controller,
            gateways,
            now: Timestamp::now(),
        };
        let mut reported = Reported::default();
        let gateways = gateway_changes(&builder, objects, translation);
        self.write::<MailGateway>(gateways, &mut reported).await;
        let routes = route_changes(&builder, objects, translation);
        self.write::<MailRoute>(routes, &mut reported).await;
        let policies = policy_changes(&builder, objects, translation);
        self.write::<MailPolicy>(policies, &mut reported).await;
        reported
    }

    async fn write<K>(&self, changes: Vec<Change>, reported: &mut Reported)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let writes = stream::iter(changes).map(|change| self.write_one::<K>(change));
        let mut written = std::pin::pin!(writes.buffer_unordered(WRITERS));
        while let Some(written) = written.next().await {
            match written {
                Written::Yes(_, news) if news.is_empty() => {}
                Written::Yes(key, news) => reported.news.push((key, news)),
                Written::Overtaken => {}
                Written::No => reported.failed += 1,
            }
        }
    }

    async fn write_one<K>(&self, change: Change) -> Written
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        if self.writes.one().is_err() {
            return Written::No;
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
            // The object may parse as JSON only: the API server answers with what it has stored.
            Ok(_) | Err(kube::Error::SerdeError(_)) => Written::Yes(change.key, change.news),
            // It has changed or is gone: the watch tells, and the next pass judges it anew.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                debug!(%kind, key = %change.key, "has changed, its status is not written");
                Written::Overtaken
            }
            Err(error) => {
                warn!(%kind, key = %change.key, %error, "the status could not be written");
                Written::No
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
        let next = builder.gateway(key, wanted, &live);
        let mut change = change(key, own, &live, &next)?;
        change.news = events::news(&live.conditions, &next.conditions);
        Some(change)
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
        news: Vec::new(),
    })
}
