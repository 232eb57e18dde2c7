//! Codes and texts.

use super::*;

fn reason(concern: Concern, policy: Option<&str>) -> Reason {
    let policy = policy.map(str::to_owned);
    Reason {
        check: "x",
        result: "fail",
        concern,
        detail: "bank.test".into(),
        policy,
    }
}

#[test]
fn authentication_failures_carry_the_codes_of_rfc_7372() {
    let table = [
        (Concern::DkimFail, "550 5.7.20 "),
        (Concern::SpfFail, "550 5.7.23 "),
        (Concern::SpfPermError, "550 5.7.24 "),
        (Concern::IprevFail, "550 5.7.25 "),
        (Concern::DmarcReject { evidence: false }, "550 5.7.26 "),
        (Concern::FromAmbiguous, "550 5.6.0 "),
        (Concern::ClientDenied, "554 5.7.1 "),
        (Concern::SenderDenied, "550 5.7.1 "),
    ];
    for (concern, code) in table {
        let text = rejected(&reason(concern, None)).to_string();
        assert!(text.starts_with(code), "{text}");
    }
    let text = deferred(&reason(Concern::DmarcUndecided, None)).to_string();
    assert!(text.starts_with("451 4.7.26 "), "{text}");
}

#[test]
fn texts_name_reason_and_policy() {
    let text = rejected(&reason(Concern::SpfFail, Some("mail/strict"))).to_string();
    assert_eq!(text, "550 5.7.23 SPF fails: bank.test (policy mail/strict)");
    let text = rejected(&reason(Concern::SpfFail, None)).to_string();
    assert!(text.ends_with("(default policy)"), "{text}");
}

#[test]
fn a_domains_words_are_told_from_ours() {
    let reason = reason(Concern::SpfFail, Some("mail/strict"));
    assert_eq!(
        explained(&reason, "bank.test", "See http://bank.test/why").to_string(),
        "550 5.7.23 SPF fails: bank.test (policy mail/strict). The domain bank.test explains: See \
         http://bank.test/why"
    );
}

#[test]
fn a_421_closes_and_a_452_does_not() {
    assert!(stop(&Stop::TooManyConnections).closes());
    assert!(stop(&Stop::ShuttingDown).closes());
    assert!(!stop(&Stop::OtherTransaction).closes());
    assert_eq!(
        stop(&Stop::OtherTransaction).to_string().get(..9),
        Some("452 4.5.3")
    );
    assert_eq!(stop(&Stop::Memory).to_string().get(..9), Some("452 4.3.1"));
}
