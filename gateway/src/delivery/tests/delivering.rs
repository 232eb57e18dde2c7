//! Delivery, SMTP.

use super::backend::{Act, Script};
use super::*;

const A: &str = "a@acme.test";
const B: &str = "b@acme.test";

#[tokio::test]
async fn there_is_no_250_before_the_backends_250() {
    let backend = Scripted::start(Script::default()).await;
    let mut world = World::smtp(&backend);
    let outcome = world.deliver_to(&[A, B]).await;
    let taken = outcome.result.unwrap();
    assert_eq!((taken.code, taken.text.as_str()), (250, "queued"));
    assert_eq!(
        backend.messages(),
        [format!("Received: from us\r\n{MESSAGE}")]
    );
    assert_eq!(backend.heard("EHLO"), ["EHLO mx1.example.com"]);
    let size = MESSAGE.len() + 19;
    assert_eq!(
        backend.heard("MAIL"),
        [format!("MAIL FROM:<joe@client.test> SIZE={size}")]
    );
    assert_eq!(
        backend.heard("RCPT"),
        ["RCPT TO:<a@acme.test>", "RCPT TO:<b@acme.test>"]
    );
    assert!(world.progress.dot_written());
}

#[tokio::test]
async fn replies_may_come_byte_by_byte_and_without_pipelining() {
    for extensions in [vec!["PIPELINING"], vec![]] {
        let script = Script {
            extensions,
            byte_by_byte: true,
            ..Script::default()
        };
        let backend = Scripted::start(script).await;
        assert_eq!(
            reply(&World::smtp(&backend).deliver_to(&[A, B]).await),
            "250"
        );
        assert_eq!(backend.messages().len(), 1);
    }
}

#[tokio::test]
async fn all_recipients_refused_relays_the_first_if_all_are_5xx_or_all_4xx() {
    for (a, b, wanted) in [
        ("550 5.1.1 no a", "552 5.2.2 no b", "550 5.1.1"),
        ("450 4.2.1 no a", "452 4.2.2 no b", "450 4.2.1"),
        ("550 5.1.1 no a", "450 4.2.1 no b", "451 4.3.0"),
    ] {
        for extensions in [vec!["PIPELINING"], vec![]] {
            let script = Script {
                extensions,
                ..Script::default()
            };
            let script = script.says("RCPT TO:<a", a).says("RCPT TO:<b", b);
            let backend = Scripted::start(script).await;
            let mut world = World::smtp(&backend);
            assert_eq!(reply(&world.deliver_to(&[A, B]).await), wanted, "{a} {b}");
            assert_eq!(backend.messages(), [""; 0]);
        }
    }
}

#[tokio::test]
async fn some_refused_that_had_been_accepted_sends_nothing_and_the_retry_meets_it_at_rcpt() {
    for extensions in [vec!["PIPELINING"], vec![]] {
        // Accepted when asked, refused when it counts: by then b is gone.
        let script = Script {
            extensions,
            ..Script::default()
        }
        .deciding(|heard| {
            let gone = heard.connection > 0 && heard.line.starts_with("RCPT TO:<b");
            gone.then(|| Act::Say("550 5.1.1 gone".to_owned()))
        });
        let backend = Scripted::start(script).await;
        let mut world = World::smtp(&backend);
        assert_eq!(world.ask(&[A, B]).await, ["ok", "ok"]);
        let outcome = world.deliver_to(&[A, B]).await;
        assert_eq!(reply(&outcome), "451 4.3.0");
        assert_eq!(backend.messages(), [""; 0], "nothing is sent");
        let asked = backend.heard("RCPT").len();
        assert_eq!(world.ask(&[A, B]).await, ["ok", "550 5.1.1"]);
        assert_eq!(backend.heard("RCPT").len(), asked, "the cache answered");
        assert_eq!(reply(&world.deliver_to(&[A]).await), "250");
        assert_eq!(backend.messages().len(), 1);
    }
}

#[tokio::test]
async fn where_nobody_is_asked_the_retry_meets_the_refusal_at_rcpt_too() {
    let backend = Scripted::start(Script::default().says("RCPT TO:<b", "550 5.1.1 no")).await;
    let mut world = World::smtp(&backend);
    let none = VerifyRecipients::None;
    assert_eq!(world.ask_as(&envelope(), &[A, B], none).await, ["ok", "ok"]);
    assert_eq!(reply(&world.deliver_to(&[A, B]).await), "451 4.3.0");
    assert_eq!(
        world.ask_as(&envelope(), &[A, B], none).await,
        ["ok", "550 5.1.1"]
    );
    let other = Envelope {
        size: Some(7),
        ..envelope()
    };
    assert_eq!(
        world.ask_as(&other, &[B], none).await,
        ["ok"],
        "another mail is not meant"
    );
}

#[tokio::test]
async fn what_the_backend_says_of_the_message_is_relayed() {
    for (said, wanted) in [
        ("554 5.7.1 spam", "554 5.7.1"),
        ("552 5.3.4 too big", "552 5.3.4"),
        ("571 refused", "554 5.0.0"),
        ("451 4.7.1 greylisted", "451 4.7.1"),
        ("452 4.3.1 full", "452 4.3.1"),
        // What no mail can bring about is no bounce.
        ("503 5.5.1 what?", "451 4.3.5"),
        ("421 4.3.2 going", "451 4.3.2"),
    ] {
        let backend = Scripted::start(Script::default().says(".", said)).await;
        assert_eq!(reply(&World::smtp(&backend).deliver_to(&[A]).await), wanted);
        let backend = Scripted::start(Script::default().says("DATA", said)).await;
        assert_eq!(
            reply(&World::smtp(&backend).deliver_to(&[A]).await),
            wanted,
            "at DATA"
        );
    }
}

#[tokio::test]
async fn a_5xx_before_rcpt_is_our_misconfiguration_and_never_a_bounce() {
    for stage in ["connect", "EHLO", "MAIL"] {
        let script = Script::default().says(stage, "550 5.7.1 who are you");
        let backend = Scripted::start(script).await;
        let mut world = World::smtp(&backend);
        assert_eq!(reply(&world.deliver_to(&[A]).await), "451 4.3.5", "{stage}");
        assert_eq!(world.misconfigured().unwrap().code, "550 5.7.1");
        assert_eq!(world.deliveries.counters().misconfigured, 1);
    }
}

#[tokio::test]
async fn a_dead_pooled_connection_is_replaced_once_silently() {
    for (stage, act) in [
        ("MAIL", Act::Close),
        ("RCPT", Act::Close),
        ("DATA", Act::Close),
        (
            "MAIL",
            Act::SayAndClose("421 4.4.2 idle for too long".to_owned()),
        ),
    ] {
        let script = Script::default().deciding(move |heard| {
            let dead = heard.connection == 0 && heard.messages == 1;
            (dead && heard.line.starts_with(stage)).then(|| act.clone())
        });
        let backend = Scripted::start(script).await;
        let mut world = World::smtp(&backend);
        assert_eq!(reply(&world.deliver_to(&[A]).await), "250");
        let outcome = world.deliver_to(&[A]).await;
        assert_eq!(reply(&outcome), "250", "{stage}");
        assert!(!outcome.record.reused);
        assert_eq!(backend.connections(), 2);
        assert_eq!(backend.messages().len(), 2);
        assert_eq!(world.deliveries.counters().connections_replaced, 1);
    }
}

#[tokio::test]
async fn a_dead_connection_is_replaced_only_once() {
    let script = Script::default().deciding(|heard| {
        let dead = heard.messages == 1 || heard.connection > 0;
        (dead && heard.line.starts_with("MAIL")).then_some(Act::Close)
    });
    let backend = Scripted::start(script).await;
    let mut world = World::smtp(&backend);
    assert_eq!(reply(&world.deliver_to(&[A]).await), "250");
    assert_eq!(reply(&world.deliver_to(&[A]).await), "451 4.4.2");
    assert_eq!(backend.connections(), 2);
}

#[tokio::test]
async fn a_connection_that_closed_while_idle_is_not_even_tried() {
    let script = Script::default().deciding(|heard| {
        (heard.line == "." && heard.connection == 0)
            .then(|| Act::SayAndClose("250 2.0.0 queued".to_owned()))
    });
    let backend = Scripted::start(script).await;
    let mut world = World::smtp(&backend);
    for _ in 0..3 {
        assert_eq!(reply(&world.deliver_to(&[A]).await), "250");
    }
    assert_eq!(backend.messages().len(), 3);
    assert_eq!(backend.connections(), 2);
}

#[tokio::test]
async fn once_the_final_dot_is_written_it_is_never_tried_elsewhere_and_a_lost_reply_is_451() {
    for act in [Act::Close, Act::SayAndClose("2".to_owned())] {
        let script = Script::default()
            .deciding(move |heard| (heard.line == "." && heard.messages == 1).then(|| act.clone()));
        let backend = Scripted::start(script).await;
        let mut world = World::smtp(&backend);
        assert_eq!(reply(&world.deliver_to(&[A]).await), "250");
        let outcome = world.deliver_to(&[A]).await;
        assert!(reply(&outcome).starts_with("451 4."), "{}", reply(&outcome));
        assert!(outcome.record.error.is_some());
        assert!(world.progress.dot_written());
        assert_eq!(backend.connections(), 1, "the connection was not replaced");
        assert_eq!(
            backend.heard(".").len(),
            2,
            "the message was not sent again"
        );
    }
}

#[tokio::test]
async fn checks_and_delivery_take_no_longer_than_the_deadline() {
    for stage in ["MAIL", "RCPT", "DATA", "."] {
        let backend = Scripted::start(Script::default().when(stage, Act::Hang)).await;
        let mut world = World::smtp(&backend);
        let outcome = world
            .deliver_within(&message(&[A]), Duration::from_millis(200))
            .await;
        assert_eq!(reply(&outcome), "451 4.4.2", "{stage}");
        assert_eq!(world.progress.dot_written(), stage == ".");
        assert_eq!(outcome.record.error.as_deref(), Some("timeout"));
    }
}

#[tokio::test]
async fn a_greeting_that_does_not_come_is_451() {
    let backend = Scripted::start(Script::default().when("connect", Act::Hang)).await;
    let limits = Limits {
        open: Duration::from_millis(100),
        ..limits()
    };
    let compiled = compiled(backend.address, BackendProtocol::Smtp);
    let mut world = World::with(limits, compiled, Arc::new(NoNames));
    assert_eq!(reply(&world.deliver_to(&[A]).await), "451 4.4.2");
}

#[tokio::test]
async fn a_backend_that_is_cut_at_any_stage_is_451() {
    for stage in ["connect", "EHLO", "MAIL", "RCPT", "DATA", "message", "."] {
        let backend = Scripted::start(Script::default().when(stage, Act::Close)).await;
        let mut world = World::smtp(&backend);
        assert_eq!(reply(&world.deliver_to(&[A]).await), "451 4.4.2", "{stage}");
        assert_eq!(backend.connections(), 1, "{stage}");
    }
}

#[tokio::test]
async fn nonsense_is_451_and_counted() {
    let long = "2".repeat(5000);
    let endless = "250-x\n".repeat(200) + "250 x";
    for said in [
        "",
        "SSH-2.0",
        "250",
        "354 go",
        "999 x",
        "250-a\n550 b",
        &long,
        &endless,
    ] {
        for stage in ["connect", "EHLO", "MAIL", "RCPT", "DATA", "."] {
            let fine = match said {
                "250" => stage != "DATA" && stage != "connect",
                "354 go" => stage == "DATA",
                _ => false,
            };
            if fine || (said == "250" && stage == "connect") {
                continue;
            }
            let backend = Scripted::start(Script::default().says(stage, said)).await;
            let mut world = World::smtp(&backend);
            let outcome = world.deliver_to(&[A]).await;
            assert_eq!(reply(&outcome), "451 4.5.0", "{said:.20} at {stage}");
            assert_eq!(outcome.record.error.as_deref(), Some("nonsense"));
            assert_eq!(world.deliveries.counters().nonsense, 1);
        }
    }
}

#[tokio::test]
async fn a_250_that_is_early_is_not_believed() {
    let script = Script::default().says("DATA", "354 go ahead\n250 2.0.0 queued already");
    let backend = Scripted::start(script).await;
    let mut world = World::smtp(&backend);
    assert_eq!(reply(&world.deliver_to(&[A]).await), "451 4.5.0");
    assert!(!world.progress.dot_written());
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_a_large_message_is_relayed() {
    let refusal = "552 5.3.4 stop".to_owned();
    let script = Script {
        extensions: vec!["PIPELINING"],
        ..Script::default()
    };
    let backend = Scripted::start(script.when("message", Act::SayAndClose(refusal))).await;
    let text = format!("Subject: x\r\n\r\n{}", "0123456789\r\n".repeat(2_000_000));
    let mut world = World::smtp(&backend);
    let outcome = world.deliver(&message_of(&[A], &text)).await;
    // The reset of the closed connection may overtake the refusal.
    assert!(
        ["552 5.3.4", "451 4.4.2"].contains(&reply(&outcome).as_str()),
        "{}",
        reply(&outcome)
    );
    assert!(!world.progress.dot_written());
}

#[tokio::test]
async fn large_messages_arrive_octet_for_octet() {
    let backend = Scripted::start(Script {
        extensions: vec![],
        ..Script::default()
    })
    .await;
    let text = format!(
        "Subject: x\r\n\r\n{}",
        ".a\r\n..\r\n.\r\nb\r\n".repeat(200_000)
    );
    let mut world = World::smtp(&backend);
    assert_eq!(reply(&world.deliver(&message_of(&[A], &text)).await), "250");
    assert!(backend.messages()[0].ends_with(&text));
}

#[tokio::test]
async fn connections_are_used_again_without_rset() {
    let backend = Scripted::start(Script::default()).await;
    let mut world = World::smtp(&backend);
    for turn in 0..10 {
        let outcome = world.deliver_to(&[A]).await;
        assert_eq!(reply(&outcome), "250");
        assert_eq!(outcome.record.reused, turn > 0);
    }
    assert_eq!((backend.connections(), backend.heard("RSET").len()), (1, 0));
    assert_eq!(world.deliveries.counters().connections_reused, 9);
}

#[tokio::test]
async fn a_transaction_that_was_left_open_is_reset_first() {
    let script = Script::default().deciding(|heard| {
        (heard.line == "DATA" && heard.messages == 0).then(|| Act::Say("451 4.3.0 no".to_owned()))
    });
    let backend = Scripted::start(script).await;
    let mut world = World::smtp(&backend);
    assert_eq!(reply(&world.deliver_to(&[A]).await), "451 4.3.0");
    assert_eq!(reply(&world.deliver_to(&[A]).await), "451 4.3.0");
    assert_eq!((backend.connections(), backend.heard("RSET").len()), (1, 1));
}

#[tokio::test]
async fn idle_connections_are_bounded_in_number_and_time() {
    let backend = Scripted::start(Script::default()).await;
    let limits = Limits {
        idle: Duration::from_millis(50),
        ..limits()
    };
    let compiled = compiled(backend.address, BackendProtocol::Smtp);
    let mut world = World::with(limits, compiled, Arc::new(NoNames));
    assert_eq!(reply(&world.deliver_to(&[A]).await), "250");
    assert_eq!(world.deliveries.counters().idle_connections, 1);
    backend.hears("QUIT", 1).await;
    assert_eq!(world.deliveries.counters().idle_connections, 0);
}

#[tokio::test]
async fn a_connection_carries_so_many_messages() {
    let backend = Scripted::start(Script::default()).await;
    let limits = Limits {
        uses: 2,
        ..limits()
    };
    let compiled = compiled(backend.address, BackendProtocol::Smtp);
    let mut world = World::with(limits, compiled, Arc::new(NoNames));
    for _ in 0..4 {
        assert_eq!(reply(&world.deliver_to(&[A]).await), "250");
    }
    assert_eq!(backend.connections(), 2);
}

#[tokio::test]
async fn a_backend_that_vanishes_closes_its_connections() {
    let backend = Scripted::start(Script::default()).await;
    let mut world = World::smtp(&backend);
    assert_eq!(reply(&world.deliver_to(&[A]).await), "250");
    let none = snapshot([]);
    world.backends = world.deliveries.apply(&none, Arc::new(NoNames)).unwrap();
    backend.hears("QUIT", 1).await;
    assert_eq!(world.deliveries.counters().idle_connections, 0);
}

#[tokio::test]
async fn a_snapshot_that_leaves_a_backend_as_it_is_keeps_its_connections() {
    let backend = Scripted::start(Script::default()).await;
    let mut world = World::smtp(&backend);
    assert_eq!(reply(&world.deliver_to(&[A]).await), "250");
    let same = snapshot([("b", compiled(backend.address, BackendProtocol::Smtp))]);
    world.backends = world.deliveries.apply(&same, Arc::new(NoNames)).unwrap();
    assert!(world.deliver_to(&[A]).await.record.reused);
}

#[tokio::test]
async fn a_transaction_keeps_the_backends_that_it_began_with() {
    let backend = Scripted::start(Script::default()).await;
    let mut world = World::smtp(&backend);
    let old = world.destination(A);
    world.backends = world
        .deliveries
        .apply(&snapshot([]), Arc::new(NoNames))
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let outcome = world
        .leg
        .deliver(&old, &message(&[A]), deadline, &Progress::default())
        .await;
    assert_eq!(reply(&outcome), "250");
}

#[tokio::test]
async fn eight_bit_content_needs_8bitmime_and_only_content_counts() {
    let plain = Script {
        extensions: vec!["PIPELINING"],
        ..Script::default()
    };
    let backend = Scripted::start(plain).await;
    let mut world = World::smtp(&backend);
    let eight_bit = message_of(&[A], "Subject: x\r\n\r\n\u{e4}\r\n");
    assert_eq!(reply(&world.deliver(&eight_bit).await), "554 5.6.3");
    assert_eq!(backend.heard("MAIL").len(), 0);
    assert_eq!(
        reply(&world.deliver_to(&[A]).await),
        "250",
        "BODY=8BITMIME alone is no need"
    );
    assert_eq!(backend.heard("MAIL"), ["MAIL FROM:<joe@client.test>"]);
    assert_eq!(backend.connections(), 1);

    let backend = Scripted::start(Script::default()).await;
    assert_eq!(
        reply(&World::smtp(&backend).deliver(&eight_bit).await),
        "250"
    );
    assert!(backend.heard("MAIL")[0].ends_with(" BODY=8BITMIME"));
}

#[tokio::test]
async fn international_mail_needs_smtputf8_and_only_content_counts() {
    let utf8 = |recipients: &[&str], text: &str| {
        let mut message = message_of(recipients, text);
        message.envelope.smtputf8 = true;
        message
    };
    let backend = Scripted::start(Script::default()).await;
    let mut world = World::smtp(&backend);
    let header = utf8(&[A], "Subject: \u{e4}\r\n\r\nx\r\n");
    assert_eq!(reply(&world.deliver(&header).await), "550 5.6.7");
    let address = utf8(&["jos\u{e9}@acme.test"], MESSAGE);
    assert_eq!(reply(&world.deliver(&address).await), "550 5.6.7");
    assert_eq!(reply(&world.deliver(&utf8(&[A], MESSAGE)).await), "250");
    let domain = utf8(&["joe@b\u{fc}cher.test"], MESSAGE);
    assert_eq!(reply(&world.deliver(&domain).await), "250");
    assert_eq!(backend.heard("RCPT")[1], "RCPT TO:<joe@xn--bcher-kva.test>");
    assert!(
        backend
            .heard("MAIL")
            .iter()
            .all(|mail| !mail.contains("SMTPUTF8"))
    );

    let script = Script {
        extensions: vec!["SMTPUTF8", "8BITMIME"],
        ..Script::default()
    };
    let backend = Scripted::start(script).await;
    let mut world = World::smtp(&backend);
    assert_eq!(reply(&world.deliver(&header).await), "250");
    assert_eq!(reply(&world.deliver(&address).await), "250");
    assert_eq!(reply(&world.deliver(&utf8(&[A], MESSAGE)).await), "250");
    let said = backend.heard("MAIL");
    assert!(said[0].ends_with(" BODY=8BITMIME SMTPUTF8") && said[1].ends_with(" SMTPUTF8"));
    assert!(!said[2].contains("SMTPUTF8"));
    assert_eq!(backend.heard("RCPT")[1], "RCPT TO:<jos\u{e9}@acme.test>");
}

#[tokio::test]
async fn a_message_that_is_larger_than_the_backend_takes_is_552() {
    let script = Script {
        extensions: vec!["SIZE 60"],
        ..Script::default()
    };
    let backend = Scripted::start(script).await;
    let mut world = World::smtp(&backend);
    let large = message_of(&[A], &format!("Subject: x\r\n\r\n{}\r\n", "x".repeat(60)));
    assert_eq!(reply(&world.deliver(&large).await), "552 5.3.4");
    assert_eq!(reply(&world.deliver_to(&[A]).await), "250");
}

#[tokio::test]
async fn what_a_lenient_server_could_misread_is_never_sent() {
    let backend = Scripted::start(Script::default()).await;
    let mut world = World::smtp(&backend);
    let smuggled = message_of(&[A], "Subject: x\r\n\r\nx\n.\r\nMAIL FROM:<x>\r\n");
    assert_eq!(reply(&world.deliver(&smuggled).await), "451 4.3.0");
    assert_eq!(backend.connections(), 0);
}

#[tokio::test]
async fn the_record_tells_what_was_done() {
    let backend = Scripted::start(Script::default()).await;
    let outcome = World::smtp(&backend).deliver_to(&[A]).await;
    let record = &outcome.record;
    assert_eq!(record.peer, Some(backend.address));
    assert_eq!(record.reply, Some((250, Some((2, 0, 0)))));
    let times = [
        Some(record.start),
        record.connected,
        record.envelope,
        record.data,
        Some(record.end),
    ];
    assert!(times.iter().all(Option::is_some) && times.is_sorted());
    let span = record.span();
    assert_eq!((span.name, span.children.len()), ("smtp.delivery", 4));
    assert!(span.error.is_none());
}

#[tokio::test]
async fn discard_takes_everything() {
    let address = "127.0.0.1:1".parse().unwrap();
    let discard = Compiled {
        target: Target::Discard,
        ..compiled(address, BackendProtocol::Smtp)
    };
    let mut world = World::of(discard);
    assert_eq!(world.ask(&[A]).await, ["ok"]);
    assert_eq!(reply(&world.deliver_to(&[A]).await), "250");
}
