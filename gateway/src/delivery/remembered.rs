//! A bounded memory in which entries expire: the oldest goes first when it is full.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use tokio::time::Instant;

/// See the module. Keys are kept twice, so they should be cheap to clone.
#[derive(Debug)]
pub(super) struct Remembered<K, V> {
    entries: HashMap<K, (V, Instant)>,
    /// Each key of `entries` once, and some that were forgotten; oldest first.
    order: VecDeque<K>,
    capacity: usize,
}

impl<K: Clone + Eq + Hash, V> Remembered<K, V> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
            capacity: capacity.max(1),
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
            .filter(|(_, until)| now < *until)
            .map(|(value, _)| value)
    }

    /// Shortens the life of an entry.
    pub(super) fn expire_by<Q>(&mut self, key: &Q, by: Instant)
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if let Some((_, until)) = self.entries.get_mut(key) {
            *until = by.min(*until);
        }
    }

    pub(super) fn insert(&mut self, key: K, value: V, now: Instant, until: Instant) {
        self.make_room(now);
        if self.entries.insert(key.clone(), (value, until)).is_none() {
            self.order.push_back(key);
        }
    }

    pub(super) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        // The key stays in `order` until it is the oldest; `make_room` bounds how many do.
        self.entries.remove(key).map(|(value, _)| value)
    }

    /// Forgets what is expired at the old end, and the oldest while there is no room.
    fn make_room(&mut self, now: Instant) {
        while let Some(oldest) = self.order.front() {
            let goes = match self.entries.get(oldest) {
                None => true,
                Some((_, until)) => *until <= now || self.order.len() >= self.capacity,
            };
            if !goes {
                return;
            }
            if let Some(oldest) = self.order.pop_front() {
                self.entries.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn entries_expire_and_the_oldest_goes_first() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut memory = Remembered::new(2);
        memory.insert("a", 1, start, start + second);
        memory.insert("b", 2, start, start + 9 * second);
        assert_eq!(memory.get("a", start), Some(&1));
        assert_eq!(memory.get("a", start + second), None);
        memory.insert("c", 3, start, start + second);
        assert_eq!(
            (memory.get("a", start), memory.get("b", start)),
            (None, Some(&2))
        );
        memory.expire_by("b", start + second);
        assert_eq!(memory.get("b", start + second), None);
        assert_eq!(memory.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_comes_and_goes_takes_no_more_room() {
        let now = Instant::now();
        let mut memory = Remembered::new(10);
        for _ in 0..1000 {
            memory.insert("a", (), now, now + Duration::from_secs(1));
            memory.remove("a");
        }
        assert!(memory.order.len() <= 10, "{}", memory.order.len());
    }
}
