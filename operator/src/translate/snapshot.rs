//! The snapshot of one gateway: everything decided, written down for its pods.
//!
//! In go a gateway with its listeners, the decisions between claims, the policies and the compiled
//! rules of routes; out comes a [`Snapshot`]. Nothing is decided here.

use super::backends::{Places, Weighted};
use super::certificates::Service;
use super::gateway::Gateway;
use super::input::Input;
use super::policies::{Both, Place, Policies};
use super::routes::Attachments;
use super::status::Problem;
use crate::world::Mode;
use postern_config as config;
use postern_config::route::{Claim, LocalPartMatch, VerifyRecipients, WeightedBackend};
use postern_config::{Backend, Config, Credential, Keys, RecipientPolicy, Snapshot};
use postern_crds::defaults;
use postern_crds::mail_gateway::{Listener, MailGatewaySpec, ReceivedClient};
use postern_crds::mail_route::{self, LocalPartMatchType, MailRouteSpec};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A route's rules with their backends: the same on every gateway and listener.
pub(super) struct Rules {
    rules: Vec<CompiledRule>,
    /// What is wrong with the backends.
    pub(super) problems: Vec<Problem>,
}

/// A rule without its policies, which depend on the place.
struct CompiledRule {
    name: String,
    matches: Vec<LocalPartMatch>,
    verify_recipients: VerifyRecipients,
    backends: Vec<Weighted>,
}

impl Rules {
    /// Compiles the rules of a route in a namespace.
    pub(super) fn compile(places: &Places<'_>, namespace: &str, spec: &MailRouteSpec) -> Self {
        let mut problems = Vec::new();
        let mut rules = Vec::new();
        for rule in &spec.rules {
            let (backends, bad) = places.compile(namespace, &rule.backends);
            problems.extend(bad.into_iter().map(|problem| Problem {
                message: format!("rule {}: {}", rule.name, problem.message),
                ..problem
            }));
            rules.push(CompiledRule {
                name: rule.name.clone(),
                matches: rule.matches.iter().map(local_part).collect(),
                verify_recipients: match rule.verify_recipients.unwrap_or_default() {
                    mail_route::VerifyRecipients::Ask => VerifyRecipients::Ask,
                    mail_route::VerifyRecipients::None => VerifyRecipients::None,
                },
                backends,
            });
        }
        Self { rules, problems }
    }
}

impl CompiledRule {
    fn with(&self, policy: Both<RecipientPolicy>) -> config::route::Rule {
        config::route::Rule {
            name: self.name.clone(),
            matches: self.matches.clone(),
            verify_recipients: self.verify_recipients,
            backends: shares(&self.backends),
            enforced: policy.enforced,
            shadow: policy.shadow,
        }
    }
}

fn local_part(written: &mail_route::RecipientMatch) -> LocalPartMatch {
    let value = written.local_part.value.clone();
    match written.local_part.type_.unwrap_or_default() {
        LocalPartMatchType::Exact => LocalPartMatch::Exact(value),
        LocalPartMatchType::Prefix => LocalPartMatch::Prefix(value),
        LocalPartMatchType::Suffix => LocalPartMatch::Suffix(value),
        LocalPartMatchType::RegularExpression => LocalPartMatch::RegularExpression(value),
    }
}

/// Equal backends of one rule are one with the sum of their weights.
fn shares(backends: &[Weighted]) -> Vec<WeightedBackend> {
    let mut shares: Vec<WeightedBackend> = Vec::new();
    for one in backends {
        match shares.iter_mut().find(|share| share.backend == one.id) {
            Some(share) => share.weight = share.weight.saturating_add(one.weight),
            None => shares.push(WeightedBackend {
                backend: one.id.clone(),
                weight: one.weight,
            }),
        }
    }
    shares
}

/// Compiles the snapshot of a gateway that runs; `None` for one that does not.
pub(super) fn compile(
    input: &Input<'_>,
    gateway: &Gateway<'_>,
    attachments: &Attachments,
    policies: &Policies<'_>,
    rules: &BTreeMap<usize, Rules>,
) -> Option<Snapshot> {
    let object = gateway.object.filter(|_| gateway.runs())?;
    let mut content = Content::new(input, gateway, policies, rules);
    let mut listeners = Vec::new();
    for (index, judged) in gateway.listeners.iter().enumerate() {
        let tls = match &judged.service {
            Service::Tls(tls) => Some(tls.clone()),
            Service::Clear => None,
            Service::NotServed => continue,
        };
        let decision = attachments.decisions.get(index);
        let claims = decision.map(|d| d.winners.as_slice()).unwrap_or_default();
        let claims = content.claims(&judged.spec.name, claims);
        listeners.push(content.listener(judged.spec, tls, claims));
    }
    let generations = generations(input, gateway, attachments, policies);
    let spec = &object.spec;
    let config = Config {
        gateway: config::GatewayIdentity {
            namespace: gateway.key.namespace.clone(),
            name: gateway.key.name.clone(),
        },
        hostname: spec.hostname.to_string(),
        authserv_id: spec
            .authserv_id
            .as_ref()
            .unwrap_or(&spec.hostname)
            .to_string(),
        postmaster: Some(postmaster(spec)),
        listeners,
        routes: content.routes,
        backends: with_users(content.backends, content.users),
        resolver: resolver(spec),
        telemetry: telemetry(spec),
        drain: drain(spec),
        generations,
    };
    let keys = Keys {
        certificates: gateway.pairs.keys.clone(),
        credentials: content.credentials,
    };
    Some(Snapshot { config, keys })
}

/// What grows while listeners are compiled.
struct Content<'a, 'w> {
    input: &'a Input<'w>,
    gateway: &'a Gateway<'w>,
    policies: &'a Policies<'w>,
    rules: &'a BTreeMap<usize, Rules>,
    routes: Vec<config::Route>,
    backends: BTreeMap<String, Backend>,
    /// For each backend the routes that use it.
    users: BTreeMap<String, BTreeSet<String>>,
    credentials: BTreeMap<String, Credential>,
}

impl<'a, 'w> Content<'a, 'w> {
    fn new(
        input: &'a Input<'w>,
        gateway: &'a Gateway<'w>,
        policies: &'a Policies<'w>,
        rules: &'a BTreeMap<usize, Rules>,
    ) -> Self {
        Self {
            input,
            gateway,
            policies,
            rules,
            routes: Vec::new(),
            backends: BTreeMap::new(),
            users: BTreeMap::new(),
            credentials: BTreeMap::new(),
        }
    }

    /// The claims of a listener; the routes that hold them are added.
    fn claims(&mut self, listener: &str, winners: &[super::claims::Candidate]) -> Vec<Claim> {
        // By age, so that the order does not depend on what the routes claim.
        let holders: BTreeSet<usize> = winners.iter().map(|claim| claim.route).collect();
        // What holds for a rule whose route has no policy of its own.
        let nameless = crate::world::ObjectKey::new("", "");
        let base = self.policies.recipient(Place {
            gateway: &self.gateway.key,
            listener,
            route: &nameless,
            rule: "",
        });
        let mut places = BTreeMap::new();
        for route in holders {
            places.insert(route, self.routes.len());
            self.route(listener, route, &base);
        }
        let claim = |one: &super::claims::Candidate| {
            Some(Claim {
                pattern: one.pattern.clone(),
                route: *places.get(&one.route)?,
            })
        };
        winners.iter().filter_map(claim).collect()
    }

    fn route(&mut self, listener: &str, index: usize, base: &Both<RecipientPolicy>) {
        let (Some(judged), Some(rules)) = (self.input.routes.get(index), self.rules.get(&index))
        else {
            return;
        };
        let key = &judged.key;
        let has_policy = self.policies.touch(key);
        let mut compiled = Vec::new();
        for rule in &rules.rules {
            let policy = if has_policy {
                let gateway = &self.gateway.key;
                self.policies.recipient(Place {
                    gateway,
                    listener,
                    route: key,
                    rule: &rule.name,
                })
            } else {
                base.clone()
            };
            compiled.push(rule.with(policy));
            for one in &rule.backends {
                self.backends
                    .entry(one.id.clone())
                    .or_insert_with(|| one.backend.clone());
                self.users
                    .entry(one.id.clone())
                    .or_default()
                    .insert(key.to_string());
                self.credentials.extend(one.credential.clone());
            }
        }
        self.routes.push(config::Route {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            listener: listener.to_owned(),
            rules: compiled,
        });
    }

    fn listener(
        &self,
        spec: &Listener,
        tls: Option<config::listener::Tls>,
        claims: Vec<Claim>,
    ) -> config::Listener {
        let policy = self.policies.listener(&self.gateway.key, &spec.name);
        let trusted = spec
            .proxy_protocol
            .as_ref()
            .map(|p| p.trusted_cidrs.as_slice());
        config::Listener {
            name: spec.name.clone(),
            port: spec.port,
            bind_port: match self.input.world.mode {
                Mode::Cluster => postern_crds::pod_port(spec.port),
                Mode::Standalone => spec.port,
            },
            protocol: config::listener::Protocol::Smtp,
            tls,
            proxy_trusted: trusted
                .unwrap_or_default()
                .iter()
                .map(|cidr| cidr.get())
                .collect(),
            received_client: match spec.received_client.unwrap_or_default() {
                ReceivedClient::Show => config::listener::ReceivedClient::Show,
                ReceivedClient::Hide => config::listener::ReceivedClient::Hide,
            },
            one_recipient: self.takes_one_recipient(&claims),
            claims,
            enforced: policy.enforced,
            shadow: policy.shadow,
        }
    }

    /// Whether every backend that can be reached by these claims takes one recipient a message.
    fn takes_one_recipient(&self, claims: &[Claim]) -> bool {
        let routes: BTreeSet<usize> = claims.iter().map(|claim| claim.route).collect();
        let rules = routes
            .iter()
            .filter_map(|index| self.routes.get(*index))
            .flat_map(|r| &r.rules);
        let ids: BTreeSet<&String> = rules
            .flat_map(|rule| rule.backends.iter().map(|one| &one.backend))
            .collect();
        !ids.is_empty()
            && ids.iter().all(|id| {
                self.backends.get(*id).is_some_and(|backend| {
                    backend.multiple_recipients == config::backend::MultipleRecipients::One
                })
            })
    }
}

fn with_users(
    mut backends: BTreeMap<String, Backend>,
    users: BTreeMap<String, BTreeSet<String>>,
) -> BTreeMap<String, Backend> {
    for (id, users) in users {
        if let Some(backend) = backends.get_mut(&id) {
            backend.routes = users.into_iter().collect();
        }
    }
    backends
}

/// The generations of all that this snapshot was made of.
fn generations(
    input: &Input<'_>,
    gateway: &Gateway<'_>,
    attachments: &Attachments,
    policies: &Policies<'_>,
) -> BTreeMap<String, i64> {
    let mut generations = BTreeMap::new();
    generations.insert(format!("MailGateway/{}", gateway.key), gateway.generation);
    for (&(index, _), parent) in &attachments.parents {
        if let Some(route) = input.routes.get(index).filter(|_| parent.is_served()) {
            generations.insert(format!("MailRoute/{}", route.key), route.generation);
        }
    }
    let served: BTreeSet<_> = generations.keys().cloned().collect();
    for index in policies.acting_on(&served) {
        if let Some(policy) = input.policies.get(index) {
            generations.insert(format!("MailPolicy/{}", policy.key), policy.generation);
        }
    }
    generations
}

/// RFC 5321 §4.5.1: `<postmaster>` is always answered for.
fn postmaster(spec: &MailGatewaySpec) -> String {
    match &spec.postmaster {
        Some(address) => address.to_string(),
        None => format!("postmaster@{}", spec.hostname),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn resolver(spec: &MailGatewaySpec) -> config::Resolver {
    let resolver = spec.resolver.clone().unwrap_or_default();
    let cache = resolver.cache.unwrap_or_default();
    let max_ttl = cache
        .max_ttl
        .map_or(defaults::RESOLVER_CACHE_MAX_TTL, |ttl| ttl.get());
    config::Resolver {
        nameservers: resolver
            .nameservers
            .iter()
            .map(|server| server.get())
            .collect(),
        timeout_ms: millis(
            resolver
                .timeout
                .map_or(defaults::RESOLVER_TIMEOUT, |t| t.get()),
        ),
        attempts: resolver.attempts.unwrap_or(defaults::RESOLVER_ATTEMPTS),
        cache_entries: cache
            .entries
            .unwrap_or(defaults::RESOLVER_CACHE_ENTRIES)
            .into(),
        cache_max_ttl_s: max_ttl.as_secs(),
    }
}

fn telemetry(spec: &MailGatewaySpec) -> config::telemetry::Telemetry {
    use config::telemetry as t;
    use postern_crds::mail_gateway as api;
    let telemetry = spec.telemetry.clone().unwrap_or_default();
    let all = || {
        vec![
            api::AlwaysSample::Rejected,
            api::AlwaysSample::Deferred,
            api::AlwaysSample::Slow,
        ]
    };
    let protocol = |protocol: Option<api::OtlpProtocol>| match protocol.unwrap_or_default() {
        api::OtlpProtocol::Grpc => t::OtlpProtocol::Grpc,
        api::OtlpProtocol::Http => t::OtlpProtocol::Http,
    };
    let metrics = telemetry.metrics.map(|metrics| t::Metrics {
        endpoint: metrics.endpoint,
        protocol: protocol(metrics.protocol),
        interval_ms: millis(
            metrics
                .interval
                .map_or(defaults::METRICS_INTERVAL, Into::into),
        ),
    });
    let traces = telemetry.traces.map(|traces| t::Traces {
        endpoint: traces.endpoint,
        protocol: protocol(traces.protocol),
        sample_ratio: traces.sample_ratio.unwrap_or(defaults::TRACES_SAMPLE_RATIO),
        always_sample: traces
            .always_sample
            .unwrap_or_else(all)
            .into_iter()
            .map(|what| match what {
                api::AlwaysSample::Rejected => t::AlwaysSample::Rejected,
                api::AlwaysSample::Deferred => t::AlwaysSample::Deferred,
                api::AlwaysSample::Slow => t::AlwaysSample::Slow,
            })
            .collect(),
    });
    let recipients = telemetry
        .access_log
        .unwrap_or_default()
        .recipients
        .unwrap_or_default();
    t::Telemetry {
        traces,
        metrics,
        recipients: match recipients {
            api::RecipientDetail::Domain => t::Recipients::Domain,
            api::RecipientDetail::Address => t::Recipients::Full,
        },
    }
}

/// The end of a pod's life, as the spec or the defaults have it.
pub(super) fn drain(spec: &MailGatewaySpec) -> config::Drain {
    let drain = spec.infrastructure.drain.clone().unwrap_or_default();
    config::Drain {
        min_duration_ms: millis(
            drain
                .min_duration
                .map_or(defaults::DRAIN_MIN_DURATION, |d| d.get()),
        ),
        timeout_ms: millis(drain.timeout.map_or(defaults::DRAIN_TIMEOUT, |d| d.get())),
    }
}
