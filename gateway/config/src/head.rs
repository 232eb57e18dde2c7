//! The head: the one small object that says which set of chunks is current.
//!
//! It is written last. A gateway reads it first, boots the current set when every hash matches,
//! else the previous one; an operator never overwrites the set that the head calls current.

use crate::SCHEMA;
use serde::{Deserialize, Serialize};

/// The key under which the head's JSON stands in its ConfigMap, and its file name in a folder.
pub const HEAD_KEY: &str = "head.json";

/// Features that this version can apply; a head that requires another is refused.
pub const FEATURES: &[&str] = &[];

/// One of the two sets of chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Set {
    /// Set a.
    A,
    /// Set b.
    B,
}

impl Set {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// `a` or `b`, as it stands in object names.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}

/// What the head says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// Version of [`crate::Config`] and [`crate::Keys`]; a newer one than [`SCHEMA`] is refused.
    pub schema: u32,
    /// Features that a gateway must know to apply it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// Counts up with every head of this gateway.
    pub generation: u64,
    /// The set to run.
    pub current: SetHash,
    /// The set to boot when the current one cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<SetHash>,
}

/// A set and the hash of the snapshot in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetHash {
    /// Which set.
    pub set: Set,
    /// [`crate::Snapshot::hash`] of what it holds.
    pub hash: String,
}

/// Why a head cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The text is not a head.
    #[error("the head is not readable: {0}")]
    Malformed(String),
    /// It was written by a newer operator.
    #[error("the head has schema {found}, this gateway knows {SCHEMA}: update the gateway's image")]
    NewerSchema {
        /// Its schema.
        found: u32,
    },
    /// It needs what this gateway does not have.
    #[error("the head requires feature {0:?}, which this gateway does not have: update its image")]
    UnknownFeature(String),
}

impl Head {
    /// The JSON that stands under [`HEAD_KEY`].
    #[must_use]
    pub fn to_json(&self) -> String {
        crate::chunks::canonical_json(self)
    }

    /// Reads and judges a head.
    ///
    /// # Errors
    /// When the text is no head, its schema is newer, or it requires an unknown feature.
    pub fn parse(json: &str) -> Result<Self, HeadError> {
        // The schema is read alone first: a newer one may have fields that we cannot parse.
        #[derive(Deserialize)]
        struct Schema {
            schema: u32,
        }
        let malformed = |e: serde_json::Error| HeadError::Malformed(e.to_string());
        let Schema { schema } = serde_json::from_str(json).map_err(malformed)?;
        if schema > SCHEMA {
            return Err(HeadError::NewerSchema { found: schema });
        }
        let head: Self = serde_json::from_str(json).map_err(malformed)?;
        match head
            .requires
            .iter()
            .find(|f| !FEATURES.contains(&f.as_str()))
        {
            Some(unknown) => Err(HeadError::UnknownFeature(unknown.clone())),
            None => Ok(head),
        }
    }
}
