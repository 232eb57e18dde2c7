//! ConfigMaps by need: only those that a `caRefs` names, each by a watch on its name.
//!
//! A cluster has thousands of them and some are large; the operator reads a handful of
//! certificates.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher::Config;
use kube::{Api, Client};
use postern_crds::MailRoute;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::task::JoinHandle;
use tracing::warn;

use super::kept;
use super::source::{Access, Bell, Own, Source, Watch};
use crate::world::{Object, ObjectKey};

/// ConfigMaps that are followed at most; each costs a connection.
const MAX: usize = 500;

/// The watches.
pub(super) struct ConfigMaps {
    client: Client,
    bell: Bell,
    followed: BTreeMap<ObjectKey, Followed>,
}

struct Followed {
    source: Source<ConfigMap>,
    task: JoinHandle<()>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ConfigMaps {
    pub(super) fn new(client: &Client, bell: &Bell) -> Self {
        Self {
            client: client.clone(),
            bell: bell.clone(),
            followed: BTreeMap::new(),
        }
    }

    /// Begins to follow those that are new and leaves those that are no longer named.
    pub(super) fn follow(&mut self, wanted: BTreeSet<ObjectKey>) {
        if wanted.len() > MAX {
            warn!(
                wanted = wanted.len(),
                MAX, "too many ConfigMaps are named, the first are used"
            );
        }
        let wanted: BTreeSet<ObjectKey> = wanted.into_iter().take(MAX).collect();
        self.followed.retain(|key, _| wanted.contains(key));
        for key in wanted {
            if !self.followed.contains_key(&key) {
                let followed = self.begin(&key);
                self.followed.insert(key, followed);
            }
        }
    }

    /// Whether all have answered.
    pub(super) fn seen(&self) -> bool {
        self.followed
            .values()
            .all(|f| f.source.access() != Access::Pending)
    }

    pub(super) fn objects(&self) -> BTreeMap<ObjectKey, Arc<ConfigMap>> {
        self.followed
            .values()
            .flat_map(|f| f.source.objects())
            .collect()
    }

    fn begin(&self, key: &ObjectKey) -> Followed {
        let source = Source::default();
        let watch = Watch {
            api: Api::namespaced(self.client.clone(), &key.namespace),
            config: Config::default().fields(&format!("metadata.name={}", key.name)),
            source: source.clone(),
            keep: kept::config_map,
            bell: self.bell.clone(),
        };
        Followed {
            source,
            task: tokio::spawn(watch.follow()),
        }
    }
}

/// The ConfigMaps that `caRefs` name.
pub(super) fn named(routes: &BTreeMap<ObjectKey, Arc<Own<MailRoute>>>) -> BTreeSet<ObjectKey> {
    let read = routes.iter().filter_map(|(key, own)| match &own.object {
        Object::Read(route) => Some((key, route)),
        Object::Malformed { .. } => None,
    });
    read.flat_map(|(key, route)| {
        let backends = route.spec.rules.iter().flat_map(|rule| &rule.backends);
        let references = backends
            .filter_map(|b| b.tls.as_ref())
            .flat_map(|tls| &tls.ca_refs);
        references.map(|r| ObjectKey::new(r.namespace_or(&key.namespace), &*r.name))
    })
    .collect()
}
