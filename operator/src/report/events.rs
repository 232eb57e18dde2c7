//! Kubernetes Events: what has turned at a MailGateway, told where `kubectl describe` shows it, and
//! who leads, told at the Lease.
//!
//! In go the conditions of a status that was written and of the one that it took the place of; out
//! come Events, at most one for each condition whose status or reason has turned. A pass that writes
//! no status tells nothing. Events are a courtesy: one that cannot be written is not tried again,
//! and a gateway that turns all the time is told of less often.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use postern_crds::status::{PENDING, PROGRAMMED};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;
use tracing::debug;

use super::conditions::find;

/// The API server's limit of a note, in octets.
const MAX_NOTE: usize = 1024;
/// Events of one object that may come at once, as in Kubernetes' own components.
const BURST: u32 = 25;
/// After those, one comes in this time.
const ANOTHER: Duration = Duration::from_mins(5);
/// One request to the API server.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// It is not as it should be.
    pub warning: bool,
    /// A condition's reason.
    pub reason: String,
    /// A condition's message.
    pub note: String,
    /// What was done: a condition's type.
    pub action: String,
}

/// What has turned between two statuses.
#[must_use]
pub fn news(before: &[Condition], after: &[Condition]) -> Vec<News> {
    let mut list: Vec<News> = Vec::new();
    for now in after {
        let then = find(before, &now.type_);
        let Some(warning) = turned(then, now) else {
            continue;
        };
        // What is refused is so in every condition.
        if list.iter().any(|news| news.reason == now.reason) {
            continue;
        }
        list.push(News {
            warning,
            reason: now.reason.clone(),
            note: now.message.clone(),
            action: now.type_.clone(),
        });
    }
    list
}

/// Whether a condition has turned to something bad, or to something good that is worth telling.
fn turned(then: Option<&Condition>, now: &Condition) -> Option<bool> {
    let was = then.map(|then| &*then.status);
    let same = was == Some(&now.status) && then.is_some_and(|then| then.reason == now.reason);
    if same || now.reason == PENDING {
        return None;
    }
    if now.status == "True" {
        // The reason of a condition that is simply true is its name.
        let warning = now.reason != now.type_;
        let is_news = warning || now.type_ == PROGRAMMED || was == Some("False");
        return is_news.then_some(warning);
    }
    // A gateway that is new, or scaled to none, has no pod yet.
    let expected = now.reason == "NoReadyPods" && was != Some("True");
    (!expected).then_some(true)
}

/// Tells what is new of one object, each thing once.
pub struct Teller {
    /// By reason: the last note, and the recorder that counts its repetitions. kube's recorder tells
    /// Events apart by their reasons and would go on with the first note, so each note has its own.
    told: BTreeMap<String, (String, Recorder)>,
    left: u32,
    refilled: Instant,
}

impl Default for Teller {
    fn default() -> Self {
        Self {
            told: BTreeMap::new(),
            left: BURST,
            refilled: Instant::now(),
        }
    }
}

impl Teller {
    /// Writes the Events.
    pub async fn tell(
        &mut self,
        client: &Client,
        reporter: &Reporter,
        object: &ObjectReference,
        all: Vec<News>,
    ) {
        for news in all {
            if !self.may_speak(Instant::now()) {
                debug!(reason = news.reason, "too many events");
                continue;
            }
            let recorder = self.recorder(client, reporter, &news);
            let event = event(news);
            let written = tokio::time::timeout(TIMEOUT, recorder.publish(&event, object)).await;
            match written {
                Ok(Ok(())) => {}
                Ok(Err(error)) => debug!(%error, "an event could not be written"),
                Err(_) => debug!("an event could not be written in time"),
            }
        }
    }

    fn may_speak(&mut self, now: Instant) -> bool {
        while self.left < BURST && now.duration_since(self.refilled) >= ANOTHER {
            self.left += 1;
            self.refilled += ANOTHER;
        }
        if self.left == BURST {
            self.refilled = now;
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }

    fn recorder(&mut self, client: &Client, reporter: &Reporter, news: &News) -> Recorder {
        let new = || {
            let recorder = Recorder::new(client.clone(), reporter.clone());
            (news.note.clone(), recorder)
        };
        let known = self.told.entry(news.reason.clone()).or_insert_with(new);
        if known.0 != news.note {
            *known = new();
        }
        known.1.clone()
    }
}

fn event(news: News) -> Event {
    let end = news.note.floor_char_boundary(MAX_NOTE);
    Event {
        type_: match news.warning {
            true => EventType::Warning,
            false => EventType::Normal,
        },
        reason: news.reason,
        note: news.note.get(..end).map(str::to_owned),
        action: news.action,
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn condition(type_: &str, status: &str, reason: &str) -> Condition {
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: format!("{reason} of {type_}"),
            observed_generation: Some(1),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        }
    }

    /// Type, status and reason before and after; what is told: warning and reason.
    fn told(before: [&str; 3], after: [&str; 3]) -> Option<(bool, String)> {
        let of = |[type_, status, reason]: [&str; 3]| condition(type_, status, reason);
        let list = news(&[of(before)], &[of(after)]);
        list.into_iter().next().map(|n| (n.warning, n.reason))
    }

    #[test]
    fn what_stays_is_not_told_again_whatever_its_message() {
        let before = condition("Programmed", "True", "Programmed");
        let mut after = before.clone();
        after.message = "3/3 pods run it".to_owned();
        assert_eq!(news(&[before], &[after]), []);
    }

    #[test]
    fn what_turns_is_told_as_good_or_bad() {
        let pending = ["Programmed", "False", "Pending"];
        let good = ["Programmed", "True", "Programmed"];
        let bad = ["Programmed", "False", "SnapshotRejected"];
        assert_eq!(told(pending, good), Some((false, "Programmed".into())));
        assert_eq!(told(good, pending), None);
        assert_eq!(told(pending, bad), Some((true, "SnapshotRejected".into())));
        let partly = ["Programmed", "True", "PartiallyProgrammed"];
        assert_eq!(
            told(good, partly),
            Some((true, "PartiallyProgrammed".into()))
        );
    }

    #[test]
    fn what_is_as_expected_of_a_new_gateway_is_not_told() {
        let unknown = ["Accepted", "Unknown", "Pending"];
        let accepted = ["Accepted", "True", "Accepted"];
        assert_eq!(told(unknown, accepted), None);
        let conflict = ["Accepted", "False", "ClassConflict"];
        assert_eq!(told(conflict, accepted), Some((false, "Accepted".into())));
        let no_pods = ["Programmed", "False", "NoReadyPods"];
        assert_eq!(told(["Programmed", "False", "Pending"], no_pods), None);
        let good = ["Programmed", "True", "Programmed"];
        assert_eq!(told(good, no_pods), Some((true, "NoReadyPods".into())));
    }

    #[test]
    fn a_certificate_that_ends_soon_is_a_warning_though_nothing_is_wrong() {
        let good = ["ResolvedRefs", "True", "ResolvedRefs"];
        let soon = ["ResolvedRefs", "True", "CertificateExpiring"];
        assert_eq!(told(good, soon), Some((true, "CertificateExpiring".into())));
    }

    #[test]
    fn one_fault_is_told_once() {
        let after = ["Accepted", "Programmed"].map(|type_| condition(type_, "False", "Invalid"));
        let list = news(&[], &after);
        assert_eq!(list.len(), 1);
        assert_eq!(list[0].action, "Accepted");
    }

    #[test]
    fn a_gateway_that_turns_all_the_time_is_told_of_less_often() {
        let mut teller = Teller::default();
        let now = Instant::now();
        let mut spoken = |now| (0..100).filter(|_| teller.may_speak(now)).count();
        assert_eq!(spoken(now), 25);
        assert_eq!(spoken(now + ANOTHER * 2), 2);
        assert_eq!(spoken(now + ANOTHER * 1000), 25);
    }
}
