//! Whom the pods run as and what they may read: the head, followed by a watch, and the chunks of
//! both sets, each by its name. Nothing else of the namespace.

use super::Frame;
use crate::names;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use postern_config::chunks::{CHUNKS, Part, chunk_name};
use postern_config::head::Set;

/// The names of all objects of a part, in both sets.
pub(super) fn chunk_objects(gateway: &str, part: Part) -> Vec<String> {
    let sets = [Set::A, Set::B].into_iter();
    let chunks = sets.flat_map(|set| (0..CHUNKS).map(move |index| chunk_name(part, set, index)));
    chunks
        .map(|chunk| names::snapshot_object(gateway, &chunk))
        .collect()
}

pub(super) fn service_account(frame: &Frame<'_>) -> ServiceAccount {
    ServiceAccount {
        metadata: frame.metadata(),
        // The pod asks for its token itself; nothing else that runs under this name gets one.
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

pub(super) fn role(frame: &Frame<'_>) -> Role {
    let rule = |resource: &str, names: Vec<String>, verbs: &[&str]| PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec![resource.to_owned()]),
        resource_names: Some(names),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        non_resource_urls: None,
    };
    let head = names::snapshot_object(frame.name, names::HEAD);
    Role {
        metadata: frame.metadata(),
        rules: Some(vec![
            rule("configmaps", vec![head], &["get", "list", "watch"]),
            rule(
                "configmaps",
                chunk_objects(frame.name, Part::Config),
                &["get"],
            ),
            rule("secrets", chunk_objects(frame.name, Part::Keys), &["get"]),
        ]),
    }
}

pub(super) fn role_binding(frame: &Frame<'_>) -> RoleBinding {
    let metadata = frame.metadata();
    RoleBinding {
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "Role".to_owned(),
            name: names::base(frame.name),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: names::base(frame.name),
            namespace: metadata.namespace.clone(),
            api_group: None,
        }]),
        metadata,
    }
}
