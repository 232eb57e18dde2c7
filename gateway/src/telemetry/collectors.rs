//! Numbers that other parts keep, read when the registry is asked.
//!
//! Delivery's counters, the resolver's counters of the snapshot in use, what telemetry lost, and the
//! message memory come in; gauges and counters of the registry come out.

use crate::delivery::Deliveries;
use crate::server::budget::Budget;
use crate::snapshot::State;
use crate::telemetry::record::Sink;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::sync::Arc;

/// What is read.
pub(crate) struct Collected {
    pub(crate) deliveries: Deliveries,
    pub(crate) budget: Budget,
    pub(crate) state: Arc<State>,
    pub(crate) sink: Arc<dyn Sink>,
}

impl fmt::Debug for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collected")
    }
}

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        self.delivery(encoder)?;
        self.dns(encoder)?;
        self.telemetry(encoder)?;
        gauge(
            encoder,
            "message_memory_used",
            "Octets of messages held",
            self.budget.used(),
        )?;
        gauge(
            encoder,
            "message_memory_limit",
            "Octets that may be held",
            self.budget.limit(),
        )
    }
}

impl Collected {
    fn delivery(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let delivery = self.deliveries.counters();
        let counters = [
            (
                "connections_opened",
                "Connections to backends",
                delivery.connections_opened,
            ),
            (
                "connections_failed",
                "Attempts that failed",
                delivery.connections_failed,
            ),
            (
                "connections_reused",
                "Uses of pooled connections",
                delivery.connections_reused,
            ),
            (
                "connections_replaced",
                "Pooled ones found dead",
                delivery.connections_replaced,
            ),
            (
                "recipients_asked",
                "Recipients asked about",
                delivery.recipients_asked,
            ),
            (
                "recipients_cached",
                "Recipients known already",
                delivery.recipients_cached,
            ),
            (
                "delivered",
                "Messages that a backend took",
                delivery.delivered,
            ),
            ("deferred", "Messages refused for now", delivery.deferred),
            ("rejected", "Messages refused for good", delivery.rejected),
            (
                "misconfigured",
                "Replies that blame our configuration",
                delivery.misconfigured,
            ),
            ("nonsense", "Replies that were none", delivery.nonsense),
        ];
        for (name, help, value) in counters {
            counter(encoder, &format!("delivery_{name}"), help, value)?;
        }
        gauge(
            encoder,
            "delivery_idle_connections",
            "Idle",
            delivery.idle_connections,
        )?;
        gauge(
            encoder,
            "delivery_remembered",
            "Recipients remembered",
            delivery.remembered,
        )
    }

    fn dns(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(runtime) = self.state.current() else {
            return Ok(());
        };
        let dns = runtime.resolver.counters();
        let counters = [
            (
                "cache_hits",
                "Questions that the cache answered",
                dns.cache_hits,
            ),
            ("queries", "Questions that were sent", dns.queries),
            ("no_records", "Answered with no records", dns.no_records),
            ("timeouts", "Without an answer in time", dns.timeouts),
            ("servfail", "Answered SERVFAIL", dns.servfail),
            (
                "other_failures",
                "Without a usable answer",
                dns.other_failures,
            ),
        ];
        for (name, help, value) in counters {
            counter(encoder, &format!("dns_{name}"), help, value)?;
        }
        Ok(())
    }
}

impl Collected {
    fn telemetry(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let counts = self.sink.counts();
        let counters = [
            (
                "spans_exported",
                "Spans that the collector took",
                counts.spans_exported,
            ),
            (
                "spans_dropped",
                "Spans that were lost",
                counts.spans_dropped,
            ),
            (
                "log_lines_dropped",
                "Lines of the access log that were lost",
                counts.log_lines_dropped,
            ),
        ];
        for (name, help, value) in counters {
            counter(encoder, &format!("telemetry_{name}"), help, value)?;
        }
        Ok(())
    }
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let metric = ConstCounter::new(value);
    let encoder = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
    metric.encode(encoder)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    let encoder = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
    metric.encode(encoder)
}
