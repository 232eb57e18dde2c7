//! What each scalar takes, how it prints it, and what it refuses; and that the patterns that an
//! API server compares with say the same.

use std::fmt::{Debug, Display};
use std::str::FromStr;
use std::time::Duration;

use regex::Regex;
use schemars::JsonSchema;

use super::*;

/// `good`: text and canonical text. `bad`: refused by parser and pattern alike. `ugly`: refused by
/// the parser alone; an API server has a CEL rule for it.
fn scalar<T>(good: &[(&str, &str)], bad: &[&str], ugly: &[&str])
where
    T: FromStr<Err = ScalarError> + Display + Debug + PartialEq + JsonSchema,
{
    let schema = T::json_schema(&mut schemars::SchemaGenerator::default());
    let pattern = schema.get("pattern").and_then(|p| p.as_str()).unwrap();
    let pattern = Regex::new(pattern).unwrap();
    let max = schema
        .get("maxLength")
        .and_then(serde_json::Value::as_u64)
        .unwrap();
    let fits = |text: &str| pattern.is_match(text) && text.chars().count() as u64 <= max;
    for (text, canonical) in good {
        let value: T = text.parse().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(value.to_string(), *canonical);
        assert_eq!(canonical.parse::<T>().unwrap(), value);
        assert!(fits(text), "the pattern refuses {text:?}");
    }
    for text in bad {
        assert!(text.parse::<T>().is_err(), "{text:?} is taken");
        assert!(!fits(text), "the pattern takes {text:?}");
    }
    for text in ugly {
        assert!(text.parse::<T>().is_err(), "{text:?} is taken");
    }
}

#[test]
fn durations() {
    scalar::<GoDuration>(
        &[
            ("1h30m", "1h30m"),
            ("90s", "1m30s"),
            ("0s", "0s"),
            ("1500ms", "1s500ms"),
            ("1m1m", "2m"),
        ],
        &[
            "",
            "5",
            "1.5s",
            "-1s",
            "1d",
            "1h1h1h1h1h",
            "100000s",
            "s",
            "1 s",
            "1hm",
            "1us",
        ],
        &[],
    );
    assert_eq!(
        "1m30s500ms".parse::<GoDuration>().unwrap().get(),
        Duration::from_millis(90_500)
    );
}

#[test]
fn quantities() {
    scalar::<Quantity>(
        &[
            ("25Mi", "25Mi"),
            ("1024", "1Ki"),
            ("500k", "500000"),
            ("0", "0"),
            ("3k", "3000"),
            ("1Gi", "1Gi"),
        ],
        &[
            "",
            "Mi",
            "1.5Mi",
            "-1",
            "25 Mi",
            "25MB",
            "1e3",
            "1Ti",
            "1234567890123",
        ],
        &[],
    );
    assert_eq!(
        serde_json::from_str::<Quantity>("2048").unwrap().bytes(),
        2048
    );
    assert!(serde_json::from_str::<Quantity>("-1").is_err());
    assert!(serde_json::from_str::<Quantity>("true").is_err());
}

#[test]
fn domains() {
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    let too_long = format!("{longest}a");
    let long_label = format!("{label}a.test");
    scalar::<DomainName>(
        &[
            ("Example.COM", "example.com"),
            ("localhost", "localhost"),
            ("1.a", "1.a"),
            ("xn--bcher-kva.test", "xn--bcher-kva.test"),
            (&longest, &longest),
        ],
        &[
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a.b",
            "a-.b",
            "a_b.c",
            "192.0.2.1",
            "bücher.test",
            "a b",
            &too_long,
            &long_label,
        ],
        &[],
    );
    scalar::<DomainPattern>(
        &[
            ("*.Acme.test", "*.acme.test"),
            ("acme.test", "acme.test"),
            ("*.zip", "*.zip"),
        ],
        &["*", "*.", "*acme.test", "a.*.test", "**.a"],
        &[],
    );
    let below: DomainPattern = "*.acme.test".parse().unwrap();
    let matches = |name: &str| below.matches(&name.parse().unwrap());
    assert!(matches("a.acme.test") && matches("b.a.ACME.test"));
    assert!(!matches("acme.test") && !matches("notacme.test"));
}

#[test]
fn addresses() {
    scalar::<EmailAddress>(
        &[
            ("Ops.Team+x@Example.com", "ops.team+x@example.com"),
            ("jürgen@acme.test", "jürgen@acme.test"),
        ],
        &[
            "",
            "ops",
            "@a.test",
            "ops@",
            ".a@b.test",
            "a..b@c.test",
            "a b@c.test",
            "<a@b.test>",
            "\"a\"@b.test",
            "a@b@c.test",
            "*@a.test",
            "a@[192.0.2.1]",
        ],
        &[],
    );
    scalar::<AddressPattern>(
        &[
            ("*", "*"),
            ("*@Acme.test", "acme.test"),
            ("*@*.acme.test", "*.acme.test"),
            ("ops@acme.test", "ops@acme.test"),
        ],
        &[
            "",
            "**",
            "*@",
            "@acme.test",
            "*@*",
            "a*@acme.test",
            "ops@*.acme.test",
        ],
        &[],
    );
    let matches = |pattern: &str, local: &str, domain: &str| {
        let pattern: AddressPattern = pattern.parse().unwrap();
        pattern.matches(local, &domain.parse().unwrap())
    };
    assert!(matches("Ops@acme.test", "oPS", "ACME.test"));
    assert!(!matches("ops@acme.test", "ops", "b.acme.test"));
    assert!(matches("acme.test", "x", "acme.test") && !matches("acme.test", "x", "a.acme.test"));
    assert!(
        matches("*.acme.test", "x", "a.acme.test") && !matches("*.acme.test", "x", "acme.test")
    );
    assert!(matches("*", "x", "y"));
}

#[test]
fn networks() {
    scalar::<Cidr>(
        &[
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ],
        &["", "10.0.0.0", "10.0.0.0/", "a/b", "10.0.0.0/8 "],
        &[
            "10.0.0.1/8",
            "10.0.0.0/33",
            "::ffff:10.0.0.0/104",
            "300.0.0.0/8",
        ],
    );
    scalar::<Nameserver>(
        &[
            ("10.96.0.10", "10.96.0.10:53"),
            ("127.0.0.1:5353", "127.0.0.1:5353"),
            ("::1", "[::1]:53"),
            ("[::1]:5353", "[::1]:5353"),
        ],
        &[
            "",
            "dns.example.com",
            "[::1]",
            "10.96.0.10:",
            "10.96.0.10:0",
            "10.96.0.10:65536",
        ],
        &["300.0.0.1", "1.2.3", "::ffff:10.0.0.1", "[::g]:53"],
    );
    scalar::<Host>(
        &[
            ("Mail.acme.test", "mail.acme.test"),
            ("192.0.2.1", "192.0.2.1"),
            ("2001:DB8::1", "2001:db8::1"),
        ],
        &["", "[::1]", "a_b.test", "a:25 ", "acme.test."],
        &["192.0.2.300", "::ffff:192.0.2.1", "1::2::3"],
    );
}

#[test]
fn header_fields() {
    scalar::<HeaderName>(
        &[("X-Origin", "X-Origin")],
        &["", "X Origin", "X:", "1X", "X_Y", "X\r\nY"],
        &[],
    );
    scalar::<HeaderValue>(
        &[("external", "external"), ("a, b", "a, b")],
        &["", " a", "a ", "a\r\nBcc: b@c.test", "a\tb", "ä", "a\0"],
        &[],
    );
}

#[test]
fn a_hostile_text_makes_a_short_error() {
    let error = "x".repeat(100_000).parse::<Cidr>().unwrap_err().to_string();
    assert!(error.len() < 300, "{}", error.len());
}

#[test]
fn a_local_part_has_at_most_64_octets() {
    let address = |octets: usize| format!("{}@acme.test", "a".repeat(octets));
    assert!(address(64).parse::<EmailAddress>().is_ok());
    let error = address(65).parse::<EmailAddress>().unwrap_err();
    assert!(error.to_string().contains("at most 64 octets"), "{error}");
    // Octets, not characters; and as a pattern too.
    let octets = |n: usize| format!("{}@acme.test", "ü".repeat(n / 2));
    assert!(octets(64).parse::<AddressPattern>().is_ok());
    let error = octets(66).parse::<AddressPattern>().unwrap_err();
    assert!(error.to_string().contains("at most 64 octets"), "{error}");
}
