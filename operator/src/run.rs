//! A whole operator process: election, loop and admin port.

use kube::{Client, Config};
use std::sync::Arc;
use std::time::Duration;

use crate::lease;
use crate::metrics::{self, Metrics};
use crate::options::Options;
use crate::reconcile::Reconciler;

/// No octet for so long is a dead connection. Longer than a watch lasts.
const READ_TIMEOUT: Duration = Duration::from_secs(40);

/// Why an operator ends.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no way to an API server.
    #[error("no Kubernetes API server: {0}")]
    Client(#[from] kube::Error),
    /// The admin port is taken.
    #[error("the admin address cannot be served: {0}")]
    Admin(#[from] std::io::Error),
    /// The loop has ended, which it never should.
    #[error("the election has ended")]
    Ended,
}

/// Runs until `stop` comes; then the Lease is given back, so that another replica takes over at
/// once.
///
/// # Errors
/// When it cannot start, or a part of it fails that it cannot do without.
pub async fn run(
    mut config: Config,
    options: Options,
    stop: impl Future<Output = ()>,
) -> Result<(), RunError> {
    config.read_timeout = Some(READ_TIMEOUT);
    let options = Arc::new(options);
    let metrics = Arc::new(Metrics::new());
    let client = Client::try_from(config.clone())?;
    let (leading, election) = lease::stand(&config, &options)?;
    let reconciler = Reconciler::new(client, &options, &metrics);
    tokio::select! {
        served = metrics::serve(options.admin, Arc::clone(&metrics)) => served?,
        () = reconciler.run(leading) => return Err(RunError::Ended),
        () = stop => {}
    }
    // The receiver is gone with the loop: the election ends by giving the Lease back.
    election.await.map_err(|_| RunError::Ended)
}
