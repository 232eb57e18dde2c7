//! A real Kubernetes control plane: etcd, kube-apiserver, kube-controller-manager.
//!
//! In: the binaries of `tests/tools/install control-plane`; no root. Out: a
//! [`ControlPlane`] on 127.0.0.1, with RBAC, ServiceAccount tokens, owner garbage
//! collection and an audit log, but no node and no scheduler: Pods stay Pending unless
//! a test patches their status.
//!
//! One control plane is enough for most test programs: [`ControlPlane::shared`], with
//! a [namespace](ControlPlane::namespace) per test. It goes with the process.

mod access;
mod audit;
mod components;
mod pki;

use std::fs;
use std::future::Future;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};

pub use self::audit::{Mark, Write};

use self::access::Credential;
use self::components::Plan;
use self::pki::{Authority, Files};
use crate::folder::Folder;
use crate::ports::free_port;
use crate::program::{Program, run};
use crate::tools;
use crate::wait::{eventually, within};

/// The first address of [`SERVICE_RANGE`], the Service `kubernetes`.
const SERVICE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
const SERVICE_RANGE: &str = "10.96.0.0/16";
/// The issuer of ServiceAccount tokens, as kubeadm sets it.
pub const SERVICE_ACCOUNT_ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Both cores may be busy with other tests' programs.
const START: Duration = Duration::from_secs(90);
const ANSWER: Duration = Duration::from_secs(30);

/// A running control plane. Dropping it stops it and removes its folder.
pub struct ControlPlane {
    url: String,
    authority: Authority,
    admin: String,
    kubeconfig: PathBuf,
    audit_log: PathBuf,
    // Dropped in this order: the programs before the folder that they write to.
    _programs: Vec<Program>,
    folder: Folder,
}

impl ControlPlane {
    /// The control plane that all tests of this process share, started by the first.
    ///
    /// # Panics
    /// When it could not be started, in every test that asks for it.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceLock<Option<ControlPlane>> = OnceLock::new();
        // The test that starts it may end before others; so it is started outside its runtime.
        let start = || std::thread::spawn(|| block_on(Self::start())).join().ok();
        let shared = tokio::task::spawn_blocking(move || SHARED.get_or_init(start));
        match shared.await.unwrap() {
            Some(control_plane) => control_plane,
            None => panic!("the shared control plane did not start; its panic stands above"),
        }
    }

    /// Starts a control plane of the caller's own. It takes about 5 s.
    ///
    /// # Panics
    /// When a program is not installed or is not ready after 90 s.
    pub async fn start() -> Self {
        Self::start_with(Vec::new()).await
    }

    /// Starts one with `crds` established before the controllers start.
    ///
    /// The garbage collector learns of kinds that come later only every 30 s; with these
    /// it deletes what such an object owns at once.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn start_with(crds: Vec<CustomResourceDefinition>) -> Self {
        let folder = Folder::new("control-plane");
        let authority = Authority::new();
        let files = Files::write(&authority, folder.path());
        let plan = Plan {
            folder: folder.path(),
            data: &folder.data(),
            files: &files,
            etcd_port: free_port(),
            etcd_peer_port: free_port(),
            port: free_port(),
        };
        let url = format!("https://127.0.0.1:{}", plan.port);
        let write_kubeconfig = |user: &str, groups: &[&str]| {
            let pair = authority.client(user, groups);
            let credential = Credential::Certificate(&pair);
            let text = access::kubeconfig(&url, &authority.certificate(), &credential);
            let path = folder
                .path()
                .join(format!("{}.kubeconfig", user.replace(':', "-")));
            fs::write(&path, &text).unwrap();
            (path, text)
        };
        let (kubeconfig, admin) = write_kubeconfig("admin", &["system:masters"]);
        let (controllers, _) = write_kubeconfig("system:kube-controller-manager", &[]);

        let etcd = plan.etcd();
        let mut api_server = plan.api_server();
        let client = access::client(&admin).await;
        ready(&client, &mut api_server, &etcd).await;
        establish(&client, crds).await;
        let controller_manager = plan.controller_manager(&controllers);
        default_service_account(&client, "default", &controller_manager).await;

        Self {
            url,
            authority,
            admin,
            kubeconfig,
            audit_log: folder.path().join("audit.log"),
            _programs: vec![controller_manager, api_server, etcd],
            folder,
        }
    }

    /// `https://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The certificate of the authority that signed the API server's, PEM.
    #[must_use]
    pub fn authority_pem(&self) -> String {
        self.authority.certificate()
    }

    /// The folder with the programs' logs and kubeconfigs; room for a test's own files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The administrator's kubeconfig file.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The administrator's client (group `system:masters`), for the running runtime.
    pub async fn client(&self) -> Client {
        access::client(&self.admin).await
    }

    /// A client for a user with a client certificate.
    pub async fn client_for_user(&self, user: &str, groups: &[&str]) -> Client {
        access::client(&self.user_kubeconfig(user, groups)).await
    }

    /// A kubeconfig file for a user with a client certificate.
    #[must_use]
    pub fn kubeconfig_for_user(&self, user: &str, groups: &[&str]) -> PathBuf {
        self.keep_kubeconfig(user, &self.user_kubeconfig(user, groups))
    }

    /// A client that is the ServiceAccount, by a token from a TokenRequest, valid 1 h.
    ///
    /// # Panics
    /// When there is no such ServiceAccount.
    pub async fn client_for_service_account(&self, namespace: &str, name: &str) -> Client {
        access::client(&self.service_account_kubeconfig(namespace, name).await).await
    }

    /// A kubeconfig file for the ServiceAccount, for a program that is started.
    ///
    /// # Panics
    /// When there is no such ServiceAccount.
    pub async fn kubeconfig_for_service_account(&self, namespace: &str, name: &str) -> PathBuf {
        let text = self.service_account_kubeconfig(namespace, name).await;
        self.keep_kubeconfig(&format!("{namespace}-{name}"), &text)
    }

    /// A token of the ServiceAccount, valid 1 h. No audiences: the API server's own.
    ///
    /// # Panics
    /// When there is no such ServiceAccount.
    pub async fn token(&self, namespace: &str, name: &str, audiences: &[&str]) -> String {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await, namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: audiences
                    .iter()
                    .map(|audience| (*audience).to_owned())
                    .collect(),
                expiration_seconds: Some(3600),
                ..Default::default()
            },
            ..Default::default()
        };
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await;
        answer.unwrap().status.unwrap().token
    }

    /// A new namespace with a name of its own, `<prefix>-<number>`, whose ServiceAccount
    /// `default` is there.
    pub async fn namespace(&self, prefix: &str) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let name = format!("{prefix}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.namespace_named(&name, &[]).await;
        name
    }

    /// A new namespace with this name and these labels.
    ///
    /// # Panics
    /// When it exists.
    pub async fn namespace_named(&self, name: &str, labels: &[(&str, &str)]) {
        let client = self.client().await;
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(labels.collect()),
                ..Default::default()
            },
            ..Default::default()
        };
        let namespaces: Api<Namespace> = Api::all(client.clone());
        namespaces
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap();
        let accounts: Api<ServiceAccount> = Api::namespaced(client, name);
        eventually(ANSWER, || accounts.get("default")).await;
    }

    /// `kubectl` as the administrator.
    #[must_use]
    pub fn kubectl(&self) -> Command {
        self.client_program("kubectl")
    }

    /// `helm` as the administrator.
    #[must_use]
    pub fn helm(&self) -> Command {
        self.client_program("helm")
    }

    /// `kubectl apply --server-side` of YAML documents, as the administrator.
    ///
    /// # Panics
    /// When an object is refused; the message is kubectl's.
    pub async fn apply(&self, yaml: &str) {
        let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
        fs::write(file.path(), yaml).unwrap();
        let mut kubectl = self.kubectl();
        kubectl
            .args(["apply", "--server-side", "--force-conflicts", "-f"])
            .arg(file.path());
        run(kubectl).await;
    }

    /// Installs the Gateway API's CRDs (standard channel, ReferenceGrant among them).
    pub async fn install_gateway_api(&self) {
        let mut kubectl = self.kubectl();
        kubectl
            .args(["apply", "--server-side", "-f"])
            .arg(tools::find("gateway-api"));
        run(kubectl).await;
        let mut kubectl = self.kubectl();
        kubectl.args(["wait", "--for=condition=Established", "--timeout=30s"]);
        run({
            kubectl.arg("crd/referencegrants.gateway.networking.k8s.io");
            kubectl
        })
        .await;
    }

    /// Installs CRDs and waits until they are served.
    ///
    /// # Panics
    /// When one is refused.
    pub async fn install_crds(&self, crds: Vec<CustomResourceDefinition>) {
        establish(&self.client().await, crds).await;
    }

    /// The end of the audit log now, for [`Self::writes_since`].
    pub async fn mark(&self) -> Mark {
        self.audit_is_written().await;
        Mark(audit::length(&self.audit_log))
    }

    /// Every request for a change that was answered since `mark`, oldest first, by all
    /// users, the control plane's own among them. Dry runs are left out; refused requests
    /// are not: see [`Write::code`].
    pub async fn writes_since(&self, mark: Mark) -> Vec<Write> {
        self.audit_is_written().await;
        audit::writes(&self.audit_log, mark)
    }

    /// Waits until a request that is made now stands in the log; all earlier ones do then.
    async fn audit_is_written(&self) {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let mark = Mark(audit::length(&self.audit_log));
        let barrier = format!("/version?barrier={}", NEXT.fetch_add(1, Ordering::Relaxed));
        get(&self.client().await, &barrier).await.unwrap();
        eventually(ANSWER, async || {
            let written = audit::has_request(&self.audit_log, mark, &barrier);
            written.then_some(()).ok_or("the audit log lags behind")
        })
        .await;
    }

    fn user_kubeconfig(&self, user: &str, groups: &[&str]) -> String {
        let pair = self.authority.client(user, groups);
        let credential = Credential::Certificate(&pair);
        access::kubeconfig(&self.url, &self.authority.certificate(), &credential)
    }

    async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> String {
        let token = self.token(namespace, name, &[]).await;
        let credential = Credential::Token(&token);
        access::kubeconfig(&self.url, &self.authority.certificate(), &credential)
    }

    fn keep_kubeconfig(&self, user: &str, text: &str) -> PathBuf {
        let name = format!("{}.kubeconfig", user.replace([':', '/'], "-"));
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn client_program(&self, name: &str) -> Command {
        let own = |name: &str| self.folder.path().join("data").join(name);
        let mut command = Command::new(tools::find(name));
        command.env("KUBECONFIG", &self.kubeconfig);
        // Nothing of the user's is read or written.
        command.env("KUBECACHEDIR", own("kube-cache"));
        command.env("HELM_CACHE_HOME", own("helm-cache"));
        command.env("HELM_CONFIG_HOME", own("helm-config"));
        command.env("HELM_DATA_HOME", own("helm-data"));
        command
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(future)
}

async fn get(client: &Client, path: &str) -> kube::Result<String> {
    let request = hyper::Request::get(path).body(Vec::new()).unwrap();
    client.request_text(request).await
}

/// Waits for the API server; when it does not come, its and etcd's logs say why.
async fn ready(client: &Client, api_server: &mut Program, etcd: &Program) {
    let answer = within(START, async || {
        match api_server.exited() {
            // Nothing more to wait for: the deadline's message is not needed.
            Some(status) => Ok(Err(format!("kube-apiserver has ended: {status}"))),
            None => get(client, "/readyz").await.map(|_| Ok(())),
        }
    })
    .await;
    if let Err(reason) = answer.and_then(|ended| ended) {
        panic!(
            "kube-apiserver is not ready: {reason}\nkube-apiserver:\n{}\netcd:\n{}",
            api_server.last_output(15),
            etcd.last_output(10)
        );
    }
}

/// The controllers have begun when a namespace has its ServiceAccount.
async fn default_service_account(client: &Client, namespace: &str, controllers: &Program) {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    if let Err(reason) = within(START, || accounts.get("default")).await {
        let log = controllers.last_output(15);
        panic!("kube-controller-manager makes no ServiceAccount: {reason}\n{log}");
    }
}

/// Creates CRDs and waits until each is served.
async fn establish(client: &Client, crds: Vec<CustomResourceDefinition>) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in &crds {
        api.create(&PostParams::default(), crd).await.unwrap();
    }
    for crd in crds {
        let name = crd.metadata.name.unwrap();
        eventually(ANSWER, async || {
            let conditions = api.get(&name).await.map_err(|error| error.to_string())?;
            let conditions = conditions
                .status
                .and_then(|status| status.conditions)
                .unwrap_or_default();
            let established = conditions
                .iter()
                .any(|each| each.type_ == "Established" && each.status == "True");
            established
                .then_some(())
                .ok_or(format!("{name} is not established: {conditions:?}"))
        })
        .await;
    }
}
