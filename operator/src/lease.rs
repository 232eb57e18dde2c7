//! Leadership among the replicas of an operator, by a Lease in its namespace.
//!
//! Out comes a channel that says whether this replica may write. Doubt counts as no: a renewal
//! that fails, or is not answered in time, ends leadership until the Lease says otherwise.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::Reporter;
use kube::{Api, Client, Config, Resource};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::options::Options;
use crate::report::events::{News, Teller};

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
        controller: options.controller_name(),
    };
    let election = tokio::spawn(async move { terms.stand(&sender).await });
    Ok((receiver, election))
}

struct Terms {
    client: Client,
    name: String,
    namespace: String,
    identity: String,
    /// Who writes the Event.
    controller: String,
}

impl Terms {
    async fn stand(&self, sender: &watch::Sender<bool>) {
        while !sender.is_closed() {
            // A manager that has met an error may believe that it leads still: a new one asks.
            match self.manager().await {
                Ok(manager) => self.follow(&manager, sender).await,
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

    /// Until an error, or until nobody wants to know; then the Lease is given back.
    async fn follow(&self, manager: &LeaseManager, sender: &watch::Sender<bool>) {
        loop {
            tokio::select! {
                changed = manager.changed() => match changed {
                    Ok(leading) => {
                        if set(sender, leading, &self.identity) && leading {
                            self.tell();
                        }
                    }
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

    /// Tells who leads at the Lease, as Kubernetes' own components do. Nobody waits for it: the
    /// Lease must be renewed.
    fn tell(&self) {
        let reporter = Reporter {
            controller: self.controller.clone(),
            instance: Some(self.identity.clone()),
        };
        let news = News {
            warning: false,
            reason: "LeaderElection".to_owned(),
            note: format!("{} became leader", self.identity),
            action: "LeaderElection".to_owned(),
        };
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), &self.namespace);
        let name = self.name.clone();
        tokio::spawn(async move {
            // Without its uid, `kubectl describe` would not show it at the Lease.
            if let Ok(lease) = leases.get_metadata(&name).await {
                let object = ObjectReference {
                    resource_version: None,
                    ..lease.object_ref(&())
                };
                let client = leases.into_client();
                let mut teller = Teller::default();
                teller.tell(&client, &reporter, &object, vec![news]).await;
            }
        });
    }
}

/// Whether that is new.
fn set(sender: &watch::Sender<bool>, leading: bool, identity: &str) -> bool {
    let changed = sender.send_if_modified(|now| std::mem::replace(now, leading) != leading);
    if changed {
        info!(identity, leading, "leadership");
    }
    changed
}
