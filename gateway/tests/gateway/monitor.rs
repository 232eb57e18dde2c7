//! Monitor policies show what they would have done, at nobody's cost but theirs.

use crate::dns::Zone;
use crate::world::{World, by_policy, first_rule, rule};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_config::route::{LocalPartMatch, Rule};

/// Lookups of one message's DKIM, ARC and DMARC together (`session/evidence.rs`).
const BUDGET: usize = 160;

fn zone() -> Zone {
    vec![
        ("shop.test", "v=spf1 ip4:127.0.0.0/8 -all".into()),
        ("_dmarc.shop.test", "v=DMARC1; p=reject".into()),
    ]
}

/// A mail with so many signatures that each ask for a key, of which none is there.
fn signed(times: usize) -> String {
    let hash = STANDARD.encode(digest(&SHA256, b"Hello\r\n"));
    let signature = |number| {
        format!(
            "DKIM-Signature: v=1; a=rsa-sha256; d=sender.test; s=key{number}; h=from;\r\n \
             bh={hash}; b=AAAA\r\n"
        )
    };
    let signatures: String = (0..times).map(signature).collect();
    format!("{signatures}From: <ann@shop.test>\r\n\r\nHello")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_policy_that_spends_all_lookups_leaves_the_enforced_verdict() {
    let world = World::with(zone(), |snapshot| {
        let rule = first_rule(snapshot);
        let mut shadow = rule.enforced.clone();
        rule.enforced.data.verify.value.dkim.max_signatures = 1;
        shadow.data.verify = by_policy(shadow.data.verify.value.clone());
        shadow.data.verify.value.dkim.max_signatures = 1000;
        rule.shadow = Some(shadow);
    })
    .await;
    let mut client = world.client().await;
    let mail = signed(BUDGET + 40);
    let reply = client.mail("ann@shop.test", "bob@acme.test", &mail).await;
    assert!(reply.starts_with("250 "), "{reply}");
    let record = world.records.transaction(0).await;
    let dmarc = record.checks.iter().find(|check| check.check == "dmarc");
    let dmarc = dmarc.unwrap();
    assert_eq!((&*dmarc.result, dmarc.action), ("pass", "Accept"));
    // It did spend them: one lookup is the enforced policy's.
    let missing = world.metric("postern_dns_no_records_total ").unwrap();
    let missing: usize = missing.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(missing >= BUDGET, "{missing} lookups without an answer");
}

/// A rule for local parts that begin with its name, whose Monitor policy takes so many recipients.
fn monitored(name: &str, recipients: Option<u32>) -> Rule {
    let mut rule = rule(name, "store");
    rule.matches = vec![LocalPartMatch::Prefix(name.into())];
    rule.shadow = recipients.map(|most| {
        let mut shadow = rule.enforced.clone();
        shadow.rcpt.limits = by_policy(shadow.rcpt.limits.value.clone());
        shadow.rcpt.limits.value.recipients = most;
        shadow
    });
    rule
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitored_number_of_recipients_is_that_before_a_recipient_of_its_own_rule() {
    let world = World::with(zone(), |snapshot| {
        snapshot.config.routes[0].rules = vec![
            monitored("free", None),
            monitored("one", Some(1)),
            monitored("two", Some(2)),
        ];
    })
    .await;
    let mut client = world.client().await;
    let exceeded = |limit| format!("{}, of {limit} at most (policy mail/strict)", limit + 1);
    for (number, (recipients, shown)) in [
        // Of its own rule nobody comes too late.
        (vec!["one-a", "free-a"], None),
        (vec!["free-a", "one-a"], Some(exceeded(1))),
        (vec!["two-a", "two-b", "free-a", "free-b"], None),
        (vec!["two-a", "two-b", "two-c"], Some(exceeded(2))),
        // Whom one policy would have refused does not count before another one.
        (vec!["one-a", "one-b", "two-a"], Some(exceeded(1))),
        // Once more is refused like anybody else: RFC 5321 leaves open whether it is another one.
        (vec!["one-a", "one-a"], Some(exceeded(1))),
    ]
    .into_iter()
    .enumerate()
    {
        client.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
        for recipient in &recipients {
            let command = format!("RCPT TO:<{recipient}@acme.test>");
            client.talk(&command, "250 ").await;
        }
        client.talk("RSET", "250 ").await;
        let record = world.records.transaction(number).await;
        let checks = record.checks.iter();
        let shown_here: Vec<_> = checks
            .filter(|check| check.check == "limits.recipients")
            .map(|check| (check.detail.as_str(), check.shadow))
            .collect();
        let wanted: Vec<_> = shown.iter().map(|d| (d.as_str(), Some("Defer"))).collect();
        assert_eq!(shown_here, wanted, "{recipients:?}");
    }
    let metric =
        r#"postern_shadow_total{check="limits.recipients",enforced="Accept",shadow="Defer"} 4"#;
    assert_eq!(world.metric(metric).as_deref(), Some(metric));
}
