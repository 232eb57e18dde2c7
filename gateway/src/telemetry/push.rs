//! The push of metrics by OTLP: one task that reads the registry once in an interval and sends it.
//!
//! The registry and the settings of a snapshot go in. Values are cumulative, so nothing waits
//! anywhere: what a collector did not take is in the next push, and a collector that is down costs
//! one request in an interval, of at most 10 s.

use super::collector::{self, ExportError, TIMEOUT};
use super::metrics::Metrics;
use super::otlp::{self, Period};
use super::resource;
use opentelemetry_http::{Bytes, HttpClient as _, Request, ResponseExt};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::transform::common::tonic::Attributes;
use postern_config::Config;
use postern_config::telemetry::{self as settings, OtlpProtocol};
use prost::Message as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tonic::codegen::http::HeaderMap;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;

/// The push of one process; it follows the snapshots' settings.
#[derive(Default)]
pub(crate) struct Push {
    running: Mutex<Option<Running>>,
}

/// A task. Dropping it ends the task at its next step.
struct Running {
    settings: settings::Metrics,
    resource: Resource,
    flush: mpsc::Sender<oneshot::Sender<()>>,
}

/// What [`Push::commit`] is to do.
pub(crate) enum Prepared {
    /// The settings are the same, or there are none: what runs goes on.
    Keep,
    /// Nothing is pushed any more.
    Stop,
    /// Another task begins.
    Start(Box<Task>),
}

impl Push {
    /// Makes ready what a snapshot asks for. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the endpoint cannot be used.
    pub(crate) fn prepare(
        &self,
        config: &Config,
        registry: &Metrics,
    ) -> Result<Prepared, ExportError> {
        let running = self.running();
        let Some(settings) = &config.telemetry.metrics else {
            return Ok(Prepared::Stop);
        };
        let resource = Resource {
            attributes: Attributes::from(resource::attributes(config)).0,
            ..Resource::default()
        };
        let same =
            |running: &Running| running.settings == *settings && running.resource == resource;
        if running.as_ref().is_some_and(same) {
            return Ok(Prepared::Keep);
        }
        let fail = |reason: String| {
            ExportError::new("telemetry.metrics.endpoint", &settings.endpoint, &reason)
        };
        Ok(Prepared::Start(Box::new(Task {
            client: Client::new(settings).map_err(fail)?,
            headers: collector::metrics_headers(),
            settings: settings.clone(),
            resource,
            registry: registry.clone(),
            failing: false,
        })))
    }

    /// Does it. Must be called inside a tokio runtime.
    pub(crate) fn commit(&self, prepared: Prepared) {
        let running = match prepared {
            Prepared::Keep => return,
            Prepared::Stop => None,
            Prepared::Start(task) => {
                let (flush, flushes) = mpsc::channel(1);
                let running = Running {
                    settings: task.settings.clone(),
                    resource: task.resource.clone(),
                    flush,
                };
                tokio::spawn(task.run(flushes));
                Some(running)
            }
        };
        *self.running() = running;
    }

    /// Pushes once more, and waits until it is done or has failed.
    pub(crate) async fn flush(&self) {
        let flush = self.running().as_ref().map(|running| running.flush.clone());
        let Some(flush) = flush else { return };
        let (done, wait) = oneshot::channel();
        if flush.send(done).await.is_ok() {
            // The task may have ended in between: then there is nothing to wait for.
            let _ = wait.await;
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What pushes to one collector.
pub(crate) struct Task {
    client: Client,
    headers: HeaderMap,
    settings: settings::Metrics,
    resource: Resource,
    registry: Metrics,
    /// The last push failed.
    failing: bool,
}

impl Task {
    async fn run(mut self: Box<Self>, mut flushes: mpsc::Receiver<oneshot::Sender<()>>) {
        let interval = Duration::from_millis(self.settings.interval_ms.max(1));
        let mut tick = interval_at(Instant::now() + interval, interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let done = tokio::select! {
                flush = flushes.recv() => match flush {
                    Some(done) => Some(done),
                    None => return,
                },
                _ = tick.tick() => None,
            };
            self.push().await;
            if let Some(done) = done {
                // Who asked may have gone.
                let _ = done.send(());
            }
        }
    }

    async fn push(&mut self) {
        let pushed = match self.request() {
            Ok(request) => match timeout(TIMEOUT, self.client.send(request, &self.headers)).await {
                Ok(sent) => sent,
                Err(_) => Err("no answer".to_owned()),
            },
            Err(reason) => Err(reason),
        };
        let failed = pushed.is_err();
        match pushed {
            Ok(()) => self.registry.pushes.inc(),
            Err(reason) => {
                // Once for each outage; the metric counts on.
                if !self.failing {
                    tracing::warn!(reason, "the collector does not take metrics");
                }
                self.registry.pushes_failed.inc()
            }
        };
        self.failing = failed;
    }

    fn request(&self) -> Result<ExportMetricsServiceRequest, String> {
        let text = self.registry.text().map_err(|error| error.to_string())?;
        let period = Period {
            start: self.registry.started(),
            now: SystemTime::now(),
        };
        let scope = InstrumentationScope {
            name: "postern".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        Ok(ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(self.resource.clone()),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope),
                    metrics: otlp::metrics(&text, period).map_err(|error| error.to_string())?,
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            }],
        })
    }
}

enum Client {
    Grpc(MetricsServiceClient<Channel>),
    Http {
        client: Box<collector::Client>,
        url: String,
    },
}

impl Client {
    fn new(settings: &settings::Metrics) -> Result<Self, String> {
        match settings.protocol {
            OtlpProtocol::Grpc => {
                let channel = collector::grpc(&settings.endpoint)?;
                Ok(Self::Grpc(MetricsServiceClient::new(channel)))
            }
            OtlpProtocol::Http => Ok(Self::Http {
                client: Box::new(collector::http(&settings.endpoint)?),
                url: collector::path(&settings.endpoint, "metrics"),
            }),
        }
    }

    async fn send(
        &mut self,
        request: ExportMetricsServiceRequest,
        headers: &HeaderMap,
    ) -> Result<(), String> {
        let answer = match self {
            Self::Grpc(client) => {
                let mut request = tonic::Request::new(request);
                *request.metadata_mut() = MetadataMap::from_headers(headers.clone());
                let answer = client.export(request).await;
                answer.map_err(|status| status.to_string())?.into_inner()
            }
            Self::Http { client, url } => {
                let mut request = Request::post(url.as_str())
                    .header("content-type", "application/x-protobuf")
                    .body(Bytes::from(request.encode_to_vec()))
                    .map_err(|error| error.to_string())?;
                request.headers_mut().extend(headers.clone());
                let sent = client.send_bytes(request).await;
                let answer = sent.and_then(ResponseExt::error_for_status);
                let answer = answer.map_err(|error| error.to_string())?;
                // An empty answer is a whole one; what is no message says nothing against it.
                ExportMetricsServiceResponse::decode(answer.into_body()).unwrap_or_default()
            }
        };
        match answer.partial_success {
            Some(partial) if partial.rejected_data_points > 0 => Err(format!(
                "{} values refused: {}",
                partial.rejected_data_points, partial.error_message
            )),
            _ => Ok(()),
        }
    }
}
