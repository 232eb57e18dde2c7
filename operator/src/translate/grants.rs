//! References across namespaces: Gateway API ReferenceGrants, and the Secrets and ConfigMaps that
//! they let through.
//!
//! In go who refers and to what; out comes the object, or the problem with what to do about it.
//! Permission is judged before existence, so that nobody learns of an object that he may not
//! refer to.

use super::status::{Problem, reason};
use crate::world::{ObjectKey, Observed, Secret, SecretType, World};
use postern_crds::common::ConfigMapReference;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Who refers: an object of one of our kinds.
#[derive(Clone, Copy)]
pub(super) struct Referrer<'a> {
    /// Its kind.
    pub(super) kind: &'static str,
    /// Its namespace.
    pub(super) namespace: &'a str,
}

impl Referrer<'_> {
    /// Whether it may refer to an object of a kind of the core group: in its own namespace, or
    /// by a ReferenceGrant there.
    pub(super) fn may(&self, world: &World, kind: &str, to: &ObjectKey) -> Result<(), Problem> {
        if to.namespace == self.namespace || is_granted(world, *self, kind, to) {
            return Ok(());
        }
        let hint = match world.reference_grants {
            None => " (its CRD is not installed: install the Gateway API's CRDs first)",
            Some(_) => "",
        };
        let message = format!(
            "{kind} {to} is in another namespace: create a ReferenceGrant in namespace {} from {} \
             in namespace {} to {kind} {}{hint}",
            to.namespace, self.kind, self.namespace, to.name
        );
        Err(Problem::new(reason::REF_NOT_PERMITTED, message))
    }

    /// A Secret of one of some types.
    pub(super) fn secret<'w>(
        &self,
        world: &'w World,
        to: &ObjectKey,
        types: &[SecretType],
    ) -> Result<&'w Secret, Problem> {
        self.may(world, "Secret", to)?;
        let secret = match world.secrets.get(to) {
            Observed::Present(secret) => secret,
            Observed::Absent => {
                let message = format!("Secret {to} does not exist");
                return Err(Problem::new(reason::SECRET_NOT_FOUND, message));
            }
            Observed::NotPermitted => return Err(not_bound(world, to)),
        };
        if types.contains(&secret.secret_type) {
            return Ok(secret);
        }
        let wanted: Vec<&str> = types.iter().map(SecretType::as_str).collect();
        let message = format!(
            "Secret {to} has type {}, only {} is used here: create it anew with that type",
            secret.secret_type.as_str(),
            wanted.join(" or ")
        );
        Err(Problem::new(reason::INVALID_SECRET_TYPE, message))
    }

    /// The authorities in the key `ca.crt` of a ConfigMap, as PEM.
    pub(super) fn authorities(
        &self,
        world: &World,
        to: &ConfigMapReference,
    ) -> Result<String, Problem> {
        let key = ObjectKey::new(to.namespace_or(self.namespace), &to.name);
        self.may(world, "ConfigMap", &key)?;
        let bad = |message: String| Problem::new(reason::INVALID_CA_REF, message);
        let map = world.config_maps.get(&key);
        let map = map.ok_or_else(|| bad(format!("ConfigMap {key} does not exist")))?;
        let pem = map.data.as_ref().and_then(|data| data.get("ca.crt"));
        let pem = pem.ok_or_else(|| bad(format!("ConfigMap {key} has no key ca.crt")))?;
        let usable = trust_anchors(pem.as_bytes());
        usable.map(|()| pem.clone()).map_err(|what| {
            bad(format!(
                "ca.crt in ConfigMap {key} {what}: write the authorities' certificates there, in \
                 PEM and nothing broken among them"
            ))
        })
    }
}

/// Whether all certificates in PEM text can be trust anchors, as the gateway will make of them:
/// one that it cannot read would make it refuse its whole snapshot, which is everybody's.
fn trust_anchors(pem: &[u8]) -> Result<(), String> {
    let mut anchors = RootCertStore::empty();
    for (index, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
        let place = index + 1;
        let certificate =
            certificate.map_err(|error| format!("is broken at certificate {place} ({error})"))?;
        let added = anchors.add(certificate);
        added.map_err(|error| format!("has a certificate {place} that is none ({error})"))?;
    }
    if anchors.is_empty() {
        return Err("holds no certificate in PEM".to_owned());
    }
    Ok(())
}

/// A Secret in a namespace that the operator may not read.
fn not_bound(world: &World, to: &ObjectKey) -> Problem {
    let message = format!(
        "Secret {to} cannot be read: the operator is not bound to namespace {}; bind it with \
         `helm upgrade {} charts/postern -n {} --reuse-values --set 'secretNamespaces={{{}}}'`",
        to.namespace,
        world.installation.name,
        world.installation.namespace,
        world.secrets.permitted.and(&to.namespace)
    );
    Problem::new(reason::REF_NOT_PERMITTED, message)
}

/// Gateway API, ReferenceGrant: one entry of `from` and one of `to` in a grant of the namespace of
/// what is referred to.
fn is_granted(world: &World, from: Referrer<'_>, kind: &str, to: &ObjectKey) -> bool {
    let Some(grants) = &world.reference_grants else {
        return false;
    };
    let first = ObjectKey::new(&to.namespace, "");
    let there = grants
        .range(first..)
        .take_while(|(key, _)| key.namespace == to.namespace);
    let mut there = there.map(|(_, grant)| grant);
    there.any(|grant| {
        let by = grant.from.iter().any(|source| {
            source.group == postern_crds::GROUP
                && source.kind == from.kind
                && source.namespace == from.namespace
        });
        by && grant.to.iter().any(|target| {
            target.group.is_empty()
                && target.kind == kind
                && target.name.as_ref().is_none_or(|name| *name == to.name)
        })
    })
}
