//! Round trips, faults and bounds of the pieces.

use super::*;
use crate::head::{Head, HeadError, Set};
use crate::{CertificateKey, Drain, GatewayIdentity, Resolver, telemetry};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn snapshot(hostname: &str) -> Snapshot {
    Snapshot {
        config: Config {
            gateway: GatewayIdentity {
                namespace: "mail".into(),
                name: "edge".into(),
            },
            hostname: hostname.into(),
            authserv_id: "acme.test".into(),
            postmaster: None,
            listeners: vec![],
            routes: vec![],
            backends: BTreeMap::new(),
            resolver: Resolver {
                nameservers: vec![],
                timeout_ms: 2000,
                attempts: 2,
                cache_entries: 0,
                cache_max_ttl_s: 3600,
            },
            telemetry: telemetry::Telemetry {
                traces: None,
                metrics: None,
                recipients: telemetry::Recipients::Domain,
            },
            drain: Drain {
                min_duration_ms: 30_000,
                timeout_ms: 300_000,
            },
            generations: BTreeMap::new(),
        },
        keys: Keys {
            certificates: [(
                "mail/tls".to_owned(),
                CertificateKey {
                    chain_pem: "CHAIN".into(),
                    key_pem: "PRIVATE".into(),
                },
            )]
            .into(),
            credentials: BTreeMap::new(),
        },
    }
}

/// A snapshot that does not compress: pseudo-random digits.
fn large(octets: usize) -> Snapshot {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let text: String = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b'!' + 1 + u8::try_from((state >> 33) % 90).unwrap())
    })
    .filter(|c| *c != '\\')
    .take(octets)
    .collect();
    snapshot(&text)
}

fn decode(encoded: &Encoded, set: Set) -> Result<Snapshot, DecodeError> {
    let expected = SetHash {
        set,
        hash: encoded.hash.clone(),
    };
    Snapshot::decode(&expected, &encoded.config, &encoded.keys)
}

#[test]
fn round_trip_keeps_snapshot_and_hash() {
    let original = snapshot("mx1.acme.test");
    let encoded = original.encode().unwrap();
    assert_eq!(encoded.hash, original.hash());
    assert_eq!(decode(&encoded, Set::A).unwrap(), original);
}

#[test]
fn several_chunks_are_joined_in_order() {
    let original = large(2_500_000);
    let encoded = original.encode().unwrap();
    assert!(encoded.config.len() > 1, "{} pieces", encoded.config.len());
    assert!(
        encoded
            .config
            .iter()
            .all(|piece| piece.len() <= CHUNK_BYTES)
    );
    assert_eq!(decode(&encoded, Set::B).unwrap(), original);
}

#[test]
fn more_than_four_chunks_is_too_large() {
    let error = large(6_000_000).encode().err().unwrap();
    assert!(
        matches!(
            error,
            EncodeError::TooLarge {
                part: Part::Config,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("at most 3600000 fit"), "{error}");
}

#[test]
fn what_a_reader_would_not_take_is_too_large_however_well_it_compresses() {
    let empty = canonical_json(&snapshot("").config).len();
    let fits = snapshot(&"x".repeat(PART_BYTES - empty));
    assert_eq!(decode(&fits.encode().unwrap(), Set::A).unwrap(), fits);
    let error = snapshot(&"x".repeat(PART_BYTES - empty + 1))
        .encode()
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "the config part is 67108865 bytes of JSON, at most 67108864 fit: split the gateway"
    );
}

#[test]
fn a_secret_changes_the_hash_and_is_not_shown() {
    let (one, mut other) = (snapshot("mx1"), snapshot("mx1"));
    other.keys.certificates.get_mut("mail/tls").unwrap().key_pem = "OTHER".into();
    assert_ne!(one.hash(), other.hash());
    assert!(!format!("{one:?}").contains("PRIVATE"));
}

#[test]
fn another_snapshot_under_the_same_head_is_refused() {
    let encoded = snapshot("mx1").encode().unwrap();
    let wrong = SetHash {
        set: Set::A,
        hash: snapshot("mx2").hash(),
    };
    let error = Snapshot::decode(&wrong, &encoded.config, &encoded.keys).unwrap_err();
    assert!(matches!(error, DecodeError::WrongHash { .. }), "{error}");
}

#[test]
fn a_missing_chunk_is_refused() {
    let mut encoded = large(2_500_000).encode().unwrap();
    encoded.config.remove(1);
    assert!(decode(&encoded, Set::A).is_err());
}

#[test]
fn a_newer_schema_or_an_unknown_feature_says_what_to_do() {
    let newer = Head::parse(r#"{"schema":99,"whatever":{}}"#).unwrap_err();
    assert_eq!(newer, HeadError::NewerSchema { found: 99 });
    assert!(newer.to_string().contains("update the gateway's image"));
    let current = SetHash {
        set: Set::A,
        hash: "00".into(),
    };
    let requires = vec!["spool".to_owned()];
    let head = Head {
        schema: 1,
        requires,
        generation: 7,
        current,
        previous: None,
    };
    assert_eq!(
        Head::parse(&head.to_json()).unwrap_err(),
        HeadError::UnknownFeature("spool".into())
    );
}

proptest! {
    #[test]
    fn a_damaged_chunk_never_becomes_a_snapshot(at in 0_usize..10_000, flip in 1_u8..=255) {
        let mut encoded = snapshot("mx1.acme.test").encode().unwrap();
        let at = at % encoded.config[0].len();
        encoded.config[0][at] ^= flip;
        // A flip in zstd's own header may leave the content whole; then the result is the same.
        if let Ok(decoded) = decode(&encoded, Set::A) {
            prop_assert_eq!(decoded, snapshot("mx1.acme.test"));
        }
    }

    #[test]
    fn a_cut_chunk_is_refused(keep in 0_usize..10_000) {
        let mut encoded = snapshot("mx1.acme.test").encode().unwrap();
        let keep = keep % encoded.config[0].len();
        encoded.config[0].truncate(keep);
        prop_assert!(decode(&encoded, Set::A).is_err());
    }

    #[test]
    fn any_octets_decode_without_panic(octets in proptest::collection::vec(any::<u8>(), 0..512)) {
        let hash = SetHash { set: Set::A, hash: "00".into() };
        prop_assert!(Snapshot::decode(&hash, &[&octets], &[&octets]).is_err());
        let _ = Head::parse(&String::from_utf8_lossy(&octets));
    }
}
