//! What the pods of one gateway say together, and the condition Programmed that follows from it.

use postern_config::chunks::short;
use postern_config::configz::Misconfiguration;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::pods::{Asker, MISSES};
use crate::observe::kept::Pod;
use crate::translation::Programming;

/// Pods that are named in a message at most.
const NAMED: usize = 3;

/// The pods of a gateway, by what they say of one snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fleet {
    /// Pods that are not terminating.
    pub pods: usize,
    /// Of these the ready ones.
    pub ready: usize,
    /// Of these the ones that run the snapshot.
    pub acknowledged: usize,
    /// Ready pods that do not answer.
    pub unreachable: Vec<String>,
    /// Ready pods that have refused the snapshot, with their reason.
    pub rejected: Vec<(String, String)>,
    /// Backends whose last reply showed that we are misconfigured, by id.
    pub misconfigured: BTreeMap<String, Misconfiguration>,
}

impl Fleet {
    /// Counts the pods that run the snapshot of that hash.
    #[must_use]
    pub fn count(pods: &[Arc<Pod>], asker: &Asker, hash: Option<&str>) -> Self {
        let mut fleet = Self::default();
        for pod in pods.iter().filter(|pod| !pod.terminating) {
            fleet.pods += 1;
            if pod.ready {
                fleet.ready += 1;
                fleet.add(pod, asker, hash);
            }
        }
        fleet
    }

    fn add(&mut self, pod: &Pod, asker: &Asker, hash: Option<&str>) {
        let answer = asker.answer(&pod.uid);
        let name = pod.key.name.clone();
        if answer.misses >= MISSES {
            self.unreachable.push(name);
            return;
        }
        let Some(configz) = answer.last else { return };
        self.misconfigured.extend(configz.backends);
        let applied = configz.applied.map(|applied| applied.hash);
        if hash.is_some() && applied.as_deref() == hash {
            self.acknowledged += 1;
        } else if let Some(rejected) = configz.rejected {
            // An empty hash is a head that could not be read.
            if rejected.hash.is_empty() || Some(&*rejected.hash) == hash {
                self.rejected.push((name, rejected.reason));
            }
        }
    }

    /// There are ready pods, and all run the snapshot.
    #[must_use]
    pub fn all_run_it(&self) -> bool {
        self.ready > 0 && self.acknowledged == self.ready
    }
}

/// The condition Programmed, but for its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programmed {
    /// True or False.
    pub status: bool,
    /// Why, in one word.
    pub reason: String,
    /// Why, in a sentence.
    pub message: String,
}

impl Programmed {
    fn no(reason: &str, message: impl Into<String>) -> Self {
        Self {
            status: false,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    fn yes(message: impl Into<String>) -> Self {
        Self {
            status: true,
            reason: "Programmed".to_owned(),
            message: message.into(),
        }
    }
}

/// How far the snapshot of a gateway has come on its way to the pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It is not written.
    Failed {
        /// `TooLarge`, `WriteFailed`; `Pending` before the first attempt.
        reason: &'static str,
        /// What went wrong.
        message: String,
    },
    /// The one of this hash is written, and a newer one waits for pods that still need the set
    /// that it would overwrite.
    Waiting(String),
    /// It is written, under this hash.
    Written(String),
}

/// Of a gateway, or one of its listeners.
#[must_use]
pub fn of_gateway(programming: &Programming, progress: &Progress, fleet: &Fleet) -> Programmed {
    let partial = match programming {
        Programming::Not { reason, message } => return Programmed::no(reason, message),
        Programming::Partial { reason, message } => Some((reason, message)),
        Programming::Whole => None,
    };
    let (hash, waits) = match progress {
        Progress::Failed { reason, message } => return Programmed::no(reason, message),
        Progress::Waiting(hash) => (short(hash), true),
        Progress::Written(hash) => (short(hash), false),
    };
    let count = format!("{}/{} pods run {hash}", fleet.acknowledged, fleet.ready);
    if fleet.ready == 0 {
        let why = match fleet.pods {
            0 => "there is no pod".to_owned(),
            pods => format!("none of {pods} pods is ready"),
        };
        return Programmed::no("NoReadyPods", format!("{count}: {why}"));
    }
    if let Some((pod, reason)) = fleet.rejected.first() {
        return Programmed::no(
            "SnapshotRejected",
            format!("{count}; {pod} refuses it: {reason}"),
        );
    }
    if !fleet.unreachable.is_empty() {
        let names = some(&fleet.unreachable);
        return Programmed::no(
            "PodsUnreachable",
            format!("{count}; no answer from {names}"),
        );
    }
    if waits {
        return Programmed::no(
            "Pending",
            format!("{count}; a newer snapshot waits for them"),
        );
    }
    if !fleet.all_run_it() {
        return Programmed::no("Pending", count);
    }
    match partial {
        None => Programmed::yes(count),
        Some((reason, message)) => Programmed {
            status: true,
            reason: (*reason).to_owned(),
            message: format!("{count}; {message}"),
        },
    }
}

/// What is known of an object on its way to the pods of one gateway.
#[derive(Debug, Clone, Copy)]
pub struct Journey<'a> {
    /// Its generation.
    pub generation: i64,
    /// The generation in the last snapshot that all ready pods have acknowledged.
    pub confirmed: Option<i64>,
    /// It was called programmed in this generation before.
    pub was: bool,
    /// The gateway's pods.
    pub fleet: &'a Fleet,
}

/// Of a route or policy at one gateway. It carries no hash and no counts, and does not fall while
/// pods come and go: else one edit would rewrite the statuses of all.
#[must_use]
pub fn of_object(programming: &Programming, journey: Journey<'_>) -> Programmed {
    let partial = match programming {
        Programming::Not { reason, message } => return Programmed::no(reason, message),
        Programming::Partial { reason, message } => Some((reason, message)),
        Programming::Whole => None,
    };
    let confirmed = journey
        .confirmed
        .is_some_and(|live| live >= journey.generation);
    if !confirmed && let Some((pod, reason)) = journey.fleet.rejected.first() {
        return Programmed::no(
            "SnapshotRejected",
            format!("Pod {pod} refuses it: {reason}"),
        );
    }
    if !confirmed && !journey.was {
        return match journey.fleet.ready {
            0 => Programmed::no("NoReadyPods", "The gateway has no ready pod"),
            _ => Programmed::no("Pending", "Waiting for the pods of the gateway"),
        };
    }
    match partial {
        None => Programmed::yes("All ready pods have run it"),
        Some((reason, message)) => Programmed {
            status: true,
            reason: (*reason).to_owned(),
            message: message.clone(),
        },
    }
}

fn some(names: &[String]) -> String {
    let mut text = names
        .iter()
        .take(NAMED)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > NAMED {
        // Writing to a String cannot fail.
        let _ = write!(text, " and {} more", names.len() - NAMED);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: &str = "9f2c1234abcd";

    fn fleet(ready: usize, acknowledged: usize) -> Fleet {
        Fleet {
            pods: ready,
            ready,
            acknowledged,
            ..Fleet::default()
        }
    }

    fn gateway(fleet: &Fleet) -> (bool, String, String) {
        let progress = Progress::Written(WRITTEN.to_owned());
        let it = of_gateway(&Programming::Whole, &progress, fleet);
        (it.status, it.reason, it.message)
    }

    #[test]
    fn a_gateway_is_programmed_when_every_ready_pod_runs_the_snapshot() {
        let (status, reason, message) = gateway(&fleet(3, 3));
        assert!(status);
        assert_eq!(
            (&*reason, &*message),
            ("Programmed", "3/3 pods run 9f2c1234")
        );
        assert!(!gateway(&fleet(3, 2)).0);
    }

    #[test]
    fn a_gateway_without_ready_pods_says_so() {
        let none = Fleet {
            pods: 2,
            ..Fleet::default()
        };
        let (status, reason, message) = gateway(&none);
        assert!(!status);
        assert_eq!(reason, "NoReadyPods");
        assert_eq!(message, "0/0 pods run 9f2c1234: none of 2 pods is ready");
    }

    #[test]
    fn a_pod_that_does_not_answer_is_named() {
        let one = Fleet {
            unreachable: vec!["edge-2".into()],
            ..fleet(2, 1)
        };
        let (status, reason, message) = gateway(&one);
        assert!(!status);
        assert_eq!(reason, "PodsUnreachable");
        assert_eq!(message, "1/2 pods run 9f2c1234; no answer from edge-2");
    }

    #[test]
    fn a_refusal_is_told_with_its_reason() {
        let one = Fleet {
            rejected: vec![("edge-1".into(), "hash".into())],
            ..fleet(2, 1)
        };
        assert_eq!(gateway(&one).1, "SnapshotRejected");
    }

    fn journey(fleet: &Fleet, confirmed: Option<i64>, was: bool) -> Journey<'_> {
        Journey {
            generation: 3,
            confirmed,
            was,
            fleet,
        }
    }

    #[test]
    fn an_object_is_programmed_once_its_generation_or_a_later_one_is_confirmed() {
        let fleet = fleet(2, 1);
        let status =
            |confirmed, was| of_object(&Programming::Whole, journey(&fleet, confirmed, was)).status;
        assert!(status(Some(3), false));
        assert!(status(Some(4), false));
        assert!(!status(Some(2), false));
        assert!(!status(None, false));
        // Pods that come and go do not take it back.
        assert!(status(None, true));
    }

    #[test]
    fn a_rejected_snapshot_takes_back_what_is_not_confirmed() {
        let fleet = Fleet {
            rejected: vec![("edge-1".into(), "why".into())],
            ..fleet(2, 1)
        };
        let reason =
            |confirmed| of_object(&Programming::Whole, journey(&fleet, confirmed, true)).reason;
        assert_eq!(reason(None), "SnapshotRejected");
        assert_eq!(reason(Some(3)), "Programmed");
    }
}
