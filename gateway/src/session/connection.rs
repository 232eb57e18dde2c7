//! Stage connection: the PROXY header, limits, `access.clients`, TLS from the first octet, and the
//! greeting.

use super::clock::Clock;
use super::log::{SessionLog, count};
use super::{Connection, End};
use crate::checks::connection::clients;
use crate::checks::{Verdict, verdict};
use crate::reply::{self, Stop};
use crate::server::Shared;
use crate::server::limits::Open;
use crate::server::proxy::{self, Header, Step};
use crate::server::sessions::{Phase, Seat};
use crate::server::stream::Stream;
use crate::snapshot::{ListenerRuntime, Runtime};
use crate::telemetry::metrics::{ListenerLabel, RefusalLabels};
use futures::FutureExt;
use postern_config::listener::TlsMode;
use postern_smtp::reply::Refusal;
use postern_smtp::server::{Session, Settings, StartTls};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A PROXY header comes with the connection or not at all.
const PROXY: Duration = Duration::from_secs(10);
/// The client gets so long to take a last word.
const LAST_WORD: Duration = Duration::from_secs(5);

/// A client that was denied may stay so long, to say QUIT (RFC 5321 §3.1).
const DENIED: Duration = Duration::from_secs(10);

/// A connection as it was accepted.
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) listener: Arc<ListenerRuntime>,
    pub(crate) open: Open,
    pub(crate) seat: Seat,
}

/// Serves one connection to its end. What is large or rare is boxed: this is the task that idle
/// sessions consist of.
pub(crate) async fn run(shared: Arc<Shared>, accepted: Box<Accepted>) {
    let start = SystemTime::now();
    let Some(mut connection) = Box::pin(arrive(&shared, accepted, start)).await else {
        return;
    };
    let listener = connection.log.facts.listener.clone();
    let gauge = shared
        .metrics
        .sessions_open
        .get_or_create_owned(&ListenerLabel { listener });
    gauge.inc();
    let end = AssertUnwindSafe(connection.begin()).catch_unwind().await;
    let end = match end {
        Ok(end) => end.as_str(),
        Err(_) => {
            shared.metrics.panics.inc();
            Box::pin(connection.last_word("421 4.3.0 Internal fault, try again later\r\n")).await;
            "panicked"
        }
    };
    gauge.dec();
    // A record may be what panicked; the process goes on all the same.
    let closing = AssertUnwindSafe(|| connection.close(end, &shared));
    if std::panic::catch_unwind(closing).is_err() {
        shared.metrics.panics.inc();
    }
}

/// The connection with its two ends known; none when its PROXY header was refused.
async fn arrive(
    shared: &Arc<Shared>,
    mut accepted: Box<Accepted>,
    start: SystemTime,
) -> Option<Box<Connection>> {
    // 44 ms stalls by Nagle's algorithm cost more than small packets do.
    let _ = accepted.stream.set_nodelay(true);
    match ends(&mut accepted).await {
        Ok(ends) => Some(Box::new(Connection::new(shared, *accepted, ends, start))),
        Err(problem) => {
            let peer = accepted.peer.ip();
            refused(shared, &accepted.listener, "proxy", peer, || problem);
            None
        }
    }
}

/// The two ends of the connection, as the client sees them.
struct Ends {
    client: SocketAddr,
    local: SocketAddr,
}

/// Who is there: the socket's addresses, or those of the PROXY header that a trusted peer must
/// send. From others it is never believed (docs/flow.md, 1. connection).
async fn ends(accepted: &mut Accepted) -> Result<Ends, String> {
    let local = accepted
        .stream
        .local_addr()
        .map_err(|error| error.to_string())?;
    let socket = Ends {
        client: accepted.peer,
        local,
    };
    let peer = accepted.peer.ip().to_canonical();
    if !accepted
        .listener
        .config
        .proxy_trusted
        .iter()
        .any(|network| network.contains(&peer))
    {
        return Ok(socket);
    }
    let header = timeout(PROXY, read_header(&mut accepted.stream)).await;
    match header.unwrap_or_else(|_| Err("none in 10 s".to_owned()))? {
        Header::Socket => Ok(socket),
        Header::Proxied {
            source,
            destination,
        } => Ok(Ends {
            client: source,
            local: destination,
        }),
    }
}

async fn read_header(stream: &mut TcpStream) -> Result<Header, String> {
    let mut octets = Vec::with_capacity(64);
    loop {
        match proxy::parse(&octets).map_err(|error| error.to_string())? {
            Step::Done(header) => return Ok(header),
            Step::Need(more) => {
                let mut limited = (&mut *stream).take(more as u64);
                match limited.read_buf(&mut octets).await {
                    Ok(0) => return Err("the connection ended in it".to_owned()),
                    Ok(_) => {}
                    Err(error) => return Err(error.to_string()),
                }
            }
        }
    }
}

/// Counts a refusal; a line of the log tells of some.
fn refused(
    shared: &Shared,
    listener: &ListenerRuntime,
    reason: &'static str,
    client: IpAddr,
    detail: impl FnOnce() -> String,
) {
    let listener = listener.config.name.clone();
    shared.refusals.tell(&listener, reason, client, detail);
    shared
        .metrics
        .refused
        .get_or_create(&RefusalLabels { listener, reason })
        .inc();
}

impl Connection {
    /// Makes the session ready.
    fn new(shared: &Arc<Shared>, accepted: Accepted, ends: Ends, start: SystemTime) -> Self {
        let Accepted {
            stream,
            runtime,
            listener,
            open,
            seat,
            ..
        } = accepted;
        let config = &listener.config;
        let smtp = Session::new(settings(&runtime, &listener));
        Self {
            stream: Stream::Plain(stream),
            smtp,
            unread: Vec::new(),
            client: ends.client,
            leg: shared.environment.deliveries.leg(ends.client, ends.local),
            seat,
            phase: Phase::Serving,
            clock: Clock::new(&config.enforced.connection.timeouts.value),
            helo: None,
            iprev: None,
            group: Vec::new(),
            later: VecDeque::new(),
            transaction: None,
            log: SessionLog::new(&config.name, config.port, ends.client, start),
            shared: Arc::clone(shared),
            listener,
            runtime,
            open,
        }
    }

    /// From the first octet to the last.
    async fn begin(&mut self) -> End {
        let implicit = self
            .listener
            .config
            .tls
            .as_ref()
            .is_some_and(|t| t.mode == TlsMode::Implicit);
        // First of all: a handshake costs more than the whole connection may.
        let limits = &self.listener.config.enforced.connection.limits.value;
        let limit = limits.connections_per_network;
        if !self.open.from_client(self.client.ip(), limit) {
            return self.turn_back(limit, implicit);
        }
        if implicit && let Err(end) = Box::pin(self.handshake()).await {
            return end;
        }
        match self.admit() {
            Ok(()) => self.smtp.greet(),
            Err(refusal) => {
                self.log.end(End::Refused);
                self.clock.ends_within(DENIED);
                self.smtp.refuse_connection(refusal);
            }
        }
        self.serve().await
    }

    /// One too many of its network is told so and gone at once: while it lingered it would hold a
    /// place among all connections, and one network could fill them.
    fn turn_back(&self, limit: u32, implicit: bool) -> End {
        let client = self.client.ip();
        let open = || format!("more than {limit} connections");
        refused(&self.shared, &self.listener, "network", client, open);
        if let (false, Stream::Plain(stream)) = (implicit, &self.stream) {
            say(stream, &Stop::TooManyFromNetwork);
        }
        End::Refused
    }

    /// Access, before the greeting.
    fn admit(&mut self) -> Result<(), Refusal> {
        let client = self.client_ip();
        let (enforced, shadow) = self.listener.policies();
        let judged = verdict::access(
            |access| clients::check(client, access),
            &enforced.connection.clients,
            shadow.map(|shadow| &shadow.connection.clients),
        );
        count(&self.shared.metrics, &judged);
        if judged.finding.concern.is_some() || !judged.shadows.is_empty() {
            self.log.check(&judged);
        }
        if let Verdict::Reject(reason) = &judged.verdict {
            return Err(reply::rejected(reason));
        }
        Ok(())
    }

    /// One line past the protocol, because that is what failed.
    async fn last_word(&mut self, line: &str) {
        let word = AssertUnwindSafe(async {
            let _ = self.stream.send(line.as_bytes()).await;
            let _ = self.stream.shutdown().await;
        });
        let _ = timeout(LAST_WORD, word.catch_unwind()).await;
    }

    /// The connection is over: what is open is given up, and the records go out.
    fn close(mut self: Box<Self>, end: &'static str, shared: &Shared) {
        if let Some(transaction) = self.transaction.take() {
            transaction.finish(shared, &self.log.facts);
        }
        self.log.finish(end, shared);
    }
}

/// What the listener offers.
fn settings(runtime: &Runtime, listener: &ListenerRuntime) -> Settings {
    let config = &listener.config;
    let limits = &config.enforced.connection.limits.value;
    let starttls = match config.tls.as_ref().map(|tls| tls.mode) {
        None | Some(TlsMode::Implicit) => StartTls::Unavailable,
        Some(TlsMode::Opportunistic) => StartTls::Offered,
        Some(TlsMode::Required) => StartTls::Required,
    };
    Settings {
        hostname: runtime.config.hostname.clone(),
        starttls,
        size: config.enforced.mail.limits.value.message_size,
        commands: limits.commands,
        errors: limits.errors,
        rcptmax: config.one_recipient.then_some(1),
    }
}

/// Says that there is no room, without waiting for anything, and lets the connection go.
pub(crate) fn turn_away(shared: &Shared, listener: &ListenerRuntime, stream: &TcpStream) {
    let client = stream
        .peer_addr()
        .map_or(IpAddr::from([0; 4]), |peer| peer.ip());
    let limit = listener.config.enforced.connection.limits.value.connections;
    let open = || format!("more than {limit} connections");
    refused(shared, listener, "connections", client, open);
    let implicit = listener
        .config
        .tls
        .as_ref()
        .is_some_and(|tls| tls.mode == TlsMode::Implicit);
    if !implicit {
        say(stream, &Stop::TooManyConnections);
    }
}

/// One line to a client that is let go, without waiting: a fresh socket has room for it.
fn say(stream: &TcpStream, stop: &Stop) {
    let line = format!("{}\r\n", reply::stop(stop));
    let _ = stream.try_write(line.as_bytes());
}
