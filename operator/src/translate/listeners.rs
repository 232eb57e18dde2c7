//! Listeners: which are accepted, how they are served, and whom they admit.
//!
//! In goes a valid MailGateway; out comes each listener with its verdicts, and an [`Admission`]
//! that answers which namespace may claim which name. Ports cannot meet here any more: that makes
//! the whole object invalid.

use super::certificates::{self, Owner, Pairs, Served, Service};
use super::input::Input;
use super::status::{Problem, reason};
use crate::world::{ObjectKey, World};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use postern_crds::mail_gateway::{AllowedRoutes, Durability, FromNamespaces, Listener, Protocol};
use postern_crds::scalar::{AddressPattern, DomainName, DomainPattern};
use std::collections::{BTreeMap, BTreeSet};

/// A listener and what was decided about it.
pub(super) struct Judged<'w> {
    pub(super) spec: &'w Listener,
    /// What stands against it; with any, it is not part of the snapshot.
    pub(super) refusal: Option<Problem>,
    /// How it is served.
    pub(super) service: Service,
    /// What is wrong with its references.
    pub(super) references: Vec<Problem>,
    /// Certificates that end soon.
    pub(super) expiring: Vec<String>,
    /// What should be looked at.
    pub(super) warnings: Vec<String>,
}

impl Judged<'_> {
    /// Whether it stands in the snapshot.
    pub(super) fn is_served(&self) -> bool {
        self.refusal.is_none() && self.service != Service::NotServed
    }
}

/// Judges all listeners of a gateway.
pub(super) fn judge<'w>(
    input: &Input<'_>,
    owner: &Owner<'w>,
    pairs: &mut Pairs,
) -> Vec<Judged<'w>> {
    let mut judged = Vec::new();
    for listener in &owner.object.spec.listeners {
        let refusal = unsupported(listener);
        let served = match &refusal {
            Some(_) => Served {
                service: Service::NotServed,
                references: Vec::new(),
                expiring: Vec::new(),
            },
            None => certificates::serve(input, owner, listener.tls.as_ref(), pairs),
        };
        judged.push(Judged {
            spec: listener,
            refusal,
            service: served.service,
            references: served.references,
            expiring: served.expiring,
            warnings: warnings(listener),
        });
    }
    judged
}

/// What may be written and is not built yet.
fn unsupported(listener: &Listener) -> Option<Problem> {
    let say = |what: String, instead: &str| {
        let message = format!("{what} is not supported by this version: use {instead}");
        Some(Problem::new(reason::UNSUPPORTED, message))
    };
    match listener.protocol {
        Protocol::Smtp => {}
        Protocol::Lmtp => return say("protocol LMTP".to_owned(), "SMTP"),
        other => return say(format!("protocol {other:?}"), "SMTP"),
    }
    let durability = listener.durability.unwrap_or_default();
    if durability != Durability::PassThrough {
        return say(format!("durability {durability:?}"), "PassThrough");
    }
    None
}

/// `from: All | Selector` without `domains` lets those namespaces claim each other's names.
fn warnings(listener: &Listener) -> Vec<String> {
    let is_wide = |allowed: &AllowedRoutes| {
        let from = allowed
            .namespaces
            .as_ref()
            .and_then(|n| n.from)
            .unwrap_or_default();
        from != FromNamespaces::Same && allowed.domains.is_empty()
    };
    let entries = listener.allowed_routes.iter().enumerate();
    entries
        .filter(|(_, allowed)| is_wide(allowed))
        .map(|(index, _)| {
            format!(
                "warning: allowedRoutes[{index}] lets every namespace that it admits claim any \
                 domain: give it domains"
            )
        })
        .collect()
}

/// Who may claim what on the listeners of one gateway. Answers are remembered by namespace, so
/// that a thousand routes cost as much as their namespaces.
pub(super) struct Admission<'w> {
    world: &'w World,
    gateway: &'w ObjectKey,
    remembered: BTreeMap<(usize, String), Option<Grant>>,
}

/// What a namespace may claim on a listener.
#[derive(Default)]
pub(super) struct Grant {
    any: bool,
    exact: BTreeSet<DomainName>,
    below: BTreeSet<DomainName>,
}

impl<'w> Admission<'w> {
    pub(super) fn new(world: &'w World, gateway: &'w ObjectKey) -> Self {
        Self {
            world,
            gateway,
            remembered: BTreeMap::new(),
        }
    }

    /// What a namespace may claim on the listener of that index; `None` when it is not admitted.
    pub(super) fn grant(
        &mut self,
        index: usize,
        listener: &Listener,
        namespace: &str,
    ) -> Option<&Grant> {
        let key = (index, namespace.to_owned());
        let (world, gateway) = (self.world, self.gateway);
        let remembered = self.remembered.entry(key);
        remembered
            .or_insert_with(|| grant(world, gateway, listener, namespace))
            .as_ref()
    }
}

fn grant(
    world: &World,
    gateway: &ObjectKey,
    listener: &Listener,
    namespace: &str,
) -> Option<Grant> {
    let default = [AllowedRoutes::default()];
    let entries = match listener.allowed_routes.as_slice() {
        [] => &default,
        some => some,
    };
    let mut entries = entries
        .iter()
        .filter(|one| admits(world, gateway, one, namespace))
        .peekable();
    entries.peek()?;
    let mut grant = Grant::default();
    for entry in entries {
        grant.any |= entry.domains.is_empty();
        for domain in &entry.domains {
            match domain {
                DomainPattern::Exact(name) => grant.exact.insert(name.clone()),
                DomainPattern::Below(name) => grant.below.insert(name.clone()),
            };
        }
    }
    Some(grant)
}

fn admits(world: &World, gateway: &ObjectKey, entry: &AllowedRoutes, namespace: &str) -> bool {
    let Some(namespaces) = &entry.namespaces else {
        return namespace == gateway.namespace;
    };
    match namespaces.from.unwrap_or_default() {
        FromNamespaces::Same => namespace == gateway.namespace,
        FromNamespaces::All => true,
        FromNamespaces::Selector => namespaces
            .selector
            .as_ref()
            .is_some_and(|selector| selects(selector, &labels_of(world, namespace))),
    }
}

/// The label `kubernetes.io/metadata.name` is the API server's: a file cannot lie about it.
fn labels_of(world: &World, namespace: &str) -> BTreeMap<String, String> {
    let mut labels = world.namespaces.get(namespace).cloned().unwrap_or_default();
    labels.insert(
        "kubernetes.io/metadata.name".to_owned(),
        namespace.to_owned(),
    );
    labels
}

/// `metav1.LabelSelector`: all must hold. An operator that is unknown selects nothing.
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let mut wanted = selector.match_labels.iter().flatten();
    let mut expressions = selector.match_expressions.iter().flatten();
    wanted.all(|(key, value)| labels.get(key) == Some(value))
        && expressions.all(|expression| {
            let value = labels.get(&expression.key);
            let among = value.is_some_and(|v| expression.values.iter().flatten().any(|w| w == v));
            match expression.operator.as_str() {
                "In" => among,
                "NotIn" => !among,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

impl Grant {
    /// Whether a claim is granted: an address by its domain, `*.x` only by `*.x` or a wildcard
    /// above, `*` only where any domain is granted.
    pub(super) fn allows(&self, claim: &AddressPattern) -> bool {
        if self.any {
            return true;
        }
        match claim {
            AddressPattern::Address(address) => self.allows_name(address.domain()),
            AddressPattern::Domain(name) => self.allows_name(name),
            AddressPattern::Below(name) => self.below.contains(name) || self.is_below(name),
            AddressPattern::Any => false,
        }
    }

    fn allows_name(&self, name: &DomainName) -> bool {
        self.exact.contains(name) || self.is_below(name)
    }

    /// Whether the name stands below one that is granted with a wildcard.
    fn is_below(&self, name: &DomainName) -> bool {
        let mut rest = name.as_str();
        while let Some((_, parent)) = rest.split_once('.') {
            // A single label is no DomainName, and nobody can grant below it.
            if parent
                .parse()
                .is_ok_and(|parent| self.below.contains(&parent))
            {
                return true;
            }
            rest = parent;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(domains: &[&str]) -> Grant {
        let mut world = World::new(jiff::Timestamp::UNIX_EPOCH, crate::world::Mode::Cluster);
        world.namespaces.insert("acme".to_owned(), BTreeMap::new());
        let listener: Listener = serde_json::from_value(serde_json::json!({
            "name": "mx", "port": 25, "protocol": "SMTP",
            "allowedRoutes": [{"namespaces": {"from": "All"}, "domains": domains}],
        }))
        .unwrap();
        super::grant(&world, &ObjectKey::new("mail", "edge"), &listener, "acme").unwrap()
    }

    fn allows(grant: &Grant, claim: &str) -> bool {
        grant.allows(&claim.parse().unwrap())
    }

    #[test]
    fn a_name_grants_itself_and_a_wildcard_all_below_it() {
        let exact = grant(&["acme.test"]);
        let below = grant(&["*.acme.test"]);
        for (claim, by_exact, by_below) in [
            ("acme.test", true, false),
            ("ops@acme.test", true, false),
            ("eu.acme.test", false, true),
            ("a.eu.acme.test", false, true),
            ("ops@a.eu.acme.test", false, true),
            ("*.acme.test", false, true),
            ("*.eu.acme.test", false, true),
            ("evilacme.test", false, false),
            ("acme.test.evil.test", false, false),
            ("*", false, false),
        ] {
            assert_eq!(allows(&exact, claim), by_exact, "acme.test grants {claim}");
            assert_eq!(
                allows(&below, claim),
                by_below,
                "*.acme.test grants {claim}"
            );
        }
    }

    #[test]
    fn no_domains_grant_all_of_them() {
        let any = grant(&[]);
        assert!(
            ["*", "acme.test", "*.acme.test", "a@b.test"]
                .iter()
                .all(|c| allows(&any, c))
        );
    }

    #[test]
    fn selectors_follow_the_label_selector_of_kubernetes() {
        let labels = BTreeMap::from([("team".to_owned(), "acme".to_owned())]);
        for (selector, expected) in [
            (serde_json::json!({}), true),
            (serde_json::json!({"matchLabels": {"team": "acme"}}), true),
            (
                serde_json::json!({"matchLabels": {"team": "acme", "tier": "mail"}}),
                false,
            ),
            (expression("In", &["rival", "acme"]), true),
            (expression("NotIn", &["rival"]), true),
            (expression("NotIn", &["acme"]), false),
            (expression("Exists", &[]), true),
            (expression("DoesNotExist", &[]), false),
            (expression("Like", &["acme"]), false),
        ] {
            let parsed: LabelSelector = serde_json::from_value(selector.clone()).unwrap();
            assert_eq!(selects(&parsed, &labels), expected, "{selector}");
        }
    }

    fn expression(operator: &str, values: &[&str]) -> serde_json::Value {
        serde_json::json!({
            "matchExpressions": [{"key": "team", "operator": operator, "values": values}],
        })
    }
}
