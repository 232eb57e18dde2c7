//! Writing a gateway's objects by server-side apply, each only when it is not yet what it should
//! be.

use k8s_openapi::NamespaceResourceScope;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use postern_config::chunks::sha256_hex;
use serde::Serialize;
use serde_json::Value;

use super::{ApplyError, Site, compare};
use crate::names;
use crate::translation::Manifests;
use crate::world::ObjectKey;

/// Annotation: hash of what was applied last. It shows that something is no longer wanted, which
/// a look at what is wanted cannot.
const APPLIED: &str = "postern.dev/applied";

/// An object that shall be.
pub(super) struct Desired {
    resource: ApiResource,
    name: String,
    body: Value,
    hash: String,
}

impl Desired {
    pub(super) fn kind(&self) -> &str {
        &self.resource.kind
    }

    pub(super) fn key(&self, namespace: &str) -> ObjectKey {
        ObjectKey::new(namespace, &*self.name)
    }

    /// Identifies the object and what it shall be, to remember that it has been applied.
    pub(super) fn mark(&self) -> (String, String) {
        (
            format!("{}/{}", self.resource.kind, self.name),
            self.hash.clone(),
        )
    }

    /// Whether a live object is already like this.
    pub(super) fn is(&self, live: &DynamicObject) -> bool {
        let same_hash = live.annotations().get(APPLIED) == Some(&self.hash);
        same_hash
            && serde_json::to_value(live).is_ok_and(|mut live| {
                // Objects in a list come without them.
                live["apiVersion"] = self.body["apiVersion"].clone();
                live["kind"] = self.body["kind"].clone();
                compare::holds(&self.body, &live)
            })
    }
}

/// In the order of writing: what pods need before they start comes first.
pub(super) fn desired(manifests: &Manifests) -> Result<Vec<Desired>, ApplyError> {
    Ok(vec![
        one(&manifests.service_account)?,
        one(&manifests.role)?,
        one(&manifests.role_binding)?,
        one(&manifests.network_policy)?,
        one(&manifests.pod_disruption_budget)?,
        one(&manifests.service)?,
        one(&manifests.deployment)?,
    ])
}

fn one<K>(object: &K) -> Result<Desired, ApplyError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize,
{
    let mut body = serde_json::to_value(object)?;
    let hash = sha256_hex(body.to_string().as_bytes(), 16);
    body["metadata"]["annotations"][APPLIED] = Value::String(hash.clone());
    Ok(Desired {
        resource: ApiResource::erase::<K>(&()),
        name: object.meta().name.clone().unwrap_or_default(),
        body,
        hash,
    })
}

/// Applies an object. One that is not known to be ours is looked at first, so that nothing of
/// somebody else is taken over.
pub(super) async fn apply(
    site: &Site<'_>,
    desired: &Desired,
    known: bool,
) -> Result<DynamicObject, ApplyError> {
    let namespace = &site.key.namespace;
    let api: Api<DynamicObject> =
        Api::namespaced_with(site.client.clone(), namespace, &desired.resource);
    if !known && let Some(found) = api.get_opt(&desired.name).await? {
        site.must_be_ours(&desired.resource.kind, &found.metadata)?;
    }
    site.writes.one()?;
    let params = PatchParams::apply(names::MANAGER).force();
    Ok(api
        .patch(&desired.name, &params, &Patch::Apply(&desired.body))
        .await?)
}
