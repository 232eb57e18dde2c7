//! Metrics pushed by OTLP: to a collector that decodes them, and that may be dead.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint, metric::Data};
use postern_cli::demo::client::Client;
use postern_cli::demo::dns::DnsServer;
use postern_tests::collector::{Collector, Protocol};
use postern_tests::folder::Folder;
use postern_tests::ports::free_port;
use postern_tests::standalone::Standalone;
use postern_tests::wait::eventually;
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const MAIL: &str = "From: Alice <alice@sender.test>\r\nSubject: Metrics\r\n\r\nhello\r\n";

/// A gateway with that telemetry; it throws every mail away.
fn objects(port: u16, dns: SocketAddr, telemetry: &str) -> String {
    format!(
        "apiVersion: postern.dev/v1alpha1
kind: MailGateway
metadata: {{name: edge, namespace: mail}}
spec:
  hostname: mx1.acme.test
  listeners:
  - {{name: mx, port: {port}, protocol: SMTP, allowedRoutes: [{{domains: [acme.test]}}]}}
  resolver: {{nameservers: [\"{dns}\"]}}
  telemetry: {telemetry}
---
apiVersion: postern.dev/v1alpha1
kind: MailRoute
metadata: {{name: acme, namespace: mail}}
spec:
  parentRefs: [{{name: edge}}]
  recipients: [acme.test]
  rules:
  - {{name: default, verifyRecipients: None, backends: [{{discard: {{}}}}]}}
"
    )
}

struct Stage {
    running: Standalone,
    _dns: DnsServer,
}

impl Stage {
    async fn start(name: &str, telemetry: &str, environment: &[(&str, &Path)]) -> Self {
        let zone = "sender.test. IN TXT \"v=spf1 ip4:127.0.0.1 -all\"\n";
        let dns = DnsServer::start(zone).await.unwrap();
        let address = dns.address();
        let write = |port| objects(port, address, telemetry);
        let running = Standalone::start_with(name, write, &[], environment).await;
        Self { running, _dns: dns }
    }

    /// One mail that is taken and one recipient that is not.
    async fn mail(&self) {
        let mut client = Client::connect(self.running.address(), LOCAL, "mail.sender.test")
            .await
            .unwrap();
        for (command, code) in [
            ("MAIL FROM:<alice@sender.test>", 250),
            ("RCPT TO:<bob@elsewhere.test>", 550),
            ("RCPT TO:<bob@acme.test>", 250),
            ("DATA", 354),
        ] {
            let reply = client.ask(command).await.unwrap();
            assert_eq!(reply.code, code, "{command}: {reply:?}");
        }
        assert_eq!(client.message(MAIL).await.unwrap().code, 250);
        client.ask("QUIT").await.unwrap();
    }

    async fn metric(&self, name: &str) -> f64 {
        let text = self.running.metrics().await;
        let line = text.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in\n{text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

/// The families of an OpenMetrics text that docs/telemetry.md does not name.
fn unnamed(text: &str) -> Vec<&str> {
    let document = include_str!("../../docs/telemetry.md");
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names = families.filter_map(|line| line.split(' ').next());
    let is_named = |name: &&str| {
        ["`", "_total`"]
            .into_iter()
            .any(|end| document.contains(&format!("`{name}{end}")))
    };
    names.filter(|name| !is_named(name)).collect()
}

#[tokio::test]
async fn the_document_names_every_metric() {
    let stage = Stage::start("named", "{}", &[]).await;
    stage.mail().await;
    let text = stage.running.metrics().await;
    assert!(text.contains("# TYPE postern_dns_queries "), "{text}");
    assert_eq!(unnamed(&text), [""; 0]);
    assert_eq!(
        unnamed("# TYPE postern_unheard_of counter"),
        ["postern_unheard_of"]
    );
}

/// `name{label="value",...}` with the labels in order, and what is measured.
type Series = BTreeMap<String, f64>;

fn series(name: &str, labels: &[(String, String)]) -> String {
    let labels: BTreeSet<String> = labels
        .iter()
        .map(|(label, value)| match value.parse::<f64>() {
            // 1 and 1.0 are one bound.
            Ok(bound) if label == "le" => format!("le={bound}"),
            _ => format!("{label}={value}"),
        })
        .collect();
    format!("{name}{labels:?}")
}

/// What pushes change while they are compared is left out.
fn is_compared(name: &str) -> bool {
    !name.starts_with("postern_telemetry_")
}

/// The series of `/metrics`.
fn shown(text: &str) -> Series {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let lines = lines.map(|line| {
        let (what, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = what.split_once('{').unwrap_or((what, "}"));
        let labels: Vec<_> = labels
            .trim_end_matches('}')
            .split(',')
            .filter_map(|label| label.split_once('='))
            .map(|(label, value)| (label.to_owned(), value.trim_matches('"').to_owned()))
            .collect();
        (series(name, &labels), value.parse().unwrap())
    });
    lines.filter(|(name, _)| is_compared(name)).collect()
}

fn attributes(attributes: &[KeyValue]) -> Vec<(String, String)> {
    let text = |attribute: &KeyValue| match attribute.value.clone().unwrap().value.unwrap() {
        any_value::Value::StringValue(text) => text,
        other => panic!("{other:?}"),
    };
    attributes
        .iter()
        .map(|a| (a.key.clone(), text(a)))
        .collect()
}

/// The series that Prometheus would make of pushed metrics.
fn pushed(metrics: &[Metric]) -> Series {
    let mut all = Series::new();
    #[expect(clippy::cast_precision_loss, reason = "numbers of a short test")]
    for metric in metrics.iter().filter(|metric| is_compared(&metric.name)) {
        let name = &metric.name;
        let number = |all: &mut Series, point: &NumberDataPoint| {
            let value = match point.value.unwrap() {
                Value::AsInt(value) => value as f64,
                Value::AsDouble(value) => value,
            };
            all.insert(series(name, &attributes(&point.attributes)), value);
        };
        match metric.data.as_ref().unwrap() {
            Data::Sum(sum) => {
                assert!(sum.is_monotonic && name.ends_with("_total"), "{name}");
                sum.data_points
                    .iter()
                    .for_each(|point| number(&mut all, point));
            }
            Data::Gauge(gauge) => gauge
                .data_points
                .iter()
                .for_each(|point| number(&mut all, point)),
            Data::Histogram(histogram) => {
                for point in &histogram.data_points {
                    let labels = attributes(&point.attributes);
                    all.insert(series(&format!("{name}_sum"), &labels), point.sum.unwrap());
                    all.insert(
                        series(&format!("{name}_count"), &labels),
                        point.count as f64,
                    );
                    let bounds = point.explicit_bounds.iter().map(ToString::to_string);
                    let bounds = bounds.chain(["+Inf".to_owned()]);
                    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
                    let mut below = 0;
                    for (bound, count) in bounds.zip(&point.bucket_counts) {
                        below += count;
                        let mut labels = labels.clone();
                        labels.push(("le".to_owned(), bound));
                        all.insert(series(&format!("{name}_bucket"), &labels), below as f64);
                    }
                }
            }
            other => panic!("{other:?}"),
        }
    }
    all
}

async fn pushes_what_the_admin_port_shows(protocol: Protocol) {
    let collector = Collector::start(protocol, false).await;
    let telemetry = format!("{{metrics: {}, interval: 1s}}}}", collector.spec());
    let key = (
        "OTEL_EXPORTER_OTLP_HEADERS",
        Path::new("api-key=s3cret%20key"),
    );
    let stage = Stage::start("metrics", &telemetry, &[key]).await;
    stage.mail().await;
    let taken = series(
        "postern_transactions_total",
        &[
            ("listener".to_owned(), "mx".to_owned()),
            ("disposition".to_owned(), "accepted".to_owned()),
        ],
    );
    let request = eventually(Duration::from_secs(20), async || {
        let request = collector.metrics().await;
        let [resource] = request.resource_metrics.as_slice() else {
            return Err(format!("{} resources", request.resource_metrics.len()));
        };
        let [scope] = resource.scope_metrics.as_slice() else {
            return Err(format!("{} scopes", resource.scope_metrics.len()));
        };
        let (pushed, shown) = (
            pushed(&scope.metrics),
            shown(&stage.running.metrics().await),
        );
        if pushed == shown && pushed.get(&taken) == Some(&1.0) {
            return Ok(request);
        }
        let differ = |(name, value): &(&String, &f64)| shown.get(*name) != Some(*value);
        let pushed: Vec<_> = pushed.iter().filter(differ).collect();
        Err(format!("pushed otherwise: {pushed:?}\nshown: {shown:?}"))
    })
    .await;

    assert_eq!(collector.header("api-key").as_deref(), Some("s3cret key"));
    let resource = &request.resource_metrics[0];
    let of: BTreeMap<_, _> = attributes(&resource.resource.as_ref().unwrap().attributes)
        .into_iter()
        .collect();
    for (name, value) in [
        ("service.name", "postern"),
        ("service.namespace", "mail"),
        ("k8s.namespace.name", "mail"),
        ("postern.gateway", "edge"),
        ("host.name", "mx1.acme.test"),
    ] {
        assert_eq!(of.get(name).map(String::as_str), Some(value), "{of:?}");
    }
    let scope = &resource.scope_metrics[0];
    assert_eq!(scope.scope.as_ref().unwrap().name, "postern");
    let metric = |name: &str| scope.metrics.iter().find(|m| m.name == name).unwrap();
    assert_eq!(metric("postern_transaction_duration_seconds").unit, "s");
    assert_eq!(metric("postern_message_size_bytes").unit, "By");
    assert_eq!(
        metric("postern_checks_total").description,
        "Checks by result and action."
    );
    // A push is counted when its answer has come.
    eventually(Duration::from_secs(20), async || {
        match stage.metric("postern_telemetry_pushes_total").await {
            pushes if pushes >= 1.0 => Ok(()),
            pushes => Err(format!("{pushes} pushes")),
        }
    })
    .await;
}

#[tokio::test]
async fn metrics_by_grpc_are_those_of_the_admin_port() {
    pushes_what_the_admin_port_shows(Protocol::Grpc).await;
}

#[tokio::test]
async fn metrics_by_http_are_those_of_the_admin_port() {
    pushes_what_the_admin_port_shows(Protocol::Http).await;
}

/// Traces and metrics to a collector under TLS, which is believed when `trusted` is its authority.
async fn over_tls(protocol: Protocol, trusted: bool) -> (Stage, Collector) {
    let collector = Collector::start(protocol, true).await;
    let folder = Folder::new("authority");
    let file = folder.path().join("ca.pem");
    let other = Collector::start(protocol, true).await;
    let authority = if trusted { &collector } else { &other }.authority();
    std::fs::write(&file, authority).unwrap();
    let telemetry = format!(
        "{{traces: {0}, sampleRatio: 1.0}}, metrics: {0}, interval: 1s}}}}",
        collector.spec()
    );
    let stage = Stage::start("tls", &telemetry, &[("SSL_CERT_FILE", &file)]).await;
    stage.mail().await;
    (stage, collector)
}

#[tokio::test]
async fn a_collector_under_tls_is_verified_by_the_systems_authorities() {
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let (stage, collector) = over_tls(protocol, true).await;
        collector.metrics().await;
        eventually(Duration::from_secs(20), async || {
            let spans = collector.spans();
            match spans.iter().any(|span| span == "smtp.transaction") {
                true => Ok(()),
                false => Err(format!(
                    "{spans:?}\n{}",
                    stage.running.program.last_output(5)
                )),
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_collector_that_another_authority_signed_gets_nothing() {
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let (stage, collector) = over_tls(protocol, false).await;
        eventually(Duration::from_secs(20), async || {
            let failed = stage.metric("postern_telemetry_pushes_failed_total").await;
            let dropped = stage.metric("postern_telemetry_spans_dropped_total").await;
            match failed >= 1.0 && dropped >= 1.0 {
                true => Ok(()),
                false => Err(format!("{failed} pushes failed, {dropped} spans lost")),
            }
        })
        .await;
        assert!(collector.spans().is_empty());
    }
}

#[tokio::test]
async fn a_collector_that_is_down_or_hangs_costs_no_mail_and_no_time_at_the_end() {
    // One port is closed; behind the other nobody ever answers.
    let hangs = std::net::TcpListener::bind((LOCAL, 0)).unwrap();
    for port in [free_port(), hangs.local_addr().unwrap().port()] {
        for protocol in ["grpc", "http"] {
            let telemetry = format!(
                "{{metrics: {{endpoint: \"http://127.0.0.1:{port}\", protocol: {protocol}, interval: 1s}}}}"
            );
            let mut stage = Stage::start("dead", &telemetry, &[]).await;
            let begin = Instant::now();
            for _ in 0..20 {
                stage.mail().await;
            }
            assert!(
                begin.elapsed() < Duration::from_secs(10),
                "mail waits for nobody"
            );
            stage.running.program.signal(Signal::INT);
            let begin = Instant::now();
            stage.running.program.ended(Duration::from_secs(15)).await;
            // The last push has 5 s.
            assert!(
                begin.elapsed() < Duration::from_secs(9),
                "{:?}",
                begin.elapsed()
            );
        }
    }
}
