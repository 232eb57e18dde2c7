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
