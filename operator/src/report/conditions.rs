//! Conditions: from verdicts to `metav1.Condition`, and how those of two passes are compared.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use postern_crds::status::{ACCEPTED, PROGRAMMED, RESOLVED_REFS};

use super::fleet::Programmed;
use crate::translation::{Conditions, Verdict};

/// The API server's limit.
const MAX_MESSAGE: usize = 32_768;

/// All conditions of one object, listener, parent or ancestor.
pub(super) fn of(
    conditions: &Conditions,
    programmed: Programmed,
    generation: i64,
) -> Vec<Condition> {
    let mut list = vec![of_verdict(ACCEPTED, &conditions.accepted, generation)];
    if let Some(resolved) = &conditions.resolved_refs {
        list.push(of_verdict(RESOLVED_REFS, resolved, generation));
    }
    let Programmed {
        status,
        reason,
        message,
    } = programmed;
    list.push(condition(PROGRAMMED, status, &reason, &message, generation));
    list
}

fn of_verdict(type_: &str, verdict: &Verdict, generation: i64) -> Condition {
    condition(
        type_,
        verdict.status,
        verdict.reason,
        &verdict.message,
        generation,
    )
}

fn condition(type_: &str, status: bool, reason: &str, message: &str, generation: i64) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message: message.chars().take(MAX_MESSAGE).collect(),
        observed_generation: Some(generation),
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
    }
}

/// Gives conditions their times: those of the conditions before, where the status is the same,
/// else now.
pub(super) fn keep_times(conditions: &mut [Condition], before: &[Condition], now: Timestamp) {
    for condition in conditions {
        let same =
            |old: &&Condition| old.type_ == condition.type_ && old.status == condition.status;
        condition.last_transition_time = match before.iter().find(same) {
            Some(old) => old.last_transition_time.clone(),
            None => Time(now),
        };
    }
}

/// Whether one of them has judged a later generation than ours: our cache is behind, and what we
/// know must not be written.
pub(super) fn judged_later(conditions: &[Condition], generation: i64) -> bool {
    conditions.iter().any(|c| {
        c.observed_generation
            .is_some_and(|judged| judged > generation)
    })
}

/// The condition of that type.
pub(super) fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether it was True for that generation.
pub(super) fn was_true(conditions: &[Condition], type_: &str, generation: i64) -> bool {
    find(conditions, type_).is_some_and(|condition| {
        condition.status == "True" && condition.observed_generation == Some(generation)
    })
}

/// Makes a condition as bad as the worst of those of other controllers: every controller then
/// writes the same, and none takes back what another has written.
pub(super) fn worst<'a>(own: &mut [Condition], others: impl Iterator<Item = &'a [Condition]>) {
    for other in others {
        for condition in own
            .iter_mut()
            .filter(|condition| condition.status == "True")
        {
            if let Some(worse) = find(other, &condition.type_).filter(|c| c.status != "True") {
                condition.status.clone_from(&worse.status);
                condition.reason.clone_from(&worse.reason);
                condition.message.clone_from(&worse.message);
            }
        }
    }
}

/// Makes a condition that is simply true as partial as the entries are: what is true in part names
/// its fault at the top too.
pub(super) fn partial<'a>(own: &mut [Condition], entries: impl Iterator<Item = &'a [Condition]>) {
    for entry in entries {
        for condition in own.iter_mut().filter(|condition| is_plain(condition)) {
            let same = find(entry, &condition.type_);
            if let Some(partial) = same.filter(|c| c.status == "True" && !is_plain(c)) {
                condition.reason.clone_from(&partial.reason);
                condition.message.clone_from(&partial.message);
            }
        }
    }
}

/// Where we and another controller both find something wrong, whoever spoke first is left to speak:
/// else both would write their own words in turn, for ever.
pub(super) fn leave<'a>(
    own: &mut [Condition],
    live: &[Condition],
    others: impl Iterator<Item = &'a [Condition]> + Clone,
) {
    for condition in own.iter_mut().filter(|condition| !is_plain(condition)) {
        let same = |c: &&Condition| {
            c.status == condition.status && c.observed_generation == condition.observed_generation
        };
        let Some(spoken) = find(live, &condition.type_).filter(same) else {
            continue;
        };
        let by_another = others.clone().any(|entry| {
            let theirs = find(entry, &condition.type_).filter(|c| !is_plain(c));
            theirs.is_some_and(|theirs| spoken.message.contains(&theirs.message))
        });
        if by_another {
            condition.reason.clone_from(&spoken.reason);
            condition.message.clone_from(&spoken.message);
        }
    }
}

/// True, and nothing more to say: the reason is the type's own name.
fn is_plain(condition: &Condition) -> bool {
    condition.status == "True" && condition.reason == condition.type_
}
