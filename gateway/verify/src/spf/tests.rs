//! The published suite of RFC 7208 in full, and what it leaves out.

mod suite;

use super::*;
use crate::zone::Zone;
use std::fmt::Write as _;

async fn check(zone: &str, client: &str, local_part: &str, domain: &str) -> Outcome {
    let zone = Zone::parse(zone).unwrap();
    let client = client.parse().unwrap();
    let path = Some((local_part, domain));
    let request = Request::mail_from(client, "helo.example.test", path, "mx.test", 1_000);
    check_host(&zone, &request).await
}

async fn result(zone: &str, client: &str, domain: &str) -> SpfResult {
    check(zone, client, "user", domain).await.result
}

#[tokio::test]
async fn a_mapped_client_is_an_ipv4_client() {
    let zone = r#"example.test TXT "v=spf1 ip4:192.0.2.0/24 -all""#;
    assert_eq!(
        result(zone, "::ffff:192.0.2.7", "example.test").await,
        SpfResult::Pass
    );
    assert_eq!(
        result(zone, "::ffff:198.51.100.7", "example.test").await,
        SpfResult::Fail
    );
}

#[tokio::test]
async fn the_null_reverse_path_is_postmaster_at_helo() {
    let zone = Zone::parse(
        r#"
        helo.example.test TXT "v=spf1 exists:%{l}.%{o}.s.test -all"
        postmaster.helo.example.test.s.test A 127.0.0.1
        "#,
    )
    .unwrap();
    let client = "192.0.2.1".parse().unwrap();
    let request = Request::mail_from(client, "helo.example.test", None, "mx.test", 0);
    let outcome = check_host(&zone, &request).await;
    assert_eq!(outcome.result, SpfResult::Pass);
    assert_eq!(outcome.sender, "postmaster@helo.example.test");
    assert_eq!(
        outcome.mechanism.as_deref(),
        Some("exists:%{l}.%{o}.s.test")
    );
}

#[tokio::test]
async fn u_labels_become_a_labels() {
    let zone = r#"
        xn--bcher-kva.test TXT "v=spf1 exists:%{d}.%{o}.s.test -all"
        xn--bcher-kva.test.xn--bcher-kva.test.s.test A 127.0.0.1
    "#;
    assert_eq!(
        result(zone, "192.0.2.1", "b\u{fc}cher.test").await,
        SpfResult::Pass
    );
}

#[tokio::test]
async fn an_identity_without_a_domain_name_is_none() {
    for domain in ["[192.0.2.1]", "192.0.2.1", "localhost", "", ".", "a..test"] {
        assert_eq!(
            result("", "192.0.2.1", domain).await,
            SpfResult::None,
            "{domain}"
        );
    }
}

#[tokio::test]
async fn a_syntax_error_behind_a_match_is_still_permerror() {
    let zone = r#"example.test TXT "v=spf1 ip4:192.0.2.1 -al""#;
    let outcome = check(zone, "192.0.2.1", "user", "example.test").await;
    assert_eq!(outcome.result, SpfResult::PermError);
    assert_eq!(
        outcome.problem.as_deref(),
        Some("example.test: syntax error in the SPF record at \"-al\"")
    );
}

#[tokio::test]
async fn temporary_errors_are_temperror_and_never_pass() {
    let zone = r#"
        a.test    TXT "v=spf1 a:broken.test +all"
        mx.test   TXT "v=spf1 mx:mxhost.test +all"
        mxhost.test MX 10 slow.test
        inc.test  TXT "v=spf1 include:broken.test +all"
        red.test  TXT "v=spf1 redirect=slow.test"
        ptr.test  TXT "v=spf1 ptr -all"
        broken.test SERVFAIL
        slow.test TIMEOUT
        192.0.2.1 SERVFAIL
    "#;
    for domain in [
        "a.test",
        "mx.test",
        "inc.test",
        "red.test",
        "broken.test",
        "slow.test",
    ] {
        assert_eq!(
            result(zone, "192.0.2.1", domain).await,
            SpfResult::TempError,
            "{domain}"
        );
    }
    // §5.5: an error there only means no match.
    assert_eq!(result(zone, "192.0.2.1", "ptr.test").await, SpfResult::Fail);
}

#[tokio::test]
async fn loops_end_at_ten_lookups() {
    let zone = r#"
        include.test  TXT "v=spf1 include:include.test -all"
        redirect.test TXT "v=spf1 redirect=redirect.test"
        both.test     TXT "v=spf1 include:other.test -all"
        other.test    TXT "v=spf1 redirect=both.test"
    "#;
    for domain in ["include.test", "redirect.test", "both.test"] {
        let outcome = check(zone, "192.0.2.1", "user", domain).await;
        assert_eq!(
            (outcome.result, outcome.lookups),
            (SpfResult::PermError, 10),
            "{domain}"
        );
    }
}

#[test]
fn a_loop_takes_no_room_on_the_stack() {
    let deep = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let zone = r#"a.test TXT "v=spf1 include:a.test -all""#;
        let outcome = runtime
            .unwrap()
            .block_on(check(zone, "192.0.2.1", "u", "a.test"));
        assert_eq!(outcome.result, SpfResult::PermError);
    };
    let thread = std::thread::Builder::new().stack_size(96 << 10);
    thread.spawn(deep).unwrap().join().unwrap();
}

#[tokio::test]
async fn a_cname_loop_has_no_record() {
    let zone = "a.test CNAME b.test\nb.test CNAME a.test";
    assert_eq!(result(zone, "192.0.2.1", "a.test").await, SpfResult::None);
}

#[tokio::test]
async fn a_record_of_64_kilobytes_is_evaluated() {
    let mut record = "v=spf1".to_owned();
    while record.len() < 65_000 {
        record.push_str(" ip4:198.51.100.1");
    }
    let zone = format!("example.test TXT \"{record} ip4:192.0.2.1 -all\"");
    assert_eq!(
        result(&zone, "192.0.2.1", "example.test").await,
        SpfResult::Pass
    );
}

#[tokio::test]
async fn an_explanation_is_bounded_and_printable() {
    let zone = format!(
        "example.test TXT \"v=spf1 -all exp=why.test\"\nwhy.test TXT \"%{{l}} {}\"",
        "x".repeat(1_000)
    );
    let outcome = check(&zone, "192.0.2.1", "o\u{308}\r\n550", "example.test").await;
    let explanation = outcome.explanation.unwrap();
    assert_eq!(explanation.len(), 400);
    assert!(explanation.starts_with("o???550 xxx"), "{explanation}");
}

#[tokio::test]
async fn odd_local_parts_make_odd_names() {
    let zone = r#"
        example.test TXT "v=spf1 exists:%{l}.s.test -all"
        back\slash.s.test A 127.0.0.1
    "#;
    assert_eq!(
        check(zone, "192.0.2.1", "back\\slash", "example.test")
            .await
            .result,
        SpfResult::Pass
    );
    let endless = "l".repeat(64);
    assert_eq!(
        check(zone, "192.0.2.1", &endless, "example.test")
            .await
            .result,
        SpfResult::Fail
    );
}

fn mail(helo: &str, reverse_path: Option<(&str, &str)>) -> Request {
    let client = IpAddr::from([192, 0, 2, 1]);
    Request::mail_from(client, helo, reverse_path, "mx.test", 0)
}

#[tokio::test]
async fn helo_is_checked_on_its_own() {
    let zone = Zone::parse(
        r#"
        mail.test    TXT "v=spf1 a -all"
        mail.test    A   192.0.2.9
        example.test TXT "v=spf1 ip4:192.0.2.1 -all"
        "#,
    )
    .unwrap();
    let request = mail("mail.test", Some(("a", "example.test")));
    let both = check_identities(&zone, &zone, &request).await;
    assert_eq!(both.mail_from.result, SpfResult::Pass);
    assert_eq!(both.mail_from.sender, "a@example.test");
    assert_eq!(
        (
            both.helo.result,
            both.helo.identity,
            both.helo.sender.as_str()
        ),
        (SpfResult::Fail, Identity::Helo, "mail.test")
    );
    for helo in ["[192.0.2.1]", "localhost", "192.0.2.1"] {
        let both = check_identities(&zone, &zone, &mail(helo, None)).await;
        assert_eq!(both.helo.result, SpfResult::None, "{helo}");
        assert_eq!(both.mail_from.result, SpfResult::None, "{helo}");
    }
}

#[tokio::test]
async fn the_null_reverse_path_is_postmaster_at_helo_and_costs_one_check() {
    let zone = Zone::parse(
        r#"
        mail.test TXT "v=spf1 exists:%{l}.%{o}.%{h}.test -all"
        postmaster.mail.test.mail.test.test A 127.0.0.2
        "#,
    )
    .unwrap();
    let both = check_identities(&zone, &zone, &mail("mail.test", None)).await;
    assert_eq!(both.mail_from.result, SpfResult::Pass, "{both:?}");
    assert_eq!(both.mail_from.identity, Identity::MailFrom);
    assert_eq!(both.mail_from.sender, "postmaster@mail.test");
    assert_eq!(both.helo.result, SpfResult::Pass);
    assert_eq!(
        (both.helo.identity, both.helo.sender.as_str()),
        (Identity::Helo, "mail.test")
    );
    assert_eq!(zone.asked(), 2);
}

/// Each of ten terms costs eleven questions, the explanation one, its `%{p}` eleven.
#[tokio::test]
async fn the_worst_record_asks_no_more_than_123_questions() {
    let mut text = String::new();
    let mut record = "v=spf1".to_owned();
    for n in 0..10 {
        let _ = write!(record, " mx:mx{n}.test");
        for host in 0..10 {
            let _ = writeln!(text, "mx{n}.test MX 10 h{host}.mx{n}.test");
            let _ = writeln!(text, "h{host}.mx{n}.test A 203.0.113.1");
            let _ = writeln!(text, "192.0.2.1 PTR p{host}{n}.test");
            let _ = writeln!(text, "p{host}{n}.test A 203.0.113.1");
        }
    }
    let _ = writeln!(text, "worst.test TXT \"{record} -all exp=%{{p}}.why.test\"");
    let _ = writeln!(text, "unknown.why.test TXT \"%{{p}}\"");
    let zone = Zone::parse(&text).unwrap();
    let outcome = check_host(&zone, &mail("h.test", Some(("a", "worst.test")))).await;
    assert_eq!(outcome.result, SpfResult::Fail, "{outcome:?}");
    assert_eq!(outcome.explanation.as_deref(), Some("unknown"));
    assert_eq!(zone.asked(), 123);
}

#[tokio::test]
async fn what_a_limit_cuts_off_is_temperror_and_not_a_failure_to_match() {
    let zone = Zone::parse(
        r#"
        ptr.test    TXT "v=spf1 ptr -all"
        p.test      TXT "v=spf1 exists:%{p}.p.test -all"
        192.0.2.1   PTR a.ptr.test
        a.ptr.test  A   192.0.2.1
        "#,
    )
    .unwrap();
    for (domain, questions) in [
        ("ptr.test", 1),
        ("ptr.test", 2),
        ("p.test", 1),
        ("p.test", 2),
    ] {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        let budget = crate::resolve::Budget::new(questions, deadline);
        let scoped = crate::resolve::Scoped::new(&zone, budget, None);
        let outcome = check_host(&scoped, &mail("h.test", Some(("a", domain)))).await;
        assert_eq!(
            outcome.result,
            SpfResult::TempError,
            "{domain} {questions}: {outcome:?}"
        );
        assert!(outcome.problem.unwrap().contains("is spent"));
    }
}

proptest::proptest! {
    #[test]
    fn any_record_is_parsed_or_refused(terms in "[ -~]{0,80}", local_part in "\\PC{0,20}") {
        if let Ok(record) = Record::parse(terms.as_bytes()) {
            let context = macros::Context {
                local_part: &local_part,
                sender_domain: "example.test",
                domain: "example.test",
                client: IpAddr::from([192, 0, 2, 1]),
                validated: None,
                helo: "helo.test",
                receiver: "mx.test",
                now: 0,
            };
            for macros in record.redirect.iter().chain(&record.exp) {
                proptest::prop_assert!(macros.expand_domain(&context).len() <= 253 + 64 * 3);
            }
        }
    }
}
