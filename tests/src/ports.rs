//! Free ports that stay free until the program that is given one has bound it.
//!
//! In: nothing. Out: a port number that no other test process on this machine
//! holds and that nothing is bound to, on IPv4 and IPv6, TCP and UDP.
//!
//! Ports come from a range below the kernel's ephemeral ports, so that no outgoing
//! connection takes one in between, and each is claimed by a locked file, so that
//! two test processes never choose the same. The lock ends with the process.

use std::fs::{self, File};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Mutex;

/// Below 32768, where Linux begins to give ports to outgoing connections.
const RANGE: Range<u16> = 20_000..30_000;

/// The locks of all ports given out by this process, and where to look next.
static CLAIMS: Mutex<Claims> = Mutex::new(Claims {
    next: 0,
    held: Vec::new(),
});

struct Claims {
    next: u16,
    held: Vec<File>,
}

/// A port that is this process's until it ends.
///
/// # Panics
/// When none of the 10,000 ports of the range is free.
#[must_use]
pub fn free_port() -> u16 {
    let folder = claims_folder();
    let mut claims = CLAIMS.lock().unwrap();
    let size = RANGE.end - RANGE.start;
    if claims.held.is_empty() {
        // Processes that start together should not walk over the same ports.
        claims.next = u16::try_from(std::process::id() % u32::from(size)).unwrap() / 50 * 50;
    }
    for _ in 0..size {
        let port = RANGE.start + claims.next;
        claims.next = (claims.next + 1) % size;
        let Some(claim) = claim(&folder, port) else {
            continue;
        };
        if nothing_bound(port) {
            claims.held.push(claim);
            return port;
        }
    }
    panic!("no free port between {} and {}", RANGE.start, RANGE.end);
}

/// One folder per user: another's files could not be opened.
fn claims_folder() -> PathBuf {
    let uid = fs::metadata("/proc/self").unwrap().uid();
    let folder = std::env::temp_dir().join(format!("postern-ports-{uid}"));
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn claim(folder: &std::path::Path, port: u16) -> Option<File> {
    let file = File::create(folder.join(port.to_string())).ok()?;
    file.try_lock().ok()?;
    Some(file)
}

fn nothing_bound(port: u16) -> bool {
    let v4 = (Ipv4Addr::UNSPECIFIED, port);
    // IPv6 may be switched off, so only IPv4 must be there to bind.
    let v6_taken = TcpListener::bind((Ipv6Addr::LOCALHOST, port))
        .is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse);
    !v6_taken && TcpListener::bind(v4).is_ok() && UdpSocket::bind(v4).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_port_is_given_once_and_can_be_bound() {
        let ports: BTreeSet<u16> = (0..50).map(|_| free_port()).collect();
        assert_eq!(ports.len(), 50);
        for port in ports {
            assert!(RANGE.contains(&port));
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
    }

    #[test]
    fn a_port_that_is_bound_on_any_loopback_address_is_not_free() {
        let port = free_port();
        let _bound = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 3), port)).unwrap();
        assert!(!nothing_bound(port));
    }
}
