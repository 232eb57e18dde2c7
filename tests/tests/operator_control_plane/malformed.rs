//! Objects that the API server takes and this version cannot read: the definitions are of a later
//! version, as they are in the middle of an upgrade.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ApiResource, DynamicObject};
use postern_crds::{MailGateway, MailPolicy, MailRoute};
use postern_operator::apply::Live;
use postern_tests::cluster::ControlPlane;
use serde_json::{Value, json};

use crate::installation::{Installation, SOON, says};
use crate::objects::{EDGE, apply_tls_secret};
use crate::scripted::next_snapshot;

/// Each kind's definition with one value more in one enumeration.
fn later_version() -> Vec<CustomResourceDefinition> {
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    let enumeration = |kind: &str| match kind {
        "MailGateway" => "/listeners/items/properties/protocol/enum",
        "MailRoute" => "/rules/items/properties/verifyRecipients/enum",
        _ => "/mode/enum",
    };
    let later = |definition: CustomResourceDefinition| {
        let path = format!("{spec}{}", enumeration(&definition.spec.names.kind));
        let mut definition = serde_json::to_value(definition).unwrap();
        let values = definition.pointer_mut(&path).and_then(Value::as_array_mut);
        values.unwrap().push(json!("Later"));
        serde_json::from_value(definition).unwrap()
    };
    postern_crds::crds().into_iter().map(later).collect()
}

const LATER: &str = "
apiVersion: postern.dev/v1alpha1
kind: MailGateway
metadata: {name: later, namespace: NS}
spec:
  className: CLASS
  hostname: mx1.acme.test
  listeners: [{name: mx, port: 25, protocol: PROTOCOL}]
---
apiVersion: postern.dev/v1alpha1
kind: MailRoute
metadata: {name: later, namespace: NS}
spec:
  parentRefs: [{name: edge}]
  recipients: [later.test]
  rules: [{name: default, verifyRecipients: VERIFY, backends: [{discard: {}}]}]
---
apiVersion: postern.dev/v1alpha1
kind: MailPolicy
metadata: {name: later, namespace: NS}
spec:
  targetRefs: [{kind: MailGateway, name: edge}]
  mode: MODE
  defaults: {access: {senders: {deny: [spam.test]}}}
";

/// A change of another object, which must still have its effect.
const CHANGE: &str = "
apiVersion: postern.dev/v1alpha1
kind: MailPolicy
metadata: {name: guard, namespace: NS}
spec:
  targetRefs: [{kind: MailGateway, name: edge}]
  defaults: {access: {senders: {deny: [CHANGE]}}}
";

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_a_later_version_is_told_so_and_stops_nothing() {
    // Its own control plane: the definitions are not ours.
    let cluster = ControlPlane::start_with(later_version()).await;
    let installation = Installation::new(&cluster, "later").await;
    apply_tls_secret(&cluster, &installation.namespace, "mx1-tls").await;
    let with = |protocol: &str, verify: &str, mode: &str| {
        let text = LATER
            .replace("PROTOCOL", protocol)
            .replace("VERIFY", verify);
        text.replace("MODE", mode)
    };
    let later = with("Later", "Later", "Later");
    let readable = with("SMTP", "Ask", "Enforce");
    installation.apply(EDGE).await;
    installation.apply(&later).await;

    // They are met in the first list.
    let operator = installation.operator("operator-1").await;
    is_told(&installation, ["Accepted", "False", "Invalid"]).await;
    installation
        .route_says(SOON, ["Accepted", "True", "Accepted"])
        .await;
    changes_still_come(&installation, "one.test").await;

    // They become readable, and unreadable again under the watch.
    installation.apply(&readable).await;
    is_told(&installation, ["Accepted", "True", "Accepted"]).await;
    installation.apply(&later).await;
    is_told(&installation, ["Accepted", "False", "Invalid"]).await;
    let live = changes_still_come(&installation, "two.test").await;
    let routes = &live.snapshot().unwrap().config.routes;
    assert!(
        routes.iter().all(|route| route.name == "acme"),
        "{routes:?}"
    );

    // Their statuses are not written anew by each pass.
    operator.settled().await;
    let (mark, passes) = (cluster.mark().await, operator.passes().await);
    let touch = "annotate mailroute acme touched=1";
    installation
        .kubectl(&format!("-n {} {touch}", installation.namespace))
        .await;
    operator.passes_again(passes).await;
    operator.settled().await;
    assert_eq!(installation.writes_since(mark).await, []);
}

/// Waits until all three have that condition; a refusal names the value.
async fn is_told(installation: &Installation<'_>, wanted: [&str; 3]) {
    let kinds = [
        ApiResource::erase::<MailGateway>(&()),
        ApiResource::erase::<MailRoute>(&()),
        ApiResource::erase::<MailPolicy>(&()),
    ];
    for kind in kinds {
        let client = installation.client.clone();
        let api: Api<DynamicObject> = Api::namespaced_with(client, &installation.namespace, &kind);
        let message = says(&api, "later", SOON, wanted).await;
        let names_it = message.contains("unknown variant `Later`");
        assert_eq!(names_it, wanted[1] == "False", "{message}");
    }
}

/// A change of another object stands in the next snapshot.
async fn changes_still_come(installation: &Installation<'_>, domain: &str) -> Live {
    let live = next_snapshot(installation, None).await;
    let before = live.hash().unwrap();
    installation.apply(&CHANGE.replace("CHANGE", domain)).await;
    next_snapshot(installation, Some(before)).await
}
