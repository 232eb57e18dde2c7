//! Observing the cluster: watches in, a [`World`] out.
//!
//! Every watch is limited: to our own kinds, to a type of Secret in a bound namespace, to the
//! label of a gateway, or to one name; of the rest only the needed part is kept ([`kept`]).
//! Nothing is translated before every watch has answered once: an object that has not been seen
//! yet must not look like one that is not there.

mod config_maps;
mod grants;
pub mod kept;
mod source;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, PartialObjectMeta};
use kube::core::{NamespaceResourceScope, Resource};
use kube::runtime::watcher::Config;
use postern_config::Snapshot;
use postern_crds::{MailGateway, MailPolicy, MailRoute};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use tokio::task::JoinSet;

use crate::names;
use crate::options::Options;
use crate::world::{
    self, Child, Mode, Namespaces, Object, ObjectKey, ReferenceGrant, Scoped, World,
};
use config_maps::ConfigMaps;
use kept::{Generated, Piece, Pod};
pub use source::{Access, Bell, Own, Source};
use source::{Sent, Watch};

/// The types of Secrets that are held.
const SECRET_TYPES: [&str; 3] = [
    "kubernetes.io/tls",
    "kubernetes.io/basic-auth",
    "postern.dev/credentials",
];

/// All watches of an operator. They end when it is dropped.
pub struct Observer {
    options: Arc<Options>,
    gateways: Source<Own<MailGateway>>,
    routes: Source<Own<MailRoute>>,
    policies: Source<Own<MailPolicy>>,
    namespaces: Source<BTreeMap<String, String>>,
    services: Source<core::Service>,
    grants: Source<Option<ReferenceGrant>>,
    config_maps: ConfigMaps,
    secrets: Vec<SecretScope>,
    infra: Vec<InfraScope>,
    // Held for its drop, which ends the watches.
    _watches: JoinSet<()>,
}

/// The Secrets of one namespace, or of all.
struct SecretScope {
    namespace: Option<String>,
    sources: Vec<Source<world::Secret>>,
}

/// The gateways' own objects in one namespace, or in all.
struct InfraScope {
    namespace: Option<String>,
    /// By kind.
    objects: Vec<(String, Source<DynamicObject>)>,
    /// ConfigMaps and Secrets of snapshots, by kind.
    pieces: Vec<(&'static str, Source<Piece>)>,
    generated: Source<Generated>,
    pods: Source<Pod>,
}

/// What is known about the gateways besides what is watched.
#[derive(Default)]
pub struct Known {
    /// The snapshot in each gateway's current set.
    pub current: BTreeMap<ObjectKey, Arc<Snapshot>>,
    /// Objects of others that have the names of a gateway's own.
    pub foreign: BTreeMap<ObjectKey, Vec<Child>>,
}

impl Observer {
    /// Begins to watch. `bell` rings at every change.
    #[must_use]
    pub fn start(client: &Client, options: &Arc<Options>, bell: &Bell) -> Self {
        let mut start = Start {
            client,
            bell,
            watches: JoinSet::new(),
        };
        let grants = Source::default();
        start
            .watches
            .spawn(grants::follow(client.clone(), grants.clone(), bell.clone()));
        Self {
            options: Arc::clone(options),
            gateways: start.everywhere(Sent::<MailGateway>::into_own),
            routes: start.everywhere(Sent::<MailRoute>::into_own),
            policies: start.everywhere(Sent::<MailPolicy>::into_own),
            namespaces: start.everywhere(kept::labels),
            services: start.everywhere(kept::service),
            grants,
            config_maps: ConfigMaps::new(client, bell),
            secrets: scopes(&options.secret_namespaces)
                .map(|ns| start.secrets(ns))
                .collect(),
            infra: scopes(&options.gateway_namespaces)
                .map(|ns| start.infra(ns))
                .collect(),
            _watches: start.watches,
        }
    }

    /// Follows the ConfigMaps that routes name now, and no others.
    pub fn follow_config_maps(&mut self) {
        let named = config_maps::named(&self.routes.objects());
        self.config_maps.follow(&named);
    }

    /// What has not answered yet; empty when a [`World`] can be built.
    #[must_use]
    pub fn pending(&self) -> Vec<&'static str> {
        let own = |access| matches!(access, Access::Granted);
        let seen = |access| !matches!(access, Access::Pending);
        let infra = |scope: &InfraScope| scope.accesses().into_iter().all(seen);
        let secrets = |scope: &SecretScope| scope.sources.iter().map(Source::access).all(seen);
        [
            ("MailGateways", own(self.gateways.access())),
            ("MailRoutes", own(self.routes.access())),
            ("MailPolicies", own(self.policies.access())),
            ("Namespaces", own(self.namespaces.access())),
            ("Services", own(self.services.access())),
            ("ReferenceGrants", seen(self.grants.access())),
            ("ConfigMaps", self.config_maps.seen()),
            ("Secrets", self.secrets.iter().all(secrets)),
            ("objects of gateways", self.infra.iter().all(infra)),
        ]
        .into_iter()
        .filter_map(|(what, answered)| (!answered).then_some(what))
        .collect()
    }

    /// The world at a moment.
    #[must_use]
    pub fn world(&self, now: Timestamp, known: &Known) -> World {
        let options = &self.options;
        World {
            class_name: options.class_name.clone(),
            installation: options.installation.clone(),
            image: options.image.clone(),
            monitoring_namespaces: options.monitoring_namespaces.clone(),
            gateway_namespaces: self.permitted_infra(),
            gateways: own_objects(&self.gateways),
            routes: own_objects(&self.routes),
            policies: own_objects(&self.policies),
            namespaces: self.namespace_labels(),
            secrets: self.scoped_secrets(),
            config_maps: self.config_maps.objects(),
            services: self.services.objects(),
            reference_grants: self.reference_grants(),
            generated: self.generated_pairs(),
            current: known.current.clone(),
            children: self.children(known),
            ..World::new(now, Mode::Cluster)
        }
    }

    /// The MailGateways with what is in their status now.
    #[must_use]
    pub fn gateways(&self) -> BTreeMap<ObjectKey, Arc<Own<MailGateway>>> {
        self.gateways.objects()
    }

    /// The MailRoutes with what is in their status now.
    #[must_use]
    pub fn routes(&self) -> BTreeMap<ObjectKey, Arc<Own<MailRoute>>> {
        self.routes.objects()
    }

    /// The MailPolicies with what is in their status now.
    #[must_use]
    pub fn policies(&self) -> BTreeMap<ObjectKey, Arc<Own<MailPolicy>>> {
        self.policies.objects()
    }

    /// The pods of all gateways, by gateway. Pods of gateways that are gone are left out.
    #[must_use]
    pub fn pods(&self) -> BTreeMap<ObjectKey, Vec<Arc<Pod>>> {
        let gateways = self.by_label();
        let mut pods: BTreeMap<ObjectKey, Vec<Arc<Pod>>> = BTreeMap::new();
        for pod in self
            .infra
            .iter()
            .flat_map(|scope| scope.pods.objects().into_values())
        {
            let label = ObjectKey::new(&*pod.key.namespace, &*pod.gateway_label);
            if let Some(gateway) = gateways.get(&label) {
                pods.entry(gateway.clone()).or_default().push(pod);
            }
        }
        pods
    }

    /// The gateways by namespace and label, which is not always the name.
    fn by_label(&self) -> BTreeMap<ObjectKey, ObjectKey> {
        let gateways = self.gateways.objects().into_keys();
        let label =
            |key: &ObjectKey| ObjectKey::new(&*key.namespace, names::gateway_label(&key.name));
        gateways.map(|key| (label(&key), key)).collect()
    }

    /// An object that was written for a gateway, as it is now.
    #[must_use]
    pub fn written(&self, kind: &str, key: &ObjectKey) -> Option<Arc<DynamicObject>> {
        let of_kind = |scope: &InfraScope| {
            let (_, source) = scope.objects.iter().find(|(k, _)| k == kind)?;
            source.get(key)
        };
        self.infra.iter().find_map(of_kind)
    }

    /// The resource version of a snapshot's ConfigMap or Secret.
    #[must_use]
    pub fn piece_version(&self, kind: &str, key: &ObjectKey) -> Option<String> {
        let of_kind = |scope: &InfraScope| {
            let (_, source) = scope.pieces.iter().find(|(k, _)| *k == kind)?;
            source.get(key)?.0.resource_version.clone()
        };
        self.infra.iter().find_map(of_kind)
    }

    /// Generated Secrets of this installation that serve the object of that uid.
    #[must_use]
    pub fn generated_for(&self, uid: &str) -> BTreeSet<ObjectKey> {
        let ours = self.our_generated();
        let serves = ours
            .into_iter()
            .filter(|(_, generated)| generated.serves == uid);
        serves.map(|(key, _)| key).collect()
    }

    fn our_generated(&self) -> BTreeMap<ObjectKey, Arc<Generated>> {
        let installation = self.options.installation.to_string();
        let all = self
            .infra
            .iter()
            .flat_map(|scope| scope.generated.objects());
        all.filter(|(_, generated)| generated.installation.as_deref() == Some(&*installation))
            .collect()
    }

    fn generated_pairs(&self) -> BTreeMap<ObjectKey, postern_config::CertificateKey> {
        let pairs = self.our_generated().into_iter();
        pairs
            .filter_map(|(key, generated)| Some((key, generated.pair.clone()?)))
            .collect()
    }

    fn namespace_labels(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let namespaces = self.namespaces.objects().into_iter();
        namespaces
            .map(|(key, labels)| (key.name, (*labels).clone()))
            .collect()
    }

    fn reference_grants(&self) -> Option<BTreeMap<ObjectKey, Arc<ReferenceGrant>>> {
        if self.grants.access() != Access::Granted {
            return None;
        }
        let grants = self.grants.objects().into_iter();
        Some(
            grants
                .filter_map(|(key, grant)| Some((key, Arc::new((*grant).clone()?))))
                .collect(),
        )
    }

    fn scoped_secrets(&self) -> Scoped<world::Secret> {
        let granted = |scope: &SecretScope| {
            scope
                .sources
                .iter()
                .all(|source| source.access() == Access::Granted)
        };
        let scopes: Vec<&SecretScope> = self.secrets.iter().filter(|s| granted(s)).collect();
        Scoped {
            permitted: namespaces(scopes.iter().map(|scope| scope.namespace.as_deref())),
            objects: scopes
                .iter()
                .flat_map(|scope| scope.sources.iter().flat_map(Source::objects))
                .collect(),
        }
    }

    /// The namespaces in which a gateway's objects may be written.
    #[must_use]
    pub fn permitted_infra(&self) -> Namespaces {
        let granted = |scope: &&InfraScope| {
            scope
                .accesses()
                .into_iter()
                .all(|access| access == Access::Granted)
        };
        namespaces(
            self.infra
                .iter()
                .filter(granted)
                .map(|scope| scope.namespace.as_deref()),
        )
    }

    fn children(&self, known: &Known) -> BTreeMap<ObjectKey, Vec<Child>> {
        let gateways = self.by_label();
        let mut children = known.foreign.clone();
        let mut add = |kind: &str, metadata: &ObjectMeta| {
            if let Some(gateway) = label(metadata).and_then(|label| gateways.get(&label)) {
                children
                    .entry(gateway.clone())
                    .or_default()
                    .push(child(kind, metadata));
            }
        };
        for scope in &self.infra {
            for (kind, source) in &scope.objects {
                source
                    .objects()
                    .values()
                    .for_each(|object| add(kind, &object.metadata));
            }
            for (kind, source) in &scope.pieces {
                source
                    .objects()
                    .values()
                    .for_each(|piece| add(kind, &piece.0));
            }
        }
        children
    }
}

impl InfraScope {
    fn accesses(&self) -> Vec<Access> {
        let objects = self.objects.iter().map(|(_, source)| source.access());
        let pieces = self.pieces.iter().map(|(_, source)| source.access());
        objects
            .chain(pieces)
            .chain([self.generated.access(), self.pods.access()])
            .collect()
    }
}

/// Starts watches.
struct Start<'a> {
    client: &'a Client,
    bell: &'a Bell,
    watches: JoinSet<()>,
}

impl Start<'_> {
    fn watch<K, T>(&mut self, api: Api<K>, config: Config, keep: fn(K) -> T) -> Source<T>
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
        T: PartialEq + Send + Sync + 'static,
    {
        let source = Source::default();
        let watch = Watch {
            api,
            config,
            source: source.clone(),
            keep,
            bell: self.bell.clone(),
        };
        self.watches.spawn(watch.follow());
        source
    }

    fn everywhere<K, T>(&mut self, keep: fn(K) -> T) -> Source<T>
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
        K::DynamicType: Default,
        T: PartialEq + Send + Sync + 'static,
    {
        self.watch(Api::all(self.client.clone()), Config::default(), keep)
    }

    fn secrets(&mut self, namespace: Option<String>) -> SecretScope {
        let fields = |selector: String| Config::default().fields(&selector);
        let mut sources: Vec<_> = SECRET_TYPES
            .iter()
            .map(|type_| {
                let api = scoped::<core::Secret>(self.client, namespace.as_deref());
                self.watch(api, fields(format!("type={type_}")), kept::secret)
            })
            .collect();
        // That a Secret of another type is there must be known, to say so; what is in it must not.
        let others = SECRET_TYPES.map(|type_| format!("type!={type_}")).join(",");
        let api = scoped::<PartialObjectMeta<core::Secret>>(self.client, namespace.as_deref());
        sources.push(self.watch(api, fields(others), kept::unused_secret));
        SecretScope { namespace, sources }
    }

    fn infra(&mut self, namespace: Option<String>) -> InfraScope {
        let scope = namespace.as_deref();
        let labels = || Config::default().labels(names::GATEWAY);
        let objects = owned_kinds()
            .into_iter()
            .map(|resource| {
                let api = match scope {
                    Some(namespace) => {
                        Api::namespaced_with(self.client.clone(), namespace, &resource)
                    }
                    None => Api::all_with(self.client.clone(), &resource),
                };
                (resource.kind, self.watch(api, labels(), kept::owned))
            })
            .collect();
        let config_maps = scoped::<PartialObjectMeta<core::ConfigMap>>(self.client, scope);
        let secrets = scoped::<PartialObjectMeta<core::Secret>>(self.client, scope);
        let pieces = vec![
            ("ConfigMap", self.watch(config_maps, labels(), kept::piece)),
            ("Secret", self.watch(secrets, labels(), kept::piece)),
        ];
        let generated = scoped(self.client, scope);
        let generated_for = Config::default().labels(names::GENERATED_FOR);
        InfraScope {
            objects,
            pieces,
            generated: self.watch(generated, generated_for, kept::generated),
            pods: self.watch(scoped(self.client, scope), labels(), kept::pod),
            namespace,
        }
    }
}

/// The kinds of a gateway's objects, besides its snapshot.
pub(crate) fn owned_kinds() -> Vec<ApiResource> {
    vec![
        ApiResource::erase::<core::ServiceAccount>(&()),
        ApiResource::erase::<Role>(&()),
        ApiResource::erase::<RoleBinding>(&()),
        ApiResource::erase::<Deployment>(&()),
        ApiResource::erase::<core::Service>(&()),
        ApiResource::erase::<PodDisruptionBudget>(&()),
        ApiResource::erase::<NetworkPolicy>(&()),
    ]
}

fn scoped<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope>,
    K::DynamicType: Default,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

fn scopes(namespaces: &Namespaces) -> impl Iterator<Item = Option<String>> {
    let scopes = match namespaces {
        Namespaces::All => vec![None],
        Namespaces::Only(names) => names.iter().cloned().map(Some).collect(),
    };
    scopes.into_iter()
}

fn namespaces<'a>(scopes: impl Iterator<Item = Option<&'a str>>) -> Namespaces {
    let scopes: Option<BTreeSet<String>> = scopes.map(|name| name.map(str::to_owned)).collect();
    scopes.map_or(Namespaces::All, Namespaces::Only)
}

fn own_objects<K>(source: &Source<Own<K>>) -> BTreeMap<ObjectKey, Object<K>>
where
    Object<K>: Clone,
{
    let objects = source.objects().into_iter();
    objects
        .map(|(key, own)| (key, own.object.clone()))
        .collect()
}

/// Namespace and label of an object's gateway.
fn label(metadata: &ObjectMeta) -> Option<ObjectKey> {
    let label = metadata.labels.as_ref()?.get(names::GATEWAY)?;
    Some(ObjectKey::new(metadata.namespace.as_deref()?, &**label))
}

fn child(kind: &str, metadata: &ObjectMeta) -> Child {
    let annotations = metadata.annotations.as_ref();
    Child {
        kind: kind.to_owned(),
        name: metadata.name.clone().unwrap_or_default(),
        installation: annotations
            .and_then(|a| a.get(names::INSTALLATION))
            .cloned(),
    }
}
