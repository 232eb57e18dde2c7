//! The Gateway API's ReferenceGrants, whose CRD need not be there.
//!
//! Asks which version is served (v1, then v1beta1), watches that one, and asks again when the kind
//! is not or no longer served. Absent means no grants.

use kube::api::{Api, DynamicObject, GroupVersionKind};
use kube::runtime::watcher::Config;
use kube::{Client, discovery};
use tracing::{info, warn};

use super::kept;
use super::source::{ASK_AGAIN, Access, Bell, Source, Watch};
use crate::world::ReferenceGrant;

const GROUP: &str = "gateway.networking.k8s.io";
const VERSIONS: [&str; 2] = ["v1", "v1beta1"];
const KIND: &str = "ReferenceGrant";

/// Follows for ever.
pub(super) async fn follow(client: Client, source: Source<Option<ReferenceGrant>>, bell: Bell) {
    loop {
        match served(&client).await {
            Ok(Some(api)) => {
                let watch = Watch {
                    api,
                    config: Config::default(),
                    source: source.clone(),
                    keep: kept::grant,
                    bell: bell.clone(),
                };
                watch.follow_while_served().await;
            }
            Ok(None) => {
                if source.lose(Access::Unserved) {
                    info!("ReferenceGrants are not served: no reference may cross namespaces");
                    bell.ring();
                }
            }
            Err(error) => warn!(%error, "cannot ask whether ReferenceGrants are served"),
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

async fn served(client: &Client) -> kube::Result<Option<Api<DynamicObject>>> {
    for version in VERSIONS {
        let kind = GroupVersionKind::gvk(GROUP, version, KIND);
        match discovery::pinned_kind(client, &kind).await {
            Ok((resource, _)) => return Ok(Some(Api::all_with(client.clone(), &resource))),
            Err(kube::Error::Discovery(_)) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
