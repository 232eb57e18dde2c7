//! Export of spans by OTLP: a bounded queue and one task that sends batches.
//!
//! Spans go in without waiting; a collector that is down or slow costs dropped spans, which are
//! counted, and neither mail nor memory.

use super::collector::{self, ExportError, TIMEOUT};
use opentelemetry_otlp::{
    SpanExporter, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use postern_config::telemetry::{OtlpProtocol, Traces};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Transactions whose spans may wait. About 10 spans of 1 kB each: 20 MB at the worst.
const QUEUE: usize = 2048;
/// Spans in one request.
const BATCH: usize = 512;
/// A batch waits no longer for company.
const INTERVAL: Duration = Duration::from_millis(500);
/// After a failed request the next one waits so long.
const BACK_OFF: Duration = Duration::from_secs(1);

/// Spans exported and spans lost, since the process started.
#[derive(Debug, Default)]
pub struct Counts {
    /// Taken by the collector.
    pub exported: AtomicU64,
    /// Dropped: the queue was full, or the collector refused or did not answer.
    pub dropped: AtomicU64,
}

enum Message {
    Spans(Vec<SpanData>),
    Flush(oneshot::Sender<()>),
}

/// The queue's entrance. Dropping it ends the task after what waits was sent.
#[derive(Debug, Clone)]
pub struct Export {
    queue: mpsc::Sender<Message>,
    counts: Arc<Counts>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Spans(spans) => write!(f, "Spans({})", spans.len()),
            Self::Flush(_) => f.write_str("Flush"),
        }
    }
}

impl Export {
    /// Starts the task. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the endpoint is no URL that OTLP can use.
    pub fn start(
        traces: &Traces,
        resource: &Resource,
        counts: Arc<Counts>,
    ) -> Result<Self, ExportError> {
        let exporter = exporter(traces, resource)?;
        let (queue, messages) = mpsc::channel(QUEUE);
        tokio::spawn(
            Task {
                exporter,
                counts: Arc::clone(&counts),
                batch: Vec::new(),
            }
            .run(messages),
        );
        Ok(Self { queue, counts })
    }

    /// Queues the spans of one record, or drops and counts them.
    pub fn send(&self, spans: Vec<SpanData>) {
        let number = spans.len() as u64;
        if self.queue.try_send(Message::Spans(spans)).is_err() {
            self.counts.dropped.fetch_add(number, Ordering::Relaxed);
        }
    }

    /// Waits until all that was queued before was sent or given up.
    pub async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        if self.queue.send(Message::Flush(done)).await.is_ok() {
            // The task may have ended in between: then there is nothing to wait for.
            let _ = wait.await;
        }
    }
}

fn exporter(traces: &Traces, resource: &Resource) -> Result<SpanExporter, ExportError> {
    let endpoint = &traces.endpoint;
    let fail = |reason: &dyn std::fmt::Display| {
        ExportError::new("telemetry.traces.endpoint", endpoint, reason)
    };
    // With a channel and a client of ours: the library's own trust no authority under https.
    let built = match traces.protocol {
        OtlpProtocol::Grpc => SpanExporter::builder()
            .with_tonic()
            .with_channel(collector::grpc(endpoint).map_err(|reason| fail(&reason))?)
            .with_timeout(TIMEOUT)
            .build(),
        OtlpProtocol::Http => SpanExporter::builder()
            .with_http()
            .with_http_client(collector::http(endpoint).map_err(|reason| fail(&reason))?)
            .with_endpoint(collector::path(endpoint, "traces"))
            .with_timeout(TIMEOUT)
            .build(),
    };
    let mut exporter = built.map_err(|error| fail(&error))?;
    exporter.set_resource(resource);
    Ok(exporter)
}

struct Task {
    exporter: SpanExporter,
    counts: Arc<Counts>,
    batch: Vec<SpanData>,
}

impl Task {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut tick = tokio::time::interval(INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                message = messages.recv() => message,
                _ = tick.tick() => { self.export().await; continue; }
            };
            match message {
                Some(Message::Spans(spans)) => {
                    self.batch.extend(spans);
                    if self.batch.len() >= BATCH {
                        self.export().await;
                    }
                }
                Some(Message::Flush(done)) => {
                    self.export().await;
                    // Who asked may have gone.
                    let _ = done.send(());
                }
                None => {
                    self.export().await;
                    return;
                }
            }
        }
    }

    async fn export(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        let number = batch.len() as u64;
        match tokio::time::timeout(TIMEOUT, self.exporter.export(batch)).await {
            Ok(Ok(())) => {
                self.counts.exported.fetch_add(number, Ordering::Relaxed);
            }
            failed => {
                let dropped = self.counts.dropped.fetch_add(number, Ordering::Relaxed);
                // Once at the first loss; the metric counts on.
                if dropped == 0 {
                    let reason = match failed {
                        Ok(Err(error)) => error.to_string(),
                        _ => "no answer".to_owned(),
                    };
                    tracing::warn!(%reason, "traces are lost: the collector does not take them");
                }
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}
