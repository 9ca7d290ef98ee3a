//! GF(2^8) with the polynomial x^8 + x^4 + x^3 + x^2 + 1 (0x11d), and the kernels that multiply a
//! matrix over it with many blocks at once.
//!
//! Every kernel computes the same bytes; [`Kernel::best`] is the fastest that the running machine
//! has. Method: for GFNI, a multiplication by a constant is a linear map over bits, which
//! `GF2P8AFFINEQB` applies to a register in one instruction whatever the polynomial; elsewhere two
//! look-ups by half-bytes (Plank, Greenan, Miller, "Screaming Fast Galois Field Arithmetic Using
//! Intel SIMD Instructions", FAST 2013).

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Rows of a matrix that a kernel computes in one pass over the inputs: as many accumulators.
const ROWS: usize = 4;

/// A way to multiply a [`Matrix`] with blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kernel {
    /// Look-ups, one byte at a time. Runs everywhere; the reference for all others.
    Scalar,
    /// x86-64, 32-byte shuffles.
    Avx2,
    /// x86-64, affine maps on 32-byte registers.
    GfniAvx2,
    /// x86-64, affine maps on 64-byte registers.
    GfniAvx512,
    /// aarch64, 16-byte table look-ups.
    Neon,
}

impl Kernel {
    /// The kernels that this machine can run, slowest first.
    pub fn available() -> Vec<Kernel> {
        let all =
            [Kernel::Scalar, Kernel::Avx2, Kernel::GfniAvx2, Kernel::GfniAvx512, Kernel::Neon];
        all.into_iter().filter(|kernel| kernel.is_available()).collect()
    }

    /// The fastest kernel of this machine.
    pub fn best() -> Kernel {
        Kernel::available().pop().expect("the scalar kernel runs everywhere")
    }

    /// Whether this machine can run the kernel.
    pub fn is_available(self) -> bool {
        match self {
            Kernel::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Kernel::GfniAvx2 => {
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("gfni")
            }
            #[cfg(target_arch = "x86_64")]
            Kernel::GfniAvx512 => {
                is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("gfni")
            }
            #[cfg(target_arch = "aarch64")]
            Kernel::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[allow(unreachable_patterns, reason = "kernels of other machines")]
            _ => false,
        }
    }
}

/// A matrix of constants, in the forms that the kernels need.
#[derive(Debug, Clone)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    /// Row by row: the products with 0x00..0x0f, then with 0x00, 0x10..0xf0.
    nibbles: Vec<[u8; 32]>,
    /// Row by row: the bit matrix that `GF2P8AFFINEQB` takes.
    affine: Vec<u64>,
}

impl Matrix {
    /// A matrix of `coefficients`, row by row, `columns` in each row.
    ///
    /// # Panics
    /// If the coefficients do not fill whole rows.
    pub fn new(columns: usize, coefficients: &[u8]) -> Matrix {
        assert!(columns > 0 && coefficients.len().is_multiple_of(columns), "whole rows");
        Matrix {
            rows: coefficients.len() / columns,
            columns,
            nibbles: coefficients.iter().map(|&c| nibbles(c)).collect(),
            affine: coefficients.iter().map(|&c| affine(c)).collect(),
        }
    }

    /// Inputs that it takes.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Computes `outputs = matrix * inputs`: each output block is overwritten.
    ///
    /// # Panics
    /// If the number of inputs is not that of the columns, the number of outputs not that of the
    /// rows, the blocks not of equal length, or the kernel not available here.
    pub fn apply(&self, kernel: Kernel, inputs: &[&[u8]], outputs: &mut [&mut [u8]]) {
        assert!(kernel.is_available(), "{kernel:?} does not run on this machine");
        assert!(inputs.len() == self.columns && outputs.len() == self.rows, "matrix and blocks");
        let len = inputs[0].len();
        assert!(inputs.iter().all(|block| block.len() == len), "equal inputs");
        assert!(outputs.iter().all(|block| block.len() == len), "equal outputs");

        for (group, outputs) in outputs.chunks_mut(ROWS).enumerate() {
            let first = group * ROWS * self.columns;
            let constants = first..first + outputs.len() * self.columns;
            let (nibbles, affine) = (&self.nibbles[constants.clone()], &self.affine[constants]);
            let done = match kernel {
                Kernel::Scalar => 0,
                // SAFETY: the kernel is available and the blocks have equal lengths, both
                // asserted above; `nibbles` and `affine` hold a row of constants per output.
                #[cfg(target_arch = "x86_64")]
                Kernel::Avx2 => unsafe { x86::avx2(nibbles, inputs, outputs) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Kernel::GfniAvx2 => unsafe { x86::gfni_avx2(affine, inputs, outputs) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Kernel::GfniAvx512 => unsafe { x86::gfni_avx512(affine, inputs, outputs) },
                // SAFETY: as above.
                #[cfg(target_arch = "aarch64")]
                Kernel::Neon => unsafe { neon::neon(nibbles, inputs, outputs) },
                #[allow(unreachable_patterns, reason = "kernels of other machines")]
                _ => 0,
            };
            let _ = affine;
            scalar(nibbles, inputs, outputs, done);
        }
    }
}

/// Computes what the wide kernels leave over: the bytes of each block from `from` on.
fn scalar(nibbles: &[[u8; 32]], inputs: &[&[u8]], outputs: &mut [&mut [u8]], from: usize) {
    for (tables, output) in nibbles.chunks_exact(inputs.len()).zip(outputs) {
        output[from..].fill(0);
        for (table, input) in tables.iter().zip(inputs) {
            for (out, &byte) in output[from..].iter_mut().zip(&input[from..]) {
                *out ^= table[usize::from(byte & 15)] ^ table[16 + usize::from(byte >> 4)];
            }
        }
    }
}

fn nibbles(constant: u8) -> [u8; 32] {
    let mut table = [0; 32];
    for half in 0..16u8 {
        table[usize::from(half)] = mul(constant, half);
        table[16 + usize::from(half)] = mul(constant, half << 4);
    }
    table
}

/// Bit i of a product is the parity of byte 7-i of the matrix and the factor (Intel SDM,
/// GF2P8AFFINEQB).
fn affine(constant: u8) -> u64 {
    let mut rows = [0u8; 8];
    for column in 0..8 {
        let product = mul(constant, 1 << column);
        for (bit, row) in rows.iter_mut().rev().enumerate() {
            *row |= ((product >> bit) & 1) << column;
        }
    }
    u64::from_le_bytes(rows)
}

/// Powers of the generator 2, twice around so that a sum of two logarithms needs no reduction.
static EXP: [u8; 510] = {
    let mut exp = [0; 510];
    let (mut i, mut power) = (0, 1u16);
    while i < 255 {
        exp[i] = power as u8;
        exp[i + 255] = power as u8;
        power <<= 1;
        if power & 0x100 != 0 {
            power ^= 0x11d;
        }
        i += 1;
    }
    exp
};

static LOG: [u8; 256] = {
    let mut log = [0; 256];
    let mut i = 0;
    while i < 255 {
        log[EXP[i] as usize] = i as u8;
        i += 1;
    }
    log
};

/// The product of two elements. (Their sum is their exclusive or.)
pub fn mul(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    EXP[usize::from(LOG[usize::from(a)]) + usize::from(LOG[usize::from(b)])]
}

/// The quotient of two elements.
///
/// # Panics
/// If the divisor is 0.
pub fn div(a: u8, b: u8) -> u8 {
    assert!(b != 0, "division by zero in GF(2^8)");
    if a == 0 {
        return 0;
    }
    EXP[usize::from(LOG[usize::from(a)]) + 255 - usize::from(LOG[usize::from(b)])]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Multiplication as the definition has it, bit by bit.
    fn mul_by_definition(a: u8, b: u8) -> u8 {
        let mut product = 0u16;
        for bit in 0..8 {
            if b >> bit & 1 == 1 {
                product ^= u16::from(a) << bit;
            }
        }
        for bit in (8..16).rev() {
            if product >> bit & 1 == 1 {
                product ^= 0x11d << (bit - 8);
            }
        }
        product as u8
    }

    #[test]
    fn tables_and_division_agree_with_the_definition() {
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(mul(a, b), mul_by_definition(a, b), "{a} * {b}");
                if b != 0 {
                    assert_eq!(mul(div(a, b), b), a, "{a} / {b}");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn every_kernel_computes_what_the_scalar_one_does(
            columns in 1usize..34, rows in 1usize..14, len in 0usize..1400, seed: u64,
        ) {
            let mut state = seed | 1;
            let mut byte = || {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 56) as u8
            };
            let coefficients: Vec<u8> = (0..columns * rows).map(|_| byte()).collect();
            let blocks: Vec<Vec<u8>> =
                (0..columns).map(|_| (0..len).map(|_| byte()).collect()).collect();
            let inputs: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
            let matrix = Matrix::new(columns, &coefficients);
            let run = |kernel| {
                let mut out = vec![vec![0xa5; len]; rows];
                let mut outputs: Vec<&mut [u8]> = out.iter_mut().map(Vec::as_mut_slice).collect();
                matrix.apply(kernel, &inputs, &mut outputs);
                out
            };
            let expected = run(Kernel::Scalar);
            for (row, out) in expected.iter().enumerate() {
                for (at, &found) in out.iter().enumerate() {
                    let sum = (0..columns).fold(0, |sum, column| {
                        sum ^ mul(coefficients[row * columns + column], blocks[column][at])
                    });
                    prop_assert_eq!(found, sum);
                }
            }
            for kernel in Kernel::available() {
                prop_assert!(run(kernel) == expected, "{:?}", kernel);
            }
        }
    }
}
