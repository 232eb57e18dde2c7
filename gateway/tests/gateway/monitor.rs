//! What Monitor policies look up is at nobody's cost but theirs.

use crate::dns::Zone;
use crate::world::{World, by_policy, first_rule};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

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
