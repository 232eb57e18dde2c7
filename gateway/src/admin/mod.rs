//! The admin port: `/livez`, `/readyz`, `/configz`, `/metrics`. Read-only, without any value of the
//! configuration.

use crate::server::Shared;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use postern_config::configz::{Configz, MAX_BACKENDS, PATH};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::TcpListener;

/// The media type of OpenMetrics' text format.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether traffic is wanted.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    applied: AtomicBool,
    closing: AtomicBool,
}

impl Readiness {
    /// A snapshot is in use and its listeners are open.
    pub(crate) fn applied(&self) {
        self.applied.store(true, Ordering::Release);
    }

    /// The listeners are about to close.
    pub(crate) fn closing(&self) {
        self.closing.store(true, Ordering::Release);
    }
}

#[derive(Clone)]
struct Context {
    shared: Arc<Shared>,
    readiness: Arc<Readiness>,
}

/// Serves the admin port until dropped.
pub(crate) async fn serve(socket: TcpListener, shared: Arc<Shared>, readiness: Arc<Readiness>) {
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route(PATH, get(show_configz))
        .route("/metrics", get(metrics))
        .with_state(Context { shared, readiness });
    if let Err(error) = axum::serve(socket, router).await {
        tracing::error!(%error, "the admin port has ended");
    }
}

/// The JSON of `/configz`.
pub(crate) fn configz(shared: &Shared) -> Configz {
    let (applied, rejected) = shared.state.report();
    let backends = shared.environment.deliveries.misconfigured();
    Configz {
        applied,
        rejected,
        backends: backends.into_iter().take(MAX_BACKENDS).collect(),
    }
}

async fn readyz(State(context): State<Context>) -> (StatusCode, &'static str) {
    let Readiness { applied, closing } = &*context.readiness;
    if closing.load(Ordering::Acquire) {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n");
    }
    if !applied.load(Ordering::Acquire) {
        return (StatusCode::SERVICE_UNAVAILABLE, "no snapshot yet\n");
    }
    (StatusCode::OK, "ok\n")
}

async fn show_configz(State(context): State<Context>) -> Response {
    match serde_json::to_string(&configz(&context.shared)) {
        Ok(json) => ([(CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn metrics(State(context): State<Context>) -> Response {
    match context.shared.metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
