//! Clients that break the protocol, or break off.

use crate::client::Client;
use crate::world::World;
use postern_gateway::telemetry::record::Disposition;

#[tokio::test(flavor = "multi_thread")]
async fn commands_out_of_order() {
    let world = World::new(|_| {}).await;
    let mut client = Client::greeted(world.mx()).await;
    client.talk("MAIL FROM:<ann@shop.test>", "503 ").await;
    client.talk("EHLO client.test", "250 ").await;
    client.talk("RCPT TO:<bob@acme.test>", "503 ").await;
    client.talk("DATA", "503 ").await;
    client.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
    client.talk("MAIL FROM:<ann@shop.test>", "503 ").await;
    client.talk("DATA", "5").await;
    client.talk("RCPT TO:<bob@acme.test>", "250 ").await;
    client.talk("RSET", "250 ").await;
    client.talk("RCPT TO:<bob@acme.test>", "503 ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lines_and_octets_that_are_no_text() {
    let world = World::new(|_| {}).await;
    let mut client = world.client().await;
    client
        .talk(&format!("NOOP {}", "x".repeat(5000)), "500 ")
        .await;
    let mut client = world.client().await;
    client.send(b"MAIL FROM:<a\0b@shop.test>\r\n").await;
    client.expect("5").await;
    let mut client = world.client().await;
    client.send(b"NOOP\n").await;
    client.expect("500 ").await;
    client.expect_end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bare_newlines_in_the_message_never_reach_a_backend() {
    let world = World::new(|_| {}).await;
    let smuggled = "From: a@shop.test\r\n\r\nx\n.\nMAIL FROM:<evil@evil.test>\r\nRCPT TO:<bob@acme.test>\r\nDATA\r\nforged";
    for end in ["\n.\n", "\r.\r", "\n.\r\n", "\r\n\0.\r\n", "\r\n.\0\r\n"] {
        let mut client = world.client().await;
        client.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
        client.talk("RCPT TO:<bob@acme.test>", "250 ").await;
        client.talk("DATA", "354 ").await;
        client
            .send(format!(
                "From: a@shop.test\r\n\r\nx{end}{smuggled}\r\n.\r\n"
            ))
            .await;
        client.expect("550 5.6.0 ").await;
        client.expect_end().await;
    }
    assert!(world.backend.mails().is_empty());
    let record = world.records.transaction(0).await;
    assert_eq!(record.disposition, Disposition::Rejected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_disappear_at_every_stage() {
    let world = World::new(|_| {}).await;
    let steps = [
        "EHLO client.test\r\n",
        "MAIL FROM:<ann@shop.test>\r\n",
        "RCPT TO:<bob@acme.test>\r\n",
        "DATA\r\n",
    ];
    for stage in 0..=steps.len() {
        let mut client = Client::greeted(world.mx()).await;
        for step in steps.iter().take(stage) {
            client.send(step).await;
            client.reply().await;
        }
        if stage == steps.len() {
            client
                .send("From: ann@shop.test\r\n\r\ncut in the mid")
                .await;
        }
        drop(client);
        world.records.session(stage).await;
    }
    assert!(world.backend.mails().is_empty());
    let over = tokio::time::timeout(std::time::Duration::from_secs(20), world.gateway.drained());
    over.await.expect("a session is left over");
    let all = world.records.transactions.lock().unwrap().clone();
    assert_eq!(all.len(), 3, "those that had got as far as MAIL");
    assert!(
        all.iter()
            .all(|one| one.disposition == Disposition::Abandoned),
        "{all:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_beyond_all_bounds() {
    let world = World::new(|_| {}).await;
    let mut client = world.client().await;
    let field = format!("X-Long: {}\r\n", "x".repeat(120_000));
    let reply = client
        .mail("ann@shop.test", "bob@acme.test", &format!("{field}\r\nx"))
        .await;
    assert!(reply.starts_with("550 5.6.0 "), "{reply}");
    assert!(world.backend.mails().is_empty());
}
