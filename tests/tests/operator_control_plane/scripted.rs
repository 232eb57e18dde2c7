//! A pod of which the test decides what it says on `/configz`: for what a real gateway does rarely
//! or never (rejecting a snapshot, a backend that refuses it).

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use postern_operator::apply::{Live, read};
use postern_operator::world::ObjectKey;
use postern_tests::wait::eventually;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::installation::{Installation, SOON};
use crate::pods::{ADMIN, be_ready, set_ready};

/// Octets of a request that are read: its line and header fit.
const REQUEST: usize = 4096;

/// It answers as long as it is kept.
pub(crate) struct ScriptedPod {
    name: String,
    says: Arc<Mutex<Value>>,
    server: JoinHandle<()>,
    /// When its readiness turns next, in seconds.
    turned: AtomicI64,
}

impl Drop for ScriptedPod {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl ScriptedPod {
    /// A ready pod of the gateway `edge` at a loopback address of its own.
    pub(crate) async fn ready(
        installation: &Installation<'_>,
        name: &str,
        address: &str,
        says: Value,
    ) -> Self {
        let listener = TcpListener::bind((address, ADMIN)).await.unwrap();
        let says = Arc::new(Mutex::new(says));
        let server = tokio::spawn(serve(listener, Arc::clone(&says)));
        be_ready(installation, name, address).await;
        Self {
            name: name.to_owned(),
            says,
            server,
            turned: AtomicI64::new(1),
        }
    }

    /// What it says from now on. Its readiness has turned twice then, as when its container
    /// starts anew: the operator asks it at once.
    pub(crate) async fn says(&self, installation: &Installation<'_>, configz: Value) {
        *self.says.lock().unwrap() = configz;
        self.be(installation, true).await;
    }

    /// It is ready or not from now on.
    pub(crate) async fn be(&self, installation: &Installation<'_>, ready: bool) {
        let at = self.turned.fetch_add(1, Ordering::Relaxed);
        set_ready(installation, &self.name, (ready, at)).await;
    }
}

async fn serve(listener: TcpListener, says: Arc<Mutex<Value>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let body = says.lock().unwrap().to_string();
        tokio::spawn(answer(stream, body));
    }
}

async fn answer(mut stream: TcpStream, body: String) {
    let mut request = [0; REQUEST];
    let asked = stream.read(&mut request).await.unwrap_or_default();
    assert!(request[..asked].starts_with(b"GET /configz "));
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    // Who asked may have gone.
    let _ = stream.write_all(answer.as_bytes()).await;
}

/// What a pod says that runs the snapshot of that hash.
pub(crate) fn runs(hash: &str) -> Value {
    json!({"hash": hash, "generation": 1, "appliedAt": "2026-01-02T03:04:05Z"})
}

/// What a pod says that has refused one snapshot and runs another.
pub(crate) fn runs_but_rejects(runs_hash: &str, rejected: &str) -> Value {
    let mut says = runs(runs_hash);
    says["rejected"] = json!({"hash": rejected, "generation": 2, "reason": "listener mx: a test"});
    says
}

/// The snapshot of the gateway `edge` in the cluster, once it is another than `before`.
pub(crate) async fn next_snapshot(installation: &Installation<'_>, before: Option<&str>) -> Live {
    let key = ObjectKey::new(&*installation.namespace, "edge");
    eventually(SOON, async || {
        let live = read(&installation.client, &key).await;
        let live = live.map_err(|error| error.to_string())?;
        let live = live.ok_or("there is no head")?;
        if live.snapshot().is_none() || live.hash() == before {
            return Err("no other snapshot is written".to_owned());
        }
        Ok(live)
    })
    .await
}
