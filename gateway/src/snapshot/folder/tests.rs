//! Whole, damaged and missing sets.

use super::*;
use crate::testing::snapshot;
use crate::{Gateway, Options};
use postern_config::head::Set;

/// Writes a snapshot as a set and returns its entry for the head.
fn write(folder: &Path, set: Set, snapshot: &Snapshot) -> SetHash {
    let encoded = snapshot.encode().unwrap();
    for (part, pieces) in [(Part::Config, &encoded.config), (Part::Keys, &encoded.keys)] {
        for index in 0..CHUNKS {
            let piece = pieces.get(index).cloned().unwrap_or_default();
            std::fs::write(folder.join(chunk_name(part, set, index)), piece).unwrap();
        }
    }
    SetHash {
        set,
        hash: encoded.hash,
    }
}

/// A folder with both sets: `new` is current, `old` the one before.
fn folder() -> (tempfile::TempDir, Head) {
    let folder = tempfile::tempdir().unwrap();
    let previous = write(folder.path(), Set::A, &snapshot("old.test"));
    let current = write(folder.path(), Set::B, &snapshot("new.test"));
    let head = Head {
        schema: 1,
        requires: vec![],
        generation: 7,
        current,
        previous: Some(previous),
    };
    std::fs::write(folder.path().join(HEAD_KEY), head.to_json()).unwrap();
    (folder, head)
}

fn booted(folder: &Path) -> (String, u64, Option<String>) {
    let booted = boot(folder).map_err(|error| error.to_string()).unwrap();
    let why = booted.skipped.map(|(_, why)| why);
    (booted.snapshot.config.hostname, booted.generation, why)
}

fn error(folder: &Path) -> String {
    boot(folder).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn the_current_set_is_booted() {
    let (folder, _) = folder();
    assert_eq!(booted(folder.path()), ("new.test".into(), 7, None));
}

#[test]
fn a_corrupt_or_truncated_chunk_boots_the_previous_set_and_says_why() {
    let (folder, _) = folder();
    let chunk = folder.path().join("config-b-0");
    let whole = std::fs::read(&chunk).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x40;
    for damaged in [&whole[..whole.len() / 2], &flipped, b"".as_slice()] {
        std::fs::write(&chunk, damaged).unwrap();
        let (hostname, generation, why) = booted(folder.path());
        assert_eq!((hostname.as_str(), generation), ("old.test", 6));
        assert!(why.is_some_and(|why| why.contains("set b") || why.contains("config")));
    }
    std::fs::remove_file(&chunk).unwrap();
    assert_eq!(booted(folder.path()).0, "old.test");
}

#[test]
fn a_wrong_hash_boots_the_previous_set() {
    let (folder, mut head) = folder();
    head.current.hash = snapshot("other.test").hash();
    std::fs::write(folder.path().join(HEAD_KEY), head.to_json()).unwrap();
    let (hostname, _, why) = booted(folder.path());
    assert_eq!(hostname, "old.test");
    assert!(why.is_some_and(|why| why.contains("the head says")));
}

#[test]
fn a_newer_schema_says_what_to_do() {
    let (folder, _) = folder();
    std::fs::write(folder.path().join(HEAD_KEY), r#"{"schema": 99}"#).unwrap();
    let error = error(folder.path());
    assert!(
        error.contains("head.json") && error.contains("update the gateway's image"),
        "{error}"
    );
}

#[test]
fn without_a_whole_set_both_faults_are_told() {
    let (folder, _) = folder();
    for name in ["config-a-0", "keys-b-0"] {
        std::fs::write(folder.path().join(name), b"no zstd").unwrap();
    }
    let error = error(folder.path());
    assert!(
        error.contains("set a") && error.contains("set b"),
        "{error}"
    );
}

#[test]
fn a_missing_head_and_an_oversized_chunk() {
    let empty = tempfile::tempdir().unwrap();
    assert!(error(empty.path()).contains("head.json"));
    let (folder, _) = folder();
    std::fs::write(folder.path().join("keys-b-3"), vec![0; CHUNK_BYTES + 1]).unwrap();
    let (hostname, _, why) = booted(folder.path());
    assert_eq!(hostname, "old.test");
    assert!(why.is_some_and(|why| why.contains("more than 900000 bytes")));
}

#[tokio::test]
async fn a_current_set_that_cannot_be_applied_boots_the_previous_and_says_why() {
    let (folder, mut head) = folder();
    let mut bad = snapshot("new.test");
    bad.config.postmaster = Some("no mailbox".into());
    head.current = write(folder.path(), Set::B, &bad);
    std::fs::write(folder.path().join(HEAD_KEY), head.to_json()).unwrap();
    let gateway = Gateway::idle(Options::default()).await.unwrap();
    gateway.boot(folder.path()).unwrap();
    let status = gateway.status();
    let applied = status.applied.unwrap();
    assert_eq!(
        (applied.hash, applied.generation),
        (snapshot("old.test").hash(), 6)
    );
    let rejected = status.rejected.unwrap();
    assert_eq!((rejected.hash, rejected.generation), (bad.hash(), 7));
    assert!(
        rejected.reason.contains("postmaster"),
        "{}",
        rejected.reason
    );
}

#[tokio::test]
async fn when_no_set_can_be_applied_the_current_ones_fault_is_told() {
    let (folder, mut head) = folder();
    let mut bad = snapshot("new.test");
    bad.config.postmaster = Some("no mailbox".into());
    head.current = write(folder.path(), Set::B, &bad);
    std::fs::write(folder.path().join("config-a-0"), b"no zstd").unwrap();
    std::fs::write(folder.path().join(HEAD_KEY), head.to_json()).unwrap();
    let gateway = Gateway::idle(Options::default()).await.unwrap();
    let error = gateway.boot(folder.path()).unwrap_err().to_string();
    assert!(error.contains("postmaster"), "{error}");
    let status = gateway.status();
    assert!(status.applied.is_none());
    assert_eq!(status.rejected.unwrap().hash, bad.hash());
}
