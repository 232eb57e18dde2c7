//! Real name servers through hickory-resolver, behind a cache of ours.
//!
//! Name servers, time limits and cache size go in ([`ResolverOptions`], the MailGateway's
//! `spec.resolver`); a [`Resolve`] comes out. Questions go over UDP with EDNS, then TCP when an
//! answer is truncated. Names are asked as they stand, without search list and hosts file. A chain
//! of CNAMEs is followed for eight steps; a longer one, or a loop, has no records.

use super::cache::{Answer, AnswerCache, Question, Records};
use super::{DnsError, Mx, RecordType, Resolve, Temporary, Txt};
use crate::name::Name;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError as HickoryError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{self, RData};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How the resolver asks and what it keeps.
#[derive(Debug, Clone)]
pub struct ResolverOptions {
    /// The servers; empty: the system's (`/etc/resolv.conf`).
    pub nameservers: Vec<SocketAddr>,
    /// For one question, over all servers.
    pub timeout: Duration,
    /// Questions before the answer is "temporary error"; at least 1.
    pub attempts: u32,
    /// Cached answers of ordinary size (1 kB); 0 is no cache.
    pub cache_entries: u64,
    /// No answer is kept longer.
    pub cache_max_ttl: Duration,
}

impl Default for ResolverOptions {
    fn default() -> Self {
        Self {
            nameservers: Vec::new(),
            timeout: Duration::from_secs(2),
            attempts: 2,
            cache_entries: 100_000,
            cache_max_ttl: Duration::from_hours(1),
        }
    }
}

/// Why no resolver could be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// `/etc/resolv.conf` cannot be read or names no server.
    #[error("the system's name servers are not known: {0}; set spec.resolver.nameservers")]
    System(String),
    /// The library refused its configuration.
    #[error("the resolver cannot be set up: {0}")]
    Setup(String),
}

/// How often which end was met, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Questions that the cache answered.
    pub cache_hits: u64,
    /// Questions that were sent, retries not counted.
    pub queries: u64,
    /// Of these, answered "no such records" or "no such name".
    pub no_records: u64,
    /// Of these, without an answer in time.
    pub timeouts: u64,
    /// Of these, answered SERVFAIL.
    pub servfail: u64,
    /// Of these, without a usable answer for another reason.
    pub other_failures: u64,
}

#[derive(Debug, Default)]
struct AtomicCounters {
    cache_hits: AtomicU64,
    queries: AtomicU64,
    no_records: AtomicU64,
    timeouts: AtomicU64,
    servfail: AtomicU64,
    other_failures: AtomicU64,
}

impl AtomicCounters {
    fn count(&self, outcome: &Result<Records, DnsError>) {
        self.queries.fetch_add(1, Ordering::Relaxed);
        let ended = match outcome {
            Ok(_) => return,
            Err(DnsError::NoRecords { .. }) => &self.no_records,
            Err(DnsError::Temporary(Temporary::Timeout)) => &self.timeouts,
            Err(DnsError::Temporary(Temporary::ServFail)) => &self.servfail,
            Err(DnsError::Temporary(Temporary::Other | Temporary::Spent) | DnsError::Malformed) => {
                &self.other_failures
            }
        };
        ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// Asks real name servers; share it with `Arc`.
pub struct HickoryResolver {
    resolver: TokioResolver,
    cache: Option<AnswerCache>,
    max_ttl: Duration,
    /// One question with all its attempts takes no longer.
    patience: Duration,
    counters: AtomicCounters,
}

impl HickoryResolver {
    /// Sets the resolver up; nothing is asked yet.
    ///
    /// # Errors
    /// [`BuildError`], only when the system's servers were wanted and are not known, or the TLS
    /// library has no usable configuration.
    pub fn new(options: &ResolverOptions) -> Result<Self, BuildError> {
        let config = if options.nameservers.is_empty() {
            system_config()?
        } else {
            let servers = options
                .nameservers
                .iter()
                .map(|address| name_server(*address));
            ResolverConfig::from_parts(None, Vec::new(), servers.collect())
        };
        let attempts = options.attempts.max(1);
        let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(hickory_options(options.timeout, attempts))
            .with_tls_config(unused_tls()?)
            .build()
            .map_err(|error| BuildError::Setup(error.to_string()))?;
        Ok(Self {
            resolver,
            cache: (options.cache_entries > 0).then(|| AnswerCache::new(options.cache_entries)),
            max_ttl: options.cache_max_ttl,
            patience: options.timeout.saturating_mul(attempts),
            counters: AtomicCounters::default(),
        })
    }

    /// The counters now.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            cache_hits: read(&self.counters.cache_hits),
            queries: read(&self.counters.queries),
            no_records: read(&self.counters.no_records),
            timeouts: read(&self.counters.timeouts),
            servfail: read(&self.counters.servfail),
            other_failures: read(&self.counters.other_failures),
        }
    }

    async fn records(&self, question: Question) -> Result<Records, DnsError> {
        let Some(cache) = &self.cache else {
            return self.ask(&question).await.records;
        };
        if let Some(kept) = cache.get(&question).await {
            self.counters.cache_hits.fetch_add(1, Ordering::Relaxed);
            return kept;
        }
        let asked = question.clone();
        cache
            .get_or_ask(question, async move { self.ask(&asked).await })
            .await
    }

    async fn ask(&self, question: &Question) -> Answer {
        let (name, record_type) = match question {
            Question::Name(record_type, name) => (wire_name(name), hickory_type(*record_type)),
            Question::Address(address) => (Ok(rr::Name::from(*address)), rr::RecordType::PTR),
        };
        let answer = match name {
            Ok(name) => {
                let lookup = self.resolver.lookup(name, record_type);
                match tokio::time::timeout(self.patience, lookup).await {
                    Ok(Ok(lookup)) => self.answer(question, &lookup),
                    Ok(Err(error)) => self.refusal(&error),
                    Err(_) => passing(DnsError::Temporary(Temporary::Timeout)),
                }
            }
            Err(malformed) => passing(malformed),
        };
        self.counters.count(&answer.records);
        answer
    }

    fn answer(&self, question: &Question, lookup: &hickory_resolver::lookup::Lookup) -> Answer {
        let data = lookup.answers().iter().map(|record| &record.data);
        let records = match question {
            Question::Address(_) => some(data.filter_map(ptr_of)).map(Records::Ptr),
            Question::Name(RecordType::Txt, _) => some(data.filter_map(txt_of)).map(Records::Txt),
            Question::Name(RecordType::A, _) => some(data.filter_map(a_of)).map(Records::A),
            Question::Name(RecordType::Aaaa, _) => {
                some(data.filter_map(aaaa_of)).map(Records::Aaaa)
            }
            Question::Name(RecordType::Mx, _) => mx_of(data).map(Records::Mx),
            Question::Name(RecordType::Ptr, _) => None,
        };
        let ttl = lookup
            .valid_until()
            .saturating_duration_since(Instant::now());
        Answer {
            records: records.ok_or(DnsError::NoRecords { nxdomain: false }),
            ttl: Some(ttl.min(self.max_ttl)),
        }
    }

    fn refusal(&self, error: &NetError) -> Answer {
        let temporary = match error {
            NetError::Dns(HickoryError::NoRecordsFound(none)) => {
                let nxdomain = none.response_code == ResponseCode::NXDomain;
                return Answer {
                    records: Err(DnsError::NoRecords { nxdomain }),
                    // RFC 2308 §5: without a SOA a negative answer is not kept.
                    ttl: none
                        .negative_ttl
                        .map(|ttl| Duration::from_secs(u64::from(ttl)).min(self.max_ttl)),
                };
            }
            NetError::Timeout => DnsError::Temporary(Temporary::Timeout),
            NetError::Dns(HickoryError::ResponseCode(ResponseCode::ServFail)) => {
                DnsError::Temporary(Temporary::ServFail)
            }
            NetError::Proto(_) => DnsError::Malformed,
            _ => DnsError::Temporary(Temporary::Other),
        };
        passing(temporary)
    }
}

impl Resolve for HickoryResolver {
    async fn txt(&self, name: &Name) -> Result<Txt, DnsError> {
        match self
            .records(Question::Name(RecordType::Txt, name.clone()))
            .await?
        {
            Records::Txt(texts) => Ok(texts),
            _ => Err(DnsError::Malformed),
        }
    }

    async fn a(&self, name: &Name) -> Result<Arc<[Ipv4Addr]>, DnsError> {
        match self
            .records(Question::Name(RecordType::A, name.clone()))
            .await?
        {
            Records::A(addresses) => Ok(addresses),
            _ => Err(DnsError::Malformed),
        }
    }

    async fn aaaa(&self, name: &Name) -> Result<Arc<[Ipv6Addr]>, DnsError> {
        match self
            .records(Question::Name(RecordType::Aaaa, name.clone()))
            .await?
        {
            Records::Aaaa(addresses) => Ok(addresses),
            _ => Err(DnsError::Malformed),
        }
    }

    async fn mx(&self, name: &Name) -> Result<Arc<[Mx]>, DnsError> {
        match self
            .records(Question::Name(RecordType::Mx, name.clone()))
            .await?
        {
            Records::Mx(hosts) => Ok(hosts),
            _ => Err(DnsError::Malformed),
        }
    }

    async fn ptr(&self, address: IpAddr) -> Result<Arc<[Name]>, DnsError> {
        match self.records(Question::Address(address)).await? {
            Records::Ptr(names) => Ok(names),
            _ => Err(DnsError::Malformed),
        }
    }
}

fn passing(error: DnsError) -> Answer {
    Answer {
        records: Err(error),
        ttl: None,
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut udp = ConnectionConfig::udp();
    let mut tcp = ConnectionConfig::tcp();
    udp.port = address.port();
    tcp.port = address.port();
    NameServerConfig::new(address.ip(), true, vec![udp, tcp])
}

fn system_config() -> Result<ResolverConfig, BuildError> {
    let (config, _) = hickory_resolver::system_conf::read_system_conf()
        .map_err(|error| BuildError::System(error.to_string()))?;
    if config.name_servers().is_empty() {
        return Err(BuildError::System("none is configured".to_owned()));
    }
    // The search list is left behind: only absolute names are asked.
    Ok(ResolverConfig::from_parts(
        None,
        Vec::new(),
        config.name_servers().to_vec(),
    ))
}

fn hickory_options(timeout: Duration, attempts: u32) -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = timeout;
    // hickory counts the tries after the first.
    options.attempts = usize::try_from(attempts - 1).unwrap_or(0);
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.edns0 = true;
    options.preserve_intermediates = false;
    // The default of 32 answers "busy" under load.
    options.max_active_requests = 4096;
    options
}

/// The library wants a TLS configuration although no server is asked over TLS; its own default
/// fails on a machine without CA certificates, as containers are.
fn unused_tls() -> Result<rustls::ClientConfig, BuildError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| BuildError::Setup(error.to_string()))?;
    let roots = rustls::RootCertStore::empty();
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

pub(crate) fn wire_name(name: &Name) -> Result<rr::Name, DnsError> {
    // From labels, not from text: a label may hold backslashes and any octet.
    let mut wire =
        rr::Name::from_labels(name.labels().map(str::as_bytes)).map_err(|_| DnsError::Malformed)?;
    wire.set_fqdn(true);
    Ok(wire)
}

fn hickory_type(record_type: RecordType) -> rr::RecordType {
    match record_type {
        RecordType::A => rr::RecordType::A,
        RecordType::Aaaa => rr::RecordType::AAAA,
        RecordType::Mx => rr::RecordType::MX,
        RecordType::Ptr => rr::RecordType::PTR,
        RecordType::Txt => rr::RecordType::TXT,
    }
}

fn some<T>(records: impl Iterator<Item = T>) -> Option<Arc<[T]>> {
    let records: Arc<[T]> = records.collect();
    (!records.is_empty()).then_some(records)
}

fn a_of(data: &RData) -> Option<Ipv4Addr> {
    match data {
        RData::A(address) => Some(address.0),
        _ => None,
    }
}

fn aaaa_of(data: &RData) -> Option<Ipv6Addr> {
    match data {
        RData::AAAA(address) => Some(address.0),
        _ => None,
    }
}

fn txt_of(data: &RData) -> Option<Box<[u8]>> {
    match data {
        RData::TXT(txt) => Some(txt.txt_data.concat().into_boxed_slice()),
        _ => None,
    }
}

fn ptr_of(data: &RData) -> Option<Name> {
    match data {
        RData::PTR(name) => name_of(&name.0),
        _ => None,
    }
}

/// A name that is no text of ours (a dot or octets beyond UTF-8 in a label) is left out.
pub(crate) fn name_of(wire: &rr::Name) -> Option<Name> {
    let mut text = String::with_capacity(wire.len());
    for label in wire.iter() {
        let label = std::str::from_utf8(label)
            .ok()
            .filter(|label| !label.contains('.'))?;
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(label);
    }
    Name::parse(&text).ok()
}

fn mx_of<'a>(data: impl Iterator<Item = &'a RData>) -> Option<Arc<[Mx]>> {
    let mut hosts: Vec<Mx> = data
        .filter_map(|data| match data {
            RData::MX(mx) if mx.exchange.is_root() => Some(Mx {
                preference: mx.preference,
                exchange: None,
            }),
            RData::MX(mx) => name_of(&mx.exchange).map(|exchange| Mx {
                preference: mx.preference,
                exchange: Some(exchange),
            }),
            _ => None,
        })
        .collect();
    hosts.sort_by_key(|mx| mx.preference);
    (!hosts.is_empty()).then(|| hosts.into())
}
