//! One watch, and what it has seen.
//!
//! In goes a resource with its selector; out comes a [`Source`]: the objects, each reduced to the
//! part that is needed, and whether the operator may see them at all. "May not" and "is not
//! served" are answers here, asked for again from time to time, and not errors.

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher::{self, Config, Event, watcher};
use kube::{Api, Resource};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Notify;
use tracing::{debug, info, warn};

use crate::world::{Object, ObjectKey};

/// Seconds after which the server ends a watch: a right that was taken away shows when the next
/// one begins, and a connection that died in silence is noticed 5 s later.
const WATCH_SECONDS: u32 = 25;
/// Between two questions for what may not be seen or is not served.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(5);
/// First and last pause after an error.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(20));
/// Errors in a row after which a watch begins anew with a list.
const PATIENCE: u32 = 3;

/// Rings when something that was observed has changed.
#[derive(Clone, Default)]
pub struct Bell(Arc<Notify>);

impl Bell {
    /// Rings it; many rings before one [`Bell::rung`] are one.
    pub fn ring(&self) {
        self.0.notify_one();
    }

    /// Waits for a ring. One that came before is not lost.
    pub async fn rung(&self) {
        self.0.notified().await;
    }
}

/// Whether objects can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The first list has not come yet.
    Pending,
    /// They can.
    Granted,
    /// RBAC forbids it.
    Denied,
    /// The API server does not serve the kind.
    Unserved,
}

/// The objects of one watch. Clones share them.
pub struct Source<T>(Arc<RwLock<Seen<T>>>);

struct Seen<T> {
    access: Access,
    objects: BTreeMap<ObjectKey, Arc<T>>,
}

impl<T> Clone for Source<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Source<T> {
    fn default() -> Self {
        Self(Arc::new(RwLock::new(Seen {
            access: Access::Pending,
            objects: BTreeMap::new(),
        })))
    }
}

impl<T> Source<T> {
    /// Whether the objects can be seen.
    #[must_use]
    pub fn access(&self) -> Access {
        self.read(|seen| seen.access)
    }

    /// The object of that name.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<T>> {
        self.read(|seen| seen.objects.get(key).cloned())
    }

    /// All objects; none unless access is granted.
    #[must_use]
    pub fn objects(&self) -> BTreeMap<ObjectKey, Arc<T>> {
        self.read(|seen| match seen.access {
            Access::Granted => seen.objects.clone(),
            Access::Pending | Access::Denied | Access::Unserved => BTreeMap::new(),
        })
    }

    fn read<R>(&self, look: impl FnOnce(&Seen<T>) -> R) -> R {
        // A writer cannot leave the map half written, so a poisoned lock is as good as another.
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// True when `change` says that it changed something.
    fn write(&self, change: impl FnOnce(&mut Seen<T>) -> bool) -> bool {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T: PartialEq> Source<T> {
    fn set(&self, key: ObjectKey, object: T) -> bool {
        self.write(|seen| match seen.objects.get(&key) {
            Some(old) if **old == object => false,
            _ => {
                seen.objects.insert(key, Arc::new(object));
                true
            }
        })
    }

    fn remove(&self, key: &ObjectKey) -> bool {
        self.write(|seen| seen.objects.remove(key).is_some())
    }

    fn replace(&self, objects: BTreeMap<ObjectKey, Arc<T>>) -> bool {
        self.write(|seen| {
            let changed = seen.access != Access::Granted || seen.objects != objects;
            seen.access = Access::Granted;
            seen.objects = objects;
            changed
        })
    }

    /// There is no access; what was seen before is forgotten.
    pub(super) fn lose(&self, access: Access) -> bool {
        self.write(|seen| {
            let changed = seen.access != access;
            seen.access = access;
            seen.objects.clear();
            changed
        })
    }
}

/// What a watch is for and how its objects are kept.
pub(super) struct Watch<K, T> {
    pub(super) api: Api<K>,
    pub(super) config: Config,
    pub(super) source: Source<T>,
    /// Takes what is needed of an object.
    pub(super) keep: fn(K) -> T,
    pub(super) bell: Bell,
}

impl<K, T> Watch<K, T>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    T: PartialEq + Send + Sync + 'static,
{
    /// Follows for ever.
    pub(super) async fn follow(self) {
        loop {
            let lost = self.follow_while_served().await;
            debug!(
                url = self.api.resource_url(),
                ?lost,
                "cannot be seen, asking again"
            );
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// Follows until the objects can no longer be seen, and says why.
    pub(super) async fn follow_while_served(&self) -> Access {
        let mut errors = 0;
        loop {
            let config = self.config.clone().timeout(WATCH_SECONDS);
            let mut events = pin!(watcher(self.api.clone(), config));
            let mut listed = BTreeMap::new();
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => {
                        if self.take(event, &mut listed) {
                            errors = 0;
                        }
                    }
                    Err(error) => match lost(&error) {
                        Some(access) => {
                            self.lose(access, &error);
                            return access;
                        }
                        None => {
                            errors += 1;
                            warn!(url = self.api.resource_url(), %error, "a watch failed");
                            tokio::time::sleep(pause(errors)).await;
                            if errors % PATIENCE == 0 {
                                break;
                            }
                        }
                    },
                }
            }
        }
    }

    fn lose(&self, access: Access, error: &watcher::Error) {
        if self.source.lose(access) {
            info!(url = self.api.resource_url(), %error, "cannot be seen");
            self.bell.ring();
        }
    }

    /// True when the event shows that the API server answers.
    fn take(&self, event: Event<K>, listed: &mut BTreeMap<ObjectKey, Arc<T>>) -> bool {
        let key = |object: &K| ObjectKey::of(object.meta());
        let changed = match event {
            Event::Init => {
                listed.clear();
                return false;
            }
            Event::InitApply(object) => {
                listed.insert(key(&object), Arc::new((self.keep)(object)));
                return true;
            }
            Event::InitDone => self.source.replace(std::mem::take(listed)),
            Event::Apply(object) => self.source.set(key(&object), (self.keep)(object)),
            Event::Delete(object) => self.source.remove(&key(&object)),
        };
        if changed {
            self.bell.ring();
        }
        true
    }
}

fn lost(error: &watcher::Error) -> Option<Access> {
    use watcher::Error::{
        InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed,
    };
    let code = match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status))
        | WatchError(status) => status.code,
        InitialListFailed(_) | WatchStartFailed(_) | WatchFailed(_) | NoResourceVersion => {
            return None;
        }
    };
    match code {
        403 => Some(Access::Denied),
        404 => Some(Access::Unserved),
        _ => None,
    }
}

fn pause(errors: u32) -> Duration {
    let (first, last) = PAUSES;
    first
        .saturating_mul(1 << errors.saturating_sub(1).min(16))
        .min(last)
}

/// An object of one of our kinds that need not have the shape of its kind: one such object must
/// not stop the watch of all.
#[derive(Debug, Clone)]
pub struct Own<K> {
    /// The object, as far as it could be read.
    pub object: Object<K>,
    /// Its status when the whole could not be read; else null, and the object has it.
    pub raw_status: serde_json::Value,
}

impl<K: Resource> PartialEq for Own<K> {
    fn eq(&self, other: &Self) -> bool {
        let version = |own: &Self| {
            let metadata = own.object.metadata();
            (metadata.uid.clone(), metadata.resource_version.clone())
        };
        version(self) == version(other)
    }
}

/// What the API server sent for one of our kinds, before and after parsing.
#[derive(Debug, Clone)]
pub(super) struct Sent<K> {
    metadata: ObjectMeta,
    object: Result<Box<K>, Unread>,
}

/// What is kept of an object that does not parse.
#[derive(Debug, Clone)]
struct Unread {
    spec: serde_json::Value,
    status: serde_json::Value,
    reason: String,
}

impl<K: Resource> Sent<K> {
    pub(super) fn into_own(self) -> Own<K> {
        match self.object {
            Ok(mut object) => {
                object.meta_mut().managed_fields = None;
                Own {
                    object: Object::Read(Arc::new(*object)),
                    raw_status: serde_json::Value::Null,
                }
            }
            Err(unread) => Own {
                object: Object::Malformed {
                    metadata: Box::new(self.metadata),
                    spec: Box::new(unread.spec),
                    reason: unread.reason,
                },
                raw_status: unread.status,
            },
        }
    }
}

impl<'de, K: DeserializeOwned + Resource> Deserialize<'de> for Sent<K> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let mut value = serde_json::Value::deserialize(deserializer)?;
        let metadata = value.get("metadata").cloned().unwrap_or_default();
        let mut metadata: ObjectMeta =
            serde_json::from_value(metadata).map_err(D::Error::custom)?;
        metadata.managed_fields = None;
        let object = K::deserialize(&value).map(Box::new).map_err(|error| {
            let mut part = |name: &str| value.get_mut(name).map(serde_json::Value::take);
            Unread {
                spec: part("spec").unwrap_or_default(),
                status: part("status").unwrap_or_default(),
                reason: error.to_string(),
            }
        });
        Ok(Self { metadata, object })
    }
}

impl<K: Resource> Resource for Sent<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &K::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &K::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &K::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &K::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
