//! Chunks: a snapshot as compressed pieces that fit ConfigMaps and Secrets.
//!
//! A [`Snapshot`] goes in; two lists of at most [`CHUNKS`] pieces of at most [`CHUNK_BYTES`] come
//! out, one for [`Config`], one for [`Keys`]. The way back checks the hash, which is over the
//! canonical JSON before compression, so that it does not depend on the compressor's version.

use crate::head::{Set, SetHash};
use crate::{Config, Keys, Snapshot};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Write as _;
use std::io::Read as _;

/// Chunks of either part in a set.
pub const CHUNKS: usize = 4;
/// Octets in a chunk, so that its object stays below the API server's 1 MiB.
pub const CHUNK_BYTES: usize = 900_000;
/// Octets of one part before compression: a decompression bomb ends here.
const PART_BYTES: usize = 64 << 20;
/// Compression level: a snapshot of 1,000 routes in a few milliseconds.
const ZSTD_LEVEL: i32 = 3;

/// The two parts of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// [`Config`], in ConfigMaps.
    Config,
    /// [`Keys`], in Secrets.
    Keys,
}

impl Part {
    /// `config` or `keys`, as it stands in object names.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Keys => "keys",
        }
    }
}

/// The fixed name of a chunk: `config-a-0` to `keys-b-3`. It is the suffix of its object's name,
/// the key inside the object and the file's name in a mounted folder.
#[must_use]
pub fn chunk_name(part: Part, set: Set, index: usize) -> String {
    format!("{}-{}-{index}", part.as_str(), set.as_str())
}

/// A snapshot as pieces. Pieces beyond the content are absent; their objects are written empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Hash of the snapshot, lower-case hex.
    pub hash: String,
    /// 1 to [`CHUNKS`] pieces of the compressed [`Config`].
    pub config: Vec<Vec<u8>>,
    /// 1 to [`CHUNKS`] pieces of the compressed [`Keys`].
    pub keys: Vec<Vec<u8>>,
}

/// Why a snapshot cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// It does not fit: neither compressed into its chunks, nor decompressed into what a reader
    /// takes.
    #[error(
        "the {} part is {octets} bytes {form}, at most {at_most} fit: split the gateway",
        part.as_str()
    )]
    TooLarge {
        /// Which part.
        part: Part,
        /// `compressed` or `of JSON`: what is too large.
        form: &'static str,
        /// Its size in that form, octets.
        octets: usize,
        /// The largest size that fits, octets.
        at_most: usize,
    },
    /// The compressor failed.
    #[error("the snapshot could not be compressed: {0}")]
    Compress(String),
}

/// Why pieces are not a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A piece cannot be decompressed (cut off, corrupt or too large).
    #[error("the {} chunks of set {} cannot be decompressed: {reason}", part.as_str(), set.as_str())]
    Decompress {
        /// Which part.
        part: Part,
        /// Which set.
        set: Set,
        /// What the decompressor said.
        reason: String,
    },
    /// The content is not what the head names.
    #[error("set {} has hash {found}, the head says {expected}", set.as_str())]
    WrongHash {
        /// Which set.
        set: Set,
        /// The hash in the head.
        expected: String,
        /// The hash of what was read.
        found: String,
    },
    /// The JSON does not parse as this version's snapshot.
    #[error("the {} part does not parse: {reason}", part.as_str())]
    Parse {
        /// Which part.
        part: Part,
        /// What the parser said, without values.
        reason: String,
    },
}

/// JSON with sorted keys and no white space: equal values have equal text.
#[must_use]
pub fn canonical_json(value: &impl Serialize) -> String {
    // `Value`'s maps are ordered by key; the types of this crate have string keys only.
    serde_json::to_value(value)
        .map(|v| v.to_string())
        .unwrap_or_default()
}

impl Snapshot {
    /// SHA-256 over the canonical JSON of both parts, lower-case hex.
    #[must_use]
    pub fn hash(&self) -> String {
        hash(&canonical_json(&self.config), &canonical_json(&self.keys))
    }

    /// Cuts the snapshot into pieces.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`] when a part does not fit [`CHUNKS`] chunks, or is more than
    /// [`Snapshot::decode`] takes.
    pub fn encode(&self) -> Result<Encoded, EncodeError> {
        let (config, keys) = (canonical_json(&self.config), canonical_json(&self.keys));
        Ok(Encoded {
            hash: hash(&config, &keys),
            config: cut(Part::Config, &config)?,
            keys: cut(Part::Keys, &keys)?,
        })
    }

    /// Puts the pieces of a set together and checks them against the head. Empty pieces are
    /// allowed at the end.
    ///
    /// # Errors
    /// When a piece is missing or corrupt, the hash differs, or the content does not parse.
    pub fn decode<C: AsRef<[u8]>>(
        expected: &SetHash,
        config: &[C],
        keys: &[C],
    ) -> Result<Self, DecodeError> {
        let set = expected.set;
        let config = join(Part::Config, set, config)?;
        let keys = join(Part::Keys, set, keys)?;
        let found = hash(&config, &keys);
        if found != expected.hash {
            return Err(DecodeError::WrongHash {
                set,
                expected: expected.hash.clone(),
                found,
            });
        }
        Ok(Self {
            config: parse::<Config>(Part::Config, &config)?,
            keys: parse::<Keys>(Part::Keys, &keys)?,
        })
    }
}

/// The first 8 digits of a hash: what status and messages show.
#[must_use]
pub fn short(hash: &str) -> &str {
    hash.get(..8).unwrap_or(hash)
}

/// The first `digits` (at most 64) lower-case hex digits of the SHA-256 of `octets`: how equal
/// things get equal names.
#[must_use]
pub fn sha256_hex(octets: &[u8], digits: usize) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, octets);
    let mut text = hex(digest.as_ref());
    text.truncate(digits);
    text
}

fn hash(config: &str, keys: &str) -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    // The length keeps the border between the parts part of what is hashed.
    context.update(&(config.len() as u64).to_be_bytes());
    context.update(config.as_bytes());
    context.update(keys.as_bytes());
    hex(context.finish().as_ref())
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(
        String::with_capacity(octets.len() * 2),
        |mut text, octet| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{octet:02x}");
            text
        },
    )
}

fn cut(part: Part, json: &str) -> Result<Vec<Vec<u8>>, EncodeError> {
    let fits = |form, octets: usize, at_most: usize| match octets <= at_most {
        true => Ok(()),
        false => Err(EncodeError::TooLarge {
            part,
            form,
            octets,
            at_most,
        }),
    };
    fits("of JSON", json.len(), PART_BYTES)?;
    let compressed = zstd::encode_all(json.as_bytes(), ZSTD_LEVEL)
        .map_err(|e| EncodeError::Compress(e.to_string()))?;
    fits("compressed", compressed.len(), CHUNKS * CHUNK_BYTES)?;
    Ok(compressed.chunks(CHUNK_BYTES).map(<[u8]>::to_vec).collect())
}

fn join<C: AsRef<[u8]>>(part: Part, set: Set, pieces: &[C]) -> Result<String, DecodeError> {
    let fail = |e: std::io::Error| DecodeError::Decompress {
        part,
        set,
        reason: e.to_string(),
    };
    let compressed: Vec<u8> = pieces
        .iter()
        .flat_map(|p| p.as_ref().iter().copied())
        .collect();
    let mut text = String::new();
    zstd::Decoder::new(compressed.as_slice())
        .map_err(fail)?
        .take(PART_BYTES as u64)
        .read_to_string(&mut text)
        .map_err(fail)?;
    Ok(text)
}

fn parse<T: DeserializeOwned>(part: Part, json: &str) -> Result<T, DecodeError> {
    // serde_json's message names the field and its place; a Secret's value is never in it,
    // because every field of `Keys` is a string and strings do not fail on their content.
    serde_json::from_str(json).map_err(|e| DecodeError::Parse {
        part,
        reason: e.to_string(),
    })
}

#[cfg(test)]
mod tests;
