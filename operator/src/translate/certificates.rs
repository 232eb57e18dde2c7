//! The certificates of a listener.
//!
//! In goes a listener's `tls`; out come the pairs that it is served with, or why it cannot be
//! served, and when that would change by itself. What is safe decides:
//!
//! - A pair that parses and fits together is used, expired or not: to other mail servers an
//!   expired certificate still gives an encrypted connection, none gives a plain one. Pairs that
//!   are valid now come first. Status names those that are not.
//! - A Secret that vanished or broke does not take TLS away: the pair that the gateway runs is
//!   kept for as long as the reference itself is permitted. Without the ReferenceGrant it is
//!   dropped at once.
//! - One that ends soon (in a tenth of its life, at most a week: whoever renews it should long have
//!   done so) is told, and stands against nothing.
//! - Without any pair, `Required` is not served at all: senders cannot connect and try again
//!   later. `Opportunistic` is served without STARTTLS, since it asks for encryption where it can
//!   be had. A self-signed pair that is still being made is waited for in both.

use super::grants::Referrer;
use super::input::Input;
use super::status::{Problem, reason};
use crate::names;
use crate::translation::{Generate, GenerateKind};
use crate::world::{ObjectKey, SecretType};
use jiff::{SignedDuration, Timestamp};
use postern_config::chunks::sha256_hex;
use postern_config::{CertificateKey, listener as config};
use postern_crds::MailGateway;
use postern_crds::common::SecretReference;
use postern_crds::mail_gateway::{Tls, TlsMode, TlsVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::BTreeMap;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A certificate that ends within this time ends soon, whatever its life.
const ENDS_SOON: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How a listener is served.
#[derive(Debug, PartialEq)]
pub(super) enum Service {
    /// With TLS.
    Tls(config::Tls),
    /// Without, because the spec says so or because there is no certificate for `Opportunistic`.
    Clear,
    /// Not at all: there is no certificate yet.
    NotServed,
}

/// A listener's service, and what there is to say of its references.
pub(super) struct Served {
    pub(super) service: Service,
    /// What is wrong.
    pub(super) references: Vec<Problem>,
    /// Certificates that end soon.
    pub(super) expiring: Vec<String>,
}

impl Served {
    fn without_pairs((service, references): (Service, Vec<Problem>)) -> Self {
        Self {
            service,
            references,
            expiring: Vec::new(),
        }
    }
}

/// What the listeners of one gateway need, gathered over all of them.
#[derive(Default)]
pub(super) struct Pairs {
    /// By the ids that listeners name.
    pub(super) keys: BTreeMap<String, CertificateKey>,
    /// Pairs that must be made first.
    pub(super) generate: Vec<Generate>,
    /// Generated pairs that are needed, made or not.
    pub(super) generated: Vec<ObjectKey>,
    /// When a pair begins or ends to be valid, if that is still to come.
    pub(super) changes: Option<Timestamp>,
}

/// The gateway whose listeners are served.
pub(super) struct Owner<'a> {
    pub(super) key: ObjectKey,
    pub(super) object: &'a MailGateway,
}

/// A pair that can be served.
struct Pair {
    id: String,
    key: CertificateKey,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// Decides how a listener is served; its pairs are added to `pairs`.
pub(super) fn serve(
    input: &Input<'_>,
    owner: &Owner<'_>,
    tls: Option<&Tls>,
    pairs: &mut Pairs,
) -> Served {
    let Some((tls, mode)) = tls.and_then(|tls| Some((tls, mode_of(tls.mode)?))) else {
        return Served::without_pairs((Service::Clear, Vec::new()));
    };
    let mut problems = Vec::new();
    let found = if tls.self_signed.is_some() {
        match self_signed(input, owner, pairs) {
            Ok(pair) => vec![pair],
            Err(problem) => {
                return Served::without_pairs((Service::NotServed, vec![problem]));
            }
        }
    } else {
        referred(input, owner, &tls.certificate_refs, &mut problems)
    };
    if found.is_empty() {
        return Served::without_pairs(without(mode, problems));
    }
    let min_version = match tls.min_version.unwrap_or_default() {
        TlsVersion::V1_2 => config::TlsVersion::V1_2,
        TlsVersion::V1_3 => config::TlsVersion::V1_3,
    };
    let now = input.world.now;
    let expiring = found
        .iter()
        .filter_map(|pair| ends_soon(pair, now))
        .collect();
    let certificates = use_pairs(now, found, pairs, &mut problems);
    let service = config::Tls {
        mode,
        min_version,
        certificates,
    };
    Served {
        service: Service::Tls(service),
        references: problems,
        expiring,
    }
}

fn mode_of(mode: TlsMode) -> Option<config::TlsMode> {
    match mode {
        TlsMode::Disabled => None,
        TlsMode::Opportunistic => Some(config::TlsMode::Opportunistic),
        TlsMode::Required => Some(config::TlsMode::Required),
        TlsMode::Implicit => Some(config::TlsMode::Implicit),
    }
}

/// No pair at all: see the module's rules.
fn without(mode: config::TlsMode, mut problems: Vec<Problem>) -> (Service, Vec<Problem>) {
    let (service, consequence) = match mode {
        config::TlsMode::Opportunistic => (
            Service::Clear,
            "until then the listener is served without STARTTLS",
        ),
        config::TlsMode::Required | config::TlsMode::Implicit => (
            Service::NotServed,
            "until then the listener is not served: TLS is required",
        ),
    };
    problems.push(Problem::new(reason::INVALID_CERTIFICATE_REF, consequence));
    (service, problems)
}

/// The ids of the pairs, those that are valid now first.
fn use_pairs(
    now: Timestamp,
    mut found: Vec<Pair>,
    pairs: &mut Pairs,
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    found.sort_by_key(|pair| !(pair.not_before <= now && now < pair.not_after));
    let mut ids = Vec::new();
    for pair in found {
        for time in [pair.not_before, ending(&pair), pair.not_after] {
            if time > now {
                pairs.changes = Some(pairs.changes.map_or(time, |next| next.min(time)));
            }
        }
        if let Some(message) = outside_validity(&pair, now) {
            problems.push(Problem::new(reason::INVALID_CERTIFICATE_REF, message));
        }
        if !ids.contains(&pair.id) {
            ids.push(pair.id.clone());
        }
        pairs.keys.insert(pair.id, pair.key);
    }
    ids
}

/// From when on a certificate ends soon.
fn ending(pair: &Pair) -> Timestamp {
    let life = pair.not_after.duration_since(pair.not_before);
    let soon = (life / 10).clamp(SignedDuration::ZERO, ENDS_SOON);
    pair.not_after
        .saturating_sub(soon)
        .unwrap_or(pair.not_after)
}

fn ends_soon(pair: &Pair, now: Timestamp) -> Option<String> {
    let secret = pair.id.split('@').next().unwrap_or_default();
    (ending(pair) <= now && now < pair.not_after).then(|| {
        format!(
            "the certificate in Secret {secret} expires at {}: renew it, or find out why it was \
             not renewed",
            pair.not_after
        )
    })
}

fn outside_validity(pair: &Pair, now: Timestamp) -> Option<String> {
    let secret = pair.id.split('@').next().unwrap_or_default();
    if now >= pair.not_after {
        return Some(format!(
            "the certificate in Secret {secret} expired at {}: renew it; until then it is served \
             as it is, and clients that verify it refuse it",
            pair.not_after
        ));
    }
    (now < pair.not_before).then(|| {
        format!(
            "the certificate in Secret {secret} is not valid before {}: until then it is served \
             as it is, and clients that verify it refuse it",
            pair.not_before
        )
    })
}

/// The pairs of the Secrets that are named.
fn referred(
    input: &Input<'_>,
    owner: &Owner<'_>,
    references: &[SecretReference],
    problems: &mut Vec<Problem>,
) -> Vec<Pair> {
    let namespace = &owner.key.namespace;
    let referrer = Referrer {
        kind: "MailGateway",
        namespace,
    };
    let mut found = Vec::new();
    for reference in references {
        let key = ObjectKey::new(reference.namespace_or(namespace), &reference.name);
        if let Err(problem) = referrer.may(input.world, "Secret", &key) {
            problems.push(problem);
            continue;
        }
        let pair = referrer
            .secret(input.world, &key, &[SecretType::Tls])
            .and_then(|secret| {
                let text = |name: &str| {
                    let value = secret.data.get(name).cloned().unwrap_or_default();
                    String::from_utf8(value).unwrap_or_default()
                };
                parse(&key.to_string(), text("tls.crt"), text("tls.key"))
            });
        match pair {
            Ok(pair) => found.push(pair),
            Err(problem) => {
                let kept = kept(input, owner, &key);
                problems.push(told(problem, kept.is_some()));
                found.extend(kept);
            }
        }
    }
    found
}

/// A certificate's problem, in the words of certificates.
fn told(problem: Problem, is_kept: bool) -> Problem {
    let reason = match problem.reason {
        reason::SECRET_NOT_FOUND => reason::INVALID_CERTIFICATE_REF,
        other => other,
    };
    let message = match is_kept {
        true => format!(
            "{}; the certificate that the gateway has is kept",
            problem.message
        ),
        false => problem.message,
    };
    Problem { reason, message }
}

/// The pair of that Secret in the snapshot that the gateway runs.
fn kept(input: &Input<'_>, owner: &Owner<'_>, secret: &ObjectKey) -> Option<Pair> {
    let current = input.world.current.get(&owner.key)?;
    let prefix = format!("{secret}@");
    let (_, kept) = current
        .keys
        .certificates
        .iter()
        .find(|(id, _)| id.starts_with(&prefix))?;
    parse(
        &secret.to_string(),
        kept.chain_pem.clone(),
        kept.key_pem.clone(),
    )
    .ok()
}

/// The gateway's self-signed pair; when there is none yet, it is asked for.
fn self_signed(input: &Input<'_>, owner: &Owner<'_>, pairs: &mut Pairs) -> Result<Pair, Problem> {
    let hostname = owner.object.spec.hostname.as_str();
    let name = names::self_signed(&owner.key, hostname);
    if !pairs.generated.contains(&name) {
        pairs.generated.push(name.clone());
    }
    if let Some(pair) = input.world.generated.get(&name) {
        return parse(
            &name.to_string(),
            pair.chain_pem.clone(),
            pair.key_pem.clone(),
        );
    }
    if !pairs.generate.iter().any(|one| one.name == name) {
        pairs.generate.push(Generate {
            labels: names::generated_labels(owner.object),
            annotations: names::annotations(&input.world.installation),
            owner: names::owner(owner.object),
            kind: GenerateKind::SelfSigned {
                hostname: hostname.to_owned(),
            },
            name,
        });
    }
    Err(Problem::new(
        reason::PENDING,
        "the self-signed certificate is being made; the listener is served as soon as it is there",
    ))
}

/// Chain and key as a pair that fits together. The id names the Secret and the leaf by its
/// SHA-256, so that a renewed certificate has another id.
fn parse(secret: &str, chain_pem: String, key_pem: String) -> Result<Pair, Problem> {
    let bad = |what: &str| {
        let message = format!("Secret {secret}: {what}");
        Problem::new(reason::INVALID_CERTIFICATE_REF, message)
    };
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(chain_pem.as_bytes()).collect();
    let chain = match chain {
        Ok(chain) if !chain.is_empty() => chain,
        _ => return Err(bad("tls.crt holds no certificate in PEM")),
    };
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
        .map_err(|_| bad("tls.key holds no private key in PEM (PKCS#8, PKCS#1 or SEC1)"))?;
    let leaf = chain
        .first()
        .cloned()
        .unwrap_or_else(|| CertificateDer::from(Vec::new()));
    let (_, certificate) = X509Certificate::from_der(&leaf)
        .map_err(|_| bad("the first certificate in tls.crt is not readable as X.509"))?;
    let time = |seconds: i64| Timestamp::from_second(seconds).unwrap_or_default();
    let validity = certificate.validity();
    let (not_before, not_after) = (
        time(validity.not_before.timestamp()),
        time(validity.not_after.timestamp()),
    );
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    rustls::sign::CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => bad("tls.key does not belong to tls.crt"),
        _ => bad("tls.key is of a kind that cannot be used: take ECDSA P-256, Ed25519 or RSA"),
    })?;
    Ok(Pair {
        id: format!("{secret}@{}", fingerprint(&leaf)),
        key: CertificateKey { chain_pem, key_pem },
        not_before,
        not_after,
    })
}

/// The first 16 hex digits of a certificate's SHA-256.
fn fingerprint(leaf: &CertificateDer<'_>) -> String {
    sha256_hex(leaf, 16)
}
