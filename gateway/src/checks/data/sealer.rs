//! `verify.arc.trustedSealers`: does a trusted sealer say that DMARC passed where the mail came by?

use postern_verify::Name;
use postern_verify::arc::{ArcResult, Outcome};
use postern_verify::authentication_results::claimed_results;

/// The sealer who vouches for the message: the chain passes, the sealer and all who sealed after
/// it are trusted, and its ARC-Authentication-Results has `dmarc=pass` (RFC 8617 §7.2.1). Who
/// sealed later could have exchanged the message, so all of them must be trusted.
#[must_use]
pub fn find<'o>(outcome: &'o Outcome, trusted: &[String]) -> Option<&'o Name> {
    if outcome.result != ArcResult::Pass {
        return None;
    }
    outcome
        .sets
        .iter()
        .rev()
        .take_while(|set| is_trusted(&set.sealer, trusted))
        .find(|set| says_dmarc_pass(&set.results))
        .map(|set| &set.sealer)
}

/// Whether a sealer could vouch for the message if DNS answered.
#[must_use]
pub fn is_unknown(outcome: &Outcome, trusted: &[String]) -> bool {
    // A chain that could not be validated lists no sets; who sealed it is then not known either.
    outcome.temporary && !trusted.is_empty()
}

fn is_trusted(sealer: &Name, trusted: &[String]) -> bool {
    trusted.iter().any(|domain| domain == sealer.as_str())
}

/// Whether a result in the field's value is `dmarc=pass`. The sealer is trusted; what it quotes of
/// others, in comments and quoted strings, is not.
fn says_dmarc_pass(results: &[u8]) -> bool {
    claimed_results(results).any(|(method, result)| method == "dmarc" && result == "pass")
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_verify::arc::Set;

    fn chain(sets: &[(&str, &[u8])]) -> Outcome {
        let sets = sets
            .iter()
            .zip(1..)
            .map(|((sealer, results), instance)| Set {
                instance,
                sealer: Name::parse(sealer).unwrap(),
                selector: "s".into(),
                results: (*results).into(),
            });
        Outcome {
            result: ArcResult::Pass,
            sets: sets.collect(),
            oldest_pass: Some(0),
            problem: None,
            temporary: false,
        }
    }

    const PASS: &[u8] = b" mx.a.test;\r\n spf=pass; dmarc=pass (p=reject) header.from=x.test";
    const FAIL: &[u8] = b" mx.a.test; dmarc=fail header.from=x.test; dkim=pass";

    #[test]
    fn only_an_unbroken_line_of_trusted_sealers_vouches() {
        let trusted = ["list.test".to_owned(), "google.test".to_owned()];
        let found = |sets: &[(&str, &[u8])]| find(&chain(sets), &trusted).map(ToString::to_string);
        assert_eq!(found(&[("google.test", PASS)]), Some("google.test".into()));
        let both = [("google.test", PASS), ("list.test", FAIL)];
        assert_eq!(found(&both), Some("google.test".into()));
        assert_eq!(found(&[("google.test", PASS), ("evil.test", PASS)]), None);
        assert_eq!(found(&[("evil.test", PASS), ("list.test", FAIL)]), None);
        // The last but one: a reverse-path that a client wrote.
        for said in [
            b" a; x=dmarc=pass; notdmarc=pass".as_slice(),
            b" a; dmarc=fail; spf=none (x; dmarc=pass) smtp.mailfrom=b.test",
            b" a; dmarc=fail; spf=none smtp.mailfrom=\"x; dmarc=pass y\"@b.test",
            b" dmarc=pass",
        ] {
            assert_eq!(found(&[("list.test", said)]), None);
        }
    }

    #[test]
    fn a_chain_that_fails_vouches_for_nothing() {
        let mut broken = chain(&[("google.test", PASS)]);
        broken.result = ArcResult::Fail;
        assert_eq!(find(&broken, &["google.test".to_owned()]), None);
    }
}
