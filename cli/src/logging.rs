//! The process's own log: what operators of Postern read when something is wrong with it.
//!
//! It goes to the standard error, so that the access log on the standard output stays pure JSON.
//! `POSTERN_LOG` sets its level (`debug`, `postern_gateway=trace`); default `info`.

use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// Starts it. A second call changes nothing.
pub fn start() {
    let filter = EnvFilter::try_from_env("POSTERN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = std::io::stderr().is_terminal();
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal);
    // An error says that a subscriber is there already.
    let _ = if terminal {
        builder.try_init()
    } else {
        builder.json().try_init()
    };
}
