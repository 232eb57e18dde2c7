//! What a status says of one gateway besides its pods' answers: how far its snapshot has come, which
//! backends refuse us, and where its Service can be reached.

use postern_crds::mail_gateway::{Address, AddressType};
use std::collections::BTreeMap;

use super::Kept;
use crate::names;
use crate::observe::Observer;
use crate::report::fleet::{Fleet, Progress};
use crate::world::ObjectKey;

pub(super) fn progress(kept: &Kept) -> Progress {
    if let Some((reason, message)) = &kept.problem {
        return Progress::Failed {
            reason,
            message: message.clone(),
        };
    }
    match kept.memory.live.as_ref().and_then(|live| live.hash()) {
        Some(hash) if kept.wait_until.is_some() => Progress::Waiting(hash.to_owned()),
        Some(hash) => Progress::Written(hash.to_owned()),
        None => Progress::Failed {
            reason: "Pending",
            message: "Waiting for the snapshot to be written".to_owned(),
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
            let message = format!("{} refuses the gateway with {}", backend.display, said.code);
            refused.entry(route.clone()).or_insert(message);
        }
    }
    refused
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
