//! What the AVX-512 kernels share: sixteen words of 32 bits in a register.

use std::arch::x86_64::*;

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load(words: &[u32; 16]) -> __m512i {
    // SAFETY: sixteen words are 64 bytes; the load needs no alignment.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store(words: &mut [u32; 16], value: __m512i) {
    // SAFETY: sixteen words are 64 bytes; the store needs no alignment.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), value) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn splat(word: u32) -> __m512i {
    _mm512_set1_epi32(word as i32)
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn add(x: __m512i, y: __m512i) -> __m512i {
    _mm512_add_epi32(x, y)
}

/// Word w of the block at `offset` of each lane, for all w: a transposition of 16 by 16 words.
///
/// # Safety
/// Each lane has a block of 64 bytes at `offset`.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn columns(lanes: &[&[u8]; 16], offset: usize) -> [__m512i; 16] {
    let rows: [__m512i; 16] = std::array::from_fn(|l| {
        // SAFETY: the lane has 64 bytes from `offset`, as the caller promises.
        unsafe { _mm512_loadu_si512(lanes[l].as_ptr().add(offset).cast()) }
    });
    // Row 4·g + j of `quads`: in 128-bit lane q, column 4·q + j of rows 4·g to 4·g + 3.
    let mut quads = rows;
    for g in [0, 4, 8, 12] {
        let low01 = _mm512_unpacklo_epi32(rows[g], rows[g + 1]);
        let high01 = _mm512_unpackhi_epi32(rows[g], rows[g + 1]);
        let low23 = _mm512_unpacklo_epi32(rows[g + 2], rows[g + 3]);
        let high23 = _mm512_unpackhi_epi32(rows[g + 2], rows[g + 3]);
        quads[g] = _mm512_unpacklo_epi64(low01, low23);
        quads[g + 1] = _mm512_unpackhi_epi64(low01, low23);
        quads[g + 2] = _mm512_unpacklo_epi64(high01, high23);
        quads[g + 3] = _mm512_unpackhi_epi64(high01, high23);
    }
    // 0x88 takes 128-bit lanes 0 and 2 of both operands, 0xdd lanes 1 and 3.
    let mut words = quads;
    for j in 0..4 {
        let even_low = _mm512_shuffle_i32x4::<0x88>(quads[j], quads[4 + j]);
        let odd_low = _mm512_shuffle_i32x4::<0xdd>(quads[j], quads[4 + j]);
        let even_high = _mm512_shuffle_i32x4::<0x88>(quads[8 + j], quads[12 + j]);
        let odd_high = _mm512_shuffle_i32x4::<0xdd>(quads[8 + j], quads[12 + j]);
        words[j] = _mm512_shuffle_i32x4::<0x88>(even_low, even_high);
        words[4 + j] = _mm512_shuffle_i32x4::<0x88>(odd_low, odd_high);
        words[8 + j] = _mm512_shuffle_i32x4::<0xdd>(even_low, even_high);
        words[12 + j] = _mm512_shuffle_i32x4::<0xdd>(odd_low, odd_high);
    }
    words
}
