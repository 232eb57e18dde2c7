//! A snapshot made ready for use: TLS configurations, routing tables, regular expressions, the
//! resolver, the backends. Parsed once, looked up many times, never changed.

use crate::delivery::{self, Backends, Deliveries};
use crate::route::{Router, RuleError, Rules};
use crate::server::tls::{TlsContext, TlsError};
use postern_config::chunks::canonical_json;
use postern_config::policy::{DataPolicy, ListenerPolicy};
use postern_config::route::{Route, Rule};
use postern_config::{Config, Keys, Listener, Snapshot};
use postern_smtp::address::Mailbox;
use postern_verify::resolve::{BuildError, ResolverOptions};
use postern_verify::{HickoryResolver, KeyCache};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// Parsed DKIM keys that are kept.
const DKIM_KEYS: u64 = 10_000;

/// Why a snapshot that parses cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// Two listeners have one name or one port.
    #[error("listeners {0} and {1} have the same name or port")]
    TwiceListener(String, String),
    /// A claim names a route that is not there.
    #[error("listener {0}: a claim names route {1}, which is not there")]
    UnknownRoute(String, usize),
    /// `postmaster` is no mailbox.
    #[error("postmaster: {0}")]
    Postmaster(String),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A rule's matches.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// The backends.
    #[error(transparent)]
    Backends(#[from] delivery::ApplyError),
    /// The resolver.
    #[error("resolver: {0}")]
    Resolver(#[from] BuildError),
}

/// What outlives a snapshot and is needed to compile one.
#[derive(Clone)]
pub struct Environment {
    /// TLS provider and tickets.
    pub tls: TlsContext,
    /// All connections to backends.
    pub deliveries: Deliveries,
}

/// A snapshot in use.
pub struct Runtime {
    /// [`Snapshot::hash`].
    pub hash: Arc<str>,
    /// The head's generation; under `run` the count of changes.
    pub generation: u64,
    /// The part without secrets.
    pub config: Config,
    /// `spec.postmaster`, or the postmaster of our own name.
    pub postmaster: Option<Mailbox>,
    /// DNS for all checks.
    pub resolver: Arc<HickoryResolver>,
    /// Parsed DKIM keys.
    pub dkim_keys: Arc<KeyCache>,
    /// The backends, alive.
    pub backends: Arc<Backends>,
    listeners: HashMap<String, Arc<ListenerRuntime>>,
    rules: Vec<Rules>,
    data_policies: Vec<Vec<usize>>,
}

/// A listener in use.
pub struct ListenerRuntime {
    /// As compiled by the operator.
    pub config: Listener,
    /// TLS, unless it is disabled.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    router: Router,
    certificates: BTreeMap<String, postern_config::CertificateKey>,
}

/// Which rule takes a recipient.
#[derive(Clone, Copy)]
pub struct Routed<'r> {
    /// Index of route and rule: the rule's key within the snapshot.
    pub key: (usize, usize),
    /// The route.
    pub route: &'r Route,
    /// The rule.
    pub rule: &'r Rule,
    /// Equal for rules whose enforced data-stage policies are equal.
    pub data_policy: usize,
}

/// Why no rule takes a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unrouted {
    /// Nobody claims its domain.
    NoRoute,
    /// The route has no rule for its local part.
    NoRule,
}

impl Runtime {
    /// Compiles a snapshot. What did not change since `previous` is taken over from it, so that
    /// caches stay warm.
    ///
    /// # Errors
    /// [`CompileError`]; nothing has changed then.
    pub fn compile(
        snapshot: Snapshot,
        generation: u64,
        environment: &Environment,
        previous: Option<&Self>,
    ) -> Result<Self, CompileError> {
        let hash: Arc<str> = snapshot.hash().into();
        let rules = snapshot
            .config
            .routes
            .iter()
            .map(Rules::new)
            .collect::<Result<_, _>>()?;
        let listeners = listeners(&snapshot, environment, previous)?;
        let (resolver, dkim_keys) = resolver(&snapshot.config, previous)?;
        let postmaster = postmaster(&snapshot.config)?;
        let names: Arc<HickoryResolver> = Arc::clone(&resolver);
        let backends = environment.deliveries.prepare(&snapshot, names)?;
        Ok(Self {
            hash,
            generation,
            data_policies: data_policies(&snapshot.config.routes),
            config: snapshot.config,
            postmaster,
            resolver,
            dkim_keys,
            backends,
            listeners,
            rules,
        })
    }

    /// The listener of that name.
    #[must_use]
    pub fn listener(&self, name: &str) -> Option<&Arc<ListenerRuntime>> {
        self.listeners.get(name)
    }

    /// All listeners.
    pub fn listeners(&self) -> impl Iterator<Item = &Arc<ListenerRuntime>> {
        self.listeners.values()
    }

    /// The route and rule that take the mailbox on a listener.
    ///
    /// # Errors
    /// [`Unrouted`]: nobody claims it, or no rule of the winning route matches.
    pub fn routed(
        &self,
        listener: &ListenerRuntime,
        mailbox: &Mailbox,
    ) -> Result<Routed<'_>, Unrouted> {
        let route = listener.router.route(mailbox).ok_or(Unrouted::NoRoute)?;
        // Claims were checked against the routes when the snapshot was compiled.
        let (config, rules) = match (self.config.routes.get(route), self.rules.get(route)) {
            (Some(config), Some(rules)) => (config, rules),
            _ => return Err(Unrouted::NoRoute),
        };
        let rule = rules.first(&mailbox.local_part).ok_or(Unrouted::NoRule)?;
        self.rule((route, rule))
            .map_or(Err(Unrouted::NoRule), |found| {
                Ok(Routed {
                    route: config,
                    ..found
                })
            })
    }

    /// The rule of that key.
    #[must_use]
    pub fn rule(&self, key: (usize, usize)) -> Option<Routed<'_>> {
        let route = self.config.routes.get(key.0)?;
        let rule = route.rules.get(key.1)?;
        let data_policy = *self.data_policies.get(key.0)?.get(key.1)?;
        Some(Routed {
            key,
            route,
            rule,
            data_policy,
        })
    }
}

impl ListenerRuntime {
    /// The enforced policy and, where it differs, the shadow.
    #[must_use]
    pub fn policies(&self) -> (&ListenerPolicy, Option<&ListenerPolicy>) {
        (&self.config.enforced, self.config.shadow.as_ref())
    }
}

fn listeners(
    snapshot: &Snapshot,
    environment: &Environment,
    previous: Option<&Runtime>,
) -> Result<HashMap<String, Arc<ListenerRuntime>>, CompileError> {
    let mut listeners: HashMap<String, Arc<ListenerRuntime>> = HashMap::new();
    let mut ports: HashMap<u16, &str> = HashMap::new();
    for listener in &snapshot.config.listeners {
        let name = &listener.name;
        // Port 0 asks the system for any free one.
        let port = listener.bind_port;
        let other = if port == 0 {
            None
        } else {
            ports.insert(port, name)
        };
        if let Some(other) = other {
            return Err(CompileError::TwiceListener(other.to_owned(), name.clone()));
        }
        let routes = snapshot.config.routes.len();
        if let Some(claim) = listener.claims.iter().find(|claim| claim.route >= routes) {
            return Err(CompileError::UnknownRoute(name.clone(), claim.route));
        }
        let before = previous.and_then(|previous| previous.listener(name));
        let compiled = listener_runtime(listener, &snapshot.keys, environment, before)?;
        if listeners.insert(name.clone(), Arc::new(compiled)).is_some() {
            return Err(CompileError::TwiceListener(name.clone(), name.clone()));
        }
    }
    Ok(listeners)
}

fn listener_runtime(
    listener: &Listener,
    keys: &Keys,
    environment: &Environment,
    before: Option<&Arc<ListenerRuntime>>,
) -> Result<ListenerRuntime, CompileError> {
    let wanted: HashSet<&String> = listener
        .tls
        .iter()
        .flat_map(|tls| &tls.certificates)
        .collect();
    let certificates: BTreeMap<_, _> = keys
        .certificates
        .iter()
        .filter(|(id, _)| wanted.contains(id))
        .map(|(id, pair)| (id.clone(), pair.clone()))
        .collect();
    let same = before
        .filter(|before| before.config.tls == listener.tls && before.certificates == certificates);
    let tls = match (&listener.tls, same) {
        (None, _) => None,
        (Some(_), Some(before)) => before.tls.clone(),
        (Some(tls), None) => Some(environment.tls.configuration(&listener.name, tls, keys)?),
    };
    let router = Router::new(&listener.claims);
    Ok(ListenerRuntime {
        config: listener.clone(),
        tls,
        router,
        certificates,
    })
}

fn resolver(
    config: &Config,
    previous: Option<&Runtime>,
) -> Result<(Arc<HickoryResolver>, Arc<KeyCache>), BuildError> {
    if let Some(previous) = previous.filter(|one| one.config.resolver == config.resolver) {
        return Ok((
            Arc::clone(&previous.resolver),
            Arc::clone(&previous.dkim_keys),
        ));
    }
    let settings = &config.resolver;
    let resolver = HickoryResolver::new(&ResolverOptions {
        nameservers: settings.nameservers.clone(),
        timeout: Duration::from_millis(settings.timeout_ms),
        attempts: settings.attempts,
        cache_entries: settings.cache_entries,
        cache_max_ttl: Duration::from_secs(settings.cache_max_ttl_s),
    })?;
    Ok((Arc::new(resolver), Arc::new(KeyCache::new(DKIM_KEYS))))
}

/// RFC 5321 §4.5.1: there is always a postmaster; without a setting it is that of our own name.
fn postmaster(config: &Config) -> Result<Option<Mailbox>, CompileError> {
    match &config.postmaster {
        Some(address) => address
            .parse()
            .map(Some)
            .map_err(|error| CompileError::Postmaster(format!("{address}: {error}"))),
        None => Ok(format!("postmaster@{}", config.hostname).parse().ok()),
    }
}

/// A number for each rule, the same for equal data-stage policies.
fn data_policies(routes: &[Route]) -> Vec<Vec<usize>> {
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut number = |policy: &DataPolicy| {
        let next = numbers.len();
        *numbers.entry(canonical_json(policy)).or_insert(next)
    };
    routes
        .iter()
        .map(|route| {
            route
                .rules
                .iter()
                .map(|rule| number(&rule.enforced.data))
                .collect()
        })
        .collect()
}
