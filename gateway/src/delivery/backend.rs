//! The backends of a snapshot, alive: their connections, answers and health.

use super::answers::Answers;
use super::choice::Choosable;
use super::counters::{Counters, Totals};
use super::health::Health;
use super::leg::Leg;
use super::limits::Limits;
use super::locate::{Headless, Names};
use super::memory::Memory;
use super::pool::{Pool, Retire};
use super::tls::{Security, security};
use arc_swap::ArcSwap;
use jiff::Timestamp;
use postern_config::backend::{BackendProtocol, MultipleRecipients, ProxyVersion, Target};
use postern_config::configz::{MAX_REASON, Misconfiguration};
use postern_config::{Backend as Compiled, Credential, Snapshot};
use postern_smtp::client::{Login, Protocol};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// All of delivery in one pod; cheap to clone.
#[derive(Clone)]
pub struct Deliveries {
    shared: Arc<Shared>,
    current: Arc<ArcSwap<Backends>>,
}

/// What all sessions share.
pub(super) struct Shared {
    pub(super) limits: Limits,
    pub(super) answers: Answers,
    pub(super) memory: Memory,
    pub(super) totals: Arc<Totals>,
}

/// Why a snapshot's backends cannot be used; the snapshot is rejected with it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ApplyError {
    /// A rule names a backend that is not there.
    #[error("route {route}, rule {rule}: there is no backend {backend}")]
    UnknownBackend {
        /// `namespace/name`.
        route: String,
        /// The rule's name.
        rule: String,
        /// The id.
        backend: String,
    },
    /// A backend names a credential that is not there.
    #[error("{backend}: there is no credential {credential}")]
    UnknownCredential {
        /// The backend's display name.
        backend: String,
        /// The id.
        credential: String,
    },
}

impl Deliveries {
    /// Nothing is connected yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let shared = Shared {
            answers: Answers::new(&limits),
            memory: Memory::new(&limits),
            totals: Arc::default(),
            limits,
        };
        let shared = Arc::new(shared);
        let none = Backends {
            by_id: BTreeMap::new(),
            names: None,
            shared: shared.clone(),
        };
        Self {
            shared,
            current: Arc::new(ArcSwap::from_pointee(none)),
        }
    }

    /// Makes the backends of a snapshot ready; [`Deliveries::commit`] takes them. Those that are as before keep connections, answers and
    /// health; connections of vanished ones end with the last transaction that holds them.
    /// A transaction uses the [`Backends`] of the snapshot that it began with. A backend whose TLS
    /// cannot be set up defers its mail and shows in [`Deliveries::misconfigured`]: one tenant's
    /// bad CA certificate is no reason to withhold the snapshot from all others.
    ///
    /// # Errors
    /// [`ApplyError`]: the snapshot cannot be used.
    pub fn prepare(
        &self,
        snapshot: &Snapshot,
        names: Arc<dyn Names>,
    ) -> Result<Arc<Backends>, ApplyError> {
        let before = self.current.load();
        let mut by_id: BTreeMap<Arc<str>, Arc<Backend>> = BTreeMap::new();
        for (id, compiled) in &snapshot.config.backends {
            let credential = credential(snapshot, compiled)?;
            let hello = &snapshot.config.hostname;
            let kept = before.by_id.get(id.as_str());
            let backend = match kept.filter(|kept| kept.is(compiled, credential, hello)) {
                Some(kept) => kept.clone(),
                None => Arc::new(self.backend(id, compiled, credential, hello)),
            };
            by_id.insert(backend.id.clone(), backend);
        }
        let backends = Arc::new(Backends {
            by_id,
            names: Some(names),
            shared: self.shared.clone(),
        });
        backends.hold_all_of(snapshot)?;
        Ok(backends)
    }

    /// Takes what was prepared, once all else of its snapshot has been taken.
    pub fn commit(&self, backends: &Arc<Backends>) {
        self.current.store(backends.clone());
    }

    /// [`Deliveries::prepare`] and [`Deliveries::commit`].
    #[cfg(test)]
    pub(super) fn apply(
        &self,
        snapshot: &Snapshot,
        names: Arc<dyn Names>,
    ) -> Result<Arc<Backends>, ApplyError> {
        let backends = self.prepare(snapshot, names)?;
        self.commit(&backends);
        Ok(backends)
    }

    fn backend(
        &self,
        id: &str,
        compiled: &Compiled,
        credential: Option<&Credential>,
        hello: &str,
    ) -> Backend {
        let (security, misconfigured) = match security(&compiled.tls) {
            Ok(security) => (Some(security), None),
            Err(reason) => (None, Some(unusable(compiled, &reason))),
        };
        let limits = &self.shared.limits;
        let delivering = Retire {
            uses: limits.uses,
            refusals: u32::MAX,
            age: limits.age,
            idle: limits.idle,
            most: limits.idle_connections,
            most_in_all: limits.idle_connections_in_all,
        };
        let asking = Retire {
            uses: limits.ask_uses,
            refusals: limits.ask_refusals,
            age: limits.ask_age,
            ..delivering
        };
        let totals = &self.shared.totals;
        Backend {
            id: id.into(),
            display: compiled.display.as_str().into(),
            compiled: compiled.clone(),
            credential: credential.cloned(),
            hello: hello.to_owned(),
            security,
            health: Health::default(),
            headless: Headless::default(),
            turn: AtomicUsize::new(0),
            misconfigured: Mutex::new(misconfigured),
            delivering: Pool::new(delivering, limits.connections, totals.clone()),
            asking: Pool::new(asking, limits.ask_connections, totals.clone()),
        }
    }

    /// The sending side of one session. `client` and `listener` are the two ends of its
    /// connection as the client sees them: they go into PROXY headers.
    #[must_use]
    pub fn leg(&self, client: SocketAddr, listener: SocketAddr) -> Leg {
        Leg::new(self.shared.clone(), client, listener)
    }

    /// For `/configz`: by id, each backend whose last reply showed that we are misconfigured, or
    /// whose TLS cannot be set up.
    #[must_use]
    pub fn misconfigured(&self) -> BTreeMap<String, Misconfiguration> {
        let backends = self.current.load();
        let shown = backends.by_id.iter().filter_map(|(id, backend)| {
            let last = backend
                .misconfigured
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            Some((id.to_string(), last.clone()?))
        });
        shown.take(postern_config::configz::MAX_BACKENDS).collect()
    }

    /// For the metrics.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.totals.read(self.shared.memory.len())
    }
}

/// Logs, once for each change of the backend, that its TLS cannot be set up.
fn unusable(compiled: &Compiled, reason: &str) -> Misconfiguration {
    let backend = compiled.display.as_str();
    tracing::warn!(backend, reason, "the backend's TLS cannot be set up");
    // A broken PEM's line stands in the reason, however long.
    let reason = reason.get(..reason.floor_char_boundary(MAX_REASON));
    Misconfiguration {
        code: reason.unwrap_or_default().to_owned(),
        at: Timestamp::now().to_string(),
    }
}

fn credential<'s>(
    snapshot: &'s Snapshot,
    compiled: &Compiled,
) -> Result<Option<&'s Credential>, ApplyError> {
    let Some(key) = &compiled.credential else {
        return Ok(None);
    };
    let unknown = || ApplyError::UnknownCredential {
        backend: compiled.display.clone(),
        credential: key.clone(),
    };
    snapshot
        .keys
        .credentials
        .get(key)
        .map(Some)
        .ok_or_else(unknown)
}

/// The backends of one snapshot.
pub struct Backends {
    by_id: BTreeMap<Arc<str>, Arc<Backend>>,
    names: Option<Arc<dyn Names>>,
    shared: Arc<Shared>,
}

impl Backends {
    pub(super) fn get(&self, id: &str) -> Option<Choosable> {
        let backend = self.by_id.get(id)?.clone();
        Some(Choosable {
            backend,
            names: self.names.clone()?,
        })
    }

    /// A number in 0.0..1.0.
    pub(super) fn chance(&self) -> f64 {
        (self.shared.limits.chance)()
    }

    fn hold_all_of(&self, snapshot: &Snapshot) -> Result<(), ApplyError> {
        for route in &snapshot.config.routes {
            for rule in &route.rules {
                let missing = |id: &&String| !self.by_id.contains_key(id.as_str());
                let mut ids = rule.backends.iter().map(|weighted| &weighted.backend);
                if let Some(backend) = ids.find(missing) {
                    return Err(ApplyError::UnknownBackend {
                        route: format!("{}/{}", route.namespace, route.name),
                        rule: rule.name.clone(),
                        backend: backend.clone(),
                    });
                }
            }
        }
        Ok(())
    }
}

/// One backend of a snapshot with what is known of it.
pub struct Backend {
    id: Arc<str>,
    display: Arc<str>,
    compiled: Compiled,
    credential: Option<Credential>,
    hello: String,
    /// None when it cannot be set up.
    security: Option<Security>,
    health: Health,
    headless: Headless,
    turn: AtomicUsize,
    misconfigured: Mutex<Option<Misconfiguration>>,
    delivering: Arc<Pool>,
    asking: Arc<Pool>,
}

/// What a connection is for: asking has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    Ask,
    Deliver,
}

impl Backend {
    /// Its id in the snapshot.
    #[must_use]
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// How a person knows it.
    #[must_use]
    pub fn display(&self) -> &str {
        &self.display
    }

    /// `multipleRecipients: One`: 452 4.5.3 after the first recipient.
    #[must_use]
    pub fn takes_one_recipient(&self) -> bool {
        self.compiled.multiple_recipients == MultipleRecipients::One
    }

    /// Whether `Traceparent` is written to it.
    #[must_use]
    pub fn wants_traceparent(&self) -> bool {
        self.compiled.traceparent
    }

    fn is(&self, compiled: &Compiled, credential: Option<&Credential>, hello: &str) -> bool {
        self.compiled == *compiled && self.credential.as_ref() == credential && self.hello == hello
    }

    pub(super) fn shared_display(&self) -> Arc<str> {
        self.display.clone()
    }

    pub(super) fn target(&self) -> &Target {
        &self.compiled.target
    }

    pub(super) fn is_mx(&self) -> bool {
        self.compiled.target == Target::Mx
    }

    pub(super) fn discards(&self) -> bool {
        self.compiled.target == Target::Discard
    }

    pub(super) fn protocol(&self) -> Protocol {
        match self.compiled.protocol {
            BackendProtocol::Smtp => Protocol::Smtp,
            BackendProtocol::Lmtp => Protocol::Lmtp,
        }
    }

    pub(super) fn proxy_protocol(&self) -> Option<ProxyVersion> {
        self.compiled.proxy_protocol
    }

    /// None when it cannot be set up: no connection then.
    pub(super) fn security(&self) -> Option<&Security> {
        self.security.as_ref()
    }

    /// The name that is verified, when it is not the host's.
    pub(super) fn server_name(&self) -> Option<&str> {
        self.compiled.tls.server_name.as_deref()
    }

    pub(super) fn login(&self) -> Option<Login> {
        self.credential.as_ref().map(|credential| Login {
            username: credential.username.clone(),
            password: credential.password.clone(),
        })
    }

    /// Our name in EHLO.
    pub(super) fn hello(&self) -> &str {
        &self.hello
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    pub(super) fn headless(&self) -> &Headless {
        &self.headless
    }

    /// Counts connections, so that addresses are tried in turn.
    pub(super) fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn pool(&self, purpose: Purpose) -> &Arc<Pool> {
        match purpose {
            Purpose::Ask => &self.asking,
            Purpose::Deliver => &self.delivering,
        }
    }

    /// Keeps, or with none forgets, the reply that shows that we are misconfigured.
    pub(super) fn set_misconfigured(&self, last: Option<Misconfiguration>) {
        *self
            .misconfigured
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = last;
    }
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Backend").field(&self.display).finish()
    }
}
