//! Work that begins before its result is needed.
//!
//! The work is polled at once: when caches have all it needs, it ends there and costs no task.
//! Otherwise it goes on in a task of its own while the session talks on.

use std::future::{Future, poll_fn};
use std::task::Poll;
use tokio_util::task::AbortOnDropHandle;

/// Work under way or done. Dropping it ends the work.
pub(super) enum Ahead<T> {
    /// Its result.
    Done(T),
    /// Still under way.
    Running(AbortOnDropHandle<T>),
    /// It panicked.
    Lost,
}

impl<T: Send + 'static> Ahead<T> {
    /// Begins.
    pub(super) async fn start(work: impl Future<Output = T> + Send + 'static) -> Self {
        let mut work = Box::pin(work);
        match poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await {
            Poll::Ready(result) => Self::Done(result),
            Poll::Pending => Self::Running(AbortOnDropHandle::new(tokio::spawn(work))),
        }
    }

    /// The result, once it is there; none when the work panicked (which was reported then).
    pub(super) async fn result(&mut self) -> Option<&T> {
        if let Self::Running(task) = self {
            // A handle that has said how its task ended must not be asked again.
            *self = task.await.map_or(Self::Lost, Self::Done);
        }
        match self {
            Self::Done(result) => Some(result),
            Self::Running(_) | Self::Lost => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_panicked_has_no_result_however_often_it_is_asked_for() {
        let mut ahead = Ahead::<u8>::start(async {
            tokio::task::yield_now().await;
            panic!("as a check may");
        })
        .await;
        assert_eq!(ahead.result().await, None);
        assert_eq!(ahead.result().await, None);
    }
}
