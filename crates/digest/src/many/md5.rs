//! MD5 (RFC 1321) with an input in each lane: 16 by AVX-512, 8 by AVX2.

use super::lanes::{BLOCK_BYTES, Kernel};
use crate::Algorithm;

/// The chaining words before the first block: RFC 1321, section 3.3.
const START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// The table T: RFC 1321, section 3.4, floor(2^32 · |sin(i + 1)|).
#[rustfmt::skip]
const T: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee,
    0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be,
    0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa,
    0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed,
    0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c,
    0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05,
    0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039,
    0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1,
    0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

/// A kernel from a vector type's operations, which are in scope by the names used here; `$rest` of a
/// rotation is 32 less its bits, for AVX2 has shifts only.
macro_rules! kernel {
    ($kernel:ident, $feature:tt, $lanes:literal) => {
        /// Proof that this machine has the instructions.
        #[derive(Clone, Copy)]
        pub(in crate::many) struct $kernel(());

        impl $kernel {
            pub(in crate::many) fn detect() -> Option<$kernel> {
                is_x86_feature_detected!($feature).then_some($kernel(()))
            }
        }

        impl Kernel<$lanes, 4> for $kernel {
            const ALGORITHM: Algorithm = Algorithm::Md5;
            const START: [u32; 4] = START;
            const BIG_ENDIAN: bool = false;
            const LANES_MIN: usize = 2;

            fn compress(
                self,
                chains: &mut [[u32; $lanes]; 4],
                lanes: &[&[u8]; $lanes],
                count: usize,
            ) {
                assert!(lanes.iter().all(|lane| lane.len() / BLOCK_BYTES >= count));
                // SAFETY: `self` is made only where the feature was detected; each lane has `count`
                // blocks.
                unsafe { compress(chains, lanes, count) };
            }
        }

        /// # Safety
        /// The machine has the feature, and each lane has `count` blocks.
        #[target_feature(enable = $feature)]
        unsafe fn compress(
            chains: &mut [[u32; $lanes]; 4],
            lanes: &[&[u8]; $lanes],
            count: usize,
        ) {
            let [mut a, mut b, mut c, mut d] = chains.each_ref().map(|word| load(word));
            for block in 0..count {
                // SAFETY: the lane has this block, as the caller promises.
                let x = unsafe { columns(lanes, block * BLOCK_BYTES) };
                let before = [a, b, c, d];
                macro_rules! step {
                    ($f:ident $a:ident $b:ident $c:ident $d:ident $i:expr, $k:literal, $s:literal $rest:literal) => {
                        let sum = add(add($a, add(x[$k], splat(T[$i]))), $f($b, $c, $d));
                        $a = add($b, rotate::<$s, $rest>(sum));
                    };
                }
                macro_rules! four {
                    ($f:ident $i:literal [$k0:literal $k1:literal $k2:literal $k3:literal]
                     [$s0:literal $r0:literal $s1:literal $r1:literal
                      $s2:literal $r2:literal $s3:literal $r3:literal]) => {
                        step!($f a b c d $i, $k0, $s0 $r0);
                        step!($f d a b c $i + 1, $k1, $s1 $r1);
                        step!($f c d a b $i + 2, $k2, $s2 $r2);
                        step!($f b c d a $i + 3, $k3, $s3 $r3);
                    };
                }
                four!(f 0 [0 1 2 3] [7 25 12 20 17 15 22 10]);
                four!(f 4 [4 5 6 7] [7 25 12 20 17 15 22 10]);
                four!(f 8 [8 9 10 11] [7 25 12 20 17 15 22 10]);
                four!(f 12 [12 13 14 15] [7 25 12 20 17 15 22 10]);
                four!(g 16 [1 6 11 0] [5 27 9 23 14 18 20 12]);
                four!(g 20 [5 10 15 4] [5 27 9 23 14 18 20 12]);
                four!(g 24 [9 14 3 8] [5 27 9 23 14 18 20 12]);
                four!(g 28 [13 2 7 12] [5 27 9 23 14 18 20 12]);
                four!(h 32 [5 8 11 14] [4 28 11 21 16 16 23 9]);
                four!(h 36 [1 4 7 10] [4 28 11 21 16 16 23 9]);
                four!(h 40 [13 0 3 6] [4 28 11 21 16 16 23 9]);
                four!(h 44 [9 12 15 2] [4 28 11 21 16 16 23 9]);
                four!(i 48 [0 7 14 5] [6 26 10 22 15 17 21 11]);
                four!(i 52 [12 3 10 1] [6 26 10 22 15 17 21 11]);
                four!(i 56 [8 15 6 13] [6 26 10 22 15 17 21 11]);
                four!(i 60 [4 11 2 9] [6 26 10 22 15 17 21 11]);
                [a, b, c, d] =
                    [add(a, before[0]), add(b, before[1]), add(c, before[2]), add(d, before[3])];
            }
            for (word, value) in chains.iter_mut().zip([a, b, c, d]) {
                store(word, value);
            }
        }
    };
}

pub(super) use avx2::Avx2;
pub(super) use avx512::Avx512;

mod avx512 {
    use std::arch::x86_64::*;

    use super::super::avx512::{add, columns, load, splat, store};
    use super::*;

    kernel!(Avx512, "avx512f", 16);

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn rotate<const S: i32, const REST: i32>(x: __m512i) -> __m512i {
        _mm512_rol_epi32::<S>(x)
    }

    // The immediate is the truth table: bit 4·b + 2·c + d.

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn f(b: __m512i, c: __m512i, d: __m512i) -> __m512i {
        _mm512_ternarylogic_epi32::<0xca>(b, c, d)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn g(b: __m512i, c: __m512i, d: __m512i) -> __m512i {
        _mm512_ternarylogic_epi32::<0xe4>(b, c, d)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn h(b: __m512i, c: __m512i, d: __m512i) -> __m512i {
        _mm512_ternarylogic_epi32::<0x96>(b, c, d)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn i(b: __m512i, c: __m512i, d: __m512i) -> __m512i {
        _mm512_ternarylogic_epi32::<0x39>(b, c, d)
    }
}

mod avx2 {
    use std::arch::x86_64::*;

    use super::*;

    kernel!(Avx2, "avx2", 8);

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(words: &[u32; 8]) -> __m256i {
        // SAFETY: eight words are 32 bytes; the load needs no alignment.
        unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn store(words: &mut [u32; 8], value: __m256i) {
        // SAFETY: eight words are 32 bytes; the store needs no alignment.
        unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), value) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn splat(word: u32) -> __m256i {
        _mm256_set1_epi32(word as i32)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn add(x: __m256i, y: __m256i) -> __m256i {
        _mm256_add_epi32(x, y)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn rotate<const S: i32, const REST: i32>(x: __m256i) -> __m256i {
        _mm256_or_si256(_mm256_slli_epi32::<S>(x), _mm256_srli_epi32::<REST>(x))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn f(b: __m256i, c: __m256i, d: __m256i) -> __m256i {
        _mm256_xor_si256(d, _mm256_and_si256(b, _mm256_xor_si256(c, d)))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn g(b: __m256i, c: __m256i, d: __m256i) -> __m256i {
        f(d, b, c)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn h(b: __m256i, c: __m256i, d: __m256i) -> __m256i {
        _mm256_xor_si256(_mm256_xor_si256(c, d), b)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn i(b: __m256i, c: __m256i, d: __m256i) -> __m256i {
        let not_d = _mm256_xor_si256(d, _mm256_set1_epi32(-1));
        _mm256_xor_si256(c, _mm256_or_si256(b, not_d))
    }

    /// Word w of the block at `offset` of each lane, for all w: two transpositions of 8 by 8 words.
    ///
    /// # Safety
    /// Each lane has a block at `offset`.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn columns(lanes: &[&[u8]; 8], offset: usize) -> [__m256i; 16] {
        let mut words = [_mm256_setzero_si256(); 16];
        for half in 0..2 {
            let rows: [__m256i; 8] = std::array::from_fn(|l| {
                // SAFETY: half of a block is 32 bytes, and the lane has the block.
                unsafe { _mm256_loadu_si256(lanes[l].as_ptr().add(offset + 32 * half).cast()) }
            });
            // Row 4·g + j of `quads`: in 128-bit lane q, column 4·q + j of rows 4·g to 4·g + 3.
            let mut quads = rows;
            for g in [0, 4] {
                let low01 = _mm256_unpacklo_epi32(rows[g], rows[g + 1]);
                let high01 = _mm256_unpackhi_epi32(rows[g], rows[g + 1]);
                let low23 = _mm256_unpacklo_epi32(rows[g + 2], rows[g + 3]);
                let high23 = _mm256_unpackhi_epi32(rows[g + 2], rows[g + 3]);
                quads[g] = _mm256_unpacklo_epi64(low01, low23);
                quads[g + 1] = _mm256_unpackhi_epi64(low01, low23);
                quads[g + 2] = _mm256_unpacklo_epi64(high01, high23);
                quads[g + 3] = _mm256_unpackhi_epi64(high01, high23);
            }
            for j in 0..4 {
                words[8 * half + j] = _mm256_permute2x128_si256::<0x20>(quads[j], quads[4 + j]);
                words[8 * half + 4 + j] = _mm256_permute2x128_si256::<0x31>(quads[j], quads[4 + j]);
            }
        }
        words
    }
}
