//! The PROXY protocol on a listener.

use crate::client::Client;
use crate::world::{World, by_policy, enforced};
use postern_config::policy::ClientAccess;

async fn world(trusted: &str) -> World {
    let trusted = trusted.parse().unwrap();
    World::new(|snapshot| {
        snapshot.config.listeners[0].proxy_trusted = vec![trusted];
        let deny = vec!["192.0.2.66/32".parse().unwrap()];
        enforced(snapshot).connection.clients = by_policy(ClientAccess {
            allow: vec![],
            deny,
        });
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_is_the_one_in_the_header() {
    let world = world("127.0.0.0/8").await;
    let mut client = Client::open(world.mx()).await;
    client
        .send("PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\r\nEHLO client.test\r\n")
        .await;
    client.expect("220 ").await;
    client.expect("250 ").await;
    client
        .mail(
            "ann@shop.test",
            "bob@acme.test",
            "From: a@shop.test\r\n\r\nx",
        )
        .await;
    assert!(world.backend.mails()[0].message.contains("([192.0.2.1])"));
    let record = world.records.transaction(0).await;
    assert_eq!(record.session.client, "192.0.2.1:56324".parse().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn access_sees_the_client_of_the_header() {
    let world = world("127.0.0.0/8").await;
    let mut client = Client::open(world.mx()).await;
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x42\xc6\x33\x64\x02\xdc\x04\0\x19";
    client.send(header).await;
    client.expect("554 5.7.1 ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn local_and_unknown_mean_the_socket() {
    let world = world("127.0.0.0/8").await;
    for header in [
        b"PROXY UNKNOWN\r\n".as_slice(),
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    ] {
        let mut client = Client::open(world.mx()).await;
        client.send(header).await;
        client.expect("220 ").await;
        client.talk("QUIT", "221 ").await;
    }
    assert!(
        world
            .records
            .session(0)
            .await
            .facts
            .client
            .ip()
            .is_loopback()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_header_a_trusted_peer_is_closed_without_a_greeting() {
    let world = world("127.0.0.0/8").await;
    let malformed: [&[u8]; 3] = [
        b"EHLO client.test\r\n",
        b"PROXY TCP4 192.0.2.1\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0",
    ];
    for octets in malformed {
        let mut client = Client::open(world.mx()).await;
        client.send(octets).await;
        client.expect_end().await;
    }
    let metric = r#"postern_refused_total{listener="mx",reason="proxy"} 3"#;
    assert_eq!(world.metric(metric).as_deref(), Some(metric));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_from_others_is_no_header() {
    let world = world("203.0.113.0/24").await;
    let mut client = Client::greeted(world.mx()).await;
    client
        .talk("PROXY TCP4 192.0.2.66 198.51.100.2 56324 25", "500 ")
        .await;
}
