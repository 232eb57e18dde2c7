//! Following the head through the API: a watch on that one ConfigMap, then GETs of the chunks that a
//! new head names.
//!
//! Heads come in, whole snapshots go out to an [`Apply`]. The mount lags by a minute, so a running
//! pod does not look at it again. When the head or our token vanish, or the API server is away,
//! nothing changes: the watch is taken up again when they are back.

use futures::future::try_join_all;
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use postern_config::Snapshot;
use postern_config::chunks::{CHUNKS, DecodeError, Part, chunk_name};
use postern_config::head::{HEAD_KEY, Head, SetHash};
use std::time::Duration;

/// A watch is renewed after so many seconds, so that a connection that died is noticed.
const WATCH_SECONDS: u32 = 25;
/// Readings of one head before it is refused: the operator may be about to write the next one.
const ATTEMPTS: u32 = 5;
/// Between two readings.
const PAUSE: Duration = Duration::from_millis(500);
/// A refused head is read again after so long: its chunks may have been mended.
const AGAIN: Duration = Duration::from_secs(15);
/// One request to the API server.
const REQUEST: Duration = Duration::from_secs(10);

/// Takes what was followed.
pub trait Apply: Send + Sync {
    /// Hash of the snapshot in use.
    fn hash(&self) -> Option<String>;
    /// A whole snapshot has come.
    ///
    /// # Errors
    /// Why it cannot be used.
    fn apply(&self, snapshot: Snapshot, generation: u64) -> Result<(), String>;
    /// A head could not be followed. `hash` is empty and `generation` 0 when it could not be read.
    fn reject(&self, hash: &str, generation: u64, reason: &str);
}

/// What is followed.
#[derive(Clone)]
pub struct Follow {
    /// A client with the pod's own token.
    pub client: kube::Client,
    /// The gateway's namespace.
    pub namespace: String,
    /// Objects are named `<prefix>-head` and `<prefix>-<chunk>`.
    pub prefix: String,
}

/// Why the chunks of a head are not a snapshot (now).
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("{0} cannot be read: {1}")]
    Api(String, String),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("{0}")]
    Refused(String),
}

impl Follow {
    /// Follows until dropped.
    pub async fn run(self, apply: impl Apply) {
        let mut heads = std::pin::pin!(self.heads());
        let mut refused: Option<Head> = None;
        loop {
            let again = tokio::time::sleep(AGAIN);
            let head = tokio::select! {
                head = heads.next() => head,
                () = again, if refused.is_some() => refused.take().map(Ok),
            };
            refused = match head {
                None => return,
                Some(Err(reason)) => {
                    apply.reject("", 0, &reason);
                    None
                }
                Some(Ok(head)) if apply.hash().as_ref() == Some(&head.current.hash) => None,
                Some(Ok(head)) => self.take(head, &apply).await,
            };
        }
    }

    /// Every head as it changes, or why it is none.
    fn heads(&self) -> impl Stream<Item = Result<Head, String>> + use<> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let only = format!("metadata.name={}-head", self.prefix);
        let config = watcher::Config::default()
            .fields(&only)
            .timeout(WATCH_SECONDS);
        watcher::watcher(api, config)
            .default_backoff()
            .filter_map(async |event| match event {
                Ok(Event::Apply(object) | Event::InitApply(object)) => Some(parse(&object)),
                Ok(Event::Delete(_)) => {
                    tracing::warn!("the head is gone; the snapshot in use stays");
                    None
                }
                Ok(Event::Init | Event::InitDone) => None,
                Err(error) => {
                    tracing::warn!(%error, "the head cannot be watched; the snapshot in use stays");
                    None
                }
            })
    }

    /// Reads the chunks of a head and hands the snapshot over. Returns the head that was refused.
    async fn take(&self, mut head: Head, apply: &impl Apply) -> Option<Head> {
        for attempt in 1.. {
            let error = match self.read(&head.current, head.generation, apply).await {
                Ok(()) => return None,
                Err(error) => error,
            };
            // A snapshot that is whole and was refused will not get better by reading it again.
            if attempt == ATTEMPTS || matches!(error, ReadError::Refused(_)) {
                apply.reject(&head.current.hash, head.generation, &error.to_string());
                break;
            }
            tokio::time::sleep(PAUSE).await;
            // The operator may have moved on while we read: the set then belongs to another head.
            if let Some(newer) = self.head().await {
                head = newer;
            }
        }
        Some(head)
    }

    async fn head(&self) -> Option<Head> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let name = format!("{}-head", self.prefix);
        let object = tokio::time::timeout(REQUEST, api.get(&name))
            .await
            .ok()?
            .ok()?;
        parse(&object).ok()
    }

    async fn read(
        &self,
        set: &SetHash,
        generation: u64,
        apply: &impl Apply,
    ) -> Result<(), ReadError> {
        let chunks = |part| (0..CHUNKS).map(move |index| chunk_name(part, set.set, index));
        let config = try_join_all(chunks(Part::Config).map(|name| self.config_chunk(name)));
        let keys = try_join_all(chunks(Part::Keys).map(|name| self.keys_chunk(name)));
        let (config, keys) = futures::try_join!(config, keys)?;
        let snapshot = Snapshot::decode(set, &config, &keys)?;
        apply
            .apply(snapshot, generation)
            .map_err(ReadError::Refused)
    }

    async fn config_chunk(&self, chunk: String) -> Result<Vec<u8>, ReadError> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let object = get(&api, format!("{}-{chunk}", self.prefix)).await?;
        let data = object.and_then(|object| object.binary_data?.remove(&chunk));
        Ok(data.map(|octets| octets.0).unwrap_or_default())
    }

    async fn keys_chunk(&self, chunk: String) -> Result<Vec<u8>, ReadError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let object = get(&api, format!("{}-{chunk}", self.prefix)).await?;
        let data = object.and_then(|object| object.data?.remove(&chunk));
        Ok(data.map(|octets| octets.0).unwrap_or_default())
    }
}

/// The object; none when it does not exist (a chunk that was never needed).
async fn get<K>(api: &Api<K>, name: String) -> Result<Option<K>, ReadError>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    match tokio::time::timeout(REQUEST, api.get_opt(&name)).await {
        Ok(Ok(object)) => Ok(object),
        Ok(Err(error)) => Err(ReadError::Api(name, error.to_string())),
        Err(_) => Err(ReadError::Api(
            name,
            format!("no answer in {} s", REQUEST.as_secs()),
        )),
    }
}

fn parse(object: &ConfigMap) -> Result<Head, String> {
    let text = object.data.as_ref().and_then(|data| data.get(HEAD_KEY));
    let text = text.ok_or_else(|| format!("the head has no key {HEAD_KEY}"))?;
    Head::parse(text).map_err(|error| error.to_string())
}
