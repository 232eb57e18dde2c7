//! The sending side of one session: where its connections come from and go to.

use super::answers;
use super::backend::{Purpose, Shared};
use super::choice::{Destination, DestinationKey};
use super::connect::connect;
use super::failure::Failure;
use super::link::Link;
use super::outcome::Record;
use super::pool::retire;
use jiff::Timestamp;
use postern_config::backend::ProxyVersion;
use postern_config::configz::Misconfiguration;
use postern_smtp::address::{Mailbox, ReversePath};
use postern_smtp::client::{Stage, proxy_v1, proxy_v2};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

/// Connections that one session holds at most.
const MAX_HELD: usize = 4;

/// The sending side of one session; holds the connections that belong to it alone (those with a
/// PROXY header).
pub struct Leg {
    pub(super) shared: Arc<Shared>,
    pub(super) client: SocketAddr,
    listener: SocketAddr,
    held: Mutex<Vec<Held>>,
}

/// A connection that only this session uses.
type Held = (Purpose, DestinationKey, Link);

/// A connection in use.
pub(super) struct Acquired {
    pub(super) link: Link,
    pub(super) reused: bool,
    /// Held while it is in use: it bounds how many are.
    permit: OwnedSemaphorePermit,
}

impl Leg {
    pub(super) fn new(shared: Arc<Shared>, client: SocketAddr, listener: SocketAddr) -> Self {
        Self {
            shared,
            client,
            listener,
            held: Mutex::default(),
        }
    }

    /// A connection that is ready for MAIL: an idle one unless `fresh`, else a new one.
    pub(super) async fn acquire(
        &self,
        destination: &Destination,
        purpose: Purpose,
        (fresh, deadline): (bool, Instant),
        record: &mut Record,
    ) -> Result<Acquired, Failure> {
        let pool = destination.backend.pool(purpose);
        let permit = timeout_at(deadline, pool.permit()).await.ok().flatten();
        let permit = permit.ok_or(Failure::Congested)?;
        let idle = if fresh {
            None
        } else {
            self.idle(destination, purpose)
        };
        let reused = idle.is_some();
        let link = match idle {
            Some(link) => link,
            None => self.fresh(destination, deadline, record).await?,
        };
        if reused {
            self.shared.totals.connections_reused.one();
        }
        record.connected(&link, reused);
        Ok(Acquired {
            link,
            reused,
            permit,
        })
    }

    fn idle(&self, destination: &Destination, purpose: Purpose) -> Option<Link> {
        if destination.backend.proxy_protocol().is_none() {
            return destination
                .backend
                .pool(purpose)
                .take(destination.domain.as_ref());
        }
        let key = destination.key();
        let mut held = self.held();
        let at = held
            .iter()
            .position(|held| (held.0, &held.1) == (purpose, &key))?;
        let mut link = held.swap_remove(at).2;
        drop(held);
        (!link.is_dead()).then_some(link)
    }

    async fn fresh(
        &self,
        destination: &Destination,
        deadline: Instant,
        record: &mut Record,
    ) -> Result<Link, Failure> {
        let preamble = match destination.backend.proxy_protocol() {
            None => Vec::new(),
            Some(ProxyVersion::V1) => proxy_v1(self.client, self.listener),
            Some(ProxyVersion::V2) => proxy_v2(self.client, self.listener),
        };
        match timeout_at(deadline, connect(&self.shared, destination, &preamble)).await {
            Ok(Ok(link)) => Ok(link),
            Ok(Err((failure, candidate))) => {
                if let Some(candidate) = candidate {
                    record.peer = Some(candidate.address);
                    record.host = candidate.host.map(|host| host.to_string());
                }
                Err(failure)
            }
            Err(_) => Err(Failure::Timeout(Stage::Greeting)),
        }
    }

    /// Gives a connection back after a transaction: to the session if it carries a PROXY header,
    /// else to all.
    pub(super) fn release(&self, destination: &Destination, purpose: Purpose, acquired: Acquired) {
        let Acquired {
            mut link, permit, ..
        } = acquired;
        link.uses += 1;
        drop(permit);
        let pool = destination.backend.pool(purpose);
        if destination.backend.proxy_protocol().is_none() {
            return pool.put(destination.domain.clone(), link);
        }
        let mut held = self.held();
        if pool.keeps(&link) && held.len() < MAX_HELD {
            held.push((purpose, destination.key(), link));
        } else {
            drop(held);
            retire(link);
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Vec<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By what an answer of the backend is remembered.
    pub(super) fn answer_key(
        &self,
        destination: &Destination,
        reverse_path: &ReversePath,
        recipient: &Mailbox,
    ) -> String {
        let backend = &destination.backend;
        let told = backend.proxy_protocol();
        let ends = told.map(|_| (self.client.ip(), self.listener));
        answers::key(backend.id(), ends, reverse_path, recipient)
    }

    /// What a failure means for the backend: avoided for a while, or told to its owner.
    pub(super) fn note(&self, destination: &Destination, failure: &Failure) {
        let Destination { backend, .. } = destination;
        if failure.is_backends_fault() && !backend.is_mx() {
            backend.health().failed(Instant::now(), &self.shared.limits);
        }
        if let Some(nonsense) = failure.nonsense() {
            self.shared.totals.nonsense.one();
            tracing::warn!(backend = backend.display(), %nonsense, "the backend speaks no SMTP");
        }
        if let Some(code) = failure.misconfiguration() {
            self.shared.totals.misconfigured.one();
            tracing::warn!(backend = backend.display(), code, "the backend refuses us");
            let at = Timestamp::now().to_string();
            backend.set_misconfigured(Some(Misconfiguration { code, at }));
        }
        if matches!(failure, Failure::TlsUnusable) {
            self.shared.totals.misconfigured.one();
        }
    }

    /// The backend answered as it should.
    pub(super) fn note_success(&self, destination: &Destination) {
        destination.backend.health().succeeded();
        destination.backend.set_misconfigured(None);
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        let held = std::mem::take(&mut *self.held());
        for (_, _, link) in held {
            retire(link);
        }
    }
}

impl Record {
    /// At the start of a question or a delivery.
    pub(super) fn begin(name: &'static str, destination: &Destination) -> Self {
        let now = SystemTime::now();
        Self {
            name,
            backend: destination.backend.shared_display(),
            protocol: match destination.backend.protocol() {
                postern_smtp::client::Protocol::Smtp => "smtp",
                postern_smtp::client::Protocol::Lmtp => "lmtp",
            },
            host: None,
            peer: None,
            tls: None,
            reused: false,
            reply: None,
            error: None,
            start: now,
            connected: None,
            envelope: None,
            data: None,
            end: now,
        }
    }

    fn connected(&mut self, link: &Link, reused: bool) {
        self.host = link.host.as_deref().map(str::to_owned);
        self.peer = Some(link.peer);
        self.tls = link.tls.clone();
        self.reused = reused;
        self.connected = Some(SystemTime::now());
    }

    /// At its end.
    pub(super) fn ended(mut self) -> Self {
        self.end = SystemTime::now();
        self
    }
}
