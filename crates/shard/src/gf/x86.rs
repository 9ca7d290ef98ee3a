//! Kernels for x86-64. Each computes up to [`ROWS`] outputs in one pass over the inputs, keeping
//! the sums in registers, and returns how many bytes of each block it did: a multiple of its step.

use super::ROWS;
use std::arch::x86_64::*;

/// Calls a kernel with the number of rows as a constant, so that its sums stay in registers.
macro_rules! by_rows {
    ($kernel:ident($constants:expr, $inputs:expr, $outputs:expr)) => {
        // SAFETY: the caller of the dispatching function promises what the kernel asks for.
        unsafe {
            match $outputs.len() {
                1 => $kernel::<1>($constants, $inputs, $outputs),
                2 => $kernel::<2>($constants, $inputs, $outputs),
                3 => $kernel::<3>($constants, $inputs, $outputs),
                _ => $kernel::<ROWS>($constants, $inputs, $outputs),
            }
        }
    };
}

/// # Safety
/// The machine has AVX-512F and GFNI; all blocks are equally long; there is a constant for each
/// output and input, and at most [`ROWS`] outputs.
#[target_feature(enable = "avx512f,gfni")]
pub(super) unsafe fn gfni_avx512(c: &[u64], inputs: &[&[u8]], outputs: &mut [&mut [u8]]) -> usize {
    by_rows!(gfni_avx512_rows(c, inputs, outputs))
}

#[target_feature(enable = "avx512f,gfni")]
unsafe fn gfni_avx512_rows<const R: usize>(
    constants: &[u64],
    inputs: &[&[u8]],
    outputs: &mut [&mut [u8]],
) -> usize {
    // Two registers of each block per pass: each constant is then loaded once for 128 bytes.
    const STEP: usize = 128;
    let (columns, len) = (inputs.len(), inputs[0].len());
    let end = len - len % STEP;
    debug_assert!(outputs.len() == R && constants.len() == R * columns);
    for at in (0..end).step_by(STEP) {
        let mut sums = [[_mm512_setzero_si512(); 2]; R];
        for (column, input) in inputs.iter().enumerate() {
            // SAFETY: `at + STEP <= len`, and every block has `len` bytes.
            let (low, high) = unsafe {
                let input = input.as_ptr().add(at);
                (_mm512_loadu_si512(input.cast()), _mm512_loadu_si512(input.add(64).cast()))
            };
            for (row, sum) in sums.iter_mut().enumerate() {
                // SAFETY: `row < R` and `column < columns`; there are `R * columns` constants.
                let constant = unsafe { *constants.get_unchecked(row * columns + column) };
                let constant = _mm512_set1_epi64(constant as i64);
                let product = _mm512_gf2p8affine_epi64_epi8::<0>(low, constant);
                sum[0] = _mm512_xor_si512(sum[0], product);
                let product = _mm512_gf2p8affine_epi64_epi8::<0>(high, constant);
                sum[1] = _mm512_xor_si512(sum[1], product);
            }
        }
        for (output, sum) in outputs.iter_mut().zip(sums) {
            // SAFETY: as for the inputs.
            unsafe {
                let output = output.as_mut_ptr().add(at);
                _mm512_storeu_si512(output.cast(), sum[0]);
                _mm512_storeu_si512(output.add(64).cast(), sum[1]);
            }
        }
    }
    end
}

/// # Safety
/// As for [`gfni_avx512`], with AVX2 and GFNI.
#[target_feature(enable = "avx2,gfni")]
pub(super) unsafe fn gfni_avx2(c: &[u64], inputs: &[&[u8]], outputs: &mut [&mut [u8]]) -> usize {
    by_rows!(gfni_avx2_rows(c, inputs, outputs))
}

#[target_feature(enable = "avx2,gfni")]
unsafe fn gfni_avx2_rows<const R: usize>(
    constants: &[u64],
    inputs: &[&[u8]],
    outputs: &mut [&mut [u8]],
) -> usize {
    const STEP: usize = 64;
    let (columns, len) = (inputs.len(), inputs[0].len());
    let end = len - len % STEP;
    debug_assert!(outputs.len() == R && constants.len() == R * columns);
    for at in (0..end).step_by(STEP) {
        let mut sums = [[_mm256_setzero_si256(); 2]; R];
        for (column, input) in inputs.iter().enumerate() {
            // SAFETY: `at + STEP <= len`, and every block has `len` bytes.
            let (low, high) = unsafe {
                let input = input.as_ptr().add(at);
                (_mm256_loadu_si256(input.cast()), _mm256_loadu_si256(input.add(32).cast()))
            };
            for (row, sum) in sums.iter_mut().enumerate() {
                // SAFETY: `row < R` and `column < columns`; there are `R * columns` constants.
                let constant = unsafe { *constants.get_unchecked(row * columns + column) };
                let constant = _mm256_set1_epi64x(constant as i64);
                let product = _mm256_gf2p8affine_epi64_epi8::<0>(low, constant);
                sum[0] = _mm256_xor_si256(sum[0], product);
                let product = _mm256_gf2p8affine_epi64_epi8::<0>(high, constant);
                sum[1] = _mm256_xor_si256(sum[1], product);
            }
        }
        for (output, sum) in outputs.iter_mut().zip(sums) {
            // SAFETY: as for the inputs.
            unsafe {
                let output = output.as_mut_ptr().add(at);
                _mm256_storeu_si256(output.cast(), sum[0]);
                _mm256_storeu_si256(output.add(32).cast(), sum[1]);
            }
        }
    }
    end
}

/// # Safety
/// As for [`gfni_avx512`], with AVX2 alone.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn avx2(c: &[[u8; 32]], inputs: &[&[u8]], outputs: &mut [&mut [u8]]) -> usize {
    by_rows!(avx2_rows(c, inputs, outputs))
}

#[target_feature(enable = "avx2")]
unsafe fn avx2_rows<const R: usize>(
    tables: &[[u8; 32]],
    inputs: &[&[u8]],
    outputs: &mut [&mut [u8]],
) -> usize {
    const STEP: usize = 32;
    let (columns, len) = (inputs.len(), inputs[0].len());
    let end = len - len % STEP;
    debug_assert!(outputs.len() == R && tables.len() == R * columns);
    let mask = _mm256_set1_epi8(15);
    for at in (0..end).step_by(STEP) {
        let mut sums = [_mm256_setzero_si256(); R];
        for (column, input) in inputs.iter().enumerate() {
            // SAFETY: `at + STEP <= len`, and every block has `len` bytes.
            let bytes = unsafe { _mm256_loadu_si256(input.as_ptr().add(at).cast()) };
            let low = _mm256_and_si256(bytes, mask);
            let high = _mm256_and_si256(_mm256_srli_epi64::<4>(bytes), mask);
            for (row, sum) in sums.iter_mut().enumerate() {
                // SAFETY: `row < R` and `column < columns`; there are `R * columns` tables of 32
                // bytes each.
                let (table_low, table_high) = unsafe {
                    let table = tables.get_unchecked(row * columns + column).as_ptr();
                    (_mm_loadu_si128(table.cast()), _mm_loadu_si128(table.add(16).cast()))
                };
                let low = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table_low), low);
                let high = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table_high), high);
                *sum = _mm256_xor_si256(*sum, _mm256_xor_si256(low, high));
            }
        }
        for (output, sum) in outputs.iter_mut().zip(sums) {
            // SAFETY: as for the inputs.
            unsafe { _mm256_storeu_si256(output.as_mut_ptr().add(at).cast(), sum) };
        }
    }
    end
}
