//! Reads `rfc7208-tests.yml`: scenarios with their DNS zone and their cases. Shared by the test at
//! `check_host` (gateway/verify) and the one over the wire (tests/tests/spf_wire.rs).

use postern_verify::Name;
use postern_verify::resolve::{Mx, RecordType, Temporary};
use postern_verify::zone::{Record, Zone};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;

const SUITE: &str = include_str!("rfc7208-tests.yml");

/// All scenarios, in order.
pub(crate) fn scenarios() -> Vec<Scenario> {
    serde_saphyr::from_multiple(SUITE).unwrap()
}

/// One zone and the questions to it.
#[derive(Deserialize)]
pub(crate) struct Scenario {
    pub(crate) description: String,
    pub(crate) tests: BTreeMap<String, Case>,
    zonedata: BTreeMap<String, Vec<Datum>>,
}

/// What a client says, and what SPF says of it.
#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) helo: String,
    pub(crate) host: IpAddr,
    mailfrom: String,
    result: OneOrMore<String>,
    explanation: Option<String>,
}

impl Case {
    /// The reverse-path as local part and domain; none when null.
    pub(crate) fn reverse_path(&self) -> Option<(&str, &str)> {
        match self.mailfrom.as_str() {
            "" => None,
            path => Some(path.rsplit_once('@').unwrap_or(("", path))),
        }
    }

    /// Whether a result, and the explanation of a fail, are right.
    pub(crate) fn is_right(&self, result: &str, explanation: Option<&str>) -> bool {
        let wanted = self.explanation.as_deref();
        self.result.has(result) && wanted.is_none_or(|w| w == explanation.unwrap_or("DEFAULT"))
    }
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
pub(crate) fn zone(scenario: &Scenario) -> Zone {
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
