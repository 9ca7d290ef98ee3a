//! Where a segment's ciphertext lies in its shards: arithmetic only.

use crate::{BLOCK, CHUNK, Error, SEGMENT_BYTES_MAX, TAG};
use std::ops::Range;

/// How a ciphertext is cut into stripes of k blocks.
///
/// Stripe i is block i of every shard. All blocks are of [`BLOCK`] bytes but those of the last
/// stripe, which are as long as k equal blocks must be to hold what is left, padded with zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Data blocks in a stripe.
    pub k: u8,
    /// Bytes of ciphertext.
    pub ciphertext_bytes: u64,
}

/// A run of ciphertext within one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The stripe, which is the number of the block in its shard.
    pub stripe: u64,
    /// The shard, below k.
    pub lane: u8,
    /// Where in the block it begins.
    pub offset: usize,
    /// Its bytes.
    pub len: usize,
}

impl Layout {
    /// The number of stripes; at least 1 for a ciphertext that is not empty.
    pub fn stripes(&self) -> u64 {
        self.ciphertext_bytes.div_ceil(self.stripe_bytes())
    }

    /// Where blocks of stripe `i` begin in the blocks of each shard, and how long they are.
    ///
    /// # Panics
    /// If there is no such stripe.
    pub fn stripe(&self, i: u64) -> (u64, usize) {
        assert!(i < self.stripes(), "stripe {i} of {}", self.stripes());
        let rest = self.ciphertext_bytes - i * self.stripe_bytes();
        let len = rest.min(self.stripe_bytes()).div_ceil(u64::from(self.k));
        (i * BLOCK as u64, len as usize)
    }

    /// Bytes of blocks in each shard.
    pub fn blocks_bytes(&self) -> u64 {
        match self.stripes() {
            0 => 0,
            stripes => {
                let (offset, len) = self.stripe(stripes - 1);
                offset + len as u64
            }
        }
    }

    /// The ciphertext that block `stripe` of shard `lane` (below k) holds; shorter than the block,
    /// or empty, where it is padded.
    pub fn cipher_range(&self, stripe: u64, lane: u8) -> Range<u64> {
        let (_, len) = self.stripe(stripe);
        let start = stripe * self.stripe_bytes() + u64::from(lane) * len as u64;
        let end = start + len as u64;
        start.min(self.ciphertext_bytes)..end.min(self.ciphertext_bytes)
    }

    /// The runs of blocks that hold a range of ciphertext, in order.
    pub fn pieces(&self, range: Range<u64>) -> impl Iterator<Item = Piece> + use<> {
        let layout = *self;
        let end = range.end.min(layout.ciphertext_bytes);
        let mut at = range.start;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let stripe = at / layout.stripe_bytes();
            let (_, block_len) = layout.stripe(stripe);
            let within = at % layout.stripe_bytes();
            let (lane, offset) = (within / block_len as u64, within % block_len as u64);
            let len = (block_len as u64 - offset).min(end - at);
            at += len;
            Some(Piece { stripe, lane: lane as u8, offset: offset as usize, len: len as usize })
        })
    }

    fn stripe_bytes(&self) -> u64 {
        u64::from(self.k) * BLOCK as u64
    }
}

/// Chunks of a plaintext; an empty one has one too, so that its end is authenticated.
pub(crate) fn chunks(plaintext_bytes: u64) -> u64 {
    plaintext_bytes.div_ceil(CHUNK as u64).max(1)
}

/// Bytes of ciphertext of so much plaintext.
pub(crate) fn ciphertext_bytes(plaintext_bytes: u64) -> Result<u64, Error> {
    if plaintext_bytes > SEGMENT_BYTES_MAX {
        return Err(Error::Full { max: SEGMENT_BYTES_MAX });
    }
    Ok(plaintext_bytes + chunks(plaintext_bytes) * TAG as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_a_range_exactly_and_agree_with_blocks() {
        for k in [1u8, 2, 3, 10, 29] {
            let stripe = u64::from(k) * BLOCK as u64;
            for bytes in [1, 16, 17, 16384, stripe - 1, stripe, stripe + 1, 3 * stripe + 12345] {
                let layout = Layout { k, ciphertext_bytes: bytes };
                let mut at = 0;
                for piece in layout.pieces(0..bytes) {
                    let range = layout.cipher_range(piece.stripe, piece.lane);
                    assert_eq!(range, at..at + piece.len as u64);
                    assert_eq!(piece.offset, 0);
                    at = range.end;
                }
                assert_eq!(at, bytes);
                let blocks: u64 = (0..layout.stripes()).map(|i| layout.stripe(i).1 as u64).sum();
                assert_eq!(blocks, layout.blocks_bytes());
                assert!(blocks * u64::from(k) >= bytes && blocks * u64::from(k) < bytes + stripe);
                let middle: Vec<Piece> = layout.pieces(bytes / 3..bytes / 2 + 1).collect();
                let sum: u64 = middle.iter().map(|piece| piece.len as u64).sum();
                assert_eq!(sum, bytes / 2 + 1 - bytes / 3);
            }
        }
    }
}
