//! One algorithm over one stream.

use std::fmt;

use crate::ffi::Context;
use crate::{Algorithm, Digest, Error};

/// The digest of bytes that lie in memory.
pub fn hash(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

/// A digest in the making: bytes go in as they come, in pieces of any size.
#[derive(Clone)]
pub struct Hasher {
    context: Context,
}

/// What every saved state of one stream begins with.
const MAGIC: &[u8; 4] = b"SRhs";
/// The newest format version of saved states.
const VERSION: u8 = 1;
/// Magic, version, algorithm, bytes so far.
const HEADER_BYTES: usize = 14;
/// The most bytes that a state may claim: their number in bits must fit 64 bits (FIPS 180-4, section
/// 1, for SHA-1 to SHA-256; the other algorithms keep the same limit, far from any real file).
const STREAM_BYTES_MAX: u64 = (1 << 61) - 1;

impl Hasher {
    /// A hasher that has seen nothing yet.
    pub fn new(algorithm: Algorithm) -> Hasher {
        Hasher { context: Context::new(algorithm) }
    }

    /// Takes in the next bytes of the stream.
    pub fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// The digest of all bytes taken in.
    pub fn finish(self) -> Digest {
        let algorithm = self.algorithm();
        Digest::padded(algorithm, &self.context.finish()[..algorithm.size()])
    }

    /// The algorithm of the digest in the making.
    pub fn algorithm(&self) -> Algorithm {
        self.context.algorithm()
    }

    /// How many bytes were taken in so far.
    pub fn bytes(&self) -> u64 {
        self.context.bytes()
    }

    /// The state as bytes, from which [`Hasher::restore`] goes on, also on another machine.
    ///
    /// | offset | bytes | what |
    /// |---|---|---|
    /// | 0 | 4 | magic, `SRhs` |
    /// | 4 | 1 | format version, 1 |
    /// | 5 | 1 | algorithm: 1 MD5, 2 SHA-1, 3 SHA-224, 4 SHA-256, 5 SHA-384, 6 SHA-512 |
    /// | 6 | 8 | bytes hashed so far, at most 2^61 − 1, little-endian |
    /// | 14 | w | chaining words in the order of their specification (A, B, ...), each little-endian: w = 16 (MD5, four of 32 bits), 20 (SHA-1, five), 32 (SHA-224, SHA-256, eight), 64 (SHA-384, SHA-512, eight of 64 bits) |
    /// | 14 + w | t | the tail, not yet compressed: t = bytes hashed so far modulo the block, which is 64 bytes, or 128 for SHA-384 and SHA-512 |
    ///
    /// At most 205 bytes.
    pub fn save(&self) -> Vec<u8> {
        let algorithm = self.algorithm();
        let tail = self.context.tail();
        let mut state = Vec::with_capacity(HEADER_BYTES + algorithm.chain_size() + tail.len());
        state.extend_from_slice(MAGIC);
        state.extend_from_slice(&[VERSION, algorithm.code()]);
        state.extend_from_slice(&self.bytes().to_le_bytes());
        self.context.chain(&mut state);
        state.extend_from_slice(tail);
        state
    }

    /// Goes on from a state that [`Hasher::save`] gave. Every field is checked; chaining words and
    /// tail can have any value, so a state that was altered there gives a wrong digest.
    ///
    /// # Errors
    /// [`Error::NotAState`], [`Error::NewerState`], [`Error::UnknownAlgorithm`],
    /// [`Error::StateCount`] or [`Error::StateLength`].
    pub fn restore(state: &[u8]) -> Result<Hasher, Error> {
        let body = versioned(state, MAGIC)?;
        let too_short = Error::StateLength { expected: HEADER_BYTES, found: state.len() };
        let (&[code], body) = body.split_first_chunk().ok_or_else(|| too_short.clone())?;
        let (count, body) = body.split_first_chunk().ok_or(too_short)?;
        let algorithm = Algorithm::from_code(code).ok_or(Error::UnknownAlgorithm { code })?;
        let bytes = u64::from_le_bytes(*count);
        if bytes > STREAM_BYTES_MAX {
            return Err(Error::StateCount { bytes, limit: STREAM_BYTES_MAX });
        }
        let tail_bytes = (bytes % algorithm.block_size() as u64) as usize;
        let expected = HEADER_BYTES + algorithm.chain_size() + tail_bytes;
        if state.len() != expected {
            return Err(Error::StateLength { expected, found: state.len() });
        }
        let (chain, tail) = body.split_at(algorithm.chain_size());
        Ok(Hasher { context: Context::resume(algorithm, bytes, chain, tail) })
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({} after {} bytes)", self.algorithm(), self.bytes())
    }
}

/// What follows magic and version, when both are known.
pub(crate) fn versioned<'a>(state: &'a [u8], magic: &[u8; 4]) -> Result<&'a [u8], Error> {
    let body = state.strip_prefix(magic).ok_or(Error::NotAState)?;
    match body.split_first() {
        Some((&VERSION, body)) => Ok(body),
        Some((&found, _)) if found > VERSION => {
            Err(Error::NewerState { found, supported: VERSION })
        }
        _ => Err(Error::NotAState),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Digests of "", "abc" and a million times "a": RFC 1321 (MD5 of the last from its wide use),
    /// and the examples of FIPS 180.
    const VECTORS: [(Algorithm, [&str; 3]); 6] = [
        (
            Algorithm::Md5,
            [
                "d41d8cd98f00b204e9800998ecf8427e",
                "900150983cd24fb0d6963f7d28e17f72",
                "7707d6ae4e027c70eea2a935c2296f21",
            ],
        ),
        (
            Algorithm::Sha1,
            [
                "da39a3ee5e6b4b0d3255bfef95601890afd80709",
                "a9993e364706816aba3e25717850c26c9cd0d89d",
                "34aa973cd4c4daa4f61eeb2bdbad27316534016f",
            ],
        ),
        (
            Algorithm::Sha224,
            [
                "d14a028c2a3a2bc9476102bb288234c415a2b01f828ea62ac5b3e42f",
                "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
                "20794655980c91d8bbb4c1ea97618a4bf03f42581948b2ee4ee7ad67",
            ],
        ),
        (
            Algorithm::Sha256,
            [
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
            ],
        ),
        (
            Algorithm::Sha384,
            [
                "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da\
                 274edebfe76f65fbd51ad2f14898b95b",
                "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed\
                 8086072ba1e7cc2358baeca134c825a7",
                "9d0e1809716474cb086e834e310a4a1ced149e9c00f248527972cec5704c2a5b\
                 07b8b3dc38ecc4ebae97ddd87f3d8985",
            ],
        ),
        (
            Algorithm::Sha512,
            [
                "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
                 47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                 2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
                "e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973eb\
                 de0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e4eadb217ad8cc09b",
            ],
        ),
    ];

    /// The rest of RFC 1321's test suite (appendix A.5).
    const MD5_VECTORS: [(&str, &str); 5] = [
        ("a", "0cc175b9c0f1b6a831c399e269772661"),
        ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
        ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
        (
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
            "d174ab98d277d9f5a5611c2c9f419d9f",
        ),
        (
            "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
            "57edf4a22be3c955ac49da2e2107b67a",
        ),
    ];

    #[test]
    fn the_published_vectors_hold() {
        let million = vec![b'a'; 1_000_000];
        for (algorithm, expected) in VECTORS {
            for (input, expected) in [&b""[..], b"abc", &million].into_iter().zip(expected) {
                assert_eq!(hash(algorithm, input).to_string(), expected);
            }
        }
        for (input, expected) in MD5_VECTORS {
            assert_eq!(hash(Algorithm::Md5, input.as_bytes()).to_string(), expected);
        }
    }

    #[test]
    fn a_saved_state_has_the_documented_bytes() {
        let mut hasher = Hasher::new(Algorithm::Md5);
        hasher.update(b"abc");
        let mut expected = b"SRhs\x01\x01\x03\0\0\0\0\0\0\0".to_vec();
        for word in [0x6745_2301u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476] {
            expected.extend_from_slice(&word.to_le_bytes());
        }
        expected.extend_from_slice(b"abc");
        assert_eq!(hasher.save(), expected);

        let mut longest = Hasher::new(Algorithm::Sha512);
        longest.update(&[7; 127]);
        assert_eq!(longest.save().len(), 205);
        assert_eq!(longest.save()[14..22], 0x6a09_e667_f3bc_c908u64.to_le_bytes());
    }

    #[test]
    fn a_count_over_32_bits_survives() {
        // 2^32 + 5 bytes hashed, as a state says: no need to hash them.
        for algorithm in Algorithm::ALL {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(b"12345");
            let mut state = hasher.save();
            state[6..14].copy_from_slice(&((1u64 << 32) + 5).to_le_bytes());
            let hasher = Hasher::restore(&state).unwrap();
            assert_eq!(hasher.bytes(), (1 << 32) + 5);
            assert_eq!(hasher.save(), state);
        }
    }

    #[test]
    fn hostile_states_are_refused_with_the_reason() {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(b"abc");
        let good = hasher.save();
        let altered = |offset: usize, value: u8| {
            let mut state = good.clone();
            state[offset] = value;
            Hasher::restore(&state).unwrap_err()
        };
        assert_eq!(altered(0, b'X'), Error::NotAState);
        assert_eq!(altered(4, 0), Error::NotAState);
        assert_eq!(altered(4, 2), Error::NewerState { found: 2, supported: 1 });
        assert_eq!(altered(5, 9), Error::UnknownAlgorithm { code: 9 });
        assert_eq!(altered(5, 1), Error::StateLength { expected: 33, found: 49 });
        assert_eq!(altered(6, 63), Error::StateLength { expected: 109, found: 49 });
        assert_eq!(
            altered(13, 0x20),
            Error::StateCount { bytes: 3 | 0x20 << 56, limit: STREAM_BYTES_MAX }
        );
        for len in 0..good.len() {
            assert!(Hasher::restore(&good[..len]).is_err(), "{len} bytes of a state");
        }
        let longer = [&good[..], b"x"].concat();
        assert_eq!(
            Hasher::restore(&longer).unwrap_err(),
            Error::StateLength { expected: 49, found: 50 }
        );
    }

    fn any_algorithm() -> impl Strategy<Value = Algorithm> {
        prop::sample::select(&Algorithm::ALL[..])
    }

    proptest! {
        #[test]
        fn any_split_and_any_saving_gives_the_same_digest(
            algorithm in any_algorithm(),
            input in prop::collection::vec(any::<u8>(), 0..2000),
            cuts in prop::collection::vec((0..2000usize, any::<bool>()), 0..6),
        ) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut hasher = Hasher::new(algorithm);
            let mut done = 0;
            for (cut, save) in cuts {
                let cut = cut.min(input.len());
                hasher.update(&input[done..cut]);
                done = cut;
                prop_assert_eq!(hasher.bytes(), done as u64);
                if save {
                    hasher = Hasher::restore(&hasher.save())?;
                }
            }
            hasher.update(&input[done..]);
            prop_assert_eq!(hasher.finish(), hash(algorithm, &input));
        }

        #[test]
        fn restoring_arbitrary_bytes_never_panics(
            code in 0..8u8,
            count in any::<u64>(),
            rest in prop::collection::vec(any::<u8>(), 0..220),
        ) {
            let mut state = b"SRhs\x01".to_vec();
            state.push(code);
            state.extend_from_slice(&count.to_le_bytes());
            state.extend_from_slice(&rest);
            // A count that fits the length, so that a good share is taken.
            for state in [&state[..], &rest, &fitting(state.clone())] {
                if let Ok(mut hasher) = Hasher::restore(state) {
                    prop_assert_eq!(&hasher.save(), state);
                    hasher.update(&rest);
                    hasher.finish();
                }
            }
        }
    }

    /// The state with a count whose tail is as long as the bytes that are there.
    fn fitting(mut state: Vec<u8>) -> Vec<u8> {
        if let Some(algorithm) = Algorithm::from_code(state[5]) {
            let tail = state.len().saturating_sub(HEADER_BYTES + algorithm.chain_size());
            state[6] = tail as u8 & (algorithm.block_size() - 1) as u8;
            state[13] = 0;
            state.truncate(HEADER_BYTES + algorithm.chain_size() + usize::from(state[6]));
        }
        state
    }
}
