//! The snapshot of a gateway as it stands in the cluster: its head, and whether the set that the
//! head calls current can be booted.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client};
use postern_config::Snapshot;
use postern_config::chunks::{CHUNKS, DecodeError, Part, chunk_name};
use postern_config::head::{HEAD_KEY, Head, Set, SetHash};
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::names;
use crate::world::ObjectKey;

/// Annotation of the head: when it was written, RFC 3339. From then on 30 s must pass before the
/// previous set is overwritten under a pod that has not acknowledged.
pub const WRITTEN_AT: &str = "postern.dev/written-at";

/// A gateway's head and current set.
#[derive(Debug, Clone)]
pub struct Live {
    /// The resource version of the head's ConfigMap.
    pub head_version: String,
    /// What it says; `None` when nobody can read it.
    pub head: Option<Head>,
    /// When it was written, as far as it says so.
    pub written_at: Option<Timestamp>,
    /// The set that it calls current.
    pub current: CurrentSet,
    /// Resource versions, by kind and name, of head and current set; `None` is absent.
    pub versions: BTreeMap<(&'static str, String), Option<String>>,
}

/// Whether the current set can be booted.
#[derive(Debug, Clone)]
pub enum CurrentSet {
    /// It holds what the head says.
    Intact(Arc<Snapshot>),
    /// It holds what the head says, but this version does not understand it.
    Other,
    /// A chunk is missing or has been changed.
    Broken(String),
}

impl Live {
    /// The snapshot that pods boot, when this version understands it.
    #[must_use]
    pub fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        match &self.current {
            CurrentSet::Intact(snapshot) => Some(snapshot),
            CurrentSet::Other | CurrentSet::Broken(_) => None,
        }
    }

    /// The hash that the head calls current.
    #[must_use]
    pub fn hash(&self) -> Option<&str> {
        self.head.as_ref().map(|head| &*head.current.hash)
    }
}

/// A chunk's object: its resource version and octets.
pub(super) struct Chunk {
    pub(super) metadata: ObjectMeta,
    pub(super) octets: Vec<u8>,
}

/// Reads the objects of one gateway's snapshot.
pub(super) struct Pieces {
    config_maps: Api<ConfigMap>,
    secrets: Api<Secret>,
    gateway: String,
}

impl Pieces {
    pub(super) fn of(client: &Client, gateway: &ObjectKey) -> Self {
        Self {
            config_maps: Api::namespaced(client.clone(), &gateway.namespace),
            secrets: Api::namespaced(client.clone(), &gateway.namespace),
            gateway: gateway.name.clone(),
        }
    }

    pub(super) fn name(&self, suffix: &str) -> String {
        names::snapshot_object(&self.gateway, suffix)
    }

    /// The head's ConfigMap.
    pub(super) async fn head(&self) -> kube::Result<Option<ConfigMap>> {
        self.config_maps.get_opt(&self.name(names::HEAD)).await
    }

    /// The chunks of a set, in order; `None` where there is no object.
    pub(super) async fn chunks(&self, part: Part, set: Set) -> kube::Result<Vec<Option<Chunk>>> {
        let chunks = (0..CHUNKS).map(|index| self.chunk(part, chunk_name(part, set, index)));
        futures::future::try_join_all(chunks).await
    }

    async fn chunk(&self, part: Part, key: String) -> kube::Result<Option<Chunk>> {
        let name = self.name(&key);
        let (metadata, data) = match part {
            Part::Config => match self.config_maps.get_opt(&name).await? {
                Some(found) => (found.metadata, found.binary_data),
                None => return Ok(None),
            },
            Part::Keys => match self.secrets.get_opt(&name).await? {
                Some(found) => (found.metadata, found.data),
                None => return Ok(None),
            },
        };
        let octets = data
            .and_then(|mut data| data.remove(&key))
            .unwrap_or_default();
        Ok(Some(Chunk {
            metadata,
            octets: octets.0,
        }))
    }
}

/// Reads what a gateway has; `None` when it has no head.
///
/// # Errors
/// When the API server does not answer or refuses.
pub async fn read(client: &Client, gateway: &ObjectKey) -> kube::Result<Option<Live>> {
    let pieces = Pieces::of(client, gateway);
    let Some(object) = pieces.head().await? else {
        return Ok(None);
    };
    let mut versions = BTreeMap::new();
    let version = object.metadata.resource_version.clone();
    versions.insert(
        (kind(Part::Config), pieces.name(names::HEAD)),
        version.clone(),
    );
    let head = parse_head(&object);
    let current = match &head {
        Some(head) => current_set(&pieces, head, &mut versions).await?,
        None => CurrentSet::Broken("the head cannot be read".to_owned()),
    };
    let annotations = object.metadata.annotations.unwrap_or_default();
    Ok(Some(Live {
        head_version: version.unwrap_or_default(),
        head,
        written_at: annotations.get(WRITTEN_AT).and_then(|at| at.parse().ok()),
        current,
        versions,
    }))
}

async fn current_set(
    pieces: &Pieces,
    head: &Head,
    versions: &mut BTreeMap<(&'static str, String), Option<String>>,
) -> kube::Result<CurrentSet> {
    let set = head.current.set;
    let (config, keys) = both_parts(pieces, set).await?;
    for (part, chunks) in [(Part::Config, &config), (Part::Keys, &keys)] {
        for (index, chunk) in chunks.iter().enumerate() {
            let name = pieces.name(&chunk_name(part, set, index));
            let version = chunk
                .as_ref()
                .and_then(|c| c.metadata.resource_version.clone());
            versions.insert((kind(part), name), version);
        }
    }
    Ok(decoded(&head.current, config, keys))
}

/// Whether a set holds what the head says.
///
/// # Errors
/// When the API server does not answer or refuses.
pub(super) async fn can_be_booted(
    client: &Client,
    gateway: &ObjectKey,
    set: &SetHash,
) -> kube::Result<bool> {
    let pieces = Pieces::of(client, gateway);
    let (config, keys) = both_parts(&pieces, set.set).await?;
    Ok(!matches!(decoded(set, config, keys), CurrentSet::Broken(_)))
}

type Chunks = Vec<Option<Chunk>>;

async fn both_parts(pieces: &Pieces, set: Set) -> kube::Result<(Chunks, Chunks)> {
    let config = pieces.chunks(Part::Config, set);
    let keys = pieces.chunks(Part::Keys, set);
    futures::future::try_join(config, keys).await
}

fn decoded(expected: &SetHash, config: Chunks, keys: Chunks) -> CurrentSet {
    let octets = |chunks: Chunks| -> Vec<Vec<u8>> {
        chunks
            .into_iter()
            .flatten()
            .map(|chunk| chunk.octets)
            .collect()
    };
    match Snapshot::decode(expected, &octets(config), &octets(keys)) {
        Ok(snapshot) => CurrentSet::Intact(Arc::new(snapshot)),
        // The hash has been found right before it was parsed.
        Err(DecodeError::Parse { .. }) => CurrentSet::Other,
        Err(error) => CurrentSet::Broken(error.to_string()),
    }
}

/// A head of a newer schema is read as far as it can be: which set is current does not change its
/// meaning, and must be known in order not to overwrite it.
fn parse_head(object: &ConfigMap) -> Option<Head> {
    serde_json::from_str(object.data.as_ref()?.get(HEAD_KEY)?).ok()
}

pub(super) const fn kind(part: Part) -> &'static str {
    match part {
        Part::Config => "ConfigMap",
        Part::Keys => "Secret",
    }
}
