//! A thousand MailRoutes on one gateway: what the operator takes of memory and time
//! (ARCHITECTURE.md, Numbers). A debug build takes about the memory of a release build, and more time.

use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{ListParams, PostParams};
use postern_crds::MailRoute;
use postern_tests::cluster::ControlPlane;
use postern_tests::http;
use postern_tests::wait::eventually;
use serde_json::json;
use tokio::task::JoinSet;

use crate::installation::{Installation, Operator};
use crate::objects::EDGE;

const ROUTES: usize = 1000;
const SERVICES: usize = 100;
/// Creations at the same time.
const AT_ONCE: usize = 16;
/// For a thousand routes and their statuses on a busy machine.
const LONG: Duration = Duration::from_secs(120);
/// The operator's memory at its highest, in KiB (ARCHITECTURE.md, Numbers).
const MEMORY: u64 = 150 << 10;
/// The same, for a release build; without optimisation it may take this much longer.
const TRANSLATE: f64 = if cfg!(debug_assertions) { 15.0 } else { 1.0 };

fn service(number: usize) -> Service {
    serde_json::from_value(json!({
        "metadata": {"name": format!("mailstore{number}")},
        "spec": {"ports": [{"name": "lmtp", "port": 24}]},
    }))
    .unwrap()
}

fn route(number: usize) -> MailRoute {
    let domains: Vec<_> = (0..10)
        .map(|domain| format!("d{domain}.r{number}.acme.test"))
        .collect();
    let name = format!("mailstore{}", number % SERVICES);
    let backend = json!({"service": {"name": name, "port": 24}, "protocol": "LMTP"});
    serde_json::from_value(json!({
        "apiVersion": "postern.dev/v1alpha1",
        "kind": "MailRoute",
        "metadata": {"name": format!("route{number}")},
        "spec": {
            "parentRefs": [{"name": "edge"}],
            "recipients": domains,
            "rules": [{"name": "default", "backends": [backend]}],
        },
    }))
    .unwrap()
}

/// Creates so many objects, some at the same time.
async fn create<K>(api: Api<K>, count: usize, object: fn(usize) -> K)
where
    K: Clone
        + std::fmt::Debug
        + serde::Serialize
        + serde::de::DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let mut workers = JoinSet::new();
    for worker in 0..AT_ONCE {
        let api = api.clone();
        workers.spawn(async move {
            for number in (worker..count).step_by(AT_ONCE) {
                let created = api.create(&PostParams::default(), &object(number)).await;
                created.unwrap();
            }
        });
    }
    workers.join_all().await;
}

/// A line of `/proc/<pid>/status`, in KiB.
fn memory(operator: &Operator, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", operator.program.pid()));
    let status = status.unwrap();
    let found = status.lines().find_map(|text| text.strip_prefix(line));
    found
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

/// The longest translation at most, in seconds: the bound of the histogram's last bucket that a
/// translation fell into.
async fn slowest_translation(operator: &Operator) -> f64 {
    let (_, text) = http::get(&format!("http://{}/metrics", operator.admin))
        .await
        .unwrap();
    let name = "postern_operator_translate_seconds_bucket{le=\"";
    let buckets = text.lines().filter_map(|line| {
        let (bound, count) = line.strip_prefix(name)?.split_once("\"} ")?;
        Some((
            bound.parse::<f64>().unwrap_or(f64::INFINITY),
            count.parse::<u64>().ok()?,
        ))
    });
    let buckets: Vec<_> = buckets.collect();
    let (_, all) = *buckets.last().unwrap();
    let (bound, _) = buckets.iter().find(|(_, count)| *count == all).unwrap();
    *bound
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_routes_fit_into_the_operators_memory() {
    // Its own control plane: operators of other tests would look at these routes too.
    let cluster = ControlPlane::start_with(postern_crds::crds()).await;
    let installation = Installation::new(&cluster, "thousand").await;
    installation
        .apply(&EDGE.replace("certificateRefs: [{name: mx1-tls}]", "selfSigned: {}"))
        .await;
    let client = || installation.client.clone();
    create(
        Api::namespaced(client(), &installation.namespace),
        SERVICES,
        service,
    )
    .await;
    create(installation.routes(), ROUTES, route).await;
    let operator = installation.operator("operator-1").await;
    let routes = installation.routes();
    eventually(LONG, async || {
        let list = routes
            .list(&ListParams::default())
            .await
            .map_err(|e| e.to_string())?;
        let accepted = |route: &&MailRoute| {
            let conditions = route.status.iter().flat_map(|status| &status.conditions);
            conditions
                .into_iter()
                .any(|c| c.type_ == "Accepted" && c.status == "True")
        };
        let count = list.iter().filter(accepted).count();
        (count == ROUTES + 1)
            .then_some(())
            .ok_or(format!("{count} routes are accepted"))
    })
    .await;
    // A change of one is a pass over all.
    installation
        .kubectl(&format!(
            "-n {} label mailroute route7 touched=1",
            installation.namespace
        ))
        .await;
    operator.settled().await;
    let (highest, now) = (memory(&operator, "VmHWM:"), memory(&operator, "VmRSS:"));
    let slowest = slowest_translation(&operator).await;
    println!("{ROUTES} routes: {highest} KiB at most, {now} KiB now, translated in {slowest} s");
    assert!(highest < MEMORY, "{highest} KiB");
    assert!(slowest <= TRANSLATE, "{slowest} s");
}
