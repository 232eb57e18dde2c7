//! The DNS tree walk (RFC 9989 §4.10): which records stand at and above a domain.
//!
//! All walks of one message share a [`Walks`], which asks for each name once and for no more than
//! 24 names in all.

use super::record::{Psd, Record};
use crate::name::Name;
use crate::resolve::{DnsError, Resolve, Temporary};
use std::sync::Arc;

/// Names that are asked for at most, for all identifiers of a message together.
pub const MAX_QUERIES: u32 = 24;
/// A name with so many labels or more is shortened to one less (§4.10 step 4).
const SHORTEN_FROM: usize = 8;

/// The one record at a domain, or none, or why that is not known.
type Answer = Result<Option<Arc<Record>>, DnsError>;

/// The walks of one message.
pub(super) struct Walks<'r, R> {
    resolver: &'r R,
    known: Vec<(Name, Answer)>,
    pub(super) queries: u32,
}

/// The records that one walk found, from the longest name to the shortest.
pub(super) struct Walk {
    start: Name,
    found: Vec<(Name, Arc<Record>)>,
}

impl<'r, R: Resolve> Walks<'r, R> {
    pub(super) fn new(resolver: &'r R) -> Self {
        Self {
            resolver,
            known: Vec::new(),
            queries: 0,
        }
    }

    /// The one record at a domain, if there is exactly one (§4.10 step 2: several are discarded).
    pub(super) async fn record(&mut self, domain: &Name) -> Answer {
        if let Some((_, known)) = self.known.iter().find(|(name, _)| name == domain) {
            return known.clone();
        }
        self.count()?;
        let record = match domain.prefixed("_dmarc") {
            Ok(name) => match self.resolver.txt(&name).await {
                Ok(texts) => Ok(only(texts.iter().filter_map(|text| Record::parse(text)))),
                Err(DnsError::NoRecords { .. }) => Ok(None),
                Err(error) => Err(error),
            },
            // Too long a name cannot exist.
            Err(_) => Ok(None),
        };
        self.known.push((domain.clone(), record.clone()));
        record
    }

    /// Whether the domain exists (§3.2.13: NXDOMAIN says no).
    pub(super) async fn exists(&mut self, domain: &Name) -> Result<bool, DnsError> {
        self.count()?;
        match self.resolver.a(domain).await {
            Ok(_) | Err(DnsError::NoRecords { nxdomain: false }) => Ok(true),
            Err(DnsError::NoRecords { nxdomain: true }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Walks from a domain upwards until a record says what it is, or the root is reached.
    pub(super) async fn walk(&mut self, start: &Name) -> Result<Walk, DnsError> {
        let mut found = Vec::new();
        for target in targets(start) {
            let Some(record) = self.record(&target).await? else {
                continue;
            };
            let ends = record.psd != Psd::Unknown;
            found.push((target, record));
            if ends {
                break;
            }
        }
        Ok(Walk {
            start: start.clone(),
            found,
        })
    }

    fn count(&mut self) -> Result<(), DnsError> {
        if self.queries == MAX_QUERIES {
            return Err(DnsError::Temporary(Temporary::Spent));
        }
        self.queries += 1;
        Ok(())
    }
}

impl Walk {
    /// §4.10.2, the selection of the organizational domain.
    pub(super) fn organizational_domain(&self) -> Name {
        for (name, record) in &self.found {
            match record.psd {
                Psd::No => return name.clone(),
                Psd::Yes if *name != self.start => return self.one_below(name),
                Psd::Yes | Psd::Unknown => {}
            }
        }
        self.found
            .last()
            .map_or_else(|| self.start.clone(), |(name, _)| name.clone())
    }

    /// The record that was found at a domain.
    pub(super) fn at(&self, domain: &Name) -> Option<&Arc<Record>> {
        self.found
            .iter()
            .find(|(name, _)| name == domain)
            .map(|(_, record)| record)
    }

    /// The public suffix that ended the walk, and its record.
    pub(super) fn public_suffix(&self) -> Option<&(Name, Arc<Record>)> {
        self.found
            .iter()
            .find(|(name, record)| record.psd == Psd::Yes && *name != self.start)
    }

    /// The name one label longer than `suffix` on the way to the start.
    fn one_below(&self, suffix: &Name) -> Name {
        let labels = suffix.labels().count() + 1;
        shortened(&self.start, labels).unwrap_or_else(|| self.start.clone())
    }
}

fn only<T>(mut records: impl Iterator<Item = T>) -> Option<Arc<T>> {
    let record = records.next()?;
    records.next().is_none().then(|| Arc::new(record))
}

/// The rightmost labels of a name.
fn shortened(name: &Name, labels: usize) -> Option<Name> {
    let surplus = name.labels().count().checked_sub(labels)?;
    let mut name = name.clone();
    for _ in 0..surplus {
        name = name.parent()?;
    }
    Some(name)
}

/// The domains whose `_dmarc` is asked for, at most eight (§4.10 steps 3 to 7).
fn targets(start: &Name) -> impl Iterator<Item = Name> {
    let labels = start.labels().count();
    let longest = if labels < SHORTEN_FROM {
        labels - 1
    } else {
        SHORTEN_FROM - 1
    };
    let above = (1..=longest)
        .rev()
        .filter_map(|labels| shortened(start, labels));
    std::iter::once(start.clone()).chain(above.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_queries_at_most() {
        // RFC 9989 §4.10.
        let start = Name::parse("a.b.c.d.e.f.g.h.i.j.mail.example.com").unwrap();
        let targets: Vec<String> = targets(&start).map(|name| name.to_string()).collect();
        assert_eq!(
            targets,
            [
                "a.b.c.d.e.f.g.h.i.j.mail.example.com",
                "g.h.i.j.mail.example.com",
                "h.i.j.mail.example.com",
                "i.j.mail.example.com",
                "j.mail.example.com",
                "mail.example.com",
                "example.com",
                "com",
            ]
        );
    }

    #[test]
    fn eight_labels_are_shortened_by_one() {
        let start = Name::parse("a.b.c.d.e.f.example.com").unwrap();
        let targets: Vec<Name> = targets(&start).collect();
        assert_eq!(targets.len(), 8);
        assert_eq!(targets[1].as_str(), "b.c.d.e.f.example.com");
    }
}
