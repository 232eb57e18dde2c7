//! Waiting for a condition with a deadline, the only way in which a test waits.

use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

/// Between two looks at the condition.
const PAUSE: Duration = Duration::from_millis(25);

/// Asks `condition` again and again until it is `Ok`, and gives its value.
///
/// `condition` says in its `Err` what is not yet so; the last such word is in the
/// panic when `deadline` has passed:
///
/// ```no_run
/// # use std::time::Duration;
/// # use postern_tests::wait::eventually;
/// # async fn ready_pods() -> usize { 2 }
/// # async fn example() {
/// eventually(Duration::from_secs(10), async || {
///     match ready_pods().await {
///         2 => Ok(()),
///         n => Err(format!("{n} of 2 pods are ready")),
///     }
/// })
/// .await;
/// # }
/// ```
///
/// # Panics
/// When the deadline has passed, at the caller's line.
#[track_caller]
pub fn eventually<T, E: Display>(
    deadline: Duration,
    condition: impl AsyncFnMut() -> Result<T, E>,
) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        within(deadline, condition)
            .await
            .unwrap_or_else(|last| panic!("{caller}: not so after {deadline:?}: {last}"))
    }
}

/// Like [`eventually`], but gives the last `Err` back instead of panicking.
///
/// # Errors
/// The last word of `condition` when the deadline has passed, or that it never answered.
pub async fn within<T, E: Display>(
    deadline: Duration,
    mut condition: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, String> {
    let end = Instant::now() + deadline;
    let mut last = "the condition did not answer".to_owned();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, condition()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(not_yet)) => last = not_yet.to_string(),
            Err(_elapsed) => return Err(last),
        }
        // An answer that is there at once beats a timeout of nothing.
        if Instant::now() >= end {
            return Err(last);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test]
    async fn it_gives_the_value_of_the_first_ok() {
        let asked = Cell::new(0);
        let value = eventually(Duration::from_secs(5), || async {
            asked.set(asked.get() + 1);
            if asked.get() == 3 {
                Ok(asked.get())
            } else {
                Err("not yet")
            }
        })
        .await;
        assert_eq!(value, 3);
    }

    #[tokio::test]
    async fn it_says_what_was_not_so() {
        let last = within(Duration::from_millis(60), || async {
            Err::<(), _>("1 of 2 pods")
        })
        .await;
        assert_eq!(last.unwrap_err(), "1 of 2 pods");
    }

    #[tokio::test]
    async fn a_condition_that_hangs_ends_at_the_deadline() {
        let last = within(Duration::from_millis(60), || async {
            std::future::pending::<Result<(), &str>>().await
        })
        .await;
        assert_eq!(last.unwrap_err(), "the condition did not answer");
    }
}
