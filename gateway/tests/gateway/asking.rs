//! Groups of recipients: who is asked, in how many questions, and where the transaction goes.

use crate::client::Client;
use crate::scripted::{Act, Script, Scripted};
use crate::world::{World, enforced, first_rule, rule, service};
use postern_config::Snapshot;
use postern_config::route::{LocalPartMatch, Rule, VerifyRecipients, WeightedBackend};
use postern_gateway::Options;
use postern_gateway::delivery::Limits;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tokio::task::block_in_place;

/// A rule for local parts that begin with `prefix`, to these backends by weight.
fn to(prefix: &str, backends: &[(&str, u32)]) -> Rule {
    let weighted = |&(backend, weight): &(&str, u32)| WeightedBackend {
        backend: backend.into(),
        weight,
    };
    Rule {
        matches: vec![LocalPartMatch::Prefix(prefix.into())],
        verify_recipients: VerifyRecipients::Ask,
        backends: backends.iter().map(weighted).collect(),
        ..rule(prefix, "store")
    }
}

/// A gateway with these rules and backends; the first backend of equals is chosen.
async fn world(ask: Duration, rules: Vec<Rule>, backends: &[(&str, &Scripted)]) -> World {
    let delivery = Limits {
        ask,
        chance: Arc::new(|| 0.0),
        ..Limits::default()
    };
    let options = Options {
        delivery,
        ..Options::default()
    };
    let change = |snapshot: &mut Snapshot| {
        for (name, backend) in backends {
            let mut compiled = service(backend.address);
            compiled.display = (*name).to_owned();
            let config = &mut snapshot.config;
            config.backends.insert((*name).to_owned(), compiled);
        }
        snapshot.config.routes[0].rules = rules;
    };
    World::start(vec![], options, change).await
}

const LONG: Duration = Duration::from_secs(60);

/// Sends MAIL and one RCPT for each local part in one packet; the replies to RCPT are returned.
async fn group(client: &mut Client, locals: &[&str]) -> Vec<String> {
    send_group(client, locals).await;
    let mut replies = Vec::new();
    for _ in locals {
        let reply = client.reply().await;
        replies.push(reply.split(' ').take(2).collect::<Vec<_>>().join(" "));
    }
    replies
}

async fn send_group(client: &mut Client, locals: &[&str]) {
    let recipients = locals
        .iter()
        .map(|local| format!("RCPT TO:<{local}@acme.test>\r\n"));
    let recipients: String = recipients.collect();
    client
        .send(format!("MAIL FROM:<ann@shop.test>\r\n{recipients}"))
        .await;
    client.expect("250 2.1.0 ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_one_question_for_each_destination_wherever_its_recipients_stand() {
    let one = Scripted::start(Script::default()).await;
    let two = Scripted::start(Script::default().says("RCPT TO:<two-no", "550 5.1.1 no")).await;
    let rules = vec![to("one", &[("one", 1)]), to("two", &[("two", 1)])];
    let world = world(LONG, rules, &[("one", &one), ("two", &two)]).await;
    let mut client = world.client().await;
    let replies = group(&mut client, &["one-a", "two-a", "one-b", "two-no", "one-c"]).await;
    // The key is decided last: who does not exist is told so.
    let (taken, other) = ("250 2.1.5", "452 4.5.3");
    assert_eq!(replies, [taken, other, taken, "550 5.1.1", taken]);
    assert_eq!((one.heard("MAIL").len(), two.heard("MAIL").len()), (1, 1));
    assert_eq!((one.heard("RCPT").len(), two.heard("RCPT").len()), (3, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_longer_than_every_buffer_is_still_one_question() {
    let (open, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let held = Script::default().deciding(move |heard| {
        if heard.line.starts_with("RCPT TO:<one-first@") {
            // Ends when the test says so, or is over.
            let _ = block_in_place(|| gate.lock().unwrap().recv());
        }
        None
    });
    let one = Scripted::start(held).await;
    let mut world = world(LONG, vec![to("one", &[("one", 1)])], &[("one", &one)]).await;
    world.change(|snapshot| {
        first_rule(snapshot).enforced.rcpt.limits.value.recipients = 2000;
        enforced(snapshot).connection.limits.value.commands = 10_000;
    });
    let mut client = world.client().await;
    client.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
    client.send("RCPT TO:<one-first@acme.test>\r\n").await;
    one.hears("RCPT TO:<one-first@", 1).await;
    // It has arrived before any of it is read: more than nine times what the session keeps of
    // commands, and more than one read takes.
    let command = |number| format!("RCPT TO:<one-{number}-{}@acme.test>\r\n", "x".repeat(50));
    let commands: String = (0..1000).map(command).collect();
    assert!(commands.len() > 9 * (8 << 10) && commands.len() > 64 << 10);
    client.send(commands).await;
    open.send(()).unwrap();
    for _ in 0..1001 {
        client.expect("250 2.1.5 ").await;
    }
    assert_eq!(one.heard("RCPT").len(), 1001);
    assert_eq!(one.heard("MAIL").len(), 2, "one for each group");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_destinations_of_a_group_share_one_deadline() {
    let hangs = || Script::default().when("RCPT", Act::Hang);
    let one = Scripted::start(hangs()).await;
    let two = Scripted::start(hangs()).await;
    let three = Scripted::start(Script::default()).await;
    let rules = vec![
        to("one", &[("one", 1)]),
        to("two", &[("two", 1)]),
        to("three", &[("three", 1)]),
    ];
    let backends = [("one", &one), ("two", &two), ("three", &three)];
    let world = world(Duration::from_secs(1), rules, &backends).await;
    let mut client = world.client().await;
    let replies = group(&mut client, &["one", "two", "three"]).await;
    // Nobody waits for the turn of others: the third was asked although the first two hang.
    assert_eq!(replies, ["451 4.4.2", "451 4.4.2", "250 2.1.5"]);
    client.talk("RSET", "250 ").await;
    let record = world.records.transaction(0).await;
    let asked = record.span.children.iter();
    let asked: Vec<_> = asked.filter(|span| span.name == "smtp.ask").collect();
    assert_eq!(asked.len(), 3);
    let first_end = asked.iter().map(|span| span.end).min().unwrap();
    assert!(
        asked.iter().all(|span| span.start <= first_end),
        "{asked:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_had_no_turn_is_not_asked_and_not_blamed() {
    let hangs = Scripted::start(Script::default().when("RCPT", Act::Hang)).await;
    let good = Scripted::start(Script::default()).await;
    // As many as are asked at once, and one more.
    let names: Vec<String> = (0..16).map(|number| format!("hangs-{number:02}")).collect();
    let mut backends: Vec<(&str, &Scripted)> = vec![("good", &good)];
    backends.extend(names.iter().map(|name| (name.as_str(), &hangs)));
    let mut rules: Vec<Rule> = names.iter().map(|name| to(name, &[(name, 1)])).collect();
    rules.push(to("good", &[("good", 1)]));
    let world = world(Duration::from_millis(500), rules, &backends).await;
    let mut client = world.client().await;
    let mut locals: Vec<&str> = names.iter().map(String::as_str).collect();
    locals.push("good");
    let replies = group(&mut client, &locals).await;
    assert_eq!(replies[..16], ["451 4.4.2"; 16]);
    assert_eq!(replies[16], "451 4.4.5");
    assert_eq!(good.connections(), 0);
    client.talk("RCPT TO:<good@acme.test>", "250 ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_prefers_a_backend_that_one_of_it_has() {
    let one = Scripted::start(Script::default()).await;
    let two = Scripted::start(Script::default()).await;
    // By weight alone the second would go to `two`, and get 452.
    let rules = vec![
        to("a", &[("one", 1), ("two", 1)]),
        to("b", &[("two", 1), ("one", 1)]),
        to("c", &[("two", 1), ("one", 0)]),
    ];
    let world = world(LONG, rules, &[("one", &one), ("two", &two)]).await;
    let mut client = world.client().await;
    let replies = group(&mut client, &["a", "b", "c"]).await;
    // What has no weight gets no mail, whoever prefers it.
    assert_eq!(replies, ["250 2.1.5", "250 2.1.5", "452 4.5.3"]);
    assert_eq!(two.heard("RCPT").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_followed_a_refused_recipient_follows_the_first_accepted_one_instead() {
    let one = Scripted::start(Script::default().says("RCPT TO:<a-no", "550 5.1.1 no")).await;
    let two = Scripted::start(Script::default()).await;
    let rules = vec![
        to("a", &[("one", 1)]),
        to("b", &[("two", 1)]),
        to("c", &[("one", 1), ("two", 1)]),
    ];
    let world = world(LONG, rules, &[("one", &one), ("two", &two)]).await;
    let mut client = world.client().await;
    // c goes where a would go; then a is refused, and b decides.
    let replies = group(&mut client, &["a-no", "b", "c", "a"]).await;
    assert_eq!(
        replies,
        ["550 5.1.1", "250 2.1.5", "250 2.1.5", "452 4.5.3"]
    );
    client.talk("DATA", "354 ").await;
    client
        .send("From: <ann@shop.test>\r\n\r\nHi\r\n.\r\n")
        .await;
    client.expect("250 ").await;
    assert_eq!((one.messages().len(), two.messages().len()), (0, 1));
    // The question to `two`, that about c again, and the delivery.
    assert_eq!(two.heard("RCPT TO:<c@").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_recipient_decides_nothing_for_those_that_come_later() {
    let one = Scripted::start(Script::default().says("RCPT TO:<c-no", "550 5.1.1 no")).await;
    let two = Scripted::start(Script::default()).await;
    let rules = vec![
        to("b", &[("two", 1)]),
        to("c", &[("one", 1), ("two", 1)]),
        to("d", &[("two", 1), ("one", 1)]),
    ];
    let world = world(LONG, rules, &[("one", &one), ("two", &two)]).await;
    let mut client = world.client().await;
    client.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
    client.talk("RCPT TO:<c-no@acme.test>", "550 5.1.1 ").await;
    client.talk("RCPT TO:<d@acme.test>", "250 ").await;
    assert_eq!(two.heard("RCPT TO:<d").len(), 1, "by weight");
    client.talk("RCPT TO:<b@acme.test>", "250 ").await;
    // Its rule had chosen `one`, which nobody of this transaction can have any more.
    client.talk("RCPT TO:<c@acme.test>", "250 ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_replies_do_not_wait_for_a_question_that_takes_long() {
    let quick = Scripted::start(Script::default()).await;
    let slow = Scripted::start(Script::default().when("RCPT", Act::Hang)).await;
    let rules = vec![to("quick", &[("quick", 1)]), to("slow", &[("slow", 1)])];
    let world = world(LONG, rules, &[("quick", &quick), ("slow", &slow)]).await;
    let mut client = world.client().await;
    send_group(&mut client, &["nobody", "quick", "slow", "quick-too"]).await;
    // The client waits 20 s for a reply, the gateway 60 s for the slow backend.
    client.expect("550 5.1.1 ").await;
    client.expect("250 2.1.5 ").await;
    assert_eq!(slow.heard("RCPT").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_faults_in_a_group_end_the_session_whoever_is_still_asked() {
    let slow = Scripted::start(Script::default().when("RCPT", Act::Hang)).await;
    let rules = vec![to("slow", &[("slow", 1)])];
    let mut world = world(LONG, rules, &[("slow", &slow)]).await;
    world.change(|snapshot| enforced(snapshot).connection.limits.value.errors = 2);
    let mut client = world.client().await;
    send_group(&mut client, &["x1", "x2", "x3", "slow"]).await;
    client.expect("550 5.1.1 ").await;
    client.expect("550 5.1.1 ").await;
    client.expect("421 4.7.0 ").await;
    client.expect_end().await;
    let record = world.records.transaction(0).await;
    assert_eq!(record.refused.len(), 3);
}
