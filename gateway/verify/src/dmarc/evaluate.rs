//! The mechanism check (RFC 9989 §5.3): policy, alignment, result, and whether a missing answer
//! could have changed what becomes of the message.

use super::record::{Alignment, Record};
use super::walk::Walks;
use super::{Authenticated, DmarcResult, Identifier, Input, Outcome, Policy, Published};
use crate::name::Name;
use crate::resolve::{DnsError, Resolve};
use std::sync::Arc;

/// Finds the author's policy and judges the identifiers by it. Never fails: what goes wrong is one
/// of the results.
pub async fn evaluate(resolver: &impl Resolve, input: &Input<'_>) -> Outcome {
    let mut walks = Walks::new(resolver);
    let mut outcome = Outcome {
        result: DmarcResult::None,
        from: input.from.clone(),
        organizational_domain: None,
        published: None,
        policy: Policy::None,
        applied: Policy::None,
        spf_aligned: false,
        dkim_aligned: None,
        undecided: false,
        queries: 0,
        problem: None,
    };
    match discover(&mut walks, input.from).await {
        Ok(None) => outcome.problem = Some("no DMARC record".to_owned()),
        Ok(Some(found)) => judge(&mut walks, input, found, &mut outcome).await,
        Err(error) => {
            outcome.result = DmarcResult::TempError;
            outcome.problem = Some(format!("policy: {error}"));
            // An identifier of the very domain is aligned under every policy.
            outcome.undecided = !passed(input).any(|identifier| identifier.domain == *input.from);
        }
    }
    outcome.queries = walks.queries;
    outcome
}

/// The record that applies and which of its policies.
struct Found {
    published: Published,
    policy: Result<Policy, String>,
    /// Known already if the policy was found by a walk.
    organizational_domain: Option<Name>,
}

/// §4.10.1.
async fn discover<R: Resolve>(
    walks: &mut Walks<'_, R>,
    from: &Name,
) -> Result<Option<Found>, DnsError> {
    if let Some(record) = walks.record(from).await? {
        let policy = record.for_domain().map_err(|problem| problem.to_string());
        let published = Published {
            record,
            domain: from.clone(),
        };
        return Ok(Some(Found {
            published,
            policy,
            organizational_domain: None,
        }));
    }
    let walk = walks.walk(from).await?;
    let organizational = walk.organizational_domain();
    let (domain, record) = match (walk.at(&organizational), walk.public_suffix()) {
        (Some(record), _) => (organizational.clone(), Arc::clone(record)),
        (None, Some((suffix, record))) => (suffix.clone(), Arc::clone(record)),
        (None, None) => return Ok(None),
    };
    let policy = subdomain_policy(walks, &record, from).await?;
    let published = Published { record, domain };
    let organizational_domain = Some(organizational);
    Ok(Some(Found {
        published,
        policy,
        organizational_domain,
    }))
}

/// `sp` or `np`; whether the domain exists is only asked if that makes a difference.
async fn subdomain_policy<R: Resolve>(
    walks: &mut Walks<'_, R>,
    record: &Record,
    from: &Name,
) -> Result<Result<Policy, String>, DnsError> {
    let policy = match record.for_subdomain() == record.for_nonexistent() {
        true => record.for_subdomain(),
        false if walks.exists(from).await? => record.for_subdomain(),
        false => record.for_nonexistent(),
    };
    Ok(policy.map_err(|problem| problem.to_string()))
}

async fn judge<R: Resolve>(
    walks: &mut Walks<'_, R>,
    input: &Input<'_>,
    found: Found,
    outcome: &mut Outcome,
) {
    let record = Arc::clone(&found.published.record);
    outcome.published = Some(found.published);
    let policy = match found.policy {
        Ok(policy) => policy,
        Err(problem) => {
            outcome.problem = Some(problem);
            return;
        }
    };
    outcome.policy = policy;
    let mut author = AuthorDomain {
        from: input.from,
        organizational: found.organizational_domain,
    };
    let mut unknown = None;
    let spf = input
        .spf
        .iter()
        .map(|identifier| (identifier, record.spf_alignment, true));
    let dkim = input
        .dkim
        .iter()
        .map(|identifier| (identifier, record.dkim_alignment, false));
    for (identifier, mode, is_spf) in spf.chain(dkim) {
        if !is_spf && outcome.dkim_aligned.is_some() {
            break;
        }
        match author.judge(walks, identifier, mode).await {
            Judged::Aligned if is_spf => outcome.spf_aligned = true,
            Judged::Aligned => outcome.dkim_aligned = Some(identifier.domain.clone()),
            Judged::Unknown(problem) => unknown = Some(problem),
            Judged::Not => {}
        }
    }
    outcome.organizational_domain = author.organizational;
    (outcome.result, outcome.problem) = match (
        outcome.spf_aligned || outcome.dkim_aligned.is_some(),
        unknown,
    ) {
        (true, _) => (DmarcResult::Pass, None),
        // §5.3.6: with an answer missing the message neither passes nor fails.
        (false, Some(problem)) => (DmarcResult::TempError, Some(problem)),
        (false, None) => (DmarcResult::Fail, None),
    };
    let if_failed = record.applied(policy);
    match outcome.result {
        DmarcResult::Fail => outcome.applied = if_failed,
        DmarcResult::TempError => outcome.undecided = if_failed != Policy::None,
        DmarcResult::None | DmarcResult::Pass | DmarcResult::PermError => {}
    }
}

fn passed<'i>(input: &'i Input<'_>) -> impl Iterator<Item = &'i Identifier> {
    let all = input.spf.iter().chain(&input.dkim);
    all.filter(|identifier| identifier.authenticated == Authenticated::Yes)
}

/// What alignment makes of an identifier.
enum Judged {
    /// It passed and is aligned.
    Aligned,
    /// It did not pass or is not aligned.
    Not,
    /// DNS does not tell, and it could be both.
    Unknown(String),
}

/// The author's domain, its organizational domain once somebody needed it.
struct AuthorDomain<'a> {
    from: &'a Name,
    organizational: Option<Name>,
}

impl AuthorDomain<'_> {
    /// §4.10.2, for one identifier.
    async fn judge<R: Resolve>(
        &mut self,
        walks: &mut Walks<'_, R>,
        identifier: &Identifier,
        mode: Alignment,
    ) -> Judged {
        let domain = &identifier.domain;
        let aligned = match (identifier.authenticated, mode) {
            (Authenticated::No, _) => return Judged::Not,
            _ if domain == self.from => Ok(true),
            (_, Alignment::Strict) => Ok(false),
            (Authenticated::Yes, Alignment::Relaxed) => self.is_same(walks, domain).await,
            (Authenticated::Unknown, Alignment::Relaxed) => self.is_below(walks, domain).await,
        };
        match (aligned, identifier.authenticated) {
            (Ok(true), Authenticated::Yes) => Judged::Aligned,
            (Ok(true), _) => Judged::Unknown(format!("{domain} could not be authenticated now")),
            (Ok(false), _) => Judged::Not,
            (Err(error), _) => Judged::Unknown(format!("organizational domain: {error}")),
        }
    }

    /// Whether both have one organizational domain.
    async fn is_same<R: Resolve>(
        &mut self,
        walks: &mut Walks<'_, R>,
        domain: &Name,
    ) -> Result<bool, DnsError> {
        if !self.is_below(walks, domain).await? {
            return Ok(false);
        }
        let theirs = walks.walk(domain).await?.organizational_domain();
        Ok(self.organizational.as_ref() == Some(&theirs))
    }

    /// Whether the domain is at or below our organizational domain; only then can it be its own,
    /// since an organizational domain is an ancestor.
    async fn is_below<R: Resolve>(
        &mut self,
        walks: &mut Walks<'_, R>,
        domain: &Name,
    ) -> Result<bool, DnsError> {
        // Without a top-level domain in common there is no need to ask anybody.
        if domain.labels().next_back() != self.from.labels().next_back() {
            return Ok(false);
        }
        let ours = match &self.organizational {
            Some(ours) => ours,
            None => {
                let ours = walks.walk(self.from).await?.organizational_domain();
                self.organizational.insert(ours)
            }
        };
        Ok(domain.is_at_or_below(ours))
    }
}
