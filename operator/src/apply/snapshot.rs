//! Writing a snapshot: two sets of chunks and a head, so that at every moment, and after a kill
//! between any two writes, a pod finds one that it can boot.
//!
//! In go the snapshot that shall be and what stands in the cluster ([`Live`]); out comes a
//! [`Plan`], which is pure, and its execution. A set that the head calls current is never
//! overwritten while it is intact; every write carries the resource version that was read; the
//! head is written last.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::PostParams;
use kube::{Api, Resource};
use postern_config::chunks::{CHUNKS, Encoded, Part, chunk_name};
use postern_config::head::{HEAD_KEY, Head, Set, SetHash};
use postern_config::{SCHEMA, Snapshot};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use super::live::{Chunk, CurrentSet, Live, Pieces, WRITTEN_AT, kind};
use super::{ApplyError, Site};
use crate::names;

/// How long a pod that has not acknowledged the current set keeps the previous one from being
/// overwritten, counted from the writing of the head.
pub const PREVIOUS_IS_KEPT: SignedDuration = SignedDuration::from_secs(30);

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// The cluster has it already.
    Nothing,
    /// Not before then, unless all pods acknowledge the current one earlier.
    Wait {
        /// When [`PREVIOUS_IS_KEPT`] is over.
        until: Timestamp,
    },
    /// The chunks of a set, then the head.
    Write {
        /// The set to overwrite.
        set: Set,
        /// What the head will say besides.
        previous: Option<SetHash>,
        /// The head's generation.
        generation: u64,
    },
}

/// What to do so that the snapshot of that hash becomes current. `acknowledged`: no pod needs the
/// previous set, as all ready ones run the current one or there is none.
#[must_use]
pub fn plan(live: Option<&Live>, hash: &str, acknowledged: bool, now: Timestamp) -> Plan {
    let Some(live) = live else {
        return Plan::Write {
            set: Set::A,
            previous: None,
            generation: 1,
        };
    };
    let Some(head) = &live.head else {
        // Nobody can boot from a head that cannot be read, whatever the sets hold.
        return Plan::Write {
            set: Set::A,
            previous: None,
            generation: 1,
        };
    };
    let generation = head.generation.saturating_add(1);
    if let CurrentSet::Broken(_) = live.current {
        // Nobody boots the current set, somebody may boot the previous one: that one stays.
        let (set, previous) = (head.current.set, head.previous.clone());
        return Plan::Write {
            set,
            previous,
            generation,
        };
    }
    if head.current.hash == hash && head.schema == SCHEMA {
        return Plan::Nothing;
    }
    let free_at = live
        .written_at
        .unwrap_or(now)
        .saturating_add(PREVIOUS_IS_KEPT);
    match free_at {
        Ok(until) if head.previous.is_some() && !acknowledged && now < until => {
            Plan::Wait { until }
        }
        _ => Plan::Write {
            set: head.current.set.other(),
            previous: Some(head.current.clone()),
            generation,
        },
    }
}

/// Carries out [`Plan::Write`] and says what stands in the cluster then.
///
/// # Errors
/// When a write is refused; [`ApplyError::Conflict`] when somebody else has written meanwhile.
pub(super) async fn write(
    site: &Site<'_>,
    live: Option<&Live>,
    snapshot: Arc<Snapshot>,
    encoded: &Encoded,
    (set, head): (Set, Head),
) -> Result<Live, ApplyError> {
    let pieces = Pieces::of(site.client, &site.key);
    let writer = Writer {
        site,
        pieces: &pieces,
    };
    let config = pieces.chunks(Part::Config, set).await?;
    let keys = pieces.chunks(Part::Keys, set).await?;
    head_is_as_it_was(&pieces, live).await?;
    let mut versions = BTreeMap::new();
    let parts = [
        (Part::Config, &encoded.config, config),
        (Part::Keys, &encoded.keys, keys),
    ];
    for (part, content, found) in parts {
        for (index, found) in found.into_iter().enumerate().take(CHUNKS) {
            let octets = content.get(index).map(Vec::as_slice).unwrap_or_default();
            let key = chunk_name(part, set, index);
            let version = writer.chunk(part, &key, octets, found).await?;
            versions.insert((kind(part), pieces.name(&key)), Some(version));
        }
    }
    let written_at = Timestamp::now();
    let version = live.map(|live| live.head_version.clone());
    let head_version = writer.head(&head, version, written_at).await?;
    let head_key = (kind(Part::Config), pieces.name(names::HEAD));
    versions.insert(head_key, Some(head_version.clone()));
    Ok(Live {
        head_version,
        head: Some(head),
        written_at: Some(written_at),
        current: CurrentSet::Intact(snapshot),
        versions,
    })
}

/// Looked at after the chunks: when the head still calls the other set current, the chunks that were
/// read are not part of a set that another leader has made current since the plan was made.
async fn head_is_as_it_was(pieces: &Pieces, live: Option<&Live>) -> Result<(), ApplyError> {
    let found = pieces
        .head()
        .await?
        .and_then(|head| head.metadata.resource_version);
    if found.as_deref() == live.map(|live| &*live.head_version) {
        Ok(())
    } else {
        Err(ApplyError::Conflict)
    }
}

struct Writer<'a> {
    site: &'a Site<'a>,
    pieces: &'a Pieces,
}

impl Writer<'_> {
    /// Writes a chunk unless it is there already; gives its resource version.
    async fn chunk(
        &self,
        part: Part,
        key: &str,
        octets: &[u8],
        found: Option<Chunk>,
    ) -> Result<String, ApplyError> {
        let mut metadata = self.site.metadata(self.pieces.name(key));
        if let Some(found) = found {
            self.site.must_be_ours(kind(part), &found.metadata)?;
            let version = found.metadata.resource_version;
            let same_owner = found.metadata.owner_references == metadata.owner_references;
            let same_labels = found.metadata.labels == metadata.labels;
            if found.octets == octets && same_owner && same_labels {
                return Ok(version.unwrap_or_default());
            }
            metadata.resource_version = version;
        }
        let data = [(key.to_owned(), ByteString(octets.to_vec()))].into();
        match part {
            Part::Config => {
                let binary_data = Some(data);
                self.put(ConfigMap {
                    metadata,
                    binary_data,
                    ..ConfigMap::default()
                })
                .await
            }
            Part::Keys => {
                let type_ = Some(names::SNAPSHOT_SECRET_TYPE.to_owned());
                self.put(Secret {
                    metadata,
                    type_,
                    data: Some(data),
                    ..Secret::default()
                })
                .await
            }
        }
    }

    async fn head(
        &self,
        head: &Head,
        version: Option<String>,
        written_at: Timestamp,
    ) -> Result<String, ApplyError> {
        let mut metadata = self.site.metadata(self.pieces.name(names::HEAD));
        metadata.resource_version = version;
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.insert(WRITTEN_AT.to_owned(), written_at.to_string());
        let data = [(HEAD_KEY.to_owned(), head.to_json())].into();
        self.put(ConfigMap {
            metadata,
            data: Some(data),
            ..ConfigMap::default()
        })
        .await
    }

    /// Creates an object that has no resource version, replaces one that has.
    async fn put<K>(&self, object: K) -> Result<String, ApplyError>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        self.site.writes.one()?;
        let api: Api<K> = Api::namespaced(self.site.client.clone(), &self.site.key.namespace);
        let params = PostParams {
            field_manager: Some(names::MANAGER.to_owned()),
            ..PostParams::default()
        };
        let name = object.meta().name.clone().unwrap_or_default();
        let written = match object.meta().resource_version {
            Some(_) => api.replace(&name, &params, &object).await?,
            None => api.create(&params, &object).await?,
        };
        Ok(written.meta().resource_version.clone().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: Timestamp = Timestamp::UNIX_EPOCH;

    fn hash(set: Set, hash: &str) -> SetHash {
        SetHash {
            set,
            hash: hash.to_owned(),
        }
    }

    fn live(current: CurrentSet, previous: Option<SetHash>) -> Live {
        let head = Head {
            schema: SCHEMA,
            requires: vec![],
            generation: 7,
            current: hash(Set::B, "old"),
            previous,
        };
        Live {
            head_version: "1".to_owned(),
            head: Some(head),
            written_at: Some(WRITTEN),
            current,
            versions: BTreeMap::new(),
        }
    }

    fn set(plan: &Plan) -> Option<Set> {
        match plan {
            Plan::Write { set, .. } => Some(*set),
            Plan::Nothing | Plan::Wait { .. } => None,
        }
    }

    #[test]
    fn the_same_hash_is_not_written_again() {
        let live = live(CurrentSet::Other, None);
        assert_eq!(plan(Some(&live), "old", true, WRITTEN), Plan::Nothing);
    }

    #[test]
    fn the_set_that_is_not_current_is_written() {
        let live = live(CurrentSet::Other, None);
        let expected = Plan::Write {
            set: Set::A,
            previous: Some(hash(Set::B, "old")),
            generation: 8,
        };
        assert_eq!(plan(Some(&live), "new", false, WRITTEN), expected);
        assert_eq!(set(&plan(None, "new", false, WRITTEN)), Some(Set::A));
    }

    #[test]
    fn the_previous_set_is_kept_until_it_is_acknowledged_or_30_s_old() {
        let live = live(CurrentSet::Other, Some(hash(Set::A, "older")));
        let until = WRITTEN + PREVIOUS_IS_KEPT;
        let soon = until - SignedDuration::from_millis(1);
        assert_eq!(plan(Some(&live), "new", false, soon), Plan::Wait { until });
        assert_eq!(set(&plan(Some(&live), "new", true, soon)), Some(Set::A));
        assert_eq!(set(&plan(Some(&live), "new", false, until)), Some(Set::A));
    }

    #[test]
    fn a_broken_current_set_is_written_over_and_the_previous_one_left() {
        let previous = Some(hash(Set::A, "older"));
        let live = live(CurrentSet::Broken("gone".to_owned()), previous.clone());
        for wanted in ["old", "new"] {
            let expected = Plan::Write {
                set: Set::B,
                previous: previous.clone(),
                generation: 8,
            };
            assert_eq!(plan(Some(&live), wanted, false, WRITTEN), expected);
        }
    }
}
