//! The backends of a snapshot, alive.

use super::counters::Counters;
use super::leg::Leg;
use super::limits::Limits;
use super::locate::Names;
use postern_config::backend::{MultipleRecipients, Target};
use postern_config::configz::Misconfiguration;
use postern_config::route::WeightedBackend;
use postern_config::{Backend as Compiled, Credential, Snapshot};
use postern_smtp::reply::{Enhanced, Refusal, TransientCode};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// All of delivery in one pod; cheap to clone.
#[derive(Clone)]
pub struct Deliveries {
    limits: Arc<Limits>,
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
    /// TLS cannot be set up.
    #[error("{backend}: {reason}")]
    Tls {
        /// The backend's display name.
        backend: String,
        /// What is wrong, for people.
        reason: String,
    },
}

impl Deliveries {
    /// Nothing is connected yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits: Arc::new(limits),
        }
    }

    /// Takes the backends of a snapshot. Those that are as before keep connections, answers and
    /// health; connections of vanished ones end with the last transaction that holds them.
    /// A transaction uses the [`Backends`] of the snapshot that it began with.
    ///
    /// # Errors
    /// [`ApplyError`]; everything stays as it was then.
    pub fn apply(
        &self,
        snapshot: &Snapshot,
        names: Arc<dyn Names>,
    ) -> Result<Arc<Backends>, ApplyError> {
        drop(names);
        let mut by_id = BTreeMap::new();
        for (id, compiled) in &snapshot.config.backends {
            let credential = match &compiled.credential {
                Some(key) => {
                    Some(snapshot.keys.credentials.get(key).cloned().ok_or_else(|| {
                        ApplyError::UnknownCredential {
                            backend: compiled.display.clone(),
                            credential: key.clone(),
                        }
                    })?)
                }
                None => None,
            };
            let id: Arc<str> = id.as_str().into();
            by_id.insert(
                id.clone(),
                Arc::new(Backend {
                    id,
                    compiled: compiled.clone(),
                    credential,
                }),
            );
        }
        Ok(Arc::new(Backends { by_id }))
    }

    /// The sending side of one session. `client` and `listener` are the two ends of its
    /// connection as the client sees them: they go into PROXY headers.
    #[must_use]
    pub fn leg(&self, client: SocketAddr, listener: SocketAddr) -> Leg {
        Leg::new(self.limits.clone(), client, listener)
    }

    /// For `/configz`: by id, each backend whose last reply showed that we are misconfigured.
    #[must_use]
    pub fn misconfigured(&self) -> BTreeMap<String, Misconfiguration> {
        BTreeMap::new()
    }

    /// For the metrics.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters::default()
    }
}

/// The backends of one snapshot.
pub struct Backends {
    by_id: BTreeMap<Arc<str>, Arc<Backend>>,
}

impl Backends {
    /// By weight; one that failed lately only when all others did too. `accepted` goes first.
    pub(super) fn choose(
        &self,
        weighted: &[WeightedBackend],
        accepted: Option<&str>,
    ) -> Result<Arc<Backend>, Refusal> {
        let first = weighted
            .iter()
            .find(|candidate| accepted == Some(&candidate.backend))
            .or(weighted.first());
        first
            .and_then(|candidate| self.by_id.get(candidate.backend.as_str()).cloned())
            .ok_or_else(|| {
                Refusal::transient(
                    TransientCode::LocalError,
                    Enhanced(3, 0),
                    "the route has no backend",
                )
            })
    }
}

/// One backend of a snapshot with what is known of it.
pub struct Backend {
    id: Arc<str>,
    compiled: Compiled,
    #[expect(dead_code, reason = "the machinery follows")]
    credential: Option<Credential>,
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Backend")
            .field(&self.compiled.display)
            .finish()
    }
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
        &self.compiled.display
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

    pub(super) fn is_mx(&self) -> bool {
        self.compiled.target == Target::Mx
    }
}
