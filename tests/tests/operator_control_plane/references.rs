//! What happens to what an object refers to shows in its status, within seconds.

use postern_tests::cluster::ControlPlane;

use crate::installation::{AT_ONCE, Installation, SOON, control_plane};
use crate::objects::{EDGE, apply_tls_secret};

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_secret_shows_at_once() {
    let cluster = control_plane().await;
    let installation = Installation::new(cluster, "secrets").await;
    apply_tls_secret(cluster, &installation.namespace, "mx1-tls").await;
    installation.apply(EDGE).await;
    let operator = installation.operator("operator-1").await;
    installation
        .gateway_says(SOON, ["ResolvedRefs", "True", "ResolvedRefs"])
        .await;
    operator.settled().await;
    let before = snapshot_hash(&installation).await;

    apply_tls_secret(cluster, &installation.namespace, "mx1-tls").await;
    postern_tests::wait::eventually(AT_ONCE, async || {
        let now = snapshot_hash(&installation).await;
        (now != before)
            .then_some(())
            .ok_or("still the old certificate")
    })
    .await;

    let namespace = &installation.namespace;
    installation
        .kubectl(&format!(
            r#"-n {namespace} patch secret mx1-tls --type=merge --patch={{"stringData":{{"tls.crt":"none"}}}}"#
        ))
        .await;
    installation
        .gateway_says(AT_ONCE, ["ResolvedRefs", "False", "InvalidCertificateRef"])
        .await;

    installation
        .kubectl(&format!("-n {namespace} delete secret mx1-tls"))
        .await;
    installation
        .gateway_says(AT_ONCE, ["ResolvedRefs", "False", "InvalidCertificateRef"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_service_shows_at_once() {
    let cluster = control_plane().await;
    let installation = Installation::new(cluster, "services").await;
    apply_tls_secret(cluster, &installation.namespace, "mx1-tls").await;
    installation.apply(EDGE).await;
    let operator = installation.operator("operator-1").await;
    installation
        .route_says(SOON, ["ResolvedRefs", "True", "ResolvedRefs"])
        .await;
    operator.settled().await;

    let namespace = &installation.namespace;
    installation
        .kubectl(&format!("-n {namespace} delete service mailstore"))
        .await;
    installation
        .route_says(AT_ONCE, ["ResolvedRefs", "False", "BackendNotFound"])
        .await;
}

/// A route whose backend stands in another namespace, and the grant that permits it.
const ACROSS: &str = "
apiVersion: v1
kind: Service
metadata: {name: mailstore, namespace: OTHER}
spec: {ports: [{name: lmtp, port: 24}]}
---
apiVersion: postern.dev/v1alpha1
kind: MailRoute
metadata: {name: acme, namespace: NS}
spec:
  parentRefs: [{name: edge}]
  recipients: [acme.test]
  rules:
  - name: default
    backends: [{service: {name: mailstore, namespace: OTHER, port: 24}, protocol: LMTP}]
";

const GRANT: &str = "
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: acme, namespace: OTHER}
spec:
  from: [{group: postern.dev, kind: MailRoute, namespace: NS}]
  to: [{group: '', kind: Service}]
";

#[tokio::test(flavor = "multi_thread")]
async fn grants_count_from_the_moment_their_crd_is_there_until_they_are_deleted() {
    // Its own control plane: the Gateway API's CRDs are not there at first.
    let cluster = ControlPlane::start().await;
    cluster.install_crds(postern_crds::crds()).await;
    let installation = Installation::new(&cluster, "grants").await;
    let other = cluster.namespace("other").await;
    apply_tls_secret(&cluster, &installation.namespace, "mx1-tls").await;
    installation.apply(EDGE).await;
    installation.apply(&ACROSS.replace("OTHER", &other)).await;

    let _operator = installation.operator("operator-1").await;
    let refused = ["ResolvedRefs", "False", "RefNotPermitted"];
    installation.route_says(SOON, refused).await;

    cluster.install_gateway_api().await;
    installation.apply(&GRANT.replace("OTHER", &other)).await;
    installation
        .route_says(SOON, ["ResolvedRefs", "True", "ResolvedRefs"])
        .await;

    installation
        .kubectl(&format!("-n {other} delete referencegrant acme"))
        .await;
    installation.route_says(AT_ONCE, refused).await;
}

async fn snapshot_hash(installation: &Installation<'_>) -> Option<String> {
    let gateway = installation.gateways().get("edge").await.unwrap();
    Some(gateway.status?.snapshot?.hash)
}
