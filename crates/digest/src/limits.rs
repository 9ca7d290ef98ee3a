//! The limits of this machine, one core: what no stage of the archive can exceed.
//!
//! A figure means something only beside the limit measured in the same run, for machines differ and
//! neighbours disturb. The caller brings the clock.

use std::hint::black_box;
use std::time::Duration;

use crate::{Algorithm, hash, hash_many};

/// How fast one core does one thing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// What is done: an algorithm's name, or `copy`.
    pub name: &'static str,
    /// Bytes taken in per second.
    pub bytes_per_second: f64,
}

/// Hashed at a time: within the core's own cache, as bytes that were just read are.
const HASHED_BYTES: usize = 256 << 10;
/// A small file, of which many are hashed at once or one after the other.
const FILE_BYTES: usize = 20 << 10;
/// Small files at a time: what fits the core's own cache.
const FILES: usize = 48;
/// What bags commonly want of each.
const FILES_BY: [Algorithm; 2] = [Algorithm::Md5, Algorithm::Sha256];
/// Copied at a time: past the caches, as payload is.
const COPIED_BYTES: usize = 64 << 20;
/// The most rounds of one measurement, so that a clock that stands still cannot hold it.
const ROUNDS_MAX: u32 = 1 << 20;

/// Measures MD5, SHA-256, SHA-512 and BLAKE3 (`md5`, `sha256`, `sha512`, `blake3`) over one stream, MD5
/// and SHA-256 of files of 20 KiB many at once and one after the other (`md5 + sha256, 20 KiB files`,
/// `the same one by one`), and copying memory (`copy`), each for at least `each`, on the calling thread.
/// `now` is any clock that only goes forward. Takes 128 MiB of memory while it runs.
pub fn measure(now: &dyn Fn() -> Duration, each: Duration) -> Vec<Limit> {
    let mut source = vec![0u8; COPIED_BYTES];
    // Not all zeros, and each page touched.
    for (byte, value) in source.iter_mut().zip((0..=250u8).cycle()) {
        *byte = value;
    }
    let mut target = source.clone();
    let piece = &source[..HASHED_BYTES];

    let hashed = |algorithm: Algorithm| Limit {
        name: algorithm.name(),
        bytes_per_second: rate(now, each, HASHED_BYTES, &mut || {
            black_box(hash(algorithm, black_box(piece)));
        }),
    };
    let files: Vec<&[u8]> = source[..FILES * FILE_BYTES].chunks(FILE_BYTES).collect();
    let mut digests = Vec::with_capacity(FILES);
    vec![
        hashed(Algorithm::Md5),
        hashed(Algorithm::Sha256),
        hashed(Algorithm::Sha512),
        Limit {
            name: "blake3",
            bytes_per_second: rate(now, each, HASHED_BYTES, &mut || {
                black_box(blake3::hash(black_box(piece)));
            }),
        },
        Limit {
            name: "md5 + sha256, 20 KiB files",
            bytes_per_second: rate(now, each, FILES * FILE_BYTES, &mut || {
                for algorithm in FILES_BY {
                    digests.clear();
                    hash_many(algorithm, black_box(&files), &mut digests);
                    black_box(&digests);
                }
            }),
        },
        Limit {
            name: "the same one by one",
            bytes_per_second: rate(now, each, FILES * FILE_BYTES, &mut || {
                for algorithm in FILES_BY {
                    for file in &files {
                        black_box(hash(algorithm, black_box(file)));
                    }
                }
            }),
        },
        Limit {
            name: "copy",
            bytes_per_second: rate(now, each, COPIED_BYTES, &mut || {
                black_box(&mut target).copy_from_slice(black_box(&source));
            }),
        },
    ]
}

/// Bytes per second of a round that takes in `bytes`, over rounds of `each` in all.
fn rate(now: &dyn Fn() -> Duration, each: Duration, bytes: usize, round: &mut dyn FnMut()) -> f64 {
    round(); // Caches and clock rates as they will be.
    let start = now();
    let mut rounds = 0;
    loop {
        round();
        rounds += 1;
        let elapsed = now().saturating_sub(start);
        if elapsed >= each || rounds == ROUNDS_MAX {
            let seconds = elapsed.max(Duration::from_nanos(1)).as_secs_f64();
            return f64::from(rounds) * bytes as f64 / seconds;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn rates_follow_from_the_callers_clock() {
        // A clock that goes on by a second whenever it is read.
        let ticks = Cell::new(0);
        let now = || {
            ticks.set(ticks.get() + 1);
            Duration::from_secs(ticks.get())
        };
        let limits = measure(&now, Duration::from_secs(2));
        let found: Vec<_> =
            limits.iter().map(|limit| (limit.name, limit.bytes_per_second as usize)).collect();
        assert_eq!(
            found,
            [
                ("md5", HASHED_BYTES),
                ("sha256", HASHED_BYTES),
                ("sha512", HASHED_BYTES),
                ("blake3", HASHED_BYTES),
                ("md5 + sha256, 20 KiB files", FILES * FILE_BYTES),
                ("the same one by one", FILES * FILE_BYTES),
                ("copy", COPIED_BYTES),
            ]
        );
    }

    #[test]
    fn a_clock_that_stands_still_ends() {
        let rate = rate(&|| Duration::ZERO, Duration::from_secs(1), 1, &mut || {});
        assert!(rate.is_finite());
    }
}
