//! Proving that a shard is what was signed, and making lost ones anew without any key.

use crate::spread::{NewShard, Spread};
use crate::store::ShardFile;
use crate::{Error, Vault};
use std::collections::BTreeSet;
use strongroom_record::{Coding, Placement, PlacementState, SegmentId, ShelfId, Time};
use strongroom_shard::{
    BLOCK, Code, FOOTER_BYTES, HEADER_BYTES_MAX, Header, Proof, TRAILER_BYTES_MAX, Tree,
};

/// Bytes of a shard that are read at once.
const WINDOW: usize = 64 * BLOCK;

/// What was found of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every byte is what was signed.
    Good,
    /// It is there, and it is not; what is wrong, for a person.
    Damaged(String),
    /// It, or its shelf, is not there; why, for a person.
    Missing(String),
}

/// The check of one shard.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Which.
    pub placement: Placement,
    /// What was found.
    pub verdict: Verdict,
}

impl Checked {
    /// The state that a registry should note.
    pub fn state(&self) -> PlacementState {
        match self.verdict {
            Verdict::Good => PlacementState::Good,
            Verdict::Damaged(_) => PlacementState::Damaged,
            Verdict::Missing(_) => PlacementState::Missing,
        }
    }
}

impl Vault {
    /// Reads every byte of a shard and compares it with what was signed. Needs no key. `tell` hears
    /// of bytes as they are read.
    pub fn check(&self, placement: &Placement, tell: &mut dyn FnMut(u64)) -> Checked {
        let verdict = match self.shard_file(placement) {
            Err(why) => Verdict::Missing(why),
            Ok(file) => {
                whole(&file, placement, tell).map_or_else(Verdict::Damaged, |_| Verdict::Good)
            }
        };
        Checked { placement: placement.clone(), verdict }
    }

    /// Makes the shards of `placements` that are not good anew, from k that are proven, and stores
    /// them durably: where they stood if that shelf is there, else on another. All placements of one
    /// coding of one segment must be given. Returns the new placements; nothing old is overwritten.
    /// Needs no key.
    pub fn repair(
        &self,
        placements: &[Placement],
        now: Time,
        tell: &mut dyn FnMut(u64),
    ) -> Result<Repaired, Error> {
        let Some(first) = placements.first() else { return Ok(Repaired::default()) };
        let (segment, number) = (first.segment, first.coding);
        let (mut good, mut bad, mut faults) = (Vec::new(), Vec::new(), Vec::new());
        for placement in placements {
            let read = self.shard_file(placement).and_then(|file| {
                let proof = whole(&file, placement, tell)?;
                Ok((placement, file, proof))
            });
            match read {
                Ok(found) => good.push(found),
                Err(why) => {
                    faults.push(format!("shard {} {why}", placement.index));
                    bad.push(placement);
                }
            }
        }
        let Some((_, _, proof)) = good.first() else {
            return Err(lost(segment, 0, 1, &faults));
        };
        let proof = proof.clone();
        let header = proof.header();
        let (k, n) = (header.k, header.n);
        if good.len() < usize::from(k) {
            return Err(lost(segment, good.len(), usize::from(k), &faults));
        }
        let common = proof.common();
        if good.iter().any(|(_, _, p)| p.common() != common) {
            return Err(lost(segment, good.len(), usize::from(k), &["they differ".to_string()]));
        }
        let known: BTreeSet<u8> = placements.iter().map(|p| p.index).collect();
        let unplaced = (0..n).filter(|i| !known.contains(i)).map(|i| (i, ShelfId([0; 16])));
        let wanted: Vec<(u8, ShelfId)> =
            bad.iter().map(|p| (p.index, p.shelf)).chain(unplaced).collect();
        if wanted.is_empty() {
            return Ok(Repaired::default());
        }
        let coding = Coding::new(k, n)
            .map_err(|e| lost(segment, good.len(), usize::from(k), &[e.to_string()]))?;
        let mut taken: BTreeSet<ShelfId> = good.iter().map(|(p, _, _)| p.shelf).collect();
        let mut shelves = Vec::new();
        for (_, stood) in &wanted {
            let shelf = self.replacement(segment, coding, *stood, &taken)?;
            taken.insert(shelf.spec().id);
            shelves.push(shelf);
        }
        let shard = |source| Error::Shard { segment, source };
        let indices: Vec<u8> = wanted.iter().map(|w| w.0).collect();
        let sources: Vec<_> = good.iter().take(usize::from(k)).collect();
        let from: Vec<u8> = sources.iter().map(|(p, _, _)| p.index).collect();
        // The header is the same in all but its index, so it is made before the blocks; the trees
        // of the new shards follow from their blocks.
        let shards = (indices.iter().zip(shelves))
            .map(|(index, shelf)| {
                let header = Header { index: *index, ..proof.header().clone() }.encode();
                NewShard { index: *index, header, shelf: Ok(shelf) }
            })
            .collect();
        let mut spread = Spread::begin(self, segment, number, indices.len(), shards)?;
        let blocks = proof.blocks_bytes();
        let start = proof.header_len() as u64;
        let decoder = Code::new(k, n).and_then(|c| c.decoder(&from, &indices)).map_err(shard)?;
        let mut trees: Vec<Tree> = indices.iter().map(|_| Tree::new()).collect();
        let mut at = 0;
        while at < blocks {
            let len = (blocks - at).min(WINDOW as u64) as usize;
            let mut have = Vec::with_capacity(sources.len());
            for (placement, file, _) in &sources {
                have.push(file.read(start + at, len).map_err(|why| {
                    lost(segment, 0, usize::from(k), &[format!("shard {}: {why}", placement.index)])
                })?);
            }
            let mut lanes = vec![vec![0u8; len]; indices.len()];
            // Coding works byte by byte across lanes, so a window may span stripes.
            let have: Vec<&[u8]> = have.iter().map(Vec::as_slice).collect();
            let mut out: Vec<&mut [u8]> = lanes.iter_mut().map(Vec::as_mut_slice).collect();
            decoder.reconstruct(&have, &mut out).map_err(shard)?;
            for (tree, lane) in trees.iter_mut().zip(&lanes) {
                tree.push(lane);
            }
            spread.write(&mut lanes)?;
            tell(len as u64 * indices.len() as u64);
            at += len as u64;
        }
        let mut trailers = Vec::new();
        let mut roots = Vec::new();
        for (index, tree) in indices.iter().zip(trees) {
            let (leaves, root) = tree.finish();
            if Some(root) != proof.root(*index) {
                return Err(Error::Coding { segment });
            }
            let (_, trailer) = proof.make_shard_parts(*index, &leaves).map_err(shard)?;
            trailers.push(trailer);
            roots.push(root);
        }
        spread.finish(&trailers, &roots)?;
        Ok(Repaired { made: spread.placements(now), faults })
    }
}

/// Shards made anew.
#[derive(Clone, Debug, Default)]
pub struct Repaired {
    /// Where they stand now: upsert them by segment, coding and index.
    pub made: Vec<Placement>,
    /// What was wrong, for a person.
    pub faults: Vec<String>,
}

pub(crate) fn lost(segment: SegmentId, good: usize, needed: usize, faults: &[String]) -> Error {
    Error::Lost { segment, good, needed, faults: faults.join("; ") }
}

/// Header and trailer of a shard, verified and compared with what the placement says it is.
pub(crate) fn proof_of(file: &ShardFile, placement: &Placement) -> Result<Proof, String> {
    let bytes = file.bytes();
    let head = file.read(0, bytes.min(HEADER_BYTES_MAX as u64) as usize)?;
    let footer = bytes.checked_sub(FOOTER_BYTES as u64).ok_or("the shard is too short")?;
    let footer = file.read(footer, FOOTER_BYTES)?;
    let layout = strongroom_shard::outer_layout(&head, &footer).map_err(|e| e.to_string())?;
    if layout.shard_bytes() != bytes || layout.trailer_len > TRAILER_BYTES_MAX {
        return Err("its lengths do not fit its size".into());
    }
    let trailer = file.read(bytes - layout.trailer_len as u64, layout.trailer_len)?;
    let header = head.get(..layout.header_len).ok_or("its header is cut short")?;
    let proof = strongroom_shard::verify(header, &trailer).map_err(|e| e.to_string())?;
    let header = proof.header();
    let is = (header.segment, header.coding.epoch, header.coding.number, header.index);
    let asked =
        (placement.segment.0, placement.coding.epoch, placement.coding.number, placement.index);
    match is == asked {
        true => Ok(proof),
        false => Err("another shard stands in its place".into()),
    }
}

/// Every byte of a shard, verified.
pub(crate) fn whole(
    file: &ShardFile,
    placement: &Placement,
    tell: &mut dyn FnMut(u64),
) -> Result<Proof, String> {
    let proof = proof_of(file, placement)?;
    let start = proof.header_len() as u64;
    let blocks = proof.blocks_bytes();
    let mut tree = Tree::new();
    let mut buf = vec![0; WINDOW.min(blocks as usize)];
    let mut at = 0;
    while at < blocks {
        let len = (blocks - at).min(WINDOW as u64) as usize;
        file.read_at(start + at, &mut buf[..len])?;
        tree.push(&buf[..len]);
        tell(len as u64);
        at += len as u64;
    }
    match Some(tree.finish().1) == proof.root(proof.header().index) {
        true => Ok(proof),
        false => Err("its blocks are not what was signed".into()),
    }
}
