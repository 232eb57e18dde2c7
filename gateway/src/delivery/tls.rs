//! TLS towards a backend: which certificates are believed.
//!
//! The compiled [`BackendTls`] goes in when a snapshot is applied, a [`Security`] comes out whose
//! configurations are shared by all connections (and so resume sessions).

use postern_config::backend::{BackendTls, BackendTlsMode};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;

/// TLS of a backend, ready for use.
#[derive(Debug, Clone)]
pub(super) enum Security {
    /// Never.
    Clear,
    /// STARTTLS when offered, any certificate (RFC 7435).
    Opportunistic(Arc<ClientConfig>),
    /// STARTTLS, verified.
    Required(Arc<ClientConfig>),
    /// From the first octet, verified.
    Implicit(Arc<ClientConfig>),
}

impl Security {
    /// Whether the peer proves who it is, so that a password may be said to it.
    pub(super) const fn is_verified(&self) -> bool {
        matches!(self, Self::Required(_) | Self::Implicit(_))
    }
}

/// Sets TLS up.
///
/// # Errors
/// What is wrong, for people.
pub(super) fn security(tls: &BackendTls) -> Result<Security, String> {
    Ok(match tls.mode {
        BackendTlsMode::Disabled => Security::Clear,
        BackendTlsMode::Opportunistic => Security::Opportunistic(any_certificate()?),
        BackendTlsMode::Required => Security::Required(verified(&tls.ca_pem)?),
        BackendTlsMode::Implicit => Security::Implicit(verified(&tls.ca_pem)?),
    })
}

fn verified(ca_pem: &[String]) -> Result<Arc<ClientConfig>, String> {
    let roots = if ca_pem.is_empty() {
        system_roots()?
    } else {
        roots(ca_pem)?
    };
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn any_certificate() -> Result<Arc<ClientConfig>, String> {
    let provider = provider();
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn roots(ca_pem: &[String]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for pem in ca_pem {
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| format!("ca.crt is no PEM: {error}"))?;
            roots
                .add(certificate)
                .map_err(|error| format!("ca.crt cannot be used: {error}"))?;
        }
    }
    if roots.is_empty() {
        return Err("ca.crt holds no certificate".to_owned());
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("the system has no CA certificates; set tls.caRefs".to_owned());
    }
    Ok(roots)
}

/// Believes every certificate, but holds the peer to its key: without that, anybody could show
/// anybody's certificate.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if end_entity.is_empty() {
            return Err(CertificateError::BadEncoding.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
