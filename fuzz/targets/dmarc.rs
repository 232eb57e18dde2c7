//! Any DMARC records at author domain, parent and top: the tree walk ends within its queries
//! (RFC 9989 §4.10).

#![no_main]

use futures::executor::block_on;
use libfuzzer_sys::fuzz_target;
use postern_verify::Name;
use postern_verify::dmarc::{Authenticated, Identifier, Input, Record, evaluate};
use postern_verify::zone::{self, Zone};

const NAMES: [&str; 3] = ["_dmarc.x.a.test", "_dmarc.a.test", "_dmarc.test"];

fuzz_target!(|input: &[u8]| {
    let mut zone = Zone::default();
    for (name, record) in NAMES.iter().zip(input.splitn(3, |octet| *octet == 0)) {
        if let Some(record) = Record::parse(record) {
            let _ = (record.for_domain(), record.for_subdomain());
            let _ = record.for_nonexistent();
        }
        let name = Name::parse(name).expect("a name");
        zone.add(name, zone::Record::Txt(vec![record.to_vec()]));
    }
    let from = Name::parse("y.x.a.test").expect("a name");
    let mut facts = Input::new(&from, None, None);
    facts.spf = Name::parse("b.a.test").ok().map(|domain| Identifier {
        domain,
        authenticated: Authenticated::Yes,
    });
    let _ = block_on(evaluate(&zone, &facts));
    assert!(zone.asked() <= 24, "{} questions", zone.asked());
});
