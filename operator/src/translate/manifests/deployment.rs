//! The pods: a Deployment whose template does not change with what the gateway serves.
//!
//! Every chunk of both sets is mounted by one projected volume with `optional: true`, so that a
//! snapshot of another size restarts nothing. The pod passes Pod Security "restricted".

use super::{Frame, access};
use crate::names;
use crate::translate::snapshot;
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapProjection, Container, ContainerPort, EnvVar, EnvVarSource,
    HTTPGetAction, LocalObjectReference, ObjectFieldSelector, PodSecurityContext, PodSpec,
    PodTemplateSpec, Probe, ProjectedVolumeSource, ResourceRequirements, SeccompProfile,
    SecretProjection, SecurityContext, TopologySpreadConstraint, Volume, VolumeMount,
    VolumeProjection,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use postern_config::chunks::Part;
use postern_crds::ADMIN_PORT;
use postern_crds::mail_gateway::{PodTemplatePatch, TopologySpread};

/// Where the chunks are mounted.
const SNAPSHOT_FOLDER: &str = "/etc/postern/snapshot";
/// The volume of the chunks.
const SNAPSHOT_VOLUME: &str = "snapshot";
/// The user and group of the image.
const USER: i64 = 65532;
/// From the end of the drain to SIGKILL: for transactions whose final dot is at the backend.
const GRACE_AFTER_DRAIN_S: i64 = 30;

pub(super) fn deployment(frame: &Frame<'_>) -> Deployment {
    Deployment {
        metadata: frame.metadata(),
        spec: Some(DeploymentSpec {
            replicas: Some(frame.spec.infrastructure.replicas),
            selector: frame.selector(),
            // No pod is taken away before another is ready.
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template: template(frame),
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

pub(super) fn pod_disruption_budget(frame: &Frame<'_>) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: frame.metadata(),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            // A pod that is broken anyway must not hold up the draining of its node.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            selector: Some(frame.selector()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}

fn template(frame: &Frame<'_>) -> PodTemplateSpec {
    let patch = frame
        .spec
        .infrastructure
        .pod_template_patch
        .clone()
        .unwrap_or_default();
    let metadata = frame.metadata();
    let mut labels = metadata.labels.unwrap_or_default();
    for (key, value) in patch.labels.clone() {
        labels.entry(key).or_insert(value);
    }
    let mut annotations = metadata.annotations.unwrap_or_default();
    for (key, value) in patch.annotations.clone() {
        annotations.entry(key).or_insert(value);
    }
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(pod(frame, patch)),
    }
}

fn pod(frame: &Frame<'_>, patch: PodTemplatePatch) -> PodSpec {
    let pull_secrets: Vec<_> = patch
        .image_pull_secrets
        .iter()
        .map(|secret| LocalObjectReference {
            name: secret.name.clone(),
        })
        .collect();
    let timeout_s = snapshot::drain(frame.spec).timeout_ms.div_ceil(1000);
    let timeout_s = i64::try_from(timeout_s).unwrap_or(i64::MAX - GRACE_AFTER_DRAIN_S);
    PodSpec {
        service_account_name: Some(names::base(frame.name)),
        automount_service_account_token: Some(true),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(timeout_s + GRACE_AFTER_DRAIN_S),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                localhost_profile: None,
            }),
            ..PodSecurityContext::default()
        }),
        containers: vec![container(frame, &patch)],
        volumes: Some(vec![volume(frame)]),
        topology_spread_constraints: spread(frame),
        node_selector: some_map(patch.node_selector),
        tolerations: some(patch.tolerations),
        affinity: patch.affinity,
        priority_class_name: patch.priority_class_name,
        runtime_class_name: patch.runtime_class_name,
        image_pull_secrets: some(pull_secrets),
        ..PodSpec::default()
    }
}

fn container(frame: &Frame<'_>, patch: &PodTemplatePatch) -> Container {
    let namespace = frame
        .gateway
        .metadata
        .namespace
        .as_deref()
        .unwrap_or_default();
    let admin = format!("[::]:{ADMIN_PORT}");
    let args = [
        &["gateway", "--snapshot-dir", SNAPSHOT_FOLDER, "--follow"],
        &["--namespace", namespace, "--gateway", frame.name][..],
        &["--admin", &admin],
    ];
    Container {
        name: "gateway".to_owned(),
        image: Some(frame.world.image.clone()),
        args: Some(args.concat().into_iter().map(str::to_owned).collect()),
        env: Some(environment(patch)),
        // Listener ports are not named here: a listener more must not restart the pods.
        ports: Some(vec![ContainerPort {
            name: Some("admin".to_owned()),
            container_port: ADMIN_PORT.into(),
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        startup_probe: Some(probe("/livez", 1, 60)),
        liveness_probe: Some(probe("/livez", 10, 3)),
        readiness_probe: Some(probe("/readyz", 2, 1)),
        resources: Some(resources(frame)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                add: None,
            }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(vec![VolumeMount {
            name: SNAPSHOT_VOLUME.to_owned(),
            mount_path: SNAPSHOT_FOLDER.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    }
}

/// Who the pod is, for its own telemetry and to follow its head; then what the patch adds.
fn environment(patch: &PodTemplatePatch) -> Vec<EnvVar> {
    let field = |name: &str, path: &str| EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: path.to_owned(),
                api_version: Some("v1".to_owned()),
            }),
            ..EnvVarSource::default()
        }),
    };
    let mut environment = vec![
        field("POSTERN_POD_NAME", "metadata.name"),
        field("POSTERN_POD_NAMESPACE", "metadata.namespace"),
        field("POSTERN_NODE_NAME", "spec.nodeName"),
    ];
    environment.extend(patch.env.iter().map(|variable| EnvVar {
        name: variable.name.clone(),
        value: Some(variable.value.clone()),
        value_from: None,
    }));
    environment
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(ADMIN_PORT.into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        failure_threshold: Some(failures),
        timeout_seconds: Some(2),
        ..Probe::default()
    }
}

fn resources(frame: &Frame<'_>) -> ResourceRequirements {
    let quantity = |name: &str, amount: &str| (name.to_owned(), Quantity(amount.to_owned()));
    match frame.spec.infrastructure.resources.clone() {
        Some(written) => ResourceRequirements {
            requests: some_map(written.requests),
            limits: some_map(written.limits),
            claims: None,
        },
        None => ResourceRequirements {
            requests: Some([quantity("cpu", "100m"), quantity("memory", "128Mi")].into()),
            limits: Some([quantity("memory", "1Gi")].into()),
            claims: None,
        },
    }
}

fn spread(frame: &Frame<'_>) -> Option<Vec<TopologySpreadConstraint>> {
    let over = |key: &str| TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(frame.selector()),
        ..TopologySpreadConstraint::default()
    };
    let (zone, node) = (
        over("topology.kubernetes.io/zone"),
        over("kubernetes.io/hostname"),
    );
    match frame
        .spec
        .infrastructure
        .topology_spread
        .unwrap_or_default()
    {
        TopologySpread::Zone => Some(vec![zone, node]),
        TopologySpread::Node => Some(vec![node]),
        TopologySpread::None => None,
    }
}

/// The head and every chunk of both sets, there or not, in one folder.
fn volume(frame: &Frame<'_>) -> Volume {
    let config_map = |name: String| VolumeProjection {
        config_map: Some(ConfigMapProjection {
            name,
            optional: Some(true),
            items: None,
        }),
        ..VolumeProjection::default()
    };
    let secret = |name: String| VolumeProjection {
        secret: Some(SecretProjection {
            name,
            optional: Some(true),
            items: None,
        }),
        ..VolumeProjection::default()
    };
    let head = names::snapshot_object(frame.name, names::HEAD);
    let mut sources = vec![config_map(head)];
    sources.extend(
        access::chunk_objects(frame.name, Part::Config)
            .into_iter()
            .map(config_map),
    );
    sources.extend(
        access::chunk_objects(frame.name, Part::Keys)
            .into_iter()
            .map(secret),
    );
    Volume {
        name: SNAPSHOT_VOLUME.to_owned(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(0o440),
            sources: Some(sources),
        }),
        ..Volume::default()
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn some_map<K: Ord, V>(
    map: std::collections::BTreeMap<K, V>,
) -> Option<std::collections::BTreeMap<K, V>> {
    (!map.is_empty()).then_some(map)
}
