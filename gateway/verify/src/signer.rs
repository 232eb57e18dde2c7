//! Signs messages for the tests and benches of DKIM and ARC, with any tags one likes.
//!
//! A message and tags go in; the message with a field on top comes out. The canonical forms are the
//! crate's own, so what they are worth is shown by the published vectors and by mail-auth's signer,
//! not by this one.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "for tests: a panic is how they fail"
)]

use crate::dkim::{BodyHashes, BodyKey, LineEnd, canonicalize, canonicalize_own};
use crate::message::Message;
use crate::tags::TagList;
use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A key; its record belongs at any name.
pub struct Signer(Key);

enum Key {
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl Signer {
    /// An Ed25519 key that is the same for every run.
    #[must_use]
    pub fn new(seed: u8) -> Self {
        Self(Key::Ed25519(
            Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap(),
        ))
    }

    /// A new RSA key of 4,096 bits: the largest that is tried.
    #[must_use]
    pub fn rsa_4096() -> Self {
        Self(Key::Rsa(RsaKeyPair::generate(KeySize::Rsa4096).unwrap()))
    }

    /// `k=` and `p=`.
    #[must_use]
    pub fn record(&self) -> String {
        match &self.0 {
            Key::Ed25519(key) => format!("k=ed25519; p={}", STANDARD.encode(key.public_key())),
            Key::Rsa(key) => format!("k=rsa; p={}", STANDARD.encode(key.public_key())),
        }
    }

    /// `a=`.
    pub(crate) fn algorithm(&self) -> &'static str {
        match self.0 {
            Key::Ed25519(_) => "ed25519-sha256",
            Key::Rsa(_) => "rsa-sha256",
        }
    }

    fn sign(&self, text: &[u8]) -> String {
        match &self.0 {
            Key::Ed25519(key) => STANDARD.encode(key.sign(digest::digest(&SHA256, text).as_ref())),
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                let random = SystemRandom::new();
                key.sign(&RSA_PKCS1_SHA256, &random, text, &mut signature)
                    .unwrap();
                STANDARD.encode(signature)
            }
        }
    }

    /// Puts `name: tags; bh=...; b=...` on top; `tags` has at least `h=`. Its `c=` and `l=` are
    /// heeded, a `bh=` of its own is kept.
    #[must_use]
    pub fn dkim(&self, raw: &str, name: &str, tags: &str) -> String {
        let message = Message::parse(raw.as_bytes()).unwrap();
        let list = TagList::parse(tags.as_bytes()).unwrap();
        let c = String::from_utf8_lossy(list.get("c").unwrap_or(b"simple/simple")).into_owned();
        let (header, body) = c.split_once('/').unwrap_or((&c, "simple"));
        let length = list
            .get("l")
            .and_then(|l| std::str::from_utf8(l).ok()?.parse().ok());
        let key = BodyKey {
            relaxed: body == "relaxed",
            length,
        };
        let hashes = BodyHashes::compute(message.body(), [key]);
        let bh = match list.get("bh") {
            Some(_) => String::new(),
            None => format!(
                "; bh={}",
                hashes
                    .get(key)
                    .map(|hash| STANDARD.encode(hash.as_bytes()))
                    .unwrap_or_default()
            ),
        };
        let signed = list
            .get("h")
            .unwrap()
            .split(|octet| *octet == b':')
            .map(<[u8]>::trim_ascii);
        let mut text = Vec::new();
        let relaxed = header == "relaxed";
        crate::dkim::canonicalize_signed(&message, None, signed, relaxed, &mut text);
        self.put(raw, name, &format!("{tags}{bh}"), relaxed, text)
    }

    /// Puts an ARC set on top, selector `s`; `cv` is that of the seal.
    #[must_use]
    pub fn arc(&self, raw: &str, instance: usize, domain: &str, cv: &str) -> String {
        let tags = format!("i={instance}; a={}; d={domain}; s=s", self.algorithm());
        let h = "h=from:to:subject:dkim-signature";
        let results = format!(
            "ARC-Authentication-Results: i={instance}; {domain}; spf=pass; dmarc=pass\r\n{raw}"
        );
        let signed = self.dkim(
            &results,
            "ARC-Message-Signature",
            &format!("{tags}; c=relaxed/relaxed; {h}"),
        );
        self.seal(&signed, instance, &format!("{tags}; cv={cv}"))
    }

    /// Puts an ARC-Seal on top that covers the sets up to `instance`.
    #[must_use]
    pub fn seal(&self, raw: &str, instance: usize, tags: &str) -> String {
        let message = Message::parse(raw.as_bytes()).unwrap();
        let mut text = Vec::new();
        for number in 1..=instance {
            for name in [
                "ARC-Authentication-Results",
                "ARC-Message-Signature",
                "ARC-Seal",
            ] {
                let of_instance = |value: &[u8]| {
                    let value = String::from_utf8_lossy(value).replace(' ', "");
                    value.starts_with(&format!("i={number};"))
                };
                let field = message
                    .fields_named(name)
                    .find(|field| of_instance(field.value));
                if let Some(field) = field {
                    canonicalize(field, true, LineEnd::Keep, &mut text);
                }
            }
        }
        self.put(raw, "ARC-Seal", tags, true, text)
    }

    fn put(&self, raw: &str, name: &str, tags: &str, relaxed: bool, mut text: Vec<u8>) -> String {
        let unsigned = format!("{name}: {tags}; b=");
        let field = format!("{unsigned}\r\n\r\n");
        let own = Message::parse(field.as_bytes()).unwrap();
        let own = own.fields()[0];
        let b = TagList::parse(own.value).unwrap().raw_range("b").unwrap();
        canonicalize_own(&own, &b, relaxed, &mut text);
        format!("{unsigned}{}\r\n{raw}", self.sign(&text))
    }
}
