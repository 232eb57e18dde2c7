//! Open connections of a listener, in all and by client network.
//!
//! A client network is an IPv4 /32 or an IPv6 /64 (`crate::network`). Counting happens at connect
//! and at close only, so one lock for each listener is enough.

use crate::network::network;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The connections of one listener; cheap to clone. It survives a change of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Connections(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: u32,
    networks: HashMap<IpAddr, u32>,
}

/// One open connection; dropping it ends the counting.
#[derive(Debug)]
pub struct Open {
    connections: Connections,
    network: Option<IpAddr>,
}

impl Connections {
    /// Counts a connection; none when there are `limit` already.
    #[must_use]
    pub fn open(&self, limit: u32) -> Option<Open> {
        let mut counts = self.counts();
        if counts.all >= limit {
            return None;
        }
        counts.all += 1;
        drop(counts);
        Some(Open {
            connections: self.clone(),
            network: None,
        })
    }

    /// Connections that are open now.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.counts().all
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Counts the connection for its client's network; false when that has `limit` already.
    #[must_use]
    pub fn from_client(&mut self, client: IpAddr, limit: u32) -> bool {
        let network = network(client);
        let mut counts = self.connections.counts();
        let count = counts.networks.entry(network).or_insert(0);
        if *count >= limit {
            return false;
        }
        *count += 1;
        drop(counts);
        self.network = Some(network);
        true
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut counts = self.connections.counts();
        counts.all = counts.all.saturating_sub(1);
        if let Some(network) = self.network
            && let Some(count) = counts.networks.get_mut(&network)
        {
            *count -= 1;
            if *count == 0 {
                counts.networks.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn counts_rise_and_fall() {
        let connections = Connections::default();
        let mut one = connections.open(2).unwrap();
        let mut two = connections.open(2).unwrap();
        assert!(connections.open(2).is_none());
        assert!(one.from_client(ip("2001:db8::1"), 1));
        assert!(!two.from_client(ip("2001:db8::2"), 1), "the same /64");
        assert!(two.from_client(ip("2001:db8:0:1::1"), 1));
        drop(one);
        assert_eq!(connections.count(), 1);
        assert!(
            connections
                .open(2)
                .unwrap()
                .from_client(ip("2001:db8::2"), 1)
        );
        drop(two);
        assert_eq!(connections.count(), 0);
        assert!(connections.counts().networks.is_empty());
    }
}
