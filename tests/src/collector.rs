//! An OpenTelemetry collector that keeps what it is sent: OTLP over gRPC or HTTP, in clear or
//! under TLS, decoded with the messages of the protocol itself.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message as _;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tonic::codegen::Service as _;
use tonic::{Response as Reply, Status};

use crate::wait::eventually;

/// The form of OTLP that it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/2 with gRPC.
    Grpc,
    /// HTTP/1.1 with protobuf.
    Http,
}

/// Everything that came, in its order.
#[derive(Debug, Default)]
struct Received {
    metrics: Vec<ExportMetricsServiceRequest>,
    /// Of the last request with metrics.
    headers: HeaderMap,
    traces: Vec<ExportTraceServiceRequest>,
}

/// A running collector. Dropping it closes its port; open connections end with the runtime.
#[derive(Debug)]
pub struct Collector {
    protocol: Protocol,
    address: SocketAddr,
    authority: Option<String>,
    received: Arc<Mutex<Received>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Collector {
    /// Starts it on a port of 127.0.0.1; under TLS with a certificate of its own authority.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start(protocol: Protocol, tls: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Received::default()));
        let (acceptor, authority) = match tls {
            true => {
                let (config, authority) = certificate(protocol);
                (Some(TlsAcceptor::from(Arc::new(config))), Some(authority))
            }
            false => (None, None),
        };
        let kept = Arc::clone(&received);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, acceptor) = (Arc::clone(&kept), acceptor.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(protocol, stream, kept).await,
                        Some(acceptor) => {
                            // Of a handshake that failed the client says what was wrong.
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(protocol, stream, kept).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            protocol,
            address,
            authority,
            received,
            accepting,
        }
    }

    /// `{endpoint: ..., protocol: ...` for `spec.telemetry`, without the closing brace.
    #[must_use]
    pub fn spec(&self) -> String {
        let scheme = if self.authority.is_some() {
            "https"
        } else {
            "http"
        };
        let protocol = match self.protocol {
            Protocol::Grpc => "grpc",
            Protocol::Http => "http",
        };
        let port = self.address.port();
        format!("{{endpoint: \"{scheme}://localhost:{port}\", protocol: {protocol}")
    }

    /// The PEM certificate of its authority.
    ///
    /// # Panics
    /// When it was started without TLS.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.authority.as_deref().expect("started with TLS")
    }

    /// The last request with metrics, once there is one.
    ///
    /// # Panics
    /// When none comes within 20 s.
    pub async fn metrics(&self) -> ExportMetricsServiceRequest {
        eventually(Duration::from_secs(20), async || {
            let last = self.received.lock().unwrap().metrics.last().cloned();
            last.ok_or("no metrics came".to_owned())
        })
        .await
    }

    /// A header of the last request with metrics.
    ///
    /// # Panics
    /// When it is no text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let received = self.received.lock().unwrap();
        let value = received.headers.get(name)?;
        Some(value.to_str().unwrap().to_owned())
    }

    /// The names of all spans that came.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn spans(&self) -> Vec<String> {
        let received = self.received.lock().unwrap();
        let requests = received.traces.iter();
        let scopes = requests
            .flat_map(|request| &request.resource_spans)
            .flat_map(|resource| &resource.scope_spans);
        let spans = scopes.flat_map(|scope| &scope.spans);
        spans.map(|span| span.name.clone()).collect()
    }
}

fn certificate(protocol: Protocol) -> (ServerConfig, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let chain = vec![made.cert.der().clone()];
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    if protocol == Protocol::Grpc {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    (config, made.cert.pem())
}

async fn serve<S>(protocol: Protocol, stream: S, received: Arc<Mutex<Received>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    // A client may leave at any time.
    match protocol {
        Protocol::Grpc => {
            let services = Keeps(received);
            let service = service_fn(move |request| grpc(services.clone(), request));
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(io, service)
                .await;
        }
        Protocol::Http => {
            let service = service_fn(move |request| http(Arc::clone(&received), request));
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(io, service)
                .await;
        }
    }
}

#[derive(Debug, Clone)]
struct Keeps(Arc<Mutex<Received>>);

#[tonic::async_trait]
impl MetricsService for Keeps {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<Reply<ExportMetricsServiceResponse>, Status> {
        let mut received = self.0.lock().unwrap();
        received.headers = request.metadata().clone().into_headers();
        received.metrics.push(request.into_inner());
        Ok(Reply::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl TraceService for Keeps {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<Reply<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().traces.push(request.into_inner());
        Ok(Reply::new(ExportTraceServiceResponse::default()))
    }
}

async fn grpc(
    keeps: Keeps,
    request: Request<Incoming>,
) -> Result<Response<tonic::body::Body>, Infallible> {
    if request.uri().path().contains("TraceService") {
        TraceServiceServer::new(keeps).call(request).await
    } else {
        MetricsServiceServer::new(keeps).call(request).await
    }
}

async fn http(
    received: Arc<Mutex<Received>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let headers = request.headers().clone();
    let body = request.into_body().collect().await?.to_bytes();
    let form = headers.get("content-type");
    let protobuf = form.is_some_and(|form| form == "application/x-protobuf");
    let mut received = received.lock().unwrap();
    let taken = match path.as_str() {
        "/v1/metrics" if protobuf => ExportMetricsServiceRequest::decode(body)
            .map(|request| {
                received.headers = headers;
                received.metrics.push(request);
            })
            .is_ok(),
        "/v1/traces" if protobuf => ExportTraceServiceRequest::decode(body)
            .map(|request| received.traces.push(request))
            .is_ok(),
        _ => false,
    };
    let mut response = Response::new(Full::default());
    if !taken {
        *response.status_mut() = StatusCode::BAD_REQUEST;
    }
    Ok(response)
}
