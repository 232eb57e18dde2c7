//! Limits of connections, commands, errors, memory and time.

use crate::client::Client;
use crate::world::{World, enforced, first_rule};
use postern_gateway::Options;

#[tokio::test(flavor = "multi_thread")]
async fn connections_in_all_and_by_network() {
    let world = World::new(|snapshot| {
        enforced(snapshot).connection.limits.value.connections = 2;
    })
    .await;
    let _one = Client::greeted(world.mx()).await;
    let two = Client::greeted(world.mx()).await;
    let mut three = Client::open(world.mx()).await;
    three.expect("421 4.7.0 ").await;
    three.expect_end().await;
    drop(two);
    world.records.session(0).await;
    Client::greeted(world.mx()).await;

    let world = World::new(|snapshot| {
        enforced(snapshot)
            .connection
            .limits
            .value
            .connections_per_network = 1;
    })
    .await;
    let _one = Client::greeted(world.mx()).await;
    let mut two = Client::open(world.mx()).await;
    let reply = two.expect("421 4.7.0 ").await;
    assert!(reply.contains("network"), "{reply}");
    two.expect_end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_and_errors() {
    let world = World::new(|snapshot| {
        enforced(snapshot).connection.limits.value.commands = 5;
        enforced(snapshot).connection.limits.value.errors = 2;
    })
    .await;
    let mut client = Client::greeted(world.mx()).await;
    for _ in 0..5 {
        client.talk("NOOP", "250 ").await;
    }
    client.talk("NOOP", "421 4.7.0 ").await;
    client.expect_end().await;
    let mut client = Client::greeted(world.mx()).await;
    client.talk("NONSENSE", "500 ").await;
    client.talk("NONSENSE", "500 ").await;
    client.send("NONSENSE\r\n").await;
    let mut last = String::new();
    while let Some(line) = client.line().await {
        last = line;
    }
    assert!(last.starts_with("421 4.7.0 "), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pods_memory_for_messages_is_one_budget() {
    let options = Options {
        message_memory: Some(10_000),
        ..Options::default()
    };
    let world = World::start(vec![], options, |_| {}).await;
    let mut holder = world.client().await;
    holder.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
    holder.talk("RCPT TO:<bob@acme.test>", "250 ").await;
    holder.talk("DATA", "354 ").await;
    holder.send("x".repeat(70).repeat(100) + "\r\n").await;
    let mut other = world.client().await;
    let reply = loop {
        // The holder's octets may still be under way.
        let reply = other
            .mail("ann@shop.test", "bob@acme.test", &"x".repeat(6000))
            .await;
        if !reply.starts_with("250 ") {
            break reply;
        }
    };
    assert!(reply.starts_with("452 4.3.1 "), "{reply}");
    drop(holder);
    let gone = world.records.session(0).await;
    assert_eq!(gone.transactions, 1);
    let reply = other
        .mail("ann@shop.test", "bob@acme.test", &"x".repeat(6000))
        .await;
    assert!(
        reply.starts_with("250 "),
        "what the holder had is free again: {reply}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_octet_at_a_time_does_not_keep_a_session_open() {
    let world = World::new(|snapshot| {
        enforced(snapshot).connection.timeouts.value.command_ms = 400;
    })
    .await;
    let mut client = Client::greeted(world.mx()).await;
    let octets = async {
        // Each octet comes well within the time for a command; all together do not.
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(50));
        for octet in "EHLO a-name-that-takes-a-while.test\r\n".bytes() {
            ticks.tick().await;
            client.send([octet]).await;
        }
    };
    let _ = tokio::time::timeout(std::time::Duration::from_millis(900), octets).await;
    client.expect("421 4.4.2 ").await;
    assert!(
        world
            .metric(r#"postern_sessions_total{listener="mx",end="timeout"}"#)
            .is_none()
    );
    client.expect_end().await;
    world.records.session(0).await;
    assert!(
        world
            .metric(r#"postern_sessions_total{listener="mx",end="timeout"} 1"#)
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_ends_a_session_and_slow_data_ends_a_message() {
    let world = World::new(|snapshot| {
        enforced(snapshot).connection.timeouts.value.command_ms = 300;
        first_rule(snapshot).enforced.data.timeouts.value.data_ms = 300;
    })
    .await;
    let mut silent = Client::greeted(world.mx()).await;
    silent.expect("421 4.4.2 ").await;
    let mut slow = world.client().await;
    slow.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
    slow.talk("RCPT TO:<bob@acme.test>", "250 ").await;
    slow.talk("DATA", "354 ").await;
    slow.send("From: ann@shop.test\r\n").await;
    slow.expect("421 4.4.2 ").await;
    slow.expect_end().await;
    assert!(world.backend.mails().is_empty());
}

/// Not on several threads: the clock of one can be set forward.
#[tokio::test]
async fn a_message_that_comes_too_slowly_is_given_up_and_a_faster_one_is_not() {
    let world = World::new(|snapshot| {
        let data = &mut first_rule(snapshot).enforced.data;
        data.limits.value.min_data_rate = 1024;
        data.timeouts.value.data_ms = 600_000;
        enforced(snapshot).connection.timeouts.value.session_ms = 600_000;
    })
    .await;
    // The rate is averaged over 30 s.
    let enough = "x".repeat(70).repeat(450);
    for (octets, slow) in [(enough.as_str(), false), ("From: <ann@shop.test>", true)] {
        let mut client = world.client().await;
        client.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
        client.talk("RCPT TO:<bob@acme.test>", "250 ").await;
        client.talk("DATA", "354 ").await;
        client.send(format!("{octets}\r\n")).await;
        world.until_held(octets.len()).await;
        tokio::time::pause();
        tokio::time::advance(std::time::Duration::from_secs(30)).await;
        tokio::time::resume();
        if slow {
            client.expect("421 4.4.2 ").await;
            client.expect_end().await;
        } else {
            client.send(".\r\n").await;
            client.expect("250 ").await;
        }
    }
    assert_eq!(world.backend.mails().len(), 1);
    let record = world.records.transaction(1).await;
    assert_eq!(record.reply.unwrap().0, 421);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_is_let_go() {
    let world = World::new(|snapshot| {
        enforced(snapshot).connection.timeouts.value.command_ms = 300;
        enforced(snapshot).connection.limits.value.commands = 1_000_000;
    })
    .await;
    let mut client = Client::greeted(world.mx()).await;
    // More replies than any socket buffer holds, and nobody takes them.
    let helps = "EHLO client.test\r\n".repeat(200_000);
    let flood = tokio::spawn(async move {
        client.try_send(&helps).await;
        client
    });
    let session = world.records.session(0).await;
    assert_eq!(session.transactions, 0);
    assert!(
        world
            .metric(r#"postern_sessions_total{listener="mx",end="timeout"} 1"#)
            .is_some()
    );
    flood.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_client_counts_for_its_network_and_must_leave_soon() {
    let world = World::new(|snapshot| {
        let policy = &mut enforced(snapshot).connection;
        policy.limits.value.connections_per_network = 1;
        policy.timeouts.value.command_ms = 300_000;
        policy.timeouts.value.session_ms = 300_000;
        policy.clients.value.deny = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let mut denied = Client::open(world.mx()).await;
    denied.expect("554 5.7.1 ").await;
    let mut second = Client::open(world.mx()).await;
    second.expect("421 4.7.0 ").await;
    second.expect_end().await;
    // The client's own deadline is 20 s.
    denied.expect("421 ").await;
    denied.expect_end().await;
    world.records.session(1).await;
}
