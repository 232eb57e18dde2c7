//! What is kept of each observed object: the part that somebody reads, and nothing else, so that
//! the memory of the operator follows its own objects and not the cluster's.

use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DynamicObject, PartialObjectMeta};
use postern_config::CertificateKey;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::names;
use crate::world::{self, ObjectKey, ReferenceGrant, SecretType};

/// The only key of a ConfigMap that is ever read.
const CA_KEY: &str = "ca.crt";

/// The type of a Secret whose type is none that is used: its metadata is all that is asked for.
const OTHER_TYPE: &str = "another type";

/// A pod of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace and name.
    pub key: ObjectKey,
    /// Its uid: a pod of the same name is another pod.
    pub uid: String,
    /// The gateway's label; its namespace is the pod's.
    pub gateway_label: String,
    /// Where its admin port is.
    pub address: Option<IpAddr>,
    /// Its condition Ready is True.
    pub ready: bool,
    /// When that condition last turned: a container that starts anew is seen by it, even if it is
    /// ready again before anybody looks.
    pub ready_since: Option<Timestamp>,
    /// It has been deleted and ends.
    pub terminating: bool,
}

/// A Secret that the operator generated, read back.
#[derive(Clone, PartialEq, Eq)]
pub struct Generated {
    /// The uid of the object that it serves.
    pub serves: String,
    /// The installation that made it.
    pub installation: Option<String>,
    /// The pair; absent when somebody has emptied it.
    pub pair: Option<CertificateKey>,
}

/// The metadata of an object of a gateway whose content is not kept (snapshots).
#[derive(Debug, Clone, PartialEq)]
pub struct Piece(pub ObjectMeta);

pub(super) fn labels(namespace: PartialObjectMeta<Namespace>) -> BTreeMap<String, String> {
    namespace.metadata.labels.unwrap_or_default()
}

pub(super) fn service(mut service: Service) -> Service {
    service.metadata = name_only(service.metadata);
    service.status = None;
    service
}

pub(super) fn config_map(mut config_map: ConfigMap) -> ConfigMap {
    config_map.metadata = name_only(config_map.metadata);
    config_map.binary_data = None;
    if let Some(data) = &mut config_map.data {
        data.retain(|key, _| key == CA_KEY);
    }
    config_map
}

pub(super) fn secret(secret: Secret) -> world::Secret {
    world::Secret::from(&secret)
}

pub(super) fn unused_secret(_: PartialObjectMeta<Secret>) -> world::Secret {
    world::Secret {
        secret_type: SecretType::Other(OTHER_TYPE.to_owned()),
        data: BTreeMap::new(),
    }
}

pub(super) fn piece<K>(object: PartialObjectMeta<K>) -> Piece {
    let mut metadata = object.metadata;
    metadata.managed_fields = None;
    Piece(metadata)
}

/// A whole object of ours; of the status only a Service's load balancer is read.
pub(super) fn owned(mut object: DynamicObject) -> DynamicObject {
    object.metadata.managed_fields = None;
    if let Some(data) = object.data.as_object_mut() {
        let balancer = data
            .remove("status")
            .and_then(|mut status| status.get_mut("loadBalancer").map(serde_json::Value::take));
        if let Some(balancer) = balancer {
            data.insert(
                "status".to_owned(),
                serde_json::json!({"loadBalancer": balancer}),
            );
        }
    }
    object
}

pub(super) fn generated(secret: Secret) -> Generated {
    let annotation = |key: &str| secret.metadata.annotations.as_ref()?.get(key).cloned();
    let label = |key: &str| secret.metadata.labels.as_ref()?.get(key).cloned();
    let text = |key: &str| {
        let value = secret.data.as_ref()?.get(key)?;
        String::from_utf8(value.0.clone()).ok()
    };
    let pair = text("tls.crt").zip(text("tls.key"));
    Generated {
        serves: label(names::GENERATED_FOR).unwrap_or_default(),
        installation: annotation(names::INSTALLATION),
        pair: pair.map(|(chain_pem, key_pem)| CertificateKey { chain_pem, key_pem }),
    }
}

pub(super) fn pod(pod: core::Pod) -> Pod {
    let metadata = pod.metadata;
    let key = ObjectKey::of(&metadata);
    let gateway = metadata
        .labels
        .as_ref()
        .and_then(|l| l.get(names::GATEWAY))
        .cloned();
    let status = pod.status.unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let ready = conditions.iter().find(|c| c.type_ == "Ready");
    let turned = ready.and_then(|c| c.last_transition_time.as_ref());
    Pod {
        key,
        gateway_label: gateway.unwrap_or_default(),
        uid: metadata.uid.unwrap_or_default(),
        address: status.pod_ip.and_then(|ip| ip.parse().ok()),
        ready: ready.is_some_and(|c| c.status == "True"),
        ready_since: turned.map(|time| time.0),
        terminating: metadata.deletion_timestamp.is_some(),
    }
}

/// `None` for a grant that does not parse: it grants nothing.
pub(super) fn grant(object: DynamicObject) -> Option<ReferenceGrant> {
    ReferenceGrant::deserialize(object.data.get("spec")?).ok()
}

fn name_only(metadata: ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: metadata.name,
        namespace: metadata.namespace,
        ..ObjectMeta::default()
    }
}
