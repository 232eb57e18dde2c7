//! A backend that failed is avoided for a while, longer each time, with jitter.

use super::limits::Limits;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Failures in a row, and until when the backend is avoided for them.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<Option<Failing>>);

#[derive(Debug, Clone, Copy)]
struct Failing {
    times: u32,
    avoided_until: Instant,
}

impl Health {
    /// Whether it should be passed over now.
    pub(super) fn is_avoided(&self, now: Instant) -> bool {
        let failing = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failing.is_some_and(|failing| now < failing.avoided_until)
    }

    /// It works.
    pub(super) fn succeeded(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// It does not. What fails while it is avoided already (sessions that were under way) counts
    /// once.
    pub(super) fn failed(&self, now: Instant, limits: &Limits) {
        let mut failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let times = match *failing {
            Some(failing) if now < failing.avoided_until => return,
            Some(failing) => failing.times.saturating_add(1),
            None => 1,
        };
        let avoided_until = now + pause(times, limits);
        *failing = Some(Failing {
            times,
            avoided_until,
        });
    }
}

/// Doubling, and between half and all of it by chance, so that pods do not come back together.
fn pause(times: u32, limits: &Limits) -> Duration {
    let doubled = 2_u32.saturating_pow(times.saturating_sub(1));
    let whole = limits
        .avoid_first
        .saturating_mul(doubled)
        .min(limits.avoid_longest);
    whole.mul_f64(0.5 + 0.5 * (limits.chance)())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test(start_paused = true)]
    async fn it_is_avoided_longer_each_time_up_to_a_bound() {
        let limits = Limits {
            chance: Arc::new(|| 1.0),
            ..Limits::default()
        };
        let health = Health::default();
        let mut now = Instant::now();
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            health.failed(now, &limits);
            health.failed(now, &limits);
            assert!(
                health.is_avoided(now + Duration::from_secs(seconds) - Duration::from_millis(1))
            );
            now += Duration::from_secs(seconds);
            assert!(!health.is_avoided(now), "{seconds}");
        }
        health.succeeded();
        health.failed(now, &limits);
        assert!(!health.is_avoided(now + Duration::from_secs(1)));
    }

    #[test]
    fn jitter_takes_up_to_half() {
        let pause_with = |chance: f64| {
            let limits = Limits {
                chance: Arc::new(move || chance),
                ..Limits::default()
            };
            pause(1, &limits)
        };
        assert_eq!(pause_with(0.0), Duration::from_millis(500));
        assert_eq!(pause_with(1.0), Duration::from_secs(1));
    }
}
