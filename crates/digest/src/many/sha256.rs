//! SHA-256 (FIPS 180-4) with an input in each of 16 lanes, by AVX-512: for cores without the SHA
//! instructions, such as Intel's before Ice Lake.

use std::arch::x86_64::*;

use super::avx512::{add, columns, load, splat, store};
use super::lanes::{BLOCK_BYTES, Kernel};
use crate::Algorithm;

/// FIPS 180-4, section 4.2.2: the fractions of the cube roots of the first 64 primes.
#[rustfmt::skip]
pub(super) const K: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5,
    0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3,
    0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc,
    0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7,
    0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13,
    0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3,
    0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5,
    0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208,
    0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

/// The chaining words before the first block: FIPS 180-4, section 5.3.3.
#[rustfmt::skip]
pub(super) const START: [u32; 8] = [
    0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a,
    0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
];

/// Proof that this machine has the instructions: AVX-512 F, and BW to turn bytes around.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    pub(super) fn detect() -> Option<Avx512> {
        (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw"))
            .then_some(Avx512(()))
    }
}

impl Kernel<16, 8> for Avx512 {
    const ALGORITHM: Algorithm = Algorithm::Sha256;
    const START: [u32; 8] = START;
    const BIG_ENDIAN: bool = true;
    /// Sixteen lanes are between five and six times as fast as one stream without the SHA instructions.
    const LANES_MIN: usize = 4;

    fn compress(self, chains: &mut [[u32; 16]; 8], lanes: &[&[u8]; 16], count: usize) {
        assert!(lanes.iter().all(|lane| lane.len() / BLOCK_BYTES >= count));
        // SAFETY: `self` is made only where the features were detected; each lane has `count` blocks.
        unsafe { compress(chains, lanes, count) };
    }
}

/// # Safety
/// The machine has the features, and each lane has `count` blocks.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn compress(chains: &mut [[u32; 16]; 8], lanes: &[&[u8]; 16], count: usize) {
    // The bytes of each word turned around, in each 128-bit lane.
    let turn =
        _mm512_broadcast_i32x4(_mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12));
    let mut chain = chains.each_ref().map(|word| load(word));
    for block in 0..count {
        // SAFETY: the lane has this block, as the caller promises.
        let mut w = unsafe { columns(lanes, block * BLOCK_BYTES) };
        for word in &mut w {
            *word = _mm512_shuffle_epi8(*word, turn);
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = chain;
        macro_rules! round {
            ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident $t:expr, $k:expr) => {
                // FIPS 180-4, section 6.2.2; 0xca is Ch, 0xe8 Maj.
                let wk = add(w[$t], splat(K[$k + $t]));
                let ch = _mm512_ternarylogic_epi32::<0xca>($e, $f, $g);
                let t1 = add(add(add($h, wk), ch), sigma::<6, 11, 25>($e));
                let maj = _mm512_ternarylogic_epi32::<0xe8>($a, $b, $c);
                $d = add($d, t1);
                $h = add(t1, add(sigma::<2, 13, 22>($a), maj));
            };
        }
        macro_rules! eight {
            ($t:literal, $k:expr) => {
                round!(a b c d e f g h $t, $k);
                round!(h a b c d e f g $t + 1, $k);
                round!(g h a b c d e f $t + 2, $k);
                round!(f g h a b c d e $t + 3, $k);
                round!(e f g h a b c d $t + 4, $k);
                round!(d e f g h a b c $t + 5, $k);
                round!(c d e f g h a b $t + 6, $k);
                round!(b c d e f g h a $t + 7, $k);
            };
        }
        eight!(0, 0);
        eight!(8, 0);
        for k in [16, 32, 48] {
            for t in 0..16 {
                // The word of 16 rounds later takes the place of its oldest part.
                let sum = add(w[t], small_sigma::<7, 18, 3>(w[(t + 1) % 16]));
                let late = small_sigma::<17, 19, 10>(w[(t + 14) % 16]);
                w[t] = add(add(sum, w[(t + 9) % 16]), late);
            }
            eight!(0, k);
            eight!(8, k);
        }
        let after = [a, b, c, d, e, f, g, h];
        chain = std::array::from_fn(|i| add(chain[i], after[i]));
    }
    for (word, value) in chains.iter_mut().zip(chain) {
        store(word, value);
    }
}

/// Three rotations to the right, added without carry.
#[inline]
#[target_feature(enable = "avx512f")]
fn sigma<const X: i32, const Y: i32, const Z: i32>(word: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0x96>(
        _mm512_ror_epi32::<X>(word),
        _mm512_ror_epi32::<Y>(word),
        _mm512_ror_epi32::<Z>(word),
    )
}

/// Two rotations and a shift to the right, added without carry.
#[inline]
#[target_feature(enable = "avx512f")]
fn small_sigma<const X: i32, const Y: i32, const Z: u32>(word: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0x96>(
        _mm512_ror_epi32::<X>(word),
        _mm512_ror_epi32::<Y>(word),
        _mm512_srli_epi32::<Z>(word),
    )
}
