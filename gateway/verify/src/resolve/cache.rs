//! Answers that are kept for their time to live, typed and shared.
//!
//! The cache is ours and not the library's: it keeps the parsed records that the checks share
//! without copying, is bounded by size and not only by count (one TXT answer may hold 64 kB), and
//! lets simultaneous questions for one name wait for one answer.

use super::{DnsError, Mx, RecordType, Txt};
use crate::name::Name;
use moka::Expiry;
use moka::future::Cache;
use std::future::Future;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What an entry of ordinary size may take; the weight of an entry counts in this unit.
const ENTRY_OCTETS: usize = 1024;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Question {
    /// All types but PTR.
    Name(RecordType, Name),
    /// PTR.
    Address(IpAddr),
}

/// Records of one type.
#[derive(Debug, Clone)]
pub(super) enum Records {
    Txt(Txt),
    A(Arc<[Ipv4Addr]>),
    Aaaa(Arc<[Ipv6Addr]>),
    Mx(Arc<[Mx]>),
    Ptr(Arc<[Name]>),
}

impl Records {
    fn octets(&self) -> usize {
        match self {
            Self::Txt(texts) => texts.iter().map(|text| text.len() + 16).sum(),
            Self::A(addresses) => addresses.len() * size_of::<Ipv4Addr>(),
            Self::Aaaa(addresses) => addresses.len() * size_of::<Ipv6Addr>(),
            Self::Mx(hosts) => hosts.len() * 64,
            Self::Ptr(names) => names.len() * 64,
        }
    }
}

/// An answer and how long it holds; none: it must not be kept.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) records: Result<Records, DnsError>,
    pub(super) ttl: Option<Duration>,
}

struct ByTtl;

impl Expiry<Question, Answer> for ByTtl {
    fn expire_after_create(&self, _: &Question, answer: &Answer, _: Instant) -> Option<Duration> {
        Some(answer.ttl.unwrap_or(Duration::ZERO))
    }
}

/// The cache; see the module.
pub(super) struct AnswerCache(Cache<Question, Answer>);

impl AnswerCache {
    /// `entries` of ordinary size (1 kB); fewer if they are large.
    pub(super) fn new(entries: u64) -> Self {
        Self(
            Cache::builder()
                .max_capacity(entries)
                .weigher(|_, answer: &Answer| {
                    let octets = answer.records.as_ref().map_or(0, Records::octets);
                    u32::try_from(1 + octets / ENTRY_OCTETS).unwrap_or(u32::MAX)
                })
                .expire_after(ByTtl)
                .build(),
        )
    }

    /// The answer that is kept, if any.
    pub(super) async fn get(&self, question: &Question) -> Option<Result<Records, DnsError>> {
        self.0.get(question).await.map(|answer| answer.records)
    }

    /// Waits for `ask`, or for the same question that is already under way, and keeps the answer
    /// if it may be kept.
    pub(super) async fn get_or_ask(
        &self,
        question: Question,
        ask: impl Future<Output = Answer> + Send,
    ) -> Result<Records, DnsError> {
        let kept = async {
            let answer = ask.await;
            match answer.ttl {
                Some(ttl) if !ttl.is_zero() => Ok(answer),
                _ => Err(answer.records),
            }
        };
        match self.0.try_get_with(question, kept).await {
            Ok(answer) => answer.records,
            Err(passing) => (*passing).clone(),
        }
    }
}
