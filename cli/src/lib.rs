//! The commands of the one binary, `postern`.
//!
//! Arguments go in; each command prints what it found and ends with an exit status. Everything
//! that a command does stands in the operator's and the gateway's crates; here is only the way
//! from files and arguments to them.

pub mod compile;
pub mod demo;
mod descriptors;
pub mod error;
pub mod files;
pub mod gateway;
pub mod logging;
pub mod operator;
pub mod run;
pub mod stop;
pub mod translate;
pub mod validate;

pub use error::Error;

use std::fmt::Arguments;
use std::io::Write as _;

/// A line on the standard output. A reader that has gone (`| head`) is no error.
pub fn say(line: Arguments<'_>) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// A whole text on the standard output, for a file or another program to take. A reader that has
/// gone (`| head`) is no error.
///
/// # Errors
/// When it could not be written whole: what stands in the file then is not what was asked for.
pub fn print(text: &str) -> Result<(), Error> {
    let mut output = std::io::stdout().lock();
    let written = output
        .write_all(text.trim_end().as_bytes())
        .and_then(|()| output.write_all(b"\n"))
        .and_then(|()| output.flush());
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::failed("standard output", error))
        }
        _ => Ok(()),
    }
}

/// A line on the standard error.
pub fn warn(line: Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
