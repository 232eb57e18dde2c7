//! ARC (RFC 8617): what did those say who handled this message before?
//!
//! A scanned message goes in; [`Chain::parse`] groups its ARC sets by instance and says which keys
//! are needed, [`Chain::verify`] validates the chain (§5.2). [`verify`] does both in a row. Whether
//! a sealer is believed is policy's to decide, from the domains in the [`Outcome`].

mod chain;
#[cfg(test)]
mod tests;
mod validate;

pub use chain::Chain;
pub use validate::verify;

use crate::name::Name;
use std::fmt;

/// Chain validation status (RFC 8617 §4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArcResult {
    /// No ARC set in the message.
    None,
    /// Every seal, and the newest message signature, verified.
    Pass,
    /// The chain is broken, or DNS could not tell (see [`Outcome::temporary`]).
    Fail,
}

impl ArcResult {
    /// The word for `cv=` and Authentication-Results, lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
        }
    }
}

impl fmt::Display for ArcResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One ARC set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// `i=`, from 1.
    pub instance: u32,
    /// Who sealed it: `d=` of the ARC-Seal.
    pub sealer: Name,
    /// `s=` of the ARC-Seal.
    pub selector: String,
    /// The value of its ARC-Authentication-Results behind `i=`, unfolded, as octets: what the
    /// sealer says it found. Worth as much as the sealer.
    pub results: Box<[u8]>,
}

/// What chain validation found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The status of the chain.
    pub result: ArcResult,
    /// Its sets, oldest first; empty unless the chain is whole in structure.
    pub sets: Vec<Set>,
    /// The oldest message signature that still verifies, and all newer ones with it (§5.2 step 5):
    /// 0 says the message was not changed since it was first sealed. None unless it passed.
    pub oldest_pass: Option<u32>,
    /// The newest message signature names From and covers the whole body: RFC 8617 asks for
    /// neither, but of what it leaves out the chain says nothing.
    pub signs_all: bool,
    /// What was wrong.
    pub problem: Option<String>,
    /// The chain failed for want of an answer from DNS: it could pass later.
    pub temporary: bool,
}

impl Outcome {
    /// Who sealed the chain last, if it passed.
    #[must_use]
    pub fn last_sealer(&self) -> Option<&Name> {
        match self.result {
            ArcResult::Pass => self.sets.last().map(|set| &set.sealer),
            ArcResult::None | ArcResult::Fail => None,
        }
    }
}
