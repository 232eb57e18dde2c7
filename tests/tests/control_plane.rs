//! The harness itself: the control plane is real, and counts what is written to it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use postern_tests::cluster::ControlPlane;
use postern_tests::program::run;
use postern_tests::wait::eventually;
use serde_json::json;

const SOON: Duration = Duration::from_secs(20);

fn config_map(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..Default::default()
        },
        data: Some(BTreeMap::from([("key".to_owned(), "value".to_owned())])),
        ..Default::default()
    }
}

#[tokio::test]
async fn kubectl_and_helm_reach_the_server_and_agree_on_its_version() {
    let cluster = ControlPlane::shared().await;
    let mut kubectl = cluster.kubectl();
    kubectl.args(["version", "--output=json"]);
    let versions: serde_json::Value = serde_json::from_str(&run(kubectl).await).unwrap();
    assert_eq!(versions["serverVersion"]["gitVersion"], "v1.35.4");
    assert_eq!(versions["serverVersion"]["minor"], "35");

    let mut helm = cluster.helm();
    helm.args(["list", "--all-namespaces", "--output=json"]);
    assert_eq!(run(helm).await.trim(), "[]");
}

#[tokio::test]
async fn a_service_account_may_do_what_its_role_says_and_no_more() {
    let cluster = ControlPlane::shared().await;
    let namespace = cluster.namespace("accounts").await;
    cluster
        .apply(&format!(
            "
apiVersion: v1
kind: ServiceAccount
metadata: {{name: reader, namespace: {namespace}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: reader, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}}
subjects: [{{kind: ServiceAccount, name: reader, namespace: {namespace}}}]
"
        ))
        .await;
    let client = cluster
        .client_for_service_account(&namespace, "reader")
        .await;
    let config_maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    // The authorizer learns of a binding by a watch.
    let seen = eventually(SOON, || config_maps.get("kube-root-ca.crt")).await;
    assert!(seen.data.unwrap()["ca.crt"].contains("BEGIN CERTIFICATE"));

    let refused = config_maps
        .create(&PostParams::default(), &config_map("mine"))
        .await;
    match refused.unwrap_err() {
        kube::Error::Api(status) => assert_eq!(status.code, 403, "{status:?}"),
        other => panic!("{other}"),
    }
    let elsewhere = config_maps.clone().into_client();
    let others: Api<ConfigMap> = Api::namespaced(elsewhere, "kube-system");
    assert!(others.list(&ListParams::default()).await.is_err());
}

#[tokio::test]
async fn a_token_has_the_audience_that_was_asked_for() {
    let cluster = ControlPlane::shared().await;
    let namespace = cluster.namespace("tokens").await;
    let token = cluster
        .token(&namespace, "default", &["smtp.postern.dev"])
        .await;
    let payload = token.split('.').nth(1).unwrap();
    let payload =
        base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, payload).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(claims["aud"], json!(["smtp.postern.dev"]));
    assert_eq!(
        claims["iss"],
        postern_tests::cluster::SERVICE_ACCOUNT_ISSUER
    );
    assert_eq!(
        claims["sub"],
        format!("system:serviceaccount:{namespace}:default")
    );
}

#[tokio::test]
async fn the_audit_log_counts_each_write_once_by_its_user() {
    let cluster = ControlPlane::shared().await;
    let namespace = cluster.namespace("audit").await;
    let user = "alice@example.com";
    let client = cluster.client_for_user(user, &["system:masters"]).await;
    let config_maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let mark = cluster.mark().await;

    config_maps
        .create(&PostParams::default(), &config_map("one"))
        .await
        .unwrap();
    config_maps.get("one").await.unwrap();
    let dry = PostParams {
        dry_run: true,
        ..Default::default()
    };
    config_maps.create(&dry, &config_map("two")).await.unwrap();
    let taken = config_maps
        .create(&PostParams::default(), &config_map("one"))
        .await;
    assert!(taken.is_err());

    let mut writes = cluster.writes_since(mark).await;
    writes.retain(|write| write.user == user);
    let seen: Vec<_> = writes
        .iter()
        .map(|write| {
            (
                write.verb.as_str(),
                write.resource.as_str(),
                write.name.as_str(),
                write.code,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("create", "configmaps", "one", 201),
            ("create", "configmaps", "one", 409)
        ]
    );
    assert!(
        writes
            .iter()
            .all(|write| write.namespace == namespace && write.group.is_empty())
    );

    let after = cluster.mark().await;
    let later = cluster.writes_since(after).await;
    assert!(later.iter().all(|write| write.user != user), "{later:?}");
}

#[tokio::test]
async fn controllers_make_pods_of_a_deployment_and_sweep_what_an_owner_leaves() {
    let cluster = ControlPlane::shared().await;
    let namespace = cluster.namespace("controllers").await;
    let client = cluster.client().await;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": { "name": "gateway" },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": { "app": "gateway" } },
            "template": {
                "metadata": { "labels": { "app": "gateway" } },
                "spec": { "containers": [{ "name": "gateway", "image": "postern" }] },
            },
        },
    }))
    .unwrap();
    deployments
        .create(&PostParams::default(), &deployment)
        .await
        .unwrap();
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let all = ListParams::default();
    eventually(SOON, async || match pods.list(&all).await {
        Ok(pods) if pods.items.len() == 2 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(
        pods.list(&all).await.unwrap().items[0]
            .status
            .as_ref()
            .unwrap()
            .phase
            .as_deref(),
        Some("Pending")
    );

    deployments
        .delete("gateway", &DeleteParams::background())
        .await
        .unwrap();
    let replica_sets: Api<ReplicaSet> = Api::namespaced(client, &namespace);
    eventually(SOON, async || {
        let left = replica_sets
            .list(&all)
            .await
            .map_err(|error| error.to_string())?
            .items
            .len();
        if left == 0 {
            Ok(())
        } else {
            Err(format!("{left} ReplicaSets are left"))
        }
    })
    .await;
}

#[tokio::test]
async fn a_pod_without_a_node_becomes_ready_by_a_status_patch() {
    let cluster = ControlPlane::shared().await;
    let namespace = cluster.namespace("pods").await;
    let pods: Api<Pod> = Api::namespaced(cluster.client().await, &namespace);
    let pod: Pod = serde_json::from_value(json!({
        "metadata": { "name": "gateway-1" },
        "spec": { "containers": [{ "name": "gateway", "image": "postern" }] },
    }))
    .unwrap();
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let status = json!({ "status": {
        "podIP": "127.0.0.2",
        "podIPs": [{ "ip": "127.0.0.2" }],
        "conditions": [{ "type": "Ready", "status": "True" }],
    }});
    pods.patch_status("gateway-1", &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
    let status = pods.get("gateway-1").await.unwrap().status.unwrap();
    assert_eq!(status.pod_ip.as_deref(), Some("127.0.0.2"));
}

#[tokio::test]
async fn one_of_its_own_has_the_gateway_api_and_leaves_nothing_behind() {
    let began = Instant::now();
    let cluster = ControlPlane::start().await;
    println!("ready after {:.1} s", began.elapsed().as_secs_f64());
    cluster.install_gateway_api().await;
    cluster
        .apply(
            "
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: grant, namespace: default}
spec:
  from: [{group: postern.dev, kind: MailGateway, namespace: mail}]
  to: [{group: '', kind: Secret}]
",
        )
        .await;
    let accounts: Api<ServiceAccount> = Api::default_namespaced(cluster.client().await);
    accounts.get("default").await.unwrap();

    let folder = cluster.folder().to_owned();
    let address = cluster.url().trim_start_matches("https://").to_owned();
    std::net::TcpStream::connect(&address).unwrap();
    drop(cluster);
    assert!(std::net::TcpStream::connect(&address).is_err());
    assert!(!folder.exists());
}
