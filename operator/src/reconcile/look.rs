//! Looking at what stands in the cluster where the watches do not tell it: the snapshot of a gateway
//! when others have written, and objects that were in the way.

use kube::Client;
use tokio::time::Instant;
use tracing::warn;

use crate::apply::{self, Memory};
use crate::observe::Observer;
use crate::options::Options;
use crate::world::{Child, ObjectKey};

/// What a look at one gateway has shown; `None` where nobody looked.
pub(super) struct Look {
    pub(super) key: ObjectKey,
    pub(super) live: Option<Option<apply::Live>>,
    pub(super) foreign: Option<Option<Child>>,
}

/// Reads the snapshot of a gateway, if what is known of it is stale, and an object that was in the
/// way.
pub(super) async fn look_at(
    client: &Client,
    options: &Options,
    key: ObjectKey,
    stale: bool,
    foreign: Option<(Child, Instant)>,
) -> Look {
    let mut look = Look {
        key,
        live: None,
        foreign: None,
    };
    if stale {
        match apply::read(client, &look.key).await {
            Ok(live) => look.live = Some(live),
            Err(error) => warn!(gateway = %look.key, %error, "the snapshot cannot be read"),
        }
    }
    if let Some((child, _)) = foreign {
        let namespace = &look.key.namespace;
        match apply::still_foreign(client, namespace, &child, &options.installation).await {
            Ok(child) => look.foreign = Some(child),
            Err(error) => {
                warn!(gateway = %look.key, %error, "an object cannot be read");
                // It counts as foreign until it is known not to be, and is read again later.
                look.foreign = Some(Some(child));
            }
        }
    }
    look
}

/// Nothing is known, or the watch has seen other versions than those that were read or written.
pub(super) fn is_stale(observer: &Observer, key: &ObjectKey, memory: &Memory) -> bool {
    let Some(live) = &memory.live else {
        return true;
    };
    live.versions.iter().any(|((kind, name), version)| {
        let piece = ObjectKey::new(&*key.namespace, &**name);
        observer.piece_version(kind, &piece) != *version
    })
}
