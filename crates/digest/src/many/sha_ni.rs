//! SHA-256 (FIPS 180-4) of two inputs at once by the SHA instructions.
//!
//! `sha256rnds2` gives its result four cycles after it begins, and a core can begin one every two: over
//! one stream half of it waits. Two streams, instruction by instruction in turn, fill that up.

use std::arch::x86_64::*;

use super::lanes::{BLOCK_BYTES, Kernel};
use super::sha256::{K, START};
use crate::Algorithm;

/// Inputs side by side. More would not fit sixteen registers, and gain nothing.
const LANES: usize = 2;

/// Proof that this machine has the instructions.
#[derive(Clone, Copy)]
pub(super) struct ShaNi(());

impl ShaNi {
    pub(super) fn detect() -> Option<ShaNi> {
        (is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse4.1"))
        .then_some(ShaNi(()))
    }
}

impl Kernel<LANES, 8> for ShaNi {
    const ALGORITHM: Algorithm = Algorithm::Sha256;
    const START: [u32; 8] = START;
    const BIG_ENDIAN: bool = true;
    const LANES_MIN: usize = 2;

    fn compress(self, chains: &mut [[u32; LANES]; 8], lanes: &[&[u8]; LANES], count: usize) {
        assert!(lanes.iter().all(|lane| lane.len() / BLOCK_BYTES >= count));
        // SAFETY: `self` is made only where the features were detected; each lane has `count` blocks.
        unsafe { compress(chains, lanes, count) };
    }
}

/// # Safety
/// The machine has the features, and each lane has `count` blocks.
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
unsafe fn compress(chains: &mut [[u32; LANES]; 8], lanes: &[&[u8]; LANES], count: usize) {
    // The bytes of each word turned around.
    let turn = _mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12);
    // The instructions want the eight words as A B E F and C D G H, the first in the highest place.
    let four = |words: [usize; 4]| -> [__m128i; LANES] {
        std::array::from_fn(|l| {
            let [w3, w2, w1, w0] = words.map(|word| chains[word][l] as i32);
            _mm_set_epi32(w3, w2, w1, w0)
        })
    };
    let (mut abef, mut cdgh) = (four([0, 1, 4, 5]), four([2, 3, 6, 7]));
    for block in 0..count {
        let before = (abef, cdgh);
        let mut w: [[__m128i; 4]; LANES] = std::array::from_fn(|l| {
            std::array::from_fn(|i| {
                // SAFETY: the lane has these 16 bytes of this block, as the caller promises; the load
                // needs no alignment.
                let words = unsafe {
                    _mm_loadu_si128(lanes[l].as_ptr().add(block * BLOCK_BYTES + 16 * i).cast())
                };
                _mm_shuffle_epi8(words, turn)
            })
        });
        macro_rules! rounds {
            ($($group:literal)*) => {$(
                let k = &K[4 * $group..];
                let k = _mm_setr_epi32(k[0] as i32, k[1] as i32, k[2] as i32, k[3] as i32);
                for l in 0..LANES {
                    let wk = _mm_add_epi32(w[l][$group % 4], k);
                    cdgh[l] = _mm_sha256rnds2_epu32(cdgh[l], abef[l], wk);
                    abef[l] = _mm_sha256rnds2_epu32(abef[l], cdgh[l], _mm_shuffle_epi32::<0x0e>(wk));
                }
                if $group < 12 {
                    // The words of 16 rounds later take the place of those just used.
                    for w in &mut w {
                        let [now, next, third, last] =
                            std::array::from_fn(|i| w[($group + i) % 4]);
                        let sum =
                            _mm_add_epi32(_mm_sha256msg1_epu32(now, next), _mm_alignr_epi8::<4>(last, third));
                        w[$group % 4] = _mm_sha256msg2_epu32(sum, last);
                    }
                }
            )*};
        }
        rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        for l in 0..LANES {
            abef[l] = _mm_add_epi32(abef[l], before.0[l]);
            cdgh[l] = _mm_add_epi32(cdgh[l], before.1[l]);
        }
    }
    for l in 0..LANES {
        for (words, four) in [([0, 1, 4, 5], abef[l]), ([2, 3, 6, 7], cdgh[l])] {
            let values = [
                _mm_extract_epi32::<3>(four),
                _mm_extract_epi32::<2>(four),
                _mm_extract_epi32::<1>(four),
                _mm_extract_epi32::<0>(four),
            ];
            for (word, value) in words.into_iter().zip(values) {
                chains[word][l] = value as u32;
            }
        }
    }
}
