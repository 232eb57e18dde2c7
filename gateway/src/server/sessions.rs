//! The open sessions of a process: how many there are, and how all of them are told that the pod's
//! life ends.

use futures::task::AtomicWaker;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use tokio::sync::Notify;

/// How far the end of the pod has come (docs/flow.md, When a pod ends), in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// All is well.
    Serving,
    /// 421 4.3.2 at the next command boundary; open transactions finish.
    Closing,
    /// 421 4.3.2 now, unless the final dot is at the backend.
    Deadline,
    /// The grace is over: everything ends.
    Over,
}

impl Phase {
    const fn from_u8(number: u8) -> Self {
        match number {
            0 => Self::Serving,
            1 => Self::Closing,
            2 => Self::Deadline,
            _ => Self::Over,
        }
    }
}

/// All open sessions; cheap to clone.
#[derive(Clone, Default)]
pub struct Sessions(Arc<Shared>);

#[derive(Default)]
struct Shared {
    phase: AtomicU8,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Ear>>>,
    closed: Notify,
}

#[derive(Default)]
struct Ear {
    waker: AtomicWaker,
}

/// One session's place among the others; dropping it says that the session is over.
pub struct Seat {
    sessions: Sessions,
    id: u64,
    ear: Arc<Ear>,
}

impl Sessions {
    /// Takes a place.
    #[must_use]
    pub fn enter(&self) -> Seat {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let ear = Arc::new(Ear::default());
        self.open().insert(id, Arc::clone(&ear));
        Seat {
            sessions: self.clone(),
            id,
            ear,
        }
    }

    /// Sessions that are open now.
    #[must_use]
    pub fn count(&self) -> usize {
        self.open().len()
    }

    /// How far the end has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        Phase::from_u8(self.0.phase.load(Ordering::Acquire))
    }

    /// Moves on and wakes every session. A phase never goes back.
    pub fn advance(&self, phase: Phase) {
        self.0.phase.fetch_max(phase as u8, Ordering::AcqRel);
        for ear in self.open().values() {
            ear.waker.wake();
        }
    }

    /// Waits until no session is open.
    pub async fn empty(&self) {
        loop {
            let closed = self.0.closed.notified();
            if self.count() == 0 {
                return;
            }
            closed.await;
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<Ear>>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// How far the end has come; the waker is woken when it moves on.
    pub fn listen(&self, waker: &Waker) -> Phase {
        // Registered first: a phase that changes in between wakes it.
        self.ear.waker.register(waker);
        self.sessions.phase()
    }

    /// How far the end has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.sessions.phase()
    }

    /// Waits until the end has come as far as `phase`.
    pub async fn reached(&self, phase: Phase) {
        std::future::poll_fn(|cx| {
            if self.listen(cx.waker()) >= phase {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
    }

    /// The session's number, unique in the process.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.sessions.open().remove(&self.id);
        self.sessions.0.closed.notify_waiters();
    }
}
