//! Routing: which route and which rule take a recipient.
//!
//! A listener's compiled claims become hash maps once ([`Router::new`]); a mailbox goes in and the
//! route that claims it comes out, the most specific claim first: address, domain, wildcard by
//! length, `*`. [`Rules`] then chooses by the local part; if no rule of the winning route matches
//! there is no fall-through (docs/flow.md, 4. rcpt).

mod rule;

pub use rule::{RuleError, Rules};

use postern_config::route::{Claim, RecipientPattern};
use postern_smtp::address::{Domain, Mailbox};
use std::collections::HashMap;

/// The claims of one listener.
#[derive(Debug, Default)]
pub struct Router {
    addresses: HashMap<String, usize>,
    domains: HashMap<String, usize>,
    wildcards: HashMap<String, usize>,
    any: Option<usize>,
}

impl Router {
    /// Sorts the claims by kind. Of two equal ones the first stands.
    #[must_use]
    pub fn new(claims: &[Claim]) -> Self {
        let mut router = Self::default();
        for claim in claims {
            let (map, key) = match &claim.pattern {
                RecipientPattern::Address(address) => (&mut router.addresses, address),
                RecipientPattern::Domain(domain) => (&mut router.domains, domain),
                RecipientPattern::Wildcard(domain) => (&mut router.wildcards, domain),
                RecipientPattern::Any => {
                    router.any.get_or_insert(claim.route);
                    continue;
                }
            };
            map.entry(key.clone()).or_insert(claim.route);
        }
        router
    }

    /// The index of the route that claims the mailbox.
    #[must_use]
    pub fn route(&self, mailbox: &Mailbox) -> Option<usize> {
        // An address literal is claimed by nobody: it names a host, not a domain of ours.
        let Domain::Name(domain) = &mailbox.domain else {
            return None;
        };
        let exact = || match self.addresses.is_empty() {
            true => None,
            false => self.addresses.get(&mailbox.key()),
        };
        exact()
            .or_else(|| self.domains.get(domain))
            .or_else(|| self.wildcard(domain))
            .copied()
            .or(self.any)
    }

    /// The longest wildcard that the domain stands below.
    fn wildcard(&self, domain: &str) -> Option<&usize> {
        if self.wildcards.is_empty() {
            return None;
        }
        let mut rest = domain;
        while let Some((_, above)) = rest.split_once('.') {
            if let Some(route) = self.wildcards.get(above) {
                return Some(route);
            }
            rest = above;
        }
        None
    }
}

#[cfg(test)]
mod tests;
