//! The way of a mail, stage by stage.

use crate::client::Client;
use crate::world::{World, by_policy, enforced, first_rule, rule};
use postern_config::backend::MultipleRecipients;
use postern_config::listener::ReceivedClient;
use postern_config::policy::{
    AddressPattern, ClientAccess, DataLimits, DomainPattern, HeloAccess, Mark, RcptLimits,
    RecipientAccess, SenderAccess,
};
use postern_config::route::{LocalPartMatch, VerifyRecipients};
use postern_gateway::telemetry::record::Disposition;

const MAIL: &str =
    "From: Ann <ann@shop.test>\r\nTo: bob@acme.test\r\nMessage-ID: <1@shop.test>\r\n\r\nHello";

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_reaches_its_backend_and_the_250_is_the_backends() {
    let world = World::new(|_| {}).await;
    let mut client = world.client().await;
    let reply = client.mail("ann@shop.test", "bob@acme.test", MAIL).await;
    assert!(reply.starts_with("250 2.0.0 "), "{reply}");
    assert!(
        reply.contains("taken as 42"),
        "the backend's own words: {reply}"
    );
    let mails = world.backend.mails();
    assert_eq!(
        (mails[0].from.as_str(), mails[0].to.as_slice()),
        ("ann@shop.test", &["bob@acme.test".to_owned()][..])
    );
    client.talk("QUIT", "221 ").await;
    client.expect_end().await;
    let record = world.records.transaction(0).await;
    assert_eq!(record.disposition, Disposition::Accepted);
    assert_eq!(record.route.as_deref(), Some("acme/mail/default"));
    assert_eq!(record.message_id.as_deref(), Some("<1@shop.test>"));
    assert_eq!(world.records.session(0).await.transactions, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn header_fields_are_added_on_top_and_the_rest_is_untouched() {
    let world = World::new(|snapshot| {
        first_rule(snapshot).enforced.data.mark = by_policy(Mark {
            headers: vec![("X-Origin".into(), "external".into())],
        });
    })
    .await;
    let mut client = world.client().await;
    let body = "X-Postern-Verdict: forged\r\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nFrom: ann@shop.test\r\n\r\n.dot\r\nlast";
    let stuffed = body.replace("\r\n.dot", "\r\n..dot");
    client
        .mail("ann@shop.test", "bob@acme.test", &stuffed)
        .await;
    let message = world.backend.mails()[0].message.clone();
    let names: Vec<&str> = message
        .lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| !line.starts_with([' ', '\t']))
        .map(|line| line.split(':').next().unwrap())
        .collect();
    assert_eq!(
        names,
        ["Authentication-Results", "Received", "X-Origin", "From"],
        "{message}"
    );
    assert!(
        message.ends_with("From: ann@shop.test\r\n\r\n.dot\r\nlast\r\n"),
        "{message}"
    );
    let received = message.split("Received: ").nth(1).unwrap();
    assert!(
        received.starts_with("from client.test ([127.0.0.1])\r\n\tby mx.acme.test with ESMTP id ")
    );
    assert!(
        received.contains("for <bob@acme.test>;\r\n\t"),
        "{received}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_header_field_shows_a_client_that_is_hidden() {
    let zone = vec![("shop.test", "v=spf1 ip4:127.0.0.1 -all".to_owned())];
    let world = World::with(zone, |snapshot| {
        snapshot.config.listeners[0].received_client = ReceivedClient::Hide;
    })
    .await;
    // Its own name tells as much as its address does, and SPF quotes what matches it.
    let mut client = Client::greeted(world.mx()).await;
    client.talk("EHLO [127.0.0.1]", "250 ").await;
    for (from, spf) in [("ann@shop.test", "spf=pass "), ("", "spf=none")] {
        let reply = client.mail(from, "bob@acme.test", MAIL).await;
        assert!(reply.starts_with("250 "), "{reply}");
        let message = world.backend.mails().pop().unwrap().message;
        let (ours, _) = message.split_once("From: Ann").unwrap();
        assert!(!ours.contains("127"), "{ours}");
        assert!(ours.contains("Received: from unknown\r\n"), "{ours}");
        assert!(ours.contains(spf) && ours.contains("iprev="), "{ours}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn received_hides_the_client_where_that_is_asked_for() {
    let world = World::new(|snapshot| {
        snapshot.config.listeners[0].received_client = ReceivedClient::Hide;
    })
    .await;
    let mut client = world.client().await;
    client.talk("MAIL FROM:<a@shop.test>", "250 ").await;
    client.talk("RCPT TO:<bob@acme.test>", "250 ").await;
    client.talk("RCPT TO:<eve@acme.test>", "250 ").await;
    client.talk("DATA", "354 ").await;
    client.send(format!("{MAIL}\r\n.\r\n")).await;
    client.expect("250 ").await;
    let mail = &world.backend.mails()[0];
    assert_eq!(mail.to, ["bob@acme.test", "eve@acme.test"]);
    let received = mail.message.split("Received: ").nth(1).unwrap();
    let received = received.split("\r\nFrom:").next().unwrap();
    assert!(received.starts_with("from client.test\r\n"), "{received}");
    assert!(!received.contains("127.0.0.1"), "{received}");
    assert!(
        !received.contains("for <"),
        "recipients are not told of each other"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_clients_get_554_and_may_only_quit() {
    let world = World::new(|snapshot| {
        let deny = vec!["127.0.0.0/8".parse().unwrap()];
        enforced(snapshot).connection.clients = by_policy(ClientAccess {
            allow: vec![],
            deny,
        });
    })
    .await;
    let mut client = Client::open(world.mx()).await;
    let greeting = client.expect("554 5.7.1 ").await;
    assert!(
        greeting.contains("127.0.0.0/8") && greeting.contains("mail/strict"),
        "{greeting}"
    );
    client.talk("EHLO client.test", "503 ").await;
    client.talk("QUIT", "221 ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn helo_and_sender_access() {
    let world = World::new(|snapshot| {
        let deny = vec![DomainPattern::Wildcard("bad.test".into())];
        enforced(snapshot).helo.access = by_policy(HeloAccess {
            require_fqdn: true,
            deny,
        });
        let deny = vec![AddressPattern::Domain("spam.test".into())];
        enforced(snapshot).mail.senders = by_policy(SenderAccess {
            allow: vec![],
            deny,
        });
    })
    .await;
    let mut client = Client::greeted(world.mx()).await;
    client.talk("EHLO x.bad.test", "550 5.7.1 ").await;
    client.talk("EHLO friend", "550 5.7.1 ").await;
    client.talk("EHLO client.test", "250 ").await;
    let reply = client.talk("MAIL FROM:<x@spam.test>", "550 5.7.1 ").await;
    assert!(reply.contains("policy mail/strict"), "{reply}");
    client.talk("MAIL FROM:<>", "250 ").await;
    let refused = world.records.transaction(0).await;
    assert_eq!(refused.disposition, Disposition::Rejected);
    assert_eq!(refused.checks[0].check, "access.senders");
}

#[tokio::test(flavor = "multi_thread")]
async fn recipients_are_routed_and_refused() {
    let world = World::new(|snapshot| {
        let policy = &mut first_rule(snapshot).enforced.rcpt;
        let deny = vec![AddressPattern::Address("closed@acme.test".into())];
        policy.recipients = by_policy(RecipientAccess { deny });
        policy.limits = by_policy(RcptLimits { recipients: 2 });
        first_rule(snapshot).matches = vec![LocalPartMatch::RegularExpression("[a-z]+".into())];
    })
    .await;
    let mut client = world.client().await;
    client.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
    client
        .talk("RCPT TO:<x@elsewhere.test>", "550 5.7.1 ")
        .await;
    client.talk("RCPT TO:<x@[127.0.0.1]>", "550 5.7.1 ").await;
    client
        .talk("RCPT TO:<no-rule@acme.test>", "550 5.1.1 ")
        .await;
    client
        .talk("RCPT TO:<CLOSED@acme.test>", "550 5.7.1 ")
        .await;
    client.talk("RCPT TO:<Postmaster>", "250 ").await;
    client.talk("RCPT TO:<bob@acme.test>", "250 ").await;
    client.talk("RCPT TO:<eve@acme.test>", "452 4.5.3 ").await;
    client.talk("DATA", "354 ").await;
    client.send(format!("{MAIL}\r\n.\r\n")).await;
    client.expect("250 ").await;
    assert_eq!(
        world.backend.mails()[0].to,
        ["postmaster@acme.test", "bob@acme.test"]
    );
    let record = world.records.transaction(0).await;
    let codes: Vec<u16> = record.refused.iter().map(|refused| refused.1).collect();
    assert_eq!(codes, [550, 550, 550, 550, 452]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backend_is_asked_at_rcpt_and_pipelined_groups_are_answered_in_order() {
    let world =
        World::new(|snapshot| first_rule(snapshot).verify_recipients = VerifyRecipients::Ask).await;
    let mut client = world.client().await;
    client
        .send("MAIL FROM:<ann@shop.test>\r\nRCPT TO:<bob@acme.test>\r\nRCPT TO:<nobody@acme.test>\r\nRCPT TO:<x@elsewhere.test>\r\nDATA\r\n")
        .await;
    client.expect("250 2.1.0 ").await;
    client.expect("250 2.1.5 ").await;
    client.expect("550 5.1.1 ").await;
    client.expect("550 5.7.1 ").await;
    client.expect("354 ").await;
    client.send(format!("{MAIL}\r\n.\r\n")).await;
    client.expect("250 ").await;
    assert_eq!(world.backend.mails()[0].to, ["bob@acme.test"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_backend_or_another_policy_needs_its_own_transaction() {
    let world = World::new(|snapshot| {
        let mut strict = rule("strict", "store");
        strict.matches = vec![LocalPartMatch::Exact("strict".into())];
        strict.enforced.data.limits.value.received_headers = 7;
        let mut other = rule("other", "other");
        other.matches = vec![LocalPartMatch::Exact("other".into())];
        snapshot.config.routes[0]
            .rules
            .splice(0..0, [strict, other]);
        snapshot.config.backends.get_mut("other").unwrap().display = "another".into();
    })
    .await;
    let mut client = world.client().await;
    client.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
    client.talk("RCPT TO:<bob@acme.test>", "250 ").await;
    client
        .talk("RCPT TO:<strict@acme.test>", "452 4.5.3 ")
        .await;
    client.talk("RCPT TO:<other@acme.test>", "452 4.5.3 ").await;
    client
        .talk("RCPT TO:<x@elsewhere.test>", "550 5.7.1 ")
        .await;
    client.talk("RCPT TO:<eve@acme.test>", "250 ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_that_is_refused_for_good_is_not_sent_to_the_next_transaction() {
    let world = World::new(|snapshot| {
        let mut closed = rule("closed", "other");
        closed.matches = vec![LocalPartMatch::Exact("closed".into())];
        let deny = vec![AddressPattern::Address("closed@acme.test".into())];
        closed.enforced.rcpt.recipients = by_policy(RecipientAccess { deny });
        let mut nobody = rule("nobody", "other");
        nobody.matches = vec![LocalPartMatch::Prefix("nobody".into())];
        nobody.verify_recipients = VerifyRecipients::Ask;
        snapshot.config.routes[0]
            .rules
            .splice(0..0, [closed, nobody]);
        snapshot.config.backends.get_mut("other").unwrap().display = "another".into();
    })
    .await;
    let mut client = world.client().await;
    client.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
    client.talk("RCPT TO:<bob@acme.test>", "250 ").await;
    // Both lead to another backend; what they would be told there, they are told now.
    client
        .talk("RCPT TO:<closed@acme.test>", "550 5.7.1 ")
        .await;
    client
        .talk("RCPT TO:<nobody@acme.test>", "550 5.1.1 ")
        .await;
    client
        .talk("RCPT TO:<nobody-yet@acme.test>", "452 4.5.3 ")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_of_one_recipient_gets_each_in_a_transaction_of_its_own() {
    let world = World::new(|snapshot| {
        snapshot.config.listeners[0].one_recipient = true;
        let store = snapshot.config.backends.get_mut("store").unwrap();
        store.multiple_recipients = MultipleRecipients::One;
        first_rule(snapshot).verify_recipients = VerifyRecipients::Ask;
    })
    .await;
    let mut client = Client::greeted(world.mx()).await;
    let offers = client.talk("EHLO client.test", "250 ").await;
    // RFC 9422 §4.2.
    let limits = offers
        .lines()
        .filter(|line| line[4..].starts_with("LIMITS"));
    let limits: Vec<&str> = limits.map(|line| &line[4..]).collect();
    assert_eq!(limits, ["LIMITS RCPTMAX=1"], "{offers}");
    // In one packet: who is refused for good is not the one.
    client
        .send("MAIL FROM:<ann@shop.test>\r\nRCPT TO:<nobody@acme.test>\r\nRCPT TO:<bob@acme.test>\r\nRCPT TO:<nobody@acme.test>\r\nRCPT TO:<eve@acme.test>\r\nDATA\r\n")
        .await;
    client.expect("250 2.1.0 ").await;
    client.expect("550 5.1.1 ").await;
    client.expect("250 2.1.5 ").await;
    client.expect("550 5.1.1 ").await;
    let reply = client.expect("452 4.5.3 ").await;
    assert!(reply.contains("One recipient a message"), "{reply}");
    client.expect("354 ").await;
    client.send(format!("{MAIL}\r\n.\r\n")).await;
    client.expect("250 ").await;
    let reply = client.mail("ann@shop.test", "eve@acme.test", MAIL).await;
    assert!(reply.starts_with("250 "), "{reply}");
    let to: Vec<_> = world
        .backend
        .mails()
        .into_iter()
        .map(|mail| mail.to)
        .collect();
    assert_eq!(to, [["bob@acme.test"], ["eve@acme.test"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_limit_of_recipients_is_shown_where_backends_take_many() {
    let world = World::new(|_| {}).await;
    let mut client = Client::greeted(world.mx()).await;
    let offers = client.talk("EHLO client.test", "250 ").await;
    assert!(!offers.contains("LIMITS"), "{offers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn postmaster_without_a_domain_is_taken_although_its_address_is_denied() {
    let world = World::new(|snapshot| {
        let deny = vec![AddressPattern::Address("postmaster@acme.test".into())];
        first_rule(snapshot).enforced.rcpt.recipients = by_policy(RecipientAccess { deny });
    })
    .await;
    let mut client = world.client().await;
    client.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
    client
        .talk("RCPT TO:<postmaster@acme.test>", "550 5.7.1 ")
        .await;
    // RFC 5321 §4.5.1.
    client.talk("RCPT TO:<postmaster>", "250 ").await;
    client.talk("DATA", "354 ").await;
    client.send(format!("{MAIL}\r\n.\r\n")).await;
    client.expect("250 ").await;
    assert_eq!(world.backend.mails()[0].to, ["postmaster@acme.test"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_is_refused_at_mail_at_rcpt_and_in_the_data() {
    let world = World::new(|snapshot| {
        enforced(snapshot).mail.limits.value.message_size = 5000;
        let limits = DataLimits {
            message_size: 2000,
            received_headers: 100,
            min_data_rate: 1,
        };
        first_rule(snapshot).enforced.data.limits = by_policy(limits);
    })
    .await;
    let mut client = world.client().await;
    client
        .talk("MAIL FROM:<ann@shop.test> SIZE=5001", "552 5.3.4 ")
        .await;
    client
        .talk("MAIL FROM:<ann@shop.test> SIZE=3000", "250 ")
        .await;
    client.talk("RCPT TO:<bob@acme.test>", "552 5.3.4 ").await;
    client.talk("RSET", "250 ").await;
    let reply = client
        .mail("ann@shop.test", "bob@acme.test", &"x".repeat(2500))
        .await;
    assert!(reply.starts_with("552 5.3.4 "), "{reply}");
    let reply = client.mail("ann@shop.test", "bob@acme.test", MAIL).await;
    assert!(reply.starts_with("250 "), "the session goes on: {reply}");
    assert_eq!(world.backend.mails().len(), 1);
    for seen in 0..3 {
        let record = world.records.transaction(seen).await;
        assert_eq!(record.disposition, Disposition::Rejected);
        let (code, enhanced, text) = record.reply.unwrap();
        assert_eq!((code, enhanced.as_str()), (552, "5.3.4"));
        assert!(text.starts_with("Message size exceeds "), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_is_refused() {
    let world = World::new(|snapshot| {
        first_rule(snapshot)
            .enforced
            .data
            .limits
            .value
            .received_headers = 3;
    })
    .await;
    let mut client = world.client().await;
    let hops = "Received: from a by b; now\r\n".repeat(4);
    let reply = client
        .mail("ann@shop.test", "bob@acme.test", &format!("{hops}{MAIL}"))
        .await;
    assert!(reply.starts_with("554 5.4.6 "), "{reply}");
    assert!(world.backend.mails().is_empty());
}
