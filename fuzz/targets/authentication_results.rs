//! Any octets as an Authentication-Results field, and any text within ours: what is written is one
//! field by the grammar that says what was meant, and is known for ours again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use postern_fuzz::input::texts;
use postern_verify::Message;
use postern_verify::authentication_results::{Header, Method, parse, strip_own};

fuzz_target!(|input: &[u8]| {
    let _ = parse(input);
    let texts = texts(input, 5);
    let text = |at: usize| texts.get(at).cloned();
    let ours = text(0).unwrap_or_default();
    let mut header = Header::new(&ours);
    header.push(
        Method::new("spf", "fail")
            .with_comment(text(1))
            .with_reason(text(2))
            .with("smtp", "mailfrom", text(3).unwrap_or_default())
            .with("smtp", "helo", text(4).unwrap_or_default()),
    );
    header.push(Method::new("dmarc", "pass"));
    let written = header.to_bytes();
    let shown = || String::from_utf8_lossy(&written).into_owned();
    assert!(written.len() <= 8_192, "{} octets", written.len());

    let message = Message::parse(&written).expect("a header");
    assert_eq!(message.fields().len(), 1, "{}", shown());
    let parsed = parse(message.fields()[0].value).expect("by the grammar");
    let results: Vec<(&str, &str)> = parsed
        .methods
        .iter()
        .map(|method| (method.method.as_str(), method.result.as_str()))
        .collect();
    assert_eq!(results, [("spf", "fail"), ("dmarc", "pass")], "{}", shown());
    assert_eq!(
        strip_own(&message, &parsed.authserv_id).len(),
        1,
        "{}",
        shown()
    );
});
