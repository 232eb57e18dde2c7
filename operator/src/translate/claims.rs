//! Claims: which route gets which recipients on one listener.
//!
//! In go the claims that were granted, with the rank of their routes by age; out come the winners
//! in the order in which the gateway tries them, and the losers with those whom they lost to.
//! Only equal claims compete: the oldest wins that name whole. Different claims are put in order
//! by how specific they are.

use postern_config::route::RecipientPattern;
use postern_crds::scalar::AddressPattern;
use std::cmp::Reverse;

/// A claim of a route at one of its parents. Routes are counted by age, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) pattern: RecipientPattern,
    pub(super) route: usize,
    pub(super) parent: usize,
}

/// A claim that lost to an older, equal one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Loser {
    pub(super) claim: Candidate,
    /// The route that holds the name.
    pub(super) winner: usize,
}

/// Who holds what on one listener.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Decision {
    /// Most specific first; each pattern once.
    pub(super) winners: Vec<Candidate>,
    pub(super) losers: Vec<Loser>,
}

/// Decides between the claims on one listener.
pub(super) fn decide(mut candidates: Vec<Candidate>) -> Decision {
    candidates.sort_by(|a, b| {
        specificity(&a.pattern)
            .cmp(&specificity(&b.pattern))
            .then_with(|| a.pattern.cmp(&b.pattern))
            .then_with(|| (a.route, a.parent).cmp(&(b.route, b.parent)))
    });
    let mut decision = Decision::default();
    for claim in candidates {
        match decision.winners.last() {
            Some(winner) if winner.pattern == claim.pattern => {
                // A route does not compete with itself, be it by two parentRefs.
                if winner.route != claim.route {
                    let winner = winner.route;
                    decision.losers.push(Loser { claim, winner });
                }
            }
            _ => decision.winners.push(claim),
        }
    }
    decision
}

/// Address, domain, wildcard by length, `*`.
fn specificity(pattern: &RecipientPattern) -> (u8, Reverse<usize>) {
    match pattern {
        RecipientPattern::Address(_) => (0, Reverse(0)),
        RecipientPattern::Domain(_) => (1, Reverse(0)),
        RecipientPattern::Wildcard(name) => (2, Reverse(name.len())),
        RecipientPattern::Any => (3, Reverse(0)),
    }
}

/// A claim as the gateway reads it.
pub(super) fn pattern(claim: &AddressPattern) -> RecipientPattern {
    match claim {
        AddressPattern::Address(address) => RecipientPattern::Address(address.to_string()),
        AddressPattern::Domain(name) => RecipientPattern::Domain(name.to_string()),
        AddressPattern::Below(name) => RecipientPattern::Wildcard(name.to_string()),
        AddressPattern::Any => RecipientPattern::Any,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RecipientPattern::{Address, Any, Domain, Wildcard};

    fn claim(pattern: RecipientPattern, route: usize) -> Candidate {
        Candidate {
            pattern,
            route,
            parent: 0,
        }
    }

    #[test]
    fn the_most_specific_is_tried_first_whatever_its_age() {
        let patterns = [
            Any,
            Wildcard("acme.test".into()),
            Wildcard("eu.acme.test".into()),
            Domain("acme.test".into()),
            Address("ops@acme.test".into()),
        ];
        let claims = patterns
            .iter()
            .cloned()
            .enumerate()
            .map(|(age, p)| claim(p, age));
        let decision = decide(claims.collect());
        let tried: Vec<_> = decision.winners.into_iter().map(|c| c.pattern).collect();
        let expected: Vec<_> = patterns.into_iter().rev().collect();
        assert_eq!(tried, expected);
        assert!(decision.losers.is_empty());
    }

    #[test]
    fn of_equal_claims_the_oldest_route_wins_and_all_others_learn_of_it() {
        let name = || Domain("acme.test".into());
        let decision = decide(vec![claim(name(), 7), claim(name(), 2), claim(name(), 5)]);
        assert_eq!(decision.winners, [claim(name(), 2)]);
        let lost: Vec<_> = decision
            .losers
            .iter()
            .map(|l| (l.claim.route, l.winner))
            .collect();
        assert_eq!(lost, [(5, 2), (7, 2)]);
    }

    #[test]
    fn a_route_does_not_compete_with_itself() {
        let name = || Domain("acme.test".into());
        let twice = vec![
            claim(name(), 1),
            Candidate {
                parent: 1,
                ..claim(name(), 1)
            },
        ];
        let decision = decide(twice);
        assert_eq!(decision.winners.len(), 1);
        assert!(decision.losers.is_empty());
    }
}
