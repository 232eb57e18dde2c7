//! Two replicas: one writes, and when it dies the other does.

use std::time::Duration;

use postern_tests::wait::eventually;

use crate::events::told;
use crate::installation::{Installation, Operator, SOON, control_plane};
use crate::objects::{EDGE, apply_tls_secret};

/// How long configuration may stand still when a leader is killed (ARCHITECTURE.md, Numbers).
const TAKE_OVER: Duration = Duration::from_secs(20);

async fn leads(operator: &Operator) -> bool {
    operator.metric("postern_operator_leader").await == Ok(1)
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_leader_is_killed_the_other_replica_writes() {
    let cluster = control_plane().await;
    let installation = Installation::new(cluster, "leaders").await;
    apply_tls_secret(cluster, &installation.namespace, "mx1-tls").await;
    let mut first = installation.operator("operator-1").await;
    eventually(SOON, async || {
        leads(&first).await.then_some(()).ok_or("does not lead")
    })
    .await;
    let second = installation.operator("operator-2").await;
    installation.apply(EDGE).await;
    installation
        .gateway_says(SOON, ["Accepted", "True", "Accepted"])
        .await;
    assert!(leads(&first).await && !leads(&second).await);
    assert_eq!(
        second.metric("postern_operator_reconcile_total").await,
        Ok(0)
    );

    first.program.kill();
    installation
        .kubectl(&format!(
            "-n {} delete service mailstore",
            installation.namespace
        ))
        .await;
    installation
        .route_says(TAKE_OVER, ["ResolvedRefs", "False", "BackendNotFound"])
        .await;
    assert!(leads(&second).await);
    let leader = "operator-2 became leader";
    told(&installation, ["Normal", "LeaderElection", leader]).await;
}
