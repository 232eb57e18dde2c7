//! Booting from a folder, as the pod's volume mounts it: `head.json` and the chunks, flat.
//!
//! The current set is taken when it is whole, else the previous one; a pod starts with the API
//! server and the operator down.

use postern_config::Snapshot;
use postern_config::chunks::{CHUNK_BYTES, CHUNKS, DecodeError, Part, chunk_name};
use postern_config::head::{HEAD_KEY, Head, HeadError, SetHash};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Octets of a head at most.
const HEAD_BYTES: u64 = 64 << 10;

/// Why nothing can be booted.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file cannot be read.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The head cannot be followed.
    #[error("{}: {error}", path.display())]
    Head {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: HeadError,
    },
    /// Neither set is whole.
    #[error("{}: {current}{}", folder.display(), previous.as_deref().map(|p| format!("; {p}")).unwrap_or_default())]
    NoWholeSet {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with the current set.
        current: String,
        /// What is wrong with the previous set, when there is one.
        previous: Option<String>,
    },
}

/// What a folder holds.
pub struct Booted {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The head's generation; for the previous set one less, so that the current one is newer.
    pub generation: u64,
    /// Hash of the current set and why it is not in use, when it is not.
    pub skipped: Option<(String, String)>,
    /// The set before this one, for when this one cannot be applied.
    pub previous: Option<SetHash>,
}

/// Reads the folder: the current set, else the previous one.
///
/// # Errors
/// [`FolderError`], with the file and what is wrong with it.
pub fn boot(folder: &Path) -> Result<Booted, FolderError> {
    let path = folder.join(HEAD_KEY);
    let text = read(&path, HEAD_BYTES)?;
    let text = String::from_utf8_lossy(&text);
    let head = Head::parse(&text).map_err(|error| FolderError::Head { path, error })?;
    let why = match set(folder, &head.current) {
        Ok(snapshot) => {
            return Ok(Booted {
                snapshot,
                generation: head.generation,
                skipped: None,
                previous: head.previous,
            });
        }
        Err(why) => why,
    };
    let Some(previous) = &head.previous else {
        return Err(FolderError::NoWholeSet {
            folder: folder.to_owned(),
            current: why,
            previous: None,
        });
    };
    match set(folder, previous) {
        Ok(snapshot) => Ok(Booted {
            snapshot,
            generation: head.generation.saturating_sub(1),
            skipped: Some((head.current.hash, why)),
            previous: None,
        }),
        Err(other) => Err(FolderError::NoWholeSet {
            folder: folder.to_owned(),
            current: why,
            previous: Some(other),
        }),
    }
}

/// Reads one set of the folder.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn set(folder: &Path, expected: &SetHash) -> Result<Snapshot, String> {
    let part = |part| pieces(folder, part, expected).map_err(|error| error.to_string());
    let (config, keys) = (part(Part::Config)?, part(Part::Keys)?);
    Snapshot::decode(expected, &config, &keys).map_err(|error: DecodeError| error.to_string())
}

/// The chunks of a part; files that are not there are chunks that are not used.
fn pieces(folder: &Path, part: Part, set: &SetHash) -> Result<Vec<Vec<u8>>, FolderError> {
    (0..CHUNKS)
        .map(|index| folder.join(chunk_name(part, set.set, index)))
        .map(|path| {
            if path.exists() {
                read(&path, CHUNK_BYTES as u64)
            } else {
                Ok(vec![])
            }
        })
        .collect()
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FolderError> {
    let fail = |reason: String| FolderError::Unreadable {
        path: path.to_owned(),
        reason,
    };
    let mut octets = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut octets))
        .map_err(|error| fail(error.to_string()))?;
    if octets.len() as u64 > limit {
        return Err(fail(format!("more than {limit} bytes")));
    }
    Ok(octets)
}

#[cfg(test)]
mod tests;
