//! The input of [`translate`](crate::translate::translate): everything that was observed, at one
//! moment, as ordered maps.
//!
//! In go the objects that `observe` watches in a cluster, or that `run`, `validate` and
//! `translate` read from files ([`documents`]); out comes nothing: a [`World`] is a value. It
//! tells "is not there" from "may not be read" ([`Observed`]), since the two need different
//! answers, and it carries the time, so that nobody downstream asks a clock.

pub mod documents;
mod parts;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use postern_config::{CertificateKey, Snapshot};
use postern_crds::{MailGateway, MailPolicy, MailRoute};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

pub use parts::{
    Child, GrantSource, GrantTarget, Mode, Namespaces, Object, ObjectKey, Observed, ReferenceGrant,
    Scoped, Secret, SecretType,
};

/// What was observed, and when.
#[derive(Debug, Clone)]
pub struct World {
    /// The time of the observation; certificates are judged by it.
    pub now: Timestamp,
    /// In a cluster, or from files.
    pub mode: Mode,
    /// MailGateways of another class are none of our business. `controllerName` is
    /// `postern.dev/<className>`.
    pub class_name: String,
    /// `<namespace>/<release>` of this operator's installation, the value of the annotation
    /// `postern.dev/installation`.
    pub installation: ObjectKey,
    /// The image that gateway pods run: the operator's own.
    pub image: String,
    /// Namespaces from which metrics are scraped; the NetworkPolicies let them to the admin port.
    pub monitoring_namespaces: Vec<String>,
    /// Namespaces in which the operator may write a gateway's objects (`gatewayNamespaces`).
    pub gateway_namespaces: Namespaces,

    /// All MailGateways, of other classes too.
    pub gateways: BTreeMap<ObjectKey, Object<MailGateway>>,
    /// All MailRoutes.
    pub routes: BTreeMap<ObjectKey, Object<MailRoute>>,
    /// All MailPolicies.
    pub policies: BTreeMap<ObjectKey, Object<MailPolicy>>,

    /// Each namespace's labels. `kubernetes.io/metadata.name` is implied.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Secrets in the namespaces where they may be read (`secretNamespaces`).
    pub secrets: Scoped<Secret>,
    /// ConfigMaps; only those that a `caRefs` names are looked at.
    pub config_maps: BTreeMap<ObjectKey, Arc<ConfigMap>>,
    /// Services.
    pub services: BTreeMap<ObjectKey, Arc<Service>>,
    /// EndpointSlices; read under [`Mode::Standalone`] only.
    pub endpoint_slices: BTreeMap<ObjectKey, Arc<EndpointSlice>>,
    /// The Gateway API's ReferenceGrants; `None` when their CRD is absent, which grants nothing.
    pub reference_grants: Option<BTreeMap<ObjectKey, Arc<ReferenceGrant>>>,

    /// Generated pairs that were read back, by [`Generate::name`](crate::translation::Generate).
    pub generated: BTreeMap<ObjectKey, CertificateKey>,
    /// The snapshot that each gateway runs now, as far as it is known: a certificate whose Secret
    /// has vanished or is broken is kept from it.
    pub current: BTreeMap<ObjectKey, Arc<Snapshot>>,
    /// For each MailGateway the objects in the cluster that have the names of its own.
    pub children: BTreeMap<ObjectKey, Vec<Child>>,
    /// `--service namespace/name:port=address` of `run`: stands before EndpointSlices.
    pub service_addresses: BTreeMap<(ObjectKey, u16), Vec<SocketAddr>>,
}

impl World {
    /// An empty world at a time: one installation `postern-system/postern` of class `postern` that
    /// may read and write everywhere.
    #[must_use]
    pub fn new(now: Timestamp, mode: Mode) -> Self {
        Self {
            now,
            mode,
            class_name: postern_crds::defaults::CLASS_NAME.to_owned(),
            installation: ObjectKey::new("postern-system", "postern"),
            image: "postern".to_owned(),
            monitoring_namespaces: Vec::new(),
            gateway_namespaces: Namespaces::All,
            gateways: BTreeMap::new(),
            routes: BTreeMap::new(),
            policies: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            secrets: Scoped::default(),
            config_maps: BTreeMap::new(),
            services: BTreeMap::new(),
            endpoint_slices: BTreeMap::new(),
            reference_grants: None,
            generated: BTreeMap::new(),
            current: BTreeMap::new(),
            children: BTreeMap::new(),
            service_addresses: BTreeMap::new(),
        }
    }
}
