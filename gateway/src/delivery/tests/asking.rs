//! Ask: the backend is asked at RCPT.

use super::backend::{Act, Script};
use super::*;

const A: &str = "a@acme.test";
const B: &str = "b@acme.test";

#[tokio::test]
async fn the_backend_is_asked_with_the_real_reverse_path_size_body_and_smtputf8() {
    let script = Script {
        extensions: vec!["PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8"],
        ..Script::default()
    };
    let backend = Scripted::start(script).await;
    let mut world = World::smtp(&backend);
    let envelope = Envelope {
        smtputf8: true,
        ..envelope()
    };
    let recipients = ["jos\u{e9}@acme.test"];
    let answers = world
        .ask_as(&envelope, &recipients, VerifyRecipients::Ask)
        .await;
    assert_eq!(answers, ["ok"]);
    assert_eq!(
        backend.heard("MAIL"),
        ["MAIL FROM:<joe@client.test> SIZE=100 BODY=8BITMIME SMTPUTF8"]
    );
    assert_eq!(backend.heard("RCPT"), ["RCPT TO:<jos\u{e9}@acme.test>"]);
}

#[tokio::test]
async fn the_mail_servers_of_others_are_never_asked() {
    let backend = Scripted::start(Script::default()).await;
    let mx = Compiled {
        target: Target::Mx,
        ..compiled(backend.address, BackendProtocol::Smtp)
    };
    // Whoever asked here would have to look names up, which fails.
    let mut world = World::with(limits(), mx, Arc::new(NoNames));
    assert_eq!(world.ask(&[A, B]).await, ["ok", "ok"]);
    assert_eq!(backend.connections(), 0);
}

#[tokio::test]
async fn a_pipelined_group_is_asked_as_one() {
    let script = Script::default()
        .says("RCPT TO:<b", "550 5.1.1 no")
        .says("RCPT TO:<c", "450 4.2.1 no");
    let backend = Scripted::start(script).await;
    let mut world = World::smtp(&backend);
    let answers = world.ask(&[A, B, "c@acme.test"]).await;
    assert_eq!(answers, ["ok", "550 5.1.1", "450 4.2.1"]);
    assert_eq!((backend.connections(), backend.heard("MAIL").len()), (1, 1));
    assert_eq!(backend.heard("RSET").len(), 1);
}

#[tokio::test]
async fn answers_are_cached_but_never_a_4xx() {
    let script = Script::default()
        .says("RCPT TO:<b", "550 5.1.1 no")
        .says("RCPT TO:<c", "450 4.2.1 no");
    let backend = Scripted::start(script).await;
    let mut world = World::smtp(&backend);
    for _ in 0..3 {
        let answers = world.ask(&[A, B, "c@acme.test"]).await;
        assert_eq!(answers, ["ok", "550 5.1.1", "450 4.2.1"]);
    }
    assert_eq!(backend.heard("RCPT TO:<a").len(), 1);
    assert_eq!(backend.heard("RCPT TO:<b").len(), 1);
    assert_eq!(backend.heard("RCPT TO:<c").len(), 3);
    // What was said to one sender is not another's answer.
    let bounce = Envelope {
        reverse_path: ReversePath::Null,
        ..envelope()
    };
    world.ask_as(&bounce, &[A], VerifyRecipients::Ask).await;
    assert_eq!(backend.heard("RCPT TO:<a").len(), 2);
}

#[tokio::test]
async fn asking_has_connections_of_its_own() {
    let backend = Scripted::start(Script::default()).await;
    let mut world = World::smtp(&backend);
    assert_eq!(world.ask(&[A]).await, ["ok"]);
    assert_eq!(reply(&world.deliver_to(&[A]).await), "250");
    assert_eq!(world.ask(&[B]).await, ["ok"]);
    assert_eq!(reply(&world.deliver_to(&[A]).await), "250");
    assert_eq!(backend.connections(), 2);
}

#[tokio::test]
async fn asking_connections_are_retired_after_5_refusals_50_asks_or_60_seconds() {
    assert_eq!(
        (limits().ask_refusals, limits().ask_uses, limits().ask_age),
        (5, 50, Duration::from_secs(60))
    );
    let asked = |limits: Limits, script: Script, times: usize| async move {
        let backend = Scripted::start(script).await;
        let compiled = compiled(backend.address, BackendProtocol::Smtp);
        let mut world = World::with(limits, compiled, Arc::new(NoNames));
        for turn in 0..times {
            world.ask(&[&format!("u{turn}@acme.test")]).await;
        }
        backend.connections()
    };
    let refuses = || Script::default().says("RCPT", "550 5.1.1 no");
    assert_eq!(asked(limits(), refuses(), 5).await, 1);
    assert_eq!(asked(limits(), refuses(), 6).await, 2);
    assert_eq!(asked(limits(), Script::default(), 50).await, 1);
    assert_eq!(asked(limits(), Script::default(), 51).await, 2);
    let aged = Limits {
        ask_age: Duration::ZERO,
        ..limits()
    };
    assert_eq!(asked(aged, Script::default(), 3).await, 3);
}

#[tokio::test]
async fn a_5xx_before_rcpt_or_a_5_7_at_rcpt_is_451_4_3_5_and_shows_in_configz() {
    for (stage, said) in [
        ("connect", "554 5.7.1 no"),
        ("EHLO", "550 no"),
        ("MAIL", "530 5.7.0 log in first"),
        ("RCPT", "554 5.7.1 relay access denied"),
        ("RCPT", "503 5.5.1 what?"),
    ] {
        let backend = Scripted::start(Script::default().says(stage, said)).await;
        let mut world = World::smtp(&backend);
        assert_eq!(world.ask(&[A]).await, ["451 4.3.5"], "{stage}");
        let shown = world.misconfigured().unwrap();
        assert!(said.starts_with(&shown.code), "{said}: {shown:?}");
        assert!(shown.at.parse::<jiff::Timestamp>().is_ok());
        assert_eq!(world.deliveries.counters().misconfigured, 1);
    }
}

#[tokio::test]
async fn a_misconfiguration_is_over_when_the_backend_takes_a_recipient() {
    let script = Script::default().says("RCPT TO:<b", "550 5.7.1 no");
    let backend = Scripted::start(script).await;
    let mut world = World::smtp(&backend);
    assert_eq!(world.ask(&[B]).await, ["451 4.3.5"]);
    assert!(world.misconfigured().is_some());
    assert_eq!(world.ask(&[A]).await, ["ok"]);
    assert_eq!(world.misconfigured(), None);
}

#[tokio::test]
async fn a_4xx_before_rcpt_is_relayed() {
    for (stage, wanted) in [
        ("connect", "450 4.7.1"),
        ("EHLO", "450 4.7.1"),
        ("MAIL", "450 4.7.1"),
    ] {
        let backend = Scripted::start(Script::default().says(stage, "450 4.7.1 later")).await;
        let mut world = World::smtp(&backend);
        assert_eq!(world.ask(&[A]).await, [wanted], "{stage}");
        assert_eq!(world.misconfigured(), None);
    }
}

#[tokio::test]
async fn asking_takes_at_most_20_seconds_and_connecting_5() {
    let default = Limits::default();
    assert_eq!(
        (default.ask, default.connect),
        (Duration::from_secs(20), Duration::from_secs(5))
    );
    for stage in ["connect", "EHLO", "MAIL", "RCPT", "RSET"] {
        let backend = Scripted::start(Script::default().when(stage, Act::Hang)).await;
        let limits = Limits {
            ask: Duration::from_millis(100),
            ..limits()
        };
        let compiled = compiled(backend.address, BackendProtocol::Smtp);
        let mut world = World::with(limits, compiled, Arc::new(NoNames));
        assert_eq!(world.ask(&[A]).await, ["451 4.4.2"], "{stage}");
    }
}

#[tokio::test]
async fn a_backend_that_cannot_be_reached_is_451() {
    let backend = Scripted::start(Script::default()).await;
    let address = backend.address;
    drop(backend);
    // The listener closes when its task has ended.
    tokio::task::yield_now().await;
    let mut world = World::of(compiled(address, BackendProtocol::Smtp));
    assert_eq!(world.ask(&[A]).await, ["451 4.4.1"]);
    assert_eq!(world.deliveries.counters().connections_failed, 1);
}

#[tokio::test]
async fn a_dead_asking_connection_is_replaced_once() {
    let script = Script::default().deciding(|heard| {
        (heard.connection == 0 && heard.line == "RCPT TO:<b@acme.test>").then_some(Act::Close)
    });
    let backend = Scripted::start(script).await;
    let mut world = World::smtp(&backend);
    assert_eq!(world.ask(&[A]).await, ["ok"]);
    assert_eq!(world.ask(&[B]).await, ["ok"]);
    assert_eq!(backend.connections(), 2);
}

#[tokio::test]
async fn what_cannot_be_said_to_the_backend_is_refused_without_asking() {
    let script = Script {
        extensions: vec!["PIPELINING", "SIZE 1000"],
        ..Script::default()
    };
    let backend = Scripted::start(script).await;
    let mut world = World::smtp(&backend);
    let large = Envelope {
        size: Some(1001),
        ..envelope()
    };
    assert_eq!(
        world.ask_as(&large, &[A], VerifyRecipients::Ask).await,
        ["552 5.3.4"]
    );
    let utf8 = Envelope {
        smtputf8: true,
        ..envelope()
    };
    let recipients = ["jos\u{e9}@acme.test", A];
    let answers = world
        .ask_as(&utf8, &recipients, VerifyRecipients::Ask)
        .await;
    assert_eq!(answers, ["550 5.6.7", "ok"]);
    assert_eq!(backend.heard("RCPT"), ["RCPT TO:<a@acme.test>"]);
}

#[tokio::test]
async fn too_many_recipients_is_transient_whatever_its_code() {
    let backend = Scripted::start(Script::default().says("RCPT", "552 5.5.3 too many")).await;
    assert_eq!(World::smtp(&backend).ask(&[A]).await, ["452 4.5.3"]);
}

#[tokio::test]
async fn the_weighted_choice_is_made_once_and_prefers_the_backend_already_chosen() {
    let [one, two] = [1, 2].map(|host| {
        let address = SocketAddr::from(([127, 0, 0, host], 24));
        compiled(address, BackendProtocol::Smtp)
    });
    let chances = Arc::new(std::sync::Mutex::new(vec![0.9, 0.0, 0.0]));
    let next = chances.clone();
    let chance = Arc::new(move || next.lock().unwrap().pop().unwrap_or(0.0));
    let deliveries = Deliveries::new(Limits { chance, ..limits() });
    let snapshot = snapshot([("one", one), ("two", two)]);
    let backends = deliveries.apply(&snapshot, Arc::new(NoNames)).unwrap();
    let (half, reversed) = (
        rule(&[("one", 1), ("two", 1)]),
        rule(&[("two", 1), ("one", 1)]),
    );
    let mut choices = Choices::default();
    let recipient = mailbox(A);
    let chosen = choices
        .destination(&backends, (0, 0), &half, &recipient)
        .unwrap();
    assert_eq!(&**chosen.backend().id(), "one");
    choices.accepted(&chosen);
    let again = choices
        .destination(&backends, (0, 0), &half, &recipient)
        .unwrap();
    assert_eq!(again.key(), chosen.key());
    let other = choices
        .destination(&backends, (0, 1), &reversed, &recipient)
        .unwrap();
    assert_eq!(&**other.backend().id(), "one", "it goes before the weights");
    let fresh = Choices::default()
        .destination(&backends, (0, 1), &reversed, &recipient)
        .unwrap();
    assert_eq!(&**fresh.backend().id(), "two");
    let last = Choices::default()
        .destination(&backends, (0, 1), &half, &recipient)
        .unwrap();
    assert_eq!(&**last.backend().id(), "two", "by chance");
}

#[tokio::test]
async fn the_mail_server_of_another_domain_is_another_destination() {
    let address = SocketAddr::from(([127, 0, 0, 1], 24));
    let store = compiled(address, BackendProtocol::Smtp);
    let mx = Compiled {
        target: Target::Mx,
        ..store.clone()
    };
    let deliveries = Deliveries::new(limits());
    let snapshot = snapshot([("mx", mx), ("store", store)]);
    let backends = deliveries.apply(&snapshot, Arc::new(NoNames)).unwrap();
    let (away, either, home) = (
        rule(&[("mx", 1)]),
        rule(&[("mx", 1), ("store", 1)]),
        rule(&[("store", 1)]),
    );
    let mut choices = Choices::default();
    let mut choose = |key, rule: &Rule, recipient: &str| {
        let chosen = choices.destination(&backends, (0, key), rule, &mailbox(recipient));
        chosen.unwrap().backend().id().to_string()
    };
    assert_eq!(choose(0, &away, "a@one.test"), "mx");
    assert_eq!(choose(1, &home, "a@acme.test"), "store");
    // What leads to the mail servers of `two.test` helps nobody of this group; `store` does.
    assert_eq!(choose(2, &either, "a@two.test"), "store");
    assert_eq!(choose(3, &either, "a@one.test"), "mx");
}

#[tokio::test]
async fn a_backend_that_failed_is_avoided_for_a_while() {
    let backend = Scripted::start(Script::default()).await;
    let dead = compiled("127.0.0.1:1".parse().unwrap(), BackendProtocol::Smtp);
    let alive = compiled(backend.address, BackendProtocol::Smtp);
    let limits = Limits {
        avoid_first: Duration::from_secs(3600),
        ..limits()
    };
    let limits = Limits {
        avoid_longest: Duration::from_secs(3600),
        ..limits
    };
    let deliveries = Deliveries::new(limits);
    let snapshot = snapshot([("dead", dead), ("alive", alive)]);
    let backends = deliveries.apply(&snapshot, Arc::new(NoNames)).unwrap();
    let rule = rule(&[("dead", 99), ("alive", 1)]);
    let choose = || {
        Choices::default()
            .destination(&backends, (0, 0), &rule, &mailbox(A))
            .unwrap()
    };
    let first = choose();
    assert_eq!(&**first.backend().id(), "dead");
    let leg = session(&deliveries);
    let (ask, deadline) = (VerifyRecipients::Ask, leg.ask_deadline());
    let asked = leg
        .ask(&first, &envelope(), &[mailbox(A)], ask, deadline)
        .await;
    assert_eq!(codes(asked.answers[0].as_ref().unwrap_err()), "451 4.4.1");
    assert_eq!(&**choose().backend().id(), "alive");
}

#[test]
fn a_snapshot_whose_parts_do_not_fit_is_refused_whole() {
    let address = "127.0.0.1:1".parse().unwrap();
    let deliveries = Deliveries::new(limits());
    let mut wants_login = compiled(address, BackendProtocol::Smtp);
    wants_login.credential = Some("relay".to_owned());
    let error = deliveries
        .apply(&snapshot([("b", wants_login)]), Arc::new(NoNames))
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "host 127.0.0.1:1: there is no credential relay"
    );
    let mut unknown = snapshot([]);
    unknown.config.routes.push(postern_config::Route {
        namespace: "acme".to_owned(),
        name: "mail".to_owned(),
        listener: "mx".to_owned(),
        rules: vec![rule(&[("gone", 1)])],
    });
    let error = deliveries.apply(&unknown, Arc::new(NoNames)).err().unwrap();
    assert_eq!(
        error.to_string(),
        "route acme/mail, rule default: there is no backend gone"
    );
}

#[test]
fn what_was_prepared_changes_nothing_until_it_is_committed() {
    let deliveries = Deliveries::new(limits());
    let address = "127.0.0.1:1".parse().unwrap();
    let mut bad_ca = compiled(address, BackendProtocol::Smtp);
    bad_ca.tls.mode = BackendTlsMode::Required;
    bad_ca.tls.ca_pem = vec!["x".to_owned()];
    let prepared = deliveries
        .prepare(&snapshot([("b", bad_ca)]), Arc::new(NoNames))
        .unwrap();
    assert_eq!(deliveries.misconfigured().len(), 0);
    deliveries.commit(&prepared);
    assert_eq!(deliveries.misconfigured().len(), 1);
}
