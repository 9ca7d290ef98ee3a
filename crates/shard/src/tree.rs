//! The BLAKE3 tree over a shard's blocks, one leaf to a block.

use crate::BLOCK;
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

/// Hashes a shard's blocks as they pass, in pieces of any length.
///
/// A block of 16 KiB is a whole subtree of 16 BLAKE3 chunks, so that the chaining values of the
/// blocks lead to a root that is the plain BLAKE3 of all blocks (section 2.1 of the BLAKE3 paper).
#[derive(Debug, Clone)]
pub struct Tree {
    leaves: Vec<[u8; 32]>,
    /// The BLAKE3 of the first block by itself: the root, should no other follow.
    first: Option<[u8; 32]>,
    current: blake3::Hasher,
    filled: usize,
}

impl Default for Tree {
    fn default() -> Self {
        Tree::new()
    }
}

impl Tree {
    /// A tree of nothing yet.
    pub fn new() -> Tree {
        Tree { leaves: Vec::new(), first: None, current: blake3::Hasher::new(), filled: 0 }
    }

    /// Hashes what comes next.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.filled));
            self.current.update(now);
            self.filled += now.len();
            bytes = later;
            if self.filled == BLOCK {
                self.end_block();
            }
        }
    }

    /// The leaves, and the root. A single block has its plain BLAKE3 as leaf and root; no block at
    /// all has no leaf, and the BLAKE3 of nothing.
    pub fn finish(mut self) -> (Vec<[u8; 32]>, [u8; 32]) {
        if self.filled > 0 {
            self.end_block();
        }
        if let ([only], Some(first)) = (self.leaves.as_mut_slice(), self.first) {
            *only = first;
        }
        let root = root_of(&self.leaves);
        (self.leaves, root)
    }

    fn end_block(&mut self) {
        if self.leaves.is_empty() {
            self.first = Some(*self.current.finalize().as_bytes());
        }
        self.leaves.push(self.current.finalize_non_root());
        self.filled = 0;
        self.current = blake3::Hasher::new();
        self.current.set_input_offset(offset(self.leaves.len()));
    }
}

/// The root above the leaves of a shard's blocks.
pub fn root_of(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => *blake3::hash(&[]).as_bytes(),
        [only] => *only,
        _ => {
            let (left, right) = halves(leaves);
            *merge_subtrees_root(&node(left), &node(right), Mode::Hash).as_bytes()
        }
    }
}

/// The leaf of block `i`, where `blocks` is the number of blocks in the shard.
pub(crate) fn leaf(i: usize, block: &[u8], blocks: usize) -> [u8; 32] {
    if blocks == 1 {
        return *blake3::hash(block).as_bytes();
    }
    blake3::Hasher::new().set_input_offset(offset(i)).update(block).finalize_non_root()
}

fn node(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [only] => *only,
        _ => {
            let (left, right) = halves(leaves);
            merge_subtrees_non_root(&node(left), &node(right), Mode::Hash)
        }
    }
}

/// The left subtree is the largest power of two of leaves that leaves some for the right.
fn halves(leaves: &[[u8; 32]]) -> (&[[u8; 32]], &[[u8; 32]]) {
    leaves.split_at(leaves.len().div_ceil(2).next_power_of_two())
}

fn offset(block: usize) -> u64 {
    block as u64 * BLOCK as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_plain_blake3_and_pieces_do_not_matter() {
        let bytes: Vec<u8> = (0..12 * BLOCK + 77).map(|i| ((i * i) >> 7) as u8).collect();
        let lengths = (0..=12).flat_map(|b| [0, 1, 1023, 1024, 1025, 16383].map(|r| b * BLOCK + r));
        for len in lengths.filter(|&len| len <= bytes.len()) {
            let bytes = &bytes[..len];
            let mut whole = Tree::new();
            whole.push(bytes);
            let (leaves, root) = whole.finish();
            assert_eq!(root, *blake3::hash(bytes).as_bytes(), "{len} bytes");
            for (i, block) in bytes.chunks(BLOCK).enumerate() {
                assert_eq!(leaf(i, block, leaves.len()), leaves[i], "block {i} of {len} bytes");
            }
            let mut pieces = Tree::new();
            bytes.chunks(999).for_each(|piece| pieces.push(piece));
            assert_eq!(pieces.finish(), (leaves, root), "{len} bytes");
        }
    }
}
