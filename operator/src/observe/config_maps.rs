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
const MAX: usize = 2_000;
/// ConfigMaps that are followed at most for the routes of one namespace.
const MAX_OF_NAMESPACE: usize = 64;

/// The watches.
pub(super) struct ConfigMaps {
    client: Client,
    bell: Bell,
    followed: BTreeMap<ObjectKey, Followed>,
    /// Namespaces whose routes name too many, so that it is logged once.
    left_out: BTreeSet<String>,
}

/// By the namespace of the routes: the ConfigMaps that their `caRefs` name.
pub(super) type Named = BTreeMap<String, BTreeSet<ObjectKey>>;

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
            left_out: BTreeSet::new(),
        }
    }

    /// Begins to follow those that are new and leaves those that are no longer named.
    pub(super) fn follow(&mut self, named: &Named) {
        let wanted = fair(named, MAX_OF_NAMESPACE, MAX);
        let left_out: BTreeSet<&str> = named
            .iter()
            .filter(|(_, keys)| !keys.is_subset(&wanted))
            .map(|(namespace, _)| namespace.as_str())
            .collect();
        if !left_out.is_empty() && left_out != self.left_out.iter().map(String::as_str).collect() {
            warn!(
                namespaces = ?left_out, MAX_OF_NAMESPACE, MAX,
                "the routes of these namespaces name too many ConfigMaps, the first are used"
            );
        }
        self.left_out = left_out.into_iter().map(str::to_owned).collect();
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

/// Which are followed: at most `each` for the routes of one namespace, at most `all`. Every
/// namespace gets its first before any gets its second, so that what one tenant names takes nothing
/// from the others.
fn fair(named: &Named, each: usize, all: usize) -> BTreeSet<ObjectKey> {
    let mut wanted = BTreeSet::new();
    let mut lists: Vec<_> = named.values().map(|keys| keys.iter().take(each)).collect();
    while !lists.is_empty() {
        lists.retain_mut(|list| {
            let key = (wanted.len() < all).then(|| list.next()).flatten();
            wanted.extend(key.cloned());
            key.is_some()
        });
    }
    wanted
}

/// The ConfigMaps that `caRefs` name.
pub(super) fn named(routes: &BTreeMap<ObjectKey, Arc<Own<MailRoute>>>) -> Named {
    let mut named = Named::new();
    for (key, own) in routes {
        let Object::Read(route) = &own.object else {
            continue;
        };
        let backends = route.spec.rules.iter().flat_map(|rule| &rule.backends);
        let references = backends
            .filter_map(|b| b.tls.as_ref())
            .flat_map(|tls| &tls.ca_refs)
            .map(|r| ObjectKey::new(r.namespace_or(&key.namespace), &*r.name));
        named
            .entry(key.namespace.clone())
            .or_default()
            .extend(references);
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(namespace: &str, count: usize) -> (String, BTreeSet<ObjectKey>) {
        let keys = (0..count).map(|at| ObjectKey::new(namespace, format!("ca-{at:03}")));
        (namespace.to_owned(), keys.collect())
    }

    fn count(wanted: &BTreeSet<ObjectKey>, namespace: &str) -> usize {
        let of = wanted.iter().filter(|key| key.namespace == namespace);
        of.count()
    }

    #[test]
    fn one_namespace_takes_nothing_from_the_others() {
        let named = Named::from([of("a-greedy", 500), of("acme", 1), of("umbrella", 3)]);
        let wanted = fair(&named, MAX_OF_NAMESPACE, MAX);
        assert_eq!(count(&wanted, "a-greedy"), MAX_OF_NAMESPACE);
        assert_eq!((count(&wanted, "acme"), count(&wanted, "umbrella")), (1, 3));
    }

    #[test]
    fn when_there_are_too_many_in_all_everybody_gets_some() {
        let named = Named::from([of("a", 64), of("b", 64), of("c", 2)]);
        let wanted = fair(&named, 64, 10);
        let counts = ["a", "b", "c"].map(|namespace| count(&wanted, namespace));
        assert_eq!(counts, [4, 4, 2]);
    }
}
