//! What delivery counts; the metrics registry reads it.

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
