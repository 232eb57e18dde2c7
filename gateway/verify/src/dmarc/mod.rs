//! DMARC (RFC 9989): does a passing identifier belong to the author's domain, and what does that
//! domain ask for if not?
//!
//! The author's domain, SPF's and DKIM's results go in ([`Input`]); [`evaluate`] finds the policy
//! by the DNS tree walk (§4.10), the organizational domains of those identifiers that passed, and
//! answers with an [`Outcome`].

mod evaluate;
mod record;
#[cfg(test)]
mod tests;
mod walk;

pub use evaluate::evaluate;
pub use record::{Alignment, FailureOptions, Psd, Record, RecordProblem};
pub use walk::MAX_QUERIES;

use crate::name::Name;
use crate::{dkim, spf};
use std::fmt;
use std::sync::Arc;

/// Results for the message (RFC 8601 §2.7, registered by RFC 9989 §9.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DmarcResult {
    /// No policy applies to the author's domain.
    None,
    /// An aligned identifier passed.
    Pass,
    /// None did.
    Fail,
    /// A question to DNS has no answer now.
    TempError,
    /// The policy cannot be interpreted, or the author's domain is not one.
    PermError,
}

impl DmarcResult {
    /// The word for Authentication-Results, lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

impl fmt::Display for DmarcResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a domain asks for (RFC 9989 §4.7, tags p, sp and np), the mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// Nothing.
    None,
    /// To treat failing mail as suspicious.
    Quarantine,
    /// To refuse failing mail.
    Reject,
}

impl Policy {
    /// The tag's value, lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What became of an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authenticated {
    /// It passed.
    Yes,
    /// It did not.
    No,
    /// DNS could not tell: it may pass later.
    Unknown,
}

/// An identifier that SPF or DKIM speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identifier {
    /// Its domain.
    pub domain: Name,
    /// What became of it.
    pub authenticated: Authenticated,
}

/// What [`evaluate`] judges.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    /// The author's domain ([`crate::from`]).
    pub from: &'a Name,
    /// The domain that SPF checked for MAIL FROM (§4.2: never the HELO identity of its own).
    pub spf: Option<Identifier>,
    /// The domains of DKIM signatures.
    pub dkim: Vec<Identifier>,
}

impl<'a> Input<'a> {
    /// From the typed results of the checks; `spf` is the outcome for MAIL FROM.
    #[must_use]
    pub fn new(from: &'a Name, spf: Option<&spf::Outcome>, dkim: Option<&dkim::Outcome>) -> Self {
        let spf = spf.filter(|outcome| outcome.identity == spf::Identity::MailFrom);
        let spf = spf.and_then(|outcome| {
            let authenticated = match outcome.result {
                spf::SpfResult::Pass => Authenticated::Yes,
                spf::SpfResult::TempError => Authenticated::Unknown,
                _ => Authenticated::No,
            };
            Some(Identifier {
                domain: outcome.domain.clone()?,
                authenticated,
            })
        });
        let signatures = dkim
            .map(|outcome| outcome.signatures.as_slice())
            .unwrap_or_default();
        let dkim = signatures.iter().filter_map(|signature| {
            let authenticated = match signature.result {
                dkim::DkimResult::Pass => Authenticated::Yes,
                dkim::DkimResult::TempError => Authenticated::Unknown,
                _ => Authenticated::No,
            };
            Some(Identifier {
                domain: signature.domain.clone()?,
                authenticated,
            })
        });
        Self {
            from,
            spf,
            dkim: dkim.collect(),
        }
    }
}

/// The policy record that applies and where it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The record.
    pub record: Arc<Record>,
    /// The domain below whose `_dmarc` it was found.
    pub domain: Name,
}

/// What [`evaluate`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The result.
    pub result: DmarcResult,
    /// The author's domain.
    pub from: Name,
    /// The author's organizational domain (§4.10.2), where it had to be found.
    pub organizational_domain: Option<Name>,
    /// The record that applies.
    pub published: Option<Published>,
    /// What the record asks for mail of this author: p, sp or np as it stands.
    pub policy: Policy,
    /// What is to be applied to this message: [`Policy::None`] unless the result is `fail`; one
    /// step milder than `policy` with `t=y` (§4.7).
    pub applied: Policy,
    /// SPF passed for an aligned domain.
    pub spf_aligned: bool,
    /// The domain of an aligned DKIM signature that passed.
    pub dkim_aligned: Option<Name>,
    /// An answer that DNS did not give now could have changed the disposition: the policy is not
    /// known; or it is not `none`, nothing aligned has passed, and something could have.
    pub undecided: bool,
    /// Names that were asked for.
    pub queries: u32,
    /// What was wrong, for a comment and the trace.
    pub problem: Option<String>,
}
