//! `tests/suites/spf/rfc7208-tests.yml`: every case at `check_host`.

#[path = "../../../../../tests/suites/spf/reader.rs"]
mod reader;

use crate::spf::{Request, check_host};
use crate::zone::reverse_name;
use reader::Case;

fn request(case: &Case) -> Request {
    Request::mail_from(
        case.host,
        &case.helo,
        case.reverse_path(),
        "mx.receiver.test",
        1_400_000_000,
    )
}

#[tokio::test]
async fn all_203_cases() {
    let (mut cases, mut wrong) = (0, Vec::new());
    for scenario in &reader::scenarios() {
        let zone = reader::zone(scenario);
        for (id, case) in &scenario.tests {
            cases += 1;
            let outcome = check_host(&zone, &request(case)).await;
            if !case.is_right(outcome.result.as_str(), outcome.explanation.as_deref()) {
                wrong.push(format!("{} / {id}: {outcome:?}", scenario.description));
            }
        }
    }
    assert_eq!(cases, 203);
    assert!(
        wrong.is_empty(),
        "{} cases differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn reverse_names_of_the_suite() {
    assert_eq!(
        reverse_name("1.2.3.4".parse().unwrap()).as_str(),
        "4.3.2.1.in-addr.arpa"
    );
}
