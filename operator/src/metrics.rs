//! The operator's metrics and its admin port: `/livez`, `/readyz`, `/metrics`.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::TcpListener;

/// Which gateway.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct GatewayLabels {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What the operator counts.
#[derive(Default)]
pub struct Metrics {
    registry: Registry,
    /// Passes of the reconcile loop.
    pub passes: Counter,
    /// Seconds that a pass takes.
    pub pass_seconds: Option<Histogram>,
    /// Seconds that translate takes.
    pub translate_seconds: Option<Histogram>,
    /// Passes in which a gateway could not be applied.
    pub failures: Family<GatewayLabels, Counter>,
    /// Statuses that could not be written.
    pub status_failures: Counter,
    /// 1 on the leader.
    pub leader: Gauge,
    /// The caches are warm.
    pub ready: AtomicBool,
}

impl Metrics {
    /// All metrics at zero, registered.
    #[must_use]
    pub fn new() -> Self {
        // From 1 ms to 16 s.
        let seconds = || Histogram::new(exponential_buckets(0.001, 2.0, 15));
        let (pass, translate) = (seconds(), seconds());
        let mut metrics = Self::default();
        let registry = metrics
            .registry
            .sub_registry_with_prefix("postern_operator");
        registry.register(
            "reconcile",
            "Passes of the reconcile loop",
            metrics.passes.clone(),
        );
        registry.register(
            "reconcile_seconds",
            "Seconds that a pass takes",
            pass.clone(),
        );
        registry.register(
            "translate_seconds",
            "Seconds that translate takes",
            translate.clone(),
        );
        let failures = metrics.failures.clone();
        registry.register(
            "apply_failures",
            "Passes in which a gateway failed",
            failures,
        );
        let statuses = metrics.status_failures.clone();
        registry.register(
            "status_failures",
            "Statuses that could not be written",
            statuses,
        );
        registry.register(
            "leader",
            "1 on the replica that writes",
            metrics.leader.clone(),
        );
        metrics.pass_seconds = Some(pass);
        metrics.translate_seconds = Some(translate);
        metrics
    }
}

/// Serves the admin port until it fails.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(address: SocketAddr, metrics: Arc<Metrics>) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(text))
        .with_state(metrics);
    axum::serve(TcpListener::bind(address).await?, router).await
}

async fn readyz(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    if metrics.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the caches are not filled yet",
        )
    }
}

async fn text(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    let mut body = String::new();
    match encode(&mut body, &metrics.registry) {
        Ok(()) => (
            StatusCode::OK,
            [(
                CONTENT_TYPE,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            )],
            body,
        )
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_every_metric() {
        let document = include_str!("../../docs/telemetry.md");
        let metrics = Metrics::new();
        let mut text = String::new();
        encode(&mut text, &metrics.registry).unwrap();
        let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let names: Vec<&str> = families.filter_map(|line| line.split(' ').next()).collect();
        assert!(names.contains(&"postern_operator_leader"), "{text}");
        for name in names {
            let named = ["`", "_total`"].map(|end| document.contains(&format!("`{name}{end}")));
            assert!(named.contains(&true), "{name} is not in docs/telemetry.md");
        }
    }
}
