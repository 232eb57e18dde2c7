//! Plain HTTP requests, for the admin and query ports of what a test has started.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::http::request::Builder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// A server that a test has started answers at once or is in trouble.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The status code and body of `GET url`. Only `http://` is spoken.
///
/// # Errors
/// Whatever kept a whole answer from coming within 10 s, as text.
pub async fn get(url: &str) -> Result<(u16, String), String> {
    exchange(url, Request::get(url), Bytes::new()).await
}

/// The status code and body of `POST url` with a JSON body.
///
/// # Errors
/// As [`get`].
pub async fn post_json(url: &str, body: &serde_json::Value) -> Result<(u16, String), String> {
    let request = Request::post(url).header("content-type", "application/json");
    exchange(url, request, Bytes::from(body.to_string())).await
}

async fn exchange(url: &str, request: Builder, body: Bytes) -> Result<(u16, String), String> {
    let text = |error: &dyn std::error::Error| format!("{url}: {error}");
    let request = request
        .body(Full::new(body))
        .map_err(|error| text(&error))?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = async {
        let response = client
            .request(request)
            .await
            .map_err(|error| text(&error))?;
        let status = response.status().as_u16();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|error| text(&error))?;
        Ok((
            status,
            String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        ))
    };
    tokio::time::timeout(TIMEOUT, answer)
        .await
        .unwrap_or_else(|_| Err(format!("{url}: no answer within {TIMEOUT:?}")))
}

/// The JSON that `GET url` answers with 200.
///
/// # Errors
/// As [`get`]; another status; a body that is not JSON.
pub async fn get_json(url: &str) -> Result<serde_json::Value, String> {
    match get(url).await? {
        (200, body) => {
            serde_json::from_str(&body).map_err(|error| format!("{url}: {error}: {body}"))
        }
        (status, body) => Err(format!("{url}: {status}: {body}")),
    }
}
