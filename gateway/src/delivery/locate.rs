//! Names to addresses: Services, hosts and MX (RFC 5321 §5).

use super::backend::Backend;
use super::failure::Failure;
use super::limits::Limits;
use futures::future::{BoxFuture, join};
use postern_config::backend::Target;
use postern_smtp::address::Domain;
use postern_verify::Name;
use postern_verify::resolve::{DnsError, Mx, Resolve};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// MX hosts that are looked up at most.
const MAX_HOSTS: usize = 10;

/// The gateway's resolver (`spec.resolver`) as delivery needs it. Every
/// [`postern_verify::Resolve`] is one.
pub trait Names: Send + Sync + 'static {
    /// IPv4 addresses of an absolute name.
    fn a<'n>(&'n self, name: &'n Name) -> BoxFuture<'n, Result<Arc<[Ipv4Addr]>, DnsError>>;
    /// IPv6 addresses of an absolute name.
    fn aaaa<'n>(&'n self, name: &'n Name) -> BoxFuture<'n, Result<Arc<[Ipv6Addr]>, DnsError>>;
    /// Mail exchangers of an absolute name.
    fn mx<'n>(&'n self, name: &'n Name) -> BoxFuture<'n, Result<Arc<[Mx]>, DnsError>>;
}

impl<R: Resolve + 'static> Names for R {
    fn a<'n>(&'n self, name: &'n Name) -> BoxFuture<'n, Result<Arc<[Ipv4Addr]>, DnsError>> {
        Box::pin(Resolve::a(self, name))
    }
    fn aaaa<'n>(&'n self, name: &'n Name) -> BoxFuture<'n, Result<Arc<[Ipv6Addr]>, DnsError>> {
        Box::pin(Resolve::aaaa(self, name))
    }
    fn mx<'n>(&'n self, name: &'n Name) -> BoxFuture<'n, Result<Arc<[Mx]>, DnsError>> {
        Box::pin(Resolve::mx(self, name))
    }
}

/// One address to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The host's name, for TLS and telemetry; none where only addresses are known.
    pub(super) host: Option<Arc<str>>,
    pub(super) address: SocketAddr,
}

/// The addresses of a headless Service, for a moment.
#[derive(Debug, Default)]
pub(super) struct Headless(Mutex<Option<(Instant, Vec<IpAddr>)>>);

/// Where to try, in order; at least one.
pub(super) async fn locate(
    backend: &Backend,
    domain: Option<&Domain>,
    names: &dyn Names,
    limits: &Limits,
) -> Result<Vec<Candidate>, Failure> {
    let mut candidates = match backend.target() {
        Target::Addresses { addresses, port } => in_turn(backend, addresses, None, *port),
        Target::Headless { name, port } => {
            let addresses = headless(backend.headless(), name, limits).await?;
            in_turn(backend, &addresses, Some(name.as_str().into()), *port)
        }
        Target::Host { name, port } => host(name, names)
            .await?
            .into_iter()
            .map(|address| candidate(Some(name.as_str().into()), address, *port))
            .collect(),
        Target::Mx => mx(backend, domain, names, limits).await?,
        Target::Discard => Vec::new(),
    };
    candidates.truncate(limits.addresses);
    if candidates.is_empty() {
        Err(Failure::NoAddress)
    } else {
        Ok(candidates)
    }
}

fn candidate(host: Option<Arc<str>>, address: IpAddr, port: u16) -> Candidate {
    Candidate {
        host,
        address: SocketAddr::new(address, port),
    }
}

/// Every connection begins with another address.
fn in_turn(
    backend: &Backend,
    addresses: &[IpAddr],
    host: Option<Arc<str>>,
    port: u16,
) -> Vec<Candidate> {
    let mut candidates: Vec<_> = addresses
        .iter()
        .map(|address| candidate(host.clone(), *address, port))
        .collect();
    if !candidates.is_empty() {
        let first = backend.next_turn() % candidates.len();
        candidates.rotate_left(first);
    }
    candidates
}

/// By the system's resolver: a Service's short name needs the search list.
async fn headless(kept: &Headless, name: &str, limits: &Limits) -> Result<Vec<IpAddr>, Failure> {
    let now = Instant::now();
    if let Some((until, addresses)) = &*kept.0.lock().unwrap_or_else(PoisonError::into_inner)
        && now < *until
    {
        return Ok(addresses.clone());
    }
    let found = tokio::net::lookup_host((name, 0)).await;
    let addresses: Vec<IpAddr> = found
        .map_err(|_| Failure::NoAddress)?
        .map(|address| address.ip())
        .collect();
    let mut kept = kept.0.lock().unwrap_or_else(PoisonError::into_inner);
    *kept = Some((now + limits.headless, addresses.clone()));
    Ok(addresses)
}

/// A host by its name, or its address as it stands.
async fn host(name: &str, names: &dyn Names) -> Result<Vec<IpAddr>, Failure> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    let name = Name::parse(name).map_err(|_| Failure::NoAddress)?;
    addresses(&name, names).await
}

/// A and AAAA, alternating; empty only when both are known to be so.
async fn addresses(name: &Name, names: &dyn Names) -> Result<Vec<IpAddr>, Failure> {
    let (v4, v6) = join(names.a(name), names.aaaa(name)).await;
    let temporary = [v4.as_ref().err(), v6.as_ref().err()]
        .into_iter()
        .flatten()
        .any(|error| error.is_temporary());
    let (v4, v6) = (v4.unwrap_or_default(), v6.unwrap_or_default());
    let mut found = Vec::with_capacity(v4.len() + v6.len());
    for turn in 0..v4.len().max(v6.len()) {
        found.extend(v4.get(turn).map(|address| IpAddr::from(*address)));
        found.extend(v6.get(turn).map(|address| IpAddr::from(*address)));
    }
    if found.is_empty() && temporary {
        return Err(Failure::Dns);
    }
    Ok(found)
}

/// The recipient domain's mail servers (RFC 5321 §5.1).
async fn mx(
    backend: &Backend,
    domain: Option<&Domain>,
    names: &dyn Names,
    limits: &Limits,
) -> Result<Vec<Candidate>, Failure> {
    let domain = match domain {
        Some(Domain::Name(name)) => Name::parse(name).map_err(|_| Failure::NoSuchDomain)?,
        Some(Domain::Literal(address)) => {
            return Ok(vec![candidate(None, *address, limits.mx_port)]);
        }
        None => return Err(Failure::NoSuchDomain),
    };
    let hosts = match names.mx(&domain).await {
        Ok(records) => exchanges(&records, backend.hello(), limits)?,
        // No MX: the domain itself is the host, "implicit MX".
        Err(DnsError::NoRecords { nxdomain: false }) => vec![domain],
        Err(DnsError::NoRecords { nxdomain: true }) => return Err(Failure::NoSuchDomain),
        Err(_) => return Err(Failure::Dns),
    };
    of_hosts(&hosts, names, limits).await
}

/// The hosts to try, best first, equals by chance; none that is ours or worse than ours.
fn exchanges(records: &[Mx], own: &str, limits: &Limits) -> Result<Vec<Name>, Failure> {
    if matches!(records, [Mx { exchange: None, .. }]) {
        return Err(Failure::NullMx);
    }
    let is_own = |mx: &&Mx| {
        mx.exchange
            .as_ref()
            .is_some_and(|host| host.as_str() == own)
    };
    let ours = records
        .iter()
        .filter(is_own)
        .map(|mx| mx.preference)
        .min()
        .unwrap_or(u16::MAX);
    let has_own = records.iter().any(|mx| is_own(&mx));
    let mut hosts: Vec<(u16, f64, &Name)> = records
        .iter()
        .filter(|mx| !has_own || mx.preference < ours)
        .filter_map(|mx| Some((mx.preference, (limits.chance)(), mx.exchange.as_ref()?)))
        .collect();
    hosts.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    if hosts.is_empty() {
        return Err(if has_own {
            Failure::MxLoop
        } else {
            Failure::NoSuchDomain
        });
    }
    Ok(hosts
        .into_iter()
        .take(MAX_HOSTS)
        .map(|(_, _, host)| host.clone())
        .collect())
}

/// The addresses of hosts in order, as many as will be tried.
async fn of_hosts(
    hosts: &[Name],
    names: &dyn Names,
    limits: &Limits,
) -> Result<Vec<Candidate>, Failure> {
    let mut found = Vec::new();
    let mut failure = Failure::NoSuchDomain;
    for host in hosts {
        match addresses(host, names).await {
            Ok(addresses) => found.extend(
                addresses
                    .into_iter()
                    .map(|address| candidate(Some(host.as_str().into()), address, limits.mx_port)),
            ),
            Err(error) => failure = error,
        }
        if found.len() >= limits.addresses {
            break;
        }
    }
    if found.is_empty() {
        Err(failure)
    } else {
        Ok(found)
    }
}
