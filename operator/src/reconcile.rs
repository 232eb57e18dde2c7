//! The loop: one level-triggered pass over everything, whatever has changed.
//!
//! A ring of the bell, a pod's answer or a time that has come begins a pass, after a short wait in
//! which more may come. A pass takes the caches as they are, translates them on a thread of its
//! own, applies each gateway (a few at a time, each with its own back-off) and reports. What a
//! pass remembers for the next is a cache of what stands in the cluster; a new leader begins
//! without it.

mod facts;
mod look;
mod pace;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use kube::Client;
use postern_crds::MailGateway;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use facts::{addresses, event_reporter, progress, reference, refused};
use look::{Look, is_stale, look_at};
use pace::{PAUSES, due, lost, next, pause};

use crate::apply::{self, ApplyError, Found, Memory, Need, Site, Writes};
use crate::metrics::{GatewayLabels, Metrics};
use crate::names;
use crate::observe::kept::Pod;
use crate::observe::{Bell, Known, Observer, Own};
use crate::options::Options;
use crate::report::events::{News, Teller};
use crate::report::fleet::Fleet;
use crate::report::status::Gateway;
use crate::report::{Asker, Objects, Reporter};
use crate::translate::translate;
use crate::translation::{GatewayOutput, Translation};
use crate::world::{Child, Object, ObjectKey, World};

/// Gateways that are applied at the same time.
const GATEWAYS: usize = 4;
/// A gateway may take so long; then it is tried again.
const GATEWAY_TIME: Duration = Duration::from_secs(30);
/// An object of somebody else under a name of ours is looked at again after so long.
const FOREIGN_AGAIN: Duration = Duration::from_secs(30);

/// Everything that a pass works with.
pub struct Reconciler {
    client: Client,
    options: Arc<Options>,
    observer: Observer,
    bell: Bell,
    asker: Asker,
    writes: Writes,
    metrics: Arc<Metrics>,
    gateways: BTreeMap<ObjectKey, Kept>,
}

/// What is kept of one gateway between passes.
#[derive(Default)]
struct Kept {
    uid: String,
    memory: Memory,
    problem: Option<(&'static str, String)>,
    failures: u32,
    retry_at: Option<Instant>,
    /// What could not be applied: something else is tried at once.
    failed: Option<GatewayOutput>,
    wait_until: Option<Timestamp>,
    foreign: Option<(Child, Instant)>,
    confirmed: BTreeMap<String, i64>,
    teller: Teller,
}

impl Reconciler {
    /// Begins to watch.
    #[must_use]
    pub fn new(client: Client, options: &Arc<Options>, metrics: &Arc<Metrics>) -> Self {
        let bell = Bell::default();
        Self {
            observer: Observer::start(&client, options, &bell),
            asker: Asker::new(&bell),
            client,
            options: Arc::clone(options),
            bell,
            writes: Writes::unlimited(),
            metrics: Arc::clone(metrics),
            gateways: BTreeMap::new(),
        }
    }

    /// Reconciles while `leading` is true, and keeps the caches warm while it is not. Ends when
    /// nobody stands for election any more.
    pub async fn run(mut self, mut leading: watch::Receiver<bool>) {
        let bell = self.bell.clone();
        let mut wake = None;
        loop {
            if !*leading.borrow_and_update() {
                self.metrics.leader.set(0);
                self.gateways.clear();
                self.asker.ask(&[]);
                tokio::select! {
                    changed = leading.changed() => if changed.is_err() { return },
                    () = bell.rung() => {
                        self.warm();
                    }
                }
                // What rang while others led is seen by the first pass.
                wake = Some(Instant::now());
                continue;
            }
            self.metrics.leader.set(1);
            tokio::select! {
                () = due(&bell, wake) => {}
                changed = leading.changed() => if changed.is_err() { return } else { continue },
            }
            tokio::select! {
                next = self.pass() => wake = next,
                // Another may write from now on: the pass ends where it is.
                _ = lost(&mut leading) => {}
            }
        }
    }

    fn warm(&mut self) -> bool {
        self.observer.follow_config_maps();
        let pending = self.observer.pending();
        let ready = pending.is_empty();
        if !ready {
            debug!(?pending, "not seen yet");
        }
        self.metrics.ready.store(ready, Ordering::Relaxed);
        ready
    }

    /// One pass. Gives the time of the next, if nothing rings before.
    async fn pass(&mut self) -> Option<Instant> {
        if !self.warm() {
            return None;
        }
        let begun = Instant::now();
        let objects = self.objects();
        self.forget(&objects.gateways);
        self.look(&objects.gateways).await;
        let known = self.known();
        let world = self.observer.world(Timestamp::now(), &known);
        let (world, translation) = self.translated(world).await?;
        let pods = self.observer.pods();
        self.apply(&world, &translation, &pods).await;
        self.ask(&pods);
        let gateways = self.judge(&translation, &pods);
        let controller = self.options.controller_name();
        let reporter = Reporter {
            client: &self.client,
            writes: &self.writes,
            controller: &controller,
        };
        let reported = reporter.report(&objects, &translation, &gateways).await;
        self.metrics.status_failures.inc_by(reported.failed as u64);
        self.tell(&objects.gateways, reported.news).await;
        self.metrics.passes.inc();
        if let Some(seconds) = &self.metrics.pass_seconds {
            seconds.observe(begun.elapsed().as_secs_f64());
        }
        self.next(translation.recheck_at, reported.failed)
    }

    /// Writes Events for what has turned.
    async fn tell(
        &mut self,
        gateways: &BTreeMap<ObjectKey, Arc<Own<MailGateway>>>,
        all: Vec<(ObjectKey, Vec<News>)>,
    ) {
        let reporter = event_reporter(&self.options);
        for (key, news) in all {
            let kept = self.gateways.get_mut(&key);
            let (Some(kept), Some(own)) = (kept, gateways.get(&key)) else {
                continue;
            };
            let object = reference(own.object.metadata());
            kept.teller
                .tell(&self.client, &reporter, &object, news)
                .await;
        }
    }

    fn objects(&self) -> Objects {
        Objects {
            gateways: self.observer.gateways(),
            routes: self.observer.routes(),
            policies: self.observer.policies(),
        }
    }

    /// What was kept of gateways that are gone, or have been made anew, is dropped.
    fn forget(&mut self, gateways: &BTreeMap<ObjectKey, Arc<Own<MailGateway>>>) {
        self.gateways.retain(|key, kept| {
            let metadata = gateways.get(key).map(|own| own.object.metadata());
            metadata.is_some_and(|metadata| metadata.uid.as_deref() == Some(&kept.uid))
        });
        for (key, own) in gateways {
            let uid = own.object.metadata().uid.clone().unwrap_or_default();
            self.gateways.entry(key.clone()).or_insert_with(|| Kept {
                uid,
                ..Kept::default()
            });
        }
    }

    /// Reads the snapshots of gateways of which it is not known, or has been changed by others,
    /// and looks again at objects that were in the way.
    async fn look(&mut self, gateways: &BTreeMap<ObjectKey, Arc<Own<MailGateway>>>) {
        let permitted = self.observer.permitted_infra();
        let class_name = &self.options.class_name;
        let is_looked_at = |key: &ObjectKey| {
            let object = gateways.get(key).map(|own| &own.object);
            let ours = matches!(object, Some(Object::Read(gateway)) if gateway.spec.class_name == *class_name);
            ours && permitted.contains(&key.namespace)
        };
        // What nobody looks at again must not call for a pass either; applying finds it anew.
        for (key, kept) in &mut self.gateways {
            if !is_looked_at(key) {
                kept.foreign = None;
            }
        }
        let Self {
            client,
            observer,
            options,
            ..
        } = &*self;
        let look = |(key, kept): (&ObjectKey, &Kept)| {
            if !is_looked_at(key) {
                return None;
            }
            let stale = is_stale(observer, key, &kept.memory);
            let foreign = kept
                .foreign
                .clone()
                .filter(|(_, again)| *again <= Instant::now());
            (stale || foreign.is_some())
                .then(|| look_at(client, options, key.clone(), stale, foreign))
        };
        let looks: Vec<_> = self.gateways.iter().filter_map(look).collect();
        let seen: Vec<Look> = stream::iter(looks)
            .buffer_unordered(GATEWAYS)
            .collect()
            .await;
        for look in seen {
            let Some(kept) = self.gateways.get_mut(&look.key) else {
                continue;
            };
            if let Some(live) = look.live {
                kept.memory.live = live;
            }
            if let Some(child) = look.foreign {
                kept.foreign = child.map(|child| (child, Instant::now() + FOREIGN_AGAIN));
            }
        }
    }

    fn known(&self) -> Known {
        let current = |(key, kept): (&ObjectKey, &Kept)| {
            Some((
                key.clone(),
                Arc::clone(kept.memory.live.as_ref()?.snapshot()?),
            ))
        };
        let foreign = |(key, kept): (&ObjectKey, &Kept)| {
            Some((key.clone(), vec![kept.foreign.as_ref()?.0.clone()]))
        };
        Known {
            current: self.gateways.iter().filter_map(current).collect(),
            foreign: self.gateways.iter().filter_map(foreign).collect(),
        }
    }

    async fn translated(&self, world: World) -> Option<(World, Translation)> {
        let begun = Instant::now();
        let translated = tokio::task::spawn_blocking(move || {
            let translation = translate(&world);
            (world, translation)
        });
        match translated.await {
            Ok(result) => {
                if let Some(seconds) = &self.metrics.translate_seconds {
                    seconds.observe(begun.elapsed().as_secs_f64());
                }
                Some(result)
            }
            Err(error) => {
                warn!(%error, "translate failed");
                None
            }
        }
    }

    async fn apply(
        &mut self,
        world: &World,
        translation: &Translation,
        pods: &BTreeMap<ObjectKey, Vec<Arc<Pod>>>,
    ) {
        for (key, kept) in &mut self.gateways {
            let read = matches!(world.gateways.get(key), Some(Object::Read(_)));
            if !read || !translation.gateways.contains_key(key) {
                kept.wait_for_nothing();
            }
        }
        let mut work = Vec::new();
        for (key, output) in &translation.gateways {
            let Some(Object::Read(gateway)) = world.gateways.get(key) else {
                continue;
            };
            let Some(kept) = self.gateways.get_mut(key) else {
                continue;
            };
            let waits = kept.retry_at.is_some_and(|at| at > Instant::now());
            if waits && kept.failed.as_ref() == Some(output) {
                continue;
            }
            let memory = std::mem::take(&mut kept.memory);
            let hash = memory.live.as_ref().and_then(|live| live.hash());
            let pods = pods.get(key).map(Vec::as_slice).unwrap_or_default();
            let fleet = Fleet::count(pods, &self.asker, hash);
            work.push((key, gateway, output, memory, fleet.need()));
        }
        let applied: Vec<Applied> = stream::iter(work)
            .map(|(key, gateway, output, memory, need)| {
                self.apply_one(key, gateway, output, memory, need)
            })
            .buffer_unordered(GATEWAYS)
            .collect()
            .await;
        for applied in applied {
            let output = translation.gateways.get(&applied.key);
            self.settle(applied, output);
        }
    }

    async fn apply_one(
        &self,
        key: &ObjectKey,
        gateway: &MailGateway,
        output: &GatewayOutput,
        mut memory: Memory,
        need: Need,
    ) -> Applied {
        let site = Site {
            client: &self.client,
            installation: &self.options.installation,
            writes: &self.writes,
            gateway,
            key: key.clone(),
        };
        let uid = gateway.metadata.uid.as_deref().unwrap_or_default();
        let found = Found {
            written: &|kind, key| self.observer.written(kind, key),
            generated: self.observer.generated_for(uid),
            need,
        };
        let applying = apply::apply(&site, output, &found, &mut memory);
        let result = tokio::time::timeout(GATEWAY_TIME, applying).await;
        let result = result.unwrap_or_else(|_| Err(ApplyError::TimedOut(GATEWAY_TIME)));
        Applied {
            key: key.clone(),
            memory,
            result,
        }
    }

    fn settle(&mut self, applied: Applied, output: Option<&GatewayOutput>) {
        let Applied {
            key,
            memory,
            result,
        } = applied;
        let Some(kept) = self.gateways.get_mut(&key) else {
            return;
        };
        kept.memory = memory;
        kept.wait_until = None;
        let error = match result {
            Ok(wait) => {
                kept.wait_until = wait;
                (kept.problem, kept.failures, kept.retry_at) = (None, 0, None);
                kept.failed = None;
                return;
            }
            Err(error) => error,
        };
        let ObjectKey { namespace, name } = key.clone();
        self.metrics
            .failures
            .get_or_create(&GatewayLabels { namespace, name })
            .inc();
        kept.failures = kept.failures.saturating_add(1);
        kept.retry_at = Some(Instant::now() + pause(kept.failures));
        kept.failed = output.cloned();
        info!(gateway = %key, %error, failures = kept.failures, "could not be applied");
        match error {
            // Nobody needs to know unless it stays so.
            ApplyError::Conflict => {}
            ApplyError::TooLarge(message) => kept.problem = Some(("TooLarge", message)),
            ApplyError::Foreign(child) => {
                kept.foreign = Some((child, Instant::now() + FOREIGN_AGAIN));
                kept.retry_at = None;
                self.bell.ring();
            }
            error => kept.problem = Some(("WriteFailed", error.to_string())),
        }
    }

    /// Pods are asked for what their gateway's head says now.
    fn ask(&mut self, pods: &BTreeMap<ObjectKey, Vec<Arc<Pod>>>) {
        let wanted = |key: &ObjectKey| {
            let live = self.gateways.get(key)?.memory.live.as_ref()?;
            live.hash().map(str::to_owned)
        };
        let asked: Vec<_> = pods
            .iter()
            .filter(|(key, _)| wanted(key).is_some())
            .flat_map(|(key, pods)| pods.iter().map(|pod| (Arc::clone(pod), wanted(key))))
            .collect();
        self.asker.ask(&asked);
    }

    fn judge(
        &mut self,
        translation: &Translation,
        pods: &BTreeMap<ObjectKey, Vec<Arc<Pod>>>,
    ) -> BTreeMap<ObjectKey, Gateway> {
        let mut judged = BTreeMap::new();
        for key in translation.gateway_statuses.keys() {
            let Some(kept) = self.gateways.get_mut(key) else {
                continue;
            };
            let pods = pods.get(key).map(Vec::as_slice).unwrap_or_default();
            let live = kept.memory.live.as_ref();
            let fleet = Fleet::count(pods, &self.asker, live.and_then(|live| live.hash()));
            let snapshot = live.and_then(|live| live.snapshot());
            if let (true, Some(snapshot)) = (fleet.all_run_it(), snapshot) {
                kept.confirmed.clone_from(&snapshot.config.generations);
            }
            let refused = snapshot
                .map(|s| refused(&s.config, &fleet))
                .unwrap_or_default();
            let gateway = Gateway {
                progress: progress(kept),
                confirmed: kept.confirmed.clone(),
                refused,
                addresses: addresses(&self.observer, key),
                selector: format!("{}={}", names::GATEWAY, names::gateway_label(&key.name)),
                fleet,
            };
            judged.insert(key.clone(), gateway);
        }
        judged
    }

    fn next(&self, recheck_at: Option<Timestamp>, failed: usize) -> Option<Instant> {
        let at = |time: Timestamp| {
            let left = time.duration_since(Timestamp::now());
            Instant::now() + Duration::try_from(left).unwrap_or(Duration::ZERO)
        };
        let kept = self.gateways.values().flat_map(|kept| {
            let foreign = kept.foreign.as_ref().map(|(_, again)| *again);
            [kept.retry_at, kept.wait_until.map(at), foreign]
        });
        let failed = (failed > 0).then(|| Instant::now() + PAUSES.0);
        let times = kept.flatten().chain(recheck_at.map(at)).chain(failed);
        next(times, Instant::now())
    }
}

impl Kept {
    /// The gateway is not applied now (malformed, of another class): no time of its own begins a
    /// pass. What it becomes rings the bell.
    fn wait_for_nothing(&mut self) {
        (self.retry_at, self.wait_until, self.failed) = (None, None, None);
    }
}

struct Applied {
    key: ObjectKey,
    memory: Memory,
    result: Result<Option<Timestamp>, ApplyError>,
}
