//! The examples of RFC 9989 and the rules around them.

use super::*;
use crate::zone::Zone;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn identifier(domain: &str, authenticated: Authenticated) -> Identifier {
    Identifier {
        domain: name(domain),
        authenticated,
    }
}

async fn evaluate_in(
    zone: &str,
    from: &str,
    spf: Option<(&str, Authenticated)>,
    dkim: &[(&str, Authenticated)],
) -> Outcome {
    let zone = Zone::parse(zone).unwrap();
    let from = name(from);
    let input = Input {
        from: &from,
        spf: spf.map(|(domain, passed)| identifier(domain, passed)),
        dkim: dkim
            .iter()
            .map(|(domain, passed)| identifier(domain, *passed))
            .collect(),
    };
    evaluate(&zone, &input).await
}

async fn with_dkim(zone: &str, from: &str, domain: &str) -> Outcome {
    evaluate_in(zone, from, None, &[(domain, Authenticated::Yes)]).await
}

async fn unsigned(zone: &str, from: &str) -> Outcome {
    evaluate_in(zone, from, None, &[]).await
}

#[tokio::test]
async fn alignment_examples() {
    // RFC 9989 §4.4, table 1.
    let zone = r#"_dmarc.example.com TXT "v=DMARC1; p=reject""#;
    let relaxed = with_dkim(zone, "news.example.com", "foo.example.com").await;
    assert_eq!(relaxed.result, DmarcResult::Pass);
    assert_eq!(relaxed.organizational_domain, Some(name("example.com")));
    assert_eq!(relaxed.dkim_aligned, Some(name("foo.example.com")));
    let strict = with_dkim(zone, "news.example.com", "news.example.com").await;
    assert_eq!(strict.result, DmarcResult::Pass);
    let none = with_dkim(zone, "news.example.com", "foo.example.net").await;
    assert_eq!(
        (none.result, none.applied),
        (DmarcResult::Fail, Policy::Reject)
    );
}

#[tokio::test]
async fn organizational_domain_examples() {
    // RFC 9989 §4.10.2, all three for a.mail.example.com.
    for (zone, wanted) in [
        (
            "_dmarc.mail.example.com TXT \"v=DMARC1; p=none\"\n\
             _dmarc.example.com TXT \"v=DMARC1; p=none\"",
            "example.com",
        ),
        (
            "_dmarc.mail.example.com TXT \"v=DMARC1; p=none; psd=n\"",
            "mail.example.com",
        ),
        ("_dmarc.com TXT \"v=DMARC1; p=none; psd=y\"", "example.com"),
    ] {
        let outcome = unsigned(zone, "a.mail.example.com").await;
        assert_eq!(outcome.organizational_domain, Some(name(wanted)), "{zone}");
    }
}

#[tokio::test]
async fn a_zone_cut_below_the_shortcut_is_not_found() {
    // RFC 9989 §5.1.8.
    let zone = r#"
        _dmarc.example.com TXT "v=DMARC1; p=reject"
        _dmarc.b.c.d.e.f.g.example.com TXT "v=DMARC1; p=none; psd=n"
    "#;
    let outcome = unsigned(zone, "mail.a.b.c.d.e.f.g.example.com").await;
    assert_eq!(outcome.published.unwrap().domain, name("example.com"));
    assert_eq!(outcome.queries, 8);
}

#[tokio::test]
async fn the_authors_record_comes_first_and_its_p_counts() {
    let zone = r#"
        _dmarc.a.example.com TXT "v=DMARC1; p=quarantine; sp=reject"
        _dmarc.example.com TXT "v=DMARC1; p=reject"
    "#;
    let outcome = unsigned(zone, "a.example.com").await;
    assert_eq!((outcome.policy, outcome.queries), (Policy::Quarantine, 1));
}

#[tokio::test]
async fn sp_and_np() {
    let zone = r#"
        _dmarc.example.com TXT "v=DMARC1; p=none; sp=quarantine; np=reject"
        here.example.com A 192.0.2.1
    "#;
    assert_eq!(unsigned(zone, "example.com").await.policy, Policy::None);
    assert_eq!(
        unsigned(zone, "here.example.com").await.policy,
        Policy::Quarantine
    );
    assert_eq!(
        unsigned(zone, "gone.example.com").await.policy,
        Policy::Reject
    );
    let without_np = r#"_dmarc.example.com TXT "v=DMARC1; p=none; sp=reject""#;
    assert_eq!(
        unsigned(without_np, "gone.example.com").await.policy,
        Policy::Reject
    );
}

#[tokio::test]
async fn a_public_suffix_speaks_for_those_who_do_not() {
    let zone = r#"_dmarc.test TXT "v=DMARC1; p=none; sp=reject; psd=y""#;
    let outcome = unsigned(zone, "a.shop.test").await;
    assert_eq!(outcome.policy, Policy::Reject);
    assert_eq!(outcome.organizational_domain, Some(name("shop.test")));
    // Two organizations below one suffix are not aligned.
    let other = with_dkim(zone, "a.shop.test", "b.other.test").await;
    assert_eq!(other.result, DmarcResult::Fail);
    // The suffix itself sends mail: it is its own organizational domain.
    let own = with_dkim(zone, "test", "test").await;
    assert_eq!(own.result, DmarcResult::Pass);
}

#[tokio::test]
async fn psd_n_separates_departments() {
    let zone = r#"
        _dmarc.example.com TXT "v=DMARC1; p=reject"
        _dmarc.dept.example.com TXT "v=DMARC1; p=reject; psd=n"
    "#;
    assert_eq!(
        with_dkim(zone, "example.com", "x.dept.example.com")
            .await
            .result,
        DmarcResult::Fail
    );
    assert_eq!(
        with_dkim(zone, "y.dept.example.com", "x.dept.example.com")
            .await
            .result,
        DmarcResult::Pass
    );
}

#[tokio::test]
async fn strict_alignment() {
    let zone = r#"_dmarc.example.com TXT "v=DMARC1; p=reject; adkim=s; aspf=S""#;
    assert_eq!(
        with_dkim(zone, "example.com", "m.example.com").await.result,
        DmarcResult::Fail
    );
    let spf = Some(("m.example.com", Authenticated::Yes));
    let outcome = evaluate_in(zone, "example.com", spf, &[]).await;
    assert_eq!(
        (outcome.result, outcome.spf_aligned),
        (DmarcResult::Fail, false)
    );
}

#[tokio::test]
async fn t_makes_a_policy_milder() {
    for (record, policy, applied) in [
        ("p=reject; t=y", Policy::Reject, Policy::Quarantine),
        ("p=quarantine; t=y", Policy::Quarantine, Policy::None),
        ("p=reject; t=n", Policy::Reject, Policy::Reject),
    ] {
        let zone = format!("_dmarc.example.com TXT \"v=DMARC1; {record}\"");
        let outcome = unsigned(&zone, "example.com").await;
        assert_eq!(
            (outcome.policy, outcome.applied),
            (policy, applied),
            "{record}"
        );
    }
}

#[tokio::test]
async fn several_records_are_none_and_the_walk_goes_on() {
    let zone = r#"
        _dmarc.a.example.com TXT "v=DMARC1; p=none"
        _dmarc.a.example.com TXT "v=DMARC1; p=quarantine"
        _dmarc.a.example.com TXT "v=spf1 -all"
        _dmarc.example.com TXT "v=DMARC1; p=reject"
    "#;
    let outcome = unsigned(zone, "a.example.com").await;
    assert_eq!(outcome.published.unwrap().domain, name("example.com"));
}

#[tokio::test]
async fn invalid_or_missing_policies() {
    for (record, result, policy) in [
        (
            "v=DMARC1; p=bogus; rua=mailto:a@b.test",
            DmarcResult::Fail,
            Policy::None,
        ),
        (
            "v=DMARC1; p=reject; sp=bogus; rua=mailto:a@b.test",
            DmarcResult::Fail,
            Policy::None,
        ),
        (
            "v=DMARC1; rua=mailto:a@b.test!10m",
            DmarcResult::Fail,
            Policy::None,
        ),
        ("v=DMARC1; p=bogus", DmarcResult::None, Policy::None),
        (
            "v=DMARC1; p=reject; np=bogus; rua=nonsense",
            DmarcResult::None,
            Policy::None,
        ),
        ("v=DMARC1", DmarcResult::None, Policy::None),
        (
            "v=DMARC1; p=REJECT; pct=0; adkim=x; unknown=1;;",
            DmarcResult::Fail,
            Policy::Reject,
        ),
        (
            " V = DMARC1 ;P = reject ; ",
            DmarcResult::Fail,
            Policy::Reject,
        ),
        ("v=dmarc1; p=reject", DmarcResult::None, Policy::None),
        ("p=reject; v=DMARC1", DmarcResult::None, Policy::None),
        ("v=DMARC1 p=reject", DmarcResult::None, Policy::None),
    ] {
        let zone = format!("_dmarc.example.com TXT \"{record}\"");
        let outcome = unsigned(&zone, "example.com").await;
        assert_eq!(
            (outcome.result, outcome.policy),
            (result, policy),
            "{record}"
        );
    }
}

#[tokio::test]
async fn an_unknown_policy_is_undecided_unless_nothing_could_change() {
    let zone = "_dmarc.example.com SERVFAIL";
    let outcome = unsigned(zone, "example.com").await;
    assert_eq!(
        (outcome.result, outcome.undecided),
        (DmarcResult::TempError, true)
    );
    let outcome = with_dkim(zone, "example.com", "example.com").await;
    assert_eq!(
        (outcome.result, outcome.undecided),
        (DmarcResult::TempError, false)
    );
}

#[tokio::test]
async fn a_missing_key_is_undecided_only_where_it_could_help() {
    let unknown = |domain| [(domain, Authenticated::Unknown)];
    for (policy, domain, result, undecided) in [
        ("reject", "m.example.com", DmarcResult::TempError, true),
        ("reject", "other.com", DmarcResult::Fail, false),
        ("reject", "other.net", DmarcResult::Fail, false),
        ("none", "m.example.com", DmarcResult::TempError, false),
        ("reject; adkim=s", "m.example.com", DmarcResult::Fail, false),
        (
            "quarantine; t=y",
            "m.example.com",
            DmarcResult::TempError,
            false,
        ),
    ] {
        let zone = format!("_dmarc.example.com TXT \"v=DMARC1; p={policy}\"");
        let outcome = evaluate_in(&zone, "example.com", None, &unknown(domain)).await;
        assert_eq!(
            (outcome.result, outcome.undecided),
            (result, undecided),
            "{policy} {domain}"
        );
    }
    let zone = r#"_dmarc.example.com TXT "v=DMARC1; p=reject""#;
    let spf = Some(("example.com", Authenticated::Yes));
    let outcome = evaluate_in(zone, "example.com", spf, &unknown("m.example.com")).await;
    assert_eq!(
        (outcome.result, outcome.undecided),
        (DmarcResult::Pass, false)
    );
}

#[tokio::test]
async fn a_walk_that_cannot_be_finished_is_undecided() {
    let zone = r#"
        _dmarc.a.example.com TXT "v=DMARC1; p=reject"
        _dmarc.example.com SERVFAIL
    "#;
    let outcome = with_dkim(zone, "a.example.com", "b.example.com").await;
    assert_eq!(
        (outcome.result, outcome.undecided),
        (DmarcResult::TempError, true)
    );
    // Nothing passed: nothing to walk for.
    let outcome = unsigned(zone, "a.example.com").await;
    assert_eq!(
        (outcome.result, outcome.undecided),
        (DmarcResult::Fail, false)
    );
}

#[tokio::test]
async fn no_more_than_24_names_are_asked_for() {
    let zone = r#"_dmarc.example.com TXT "v=DMARC1; p=reject""#;
    let domains: Vec<String> = (0..20)
        .map(|n| format!("x{n}.a.b.c.d.e.f.g{n}.example.com"))
        .collect();
    let dkim: Vec<_> = domains
        .iter()
        .map(|d| (d.as_str(), Authenticated::Yes))
        .collect();
    let zone_with_cut = format!("{zone}\n_dmarc.a.b.c.d.e.f.g0.example.com A 192.0.2.1");
    let outcome = evaluate_in(&zone_with_cut, "m.example.com", None, &dkim).await;
    assert_eq!(outcome.result, DmarcResult::Pass);
    assert!(outcome.queries <= 24);
    let zone = format!(
        "{zone}\n{}",
        (0..20)
            .map(|n| format!("_dmarc.g{n}.example.com TXT \"v=DMARC1; p=none; psd=n\"\n"))
            .collect::<String>()
    );
    let outcome = evaluate_in(&zone, "m.example.com", None, &dkim).await;
    assert_eq!(
        (outcome.result, outcome.queries),
        (DmarcResult::TempError, 24)
    );
    assert!(outcome.undecided);
}

#[tokio::test]
async fn no_record_is_none() {
    let outcome = with_dkim("example.com A 192.0.2.1", "example.com", "example.com").await;
    assert_eq!(
        (outcome.result, outcome.published),
        (DmarcResult::None, None)
    );
}

#[test]
fn fields_for_reports() {
    let record = Record::parse(
        b"v=DMARC1; p=none; rua=mailto:a@b.test!50m , https://r.test/x,bad uri; \
          ruf=mailto:f@b.test; fo=1:d:s",
    )
    .unwrap();
    assert_eq!(
        record.aggregate_reports,
        ["mailto:a@b.test", "https://r.test/x"]
    );
    assert_eq!(record.failure_reports, ["mailto:f@b.test"]);
    assert_eq!(
        record.failure_options,
        FailureOptions {
            any: true,
            dkim: true,
            spf: true
        }
    );
}

proptest::proptest! {
    #[test]
    fn any_text_is_a_record_or_not(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
        let whole = [b"v=DMARC1;".as_slice(), &text].concat();
        proptest::prop_assert!(Record::parse(&whole).is_some());
        let _ = Record::parse(&text);
    }
}
