//! `verify.arc.trustedSealers`: does a trusted sealer say that DMARC passed where the mail came by?

use postern_verify::Name;
use postern_verify::arc::{ArcResult, Outcome};
use postern_verify::authentication_results::claimed_results;

/// The sealer who vouches for the message: the chain passes, and [`vouching`].
#[must_use]
pub fn find<'o>(outcome: &'o Outcome, trusted: &[String]) -> Option<&'o Name> {
    let passed = outcome.result == ArcResult::Pass;
    passed.then(|| vouching(outcome, trusted)).flatten()
}

/// Whether a sealer would vouch for the message if DNS answered and the chain passed.
#[must_use]
pub fn is_unknown(outcome: &Outcome, trusted: &[String]) -> bool {
    outcome.temporary && vouching(outcome, trusted).is_some()
}

/// The sealer whose ARC-Authentication-Results has `dmarc=pass` (RFC 8617 §7.2.1), if it and all who
/// sealed after it are trusted: they could have exchanged the message. The newest must have signed
/// From and the whole body, else anybody could have put others there since.
fn vouching<'o>(outcome: &'o Outcome, trusted: &[String]) -> Option<&'o Name> {
    let mut believed = outcome
        .sets
        .iter()
        .rev()
        .take_while(|set| is_trusted(&set.sealer, trusted));
    believed
        .find(|set| says_dmarc_pass(&set.results))
        .filter(|_| outcome.signs_all)
        .map(|set| &set.sealer)
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
            signs_all: true,
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
    fn a_sealer_vouches_for_no_more_than_it_signed() {
        let trusted = ["google.test".to_owned()];
        let mut partial = chain(&[("google.test", PASS)]);
        partial.signs_all = false;
        assert_eq!(find(&partial, &trusted), None);
    }

    #[test]
    fn an_answer_that_is_missing_matters_only_where_it_could_vouch() {
        let trusted = ["google.test".to_owned()];
        let unanswered = |sets: &[(&str, &[u8])]| Outcome {
            result: ArcResult::Fail,
            temporary: true,
            ..chain(sets)
        };
        let unknown = |sets: &[(&str, &[u8])]| is_unknown(&unanswered(sets), &trusted);
        assert!(unknown(&[("google.test", PASS)]));
        // Anybody may write a chain whose key has no answer.
        assert!(!unknown(&[("evil.test", PASS)]));
        assert!(!unknown(&[("google.test", PASS), ("evil.test", PASS)]));
        assert!(!unknown(&[("google.test", FAIL)]));
        assert!(!is_unknown(&chain(&[("google.test", PASS)]), &trusted));
    }

    #[test]
    fn a_chain_that_fails_vouches_for_nothing() {
        let mut broken = chain(&[("google.test", PASS)]);
        broken.result = ArcResult::Fail;
        assert_eq!(find(&broken, &["google.test".to_owned()]), None);
    }
}
