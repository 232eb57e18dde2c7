//! `tests/suites/spf/rfc7208-tests.yml`: every case at `check_host`.

use crate::name::Name;
use crate::resolve::{Mx, RecordType, Temporary};
use crate::spf::{Request, check_host};
use crate::zone::{Record, Zone, reverse_name};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;

const SUITE: &str = include_str!("../../../../../tests/suites/spf/rfc7208-tests.yml");

#[derive(Deserialize)]
struct Scenario {
    description: String,
    tests: BTreeMap<String, Case>,
    zonedata: BTreeMap<String, Vec<Datum>>,
}

#[derive(Deserialize)]
struct Case {
    helo: String,
    host: IpAddr,
    mailfrom: String,
    result: OneOrMore<String>,
    explanation: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Datum {
    /// `TIMEOUT` for every type that has no record.
    Word(String),
    Record(BTreeMap<String, Value>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Text(String),
    List(Vec<String>),
    Mx(u16, String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

impl OneOrMore<String> {
    fn has(&self, result: &str) -> bool {
        match self {
            Self::One(one) => one == result,
            Self::More(more) => more.iter().any(|one| one == result),
        }
    }
}

/// The suite says of its zone data: SPF records stand for TXT records where a name has no TXT.
fn zone(scenario: &Scenario) -> Zone {
    let mut zone = Zone::default();
    for (owner, data) in &scenario.zonedata {
        let Ok(name) = Name::parse(owner) else {
            continue;
        };
        let has_txt = data.iter().any(|datum| match datum {
            Datum::Record(record) => record.contains_key("TXT"),
            Datum::Word(_) => false,
        });
        for datum in data {
            match datum {
                Datum::Word(word) => {
                    assert_eq!(word, "TIMEOUT");
                    time_out(&mut zone, &name);
                }
                Datum::Record(records) => {
                    for (record_type, value) in records {
                        add(&mut zone, &name, record_type, value, has_txt);
                    }
                }
            }
        }
    }
    zone
}

/// In the suite this word stands last, behind the name's records.
fn time_out(zone: &mut Zone, name: &Name) {
    for record_type in [
        RecordType::Txt,
        RecordType::A,
        RecordType::Aaaa,
        RecordType::Mx,
    ] {
        let has = zone.records().any(|(owner, record)| {
            owner == name
                && match record {
                    Record::Txt(_) => record_type == RecordType::Txt,
                    Record::A(_) => record_type == RecordType::A,
                    _ => false,
                }
        });
        if !has {
            zone.add(
                name.clone(),
                Record::Failure(Some(record_type), Temporary::Timeout),
            );
        }
    }
}

fn add(zone: &mut Zone, name: &Name, record_type: &str, value: &Value, has_txt: bool) {
    let strings = |value: &Value| match value {
        Value::Text(text) => vec![text.clone().into_bytes()],
        Value::List(list) => list.iter().map(|text| text.clone().into_bytes()).collect(),
        Value::Mx(..) => panic!("no text"),
    };
    let text = |value: &Value| match value {
        Value::Text(text) => text.clone(),
        _ => panic!("one text is wanted at {name}"),
    };
    let record = match record_type {
        "TXT" | "SPF" if matches!(value, Value::Text(text) if text == "TIMEOUT") => {
            Record::Failure(Some(RecordType::Txt), Temporary::Timeout)
        }
        "SPF" if has_txt => return,
        "TXT" if matches!(value, Value::Text(text) if text == "NONE") => return,
        "TXT" | "SPF" => Record::Txt(strings(value)),
        "A" => Record::A(text(value).parse().unwrap()),
        "AAAA" => Record::Aaaa(text(value).parse().unwrap()),
        "MX" => match value {
            Value::Mx(preference, host) => {
                // Some exchangers of the suite are no names at all.
                Record::Mx(Mx {
                    preference: *preference,
                    exchange: Name::parse(host).ok(),
                })
            }
            _ => panic!("no MX"),
        },
        "PTR" => Record::Ptr(Name::parse(&text(value)).unwrap()),
        "CNAME" => Record::Cname(Name::parse(&text(value)).unwrap()),
        other => panic!("{other} in the zone"),
    };
    zone.add(name.clone(), record);
}

fn request(case: &Case) -> Request {
    let path = case.mailfrom.rsplit_once('@');
    let path = match case.mailfrom.as_str() {
        "" => None,
        bare if path.is_none() => Some(("", bare)),
        _ => path,
    };
    Request::mail_from(
        case.host,
        &case.helo,
        path,
        "mx.receiver.test",
        1_400_000_000,
    )
}

#[tokio::test]
async fn all_203_cases() {
    let scenarios: Vec<Scenario> = serde_saphyr::from_multiple(SUITE).unwrap();
    let (mut cases, mut wrong) = (0, Vec::new());
    for scenario in &scenarios {
        let zone = zone(scenario);
        for (id, case) in &scenario.tests {
            cases += 1;
            let outcome = check_host(&zone, &request(case)).await;
            let explanation = outcome.explanation.as_deref().unwrap_or("DEFAULT");
            let right = case.result.has(outcome.result.as_str())
                && case
                    .explanation
                    .as_deref()
                    .is_none_or(|wanted| wanted == explanation);
            if !right {
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
