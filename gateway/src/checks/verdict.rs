//! From a finding to a verdict: what policy makes of what a check found.
//!
//! A [`Finding`] and the compiled policies go in, a [`Verdict`] comes out, twice: once by the
//! enforced policies, once by all of them, those in mode Monitor included. Only the first acts.

use crate::telemetry::record::CheckRecord;
use postern_config::policy::{Action, OnDmarcReject, Sourced, Verify};
use std::borrow::Cow;

/// What is the matter with a session or a message. Which action follows stands in policy; which
/// reply, in [`crate::reply`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Concern {
    /// The client's network is denied, or not among those allowed.
    ClientDenied,
    /// The HELO name is denied.
    HeloDenied,
    /// The HELO name has no dot where one is asked for.
    HeloNotFqdn,
    /// The reverse-path is denied, or not among those allowed.
    SenderDenied,
    /// The forward-path is denied.
    RecipientDenied,
    /// From names no or several domains.
    FromAmbiguous,
    /// SPF fail.
    SpfFail,
    /// SPF softfail.
    SpfSoftFail,
    /// SPF permerror.
    SpfPermError,
    /// SPF temperror.
    SpfTempError,
    /// There are DKIM signatures and none passes.
    DkimFail,
    /// No DKIM signature passes, and DNS could not tell of one.
    DkimTempError,
    /// The author's domain asks to reject, and nothing aligned passes.
    DmarcReject {
        /// Some DKIM signature passes all the same (RFC 9989 §7.4).
        evidence: bool,
    },
    /// The author's domain asks to quarantine, and nothing aligned passes.
    DmarcQuarantine,
    /// An answer that is missing could change what DMARC asks for.
    DmarcUndecided,
    /// An answer is missing that could change nothing.
    DmarcTempError,
    /// The ARC chain could not be validated for want of an answer.
    ArcTempError,
    /// The client's address has no name that leads back to it.
    IprevFail,
    /// DNS could not tell the client's name.
    IprevTempError,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The check: `access.clients`, `spf`, `dkim` ...
    pub check: &'static str,
    /// The result in the method's own word: `pass`, `fail`, `denied` ...
    pub result: &'static str,
    /// What it was about, for people; never a whole mail address.
    pub detail: String,
    /// What is the matter, if anything is.
    pub concern: Option<Concern>,
}

impl Finding {
    /// Nothing is the matter.
    #[must_use]
    pub fn clear(check: &'static str, result: &'static str, detail: impl Into<String>) -> Self {
        Self {
            check,
            result,
            detail: detail.into(),
            concern: None,
        }
    }

    /// Something is.
    #[must_use]
    pub fn concern(
        check: &'static str,
        result: &'static str,
        detail: impl Into<String>,
        concern: Concern,
    ) -> Self {
        Self {
            check,
            result,
            detail: detail.into(),
            concern: Some(concern),
        }
    }
}

/// Why a verdict is not Accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The check that found it.
    pub check: &'static str,
    /// Its result.
    pub result: &'static str,
    /// What is the matter.
    pub concern: Concern,
    /// What it was about, for people.
    pub detail: String,
    /// The MailPolicy (`namespace/name`) that decided; none: the documented default.
    pub policy: Option<String>,
}

/// What is to be done, the mildest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Accept,
    /// Go on, and say so in the header.
    Tag(Reason),
    /// Refuse for now.
    Defer(Reason),
    /// Refuse for good.
    Reject(Reason),
}

impl Verdict {
    /// The action's name as policies write it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Accept => "Accept",
            Self::Tag(_) => "Tag",
            Self::Defer(_) => "Defer",
            Self::Reject(_) => "Reject",
        }
    }

    const fn severity(&self) -> u8 {
        match self {
            Self::Accept => 0,
            Self::Tag(_) => 1,
            Self::Defer(_) => 2,
            Self::Reject(_) => 3,
        }
    }

    /// The worse of the two; of equal ones the earlier.
    #[must_use]
    pub fn worse(self, later: Self) -> Self {
        if later.severity() > self.severity() {
            later
        } else {
            self
        }
    }
}

/// A finding with what the enforced and the shadow policies make of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What was found.
    pub finding: Finding,
    /// What is done.
    pub verdict: Verdict,
    /// What would be done if Monitor policies acted, where that is something else: the most severe
    /// first, one for each set of policies that the recipients have.
    pub shadows: Vec<Verdict>,
}

impl Judged {
    /// The record for telemetry.
    #[must_use]
    pub fn record(&self) -> CheckRecord {
        let policy = match &self.verdict {
            Verdict::Accept => None,
            Verdict::Tag(reason) | Verdict::Defer(reason) | Verdict::Reject(reason) => {
                reason.policy.clone()
            }
        };
        CheckRecord {
            check: self.finding.check,
            result: Cow::Borrowed(self.finding.result),
            detail: self.finding.detail.clone(),
            action: self.verdict.as_str(),
            policy,
            shadow: self.shadows.first().map(Verdict::as_str),
        }
    }
}

/// An access list has spoken: what is denied is rejected, by either set of policies.
/// `shadow` is absent where the two do not differ.
#[must_use]
pub fn access<T>(
    find: impl Fn(&T) -> Finding,
    enforced: &Sourced<T>,
    shadow: Option<&Sourced<T>>,
) -> Judged {
    let finding = find(&enforced.value);
    let verdict = act(&finding, Action::Reject, enforced.policy.as_ref());
    let shadow = shadow.map(|section| {
        act(
            &find(&section.value),
            Action::Reject,
            section.policy.as_ref(),
        )
    });
    judged(finding, verdict, shadow)
}

/// A check of `verify` has spoken. The two findings differ where policy enters what is found
/// (a trusted forwarder, `l=`); mostly they are the same. `shadows`: one for each set of shadow
/// policies among the recipients.
#[must_use]
pub fn verify<'p>(
    enforced: (Finding, &Sourced<Verify>),
    shadows: impl IntoIterator<Item = (Finding, &'p Sourced<Verify>)>,
) -> Judged {
    let by = |finding: &Finding, section: &Sourced<Verify>| {
        let action = finding
            .concern
            .map_or(Action::Accept, |c| action(c, &section.value));
        act(finding, action, section.policy.as_ref())
    };
    let (finding, section) = enforced;
    let verdict = by(&finding, section);
    let shadows = shadows
        .into_iter()
        .map(|(finding, section)| by(&finding, section));
    let shadows: Vec<_> = shadows.collect();
    judged(finding, verdict, shadows)
}

fn judged(
    finding: Finding,
    verdict: Verdict,
    shadows: impl IntoIterator<Item = Verdict>,
) -> Judged {
    let differs = |shadow: &Verdict| shadow.as_str() != verdict.as_str();
    let mut shadows: Vec<_> = shadows.into_iter().filter(differs).collect();
    shadows.sort_by_key(|shadow| std::cmp::Reverse(shadow.severity()));
    Judged {
        finding,
        verdict,
        shadows,
    }
}

fn act(finding: &Finding, action: Action, policy: Option<&String>) -> Verdict {
    let Some(concern) = finding.concern else {
        return Verdict::Accept;
    };
    let reason = Reason {
        check: finding.check,
        result: finding.result,
        concern,
        detail: finding.detail.clone(),
        policy: policy.cloned(),
    };
    match action {
        Action::Accept => Verdict::Accept,
        Action::Tag => Verdict::Tag(reason),
        Action::Defer => Verdict::Defer(reason),
        Action::Reject => Verdict::Reject(reason),
    }
}

/// What policy says about a concern.
fn action(concern: Concern, verify: &Verify) -> Action {
    let dmarc = &verify.dmarc;
    match concern {
        Concern::ClientDenied
        | Concern::HeloDenied
        | Concern::HeloNotFqdn
        | Concern::SenderDenied
        | Concern::RecipientDenied => Action::Reject,
        Concern::FromAmbiguous => verify.from_on_ambiguous,
        Concern::SpfFail => verify.spf.on_fail,
        Concern::SpfSoftFail => verify.spf.on_soft_fail,
        Concern::SpfPermError => verify.spf.on_perm_error,
        Concern::SpfTempError => verify.spf.on_temp_error,
        Concern::DkimFail => verify.dkim.on_fail,
        Concern::IprevFail => verify.iprev_on_fail,
        Concern::DmarcQuarantine => dmarc.on_quarantine,
        Concern::DmarcReject { evidence } => match dmarc.on_reject {
            OnDmarcReject::Reject => Action::Reject,
            // RFC 9989 §7.4: a signature that passes, aligned or not, speaks against rejecting.
            OnDmarcReject::RejectWithoutEvidence if evidence => dmarc.on_quarantine,
            OnDmarcReject::RejectWithoutEvidence => Action::Reject,
            OnDmarcReject::Quarantine => dmarc.on_quarantine,
        },
        // The missing answer counts only if the policy could come to refuse the mail with it.
        Concern::DmarcUndecided if may_refuse(verify) => Action::Defer,
        Concern::DmarcUndecided
        | Concern::DmarcTempError
        | Concern::DkimTempError
        | Concern::ArcTempError
        | Concern::IprevTempError => Action::Tag,
    }
}

fn may_refuse(verify: &Verify) -> bool {
    verify.dmarc.on_reject != OnDmarcReject::Quarantine
        || matches!(verify.dmarc.on_quarantine, Action::Defer | Action::Reject)
}

#[cfg(test)]
mod tests;
