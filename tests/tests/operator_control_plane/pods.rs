//! Two real gateway processes that stand for two pods: status is what they have acknowledged, and
//! changes reach them while a session is open.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use postern_cli::demo::dns::DnsServer;
use postern_tests::folder::Folder;
use postern_tests::program::Program;
use postern_tests::tls::{Signatures, client_config};
use postern_tests::tools;
use postern_tests::wait::eventually;
use rustix::process::Signal;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::installation::{Installation, SOON, control_plane};
use crate::objects::tls_secret;

/// Until a pod that has stopped is missed (ARCHITECTURE.md, Numbers).
const MISSED: Duration = Duration::from_secs(10);
/// An answer on a connection.
const ANSWER: Duration = Duration::from_secs(20);
/// The pods' addresses; every process has the admin port for itself there.
const ADDRESSES: [&str; 2] = ["127.0.0.2", "127.0.0.3"];
pub(crate) const ADMIN: u16 = postern_crds::ADMIN_PORT;
/// Where port 25 is served.
const PORT: u16 = postern_crds::pod_port(25);

const ZONE: &str = "acme.test. 60 IN MX 10 mx1.acme.test.\n";

const EDGE: &str = "
apiVersion: postern.dev/v1alpha1
kind: MailGateway
metadata: {name: edge, namespace: NS}
spec:
  className: CLASS
  hostname: mx1.acme.test
  resolver: {nameservers: [\"RESOLVER\"]}
  infrastructure: {drain: {minDuration: 1s, timeout: 2s}}
  listeners:
  - name: mx
    port: 25
    protocol: SMTP
    tls: {mode: Opportunistic, certificateRefs: [{name: mx1-tls}]}
---
apiVersion: postern.dev/v1alpha1
kind: MailRoute
metadata: {name: acme, namespace: NS}
spec:
  parentRefs: [{name: edge}]
  recipients: [acme.test]
  rules: [{name: default, backends: [{discard: {}}]}]
";

const DENY: &str = "
apiVersion: postern.dev/v1alpha1
kind: MailPolicy
metadata: {name: guard, namespace: NS}
spec:
  targetRefs: [{kind: MailGateway, name: edge}]
  defaults: {access: {senders: {deny: [DENIED]}, recipients: {deny: [blocked@acme.test]}}}
";

const SECOND_ROUTE: &str = "
apiVersion: postern.dev/v1alpha1
kind: MailRoute
metadata: {name: shop, namespace: NS}
spec:
  parentRefs: [{name: edge}]
  recipients: [shop.test]
  rules: [{name: default, backends: [{discard: {}}]}]
";

/// A process with the gateway's own ServiceAccount, and the Pod that stands for it.
async fn pod(installation: &Installation<'_>, folder: &Folder, index: usize) -> Program {
    let (name, address) = (format!("edge-{index}"), ADDRESSES[index]);
    let cluster = installation.cluster;
    let namespace = &installation.namespace;
    let snapshot = folder.path().join(&name);
    std::fs::create_dir(&snapshot).unwrap();
    let kubeconfig = cluster
        .kubeconfig_for_service_account(namespace, "postern-edge")
        .await;
    let mut command = Command::new(tools::postern());
    command
        .args([
            "gateway",
            "--follow",
            "--namespace",
            namespace,
            "--gateway",
            "edge",
        ])
        .args(["--bind", address, "--admin", &format!("{address}:{ADMIN}")])
        .arg("--snapshot-dir")
        .arg(&snapshot)
        .env("KUBECONFIG", kubeconfig);
    let program = Program::start(&name, &command, folder.path());
    eventually(SOON, async || {
        let answer = postern_tests::http::get(&format!("http://{address}:{ADMIN}/readyz")).await?;
        (answer.0 == 200).then_some(()).ok_or(format!("{answer:?}"))
    })
    .await;
    be_ready(installation, &name, address).await;
    program
}

pub(crate) async fn be_ready(installation: &Installation<'_>, name: &str, address: &str) {
    let pods: Api<Pod> = Api::namespaced(installation.client.clone(), &installation.namespace);
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"postern.dev/gateway": "edge"}},
        "spec": {"containers": [{"name": "gateway", "image": "postern"}]},
    }))
    .unwrap();
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let status = json!({"status": {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }});
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
}

/// Its condition Ready turns (again) at that time, in seconds.
pub(crate) async fn set_ready(
    installation: &Installation<'_>,
    name: &str,
    (ready, at): (bool, i64),
) {
    let pods: Api<Pod> = Api::namespaced(installation.client.clone(), &installation.namespace);
    let ready = if ready { "True" } else { "False" };
    let at = jiff::Timestamp::from_second(at).unwrap().to_string();
    let condition = json!({"type": "Ready", "status": ready, "lastTransitionTime": at});
    let status = json!({"status": {"conditions": [condition]}});
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
}

struct Session(BufReader<TcpStream>);

impl Session {
    async fn open(address: &str) -> Self {
        let stream = TcpStream::connect((address, PORT)).await.unwrap();
        let mut session = Self(BufReader::new(stream));
        assert!(session.reply().await.starts_with("220 "));
        session
    }

    /// The last line of a reply.
    async fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            let read = tokio::time::timeout(ANSWER, self.0.read_line(&mut line)).await;
            assert_ne!(
                read.expect("an answer in time").unwrap(),
                0,
                "the connection was dropped"
            );
            if line.as_bytes()[3] == b' ' {
                return line;
            }
        }
    }

    async fn say(&mut self, text: &str) -> String {
        let line = format!("{text}\r\n");
        self.0.get_mut().write_all(line.as_bytes()).await.unwrap();
        self.reply().await
    }

    /// EHLO, as the first word or once more.
    async fn helo(&mut self) {
        let reply = self.say("EHLO client.sender.test").await;
        assert!(reply.starts_with("250 "), "{reply}");
    }

    /// STARTTLS: the certificate that the pod shows. Its signature by that key is verified.
    async fn shown(mut self) -> CertificateDer<'static> {
        let reply = self.say("STARTTLS").await;
        assert!(reply.starts_with("220 "), "{reply}");
        let connector = TlsConnector::from(Arc::new(client_config(Signatures::Verified)));
        let name = ServerName::try_from("mx1.acme.test").unwrap();
        let handshake = connector.connect(name, self.0.into_inner());
        let stream = tokio::time::timeout(ANSWER, handshake).await;
        let stream = stream.expect("a handshake in time").unwrap();
        let (_, connection) = stream.get_ref();
        connection.peer_certificates().unwrap()[0].clone()
    }
}

/// What a client is shown that comes now.
async fn shown_to_the_next(address: &str) -> CertificateDer<'static> {
    let mut session = Session::open(address).await;
    session.helo().await;
    session.shown().await
}

/// Puts a new certificate into the gateway's Secret, and gives it.
async fn renew(installation: &Installation<'_>) -> CertificateDer<'static> {
    let secret = tls_secret(&installation.namespace, "mx1-tls", "mx1.acme.test");
    installation.cluster.apply(&secret).await;
    let secret: serde_json::Value = serde_json::from_str(&secret).unwrap();
    let pem = secret["stringData"]["tls.crt"].as_str().unwrap();
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn status_says_what_the_pods_have_acknowledged_and_changes_reach_open_sessions() {
    let cluster = control_plane().await;
    let installation = Installation::new(cluster, "pods").await;
    let folder = Folder::new("pods");
    let dns = DnsServer::start(ZONE).await.unwrap();
    let before = renew(&installation).await;
    installation
        .apply(&EDGE.replace("RESOLVER", &dns.address().to_string()))
        .await;
    let _operator = installation.operator("operator-1").await;
    installation
        .gateway_says(SOON, ["Programmed", "False", "NoReadyPods"])
        .await;

    let _first = pod(&installation, &folder, 0).await;
    let mut second = pod(&installation, &folder, 1).await;
    runs_on(&installation, "2/2", None).await;
    installation
        .route_says(SOON, ["Programmed", "True", "Programmed"])
        .await;

    // Sessions are open on both while policy, route and certificate change, one of them with a
    // transaction.
    let mut session = Session::open(ADDRESSES[0]).await;
    session.helo().await;
    let mut waiting = Session::open(ADDRESSES[1]).await;
    waiting.helo().await;
    assert!(
        session
            .say("MAIL FROM:<alice@sender.test>")
            .await
            .starts_with("250 ")
    );
    let mut hash = None;
    installation
        .apply(&DENY.replace("DENIED", "sender.test"))
        .await;
    hash = Some(runs_on(&installation, "2/2", hash).await);
    installation.apply(SECOND_ROUTE).await;
    hash = Some(runs_on(&installation, "2/2", hash).await);
    let renewed = renew(&installation).await;
    let hash = runs_on(&installation, "2/2", hash).await;
    for address in ADDRESSES {
        let shown = shown_to_the_next(address).await;
        assert!(shown == renewed, "{address} shows an old certificate");
    }

    // It ends on the configuration that it began with; the next MAIL meets the new one.
    assert!(
        session
            .say("RCPT TO:<blocked@acme.test>")
            .await
            .starts_with("250 ")
    );
    assert!(session.say("DATA").await.starts_with("354 "));
    let mail = "From: <alice@sender.test>\r\nSubject: open\r\n\r\nSent across a change.\r\n.";
    let reply = session.say(mail).await;
    assert!(reply.starts_with("250 "), "{reply}");
    let reply = session.say("MAIL FROM:<alice@sender.test>").await;
    assert!(reply.starts_with("550 "), "{reply}");
    let reply = waiting.say("MAIL FROM:<alice@sender.test>").await;
    assert!(reply.starts_with("550 "), "{reply}");
    // The TLS settings of a session are those that it was accepted with (docs/flow.md, helo).
    for session in [session, waiting] {
        assert!(session.shown().await == before);
    }

    // One that has stopped is missed at the next change, and found again.
    second.signal(Signal::STOP);
    installation
        .apply(&DENY.replace("DENIED", "other.test"))
        .await;
    let message = installation
        .gateway_says(MISSED, ["Programmed", "False", "PodsUnreachable"])
        .await;
    assert!(message.starts_with("1/2 pods run "), "{message}");
    assert!(message.contains("edge-1"), "{message}");
    second.signal(Signal::CONT);
    runs_on(&installation, "2/2", Some(hash)).await;
}

/// Waits until all pods run a snapshot other than `before`; gives its hash. Each of them says the
/// same as the status does.
async fn runs_on(installation: &Installation<'_>, count: &str, before: Option<String>) -> String {
    let hash = eventually(SOON, async || {
        let gateway = installation
            .gateways()
            .get("edge")
            .await
            .map_err(|e| e.to_string())?;
        let status = gateway.status.unwrap_or_default();
        let programmed = status
            .conditions
            .iter()
            .find(|c| c.type_ == "Programmed")
            .unwrap();
        let hash = status
            .snapshot
            .map(|snapshot| snapshot.hash)
            .unwrap_or_default();
        let is = programmed.status == "True"
            && programmed.message.starts_with(count)
            && before.as_ref() != Some(&hash);
        is.then_some(hash).ok_or(format!("{programmed:?}"))
    })
    .await;
    for address in ADDRESSES {
        let configz = format!("http://{address}:{ADMIN}/configz");
        let configz = postern_tests::http::get_json(&configz).await.unwrap();
        assert_eq!(configz["hash"], hash, "{configz}");
    }
    hash
}
