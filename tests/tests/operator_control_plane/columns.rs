//! What `kubectl get` shows by default tells what is wrong and what to do.

use postern_tests::wait::eventually;

use crate::installation::{Installation, SOON, control_plane};
use crate::objects::{EDGE, apply_tls_secret};

/// None of these is accepted, each for a reason of its own.
const REFUSED: &str = "
apiVersion: postern.dev/v1alpha1
kind: MailGateway
metadata: {name: later, namespace: NS}
spec:
  className: CLASS
  hostname: mx1.acme.test
  listeners: [{name: submission, port: 587, protocol: Submission, tls: {mode: Required, selfSigned: {}}}]
---
apiVersion: postern.dev/v1alpha1
kind: MailRoute
metadata: {name: astray, namespace: NS}
spec:
  parentRefs: [{name: nowhere}]
  recipients: [acme.test]
  rules: [{name: default, backends: [{discard: {}}]}]
---
apiVersion: postern.dev/v1alpha1
kind: MailRoute
metadata: {name: loser, namespace: NS}
spec:
  parentRefs: [{name: edge}]
  recipients: [acme.test, shop.test]
  rules: [{name: default, backends: [{discard: {}}]}]
---
apiVersion: postern.dev/v1alpha1
kind: MailPolicy
metadata: {name: astray, namespace: NS}
spec:
  targetRefs: [{kind: MailRoute, name: nowhere}]
  defaults: {access: {recipients: {deny: [blocked@acme.test]}}}
";

/// Waits until the line of an object has these cells after its name.
async fn shows(installation: &Installation<'_>, kind: &str, name: &str, cells: &[&str]) {
    let command = format!(
        "-n {} get {kind} {name} --no-headers",
        installation.namespace
    );
    eventually(SOON, async || {
        let line = installation.kubectl(&command).await;
        // Columns are parted by two spaces or more, words of a message by one.
        let found: Vec<&str> = line
            .split("  ")
            .map(str::trim)
            .filter(|c| !c.is_empty())
            .collect();
        let is = found.get(1..=cells.len()).is_some_and(|found| {
            found
                .iter()
                .zip(cells)
                .all(|(found, wanted)| found.starts_with(wanted))
        });
        is.then_some(()).ok_or(format!("{kind} {name}: {line}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_columns_say_why_and_what_to_do() {
    let cluster = control_plane().await;
    let installation = Installation::new(cluster, "columns").await;
    let namespace = &installation.namespace;
    apply_tls_secret(cluster, namespace, "mx1-tls").await;
    installation.apply(EDGE).await;
    let nobody = ["Unknown", "Unknown", "Pending", "Waiting for a controller"];
    shows(&installation, "mgw", "edge", &nobody).await;
    shows(&installation, "mroute", "acme", &nobody).await;
    let with_mode = ["Enforce"]
        .iter()
        .chain(&nobody)
        .copied()
        .collect::<Vec<_>>();
    shows(&installation, "mpol", "guard", &with_mode[1..]).await;

    // Nothing is wrong, and nobody runs it yet.
    let _operator = installation.operator("operator-1").await;
    shows(
        &installation,
        "mgw",
        "edge",
        &["True", "False", "NoReadyPods", "0/0 pods run "],
    )
    .await;
    let no_pod = [
        "True",
        "False",
        "NoReadyPods",
        "The gateway has no ready pod",
    ];
    shows(&installation, "mroute", "acme", &no_pod).await;
    shows(&installation, "mpol", "guard", &no_pod).await;

    installation.apply(REFUSED).await;
    let message = "protocol Submission is not supported by this version: use SMTP";
    shows(
        &installation,
        "mgw",
        "later",
        &["False", "False", "UnsupportedValue", message],
    )
    .await;
    let message =
        format!("MailGateway {namespace}/nowhere does not exist: create it, or name another");
    shows(
        &installation,
        "mroute",
        "astray",
        &["False", "False", "NoMatchingParent", &message],
    )
    .await;
    let message = format!("MailRoute {namespace}/nowhere does not exist: ");
    shows(
        &installation,
        "mpol",
        "astray",
        &["False", "False", "TargetNotFound", &message],
    )
    .await;

    // A part of it is refused: that is told beside what the pods do with the other part.
    let message = format!(
        "The gateway has no ready pod; acme.test belongs to the older MailRoute {namespace}/acme"
    );
    shows(
        &installation,
        "mroute",
        "loser",
        &["False", "False", "NoReadyPods", &message],
    )
    .await;
}
