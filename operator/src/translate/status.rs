//! Reasons, messages and how the worst of several conditions is found.
//!
//! In go problems that were met on the way; out come verdicts in the Gateway API's words, with a
//! message that says what to do, bounded in length.

use crate::translation::{Conditions, Programming, Verdict};

/// Reasons of conditions. Those of the Gateway API where it has one.
pub(super) mod reason {
    pub(crate) const ACCEPTED: &str = "Accepted";
    pub(crate) const RESOLVED: &str = "ResolvedRefs";
    pub(crate) const INVALID: &str = "Invalid";
    pub(crate) const UNSUPPORTED: &str = "UnsupportedValue";
    pub(crate) const CLASS_CONFLICT: &str = "ClassConflict";
    pub(crate) const NAMESPACE_NOT_PERMITTED: &str = "NamespaceNotPermitted";
    pub(crate) const INVALID_CERTIFICATE_REF: &str = "InvalidCertificateRef";
    /// Of ResolvedRefs=True: everything is there, and something will soon not be good any more.
    pub(crate) const CERTIFICATE_EXPIRING: &str = "CertificateExpiring";
    pub(crate) const INVALID_SECRET_TYPE: &str = "InvalidSecretType";
    pub(crate) const INVALID_SECRET: &str = "InvalidSecret";
    pub(crate) const SECRET_NOT_FOUND: &str = "SecretNotFound";
    pub(crate) const INVALID_CA_REF: &str = "InvalidCACertificateRef";
    pub(crate) const REF_NOT_PERMITTED: &str = "RefNotPermitted";
    pub(crate) const BACKEND_NOT_FOUND: &str = "BackendNotFound";
    pub(crate) const PENDING: &str = "Pending";
    pub(crate) const NO_MATCHING_PARENT: &str = "NoMatchingParent";
    pub(crate) const NOT_ALLOWED: &str = "NotAllowedByListeners";
    pub(crate) const DOMAIN_NOT_GRANTED: &str = "DomainNotGranted";
    pub(crate) const CONFLICTED: &str = "Conflicted";
    pub(crate) const OPEN_RELAY: &str = "OpenRelay";
    pub(crate) const TARGET_NOT_FOUND: &str = "TargetNotFound";
    pub(crate) const TARGET_NOT_PROGRAMMED: &str = "TargetNotProgrammed";
    pub(crate) const PARTIALLY_PROGRAMMED: &str = "PartiallyProgrammed";
}

/// Longest message: what a person reads; the API server takes 32 KiB.
const MESSAGE_CHARS: usize = 2048;
/// Names that a message lists before it counts the rest.
const NAMES_LISTED: usize = 8;

/// Something that stands against an object, a listener or a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// One of [`reason`].
    pub(super) reason: &'static str,
    /// A sentence that says what to do.
    pub(super) message: String,
}

impl Problem {
    pub(super) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}

/// True with a message, or False with the first problem's reason and all messages.
pub(super) fn verdict(good: &'static str, message: impl Into<String>, bad: &[Problem]) -> Verdict {
    match bad.first() {
        None => Verdict {
            status: true,
            reason: good,
            message: message.into(),
        },
        Some(first) => Verdict {
            status: false,
            reason: first.reason,
            message: join(bad.iter().map(|p| p.message.as_str())),
        },
    }
}

/// Conditions of what is refused for one problem.
pub(super) fn refused(problem: &Problem, resolved_refs: Option<Verdict>) -> Conditions {
    Conditions {
        accepted: verdict("", "", std::slice::from_ref(problem)),
        resolved_refs,
        programming: not_programmed(problem),
    }
}

/// Never in a snapshot, for a problem.
pub(super) fn not_programmed(problem: &Problem) -> Programming {
    Programming::Not {
        reason: problem.reason,
        message: problem.message.clone(),
    }
}

/// Nothing is referred to, or all of it is there.
pub(super) fn resolved() -> Verdict {
    verdict(reason::RESOLVED, "all references are resolved", &[])
}

/// Sentences, each once, in one message of bounded length.
pub(super) fn join<'a>(messages: impl Iterator<Item = &'a str>) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for message in messages {
        if !seen.contains(&message) {
            seen.push(message);
        }
    }
    let text = seen.join("; ");
    if text.chars().count() <= MESSAGE_CHARS {
        return text;
    }
    let kept: String = text.chars().take(MESSAGE_CHARS).collect();
    format!("{kept} ...")
}

/// `a, b and 3 more`.
pub(super) fn list<T: ToString>(names: &[T]) -> String {
    let shown: Vec<String> = names.iter().take(NAMES_LISTED).map(T::to_string).collect();
    match names.len().checked_sub(NAMES_LISTED) {
        None | Some(0) => shown.join(", "),
        Some(more) => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The worst of several conditions, each with the label that its message gets when it is not the
/// only one. Without any, `none`.
pub(super) fn worst(all: &[(String, &Conditions)], none: &Problem) -> Conditions {
    let Some((_, first)) = all.first() else {
        return refused(none, Some(resolved()));
    };
    let resolved_refs: Vec<_> = all
        .iter()
        .filter_map(|(label, c)| Some((label.as_str(), c.resolved_refs.as_ref()?)))
        .collect();
    let accepted: Vec<_> = all
        .iter()
        .map(|(label, c)| (label.as_str(), &c.accepted))
        .collect();
    Conditions {
        accepted: worst_verdict(&accepted).unwrap_or_else(|| first.accepted.clone()),
        resolved_refs: worst_verdict(&resolved_refs),
        programming: worst_programming(all),
    }
}

fn worst_verdict(all: &[(&str, &Verdict)]) -> Option<Verdict> {
    let (_, first) = all.first()?;
    let of = |is: fn(&Verdict) -> bool| -> Vec<_> { all.iter().filter(|(_, v)| is(v)).collect() };
    let expires = |v: &Verdict| v.reason == reason::CERTIFICATE_EXPIRING;
    let ranked = [of(|v| !v.status), of(expires), of(|_| true)];
    let shown = ranked.into_iter().find(|these| !these.is_empty())?;
    let reason = shown.first().map_or(first.reason, |(_, v)| v.reason);
    let same = all.iter().all(|(_, v)| v == first);
    let message = if same {
        first.message.clone()
    } else {
        let labelled: Vec<String> = shown
            .iter()
            .map(|(label, v)| format!("{label}: {}", v.message))
            .collect();
        join(labelled.iter().map(String::as_str))
    };
    Some(Verdict {
        status: shown.first().is_none_or(|(_, v)| v.status),
        reason,
        message,
    })
}

fn worst_programming(all: &[(String, &Conditions)]) -> Programming {
    let mut not: Vec<(&'static str, String)> = Vec::new();
    let mut partial: Vec<(&'static str, String)> = Vec::new();
    for (label, conditions) in all {
        let labelled = |message: &String| {
            if all.len() == 1 {
                message.clone()
            } else {
                format!("{label}: {message}")
            }
        };
        match &conditions.programming {
            Programming::Whole => {}
            Programming::Partial { reason, message } => partial.push((*reason, labelled(message))),
            Programming::Not { reason, message } => not.push((*reason, labelled(message))),
        }
    }
    let joined = |list: &[(&'static str, String)]| join(list.iter().map(|(_, m)| m.as_str()));
    if let Some((reason, _)) = not.first() {
        return Programming::Not {
            reason,
            message: joined(&not),
        };
    }
    match partial.first() {
        Some((reason, _)) => Programming::Partial {
            reason,
            message: joined(&partial),
        },
        None => Programming::Whole,
    }
}
