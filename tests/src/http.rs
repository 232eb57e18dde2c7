//! Plain HTTP GET, for the admin and query ports of what a test has started.

use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// A server that a test has started answers at once or is in trouble.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The status code and body of `GET url`. Only `http://` is spoken.
///
/// # Errors
/// Whatever kept a whole answer from coming within 10 s, as text.
pub async fn get(url: &str) -> Result<(u16, String), String> {
    let uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let exchange = async {
        let response = client
            .get(uri)
            .await
            .map_err(|error| format!("{url}: {error}"))?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await;
        let body = body.map_err(|error| format!("{url}: {error}"))?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    tokio::time::timeout(TIMEOUT, exchange)
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
