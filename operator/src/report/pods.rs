//! Asking the pods what they run: `GET /configz` on each pod's admin port.
//!
//! In go the pods and the snapshot that each should run; out come their last answers, and a ring
//! of the bell when one changes. Pods write nothing to the API.

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Uri;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use postern_config::configz::{self, Configz};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::observe::Bell;
use crate::observe::kept::Pod;

/// For one question.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Questions that are open at once.
const IN_FLIGHT: usize = 64;
/// First and last pause until the snapshot has been acknowledged.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// Between two questions after that.
const ACKNOWLEDGED: Duration = Duration::from_secs(30);
/// A miss is asked about again after so long, so that a pod is not called unreachable for one lost
/// packet.
const AFTER_A_MISS: Duration = Duration::from_secs(1);
/// From so many misses on a pod is unreachable.
pub(super) const MISSES: u32 = 2;
/// Octets of an answer at most.
const ANSWER: usize = 256 << 10;

/// What is known of a pod.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Answer {
    /// Questions in a row that were not answered.
    pub(super) misses: u32,
    /// The last answer.
    pub(super) last: Option<Configz>,
}

/// Asks pods, each at its own pace.
pub struct Asker {
    http: Http,
    bell: Bell,
    asked: BTreeMap<String, Asked>,
}

#[derive(Clone)]
struct Http {
    client: Client<HttpConnector, Empty<Bytes>>,
    in_flight: Arc<Semaphore>,
}

struct Asked {
    address: IpAddr,
    wanted: watch::Sender<Wanted>,
    answer: Arc<Mutex<Answer>>,
    task: JoinHandle<()>,
}

/// What a pod should run. When it or the pod's readiness changes, the pod is asked at once.
#[derive(Default, PartialEq, Eq)]
struct Wanted {
    hash: Option<String>,
    ready: (bool, Option<Timestamp>),
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Asker {
    /// Asks nobody yet. `bell` rings when an answer changes.
    #[must_use]
    pub fn new(bell: &Bell) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            // A kept connection would hide that the pod behind the address is another one.
            .pool_max_idle_per_host(0)
            .build(connector);
        Self {
            http: Http {
                client,
                in_flight: Arc::new(Semaphore::new(IN_FLIGHT)),
            },
            bell: bell.clone(),
            asked: BTreeMap::new(),
        }
    }

    /// Asks these pods from now on, and no others: each with the hash that it should run.
    pub fn ask(&mut self, pods: &[(Arc<Pod>, Option<String>)]) {
        let asked = pods.iter().filter(|(pod, _)| !pod.terminating);
        let mut left = std::mem::take(&mut self.asked);
        for (pod, wanted) in asked {
            let Some(address) = pod.address else { continue };
            let known = left
                .remove(&pod.uid)
                .filter(|asked| asked.address == address);
            let asked = known.unwrap_or_else(|| self.begin(address));
            let wanted = Wanted {
                hash: wanted.clone(),
                ready: (pod.ready, pod.ready_since),
            };
            asked.wanted.send_if_modified(|now| {
                let changed = *now != wanted;
                *now = wanted;
                changed
            });
            self.asked.insert(pod.uid.clone(), asked);
        }
    }

    /// What is known of the pod of that uid.
    pub(super) fn answer(&self, uid: &str) -> Answer {
        let asked = self.asked.get(uid);
        asked
            .map(|asked| lock(&asked.answer).clone())
            .unwrap_or_default()
    }

    fn begin(&self, address: IpAddr) -> Asked {
        let (wanted, receiver) = watch::channel(Wanted::default());
        let answer = Arc::default();
        let questions = Questions {
            http: self.http.clone(),
            address,
            wanted: receiver,
            answer: Arc::clone(&answer),
            bell: self.bell.clone(),
        };
        Asked {
            address,
            wanted,
            answer,
            task: tokio::spawn(questions.ask()),
        }
    }
}

struct Questions {
    http: Http,
    address: IpAddr,
    wanted: watch::Receiver<Wanted>,
    answer: Arc<Mutex<Answer>>,
    bell: Bell,
}

impl Questions {
    async fn ask(mut self) {
        let (first, last) = PAUSES;
        let mut pause = first;
        loop {
            let wanted = self.wanted.borrow_and_update().hash.clone();
            let configz = self.http.get(self.address).await;
            let misses = self.note(configz);
            let wait = if misses == 1 {
                AFTER_A_MISS
            } else if misses == 0 && self.runs(wanted.as_deref()) {
                ACKNOWLEDGED
            } else {
                let now = pause;
                pause = pause.saturating_mul(2).min(last);
                now
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                changed = self.wanted.changed() => match changed {
                    Ok(()) => pause = first,
                    Err(_) => return,
                },
            }
        }
    }

    fn note(&self, configz: Option<Configz>) -> u32 {
        let mut answer = lock(&self.answer);
        let before = answer.clone();
        match configz {
            Some(configz) => {
                *answer = Answer {
                    misses: 0,
                    last: Some(configz),
                }
            }
            None => answer.misses = answer.misses.saturating_add(1).min(MISSES),
        }
        if *answer != before {
            self.bell.ring();
        }
        answer.misses
    }

    fn runs(&self, wanted: Option<&str>) -> bool {
        let answer = lock(&self.answer);
        let applied = answer
            .last
            .as_ref()
            .and_then(|configz| configz.applied.as_ref());
        applied.is_some_and(|applied| Some(&*applied.hash) == wanted)
    }
}

impl Http {
    async fn get(&self, address: IpAddr) -> Option<Configz> {
        let _permit = self.in_flight.acquire().await.ok()?;
        let authority = SocketAddr::new(address, postern_crds::ADMIN_PORT);
        let uri: Uri = format!("http://{authority}{}", configz::PATH)
            .parse()
            .ok()?;
        let answer = async {
            let response = self.client.get(uri).await.ok()?;
            if !response.status().is_success() {
                return None;
            }
            let body = Limited::new(response.into_body(), ANSWER)
                .collect()
                .await
                .ok()?;
            serde_json::from_slice(&body.to_bytes()).ok()
        };
        tokio::time::timeout(TIMEOUT, answer).await.ok().flatten()
    }
}

fn lock(answer: &Mutex<Answer>) -> std::sync::MutexGuard<'_, Answer> {
    // An answer is replaced whole, so a poisoned lock is as good as another.
    answer.lock().unwrap_or_else(PoisonError::into_inner)
}
