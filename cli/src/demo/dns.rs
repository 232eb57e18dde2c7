//! A real DNS server on loopback, UDP and TCP, that answers from one zone file.
//!
//! A zone as RFC 1035 §5 text goes in; an address to ask comes out.

use crate::Error;
use hickory_server::Server;
use hickory_server::net::runtime::TokioRuntimeProvider;
use hickory_server::proto::rr::{LowerName, Name};
use hickory_server::proto::serialize::txt::Parser;
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneHandler, ZoneType};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UdpSocket};

/// An idle TCP connection is closed after this.
const TCP_TIMEOUT: Duration = Duration::from_secs(5);
/// Octets of answers that may wait on a TCP connection.
const TCP_BUFFER: usize = 4096;
/// UDP and TCP need the same free port: tries until both are had.
const PORT_TRIES: usize = 16;

/// Runs until it is dropped.
pub struct DnsServer {
    address: SocketAddr,
    _server: Server<Catalog>,
}

impl DnsServer {
    /// Serves `zone` at a free port of 127.0.0.1. The zone is the root: its text names every
    /// domain in full, and names that it lacks do not exist.
    ///
    /// # Errors
    /// When the zone does not parse or no port is free.
    pub async fn start(zone: &str) -> Result<Self, Error> {
        let (udp, tcp) = bind().await?;
        let address = udp
            .local_addr()
            .map_err(|e| Error::failed("DNS server", e))?;
        let mut server = Server::new(catalog(zone)?);
        server.register_socket(udp);
        server.register_listener(tcp, TCP_TIMEOUT, TCP_BUFFER);
        Ok(Self {
            address,
            _server: server,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn bind() -> Result<(UdpSocket, TcpListener), Error> {
    let mut last = None;
    for _ in 0..PORT_TRIES {
        let udp = UdpSocket::bind("127.0.0.1:0")
            .await
            .map_err(|e| Error::failed("DNS port", e))?;
        let address = udp.local_addr().map_err(|e| Error::failed("DNS port", e))?;
        match TcpListener::bind(address).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) => last = Some(error),
        }
    }
    Err(Error::Failed(format!(
        "no port is free for UDP and TCP on 127.0.0.1: {last:?}"
    )))
}

fn catalog(zone: &str) -> Result<Catalog, Error> {
    let text = format!("$TTL 60\n@ IN SOA ns. hostmaster. 1 3600 600 86400 60\n{zone}");
    let (origin, records) = Parser::new(text, None, Some(Name::root()))
        .parse()
        .map_err(|e| Error::failed("the zone does not parse", e))?;
    let handler = InMemoryZoneHandler::<TokioRuntimeProvider>::new(
        origin.clone(),
        records,
        ZoneType::Primary,
        AxfrPolicy::Deny,
    )
    .map_err(|e| Error::failed("the zone is not complete", e))?;
    let mut catalog = Catalog::new();
    catalog.upsert(
        LowerName::from(origin),
        vec![Arc::new(handler) as Arc<dyn ZoneHandler>],
    );
    Ok(catalog)
}
