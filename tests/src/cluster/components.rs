//! The three programs of a control plane and how each is started.
//!
//! In: the folder, the certificates and the ports. Out: running programs; whoever
//! starts them waits for them to be ready.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::audit;
use super::pki::Files;
use crate::program::Program;
use crate::tools;

/// What all three need to know.
pub(super) struct Plan<'a> {
    pub(super) folder: &'a Path,
    pub(super) data: &'a Path,
    pub(super) files: &'a Files,
    pub(super) etcd_port: u16,
    pub(super) etcd_peer_port: u16,
    pub(super) port: u16,
}

impl Plan<'_> {
    /// etcd that keeps its data no longer than the test, so it need not wait for the disk.
    pub(super) fn etcd(&self) -> Program {
        let client = format!("http://127.0.0.1:{}", self.etcd_port);
        let peer = format!("http://127.0.0.1:{}", self.etcd_peer_port);
        let mut command = Command::new(tools::find("etcd"));
        command.arg(format!("--data-dir={}", self.data.join("etcd").display()));
        command.arg(format!("--listen-client-urls={client}"));
        command.arg(format!("--advertise-client-urls={client}"));
        command.arg(format!("--listen-peer-urls={peer}"));
        command.arg(format!("--initial-advertise-peer-urls={peer}"));
        command.arg(format!("--initial-cluster=default={peer}"));
        command.args(["--unsafe-no-fsync", "--log-level=warn"]);
        Program::start("etcd", &command, self.folder)
    }

    /// The API server: RBAC, real certificates, real ServiceAccount tokens, audit log.
    pub(super) fn api_server(&self) -> Program {
        let policy = self.folder.join("audit-policy.yaml");
        fs::write(&policy, audit::POLICY).unwrap();
        let mut command = Command::new(tools::find("kube-apiserver"));
        for (flag, value) in [
            ("audit-policy-file", policy.as_path()),
            ("audit-log-path", &self.folder.join("audit.log")),
            ("cert-dir", self.data),
            ("client-ca-file", &self.files.authority),
            ("tls-cert-file", &self.files.server),
            ("tls-private-key-file", &self.files.server_key),
            (
                "service-account-signing-key-file",
                &self.files.service_account_key,
            ),
            ("service-account-key-file", &self.files.service_account_key),
        ] {
            command.arg(format!("--{flag}={}", value.display()));
        }
        command.arg(format!(
            "--etcd-servers=http://127.0.0.1:{}",
            self.etcd_port
        ));
        command.arg(format!("--secure-port={}", self.port));
        command.arg(format!(
            "--service-cluster-ip-range={}",
            super::SERVICE_RANGE
        ));
        command.arg(format!(
            "--service-account-issuer={}",
            super::SERVICE_ACCOUNT_ISSUER
        ));
        command.args([
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            // An Endpoints object may not name a loopback address.
            "--endpoint-reconciler-type=none",
            "--authorization-mode=Node,RBAC",
            // A write stands in the log before its writer has the answer.
            "--audit-log-mode=blocking",
            "--allow-privileged=true",
            "--enable-priority-and-fairness=false",
        ]);
        Program::start("kube-apiserver", &command, self.folder)
    }

    /// The controllers: Deployments, garbage collection by owner, ServiceAccounts, the
    /// root CA ConfigMap. There is no node, so nothing runs.
    pub(super) fn controller_manager(&self, kubeconfig: &Path) -> Program {
        let mut command = Command::new(tools::find("kube-controller-manager"));
        for (flag, value) in [
            ("kubeconfig", kubeconfig),
            ("cert-dir", self.data),
            ("root-ca-file", &self.files.authority),
            (
                "service-account-private-key-file",
                &self.files.service_account_key,
            ),
        ] {
            command.arg(format!("--{flag}={}", value.display()));
        }
        command.args([
            "--leader-elect=false",
            "--secure-port=0",
            // Each controller with its own rights, as on a cluster.
            "--use-service-account-credentials=true",
        ]);
        Program::start("kube-controller-manager", &command, self.folder)
    }
}
