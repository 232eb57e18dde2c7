//! MailPolicies: to what each is attached, how they are merged, and what they compile to.
//!
//! In go the valid policies; out come, for a listener and for a rule of a route, the enforced and
//! the shadow result, each part with the policy that it came from.

mod attach;
mod compile;
mod merge;

pub(super) use attach::{Policies, Target};

use crate::world::ObjectKey;
use postern_config::{ListenerPolicy, RecipientPolicy};

/// A compiled policy in its two forms.
#[derive(Clone)]
pub(super) struct Both<T> {
    /// From Enforce policies only.
    pub(super) enforced: T,
    /// From all; absent when that makes no difference.
    pub(super) shadow: Option<T>,
}

impl<T: PartialEq> Both<T> {
    fn new(enforced: T, all: T) -> Self {
        let shadow = (all != enforced).then_some(all);
        Self { enforced, shadow }
    }
}

/// The place of a rule: where its policies are looked for.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) gateway: &'a ObjectKey,
    pub(super) listener: &'a str,
    pub(super) route: &'a ObjectKey,
    pub(super) rule: &'a str,
}

impl Policies<'_> {
    /// What holds on a listener before a recipient is known: read without MailRoutes.
    pub(super) fn listener(&self, gateway: &ObjectKey, listener: &str) -> Both<ListenerPolicy> {
        let chain = Target::of_listener(gateway, listener);
        Both::new(
            compile::listener(&merge::enforced(self, &chain)),
            compile::listener(&merge::all(self, &chain)),
        )
    }

    /// What holds for a recipient of a rule.
    pub(super) fn recipient(&self, place: Place<'_>) -> Both<RecipientPolicy> {
        let mut chain = Target::of_listener(place.gateway, place.listener).to_vec();
        chain.extend(Target::of_rule(place.route, place.rule));
        Both::new(
            compile::recipient(&merge::enforced(self, &chain)),
            compile::recipient(&merge::all(self, &chain)),
        )
    }

    /// Whether a policy is attached to a route or one of its rules.
    pub(super) fn touch(&self, route: &ObjectKey) -> bool {
        self.routes.contains(route)
    }
}
