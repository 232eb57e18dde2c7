//! Traces in a real Jaeger: a mail's tree, its verdicts, and a collector that dies.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use postern_cli::demo::client::Client;
use postern_cli::demo::dns::DnsServer;
use postern_cli::demo::signing::Signer;
use postern_cli::demo::sink::Sink;
use postern_tests::jaeger::{Jaeger, Span};
use postern_tests::standalone::Standalone;
use postern_tests::wait::eventually;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const MAIL: &str = "From: Alice <alice@sender.test>\r\nTo: <bob@acme.test>\r\nSubject: Trace\r\n\
    Date: Sun, 22 Nov 2026 12:00:00 +0000\r\nMessage-ID: <trace@sender.test>\r\n\r\nhello\r\n";

/// A gateway that traces everything to a collector.
struct Stage {
    running: Standalone,
    sink: Sink,
    signer: Signer,
    _dns: DnsServer,
}

fn objects(port: u16, dns: SocketAddr, traces: &str, trusted: &str) -> String {
    format!(
        "apiVersion: postern.dev/v1alpha1
kind: MailGateway
metadata: {{name: edge, namespace: mail}}
spec:
  hostname: mx1.acme.test
  listeners:
  - name: mx
    port: {port}
    protocol: SMTP
    allowedRoutes:
    - {{namespaces: {{from: Same}}, domains: [acme.test]}}
  resolver: {{nameservers: [\"{dns}\"]}}
  telemetry:
    traces: {traces}
---
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
    verify: {{trustedForwarders: {{networks: [{trusted}]}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: store, namespace: mail}}
spec: {{ports: [{{port: 25}}]}}
"
    )
}

impl Stage {
    async fn start(name: &str, traces: String, trusted: &str) -> Self {
        let signer = Signer::generate("sender.test").unwrap();
        let zone = format!(
            "sender.test. IN TXT \"v=spf1 ip4:127.0.0.1 -all\"\n\
             _dmarc.sender.test. IN TXT \"v=DMARC1; p=reject\"\n\
             _dmarc.bank.test. IN TXT \"v=DMARC1; p=reject\"\n{}",
            signer.zone_line()
        );
        let dns = DnsServer::start(&zone).await.unwrap();
        let sink = Sink::start(&[], true).await.unwrap();
        let services = [("mail/store:25", sink.address())];
        let address = dns.address();
        let write = |port| objects(port, address, &traces, trusted);
        let running = Standalone::start(name, write, &services).await;
        Self {
            running,
            sink,
            signer,
            _dns: dns,
        }
    }

    async fn client(&self) -> Client {
        Client::connect(self.running.address(), LOCAL, "mail.sender.test")
            .await
            .unwrap()
    }
}

fn grpc(jaeger: &Jaeger, ratio: &str) -> String {
    format!(
        "{{endpoint: \"{}\", protocol: grpc, sampleRatio: {ratio}}}",
        jaeger.otlp_grpc()
    )
}

/// Sends a mail; the code of the decisive reply comes back.
async fn send(client: &mut Client, from: &str, mail: &str) -> u16 {
    for command in [&format!("MAIL FROM:<{from}>"), "RCPT TO:<bob@acme.test>"] {
        let reply = client.ask(command).await.unwrap();
        assert_eq!(reply.code, 250, "{command}: {reply:?}");
    }
    assert_eq!(client.ask("DATA").await.unwrap().code, 354);
    client.message(mail).await.unwrap().code
}

fn names(spans: &[&Span]) -> Vec<String> {
    spans.iter().map(|span| span.name.clone()).collect()
}

#[tokio::test]
async fn a_mail_is_one_trace_with_a_span_for_each_check_and_the_delivery() {
    let jaeger = Jaeger::start().await;
    let stage = Stage::start("trace", grpc(&jaeger, "1.0"), "").await;
    let signed = stage.signer.sign(MAIL).unwrap();
    let mut client = stage.client().await;
    assert_eq!(send(&mut client, "alice@sender.test", &signed).await, 250);
    client.ask("QUIT").await.unwrap();

    let line = stage
        .running
        .log_line(&["\"disposition\":\"accepted\""])
        .await;
    let id = line["trace_id"].as_str().unwrap();
    let wanted = [
        "smtp.session",
        "smtp.transaction",
        "check.spf",
        "check.dkim",
        "check.dmarc",
        "smtp.delivery",
    ];
    let trace = jaeger.trace_with(id, &wanted).await;
    println!("{trace}");

    let roots = trace.roots();
    assert_eq!(names(&roots), ["smtp.session"], "{trace}");
    let session = trace.span("smtp.session");
    assert_eq!(
        names(&trace.children(session)),
        ["smtp.transaction"],
        "{trace}"
    );
    let transaction = trace.span("smtp.transaction");
    let below = names(&trace.children(transaction));
    for name in &wanted[2..] {
        assert!(
            below.iter().any(|span| span == name),
            "{name} is below smtp.transaction: {trace}"
        );
    }
    for (name, value) in [
        ("postern.disposition", "accepted"),
        ("postern.verdict.spf", "pass"),
        ("postern.verdict.dkim", "pass"),
        ("postern.verdict.dmarc", "pass"),
        ("postern.route", "mail/acme/default"),
        ("smtp.reverse_path", "sender.test"),
        ("client.address", "127.0.0.1"),
    ] {
        assert_eq!(transaction.attribute(name), value, "{name}: {trace}");
    }
    assert_eq!(transaction.attribute("smtp.reply.code"), "250");
    let resource = &transaction.resource;
    assert_eq!(resource["service.name"], "postern");
    assert_eq!(resource["k8s.namespace.name"], "mail");
    assert_eq!(resource["postern.gateway"], "edge");
    assert!(
        !format!("{trace}").contains("alice"),
        "no local part is exported: {trace}"
    );
}

#[tokio::test]
async fn a_rejected_mail_is_exported_at_ratio_zero_over_http() {
    let jaeger = Jaeger::start().await;
    let traces = format!(
        "{{endpoint: \"{}\", protocol: http, sampleRatio: 0, alwaysSample: [Rejected]}}",
        jaeger.otlp_http()
    );
    let stage = Stage::start("reject", traces, "").await;
    let mut client = stage.client().await;
    let forged = MAIL.replace("alice@sender.test", "ceo@bank.test");
    assert_eq!(send(&mut client, "x@sender.test", &forged).await, 550);
    client.ask("QUIT").await.unwrap();

    let line = stage
        .running
        .log_line(&["\"disposition\":\"rejected\""])
        .await;
    let trace = jaeger
        .trace_with(
            line["trace_id"].as_str().unwrap(),
            &["smtp.session", "smtp.transaction"],
        )
        .await;
    let transaction = trace.span("smtp.transaction");
    assert_eq!(
        transaction.attribute("postern.verdict.dmarc"),
        "fail",
        "{trace}"
    );
    assert_eq!(
        transaction.attribute("smtp.reply.enhanced_code"),
        "5.7.26",
        "{trace}"
    );
}

#[tokio::test]
async fn a_trusted_traceparent_is_continued_and_an_untrusted_one_removed() {
    let jaeger = Jaeger::start().await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mail = format!("Traceparent: {parent}\r\n{MAIL}");

    let trusted = Stage::start("trusted", grpc(&jaeger, "0"), "127.0.0.0/8").await;
    assert_eq!(
        send(&mut trusted.client().await, "alice@sender.test", &mail).await,
        250
    );
    let trace = jaeger
        .trace_with("4bf92f3577b34da6a3ce929d0e0e4736", &["smtp.transaction"])
        .await;
    assert_eq!(
        trace
            .span("smtp.transaction")
            .attribute("postern.disposition"),
        "accepted"
    );
    let arrived = trusted.sink.take();
    let arrived = String::from_utf8_lossy(&arrived[0].message);
    assert!(
        arrived.contains("Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-"),
        "{arrived}"
    );
    assert!(
        !arrived.contains(parent),
        "the backend's parent is our span: {arrived}"
    );

    let untrusted = Stage::start("untrusted", grpc(&jaeger, "0"), "").await;
    let signed = untrusted.signer.sign(&mail).unwrap();
    assert_eq!(
        send(&mut untrusted.client().await, "alice@sender.test", &signed).await,
        250
    );
    let line = untrusted
        .running
        .log_line(&["\"disposition\":\"accepted\""])
        .await;
    assert_ne!(line["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    let arrived = untrusted.sink.take();
    let arrived = String::from_utf8_lossy(&arrived[0].message);
    assert!(
        !arrived.contains("4bf92f3577b34da6a3ce929d0e0e4736"),
        "{arrived}"
    );
}

/// Resident memory of a process, kB.
fn resident(pid: u32) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn a_collector_that_dies_costs_no_mail_and_no_memory() {
    const MAILS: usize = 1000;
    let mut jaeger = Jaeger::start().await;
    let stage = Stage::start("killed", grpc(&jaeger, "1.0"), "").await;
    let signed = stage.signer.sign(MAIL).unwrap();
    let mut client = stage.client().await;
    let pid = stage.running.program.pid();
    let mut at_kill = 0;
    for number in 0..MAILS {
        if number % 100 == 99 {
            client.ask("QUIT").await.unwrap();
            client = stage.client().await;
        }
        if number == MAILS / 2 {
            jaeger.program().kill();
            at_kill = resident(pid);
        }
        assert_eq!(
            send(&mut client, "alice@sender.test", &signed).await,
            250,
            "mail {number}"
        );
    }
    assert_eq!(stage.sink.count(), MAILS as u64);
    // A batch that was under way fails only after its own time limit of 10 s.
    eventually(Duration::from_secs(20), async || {
        let metrics = stage.running.metrics().await;
        let lost = metrics
            .lines()
            .find_map(|line| line.strip_prefix("postern_telemetry_spans_dropped_total "))
            .unwrap_or_else(|| panic!("no count of lost spans in {metrics}"));
        match lost.parse::<u64>() {
            Ok(lost) if lost > 0 => Ok(()),
            _ => Err(format!("{lost} spans are counted as lost")),
        }
    })
    .await;
    // The queue for spans is bounded at 2,048 transactions: 500 of them weigh well below this.
    let growth = resident(pid) - at_kill;
    assert!(
        growth < 24 * 1024,
        "{growth} kB more after the collector was killed"
    );
}
