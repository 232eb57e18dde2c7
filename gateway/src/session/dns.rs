//! Lookups with their trace: what was asked for which check, as spans below the check's own.

use crate::telemetry::record::{Kind, SpanRecord};
use postern_verify::HickoryResolver;
use postern_verify::resolve::{Budget, DnsError, Lookup, Observe, Scoped, Temporary};
use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// Lookups that one check's span lists; the rest are only counted.
const LISTED: usize = 32;

/// The attribute that names a limit which a check reached.
pub(super) const LIMIT: &str = "postern.check.limit";

/// The resolver of one check.
pub(super) type Resolver = Scoped<Arc<HickoryResolver>>;

/// A check's result and its span, without attributes.
#[derive(Debug, Clone)]
pub(super) struct Looked<T> {
    /// What was found.
    pub(super) outcome: T,
    /// When and by which lookups.
    pub(super) span: SpanRecord,
}

/// The lookups of one check while it runs.
#[derive(Default)]
pub(super) struct Trail {
    lookups: Mutex<Vec<SpanRecord>>,
    /// Its budget of questions and time was not enough.
    spent: AtomicBool,
}

impl Observe for Trail {
    fn lookup(&self, lookup: Lookup) {
        if lookup.outcome == Err(DnsError::Temporary(Temporary::Spent)) {
            self.spent.store(true, Ordering::Relaxed);
        }
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        if lookups.len() < LISTED {
            lookups.push(span(lookup));
        }
    }
}

/// Runs a check with a resolver of its own and records when it ran and what it asked.
pub(super) async fn traced<T, F: Future<Output = T>>(
    name: &'static str,
    resolver: &Arc<HickoryResolver>,
    budget: &Arc<Budget>,
    check: impl FnOnce(Resolver) -> F,
) -> Looked<T> {
    let trail = Arc::new(Trail::default());
    let observer: Arc<dyn Observe> = Arc::clone(&trail) as _;
    let scoped = Scoped::new(Arc::clone(resolver), Arc::clone(budget), Some(observer));
    let mut span = SpanRecord::started(name, Kind::Internal, SystemTime::now());
    let outcome = check(scoped).await;
    span.children =
        std::mem::take(&mut *trail.lookups.lock().unwrap_or_else(PoisonError::into_inner));
    if trail.spent.load(Ordering::Relaxed) {
        span = span.with(LIMIT, "dns");
    }
    Looked {
        outcome,
        span: span.ended(SystemTime::now()),
    }
}

fn span(lookup: Lookup) -> SpanRecord {
    let mut span = SpanRecord::started("dns.lookup", Kind::Client, lookup.started)
        .with("dns.question.name", lookup.name)
        .with("postern.dns.type", lookup.record_type.as_str());
    match lookup.outcome {
        Ok(answers) => {
            span = span.with(
                "postern.dns.answers",
                i64::try_from(answers).unwrap_or(i64::MAX),
            );
        }
        Err(error) if error.is_temporary() => span.error = Some(Cow::Owned(error.to_string())),
        Err(error) => span = span.with("postern.dns.outcome", error.to_string()),
    }
    span.ended(lookup.ended)
}
