//! Kubernetes Events of a MailGateway and of the Lease, as `kubectl` shows them.

use k8s_openapi::api::events::v1::Event;
use kube::Api;
use postern_tests::wait::eventually;

use crate::installation::{Installation, SOON, control_plane};
use crate::objects::{EDGE, apply_tls_secret};
use crate::scripted::{ScriptedPod, next_snapshot, runs, runs_but_rejects};

/// Waits for an Event of that type and reason whose note holds `part`.
pub(crate) async fn told(
    installation: &Installation<'_>,
    [type_, reason, part]: [&str; 3],
) -> Event {
    let events: Api<Event> = Api::namespaced(installation.client.clone(), &installation.namespace);
    eventually(SOON, async || {
        let all = events
            .list(&Default::default())
            .await
            .map_err(|error| error.to_string())?;
        let is = |event: &&Event| {
            event.type_.as_deref() == Some(type_)
                && event.reason.as_deref() == Some(reason)
                && event
                    .note
                    .as_deref()
                    .is_some_and(|note| note.contains(part))
        };
        let line = |event: &Event| format!("{:?} {:?} {:?}", event.type_, event.reason, event.note);
        let found = all.iter().find(is).cloned();
        found.ok_or_else(|| all.iter().map(line).collect::<Vec<_>>().join("\n"))
    })
    .await
}

/// A Secret whose certificate has two days of its years left.
fn ending_pair(namespace: &str) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(["mx1.acme.test".to_owned()]).unwrap();
    let end = jiff::Zoned::now()
        .date()
        .saturating_add(jiff::Span::new().days(2));
    let part = |number: i8| u8::try_from(number).unwrap();
    parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
    parameters.not_after =
        rcgen::date_time_ymd(end.year().into(), part(end.month()), part(end.day()));
    let certificate = parameters.self_signed(&key).unwrap();
    serde_json::json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "mx1-tls", "namespace": namespace},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": certificate.pem(), "tls.key": key.serialize_pem()},
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_turns_at_a_gateway_is_told_once() {
    let cluster = control_plane().await;
    let installation = Installation::new(cluster, "events").await;
    let namespace = installation.namespace.clone();
    apply_tls_secret(cluster, &namespace, "mx1-tls").await;
    installation.apply(EDGE).await;
    let _operator = installation.operator("operator-1").await;
    told(
        &installation,
        ["Normal", "LeaderElection", "operator-1 became leader"],
    )
    .await;

    let good = next_snapshot(&installation, None)
        .await
        .hash()
        .unwrap()
        .to_owned();
    let pod = ScriptedPod::ready(&installation, "edge-0", "127.0.0.14", runs(&good)).await;
    let programmed = format!("1/1 pods run {}", &good[..8]);
    told(&installation, ["Normal", "Programmed", &programmed]).await;

    // A certificate that is about to end is told, though the gateway works.
    cluster.apply(&ending_pair(&namespace)).await;
    let ending = format!("Secret {namespace}/mx1-tls expires at");
    told(&installation, ["Warning", "CertificateExpiring", &ending]).await;
    let refused = next_snapshot(&installation, Some(&good))
        .await
        .hash()
        .unwrap()
        .to_owned();
    pod.says(&installation, runs_but_rejects(&good, &refused))
        .await;
    let why = "edge-0 refuses it: listener mx: a test";
    told(&installation, ["Warning", "SnapshotRejected", why]).await;

    // What comes again in the same words is counted.
    pod.says(&installation, runs(&refused)).await;
    let programmed = format!("1/1 pods run {}", &refused[..8]);
    told(&installation, ["Normal", "Programmed", &programmed]).await;
    pod.be(&installation, false).await;
    let alone = "pods is ready";
    told(&installation, ["Warning", "NoReadyPods", alone]).await;
    pod.be(&installation, true).await;
    eventually(SOON, async || {
        let event = told(&installation, ["Normal", "Programmed", &programmed]).await;
        let count = event.series.map(|series| series.count);
        (count >= Some(2))
            .then_some(())
            .ok_or(format!("{count:?} times"))
    })
    .await;

    // Where people look for it.
    let described = installation
        .kubectl(&format!("-n {namespace} describe mailgateway edge"))
        .await;
    assert!(described.contains("SnapshotRejected"), "{described}");
    let lease = format!(
        "-n {namespace} describe lease {}-operator",
        installation.name
    );
    let described = installation.kubectl(&lease).await;
    assert!(
        described.contains("operator-1 became leader"),
        "{described}"
    );
}
