//! Concerns, policies, verdicts.

use super::*;
use crate::testing;

fn dmarc_reject(evidence: bool) -> Finding {
    Finding::concern(
        "dmarc",
        "fail",
        "bank.test",
        Concern::DmarcReject { evidence },
    )
}

fn section(change: impl FnOnce(&mut Verify)) -> Sourced<Verify> {
    let mut value = testing::verify();
    change(&mut value);
    Sourced {
        policy: Some("mail/strict".into()),
        value,
    }
}

fn acts(finding: Finding, section: &Sourced<Verify>) -> &'static str {
    verify((finding, section), None).verdict.as_str()
}

#[test]
fn dmarc_reject_by_each_setting() {
    let by = |on_reject| section(|verify| verify.dmarc.on_reject = on_reject);
    assert_eq!(
        acts(dmarc_reject(false), &by(OnDmarcReject::Reject)),
        "Reject"
    );
    assert_eq!(
        acts(dmarc_reject(true), &by(OnDmarcReject::Reject)),
        "Reject"
    );
    let lenient = by(OnDmarcReject::RejectWithoutEvidence);
    assert_eq!(acts(dmarc_reject(false), &lenient), "Reject");
    assert_eq!(acts(dmarc_reject(true), &lenient), "Tag");
    assert_eq!(
        acts(dmarc_reject(false), &by(OnDmarcReject::Quarantine)),
        "Tag"
    );
}

#[test]
fn a_missing_answer_defers_only_where_the_policy_could_refuse() {
    let undecided = || Finding::concern("dmarc", "temperror", "", Concern::DmarcUndecided);
    assert_eq!(acts(undecided(), &section(|_| {})), "Defer");
    let mild = section(|verify| verify.dmarc.on_reject = OnDmarcReject::Quarantine);
    assert_eq!(acts(undecided(), &mild), "Tag");
    let strict = section(|verify| {
        verify.dmarc.on_reject = OnDmarcReject::Quarantine;
        verify.dmarc.on_quarantine = Action::Reject;
    });
    assert_eq!(acts(undecided(), &strict), "Defer");
    for concern in [
        Concern::DkimTempError,
        Concern::ArcTempError,
        Concern::IprevTempError,
    ] {
        let finding = Finding::concern("x", "temperror", "", concern);
        assert_eq!(
            acts(finding, &section(|_| {})),
            "Tag",
            "never a silent pass"
        );
    }
}

#[test]
fn the_shadow_is_kept_only_where_it_differs() {
    let ours = section(|_| {});
    let theirs = section(|verify| verify.spf.on_soft_fail = Action::Reject);
    let soft = || Finding::concern("spf", "softfail", "a.test", Concern::SpfSoftFail);
    let judged = verify((soft(), &ours), Some((soft(), &theirs)));
    assert_eq!(judged.verdict, Verdict::Accept);
    let record = judged.record();
    assert_eq!((record.action, record.shadow), ("Accept", Some("Reject")));
    let same = verify((soft(), &ours), Some((soft(), &ours)));
    assert_eq!(same.shadows, []);
}

#[test]
fn the_worse_verdict_stands_and_the_earlier_of_equals() {
    let strict = section(|verify| verify.spf.on_fail = Action::Reject);
    let spf = Finding::concern("spf", "fail", "a.test", Concern::SpfFail);
    let first = verify((dmarc_reject(false), &strict), None).verdict;
    let second = verify((spf, &strict), None).verdict;
    assert_eq!(first.clone().worse(second.clone()), first);
    assert_eq!(Verdict::Accept.worse(second.clone()), second);
    assert_eq!(second.clone().worse(Verdict::Accept), second);
}
