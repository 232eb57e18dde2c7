//! Who exports: the attributes of OpenTelemetry's resource, the same for traces and metrics.

use super::access_log::pod_name;
use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use postern_config::Config;

/// The attributes (OpenTelemetry's semantic conventions, service and k8s), those of the SDK and of
/// `OTEL_RESOURCE_ATTRIBUTES` among them; in the order of their names.
pub(crate) fn attributes(config: &Config) -> Vec<KeyValue> {
    let resource = resource(config);
    let mut attributes: Vec<KeyValue> = resource
        .iter()
        .map(|(name, value)| KeyValue::new(name.clone(), value.clone()))
        .collect();
    attributes.sort_by(|one, other| one.key.cmp(&other.key));
    attributes
}

/// The resource.
pub(crate) fn resource(config: &Config) -> Resource {
    Resource::builder()
        .with_attributes([
            KeyValue::new("service.name", "postern"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.namespace", config.gateway.namespace.clone()),
            KeyValue::new("service.instance.id", pod_name()),
            KeyValue::new("k8s.namespace.name", config.gateway.namespace.clone()),
            KeyValue::new("k8s.pod.name", pod_name()),
            KeyValue::new("postern.gateway", config.gateway.name.clone()),
            KeyValue::new("host.name", config.hostname.clone()),
        ])
        .build()
}
