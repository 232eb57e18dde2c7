//! DKIM (RFC 6376): does a domain take responsibility for this message?

use crate::checks::{Concern, Finding};
use postern_verify::dkim::{DkimResult, Outcome};

/// The check's name.
pub const CHECK: &str = "dkim";

/// A message without signatures raises no concern: DMARC says whether there should be one.
#[must_use]
pub fn check(outcome: &Outcome) -> Finding {
    let best = outcome.best();
    let concern = match best {
        DkimResult::None | DkimResult::Pass => None,
        // RFC 6376 §3.6.1, t=y: such a failure is not to be told from an unsigned message.
        _ if outcome.untried == 0 && outcome.signatures.iter().all(|one| one.testing) => None,
        DkimResult::TempError => Some(Concern::DkimTempError),
        DkimResult::Fail | DkimResult::Policy | DkimResult::Neutral | DkimResult::PermError => {
            Some(Concern::DkimFail)
        }
    };
    let told = outcome
        .signatures
        .iter()
        .find(|signature| signature.result == best);
    let detail = told.map_or_else(String::new, |signature| {
        let domain = signature
            .domain
            .as_ref()
            .map_or("", |domain| domain.as_str());
        match &signature.reason {
            Some(reason) if best != DkimResult::Pass => format!("{domain}: {reason}"),
            _ => domain.to_owned(),
        }
    });
    Finding {
        check: CHECK,
        result: best.as_str(),
        detail,
        concern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_verify::dkim::SignatureOutcome;

    fn failed(testing: bool) -> SignatureOutcome {
        SignatureOutcome {
            result: DkimResult::Fail,
            reason: None,
            domain: None,
            selector: None,
            identity: None,
            algorithm: None,
            b: None,
            testing,
            position: 0,
        }
    }

    #[test]
    fn who_is_testing_fails_without_harm() {
        let of = |signatures: Vec<_>, untried| {
            check(&Outcome {
                signatures,
                untried,
            })
            .concern
        };
        assert_eq!(of(vec![failed(true)], 0), None);
        assert_eq!(
            of(vec![failed(true), failed(false)], 0),
            Some(Concern::DkimFail)
        );
        assert_eq!(of(vec![failed(true)], 1), Some(Concern::DkimFail));
        assert_eq!(of(vec![], 0), None);
    }
}
