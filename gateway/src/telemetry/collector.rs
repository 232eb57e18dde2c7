//! How a collector is reached: by gRPC or by HTTP, under TLS where its URL says `https`.
//!
//! An endpoint goes in; a channel or a client comes out that connects when it is first used, and
//! verifies the collector against the system's authorities.

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_http::hyper::HyperClient;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::Duration;
use tonic::codegen::http::{HeaderMap, HeaderName, HeaderValue};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

/// A request takes no longer.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
/// Nor does a connection's beginning.
const CONNECT: Duration = Duration::from_secs(5);

/// Why a collector cannot be used at all.
#[derive(Debug, thiserror::Error)]
#[error("{field} {endpoint:?} cannot be used: {reason}")]
pub struct ExportError {
    field: &'static str,
    endpoint: String,
    reason: String,
}

impl ExportError {
    pub(crate) fn new(field: &'static str, endpoint: &str, reason: &dyn std::fmt::Display) -> Self {
        Self {
            field,
            endpoint: endpoint.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// A client of OTLP/HTTP.
pub(crate) type Client = HyperClient<HttpsConnector<HttpConnector>>;

/// A channel for OTLP/gRPC. Must be called inside a tokio runtime.
///
/// # Errors
/// What is wrong with the endpoint, or with the system's authorities.
pub(crate) fn grpc(endpoint: &str) -> Result<Channel, String> {
    let mut channel = Endpoint::from_shared(endpoint.to_owned())
        .map_err(|error| error.to_string())?
        .connect_timeout(CONNECT)
        .timeout(TIMEOUT);
    if is_https(endpoint) {
        let tls = ClientTlsConfig::new().trust_anchors(authorities()?.roots);
        channel = channel.tls_config(tls).map_err(|error| error.to_string())?;
    }
    Ok(channel.connect_lazy())
}

/// A client for OTLP/HTTP, to requests of that endpoint.
///
/// # Errors
/// What is wrong with the system's authorities.
pub(crate) fn http(endpoint: &str) -> Result<Client, String> {
    let roots = if is_https(endpoint) {
        authorities()?
    } else {
        RootCertStore::empty()
    };
    let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.set_connect_timeout(Some(CONNECT));
    // What is https is decided by the connector around it.
    tcp.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    Ok(HyperClient::new(connector, TIMEOUT, None))
}

/// The URL of a signal below an endpoint of OTLP/HTTP.
pub(crate) fn path(endpoint: &str, signal: &str) -> String {
    format!("{}/v1/{signal}", endpoint.trim_end_matches('/'))
}

/// Headers that every push of metrics carries, such as a hosted collector's key:
/// `OTEL_EXPORTER_OTLP_METRICS_HEADERS`, else `OTEL_EXPORTER_OTLP_HEADERS` (OpenTelemetry, "OTLP
/// Exporter Configuration"). For traces the exporter reads its own.
pub(crate) fn metrics_headers() -> HeaderMap {
    let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    let text = variable("OTEL_EXPORTER_OTLP_METRICS_HEADERS")
        .or_else(|| variable("OTEL_EXPORTER_OTLP_HEADERS"));
    text.map(|text| headers(&text)).unwrap_or_default()
}

/// `name=value` by commas, the values percent-encoded (W3C Baggage). What is no header is left out.
fn headers(text: &str) -> HeaderMap {
    let header = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let name: HeaderName = name.trim().parse().ok()?;
        let mut value = HeaderValue::from_bytes(&percent_decoded(value.trim())?).ok()?;
        value.set_sensitive(true);
        Some((name, value))
    };
    text.split(',').filter_map(header).collect()
}

fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut octets = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        octets.push(u8::from_str_radix(digits, 16).ok()?);
        octets.extend_from_slice(rest.as_bytes());
    }
    Some(octets)
}

fn is_https(endpoint: &str) -> bool {
    endpoint.starts_with("https://")
}

fn authorities() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("the system has no CA certificates to verify it by".to_owned());
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_percent_decoded_and_nonsense_is_left_out() {
        let given = headers("Api-Key=a%20b%3D, x=1,no header=2,broken=%2,cut,control=%0d%0a");
        let of = |name| given.get(name).map(HeaderValue::as_bytes);
        assert_eq!(of("api-key"), Some(b"a b=".as_slice()));
        assert_eq!(of("x"), Some(b"1".as_slice()));
        assert_eq!(given.len(), 2, "{given:?}");
        assert!(!format!("{given:?}").contains("a b="), "it is a secret");
    }
}
