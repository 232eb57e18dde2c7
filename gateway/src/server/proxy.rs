//! The PROXY protocol, versions 1 and 2 (HAProxy, "The PROXY protocol", 2024-10-08), sans-IO.
//!
//! The octets that have come so far go in; out comes the [`Header`], or how many more octets
//! surely belong to it ([`Step::Need`]), so that a reader never takes an octet of what follows.
//! Anything that is not exactly a header is [`Malformed`]: the connection is closed without a
//! greeting (docs/flow.md, 1. connection).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Version 2's signature (section 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The shortest header: `PROXY UNKNOWN` and CRLF. A version 2 header has at least 16 octets.
const SHORTEST: usize = 15;
/// The longest version 1 header, CRLF included (section 2.1).
const LONGEST_V1: usize = 107;
/// Version 2: octets before the addresses.
const FIXED_V2: usize = 16;
/// Version 2: addresses and TLVs. The largest seen in the field carry a client certificate's name.
const LONGEST_V2_REST: usize = 4096;

/// Whom a header speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// LOCAL, UNKNOWN or an unspecified family: the socket's own addresses hold.
    Socket,
    /// A relayed TCP connection.
    Proxied {
        /// The client.
        source: SocketAddr,
        /// The address that it connected to.
        destination: SocketAddr,
    },
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many more octets belong to the header: read them, not more, and come again.
    Need(usize),
    /// The octets are exactly one header.
    Done(Header),
}

/// The octets are no PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Neither version's beginning.
    #[error("no PROXY header")]
    NotProxy,
    /// Version 1 without CRLF in its first 107 octets.
    #[error("PROXY v1 line too long")]
    LongLine,
    /// Version 1 with other fields than the protocol has.
    #[error("PROXY v1 line malformed")]
    Line,
    /// Version 2 with another version or command.
    #[error("PROXY v2 version or command unknown")]
    Command,
    /// Version 2 with a family or transport that no mail comes by.
    #[error("PROXY v2 address family not TCP over IPv4 or IPv6")]
    Family,
    /// Version 2 whose length does not fit its addresses, or is beyond the bound.
    #[error("PROXY v2 length wrong")]
    Length,
}

/// Looks at the octets from the connection's beginning.
///
/// # Errors
/// [`Malformed`], as soon as it is certain.
pub fn parse(octets: &[u8]) -> Result<Step, Malformed> {
    let (v1, v2) = (is_prefix(octets, b"PROXY "), is_prefix(octets, SIGNATURE));
    match SHORTEST.checked_sub(octets.len()) {
        Some(more @ 1..) if v1 || v2 => Ok(Step::Need(more)),
        _ if v2 => version_2(octets),
        _ if v1 => version_1(octets),
        _ => Err(Malformed::NotProxy),
    }
}

/// Whether the octets begin with `start`, or `start` with them.
fn is_prefix(octets: &[u8], start: &[u8]) -> bool {
    octets
        .iter()
        .zip(start)
        .all(|(octet, expected)| octet == expected)
}

fn version_1(octets: &[u8]) -> Result<Step, Malformed> {
    let Some(newline) = octets.iter().position(|octet| *octet == b'\n') else {
        if octets.len() >= LONGEST_V1 {
            return Err(Malformed::LongLine);
        }
        // At least CRLF is missing, or its second half.
        return Ok(Step::Need(if octets.ends_with(b"\r") { 1 } else { 2 }));
    };
    let line = octets
        .get(..newline)
        .and_then(|line| line.strip_suffix(b"\r"));
    if newline + 1 != octets.len() || newline >= LONGEST_V1 {
        return Err(Malformed::Line);
    }
    let line = line
        .and_then(|line| std::str::from_utf8(line).ok())
        .ok_or(Malformed::Line)?;
    line_1(line).ok_or(Malformed::Line)
}

/// Section 2.1; single spaces, no more and no fewer.
fn line_1(line: &str) -> Option<Step> {
    let mut fields = line.split(' ').skip(1);
    let family = fields.next()?;
    if family == "UNKNOWN" {
        // "the receiver must ignore anything presented before the CRLF"
        return Some(Step::Done(Header::Socket));
    }
    let addresses = [fields.next()?, fields.next()?];
    let ports = [port(fields.next()?)?, port(fields.next()?)?];
    if fields.next().is_some() {
        return None;
    }
    let parse = |text: &str| match family {
        "TCP4" => Ipv4Addr::from_str(text).ok().map(IpAddr::from),
        "TCP6" => Ipv6Addr::from_str(text).ok().map(IpAddr::from),
        _ => None,
    };
    let [source, destination] = addresses;
    Some(Step::Done(Header::Proxied {
        source: SocketAddr::new(parse(source)?, ports[0]),
        destination: SocketAddr::new(parse(destination)?, ports[1]),
    }))
}

/// Decimal, no sign, no leading zero.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|octet| octet.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if plain && !leading_zero {
        text.parse().ok()
    } else {
        None
    }
}

fn version_2(octets: &[u8]) -> Result<Step, Malformed> {
    let Some(&[version_command, family, high, low]) = octets.get(12..FIXED_V2) else {
        return Ok(Step::Need(FIXED_V2 - octets.len()));
    };
    let local = match version_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed::Command),
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST_V2_REST {
        return Err(Malformed::Length);
    }
    let rest = octets.get(FIXED_V2..).unwrap_or_default();
    if rest.len() < length {
        return Ok(Step::Need(length - rest.len()));
    }
    if rest.len() > length {
        return Err(Malformed::Length);
    }
    // TLVs behind the addresses are skipped.
    match (local, family) {
        // LOCAL: "the receiver must ignore the protocol block"; UNSPEC: so too.
        (true, _) | (false, 0x00) => Ok(Step::Done(Header::Socket)),
        (false, 0x11) => addresses::<4>(rest).ok_or(Malformed::Length),
        (false, 0x21) => addresses::<16>(rest).ok_or(Malformed::Length),
        (false, _) => Err(Malformed::Family),
    }
}

/// Two addresses of `N` octets and two ports (section 2.2).
fn addresses<const N: usize>(rest: &[u8]) -> Option<Step>
where
    IpAddr: From<[u8; N]>,
{
    let address = |at: usize| {
        let octets: [u8; N] = rest.get(at..at + N)?.try_into().ok()?;
        Some(IpAddr::from(octets))
    };
    let port = |at: usize| {
        let octets: [u8; 2] = rest.get(at..at + 2)?.try_into().ok()?;
        Some(u16::from_be_bytes(octets))
    };
    Some(Step::Done(Header::Proxied {
        source: SocketAddr::new(address(0)?, port(2 * N)?),
        destination: SocketAddr::new(address(N)?, port(2 * N + 2)?),
    }))
}

// Named, because the fuzz target takes this file from elsewhere.
#[cfg(test)]
#[path = "proxy/tests.rs"]
mod tests;
