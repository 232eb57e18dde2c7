//! Any DKIM key record and any DKIM-Signature: no octets pass that nobody signed.

#![no_main]

use futures::executor::block_on;
use libfuzzer_sys::fuzz_target;
use postern_verify::dkim::{DkimResult, Key, Options, verify};
use postern_verify::zone::{Record, Zone};
use postern_verify::{KeyCache, Message, Name};

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(3, |octet| *octet == 0);
    let mut next = || parts.next().unwrap_or_default();
    let (record, signature, body) = (next(), next(), next());
    if let Ok(key) = Key::parse(record) {
        let _ = (key.is_testing(), key.is_strict());
    }
    let raw = [
        b"DKIM-Signature: ",
        signature,
        b"\r\nFrom: a@a.test\r\nSubject: x\r\n\r\n",
        body,
    ]
    .concat();
    let Ok(message) = Message::parse(&raw) else {
        return;
    };
    let mut zone = Zone::default();
    let name = Name::parse("s._domainkey.a.test").expect("a name");
    zone.add(name, Record::Txt(vec![record.to_vec()]));
    let from = Name::parse("a.test").ok();
    let options = Options::new(1_700_000_000);
    let outcome = block_on(verify(
        &zone,
        &KeyCache::new(0),
        &message,
        from.as_ref(),
        &options,
    ));
    assert!(outcome.signatures.len() <= options.max_signatures);
    let mut results = outcome.signatures.iter().map(|signature| signature.result);
    assert!(results.all(|result| result != DkimResult::Pass));
    assert!(zone.asked() <= 8);
});
