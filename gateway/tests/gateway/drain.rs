//! The end of a pod's life.

use crate::client::Client;
use crate::world::World;
use postern_gateway::Options;
use postern_gateway::telemetry::pipeline::FLUSH;
use postern_gateway::telemetry::record::{SessionRecord, Sink, TransactionRecord};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn idle_sessions_get_421_and_transactions_finish() {
    let world = World::new(|_| {}).await;
    let mut idle = world.client().await;
    let mut busy = world.client().await;
    busy.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
    busy.talk("RCPT TO:<bob@acme.test>", "250 ").await;
    let gateway = Arc::clone(&world.gateway);
    let mx = world.mx();
    let drain = tokio::spawn(async move { gateway.drain().await });
    idle.expect("421 4.3.2 ").await;
    idle.expect_end().await;
    let closed = async { while tokio::net::TcpStream::connect(mx).await.is_ok() {} };
    let closed = tokio::time::timeout(Duration::from_secs(20), closed).await;
    assert!(closed.is_ok(), "the listener is closed");
    busy.talk("DATA", "354 ").await;
    busy.send("From: ann@shop.test\r\n\r\nx\r\n.\r\n").await;
    busy.expect("250 ").await;
    busy.expect("421 4.3.2 ").await;
    drain.await.unwrap();
    assert_eq!(world.backend.mails().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn accepting_goes_on_for_the_minimum() {
    let world = World::new(|snapshot| snapshot.config.drain.min_duration_ms = 60_000).await;
    let gateway = Arc::clone(&world.gateway);
    let drain = tokio::spawn(async move { gateway.drain().await });
    let mut client = world.client().await;
    let reply = client
        .mail(
            "ann@shop.test",
            "bob@acme.test",
            "From: a@shop.test\r\n\r\nx",
        )
        .await;
    assert!(reply.starts_with("250 "), "{reply}");
    drain.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_timeout_open_transactions_get_421_and_what_is_at_the_backend_is_waited_for() {
    let world = World::new(|snapshot| snapshot.config.drain.timeout_ms = 500).await;
    world.backend.answer(false);
    let mut sent = world.client().await;
    sent.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
    sent.talk("RCPT TO:<bob@acme.test>", "250 ").await;
    sent.talk("DATA", "354 ").await;
    let dot = world.backend.dot();
    sent.send("From: ann@shop.test\r\n\r\nx\r\n.\r\n").await;
    dot.await;
    let mut open = world.client().await;
    open.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
    let mut writing = world.client().await;
    writing.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
    writing.talk("RCPT TO:<bob@acme.test>", "250 ").await;
    writing.talk("DATA", "354 ").await;
    let gateway = Arc::clone(&world.gateway);
    let drain = tokio::spawn(async move { gateway.drain().await });
    for mut client in [open, writing] {
        client.expect("421 4.3.2 ").await;
        client.expect_end().await;
    }
    world.records.session(1).await;
    let ended = r#"postern_sessions_total{listener="mx",end="shut_down"} 2"#;
    assert!(world.metric(ended).is_some());
    assert!(
        !drain.is_finished(),
        "the mail at the backend is waited for"
    );
    world.backend.answer(true);
    sent.expect("250 ").await;
    drain.await.unwrap();
}

#[tokio::test]
async fn the_end_leaves_time_to_flush_before_the_pod_is_killed() {
    let timeout = Duration::from_secs(60);
    let world = World::new(|snapshot| snapshot.config.drain.timeout_ms = 60_000).await;
    world.backend.answer(false);
    let mut sent = world.client().await;
    sent.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
    sent.talk("RCPT TO:<bob@acme.test>", "250 ").await;
    sent.talk("DATA", "354 ").await;
    let dot = world.backend.dot();
    sent.send("From: ann@shop.test\r\n\r\nx\r\n.\r\n").await;
    dot.await;
    tokio::time::pause();
    let begin = Instant::now();
    world.gateway.drain().await;
    let took = begin.elapsed();
    // terminationGracePeriodSeconds is the timeout and 30 s (docs/flow.md, When a pod ends).
    let killed = timeout + Duration::from_secs(30);
    assert!(took > timeout + Duration::from_secs(20), "{took:?}");
    assert!(took + FLUSH < killed, "{took:?}");
    assert_eq!(
        world.gateway.sessions(),
        0,
        "their records are there to be flushed"
    );
}

/// Panics on the first transaction.
struct Panics;

impl Sink for Panics {
    fn transaction(&self, _: TransactionRecord) {
        panic!("a fault of ours, on purpose");
    }
    fn session(&self, _: SessionRecord) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_one_session_with_421_and_counts() {
    let world = World::new(|_| {}).await;
    let options = Options {
        bind: Some(std::net::Ipv4Addr::LOCALHOST.into()),
        sink: Arc::new(Panics),
        ..Options::default()
    };
    let gateway = postern_gateway::Gateway::start(world.snapshot.clone(), options)
        .await
        .unwrap();
    let mx = gateway.local_addr("mx").unwrap();
    let mut other = Client::hello(mx).await;
    let mut client = Client::hello(mx).await;
    client.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
    client.talk("RSET", "421 4.3.0 ").await;
    client.expect_end().await;
    other.talk("NOOP", "250 ").await;
    let text = gateway.metrics().text().unwrap();
    assert!(text.contains("postern_panics_total 1"), "{text}");
}
