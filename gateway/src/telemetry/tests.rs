//! What is exported, under which identifiers, and what it may say of people.

use super::record::*;
use super::{access_log::AccessLog, redact, sampling, spans};
use opentelemetry::trace::{SpanId, SpanKind, TraceId};
use postern_config::telemetry::{AlwaysSample, OtlpProtocol, Recipients, Traces};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

fn at(milliseconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_790_000_000_000 + milliseconds)
}

fn record(disposition: Disposition) -> TransactionRecord {
    let session = SpanIds {
        trace_id: u128::MAX,
        span_id: 7,
    };
    let spf = SpanRecord::started("check.spf", Kind::Internal, at(1))
        .with("spf.result", "pass")
        .ended(at(3));
    let mut span = SpanRecord::started("smtp.transaction", Kind::Internal, at(0)).ended(at(10));
    span.children.push(spf);
    TransactionRecord {
        session: SessionFacts {
            ids: session,
            listener: "mx".into(),
            client: "[::ffff:192.0.2.1]:4321".parse().unwrap(),
            helo: Some("client.test".into()),
            tls: Some(("TLSv1.3".into(), "TLS13_AES_128_GCM_SHA256".into())),
        },
        ids: SpanIds {
            trace_id: u128::MAX,
            span_id: 8,
        },
        remote_parent: None,
        span,
        disposition,
        reply: Some((250, "2.0.0".into(), "taken".into())),
        reverse_path: "alice@sender.test".into(),
        recipients: vec!["bob@acme.test".into(), "carol@acme.test".into()],
        refused: vec![],
        size: 1234,
        message_id: None,
        checks: vec![CheckRecord {
            check: "spf",
            result: "pass".into(),
            detail: String::new(),
            action: "Accept",
            policy: None,
            shadow: Some("Reject"),
        }],
        route: Some("team/route/default".into()),
        backend: Some("discard".into()),
        snapshot: "0123456789abcdef".into(),
    }
}

fn traces(sample_ratio: f64) -> Traces {
    Traces {
        endpoint: "http://127.0.0.1:4317".into(),
        protocol: OtlpProtocol::Grpc,
        sample_ratio,
        always_sample: vec![
            AlwaysSample::Rejected,
            AlwaysSample::Deferred,
            AlwaysSample::Slow,
        ],
    }
}

#[test]
fn a_transaction_is_its_sessions_child_and_keeps_the_recorded_times() {
    let spans = spans::of_transaction(&record(Disposition::Accepted), Recipients::Domain);
    let names: Vec<_> = spans.iter().map(|span| span.name.as_ref()).collect();
    assert_eq!(names, ["smtp.transaction", "check.spf"]);
    let [transaction, spf] = spans.as_slice() else {
        panic!("two spans")
    };
    assert_eq!(
        transaction.parent_span_id,
        SpanId::from_bytes(7_u64.to_be_bytes())
    );
    assert_eq!(
        transaction.span_context.span_id(),
        SpanId::from_bytes(8_u64.to_be_bytes())
    );
    assert_eq!(spf.parent_span_id, transaction.span_context.span_id());
    assert_eq!(spf.span_context.trace_id(), TraceId::from_bytes([0xff; 16]));
    assert_eq!((spf.start_time, spf.end_time), (at(1), at(3)));
    assert_eq!(spf.span_kind, SpanKind::Internal);
    assert!(transaction.links.is_empty());
}

#[test]
fn with_a_trusted_traceparent_it_is_that_ones_child_and_links_to_the_session() {
    let mut record = record(Disposition::Accepted);
    let remote = SpanIds {
        trace_id: 0xabc,
        span_id: 0xdef,
    };
    record.ids = remote.child();
    record.remote_parent = Some(RemoteParent {
        ids: remote,
        sampled: true,
    });
    let spans = spans::of_transaction(&record, Recipients::Domain);
    let root = spans.first().unwrap();
    assert_eq!(
        root.span_context.trace_id(),
        TraceId::from_bytes(0xabc_u128.to_be_bytes())
    );
    assert_eq!(
        root.parent_span_id,
        SpanId::from_bytes(0xdef_u64.to_be_bytes())
    );
    assert!(root.parent_span_is_remote);
    let link = root.links.first().unwrap();
    assert_eq!(
        link.span_context.span_id(),
        SpanId::from_bytes(7_u64.to_be_bytes())
    );
}

#[test]
fn a_trusted_parents_sampled_flag_counts() {
    let mut record = record(Disposition::Accepted);
    let ids = SpanIds {
        trace_id: u128::MAX,
        span_id: 1,
    };
    assert!(!sampling::exports(&record, &traces(0.1)));
    record.remote_parent = Some(RemoteParent { ids, sampled: true });
    assert!(sampling::exports(&record, &traces(0.1)));
}

#[test]
fn the_share_is_the_share_of_the_traces() {
    let sampled = (0..10_000)
        .filter(|_| sampling::in_ratio(SpanIds::new_trace().trace_id, 0.1))
        .count();
    assert!(
        (800..1200).contains(&sampled),
        "{sampled} of 10,000 at a ratio of 0.1"
    );
    assert!(sampling::in_ratio(u128::MAX, 1.0));
    assert!(!sampling::in_ratio(1, 0.0));
}

#[test]
fn rejected_deferred_and_slow_are_exported_at_ratio_zero() {
    assert!(!sampling::exports(
        &record(Disposition::Accepted),
        &traces(0.0)
    ));
    assert!(sampling::exports(
        &record(Disposition::Rejected),
        &traces(0.0)
    ));
    assert!(sampling::exports(
        &record(Disposition::Deferred),
        &traces(0.0)
    ));
    let mut slow = record(Disposition::Accepted);
    slow.span.end = at(5001);
    assert!(sampling::exports(&slow, &traces(0.0)));
    let mut partly = record(Disposition::Accepted);
    partly
        .refused
        .push(("nobody@acme.test".into(), 550, "no such user".into()));
    assert!(sampling::exports(&partly, &traces(0.0)));
}

#[test]
fn people_are_recorded_as_their_domains_unless_configured() {
    let record = record(Disposition::Accepted);
    let text = |setting| format!("{:?}", spans::of_transaction(&record, setting));
    assert!(!text(Recipients::Domain).contains("alice"));
    assert!(text(Recipients::Domain).contains("sender.test"));
    assert!(text(Recipients::Full).contains("alice@sender.test"));
    assert!(!text(Recipients::None).contains("sender.test"));
    assert_eq!(
        redact::addresses(["a@x.test", "b@x.test"], Recipients::Domain),
        ["x.test"]
    );
    assert_eq!(redact::address("<>", Recipients::Domain), Some("<>"));
}

/// A writer that hands every write to the test.
struct Tap(mpsc::Sender<Vec<u8>>);

impl std::io::Write for Tap {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.send(octets.to_vec());
        Ok(octets.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_access_log_is_one_json_line_with_the_trace_id() {
    let (lines, written) = mpsc::channel();
    let log = AccessLog::start(Tap(lines)).unwrap();
    let mut record = record(Disposition::Accepted);
    record.message_id = Some("<1@sender.test>".into());
    log.write(&record, Recipients::Domain);
    let line = written.recv_timeout(Duration::from_secs(10)).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(json["trace_id"], "f".repeat(32));
    assert_eq!(json["client"], "192.0.2.1");
    assert_eq!(json["from"], "sender.test");
    assert_eq!(json["to"], serde_json::json!(["acme.test"]));
    assert_eq!(json["reply"], "250 2.0.0 taken");
    assert_eq!(json["checks"][0]["shadow"], "Reject");
    assert_eq!(json["duration_ms"], 10);
    assert_eq!(json["message_id"], "<1@sender.test>");
    assert_eq!(line.last(), Some(&b'\n'));
    assert_eq!(line.iter().filter(|octet| **octet == b'\n').count(), 1);
}

/// A writer that takes nothing until it is told to.
struct Stuck(mpsc::Receiver<()>);

impl std::io::Write for Stuck {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.recv();
        Ok(octets.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_of_the_log_that_hangs_costs_lines_and_not_time() {
    let (release, wait) = mpsc::channel();
    let log = AccessLog::start(Stuck(wait)).unwrap();
    for _ in 0..5000 {
        log.write(&record(Disposition::Accepted), Recipients::Domain);
    }
    assert!(log.dropped() >= 5000 - 4097, "{} dropped", log.dropped());
    drop(release);
}

#[test]
fn replies_that_quote_addresses_say_no_more_than_the_setting() {
    let quoted = "<bob@acme.test>: Recipient address rejected";
    let mut record = record(Disposition::Rejected);
    record.reply = Some((550, "5.1.1".into(), quoted.into()));
    record.refused = vec![("bob@acme.test".into(), 550, quoted.into())];
    let line = |setting| {
        let (lines, read) = mpsc::channel();
        let log = AccessLog::start(Tap(lines)).unwrap();
        log.write(&record, setting);
        let octets = read.recv_timeout(Duration::from_secs(5)).unwrap();
        String::from_utf8_lossy(octets.as_ref()).into_owned()
    };
    for setting in [Recipients::Domain, Recipients::None] {
        let line = line(setting);
        assert!(!line.contains("bob"), "{line}");
        assert_eq!(
            line.matches("<*@acme.test>: Recipient").count(),
            2,
            "{line}"
        );
    }
    assert_eq!(line(Recipients::Full).matches(quoted).count(), 2);
}
