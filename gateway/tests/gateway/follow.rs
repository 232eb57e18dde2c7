//! Following the head: a small API server with one ConfigMap that changes, and its chunks.

use crate::client::Client;
use crate::world::{World, first_rule};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use postern_config::Snapshot;
use postern_config::chunks::{CHUNKS, Part, chunk_name};
use postern_config::head::{Head, Set, SetHash};
use postern_gateway::snapshot::follow::Follow;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

const CORE: &str = "/api/v1/namespaces/mail";

/// Objects by path, and a version that counts up with every head.
struct Api {
    objects: Mutex<BTreeMap<String, Value>>,
    version: watch::Sender<u64>,
    /// Whether the pod's token is good no longer.
    locked: AtomicBool,
    /// Requests that were turned away for that.
    turned_away: watch::Sender<usize>,
}

impl Api {
    fn put(&self, kind: &str, name: &str, mut object: Value) {
        object["metadata"] = json!({"name": name, "namespace": "mail",
            "resourceVersion": self.version.borrow().to_string()});
        self.objects
            .lock()
            .unwrap()
            .insert(format!("{CORE}/{kind}/{name}"), object);
    }

    /// Writes the chunks of a set.
    fn set(&self, set: Set, snapshot: &Snapshot) -> SetHash {
        let encoded = snapshot.encode().unwrap();
        for index in 0..CHUNKS {
            let piece = |pieces: &Vec<Vec<u8>>| {
                STANDARD.encode(pieces.get(index).map(Vec::as_slice).unwrap_or_default())
            };
            let config = chunk_name(Part::Config, set, index);
            let object = json!({"binaryData": {config.as_str(): piece(&encoded.config)}});
            self.put("configmaps", &format!("postern-edge-{config}"), object);
            let keys = chunk_name(Part::Keys, set, index);
            let object = json!({"data": {keys.as_str(): piece(&encoded.keys)}});
            self.put("secrets", &format!("postern-edge-{keys}"), object);
        }
        SetHash {
            set,
            hash: encoded.hash,
        }
    }

    fn head(&self, text: &str) {
        self.version.send_modify(|version| *version += 1);
        self.put(
            "configmaps",
            "postern-edge-head",
            json!({"data": {"head.json": text}}),
        );
        // The object stands before watchers are told.
        self.version.send_modify(|_| {});
    }

    fn point_to(&self, generation: u64, current: SetHash) {
        let head = Head {
            schema: 1,
            requires: vec![],
            generation,
            current,
            previous: None,
        };
        self.head(&head.to_json());
    }

    /// The head is deleted, and from now on our token is not known.
    fn vanish(&self) {
        self.locked.store(true, Ordering::SeqCst);
        let path = format!("{CORE}/configmaps/postern-edge-head");
        assert!(self.objects.lock().unwrap().remove(&path).is_some());
        self.version.send_modify(|version| *version += 1);
    }

    /// Waits until so many requests were turned away.
    async fn turns_away(&self, times: usize) {
        let mut count = self.turned_away.subscribe();
        let turned = count.wait_for(|count| *count >= times);
        let turned = tokio::time::timeout(Duration::from_secs(20), turned).await;
        turned.expect("nobody asks").unwrap();
    }

    fn the_head(&self) -> Option<Value> {
        let path = format!("{CORE}/configmaps/postern-edge-head");
        self.objects.lock().unwrap().get(&path).cloned()
    }
}

async fn get(State(api): State<Arc<Api>>, uri: Uri) -> Response {
    if api.locked.load(Ordering::SeqCst) {
        api.turned_away.send_modify(|count| *count += 1);
        let status = json!({"kind": "Status", "status": "Failure", "reason": "Unauthorized",
            "code": 401, "message": "Unauthorized"});
        return (StatusCode::UNAUTHORIZED, status.to_string()).into_response();
    }
    let query: Vec<&str> = uri.query().unwrap_or_default().split('&').collect();
    if uri.path() != format!("{CORE}/configmaps") {
        return match api.objects.lock().unwrap().get(uri.path()) {
            Some(object) => object.to_string().into_response(),
            None => (
                StatusCode::NOT_FOUND,
                json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404,
                    "message": "not found"})
                .to_string(),
            )
                .into_response(),
        };
    }
    let selector = "fieldSelector=metadata.name%3Dpostern-edge-head";
    assert!(
        query.contains(&selector),
        "the pod's Role names this object alone: {uri}"
    );
    if !query.contains(&"watch=true") {
        let version = api.version.borrow().to_string();
        let items: Vec<Value> = api.the_head().into_iter().collect();
        return json!({"kind": "ConfigMapList", "apiVersion": "v1",
            "metadata": {"resourceVersion": version}, "items": items})
        .to_string()
        .into_response();
    }
    assert!(query.contains(&"timeoutSeconds=25"), "{uri}");
    let mut seen = api.version.subscribe();
    let listed = format!("resourceVersion={}", *seen.borrow());
    if !query.contains(&listed.as_str()) {
        // It changed between the list and the watch.
        seen.mark_changed();
    }
    let watched = Some((seen, api));
    let changes = futures::stream::unfold(watched, async |watched| {
        let (mut seen, api) = watched?;
        seen.changed().await.ok()?;
        let (event, watched) = match api.the_head() {
            Some(head) => {
                let event = json!({"type": "MODIFIED", "object": head});
                (event, Some((seen, api)))
            }
            // It stands in a moment.
            None if !api.locked.load(Ordering::SeqCst) => return None,
            // The last that is said.
            None => {
                let last = json!({"apiVersion": "v1", "kind": "ConfigMap",
                    "metadata": {"name": "postern-edge-head", "namespace": "mail",
                        "resourceVersion": seen.borrow().to_string()}});
                (json!({"type": "DELETED", "object": last}), None)
            }
        };
        Some((Ok::<_, std::io::Error>(format!("{event}\n")), watched))
    });
    Body::from_stream(changes.boxed()).into_response()
}

/// A gateway that follows; the API stays as long as the handles.
async fn followed(world: &World) -> (Arc<Api>, [AbortOnDropHandle<()>; 2]) {
    // Fails only when a test before installed the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let api = Arc::new(Api {
        objects: Mutex::default(),
        version: watch::Sender::new(1),
        locked: AtomicBool::new(false),
        turned_away: watch::Sender::new(0),
    });
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let router = Router::new().fallback(get).with_state(Arc::clone(&api));
    let serve = tokio::spawn(async move { axum::serve(socket, router).await.unwrap() });
    let config = kube::Config::new(format!("http://{address}").parse().unwrap());
    let client = kube::Client::try_from(config).unwrap();
    let follow = Follow {
        client,
        namespace: "mail".into(),
        prefix: "postern-edge".into(),
    };
    let follow = tokio::spawn(follow.run(Arc::clone(&world.gateway)));
    (
        api,
        [
            AbortOnDropHandle::new(serve),
            AbortOnDropHandle::new(follow),
        ],
    )
}

/// Waits until the gateway's status is as wanted.
async fn until(world: &World, wanted: impl Fn(&postern_config::configz::Configz) -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let mut looks = tokio::time::interval(Duration::from_millis(10));
    while !wanted(&world.gateway.status()) {
        let status = world.gateway.status();
        assert!(
            tokio::time::Instant::now() < deadline,
            "it stays {status:?}"
        );
        looks.tick().await;
    }
}

/// Whether this is in use, and nothing was refused since.
fn applied(hash: String, generation: u64) -> impl Fn(&postern_config::configz::Configz) -> bool {
    move |status| {
        status.rejected.is_none()
            && status
                .applied
                .as_ref()
                .is_some_and(|one| one.hash == hash && one.generation == generation)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_head_is_applied_and_a_bad_one_leaves_the_last_good_one() {
    let mut world = World::new(|_| {}).await;
    let (api, _running) = followed(&world).await;
    let mut open = Client::hello(world.mx()).await;
    first_rule(&mut world.snapshot).name = "followed".into();
    let set = api.set(Set::A, &world.snapshot);
    api.point_to(7, set.clone());
    until(&world, applied(set.hash.clone(), 7)).await;

    // Chunks that are not what the head says.
    let wrong = SetHash {
        set: Set::B,
        hash: "00".repeat(32),
    };
    api.set(Set::B, &world.snapshot);
    api.point_to(8, wrong.clone());
    until(&world, |status| {
        status
            .rejected
            .as_ref()
            .is_some_and(|one| one.hash == wrong.hash)
    })
    .await;
    let status = world.gateway.status();
    assert_eq!(status.applied.unwrap().hash, set.hash);
    assert!(status.rejected.unwrap().reason.contains("the head says"));

    // A head of a newer operator.
    api.head(r#"{"schema": 99}"#);
    let newer = |status: &postern_config::configz::Configz| {
        status
            .rejected
            .as_ref()
            .is_some_and(|one| one.reason.contains("update the gateway's image"))
    };
    until(&world, newer).await;

    // And a good one again.
    first_rule(&mut world.snapshot).name = "again".into();
    let set = api.set(Set::B, &world.snapshot);
    api.point_to(9, set.clone());
    until(&world, applied(set.hash, 9)).await;
    let reply = open
        .mail("a@shop.test", "bob@acme.test", "From: a@shop.test\r\n\r\nx")
        .await;
    assert!(reply.starts_with("250 "), "{reply}");
    let record = world.records.transaction(0).await;
    assert_eq!(record.route.as_deref(), Some("acme/mail/again"));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_head_and_token_vanish_all_goes_on_until_they_are_back() {
    let mut world = World::new(|_| {}).await;
    let (api, _running) = followed(&world).await;
    let mut open = Client::hello(world.mx()).await;
    first_rule(&mut world.snapshot).name = "followed".into();
    let set = api.set(Set::A, &world.snapshot);
    api.point_to(7, set.clone());
    let stays = applied(set.hash, 7);
    until(&world, &stays).await;

    api.vanish();
    api.turns_away(1).await;
    let status = world.gateway.status();
    assert!(stays(&status), "{status:?}");
    let mut fresh = Client::hello(world.mx()).await;
    for client in [&mut open, &mut fresh] {
        let reply = client
            .mail("a@shop.test", "bob@acme.test", "From: a@shop.test\r\n\r\nx")
            .await;
        assert!(reply.starts_with("250 "), "{reply}");
    }
    let record = world.records.transaction(1).await;
    assert_eq!(record.route.as_deref(), Some("acme/mail/followed"));

    // A head of a new operator, and a token that is known again.
    first_rule(&mut world.snapshot).name = "back".into();
    let set = api.set(Set::B, &world.snapshot);
    api.point_to(8, set.clone());
    api.locked.store(false, Ordering::SeqCst);
    until(&world, applied(set.hash, 8)).await;
    let reply = open
        .mail("a@shop.test", "bob@acme.test", "From: a@shop.test\r\n\r\nx")
        .await;
    assert!(reply.starts_with("250 "), "{reply}");
    let record = world.records.transaction(2).await;
    assert_eq!(record.route.as_deref(), Some("acme/mail/back"));
}
