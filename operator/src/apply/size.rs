//! Whose snapshot it is that does not fit: what its platform team must know to mend it.
//!
//! In goes a snapshot; out come the namespaces that take most of it.

use postern_config::Snapshot;
use postern_config::chunks::{Part, canonical_json};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Namespaces that are named.
const NAMED: usize = 3;

/// The namespaces that take most of a part, with their octets before compression: `namespace acme
/// (5400000 bytes), namespace shop (1200 bytes)`.
pub(super) fn most(part: Part, snapshot: &Snapshot) -> String {
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    match part {
        Part::Config => {
            for route in &snapshot.config.routes {
                *sizes.entry(&route.namespace).or_default() += canonical_json(route).len();
            }
        }
        Part::Keys => {
            for (id, pair) in &snapshot.keys.certificates {
                *sizes.entry(namespace(id)).or_default() +=
                    pair.chain_pem.len() + pair.key_pem.len();
            }
            for (id, login) in &snapshot.keys.credentials {
                *sizes.entry(namespace(id)).or_default() +=
                    login.username.len() + login.password.len();
            }
        }
    }
    let mut sizes: Vec<_> = sizes.into_iter().collect();
    sizes.sort_by_key(|(namespace, size)| (Reverse(*size), *namespace));
    let named = sizes.iter().take(NAMED);
    let named = named.map(|(namespace, size)| format!("namespace {namespace} ({size} bytes)"));
    named.collect::<Vec<_>>().join(", ")
}

/// Ids of certificates and logins begin with `namespace/`.
fn namespace(id: &str) -> &str {
    id.split('/').next().unwrap_or(id)
}
