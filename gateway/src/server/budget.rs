//! The pod's memory for messages: one budget, taken as octets come in, given back with the message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The budget; cheap to clone.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: u64,
    used: AtomicU64,
}

/// Octets taken from the budget; dropping it gives them back.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    octets: u64,
}

impl Budget {
    /// At most `limit` octets of messages at a time.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(Shared {
            limit,
            used: AtomicU64::new(0),
        }))
    }

    /// The limit, octets.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.0.limit
    }

    /// Octets taken now.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// An empty share.
    #[must_use]
    pub fn share(&self) -> Share {
        Share {
            budget: self.clone(),
            octets: 0,
        }
    }
}

impl Share {
    /// Takes more octets; false, and nothing taken, when the budget does not have them.
    #[must_use]
    pub fn take(&mut self, octets: u64) -> bool {
        let shared = &self.budget.0;
        let taken = shared
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(octets).filter(|sum| *sum <= shared.limit)
            });
        if taken.is_ok() {
            self.octets += octets;
        }
        taken.is_ok()
    }
}

impl Share {
    /// Gives all of it back.
    pub fn clear(&mut self) {
        self.budget.0.used.fetch_sub(self.octets, Ordering::Relaxed);
        self.octets = 0;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_comes_back() {
        let budget = Budget::new(100);
        let (mut one, mut other) = (budget.share(), budget.share());
        assert!(one.take(60));
        assert!(!other.take(41), "more than is left");
        assert!(other.take(40));
        assert_eq!(budget.used(), 100);
        drop(one);
        assert_eq!(budget.used(), 40);
        assert!(other.take(60));
    }
}
