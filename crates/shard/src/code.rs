//! The erasure code: n blocks from k, any k of which give all.

use crate::Error;
use crate::gf::{self, Kernel, Matrix};

/// A systematic Reed–Solomon code over GF(2^8).
///
/// Byte by byte, the k data blocks are the values at the points 0..k of a polynomial of degree
/// below k, and block i is its value at point i. Every coefficient is therefore one of Lagrange's,
/// and no matrix is inverted. It is the same code as the Vandermonde-derived one of Backblaze's
/// JavaReedSolomon and of the crate reed-solomon-erasure. With k = 1 all blocks are copies.
///
/// ```
/// use strongroom_shard::Code;
/// let code = Code::new(2, 3)?;
/// let mut parity = [0; 4];
/// code.encode(&[b"seal", b"ed!!"], &mut [&mut parity])?;
/// let mut lost = [0; 4];
/// code.reconstruct(&[(2, &parity), (1, b"ed!!")], &[0], &mut [&mut lost])?;
/// assert_eq!(&lost, b"seal");
/// # Ok::<(), strongroom_shard::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Code {
    k: u8,
    n: u8,
    kernel: Kernel,
    parity: Matrix,
}

impl Code {
    /// The code of k out of n; `1 <= k <= n <= 255`.
    pub fn new(k: u8, n: u8) -> Result<Code, Error> {
        if k == 0 || k > n {
            return Err(Error::Coding { k, n });
        }
        let data: Vec<u8> = (0..k).collect();
        let parity: Vec<u8> = (k..n).collect();
        Ok(Code { k, n, kernel: Kernel::best(), parity: lagrange(&data, &parity) })
    }

    /// The same code computed by another kernel, for tests and measurements.
    ///
    /// # Panics
    /// If the kernel is not available on this machine.
    pub fn with_kernel(mut self, kernel: Kernel) -> Code {
        assert!(kernel.is_available(), "{kernel:?} does not run on this machine");
        self.kernel = kernel;
        self
    }

    /// Blocks needed.
    pub fn k(&self) -> u8 {
        self.k
    }

    /// Blocks in all.
    pub fn n(&self) -> u8 {
        self.n
    }

    /// Computes the n-k parity blocks from the k data blocks, all of one length.
    pub fn encode(&self, data: &[&[u8]], parity: &mut [&mut [u8]]) -> Result<(), Error> {
        if data.len() != usize::from(self.k) || parity.len() != usize::from(self.n - self.k) {
            return Err(Error::Blocks { why: "k data and n-k parity blocks are asked for" });
        }
        apply(&self.parity, self.kernel, data, parity)
    }

    /// Computes the blocks `want` from any k blocks, given as index and bytes.
    pub fn reconstruct(
        &self,
        have: &[(u8, &[u8])],
        want: &[u8],
        out: &mut [&mut [u8]],
    ) -> Result<(), Error> {
        let indices: Vec<u8> = have.iter().map(|(index, _)| *index).collect();
        let blocks: Vec<&[u8]> = have.iter().map(|(_, block)| *block).collect();
        self.decoder(&indices, want)?.reconstruct(&blocks, out)
    }

    /// Prepares reconstruction of `want` from the k blocks `have`, for many stripes.
    pub fn decoder(&self, have: &[u8], want: &[u8]) -> Result<Decoder, Error> {
        if have.len() != usize::from(self.k) {
            return Err(Error::Blocks { why: "k blocks are asked for" });
        }
        let mut seen = [false; 255];
        for &index in have {
            if index >= self.n || std::mem::replace(&mut seen[usize::from(index)], true) {
                return Err(Error::Index { index });
            }
        }
        if let Some(&index) = want.iter().find(|&&index| index >= self.n) {
            return Err(Error::Index { index });
        }
        Ok(Decoder { kernel: self.kernel, matrix: lagrange(have, want), wanted: want.len() })
    }
}

/// A prepared reconstruction of the same blocks from the same blocks, stripe after stripe.
#[derive(Debug, Clone)]
pub struct Decoder {
    kernel: Kernel,
    matrix: Matrix,
    wanted: usize,
}

impl Decoder {
    /// Computes the wanted blocks of one stripe; `have` in the order given to [`Code::decoder`].
    pub fn reconstruct(&self, have: &[&[u8]], out: &mut [&mut [u8]]) -> Result<(), Error> {
        if out.len() != self.wanted {
            return Err(Error::Blocks { why: "a block to write is asked for each one wanted" });
        }
        apply(&self.matrix, self.kernel, have, out)
    }
}

fn apply(m: &Matrix, kernel: Kernel, from: &[&[u8]], to: &mut [&mut [u8]]) -> Result<(), Error> {
    let len = from.first().map_or(0, |block| block.len());
    let equal = from.iter().all(|b| b.len() == len) && to.iter().all(|b| b.len() == len);
    if !equal || from.len() != m.columns() {
        return Err(Error::Blocks { why: "they differ in length or number" });
    }
    m.apply(kernel, from, to);
    Ok(())
}

/// The matrix that takes the values of a polynomial at `points` to its values at `wanted`; its
/// degree is below the number of points, which are distinct.
fn lagrange(points: &[u8], wanted: &[u8]) -> Matrix {
    let others = |j: usize| points.iter().enumerate().filter(move |(m, _)| *m != j);
    let below: Vec<u8> = (0..points.len())
        .map(|j| others(j).fold(1, |product, (_, &m)| gf::mul(product, points[j] ^ m)))
        .collect();
    let mut coefficients = Vec::with_capacity(points.len() * wanted.len());
    for &x in wanted {
        for (j, &below) in below.iter().enumerate() {
            let above = others(j).fold(1, |product, (_, &m)| gf::mul(product, x ^ m));
            coefficients.push(gf::div(above, below));
        }
    }
    Matrix::new(points.len(), &coefficients)
}
