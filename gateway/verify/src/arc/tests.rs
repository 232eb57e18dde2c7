//! A published chain, and each way in which one can be broken (RFC 8617 §5.2).

use super::*;
use crate::dkim::KeyCache;
use crate::message::Message;
use crate::signer::Signer;
use crate::zone::Zone;

const MESSAGE: &str = "From: a@example.test\r\nTo: b@other.test\r\nSubject: s\r\n\r\nHello\r\n";

async fn verify_in(zone: &str, raw: &str) -> Outcome {
    let zone = Zone::parse(zone).unwrap();
    let message = Message::parse(raw.as_bytes()).unwrap();
    verify(&zone, &KeyCache::new(100), &message).await
}

fn zone() -> String {
    (1..=50)
        .map(|n| {
            format!(
                "s._domainkey.h{n}.test TXT \"{}\"\n",
                Signer::new(n).record()
            )
        })
        .collect()
}

fn hop(raw: &str, instance: u8) -> String {
    let cv = if instance == 1 { "none" } else { "pass" };
    Signer::new(instance).arc(raw, usize::from(instance), &format!("h{instance}.test"), cv)
}

fn chain(hops: u8) -> String {
    (1..=hops).fold(MESSAGE.to_owned(), |raw, instance| hop(&raw, instance))
}

async fn check(raw: &str) -> Outcome {
    verify_in(&zone(), raw).await
}

async fn problem(raw: &str) -> String {
    let outcome = check(raw).await;
    assert_eq!(
        (outcome.result, outcome.temporary),
        (ArcResult::Fail, false),
        "{outcome:?}"
    );
    outcome.problem.unwrap()
}

#[tokio::test]
async fn a_published_chain() {
    let text = include_str!("../../../../tests/suites/arc/two-sets-rsa-ed25519.txt");
    let (keys, message) = text.split_once("\n\n").unwrap();
    let zone: Vec<String> = keys
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, record)| format!("{name} TXT \"{record}\""))
        .collect();
    let outcome = verify_in(&zone.join("\n"), &message.replace('\n', "\r\n")).await;
    assert_eq!(
        (outcome.result, outcome.oldest_pass),
        (ArcResult::Pass, Some(0)),
        "{outcome:?}"
    );
    let sealers: Vec<&str> = outcome.sets.iter().map(|set| set.sealer.as_str()).collect();
    assert_eq!(sealers, ["scamorza.org", "manchego.org"]);
    assert!(outcome.sets[0].results.starts_with(b"scamorza.org;"));
}

#[tokio::test]
async fn none_and_one_and_fifty_sets() {
    assert_eq!(check(MESSAGE).await.result, ArcResult::None);
    for hops in [1, 2, 50] {
        let outcome = check(&chain(hops)).await;
        assert_eq!(
            (outcome.result, outcome.oldest_pass),
            (ArcResult::Pass, Some(0)),
            "{hops}"
        );
        assert_eq!(outcome.sets.len(), usize::from(hops));
        assert_eq!(
            outcome.last_sealer().unwrap().as_str(),
            format!("h{hops}.test")
        );
    }
    let fifty_one = Signer::new(1).arc(&chain(50), 51, "h1.test", "pass");
    assert!(problem(&fifty_one).await.ends_with("has no valid i="));
}

#[tokio::test]
async fn what_a_message_signature_leaves_out_is_told() {
    assert!(check(&chain(2)).await.signs_all);
    for (h, l, signs_all) in [
        ("from:to:subject", "", true),
        ("To:FROM", "; l=7", true),
        ("from:to:subject", "; l=6", false),
        ("from:to:subject", "; l=0", false),
        ("to:subject", "", false),
    ] {
        let signer = Signer::new(1);
        let tags = format!("i=1; a={}; d=h1.test; s=s", signer.algorithm());
        let results = format!("ARC-Authentication-Results: i=1; h1.test; dmarc=pass\r\n{MESSAGE}");
        let signature = format!("{tags}; c=relaxed/relaxed; h={h}{l}");
        let signed = signer.dkim(&results, "ARC-Message-Signature", &signature);
        let outcome = check(&signer.seal(&signed, 1, &format!("{tags}; cv=none"))).await;
        assert_eq!(
            (outcome.result, outcome.signs_all),
            (ArcResult::Pass, signs_all),
            "{h} {l} {outcome:?}"
        );
    }
}

#[tokio::test]
async fn the_oldest_pass_is_where_the_message_last_changed() {
    let changed = chain(2).replace("Hello", "[list] Hello");
    let sealed = hop(&hop(&changed, 3), 4);
    let outcome = check(&sealed).await;
    assert_eq!(
        (outcome.result, outcome.oldest_pass),
        (ArcResult::Pass, Some(3))
    );
}

#[tokio::test]
async fn what_was_changed_behind_the_last_seal_fails() {
    let sealed = chain(2);
    let body = problem(&sealed.replace("Hello", "Hallo")).await;
    assert_eq!(body, "message signature 2: body hash did not verify");
    let header = problem(&sealed.replace("Subject: s", "Subject: t")).await;
    assert_eq!(header, "message signature 2: signature did not verify");
    let results = problem(&sealed.replacen("h1.test; spf=pass", "h1.test; spf=fail", 1)).await;
    assert_eq!(results, "seal 1: did not verify");
}

#[tokio::test]
async fn broken_structure() {
    let one = chain(1);
    let gap = one.replace("i=1;", "i=2;");
    assert_eq!(problem(&gap).await, "instance 1 is not whole");
    let doubled = format!("ARC-Authentication-Results: i=1; x; none\r\n{one}");
    assert_eq!(problem(&doubled).await, "instance 1 has one field twice");
    let (_, without_seal) = one.split_once("\r\n").unwrap();
    assert_eq!(problem(without_seal).await, "instance 1 is not whole");
    for instance in ["0", "51", "x", "", "-1", "001"] {
        let field = format!("ARC-Seal: i={instance}; a=rsa-sha256\r\n{MESSAGE}");
        assert_eq!(
            problem(&field).await,
            "ARC-Seal has no valid i=",
            "{instance}"
        );
    }
}

#[tokio::test]
async fn chain_validation_statuses() {
    let signer = Signer::new(1);
    for (cv, wanted) in [
        ("pass", "seal 1 has the wrong cv="),
        ("fail", "seal 1 says cv=fail"),
        ("maybe", "seal 1: cv= is missing or unknown"),
    ] {
        assert_eq!(
            problem(&signer.arc(MESSAGE, 1, "h1.test", cv)).await,
            wanted
        );
    }
    let second = Signer::new(2).arc(&chain(1), 2, "h2.test", "none");
    assert_eq!(problem(&second).await, "seal 2 has the wrong cv=");
}

#[tokio::test]
async fn seals_cover_arc_fields_only_and_are_not_signed() {
    let signer = Signer::new(1);
    let base = format!("ARC-Authentication-Results: i=1; x; spf=pass\r\n{MESSAGE}");
    let tags = "i=1; a=ed25519-sha256; d=h1.test; s=s";
    let signed = |h: &str| {
        signer.dkim(
            &base,
            "ARC-Message-Signature",
            &format!("{tags}; c=relaxed/relaxed; h={h}"),
        )
    };
    let with_h = signer.seal(&signed("from"), 1, &format!("{tags}; cv=none; h=from"));
    assert_eq!(problem(&with_h).await, "seal 1: h= must not be there");
    let seal_signed = signer.seal(&signed("from:arc-seal"), 1, &format!("{tags}; cv=none"));
    assert_eq!(
        problem(&seal_signed).await,
        "message signature 1: ARC-Seal is signed"
    );
    let relaxed = signer.dkim(
        &base,
        "ARC-Message-Signature",
        &format!("{tags}; c=relaxed/relaxed; h=from::to"),
    );
    let sealed = signer.seal(&relaxed, 1, &format!("{tags}; cv=none"));
    assert_eq!(
        check(&sealed).await.result,
        ArcResult::Pass,
        "an empty name in h="
    );
    let simple = signer.dkim(&base, "ARC-Message-Signature", &format!("{tags}; h=from"));
    let sealed = signer.seal(&simple, 1, &format!("{tags}; cv=none"));
    assert_eq!(check(&sealed).await.result, ArcResult::Pass);
}

#[tokio::test]
async fn missing_answers_are_told_apart() {
    let sealed = chain(2);
    let missing = verify_in("", &sealed).await;
    assert_eq!(
        (missing.result, missing.temporary),
        (ArcResult::Fail, false)
    );
    let zone = zone();
    let seal_only = zone.replace(
        "s._domainkey.h1.test TXT",
        "s._domainkey.h1.test SERVFAIL ;",
    );
    let outcome = verify_in(&seal_only, &sealed).await;
    assert_eq!((outcome.result, outcome.temporary), (ArcResult::Fail, true));
    assert_eq!(
        outcome.problem.as_deref(),
        Some("seal 1: key unavailable: SERVFAIL")
    );
}

#[tokio::test]
async fn a_broken_chain_costs_one_question() {
    let zone = Zone::parse(&zone()).unwrap();
    let raw = chain(50).replace("Subject: s", "Subject: t");
    let message = Message::parse(raw.as_bytes()).unwrap();
    let outcome = verify(&zone, &KeyCache::new(100), &message).await;
    assert_eq!((outcome.result, zone.asked()), (ArcResult::Fail, 1));
}

#[tokio::test]
async fn the_worst_chain_asks_for_a_hundred_keys() {
    let mut records = String::new();
    let mut raw = MESSAGE.to_owned();
    for instance in 1..=50 {
        let signer = Signer::new(instance);
        for name in ["a", "m"] {
            let record = signer.record();
            records += &format!("s._domainkey.{name}{instance}.test TXT \"{record}\"\n");
        }
        let cv = if instance == 1 { "none" } else { "pass" };
        let base = format!("ARC-Authentication-Results: i={instance}; x; none\r\n{raw}");
        let tags = format!("i={instance}; a=ed25519-sha256; s=s");
        let signed = signer.dkim(
            &base,
            "ARC-Message-Signature",
            &format!("{tags}; d=m{instance}.test; c=relaxed/relaxed; h=from"),
        );
        let seal = format!("{tags}; d=a{instance}.test; cv={cv}");
        raw = signer.seal(&signed, usize::from(instance), &seal);
    }
    let zone = Zone::parse(&records).unwrap();
    let message = Message::parse(raw.as_bytes()).unwrap();
    let outcome = verify(&zone, &KeyCache::new(100), &message).await;
    assert_eq!(
        (outcome.result, outcome.oldest_pass, zone.asked()),
        (ArcResult::Pass, Some(0), 100),
        "{:?}",
        outcome.problem
    );
}
