//! Writing a snapshot: two sets of chunks and a head, so that at every moment, and after a kill
//! between any two writes, a pod finds one that it can boot.
//!
//! In go the snapshot that shall be, what stands in the cluster ([`Live`]) and what the pods need of
//! it ([`Need`]); out comes a [`Plan`], which is pure, and its execution. Every write carries the
//! resource version that was read; the head is written last.
//!
//! Of the two sets the one is overwritten that no pod needs in order to boot:
//!
//! - Usually the previous one, once every ready pod has acknowledged the current, or
//!   [`PREVIOUS_IS_KEPT`] after the head was written. Then the current one is intact throughout.
//! - The current one, when a pod has rejected it. That pod runs the previous set and can boot no
//!   other, so that one stays however long it takes, and the next change stands where the rejected
//!   set stood. From the first chunk to the head, the head names a hash that its current set does
//!   not have: whoever boots meanwhile takes the previous one, and whoever is reading the current
//!   one finds another hash, and reads the head again. A kill leaves the same, and the next leader
//!   finds a broken current set and writes it over.
//! - The current one as well when it is broken: nobody can boot it.

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

/// An answer of a pod that was never heard is waited for that long before it is looked again. Its
/// coming begins a pass anyway.
const UNTIL_HEARD: SignedDuration = SignedDuration::from_secs(1);

/// What the pods need the previous set for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// For nothing: all ready ones run the current set, or there is no pod.
    Nothing,
    /// Some have not acknowledged the current set (yet).
    Behind,
    /// Some ready pods have been asked and have neither answered nor been given up.
    Unheard,
    /// Some have rejected the current set: they can boot no other.
    Rejected,
}

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

/// What to do so that the snapshot of that hash becomes current.
#[must_use]
pub fn plan(live: Option<&Live>, hash: &str, need: Need, now: Timestamp) -> Plan {
    let first = Plan::Write {
        set: Set::A,
        previous: None,
        generation: 1,
    };
    // Nobody can boot from a head that cannot be read, whatever the sets hold.
    let Some((live, head)) = live.and_then(|live| Some((live, live.head.as_ref()?))) else {
        return first;
    };
    let generation = head.generation.saturating_add(1);
    let over_current = Plan::Write {
        set: head.current.set,
        previous: head.previous.clone(),
        generation,
    };
    let over_previous = Plan::Write {
        set: head.current.set.other(),
        previous: Some(head.current.clone()),
        generation,
    };
    if let CurrentSet::Broken(_) = live.current {
        return over_current;
    }
    if head.current.hash == hash && head.schema == SCHEMA {
        return Plan::Nothing;
    }
    if head.previous.is_none() {
        return over_previous;
    }
    match need {
        Need::Nothing => over_previous,
        Need::Rejected => over_current,
        // It may have rejected the current set.
        Need::Unheard => wait(now, UNTIL_HEARD, now).unwrap_or(over_previous),
        Need::Behind => {
            let written_at = live.written_at.unwrap_or(now);
            wait(written_at, PREVIOUS_IS_KEPT, now).unwrap_or(over_previous)
        }
    }
}

/// [`Plan::Wait`], unless so long after `since` has passed.
fn wait(since: Timestamp, long: SignedDuration, now: Timestamp) -> Option<Plan> {
    let until = since.saturating_add(long).ok()?;
    (now < until).then_some(Plan::Wait { until })
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
        assert_eq!(
            plan(Some(&live), "old", Need::Nothing, WRITTEN),
            Plan::Nothing
        );
    }

    #[test]
    fn the_set_that_is_not_current_is_written() {
        let live = live(CurrentSet::Other, None);
        let expected = Plan::Write {
            set: Set::A,
            previous: Some(hash(Set::B, "old")),
            generation: 8,
        };
        assert_eq!(plan(Some(&live), "new", Need::Behind, WRITTEN), expected);
        assert_eq!(set(&plan(None, "new", Need::Behind, WRITTEN)), Some(Set::A));
    }

    #[test]
    fn the_previous_set_is_kept_until_it_is_acknowledged_or_30_s_old() {
        let live = live(CurrentSet::Other, Some(hash(Set::A, "older")));
        let until = WRITTEN + PREVIOUS_IS_KEPT;
        let soon = until - SignedDuration::from_millis(1);
        let plan = |need, now| plan(Some(&live), "new", need, now);
        assert_eq!(plan(Need::Behind, soon), Plan::Wait { until });
        assert_eq!(set(&plan(Need::Nothing, soon)), Some(Set::A));
        assert_eq!(set(&plan(Need::Behind, until)), Some(Set::A));
    }

    #[test]
    fn a_rejected_set_is_written_over_at_any_time_and_the_previous_one_left() {
        let previous = Some(hash(Set::A, "older"));
        let live = live(CurrentSet::Other, previous.clone());
        let expected = Plan::Write {
            set: Set::B,
            previous,
            generation: 8,
        };
        for now in [WRITTEN, WRITTEN + PREVIOUS_IS_KEPT * 10] {
            assert_eq!(plan(Some(&live), "new", Need::Rejected, now), expected);
        }
        let same = plan(Some(&live), "old", Need::Rejected, WRITTEN);
        assert_eq!(same, Plan::Nothing);
    }

    #[test]
    fn a_pod_that_was_not_heard_yet_may_have_rejected_the_set() {
        let live = live(CurrentSet::Other, Some(hash(Set::A, "older")));
        let late = WRITTEN + PREVIOUS_IS_KEPT * 10;
        let until = late + UNTIL_HEARD;
        let plan = plan(Some(&live), "new", Need::Unheard, late);
        assert_eq!(plan, Plan::Wait { until });
    }

    #[test]
    fn a_rejected_set_that_has_none_before_it_is_left() {
        let live = live(CurrentSet::Other, None);
        let plan = plan(Some(&live), "new", Need::Rejected, WRITTEN);
        assert_eq!(set(&plan), Some(Set::A));
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
            assert_eq!(plan(Some(&live), wanted, Need::Behind, WRITTEN), expected);
        }
    }
}
