//! A bounded memory in which entries expire. When it is full, the one that would expire first makes
//! room: so a flood of what is kept for seconds does not push out what is kept for minutes.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use tokio::time::Instant;

/// When an entry expires, and a number that no other entry has.
type Expiry = (Instant, u64);

/// See the module. Each key is kept twice, so it should be cheap to clone.
#[derive(Debug)]
pub(super) struct Remembered<K, V> {
    entries: HashMap<K, (V, Expiry)>,
    /// Each key of `entries` once and no other, what expires first in front.
    order: BTreeMap<Expiry, K>,
    capacity: usize,
    inserted: u64,
}

impl<K: Clone + Eq + Hash, V> Remembered<K, V> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            entries: HashMap::new(),
            order: BTreeMap::new(),
            capacity: capacity.max(1),
            inserted: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get<Q>(&self, key: &Q, now: Instant) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.entries
            .get(key)
            .filter(|(_, (until, _))| now < *until)
            .map(|(value, _)| value)
    }

    /// Shortens the life of an entry.
    pub(super) fn expire_by<Q>(&mut self, key: &Q, by: Instant)
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if let Some((_, expiry)) = self.entries.get_mut(key)
            && by < expiry.0
            && let Some(key) = self.order.remove(expiry)
        {
            expiry.0 = by;
            self.order.insert(*expiry, key);
        }
    }

    /// Takes an entry in place of what was known by its key.
    pub(super) fn insert(&mut self, key: K, value: V, now: Instant, until: Instant) {
        self.remove(&key);
        self.make_room(now);
        self.inserted += 1;
        let expiry = (until, self.inserted);
        self.order.insert(expiry, key.clone());
        self.entries.insert(key, (value, expiry));
    }

    pub(super) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let (value, expiry) = self.entries.remove(key)?;
        self.order.remove(&expiry);
        Some(value)
    }

    /// Forgets all that is expired, and while there is no room what would expire first.
    fn make_room(&mut self, now: Instant) {
        while let Some(first) = self.order.first_entry() {
            if now < first.key().0 && self.entries.len() < self.capacity {
                return;
            }
            self.entries.remove(&first.remove());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn entries_expire_and_are_forgotten() {
        let start = Instant::now();
        let mut memory = Remembered::new(10);
        memory.insert("a", 1, start, start + 9 * SECOND);
        memory.insert("b", 2, start, start + SECOND);
        assert_eq!(memory.get("b", start), Some(&2));
        assert_eq!(memory.get("b", start + SECOND), None);
        memory.expire_by("a", start + 2 * SECOND);
        memory.expire_by("a", start + 5 * SECOND);
        assert_eq!(memory.get("a", start + 2 * SECOND), None, "only shortened");
        memory.insert("c", 3, start + 2 * SECOND, start + 3 * SECOND);
        assert_eq!((memory.len(), memory.order.len()), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_expires_first_makes_room() {
        let start = Instant::now();
        let mut memory = Remembered::new(2);
        memory.insert("minutes", (), start, start + 300 * SECOND);
        // A dictionary attack: each answer is kept for 30 s.
        for guess in ["x1", "x2", "x3", "x4"] {
            memory.insert(guess, (), start, start + 30 * SECOND);
        }
        assert_eq!(memory.len(), 2);
        assert!(memory.get("minutes", start).is_some());
        assert!(
            memory.get("x4", start).is_some(),
            "the newest of equals stays"
        );
        // Among entries with one life the oldest goes; renewed, it is the newest.
        let mut memory = Remembered::new(2);
        memory.insert("a", 1, start, start + 9 * SECOND);
        memory.insert("b", 2, start + SECOND, start + 10 * SECOND);
        memory.insert("a", 3, start + 2 * SECOND, start + 11 * SECOND);
        memory.insert("c", 4, start + 3 * SECOND, start + 12 * SECOND);
        assert_eq!(memory.get("a", start + 3 * SECOND), Some(&3));
        assert_eq!(memory.get("b", start + 3 * SECOND), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_comes_and_goes_takes_no_more_room() {
        let now = Instant::now();
        let mut memory = Remembered::new(10);
        for _ in 0..1000 {
            memory.insert("a", (), now, now + SECOND);
            memory.remove("a");
        }
        assert_eq!((memory.len(), memory.order.len()), (0, 0));
    }
}
