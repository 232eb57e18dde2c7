//! Which policies are attached to what.
//!
//! In go the valid policies, the oldest first; out comes for each target its policies in that
//! order. A target is always in the policy's own namespace: there is no way to write another.

use crate::translate::input::Input;
use crate::world::ObjectKey;
use postern_crds::MailPolicy;
use postern_crds::mail_policy::{Mode, Sections, TargetKind, TargetReference};
use std::collections::{BTreeMap, BTreeSet};

/// What a policy can be attached to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    pub(crate) kind: TargetKind,
    pub(crate) key: ObjectKey,
    pub(crate) section: Option<String>,
}

impl Target {
    /// What a reference of a policy in a namespace means.
    pub(crate) fn of(namespace: &str, reference: &TargetReference) -> Self {
        Self {
            kind: reference.kind,
            key: ObjectKey::new(namespace, &reference.name),
            section: reference.section_name.clone(),
        }
    }

    /// Gateway and listener, least specific first.
    pub(super) fn of_listener(gateway: &ObjectKey, listener: &str) -> [Self; 2] {
        Self::pair(TargetKind::MailGateway, gateway, listener)
    }

    /// Route and rule, least specific first.
    pub(super) fn of_rule(route: &ObjectKey, rule: &str) -> [Self; 2] {
        Self::pair(TargetKind::MailRoute, route, rule)
    }

    fn pair(kind: TargetKind, key: &ObjectKey, section: &str) -> [Self; 2] {
        let whole = Self {
            kind,
            key: key.clone(),
            section: None,
        };
        let part = Self {
            section: Some(section.to_owned()),
            ..whole.clone()
        };
        [whole, part]
    }
}

/// A policy at a target.
#[derive(Clone, Copy)]
pub(crate) struct Attached<'w> {
    /// Index in [`Input::policies`].
    pub(crate) index: usize,
    /// `namespace/name`.
    pub(crate) key: &'w ObjectKey,
    pub(crate) policy: &'w MailPolicy,
}

impl<'w> Attached<'w> {
    pub(crate) fn is_enforced(&self) -> bool {
        self.policy.spec.mode.unwrap_or_default() == Mode::Enforce
    }

    pub(super) fn defaults(&self) -> Option<&'w Sections> {
        self.policy.spec.defaults.as_ref()
    }

    pub(super) fn overrides(&self) -> Option<&'w Sections> {
        self.policy.spec.overrides.as_ref()
    }
}

/// All policies by target, the oldest first at each.
pub(crate) struct Policies<'w> {
    by_target: BTreeMap<Target, Vec<Attached<'w>>>,
    /// Routes that have a policy of their own.
    pub(super) routes: BTreeSet<ObjectKey>,
}

impl<'w> Policies<'w> {
    pub(crate) fn attach(input: &'w Input<'w>) -> Self {
        let mut by_target: BTreeMap<Target, Vec<Attached<'w>>> = BTreeMap::new();
        let mut routes = BTreeSet::new();
        for (index, judged) in input.policies.iter().enumerate() {
            let Ok(policy) = judged.object else { continue };
            let targets = policy.spec.target_refs.iter();
            let targets = targets.map(|one| Target::of(&judged.key.namespace, one));
            for target in targets.collect::<BTreeSet<_>>() {
                if target.kind == TargetKind::MailRoute {
                    routes.insert(target.key.clone());
                }
                let attached = Attached {
                    index,
                    key: &judged.key,
                    policy,
                };
                by_target.entry(target).or_default().push(attached);
            }
        }
        Self { by_target, routes }
    }

    /// The indices of the policies that are attached to one of these (`Kind/namespace/name`).
    pub(crate) fn acting_on(&self, objects: &BTreeSet<String>) -> BTreeSet<usize> {
        let here = self.by_target.iter();
        let here = here.filter(|(t, _)| objects.contains(&format!("{:?}/{}", t.kind, t.key)));
        here.flat_map(|(_, attached)| attached.iter().map(|one| one.index))
            .collect()
    }

    pub(super) fn at(&self, target: &Target) -> &[Attached<'w>] {
        self.by_target
            .get(target)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// The sections of a policy that older ones at the same target take away from it, in the
    /// merge in which it acts: `defaults.verify` and the older policy.
    pub(crate) fn lost(&self, index: usize, target: &Target) -> Vec<(String, &'w ObjectKey)> {
        let here = self.at(target);
        let Some(this) = here.iter().find(|one| one.index == index) else {
            return Vec::new();
        };
        let rivals = here
            .iter()
            .take_while(|one| one.index != index)
            .filter(|one| one.is_enforced() || !this.is_enforced());
        let mut lost = BTreeMap::new();
        for rival in rivals {
            let pairs = [
                ("defaults", this.defaults(), rival.defaults()),
                ("overrides", this.overrides(), rival.overrides()),
            ];
            for (group, ours, theirs) in pairs {
                let (Some(ours), Some(theirs)) = (ours, theirs) else {
                    continue;
                };
                let theirs = names(theirs);
                for name in names(ours).into_iter().filter(|name| theirs.contains(name)) {
                    lost.entry(format!("{group}.{name}")).or_insert(rival.key);
                }
            }
        }
        lost.into_iter().collect()
    }
}

/// The sections that are there.
fn names(sections: &Sections) -> Vec<&'static str> {
    let all = [
        ("access", sections.access.is_some()),
        ("limits", sections.limits.is_some()),
        ("timeouts", sections.timeouts.is_some()),
        ("verify", sections.verify.is_some()),
        ("mark", sections.mark.is_some()),
    ];
    all.into_iter()
        .filter(|(_, is_there)| *is_there)
        .map(|(name, _)| name)
        .collect()
}
