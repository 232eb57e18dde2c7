//! The `postern run` of a stage: one listener, with a backend behind it, for each configuration.

use crate::backend::Backend;
use crate::configuration::{Configuration, listener_name, object};
use crate::player::Player;
use crate::{HOSTNAME, SOON};
use postern_cli::demo::dns::DnsServer;
use postern_tests::dialogue::Dialogue;
use postern_tests::ports::free_port;
use postern_tests::standalone::Standalone;
use postern_tests::wait::eventually;
use serde_json::json;
use std::net::SocketAddr;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// The process of a stage.
pub(crate) struct Gateway {
    running: Standalone,
    ports: Vec<Port>,
    _dns: DnsServer,
}

/// One listener and what stands behind it.
struct Port {
    configuration: Configuration,
    address: SocketAddr,
    backend: Backend,
}

impl Gateway {
    /// Runs a listener and a backend for each of the configurations that differ.
    pub(crate) async fn start(stage: &str, wanted: impl Iterator<Item = &Configuration>) -> Self {
        let mut ports: Vec<Port> = Vec::new();
        for configuration in wanted {
            if ports
                .iter()
                .all(|port| port.configuration != *configuration)
            {
                ports.push(Port {
                    configuration: configuration.clone(),
                    address: SocketAddr::from(([127, 0, 0, 1], free_port())),
                    backend: Backend::start(configuration).await,
                });
            }
        }
        // No name exists: every check ends at once.
        let dns = DnsServer::start("").await.unwrap();
        let names: Vec<_> = (0..ports.len())
            .map(|number| format!("mail/{}:25", listener_name(number)))
            .collect();
        let backends = ports.iter().map(|port| port.backend.address);
        let services: Vec<_> = names.iter().map(String::as_str).zip(backends).collect();
        let running = Standalone::start(
            stage,
            |port| {
                if let Some(first) = ports.first_mut() {
                    first.address.set_port(port);
                }
                objects(&ports, dns.address())
            },
            &services,
        )
        .await;
        Self {
            running,
            ports,
            _dns: dns,
        }
    }

    /// The end of what the process has printed.
    pub(crate) fn last_output(&self) -> String {
        self.running.program.last_output(5)
    }

    /// Plays a dialogue at the listener that is configured for it. What the client sends without
    /// waiting is written in `pieces` of so many octets.
    pub(crate) async fn play(
        &self,
        dialogue: &Dialogue,
        configuration: &Configuration,
        pieces: usize,
    ) -> Result<(), String> {
        let port = self
            .ports
            .iter()
            .find(|port| port.configuration == *configuration)
            .unwrap();
        let _other = if configuration.crowded {
            Some(greeted(port.address).await)
        } else {
            None
        };
        let stream = TcpStream::connect(port.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        port.backend.arrived.lock().unwrap().clear();
        Player::new(dialogue, &port.backend, stream, pieces)
            .play()
            .await
    }
}

/// All objects, as JSON documents, which are YAML.
fn objects(ports: &[Port], dns: SocketAddr) -> String {
    let listeners: Vec<_> = ports
        .iter()
        .enumerate()
        .map(|(number, port)| port.configuration.listener(number, port.address.port()))
        .collect();
    let gateway = json!({
        "hostname": HOSTNAME,
        "postmaster": "postmaster@acme.test",
        "resolver": {"nameservers": [dns.to_string()]},
        "listeners": listeners,
    });
    let others = ports
        .iter()
        .enumerate()
        .flat_map(|(number, port)| port.configuration.objects(number));
    let objects = std::iter::once(object("MailGateway", "edge", gateway)).chain(others);
    objects.map(|object| format!("{object}\n---\n")).collect()
}

/// A connection that has been greeted. Until those before it are forgotten it may be one too many.
async fn greeted(address: SocketAddr) -> TcpStream {
    eventually(SOON, async || {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut code = [0; 3];
        stream
            .read_exact(&mut code)
            .await
            .map_err(|e| e.to_string())?;
        match &code {
            b"220" => Ok(stream),
            other => Err(other.escape_ascii().to_string()),
        }
    })
    .await
}
