//! Sockets and their accept loops, and how they follow a change of the configuration.

use super::Shared;
use super::limits::Connections;
use crate::session::{self, Accepted};
use crate::snapshot::Runtime;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// After accept failed for want of descriptors it is tried again after so long.
const PAUSE: Duration = Duration::from_millis(50);

/// A port cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("listener {listener}: cannot listen on {address}: {reason}{}", advice(.reason, *.address))]
pub struct BindError {
    /// The listener.
    pub listener: String,
    /// What was to be opened.
    pub address: SocketAddr,
    /// What the system said.
    pub reason: io::Error,
}

/// What to do about it.
pub(crate) fn advice(reason: &io::Error, address: SocketAddr) -> String {
    match reason.kind() {
        io::ErrorKind::AddrInUse => {
            "; something listens there already: stop it, or choose another \
                                     port or address"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied if address.port() < 1024 => {
            "; ports below 1024 need root or CAP_NET_BIND_SERVICE: choose one from 1024 on"
                .to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("; this machine has no address {}", address.ip())
        }
        _ => String::new(),
    }
}

/// The open listeners by name.
#[derive(Default)]
pub(crate) struct Listeners {
    open: HashMap<String, Listening>,
}

struct Listening {
    port: u16,
    socket: Arc<TcpListener>,
    connections: Connections,
    /// Ends the accept loop when dropped; sessions go on.
    _accepting: AbortOnDropHandle<()>,
}

/// Sockets that are ready for a snapshot that is not in use yet.
pub(crate) struct Prepared(Vec<(String, u16, Arc<TcpListener>, Connections)>);

impl Listeners {
    /// Opens what the snapshot needs and is not open; what is open stays as it is.
    ///
    /// # Errors
    /// A port that cannot be opened; everything stays as it was then.
    pub(crate) fn prepare(
        &self,
        runtime: &Runtime,
        bind: Option<IpAddr>,
    ) -> Result<Prepared, BindError> {
        let mut prepared = Vec::new();
        for listener in runtime.listeners() {
            let (name, port) = (&listener.config.name, listener.config.bind_port);
            let (socket, connections) = match self.reusable(name, port) {
                Some(open) => (Arc::clone(&open.socket), open.connections.clone()),
                None => (
                    Arc::new(bind_any(name, bind, port)?),
                    Connections::default(),
                ),
            };
            prepared.push((name.clone(), port, socket, connections));
        }
        Ok(Prepared(prepared))
    }

    /// An open socket on that port, whatever the listener was called; port 0 is the listener's own.
    fn reusable(&self, name: &str, port: u16) -> Option<&Listening> {
        match self.open.get(name).filter(|open| open.port == port) {
            Some(open) => Some(open),
            None if port == 0 => None,
            None => self.open.values().find(|open| open.port == port),
        }
    }

    /// Accepts on the prepared sockets; those that are no longer needed are closed.
    pub(crate) fn serve(&mut self, prepared: Prepared, shared: &Arc<Shared>) {
        let open = prepared
            .0
            .into_iter()
            .map(|(name, port, socket, connections)| {
                let loop_ = accept(
                    Arc::clone(shared),
                    name.clone(),
                    Arc::clone(&socket),
                    connections.clone(),
                );
                let accepting = AbortOnDropHandle::new(tokio::spawn(loop_));
                (
                    name,
                    Listening {
                        port,
                        socket,
                        connections,
                        _accepting: accepting,
                    },
                )
            });
        // Collected first: the old loops end after the new ones stand.
        self.open = open.collect();
    }

    /// Closes all sockets.
    pub(crate) fn close(&mut self) {
        self.open.clear();
    }

    /// The address on which a listener is reached.
    pub(crate) fn local_addr(&self, name: &str) -> Option<SocketAddr> {
        self.open.get(name)?.socket.local_addr().ok()
    }
}

fn bind_any(name: &str, bind: Option<IpAddr>, port: u16) -> Result<TcpListener, BindError> {
    let attempt = |ip: IpAddr| {
        let address = SocketAddr::new(ip, port);
        bind_one(address).map_err(|reason| BindError {
            listener: name.to_owned(),
            address,
            reason,
        })
    };
    match bind {
        Some(ip) => attempt(ip),
        // Both families on one socket; a machine without IPv6 has the other alone.
        None => attempt(Ipv6Addr::UNSPECIFIED.into()).or_else(|error| match error.reason.kind() {
            io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
            _ => attempt(Ipv4Addr::UNSPECIFIED.into()),
        }),
    }
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A restart must not wait for connections of the last run to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn accept(
    shared: Arc<Shared>,
    name: String,
    socket: Arc<TcpListener>,
    connections: Connections,
) {
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => admit(&shared, &name, &connections, stream, peer),
            Err(error) => {
                tracing::warn!(listener = name, %error, "accept failed");
                // Out of descriptors: the next attempt would fail at once again.
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Counts the connection and starts its session; one too many is told so.
fn admit(
    shared: &Arc<Shared>,
    name: &str,
    connections: &Connections,
    stream: TcpStream,
    peer: SocketAddr,
) {
    let Some(runtime) = shared.state.current() else {
        return;
    };
    // Between two snapshots the loop may be older than the configuration.
    let Some(listener) = runtime.listener(name).cloned() else {
        return;
    };
    let limit = listener.config.enforced.connection.limits.value.connections;
    let Some(open) = connections.open(limit) else {
        return session::turn_away(shared, &listener, &stream);
    };
    let seat = shared.sessions.enter();
    let accepted = Box::new(Accepted {
        stream,
        peer,
        runtime,
        listener,
        open,
        seat,
    });
    tokio::spawn(session::run(Arc::clone(shared), accepted));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_cannot_be_opened_comes_with_advice() {
        let advice =
            |kind: io::ErrorKind, address: &str| advice(&kind.into(), address.parse().unwrap());
        let low = advice(io::ErrorKind::PermissionDenied, "[::]:25");
        assert!(low.contains("choose one from 1024 on"), "{low}");
        assert_eq!(advice(io::ErrorKind::PermissionDenied, "[::]:2525"), "");
        let taken = advice(io::ErrorKind::AddrInUse, "[::]:2525");
        assert!(taken.contains("stop it, or choose another"), "{taken}");
    }
}
