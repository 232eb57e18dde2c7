//! Snapshots that pods refuse, and backends that refuse pods: what the operator makes of it.

use postern_config::head::{Head, Set};
use postern_operator::apply::{Live, WRITTEN_AT};
use serde_json::json;

use crate::installation::{Installation, SOON, control_plane};
use crate::objects::{EDGE, apply_tls_secret};
use crate::scripted::{ScriptedPod, next_snapshot, runs, runs_but_rejects};

/// A change of the gateway's snapshot.
const DENY: &str = "
apiVersion: postern.dev/v1alpha1
kind: MailPolicy
metadata: {name: guard, namespace: NS}
spec:
  targetRefs: [{kind: MailGateway, name: edge}]
  defaults: {access: {senders: {deny: [DENIED]}}}
";

fn head(live: &Live) -> &Head {
    live.head.as_ref().unwrap()
}

async fn edge<'a>(purpose: &str) -> Installation<'a> {
    let cluster = control_plane().await;
    let installation = Installation::new(cluster, purpose).await;
    apply_tls_secret(cluster, &installation.namespace, "mx1-tls").await;
    installation.apply(EDGE).await;
    installation
}

async fn deny(installation: &Installation<'_>, domain: &str) {
    installation.apply(&DENY.replace("DENIED", domain)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_set_that_pods_run_outlives_all_that_they_reject() {
    let installation = edge("rejecting").await;
    let operator = installation.operator("operator-1").await;
    let good = next_snapshot(&installation, None).await;
    let good_hash = good.hash().unwrap().to_owned();
    let pod = ScriptedPod::ready(&installation, "edge-0", "127.0.0.11", runs(&good_hash)).await;
    installation
        .gateway_says(SOON, ["Programmed", "True", "Programmed"])
        .await;

    // The second and the third are rejected, and the good one is kept through both.
    let mut last = good;
    for domain in ["one.test", "two.test"] {
        let before = last.hash().unwrap().to_owned();
        deny(&installation, domain).await;
        last = next_snapshot(&installation, Some(&before)).await;
        let kept = head(&last).previous.as_ref().unwrap();
        assert_eq!((kept.set, &kept.hash), (Set::A, &good_hash), "{domain}");
        let rejects = runs_but_rejects(&good_hash, last.hash().unwrap());
        pod.says(&installation, rejects).await;
        let message = installation
            .gateway_says(SOON, ["Programmed", "False", "SnapshotRejected"])
            .await;
        assert!(
            message.contains("edge-0 refuses it: listener mx: a test"),
            "{message}"
        );
    }

    // A new leader has heard nobody when it comes, and the head has become old meanwhile.
    drop(operator);
    let namespace = &installation.namespace;
    installation
        .kubectl(&format!(
            "-n {namespace} annotate --overwrite configmap postern-edge-head \
             {WRITTEN_AT}=2026-01-02T03:04:05Z"
        ))
        .await;
    let before = last.hash().unwrap().to_owned();
    deny(&installation, "three.test").await;
    let _operator = installation.operator("operator-2").await;
    let last = next_snapshot(&installation, Some(&before)).await;
    assert_eq!(head(&last).previous.as_ref().unwrap().hash, good_hash);

    // Once the pod takes one, the next change stands where the good set stood.
    pod.says(&installation, runs(last.hash().unwrap())).await;
    installation
        .gateway_says(SOON, ["Programmed", "True", "Programmed"])
        .await;
    let taken = last.hash().unwrap().to_owned();
    deny(&installation, "four.test").await;
    let last = next_snapshot(&installation, Some(&taken)).await;
    assert_eq!(head(&last).previous.as_ref().unwrap().hash, taken);
    assert_eq!(head(&last).current.set, Set::A);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_refuses_the_gateway_shows_at_its_route_until_it_does_not() {
    let installation = edge("refusing").await;
    let _operator = installation.operator("operator-1").await;
    let live = next_snapshot(&installation, None).await;
    let hash = live.hash().unwrap().to_owned();
    let backends = &live.snapshot().unwrap().config.backends;
    let id = backends.keys().next().unwrap();
    let pod = ScriptedPod::ready(&installation, "edge-0", "127.0.0.12", runs(&hash)).await;
    installation
        .route_says(SOON, ["ResolvedRefs", "True", "ResolvedRefs"])
        .await;
    installation
        .route_says(SOON, ["Programmed", "True", "Programmed"])
        .await;

    let mut refused = runs(&hash);
    let code = json!({"code": "550 5.7.1", "at": "2026-01-02T03:04:05Z"});
    refused["backends"] = json!({id: code, "of-another-snapshot": code});
    pod.says(&installation, refused).await;
    let message = installation
        .route_says(SOON, ["ResolvedRefs", "False", "BackendRefused"])
        .await;
    let backend = format!("service {}/mailstore:24", installation.namespace);
    assert!(message.starts_with(&format!("{backend} refuses the gateway with 550 5.7.1")));
    let message = installation
        .route_says(SOON, ["Programmed", "True", "PartiallyProgrammed"])
        .await;
    assert!(message.contains("550 5.7.1"), "{message}");

    pod.says(&installation, runs(&hash)).await;
    installation
        .route_says(SOON, ["ResolvedRefs", "True", "ResolvedRefs"])
        .await;
    installation
        .route_says(SOON, ["Programmed", "True", "Programmed"])
        .await;
}
