//! Where the programs are that tests run: the cached neighbours and Postern itself.
//!
//! In: a name. Out: a path. The cache's layout is known to `tests/tools/install`
//! alone, so this asks it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The checkout's root.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The path of a program that `tests/tools/install` knows, for example `kubectl`.
///
/// # Panics
/// When it is not installed; the message names the command that installs it.
#[must_use]
pub fn find(tool: &str) -> PathBuf {
    let output = Command::new(repository().join("tests/tools/install"))
        .args(["path", tool])
        .output()
        .expect("tests/tools/install runs (bash is needed)");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// Postern's own binary: `$POSTERN_BINARY` where it is set, as `make test` does; else
/// built now (once per test process) from the sources as they are.
///
/// It is the debug build, without the features that only tests switch on.
///
/// # Panics
/// When it does not build.
#[must_use]
pub fn postern() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| match std::env::var_os("POSTERN_BINARY") {
        Some(given) => PathBuf::from(given),
        None => build(),
    })
}

fn build() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    // What cargo has told this test about its package is not meant for that build.
    for (name, _) in std::env::vars_os() {
        let told = name.to_string_lossy().starts_with("CARGO_");
        if told && name != "CARGO_HOME" {
            cargo.env_remove(name);
        }
    }
    cargo.current_dir(repository());
    cargo.args([
        "build",
        "--quiet",
        "--package=postern",
        "--bin=postern",
        "--target-dir",
    ]);
    let status = cargo.arg(target_folder()).status().expect("cargo runs");
    assert!(status.success(), "the binary `postern` does not build");
    target_folder().join("debug/postern")
}

/// The target folder of the running test: it stands in `<target>/<profile>/deps/`.
fn target_folder() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors()
        .nth(3)
        .expect("tests run from target/<profile>/deps")
        .to_owned()
}
