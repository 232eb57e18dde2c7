//! The merge: of several policies one result, section by section.
//!
//! In goes a chain of targets, the least specific first; out comes for each section the one policy
//! that it is taken from. Overrides stand before defaults; among overrides the least specific
//! wins, among defaults the most specific; at one target the oldest.

use super::attach::{Attached, Policies, Target};
use postern_crds::mail_policy::{Access, Limits, Mark, Sections, Timeouts, Verify};

/// A section and the policy (`namespace/name`) that it came from; `None`: the documented defaults.
pub(super) type Pick<'w, T> = Option<(&'w T, String)>;

/// One merged policy.
pub(super) struct Merged<'w> {
    pub(super) access: Pick<'w, Access>,
    pub(super) limits: Pick<'w, Limits>,
    pub(super) timeouts: Pick<'w, Timeouts>,
    pub(super) verify: Pick<'w, Verify>,
    pub(super) mark: Pick<'w, Mark>,
}

/// The merge of Enforce policies only.
pub(super) fn enforced<'w>(policies: &Policies<'w>, chain: &[Target]) -> Merged<'w> {
    merge(policies, chain, Attached::is_enforced)
}

/// The merge of all policies.
pub(super) fn all<'w>(policies: &Policies<'w>, chain: &[Target]) -> Merged<'w> {
    merge(policies, chain, |_| true)
}

fn merge<'w>(
    policies: &Policies<'w>,
    chain: &[Target],
    counts: impl Fn(&Attached<'w>) -> bool,
) -> Merged<'w> {
    let at = |target: &Target| -> Vec<Attached<'w>> {
        policies
            .at(target)
            .iter()
            .filter(|one| counts(one))
            .copied()
            .collect()
    };
    let levels: Vec<_> = chain.iter().map(at).collect();
    Merged {
        access: pick(&levels, |sections| sections.access.as_ref()),
        limits: pick(&levels, |sections| sections.limits.as_ref()),
        timeouts: pick(&levels, |sections| sections.timeouts.as_ref()),
        verify: pick(&levels, |sections| sections.verify.as_ref()),
        mark: pick(&levels, |sections| sections.mark.as_ref()),
    }
}

fn pick<'w, T>(
    levels: &[Vec<Attached<'w>>],
    section: impl Fn(&'w Sections) -> Option<&'w T>,
) -> Pick<'w, T> {
    let sourced = |one: &Attached<'w>, found: Option<&'w T>| Some((found?, one.key.to_string()));
    let overrides = levels
        .iter()
        .flatten()
        .find_map(|one| sourced(one, one.overrides().and_then(&section)));
    overrides.or_else(|| {
        let at_level = |level: &Vec<Attached<'w>>| {
            level
                .iter()
                .find_map(|one| sourced(one, one.defaults().and_then(&section)))
        };
        levels.iter().rev().find_map(at_level)
    })
}
