//! Where a message ends and what it holds: [`data`] for DATA, [`bdat`] for BDAT.
//!
//! In: the octets behind the command. Out: a [`Piece`] at a time, content as whole slices of the
//! input. Both framings share [`content`] (size, refusal) and [`scanner`] (line ends, dots, NUL).

mod bdat;
mod content;
mod data;
mod scanner;

pub(super) use bdat::Bdat;
pub(super) use content::{Flaw, Verdict};
pub(super) use data::Data;

use bytes::Bytes;

/// What a framing found next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Content, to be passed on.
    Body(Bytes),
    /// The message is refused from here on; its rest is read and thrown away.
    GivenUp,
    /// The end of the data (of the chunk, for BDAT) was read.
    End,
    /// The end cannot be found within the size limit in data that cannot be trusted: stop reading.
    Overrun,
}

#[cfg(test)]
mod tests;
