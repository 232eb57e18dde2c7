//! The kinds on a real API server: it takes the definitions, and of the table of good and bad
//! objects (`crds/tests/objects`) it takes the good and refuses the bad, with the right message at
//! the right field.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use kube::Client;
use kube::api::{
    Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams,
};
use kube::core::Request;
use postern_crds::{MailGateway, MailPolicy, MailRoute};
use postern_tests::cluster::ControlPlane;
use postern_tests::program::run;
use serde_json::{Value, json};
use table::{Case, Table};
use tokio::sync::OnceCell;

#[path = "../../crds/tests/objects/table.rs"]
#[expect(
    unreachable_pub,
    dead_code,
    reason = "another test's module: not all of it is used here"
)]
mod table;

/// The shared control plane, with our kinds on it.
async fn cluster() -> &'static ControlPlane {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let cluster = ControlPlane::shared().await;
    let install = || cluster.install_crds(postern_crds::crds());
    INSTALLED.get_or_init(install).await;
    cluster
}

#[tokio::test]
async fn the_definitions_are_taken_without_a_warning() {
    let cluster = cluster().await;
    let file = cluster.folder().join("crds.yaml");
    std::fs::write(&file, postern_crds::yaml()).unwrap();
    let mut kubectl = cluster.kubectl();
    // What the API server makes of the text must be what the types say: nothing to change.
    kubectl.args([
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
    ]);
    kubectl.args(["--validate=strict", "--filename"]).arg(&file);
    let output = kubectl.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(said, "", "warnings");
}

#[tokio::test]
async fn good_objects_are_taken_and_bad_ones_refused_with_a_message() {
    let cluster = cluster().await;
    let namespace = cluster.namespace("objects").await;
    let client = cluster.client().await;
    let mut wrong = Vec::new();
    let mut asked = 0;
    for table in Table::all() {
        let server = Server::new(&client, &namespace, &table.kind);
        for (number, case) in table.cases.iter().enumerate() {
            asked += 1;
            let name = format!("case-{number}");
            if let Err(why) = judge(&server, &table, case, &name).await {
                wrong.push(format!("{}, {}: {why}", table.kind, case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(asked > 80, "only {asked} cases were found");
}

/// What the API server says of one case.
async fn judge(server: &Server, table: &Table, case: &Case, name: &str) -> Result<(), String> {
    if let Some(from) = &case.from {
        server
            .create(&table.object(name, from), false)
            .await
            .map_err(|e| format!("refused: {e:?}"))?;
    }
    if let Some(patch) = &case.accept {
        let object = table.object(name, patch);
        server
            .write(&object, case.from.is_some())
            .await
            .map_err(|e| format!("refused: {e:?}"))?;
    }
    let Some(patch) = &case.reject else {
        return Ok(());
    };
    match server
        .write(&table.object(name, patch), case.from.is_some())
        .await
    {
        Ok(()) => Err("accepted".to_owned()),
        Err(refusal) if refusal.says(&case.path, &case.message) => Ok(()),
        Err(refusal) => Err(format!(
            "wanted {}: {}, got {refusal:?}",
            case.path, case.message
        )),
    }
}

/// The API server, for objects of one kind in one namespace.
struct Server {
    client: Client,
    api: Api<DynamicObject>,
    url: String,
}

/// An error of the API server: field and message of each cause, or its message alone.
#[derive(Debug)]
struct Refusal(Vec<(String, String)>);

impl Refusal {
    fn says(&self, path: &str, message: &str) -> bool {
        // A field that is not in the schema is refused before there is an object: the error has no
        // causes, and its message holds the path.
        self.0.iter().any(|(field, text)| {
            text.contains(message) && (field == path || text.contains(&format!("\"{path}\"")))
        })
    }
}

impl Server {
    fn new(client: &Client, namespace: &str, kind: &str) -> Self {
        let resource = ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk(postern_crds::GROUP, postern_crds::VERSION, kind),
            &(match kind {
                "MailPolicy" => "mailpolicies".to_owned(),
                other => format!("{}s", other.to_lowercase()),
            }),
        );
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        Self {
            client: client.clone(),
            url: api.resource_url().to_owned(),
            api,
        }
    }

    /// A dry run of creating the object, or of changing the one that is there.
    async fn write(&self, object: &Value, change: bool) -> Result<(), Refusal> {
        if change {
            self.replace(object).await
        } else {
            self.create(object, true).await
        }
    }

    async fn create(&self, object: &Value, dry_run: bool) -> Result<(), Refusal> {
        // As kubectl does it: with unknown fields refused. kube has no parameter for that.
        let params = PostParams {
            dry_run,
            field_manager: Some("test".to_owned()),
        };
        let mut request = Request::new(&self.url)
            .create(&params, object.to_string().into_bytes())
            .unwrap();
        *request.uri_mut() = format!("{}&fieldValidation=Strict", request.uri())
            .parse()
            .unwrap();
        self.client
            .request::<Value>(request)
            .await
            .map(drop)
            .map_err(refusal)
    }

    async fn replace(&self, object: &Value) -> Result<(), Refusal> {
        let name = object["metadata"]["name"].as_str().unwrap();
        let mut changed = self.api.get(name).await.unwrap();
        changed.data["spec"] = object["spec"].clone();
        let params = PostParams {
            dry_run: true,
            field_manager: None,
        };
        self.api
            .replace(name, &params, &changed)
            .await
            .map(drop)
            .map_err(refusal)
    }
}

fn refusal(error: kube::Error) -> Refusal {
    let kube::Error::Api(status) = error else {
        panic!("the API server did not answer: {error}")
    };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let mut said: Vec<_> = causes
        .map(|cause| (cause.field.clone(), cause.message.clone()))
        .collect();
    if said.is_empty() {
        said.push((String::new(), status.message.clone()));
    }
    Refusal(said)
}

const GATEWAY: &str = "
apiVersion: postern.dev/v1alpha1
kind: MailGateway
metadata: {name: edge}
spec:
  hostname: mx1.example.com
  listeners: [{name: mx, port: 25, protocol: SMTP}]
";

#[tokio::test]
async fn a_new_object_has_its_defaults_and_is_pending() {
    let cluster = cluster().await;
    let namespace = cluster.namespace("pending").await;
    let gateways: Api<MailGateway> = Api::namespaced(cluster.client().await, &namespace);
    let gateway: MailGateway = serde_saphyr::from_str(GATEWAY).unwrap();
    gateways
        .create(&PostParams::default(), &gateway)
        .await
        .unwrap();

    let mut kubectl = cluster.kubectl();
    kubectl.args(["-n", &namespace, "get", "mgw", "edge", "-o", "json"]);
    let stored: Value = serde_json::from_str(&run(kubectl).await).unwrap();
    assert_eq!(stored["spec"]["className"], "postern");
    assert_eq!(stored["spec"]["infrastructure"], json!({"replicas": 2}));
    let conditions = stored["status"]["conditions"].as_array().unwrap();
    let told: Vec<_> = conditions
        .iter()
        .map(|c| (&c["type"], &c["status"], &c["reason"]))
        .collect();
    let (unknown, pending) = (json!("Unknown"), json!("Pending"));
    assert_eq!(
        told,
        [
            (&json!("Accepted"), &unknown, &pending),
            (&json!("Programmed"), &unknown, &pending)
        ]
    );
    // What was read is what was meant.
    assert_eq!(gateways.get("edge").await.unwrap().spec, gateway.spec);
}

/// A route to that gateway.
const ROUTE: &str = "
apiVersion: postern.dev/v1alpha1
kind: MailRoute
metadata: {name: shop}
spec:
  parentRefs: [{name: edge}]
  recipients: [shop.test]
  rules: [{name: default, backends: [{discard: {}}]}]
";

/// A policy on it.
const POLICY: &str = "
apiVersion: postern.dev/v1alpha1
kind: MailPolicy
metadata: {name: strict}
spec:
  targetRefs: [{kind: MailGateway, name: edge}]
  mode: Monitor
  defaults: {verify: {spf: {onFail: Reject}}}
";

/// One object of each kind; the way to the gateways comes back.
async fn create_each_kind(cluster: &ControlPlane, namespace: &str) -> Api<MailGateway> {
    let client = cluster.client().await;
    let params = PostParams::default();
    let gateway: MailGateway = serde_saphyr::from_str(GATEWAY).unwrap();
    let gateways: Api<MailGateway> = Api::namespaced(client.clone(), namespace);
    gateways.create(&params, &gateway).await.unwrap();
    let route: MailRoute = serde_saphyr::from_str(ROUTE).unwrap();
    let routes = Api::namespaced(client.clone(), namespace);
    routes.create(&params, &route).await.unwrap();
    let policy: MailPolicy = serde_saphyr::from_str(POLICY).unwrap();
    let policies = Api::namespaced(client, namespace);
    policies.create(&params, &policy).await.unwrap();
    gateways
}

#[tokio::test]
async fn kubectl_answers_in_one_line_whether_it_works() {
    let cluster = cluster().await;
    let namespace = cluster.namespace("columns").await;
    let gateways = create_each_kind(cluster, &namespace).await;
    let programmed = json!({"status": {"conditions": [
        {"type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        {"type": "Programmed", "status": "False", "reason": "PodsUnreachable", "message": "1/2 pods run 9f2c", "lastTransitionTime": "2026-01-01T00:00:00Z"},
    ]}});
    let patch = Patch::Merge(&programmed);
    gateways
        .patch_status("edge", &PatchParams::default(), &patch)
        .await
        .unwrap();

    let get = |args: &'static [&'static str]| {
        let mut kubectl = cluster.kubectl();
        kubectl.args(["-n", &namespace, "get"]).args(args);
        run(kubectl)
    };
    let table = get(&["mgw"]).await;
    let words = |line: usize| -> Vec<String> {
        table
            .lines()
            .nth(line)
            .unwrap()
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(
        words(0),
        ["NAME", "ACCEPTED", "PROGRAMMED", "REASON", "MESSAGE", "AGE"]
    );
    assert_eq!(
        words(1)[..5],
        ["edge", "True", "False", "PodsUnreachable", "1/2"]
    );
    let wide = get(&["mgw", "-o", "wide"]).await;
    assert!(
        wide.contains("HOSTNAME") && wide.contains("mx1.example.com"),
        "{wide}"
    );
    // By category, and by short name.
    let all = get(&["mail"]).await;
    for name in [
        "mailgateway.postern.dev/edge",
        "mailroute.postern.dev/shop",
        "mailpolicy.postern.dev/strict",
    ] {
        assert!(all.contains(name), "{all}");
    }
    assert!(get(&["mroute,mpol"]).await.contains("Monitor"));
}

#[tokio::test]
async fn kubectl_scales_a_gateway() {
    let cluster = cluster().await;
    let namespace = cluster.namespace("scale").await;
    let gateways: Api<MailGateway> = Api::namespaced(cluster.client().await, &namespace);
    let gateway: MailGateway = serde_saphyr::from_str(GATEWAY).unwrap();
    gateways
        .create(&PostParams::default(), &gateway)
        .await
        .unwrap();
    let mut kubectl = cluster.kubectl();
    kubectl.args(["-n", &namespace, "scale", "mgw", "edge", "--replicas=5"]);
    run(kubectl).await;
    assert_eq!(
        gateways
            .get("edge")
            .await
            .unwrap()
            .spec
            .infrastructure
            .replicas,
        5
    );
    let pods = json!({"status": {"replicas": 3, "selector": "postern.dev/gateway=edge"}});
    gateways
        .patch_status("edge", &PatchParams::default(), &Patch::Merge(&pods))
        .await
        .unwrap();
    let scale = gateways.get_scale("edge").await.unwrap();
    let status = scale.status.unwrap();
    assert_eq!(
        (scale.spec.unwrap().replicas, status.replicas),
        (Some(5), 3)
    );
    assert_eq!(status.selector.as_deref(), Some("postern.dev/gateway=edge"));
}

#[tokio::test]
async fn kubectl_explains_every_kind() {
    let cluster = cluster().await;
    for (field, text) in [
        (
            "mailgateways.spec.listeners.tls.mode",
            "TLS from the first byte",
        ),
        ("mailroutes.spec.recipients", "the most specific wins"),
        (
            "mailpolicies.spec.defaults.verify.dmarc.onReject",
            "RejectWithoutEvidence",
        ),
    ] {
        let mut kubectl = cluster.kubectl();
        kubectl.args(["explain", field]);
        let explained = run(kubectl)
            .await
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        assert!(explained.contains(text), "{explained}");
    }
}
