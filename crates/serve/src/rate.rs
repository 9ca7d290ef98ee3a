//! How much one token, or one address, may ask for: a bucket each, filled at a steady rate.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Buckets that are kept; where there are more, full ones are forgotten, and if none is full,
/// whoever is new must wait.
pub const BUCKETS_MAX: usize = 10_000;

/// A rate, and how much may come at once.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rate {
    /// Requests a second, lastingly.
    pub per_second: f64,
    /// Requests at once.
    pub burst: f64,
}

/// A bucket for each of whoever asks.
pub(crate) struct Buckets<K> {
    rate: Rate,
    held: HashMap<K, (f64, Instant)>,
}

impl<K: Hash + Eq> Buckets<K> {
    pub(crate) fn new(rate: Rate) -> Buckets<K> {
        Buckets { rate, held: HashMap::new() }
    }

    /// Takes one from the bucket of `key`, or says how long to wait for it.
    pub(crate) fn take(&mut self, key: K, now: Instant) -> Result<(), Duration> {
        let rate = self.rate;
        let filled = |(level, at): (f64, Instant)| {
            let since = now.saturating_duration_since(at).as_secs_f64();
            (level + since * rate.per_second).min(rate.burst)
        };
        if self.held.len() >= BUCKETS_MAX && !self.held.contains_key(&key) {
            self.held.retain(|_, held| filled(*held) < rate.burst);
            if self.held.len() >= BUCKETS_MAX {
                return Err(Duration::from_secs(1));
            }
        }
        let held = self.held.entry(key).or_insert((rate.burst, now));
        let level = filled(*held);
        *held = (level, now);
        if level < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - level) / rate.per_second));
        }
        held.0 = level - 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut buckets = Buckets::new(Rate { per_second: 2.0, burst: 3.0 });
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        for _ in 0..3 {
            assert_eq!(buckets.take("a", at(0)), Ok(()));
        }
        assert_eq!(buckets.take("a", at(0)), Err(Duration::from_millis(500)));
        assert_eq!(buckets.take("b", at(0)), Ok(()), "another has a bucket of its own");
        assert_eq!(buckets.take("a", at(500)), Ok(()));
        assert!(buckets.take("a", at(600)).is_err());
        assert_eq!(buckets.take("a", at(100_000)), Ok(()));
    }

    #[test]
    fn buckets_are_bounded() {
        let mut buckets = Buckets::new(Rate { per_second: 1.0, burst: 2.0 });
        let start = Instant::now();
        for key in 0..BUCKETS_MAX {
            buckets.take(key, start).unwrap();
        }
        assert!(buckets.take(usize::MAX, start).is_err());
        let later = start + Duration::from_secs(10);
        assert_eq!(buckets.take(usize::MAX, later), Ok(()), "full ones are forgotten");
        assert_eq!(buckets.held.len(), 1);
    }
}
