//! The rules of MailGateway.

use std::collections::BTreeMap;

use super::{Faults, FieldError, distinct};
use crate::mail_gateway::{
    Drain, FromNamespaces, Infrastructure, Listener, MailGatewaySpec, PodTemplatePatch, Protocol,
    Resolver, Service, ServiceType, Tls, TlsMode, reserved_keys_message,
};
use crate::{ADMIN_PORT, defaults, pod_port};

/// Judges a spec.
///
/// # Errors
/// All faults.
pub fn mail_gateway(spec: &MailGatewaySpec) -> Result<(), Vec<FieldError>> {
    let mut faults = Faults::default();
    faults.require(
        spec.hostname.as_str().contains('.'),
        "spec.hostname",
        "hostname must be fully qualified, such as mx1.example.com",
    );
    let ports: Vec<_> = spec
        .listeners
        .iter()
        .map(|listener| pod_port(listener.port))
        .collect();
    faults.require(
        distinct(&ports),
        "spec.listeners",
        "two listeners would meet on one port of the pods, where ports below 1024 are served at \
         10000 more",
    );
    let names: Vec<_> = spec
        .listeners
        .iter()
        .map(|listener| &listener.name)
        .collect();
    faults.require(
        distinct(&names),
        "spec.listeners",
        "two listeners have one name",
    );
    for (i, one) in spec.listeners.iter().enumerate() {
        listener(&mut faults, &format!("spec.listeners[{i}]"), one);
    }
    if let Some(one) = &spec.resolver {
        resolver(&mut faults, "spec.resolver", one);
    }
    infrastructure(&mut faults, "spec.infrastructure", &spec.infrastructure);
    let metrics = spec.telemetry.as_ref().and_then(|all| all.metrics.as_ref());
    faults.duration(
        "spec.telemetry.metrics.interval",
        metrics.and_then(|metrics| metrics.interval),
        ("1s", "1h"),
    );
    faults.finish()
}

/// Judges a change from `old` to `new`.
///
/// # Errors
/// All faults of the change itself; those of `new` are [`mail_gateway`]'s.
pub fn mail_gateway_update(
    old: &MailGatewaySpec,
    new: &MailGatewaySpec,
) -> Result<(), Vec<FieldError>> {
    let mut faults = Faults::default();
    faults.require(
        old.class_name == new.class_name,
        "spec.className",
        "className cannot be changed: delete the MailGateway and create it anew",
    );
    faults.finish()
}

fn listener(faults: &mut Faults, path: &str, listener: &Listener) {
    faults.require(
        listener.port != ADMIN_PORT,
        format!("{path}.port"),
        format!("port {ADMIN_PORT} is the pods' admin port: choose another"),
    );
    let implicit = listener
        .tls
        .as_ref()
        .is_some_and(|tls| tls.mode == TlsMode::Implicit);
    faults.require(
        (listener.protocol == Protocol::Submissions) == implicit,
        format!("{path}.tls"),
        "protocol Submissions needs tls.mode Implicit, and no other protocol takes it",
    );
    if let Some(one) = &listener.tls {
        tls(faults, &format!("{path}.tls"), one);
    }
    for (i, allowed) in listener.allowed_routes.iter().enumerate() {
        let Some(namespaces) = &allowed.namespaces else {
            continue;
        };
        faults.require(
            (namespaces.from == Some(FromNamespaces::Selector)) == namespaces.selector.is_some(),
            format!("{path}.allowedRoutes[{i}].namespaces.selector"),
            "selector goes with from: Selector, and only with it",
        );
    }
}

fn tls(faults: &mut Faults, path: &str, tls: &Tls) {
    let referred = !tls.certificate_refs.is_empty();
    let made = tls.self_signed.is_some();
    if tls.mode == TlsMode::Disabled {
        faults.require(
            !referred && !made,
            format!("{path}.mode"),
            "mode Disabled takes neither certificateRefs nor selfSigned",
        );
    } else {
        faults.require(
            referred != made,
            format!("{path}.certificateRefs"),
            "exactly one of certificateRefs and selfSigned is needed, unless mode is Disabled",
        );
    }
}

fn resolver(faults: &mut Faults, path: &str, resolver: &Resolver) {
    faults.duration(
        &format!("{path}.timeout"),
        resolver.timeout,
        ("100ms", "30s"),
    );
    let max_ttl = resolver.cache.as_ref().and_then(|cache| cache.max_ttl);
    faults.duration(&format!("{path}.cache.maxTtl"), max_ttl, ("0s", "168h"));
}

fn infrastructure(faults: &mut Faults, path: &str, infrastructure: &Infrastructure) {
    if let Some(one) = &infrastructure.service {
        service(faults, &format!("{path}.service"), one);
    }
    if let Some(one) = &infrastructure.drain {
        drain(faults, &format!("{path}.drain"), one);
    }
    if let Some(one) = &infrastructure.pod_template_patch {
        pod_template_patch(faults, &format!("{path}.podTemplatePatch"), one);
    }
}

fn service(faults: &mut Faults, path: &str, service: &Service) {
    let inside_only = service.type_ == Some(ServiceType::ClusterIp);
    faults.require(
        !(inside_only && service.external_traffic_policy.is_some()),
        format!("{path}.externalTrafficPolicy"),
        "externalTrafficPolicy is for type LoadBalancer and NodePort: ClusterIP has no outside",
    );
    reserved_keys(faults, path, "annotations", &service.annotations);
}

fn drain(faults: &mut Faults, path: &str, drain: &Drain) {
    let min_duration = drain
        .min_duration
        .map_or(defaults::DRAIN_MIN_DURATION, Into::into);
    let timeout = drain.timeout.map_or(defaults::DRAIN_TIMEOUT, Into::into);
    faults.require(
        min_duration < timeout,
        format!("{path}.minDuration"),
        "minDuration (default 30s) must be less than timeout (default 5m)",
    );
    faults.duration(&format!("{path}.timeout"), drain.timeout, ("1s", "1h"));
}

fn pod_template_patch(faults: &mut Faults, path: &str, patch: &PodTemplatePatch) {
    reserved_keys(faults, path, "labels", &patch.labels);
    reserved_keys(faults, path, "annotations", &patch.annotations);
    for (i, variable) in patch.env.iter().enumerate() {
        faults.require(
            !variable.name.starts_with("POSTERN_"),
            format!("{path}.env[{i}].name"),
            "environment variables that begin with POSTERN_ are set by the operator",
        );
    }
}

fn reserved_keys(faults: &mut Faults, path: &str, field: &str, map: &BTreeMap<String, String>) {
    faults.require(
        !map.keys().any(|key| key.starts_with("postern.dev/")),
        format!("{path}.{field}"),
        reserved_keys_message(field),
    );
}
