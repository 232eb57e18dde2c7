//! Refused connections in the log: the first of a kind at once, the others counted.
//!
//! A flood of connections must not become a flood of lines. Metrics count every one
//! (`postern_refused_total`, `postern_tls_handshakes_total`); a line says who was among them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// One line in so long, for each listener and reason.
const INTERVAL: Duration = Duration::from_secs(10);
/// Listeners and reasons that are told apart; both come from the configuration and from us.
const KINDS: usize = 256;

/// What was refused and not told.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<HashMap<(String, &'static str), Told>>);

#[derive(Debug)]
struct Told {
    last: Instant,
    since: u64,
}

impl Refusals {
    /// Writes a line about a refusal, or counts it for the next line. `detail` is called only for
    /// the line.
    pub fn tell(
        &self,
        listener: &str,
        reason: &'static str,
        client: IpAddr,
        detail: impl FnOnce() -> String,
    ) {
        if let Some(untold) = self.turn(listener, reason, Instant::now()) {
            let (client, detail) = (client.to_canonical(), detail());
            tracing::warn!(listener, reason, %client, detail, untold, "refused");
        }
    }

    /// How many were not told since the last line, if a line is due.
    fn turn(&self, listener: &str, reason: &'static str, now: Instant) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (listener.to_owned(), reason);
        if let Some(entry) = told.get_mut(&key) {
            if now.duration_since(entry.last) < INTERVAL {
                entry.since += 1;
                return None;
            }
            entry.last = now;
            return Some(std::mem::take(&mut entry.since));
        }
        if told.len() >= KINDS {
            told.clear();
        }
        told.insert(
            key,
            Told {
                last: now,
                since: 0,
            },
        );
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_ten_seconds_says_how_many_there_were() {
        let refusals = Refusals::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(refusals.turn("mx", "network", at(0)), Some(0));
        for _ in 0..1000 {
            assert_eq!(refusals.turn("mx", "network", at(9)), None);
        }
        assert_eq!(
            refusals.turn("mx", "proxy", at(9)),
            Some(0),
            "another reason"
        );
        assert_eq!(
            refusals.turn("lan", "network", at(9)),
            Some(0),
            "another listener"
        );
        assert_eq!(refusals.turn("mx", "network", at(10)), Some(1000));
        assert_eq!(refusals.turn("mx", "network", at(20)), Some(0));
    }
}
