//! What the operator may and may not do under the chart's roles, and how what it may not shows.

use std::time::Duration;

use crate::events::told;
use crate::installation::{Installation, SOON, control_plane};
use crate::objects::{EDGE, apply_tls_secret};
use postern_tests::program::run;

/// A watch ends after 25 s; the right is missed when the next one begins.
const REVOKED: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_other_namespaces_cannot_be_read() {
    let cluster = control_plane().await;
    let installation = Installation::new(cluster, "rights").await;
    let may = async |words: &str| {
        let mut kubectl = cluster.kubectl();
        kubectl
            .env("KUBECONFIG", installation.kubeconfig().await)
            .args(["auth", "can-i"])
            .args(words.split_whitespace())
            .args(["--quiet"]);
        let mut kubectl = tokio::process::Command::from(kubectl);
        kubectl.status().await.unwrap().success()
    };
    let own = &installation.namespace;
    for words in [
        "get secrets -n kube-system",
        "list secrets -A",
        "create deployments -n kube-system",
    ] {
        assert!(!may(words).await, "{words}");
    }
    for verb in ["bind", "escalate"] {
        assert!(!may(&format!("{verb} clusterroles")).await, "{verb}");
    }
    assert!(may(&format!("get secrets -n {own}")).await);
    assert!(may("list mailroutes -A").await);
}

/// The command that adds a namespace to a list of the installation's, which holds its own. It is to
/// be copied as it stands: another list would take rights away.
fn helm_upgrade(installation: &Installation<'_>, list: &str, namespace: &str) -> String {
    let Installation {
        name,
        namespace: own,
        ..
    } = installation;
    let mut namespaces = [own.as_str(), namespace];
    namespaces.sort_unstable();
    format!(
        "`helm upgrade {name} charts/postern -n {own} --reuse-values --set '{list}={{{}}}'`",
        namespaces.join(",")
    )
}

/// A certificate from a namespace that may not be read until its Secrets are bound.
const FROM_AFAR: &str = "
apiVersion: postern.dev/v1alpha1
kind: MailGateway
metadata: {name: edge, namespace: NS}
spec:
  className: CLASS
  hostname: mx1.acme.test
  listeners:
  - name: mx
    port: 25
    protocol: SMTP
    tls: {mode: Opportunistic, certificateRefs: [{name: mx1-tls, namespace: OTHER}]}
";

const GRANT: &str = "
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: NS, namespace: OTHER}
spec:
  from: [{group: postern.dev, kind: MailGateway, namespace: NS}]
  to: [{group: '', kind: Secret}]
";

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_that_is_missing_or_removed_shows_with_the_command_that_makes_it() {
    let cluster = control_plane().await;
    cluster.install_gateway_api().await;
    let other = cluster.namespace("certificates").await;
    let installation = Installation::with_secrets_in(cluster, "revoked", &[&other]).await;
    apply_tls_secret(cluster, &other, "mx1-tls").await;
    installation
        .apply(&FROM_AFAR.replace("OTHER", &other))
        .await;
    installation.apply(&GRANT.replace("OTHER", &other)).await;
    let operator = installation.operator("operator-1").await;
    installation
        .gateway_says(SOON, ["ResolvedRefs", "True", "ResolvedRefs"])
        .await;
    operator.settled().await;

    let binding = format!("{}-secrets", installation.name);
    installation
        .kubectl(&format!("-n {other} delete rolebinding {binding}"))
        .await;
    let refused = ["ResolvedRefs", "False", "RefNotPermitted"];
    let message = installation.gateway_says(REVOKED, refused).await;
    let command = helm_upgrade(&installation, "secretNamespaces", &other);
    assert!(message.contains(&command), "{command} is not in {message}");

    // What that command does about the role; there is no release here that helm could upgrade.
    let mut kubectl = cluster.kubectl();
    kubectl.args(["-n", &other, "create", "rolebinding", &binding]);
    kubectl.arg(format!("--clusterrole={binding}"));
    kubectl.arg(format!(
        "--serviceaccount={}:{}",
        installation.namespace, installation.name
    ));
    run(kubectl).await;
    installation
        .gateway_says(SOON, ["ResolvedRefs", "True", "ResolvedRefs"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_in_a_namespace_that_is_not_bound_says_so() {
    let cluster = control_plane().await;
    let installation = Installation::new(cluster, "bound").await;
    let elsewhere = cluster.namespace("elsewhere").await;
    let yaml = EDGE
        .replace("CLASS", &installation.name)
        .replace("NS", &elsewhere);
    cluster.apply(&yaml).await;
    let _operator = installation.operator("operator-1").await;

    let gateways =
        kube::Api::<postern_crds::MailGateway>::namespaced(installation.client.clone(), &elsewhere);
    let wanted = ["Accepted", "False", "NamespaceNotPermitted"];
    let message = crate::installation::says(&gateways, "edge", SOON, wanted).await;
    let command = helm_upgrade(&installation, "gatewayNamespaces", &elsewhere);
    assert!(message.contains(&command), "{command} is not in {message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_installation_has_written_is_left_alone() {
    let cluster = control_plane().await;
    let installation = Installation::new(cluster, "conflict").await;
    let namespace = installation.namespace.clone();
    apply_tls_secret(cluster, &namespace, "mx1-tls").await;
    let theirs = "
apiVersion: v1
kind: Service
metadata: {name: postern-edge, namespace: NS, annotations: {postern.dev/installation: else/where}}
spec: {ports: [{port: 2525}]}
";
    installation.apply(theirs).await;
    installation.apply(EDGE).await;
    let operator = installation.operator("operator-1").await;
    installation
        .gateway_says(SOON, ["Accepted", "False", "ClassConflict"])
        .await;
    let theirs = "Service postern-edge (installation else/where)";
    told(&installation, ["Warning", "ClassConflict", theirs]).await;
    operator.settled().await;
    let port =
        format!("-n {namespace} get service postern-edge -o jsonpath={{.spec.ports[*].port}}");
    assert_eq!(installation.kubectl(&port).await, "2525");
}
