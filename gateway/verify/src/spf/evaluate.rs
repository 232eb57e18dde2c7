//! `check_host` (RFC 7208 §4): fetch the record, walk its directives, follow `include` and
//! `redirect`.
//!
//! Nothing recurses. One [`Evaluation`] holds what all records of a check share: the counts of
//! lookups and void lookups (§4.6.4) and the validated names of the client (§5.5).

use super::explain;
use super::macros::{Context, MacroString};
use super::parse::version_of;
use super::record::{
    Directive, DualCidr, Mechanism, Qualifier, Record, Test, same_network_v4, same_network_v6,
};
use super::{Outcome, Request, SpfResult};
use crate::name::Name;
use crate::resolve::{DnsError, Resolve, Temporary};
use std::net::IpAddr;

/// Terms that may cost lookups (§4.6.4).
const MAX_LOOKUPS: u32 = 10;
/// Terms whose lookup may find nothing (§4.6.4).
const MAX_VOID_LOOKUPS: u32 = 2;
/// Characters of the term that matched, for the report.
const MAX_TERM: usize = 200;
/// MX records of one `mx`, PTR names of one client (§4.6.4).
const MAX_NAMES: usize = 10;

/// Evaluates the policy of the domain for the client (RFC 7208 §4). Never fails: what goes wrong is
/// one of the seven results.
pub async fn check_host(resolver: &impl Resolve, request: &Request) -> Outcome {
    let mut evaluation = Evaluation::new(resolver, request);
    let domain = checkable(&request.domain);
    let mut outcome = Outcome {
        result: SpfResult::None,
        identity: request.identity,
        sender: sender_text(request),
        domain: domain.clone(),
        mechanism: None,
        explanation: None,
        problem: None,
        lookups: 0,
        void_lookups: 0,
    };
    let Some(name) = domain else {
        outcome.problem = Some("the identity has no domain name".to_owned());
        return outcome;
    };
    let domain = evaluation.sender_domain.clone();
    match evaluation.evaluate(domain, name).await {
        Ok(Verdict::NoRecord) => outcome.problem = Some("no SPF record".to_owned()),
        Ok(Verdict::Default) => outcome.result = SpfResult::Neutral,
        Ok(Verdict::Match(matched)) => {
            outcome.result = matched.qualifier.result();
            if matched.qualifier == Qualifier::Fail {
                outcome.explanation = explain::explanation(&mut evaluation, &matched).await;
            }
            outcome.mechanism = Some(matched.term.chars().take(MAX_TERM).collect());
        }
        Err(Stop::Temporary(problem)) => {
            (outcome.result, outcome.problem) = (SpfResult::TempError, Some(problem));
        }
        Err(Stop::Permanent(problem)) => {
            (outcome.result, outcome.problem) = (SpfResult::PermError, Some(problem));
        }
    }
    outcome.lookups = evaluation.lookups;
    outcome.void_lookups = evaluation.void_lookups;
    outcome
}

/// §4.3: a domain name of several labels; anything else has the result `none`.
fn checkable(domain: &str) -> Option<Name> {
    let name = Name::from_unicode(domain).ok()?;
    let literal = domain.starts_with('[') || domain.parse::<IpAddr>().is_ok();
    (!literal && name.as_str().contains('.')).then_some(name)
}

fn sender_text(request: &Request) -> String {
    match request.identity {
        super::Identity::Helo => request.domain.clone(),
        super::Identity::MailFrom => format!("{}@{}", local_part(request), request.domain),
    }
}

/// §4.3: without a local part, "postmaster" stands for it.
fn local_part(request: &Request) -> &str {
    match request.local_part.as_str() {
        "" => "postmaster",
        local_part => local_part,
    }
}

/// What ends an evaluation early (§2.6.6, §2.6.7).
pub(super) enum Stop {
    Temporary(String),
    Permanent(String),
}

enum Verdict {
    NoRecord,
    Match(Match),
    /// No directive matched (§4.7).
    Default,
}

impl Verdict {
    fn is_pass(&self) -> bool {
        match self {
            Self::Match(matched) => matched.qualifier == Qualifier::Pass,
            Self::NoRecord | Self::Default => false,
        }
    }
}

/// A record that is being evaluated.
struct Open {
    /// As `%{d}` shows it.
    domain: String,
    record: Record,
    /// The directive that is next.
    next: usize,
}

impl Open {
    /// What it means if this directive matches.
    fn matched(&self, directive: &Directive) -> Match {
        Match {
            qualifier: directive.qualifier,
            term: directive.text.clone(),
            exp: self.record.exp.clone(),
            domain: self.domain.clone(),
        }
    }
}

/// Where a record is left.
enum Step {
    /// It has its verdict.
    Verdict(Verdict),
    /// Another one is included first; what it means if that one passes.
    Include(MacroString, Match),
}

/// A directive matched.
pub(super) struct Match {
    qualifier: Qualifier,
    term: Box<str>,
    /// `exp=` of the record that holds the directive.
    pub(super) exp: Option<MacroString>,
    /// The domain of that record.
    pub(super) domain: String,
}

impl Qualifier {
    fn result(self) -> SpfResult {
        match self {
            Self::Pass => SpfResult::Pass,
            Self::Fail => SpfResult::Fail,
            Self::SoftFail => SpfResult::SoftFail,
            Self::Neutral => SpfResult::Neutral,
        }
    }
}

pub(super) struct Evaluation<'a, R> {
    pub(super) resolver: &'a R,
    request: &'a Request,
    /// `%{o}`, and `%{d}` of the first record: the identity's domain as it came, but U-labels as
    /// A-labels (§4.3).
    sender_domain: String,
    client: IpAddr,
    lookups: u32,
    void_lookups: u32,
    /// The client's names that lead back to it, or why it has none, once they were asked for.
    validated: Option<Result<Vec<Name>, DnsError>>,
}

impl<'a, R: Resolve> Evaluation<'a, R> {
    fn new(resolver: &'a R, request: &'a Request) -> Self {
        let domain = request.domain.strip_suffix('.').unwrap_or(&request.domain);
        let sender_domain = match checkable(domain) {
            Some(name) if !domain.is_ascii() => name.to_string(),
            _ => domain.to_owned(),
        };
        Self {
            resolver,
            request,
            sender_domain,
            client: request.client.to_canonical(),
            lookups: 0,
            void_lookups: 0,
            validated: None,
        }
    }

    /// Evaluates the record of a domain with all that it includes. The records wait on a stack of
    /// their own: their depth is for strangers to choose, and a thread's stack is not.
    async fn evaluate(&mut self, domain: String, name: Name) -> Result<Verdict, Stop> {
        let Some(mut open) = self.open(domain, &name).await? else {
            return Ok(Verdict::NoRecord);
        };
        let mut including: Vec<(Open, Match)> = Vec::new();
        loop {
            let mut verdict = match self.advance(&mut open).await? {
                Step::Verdict(verdict) => verdict,
                Step::Include(target, matched) => {
                    let included = self.include(&target, &open.domain).await?;
                    including.push((std::mem::replace(&mut open, included), matched));
                    continue;
                }
            };
            // §5.2: only a pass of what is included is a match; all else goes on behind it.
            loop {
                let Some((outer, matched)) = including.pop() else {
                    return Ok(verdict);
                };
                open = outer;
                if !verdict.is_pass() {
                    break;
                }
                verdict = Verdict::Match(matched);
            }
        }
    }

    /// Goes on in a record until it has a verdict, or to an `include`.
    async fn advance(&mut self, open: &mut Open) -> Result<Step, Stop> {
        loop {
            while let Some(directive) = open.record.directives.get(open.next) {
                open.next += 1;
                let matches = match &directive.mechanism {
                    Mechanism::Include(target) => {
                        return Ok(Step::Include(target.clone(), open.matched(directive)));
                    }
                    Mechanism::Test(test) => self.matches(test, &open.domain).await?,
                };
                if matches {
                    let matched = open.matched(directive);
                    return Ok(Step::Verdict(Verdict::Match(matched)));
                }
            }
            let Some(target) = &open.record.redirect else {
                return Ok(Step::Verdict(Verdict::Default));
            };
            self.count_lookup()?;
            let domain = self.expand_domain(target, &open.domain).await;
            let name = Name::parse(&domain)
                .map_err(|error| permanent(format!("redirect to a bad name: {error}")))?;
            // §6.1: no record at the target of a redirect.
            let no_record = || permanent(format!("redirect to {name}, which has no record"));
            *open = self.open(domain, &name).await?.ok_or_else(no_record)?;
        }
    }

    /// The record of a domain, from its beginning. `domain` is the name as `%{d}` shows it.
    async fn open(&self, domain: String, name: &Name) -> Result<Option<Open>, Stop> {
        Ok(self.record(name).await?.map(|record| Open {
            domain,
            record,
            next: 0,
        }))
    }

    /// §4.4, §4.5: the one TXT record with the version, or none.
    async fn record(&self, name: &Name) -> Result<Option<Record>, Stop> {
        let texts = match self.resolver.txt(name).await {
            Ok(texts) => texts,
            Err(DnsError::NoRecords { .. }) => return Ok(None),
            Err(error) => return Err(Stop::Temporary(format!("TXT {name}: {error}"))),
        };
        let mut records = texts.iter().filter_map(|text| version_of(text));
        match (records.next(), records.next()) {
            (None, _) => Ok(None),
            (Some(terms), None) => Record::parse(terms)
                .map(Some)
                .map_err(|error| permanent(format!("{name}: {error}"))),
            (Some(_), Some(_)) => Err(permanent(format!("{name} has several SPF records"))),
        }
    }

    async fn matches(&mut self, test: &Test, domain: &str) -> Result<bool, Stop> {
        match test {
            Test::All => Ok(true),
            Test::Ip4 { network, prefix } => Ok(match self.client {
                IpAddr::V4(client) => same_network_v4(client, *network, *prefix),
                IpAddr::V6(_) => false,
            }),
            Test::Ip6 { network, prefix } => Ok(match self.client {
                IpAddr::V4(_) => false,
                IpAddr::V6(client) => same_network_v6(client, *network, *prefix),
            }),
            Test::A {
                domain: target,
                cidr,
            } => self.a(target.as_ref(), domain, *cidr).await,
            Test::Mx {
                domain: target,
                cidr,
            } => self.mx(target.as_ref(), domain, *cidr).await,
            Test::Ptr(target) => self.ptr(target.as_ref(), domain).await,
            Test::Exists(target) => self.exists(target, domain).await,
        }
    }

    /// §5.2: the record that is included.
    async fn include(&mut self, target: &MacroString, domain: &str) -> Result<Open, Stop> {
        self.count_lookup()?;
        let target = self.expand_domain(target, domain).await;
        let no_record = || permanent(format!("include of {target:?}, which has no record"));
        let name = Name::parse(&target).map_err(|_| no_record())?;
        self.open(target.clone(), &name)
            .await?
            .ok_or_else(no_record)
    }

    /// §5.3.
    async fn a(
        &mut self,
        target: Option<&MacroString>,
        domain: &str,
        cidr: DualCidr,
    ) -> Result<bool, Stop> {
        self.count_lookup()?;
        let Some(name) = self.target(target, domain).await else {
            return Ok(false);
        };
        let answer = self.has_client(&name, cidr).await;
        self.found(&name, answer)
            .map(|found| found.unwrap_or(false))
    }

    /// §5.4.
    async fn mx(
        &mut self,
        target: Option<&MacroString>,
        domain: &str,
        cidr: DualCidr,
    ) -> Result<bool, Stop> {
        self.count_lookup()?;
        let Some(name) = self.target(target, domain).await else {
            return Ok(false);
        };
        let answer = self.resolver.mx(&name).await;
        let Some(hosts) = self.found(&name, answer)? else {
            return Ok(false);
        };
        // §4.6.4: more than ten exchangers are a permerror.
        if hosts.len() > MAX_NAMES {
            return Err(permanent(format!(
                "{name} has more than {MAX_NAMES} MX records"
            )));
        }
        for host in hosts.iter().filter_map(|mx| mx.exchange.as_ref()) {
            match self.has_client(host, cidr).await {
                Ok(true) => return Ok(true),
                // Void lookups are counted by terms, and this term found something.
                Ok(false) | Err(DnsError::NoRecords { .. }) => {}
                Err(error) => return Err(Stop::Temporary(format!("{host}: {error}"))),
            }
        }
        Ok(false)
    }

    /// §5.5.
    async fn ptr(&mut self, target: Option<&MacroString>, domain: &str) -> Result<bool, Stop> {
        self.count_lookup()?;
        let Some(name) = self.target(target, domain).await else {
            return Ok(false);
        };
        match self.validated_names().await {
            Ok(names) => Ok(names.iter().any(|known| known.is_at_or_below(&name))),
            Err(DnsError::NoRecords { .. }) => self.count_void().map(|()| false),
            // §4.6.4: what the limits of time and questions cut off is a temperror, not "no match".
            Err(spent @ DnsError::Temporary(Temporary::Spent)) => {
                Err(Stop::Temporary(format!("PTR {}: {spent}", self.client)))
            }
            // "If a DNS error occurs while doing the PTR RR lookup, then this mechanism fails to
            // match."
            Err(_) => Ok(false),
        }
    }

    /// §5.7: always an A question, whatever the client is.
    async fn exists(&mut self, target: &MacroString, domain: &str) -> Result<bool, Stop> {
        self.count_lookup()?;
        let Some(name) = self.target(Some(target), domain).await else {
            return Ok(false);
        };
        let answer = self.resolver.a(&name).await;
        self.found(&name, answer).map(|found| found.is_some())
    }

    /// The name that a term asks for; none if it is no name, which then matches nothing (§4.8).
    async fn target(&mut self, target: Option<&MacroString>, domain: &str) -> Option<Name> {
        match target {
            Some(target) => Name::parse(&self.expand_domain(target, domain).await).ok(),
            None => Name::parse(domain).ok(),
        }
    }

    async fn has_client(&self, name: &Name, cidr: DualCidr) -> Result<bool, DnsError> {
        match self.client {
            IpAddr::V4(client) => {
                let addresses = self.resolver.a(name).await?;
                Ok(addresses
                    .iter()
                    .any(|known| same_network_v4(*known, client, cidr.v4)))
            }
            IpAddr::V6(client) => {
                let addresses = self.resolver.aaaa(name).await?;
                Ok(addresses
                    .iter()
                    .any(|known| same_network_v6(*known, client, cidr.v6)))
            }
        }
    }

    /// An answer to a term's question: what was found, or nothing, which is counted.
    fn found<T>(&mut self, name: &Name, answer: Result<T, DnsError>) -> Result<Option<T>, Stop> {
        match answer {
            Ok(found) => Ok(Some(found)),
            Err(DnsError::NoRecords { .. }) => self.count_void().map(|()| None),
            Err(error) => Err(Stop::Temporary(format!("{name}: {error}"))),
        }
    }

    fn count_lookup(&mut self) -> Result<(), Stop> {
        if self.lookups == MAX_LOOKUPS {
            return Err(permanent(format!(
                "more than {MAX_LOOKUPS} terms need DNS lookups"
            )));
        }
        self.lookups += 1;
        Ok(())
    }

    fn count_void(&mut self) -> Result<(), Stop> {
        self.void_lookups += 1;
        if self.void_lookups > MAX_VOID_LOOKUPS {
            return Err(permanent(format!(
                "more than {MAX_VOID_LOOKUPS} lookups found nothing"
            )));
        }
        Ok(())
    }

    /// The client's names that lead back to it (§5.5); those that DNS cannot tell are left out.
    async fn validated_names(&mut self) -> Result<&[Name], DnsError> {
        if self.validated.is_none() {
            self.validated = Some(self.validate_names().await);
        }
        match &self.validated {
            Some(Ok(names)) => Ok(names),
            Some(Err(error)) => Err(*error),
            None => Ok(&[]),
        }
    }

    async fn validate_names(&self) -> Result<Vec<Name>, DnsError> {
        let names = self.resolver.ptr(self.client).await?;
        let mut validated = Vec::new();
        for name in names.iter().take(MAX_NAMES) {
            match self.has_client(name, DualCidr { v4: 32, v6: 128 }).await {
                Ok(true) => validated.push(name.clone()),
                Err(spent @ DnsError::Temporary(Temporary::Spent)) => return Err(spent),
                Ok(false) | Err(_) => {}
            }
        }
        Ok(validated)
    }

    /// `%{p}` (§7.3): the domain itself, else a name below it, else any.
    async fn validated_name(&mut self, domain: &str) -> Option<Name> {
        let domain = Name::parse(domain).ok()?;
        let names = self.validated_names().await.ok()?;
        let below = || names.iter().find(|name| name.is_at_or_below(&domain));
        names
            .iter()
            .find(|name| **name == domain)
            .or_else(below)
            .or(names.first())
            .cloned()
    }

    async fn expand_domain(&mut self, macros: &MacroString, domain: &str) -> String {
        self.with_context(macros, domain, MacroString::expand_domain)
            .await
    }

    /// Expands by `expand`, with the validated name looked up if the text needs it.
    pub(super) async fn with_context(
        &mut self,
        macros: &MacroString,
        domain: &str,
        expand: fn(&MacroString, &Context<'_>) -> String,
    ) -> String {
        let validated = match macros.needs_validated_name() {
            true => self.validated_name(domain).await,
            false => None,
        };
        let context = Context {
            local_part: local_part(self.request),
            sender_domain: &self.sender_domain,
            domain,
            client: self.client,
            validated: validated.as_ref().map(Name::as_str),
            helo: &self.request.helo,
            receiver: &self.request.receiver,
            now: self.request.now,
        };
        expand(macros, &context)
    }
}

fn permanent(problem: String) -> Stop {
    Stop::Permanent(problem)
}
