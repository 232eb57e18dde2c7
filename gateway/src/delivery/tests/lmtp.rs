//! LMTP: an answer for each recipient.

use super::backend::{Act, Script};
use super::*;

const A: &str = "a@acme.test";
const B: &str = "b@acme.test";

#[tokio::test]
async fn answers_that_are_all_alike_are_relayed() {
    for (said, wanted) in [
        ("250 2.0.0 ok\n250 2.0.0 ok", "250"),
        ("550 5.7.1 spam\n552 5.2.2 full", "550 5.7.1"),
        ("450 4.2.1 a\n452 4.2.2 b", "450 4.2.1"),
    ] {
        let backend = Scripted::start(Script::lmtp().says(".", said)).await;
        let mut world = World::lmtp(&backend);
        assert_eq!(reply(&world.deliver_to(&[A, B]).await), wanted);
        assert_eq!(world.deliveries.counters().remembered, 0);
    }
}

#[tokio::test]
async fn lhlo_is_said_and_the_second_message_uses_the_connection_again() {
    let backend = Scripted::start(Script::lmtp()).await;
    let mut world = World::lmtp(&backend);
    for _ in 0..2 {
        assert_eq!(reply(&world.deliver_to(&[A, B]).await), "250");
    }
    assert_eq!((backend.heard("LHLO").len(), backend.connections()), (1, 1));
}

/// Answers the first message in two ways, the others with 250 for each.
fn mixed(first: &'static str) -> Script {
    Script::lmtp().deciding(move |heard| {
        (heard.line == "." && heard.messages == 0).then(|| Act::Say(first.to_owned()))
    })
}

#[tokio::test]
async fn mixed_answers_are_451_and_the_retry_does_not_deliver_twice() {
    let backend = Scripted::start(mixed("250 2.0.0 ok\n452 4.2.2 full")).await;
    let mut world = World::lmtp(&backend);
    assert_eq!(reply(&world.deliver_to(&[A, B]).await), "451 4.3.0");
    assert_eq!(world.deliveries.counters().remembered, 1);
    // The retry comes over another connection, with another Received header of ours.
    world.leg = world.deliveries.leg(
        "192.0.2.1:9999".parse().unwrap(),
        "198.51.100.2:25".parse().unwrap(),
    );
    let mut retry = message(&[A, B]);
    retry.prepended = vec![Bytes::from_static(b"Received: another\r\n")];
    assert_eq!(reply(&world.deliver(&retry).await), "250");
    assert_eq!(backend.heard("RCPT")[2..], ["RCPT TO:<b@acme.test>"]);
    assert_eq!(world.deliveries.counters().remembered, 0, "it is whole");
}

#[tokio::test]
async fn the_memory_is_by_client_network_reverse_path_recipient_and_body() {
    let backend = Scripted::start(mixed("250 2.0.0 ok\n452 4.2.2 full")).await;
    let mut world = World::lmtp(&backend);
    assert_eq!(reply(&world.deliver_to(&[A, B]).await), "451 4.3.0");
    let asked = |backend: &Scripted| backend.heard("RCPT TO:<a").len();
    let other_body = message_of(&[A, B], "Subject: other\r\n\r\nx\r\n");
    assert_eq!(reply(&world.deliver(&other_body).await), "250");
    assert_eq!(asked(&backend), 2);
    let mut other_sender = message(&[A, B]);
    other_sender.envelope.reverse_path = ReversePath::Null;
    assert_eq!(reply(&world.deliver(&other_sender).await), "250");
    assert_eq!(asked(&backend), 3);
    let client = "192.0.2.2:4321".parse().unwrap();
    world.leg = world
        .deliveries
        .leg(client, "198.51.100.2:25".parse().unwrap());
    assert_eq!(reply(&world.deliver_to(&[A, B]).await), "250");
    assert_eq!(asked(&backend), 4);
}

#[tokio::test]
async fn one_refused_with_5xx_is_refused_at_rcpt_then() {
    let backend = Scripted::start(mixed("250 2.0.0 ok\n552 5.2.2 over quota")).await;
    let mut world = World::lmtp(&backend);
    assert_eq!(world.ask(&[A, B]).await, ["ok", "ok"]);
    assert_eq!(reply(&world.deliver_to(&[A, B]).await), "451 4.3.0");
    assert_eq!(world.ask(&[A, B]).await, ["ok", "552 5.2.2"]);
    assert_eq!(
        reply(&world.deliver_to(&[A]).await),
        "250",
        "a has it already"
    );
    assert_eq!(backend.messages().len(), 1);
}

#[tokio::test]
async fn a_retry_whose_rest_is_refused_does_not_bounce_the_delivered_ones() {
    let script = Script::lmtp().deciding(|heard| {
        (heard.line == ".").then(|| {
            let first = heard.messages == 0;
            Act::Say(
                if first {
                    "250 ok\n450 4.2.1 later"
                } else {
                    "550 5.7.1 no"
                }
                .to_owned(),
            )
        })
    });
    let backend = Scripted::start(script).await;
    let mut world = World::lmtp(&backend);
    assert_eq!(reply(&world.deliver_to(&[A, B]).await), "451 4.3.0");
    assert_eq!(reply(&world.deliver_to(&[A, B]).await), "451 4.3.0");
    assert_eq!(world.ask(&[A, B]).await, ["ok", "550 5.7.1"]);
}

#[tokio::test]
async fn an_answer_that_is_lost_half_way_remembers_who_has_the_message() {
    let script = Script::lmtp().deciding(|heard| {
        (heard.line == "." && heard.connection == 0)
            .then(|| Act::SayAndClose("250 2.0.0 ok".to_owned()))
    });
    let backend = Scripted::start(script).await;
    let mut world = World::lmtp(&backend);
    assert_eq!(reply(&world.deliver_to(&[A, B]).await), "451 4.4.2");
    assert_eq!(reply(&world.deliver_to(&[A, B]).await), "250");
    assert_eq!(backend.heard("RCPT TO:<a").len(), 1);
    assert_eq!(backend.heard("RCPT TO:<b").len(), 2);
}

#[tokio::test]
async fn a_lost_answer_to_everything_is_451() {
    let backend = Scripted::start(Script::lmtp().when(".", Act::Close)).await;
    let mut world = World::lmtp(&backend);
    assert_eq!(reply(&world.deliver_to(&[A, B]).await), "451 4.4.2");
    assert_eq!(world.deliveries.counters().remembered, 0);
}

#[tokio::test]
async fn the_memory_is_bounded() {
    let backend = Scripted::start(Script::lmtp().says(".", "250 ok\n450 later")).await;
    let limits = Limits {
        delivered_entries: 2,
        ..limits()
    };
    let compiled = compiled(backend.address, BackendProtocol::Lmtp);
    let mut world = World::with(limits, compiled, Arc::new(NoNames));
    for turn in 0..5 {
        let text = format!("Subject: {turn}\r\n\r\nx\r\n");
        assert_eq!(
            reply(&world.deliver(&message_of(&[A, B], &text)).await),
            "451 4.3.0"
        );
    }
    assert_eq!(world.deliveries.counters().remembered, 2);
}
