//! When the loop makes a pass, and when what failed is tried again.

use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::observe::Bell;

/// Quiet for so long ends the wait before a pass.
const QUIET: Duration = Duration::from_millis(100);
/// The wait ends after so long, quiet or not.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// First and last pause before a gateway that failed is tried again.
pub(super) const PAUSES: (Duration, Duration) =
    (Duration::from_millis(500), Duration::from_mins(1));

/// A ring or the time, and then quiet.
pub(super) async fn due(bell: &Bell, wake: Option<Instant>) {
    let time = async {
        match wake {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = bell.rung() => {}
        () = time => return,
    }
    let longest = Instant::now() + LONGEST_WAIT;
    while Instant::now() < longest {
        let quiet = longest.min(Instant::now() + QUIET);
        if tokio::time::timeout_at(quiet, bell.rung()).await.is_err() {
            return;
        }
    }
}

/// The first of the times, but not before the shortest pause: a time that has passed and that no
/// pass moves on must not make passes back to back.
pub(super) fn next(times: impl Iterator<Item = Instant>, now: Instant) -> Option<Instant> {
    times.min().map(|time| time.max(now + PAUSES.0))
}

/// Until another may lead.
pub(super) async fn lost(leading: &mut watch::Receiver<bool>) {
    // An error means that nobody stands for election any more: lost as well.
    let _ = leading.wait_for(|leading| !leading).await;
}

/// The pause after so many failures in a row.
pub(super) fn pause(failures: u32) -> Duration {
    let (first, last) = PAUSES;
    first
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_has_passed_does_not_begin_a_pass_at_once() {
        let now = Instant::now();
        let (soon, later) = (now + PAUSES.0, now + Duration::from_mins(2));
        assert_eq!(next([].into_iter(), now), None);
        assert_eq!(next([now, later].into_iter(), now), Some(soon));
        let past = now.checked_sub(Duration::from_secs(30)).unwrap_or(now);
        assert_eq!(next([past].into_iter(), now), Some(soon));
        assert_eq!(next([later].into_iter(), now), Some(later));
    }
}
