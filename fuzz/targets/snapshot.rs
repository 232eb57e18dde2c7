//! Any octets as head, as JSON of a snapshot and as chunks: what is read is written and read again
//! the same, and a chunk that was changed is never taken for the one in the head.

#![no_main]

use libfuzzer_sys::fuzz_target;
use postern_config::head::{Head, Set, SetHash};
use postern_config::{Config, Keys, Snapshot};
use postern_fuzz::input::front;

fuzz_target!(|input: &[u8]| {
    let ([at, with], json) = front::<2>(input);
    let set = SetHash {
        set: Set::A,
        hash: String::new(),
    };
    let _ = Snapshot::decode(&set, &[json], &[input]);
    let Ok(json) = std::str::from_utf8(json) else {
        return;
    };
    if let Ok(head) = Head::parse(json) {
        assert_eq!(Head::parse(&head.to_json()), Ok(head));
    }
    let _ = serde_json::from_str::<Keys>(json);
    if let Ok(config) = serde_json::from_str::<Config>(json) {
        let keys = Keys::default();
        round(&Snapshot { config, keys }, usize::from(at), with);
    }
});

fn round(snapshot: &Snapshot, at: usize, with: u8) {
    let encoded = snapshot.encode().expect("an input is smaller than a set");
    let head = SetHash {
        set: Set::A,
        hash: encoded.hash.clone(),
    };
    let decoded = Snapshot::decode(&head, &encoded.config, &encoded.keys);
    assert_eq!(decoded.as_ref().ok(), Some(snapshot));
    let mut changed = encoded.config.clone();
    if let Some(octet) = changed.first_mut().and_then(|chunk| chunk.get_mut(at)) {
        *octet ^= with;
    }
    let decoded = Snapshot::decode(&head, &changed, &encoded.keys);
    // The hash is over what was compressed, so other octets may still stand for the same snapshot.
    assert!(decoded.is_err() || decoded.as_ref().ok() == Some(snapshot));
}
