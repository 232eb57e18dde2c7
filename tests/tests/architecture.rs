//! The shape of the code, held by a test: which crate may use which, what may be in a
//! crate's dependencies, and what a file looks like.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use postern_tests::tools::repository;
use serde_json::Value;

/// What each crate of ours may use of ours, outside its tests. One direction:
/// crds -> operator -> config <- gateway -> smtp, verify.
const EDGES: [(&str, &[&str]); 8] = [
    ("postern-crds", &[]),
    ("postern-config", &[]),
    ("postern-smtp", &[]),
    ("postern-verify", &[]),
    ("postern-operator", &["postern-crds", "postern-config"]),
    (
        "postern-gateway",
        &["postern-config", "postern-smtp", "postern-verify"],
    ),
    (
        "postern",
        &[
            "postern-crds",
            "postern-config",
            "postern-smtp",
            "postern-verify",
            "postern-operator",
            "postern-gateway",
        ],
    ),
    // The load generator and the harness speak SMTP and start the demo's DNS and sink.
    (
        "postern-tests",
        &[
            "postern",
            "postern-crds",
            "postern-config",
            "postern-smtp",
            "postern-verify",
            "postern-operator",
            "postern-gateway",
        ],
    ),
];

/// What a crate must not reach, itself or through others. sans-IO means: no runtime, no
/// resolver, no clock.
const MUST_NOT_REACH: [(&str, &[&str]); 3] = [
    (
        "postern-smtp",
        &[
            "tokio",
            "futures",
            "hickory-resolver",
            "jiff",
            "chrono",
            "time",
            "mio",
        ],
    ),
    (
        "postern-config",
        &["tokio", "hickory-resolver", "kube", "k8s-openapi"],
    ),
    (
        "postern-verify",
        &["kube", "k8s-openapi", "axum", "opentelemetry"],
    ),
];

/// What a crate must not use itself. The API's types come from kube, which has a client.
const MUST_NOT_USE: [(&str, &[&str]); 2] = [
    (
        "postern-crds",
        &["tokio", "futures", "hyper", "hickory-resolver"],
    ),
    (
        "postern-operator",
        &["mail-auth", "hickory-resolver", "opentelemetry"],
    ),
];

/// Crypto providers and TLS stacks beside aws-lc-rs; none may be in the binary.
const OTHER_CRYPTO: [&str; 6] = [
    "ring",
    "openssl",
    "openssl-sys",
    "native-tls",
    "boring",
    "rustls-graviola",
];

/// A file may have this many lines; half a thousand is what the house style asks for.
const LINES: usize = 700;
const LINES_ASKED_FOR: usize = 500;

/// By crate of ours, the crates that it uses itself: normal and build dependencies.
fn uses() -> BTreeMap<String, BTreeSet<String>> {
    let text = cargo(&["metadata", "--format-version=1", "--no-deps"]);
    let metadata: Value = serde_json::from_str(&text).unwrap();
    let crates = list(&metadata["packages"]).map(|package| {
        let uses = list(&package["dependencies"]).filter(|used| used["kind"] != "dev");
        (
            string(&package["name"]),
            uses.map(|used| string(&used["name"])).collect(),
        )
    });
    crates.collect()
}

/// The names of all crates in a crate's tree as it is built for itself, without tests.
fn reaches(name: &str) -> BTreeSet<String> {
    let tree = cargo(&[
        "tree",
        &format!("--package={name}"),
        "--edges=normal,build",
        "--target=x86_64-unknown-linux-gnu",
        "--prefix=none",
        "--format={p}",
    ]);
    tree.lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

fn cargo(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO"));
    let output = command
        .current_dir(repository())
        .args(arguments)
        .arg("--offline")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn string(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn crates_use_each_other_in_one_direction() {
    let uses = uses();
    let ours: BTreeSet<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    let members: BTreeSet<&str> = uses.keys().map(String::as_str).collect();
    assert_eq!(members, ours, "a new crate needs its line in EDGES");
    for (name, allowed) in EDGES {
        let used = uses[name].iter().map(String::as_str);
        let wrong: Vec<&str> = used
            .filter(|used| ours.contains(used) && !allowed.contains(used))
            .collect();
        assert!(
            wrong.is_empty(),
            "{name} may use {allowed:?} of our crates, and uses {wrong:?}"
        );
    }
    for (name, forbidden) in MUST_NOT_USE {
        let wrong = forbidden.iter().find(|other| uses[name].contains(**other));
        assert!(wrong.is_none(), "{name} must not use {}", wrong.unwrap());
    }
}

#[test]
fn sans_io_crates_reach_no_runtime_no_resolver_and_no_clock() {
    for (name, forbidden) in MUST_NOT_REACH {
        none_of(name, forbidden);
    }
}

#[test]
fn the_binary_has_one_crypto_provider() {
    assert!(reaches("postern").contains("aws-lc-rs"));
    none_of("postern", &OTHER_CRYPTO);
}

fn none_of(name: &str, forbidden: &[&str]) {
    let reached = reaches(name);
    let wrong: Vec<_> = forbidden
        .iter()
        .filter(|other| reached.contains(**other))
        .collect();
    assert!(
        wrong.is_empty(),
        "{name} must not reach {wrong:?}; `cargo tree -p {name} -e normal -i {}` says how",
        wrong[0]
    );
}

#[test]
fn sans_io_sources_ask_no_clock() {
    for file in sources(&repository().join("gateway/smtp/src")) {
        let text = fs::read_to_string(&file).unwrap();
        for asked in [
            "Instant::now",
            "SystemTime::now",
            "std::net::TcpStream",
            "std::thread",
        ] {
            assert!(!text.contains(asked), "{} has {asked}", file.display());
        }
    }
}

#[test]
fn every_file_says_what_it_is_is_short_and_is_finished() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for file in all_sources() {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(repository()).unwrap().display();
        count += 1;
        if !text.starts_with("//!") {
            wrong.push(format!("{name}: does not begin with a `//!` paragraph"));
        }
        let lines = text.lines().count();
        if lines > LINES {
            wrong.push(format!("{name}: {lines} lines, at most {LINES}"));
        } else if lines > LINES_ASKED_FOR {
            println!("{name}: {lines} lines, more than {LINES_ASKED_FOR}; can it be two files?");
        }
        // Written in two halves, so that this file does not find itself.
        for unfinished in [concat!("todo", "!("), concat!("unimplemented", "!(")] {
            if text.contains(unfinished) {
                wrong.push(format!("{name}: has {unfinished}"));
            }
        }
    }
    assert!(count > 50, "only {count} files were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// All Rust sources of the workspace, the tests among them.
fn all_sources() -> Vec<PathBuf> {
    let folders = ["crds", "operator", "gateway", "cli", "tests"];
    folders
        .iter()
        .flat_map(|folder| sources(&repository().join(folder)))
        .collect()
}

/// The Rust files below a folder, `target` folders left out.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
