//! Makes what [`Translation`](crate::translation::Translation) asks to be made once: key pairs.
//!
//! A kind goes in, PEM comes out. Who calls it keeps the result where `observe` reads it back: the
//! operator in a Secret, `run` in its state folder or in memory.

use crate::translation::GenerateKind;
use jiff::{Span, Timestamp, ToSpan as _};
use postern_config::CertificateKey;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

/// A self-signed pair is valid so long: nobody verifies it against a name, and a renewal would
/// only break pins.
const VALIDITY_DAYS: i32 = 3650;
/// Clocks of clients may be behind ours by so much.
const CLOCK_SKEW_HOURS: i32 = 24;

/// Why nothing could be made.
#[derive(Debug, thiserror::Error)]
#[error("no key pair could be made for {name:?}: {reason}")]
pub struct GenerateError {
    name: String,
    reason: String,
}

/// Makes one thing. `now` is the start of its validity.
///
/// # Errors
/// When the host name is no DNS name or the crypto library fails.
pub fn generate(kind: &GenerateKind, now: Timestamp) -> Result<CertificateKey, GenerateError> {
    match kind {
        GenerateKind::SelfSigned { hostname } => {
            self_signed(hostname, now).map_err(|reason| GenerateError {
                name: hostname.clone(),
                reason,
            })
        }
    }
}

/// ECDSA P-256: a handshake costs a tenth of RSA's, and every mail server of this decade takes it.
fn self_signed(hostname: &str, now: Timestamp) -> Result<CertificateKey, String> {
    let mut params =
        CertificateParams::new(vec![hostname.to_owned()]).map_err(|e| e.to_string())?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, hostname);
    params.distinguished_name = subject;
    params.not_before = date(now, -CLOCK_SKEW_HOURS.hours())?;
    params.not_after = date(now, (VALIDITY_DAYS * 24).hours())?;
    let key = KeyPair::generate().map_err(|e| e.to_string())?;
    let certificate = params.self_signed(&key).map_err(|e| e.to_string())?;
    Ok(CertificateKey {
        chain_pem: certificate.pem(),
        key_pem: key.serialize_pem(),
    })
}

fn date(now: Timestamp, offset: Span) -> Result<time::OffsetDateTime, String> {
    let at = now.checked_add(offset).map_err(|e| e.to_string())?;
    time::OffsetDateTime::from_unix_timestamp(at.as_second()).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject as _;
    use x509_parser::prelude::{FromDer as _, X509Certificate};

    #[test]
    fn a_self_signed_pair_names_the_host_and_is_valid_from_yesterday() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let kind = GenerateKind::SelfSigned {
            hostname: "mx1.acme.test".into(),
        };
        let pair = generate(&kind, now).unwrap();
        let der = CertificateDer::from_pem_slice(pair.chain_pem.as_bytes()).unwrap();
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        assert_eq!(certificate.subject().to_string(), "CN=mx1.acme.test");
        assert!(certificate.validity().not_before.timestamp() < now.as_second());
        assert!(certificate.validity().not_after.timestamp() > now.as_second() + 9 * 31_536_000);
        assert!(pair.key_pem.contains("PRIVATE KEY"));
    }

    #[test]
    fn a_name_that_is_none_is_an_error() {
        let kind = GenerateKind::SelfSigned {
            hostname: "caf\u{e9} \u{0}".into(),
        };
        let error = generate(&kind, Timestamp::UNIX_EPOCH).unwrap_err();
        assert!(error.to_string().contains("no key pair"), "{error}");
    }
}
