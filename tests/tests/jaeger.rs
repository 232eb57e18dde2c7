//! The harness itself: Jaeger takes spans and gives them back as a tree.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::time::{SystemTime, UNIX_EPOCH};

use postern_tests::http;
use postern_tests::jaeger::Jaeger;
use serde_json::{Value, json};

const TRACE: &str = "5b8efff798038103d269b633813fc60c";
const LINKED: &str = "5b8efff798038103d269b633813fc60d";
const SESSION: &str = "eee19b7ec3c1b174";
const TRANSACTION: &str = "eee19b7ec3c1b175";

/// OTLP's JSON: a session, begun a second ago, with one failed transaction in it.
fn spans() -> Value {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    let ago = |milliseconds: u128| (now - milliseconds * 1_000_000).to_string();
    let text = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
    json!({ "resourceSpans": [{
        "resource": { "attributes": [text("service.name", "postern"), text("k8s.pod.name", "edge-1")] },
        "scopeSpans": [{ "spans": [
            {
                "traceId": TRACE, "spanId": SESSION, "name": "smtp.session", "kind": 2,
                "startTimeUnixNano": ago(1000), "endTimeUnixNano": ago(0),
                "attributes": [text("client.address", "192.0.2.1")],
            },
            {
                "traceId": TRACE, "spanId": TRANSACTION, "parentSpanId": SESSION,
                "name": "smtp.transaction", "kind": 1, "status": { "code": 2 },
                "startTimeUnixNano": ago(900), "endTimeUnixNano": ago(100),
                "links": [{ "traceId": LINKED, "spanId": "eee19b7ec3c1b199" }],
            },
        ] }],
    }] })
}

#[tokio::test]
async fn spans_come_back_as_a_tree_with_their_attributes() {
    let jaeger = Jaeger::start().await;
    let missing = jaeger.trace(TRACE).await;
    assert!(missing.unwrap_err().contains("trace not found"));

    let sent = http::post_json(&format!("{}/v1/traces", jaeger.otlp_http()), &spans()).await;
    assert_eq!(sent.unwrap().0, 200);
    let trace = jaeger
        .trace_with(TRACE, &["smtp.session", "smtp.transaction"])
        .await;

    let session = trace.span("smtp.session");
    assert_eq!(session.attribute("client.address"), "192.0.2.1");
    assert_eq!(session.attribute("span.kind"), "server");
    assert_eq!(session.resource["service.name"], "postern");
    assert_eq!(session.resource["k8s.pod.name"], "edge-1");
    assert_eq!(trace.roots().len(), 1);

    let transaction = trace.children(session)[0];
    assert_eq!(transaction.parent.as_deref(), Some(SESSION));
    assert_eq!(
        transaction.links,
        [(LINKED.to_owned(), "eee19b7ec3c1b199".to_owned())]
    );
    assert_eq!(transaction.attribute("otel.status_code"), "ERROR");
    assert_eq!(transaction.duration, 800_000);
    assert_eq!(
        trace.to_string(),
        "smtp.session (1000000 us)\n  smtp.transaction (800000 us)\n"
    );
    assert_eq!(jaeger.traces_of("postern", 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn one_that_was_killed_can_come_back_on_its_ports() {
    let mut first = Jaeger::start().await;
    let (grpc, otlp_http) = (first.otlp_grpc(), first.otlp_http());
    first.program().kill();
    assert!(http::get(&first.query()).await.is_err());
    let port = |url: &str| url.rsplit(':').next().unwrap().parse().unwrap();
    let second = Jaeger::start_on(port(&grpc), port(&otlp_http)).await;
    let sent = http::post_json(&format!("{otlp_http}/v1/traces"), &spans()).await;
    assert_eq!(sent.unwrap().0, 200);
    second.trace_with(TRACE, &["smtp.transaction"]).await;
}
