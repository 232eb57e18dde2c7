//! What is written is read back; what claims to be ours is found.

mod abnf;

use super::*;
use crate::message::Message;
use proptest::prelude::*;

fn text(header: &Header) -> String {
    String::from_utf8(header.to_bytes()).unwrap()
}

/// What both readers read of it, which must be the same.
fn read(header: &Header) -> Parsed {
    let parsed = by_our_reader(header);
    let mut parts = vec![("authserv-id", parsed.authserv_id.clone())];
    for method in &parsed.methods {
        parts.push(("method", method.method.clone()));
        parts.push(("result", method.result.clone()));
        parts.extend(method.reason.clone().map(|reason| ("reason", reason)));
        for property in &method.properties {
            parts.push(("ptype", property.ptype.to_string()));
            parts.push(("property", property.name.to_string()));
            parts.push(("pvalue", property.value.clone()));
        }
    }
    let text = text(header);
    let other = abnf::read(&text).unwrap_or_else(|| panic!("not by the grammar: {text:?}"));
    let other: Vec<(&str, String)> = other
        .iter()
        .map(|(rule, part)| (rule.as_str(), part.clone()))
        .collect();
    assert_eq!(other, parts, "{text:?}");
    parsed
}

fn by_our_reader(header: &Header) -> Parsed {
    let text = text(header);
    parse(
        text.strip_prefix("Authentication-Results:")
            .unwrap()
            .as_bytes(),
    )
    .expect(&text)
}

#[test]
fn no_results() {
    let header = Header::new("mx.example.com");
    assert_eq!(
        text(&header),
        "Authentication-Results: mx.example.com; none\r\n"
    );
    assert_eq!(read(&header).methods, []);
}

#[test]
fn results_are_folded_one_to_a_line() {
    let mut header = Header::new("mx.example.com");
    header.push(
        Method::new("spf", "pass")
            .with_comment(Some("ip4:192.0.2.0/24".into()))
            .with("smtp", "mailfrom", "a@b.test"),
    );
    header.push(
        Method::new("dkim", "fail")
            .with_reason(Some("body hash did not verify".into()))
            .with("header", "d", "b.test")
            .with("header", "b", "ab/cd+ef"),
    );
    assert_eq!(
        text(&header),
        "Authentication-Results: mx.example.com;\r\n\
         \tspf=pass (ip4:192.0.2.0/24) smtp.mailfrom=a@b.test;\r\n\
         \tdkim=fail reason=\"body hash did not verify\" header.d=b.test\r\n\
         \theader.b=\"ab/cd+ef\"\r\n"
    );
}

#[test]
fn hostile_values_stay_inside_their_quotes() {
    let mut header = Header::new("mx; dkim=pass");
    header.push(
        Method::new("spf", "fail")
            .with_comment(Some("a) dmarc=pass (\r\nX: y\\".into()))
            .with("smtp", "mailfrom", "\"; dkim=pass\r\n\0"),
    );
    let parsed = read(&header);
    assert_eq!(parsed.authserv_id, "mx; dkim=pass");
    assert_eq!(parsed.methods.len(), 1);
    assert_eq!(parsed.methods[0].properties[0].value, "\"; dkim=pass???");
    assert!(
        text(&header)
            .lines()
            .skip(1)
            .all(|line| line.starts_with('\t'))
    );
}

#[test]
fn at_most_8_kilobytes_and_dkim_goes_first() {
    let mut header = Header::new("mx.example.com");
    header.push(Method::new("spf", "pass"));
    for _ in 0..40 {
        header.push(Method::new("dkim", "fail").with("header", "i", "x ".repeat(500)));
    }
    header.push(Method::new("dmarc", "fail"));
    let text = text(&header);
    assert!(text.len() <= 8_192 && text.len() > 6_000, "{}", text.len());
    assert!(text.contains("spf=pass") && text.contains("dmarc=fail"));
    assert!(text.contains("results left out)"));
    assert_eq!(
        by_our_reader(&header).methods.last().unwrap().method,
        "dmarc"
    );
}

fn stripped(header: &str, id: &str) -> bool {
    let raw = format!("{header}\r\nSubject: x\r\n\r\n");
    let message = Message::parse(raw.as_bytes()).unwrap();
    let ranges = strip_own(&message, id);
    assert!(
        ranges.iter().all(|range| *range == (0..header.len() + 2)),
        "{ranges:?}"
    );
    !ranges.is_empty()
}

#[test]
fn forged_results_of_ours_are_found() {
    for header in [
        "Authentication-Results: mx.example.com; spf=pass",
        "authentication-RESULTS:MX.Example.COM; spf=pass",
        "Authentication-Results : mx.example.com 1; spf=pass",
        "Authentication-Results: (c (n) \\) c) mx.example.com (c); spf=pass",
        "Authentication-Results:\r\n\tmx.example.com;\r\n\tspf=pass",
        "Authentication-Results: \"mx.example.com\"; spf=pass",
        "Authentication-Results: \"mx.\\example.com\"; spf=pass",
        "Authentication-Results: mx.example.com.; spf=pass",
        "Authentication-Results: mx.example.com/1; spf=pass",
        "Authentication-Results: mx.example.com",
        "Authentication-Results: mx.\"example\".com; spf=pass",
        "Authentication-Results: mx.(c)example. com; spf=pass",
        "Authentication-Results: mx.example.com 1 ; spf=pass",
        "Authentication-Results: mx.example.com(c)1; spf=pass",
        "Authentication-Results\r\n : mx.example.com; spf=pass",
        "Authentication-Results:\r\n \r\n\t \r\n mx.example.com; spf=pass",
        "Authentication-Results: \"mx\" . \"example\" . com; spf=pass",
        "Authentication-Results: \u{ff4d}\u{ff58}.example\u{3002}com; spf=pass",
        "Authentication-Results: (open mx.example.com; spf=pass",
        "Authentication-Results: \"mx.example.com; spf=pass",
    ] {
        assert!(stripped(header, "mx.example.com"), "{header}");
    }
    // What readers trim away: controls, white space of Unicode.
    for octets in (1..=0x1f_u8)
        .chain([0x7f])
        .map(char::from)
        .filter(|c| !"\r\n".contains(*c))
    {
        for space in [octets.to_string(), format!(" {octets}\t{octets}")] {
            let header = format!("Authentication-Results: {space}mx.example.com{space}1; spf=pass");
            assert!(stripped(&header, "mx.example.com"), "{header:?}");
        }
    }
    for space in [
        "\u{a0}", "\u{85}", "\u{2003}", "\u{2028}", "\u{3000}", "\u{feff}", "\u{200b}",
    ] {
        let header = format!("Authentication-Results:{space}mx.example.com; spf=pass");
        assert!(stripped(&header, "mx.example.com"), "{header:?}");
    }
    let raw = b"Authentication-Results: \xa0mx.example.com; spf=pass\r\n\r\n";
    let message = Message::parse(raw).unwrap();
    assert_eq!(strip_own(&message, "mx.example.com").len(), 1);
    assert!(stripped(
        "Authentication-Results: (open B\u{fc}cher.test; spf=pass",
        "xn--bcher-kva.test"
    ));
    assert!(stripped(
        "Authentication-Results: b\u{fc}cher.test; spf=pass",
        "xn--bcher-kva.test"
    ));
    assert!(stripped(
        "Authentication-Results: b\u{fc}cher (c) .test; spf=pass",
        "xn--bcher-kva.test"
    ));
    assert!(stripped(
        "Authentication-Results: XN--BCHER-KVA.test.; none",
        "xn--bcher-kva.test"
    ));
    assert!(stripped(
        "Authentication-Results: xn--bcher-kva.test; none",
        "b\u{fc}cher.test"
    ));
}

#[test]
fn each_of_several_is_found() {
    let raw = b"Authentication-Results: mx.test; spf=pass\r\nA: b\r\n\
        authentication-results: other.test; spf=pass\r\n\
        AUTHENTICATION-RESULTS: MX.TEST; dkim=pass\r\n\r\n";
    let message = Message::parse(raw).unwrap();
    let found: Vec<&str> = strip_own(&message, "mx.test")
        .into_iter()
        .map(|range| std::str::from_utf8(&raw[range]).unwrap())
        .collect();
    assert_eq!(
        found,
        [
            "Authentication-Results: mx.test; spf=pass\r\n",
            "AUTHENTICATION-RESULTS: MX.TEST; dkim=pass\r\n"
        ]
    );
}

#[test]
fn claims_of_others_are_read_and_what_they_quote_is_not() {
    let claimed = |value: &str| -> Vec<String> {
        let results = claimed_results(value.as_bytes());
        results.map(|(m, r)| format!("{m}={r}")).collect()
    };
    assert_eq!(
        claimed(
            "mx.a.test 1; SPF=Pass (x; dmarc=pass) smtp.mailfrom=\"; dmarc=pass \"@b.test; dkim/1 = fail x=y; arc=none (0)"
        ),
        ["spf=pass", "dkim=fail", "arc=none"]
    );
    for deep in ["a; spf=none ", "a; ", "a "] {
        let deep = format!("{deep}{}; dmarc=pass", "(".repeat(60));
        assert_eq!(claimed(&deep), [""; 0]);
    }
    assert_eq!(claimed("dmarc=pass"), [""; 0]);
    assert_eq!(claimed("a; dmarc=pass"), ["dmarc=pass"]);
    assert_eq!(claimed("a (open; dmarc=pass"), [""; 0]);
    assert_eq!(claimed("a; x=\"open; dmarc=pass"), ["x=\"open"; 0]);
}

#[test]
fn results_of_others_stay() {
    for header in [
        "Authentication-Results: other.example.com; spf=pass",
        "Authentication-Results: a.mx.example.com; spf=pass",
        "Authentication-Results: mx.example.com.evil.test; spf=pass",
        "Authentication-Results: (mx.example.com) other.test; spf=pass",
        "Authentication-Results: ; spf=pass",
        "X-Authentication-Results: mx.example.com; spf=pass",
        "ARC-Authentication-Results: i=1; mx.example.com; spf=pass",
    ] {
        assert!(!stripped(header, "mx.example.com"), "{header}");
    }
}

#[test]
fn fields_of_others_are_read() {
    // RFC 8601 appendix B.4 and B.5.
    let parsed = parse(
        b" example.com;\r\n auth=pass (cram-md5) smtp.auth=sender@example.net;\r\n \
          spf=pass smtp.mailfrom=example.net;\r\n sender-id/1=fail reason=\"x y\" header.from = \
          (c) a@b.test\r\n",
    )
    .unwrap();
    assert_eq!(parsed.methods.len(), 3);
    assert_eq!(parsed.methods[2].reason.as_deref(), Some("x y"));
    assert_eq!(
        parsed.methods[2].properties[0],
        Property::new("header", "from", "a@b.test")
    );
    assert!(parse(b"example.com; none").unwrap().methods.is_empty());
    for wrong in [
        &b""[..],
        b"example.com",
        b"example.com; spf",
        b"x; spf=pass; none",
    ] {
        assert_eq!(parse(wrong), None, "{wrong:?}");
    }
}

#[test]
fn what_looks_like_an_address_is_one_or_is_quoted() {
    for (value, written) in [
        ("a.b@c.test", "a.b@c.test"),
        ("@c.test", "@c.test"),
        ("c.test", "c.test"),
        ("postmaster@localhost", "\"postmaster@localhost\""),
        ("a..b@c.test", "\"a..b@c.test\""),
        ("a b@c.test", "\"a b@c.test\""),
        ("a@[192.0.2.1]", "\"a@[192.0.2.1]\""),
        ("a@_dmarc.c.test", "\"a@_dmarc.c.test\""),
        ("_c.test", "_c.test"),
        ("", "\"\""),
    ] {
        let mut header = Header::new("mx.test");
        header.push(Method::new("spf", "pass").with("smtp", "mailfrom", value));
        let wanted =
            format!("Authentication-Results: mx.test;\r\n\tspf=pass smtp.mailfrom={written}\r\n");
        assert_eq!(text(&header), wanted);
        assert_eq!(read(&header).methods[0].properties[0].value, value);
    }
}

proptest! {
    // Both readers are slow without optimization.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_is_written_is_read_back(
        id in "\\PC{1,40}",
        values in proptest::collection::vec((".{0,60}", proptest::option::of(".{0,60}")), 0..6),
    ) {
        let mut header = Header::new(&id);
        for (value, comment) in &values {
            header.push(
                Method::new("spf", "fail")
                    .with_comment(comment.clone())
                    .with_reason(comment.clone())
                    .with("smtp", "mailfrom", value.clone()),
            );
        }
        let parsed = read(&header);
        let safe = |text: &str| -> String {
            text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
        };
        prop_assert_eq!(&parsed.authserv_id, &safe(&id));
        prop_assert_eq!(parsed.methods.len(), values.len());
        for (method, (value, comment)) in parsed.methods.iter().zip(&values) {
            prop_assert_eq!(&method.properties[0].value, &safe(value));
            prop_assert_eq!(&method.reason, &comment.as_deref().map(safe));
        }
        for line in text(&header).split_inclusive("\r\n") {
            prop_assert!(line.ends_with("\r\n") && line.len() <= 998);
            prop_assert!(!line.trim_end_matches("\r\n").contains(['\r', '\n', '\0']));
        }
        let raw = [header.to_bytes(), b"\r\n".to_vec()].concat();
        let message = Message::parse(&raw).unwrap();
        prop_assert_eq!(message.fields().len(), 1);
        prop_assert_eq!(strip_own(&message, &safe(&id)).len(), 1);
    }

}

proptest! {
    #[test]
    fn reading_never_panics(value in proptest::collection::vec(prop_oneof![
        Just(b'('), Just(b')'), Just(b'"'), Just(b'\\'), Just(b';'), Just(b'='), Just(b'.'),
        Just(b'a'), any::<u8>(),
    ], 0..60)) {
        let _ = parse(&value);
        let _ = claims(&value);
    }
}

fn claims(value: &[u8]) -> usize {
    let raw = [b"Authentication-Results:".as_slice(), value, b"\r\n\r\n"].concat();
    Message::parse(&raw).map_or(0, |message| strip_own(&message, "a").len())
}

/// What the checks say of whatever a client sends.
async fn checked(field: &str, local_part: &str, domain: &str, helo: &str) -> Header {
    let zone = crate::zone::Zone::parse("c.test TXT \"v=spf1 ?all\"").unwrap();
    let raw = format!("DKIM-Signature: {field}\r\nARC-Seal: {field}\r\nFrom: a@c.test\r\n\r\n");
    let mut header = Header::new("mx.test");
    let path = Some((local_part, domain));
    let client = "2001:db8::1".parse().unwrap();
    let request = crate::spf::Request::mail_from(client, helo, path, "mx.test", 0);
    let spf = crate::spf::check_identities(&zone, &zone, &request).await;
    header.push(Method::from(&spf.mail_from));
    header.push(Method::from(&spf.helo));
    header.push(Method::from(&crate::iprev::check(&zone, client).await));
    if let Ok(message) = Message::parse(raw.as_bytes()) {
        let keys = crate::KeyCache::new(1);
        let options = crate::dkim::Options::new(0);
        let dkim = crate::dkim::verify(&zone, &keys, &message, None, &options).await;
        header.extend(dkim.methods());
        header.push(Method::from(
            &crate::arc::verify(&zone, &keys, &message).await,
        ));
        let author = crate::Name::parse("c.test").unwrap();
        let input = crate::dmarc::Input::new(&author, Some(&spf.mail_from), Some(&dkim));
        header.push(Method::from(&crate::dmarc::evaluate(&zone, &input).await));
    }
    header
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_comes_what_is_said_of_it_fits_the_grammar(
        d in "[a-c.@ \"\u{fc}_-]{0,12}", i in ".{0,20}", b in "[a-zA-Z+/= ]{0,16}",
        tags in "[a-z=;: \t/0-9-]{0,40}", local_part in ".{0,20}", domain in "[a-c.\\[\u{fc}_-]{0,12}",
        helo in "[a-c.:\\[\\]0-9_-]{0,12}",
    ) {
        let field = format!("v=1; a=rsa-sha256; d={d}; s={d}; i={i}; b={b}; bh=AA==; h=from; {tags}");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let header = runtime.block_on(checked(&field, &local_part, &domain, &helo));
        let parsed = read(&header);
        prop_assert!(parsed.methods.len() >= 3);
        prop_assert!(parsed.methods.iter().all(|method| method.result != "pass"));
    }
}
