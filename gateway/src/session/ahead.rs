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
            let result = task.await.ok()?;
            *self = Self::Done(result);
        }
        match self {
            Self::Done(result) => Some(result),
            Self::Running(_) => None,
        }
    }
}
