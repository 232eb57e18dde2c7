//! `postern operator`: reconciles custom resources into gateways; runs in the cluster.

use clap::Args as ClapArgs;
use kube::Config;
use postern_operator::options::Options;
use postern_operator::world::{Namespaces, ObjectKey};
use std::net::SocketAddr;

use crate::Error;
use crate::logging;
use crate::stop::Stop;

/// The name that widens a list of namespaces to all.
const ALL: &str = "*";

/// Arguments of `postern operator`. The chart gives them.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The operator's own namespace: its Lease stands there.
    #[arg(long, env = "POD_NAMESPACE")]
    namespace: String,
    /// The installation's name (Helm's release); with the namespace it marks all that is written.
    #[arg(long, default_value = "postern")]
    installation: String,
    /// MailGateways of this spec.className are ours.
    #[arg(long, default_value = postern_crds::defaults::CLASS_NAME)]
    class_name: String,
    /// The image that gateway pods run: the operator's own.
    #[arg(long)]
    image: String,
    /// Where gateways' objects may be written; `*` is everywhere. Default: the own namespace.
    #[arg(long, value_delimiter = ',')]
    gateway_namespaces: Vec<String>,
    /// Where Secrets may be read; `*` is everywhere. Default: the own namespace.
    #[arg(long, value_delimiter = ',')]
    secret_namespaces: Vec<String>,
    /// From where metrics of gateways may be scraped.
    #[arg(long, value_delimiter = ',')]
    monitoring_namespaces: Vec<String>,
    /// Where /livez, /readyz and /metrics are served.
    #[arg(long, default_value = "0.0.0.0:9090")]
    admin: SocketAddr,
    /// Who this replica is. Default: the host name, which in a pod is the pod's name.
    #[arg(long, env = "POD_NAME")]
    identity: Option<String>,
}

impl Args {
    fn options(self) -> Result<Options, Error> {
        let namespaces = |names: Vec<String>| {
            if names.is_empty() {
                return Namespaces::Only([self.namespace.clone()].into());
            }
            if names.iter().any(|name| name == ALL) {
                return Namespaces::All;
            }
            Namespaces::Only(names.into_iter().collect())
        };
        let identity = match self.identity {
            Some(identity) => identity,
            None => std::fs::read_to_string("/proc/sys/kernel/hostname")
                .map_err(|e| Error::failed("--identity is not given and there is no host name", e))?
                .trim()
                .to_owned(),
        };
        Ok(Options {
            gateway_namespaces: namespaces(self.gateway_namespaces),
            secret_namespaces: namespaces(self.secret_namespaces),
            installation: ObjectKey::new(self.namespace, self.installation),
            class_name: self.class_name,
            image: self.image,
            monitoring_namespaces: self.monitoring_namespaces,
            admin: self.admin,
            identity,
        })
    }
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When there is no API server to talk to, or the admin address cannot be served.
pub async fn run(args: Args) -> Result<(), Error> {
    logging::start();
    let options = args.options()?;
    let mut stop = Stop::listen()?;
    let config = Config::infer()
        .await
        .map_err(|e| Error::failed("find the API server", e))?;
    postern_operator::run::run(config, options, async move {
        stop.asked().await;
    })
    .await
    .map_err(|e| Error::failed("operator", e))
}
