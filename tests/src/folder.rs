//! A folder for logs and data: gone with the test process, kept when a test failed.
//!
//! In: a prefix. Out: a path. A small shell waits for the end of its standard input,
//! which comes when this process ends in whatever way, and then removes the folder.
//! A panic anywhere in the process keeps the folder, less the data, and names it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, Once};

/// What is not worth keeping, beside everything when no test has failed. A process
/// that is being killed may still write a file, so the removal is tried twice.
const JANITOR: &str = r#"
trap "" HUP INT TERM
cat >/dev/null
target=$1
if [ -e "$1/keep" ]; then target=$1/data; fi
rm -rf "$target" 2>/dev/null || { sleep 1; rm -rf "$target"; }
"#;

/// The folders of this process that are in use.
static IN_USE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A temporary folder that outlives a failed test.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    janitor: Child,
}

impl Folder {
    /// Makes `<temp>/postern-<name>-XXXXXX`.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(name: &str) -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(keep_on_panic);
        let prefix = format!("postern-{name}-");
        let path = tempfile::Builder::new()
            .prefix(&prefix)
            .tempdir()
            .unwrap()
            .keep();
        let janitor = Command::new("sh")
            .args(["-c", JANITOR, "janitor"])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh runs");
        IN_USE.lock().unwrap().push(path.clone());
        Self { path, janitor }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder in it for bulky data, which is removed even when the logs are kept.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        let data = self.path.join("data");
        fs::create_dir_all(&data).unwrap();
        data
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
        if let Ok(mut in_use) = IN_USE.lock() {
            in_use.retain(|path| *path != self.path);
        }
    }
}

fn keep_on_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        // Whoever holds the lock may be the one that panics.
        let Ok(in_use) = IN_USE.try_lock() else {
            return;
        };
        for path in in_use.iter() {
            let _ = File::create(path.join("keep"));
            eprintln!("logs are kept in {}", path.display());
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_with_its_owner() {
        let folder = Folder::new("test");
        let path = folder.path().to_owned();
        fs::write(folder.data().join("file"), "x").unwrap();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_that_is_kept_loses_only_its_data() {
        let folder = Folder::new("test");
        let path = folder.path().to_owned();
        fs::write(folder.data().join("file"), "x").unwrap();
        fs::write(path.join("keep"), "").unwrap();
        fs::write(path.join("a.log"), "x").unwrap();
        drop(folder);
        assert!(path.join("a.log").exists());
        assert!(!path.join("data").exists());
        fs::remove_dir_all(path).unwrap();
    }
}
