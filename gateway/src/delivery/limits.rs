//! Every bound of delivery in one place, with its default.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Bounds, times and the source of chance; [`Limits::default`] is what docs/delivery.md
/// says of times; what it does not name bounds what one pod holds and how it spreads its load.
#[derive(Clone)]
pub struct Limits {
    /// To one address, TCP only.
    pub connect: Duration,
    /// From the connection to the end of EHLO, TLS and login, on one address.
    pub open: Duration,
    /// Asking at RCPT, all in all.
    pub ask: Duration,
    /// A connection for asking is retired after so many questions.
    pub ask_uses: u32,
    /// ... after so many refusals.
    pub ask_refusals: u32,
    /// ... at this age.
    pub ask_age: Duration,
    /// A "yes" is believed for so long.
    pub yes: Duration,
    /// A 5yz is believed for so long.
    pub no: Duration,
    /// Answers that are remembered, over all backends.
    pub answers: usize,
    /// A delivering connection carries so many messages.
    pub uses: u32,
    /// ... lives so long.
    pub age: Duration,
    /// ... idles so long.
    pub idle: Duration,
    /// Idle connections of one backend.
    pub idle_connections: usize,
    /// Idle connections of all backends.
    pub idle_connections_in_all: usize,
    /// Open connections to one backend, asking ones counted apart.
    pub connections: usize,
    /// Open connections for asking to one backend.
    pub ask_connections: usize,
    /// A backend that fails is avoided for so long at first, then twice as long ...
    pub avoid_first: Duration,
    /// ... up to this.
    pub avoid_longest: Duration,
    /// A headless Service's addresses are believed for so long.
    pub headless: Duration,
    /// Addresses that are tried in one attempt.
    pub addresses: usize,
    /// What LMTP backends took of mixed transactions is remembered for so long.
    pub delivered: Duration,
    /// ... and so many recipients.
    pub delivered_entries: usize,
    /// The port of MX hosts: 25, but in tests.
    pub mx_port: u16,
    /// A number in 0.0..1.0; spreads load and retries.
    pub chance: Arc<dyn Fn() -> f64 + Send + Sync>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            open: Duration::from_secs(30),
            ask: Duration::from_secs(20),
            ask_uses: 50,
            ask_refusals: 5,
            ask_age: Duration::from_secs(60),
            yes: Duration::from_mins(5),
            no: Duration::from_secs(30),
            answers: 100_000,
            uses: 100,
            age: Duration::from_mins(5),
            idle: Duration::from_secs(30),
            idle_connections: 64,
            idle_connections_in_all: 1024,
            connections: 512,
            ask_connections: 64,
            avoid_first: Duration::from_secs(1),
            avoid_longest: Duration::from_mins(1),
            headless: Duration::from_secs(5),
            addresses: 8,
            delivered: Duration::from_hours(24),
            delivered_entries: 100_000,
            mx_port: 25,
            chance: Arc::new(chance),
        }
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").finish_non_exhaustive()
    }
}

fn chance() -> f64 {
    let mut octets = [0_u8; 4];
    // Without randomness the first choice is taken; TLS would not work either then.
    let _ = aws_lc_rs::rand::fill(&mut octets);
    f64::from(u32::from_be_bytes(octets)) / (f64::from(u32::MAX) + 1.0)
}
