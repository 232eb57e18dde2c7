//! Peers that do what no peer should: backends that cut, hang and talk nonsense at every stage,
//! clients that vanish, and commands pipelined where nobody expects them.

use crate::scripted::{Act, Script, Scripted};
use crate::world::{World, certificate, enforced, first_rule, rule, service};
use postern_config::backend::{BackendProtocol, BackendTls, BackendTlsMode};
use postern_config::route::{LocalPartMatch, VerifyRecipients};
use postern_gateway::Options;
use postern_gateway::delivery::Limits;
use postern_gateway::telemetry::record::Disposition;
use std::sync::Arc;
use std::time::Duration;

const MAIL: &str = "From: Ann <ann@shop.test>\r\n\r\nHello\r\n.\r\n";

/// A gateway before this backend, which is asked or not.
async fn world(backend: &Scripted, ask: VerifyRecipients) -> World {
    world_within(Duration::from_secs(10), backend, ask).await
}

/// The same; the backend has so much time for a question, and to open a connection.
async fn world_within(time: Duration, backend: &Scripted, ask: VerifyRecipients) -> World {
    let delivery = Limits {
        ask: time,
        open: time,
        // A backend that fails is tried again all the same.
        avoid_first: Duration::ZERO,
        avoid_longest: Duration::ZERO,
        ..Limits::default()
    };
    let options = Options {
        delivery,
        ..Options::default()
    };
    let address = backend.address;
    World::start(vec![], options, move |snapshot| {
        let backends = &mut snapshot.config.backends;
        backends.insert("store".into(), service(address));
        first_rule(snapshot).verify_recipients = ask;
        enforced(snapshot).connection.limits.value.commands = 10_000;
    })
    .await
}

/// What a backend should not do, and nothing of it is an answer.
fn acts(hang: bool) -> Vec<Act> {
    let mut acts = vec![
        Act::Close,
        Act::SayAndClose("421 4.3.2 going down".into()),
        Act::SayAndClose("2".into()),
        Act::Say("what?".into()),
        Act::Say("999 9.9.9 nine".into()),
        Act::Say("250-never\n550 ends as it began".into()),
        Act::Say(format!("250 {}", "x".repeat(100_000))),
        Act::Say("250-\n".repeat(10_000)),
        Act::Say("\u{0}\u{1}\u{fffd}".into()),
    ];
    if hang {
        acts.push(Act::Hang);
    }
    acts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_breaks_at_any_stage_of_a_question_costs_its_recipients_a_451() {
    for stage in ["connect", "EHLO", "MAIL", "RCPT", "RSET"] {
        for act in acts(true) {
            let backend = Scripted::start(Script::default().when(stage, act.clone())).await;
            let time = Duration::from_millis(match act {
                Act::Hang => 300,
                _ => 10_000,
            });
            let world = world_within(time, &backend, VerifyRecipients::Ask).await;
            let mut client = world.client().await;
            client.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
            client.send("RCPT TO:<bob@acme.test>\r\n").await;
            let reply = client.reply().await;
            // At RSET the recipient has been answered for already.
            let known = stage == "RSET" && reply.starts_with("250 ");
            assert!(known || reply.starts_with("45"), "{stage} {act:?}: {reply}");
            client.talk("RSET", "250 ").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_breaks_at_any_stage_of_a_delivery_gives_no_250() {
    for protocol in [BackendProtocol::Smtp, BackendProtocol::Lmtp] {
        for stage in [
            "connect", "EHLO", "LHLO", "MAIL", "RCPT", "DATA", "message", ".",
        ] {
            if stage == "EHLO" && protocol == BackendProtocol::Lmtp
                || stage == "LHLO" && protocol == BackendProtocol::Smtp
            {
                continue;
            }
            for act in acts(false) {
                let script = Script {
                    lmtp: protocol == BackendProtocol::Lmtp,
                    ..Script::default()
                };
                let backend = Scripted::start(script.when(stage, act.clone())).await;
                let mut world = world(&backend, VerifyRecipients::None).await;
                world.change(|snapshot| {
                    snapshot.config.backends.get_mut("store").unwrap().protocol = protocol;
                });
                let mut client = world.client().await;
                client.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
                client.talk("RCPT TO:<bob@acme.test>", "250 ").await;
                client.talk("DATA", "354 ").await;
                client.send(MAIL).await;
                let reply = client.reply().await;
                assert!(reply.starts_with("45"), "{stage} {act:?}: {reply}");
                client.talk("NOOP", "250 ").await;
                let record = world.records.transaction(0).await;
                assert_eq!(record.disposition, Disposition::Deferred);
            }
        }
    }
}

/// Not on several threads: the clock of one can be set forward.
#[tokio::test]
async fn a_backend_that_hangs_in_a_delivery_is_waited_for_four_minutes() {
    for stage in ["DATA", "."] {
        let backend = Scripted::start(Script::default().when(stage, Act::Hang)).await;
        let mut world = world(&backend, VerifyRecipients::None).await;
        world.change(|snapshot| {
            enforced(snapshot).connection.timeouts.value.session_ms = 3_600_000;
        });
        let mut client = world.client().await;
        client.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
        client.talk("RCPT TO:<bob@acme.test>", "250 ").await;
        client.talk("DATA", "354 ").await;
        client.send(MAIL).await;
        backend.hears(stage, 1).await;
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(241)).await;
        tokio::time::resume();
        client.expect("451 4.4.2 ").await;
        client.talk("NOOP", "250 ").await;
    }
}

/// Not on several threads: the clock of one can be set forward.
#[tokio::test]
async fn a_backend_that_stops_reading_is_waited_for_four_minutes() {
    let script = Script {
        extensions: vec!["PIPELINING", "8BITMIME"],
        ..Script::default()
    };
    let backend = Scripted::start(script.when("message", Act::Hang)).await;
    let mut world = world(&backend, VerifyRecipients::None).await;
    world.change(|snapshot| {
        enforced(snapshot).connection.timeouts.value.session_ms = 3_600_000;
        enforced(snapshot).mail.limits.value.message_size = 16 << 20;
        first_rule(snapshot).enforced.data.limits.value.message_size = 16 << 20;
    });
    let mut client = world.client().await;
    client.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
    client.talk("RCPT TO:<bob@acme.test>", "250 ").await;
    client.talk("DATA", "354 ").await;
    // More than the buffers of both sockets hold.
    let body = ("x".repeat(998) + "\r\n").repeat(10_000);
    client
        .send(format!("From: Ann <ann@shop.test>\r\n\r\n{body}.\r\n"))
        .await;
    backend.hears("message", 1).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(241)).await;
    tokio::time::resume();
    client.expect("451 4.4.2 ").await;
    client.talk("NOOP", "250 ").await;
    let record = world.records.transaction(0).await;
    assert_eq!(record.disposition, Disposition::Deferred);
    let mut delivery = record.span.children.iter();
    let delivery = delivery.rfind(|span| span.name == "smtp.delivery").unwrap();
    assert_eq!(delivery.error.as_deref(), Some("timeout"));
    let phases: Vec<_> = delivery.children.iter().map(|phase| phase.name).collect();
    // It was never written to its end.
    assert_eq!(phases, ["smtp.delivery.connect", "smtp.delivery.envelope"]);
    assert_eq!(world.held(), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_hangs_before_it_is_ready_costs_a_delivery_the_time_to_open() {
    let (pair, _) = certificate(&["store.acme.test"]);
    for (stage, mode) in [
        ("EHLO", BackendTlsMode::Disabled),
        ("STARTTLS", BackendTlsMode::Opportunistic),
        ("STARTTLS", BackendTlsMode::Required),
        // The handshake itself.
        ("connect", BackendTlsMode::Implicit),
    ] {
        let script = Script {
            extensions: vec!["STARTTLS"],
            ..Script::default()
        };
        let backend = Scripted::start(script.when(stage, Act::Hang)).await;
        let time = Duration::from_millis(300);
        let mut world = world_within(time, &backend, VerifyRecipients::None).await;
        world.change(|snapshot| {
            let store = snapshot.config.backends.get_mut("store").unwrap();
            store.tls = BackendTls {
                mode,
                ca_pem: vec![pair.chain_pem.clone()],
                server_name: Some("store.acme.test".into()),
            };
        });
        let mut client = world.client().await;
        client.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
        client.talk("RCPT TO:<bob@acme.test>", "250 ").await;
        client.talk("DATA", "354 ").await;
        client.send(MAIL).await;
        let reply = client.reply().await;
        assert!(reply.starts_with("451 4.4.2 "), "{stage} {mode:?}: {reply}");
        client.talk("NOOP", "250 ").await;
        assert_eq!(backend.heard(stage).len(), 1, "{mode:?}");
        assert!(backend.heard("MAIL").is_empty(), "{stage} {mode:?}");
        let record = world.records.transaction(0).await;
        assert_eq!(record.disposition, Disposition::Deferred);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_comes_before_its_question_is_no_answer() {
    // 354 and, before anything was sent, 250 for the message.
    let early = Script::default().says("DATA", "354 go ahead\n250 2.0.0 taken already");
    let backend = Scripted::start(early).await;
    let world = world(&backend, VerifyRecipients::None).await;
    let mut client = world.client().await;
    client.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
    client.talk("RCPT TO:<bob@acme.test>", "250 ").await;
    client.talk("DATA", "354 ").await;
    // Long enough for the reply to arrive while it is being written.
    let line = "x".repeat(70) + "\r\n";
    client
        .send(format!(
            "From: <ann@shop.test>\r\n\r\n{}",
            line.repeat(3000)
        ))
        .await;
    client.send(".\r\n").await;
    client.expect("451 ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_before_its_250_has_sent_one_mail() {
    let world = World::new(|_| {}).await;
    world.backend.answer(false);
    let mut client = world.client().await;
    client.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
    client.talk("RCPT TO:<bob@acme.test>", "250 ").await;
    client.talk("DATA", "354 ").await;
    let dot = world.backend.dot();
    client.send(MAIL).await;
    dot.await;
    drop(client);
    world.backend.answer(true);
    // The backend has it: that nobody heard of it is the client's doubt, not ours (RFC 1047).
    let record = world.records.transaction(0).await;
    assert_eq!(record.disposition, Disposition::Accepted);
    world.records.session(0).await;
    assert_eq!(world.backend.mails().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_while_its_recipient_is_asked_about_leaves_nothing_behind() {
    let backend = Scripted::start(Script::default().when("RCPT", Act::Hang)).await;
    let world = world_within(Duration::from_secs(1), &backend, VerifyRecipients::Ask).await;
    let mut client = world.client().await;
    client
        .send("MAIL FROM:<ann@shop.test>\r\nRCPT TO:<bob@acme.test>\r\n")
        .await;
    backend.hears("RCPT", 1).await;
    drop(client);
    let record = world.records.transaction(0).await;
    assert!(record.recipients.is_empty());
    world.records.session(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_said_all_and_closed_its_side_is_served_to_the_end() {
    let backend = Scripted::start(Script::default()).await;
    let world = world(&backend, VerifyRecipients::Ask).await;
    let mut client = world.client().await;
    let recipients: String = (0..200)
        .map(|number| format!("RCPT TO:<b{number}@acme.test>\r\n"))
        .collect();
    client
        .send(format!("MAIL FROM:<ann@shop.test>\r\n{recipients}DATA\r\n"))
        .await;
    client.close_writing().await;
    client.expect("250 2.1.0 ").await;
    let mut taken = 0;
    while let Some(line) = client.line().await {
        match line.get(..4) {
            Some("250 ") => taken += 1,
            // recipients: 100
            Some("452 ") => {}
            Some("354 ") => break,
            _ => panic!("{line}"),
        }
    }
    assert_eq!(taken, 100);
    client.expect_end().await;
    world.records.session(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_recipients_in_one_packet_are_answered_in_order() {
    let refuses = Script::default().deciding(|heard| {
        (heard.line.starts_with("RCPT") && heard.line.contains("7@"))
            .then(|| Act::Say("450 4.2.1 not now".into()))
    });
    let backend = Scripted::start(refuses).await;
    let mut world = world(&backend, VerifyRecipients::Ask).await;
    world.change(|snapshot| {
        first_rule(snapshot).enforced.rcpt.limits.value.recipients = 2000;
    });
    let mut client = world.client().await;
    let recipients: String = (0..1000)
        .map(|number| format!("RCPT TO:<b{number}@acme.test>\r\n"))
        .collect();
    client
        .send(format!("MAIL FROM:<ann@shop.test>\r\n{recipients}DATA\r\n"))
        .await;
    client.expect("250 2.1.0 ").await;
    for number in 0..1000 {
        let wanted = if number % 10 == 7 {
            "450 "
        } else {
            "250 2.1.5 "
        };
        client.expect(wanted).await;
    }
    client.expect("354 ").await;
    client.send(MAIL).await;
    client.expect("250 ").await;
    assert_eq!(backend.messages().len(), 1);
    let record = world.records.transaction(0).await;
    assert_eq!(record.recipients.len(), 900);
    assert_eq!(record.refused.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pipelined_behind_a_question_waits_for_it() {
    let backend = Scripted::start(Script::default().when("RCPT TO:<slow", Act::Hang)).await;
    let world = world_within(Duration::from_secs(2), &backend, VerifyRecipients::Ask).await;
    let mut client = world.client().await;
    let first = "MAIL FROM:<ann@shop.test>\r\nRCPT TO:<slow@acme.test>\r\nRSET\r\n";
    let second = "MAIL FROM:<eve@shop.test>\r\nRCPT TO:<bob@acme.test>\r\nDATA\r\n";
    client.send(format!("{first}{second}")).await;
    for reply in ["250 2.1.0 ", "451 4.4.2 ", "250 2.0.0 ", "250 2.1.0 "] {
        client.expect(reply).await;
    }
    client.expect("250 2.1.5 ").await;
    client.expect("354 ").await;
    // Behind 354 everything is the message, QUIT as well.
    client
        .send(format!("QUIT\r\n\r\n{MAIL}QUIT\r\nNOOP\r\n"))
        .await;
    client.expect("250 2.0.0 ").await;
    client.expect("221 ").await;
    client.expect_end().await;
    assert!(backend.messages()[0].contains("QUIT\r\n"));
    assert_eq!(backend.heard("MAIL FROM:<eve").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_and_the_next_transaction_in_one_packet() {
    let backend = Scripted::start(Script::default()).await;
    let world = world(&backend, VerifyRecipients::Ask).await;
    let mut client = world.client().await;
    let envelope = "MAIL FROM:<ann@shop.test>\r\nRCPT TO:<bob@acme.test>\r\n";
    let chunks = "BDAT 10\r\nX: one\r\n\r\nBDAT 16 LAST\r\nMAIL FROM:<x@y>\n";
    let packet =
        format!("{envelope}{chunks}{envelope}BDAT 4 LAST\r\ntwo\n{envelope}BDAT 0\r\nRSET\r\n");
    client.send(packet).await;
    let one = [
        "250 2.1.0 ",
        "250 2.1.5 ",
        "250 2.0.0 10 octets",
        "250 2.0.0 ",
    ];
    let two = ["250 2.1.0 ", "250 2.1.5 ", "250 2.0.0 "];
    let three = [
        "250 2.1.0 ",
        "250 2.1.5 ",
        "250 2.0.0 0 octets",
        "250 2.0.0 Ok",
    ];
    for reply in one.into_iter().chain(two).chain(three) {
        client.expect(reply).await;
    }
    let messages = backend.messages();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages[0].ends_with("X: one\r\n\r\nMAIL FROM:<x@y>\r\n"));
    assert!(messages[1].ends_with("two\r\n"));
    client.talk("QUIT", "221 ").await;
    let record = world.records.transaction(2).await;
    assert_eq!(record.disposition, Disposition::Abandoned);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pods_end_waits_for_no_question() {
    let one = Scripted::start(Script::default()).await;
    let slow = Scripted::start(Script::default().when("RCPT", Act::Hang)).await;
    let mut world = world_within(Duration::from_secs(60), &slow, VerifyRecipients::Ask).await;
    let address = one.address;
    world.change(|snapshot| {
        snapshot.config.drain.timeout_ms = 500;
        let backends = &mut snapshot.config.backends;
        backends.insert("one".into(), service(address));
        let mut known = rule("known", "one");
        known.matches = vec![LocalPartMatch::Exact("known".into())];
        known.verify_recipients = VerifyRecipients::Ask;
        snapshot.config.routes[0].rules.insert(0, known);
    });
    let mut client = world.client().await;
    let recipients = "RCPT TO:<known@acme.test>\r\nRCPT TO:<slow@acme.test>\r\n";
    client
        .send(format!("MAIL FROM:<ann@shop.test>\r\n{recipients}DATA\r\n"))
        .await;
    slow.hears("RCPT", 1).await;
    let gateway = Arc::clone(&world.gateway);
    let drain = tokio::spawn(async move { gateway.drain().await });
    for reply in ["250 2.1.0 ", "250 2.1.5 ", "421 4.3.2 "] {
        client.expect(reply).await;
    }
    client.expect_end().await;
    drain.await.unwrap();
    let record = world.records.transaction(0).await;
    assert_eq!(record.recipients, ["known@acme.test"]);
}
