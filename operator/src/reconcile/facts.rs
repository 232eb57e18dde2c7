//! What a status says of one gateway besides its pods' answers: how far its snapshot has come, which
//! backends refuse us, and where its Service can be reached; and how Events name it.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::runtime::events::Reporter;
use postern_crds::MailGateway;
use postern_crds::mail_gateway::{Address, AddressType};
use std::collections::BTreeMap;

use super::Kept;
use crate::names;
use crate::observe::Observer;
use crate::options::Options;
use crate::report::fleet::{Fleet, Progress};
use crate::world::ObjectKey;

pub(super) fn progress(kept: &Kept) -> Progress {
    let live = kept.memory.live.as_ref().and_then(|live| live.hash());
    if let Some((reason, message)) = &kept.problem {
        return Progress::Failed {
            reason,
            message: message.clone(),
            before: live.map(str::to_owned),
        };
    }
    match live {
        Some(hash) if kept.wait_until.is_some() => Progress::Waiting(hash.to_owned()),
        Some(hash) => Progress::Written(hash.to_owned()),
        None => Progress::Failed {
            reason: "Pending",
            message: "Waiting for the snapshot to be written".to_owned(),
            before: None,
        },
    }
}

/// Which routes have a backend that refuses us, and what it says.
pub(super) fn refused(config: &postern_config::Config, fleet: &Fleet) -> BTreeMap<String, String> {
    let mut refused = BTreeMap::new();
    for (id, said) in &fleet.misconfigured {
        let Some(backend) = config.backends.get(id) else {
            continue;
        };
        for route in &backend.routes {
            let message = format!(
                "{} refuses the gateway with {}: its mail is deferred until the backend takes it \
                 or the rule names another",
                backend.display, said.code
            );
            refused.entry(route.clone()).or_insert(message);
        }
    }
    refused
}

/// Who writes Events.
pub(super) fn event_reporter(options: &Options) -> Reporter {
    Reporter {
        controller: options.controller_name(),
        instance: Some(options.identity.clone()),
    }
}

/// A MailGateway as Events refer to it. The resource version is left out: an Event is about the
/// object, not about one version of it.
pub(super) fn reference(metadata: &ObjectMeta) -> ObjectReference {
    ObjectReference {
        api_version: Some(MailGateway::api_version(&()).into_owned()),
        kind: Some(MailGateway::kind(&()).into_owned()),
        namespace: metadata.namespace.clone(),
        name: metadata.name.clone(),
        uid: metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// Where clients reach the gateway: its load balancer, else the address in the cluster.
pub(super) fn addresses(observer: &Observer, gateway: &ObjectKey) -> Vec<Address> {
    let key = ObjectKey::new(&*gateway.namespace, names::base(&gateway.name));
    let Some(service) = observer.written("Service", &key) else {
        return Vec::new();
    };
    let address = |type_, value: &str| Address {
        type_,
        value: value.to_owned(),
    };
    let ingress = service.data.pointer("/status/loadBalancer/ingress");
    let ingress = ingress
        .and_then(|list| list.as_array())
        .into_iter()
        .flatten();
    let mut found: Vec<Address> = ingress
        .filter_map(|entry| {
            let ip = entry.get("ip").and_then(|ip| ip.as_str());
            let name = entry.get("hostname").and_then(|name| name.as_str());
            ip.map(|ip| address(AddressType::IpAddress, ip))
                .or_else(|| name.map(|name| address(AddressType::Hostname, name)))
        })
        .take(16)
        .collect();
    let cluster_ip = service
        .data
        .pointer("/spec/clusterIP")
        .and_then(|ip| ip.as_str());
    if let (true, Some(ip)) = (found.is_empty(), cluster_ip.filter(|ip| *ip != "None")) {
        found.push(address(AddressType::IpAddress, ip));
    }
    found
}
