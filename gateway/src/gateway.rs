//! A running gateway, for `postern gateway`, `postern run`, the demo, the bench and tests.
//!
//! Snapshots go in by [`Gateway::apply`], signals by [`Gateway::drain`] and
//! [`Gateway::shutdown`]; mail flows until [`Gateway::drained`].

use crate::admin::{self, Readiness};
use crate::delivery::{Deliveries, Limits};
use crate::server::budget::Budget;
use crate::server::refusals::Refusals;
use crate::server::sessions::{Phase, Sessions};
use crate::server::tls::TlsContext;
use crate::server::{BindError, Listeners, Shared, advice};
use crate::snapshot::folder::{self, FolderError};
use crate::snapshot::{CompileError, Environment, Runtime, State};
use crate::telemetry::collectors::Collected;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::pipeline::FLUSH;
use crate::telemetry::push::Push;
use crate::telemetry::record::Sink;
use postern_config::Snapshot;
use postern_config::configz::Configz;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// After the drain's timeout the pod is left so long before it is killed: the operator writes it
/// into the pod's termination grace period (docs/flow.md, When a pod ends).
const GRACE: Duration = Duration::from_secs(30);
/// The last of it: sessions that are cut off end, telemetry is flushed, the process leaves.
const LEAVING: Duration = Duration::from_secs(7);
/// Of that, what sessions have to say 421, to be heard (1 s), and to leave their records.
const ENDING: Duration = Duration::from_millis(1500);
const _: () = assert!(ENDING.as_millis() + FLUSH.as_millis() < LEAVING.as_millis());
/// Memory for messages where the system does not say how much there is.
const MEMORY: u64 = 512 << 20;

/// How a gateway runs, apart from its snapshot.
pub struct Options {
    /// Where listeners are opened; none: on all addresses of both families.
    pub bind: Option<IpAddr>,
    /// Where the admin port is opened; none: there is none.
    pub admin: Option<SocketAddr>,
    /// Takes the records of sessions and transactions.
    pub sink: Arc<dyn Sink>,
    /// Octets of messages in memory; none: half of what the container may use.
    pub message_memory: Option<u64>,
    /// Bounds and times of delivery.
    pub delivery: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bind: None,
            admin: None,
            sink: Arc::new(()),
            message_memory: None,
            delivery: Limits::default(),
        }
    }
}

/// Why a snapshot is not applied; the one before it stays in use.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It cannot be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A listener cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Telemetry cannot be set up.
    #[error("telemetry: {0}")]
    Telemetry(String),
}

/// Why a folder boots nothing.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// It holds no whole set.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// No set that is whole can be applied.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The admin port cannot be opened.
    #[error("admin port {address}: {reason}{}", advice(.reason, *.address))]
    Admin {
        /// What was to be opened.
        address: SocketAddr,
        /// What the system said.
        reason: io::Error,
    },
    /// Its first snapshot cannot be applied.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// A gateway that runs. Dropping it closes its listeners; sessions end with the runtime.
pub struct Gateway {
    shared: Arc<Shared>,
    listeners: Mutex<Listeners>,
    bind: Option<IpAddr>,
    admin: Option<(SocketAddr, AbortOnDropHandle<()>)>,
    readiness: Arc<Readiness>,
    push: Push,
}

impl Gateway {
    /// Starts with a snapshot. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`]: a port is taken or the snapshot cannot be used.
    pub async fn start(snapshot: Snapshot, options: Options) -> Result<Self, StartError> {
        let gateway = Self::idle(options).await?;
        // What cannot be used is the caller's to tell: nothing runs that could be asked why.
        gateway.take(snapshot, 1)?;
        Ok(gateway)
    }

    /// Starts without a snapshot: the admin port answers, nothing listens.
    ///
    /// # Errors
    /// When the admin port cannot be opened.
    pub async fn idle(options: Options) -> Result<Self, StartError> {
        let environment = Environment {
            tls: TlsContext::new(),
            deliveries: Deliveries::new(options.delivery),
        };
        let shared = Arc::new(Shared {
            state: Arc::new(State::default()),
            environment,
            sessions: Sessions::default(),
            budget: Budget::new(options.message_memory.unwrap_or_else(message_memory)),
            metrics: Metrics::new(),
            refusals: Refusals::default(),
            sink: options.sink,
        });
        shared.metrics.collect(Collected {
            deliveries: shared.environment.deliveries.clone(),
            budget: shared.budget.clone(),
            state: Arc::clone(&shared.state),
            sink: Arc::clone(&shared.sink),
        });
        let readiness = Arc::new(Readiness::default());
        let admin = match options.admin {
            Some(address) => {
                let fail = |reason| StartError::Admin { address, reason };
                let socket = TcpListener::bind(address).await.map_err(fail)?;
                let address = socket.local_addr().map_err(fail)?;
                let serve = admin::serve(socket, Arc::clone(&shared), Arc::clone(&readiness));
                Some((address, AbortOnDropHandle::new(tokio::spawn(serve))))
            }
            None => None,
        };
        let listeners = Mutex::default();
        Ok(Self {
            shared,
            listeners,
            bind: options.bind,
            admin,
            readiness,
            push: Push::default(),
        })
    }

    /// Applies a snapshot as the one after the current one.
    ///
    /// # Errors
    /// [`ApplyError`]; the snapshot before it stays in use, and `/configz` says why.
    pub fn apply(&self, snapshot: Snapshot) -> Result<(), ApplyError> {
        let generation = self
            .shared
            .state
            .current()
            .map_or(1, |runtime| runtime.generation + 1);
        self.apply_generation(snapshot, generation)
    }

    /// Applies a snapshot whose head has that generation.
    ///
    /// # Errors
    /// As [`Gateway::apply`].
    pub fn apply_generation(&self, snapshot: Snapshot, generation: u64) -> Result<(), ApplyError> {
        let hash = snapshot.hash();
        let result = self.take(snapshot, generation);
        if let Err(error) = &result {
            self.reject(&hash, generation, &error.to_string());
        }
        result
    }

    fn take(&self, snapshot: Snapshot, generation: u64) -> Result<(), ApplyError> {
        self.swap(snapshot, generation)?;
        self.shared.metrics.snapshots_applied.inc();
        let generation = i64::try_from(generation).unwrap_or(i64::MAX);
        self.shared.metrics.snapshot_generation.set(generation);
        self.readiness.applied();
        Ok(())
    }

    /// Boots from a folder with a head: its current set, or the previous one when the current set is
    /// not whole or cannot be applied; `/configz` says then why.
    ///
    /// # Errors
    /// [`BootError`]: neither set can be used; what is wrong with the current one.
    pub fn boot(&self, folder: &Path) -> Result<(), BootError> {
        let booted = folder::boot(folder)?;
        let hash = booted.snapshot.hash();
        let applied = self.apply_generation(booted.snapshot, booted.generation);
        if let Some((hash, why)) = booted.skipped {
            self.reject(&hash, booted.generation + 1, &why);
        }
        let Err(error) = applied else { return Ok(()) };
        let Some(previous) = booted.previous else {
            return Err(error.into());
        };
        let before = booted.generation.saturating_sub(1);
        let fallen_back = folder::set(folder, &previous).and_then(|snapshot| {
            self.apply_generation(snapshot, before)
                .map_err(|error| error.to_string())
        });
        // What is wrong with the current set is what its owner must mend; it was counted already.
        let state = &self.shared.state;
        state.reject(&hash, booted.generation, &error.to_string());
        fallen_back.map_err(|why| {
            tracing::warn!(why, "the previous set cannot be used either");
            error.into()
        })
    }

    fn swap(&self, snapshot: Snapshot, generation: u64) -> Result<(), ApplyError> {
        // One at a time; sessions never take this lock.
        let mut listeners = self.listeners();
        let previous = self.shared.state.current();
        let environment = &self.shared.environment;
        let runtime = Runtime::compile(snapshot, generation, environment, previous.as_deref())?;
        let prepared = listeners.prepare(&runtime, self.bind)?;
        let push = self.push.prepare(&runtime.config, &self.shared.metrics);
        let push = push.map_err(|error| ApplyError::Telemetry(error.to_string()))?;
        self.shared
            .sink
            .apply(&runtime.config)
            .map_err(ApplyError::Telemetry)?;
        self.push.commit(push);
        environment.deliveries.commit(&runtime.backends);
        self.shared.state.set(Arc::new(runtime));
        if self.shared.sessions.phase() == Phase::Serving {
            listeners.serve(prepared, &self.shared);
        }
        Ok(())
    }

    /// Notes for `/configz` that a snapshot was refused before it could be applied.
    pub fn reject(&self, hash: &str, generation: u64, reason: &str) {
        self.shared.metrics.snapshots_rejected.inc();
        self.shared.state.reject(hash, generation, reason);
    }

    /// Where a listener is reached.
    #[must_use]
    pub fn local_addr(&self, listener: &str) -> Option<SocketAddr> {
        self.listeners().local_addr(listener)
    }

    /// Where the admin port is reached.
    #[must_use]
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|(address, _)| *address)
    }

    /// What `/configz` says.
    #[must_use]
    pub fn status(&self) -> Configz {
        admin::configz(&self.shared)
    }

    /// The metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Sessions that are open now.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.shared.sessions.count()
    }

    /// SIGTERM (docs/flow.md, When a pod ends): accepts for `drain.minDuration`, then closes
    /// the listeners and lets transactions finish until `drain.timeout`, then ends them, and waits
    /// for those whose final dot is at a backend. Both are counted from now. It ends 5.5 s before
    /// the pod would be killed, so that telemetry can be flushed.
    pub async fn drain(&self) {
        let drain = self
            .shared
            .state
            .current()
            .map(|runtime| runtime.config.drain.clone());
        let (least, most) = drain.map_or((0, 0), |d| (d.min_duration_ms, d.timeout_ms));
        let begin = tokio::time::Instant::now();
        tracing::info!(min_duration_ms = least, timeout_ms = most, "draining");
        tokio::time::sleep_until(begin + Duration::from_millis(least)).await;
        self.shutdown();
        let deadline = begin + Duration::from_millis(most);
        if tokio::time::timeout_at(deadline, self.drained())
            .await
            .is_ok()
        {
            return;
        }
        self.shared.sessions.advance(Phase::Deadline);
        let last = deadline + GRACE - LEAVING;
        if tokio::time::timeout_at(last, self.drained()).await.is_err() {
            self.shared.sessions.advance(Phase::Over);
            // Their records come before the flush, or not at all.
            let _ = tokio::time::timeout(ENDING, self.drained()).await;
        }
    }

    /// Pushes the metrics a last time, where a snapshot wants them pushed; at most 5 s.
    pub async fn flush(&self) {
        // A collector that hangs must not hold up the end of a pod.
        let _ = tokio::time::timeout(FLUSH, self.push.flush()).await;
    }

    /// Closes the listeners; sessions get 421 4.3.2 at the next command, transactions finish.
    pub fn shutdown(&self) {
        self.readiness.closing();
        self.listeners().close();
        self.shared.sessions.advance(Phase::Closing);
    }

    /// Waits until no session is open.
    pub async fn drained(&self) {
        self.shared.sessions.empty().await;
    }

    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a running gateway is to the one who follows the head.
impl crate::snapshot::follow::Apply for Arc<Gateway> {
    fn hash(&self) -> Option<String> {
        self.shared
            .state
            .current()
            .map(|runtime| runtime.hash.to_string())
    }

    fn apply(&self, snapshot: Snapshot, generation: u64) -> Result<(), String> {
        let gateway: &Gateway = self;
        gateway
            .apply_generation(snapshot, generation)
            .map_err(|error| error.to_string())
    }

    fn reject(&self, hash: &str, generation: u64, reason: &str) {
        let gateway: &Gateway = self;
        gateway.reject(hash, generation, reason);
    }
}

/// Half of the container's memory limit (cgroup v2, then v1).
fn message_memory() -> u64 {
    let files = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    let limit = files.iter().find_map(|file| {
        std::fs::read_to_string(file)
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()
    });
    // v1 says a number near 2^63 when there is no limit.
    limit
        .filter(|octets| *octets < 1 << 48)
        .map_or(MEMORY, |octets| octets / 2)
}
