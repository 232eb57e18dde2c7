//! What the pods of one gateway say together, and the condition Programmed that follows from it.

use postern_config::chunks::short;
use postern_config::configz::{Configz, Misconfiguration};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::pods::{Answer, Asker, MISSES};
use crate::apply::Need;
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
    /// Ready pods that have been asked and of which nothing is known yet.
    pub unheard: usize,
    /// Pods, ready or not, that have refused the snapshot: they boot the one before it.
    pub need_previous: usize,
    /// Backends whose last reply showed that we are misconfigured, by id.
    pub misconfigured: BTreeMap<String, Misconfiguration>,
}

impl Fleet {
    /// Counts the pods that run the snapshot of that hash.
    #[must_use]
    pub fn count(pods: &[Arc<Pod>], asker: &Asker, hash: Option<&str>) -> Self {
        let mut fleet = Self::default();
        for pod in pods.iter().filter(|pod| !pod.terminating) {
            let answer = asker.answer(&pod.uid);
            fleet.pods += 1;
            let refusal = answer.last.as_ref().and_then(|last| refusal(last, hash));
            // A pod that has fallen silent boots what it would have booted.
            fleet.need_previous += usize::from(refusal.is_some());
            if pod.ready {
                fleet.ready += 1;
                fleet.add(pod, answer, hash);
            }
        }
        fleet
    }

    fn add(&mut self, pod: &Pod, answer: Answer, hash: Option<&str>) {
        let name = pod.key.name.clone();
        if answer.misses >= MISSES {
            self.unreachable.push(name);
            return;
        }
        let Some(configz) = answer.last else {
            // Who has no address is not asked.
            self.unheard += usize::from(pod.address.is_some());
            return;
        };
        let refusal = refusal(&configz, hash).map(str::to_owned);
        self.misconfigured.extend(configz.backends);
        let applied = configz.applied.map(|applied| applied.hash);
        if hash.is_some() && applied.as_deref() == hash {
            self.acknowledged += 1;
        } else if let Some(reason) = refusal {
            self.rejected.push((name, reason));
        }
    }

    /// There are ready pods, and all run the snapshot.
    #[must_use]
    pub fn all_run_it(&self) -> bool {
        self.ready > 0 && self.acknowledged == self.ready
    }

    /// What the pods need the set before the snapshot's for.
    #[must_use]
    pub fn need(&self) -> Need {
        if self.need_previous > 0 {
            Need::Rejected
        } else if self.unheard > 0 {
            Need::Unheard
        } else if self.pods == 0 || self.all_run_it() {
            Need::Nothing
        } else {
            Need::Behind
        }
    }
}

/// Why the snapshot of that hash was refused, if it was.
fn refusal<'a>(configz: &'a Configz, hash: Option<&str>) -> Option<&'a str> {
    let applied = configz.applied.as_ref().map(|applied| &*applied.hash);
    let rejected = configz.rejected.as_ref()?;
    // An empty hash is a head that could not be read.
    let is_this = rejected.hash.is_empty() || Some(&*rejected.hash) == hash;
    let runs_it = hash.is_some() && applied == hash;
    (is_this && !runs_it).then_some(&*rejected.reason)
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
        /// The hash of the one that was written before.
        before: Option<String>,
    },
    /// The one of this hash is written, and a newer one waits for pods that still need the set
    /// that it would overwrite.
    Waiting(String),
    /// It is written, under this hash.
    Written(String),
}

impl Progress {
    /// The hash that the head calls current.
    #[must_use]
    pub fn hash(&self) -> Option<&str> {
        match self {
            Self::Failed { before, .. } => before.as_deref(),
            Self::Waiting(hash) | Self::Written(hash) => Some(hash),
        }
    }
}

/// Of a gateway, or one of its listeners.
#[must_use]
pub fn of_gateway(programming: &Programming, progress: &Progress, fleet: &Fleet) -> Programmed {
    within(programming, || of_snapshot(progress, fleet))
}

/// What translate says of an object or listener, on top of what the pods do: what is served in
/// part names its fault, pods or no pods.
fn within(programming: &Programming, pods: impl FnOnce() -> Programmed) -> Programmed {
    let (reason, fault) = match programming {
        Programming::Not { reason, message } => return Programmed::no(reason, message),
        Programming::Partial { reason, message } => (*reason, message),
        Programming::Whole => return pods(),
    };
    let pods = pods();
    Programmed {
        message: format!("{}; {fault}", pods.message),
        reason: if pods.status {
            reason.to_owned()
        } else {
            pods.reason
        },
        status: pods.status,
    }
}

fn of_snapshot(progress: &Progress, fleet: &Fleet) -> Programmed {
    let run = |hash: &str| {
        let Fleet {
            acknowledged,
            ready,
            ..
        } = fleet;
        format!("{acknowledged}/{ready} pods run {}", short(hash))
    };
    let (hash, waits) = match progress {
        Progress::Failed {
            reason,
            message,
            before,
        } => {
            let meanwhile = before
                .iter()
                .map(|hash| format!("; {} meanwhile", run(hash)));
            return Programmed::no(
                reason,
                format!("{message}{}", meanwhile.collect::<String>()),
            );
        }
        Progress::Waiting(hash) => (hash, true),
        Progress::Written(hash) => (hash, false),
    };
    let count = run(hash);
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
    Programmed::yes(count)
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
    /// The gateway's snapshot.
    pub progress: &'a Progress,
}

/// Of a route or policy at one gateway. It carries no hash and no counts, and does not fall while
/// pods come and go: else one edit would rewrite the statuses of all.
#[must_use]
pub fn of_object(programming: &Programming, journey: Journey<'_>) -> Programmed {
    within(programming, || of_journey(journey))
}

fn of_journey(journey: Journey<'_>) -> Programmed {
    let confirmed = journey
        .confirmed
        .is_some_and(|live| live >= journey.generation);
    if !confirmed && let Some((pod, reason)) = journey.fleet.rejected.first() {
        return Programmed::no(
            "SnapshotRejected",
            format!("Pod {pod} refuses it: {reason}"),
        );
    }
    if confirmed || journey.was {
        return Programmed::yes("All ready pods have run it");
    }
    if let Progress::Failed { reason, .. } = journey.progress {
        let message = "The gateway's snapshot cannot be written";
        return Programmed::no(reason, format!("{message}: see the MailGateway's status"));
    }
    match journey.fleet.ready {
        0 => Programmed::no("NoReadyPods", "The gateway has no ready pod"),
        _ => Programmed::no("Pending", "Waiting for the pods of the gateway"),
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

    #[test]
    fn a_fault_is_told_whatever_the_pods_do() {
        let partial = Programming::Partial {
            reason: "PartiallyProgrammed",
            message: "listener mx: no certificate".to_owned(),
        };
        let progress = Progress::Written(WRITTEN.to_owned());
        let said = |fleet: &Fleet| {
            let it = of_gateway(&partial, &progress, fleet);
            (it.status, it.reason, it.message)
        };
        let fault = "listener mx: no certificate";
        let some = (
            true,
            "PartiallyProgrammed",
            format!("1/1 pods run 9f2c1234; {fault}"),
        );
        let none = (
            false,
            "NoReadyPods",
            format!("0/0 pods run 9f2c1234: there is no pod; {fault}"),
        );
        for (fleet, wanted) in [(fleet(1, 1), some), (Fleet::default(), none)] {
            let (status, reason, message) = said(&fleet);
            assert_eq!((status, &*reason, message), wanted);
        }
    }

    #[test]
    fn a_snapshot_that_cannot_be_written_leaves_what_the_pods_run() {
        let progress = Progress::Failed {
            reason: "TooLarge",
            message: "split the gateway".to_owned(),
            before: Some(WRITTEN.to_owned()),
        };
        let it = of_gateway(&Programming::Whole, &progress, &fleet(2, 2));
        assert_eq!((it.status, &*it.reason), (false, "TooLarge"));
        assert_eq!(
            it.message,
            "split the gateway; 2/2 pods run 9f2c1234 meanwhile"
        );
    }

    #[test]
    fn the_pods_that_need_the_set_before_are_known() {
        let unheard = Fleet {
            unheard: 1,
            ..fleet(2, 1)
        };
        let rejected = Fleet {
            need_previous: 1,
            ..unheard.clone()
        };
        assert_eq!(rejected.need(), Need::Rejected);
        assert_eq!(unheard.need(), Need::Unheard);
        assert_eq!(fleet(2, 1).need(), Need::Behind);
        assert_eq!(fleet(2, 2).need(), Need::Nothing);
        assert_eq!(Fleet::default().need(), Need::Nothing);
    }

    static WAITING: Progress = Progress::Waiting(String::new());

    fn journey(fleet: &Fleet, confirmed: Option<i64>, was: bool) -> Journey<'_> {
        Journey {
            generation: 3,
            confirmed,
            was,
            fleet,
            progress: &WAITING,
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
