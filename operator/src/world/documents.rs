//! Documents: objects as they stand in files, one by one, into a [`World`].
//!
//! In goes a parsed YAML or JSON document; it is put where it belongs by `apiVersion` and `kind`.
//! Kinds that mean nothing to Postern are told apart from those that it reads, so that a file
//! may hold Deployments too. `run`, `validate`, `translate` and the goldens read through here.

use super::{GrantSource, GrantTarget, Object, ObjectKey, ReferenceGrant, Secret, World};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_crds::schema::{self, Kind};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What became of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inserted {
    /// It is part of the world now.
    Taken {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        key: ObjectKey,
    },
    /// Its kind is none that we read.
    Ignored,
}

/// Why a document cannot be part of a world.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// It is no Kubernetes object.
    #[error("{field} is missing: every object needs apiVersion, kind and metadata.name")]
    NoObject {
        /// The missing field.
        field: &'static str,
    },
    /// It does not have the shape of its kind.
    #[error("{kind} {key}: {reason}")]
    Malformed {
        /// Its kind.
        kind: String,
        /// Its name.
        key: ObjectKey,
        /// What is wrong.
        reason: String,
    },
    /// There is one of that name already.
    #[error("{kind} {key} stands in the files twice: remove one of them")]
    Duplicate {
        /// Its kind.
        kind: String,
        /// Its name.
        key: ObjectKey,
    },
}

/// A document whose head was read.
struct Document {
    kind: &'static str,
    key: ObjectKey,
    value: Value,
}

impl World {
    /// Puts a document into the world.
    ///
    /// # Errors
    /// When it is no object, is malformed, or is there already. The world is as before then.
    pub fn insert(&mut self, value: Value) -> Result<Inserted, DocumentError> {
        let Some(document) = Document::read(value)? else {
            return Ok(Inserted::Ignored);
        };
        let taken = Inserted::Taken {
            kind: document.kind,
            key: document.key.clone(),
        };
        match document.kind {
            "MailGateway" => put(&mut self.gateways, &document, Document::ours),
            "MailRoute" => put(&mut self.routes, &document, Document::ours),
            "MailPolicy" => put(&mut self.policies, &document, Document::ours),
            "Namespace" => self.insert_namespace(&document),
            "Secret" => put(&mut self.secrets.objects, &document, |d| {
                let secret: Arc<core::Secret> = d.parse()?;
                Ok(Arc::new(Secret::from(secret.as_ref())))
            }),
            "ConfigMap" => put(&mut self.config_maps, &document, Document::parse),
            "Service" => put(&mut self.services, &document, Document::parse),
            "EndpointSlice" => put(
                &mut self.endpoint_slices,
                &document,
                Document::parse::<EndpointSlice>,
            ),
            _ => {
                let grants = self.reference_grants.get_or_insert_default();
                put(grants, &document, Document::grant)
            }
        }?;
        Ok(taken)
    }

    /// As [`insert`](Self::insert), but one of our kinds that is malformed becomes an
    /// [`Object::Malformed`], as it does when `observe` meets it in a cluster.
    ///
    /// # Errors
    /// As `insert`, save for malformed objects of our kinds.
    pub fn insert_observed(&mut self, value: Value) -> Result<Inserted, DocumentError> {
        let spec = value.get("spec").cloned().unwrap_or_default();
        let metadata = value.get("metadata").cloned().unwrap_or_default();
        let metadata: ObjectMeta = serde_json::from_value(metadata).unwrap_or_default();
        let (kind, key, reason) = match self.insert(value) {
            Err(DocumentError::Malformed { kind, key, reason }) => (kind, key, reason),
            other => return other,
        };
        let (metadata, spec) = (Box::new(metadata), Box::new(spec));
        let kind = match kind.as_str() {
            "MailGateway" => {
                let object = Object::Malformed {
                    metadata,
                    spec,
                    reason,
                };
                self.gateways.insert(key.clone(), object);
                "MailGateway"
            }
            "MailRoute" => {
                let object = Object::Malformed {
                    metadata,
                    spec,
                    reason,
                };
                self.routes.insert(key.clone(), object);
                "MailRoute"
            }
            "MailPolicy" => {
                let object = Object::Malformed {
                    metadata,
                    spec,
                    reason,
                };
                self.policies.insert(key.clone(), object);
                "MailPolicy"
            }
            _ => return Err(DocumentError::Malformed { kind, key, reason }),
        };
        Ok(Inserted::Taken { kind, key })
    }

    fn insert_namespace(&mut self, document: &Document) -> Result<(), DocumentError> {
        let name = document.key.name.clone();
        if self.namespaces.contains_key(&name) {
            return Err(document.duplicate());
        }
        let namespace: Arc<core::Namespace> = document.parse()?;
        let labels = namespace.metadata.labels.clone().unwrap_or_default();
        self.namespaces.insert(name, labels);
        Ok(())
    }
}

/// Parses a document and puts it into its map, once.
fn put<T>(
    map: &mut BTreeMap<ObjectKey, T>,
    document: &Document,
    parse: impl FnOnce(&Document) -> Result<T, DocumentError>,
) -> Result<(), DocumentError> {
    if map.contains_key(&document.key) {
        return Err(document.duplicate());
    }
    map.insert(document.key.clone(), parse(document)?);
    Ok(())
}

impl Document {
    /// Reads what kind of object it is; `None` when it is none of those that we read.
    fn read(value: Value) -> Result<Option<Self>, DocumentError> {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
        let missing = |field| DocumentError::NoObject { field };
        let api_version = text("/apiVersion").ok_or_else(|| missing("apiVersion"))?;
        let kind = text("/kind").ok_or_else(|| missing("kind"))?;
        let Some(kind) = known(api_version, kind) else {
            return Ok(None);
        };
        let name = text("/metadata/name").ok_or_else(|| missing("metadata.name"))?;
        let namespace = match kind {
            "Namespace" => "",
            _ => text("/metadata/namespace").unwrap_or("default"),
        };
        let key = ObjectKey::new(namespace, name);
        Ok(Some(Self { kind, key, value }))
    }

    fn parse<T: DeserializeOwned>(&self) -> Result<Arc<T>, DocumentError> {
        T::deserialize(&self.value)
            .map(Arc::new)
            .map_err(|e| self.malformed(&e))
    }

    /// One of our kinds. What is wrong is said with the paths of the fields.
    fn ours<K: Kind + DeserializeOwned>(&self) -> Result<Object<K>, DocumentError> {
        self.parse().map(Object::Read).map_err(|error| {
            let faults: Vec<String> = schema::check::<K>(&self.value)
                .iter()
                .map(ToString::to_string)
                .collect();
            if faults.is_empty() {
                return error;
            }
            DocumentError::Malformed {
                kind: self.kind.to_owned(),
                key: self.key.clone(),
                reason: faults.join("; "),
            }
        })
    }

    fn grant(&self) -> Result<Arc<ReferenceGrant>, DocumentError> {
        #[derive(Deserialize)]
        struct Whole {
            spec: Spec,
        }
        #[derive(Deserialize)]
        struct Spec {
            #[serde(default)]
            from: Vec<GrantSource>,
            #[serde(default)]
            to: Vec<GrantTarget>,
        }
        let Whole { spec } = Whole::deserialize(&self.value).map_err(|e| self.malformed(&e))?;
        let Spec { from, to } = spec;
        Ok(Arc::new(ReferenceGrant { from, to }))
    }

    fn malformed(&self, error: &serde_json::Error) -> DocumentError {
        DocumentError::Malformed {
            kind: self.kind.to_owned(),
            key: self.key.clone(),
            reason: error.to_string(),
        }
    }

    fn duplicate(&self) -> DocumentError {
        DocumentError::Duplicate {
            kind: self.kind.to_owned(),
            key: self.key.clone(),
        }
    }
}

/// The kinds that a world holds. Versions of the grant: v1, then v1beta1.
fn known(api_version: &str, kind: &str) -> Option<&'static str> {
    match (api_version, kind) {
        ("postern.dev/v1alpha1", "MailGateway") => Some("MailGateway"),
        ("postern.dev/v1alpha1", "MailRoute") => Some("MailRoute"),
        ("postern.dev/v1alpha1", "MailPolicy") => Some("MailPolicy"),
        ("v1", "Namespace") => Some("Namespace"),
        ("v1", "Secret") => Some("Secret"),
        ("v1", "ConfigMap") => Some("ConfigMap"),
        ("v1", "Service") => Some("Service"),
        ("discovery.k8s.io/v1", "EndpointSlice") => Some("EndpointSlice"),
        (
            "gateway.networking.k8s.io/v1" | "gateway.networking.k8s.io/v1beta1",
            "ReferenceGrant",
        ) => Some("ReferenceGrant"),
        _ => None,
    }
}
