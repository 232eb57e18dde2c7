//! The chart's copies of the CustomResourceDefinitions are what the types say, and small enough.
//! `make crds` (or `UPDATE=1 cargo test -p postern-crds --test chart`) writes them anew.

#![allow(clippy::expect_used, missing_docs, reason = "test code")]

use std::path::{Path, PathBuf};

use postern_crds::crds;

/// Helm keeps a release in one Secret of 1 MiB; ours leave most of it to others.
const MAX_BYTES: usize = 250_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/postern/files/crds")
}

#[test]
fn the_chart_has_the_definitions_that_the_types_make() {
    let mut differing = Vec::new();
    for crd in crds() {
        let name = crd
            .metadata
            .name
            .as_deref()
            .expect("a definition has a name");
        let file = folder().join(format!("{name}.yaml"));
        let wanted = serde_saphyr::to_string(&crd).expect("a definition is YAML");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(folder()).expect("the folder can be made");
            std::fs::write(&file, &wanted).expect("the file can be written");
        }
        if std::fs::read_to_string(&file).unwrap_or_default() != wanted {
            differing.push(file.display().to_string());
        }
    }
    assert!(
        differing.is_empty(),
        "these differ from the types; run `make crds`:\n{}",
        differing.join("\n")
    );
}

#[test]
fn all_definitions_together_are_small_and_always_the_same() {
    let yaml = postern_crds::yaml();
    assert!(
        yaml.len() < MAX_BYTES,
        "{} bytes of at most {MAX_BYTES}",
        yaml.len()
    );
    assert_eq!(yaml, postern_crds::yaml());
}
