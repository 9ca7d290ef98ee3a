//! What was worked out lately, so that it is not worked out again.

use crate::fetch;

/// The last that was worked out at each of some places, by key: a direct-mapped cache. It changes no answer, only how fast one is.
/// Places are taken when the first is kept.
#[derive(Clone, Debug)]
pub(crate) struct Memory<T, const PLACES: usize>(Vec<(u64, T)>);

impl<T, const PLACES: usize> Default for Memory<T, PLACES> {
    fn default() -> Memory<T, PLACES> {
        Memory(Vec::new())
    }
}

impl<T: Copy, const PLACES: usize> Memory<T, PLACES> {
    /// Has what is kept under a key, if anything is, fetched while other work goes on.
    #[inline]
    pub(crate) fn fetch(&self, key: u64) {
        fetch::ahead(&self.0, place::<PLACES>(key));
    }

    /// What was kept under a key, which is a hash of all that it depends on.
    #[inline]
    pub(crate) fn find(&self, key: u64) -> Option<T> {
        let (kept, value) = self.0.get(place::<PLACES>(key))?;
        (*kept == key | 1).then_some(*value)
    }

    /// Keeps a value, and forgets what stood in its place.
    #[inline]
    pub(crate) fn keep(&mut self, key: u64, value: T) {
        if self.0.is_empty() {
            // No key is even, so nothing is found in these.
            self.0.resize(PLACES, (0, value));
        }
        self.0[place::<PLACES>(key)] = (key | 1, value);
    }

    /// What is kept under a key, or else made.
    #[inline]
    pub(crate) fn get(&mut self, key: u64, make: impl FnOnce() -> T) -> T {
        self.find(key).unwrap_or_else(|| {
            let value = make();
            self.keep(key, value);
            value
        })
    }
}

/// By the upper bits, which hashes mix best.
fn place<const PLACES: usize>(key: u64) -> usize {
    const { assert!(PLACES.is_power_of_two()) };
    (key >> 32) as usize % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_at_a_place_is_kept() {
        let mut memory = Memory::<u8, 4>::default();
        let key = |place: u64, low: u64| place << 32 | low << 1;
        assert_eq!(memory.find(0), None);
        assert_eq!(memory.get(key(1, 7), || 1), 1);
        assert_eq!(memory.get(key(1, 7), || panic!("it is known")), 1);
        assert_eq!((memory.find(0), memory.find(key(2, 7))), (None, None), "never kept");
        assert_eq!(memory.get(key(5, 8), || 2), 2, "the same place");
        assert_eq!((memory.find(key(1, 7)), memory.find(key(5, 8))), (None, Some(2)));
    }
}
