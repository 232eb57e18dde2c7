//! What delivery counts; the metrics registry reads it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Totals since the start, save the two gauges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections that became ready for MAIL.
    pub connections_opened: u64,
    /// Attempts at connections that failed.
    pub connections_failed: u64,
    /// Messages and questions that went over a connection from the pool.
    pub connections_reused: u64,
    /// Pooled connections that were found dead and replaced.
    pub connections_replaced: u64,
    /// Recipients that a backend was asked about.
    pub recipients_asked: u64,
    /// Recipients whose answer was known.
    pub recipients_cached: u64,
    /// Messages that a backend took.
    pub delivered: u64,
    /// Messages refused with 4yz, by the backend or for want of it.
    pub deferred: u64,
    /// Messages refused with 5yz.
    pub rejected: u64,
    /// Replies that mean that we are misconfigured.
    pub misconfigured: u64,
    /// Replies that were no SMTP, or came unasked.
    pub nonsense: u64,
    /// Gauge: idle connections.
    pub idle_connections: u64,
    /// Gauge: recipients in the memory of mixed transactions.
    pub remembered: u64,
}

/// The same, being counted.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) connections_opened: Count,
    pub(super) connections_failed: Count,
    pub(super) connections_reused: Count,
    pub(super) connections_replaced: Count,
    pub(super) recipients_asked: Count,
    pub(super) recipients_cached: Count,
    pub(super) delivered: Count,
    pub(super) deferred: Count,
    pub(super) rejected: Count,
    pub(super) misconfigured: Count,
    pub(super) nonsense: Count,
    pub(super) idle_connections: Count,
}

/// One number that many sessions count.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, number: usize) {
        self.0.fetch_add(number as u64, Ordering::Relaxed);
    }

    pub(super) fn one(&self) {
        self.add(1);
    }

    pub(super) fn one_less(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Totals {
    pub(super) fn read(&self, remembered: usize) -> Counters {
        Counters {
            connections_opened: self.connections_opened.get(),
            connections_failed: self.connections_failed.get(),
            connections_reused: self.connections_reused.get(),
            connections_replaced: self.connections_replaced.get(),
            recipients_asked: self.recipients_asked.get(),
            recipients_cached: self.recipients_cached.get(),
            delivered: self.delivered.get(),
            deferred: self.deferred.get(),
            rejected: self.rejected.get(),
            misconfigured: self.misconfigured.get(),
            nonsense: self.nonsense.get(),
            idle_connections: self.idle_connections.get(),
            remembered: remembered as u64,
        }
    }
}
