//! Without a cluster: `postern run`, `validate`, `translate`, `crds`, `demo` as a user calls them,
//! and `postern gateway` as a pod does whose API server is away.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod booting;
mod demo;

use postern_cli::demo::client::{Client, Reply};
use postern_cli::demo::sink::Sink;
use postern_tests::folder::Folder;
use postern_tests::standalone::Standalone;
use postern_tests::tools;
use postern_tests::wait::eventually;
use rustix::process::Signal;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, Output};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SOON: Duration = Duration::from_secs(10);

fn postern(arguments: &[&str]) -> Output {
    Command::new(tools::postern())
        .args(arguments)
        .current_dir(tools::repository())
        .output()
        .unwrap()
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// Writes one file and validates it: exit status and what was printed on the standard output.
fn validate(name: &str, objects: &str) -> (i32, String) {
    let folder = Folder::new(name);
    let file = folder.path().join("objects.yaml");
    std::fs::write(&file, objects).unwrap();
    let output = postern(&["validate", "-f", file.to_str().unwrap()]);
    (output.status.code().unwrap(), text(&output.stdout))
}

/// The first line that a client sees.
async fn greeting(gateway: SocketAddr) -> String {
    let stream = TcpStream::connect(gateway).await.unwrap();
    let (mut stream, mut line) = (BufReader::new(stream), String::new());
    let read = tokio::time::timeout(SOON, stream.read_line(&mut line)).await;
    read.expect("a greeting in time").unwrap();
    line
}

const GATEWAY: &str = "apiVersion: postern.dev/v1alpha1
kind: MailGateway
metadata: {name: edge, namespace: mail}
spec:
  hostname: mx1.acme.test
  listeners:
  - name: mx
    port: 2525
    protocol: SMTP
    allowedRoutes:
    - {namespaces: {from: Same}, domains: [acme.test]}
";

#[test]
fn the_version_is_printed() {
    let output = postern(&["--version"]);
    assert_eq!(
        text(&output.stdout),
        format!("postern {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn completions_are_printed_for_the_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let output = postern(&["completions", shell]);
        assert!(output.status.success());
        assert!(text(&output.stdout).contains("validate"), "{shell}");
    }
}

#[test]
fn crds_prints_what_the_crate_says() {
    let output = postern(&["crds"]);
    assert_eq!(
        text(&output.stdout).trim_end(),
        postern_crds::yaml().trim_end()
    );
}

#[test]
fn the_examples_are_valid() {
    let output = postern(&["validate", "-f", "examples/quickstart"]);
    assert!(output.status.success(), "{}", text(&output.stdout));
    assert_eq!(
        text(&output.stdout),
        "valid: 1 MailGateway, 1 MailRoute, 1 MailPolicy\n"
    );
}

#[test]
fn an_unknown_field_is_named_with_its_line() {
    let (status, printed) = validate(
        "unknown",
        &GATEWAY.replace("hostname:", "hostnam: x\n  hostname:"),
    );
    assert_eq!(status, 1);
    assert!(
        printed.contains("objects.yaml:5: spec.hostnam: "),
        "{printed}"
    );
}

#[test]
fn a_wrong_type_is_named_with_its_line() {
    let (status, printed) = validate("type", &GATEWAY.replace("port: 2525", "port: twentyfive"));
    assert_eq!(status, 1);
    assert!(
        printed.contains("objects.yaml:8: spec.listeners[0].port: "),
        "{printed}"
    );
}

#[test]
fn a_name_that_stands_twice_is_named() {
    let (status, printed) = validate("twice", &format!("{GATEWAY}---\n{GATEWAY}"));
    assert_eq!(status, 1);
    assert!(
        printed.contains("MailGateway mail/edge stands in the files twice"),
        "{printed}"
    );
    assert!(printed.contains("objects.yaml:13: "), "{printed}");
}

#[test]
fn two_listeners_on_one_port_are_named() {
    let listener = "  - {name: second, port: 2525, protocol: SMTP}\n";
    let (status, printed) = validate("port", &format!("{GATEWAY}{listener}"));
    assert_eq!(status, 1);
    assert!(printed.contains("spec.listeners"), "{printed}");
    assert!(printed.contains("port"), "{printed}");
}

#[test]
fn text_that_is_not_yaml_is_named_with_its_line() {
    let (status, printed) = validate("yaml", "kind: [1,\nmetadata: {");
    assert_eq!(status, 1);
    assert!(printed.contains("not YAML"), "{printed}");
}

#[test]
fn a_missing_secret_is_told_with_the_listener_that_wants_it() {
    let tls = "port: 2525\n    tls: {mode: Required, certificateRefs: [{name: nowhere}]}";
    let (status, printed) = validate("secret", &GATEWAY.replace("port: 2525", tls));
    assert_eq!(status, 1);
    assert!(printed.contains("spec.listeners[0]"), "{printed}");
    assert!(printed.contains("nowhere"), "{printed}");
}

#[test]
fn a_file_that_does_not_exist_is_named() {
    let output = postern(&["validate", "-f", "no-such-file.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("no-such-file.yaml"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn translate_shows_snapshot_status_and_manifests() {
    let show =
        |what| text(&postern(&["translate", "-f", "examples/quickstart", "-o", what]).stdout);
    assert!(
        show("snapshot").contains("mx1.acme.test"),
        "{}",
        show("snapshot")
    );
    assert!(
        !show("snapshot").contains("PRIVATE KEY"),
        "keys are not shown"
    );
    assert!(show("status").contains("accepted"), "{}", show("status"));
    for kind in [
        "Deployment",
        "Service",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Role",
    ] {
        assert!(
            show("manifests").contains(&format!("kind: {kind}\n")),
            "{kind}"
        );
    }
}

/// A gateway that takes mail for acme.test; `senders` is the list of denied senders.
fn objects(port: u16, senders: &str) -> String {
    GATEWAY.replace("2525", &port.to_string())
        + &format!(
            "---
apiVersion: postern.dev/v1alpha1
kind: MailRoute
metadata: {{name: acme, namespace: mail}}
spec:
  parentRefs: [{{name: edge}}]
  recipients: [acme.test]
  rules:
  - name: default
    verifyRecipients: None
    backends: [{{service: {{name: store, port: 25}}, protocol: SMTP, weight: 1}}]
---
apiVersion: postern.dev/v1alpha1
kind: MailPolicy
metadata: {{name: policy, namespace: mail}}
spec:
  targetRefs: [{{kind: MailGateway, name: edge}}]
  defaults:
    access: {{senders: {{deny: [{senders}]}}}}
    verify: {{trustedForwarders: {{networks: [127.0.0.0/8]}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: store, namespace: mail}}
spec: {{ports: [{{port: 25}}]}}
"
        )
}

/// A gateway on those objects and the sink behind it.
async fn start(name: &str) -> (Standalone, Sink) {
    let sink = Sink::start(&[], true).await.unwrap();
    let services = [("mail/store:25", sink.address())];
    let running = Standalone::start(name, |port| objects(port, "spam.test"), &services).await;
    (running, sink)
}

async fn connect(running: &Standalone) -> Client {
    Client::connect(running.address(), LOCAL, "client.test")
        .await
        .unwrap()
}

async fn mail_from(client: &mut Client, sender: &str) -> Reply {
    client.ask(&format!("MAIL FROM:<{sender}>")).await.unwrap()
}

#[tokio::test]
async fn run_takes_a_mail_and_follows_a_change_of_the_files() {
    let (running, sink) = start("follow").await;
    let mut client = connect(&running).await;
    assert_eq!(mail_from(&mut client, "a@spam.test").await.code, 550);
    let before = running.hash().await;
    let told = running.program.output();
    for line in [
        "MailGateway mail/edge Accepted=True ResolvedRefs=True",
        "MailRoute mail/acme Accepted=True ResolvedRefs=True",
        "MailPolicy mail/policy Accepted=True",
    ] {
        assert!(told.contains(line), "{line} is not in {told}");
    }

    assert_eq!(mail_from(&mut client, "a@fine.test").await.code, 250);
    running.write(&objects(running.address().port(), "fine.test"));
    eventually(SOON, async || match running.hash().await {
        hash if hash == before => Err("the old snapshot still runs".to_owned()),
        _ => Ok(()),
    })
    .await;

    // The transaction that was open across the change finishes on its old configuration.
    assert_eq!(
        client.ask("RCPT TO:<bob@acme.test>").await.unwrap().code,
        250
    );
    assert_eq!(client.ask("DATA").await.unwrap().code, 354);
    let reply = client
        .message("From: <a@fine.test>\r\n\r\nhello\r\n")
        .await
        .unwrap();
    assert_eq!(reply.code, 250, "{reply:?}");
    assert_eq!(sink.take().len(), 1);
    // The next MAIL of the same session sees the new one.
    let refused = mail_from(&mut client, "a@fine.test").await;
    assert_eq!(refused.code, 550);
    assert!(
        refused.text.contains("mail/policy"),
        "the policy is named: {refused:?}"
    );
    assert_eq!(mail_from(&mut client, "a@spam.test").await.code, 250);
}

#[tokio::test]
async fn a_file_that_turned_bad_leaves_the_last_good_configuration() {
    let (running, _sink) = start("bad").await;
    let before = running.hash().await;
    running.write("kind: [");
    eventually(SOON, async || {
        let log = running.program.output();
        if log.contains("the last good configuration runs on") && log.contains("not YAML") {
            return Ok(());
        }
        Err(log)
    })
    .await;
    assert_eq!(running.hash().await, before);
    assert_eq!(
        mail_from(&mut connect(&running).await, "a@fine.test")
            .await
            .code,
        250
    );
}

#[tokio::test]
async fn run_refuses_to_start_on_a_bad_file() {
    let folder = Folder::new("refuse");
    let file = folder.path().join("objects.yaml");
    std::fs::write(&file, GATEWAY.replace("protocol: SMTP", "protocol: Smtp")).unwrap();
    let output = postern(&["run", "--bind", "127.0.0.1", "-f", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let printed = text(&output.stderr);
    assert!(
        printed.contains("objects.yaml:9: spec.listeners[0].protocol"),
        "{printed}"
    );
}

#[tokio::test]
async fn the_access_log_is_a_json_line_for_each_transaction() {
    let (running, _sink) = start("log").await;
    let mut client = connect(&running).await;
    mail_from(&mut client, "a@fine.test").await;
    client.ask("RSET").await.unwrap();
    let line = running.log_line(&["\"disposition\":\"abandoned\""]).await;
    assert_eq!(line["from"], "fine.test");
    assert_eq!(line["listener"], "mx");
    assert_eq!(line["trace_id"].as_str().unwrap().len(), 32);
}

#[tokio::test]
async fn an_interrupt_ends_it_after_open_transactions() {
    let (mut running, sink) = start("interrupt").await;
    let mut client = connect(&running).await;
    mail_from(&mut client, "a@fine.test").await;
    client.ask("RCPT TO:<bob@acme.test>").await.unwrap();
    client.ask("DATA").await.unwrap();
    running.program.signal(Signal::INT);
    eventually(SOON, async || {
        match Client::connect(running.address(), LOCAL, "late.test").await {
            Ok(_) => Err("it still accepts".to_owned()),
            Err(_) => Ok(()),
        }
    })
    .await;
    let reply = client
        .message("From: <a@fine.test>\r\n\r\nlast\r\n")
        .await
        .unwrap();
    assert_eq!(reply.code, 250, "{reply:?}");
    assert_eq!(sink.take().len(), 1);
    assert_eq!(client.reply().await.unwrap().code, 421);
    running.program.ended(SOON).await;
}
