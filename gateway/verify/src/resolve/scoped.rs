//! What one message may ask: a number of questions and a deadline, and somebody who is told of
//! each question.
//!
//! All checks of a message share one [`Budget`]; each check has its own [`Scoped`] resolver with
//! its own [`Observe`], so that a trace shows a check's questions below that check.

use super::{DnsError, Mx, RecordType, Resolve, Temporary, Txt};
use crate::name::Name;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;
use tokio::time::Instant;

/// Questions and time that the checks of one message share. Every question counts, also one that
/// the cache answers, so that a verdict does not depend on who asked before.
#[derive(Debug)]
pub struct Budget {
    left: AtomicU32,
    deadline: Instant,
}

impl Budget {
    /// At most `queries` questions, the last one answered before `deadline`.
    #[must_use]
    pub fn new(queries: u32, deadline: Instant) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicU32::new(queries),
            deadline,
        })
    }

    /// Questions that may still be asked.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.left.load(Ordering::Relaxed)
    }

    fn take(&self) -> Result<(), DnsError> {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .map(drop)
            .map_err(|_| DnsError::Temporary(Temporary::Spent))
    }
}

/// One question that was asked and its end.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// The type that was asked for.
    pub record_type: RecordType,
    /// The name that was asked for; for PTR the address.
    pub name: String,
    /// When it was asked.
    pub started: SystemTime,
    /// When the answer was there.
    pub ended: SystemTime,
    /// How many records came, or why none.
    pub outcome: Result<usize, DnsError>,
}

/// Told of each question, at its end. It must not block.
pub trait Observe: Send + Sync {
    /// One question has ended.
    fn lookup(&self, lookup: Lookup);
}

/// A resolver within a [`Budget`], with an observer.
#[derive(Clone)]
pub struct Scoped<R> {
    inner: R,
    budget: Arc<Budget>,
    observer: Option<Arc<dyn Observe>>,
}

impl<R: Resolve> Scoped<R> {
    /// `inner`, bounded by `budget`; `observer` is told of each question.
    #[must_use]
    pub fn new(inner: R, budget: Arc<Budget>, observer: Option<Arc<dyn Observe>>) -> Self {
        Self {
            inner,
            budget,
            observer,
        }
    }

    /// The same resolver and observer within another budget.
    #[must_use]
    pub fn within(&self, budget: Arc<Budget>) -> Self
    where
        R: Clone,
    {
        Self {
            budget,
            ..self.clone()
        }
    }

    async fn ask<T>(
        &self,
        record_type: RecordType,
        name: impl FnOnce() -> String + Send,
        question: impl Future<Output = Result<Arc<[T]>, DnsError>> + Send,
    ) -> Result<Arc<[T]>, DnsError>
    where
        T: Send + Sync,
    {
        let started = self
            .observer
            .as_ref()
            .map(|observer| (observer, SystemTime::now()));
        let answer = match self.budget.take() {
            Ok(()) => tokio::time::timeout_at(self.budget.deadline, question)
                .await
                .unwrap_or(Err(DnsError::Temporary(Temporary::Spent))),
            Err(spent) => Err(spent),
        };
        if let Some((observer, started)) = started {
            observer.lookup(Lookup {
                record_type,
                name: name(),
                started,
                ended: SystemTime::now(),
                outcome: answer
                    .as_ref()
                    .map(|records| records.len())
                    .map_err(|error| *error),
            });
        }
        answer
    }
}

impl<R: Resolve> Resolve for Scoped<R> {
    async fn txt(&self, name: &Name) -> Result<Txt, DnsError> {
        self.ask(RecordType::Txt, || name.to_string(), self.inner.txt(name))
            .await
    }

    async fn a(&self, name: &Name) -> Result<Arc<[Ipv4Addr]>, DnsError> {
        self.ask(RecordType::A, || name.to_string(), self.inner.a(name))
            .await
    }

    async fn aaaa(&self, name: &Name) -> Result<Arc<[Ipv6Addr]>, DnsError> {
        self.ask(RecordType::Aaaa, || name.to_string(), self.inner.aaaa(name))
            .await
    }

    async fn mx(&self, name: &Name) -> Result<Arc<[Mx]>, DnsError> {
        self.ask(RecordType::Mx, || name.to_string(), self.inner.mx(name))
            .await
    }

    async fn ptr(&self, address: IpAddr) -> Result<Arc<[Name]>, DnsError> {
        self.ask(
            RecordType::Ptr,
            || address.to_string(),
            self.inner.ptr(address),
        )
        .await
    }
}
