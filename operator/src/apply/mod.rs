//! Applying: what `translate` wants for one gateway goes in, and stands in the cluster afterwards.
//!
//! Generated Secrets are made if they are absent, then the snapshot is written, then the objects,
//! so that a pod that starts finds what it reads. Everything is compared before it is written: a
//! second pass over an unchanged world writes nothing. Objects that another installation or a
//! person has made under the names of ours are left alone and reported.

mod compare;
mod live;
mod manifests;
mod size;
mod snapshot;
mod writes;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ApiResource, DeleteParams, DynamicObject, PostParams};
use kube::{Api, Client, Resource};
use postern_config::SCHEMA;
use postern_config::Snapshot;
use postern_config::chunks::{EncodeError, Encoded, short};
use postern_config::head::{Head, SetHash};
use postern_crds::MailGateway;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tracing::info;

use crate::generate::{GenerateError, generate};
use crate::names;
use crate::observe::owned_kinds;
use crate::translation::{GatewayOutput, Generate};
use crate::world::{Child, ObjectKey};
pub use live::{CurrentSet, Live, WRITTEN_AT, read};
pub use snapshot::{Need, PREVIOUS_IS_KEPT, Plan, plan};
pub use writes::{Ended, Writes};

/// What was generated is read back long before; if not, the gateway is tried again then.
const READ_BACK: SignedDuration = SignedDuration::from_secs(5);

/// Why something could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The snapshot does not fit its objects.
    #[error("{0}")]
    TooLarge(String),
    /// An object of somebody else has the name of one of ours.
    #[error("{} {} is not ours", .0.kind, .0.name)]
    Foreign(Child),
    /// Somebody else has written since we read. It is tried again.
    #[error("an object was changed while it was written")]
    Conflict,
    /// Generating failed.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// The API server refused or could not be reached.
    #[error("{0}")]
    Api(#[source] kube::Error),
    /// An object of ours could not be written down.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// The compressor failed or was cancelled.
    #[error("the snapshot could not be encoded: {0}")]
    Encode(String),
    /// The API server did not answer in time.
    #[error("it took longer than {0:?}")]
    TimedOut(std::time::Duration),
    /// A test has ended the writes.
    #[error(transparent)]
    Ended(#[from] Ended),
}

impl From<kube::Error> for ApplyError {
    fn from(error: kube::Error) -> Self {
        match error {
            // Something of that name was created, changed or deleted between reading and writing.
            kube::Error::Api(status) if status.code == 409 => Self::Conflict,
            error => Self::Api(error),
        }
    }
}

/// Where and for whom is written.
pub struct Site<'a> {
    /// The way to the API server.
    pub client: &'a Client,
    /// The installation that writes.
    pub installation: &'a ObjectKey,
    /// Counts the writes.
    pub writes: &'a Writes,
    /// The gateway that owns what is written.
    pub gateway: &'a MailGateway,
    /// Its namespace and name.
    pub key: ObjectKey,
}

impl Site<'_> {
    fn metadata(&self, name: String) -> ObjectMeta {
        names::metadata(self.gateway, self.installation, name)
    }

    fn must_be_ours(&self, kind: &str, found: &ObjectMeta) -> Result<(), ApplyError> {
        match foreign(kind, found, self.installation) {
            Some(child) => Err(ApplyError::Foreign(child)),
            None => Ok(()),
        }
    }
}

/// The object, when another installation or nobody of us has made it.
fn foreign(kind: &str, found: &ObjectMeta, ours: &ObjectKey) -> Option<Child> {
    let annotations = found.annotations.as_ref();
    let installation = annotations
        .and_then(|a| a.get(names::INSTALLATION))
        .cloned();
    (installation.as_deref() != Some(&*ours.to_string())).then(|| Child {
        kind: kind.to_owned(),
        name: found.name.clone().unwrap_or_default(),
        installation,
    })
}

/// Whether an object that was in the way still is.
///
/// # Errors
/// When the API server does not answer or refuses.
pub async fn still_foreign(
    client: &Client,
    namespace: &str,
    child: &Child,
    ours: &ObjectKey,
) -> kube::Result<Option<Child>> {
    let pieces = [
        ApiResource::erase::<ConfigMap>(&()),
        ApiResource::erase::<Secret>(&()),
    ];
    let mut kinds = owned_kinds().into_iter().chain(pieces);
    let Some(resource) = kinds.find(|resource| resource.kind == child.kind) else {
        return Ok(None);
    };
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let found = api.get_metadata_opt(&child.name).await?;
    Ok(found.and_then(|found| foreign(&child.kind, &found.metadata, ours)))
}

/// What is remembered of a gateway between two passes.
#[derive(Debug, Default)]
pub struct Memory {
    /// Its snapshot in the cluster.
    pub live: Option<Live>,
    /// Objects that were applied, to the hash of what was applied and the resource version that
    /// came back: where the API server writes a value otherwise than we do, comparing alone would
    /// apply it for ever.
    settled: BTreeMap<String, (String, Option<String>)>,
}

impl Memory {
    /// Nothing but what stands in the cluster.
    #[must_use]
    pub fn of(live: Option<Live>) -> Self {
        Self {
            live,
            ..Self::default()
        }
    }
}

/// What observe knows about a gateway's objects.
pub struct Found<'a> {
    /// A written object, by kind and name.
    pub written: &'a (dyn Fn(&str, &ObjectKey) -> Option<Arc<DynamicObject>> + Send + Sync),
    /// Generated Secrets that serve this gateway.
    pub generated: BTreeSet<ObjectKey>,
    /// What its pods need the previous set for.
    pub need: Need,
}

/// Applies what shall be for one gateway. Gives the time when to come back, if it must wait before
/// the snapshot can be written.
///
/// # Errors
/// The first thing that could not be done; what came before it is done.
pub async fn apply(
    site: &Site<'_>,
    desired: &GatewayOutput,
    found: &Found<'_>,
    memory: &mut Memory,
) -> Result<Option<Timestamp>, ApplyError> {
    if generate_missing(site, &desired.generate).await? {
        // The watch will bring it; a snapshot without it would be one too many.
        let again = Timestamp::now().saturating_add(READ_BACK);
        return Ok(Some(again.unwrap_or(Timestamp::MAX)));
    }
    let wait = match &desired.snapshot {
        Some(snapshot) => apply_snapshot(site, snapshot, found.need, memory).await?,
        None => None,
    };
    if let Some(manifests) = &desired.manifests {
        for object in manifests::desired(manifests)? {
            apply_object(site, &object, found, memory).await?;
        }
    }
    // Last: what is swept may have been in use until the new snapshot was written.
    if desired.snapshot.is_some() && wait.is_none() {
        sweep(site, found.generated.difference(&desired.generated)).await?;
    }
    Ok(wait)
}

/// Makes the snapshot current, if it is not.
///
/// # Errors
/// When it is too large or a write is refused.
pub async fn apply_snapshot(
    site: &Site<'_>,
    snapshot: &Snapshot,
    need: Need,
    memory: &mut Memory,
) -> Result<Option<Timestamp>, ApplyError> {
    if memory
        .live
        .as_ref()
        .is_some_and(|live| is_current(live, snapshot))
    {
        return Ok(None);
    }
    let encoded = encode(snapshot.clone()).await?;
    let need = possible(site, need, memory.live.as_ref()).await?;
    let now = Timestamp::now();
    match plan(memory.live.as_ref(), &encoded.hash, need, now) {
        Plan::Nothing => Ok(None),
        Plan::Wait { until } => Ok(Some(until)),
        Plan::Write {
            set,
            previous,
            generation,
        } => {
            let current = SetHash {
                set,
                hash: encoded.hash.clone(),
            };
            let head = Head {
                schema: SCHEMA,
                requires: vec![],
                generation,
                current,
                previous,
            };
            let snapshot = Arc::new(snapshot.clone());
            // What stands in the cluster is not known until the write has come to its end.
            let live = memory.live.take();
            let written =
                snapshot::write(site, live.as_ref(), snapshot, &encoded, (set, head)).await?;
            info!(gateway = %site.key, hash = short(&encoded.hash), generation, "wrote a snapshot");
            memory.live = Some(written);
            Ok(None)
        }
    }
}

/// Nobody needs a previous set that cannot be booted: then the current one is kept, rejected or not.
async fn possible(site: &Site<'_>, need: Need, live: Option<&Live>) -> Result<Need, ApplyError> {
    let head = live.and_then(|live| live.head.as_ref());
    match head.and_then(|head| head.previous.as_ref()) {
        Some(previous) if need == Need::Rejected => {
            let boots = live::can_be_booted(site.client, &site.key, previous).await?;
            Ok(if boots { need } else { Need::Nothing })
        }
        _ => Ok(need),
    }
}

fn is_current(live: &Live, snapshot: &Snapshot) -> bool {
    let schema = live.head.as_ref().map(|head| head.schema);
    schema == Some(SCHEMA)
        && live
            .snapshot()
            .is_some_and(|current| **current == *snapshot)
}

async fn encode(snapshot: Snapshot) -> Result<Encoded, ApplyError> {
    // Compressing a large snapshot takes longer than a task may hold its thread.
    let encode = move || {
        snapshot.encode().map_err(|error| match &error {
            EncodeError::TooLarge { part, .. } => {
                let message = format!("{error}; most of it is {}", size::most(*part, &snapshot));
                ApplyError::TooLarge(message)
            }
            EncodeError::Compress(_) => ApplyError::Encode(error.to_string()),
        })
    };
    match tokio::task::spawn_blocking(encode).await {
        Ok(encoded) => encoded,
        Err(error) => Err(ApplyError::Encode(error.to_string())),
    }
}

async fn apply_object(
    site: &Site<'_>,
    desired: &manifests::Desired,
    found: &Found<'_>,
    memory: &mut Memory,
) -> Result<(), ApplyError> {
    let live = (found.written)(desired.kind(), &desired.key(&site.key.namespace));
    let (object, hash) = desired.mark();
    if let Some(live) = &live {
        let settled = (hash.clone(), live.metadata.resource_version.clone());
        if desired.is(live) || memory.settled.get(&object) == Some(&settled) {
            return Ok(());
        }
    }
    let written = manifests::apply(site, desired, live.is_some()).await?;
    info!(gateway = %site.key, object, "applied");
    memory
        .settled
        .insert(object, (hash, written.metadata.resource_version));
    Ok(())
}

/// True when something was made.
async fn generate_missing(site: &Site<'_>, wanted: &[Generate]) -> Result<bool, ApplyError> {
    let mut made = false;
    let api: Api<Secret> = Api::namespaced(site.client.clone(), &site.key.namespace);
    for wanted in wanted {
        let kind = wanted.kind.clone();
        let pair = tokio::task::spawn_blocking(move || generate(&kind, Timestamp::now()));
        let pair = pair
            .await
            .map_err(|error| ApplyError::Encode(error.to_string()))??;
        let text = |key: &str, value: String| (key.to_owned(), ByteString(value.into_bytes()));
        let data = [
            text("tls.crt", pair.chain_pem),
            text("tls.key", pair.key_pem),
        ]
        .into();
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(wanted.name.name.clone()),
                labels: Some(wanted.labels.clone()),
                annotations: Some(wanted.annotations.clone()),
                owner_references: wanted.owner.clone().map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            type_: Some("kubernetes.io/tls".to_owned()),
            data: Some(data),
            ..Secret::default()
        };
        site.writes.one()?;
        match api.create(&PostParams::default(), &secret).await {
            Ok(_) => {
                info!(gateway = %site.key, secret = wanted.name.name, "generated a key pair");
                made = true;
            }
            // It is there; the watch has not told yet, or it is somebody else's.
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let found = api.get(&wanted.name.name).await?;
                site.must_be_ours("Secret", found.meta())?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(made)
}

async fn sweep(
    site: &Site<'_>,
    unused: impl Iterator<Item = &ObjectKey>,
) -> Result<(), ApplyError> {
    for key in unused {
        let api: Api<Secret> = Api::namespaced(site.client.clone(), &key.namespace);
        site.writes.one()?;
        match api.delete(&key.name, &DeleteParams::default()).await {
            Ok(_) => info!(gateway = %site.key, secret = key.name, "swept a generated key pair"),
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
