//! What an operator is told when it starts.

use std::net::SocketAddr;

use crate::world::{Namespaces, ObjectKey};

/// Settings of one operator process. They come from the chart and do not change while it runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// `<namespace>/<release>`: the installation that it belongs to. The Lease stands there.
    pub installation: ObjectKey,
    /// The MailGateways that are its own: those of this `spec.className`.
    pub class_name: String,
    /// The image that gateway pods run.
    pub image: String,
    /// Where a gateway's objects may be written.
    pub gateway_namespaces: Namespaces,
    /// Where Secrets may be read.
    pub secret_namespaces: Namespaces,
    /// From where the admin ports of gateways may be reached for metrics.
    pub monitoring_namespaces: Vec<String>,
    /// Where `/livez`, `/readyz` and `/metrics` are served.
    pub admin: SocketAddr,
    /// Who it is among the replicas: the pod's name.
    pub identity: String,
}

impl Options {
    /// `postern.dev/<className>`, as it stands in the statuses that it writes.
    #[must_use]
    pub fn controller_name(&self) -> String {
        format!(
            "{}{}",
            postern_crds::CONTROLLER_NAME_PREFIX,
            self.class_name
        )
    }

    /// The Lease's name: one leader for each installation.
    #[must_use]
    pub fn lease_name(&self) -> String {
        format!("{}-operator", self.installation.name)
    }
}
