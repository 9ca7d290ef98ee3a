//! The kernel for aarch64; see the one for AVX2, which does the same with wider registers.

use super::ROWS;
use std::arch::aarch64::*;

/// # Safety
/// The machine has NEON; all blocks are equally long; there is a table for each output and input,
/// and at most [`ROWS`] outputs.
#[target_feature(enable = "neon")]
pub(super) unsafe fn neon(c: &[[u8; 32]], inputs: &[&[u8]], outputs: &mut [&mut [u8]]) -> usize {
    // SAFETY: the caller promises what the kernel asks for.
    unsafe {
        match outputs.len() {
            1 => neon_rows::<1>(c, inputs, outputs),
            2 => neon_rows::<2>(c, inputs, outputs),
            3 => neon_rows::<3>(c, inputs, outputs),
            _ => neon_rows::<ROWS>(c, inputs, outputs),
        }
    }
}

#[target_feature(enable = "neon")]
unsafe fn neon_rows<const R: usize>(
    tables: &[[u8; 32]],
    inputs: &[&[u8]],
    outputs: &mut [&mut [u8]],
) -> usize {
    const STEP: usize = 16;
    let (columns, len) = (inputs.len(), inputs[0].len());
    let end = len - len % STEP;
    debug_assert!(outputs.len() == R && tables.len() == R * columns);
    let mask = vdupq_n_u8(15);
    for at in (0..end).step_by(STEP) {
        let mut sums = [vdupq_n_u8(0); R];
        for (column, input) in inputs.iter().enumerate() {
            // SAFETY: `at + STEP <= len`, and every block has `len` bytes.
            let bytes = unsafe { vld1q_u8(input.as_ptr().add(at)) };
            let (low, high) = (vandq_u8(bytes, mask), vshrq_n_u8::<4>(bytes));
            for (row, sum) in sums.iter_mut().enumerate() {
                // SAFETY: `row < R` and `column < columns`; there are `R * columns` tables of 32
                // bytes each.
                let (table_low, table_high) = unsafe {
                    let table = tables.get_unchecked(row * columns + column).as_ptr();
                    (vld1q_u8(table), vld1q_u8(table.add(16)))
                };
                let product = veorq_u8(vqtbl1q_u8(table_low, low), vqtbl1q_u8(table_high, high));
                *sum = veorq_u8(*sum, product);
            }
        }
        for (output, sum) in outputs.iter_mut().zip(sums) {
            // SAFETY: as for the inputs.
            unsafe { vst1q_u8(output.as_mut_ptr().add(at), sum) };
        }
    }
    end
}
