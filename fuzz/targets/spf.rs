//! Any SPF records, macros and explanations: the limits of RFC 7208 §4.6.4 hold, and what is told
//! about them is safe to send.

#![no_main]

use futures::executor::block_on;
use libfuzzer_sys::fuzz_target;
use postern_fuzz::input::texts;
use postern_verify::Name;
use postern_verify::spf::{Request, check_host};
use postern_verify::zone::{Record, Zone};

/// Names that records can speak of.
const ZONE: &str = r#"
a.test              A     192.0.2.1
a.test              AAAA  2001:db8::1
a.test              MX    10 a.test
b.test              MX    10 a.test
b.test              MX    20 b.test
192.0.2.1           PTR   a.test
broken.test         SERVFAIL
"#;

/// Where the records of an input stand.
const NAMES: [&str; 4] = ["a.test", "b.test", "c.test", "exp.test"];

fuzz_target!(|input: &[u8]| {
    let texts = texts(input, 6);
    let [local_part, helo, records @ ..] = texts.as_slice() else {
        return;
    };
    let Ok(mut zone) = Zone::parse(ZONE) else {
        panic!("the zone is not one");
    };
    for (name, record) in NAMES.iter().zip(records) {
        let name = Name::parse(name).expect("a name");
        zone.add(name, Record::Txt(vec![record.clone().into_bytes()]));
    }
    let client = match input.len() % 2 {
        0 => "192.0.2.1",
        _ => "2001:db8::1",
    };
    let request = Request::mail_from(
        client.parse().expect("an address"),
        helo,
        Some((local_part, "a.test")),
        "mx.example.com",
        1_700_000_000,
    );
    let outcome = block_on(check_host(&zone, &request));
    // The third void lookup is the one that ends the evaluation.
    assert!(
        outcome.lookups <= 10 && outcome.void_lookups <= 3,
        "{outcome:?}"
    );
    assert!(zone.asked() <= 123, "{} questions", zone.asked());
    if let Some(explanation) = outcome.explanation {
        assert!(explanation.len() <= 400);
        assert!(
            explanation
                .bytes()
                .all(|octet| matches!(octet, b' '..=b'~'))
        );
    }
});
