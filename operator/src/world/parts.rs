//! The pieces of a [`World`](super::World): keys, what may be seen of an object, and the small
//! forms of the objects of which only a part is ever read.

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Where the world was observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In a cluster: ports below 1024 are served at +10000, manifests are rendered.
    Cluster,
    /// From files, by `postern run` and its like: ports are opened as written, Services are found
    /// by their EndpointSlices, there are no manifests.
    Standalone,
}

/// Namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl ObjectKey {
    /// From the two.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// Of an object; one without a namespace (in a file) is in `default`.
    #[must_use]
    pub fn of(metadata: &ObjectMeta) -> Self {
        let namespace = metadata.namespace.as_deref().unwrap_or("default");
        Self::new(namespace, metadata.name.as_deref().unwrap_or_default())
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// An object of one of our kinds, as far as it could be read.
#[derive(Debug, Clone)]
pub enum Object<K> {
    /// It has the shape of its kind; whether its rules hold is for translate to say.
    Read(Arc<K>),
    /// It has not (written under an older or newer CRD): it takes part in nothing, and its status
    /// says so.
    Malformed {
        /// Its metadata.
        metadata: Box<ObjectMeta>,
        /// Its `spec` as it is, `Null` where that was not kept.
        spec: Box<serde_json::Value>,
        /// What is wrong, with the path of the field.
        reason: String,
    },
}

impl<K: Resource> Object<K> {
    /// The metadata.
    #[must_use]
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Read(object) => object.meta(),
            Self::Malformed { metadata, .. } => metadata,
        }
    }
}

/// What can be said of an object that somebody refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed<T> {
    /// It is there.
    Present(T),
    /// It is not.
    Absent,
    /// The operator may not look into its namespace.
    NotPermitted,
}

/// Some namespaces, or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Namespaces {
    /// All.
    All,
    /// These.
    Only(BTreeSet<String>),
}

impl Namespaces {
    /// Whether a namespace is among them.
    #[must_use]
    pub fn contains(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(namespace),
        }
    }

    /// Their names together with one more, separated by commas: what `helm --set` is told.
    #[must_use]
    pub fn and(&self, namespace: &str) -> String {
        match self {
            Self::All => "*".to_owned(),
            Self::Only(names) => {
                let mut names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
                names.insert(namespace);
                names.into_iter().collect::<Vec<_>>().join(",")
            }
        }
    }
}

/// Objects that can be read in some namespaces only.
#[derive(Debug, Clone)]
pub struct Scoped<T> {
    /// Where.
    pub permitted: Namespaces,
    /// What was found there.
    pub objects: BTreeMap<ObjectKey, Arc<T>>,
}

impl<T> Default for Scoped<T> {
    fn default() -> Self {
        Self {
            permitted: Namespaces::All,
            objects: BTreeMap::new(),
        }
    }
}

impl<T> Scoped<T> {
    /// The object of that name, or why there is none.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Observed<&T> {
        if !self.permitted.contains(&key.namespace) {
            return Observed::NotPermitted;
        }
        match self.objects.get(key) {
            Some(object) => Observed::Present(object),
            None => Observed::Absent,
        }
    }
}

/// The types of Secrets that are ever used: a route must not carry any Secret to a host of its
/// writer's choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretType {
    /// `kubernetes.io/tls`.
    Tls,
    /// `kubernetes.io/basic-auth`.
    BasicAuth,
    /// `postern.dev/credentials`.
    Credentials,
    /// Any other: its data is never held.
    Other(String),
}

impl SecretType {
    /// Of the field `type`; absent means `Opaque`.
    #[must_use]
    pub fn parse(text: Option<&str>) -> Self {
        match text.unwrap_or("Opaque") {
            "kubernetes.io/tls" => Self::Tls,
            "kubernetes.io/basic-auth" => Self::BasicAuth,
            "postern.dev/credentials" => Self::Credentials,
            other => Self::Other(other.to_owned()),
        }
    }

    /// As it stands in the field `type`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Tls => "kubernetes.io/tls",
            Self::BasicAuth => "kubernetes.io/basic-auth",
            Self::Credentials => "postern.dev/credentials",
            Self::Other(other) => other,
        }
    }
}

/// A Secret. Its `Debug` shows the names of its keys only.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its type.
    pub secret_type: SecretType,
    /// Its data, decoded; empty for [`SecretType::Other`].
    pub data: BTreeMap<String, Vec<u8>>,
}

impl From<&core::Secret> for Secret {
    fn from(secret: &core::Secret) -> Self {
        let secret_type = SecretType::parse(secret.type_.as_deref());
        let mut data = BTreeMap::new();
        if !matches!(secret_type, SecretType::Other(_)) {
            let binary = secret.data.iter().flatten();
            data.extend(binary.map(|(k, v)| (k.clone(), v.0.clone())));
            // Only files have it: the API server turns it into `data`.
            let text = secret.string_data.iter().flatten();
            data.extend(text.map(|(k, v)| (k.clone(), v.clone().into_bytes())));
        }
        Self { secret_type, data }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("secret_type", &self.secret_type)
            .field("keys", &self.data.keys())
            .finish()
    }
}

/// `spec` of a Gateway API ReferenceGrant: those who are named in `from` may refer to what is
/// named in `to`, in the grant's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceGrant {
    /// Who.
    pub from: Vec<GrantSource>,
    /// To what.
    pub to: Vec<GrantTarget>,
}

/// Who may refer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantSource {
    /// API group; empty is core.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
}

/// What may be referred to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantTarget {
    /// API group; empty is core.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// One object; absent is all of that kind.
    #[serde(default)]
    pub name: Option<String>,
}

/// An object in the cluster under the name of one of a gateway's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its annotation `postern.dev/installation`; `None` when nobody of us wrote it.
    pub installation: Option<String>,
}
