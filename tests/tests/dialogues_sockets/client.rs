//! TLS as sending mail servers speak it: with any certificate.

use postern_tests::tls::{self, Signatures};
use rustls::ClientConfig;
use std::sync::Arc;

/// Other mail servers take any certificate, and so does this client.
pub(crate) fn client_config() -> Arc<ClientConfig> {
    Arc::new(tls::client_config(Signatures::Verified))
}
