//! What a deleted gateway leaves behind is swept.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use postern_crds::MailPolicy;
use postern_tests::cluster::ControlPlane;
use postern_tests::wait::eventually;
use serde_json::Value;

use crate::installation::{Installation, SOON, names, says};
use crate::objects::SELF_SIGNED;

/// Two gateways; a route and a policy that mean both.
const BOTH: &str = "
apiVersion: postern.dev/v1alpha1
kind: MailRoute
metadata: {name: acme, namespace: NS}
spec:
  parentRefs: [{name: edge}, {name: other}]
  recipients: [acme.test]
  rules: [{name: default, backends: [{discard: {}}]}]
---
apiVersion: postern.dev/v1alpha1
kind: MailPolicy
metadata: {name: guard, namespace: NS}
spec:
  targetRefs: [{kind: MailGateway, name: edge}, {kind: MailGateway, name: other}]
  defaults: {access: {senders: {deny: [spam.test]}}}
---
apiVersion: postern.dev/v1alpha1
kind: MailPolicy
metadata: {name: on-route, namespace: NS}
spec:
  targetRefs: [{kind: MailRoute, name: acme}]
  defaults: {access: {recipients: {deny: [blocked@acme.test]}}}
";

/// Which objects our entries in an object's list are about.
async fn entries(installation: &Installation<'_>, object: &str, list: &str) -> Vec<String> {
    let command = format!("-n {} get {object} -o json", installation.namespace);
    let object: Value = serde_json::from_str(&installation.kubectl(&command).await).unwrap();
    let entries = object["status"][list]
        .as_array()
        .cloned()
        .unwrap_or_default();
    // Operators of other tests speak of what does not exist, too.
    let controller = format!("postern.dev/{}", installation.name);
    let ours = entries
        .iter()
        .filter(|entry| entry["controllerName"] == controller);
    let name = |entry: &Value| {
        let reference = [&entry["parentRef"], &entry["ancestorRef"]];
        let name = reference
            .iter()
            .find_map(|reference| reference["name"].as_str());
        name.unwrap().to_owned()
    };
    let mut names: Vec<String> = ours.map(name).collect();
    names.sort();
    names
}

/// Waits until our entries are about these: of a route, of a policy on the gateways, of a policy
/// on the route.
async fn speak_of(installation: &Installation<'_>, wanted: [&[&str]; 3]) {
    let objects = [
        ("mailroute/acme", "parents"),
        ("mailpolicy/guard", "ancestors"),
        ("mailpolicy/on-route", "ancestors"),
    ];
    for ((object, list), wanted) in objects.into_iter().zip(wanted) {
        eventually(SOON, async || {
            let found = entries(installation, object, list).await;
            (found == wanted)
                .then_some(())
                .ok_or(format!("{object}: {found:?}"))
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_and_generated_secrets_of_a_deleted_gateway_go() {
    // Its own control plane, whose garbage collector knows our kinds from the start.
    let cluster = ControlPlane::start_with(postern_crds::crds()).await;
    let installation = Installation::new(&cluster, "deleted").await;
    let namespace = installation.namespace.clone();
    installation.apply(SELF_SIGNED).await;
    installation
        .apply(&SELF_SIGNED.replace("edge", "other"))
        .await;
    installation.apply(BOTH).await;
    let operator = installation.operator("operator-1").await;
    speak_of(&installation, [&["edge", "other"]; 3]).await;
    let secrets: Api<Secret> = Api::namespaced(installation.client.clone(), &namespace);
    let of_other = async || {
        let all = names(&secrets).await;
        all.into_iter()
            .filter(|name| name.starts_with("postern-other-"))
            .collect::<Vec<_>>()
    };
    eventually(SOON, async || {
        let found = of_other().await;
        // The pair and the eight Secrets of both sets' keys, of which one set is written.
        (found.len() >= 5).then_some(()).ok_or(format!("{found:?}"))
    })
    .await;

    installation
        .kubectl(&format!("-n {namespace} delete mailgateway other"))
        .await;
    // A policy names its targets; that one is gone is told in an entry of its own.
    speak_of(&installation, [&["edge"], &["edge", "other"], &["edge"]]).await;
    let message = installation
        .route_says(SOON, ["Accepted", "False", "NoMatchingParent"])
        .await;
    assert!(
        message.contains(&format!("{namespace}/other does not exist")),
        "{message}"
    );
    let policies: Api<MailPolicy> = Api::namespaced(installation.client.clone(), &namespace);
    says(
        &policies,
        "guard",
        SOON,
        ["Accepted", "False", "TargetNotFound"],
    )
    .await;
    // Kubernetes' garbage collector goes by the owner references.
    eventually(SOON, async || {
        let found = of_other().await;
        found.is_empty().then_some(()).ok_or(format!("{found:?}"))
    })
    .await;

    // One that goes while no operator runs is swept by the next.
    operator.settled().await;
    drop(operator);
    installation
        .kubectl(&format!("-n {namespace} delete mailgateway edge"))
        .await;
    let _operator = installation.operator("operator-2").await;
    speak_of(&installation, [&[], &["edge", "other"], &["acme"]]).await;
}
