//! `postern gateway`: serves mail from a snapshot, as gateway pods do.
//!
//! A folder with `head.json` and chunks is booted; with `--follow` the head is then followed
//! through the API with the pod's own token. SIGTERM drains (docs/flow.md, When a pod ends).

use crate::Error;
use crate::stop::Stop;
use kube::Client;
use postern_config::head::Head;
use postern_gateway::snapshot::follow::Follow;
use postern_gateway::telemetry::access_log::AccessLog;
use postern_gateway::telemetry::pipeline::Pipeline;
use postern_gateway::{BootError, Gateway, Options};
use postern_operator::names;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

/// Arguments of `postern gateway`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder with head.json and the snapshot's chunks, as the pod's volume mounts it.
    #[arg(long, value_name = "DIR")]
    pub snapshot_dir: PathBuf,
    /// Follow the head through the Kubernetes API (KUBECONFIG, else the pod's own token).
    #[arg(long, requires_all = ["namespace", "gateway"])]
    pub follow: bool,
    /// Namespace of the MailGateway.
    #[arg(long)]
    pub namespace: Option<String>,
    /// Name of the MailGateway.
    #[arg(long)]
    pub gateway: Option<String>,
    /// Address of the admin port (/livez, /readyz, /configz, /metrics).
    #[arg(long, value_name = "ADDR", default_value_t = admin())]
    pub admin: SocketAddr,
    /// Open listeners on this address only.
    #[arg(long, value_name = "IP")]
    pub bind: Option<IpAddr>,
    /// Write no access log to the standard output.
    #[arg(long)]
    pub no_access_log: bool,
}

fn admin() -> SocketAddr {
    (std::net::Ipv6Addr::UNSPECIFIED, postern_crds::ADMIN_PORT).into()
}

/// Serves until SIGTERM or SIGINT, then drains.
///
/// # Errors
/// When a port is taken, or nothing can be booted and nothing is followed.
pub async fn run(args: Args) -> Result<(), Error> {
    crate::logging::start();
    crate::descriptors::raise();
    let mut stop = Stop::listen()?;
    let access_log = match args.no_access_log {
        true => None,
        false => {
            let log = AccessLog::start(std::io::stdout());
            Some(log.map_err(|error| Error::failed("starting the access log", error))?)
        }
    };
    let pipeline = Arc::new(Pipeline::new(access_log));
    let options = Options {
        bind: args.bind,
        admin: Some(args.admin),
        sink: Arc::clone(&pipeline) as _,
        ..Options::default()
    };
    let gateway = Gateway::idle(options)
        .await
        .map_err(|error| Error::Failed(error.to_string()))?;
    let gateway = Arc::new(gateway);
    boot(&gateway, &args)?;
    let following = follow(&gateway, &args).await?;
    stop.asked().await;
    tokio::select! {
        () = gateway.drain() => {}
        // A second signal: whoever sent it does not want to wait.
        _ = stop.asked() => tracing::warn!("second signal, leaving at once"),
    }
    drop(following);
    tokio::join!(pipeline.flush(), gateway.flush());
    Ok(())
}

/// Boots from the folder. A pod that follows the head waits for a better one when it cannot.
fn boot(gateway: &Gateway, args: &Args) -> Result<(), Error> {
    match gateway.boot(&args.snapshot_dir) {
        Ok(()) => Ok(()),
        Err(BootError::Folder(error)) if args.follow => {
            tracing::warn!(%error, "nothing to boot from; waiting for the head");
            let (hash, generation) = head(args);
            gateway.reject(&hash, generation, &error.to_string());
            Ok(())
        }
        // It was logged and stands in /configz.
        Err(BootError::Apply(_)) if args.follow => Ok(()),
        Err(error) => Err(Error::Failed(error.to_string())),
    }
}

/// Hash and generation of the head in the folder, as far as it can be read.
fn head(args: &Args) -> (String, u64) {
    std::fs::read_to_string(args.snapshot_dir.join(postern_config::head::HEAD_KEY))
        .ok()
        .and_then(|text| Head::parse(&text).ok())
        .map(|head| (head.current.hash, head.generation))
        .unwrap_or_default()
}

/// Follows the head in a task of its own, which ends with what is returned.
async fn follow(
    gateway: &Arc<Gateway>,
    args: &Args,
) -> Result<Option<tokio_util::task::AbortOnDropHandle<()>>, Error> {
    let (true, Some(namespace), Some(name)) = (args.follow, &args.namespace, &args.gateway) else {
        return Ok(None);
    };
    let client = Client::try_default()
        .await
        .map_err(|error| Error::failed("reading the pod's token", error))?;
    let follow = Follow {
        client,
        namespace: namespace.clone(),
        prefix: names::base(name),
    };
    let task = tokio::spawn(follow.run(Arc::clone(gateway)));
    Ok(Some(tokio_util::task::AbortOnDropHandle::new(task)))
}
