//! The operator killed between any two writes of a snapshot leaves one that boots.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::PostParams;
use kube::{Api, Client};
use postern_config::Snapshot;
use postern_config::chunks::{CHUNKS, Part, chunk_name};
use postern_config::head::{HEAD_KEY, Head, SetHash};
use postern_crds::MailGateway;
use postern_operator::apply::{ApplyError, Memory, Need, Site, Writes, apply_snapshot, read};
use postern_operator::names;
use postern_operator::world::ObjectKey;

use crate::installation::control_plane;

/// More than the writes of one snapshot: 8 chunks and the head.
const MORE_THAN_ENOUGH: usize = 10;

fn snapshot(hostname: &str) -> Snapshot {
    serde_json::from_value(serde_json::json!({
        "config": {
            "gateway": {"namespace": "mail", "name": "edge"},
            "hostname": hostname,
            "authservId": hostname,
            "listeners": [], "routes": [], "backends": {},
            "resolver": {
                "nameservers": [], "timeoutMs": 1, "attempts": 1,
                "cacheEntries": 0, "cacheMaxTtlS": 0,
            },
            "telemetry": {"recipients": "Domain"},
            "drain": {"minDurationMs": 0, "timeoutMs": 1},
            "generations": {},
        },
        "keys": {"certificates": {}, "credentials": {}},
    }))
    .unwrap()
}

async fn create_gateway(client: &Client, namespace: &str) -> MailGateway {
    let gateway = serde_json::from_value(serde_json::json!({
        "apiVersion": "postern.dev/v1alpha1",
        "kind": "MailGateway",
        "metadata": {"name": "edge", "namespace": namespace},
        "spec": {
            "className": "nobody",
            "hostname": "mx1.acme.test",
            "listeners": [{"name": "mx", "port": 25, "protocol": "SMTP"}],
        },
    }))
    .unwrap();
    let api: Api<MailGateway> = Api::namespaced(client.clone(), namespace);
    api.create(&PostParams::default(), &gateway).await.unwrap()
}

/// What a pod does that starts now: the current set if it decodes, else the previous one.
async fn boots(client: &Client, key: &ObjectKey) -> Option<String> {
    boots_but_for(client, key, &[]).await
}

/// The same of a pod that rejects the snapshots of these host names.
async fn boots_but_for(client: &Client, key: &ObjectKey, rejected: &[&str]) -> Option<String> {
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), &key.namespace);
    let head = names::snapshot_object(&key.name, names::HEAD);
    let head = config_maps.get_opt(&head).await.unwrap()?;
    let head = Head::parse(&head.data.unwrap()[HEAD_KEY]).unwrap();
    for set in [Some(head.current), head.previous].into_iter().flatten() {
        let config = octets(client, key, Part::Config, &set).await;
        let keys = octets(client, key, Part::Keys, &set).await;
        match Snapshot::decode(&set, &config, &keys) {
            Ok(snapshot) if !rejected.contains(&&*snapshot.config.hostname) => {
                return Some(snapshot.config.hostname);
            }
            _ => {}
        }
    }
    panic!("{key} has a head, and neither of its sets can be booted");
}

async fn octets(client: &Client, key: &ObjectKey, part: Part, set: &SetHash) -> Vec<Vec<u8>> {
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), &key.namespace);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &key.namespace);
    let mut pieces = Vec::new();
    for index in 0..CHUNKS {
        let chunk = chunk_name(part, set.set, index);
        let name = names::snapshot_object(&key.name, &chunk);
        let data = match part {
            Part::Config => config_maps
                .get_opt(&name)
                .await
                .unwrap()
                .and_then(|o| o.binary_data),
            Part::Keys => secrets.get_opt(&name).await.unwrap().and_then(|o| o.data),
        };
        pieces.push(
            data.and_then(|mut data| data.remove(&chunk))
                .unwrap_or_default()
                .0,
        );
    }
    pieces
}

/// A leader that may make so many writes, begins without memory, and tries once.
async fn try_once(
    client: &Client,
    gateway: &MailGateway,
    key: &ObjectKey,
    (hostname, writes): (&str, usize),
) -> Result<(), ApplyError> {
    try_with(client, gateway, key, (hostname, writes), Need::Nothing).await
}

/// The same, while pods need the previous set for something.
async fn try_with(
    client: &Client,
    gateway: &MailGateway,
    key: &ObjectKey,
    (hostname, writes): (&str, usize),
    need: Need,
) -> Result<(), ApplyError> {
    let writes = Writes::at_most(writes);
    let installation = ObjectKey::new("mail", "postern");
    let site = Site {
        client,
        installation: &installation,
        writes: &writes,
        gateway,
        key: key.clone(),
    };
    let mut memory = Memory::of(read(client, key).await.unwrap());
    apply_snapshot(&site, &snapshot(hostname), need, &mut memory)
        .await
        .map(|_| ())
}

#[tokio::test]
async fn a_kill_between_any_two_writes_leaves_a_snapshot_that_boots() {
    let cluster = control_plane().await;
    let client = cluster.client().await;
    let key = ObjectKey::new(cluster.namespace("killed").await, "edge");
    let gateway = create_gateway(&client, &key.namespace).await;

    let mut booted = None;
    // The first has nothing before it, the second and third fill and reuse the other set.
    for hostname in ["a.test", "b.test", "c.test", "d.test"] {
        let mut kills = 0;
        for writes in 0..MORE_THAN_ENOUGH {
            match try_once(&client, &gateway, &key, (hostname, writes)).await {
                Ok(()) => break,
                Err(ApplyError::Ended(_)) => kills += 1,
                Err(error) => panic!("{hostname} after {writes} writes: {error}"),
            }
            assert_eq!(
                boots(&client, &key).await,
                booted,
                "{hostname} after {writes} writes"
            );
        }
        assert!(kills >= 2, "only {kills} kills: were there so few writes?");
        booted = boots(&client, &key).await;
        assert_eq!(booted.as_deref(), Some(hostname));
    }
}

#[tokio::test]
async fn a_current_set_that_somebody_broke_is_repaired_and_the_previous_one_kept_meanwhile() {
    let cluster = control_plane().await;
    let client = cluster.client().await;
    let key = ObjectKey::new(cluster.namespace("broken").await, "edge");
    let gateway = create_gateway(&client, &key.namespace).await;
    for hostname in ["a.test", "b.test"] {
        try_once(&client, &gateway, &key, (hostname, MORE_THAN_ENOUGH))
            .await
            .unwrap();
    }
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &key.namespace);
    let name = names::snapshot_object("edge", "keys-b-0");
    secrets.delete(&name, &Default::default()).await.unwrap();
    assert_eq!(boots(&client, &key).await.as_deref(), Some("a.test"));

    for writes in 0..MORE_THAN_ENOUGH {
        if try_once(&client, &gateway, &key, ("b.test", writes))
            .await
            .is_ok()
        {
            break;
        }
        assert!(boots(&client, &key).await.is_some());
    }
    assert_eq!(boots(&client, &key).await.as_deref(), Some("b.test"));
}

#[tokio::test]
async fn a_leader_that_was_overtaken_writes_nothing() {
    let cluster = control_plane().await;
    let client = cluster.client().await;
    let key = ObjectKey::new(cluster.namespace("overtaken").await, "edge");
    let gateway = create_gateway(&client, &key.namespace).await;
    try_once(&client, &gateway, &key, ("a.test", MORE_THAN_ENOUGH))
        .await
        .unwrap();
    let stale = read(&client, &key).await.unwrap();
    try_once(&client, &gateway, &key, ("b.test", MORE_THAN_ENOUGH))
        .await
        .unwrap();

    let writes = Writes::unlimited();
    let installation = ObjectKey::new("mail", "postern");
    let site = Site {
        client: &client,
        installation: &installation,
        writes: &writes,
        gateway: &gateway,
        key: key.clone(),
    };
    let mut memory = Memory::of(stale);
    let overtaken = apply_snapshot(&site, &snapshot("late.test"), Need::Nothing, &mut memory).await;
    assert!(
        matches!(overtaken, Err(ApplyError::Conflict)),
        "{overtaken:?}"
    );
    assert_eq!(boots(&client, &key).await.as_deref(), Some("b.test"));
}

#[tokio::test]
async fn the_set_before_a_rejected_one_is_kept_whatever_comes_next_and_whoever_is_killed() {
    let cluster = control_plane().await;
    let client = cluster.client().await;
    let key = ObjectKey::new(cluster.namespace("rejected").await, "edge");
    let gateway = create_gateway(&client, &key.namespace).await;
    for hostname in ["older.test", "good.test", "bad.test"] {
        try_once(&client, &gateway, &key, (hostname, MORE_THAN_ENOUGH))
            .await
            .unwrap();
    }
    // The next is rejected like the one before it, then comes one that is not.
    let boots = || boots_but_for(&client, &key, &["bad.test", "worse.test"]);
    for hostname in ["worse.test", "mended.test"] {
        let mut kills = 0;
        for writes in 0..MORE_THAN_ENOUGH {
            assert_eq!(
                boots().await.as_deref(),
                Some("good.test"),
                "{hostname}, {writes} writes"
            );
            let once = (hostname, writes);
            match try_with(&client, &gateway, &key, once, Need::Rejected).await {
                Ok(()) => break,
                Err(ApplyError::Ended(_)) => kills += 1,
                Err(error) => panic!("{hostname} after {writes} writes: {error}"),
            }
        }
        assert!(kills >= 2, "only {kills} kills: were there so few writes?");
    }
    assert_eq!(boots().await.as_deref(), Some("mended.test"));
}

#[tokio::test]
async fn for_a_previous_set_that_cannot_be_booted_the_current_one_is_not_given_up() {
    let cluster = control_plane().await;
    let client = cluster.client().await;
    let key = ObjectKey::new(cluster.namespace("neither").await, "edge");
    let gateway = create_gateway(&client, &key.namespace).await;
    for hostname in ["good.test", "rejected-by-some.test"] {
        try_once(&client, &gateway, &key, (hostname, MORE_THAN_ENOUGH))
            .await
            .unwrap();
    }
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &key.namespace);
    let name = names::snapshot_object("edge", "keys-a-0");
    secrets.delete(&name, &Default::default()).await.unwrap();
    for writes in 0..MORE_THAN_ENOUGH {
        let once = ("next.test", writes);
        match try_with(&client, &gateway, &key, once, Need::Rejected).await {
            Ok(()) => break,
            Err(_) => assert!(boots(&client, &key).await.is_some(), "{writes} writes"),
        }
    }
    assert_eq!(boots(&client, &key).await.as_deref(), Some("next.test"));
}
