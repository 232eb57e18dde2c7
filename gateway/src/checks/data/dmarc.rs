//! DMARC (RFC 9989): what does the author's domain ask for, and who may overrule it?

use crate::checks::{Concern, Finding};
use postern_verify::dmarc::{DmarcResult, Outcome, Policy};

/// The check's name.
pub const CHECK: &str = "dmarc";

/// What the decision rests on.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What DMARC's evaluation found.
    pub outcome: &'a Outcome,
    /// Some DKIM signature passes, aligned or not.
    pub signed: bool,
    /// The trusted forwarder through which the mail came.
    pub forwarder: Option<&'a str>,
    /// The trusted sealer who vouches for it (RFC 8617 §7.2.1).
    pub sealer: Option<&'a str>,
    /// A sealer might vouch for it, but DNS could not tell.
    pub sealer_unknown: bool,
}

/// What DMARC says. Trusted forwarders and sealers overrule a domain's wish.
#[must_use]
pub fn check(facts: &Facts<'_>) -> Finding {
    let outcome = facts.outcome;
    let result = outcome.result.as_str();
    let concern = concern(facts);
    let mut detail = outcome.from.to_string();
    if let Some(problem) = &outcome.problem {
        detail = format!("{detail}: {problem}");
    }
    match overruled(facts) {
        Some(who) => Finding::clear(CHECK, result, format!("{detail} ({who})")),
        None => Finding {
            check: CHECK,
            result,
            detail,
            concern,
        },
    }
}

/// Who is trusted more than the domain's wish, if anybody had to be.
#[must_use]
pub fn overruled(facts: &Facts<'_>) -> Option<String> {
    match (concern(facts), facts.forwarder, facts.sealer) {
        (None, _, _) | (Some(_), None, None) => None,
        (Some(_), Some(forwarder), _) => Some(format!("trusted forwarder {forwarder}")),
        (Some(_), None, Some(sealer)) => Some(format!("trusted sealer {sealer}")),
    }
}

fn concern(facts: &Facts<'_>) -> Option<Concern> {
    let outcome = facts.outcome;
    if outcome.undecided {
        return Some(Concern::DmarcUndecided);
    }
    let asked = match outcome.result {
        DmarcResult::None | DmarcResult::Pass | DmarcResult::PermError => return None,
        DmarcResult::TempError => return Some(Concern::DmarcTempError),
        DmarcResult::Fail => outcome.applied,
    };
    match asked {
        Policy::None => None,
        // The chain's missing key could still rescue the mail.
        Policy::Quarantine | Policy::Reject if facts.sealer_unknown => {
            Some(Concern::DmarcUndecided)
        }
        Policy::Quarantine => Some(Concern::DmarcQuarantine),
        Policy::Reject => Some(Concern::DmarcReject {
            evidence: facts.signed,
        }),
    }
}
