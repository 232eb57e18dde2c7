//! A DKIM key (RFC 6376, RSA of 2048 bits): signs mails, and says the TXT record that publishes it.

use crate::Error;
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_auth::common::crypto::{RsaKey, Sha256};
use mail_auth::common::headers::HeaderWriter as _;
use mail_auth::dkim::{DkimSigner, Done};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// The selector under which the key is published.
pub const SELECTOR: &str = "s1";
/// The fields that a signature covers.
const HEADERS: [&str; 5] = ["From", "To", "Subject", "Date", "Message-ID"];
/// A string of a TXT record holds 255 octets (RFC 1035 §3.3.14).
const STRING: usize = 250;

/// A key of one domain.
pub struct Signer {
    domain: String,
    record: String,
    signer: DkimSigner<RsaKey<Sha256>, Done>,
}

impl Signer {
    /// Generates a key for `domain`.
    ///
    /// # Errors
    /// When the crypto library cannot make one.
    pub fn generate(domain: &str) -> Result<Self, Error> {
        let fail = |why: &dyn std::fmt::Display| Error::failed("DKIM key", why);
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|e| fail(&e))?;
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|e| fail(&e))?;
        let record = format!("v=DKIM1; k=rsa; p={}", STANDARD.encode(public.as_ref()));
        let private: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().map_err(|e| fail(&e))?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(private.as_ref().to_vec()));
        let key = RsaKey::<Sha256>::from_key_der(private).map_err(|e| fail(&e))?;
        let signer = DkimSigner::from_key(key)
            .domain(domain)
            .selector(SELECTOR)
            .headers(HEADERS);
        Ok(Self {
            domain: domain.to_owned(),
            record,
            signer,
        })
    }

    /// The line of a zone file that publishes the key.
    #[must_use]
    pub fn zone_line(&self) -> String {
        let strings: Vec<String> = self
            .record
            .as_bytes()
            .chunks(STRING)
            .map(|part| format!("\"{}\"", String::from_utf8_lossy(part)))
            .collect();
        format!(
            "{SELECTOR}._domainkey.{}. IN TXT {}\n",
            self.domain,
            strings.join(" ")
        )
    }

    /// The message with a DKIM-Signature in front.
    ///
    /// # Errors
    /// When the message has none of the fields that are signed.
    pub fn sign(&self, message: &str) -> Result<String, Error> {
        let signature = self
            .signer
            .sign(message.as_bytes())
            .map_err(|e| Error::failed("DKIM signature", e))?;
        Ok(format!("{}{message}", signature.to_header()))
    }
}
