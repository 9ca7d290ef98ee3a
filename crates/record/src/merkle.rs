//! The Merkle tree of RFC 6962, section 2.1, built leaf by leaf in constant memory.

use crate::Sha256;

/// Grows by leaves; holds one hash per level.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Merkle {
    count: u64,
    /// `peaks[i]` is the root of a full subtree of 2^i leaves, where bit i of `count` is set.
    peaks: Vec<Option<Sha256>>,
}

/// The root of a tree with the count of its leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct MerkleRoot {
    /// Leaves.
    pub count: u64,
    /// The tree's hash.
    pub root: Sha256,
}

impl Merkle {
    /// Adds the hash of a leaf's content; the leaf's own hash is SHA-256(0x00 ‖ content).
    pub fn push(&mut self, leaf: &Sha256) {
        let mut hash = prefixed(0, &leaf.0, &[]);
        for level in 0.. {
            if self.peaks.len() == level {
                self.peaks.push(None);
            }
            match self.peaks[level].take() {
                Some(left) => hash = prefixed(1, &left.0, &hash.0),
                None => {
                    self.peaks[level] = Some(hash);
                    break;
                }
            }
        }
        self.count += 1;
    }

    /// The root so far; of no leaves, the SHA-256 of nothing.
    pub fn root(&self) -> MerkleRoot {
        let root = (self.peaks.iter().flatten().copied())
            .reduce(|right, left| prefixed(1, &left.0, &right.0))
            .unwrap_or_else(|| Sha256::of(b""));
        MerkleRoot { count: self.count, root }
    }
}

fn prefixed(prefix: u8, left: &[u8], right: &[u8]) -> Sha256 {
    let mut form = Vec::with_capacity(65);
    form.push(prefix);
    form.extend_from_slice(left);
    form.extend_from_slice(right);
    Sha256::of(&form)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The recursive definition of the RFC.
    fn mth(leaves: &[Sha256]) -> Sha256 {
        match leaves {
            [] => Sha256::of(b""),
            [leaf] => prefixed(0, &leaf.0, &[]),
            _ => {
                let k = leaves.len().next_power_of_two() / 2;
                prefixed(1, &mth(&leaves[..k]).0, &mth(&leaves[k..]).0)
            }
        }
    }

    #[test]
    fn the_root_is_that_of_rfc_6962() {
        let leaves: Vec<_> = (0..70u8).map(|i| Sha256::of(&[i])).collect();
        let mut tree = Merkle::default();
        for count in 0..=leaves.len() {
            assert_eq!(
                tree.root(),
                MerkleRoot { count: count as u64, root: mth(&leaves[..count]) }
            );
            if let Some(leaf) = leaves.get(count) {
                tree.push(leaf);
            }
        }
    }
}
