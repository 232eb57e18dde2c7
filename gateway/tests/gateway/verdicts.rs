//! What SPF, DKIM and DMARC find, what policies make of it, and what Monitor policies would have.

use crate::dns::Zone;
use crate::world::{World, by_policy, enforced, first_rule, rule};
use postern_config::policy::{Action, TrustedForwarders};
use postern_config::route::LocalPartMatch;
use postern_gateway::telemetry::record::{Disposition, SpanRecord};

const FORGED: &str = "From: <boss@bank.test>\r\n\r\nSend money";

fn zone() -> Zone {
    vec![
        ("bank.test", "v=spf1 -all".into()),
        ("_dmarc.bank.test", "v=DMARC1; p=reject".into()),
        ("shop.test", "v=spf1 ip4:127.0.0.0/8 -all".into()),
        ("_dmarc.shop.test", "v=DMARC1; p=reject".into()),
        ("down.test", "SERVFAIL".into()),
        ("_dmarc.down.test", "SERVFAIL".into()),
        ("soft.test", "v=spf1 ~all".into()),
        ("told.test", "v=spf1 -all exp=why.told.test".into()),
        ("why.told.test", "%{i} is none of ours".into()),
        ("client.test", "v=spf1 ip4:127.0.0.1 -all".into()),
    ]
}

fn child<'s>(span: &'s SpanRecord, name: &str) -> &'s SpanRecord {
    let found = span.children.iter().find(|child| child.name == name);
    found.unwrap_or_else(|| panic!("no span {name} in {span:#?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_mail_is_rejected_with_its_code_and_policy() {
    let world = World::with(zone(), |snapshot| {
        let verify = &mut first_rule(snapshot).enforced.data.verify;
        verify.policy = Some("mail/strict".into());
    })
    .await;
    let mut client = world.client().await;
    let reply = client.mail("x@bank.test", "bob@acme.test", FORGED).await;
    assert!(reply.starts_with("550 5.7.26 "), "{reply}");
    assert!(
        reply.contains("bank.test") && reply.contains("policy mail/strict"),
        "{reply}"
    );
    assert!(world.backend.mails().is_empty());
    let record = world.records.transaction(0).await;
    assert_eq!(record.disposition, Disposition::Rejected);
    let dmarc = record
        .checks
        .iter()
        .find(|check| check.check == "dmarc")
        .unwrap();
    assert_eq!((&*dmarc.result, dmarc.action), ("fail", "Reject"));
    assert_eq!(dmarc.policy.as_deref(), Some("mail/strict"));
    let spf = child(&record.span, "check.spf");
    assert!(
        spf.children
            .iter()
            .any(|lookup| lookup.name == "dns.lookup"),
        "{spf:#?}"
    );
    child(&record.span, "check.dkim");
    child(&record.span, "check.dmarc");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_genuine_mail_passes_and_says_so() {
    let world = World::with(zone(), |_| {}).await;
    let mut client = world.client().await;
    let mail = "From: <ann@shop.test>\r\n\r\nHello";
    let reply = client.mail("ann@shop.test", "bob@acme.test", mail).await;
    assert!(reply.starts_with("250 "), "{reply}");
    let message = world.backend.mails()[0]
        .message
        .replace("\r\n\t", " ")
        .replace("\r\n ", " ");
    let results = message.lines().next().unwrap();
    assert!(
        results.starts_with("Authentication-Results: acme.test;"),
        "{results}"
    );
    assert!(
        results.contains("spf=pass") && results.contains("dmarc=pass"),
        "{results}"
    );
    let record = world.records.transaction(0).await;
    child(&record.span, "smtp.delivery");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_names_check_and_policy() {
    let world = World::with(zone(), |snapshot| {
        let verify = &mut first_rule(snapshot).enforced.data.verify;
        verify.policy = Some("mail/strict".into());
        verify.value.spf.on_soft_fail = Action::Tag;
    })
    .await;
    let mut client = world.client().await;
    let mail = "From: <ann@soft.test>\r\n\r\nHello";
    let reply = client.mail("ann@soft.test", "bob@acme.test", mail).await;
    assert!(reply.starts_with("250 "), "{reply}");
    let message = &world.backend.mails()[0].message;
    let tag = "X-Postern-Verdict: Tag; check=spf; result=softfail; policy=mail/strict\r\n";
    assert!(message.contains(tag), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_policy_is_evaluated_and_does_not_act() {
    let world = World::with(zone(), |snapshot| {
        let rule = first_rule(snapshot);
        let mut shadow = rule.enforced.clone();
        shadow.data.verify = by_policy(shadow.data.verify.value.clone());
        shadow.data.verify.value.spf.on_soft_fail = Action::Reject;
        rule.shadow = Some(shadow);
    })
    .await;
    let mut client = world.client().await;
    let mail = "From: <ann@soft.test>\r\n\r\nHello";
    let reply = client.mail("ann@soft.test", "bob@acme.test", mail).await;
    assert!(reply.starts_with("250 "), "{reply}");
    let record = world.records.transaction(0).await;
    let spf = record
        .checks
        .iter()
        .find(|check| check.check == "spf")
        .unwrap();
    assert_eq!((spf.action, spf.shadow), ("Accept", Some("Reject")));
    let metric = r#"postern_shadow_total{check="spf",enforced="Accept",shadow="Reject"} 1"#;
    assert_eq!(world.metric(metric).as_deref(), Some(metric));
}

#[tokio::test(flavor = "multi_thread")]
async fn recipients_that_differ_in_monitor_policies_alone_share_a_transaction_and_each_is_judged() {
    let world = World::with(zone(), |snapshot| {
        // Of `relaxed` nothing is monitored, of the others two things.
        let mut rules = vec![rule("relaxed", "store")];
        for (name, action) in [("tagged", Action::Tag), ("strict", Action::Reject)] {
            let mut rule = rule(name, "store");
            let mut shadow = rule.enforced.clone();
            shadow.data.verify = by_policy(shadow.data.verify.value.clone());
            shadow.data.verify.value.spf.on_soft_fail = action;
            shadow.data.verify.value.dkim.max_signatures = 1;
            rule.shadow = Some(shadow);
            rules.push(rule);
        }
        for rule in &mut rules {
            rule.matches = vec![LocalPartMatch::Prefix(rule.name.clone())];
        }
        snapshot.config.routes[0].rules = rules;
    })
    .await;
    let mut client = world.client().await;
    client.talk("MAIL FROM:<ann@soft.test>", "250 ").await;
    for recipient in ["relaxed", "tagged", "strict", "strict-too"] {
        client
            .talk(&format!("RCPT TO:<{recipient}@acme.test>"), "250 ")
            .await;
    }
    client.talk("DATA", "354 ").await;
    client
        .send("From: <ann@soft.test>\r\n\r\nHello\r\n.\r\n")
        .await;
    client.expect("250 ").await;
    assert_eq!(world.backend.mails()[0].to.len(), 4);
    let record = world.records.transaction(0).await;
    let spf = record.checks.iter().find(|check| check.check == "spf");
    let spf = spf.unwrap();
    // The record shows the most severe; each set of policies counts once.
    assert_eq!((spf.action, spf.shadow), ("Accept", Some("Reject")));
    for shadow in ["Tag", "Reject"] {
        let metric =
            format!(r#"postern_shadow_total{{check="spf",enforced="Accept",shadow="{shadow}"}} 1"#);
        assert_eq!(world.metric(&metric).as_deref(), Some(metric.as_str()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_a_monitor_policy_stop_nothing_and_show_what_they_would_have() {
    let world = World::with(zone(), |snapshot| {
        let rule = first_rule(snapshot);
        let mut shadow = rule.enforced.clone();
        shadow.rcpt.limits = by_policy(shadow.rcpt.limits.value.clone());
        shadow.rcpt.limits.value.recipients = 1;
        shadow.data.limits = by_policy(shadow.data.limits.value.clone());
        shadow.data.limits.value.received_headers = 1;
        rule.shadow = Some(shadow);
        let mut shadow = enforced(snapshot).clone();
        shadow.mail.limits = by_policy(shadow.mail.limits.value.clone());
        shadow.mail.limits.value.message_size = 2000;
        snapshot.config.listeners[0].shadow = Some(shadow);
    })
    .await;
    let mut client = world.client().await;
    let hops = "Received: from a by b; now\r\n";
    for (size, hops, wanted) in [
        ("", 1, &[][..]),
        (" SIZE=2001", 1, &[("limits.messageSize", "Reject")][..]),
        ("", 2, &[("limits.receivedHeaders", "Reject")][..]),
    ]
    .map(|(size, times, wanted)| (size, hops.repeat(times), wanted))
    {
        let seen = world.backend.mails().len();
        client
            .talk(&format!("MAIL FROM:<ann@shop.test>{size}"), "250 ")
            .await;
        client.talk("RCPT TO:<bob@acme.test>", "250 ").await;
        client.talk("DATA", "354 ").await;
        client
            .send(format!("{hops}From: <ann@shop.test>\r\n\r\nx\r\n.\r\n"))
            .await;
        client.expect("250 ").await;
        let record = world.records.transaction(seen).await;
        let limits = record.checks.iter();
        let limits = limits.filter(|check| check.check.starts_with("limits."));
        let shown: Vec<_> = limits
            .map(|check| (check.check, check.shadow.unwrap()))
            .collect();
        assert_eq!(shown, wanted);
    }
    client.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
    client.talk("RCPT TO:<bob@acme.test>", "250 ").await;
    client.talk("RCPT TO:<eve@acme.test>", "250 ").await;
    client.talk("DATA", "354 ").await;
    client.send("From: <ann@shop.test>\r\n\r\nx\r\n.\r\n").await;
    client.expect("250 ").await;
    let record = world.records.transaction(3).await;
    let check = record
        .checks
        .iter()
        .find(|c| c.check == "limits.recipients");
    assert_eq!(
        check.unwrap().detail,
        "2, of 1 at most (policy mail/strict)"
    );
    let metric =
        r#"postern_shadow_total{check="limits.recipients",enforced="Accept",shadow="Defer"} 1"#;
    assert_eq!(world.metric(metric).as_deref(), Some(metric));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_missing_defers_only_if_it_could_change_the_outcome() {
    let mut world = World::with(zone(), |_| {}).await;
    let mut client = world.client().await;
    let mail = "From: <ann@down.test>\r\n\r\nHello";
    let reply = client.mail("ann@down.test", "bob@acme.test", mail).await;
    assert!(reply.starts_with("451 4.7.26 "), "{reply}");
    assert_eq!(
        world.records.transaction(0).await.disposition,
        Disposition::Deferred
    );
    world.change(|snapshot| {
        let dmarc = &mut first_rule(snapshot).enforced.data.verify.value.dmarc;
        dmarc.on_reject = postern_config::policy::OnDmarcReject::Quarantine;
    });
    let reply = client.mail("ann@down.test", "bob@acme.test", mail).await;
    assert!(
        reply.starts_with("250 "),
        "no policy could refuse it: {reply}"
    );
    assert!(
        world.backend.mails()[0]
            .message
            .contains("X-Postern-Verdict: Tag; check=dmarc;")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_forwarder_is_not_held_to_spf_and_dmarc_and_its_trace_goes_on() {
    let world = World::with(zone(), |snapshot| {
        let networks = vec!["127.0.0.0/8".parse().unwrap()];
        let trusted = TrustedForwarders {
            networks,
            domains: vec![],
        };
        first_rule(snapshot)
            .enforced
            .data
            .verify
            .value
            .trusted_forwarders = trusted;
        snapshot
            .config
            .backends
            .get_mut("store")
            .unwrap()
            .traceparent = true;
    })
    .await;
    let mut client = world.client().await;
    let trace = "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    let reply = client
        .mail("x@bank.test", "bob@acme.test", &format!("{trace}{FORGED}"))
        .await;
    assert!(reply.starts_with("250 "), "{reply}");
    let record = world.records.transaction(0).await;
    assert_eq!(
        record.ids.trace_id,
        0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c
    );
    assert_eq!(
        record.remote_parent.unwrap().ids.span_id,
        0xb7ad_6b71_6920_3331
    );
    let message = &world.backend.mails()[0].message;
    let ours = format!(
        "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-{:016x}-01\r\n",
        record.ids.span_id
    );
    assert!(message.contains(&ours), "{message}");
    assert_eq!(message.matches("Traceparent:").count(), 1);
}

/// The first field of the mail that the backend got, unfolded.
fn results(world: &World) -> String {
    let message = world.backend.mails()[0].message.replace("\r\n\t", " ");
    message.lines().next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn spf_has_a_result_for_each_identity_and_a_domain_explains_its_fail() {
    let mut world = World::with(zone(), |_| {}).await;
    let mut client = world.client().await;
    let mail = "From: <ann@soft.test>\r\n\r\nHello";
    let reply = client.mail("ann@told.test", "bob@acme.test", mail).await;
    assert!(reply.starts_with("250 "), "{reply}");
    let results = results(&world);
    assert!(
        results.contains(" spf=fail (-all) smtp.mailfrom=ann@told.test;")
            && results.contains(" spf=pass (ip4:127.0.0.1) smtp.helo=client.test;"),
        "{results}"
    );
    world.change(|snapshot| {
        let verify = &mut first_rule(snapshot).enforced.data.verify;
        verify.value.spf.on_fail = Action::Reject;
    });
    let reply = client.mail("ann@told.test", "bob@acme.test", mail).await;
    assert_eq!(
        reply,
        "550 5.7.23 SPF fails: told.test: -all (default policy). The domain told.test explains: \
         127.0.0.1 is none of ours"
    );
    // The null reverse-path is the HELO name's.
    let reply = client.mail("", "bob@acme.test", mail).await;
    assert!(reply.starts_with("250 "), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_sealer_overrules_dmarc_and_header_and_trace_say_so() {
    let text = include_str!("../../../tests/suites/arc/forwarded.txt");
    let (key, mail) = text.split_once("\n\n").unwrap();
    let (owner, record) = key.split_once(' ').unwrap();
    let mut zone = zone();
    zone.push((owner, record.to_owned()));
    let mut world = World::with(zone, |_| {}).await;
    let mut client = world.client().await;
    let mail = mail.trim_end().replace('\n', "\r\n");
    let reply = client.mail("x@list.test", "bob@acme.test", &mail).await;
    assert!(
        reply.starts_with("550 5.7.26 "),
        "nobody is trusted: {reply}"
    );
    world.change(|snapshot| {
        let verify = &mut first_rule(snapshot).enforced.data.verify;
        verify.value.trusted_sealers = vec!["list.test".into()];
    });
    let reply = client.mail("x@list.test", "bob@acme.test", &mail).await;
    assert!(reply.starts_with("250 "), "{reply}");
    let results = results(&world);
    let dmarc = " dmarc=fail reason=\"overruled: trusted sealer list.test\" header.from=bank.test \
                 policy.dmarc=reject;";
    assert!(results.contains(dmarc), "{results}");
    assert!(
        results.contains(" arc=pass header.oldest-pass=0;"),
        "{results}"
    );
    let record = world.records.transaction(1).await;
    let span = child(&record.span, "check.dmarc");
    let says = ("postern.dmarc.override", "trusted sealer list.test".into());
    assert!(span.attributes.contains(&says), "{span:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_is_reached_is_told_in_header_trace_and_metric() {
    let world = World::with(zone(), |_| {}).await;
    let mut client = world.client().await;
    let signature =
        "DKIM-Signature: v=1; a=rsa-sha256; d=soft.test; s=s; h=from; bh=AA==; b=AA==\r\n";
    let mail = signature.repeat(10) + "From: <ann@soft.test>\r\n\r\nHello";
    let reply = client.mail("ann@soft.test", "bob@acme.test", &mail).await;
    assert!(reply.starts_with("250 "), "{reply}");
    let results = results(&world);
    assert_eq!(results.matches(" dkim=permerror ").count(), 8, "{results}");
    let rest = " dkim=policy (2 more signatures were not tried);";
    assert!(results.contains(rest), "{results}");
    let record = world.records.transaction(0).await;
    let span = child(&record.span, "check.dkim");
    let says = ("postern.check.limit", "signatures".into());
    assert!(span.attributes.contains(&says), "{span:#?}");
    let metric = r#"postern_check_limits_total{check="dkim",limit="signatures"} 1"#;
    assert_eq!(world.metric(metric).as_deref(), Some(metric));
}

/// A body that is longer than what its only signature covers (`l=`).
#[tokio::test(flavor = "multi_thread")]
async fn what_monitor_policies_make_of_signatures_reaches_their_dmarc() {
    let text = include_str!("../../../tests/suites/dkim/partial.txt");
    let (key, mail) = text.split_once("\n\n").unwrap();
    let (owner, record) = key.split_once(' ').unwrap();
    let mut zone = zone();
    zone.push((owner, record.to_owned()));
    let world = World::with(zone, |snapshot| {
        let rule = first_rule(snapshot);
        let mut shadow = rule.enforced.clone();
        shadow.data.verify = by_policy(shadow.data.verify.value.clone());
        shadow.data.verify.value.dkim.length_tag = postern_config::policy::LengthTag::Count;
        rule.shadow = Some(shadow);
    })
    .await;
    let mut client = world.client().await;
    let mail = mail.trim_end().replace('\n', "\r\n");
    let reply = client.mail("x@list.test", "bob@acme.test", &mail).await;
    assert!(reply.starts_with("550 5.7.26 "), "{reply}");
    let record = world.records.transaction(0).await;
    let dmarc = record.checks.iter().find(|check| check.check == "dmarc");
    let dmarc = dmarc.unwrap();
    assert_eq!((dmarc.action, dmarc.shadow), ("Reject", Some("Accept")));
}
