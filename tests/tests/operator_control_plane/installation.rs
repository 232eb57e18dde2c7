//! An installation of the chart without its Deployment: roles, bindings and ServiceAccount in the
//! cluster, and the operator as a process of the test.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use kube::{Api, Client, ResourceExt};
use postern_crds::{MailGateway, MailRoute};
use postern_tests::cluster::{ControlPlane, Write};
use postern_tests::folder::Folder;
use postern_tests::ports::free_port;
use postern_tests::program::{Program, run};
use postern_tests::wait::eventually;
use postern_tests::{http, tools};
use serde_json::Value;
use tokio::sync::OnceCell;

/// For things that take no particular time.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// What a change in the cluster may take until it shows in status (ARCHITECTURE.md, Numbers).
pub(crate) const AT_ONCE: Duration = Duration::from_secs(3);

/// The control plane of this test binary, with our kinds.
pub(crate) async fn control_plane() -> &'static ControlPlane {
    static KINDS: OnceCell<()> = OnceCell::const_new();
    let cluster = ControlPlane::shared().await;
    KINDS
        .get_or_init(|| cluster.install_crds(postern_crds::crds()))
        .await;
    cluster
}

/// One installation.
pub(crate) struct Installation<'a> {
    pub(crate) cluster: &'a ControlPlane,
    /// The release's namespace, in which its gateways run too.
    pub(crate) namespace: String,
    /// The release, the ServiceAccount and the class.
    pub(crate) name: String,
    arguments: Vec<String>,
    pub(crate) client: Client,
    folder: Folder,
}

impl<'a> Installation<'a> {
    pub(crate) async fn new(cluster: &'a ControlPlane, purpose: &str) -> Self {
        Self::with_secrets_in(cluster, purpose, &[]).await
    }

    pub(crate) async fn with_secrets_in(
        cluster: &'a ControlPlane,
        purpose: &str,
        namespaces: &[&str],
    ) -> Self {
        let namespace = cluster.namespace(purpose).await;
        let name = format!("postern-{namespace}");
        let mut secret_namespaces = vec![namespace.clone()];
        secret_namespaces.extend(namespaces.iter().map(|&name| name.to_owned()));
        let objects = render(cluster, &name, &namespace, &secret_namespaces).await;
        let (workloads, rights): (Vec<Value>, Vec<Value>) =
            objects.into_iter().partition(|object| {
                matches!(
                    object["kind"].as_str(),
                    Some("Deployment" | "PodDisruptionBudget")
                )
            });
        let rights: Vec<String> = rights.iter().map(Value::to_string).collect();
        cluster.apply(&rights.join("\n---\n")).await;
        let deployment = workloads
            .iter()
            .find(|object| object["kind"] == "Deployment")
            .unwrap();
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let arguments = container["args"].as_array().unwrap().iter();
        let arguments = arguments
            .map(|argument| argument.as_str().unwrap().to_owned())
            .filter(|argument| !argument.starts_with("--admin"))
            .collect();
        Self {
            cluster,
            arguments,
            client: cluster.client().await,
            folder: Folder::new(purpose),
            namespace,
            name,
        }
    }

    /// Starts a replica.
    pub(crate) async fn operator(&self, replica: &str) -> Operator {
        let admin = format!("127.0.0.1:{}", free_port());
        let kubeconfig = self.kubeconfig().await;
        let mut command = Command::new(tools::postern());
        command
            .args(&self.arguments)
            .arg(format!("--admin={admin}"))
            .env("KUBECONFIG", kubeconfig)
            .env("POD_NAME", replica)
            .env(
                "POSTERN_LOG",
                "info,postern_operator=debug,kube_runtime=error",
            );
        Operator {
            program: Program::start(replica, &command, self.folder.path()),
            admin,
        }
    }

    pub(crate) async fn kubeconfig(&self) -> PathBuf {
        self.cluster
            .kubeconfig_for_service_account(&self.namespace, &self.name)
            .await
    }

    pub(crate) fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }

    /// What the operator has written since `mark`, its Lease and who leads left out.
    pub(crate) async fn writes_since(&self, mark: postern_tests::cluster::Mark) -> Vec<Write> {
        let user = self.user();
        let writes = self.cluster.writes_since(mark).await;
        let lease = format!("{}-operator.", self.name);
        let is_election = |w: &Write| {
            w.resource == "leases" || w.resource == "events" && w.name.starts_with(&lease)
        };
        writes
            .into_iter()
            .filter(|w| w.user == user && !is_election(w))
            .collect()
    }

    pub(crate) fn gateways(&self) -> Api<MailGateway> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) fn routes(&self) -> Api<MailRoute> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Applies YAML in which `NS` is the namespace and `CLASS` the class.
    pub(crate) async fn apply(&self, yaml: &str) {
        let yaml = yaml
            .replace("CLASS", &self.name)
            .replace("NS", &self.namespace);
        self.cluster.apply(&yaml).await;
    }

    /// `kubectl` as the administrator, in words.
    pub(crate) async fn kubectl(&self, words: &str) -> String {
        let mut kubectl = self.cluster.kubectl();
        kubectl.args(words.split_whitespace());
        run(kubectl).await
    }

    /// Waits for a condition of the gateway `edge`.
    pub(crate) async fn gateway_says(&self, deadline: Duration, wanted: [&str; 3]) -> String {
        says(&self.gateways(), "edge", deadline, wanted).await
    }

    /// Waits for a condition of the route `acme`.
    pub(crate) async fn route_says(&self, deadline: Duration, wanted: [&str; 3]) -> String {
        says(&self.routes(), "acme", deadline, wanted).await
    }
}

/// Waits until a top-level condition of the object's present generation is
/// `[type, status, reason]`, and gives its message.
pub(crate) async fn says<K>(
    api: &Api<K>,
    name: &str,
    deadline: Duration,
    wanted: [&str; 3],
) -> String
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let [type_, status, reason] = wanted;
    eventually(deadline, async || {
        let object = api.get(name).await.map_err(|error| error.to_string())?;
        let generation = object.meta().generation;
        let object = serde_json::to_value(&object).unwrap();
        let conditions = object["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let found = conditions
            .iter()
            .find(|condition| condition["type"] == type_);
        let found = found.ok_or(format!("no condition {type_}"))?;
        let is = found["status"] == status
            && found["reason"] == reason
            && found["observedGeneration"].as_i64() == generation;
        if is {
            Ok(found["message"].as_str().unwrap_or_default().to_owned())
        } else {
            Err(format!(
                "{name} is at generation {generation:?} and says {found}, not {wanted:?}"
            ))
        }
    })
    .await
}

/// A replica of the operator.
pub(crate) struct Operator {
    pub(crate) program: Program,
    pub(crate) admin: String,
}

impl Operator {
    /// The value of a counter or gauge.
    pub(crate) async fn metric(&self, name: &str) -> Result<u64, String> {
        let (_, text) = http::get(&format!("http://{}/metrics", self.admin)).await?;
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")));
        let value = line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        value.ok_or(format!("no {name} in\n{text}"))
    }

    /// Passes of its loop so far.
    pub(crate) async fn passes(&self) -> u64 {
        eventually(SOON, || self.metric("postern_operator_reconcile_total")).await
    }

    /// Waits until there have been more passes than `before`.
    pub(crate) async fn passes_again(&self, before: u64) {
        eventually(SOON, async || {
            let now = self.passes().await;
            (now > before)
                .then_some(())
                .ok_or(format!("still {now} passes"))
        })
        .await;
    }

    /// Waits until no pass has come for longer than the loop waits for quiet.
    pub(crate) async fn settled(&self) {
        const QUIET: Duration = Duration::from_millis(1500);
        let mut last = (self.passes().await, std::time::Instant::now());
        eventually(SOON, async || {
            let passes = self.passes().await;
            if passes != last.0 {
                last = (passes, std::time::Instant::now());
            }
            let quiet = passes > 0 && last.1.elapsed() > QUIET;
            quiet
                .then_some(())
                .ok_or(format!("{passes} passes, the last just now"))
        })
        .await;
    }
}

/// The chart's objects as `helm template` gives them, without the CRDs.
async fn render(
    cluster: &ControlPlane,
    release: &str,
    namespace: &str,
    secret_namespaces: &[String],
) -> Vec<Value> {
    let mut helm = cluster.helm();
    helm.arg("template")
        .arg(release)
        .arg(tools::repository().join("charts/postern"))
        .args(["--namespace", namespace, "--set", "crds.enabled=false"])
        .args(["--set", &format!("className={release}")])
        .args([
            "--set",
            &format!("secretNamespaces={{{}}}", secret_namespaces.join(",")),
        ]);
    let yaml = run(helm).await;
    let mut kubectl = cluster.kubectl();
    let file = cluster.folder().join(format!("{release}.yaml"));
    std::fs::write(&file, yaml).unwrap();
    kubectl
        .args(["create", "--dry-run=client", "--output=json", "--filename"])
        .arg(&file);
    let json = run(kubectl).await;
    let documents = serde_json::Deserializer::from_str(&json).into_iter::<Value>();
    documents
        .map(Result::unwrap)
        .flat_map(|document| match document["kind"].as_str() {
            Some("List") => document["items"].as_array().unwrap().clone(),
            _ => vec![document],
        })
        .collect()
}

/// The names of objects of a kind in a namespace.
pub(crate) async fn names<K>(api: &Api<K>) -> Vec<String>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let list = api.list(&Default::default()).await.unwrap();
    list.iter().map(ResourceExt::name_any).collect()
}
