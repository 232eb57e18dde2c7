//! The YAML that people read first is good: every object of our kinds in examples/, in the README
//! and in docs/ parses and validates.

#![allow(clippy::expect_used, clippy::panic, missing_docs, reason = "test code")]

use std::fs;
use std::path::{Path, PathBuf};

use postern_crds::schema::parse;
use postern_crds::{MailGateway, MailPolicy, MailRoute};
use serde_json::Value;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Files below `folder` with one of these endings.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            files(&path, ending, found);
        } else if path.extension().is_some_and(|e| e == ending) {
            found.push(path);
        }
    }
}

/// What stands between lines of "```yaml" and "```".
fn fenced(text: &str) -> Vec<String> {
    let blocks = text.split("\n```yaml\n").skip(1);
    blocks
        .filter_map(|rest| rest.split("\n```").next())
        .map(str::to_owned)
        .collect()
}

/// How many objects of our kinds are in a stream of YAML documents; all of them are good.
fn judge(yaml: &str, whence: &str) -> usize {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(yaml).unwrap_or_else(|e| panic!("{whence}: {e}"));
    let mut count = 0;
    for document in documents
        .iter()
        .filter(|d| d["apiVersion"] == "postern.dev/v1alpha1")
    {
        let faults = match document["kind"].as_str() {
            Some("MailGateway") => parse::<MailGateway>(document).err(),
            Some("MailRoute") => parse::<MailRoute>(document).err(),
            Some("MailPolicy") => parse::<MailPolicy>(document).err(),
            kind => panic!("{whence}: {kind:?} is no kind"),
        };
        assert_eq!(faults, None, "{whence}: {document}");
        count += 1;
    }
    count
}

#[test]
fn every_example_is_good() {
    let mut found = Vec::new();
    files(&repository().join("examples"), "yaml", &mut found);
    let judged = |path: &PathBuf| {
        judge(
            &fs::read_to_string(path).expect("a readable file"),
            &path.display().to_string(),
        )
    };
    let count: usize = found.iter().map(judged).sum();
    assert!(count >= 8, "only {count} objects were found");
}

#[test]
fn every_object_in_the_documentation_is_good() {
    let mut found = vec![repository().join("README.md")];
    files(&repository().join("docs"), "md", &mut found);
    let mut count = 0;
    for path in found {
        for block in fenced(&fs::read_to_string(&path).expect("a readable file")) {
            count += judge(&block, &path.display().to_string());
        }
    }
    assert!(count >= 3, "only {count} objects were found");
}
