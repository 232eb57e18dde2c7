//! Clients that vanish, trickle or do not read in the middle of something: a handshake, a message,
//! a chunk.

use crate::client::Client;
use crate::world::{World, certificate, enforced, first_rule, with_tls};
use postern_config::listener::TlsMode;
use postern_gateway::telemetry::record::Disposition;
use std::time::Duration;

const ENVELOPE: &str = "MAIL FROM:<ann@shop.test>\r\nRCPT TO:<bob@acme.test>\r\n";
const PART: &str = "From: Ann <ann@shop.test>\r\n\r\nnot all of it\r\n";

/// The client was let go like this: nothing was delivered, and nothing is held any more.
async fn left_nothing(world: &World, end: &str) {
    let record = world.records.transaction(0).await;
    assert_eq!(record.disposition, Disposition::Abandoned);
    assert_eq!(record.recipients, ["bob@acme.test"]);
    world.records.session(0).await;
    let ended = format!(r#"postern_sessions_total{{listener="mx",end="{end}"}} 1"#);
    assert!(world.metric(&ended).is_some(), "{ended}");
    assert_eq!(world.held(), 0.0);
    assert!(world.backend.mails().is_empty());
}

/// Sends one after the other, each well within the time for a command, as long as it is polled.
async fn trickle<T: AsRef<[u8]>>(client: &mut Client, pieces: impl IntoIterator<Item = T>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    for piece in pieces {
        ticks.tick().await;
        client.try_send(piece).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_in_a_chunk_leaves_nothing_behind() {
    // The chunk's octets are there but for one, and the last chunk is missing.
    for chunks in [
        format!("BDAT {} LAST\r\n{PART}", PART.len() + 1),
        format!("BDAT {}\r\n{PART}", PART.len()),
    ] {
        let world = World::new(|_| {}).await;
        let mut client = world.client().await;
        client.send(format!("{ENVELOPE}{chunks}")).await;
        client.expect("250 2.1.0 ").await;
        client.expect("250 2.1.5 ").await;
        world.until_held(PART.len()).await;
        drop(client);
        left_nothing(&world, "client_gone").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_under_tls_in_a_message_leaves_nothing_behind() {
    let (pair, root) = certificate(&["mx.acme.test"]);
    // RFC 8446 §6.1: with close_notify and without, what was cut is no message.
    for says_so in [true, false] {
        let world =
            World::new(|snapshot| with_tls(snapshot, TlsMode::Required, &[("a", &pair)])).await;
        let client = world.client().await;
        let mut client = client.starttls(&root, "mx.acme.test").await;
        client.talk("EHLO client.test", "250 ").await;
        client.send(format!("{ENVELOPE}DATA\r\n")).await;
        client.expect("250 2.1.0 ").await;
        client.expect("250 2.1.5 ").await;
        client.expect("354 ").await;
        client.send(format!("{PART}.")).await;
        world.until_held(PART.len()).await;
        if says_so {
            client.close_writing().await;
        } else {
            drop(client);
        }
        left_nothing(&world, "client_gone").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_inside_a_message_is_let_go() {
    let world = World::new(|snapshot| {
        enforced(snapshot).connection.timeouts.value.command_ms = 300;
        enforced(snapshot).connection.limits.value.commands = 1_000_000;
    })
    .await;
    let mut client = world.client().await;
    // More replies than any socket buffer holds, each to a chunk, and nobody takes them.
    let chunks = "BDAT 1\r\nx".repeat(400_000);
    let flood = tokio::spawn(async move {
        client.try_send(format!("{ENVELOPE}{chunks}")).await;
        client
    });
    left_nothing(&world, "timeout").await;
    flood.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_trickles_in_is_cut_off() {
    let (pair, _) = certificate(&["mx.acme.test"]);
    for mode in [TlsMode::Opportunistic, TlsMode::Implicit] {
        let world = World::new(|snapshot| {
            with_tls(snapshot, mode, &[("a", &pair)]);
            enforced(snapshot).connection.timeouts.value.command_ms = 400;
        })
        .await;
        let mut client = Client::open(world.mx()).await;
        if mode == TlsMode::Opportunistic {
            client.expect("220 ").await;
            client.talk("EHLO client.test", "250 ").await;
            client.talk("STARTTLS", "220 ").await;
        }
        // A record of 512 octets with the beginning of a ClientHello.
        let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
        let octets = hello.into_iter().chain(std::iter::repeat(0)).take(517);
        let session = tokio::select! {
            session = world.records.session(0) => session,
            () = trickle(&mut client, octets.map(|octet| [octet])) => panic!("it was heard out"),
        };
        let error = session.span.error.unwrap();
        assert_eq!(error, "TLS handshake: timed out");
        for counted in [
            r#"postern_tls_handshakes_total{listener="mx",version="failed"} 1"#,
            r#"postern_sessions_total{listener="mx",end="tls_failed"} 1"#,
        ] {
            assert!(world.metric(counted).is_some(), "{mode:?}: {counted}");
        }
        client.expect_end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_octet_at_a_time_does_not_keep_a_message_open() {
    for (begins, piece) in [
        ("DATA\r\n", "x"),
        ("BDAT 1000 LAST\r\n", "x"),
        // Each chunk comes in time; all of them together do not.
        ("BDAT 1\r\nx", "BDAT 1\r\nx"),
    ] {
        let world = World::new(|snapshot| {
            first_rule(snapshot).enforced.data.timeouts.value.data_ms = 400;
        })
        .await;
        let mut client = world.client().await;
        client.send(format!("{ENVELOPE}{begins}")).await;
        client.expect("250 2.1.0 ").await;
        client.expect("250 2.1.5 ").await;
        let record = tokio::select! {
            record = world.records.transaction(0) => record,
            () = trickle(&mut client, [piece; 400]) => panic!("it was heard out"),
        };
        assert_eq!(record.reply.unwrap().0, 421, "{begins}");
        let mut last = String::new();
        while let Some(line) = client.line().await {
            last = line;
        }
        assert!(last.starts_with("421 4.4.2 "), "{begins}: {last}");
        drop(client);
        world.records.session(0).await;
        let ended = r#"postern_sessions_total{listener="mx",end="timeout"} 1"#;
        assert!(world.metric(ended).is_some(), "{begins}");
        assert_eq!(world.held(), 0.0);
        assert!(world.backend.mails().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_what_is_thrown_away_ends_in_its_time() {
    let world = World::new(|snapshot| {
        let data = &mut first_rule(snapshot).enforced.data;
        data.limits.value.message_size = 1000;
        data.timeouts.value.data_ms = 500;
    })
    .await;
    let mut client = world.client().await;
    client.send(format!("{ENVELOPE}DATA\r\n")).await;
    client.expect("250 2.1.0 ").await;
    client.expect("250 2.1.5 ").await;
    client.expect("354 ").await;
    // The socket always has more: the gateway never has to wait for it.
    let lines = ("x".repeat(998) + "\r\n").repeat(1000);
    let flood = client.flood(lines.as_bytes());
    tokio::time::timeout(Duration::from_secs(10), flood)
        .await
        .expect("it goes on and on");
    client.expect("421 4.4.2 ").await;
    client.expect_end().await;
    drop(client);
    let record = world.records.transaction(0).await;
    assert_eq!(record.reply.unwrap().0, 552);
    world.records.session(0).await;
    let ended = r#"postern_sessions_total{listener="mx",end="timeout"} 1"#;
    assert!(world.metric(ended).is_some());
}
