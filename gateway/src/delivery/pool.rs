//! Idle connections of one backend, and how many may be in use.

use super::counters::Totals;
use super::link::Link;
use postern_smtp::address::Domain;
use postern_smtp::client::Reuse;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

/// When a connection is not kept any longer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retire {
    pub(super) uses: u32,
    pub(super) refusals: u32,
    pub(super) age: Duration,
    pub(super) idle: Duration,
    /// Idle connections that are kept at most.
    pub(super) most: usize,
    /// Idle connections of all pools.
    pub(super) most_in_all: usize,
}

/// See the module.
pub(super) struct Pool {
    retire: Retire,
    in_use: Arc<Semaphore>,
    totals: Arc<Totals>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Oldest first.
    idle: VecDeque<Idle>,
    /// A task closes them as they expire.
    reaped: bool,
}

struct Idle {
    link: Link,
    domain: Option<Domain>,
    expires: Instant,
}

impl Pool {
    pub(super) fn new(retire: Retire, in_use: usize, totals: Arc<Totals>) -> Arc<Self> {
        let in_use = Arc::new(Semaphore::new(in_use));
        Arc::new(Self {
            retire,
            in_use,
            totals,
            state: Mutex::default(),
        })
    }

    /// The right to use one connection; waits while too many are in use.
    pub(super) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        self.in_use.clone().acquire_owned().await.ok()
    }

    /// The connection that was used last and still seems alive.
    pub(super) fn take(&self, domain: Option<&Domain>) -> Option<Link> {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let at = state
                .idle
                .iter()
                .rposition(|idle| idle.domain.as_ref() == domain)?;
            let mut idle = state.idle.remove(at)?;
            self.totals.idle_connections.one_less();
            if now < idle.expires && !idle.link.is_dead() {
                return Some(idle.link);
            }
        }
    }

    /// Whether a connection may carry another transaction.
    pub(super) fn keeps(&self, link: &Link) -> bool {
        link.conversation.reuse() != Reuse::Never
            && link.uses < self.retire.uses
            && link.refusals < self.retire.refusals
            && link.opened.elapsed() < self.retire.age
    }

    /// Takes a connection back after a transaction; one that is retired says QUIT.
    pub(super) fn put(self: &Arc<Self>, domain: Option<Domain>, link: Link) {
        let room_in_all = self.totals.idle_connections.get() < self.retire.most_in_all as u64;
        let keeps = room_in_all && self.keeps(&link);
        let expires = (Instant::now() + self.retire.idle).min(link.opened + self.retire.age);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !keeps || state.idle.len() >= self.retire.most {
            drop(state);
            retire(link);
            return;
        }
        state.idle.push_back(Idle {
            link,
            domain,
            expires,
        });
        self.totals.idle_connections.one();
        if !std::mem::replace(&mut state.reaped, true) {
            tokio::spawn(reap(Arc::downgrade(self)));
        }
    }

    /// Closes what has expired; when the next one will.
    fn expire(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut expired = Vec::new();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..state.idle.len() {
            match state.idle.pop_front() {
                Some(idle) if idle.expires <= now => expired.push(idle.link),
                Some(idle) => state.idle.push_back(idle),
                None => break,
            }
        }
        let next = state.idle.iter().map(|idle| idle.expires).min();
        state.reaped = next.is_some();
        drop(state);
        for link in expired {
            self.totals.idle_connections.one_less();
            retire(link);
        }
        next
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        for idle in state.idle.drain(..) {
            self.totals.idle_connections.one_less();
            retire(idle.link);
        }
    }
}

/// Runs while there is something idle.
async fn reap(pool: Weak<Pool>) {
    loop {
        let Some(next) = pool.upgrade().and_then(|pool| pool.expire()) else {
            return;
        };
        sleep_until(next).await;
    }
}

/// Says QUIT in the background.
pub(super) fn retire(link: Link) {
    // Outside of a runtime, at the end of the process, closing must do.
    if let Ok(runtime) = tokio::runtime::Handle::try_current()
        && link.conversation.reuse() != Reuse::Never
    {
        runtime.spawn(link.quit());
    }
}
