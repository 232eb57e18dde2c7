//! `postern run`: a gateway from files, without a cluster.
//!
//! The same objects as in a cluster go in, Secrets and ConfigMaps among them; a running gateway
//! comes out. Statuses go to the standard error, the access log to the standard output. Changes
//! of the files are followed; a file that turned bad leaves the last good configuration running.

use crate::compile::{Compiled, Generated, Input, compile, statuses};
use crate::stop::{Ending, Stop};
use crate::{Error, warn};
use jiff::Timestamp;
use notify::{RecursiveMode, Watcher as _};
use postern_config::Snapshot;
use postern_gateway::telemetry::access_log::AccessLog;
use postern_gateway::telemetry::pipeline::Pipeline;
use postern_gateway::{Gateway, Options};
use postern_operator::world::ObjectKey;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Editors write a file in several steps: a change is read when it has been quiet for so long.
const SETTLE: Duration = Duration::from_millis(200);

/// After Ctrl-C open transactions have so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of `postern run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    input: Input,
    /// Which MailGateway, when the files hold several.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    gateway: Option<String>,
    /// The address at which listeners are opened; default: all.
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<IpAddr>,
    /// Where /livez, /readyz, /configz and /metrics are served.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9090")]
    admin: SocketAddr,
    /// A folder that keeps generated keys over restarts; default: a new pair at each start.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// Serves until SIGTERM or SIGINT, then drains.
///
/// # Errors
/// When the files have a fault at the start, or a port cannot be opened.
pub async fn run(args: Args) -> Result<(), Error> {
    crate::logging::start();
    crate::descriptors::raise();
    let mut generated = state::read(args.state_dir.as_deref())?;
    let (snapshot, recheck) = first(&args, &mut generated)?;
    // Before anything is served: a signal that comes early must drain, too.
    let mut stop = Stop::listen()?;
    let log = AccessLog::start(std::io::stdout()).map_err(|e| Error::failed("access log", e))?;
    let pipeline = Arc::new(Pipeline::new(Some(log)));
    let options = Options {
        bind: args.bind,
        admin: Some(args.admin),
        sink: Arc::clone(&pipeline) as _,
        ..Options::default()
    };
    let gateway = Gateway::start(snapshot, options)
        .await
        .map_err(|e| Error::failed("start", e))?;
    let ending = follow(&args, &gateway, &mut generated, recheck, &mut stop).await?;
    end(&gateway, ending, &mut stop).await;
    tokio::join!(pipeline.flush(), gateway.flush());
    Ok(())
}

/// The first configuration: a fault ends the command.
fn first(args: &Args, generated: &mut Generated) -> Result<(Snapshot, Option<Timestamp>), Error> {
    let compiled = compile(&args.input, Timestamp::now(), generated)?;
    state::write(args.state_dir.as_deref(), generated)?;
    for problem in &compiled.problems {
        warn(format_args!("{problem}"));
    }
    if !compiled.problems.is_empty() {
        return Err(Error::Usage("not started: mend the files first".to_owned()));
    }
    tell(&compiled);
    let recheck = compiled.translation.recheck_at;
    Ok((choose(args, &compiled)?, recheck))
}

/// The snapshot of the gateway that is meant, and its status on the standard error.
fn choose(args: &Args, compiled: &Compiled) -> Result<Snapshot, Error> {
    let gateways = &compiled.translation.gateways;
    let wanted = |key: &ObjectKey| {
        args.gateway
            .as_ref()
            .is_none_or(|name| *name == key.to_string())
    };
    let mut matching = gateways.iter().filter(|(key, _)| wanted(key));
    let names = || {
        gateways
            .keys()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    match (matching.next(), matching.next()) {
        (None, _) if gateways.is_empty() => Err(Error::Usage(
            "the files hold no MailGateway of class postern".to_owned(),
        )),
        (None, _) => Err(Error::Usage(format!(
            "no such MailGateway; the files hold {}",
            names()
        ))),
        (Some(_), Some(_)) => Err(Error::Usage(format!(
            "several MailGateways: choose one with --gateway ({})",
            names()
        ))),
        (Some((key, output)), None) => output.snapshot.clone().ok_or_else(|| {
            Error::Usage(format!(
                "MailGateway {key} is not accepted: see `postern validate`"
            ))
        }),
    }
}

/// Lets open transactions finish; a second signal ends it at once.
async fn end(gateway: &Gateway, ending: Ending, stop: &mut Stop) {
    let drained = async {
        match ending {
            Ending::Terminate => gateway.drain().await,
            Ending::Interrupt => {
                gateway.shutdown();
                // Who does not finish in that time is cut off.
                let _ = tokio::time::timeout(PATIENCE, gateway.drained()).await;
            }
        }
    };
    tokio::select! {
        () = drained => {}
        _ = stop.asked() => tracing::warn!("second signal, leaving at once"),
    }
}

/// Applies changes until a signal asks for the end.
async fn follow(
    args: &Args,
    gateway: &Gateway,
    generated: &mut Generated,
    mut recheck: Option<Timestamp>,
    stop: &mut Stop,
) -> Result<Ending, Error> {
    let (changed, mut changes) = mpsc::channel(1);
    // Kept until the end of this function: dropping it ends the watch.
    let _watcher = watch(&args.input.filename, changed)?;
    loop {
        tokio::select! {
            ending = stop.asked() => return Ok(ending),
            Some(()) = changes.recv() => settle(&mut changes).await,
            () = until(recheck) => {}
        }
        recheck = reload(args, gateway, generated, recheck);
    }
}

/// Reads everything once more; a fault leaves the configuration as it is. Returns when to look
/// again by itself.
fn reload(
    args: &Args,
    gateway: &Gateway,
    generated: &mut Generated,
    recheck: Option<Timestamp>,
) -> Option<Timestamp> {
    let now = Timestamp::now();
    let compiled = compile(&args.input, now, generated)
        .and_then(|compiled| state::write(args.state_dir.as_deref(), generated).map(|()| compiled));
    let compiled = match compiled {
        Ok(compiled) => compiled,
        Err(error) => {
            keep(&error);
            // What is running still expires when it did before.
            return recheck.filter(|at| *at > now);
        }
    };
    for problem in &compiled.problems {
        warn(format_args!("{problem}"));
    }
    let recheck = compiled.translation.recheck_at;
    if !compiled.problems.is_empty() {
        keep(&"the files have faults");
        return recheck;
    }
    let applied = match choose(args, &compiled) {
        Ok(snapshot) => gateway.apply(snapshot).map_err(|e| e.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match applied {
        Ok(()) => tell(&compiled),
        Err(reason) => keep(&reason),
    }
    recheck
}

fn keep(reason: &dyn std::fmt::Display) {
    warn(format_args!(
        "{reason}: the last good configuration runs on"
    ));
}

/// The status of every object, a line each.
fn tell(compiled: &Compiled) {
    for line in statuses(&compiled.translation) {
        warn(format_args!("{line}"));
    }
}

async fn settle(changes: &mut mpsc::Receiver<()>) {
    while let Ok(Some(())) = tokio::time::timeout(SETTLE, changes.recv()).await {}
}

async fn until(recheck: Option<Timestamp>) {
    match recheck {
        None => std::future::pending().await,
        Some(at) => {
            let wait = at.duration_since(Timestamp::now());
            tokio::time::sleep(wait.try_into().unwrap_or(Duration::ZERO)).await;
        }
    }
}

/// Watches the folders that hold the files: an editor replaces a file, and a mounted Secret is a
/// link that is swapped, so a watch on the file itself would see its last change only.
fn watch(paths: &[PathBuf], changed: mpsc::Sender<()>) -> Result<impl notify::Watcher, Error> {
    let fail = |e: notify::Error| Error::failed("watch the files", e);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // A full channel means that a change is known already.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            let _ = changed.try_send(());
        }
    })
    .map_err(fail)?;
    let folders: BTreeSet<PathBuf> = paths
        .iter()
        .filter(|path| path.as_os_str() != "-")
        .map(|path| match path.parent() {
            _ if path.is_dir() => path.clone(),
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        })
        .collect();
    for folder in folders {
        watcher
            .watch(&folder, RecursiveMode::NonRecursive)
            .map_err(fail)?;
    }
    Ok(watcher)
}

/// Generated pairs in the state folder.
mod state {
    use crate::Error;
    use crate::compile::Generated;
    use postern_config::CertificateKey;
    use postern_operator::world::ObjectKey;
    use std::collections::BTreeMap;
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    use std::path::Path;

    const FILE: &str = "generated.json";

    /// What was kept; nothing when there is no folder or no file yet.
    pub(super) fn read(folder: Option<&Path>) -> Result<Generated, Error> {
        let Some(folder) = folder else {
            return Ok(Generated::new());
        };
        let path = folder.join(FILE);
        let fail = |e: &dyn std::fmt::Display| Error::failed(&path.display().to_string(), e);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Generated::new());
            }
            Err(error) => return Err(fail(&error)),
        };
        let kept: BTreeMap<String, CertificateKey> =
            serde_json::from_slice(&text).map_err(|e| fail(&e))?;
        Ok(kept
            .into_iter()
            .filter_map(|(name, pair)| {
                let (namespace, name) = name.split_once('/')?;
                Some((ObjectKey::new(namespace, name), pair))
            })
            .collect())
    }

    /// Keeps all, readable by the owner only; written beside and renamed, so that a crash leaves
    /// the old file or the new one.
    pub(super) fn write(folder: Option<&Path>, generated: &Generated) -> Result<(), Error> {
        let Some(folder) = folder else { return Ok(()) };
        let fail = |e: &dyn std::fmt::Display| Error::failed(&folder.display().to_string(), e);
        let kept: BTreeMap<String, &CertificateKey> = generated
            .iter()
            .map(|(key, pair)| (key.to_string(), pair))
            .collect();
        let text = serde_json::to_vec(&kept).map_err(|e| fail(&e))?;
        let beside = folder.join(format!("{FILE}.new"));
        let written = std::fs::create_dir_all(folder)
            .and_then(|()| {
                std::fs::OpenOptions::new()
                    .create(true)
                    .write(true)
                    .truncate(true)
                    .mode(0o600)
                    .open(&beside)
            })
            .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
            .and_then(|()| std::fs::rename(&beside, folder.join(FILE)));
        written.map_err(|e| fail(&e))
    }
}
