//! A [`Zone`] behind real sockets: one port, UDP and TCP, as a resolver would answer.
//!
//! What a zone says goes out as DNS messages (RFC 1035 §4): answers with their CNAMEs, NXDOMAIN and
//! empty answers with a SOA, SERVFAIL, and silence for a timeout. What does not fit a UDP answer is
//! truncated.

use super::{Record, Zone, cname, failure};
use crate::name::Name;
use crate::resolve::{RecordType, Temporary, name_of, wire_name};
use hickory_resolver::proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::{self, RData, rdata};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

/// Names that are followed in one answer.
const MAX_CNAMES: usize = 8;
/// Without EDNS (RFC 1035 §4.2.1).
const MAX_UDP: u16 = 512;
/// Tries to find a port that is free for both protocols.
const PORT_TRIES: usize = 20;
/// A TCP client that says nothing is left.
const TCP_IDLE: Duration = Duration::from_secs(30);
/// TCP clients at a time.
const MAX_TCP: usize = 256;

/// Answers for a zone until it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Serves on this address; port 0 takes any that is free.
    ///
    /// # Errors
    /// The sockets cannot be bound.
    pub async fn bind(zone: Arc<Zone>, address: SocketAddr) -> io::Result<Self> {
        let (udp, tcp) = sockets(address).await?;
        let address = udp.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(Arc::clone(&zone), udp));
        tasks.spawn(serve_tcp(zone, tcp));
        Ok(Self {
            address,
            _tasks: tasks,
        })
    }

    /// Where it answers.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn sockets(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..PORT_TRIES {
        let udp = UdpSocket::bind(address).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) if address.port() == 0 => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

async fn serve_udp(zone: Arc<Zone>, socket: UdpSocket) {
    let mut buffer = vec![0; 65_535];
    loop {
        // An error here is an ICMP message about an earlier answer; the socket goes on.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let request = buffer.get(..length).unwrap_or_default();
        if let Some(response) = respond(&zone, request, true) {
            let _ = socket.send_to(&response, client).await;
        }
    }
}

async fn serve_tcp(zone: Arc<Zone>, listener: TcpListener) {
    let mut clients = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        while clients.try_join_next().is_some() {}
        if clients.len() < MAX_TCP {
            let zone = Arc::clone(&zone);
            clients.spawn(async move { serve_client(&zone, client).await.unwrap_or(()) });
        }
    }
}

/// RFC 1035 §4.2.2: each message has its length before it.
async fn serve_client(zone: &Zone, mut client: TcpStream) -> io::Result<()> {
    loop {
        let length = tokio::time::timeout(TCP_IDLE, client.read_u16()).await??;
        let mut request = vec![0; usize::from(length)];
        client.read_exact(&mut request).await?;
        if let Some(response) = respond(zone, &request, false) {
            let length = u16::try_from(response.len()).unwrap_or(u16::MAX);
            client
                .write_all(&[&length.to_be_bytes(), response.as_slice()].concat())
                .await?;
        }
    }
}

/// The answer to one message; none for what is no question, and for a timeout.
fn respond(zone: &Zone, request: &[u8], udp: bool) -> Option<Vec<u8>> {
    let request = Message::from_vec(request).ok()?;
    let query = request.queries.first()?;
    let mut response = Message::response(request.metadata.id, OpCode::Query);
    response.metadata.recursion_desired = request.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.add_query(query.clone());
    fill(zone, query, &mut response)?;
    let octets = response.to_vec().ok()?;
    let limit = request
        .edns
        .as_ref()
        .map_or(MAX_UDP, |edns| edns.max_payload());
    if udp && octets.len() > usize::from(limit) {
        response.answers.clear();
        response.metadata.truncation = true;
        return response.to_vec().ok();
    }
    Some(octets)
}

/// Follows CNAMEs until there are records, a failure or nothing; none is silence.
fn fill(zone: &Zone, query: &Query, response: &mut Message) -> Option<()> {
    zone.asked.fetch_add(1, Ordering::Relaxed);
    let wanted = record_type(query.query_type());
    let mut owner = name_of(query.name())?;
    for _ in 0..MAX_CNAMES {
        let Some(records) = zone.names.get(&owner) else {
            if !zone.has_below(&owner) {
                response.metadata.response_code = ResponseCode::NXDomain;
            }
            break;
        };
        match wanted.and_then(|wanted| records.iter().find_map(|r| failure(r, wanted))) {
            Some(Temporary::Timeout) => return None,
            Some(Temporary::ServFail | Temporary::Other | Temporary::Spent) => {
                response.metadata.response_code = ResponseCode::ServFail;
                return Some(());
            }
            None => {}
        }
        let answers = records.iter().filter_map(|record| data(record, wanted?));
        let answers: Vec<RData> = answers.collect();
        if !answers.is_empty() {
            let name = wire_name(&owner).ok()?;
            let record = |data| rr::Record::from_rdata(name.clone(), zone.ttl, data);
            response.add_answers(answers.into_iter().map(record));
            return Some(());
        }
        let Some(target) = records.iter().find_map(cname) else {
            break;
        };
        let alias = RData::CNAME(rdata::CNAME(wire_name(target).ok()?));
        response.add_answer(rr::Record::from_rdata(
            wire_name(&owner).ok()?,
            zone.ttl,
            alias,
        ));
        owner = target.clone();
    }
    // RFC 2308 §3: how long "nothing" holds.
    let root = rr::Name::root();
    let ttl = i32::try_from(zone.ttl).unwrap_or(i32::MAX);
    let soa = rdata::SOA::new(root.clone(), root.clone(), 1, ttl, ttl, ttl, zone.ttl);
    response.add_authority(rr::Record::from_rdata(root, zone.ttl, RData::SOA(soa)));
    Some(())
}

fn record_type(wire: rr::RecordType) -> Option<RecordType> {
    Some(match wire {
        rr::RecordType::A => RecordType::A,
        rr::RecordType::AAAA => RecordType::Aaaa,
        rr::RecordType::MX => RecordType::Mx,
        rr::RecordType::PTR => RecordType::Ptr,
        rr::RecordType::TXT => RecordType::Txt,
        _ => return None,
    })
}

fn data(record: &Record, wanted: RecordType) -> Option<RData> {
    Some(match (record, wanted) {
        (Record::A(address), RecordType::A) => RData::A((*address).into()),
        (Record::Aaaa(address), RecordType::Aaaa) => RData::AAAA((*address).into()),
        (Record::Mx(mx), RecordType::Mx) => {
            let exchange = mx.exchange.as_ref().map_or(Ok(rr::Name::root()), wire_name);
            RData::MX(rdata::MX::new(mx.preference, exchange.ok()?))
        }
        (Record::Ptr(name), RecordType::Ptr) => RData::PTR(rdata::PTR(wire_name(name).ok()?)),
        (Record::Txt(strings), RecordType::Txt) => {
            // A character-string has at most 255 octets, and there is one at least (RFC 1035 §3.3,
            // §3.3.14).
            let strings = match strings.as_slice() {
                [] => &[vec![]],
                strings => strings,
            };
            let pieces = strings.iter().flat_map(|string| match string.as_slice() {
                [] => vec![&[] as &[u8]],
                string => string.chunks(255).collect(),
            });
            RData::TXT(rdata::TXT::from_bytes(pieces.collect()))
        }
        _ => return None,
    })
}

impl Zone {
    /// Whether a name stands below this one, which then exists (RFC 8020).
    pub(super) fn has_below(&self, name: &Name) -> bool {
        let suffix = format!(".{name}");
        self.names
            .keys()
            .any(|known| known.as_str().ends_with(&suffix))
    }
}
