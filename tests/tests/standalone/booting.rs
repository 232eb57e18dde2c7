//! `postern gateway` boots from a folder, as a pod does while operator and API server are away.

use crate::{GATEWAY, SOON, greeting};
use jiff::Timestamp;
use postern_cli::files;
use postern_config::chunks::{CHUNKS, Part, chunk_name};
use postern_config::head::{HEAD_KEY, Head, Set, SetHash};
use postern_config::{SCHEMA, Snapshot};
use postern_operator::translate::translate;
use postern_tests::folder::Folder;
use postern_tests::ports::free_port;
use postern_tests::program::Program;
use postern_tests::wait::eventually;
use postern_tests::{http, tools};
use serde_json::Value;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Host name of the current set's gateway.
const CURRENT: &str = "mx1.acme.test";
/// Host name of the previous one's.
const PREVIOUS: &str = "mx0.acme.test";
/// The head's generation.
const GENERATION: u64 = 7;

/// What the operator makes of a gateway of that name.
fn snapshot(hostname: &str, port: u16) -> Snapshot {
    let objects = GATEWAY
        .replace("mx1.acme.test", hostname)
        .replace("2525", &port.to_string());
    let loaded = files::parse("objects.yaml", &objects, Timestamp::now());
    assert_eq!(loaded.problems.len(), 0);
    let gateways = translate(&loaded.world).gateways;
    let mut snapshots = gateways.into_values().filter_map(|one| one.snapshot);
    snapshots.next().unwrap()
}

/// The pod's volume: both sets and the head that names them.
struct Mount {
    folder: Folder,
    head: Head,
    /// The listener of both sets.
    port: u16,
}

impl Mount {
    fn new(name: &str) -> Self {
        let (folder, port) = (Folder::new(name), free_port());
        // The kubelet writes a folder of its own and leads to it with two links, so that all files
        // change at once.
        let data = folder.path().join("snapshot/..2026_11_22_12_00_00.1");
        std::fs::create_dir_all(&data).unwrap();
        let previous = Some(write(&data, Set::A, &snapshot(PREVIOUS, port)));
        let head = Head {
            schema: SCHEMA,
            requires: vec![],
            generation: GENERATION,
            current: write(&data, Set::B, &snapshot(CURRENT, port)),
            previous,
        };
        std::fs::write(data.join(HEAD_KEY), head.to_json()).unwrap();
        let mount = Self { folder, head, port };
        symlink(data.file_name().unwrap(), mount.path().join("..data")).unwrap();
        for file in std::fs::read_dir(&data).unwrap() {
            let name = file.unwrap().file_name();
            symlink(Path::new("..data").join(&name), mount.path().join(&name)).unwrap();
        }
        mount
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("snapshot")
    }

    /// One bit of the first chunk of that set turns.
    fn corrupt(&self, set: Set) {
        let chunk = self.path().join(chunk_name(Part::Config, set, 0));
        let mut octets = std::fs::read(&chunk).unwrap();
        let middle = octets.len() / 2;
        octets[middle] ^= 0x40;
        std::fs::write(&chunk, octets).unwrap();
    }

    /// `postern gateway` on this folder, with these arguments more.
    fn start(&self, more: &[&str]) -> Pod {
        let admin = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(tools::postern());
        command
            .args(["gateway", "--bind", "127.0.0.1", "--admin", &admin])
            .args(more)
            .arg("--snapshot-dir")
            .arg(self.path())
            .env("KUBECONFIG", self.nowhere());
        Pod {
            program: Program::start("gateway", &command, self.folder.path()),
            admin: format!("http://{admin}"),
            port: self.port,
        }
    }

    /// The access to an API server that is not there.
    fn nowhere(&self) -> PathBuf {
        let file = self.folder.path().join("kubeconfig");
        let text = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{
                "name": "away",
                "cluster": {"server": format!("https://127.0.0.1:{}", free_port())},
            }],
            "users": [{"name": "pod", "user": {"token": "of-the-pod"}}],
            "contexts": [{"name": "away", "context": {"cluster": "away", "user": "pod"}}],
            "current-context": "away",
        });
        std::fs::write(&file, text.to_string()).unwrap();
        file
    }
}

/// Writes a set as its objects have it: chunks that are not used are there and empty.
fn write(folder: &Path, set: Set, snapshot: &Snapshot) -> SetHash {
    let encoded = snapshot.encode().unwrap();
    for (part, pieces) in [(Part::Config, encoded.config), (Part::Keys, encoded.keys)] {
        for index in 0..CHUNKS {
            let piece = pieces.get(index).map(Vec::as_slice).unwrap_or_default();
            std::fs::write(folder.join(chunk_name(part, set, index)), piece).unwrap();
        }
    }
    let hash = encoded.hash;
    SetHash { set, hash }
}

/// The process that stands for a pod.
struct Pod {
    program: Program,
    admin: String,
    port: u16,
}

impl Pod {
    /// Waits until it is ready, and gives what it says that it runs.
    async fn ready(&self) -> Value {
        eventually(SOON, async || {
            match http::get(&format!("{}/readyz", self.admin)).await {
                Ok((200, _)) => Ok(()),
                other => Err(format!("{other:?}\n{}", self.program.last_output(20))),
            }
        })
        .await;
        http::get_json(&format!("{}/configz", self.admin))
            .await
            .unwrap()
    }

    async fn greets_as(&self, hostname: &str) {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let greeting = greeting(address).await;
        let expected = format!("220 {hostname} ");
        assert!(greeting.starts_with(&expected), "{greeting}");
    }

    /// Waits until it has found that the API server is away.
    async fn has_looked_for_the_head(&self) {
        eventually(SOON, async || {
            let log = self.program.output();
            let looked = log.contains("the head cannot be watched; the snapshot in use stays");
            looked.then_some(()).ok_or(log)
        })
        .await;
    }
}

/// The arguments by which a pod follows its head.
const FOLLOW: [&str; 5] = ["--follow", "--namespace", "mail", "--gateway", "edge"];

#[tokio::test]
async fn a_pod_boots_from_its_mount_and_serves() {
    let mount = Mount::new("boots");
    let pod = mount.start(&[]);
    let says = pod.ready().await;
    assert_eq!(says["hash"], mount.head.current.hash, "{says}");
    assert_eq!(says["generation"], GENERATION, "{says}");
    assert!(says.get("rejected").is_none(), "{says}");
    pod.greets_as(CURRENT).await;
}

#[tokio::test]
async fn a_pod_boots_and_serves_while_the_api_server_is_away() {
    let mount = Mount::new("away");
    let pod = mount.start(&FOLLOW);
    assert_eq!(pod.ready().await["hash"], mount.head.current.hash);
    pod.has_looked_for_the_head().await;
    let says = pod.ready().await;
    assert_eq!(says["hash"], mount.head.current.hash, "{says}");
    assert!(says.get("rejected").is_none(), "{says}");
    pod.greets_as(CURRENT).await;
}

#[tokio::test]
async fn a_pod_with_a_corrupt_chunk_boots_the_previous_set_and_says_so() {
    for arguments in [&[], FOLLOW.as_slice()] {
        let mount = Mount::new("corrupt");
        mount.corrupt(Set::B);
        let pod = mount.start(arguments);
        let says = pod.ready().await;
        let previous = mount.head.previous.as_ref().unwrap();
        assert_eq!(says["hash"], previous.hash, "{says}");
        assert_eq!(says["generation"], GENERATION - 1, "{says}");
        let rejected = &says["rejected"];
        assert_eq!(rejected["hash"], mount.head.current.hash, "{says}");
        assert_eq!(rejected["generation"], GENERATION, "{says}");
        let reason = rejected["reason"].as_str().unwrap();
        assert!(reason.contains("set b"), "{reason}");
        pod.greets_as(PREVIOUS).await;
    }
}

#[tokio::test]
async fn without_a_whole_set_and_without_following_it_ends_with_both_reasons() {
    let mount = Mount::new("neither");
    mount.corrupt(Set::A);
    mount.corrupt(Set::B);
    let mut pod = mount.start(&[]);
    let status = pod.program.ended(SOON).await;
    let told = pod.program.output();
    assert_eq!(status.code(), Some(1), "{told}");
    assert!(told.contains("set a") && told.contains("set b"), "{told}");
}
