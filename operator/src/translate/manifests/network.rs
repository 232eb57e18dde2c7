//! How the pods are reached: the Service in front of the listeners, and the NetworkPolicy that
//! leaves the admin port to the operator and to monitoring.

use super::Frame;
use crate::names;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use postern_crds::mail_gateway::{ExternalTrafficPolicy, Listener, ServiceType};
use postern_crds::{ADMIN_PORT, pod_port};

pub(super) fn service(frame: &Frame<'_>) -> Service {
    let wanted = frame
        .spec
        .infrastructure
        .service
        .clone()
        .unwrap_or_default();
    let mut metadata = frame.metadata();
    let annotations = metadata.annotations.get_or_insert_default();
    for (key, value) in wanted.annotations {
        annotations.entry(key).or_insert(value);
    }
    let (service_type, is_external) = match wanted.type_.unwrap_or_default() {
        ServiceType::LoadBalancer => ("LoadBalancer", true),
        ServiceType::NodePort => ("NodePort", true),
        ServiceType::ClusterIp => ("ClusterIP", false),
    };
    let traffic_policy = match wanted.external_traffic_policy.unwrap_or_default() {
        ExternalTrafficPolicy::Local => "Local",
        ExternalTrafficPolicy::Cluster => "Cluster",
    };
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(service_type.to_owned()),
            external_traffic_policy: is_external.then(|| traffic_policy.to_owned()),
            selector: Some(names::selector(frame.name)),
            ports: Some(
                frame
                    .listeners
                    .iter()
                    .map(|one| service_port(one))
                    .collect(),
            ),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn service_port(listener: &Listener) -> ServicePort {
    ServicePort {
        name: Some(listener.name.clone()),
        port: listener.port.into(),
        target_port: Some(IntOrString::Int(pod_port(listener.port).into())),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    }
}

pub(super) fn network_policy(frame: &Frame<'_>) -> NetworkPolicy {
    let ports = frame.listeners.iter().map(|one| port(pod_port(one.port)));
    let listeners = NetworkPolicyIngressRule {
        from: None,
        ports: Some(ports.collect()),
    };
    let monitoring = frame.world.monitoring_namespaces.iter();
    let mut namespaces: Vec<_> = monitoring
        .chain([&frame.world.installation.namespace])
        .collect();
    namespaces.sort();
    namespaces.dedup();
    let admin = NetworkPolicyIngressRule {
        from: Some(
            namespaces
                .into_iter()
                .map(|name| in_namespace(name))
                .collect(),
        ),
        ports: Some(vec![port(ADMIN_PORT)]),
    };
    NetworkPolicy {
        metadata: frame.metadata(),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(frame.selector()),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![listeners, admin]),
            egress: None,
        }),
    }
}

fn port(number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(number.into())),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    }
}

fn in_namespace(name: &str) -> NetworkPolicyPeer {
    let label = ("kubernetes.io/metadata.name".to_owned(), name.to_owned());
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_labels: Some([label].into()),
            match_expressions: None,
        }),
        ..NetworkPolicyPeer::default()
    }
}
