//! Postern without a cluster: a `postern run` process on files of the test's own.
//!
//! Objects go in; a process that is ready comes out, with its listener and its admin port.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::folder::Folder;
use crate::ports::free_port;
use crate::program::Program;
use crate::wait::eventually;
use crate::{http, tools};

const START: Duration = Duration::from_secs(20);

/// A `postern run` process. Dropping it stops it.
pub struct Standalone {
    /// The process; the access log and the statuses are its output.
    pub program: Program,
    address: SocketAddr,
    admin: String,
    file: PathBuf,
    _folder: Folder,
}

impl Standalone {
    /// Runs the objects that `objects` writes for a free port, and waits until the process is
    /// ready. `services` are `namespace/name:port` with their addresses.
    ///
    /// # Panics
    /// When it is not ready after 20 s; the message has the end of its output.
    pub async fn start(
        name: &str,
        objects: impl FnOnce(u16) -> String,
        services: &[(&str, SocketAddr)],
    ) -> Self {
        Self::start_with(name, objects, services, &[]).await
    }

    /// As [`Standalone::start`], with variables in the environment.
    ///
    /// # Panics
    /// As [`Standalone::start`].
    pub async fn start_with(
        name: &str,
        objects: impl FnOnce(u16) -> String,
        services: &[(&str, SocketAddr)],
        environment: &[(&str, &Path)],
    ) -> Self {
        let folder = Folder::new(name);
        let (port, admin) = (free_port(), format!("127.0.0.1:{}", free_port()));
        let file = folder.path().join("objects.yaml");
        std::fs::write(&file, objects(port)).unwrap();
        let mut command = Command::new(tools::postern());
        command
            .args(["run", "--bind", "127.0.0.1", "--admin", &admin, "-f"])
            .arg(&file);
        for (service, address) in services {
            command.args(["--service", &format!("{service}={address}")]);
        }
        command.envs(environment.iter().copied());
        let program = Program::start("run", &command, folder.path());
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let admin = format!("http://{admin}");
        let started = Self {
            program,
            address,
            admin,
            file,
            _folder: folder,
        };
        eventually(START, async || started.ready().await).await;
        started
    }

    /// Where its listener is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The hash of the snapshot that it runs, from `/configz`.
    ///
    /// # Panics
    /// When the admin port does not answer.
    pub async fn hash(&self) -> String {
        let configz = http::get_json(&format!("{}/configz", self.admin))
            .await
            .unwrap();
        configz["hash"].as_str().unwrap_or_default().to_owned()
    }

    /// The text of `/metrics`.
    ///
    /// # Panics
    /// When the admin port does not answer.
    pub async fn metrics(&self) -> String {
        http::get(&format!("{}/metrics", self.admin))
            .await
            .unwrap()
            .1
    }

    /// Replaces its file as editors do: beside and renamed.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn write(&self, objects: &str) {
        replace(&self.file, objects);
    }

    /// The first line of the access log that holds all of `parts`.
    ///
    /// # Panics
    /// When none comes within 20 s.
    pub async fn log_line(&self, parts: &[&str]) -> serde_json::Value {
        eventually(START, async || {
            let log = self.program.output();
            let is_it = |line: &&str| {
                line.starts_with("{\"time\"") && parts.iter().all(|part| line.contains(part))
            };
            let line = log
                .lines()
                .find(is_it)
                .map(serde_json::from_str::<serde_json::Value>);
            match line {
                Some(Ok(line)) => Ok(line),
                _ => Err(format!(
                    "no line with {parts:?} in\n{}",
                    self.program.last_output(20)
                )),
            }
        })
        .await
    }

    async fn ready(&self) -> Result<(), String> {
        match http::get(&format!("{}/readyz", self.admin)).await {
            Ok((200, _)) => Ok(()),
            other => Err(format!("{other:?}\n{}", self.program.last_output(20))),
        }
    }
}

fn replace(file: &Path, objects: &str) {
    let beside = file.with_extension("new");
    std::fs::write(&beside, objects).unwrap();
    std::fs::rename(beside, file).unwrap();
}
