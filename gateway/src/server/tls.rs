//! TLS of a listener: from certificates of the snapshot to a rustls configuration.
//!
//! PEM goes in, an `Arc<ServerConfig>` comes out that chooses the certificate by SNI and by the
//! client's signature schemes (so RSA and ECDSA may stand side by side). Configurations are built
//! once per snapshot and kept when nothing about them changed; tickets are sealed by one key pair
//! per process, so that a swapped certificate does not end resumption.

use postern_config::listener::{Tls, TlsVersion};
use postern_config::{CertificateKey, Keys};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ServerConfig, version};
use std::collections::HashMap;
use std::sync::Arc;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Why a listener's TLS cannot be set up. Never holds key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The listener names a certificate that the snapshot does not have.
    #[error("listener {listener}: there is no certificate {id}")]
    Missing {
        /// The listener.
        listener: String,
        /// The certificate's id.
        id: String,
    },
    /// The certificate or its key cannot be used.
    #[error("certificate {id}: {reason}")]
    Certificate {
        /// The certificate's id.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The library refused the configuration.
    #[error("listener {listener}: {reason}")]
    Configuration {
        /// The listener.
        listener: String,
        /// What it said.
        reason: String,
    },
}

/// What all TLS configurations of a process share.
#[derive(Clone)]
pub struct TlsContext {
    provider: Arc<CryptoProvider>,
    ticketer: Option<Arc<dyn ProducesTickets>>,
}

impl TlsContext {
    /// One per process.
    #[must_use]
    pub fn new() -> Self {
        // Without a ticketer clients make full handshakes; that is slower, not wrong.
        let ticketer = provider::Ticketer::new().ok();
        let mut provider = provider::default_provider();
        // A stable sort: TLS 1.3 stays before TLS 1.2, and all else in the library's order.
        provider
            .cipher_suites
            .sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
        Self {
            provider: Arc::new(provider),
            ticketer,
        }
    }

    /// The configuration of a listener.
    ///
    /// # Errors
    /// [`TlsError`]: a certificate is missing or cannot be used.
    pub fn configuration(
        &self,
        listener: &str,
        tls: &Tls,
        keys: &Keys,
    ) -> Result<Arc<ServerConfig>, TlsError> {
        let versions: &[&'static rustls::SupportedProtocolVersion] = match tls.min_version {
            TlsVersion::V1_2 => &[&version::TLS13, &version::TLS12],
            TlsVersion::V1_3 => &[&version::TLS13],
        };
        let certificates = tls
            .certificates
            .iter()
            .map(|id| match keys.certificates.get(id) {
                Some(pair) => self.certificate(id, pair),
                None => Err(TlsError::Missing {
                    listener: listener.to_owned(),
                    id: id.clone(),
                }),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(versions)
            .map_err(|error| TlsError::Configuration {
                listener: listener.to_owned(),
                reason: error.to_string(),
            })?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ByName::new(certificates)));
        if let Some(ticketer) = &self.ticketer {
            config.ticketer = Arc::clone(ticketer);
        }
        // CPUs hash SHA-256 in hardware and SHA-384 not, and a handshake hashes much;
        // most clients name AES-256 with SHA-384 first. Both are far out of anybody's reach.
        config.ignore_client_order = true;
        // A client uses one ticket a connection; two only make the handshake longer.
        config.send_tls13_tickets = 1;
        Ok(Arc::new(config))
    }

    fn certificate(&self, id: &str, pair: &CertificateKey) -> Result<Certificate, TlsError> {
        let fail = |reason: String| TlsError::Certificate {
            id: id.to_owned(),
            reason,
        };
        let chain = CertificateDer::pem_slice_iter(pair.chain_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| fail(format!("the chain is not PEM: {error}")))?;
        let leaf = chain
            .first()
            .ok_or_else(|| fail("the chain is empty".into()))?;
        let names = names(leaf).map_err(fail)?;
        // The parser's error does not show the text that it could not read.
        let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes())
            .map_err(|error| fail(format!("the key is not PEM: {error}")))?;
        let key = CertifiedKey::from_der(chain, key, &self.provider)
            .map_err(|error| fail(format!("the key does not fit: {error}")))?;
        Ok(Certificate {
            names,
            key: Arc::new(key),
        })
    }
}

impl Default for TlsContext {
    fn default() -> Self {
        Self::new()
    }
}

struct Certificate {
    names: Vec<String>,
    key: Arc<CertifiedKey>,
}

/// The DNS names of a certificate (RFC 6125 §6.4: of the subject alternative names), lower case.
fn names(leaf: &CertificateDer<'_>) -> Result<Vec<String>, String> {
    let (_, parsed) = X509Certificate::from_der(leaf)
        .map_err(|error| format!("the leaf is no X.509 certificate: {error}"))?;
    let extension = parsed
        .subject_alternative_name()
        .map_err(|error| format!("its alternative names cannot be read: {error}"))?;
    let names = extension
        .iter()
        .flat_map(|extension| &extension.value.general_names);
    Ok(names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect())
}

/// Chooses the certificate: those whose names match the name of SNI, else all in their order; of
/// these the first that the client can verify.
#[derive(Debug)]
struct ByName {
    all: Vec<Arc<CertifiedKey>>,
    named: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

impl ByName {
    fn new(certificates: Vec<Certificate>) -> Self {
        let mut named: HashMap<String, Vec<Arc<CertifiedKey>>> = HashMap::new();
        for certificate in &certificates {
            for name in &certificate.names {
                named
                    .entry(name.clone())
                    .or_default()
                    .push(Arc::clone(&certificate.key));
            }
        }
        Self {
            all: certificates.into_iter().map(|one| one.key).collect(),
            named,
        }
    }

    /// The certificates for a name: exact, then by wildcard (one label, RFC 6125 §6.4.3).
    fn candidates(&self, name: &str) -> Option<&Vec<Arc<CertifiedKey>>> {
        let wildcard = || {
            let (_, parent) = name.split_once('.')?;
            self.named.get(&format!("*.{parent}"))
        };
        self.named.get(name).or_else(wildcard)
    }

    fn choose(&self, hello: &ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let named = name.as_deref().and_then(|name| self.candidates(name));
        let usable =
            |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        let mut candidates = named.into_iter().flatten().chain(&self.all);
        candidates.find(usable).cloned()
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(&hello)
    }
}
