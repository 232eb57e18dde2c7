//! Statuses against what stood there before: other controllers, deleted gateways, times.

use super::*;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use postern_crds::common::ParentReference;
use postern_crds::status::ACCEPTED;

const OURS: &str = "postern.dev/postern";
const THEIRS: &str = "postern.dev/other";

fn gateway_key() -> ObjectKey {
    ObjectKey::new("mail", "edge")
}

fn route_key() -> ObjectKey {
    ObjectKey::new("acme", "acme")
}

fn parent(name: &str) -> ParentReference {
    ParentReference {
        name: name.to_owned(),
        namespace: Some("mail".to_owned()),
        section_name: None,
    }
}

fn good() -> Conditions {
    let yes = |reason| Verdict {
        status: true,
        reason,
        message: String::new(),
    };
    Conditions {
        accepted: yes("Accepted"),
        resolved_refs: Some(yes("ResolvedRefs")),
        programming: Programming::Whole,
    }
}

fn wanted(parents: &[&str]) -> translation::RouteStatus {
    translation::RouteStatus {
        generation: 3,
        conditions: good(),
        parents: parents
            .iter()
            .map(|name| translation::ParentStatus {
                parent_ref: parent(name),
                gateway: gateway_key(),
                conditions: good(),
            })
            .collect(),
    }
}

/// A gateway with two ready pods that have confirmed the route in that generation.
fn gateways(confirmed: i64) -> BTreeMap<ObjectKey, Gateway> {
    let gateway = Gateway {
        fleet: Fleet {
            pods: 2,
            ready: 2,
            acknowledged: 2,
            ..Fleet::default()
        },
        progress: Progress::Written("9f2c".to_owned()),
        confirmed: [(format!("MailRoute/{}", route_key()), confirmed)].into(),
        refused: BTreeMap::new(),
        addresses: vec![],
        selector: String::new(),
    };
    [(gateway_key(), gateway)].into()
}

fn build(
    gateways: &BTreeMap<ObjectKey, Gateway>,
    wanted: &translation::RouteStatus,
    live: &MailRouteStatus,
    now: i64,
) -> MailRouteStatus {
    let builder = Builder {
        controller: OURS,
        gateways,
        now: Timestamp::from_second(now).unwrap(),
    };
    builder.route(&route_key(), wanted, live)
}

fn find<'a>(conditions: &'a [Condition], type_: &str) -> &'a Condition {
    conditions::find(conditions, type_).unwrap()
}

fn condition(type_: &str, status: &str, reason: &str) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: "theirs".to_owned(),
        observed_generation: Some(3),
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
    }
}

fn entry(controller: &str, name: &str, conditions: Vec<Condition>) -> ParentStatus {
    ParentStatus {
        parent_ref: parent(name),
        controller_name: controller.to_owned(),
        conditions,
    }
}

#[test]
fn the_same_judgement_later_is_the_same_status() {
    let first = build(
        &gateways(3),
        &wanted(&["edge"]),
        &MailRouteStatus::default(),
        100,
    );
    assert_eq!(find(&first.conditions, PROGRAMMED).status, "True");
    assert_eq!(build(&gateways(3), &wanted(&["edge"]), &first, 200), first);
}

#[test]
fn a_condition_that_turns_gets_the_time_and_the_others_keep_theirs() {
    let before = build(
        &gateways(2),
        &wanted(&["edge"]),
        &MailRouteStatus::default(),
        100,
    );
    assert_eq!(find(&before.conditions, PROGRAMMED).reason, "Pending");
    let after = build(&gateways(3), &wanted(&["edge"]), &before, 200);
    let time = |type_| {
        find(&after.conditions, type_)
            .last_transition_time
            .0
            .as_second()
    };
    assert_eq!((time(ACCEPTED), time(PROGRAMMED)), (100, 200));
}

#[test]
fn entries_of_deleted_gateways_go_and_those_of_other_controllers_stay() {
    let theirs = entry(
        THEIRS,
        "their-edge",
        vec![condition(ACCEPTED, "True", "Accepted")],
    );
    let live = MailRouteStatus {
        conditions: vec![],
        parents: vec![entry(OURS, "gone", vec![]), theirs.clone()],
    };
    let next = build(&gateways(3), &wanted(&["edge"]), &live, 100);
    let names: Vec<&str> = next.parents.iter().map(|p| &*p.parent_ref.name).collect();
    assert_eq!(names, ["their-edge", "edge"]);
    assert_eq!(next.parents[0], theirs);
}

#[test]
fn two_controllers_agree_on_the_worst_instead_of_taking_turns() {
    let refusal = condition(ACCEPTED, "False", "DomainNotGranted");
    let live = MailRouteStatus {
        conditions: vec![],
        parents: vec![entry(THEIRS, "their-edge", vec![refusal])],
    };
    let next = build(&gateways(3), &wanted(&["edge"]), &live, 100);
    let accepted = find(&next.conditions, ACCEPTED);
    assert_eq!(
        (&*accepted.status, &*accepted.reason),
        ("False", "DomainNotGranted")
    );
    // Our own entry says what we think.
    assert_eq!(find(&next.parents[1].conditions, ACCEPTED).status, "True");
}

/// A gateway's verdict of the route that is not good.
fn refusal(message: &str) -> Conditions {
    let verdict = Verdict {
        status: false,
        reason: "NotAllowedByListeners",
        message: message.to_owned(),
    };
    let programming = Programming::Not {
        reason: verdict.reason,
        message: message.to_owned(),
    };
    Conditions {
        accepted: verdict,
        programming,
        ..good()
    }
}

#[test]
fn two_controllers_that_both_refuse_do_not_take_turns() {
    let gateways = gateways(3);
    let judged = |controller: &'static str, message: &str| {
        let mut wanted = wanted(&["edge"]);
        wanted.conditions = refusal(message);
        wanted.parents[0].conditions = refusal(message);
        let builder = Builder {
            controller,
            gateways: &gateways,
            now: Timestamp::UNIX_EPOCH,
        };
        move |live: &MailRouteStatus| builder.route(&route_key(), &wanted, live)
    };
    let (ours, theirs) = (judged(OURS, "ours"), judged(THEIRS, "theirs"));
    let first = ours(&MailRouteStatus::default());
    let second = theirs(&first);
    let third = ours(&second);
    let said = |status: &MailRouteStatus| status.conditions.clone();
    assert_eq!(said(&second), said(&first));
    // Not the words, and not the order of the entries.
    assert_eq!(third, second);
    assert_eq!(third.parents.len(), 2);

    // Who has spoken may say something else.
    let ours = judged(OURS, "ours, anew");
    let fourth = ours(&third);
    assert_eq!(find(&fourth.conditions, ACCEPTED).message, "ours, anew");
    assert_eq!(said(&theirs(&fourth)), said(&fourth));
}

#[test]
fn a_backend_that_refuses_us_is_told_on_the_route() {
    let mut gateways = gateways(3);
    let said = "service acme/mailstore:24 refuses the gateway with 550 5.7.1".to_owned();
    let refused = [(route_key().to_string(), said)].into();
    gateways.get_mut(&gateway_key()).unwrap().refused = refused;
    let next = build(
        &gateways,
        &wanted(&["edge"]),
        &MailRouteStatus::default(),
        100,
    );
    for conditions in [&next.conditions, &next.parents[0].conditions] {
        assert_eq!(find(conditions, "ResolvedRefs").reason, "BackendRefused");
        let programmed = find(conditions, PROGRAMMED);
        assert_eq!(
            (&*programmed.status, &*programmed.reason),
            ("True", "PartiallyProgrammed")
        );
        assert!(programmed.message.contains("refuses the gateway"));
    }
}

#[test]
fn a_generation_that_was_judged_later_than_ours_is_seen() {
    let conditions = [condition(ACCEPTED, "True", "Accepted")];
    assert!(conditions::judged_later(&conditions, 2));
    assert!(!conditions::judged_later(&conditions, 3));
}
