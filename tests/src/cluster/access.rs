//! Ways into the API server: kubeconfigs and clients by certificate or by token.
//!
//! In: who one is. Out: a kubeconfig (text or file) or a [`kube::Client`]. A client
//! belongs to the runtime that made it, so every test makes its own.

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use super::pki::Pair;

/// What a kubeconfig's user is known by.
pub(super) enum Credential<'a> {
    Certificate(&'a Pair),
    Token(&'a str),
}

/// A kubeconfig for one server and one user. JSON, which every reader of YAML takes.
pub(super) fn kubeconfig(url: &str, authority: &str, credential: &Credential<'_>) -> String {
    let user = match credential {
        Credential::Certificate(pair) => serde_json::json!({
            "client-certificate-data": base64(&pair.certificate),
            "client-key-data": base64(&pair.key),
        }),
        Credential::Token(token) => serde_json::json!({ "token": token }),
    };
    let config = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "postern-tests",
        "clusters": [{
            "name": "postern-tests",
            "cluster": { "server": url, "certificate-authority-data": base64(authority) },
        }],
        "users": [{ "name": "user", "user": user }],
        "contexts": [{
            "name": "postern-tests",
            "context": { "cluster": "postern-tests", "user": "user" },
        }],
    });
    serde_json::to_string_pretty(&config).unwrap()
}

/// A client for the running runtime.
pub(super) async fn client(kubeconfig: &str) -> Client {
    let parsed = Kubeconfig::from_yaml(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(parsed, &options)
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

fn base64(text: &str) -> String {
    // The one encoder that is at hand without another dependency.
    let bytes = k8s_openapi::ByteString(text.as_bytes().to_vec());
    serde_json::to_value(bytes)
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned()
}
