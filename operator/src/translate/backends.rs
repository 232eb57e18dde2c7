//! Backends: where the mail of a rule goes, with everything that is needed to get there.
//!
//! In go a route's backends as written; out come compiled ones with their credentials, or the
//! problem of each. A backend with a problem gets no mail while another of its rule has none; when
//! none is left, the rule keeps one backend without an address, so that its mail is deferred and
//! never falls to another rule.

use super::grants::Referrer;
use super::status::{Problem, reason};
use crate::world::{Mode, ObjectKey, SecretType, World};
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use postern_config::backend as config;
use postern_config::chunks::{canonical_json, sha256_hex};
use postern_config::{Backend as Compiled, Credential};
use postern_crds::defaults;
use postern_crds::mail_gateway::TlsMode;
use postern_crds::mail_route::{
    Backend, BackendProtocol, BackendTls, MultipleRecipients, ProxyProtocolVersion, ServiceBackend,
};
use postern_crds::scalar::Host;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A compiled backend with its place and share.
#[derive(Debug, Clone)]
pub(super) struct Weighted {
    /// Equal backends have equal ids.
    pub(super) id: String,
    pub(super) backend: Compiled,
    /// The key of the login and the login.
    pub(super) credential: Option<(String, Credential)>,
    pub(super) weight: u32,
}

/// Who may be reached at what address: knows the world's Services by address.
pub(super) struct Places<'w> {
    world: &'w World,
    /// Cluster addresses of Services: a `host` must not be one of them.
    service_addresses: BTreeMap<IpAddr, &'w ObjectKey>,
}

impl<'w> Places<'w> {
    pub(super) fn new(world: &'w World) -> Self {
        let addresses = world.services.iter().flat_map(|(key, service)| {
            cluster_addresses(service)
                .into_iter()
                .map(move |address| (address, key))
        });
        Self {
            world,
            service_addresses: addresses.collect(),
        }
    }

    /// Compiles the backends of a rule. The sum of the weights is above 0.
    pub(super) fn compile(
        &self,
        namespace: &str,
        backends: &[Backend],
    ) -> (Vec<Weighted>, Vec<Problem>) {
        let mut compiled = Vec::new();
        let mut problems = Vec::new();
        for backend in backends {
            match self.one(namespace, backend) {
                Ok(one) => compiled.push(one),
                Err(problem) => problems.push(problem),
            }
        }
        if compiled.iter().all(|one| one.weight == 0) {
            // Validation asks for a weight above 0, so a backend that has one did not resolve.
            compiled = backends
                .first()
                .map(|b| nowhere(namespace, b))
                .into_iter()
                .collect();
        }
        (compiled, problems)
    }

    fn one(&self, namespace: &str, backend: &Backend) -> Result<Weighted, Problem> {
        let referrer = Referrer {
            kind: "MailRoute",
            namespace,
        };
        let target = self.target(&referrer, backend)?;
        let tls = self.tls(&referrer, backend)?;
        let credential = self.credential(&referrer, backend)?;
        let compiled = Compiled {
            display: display(namespace, backend),
            routes: Vec::new(),
            traceparent: backend.service.is_some(),
            target,
            tls,
            credential: credential.as_ref().map(|(id, _)| id.clone()),
            ..blank(backend)
        };
        Ok(Weighted {
            id: identify(&compiled),
            backend: compiled,
            credential,
            weight: backend.weight.unwrap_or(defaults::BACKEND_WEIGHT),
        })
    }

    fn target(
        &self,
        referrer: &Referrer<'_>,
        backend: &Backend,
    ) -> Result<config::Target, Problem> {
        if let Some(service) = &backend.service {
            return self.service(referrer, service);
        }
        if let Some(host) = &backend.host {
            self.outside(&host.name)?;
            let name = host.name.to_string();
            return Ok(config::Target::Host {
                name,
                port: host.port,
            });
        }
        // Validation: exactly one of the four.
        Ok(match backend.mx {
            Some(_) => config::Target::Mx,
            None => config::Target::Discard,
        })
    }

    /// A Service is reached by `service`, where its namespace has a say: not by its DNS name or
    /// its cluster address. A public name whose record holds a cluster address cannot be seen
    /// here, where nothing is looked up: a NetworkPolicy is what stops that.
    fn outside(&self, host: &Host) -> Result<(), Problem> {
        if self.world.mode == Mode::Cluster && is_the_pod_itself(host) {
            let message = format!(
                "host {host} is the gateway's own pod or link, where no backend of a route is: \
                 name another host, or a service"
            );
            return Err(Problem::new(reason::REF_NOT_PERMITTED, message));
        }
        let inside = match host {
            Host::Name(name) => {
                let name = name.as_str();
                // Kubernetes DNS specification: `<service>.<namespace>.svc.<zone>`, and the zone
                // is the cluster's choice.
                name.ends_with(".svc") || name.contains(".svc.") || name.ends_with(".cluster.local")
            }
            // An IPv4-mapped IPv6 address is that IPv4 address.
            Host::Ip(address) => self.service_addresses.contains_key(&address.to_canonical()),
        };
        if !inside {
            return Ok(());
        }
        let message = format!(
            "host {host} is a Service of this cluster: name it as service, which needs a \
             ReferenceGrant when it is in another namespace"
        );
        Err(Problem::new(reason::REF_NOT_PERMITTED, message))
    }

    fn service(
        &self,
        referrer: &Referrer<'_>,
        wanted: &ServiceBackend,
    ) -> Result<config::Target, Problem> {
        let key = ObjectKey::new(wanted.namespace_or(referrer.namespace), &wanted.name);
        referrer.may(self.world, "Service", &key)?;
        match self.world.mode {
            Mode::Cluster => cluster_service(self.world, &key, wanted.port),
            Mode::Standalone => standalone_service(self.world, &key, wanted.port),
        }
    }

    fn tls(
        &self,
        referrer: &Referrer<'_>,
        backend: &Backend,
    ) -> Result<config::BackendTls, Problem> {
        let tls = backend.tls.as_ref();
        let mode = match tls.map(|tls| tls.mode) {
            Some(TlsMode::Disabled) => config::BackendTlsMode::Disabled,
            None | Some(TlsMode::Opportunistic) => config::BackendTlsMode::Opportunistic,
            Some(TlsMode::Required) => config::BackendTlsMode::Required,
            Some(TlsMode::Implicit) => config::BackendTlsMode::Implicit,
        };
        let references = tls.map(|tls| tls.ca_refs.as_slice()).unwrap_or_default();
        let ca_pem: Result<Vec<_>, _> = references
            .iter()
            .map(|one| referrer.authorities(self.world, one))
            .collect();
        Ok(config::BackendTls {
            mode,
            ca_pem: ca_pem?,
            server_name: server_name(referrer.namespace, backend, tls),
        })
    }

    fn credential(
        &self,
        referrer: &Referrer<'_>,
        backend: &Backend,
    ) -> Result<Option<(String, Credential)>, Problem> {
        let Some(auth) = &backend.auth else {
            return Ok(None);
        };
        let reference = &auth.secret_ref;
        let key = ObjectKey::new(reference.namespace_or(referrer.namespace), &reference.name);
        let types = [SecretType::BasicAuth, SecretType::Credentials];
        let secret = referrer.secret(self.world, &key, &types)?;
        let text = |name: &str| {
            let value = secret.data.get(name).filter(|value| !value.is_empty());
            let value = value.and_then(|value| String::from_utf8(value.clone()).ok());
            // RFC 4616 §2: NUL separates the fields of PLAIN.
            value.filter(|value| !value.contains('\0')).ok_or_else(|| {
                let message = format!("Secret {key} has no {name}, or it is not text");
                Problem::new(reason::INVALID_SECRET, message)
            })
        };
        let (username, password) = (text("username")?, text("password")?);
        Ok(Some((key.to_string(), Credential { username, password })))
    }
}

/// Addresses that mean the pod in which they are used, its link (where clouds serve credentials to
/// whoever asks) or nobody. Under `run` the machine is the user's own.
fn is_the_pod_itself(host: &Host) -> bool {
    let address = match host {
        // RFC 6761 §6.3.
        Host::Name(name) => {
            let name = name.as_str();
            return name == "localhost" || name.ends_with(".localhost");
        }
        Host::Ip(address) => address.to_canonical(),
    };
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    is_link_local || address.is_loopback() || address.is_unspecified() || address.is_multicast()
}

/// The name that a certificate must carry: the Service's own, since the gateway sees only its
/// addresses; a host's is known from its target.
fn server_name(namespace: &str, backend: &Backend, tls: Option<&BackendTls>) -> Option<String> {
    let written = tls
        .and_then(|tls| tls.server_name.as_ref())
        .map(ToString::to_string);
    written.or_else(|| {
        let service = backend.service.as_ref()?;
        Some(format!(
            "{}.{}.svc",
            service.name,
            service.namespace_or(namespace)
        ))
    })
}

/// What does not depend on the world.
fn blank(backend: &Backend) -> Compiled {
    Compiled {
        display: String::new(),
        routes: Vec::new(),
        target: config::Target::Discard,
        protocol: match backend.protocol.unwrap_or_default() {
            BackendProtocol::Smtp => config::BackendProtocol::Smtp,
            BackendProtocol::Lmtp => config::BackendProtocol::Lmtp,
        },
        tls: config::BackendTls {
            mode: config::BackendTlsMode::Disabled,
            ca_pem: Vec::new(),
            server_name: None,
        },
        credential: None,
        proxy_protocol: backend.proxy_protocol.map(|version| match version {
            ProxyProtocolVersion::V1 => config::ProxyVersion::V1,
            ProxyProtocolVersion::V2 => config::ProxyVersion::V2,
        }),
        multiple_recipients: match backend.multiple_recipients.unwrap_or_default() {
            MultipleRecipients::Together => config::MultipleRecipients::Together,
            MultipleRecipients::One => config::MultipleRecipients::One,
        },
        traceparent: false,
    }
}

/// A backend without an address: connecting to it fails, so its mail is deferred.
fn nowhere(namespace: &str, backend: &Backend) -> Weighted {
    let compiled = Compiled {
        display: format!("{} (not resolved)", display(namespace, backend)),
        target: config::Target::Addresses {
            addresses: Vec::new(),
            port: 25,
        },
        ..blank(backend)
    };
    Weighted {
        id: identify(&compiled),
        backend: compiled,
        credential: None,
        weight: 1,
    }
}

fn display(namespace: &str, backend: &Backend) -> String {
    if let Some(service) = &backend.service {
        let namespace = service.namespace_or(namespace);
        return format!("service {namespace}/{}:{}", service.name, service.port);
    }
    match (&backend.host, &backend.mx) {
        (Some(host), _) => format!("host {}:{}", host.name, host.port),
        (None, Some(_)) => "mx".to_owned(),
        (None, None) => "discard".to_owned(),
    }
}

/// 16 hex digits over all that makes a backend what it is. A login counts by its Secret's name:
/// a hash of a password must not stand where all may read.
fn identify(backend: &Compiled) -> String {
    sha256_hex(canonical_json(backend).as_bytes(), 16)
}

fn not_found(message: String) -> Problem {
    Problem::new(reason::BACKEND_NOT_FOUND, message)
}

/// `clusterIPs`, none for a headless Service.
fn cluster_addresses(service: &Service) -> Vec<IpAddr> {
    let spec = service.spec.as_ref();
    let many = spec
        .and_then(|spec| spec.cluster_ips.clone())
        .unwrap_or_default();
    let one = spec.and_then(|spec| spec.cluster_ip.clone());
    let all = if many.is_empty() {
        one.into_iter().collect()
    } else {
        many
    };
    all.iter()
        .filter_map(|address| address.parse().ok())
        .collect()
}

fn cluster_service(world: &World, key: &ObjectKey, port: u16) -> Result<config::Target, Problem> {
    let service = world.services.get(key);
    let service = service.ok_or_else(|| not_found(format!("Service {key} does not exist")))?;
    let spec = service.spec.as_ref();
    if spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName") {
        let message = format!(
            "Service {key} is of type ExternalName, which could point anywhere: name the host as \
             backend instead"
        );
        return Err(Problem::new(reason::UNSUPPORTED, message));
    }
    let found = service_port(service, port)
        .ok_or_else(|| not_found(format!("Service {key} has no TCP port {port}")))?;
    if spec.and_then(|spec| spec.cluster_ip.as_deref()) == Some("None") {
        return headless(key, found);
    }
    match cluster_addresses(service) {
        addresses if addresses.is_empty() => Err(not_found(format!(
            "Service {key} has no cluster address yet"
        ))),
        addresses => Ok(config::Target::Addresses { addresses, port }),
    }
}

/// A headless Service: its name is that of the pods, so the port is theirs too.
fn headless(key: &ObjectKey, port: &ServicePort) -> Result<config::Target, Problem> {
    let target = match &port.target_port {
        None => u16::try_from(port.port).ok(),
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
        Some(IntOrString::String(_)) => None,
    };
    let port = target.ok_or_else(|| {
        let message = format!("headless Service {key} names its targetPort: give it by number");
        Problem::new(reason::UNSUPPORTED, message)
    })?;
    let name = format!("{}.{}.svc", key.name, key.namespace);
    Ok(config::Target::Headless { name, port })
}

fn service_port(service: &Service, port: u16) -> Option<&ServicePort> {
    let ports = service.spec.as_ref()?.ports.as_ref()?;
    ports.iter().find(|one| {
        one.port == i32::from(port) && one.protocol.as_deref().unwrap_or("TCP") == "TCP"
    })
}

/// Under `run`: `--service`, then the ready endpoints of the EndpointSlices in the files.
fn standalone_service(
    world: &World,
    key: &ObjectKey,
    port: u16,
) -> Result<config::Target, Problem> {
    given(world, key, port).or_else(|| endpoints(world, key, port)).ok_or_else(|| {
        not_found(format!(
            "Service {key} has no address for port {port}: add an EndpointSlice to the files, or \
             run with `--service {key}:{port}=ADDRESS`"
        ))
    })
}

/// The addresses of `--service` that have the port of the first.
fn given(world: &World, key: &ObjectKey, port: u16) -> Option<config::Target> {
    let given = world.service_addresses.get(&(key.clone(), port))?;
    let port = given.first()?.port();
    let alike = given.iter().filter(|address| address.port() == port);
    let addresses = alike.map(std::net::SocketAddr::ip).collect();
    Some(config::Target::Addresses { addresses, port })
}

/// The ready endpoints of a Service's slices: those of the port that has the name of the
/// Service's, or of the only one.
fn endpoints(world: &World, key: &ObjectKey, port: u16) -> Option<config::Target> {
    let service = world.services.get(key);
    let name = service
        .and_then(|s| service_port(s, port))
        .and_then(|p| p.name.as_deref());
    let mut by_port: BTreeMap<u16, BTreeSet<IpAddr>> = BTreeMap::new();
    for slice in slices(world, key) {
        let ports: Vec<_> = slice.ports.iter().flatten().collect();
        let mut fitting = ports
            .iter()
            .filter(|p| ports.len() == 1 || (name.is_some() && p.name.as_deref() == name));
        let number = fitting.next().and_then(|p| u16::try_from(p.port?).ok());
        let Some(number) = number else { continue };
        let ready = slice.endpoints.iter().filter(|endpoint| {
            endpoint
                .conditions
                .as_ref()
                .and_then(|c| c.ready)
                .unwrap_or(true)
        });
        let addresses = ready.flat_map(|endpoint| endpoint.addresses.iter());
        let addresses = addresses.filter_map(|address| address.parse::<IpAddr>().ok());
        by_port.entry(number).or_default().extend(addresses);
    }
    let found = by_port
        .into_iter()
        .find(|(_, addresses)| !addresses.is_empty());
    let (port, addresses) = found?;
    let addresses = addresses.into_iter().collect();
    Some(config::Target::Addresses { addresses, port })
}

fn slices<'w>(
    world: &'w World,
    service: &'w ObjectKey,
) -> impl Iterator<Item = &'w k8s_openapi::api::discovery::v1::EndpointSlice> {
    let slices = world.endpoint_slices.iter();
    let slices = slices.filter(move |(key, slice)| {
        let labels = slice.metadata.labels.as_ref();
        let name = labels.and_then(|labels| labels.get("kubernetes.io/service-name"));
        key.namespace == service.namespace && name == Some(&service.name)
    });
    slices.map(|(_, slice)| slice.as_ref())
}
