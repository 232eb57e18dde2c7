//! The PROXY header that we send to a backend: who the client is
//! (haproxy.org, proxy-protocol.txt, sections 2.1 and 2.2).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The first twelve octets of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const VERSION_AND_PROXY: u8 = 0x21;
/// `AF_INET`, `SOCK_STREAM`; twelve octets of addresses follow.
const TCP4: [u8; 3] = [0x11, 0, 12];
/// `AF_INET6`, `SOCK_STREAM`; 36 octets of addresses follow.
const TCP6: [u8; 3] = [0x21, 0, 36];

/// Version 1, one line. `destination` is the address that the client connected to.
#[must_use]
pub fn proxy_v1(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let (from, to) = alike(source.ip(), destination.ip());
    let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from_port, to_port) = (source.port(), destination.port());
    format!("PROXY {family} {from} {to} {from_port} {to_port}\r\n").into_bytes()
}

/// Version 2, binary, without TLVs.
#[must_use]
pub fn proxy_v2(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut header = Vec::with_capacity(52);
    header.extend_from_slice(SIGNATURE);
    header.push(VERSION_AND_PROXY);
    match alike(source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            header.extend_from_slice(&TCP4);
            header.extend_from_slice(&from.octets());
            header.extend_from_slice(&to.octets());
        }
        (from, to) => {
            header.extend_from_slice(&TCP6);
            header.extend_from_slice(&as_v6(from).octets());
            header.extend_from_slice(&as_v6(to).octets());
        }
    }
    header.extend_from_slice(&source.port().to_be_bytes());
    header.extend_from_slice(&destination.port().to_be_bytes());
    header
}

/// Both addresses of one family: mapped IPv4 becomes IPv4, and IPv4 beside IPv6 is mapped.
fn alike(from: IpAddr, to: IpAddr) -> (IpAddr, IpAddr) {
    match (from.to_canonical(), to.to_canonical()) {
        (IpAddr::V4(from), IpAddr::V6(to)) => (from.to_ipv6_mapped().into(), to.into()),
        (IpAddr::V6(from), IpAddr::V4(to)) => (from.into(), to.to_ipv6_mapped().into()),
        pair => pair,
    }
}

fn as_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}
