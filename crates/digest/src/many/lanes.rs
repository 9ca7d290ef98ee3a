//! Which input is in which lane: the part that all kernels share.

use crate::ffi::Context;
use crate::{Algorithm, Digest};

/// Bytes per block, in all algorithms that have a kernel.
pub(super) const BLOCK_BYTES: usize = 64;

/// Compresses blocks of `L` inputs side by side, into `W` chaining words each. A value of the type is
/// the proof that this machine has the instructions.
pub(super) trait Kernel<const L: usize, const W: usize>: Copy {
    /// What is computed.
    const ALGORITHM: Algorithm;
    /// The chaining words before the first block.
    const START: [u32; W];
    /// Words and the length in bits are big-endian (SHA) or little-endian (MD5).
    const BIG_ENDIAN: bool;
    /// With fewer lanes in use than this, one stream after the other is faster.
    const LANES_MIN: usize;

    /// Compresses the first `count` blocks of each lane's bytes. `chains[w][l]` is word w of lane l.
    ///
    /// # Panics
    /// When a lane has fewer bytes.
    fn compress(self, chains: &mut [[u32; L]; W], lanes: &[&[u8]; L], count: usize);
}

/// Digests of all inputs, appended to `out` in order.
pub(super) fn run<const L: usize, const W: usize, K: Kernel<L, W>>(
    kernel: K,
    inputs: &[&[u8]],
    out: &mut Vec<Digest>,
) {
    let first = out.len();
    out.resize(first + inputs.len(), Digest::padded(K::ALGORITHM, &[0; 64][..K::ALGORITHM.size()]));
    let out = &mut out[first..];

    // Longest first: the lanes then end at about the same time.
    let mut order: Vec<usize> = (0..inputs.len()).collect();
    order.sort_unstable_by_key(|&input| std::cmp::Reverse(inputs[input].len()));
    let mut waiting = order.into_iter();

    let mut chains = [[0; L]; W];
    let mut lanes: [Option<Lane<'_>>; L] = std::array::from_fn(|_| None);
    for (l, lane) in lanes.iter_mut().enumerate() {
        *lane = next(&mut waiting, inputs, K::BIG_ENDIAN);
        start::<L, W, K>(&mut chains, l);
    }
    // What all lanes in use can go on for is what the one nearest to its end can.
    loop {
        if lanes.iter().flatten().count() < K::LANES_MIN {
            for (l, lane) in lanes.iter_mut().enumerate() {
                if let Some(left) = lane.take_if(|lane| lane.tail_done == 0) {
                    out[left.input] = alone::<L, W, K>(&chains, l, &left, inputs[left.input]);
                }
            }
        }
        let Some(shortest) = lanes.iter().flatten().map(Lane::bytes).min_by_key(|b| b.len()) else {
            return;
        };
        let count = shortest.len() / BLOCK_BYTES;
        // A lane that is out of work goes over another's bytes, for nothing.
        let bytes = std::array::from_fn(|l| lanes[l].as_ref().map_or(shortest, Lane::bytes));
        kernel.compress(&mut chains, &bytes, count);
        for (l, lane) in lanes.iter_mut().enumerate() {
            let Some(busy) = lane else { continue };
            busy.advance(count * BLOCK_BYTES);
            if busy.bytes().is_empty() {
                out[busy.input] = digest::<L, W, K>(&chains, l);
                *lane = next(&mut waiting, inputs, K::BIG_ENDIAN);
                start::<L, W, K>(&mut chains, l);
            }
        }
    }
}

/// An input on its way through a lane.
struct Lane<'a> {
    /// Its index among all.
    input: usize,
    /// Its whole blocks still to be compressed.
    body: &'a [u8],
    /// Its last bytes with padding and length: one block or two.
    tail: [u8; 2 * BLOCK_BYTES],
    /// What of the tail was compressed, in bytes.
    tail_done: usize,
    /// What of the tail is used, in bytes.
    tail_bytes: usize,
}

impl Lane<'_> {
    /// What is to be compressed next: whole blocks, or none at the end.
    fn bytes(&self) -> &[u8] {
        match self.body {
            [] => &self.tail[self.tail_done..self.tail_bytes],
            body => body,
        }
    }

    fn advance(&mut self, bytes: usize) {
        match self.body {
            [] => self.tail_done += bytes,
            body => self.body = &body[bytes..],
        }
    }
}

/// The next input that waits, ready for a lane.
fn next<'a>(
    waiting: &mut impl Iterator<Item = usize>,
    inputs: &[&'a [u8]],
    big_endian: bool,
) -> Option<Lane<'a>> {
    let input = waiting.next()?;
    let bytes = inputs[input];
    let (body, rest) = bytes.split_at(bytes.len() / BLOCK_BYTES * BLOCK_BYTES);
    // A one bit, zeros, and the length in bits in the last eight bytes.
    let tail_bytes = (rest.len() + 9).next_multiple_of(BLOCK_BYTES);
    let mut tail = [0; 2 * BLOCK_BYTES];
    tail[..rest.len()].copy_from_slice(rest);
    tail[rest.len()] = 0x80;
    let bits = (bytes.len() as u64) << 3;
    let bits = if big_endian { bits.to_be_bytes() } else { bits.to_le_bytes() };
    tail[tail_bytes - 8..tail_bytes].copy_from_slice(&bits);
    Some(Lane { input, body, tail, tail_done: 0, tail_bytes })
}

/// The digest of an input whose last whole blocks no lane compresses any more.
fn alone<const L: usize, const W: usize, K: Kernel<L, W>>(
    chains: &[[u32; L]; W],
    lane: usize,
    left: &Lane<'_>,
    input: &[u8],
) -> Digest {
    let whole = input.len() / BLOCK_BYTES * BLOCK_BYTES;
    let done = whole - left.body.len();
    let chain: Vec<u8> = chains.iter().flat_map(|word| word[lane].to_le_bytes()).collect();
    let mut context = Context::resume(K::ALGORITHM, done as u64, &chain, &[]);
    context.update(&input[done..]);
    Digest::padded(K::ALGORITHM, &context.finish()[..K::ALGORITHM.size()])
}

fn start<const L: usize, const W: usize, K: Kernel<L, W>>(chains: &mut [[u32; L]; W], lane: usize) {
    for (word, start) in chains.iter_mut().zip(K::START) {
        word[lane] = start;
    }
}

fn digest<const L: usize, const W: usize, K: Kernel<L, W>>(
    chains: &[[u32; L]; W],
    lane: usize,
) -> Digest {
    let mut bytes = [0; 64];
    for (four, word) in bytes.chunks_exact_mut(4).zip(chains) {
        let word = word[lane];
        four.copy_from_slice(&if K::BIG_ENDIAN { word.to_be_bytes() } else { word.to_le_bytes() });
    }
    Digest::padded(K::ALGORITHM, &bytes[..K::ALGORITHM.size()])
}
