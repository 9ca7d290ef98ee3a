//! Several algorithms over one stream.

use crate::hasher::versioned;
use crate::{Algorithm, Digest, Error, Hasher, Set};

/// Digests of one stream by several algorithms, made in one pass.
#[derive(Clone, Debug)]
pub struct MultiHasher {
    /// In the order of [`Algorithm`], each once, all after the same number of bytes.
    hashers: Vec<Hasher>,
}

/// What every saved state of a [`MultiHasher`] begins with.
const MAGIC: &[u8; 4] = b"SRhm";
/// The format version written.
const VERSION: u8 = 1;
/// Each piece of this size goes through all algorithms before the next, so that only the first of
/// them reads it from memory, and the others from the core's own cache.
const PIECE_BYTES: usize = 16 << 10;

impl MultiHasher {
    /// A hasher of all these algorithms; their order and repetitions do not matter.
    pub fn new(algorithms: &[Algorithm]) -> MultiHasher {
        algorithms.iter().copied().collect()
    }

    /// Takes in the next bytes of the stream.
    pub fn update(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE_BYTES) {
            for hasher in &mut self.hashers {
                hasher.update(piece);
            }
        }
    }

    /// The digests, in the order of [`Algorithm`].
    pub fn finish(self) -> Vec<Digest> {
        self.hashers.into_iter().map(Hasher::finish).collect()
    }

    /// The algorithms whose digests are in the making.
    pub fn algorithms(&self) -> Set {
        self.hashers.iter().map(Hasher::algorithm).collect()
    }

    /// How many bytes were taken in so far; 0 where there is no algorithm to count them.
    pub fn bytes(&self) -> u64 {
        self.hashers.first().map_or(0, Hasher::bytes)
    }

    /// The state as bytes, from which [`MultiHasher::restore`] goes on.
    ///
    /// | offset | bytes | what |
    /// |---|---|---|
    /// | 0 | 4 | magic, `SRhm` |
    /// | 4 | 1 | format version, 1 |
    /// | 5 | 1 | number of algorithms, 0 to 6 |
    ///
    /// Then for each algorithm, in ascending order of its number: one byte, the length of its state,
    /// and the state as [`Hasher::save`] gives it. All states name the same number of bytes so far.
    pub fn save(&self) -> Vec<u8> {
        let mut state = MAGIC.to_vec();
        state.extend_from_slice(&[VERSION, self.hashers.len() as u8]);
        for hasher in &self.hashers {
            let one = hasher.save();
            state.push(one.len() as u8);
            state.extend_from_slice(&one);
        }
        state
    }

    /// Goes on from a state that [`MultiHasher::save`] gave.
    ///
    /// # Errors
    /// Those of [`Hasher::restore`], and [`Error::StatesDisagree`] when the states within are not in
    /// order, not each once, or not after the same number of bytes.
    pub fn restore(state: &[u8]) -> Result<MultiHasher, Error> {
        let body = versioned(state, MAGIC)?;
        let missing = |bytes| Error::StateLength {
            expected: state.len().saturating_add(bytes),
            found: state.len(),
        };
        let (&count, mut body) = body.split_first().ok_or_else(|| missing(1))?;
        let mut hashers: Vec<Hasher> = Vec::new();
        for _ in 0..count {
            let (&len, rest) = body.split_first().ok_or_else(|| missing(1))?;
            let len = usize::from(len);
            let (one, rest) =
                rest.split_at_checked(len).ok_or_else(|| missing(len - rest.len()))?;
            let hasher = Hasher::restore(one)?;
            if let Some(before) = hashers.last() {
                if before.algorithm() >= hasher.algorithm() {
                    return Err(Error::StatesDisagree { what: "algorithms out of order" });
                }
                if before.bytes() != hasher.bytes() {
                    return Err(Error::StatesDisagree { what: "different numbers of bytes" });
                }
            }
            hashers.push(hasher);
            body = rest;
        }
        if !body.is_empty() {
            return Err(Error::StateLength {
                expected: state.len() - body.len(),
                found: state.len(),
            });
        }
        Ok(MultiHasher { hashers })
    }
}

impl FromIterator<Algorithm> for MultiHasher {
    fn from_iter<I: IntoIterator<Item = Algorithm>>(algorithms: I) -> MultiHasher {
        let set: Set = algorithms.into_iter().collect();
        MultiHasher { hashers: set.iter().map(Hasher::new).collect() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash;

    #[test]
    fn algorithms_are_sorted_and_each_once() {
        let hasher = MultiHasher::new(&[Algorithm::Sha512, Algorithm::Md5, Algorithm::Sha512]);
        assert_eq!(
            hasher.algorithms().iter().collect::<Vec<_>>(),
            [Algorithm::Md5, Algorithm::Sha512]
        );
        let digests = hasher.finish();
        assert_eq!(digests, [hash(Algorithm::Md5, b""), hash(Algorithm::Sha512, b"")]);
        assert!(MultiHasher::new(&[]).finish().is_empty());
    }

    #[test]
    fn states_that_do_not_fit_together_are_refused() {
        let state = |algorithm, input: &[u8]| {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(input);
            let state = hasher.save();
            [&[state.len() as u8], &state[..]].concat()
        };
        let both = |one: &[u8], two: &[u8]| {
            MultiHasher::restore(&[b"SRhm\x01\x02", one, two].concat()).map(|_| ())
        };
        let (md5, sha1) = (state(Algorithm::Md5, b"ab"), state(Algorithm::Sha1, b"ab"));
        assert_eq!(both(&md5, &sha1), Ok(()));
        assert!(matches!(both(&sha1, &md5), Err(Error::StatesDisagree { .. })));
        assert!(matches!(both(&md5, &md5), Err(Error::StatesDisagree { .. })));
        assert!(matches!(
            both(&md5, &state(Algorithm::Sha1, b"abc")),
            Err(Error::StatesDisagree { .. })
        ));
        assert!(matches!(both(&md5, b""), Err(Error::StateLength { .. })));
        assert!(matches!(both(&md5, &sha1[..9]), Err(Error::StateLength { .. })));
        assert!(matches!(both(&md5, &[&sha1[..], b"x"].concat()), Err(Error::StateLength { .. })));
        assert_eq!(
            MultiHasher::restore(b"SRhm\x02").map(|_| ()),
            Err(Error::NewerState { found: 2, supported: 1 })
        );
    }

    proptest! {
        #[test]
        fn several_algorithms_agree_with_each_alone_across_saving(
            algorithms in prop::collection::vec(prop::sample::select(&Algorithm::ALL[..]), 0..6),
            input in prop::collection::vec(any::<u8>(), 0..40_000),
            cut in 0..40_000usize,
        ) {
            let cut = cut.min(input.len());
            let mut hasher = MultiHasher::new(&algorithms);
            hasher.update(&input[..cut]);
            let mut hasher = MultiHasher::restore(&hasher.save())?;
            hasher.update(&input[cut..]);
            let expected: Vec<_> =
                hasher.algorithms().iter().map(|algorithm| hash(algorithm, &input)).collect();
            prop_assert_eq!(hasher.finish(), expected);
        }

        #[test]
        fn restoring_arbitrary_bytes_never_panics(rest in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = MultiHasher::restore(&rest);
            let _ = MultiHasher::restore(&[b"SRhm\x01", &rest[..]].concat());
        }
    }
}
