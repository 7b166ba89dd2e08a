//! A bounded cache that several reading threads can share.
//!
//! Set-associative, like a processor's: the key picks one of many small sets, each behind its own
//! lock and ordered by use. Threads rarely meet at a lock, nothing is ever searched that is longer
//! than [`WAYS`], and memory is bounded by the number of sets.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Entries per set. Small enough to search in a line, large enough for least-recently-used to
/// mean something.
const WAYS: usize = 8;

type Set<T> = Mutex<Vec<(u64, Arc<[T]>)>>;

/// Arrays of `T` by a 64-bit key.
pub(crate) struct Cache<T> {
    sets: Box<[Set<T>]>,
}

impl<T> Cache<T> {
    /// A cache of about `entries` arrays, rounded to whole sets and at least one.
    pub(crate) fn new(entries: usize) -> Self {
        let sets = entries.div_ceil(WAYS).max(1);
        Self {
            sets: (0..sets).map(|_| Mutex::new(Vec::new())).collect(),
        }
    }

    fn set(&self, key: u64) -> MutexGuard<'_, Vec<(u64, Arc<[T]>)>> {
        // Keys are multiples of a power of two; the golden ratio spreads them over the sets.
        let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let count = self.sets.len() as u64;
        let index = (hash % count) as usize;
        // A set is valid between any two statements, so a panic elsewhere does not spoil it.
        self.sets[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The array of `key`, loaded by `load` if it is not cached.
    ///
    /// No lock is held while loading, so two threads may load the same array at the same time.
    pub(crate) fn get_or_load<E>(
        &self,
        key: u64,
        load: impl FnOnce() -> Result<Arc<[T]>, E>,
    ) -> Result<Arc<[T]>, E> {
        if let Some(found) = self.get(key) {
            return Ok(found);
        }
        let loaded = load()?;
        let mut set = self.set(key);
        if !set.iter().any(|(other, _)| *other == key) {
            if set.len() >= WAYS {
                set.remove(0);
            }
            set.push((key, Arc::clone(&loaded)));
        }
        Ok(loaded)
    }

    /// The array of `key`, if it is cached.
    pub(crate) fn get(&self, key: u64) -> Option<Arc<[T]>> {
        let mut set = self.set(key);
        let at = set.iter().position(|(other, _)| *other == key)?;
        let entry = set.remove(at);
        let found = Arc::clone(&entry.1);
        set.push(entry);
        Some(found)
    }
}

impl<T> fmt::Debug for Cache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("sets", &self.sets.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(cache: &Cache<u64>, key: u64) -> bool {
        let mut loaded = false;
        let value = cache
            .get_or_load(key, || -> Result<_, ()> {
                loaded = true;
                Ok(Arc::from([key]))
            })
            .unwrap();
        assert_eq!(*value, [key]);
        loaded
    }

    #[test]
    fn the_least_recently_used_entry_of_a_set_goes_first() {
        let cache = Cache::new(WAYS);
        for key in 0..8 {
            assert!(load(&cache, key));
        }
        assert!(!load(&cache, 0));
        assert!(load(&cache, 8), "a ninth entry is new");
        assert!(!load(&cache, 0), "used just before, so kept");
        assert!(load(&cache, 1), "the oldest, so dropped");
    }

    #[test]
    fn memory_is_bounded() {
        let cache = Cache::new(64);
        for key in 0..10_000 {
            load(&cache, key * 65_536);
        }
        let held: usize = cache.sets.iter().map(|set| set.lock().unwrap().len()).sum();
        assert!(held <= 64, "{held}");
        assert!(held >= 32, "keys spread over the sets, {held}");
    }
}
