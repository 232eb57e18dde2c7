//! Leadership among the replicas of an operator, by a Lease in its namespace.
//!
//! Out comes a channel that says whether this replica may write. Doubt counts as no: a renewal
//! that fails, or is not answered in time, ends leadership until the Lease says otherwise.

use kube::{Client, Config};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::options::Options;

/// Seconds for which the Lease is held: after so long without renewal another may take it.
const DURATION: u64 = 10;
/// Seconds before the end at which it is renewed.
const GRACE: u64 = 5;
/// No answer to a renewal for so long is a failed one. Shorter than [`GRACE`], so that a leader
/// that is cut off stops before another begins.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Between two attempts after an error.
const PAUSE: Duration = Duration::from_secs(1);

/// Takes part in the election until the receiver is dropped; the task then gives the Lease back
/// and ends.
///
/// # Errors
/// When no client can be made of the configuration.
pub fn stand(
    config: &Config,
    options: &Options,
) -> kube::Result<(watch::Receiver<bool>, JoinHandle<()>)> {
    let mut config = config.clone();
    config.connect_timeout = Some(TIMEOUT);
    config.read_timeout = Some(TIMEOUT);
    config.write_timeout = Some(TIMEOUT);
    let client = Client::try_from(config)?;
    let (sender, receiver) = watch::channel(false);
    let terms = Terms {
        client,
        name: options.lease_name(),
        namespace: options.installation.namespace.clone(),
        identity: options.identity.clone(),
    };
    let election = tokio::spawn(async move { terms.stand(&sender).await });
    Ok((receiver, election))
}

struct Terms {
    client: Client,
    name: String,
    namespace: String,
    identity: String,
}

impl Terms {
    async fn stand(&self, sender: &watch::Sender<bool>) {
        while !sender.is_closed() {
            // A manager that has met an error may believe that it leads still: a new one asks.
            match self.manager().await {
                Ok(manager) => follow(&manager, sender, &self.identity).await,
                Err(error) => warn!(%error, "the Lease cannot be used"),
            }
            set(sender, false, &self.identity);
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = sender.closed() => {}
            }
        }
    }

    async fn manager(&self) -> kube_lease_manager::Result<LeaseManager> {
        LeaseManagerBuilder::new(self.client.clone(), &self.name)
            .with_namespace(&self.namespace)
            .with_identity(&self.identity)
            .with_duration(DURATION)
            .with_grace(GRACE)
            .build()
            .await
    }
}

/// Until an error, or until nobody wants to know; then the Lease is given back.
async fn follow(manager: &LeaseManager, sender: &watch::Sender<bool>, identity: &str) {
    loop {
        tokio::select! {
            changed = manager.changed() => match changed {
                Ok(leading) => set(sender, leading, identity),
                Err(error) => {
                    warn!(%error, "the Lease could not be renewed");
                    return;
                }
            },
            () = sender.closed() => {
                if let Err(error) = manager.release().await {
                    warn!(%error, "the Lease could not be given back");
                }
                return;
            }
        }
    }
}

fn set(sender: &watch::Sender<bool>, leading: bool, identity: &str) {
    let changed = sender.send_if_modified(|now| std::mem::replace(now, leading) != leading);
    if changed {
        info!(identity, leading, "leadership");
    }
}
