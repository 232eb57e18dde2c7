//! The names, labels and annotations by which the objects of a gateway are known: one place for
//! those who render them, those who write them and those who watch them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use postern_config::chunks::sha256_hex;
use postern_crds::MailGateway;
use std::collections::BTreeMap;

use crate::world::ObjectKey;

/// Label on every object of a gateway: the gateway's name, cut and hashed where it is too long for
/// a label. Service, PodDisruptionBudget and NetworkPolicy select pods by it alone.
pub const GATEWAY: &str = "postern.dev/gateway";
/// Label on every object of a gateway: the gateway's uid, so that one of the same name that came
/// later does not take over what belonged to its forerunner.
pub const GATEWAY_UID: &str = "postern.dev/gateway-uid";
/// Label on generated Secrets: the uid of the object that they serve.
pub const GENERATED_FOR: &str = "postern.dev/generated-for";
/// Annotation on everything that is written: `<namespace>/<release>` of the installation.
pub const INSTALLATION: &str = "postern.dev/installation";
/// The recommended label that says who manages an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`], and the field manager of every write.
pub const MANAGER: &str = "postern";
/// The suffix of the head ConfigMap's name.
pub const HEAD: &str = "head";
/// The type of the Secrets that hold the keys of a snapshot.
pub const SNAPSHOT_SECRET_TYPE: &str = "postern.dev/snapshot";

/// Prefix of labels and annotations that nobody else may set.
pub const RESERVED_PREFIX: &str = "postern.dev/";

/// Longest gateway part of a name: with `postern-` and the longest suffix it is a DNS label.
const NAME_PART: usize = 40;
/// Longest value of a label.
const LABEL_VALUE: usize = 63;
/// Hex digits of the hash that keeps cut names apart.
const HASH_DIGITS: usize = 8;

/// The name of ServiceAccount, Role, RoleBinding, Deployment, Service, PodDisruptionBudget and
/// NetworkPolicy of a gateway: `postern-<gateway>`, a DNS label of at most 48 characters.
#[must_use]
pub fn base(gateway: &str) -> String {
    format!("postern-{}", dns_label(gateway, NAME_PART))
}

/// The name of a snapshot object: `suffix` is [`HEAD`] or
/// [`chunk_name`](postern_config::chunks::chunk_name).
#[must_use]
pub fn snapshot_object(gateway: &str, suffix: &str) -> String {
    format!("{}-{suffix}", base(gateway))
}

/// The Secret of a generated self-signed pair. The host name is part of it by hash, so that
/// another host name is another pair.
#[must_use]
pub fn self_signed(gateway: &ObjectKey, hostname: &str) -> ObjectKey {
    let name = format!("{}-tls-{}", base(&gateway.name), short_hash(hostname));
    ObjectKey::new(&gateway.namespace, name)
}

/// The value of [`GATEWAY`] for a gateway of that name.
#[must_use]
pub fn gateway_label(gateway: &str) -> String {
    if gateway.len() <= LABEL_VALUE && !ends_in_hash(gateway) {
        gateway.to_owned()
    } else {
        dns_label(gateway, LABEL_VALUE)
    }
}

/// The labels that select the pods of a gateway.
#[must_use]
pub fn selector(gateway: &str) -> BTreeMap<String, String> {
    [(GATEWAY.to_owned(), gateway_label(gateway))].into()
}

/// Labels of every object of a gateway. An object from a file has no uid, and no label for it.
#[must_use]
pub fn labels(gateway: &MailGateway) -> BTreeMap<String, String> {
    let meta = gateway.meta();
    let mut labels = selector(meta.name.as_deref().unwrap_or_default());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if let Some(uid) = &meta.uid {
        labels.insert(GATEWAY_UID.to_owned(), uid.clone());
    }
    labels
}

/// Annotations of every object that an installation writes.
#[must_use]
pub fn annotations(installation: &ObjectKey) -> BTreeMap<String, String> {
    [(INSTALLATION.to_owned(), installation.to_string())].into()
}

/// The owner reference by which an object goes with its gateway; `None` for a gateway from a file.
#[must_use]
pub fn owner(gateway: &MailGateway) -> Option<OwnerReference> {
    gateway.controller_owner_ref(&())
}

/// Labels of a Secret that is generated for a gateway.
#[must_use]
pub fn generated_labels(gateway: &MailGateway) -> BTreeMap<String, String> {
    let mut labels = labels(gateway);
    if let Some(uid) = &gateway.meta().uid {
        labels.insert(GENERATED_FOR.to_owned(), uid.clone());
    }
    labels
}

/// The metadata of a gateway's object of that name.
#[must_use]
pub fn metadata(gateway: &MailGateway, installation: &ObjectKey, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: gateway.meta().namespace.clone(),
        labels: Some(labels(gateway)),
        annotations: Some(annotations(installation)),
        owner_references: owner(gateway).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

/// A DNS label of at most `limit` characters. A name that is too long, or has dots, is told apart
/// from its like by a hash of the whole; and one that looks as if it had such a hash gets one too,
/// so that nobody can name a gateway as another's objects are named.
fn dns_label(name: &str, limit: usize) -> String {
    if name.len() <= limit && !name.contains('.') && !ends_in_hash(name) {
        return name.to_owned();
    }
    let kept: String = name
        .replace('.', "-")
        .chars()
        .take(limit - HASH_DIGITS - 1)
        .collect();
    format!("{}-{}", kept.trim_end_matches('-'), short_hash(name))
}

fn ends_in_hash(name: &str) -> bool {
    name.rsplit_once('-').is_some_and(|(_, last)| {
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        last.len() == HASH_DIGITS && last.bytes().all(is_hex)
    })
}

fn short_hash(text: &str) -> String {
    sha256_hex(text.as_bytes(), HASH_DIGITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_gateway_can_be_named_as_the_objects_of_another() {
        let long = "a-gateway-whose-name-is-much-too-long-for-a-label-".repeat(2);
        let dotted = "edge.eu";
        for victim in [&*long, dotted] {
            for derived in [base, gateway_label] {
                let taken = derived(victim);
                if taken == victim {
                    continue;
                }
                let forged = taken.strip_prefix("postern-").unwrap_or(&taken);
                assert_ne!(derived(forged), taken, "{victim}");
            }
        }
        assert_ne!(base("edge.eu"), base("edge-eu"));
        assert_eq!(base("edge"), "postern-edge");
        assert_eq!(gateway_label("edge.eu"), "edge.eu");
    }

    #[test]
    fn every_name_fits() {
        for gateway in ["e", &"x".repeat(253), &"a.".repeat(126), &"a-".repeat(100)] {
            let longest = self_signed(&ObjectKey::new("mail", gateway), "mx").name;
            let chunk = snapshot_object(gateway, "config-a-0");
            for name in [longest, chunk, base(gateway), gateway_label(gateway)] {
                assert!(name.len() <= 63, "{name}");
                assert!(!name.ends_with('-'), "{name}");
            }
        }
    }
}
