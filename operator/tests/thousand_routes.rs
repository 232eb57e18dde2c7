//! A thousand MailRoutes of a hundred teams on one gateway: translated in at most a second, and
//! each team gets its own mail.
#![allow(clippy::unwrap_used, reason = "test code")]

use jiff::Timestamp;
use postern_operator::translate::translate;
use postern_operator::world::{Mode, ObjectKey, World};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const ROUTES: usize = 1000;
const TEAMS: usize = 100;
/// ARCHITECTURE.md, Numbers, for a release build; without optimisation it may take this much longer.
const LIMIT: Duration = Duration::from_secs(if cfg!(debug_assertions) { 15 } else { 1 });

fn world() -> World {
    let mut world = World::new(Timestamp::UNIX_EPOCH, Mode::Cluster);
    let allowed: Vec<Value> = (0..16)
        .map(|entry| {
            json!({
                "namespaces": {"from": "Selector", "selector": {"matchLabels": {"tier": "mail"}}},
                "domains": (0..TEAMS)
                    .filter(|team| team % 16 == entry)
                    .map(|team| format!("*.team{team}.test"))
                    .collect::<Vec<_>>(),
            })
        })
        .collect();
    let listener = |name: &str, port: u16| json!({"name": name, "port": port, "protocol": "SMTP", "allowedRoutes": allowed});
    let mut objects = vec![object(
        "MailGateway",
        "mail",
        "edge",
        &json!({
            "hostname": "mx1.example.com",
            "listeners": [listener("mx", 25), listener("alt", 2525)],
        }),
    )];
    for team in 0..TEAMS {
        let namespace = format!("team{team}");
        objects.push(json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": namespace, "labels": {"tier": "mail"}},
        }));
        objects.push(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": namespace, "name": "mailstore"},
            "spec": {"clusterIP": format!("10.96.1.{team}"), "ports": [{"port": 24}]},
        }));
        objects.push(object(
            "MailPolicy",
            &namespace,
            "strict",
            &json!({
                "targetRefs": [{"kind": "MailRoute", "name": "route0"}],
                "defaults": {"verify": {"spf": {"onFail": "Reject"}}},
            }),
        ));
    }
    for route in 0..ROUTES {
        let (team, number) = (route % TEAMS, route / TEAMS);
        let recipients: Vec<String> = (0..10)
            .map(|name| format!("d{name}.r{number}.team{team}.test"))
            .collect();
        objects.push(object(
            "MailRoute",
            &format!("team{team}"),
            &format!("route{number}"),
            &json!({
                "parentRefs": [{"name": "edge", "namespace": "mail"}],
                "recipients": recipients,
                "rules": [{"name": "default", "backends": [
                    {"service": {"name": "mailstore", "port": 24}, "protocol": "LMTP"},
                ]}],
            }),
        ));
    }
    for object in objects {
        world.insert(object).unwrap();
    }
    world
}

fn object(kind: &str, namespace: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": kind,
        "metadata": {"namespace": namespace, "name": name}, "spec": spec,
    })
}

#[test]
fn a_thousand_routes_are_translated_in_a_second() {
    let world = world();
    let before = Instant::now();
    let translation = translate(&world);
    let took = before.elapsed();
    println!("{ROUTES} routes on two listeners: {took:?}");
    let gateway = &translation.gateways[&ObjectKey::new("mail", "edge")];
    let config = &gateway.snapshot.as_ref().unwrap().config;
    assert_eq!(config.routes.len(), 2 * ROUTES);
    assert_eq!(config.backends.len(), TEAMS);
    for listener in &config.listeners {
        assert_eq!(listener.claims.len(), 10 * ROUTES);
    }
    assert_eq!(translation.route_statuses.len(), ROUTES);
    assert!(
        translation
            .route_statuses
            .values()
            .all(|status| status.conditions.accepted.status)
    );
    assert!(took < LIMIT, "took {took:?}");
    let encoded = gateway.snapshot.as_ref().unwrap().encode().unwrap();
    assert_eq!(encoded.config.len(), 1, "a thousand routes fit one chunk");
}
