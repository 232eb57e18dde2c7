//! The examples of RFC 6376 and RFC 8463, mail-auth's signer, and every rule that turns a valid
//! signature into something else.

use super::*;
use crate::message::Message;
use crate::signer::Signer;
use crate::zone::Zone;

const MESSAGE: &str = "From: a@example.test\r\nTo: b@other.test\r\nSubject: s\r\n\r\nHello\r\n";
const NOW: u64 = 1_700_000_000;
const TAGS: &str = "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.test; s=s; h=from:to";

async fn verify_in(zone: &str, raw: &str, options: &Options) -> Outcome {
    let zone = Zone::parse(zone).unwrap();
    let message = Message::parse(raw.as_bytes()).unwrap();
    let author = crate::from::author(&message);
    verify(
        &zone,
        &KeyCache::new(100),
        &message,
        author.domain(),
        options,
    )
    .await
}

fn zone() -> String {
    format!(
        "s._domainkey.example.test TXT \"{}\"",
        Signer::new(1).record()
    )
}

fn sign(tags: &str) -> String {
    Signer::new(1).dkim(MESSAGE, "DKIM-Signature", tags)
}

async fn check(raw: &str) -> SignatureOutcome {
    let outcome = verify_in(&zone(), raw, &Options::new(NOW)).await;
    outcome.signatures.first().unwrap().clone()
}

/// Key records, an empty line, a message with LF for CRLF.
async fn vector(text: &str) -> Outcome {
    let (keys, message) = text.split_once("\n\n").unwrap();
    let keys: Vec<String> = keys
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, record)| format!("{name} TXT \"{record}\""))
        .collect();
    let message = message.replace('\n', "\r\n");
    verify_in(&keys.join("\n"), &message, &Options::new(NOW)).await
}

#[tokio::test]
async fn rfc_6376_appendix_a() {
    let outcome = vector(include_str!(
        "../../../../tests/suites/dkim/rfc6376-appendix-a.txt"
    ))
    .await;
    assert_eq!(outcome.best(), DkimResult::Pass, "{outcome:?}");
    let signature = &outcome.signatures[0];
    assert_eq!(signature.domain, Some(Name::parse("example.com").unwrap()));
    assert_eq!(
        signature.identity.as_deref(),
        Some("joe@football.example.com")
    );
    assert_eq!(signature.b.as_deref(), Some("AuUoFEfD"));
}

#[tokio::test]
async fn a_bare_rsa_public_key() {
    let outcome = vector(include_str!(
        "../../../../tests/suites/dkim/rfc6376-newengland.txt"
    ))
    .await;
    assert_eq!(outcome.best(), DkimResult::Pass, "{outcome:?}");
}

#[tokio::test]
async fn rfc_8463_appendix_a() {
    let outcome = vector(include_str!(
        "../../../../tests/suites/dkim/rfc8463-appendix-a.txt"
    ))
    .await;
    let results: Vec<_> = outcome
        .signatures
        .iter()
        .map(|s| (s.algorithm, s.result))
        .collect();
    assert_eq!(
        results,
        [
            (Some(Algorithm::Ed25519Sha256), DkimResult::Pass),
            (Some(Algorithm::RsaSha256), DkimResult::Pass)
        ]
    );
}

mod by_mail_auth {
    use super::*;
    use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::KeyPair as _;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use mail_auth::common::crypto::{RsaKey, Sha256};
    use mail_auth::common::headers::HeaderWriter as _;
    use mail_auth::dkim::{Canonicalization, DkimSigner};

    /// Bodies whose canonical form is easy to get wrong; all as mail-auth signs them right.
    const BODIES: [&str; 5] = [
        "",
        "Hello\r\n",
        "no end",
        "a  b \t\r\n\r\n\tc\r\n\r\n\r\n",
        "\u{e9}\u{1f600}\r\n",
    ];

    #[tokio::test]
    async fn every_canonicalization() {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let zone = format!(
            "s._domainkey.example.test TXT \"p={}\"",
            STANDARD.encode(public.as_ref())
        );
        let kinds = [Canonicalization::Simple, Canonicalization::Relaxed];
        for (header, body) in kinds.into_iter().flat_map(|a| kinds.map(|b| (a, b))) {
            for text in BODIES {
                let raw = format!(
                    "From:  a@example.test\r\nsubject: two\r\n  lines \r\nX: 1\r\nX: 2\r\n\r\n{text}"
                );
                let key = rustls::pki_types::PrivatePkcs8KeyDer::from(der.as_ref()).into();
                let signature = DkimSigner::from_key(RsaKey::<Sha256>::from_key_der(key).unwrap())
                    .domain("example.test")
                    .selector("s")
                    .headers(["From", "Subject", "X", "X", "X"])
                    .header_canonicalization(header)
                    .body_canonicalization(body)
                    .sign(raw.as_bytes())
                    .unwrap();
                let signed = format!("{}{raw}", signature.to_header());
                let now = u64::MAX - 10_000;
                let outcome = verify_in(&zone, &signed, &Options::new(now)).await;
                assert_eq!(outcome.best(), DkimResult::Pass, "{outcome:?}\n{signed}");
            }
        }
    }
}

#[tokio::test]
async fn a_good_signature_passes_with_all_its_properties() {
    let outcome = check(&sign(TAGS)).await;
    assert_eq!((outcome.result, outcome.reason), (DkimResult::Pass, None));
    assert_eq!(outcome.domain, Some(Name::parse("example.test").unwrap()));
    assert_eq!(outcome.selector.as_deref(), Some("s"));
    assert_eq!(outcome.identity.as_deref(), Some("@example.test"));
    assert_eq!(outcome.algorithm, Some(Algorithm::Ed25519Sha256));
    assert_eq!(outcome.b.map(|b| b.len()), Some(8));
}

#[tokio::test]
async fn what_was_changed_fails() {
    let signed = sign(TAGS);
    for (from, to, result) in [
        ("Hello", "Hallo", DkimResult::Fail),
        ("To: b@", "To: c@", DkimResult::Fail),
        ("From: a@", "From: x@", DkimResult::Fail),
        ("h=from:to", "h=from:cc", DkimResult::Fail),
        ("Subject: s", "Subject: t", DkimResult::Pass),
    ] {
        let outcome = check(&signed.replacen(from, to, 1)).await;
        assert_eq!(outcome.result, result, "{from}: {outcome:?}");
    }
}

#[tokio::test]
async fn rules_before_any_key() {
    use DkimResult::*;
    for (tags, result, reason) in [
        (
            "a=ed25519-sha256; d=example.test; s=s; h=from",
            PermError,
            "v= is missing",
        ),
        (
            "v=2; a=ed25519-sha256; d=example.test; s=s; h=from",
            Neutral,
            "unsupported version",
        ),
        (
            "v=1; d=example.test; s=s; h=from",
            PermError,
            "a= is missing",
        ),
        (
            "v=1; a=rsa-md5; d=example.test; s=s; h=from",
            Neutral,
            "a= has an unsupported value",
        ),
        (
            "v=1; a=rsa-sha1; d=example.test; s=s; h=from",
            Policy,
            "rsa-sha1 is not acceptable",
        ),
        (
            "v=1; a=ed25519-sha256; s=s; h=from",
            PermError,
            "d= is missing",
        ),
        (
            "v=1; a=ed25519-sha256; d=a..b; s=s; h=from",
            Neutral,
            "d= is malformed",
        ),
        (
            "v=1; a=ed25519-sha256; d=example.test; s=s; h=to",
            PermError,
            "From is not signed",
        ),
        (
            "v=1; a=ed25519-sha256; d=example.test; s=s; h=from:",
            Neutral,
            "h= is malformed",
        ),
    ] {
        let outcome = check(&sign(tags)).await;
        assert_eq!(
            (outcome.result, outcome.reason.as_deref()),
            (result, Some(reason)),
            "{tags}"
        );
    }
}

#[tokio::test]
async fn rules_before_any_key_for_optional_tags() {
    use DkimResult::*;
    for (tag, result, reason) in [
        ("c=strict", Neutral, "c= has an unsupported value"),
        ("q=http", Neutral, "q= has an unsupported value"),
        ("i=a@evil.test", PermError, "i= is outside of d="),
        ("i=a@notexample.test", PermError, "i= is outside of d="),
        ("x=1600000000", Fail, "signature expired"),
        ("t=1700000000; x=1700000000", Neutral, "x= is malformed"),
        ("t=1800000000", Fail, "signature is from the future"),
        ("t=soon", Neutral, "t= is malformed"),
        ("l=-1", Neutral, "l= is malformed"),
        (
            "d=twice.test",
            Neutral,
            "signature syntax error: a tag stands twice",
        ),
    ] {
        let tags = format!("v=1; a=ed25519-sha256; d=example.test; s=s; h=from; {tag}");
        let signed = format!("DKIM-Signature: {tags}; bh=AA==; b=AA==\r\n{MESSAGE}");
        let outcome = check(&signed).await;
        assert_eq!(
            (outcome.result, outcome.reason.as_deref()),
            (result, Some(reason)),
            "{tags}"
        );
    }
}

#[tokio::test]
async fn tags_that_pass() {
    for tag in [
        "t=1699999999; x=1700000001",
        "t=1700000100",
        "q=http:dns/txt",
        "i=a=40b@sub.example.test",
        "z=From:a@example.test",
        "unknown=1",
        "l=7",
    ] {
        let outcome = check(&sign(&format!("{TAGS}; {tag}"))).await;
        assert_eq!(outcome.result, DkimResult::Pass, "{tag}: {outcome:?}");
    }
}

#[tokio::test]
async fn oversigned_and_repeated_fields() {
    let tags = TAGS.replace("h=from:to", "h=from:from:to:subject:subject");
    let signed = sign(&tags);
    assert_eq!(check(&signed).await.result, DkimResult::Pass);
    // A second From behind the first breaks an oversigned one.
    let doubled = signed.replacen("To: b@", "From: evil@evil.test\r\nTo: b@", 1);
    assert_eq!(check(&doubled).await.result, DkimResult::Fail);
}

#[tokio::test]
async fn a_length_that_leaves_something_out_counts_only_by_policy() {
    let signed = sign(&format!("{TAGS}; l=5"));
    let outcome = verify_in(&zone(), &signed, &Options::new(NOW)).await;
    assert_eq!(outcome.signatures[0].result, DkimResult::Policy);
    assert_eq!(
        outcome.signatures[0].reason.as_deref(),
        Some("l= covers 5 of 7 body octets")
    );
    let options = Options {
        length_tag: LengthTag::Count,
        ..Options::new(NOW)
    };
    assert_eq!(
        verify_in(&zone(), &signed, &options).await.best(),
        DkimResult::Pass
    );
    // Appended text is what l= is for, and what it is refused for.
    let longer = format!("{signed}buy now\r\n");
    assert_eq!(
        verify_in(&zone(), &longer, &Options::new(NOW)).await.best(),
        DkimResult::Policy
    );
    let too_long = sign(&format!("{TAGS}; l=8; bh=AA=="));
    assert_eq!(
        check(&too_long).await.reason.as_deref(),
        Some("l= is longer than the body")
    );
}

#[tokio::test]
async fn keys_decide() {
    use DkimResult::*;
    let key = Signer::new(1).record();
    let small = "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAJ60rnmuRRUHrlSOILjaDNpQFuQK1v2Lm52tM0KeeVMKDoRkqHpWWmYRutRjAhb+pe9X4+rDzUwCDmefngtohN8CAwEAAQ==";
    for (zone, tag, result, reason) in [
        (String::new(), "", PermError, "no key for signature"),
        (
            "SERVFAIL".into(),
            "",
            TempError,
            "key unavailable: SERVFAIL",
        ),
        ("TIMEOUT".into(), "", TempError, "key unavailable: timeout"),
        (
            "TXT \"v=DKIM1; p=\"".into(),
            "",
            PermError,
            "key is revoked",
        ),
        (
            format!("TXT \"{}\"", Signer::new(2).record()),
            "",
            Fail,
            "signature did not verify",
        ),
        (
            format!("TXT \"t=y; {key}\""),
            "",
            Pass,
            "key is in testing mode",
        ),
        (
            format!("TXT \"t=s; {key}\""),
            "; i=@m.example.test",
            PermError,
            "key wants i= in exactly d=",
        ),
        (
            format!("TXT \"h=sha1; {key}\""),
            "",
            PermError,
            "key does not allow the hash",
        ),
        (
            format!("TXT \"s=other; {key}\""),
            "",
            PermError,
            "key is not for mail",
        ),
        (
            format!("TXT \"p={small}\""),
            "",
            Policy,
            "RSA key of 512 bits is too small",
        ),
    ] {
        let zone = match zone.as_str() {
            "" => String::new(),
            record => format!("s._domainkey.example.test {record}"),
        };
        let outcome = verify_in(&zone, &sign(&format!("{TAGS}{tag}")), &Options::new(NOW)).await;
        let first = &outcome.signatures[0];
        assert_eq!(
            (first.result, first.reason.as_deref()),
            (result, Some(reason)),
            "{zone}"
        );
    }
}

#[tokio::test]
async fn large_keys_are_refused() {
    let large = include_str!("large-key.txt").trim();
    let zone = format!("s._domainkey.example.test TXT \"p={large}\"");
    let signed = sign(&TAGS.replace("ed25519", "rsa"));
    let outcome = verify_in(&zone, &signed, &Options::new(NOW)).await;
    assert_eq!(outcome.signatures[0].result, DkimResult::Policy);
    assert_eq!(
        outcome.signatures[0].reason.as_deref(),
        Some("RSA key of 4104 bits is too large")
    );
}

#[tokio::test]
async fn the_second_of_two_keys_of_a_kind_is_tried() {
    let zone = format!(
        "s._domainkey.example.test TXT \"{}\"\ns._domainkey.example.test TXT \"{}\"",
        Signer::new(2).record(),
        Signer::new(1).record()
    );
    assert_eq!(
        verify_in(&zone, &sign(TAGS), &Options::new(NOW))
            .await
            .best(),
        DkimResult::Pass
    );
}

#[tokio::test]
async fn aligned_signatures_are_tried_first_and_reported_in_order() {
    let mut raw = sign(TAGS);
    for number in 0..20 {
        let tags = TAGS.replace("d=example.test", &format!("d=other{number}.test"));
        raw = Signer::new(1).dkim(&raw, "DKIM-Signature", &tags);
    }
    let outcome = verify_in(&zone(), &raw, &Options::new(NOW)).await;
    assert_eq!((outcome.signatures.len(), outcome.untried), (8, 13));
    let positions: Vec<_> = outcome.signatures.iter().map(|s| s.position).collect();
    assert_eq!(positions, [0, 1, 2, 3, 4, 5, 6, 20]);
    assert_eq!(outcome.signatures[7].result, DkimResult::Pass);
    let methods = outcome.methods();
    assert_eq!(methods.len(), 9);
    assert_eq!(
        (methods[8].result, methods[8].comment.as_deref()),
        ("policy", Some("13 more signatures were not tried"))
    );
}

#[tokio::test]
async fn a_last_line_of_white_space_is_ignored_when_relaxed() {
    // RFC 6376 §3.4.4: signed without that line, received with it.
    let received = format!("{} \t\r\n", sign(TAGS));
    assert_eq!(check(&received).await.result, DkimResult::Pass);
    let simple = sign(&TAGS.replace("relaxed/relaxed", "simple"));
    assert_eq!(check(&simple).await.result, DkimResult::Pass);
    assert_eq!(
        check(&format!("{simple} \r\n")).await.result,
        DkimResult::Fail
    );
}

#[tokio::test]
async fn internationalized_domains_and_selectors() {
    let zone = format!(
        "xn--s-wga._domainkey.xn--bcher-kva.test TXT \"{}\"",
        Signer::new(1).record()
    );
    let tags = TAGS.replace("example.test; s=s", "b\u{fc}cher.test; s=\u{fc}s");
    let zone = zone.replace("xn--s-wga", Name::from_unicode("\u{fc}s").unwrap().as_str());
    let outcome = verify_in(&zone, &sign(&tags), &Options::new(NOW)).await;
    assert_eq!(outcome.best(), DkimResult::Pass, "{outcome:?}");
    assert_eq!(
        outcome.signatures[0].domain,
        Some(Name::parse("xn--bcher-kva.test").unwrap())
    );
}

#[tokio::test]
async fn an_unsigned_message_is_none() {
    let outcome = verify_in("", MESSAGE, &Options::new(NOW)).await;
    assert_eq!(
        (outcome.best(), outcome.methods()[0].result),
        (DkimResult::None, "none")
    );
}

#[tokio::test]
async fn one_body_many_lengths_cost_one_pass_and_few_questions() {
    let mut raw = MESSAGE.to_owned();
    for length in 0..7 {
        raw = Signer::new(1).dkim(&raw, "DKIM-Signature", &format!("{TAGS}; l={length}"));
    }
    let zone = Zone::parse(&zone()).unwrap();
    let message = Message::parse(raw.as_bytes()).unwrap();
    let keys = KeyCache::new(10);
    let outcome = verify(&zone, &keys, &message, None, &Options::new(NOW)).await;
    assert!(
        outcome
            .signatures
            .iter()
            .all(|s| s.result == DkimResult::Policy),
        "{outcome:?}"
    );
    assert_eq!(zone.asked(), 1);
}

#[tokio::test]
async fn a_thousand_signatures_ask_for_eight_keys() {
    let signed = sign(TAGS);
    let (field, _) = signed.split_once("\r\nFrom:").unwrap();
    let others = (0..999).map(|n| {
        let domain = format!("d=other{n}.test");
        field.replace("d=example.test", &domain) + "\r\n"
    });
    let raw = others.collect::<String>() + &signed;
    let zone = Zone::parse(&zone()).unwrap();
    let message = Message::parse(raw.as_bytes()).unwrap();
    let author = crate::from::author(&message);
    let keys = KeyCache::new(10);
    let outcome = verify(&zone, &keys, &message, author.domain(), &Options::new(NOW)).await;
    assert_eq!(zone.asked(), 8);
    assert_eq!((outcome.signatures.len(), outcome.untried), (8, 992));
    assert_eq!(
        outcome.best(),
        DkimResult::Pass,
        "the aligned one is among them"
    );
}

#[tokio::test]
async fn a_signature_does_not_sign_itself() {
    let first = sign(TAGS);
    // Oversigned: the first signature, and that there is no second.
    let tags = TAGS.replace("h=from:to", "h=from:dkim-signature:dkim-signature");
    let second = Signer::new(1).dkim(&first, "DKIM-Signature", &tags);
    let outcome = verify_in(&zone(), &second, &Options::new(NOW)).await;
    let results: Vec<_> = outcome.signatures.iter().map(|s| s.result).collect();
    assert_eq!(results, [DkimResult::Pass, DkimResult::Pass], "{outcome:?}");
    let third = Signer::new(1).dkim(&second, "DKIM-Signature", TAGS);
    let outcome = verify_in(&zone(), &third, &Options::new(NOW)).await;
    assert_eq!(outcome.signatures[1].result, DkimResult::Fail);
}

#[tokio::test]
async fn a_failure_of_somebody_who_is_testing_says_so() {
    let testing = zone().replace("k=ed25519", "t=y:s; k=ed25519");
    for (change, to) in [("Hello", "Hallo"), ("To: b@", "To: c@")] {
        let raw = sign(TAGS).replacen(change, to, 1);
        let outcome = verify_in(&testing, &raw, &Options::new(NOW)).await;
        let signature = &outcome.signatures[0];
        assert_eq!(
            (signature.result, signature.testing),
            (DkimResult::Fail, true)
        );
    }
}

#[tokio::test]
async fn what_can_never_pass_waits_for_no_key() {
    let raw = sign(TAGS).replacen("Hello", "Hallo", 1);
    for (zone, result) in [
        ("s._domainkey.example.test SERVFAIL", DkimResult::Fail),
        // RFC 6376 §6.1.2 comes before §6.1.3.
        (
            "s._domainkey.example.test TXT \"p=\"",
            DkimResult::PermError,
        ),
    ] {
        let outcome = verify_in(zone, &raw, &Options::new(NOW)).await;
        assert_eq!(outcome.signatures[0].result, result, "{zone}");
    }
}

#[tokio::test]
async fn domains_and_selectors_are_host_names() {
    for (tags, reason) in [
        ("d=test; s=s", "d= is malformed"),
        ("d=example.test.; s=s", "d= is malformed"),
        ("d=exa mple.test; s=s", "d= is malformed"),
        ("d=-a.test; s=s", "d= is malformed"),
        ("d=a@b.test; s=s", "d= is malformed"),
        ("d=example.test; s=a b", "s= is malformed"),
        ("d=example.test; s=a..b", "s= is malformed"),
        ("d=example.test; s=*", "s= is malformed"),
    ] {
        let field = format!("v=1; a=ed25519-sha256; h=from; {tags}; bh=AA==; b=AA==");
        let outcome = check(&format!("DKIM-Signature: {field}\r\n{MESSAGE}")).await;
        assert_eq!(
            (outcome.result, outcome.reason.as_deref()),
            (DkimResult::Neutral, Some(reason)),
            "{tags}"
        );
    }
}

#[tokio::test]
async fn eight_bit_header_fields_are_signed_as_they_are() {
    let raw = "Subject: \u{fc}\u{1f600}  x \r\n".to_owned() + MESSAGE;
    let tags = TAGS.replace("h=from:to", "h=from:subject:subject");
    for tags in [tags.clone(), tags.replace("relaxed/relaxed", "simple")] {
        let signed = Signer::new(1).dkim(&raw, "DKIM-Signature", &tags);
        assert_eq!(check(&signed).await.result, DkimResult::Pass, "{tags}");
    }
    // Not UTF-8 at all.
    let signed = Signer::new(1).dkim(&raw, "DKIM-Signature", &tags);
    let latin = signed.into_bytes();
    let at = latin
        .windows(2)
        .position(|two| two == "\u{fc}".as_bytes())
        .unwrap();
    let latin = [&latin[..at], b"\xfc", &latin[at + 2..]].concat();
    let message = Message::parse(&latin).unwrap();
    let zone = Zone::parse(&zone()).unwrap();
    let keys = KeyCache::new(10);
    let outcome = verify(&zone, &keys, &message, None, &Options::new(NOW)).await;
    assert_eq!(outcome.best(), DkimResult::Fail);
}

proptest::proptest! {
    #[test]
    fn any_field_is_read_or_refused(value in "[a-z0-9=;: @/.\r\n\t-]{0,120}") {
        let raw = format!("DKIM-Signature: v=1; {value}\r\nFrom: a@b.test\r\n\r\n");
        let message = Message::parse(raw.as_bytes()).unwrap();
        let signatures = Signatures::parse(&message, None, &Options::new(NOW));
        let _ = BodyHashes::compute(message.body(), signatures.body_keys());
    }
}
