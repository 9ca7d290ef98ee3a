//! Finding keyrings on the shelves alone: what whoever has lost the key file, or the registry, has left.

use crate::shelf::identity_of;
use crate::store::encode_frames;
use crate::{Error, Identity, Vault};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use strongroom_record::{
    CodingNumber, InstitutionId, LogId, Placement, PlacementState, SegmentId, Time,
};
use strongroom_shard::{Kind, OUTER_HEAD_BYTES};
use strongroom_spool::{Disk, Key, Location, ScanOptions};

/// Keyrings that one call finds at most; more stand on no shelf, since keys are rotated by hand.
pub const KEYRINGS_MAX: usize = 10_000;

/// A keyring as the shelves show it. Nothing of it was verified: reading it does that.
#[derive(Clone, Debug)]
pub struct FoundKeyring {
    /// Its segment.
    pub segment: SegmentId,
    /// Whose it says it is.
    pub institution: InstitutionId,
    /// Where the shards of one coding of it stand.
    pub placements: Vec<Placement>,
}

impl Vault {
    /// What the shelf in `dir` says of itself, or why it is none. For whoever has no registry.
    pub fn identify(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Identity, String> {
        identity_of(disk.as_ref(), dir)
    }

    /// The keyrings that stand on the shelves that are there, found by reading every frame's head.
    pub fn find_keyrings(&self) -> Result<Vec<FoundKeyring>, Error> {
        let mut found: BTreeMap<(SegmentId, CodingNumber), FoundKeyring> = BTreeMap::new();
        for shelf in self.shelves() {
            let io = |source| Error::Spool { shelf: shelf.spec.name.clone(), source };
            // The frames of each shard, in the order in which they were written; each copy begins anew.
            let mut copies: BTreeMap<Key, Vec<Location>> = BTreeMap::new();
            let mut visit = |frame: strongroom_spool::Found| {
                if frame.first == 0 {
                    let mut head = [0; OUTER_HEAD_BYTES];
                    let read = shelf.spool.read(&frame.location, &frame.key, 0, &mut head);
                    let keyring = read.is_ok() && head[61] == Kind::Keyring.number();
                    if keyring && copies.len() < KEYRINGS_MAX {
                        copies.insert(frame.key, vec![frame.location]);
                    }
                } else if let Some(copy) = copies.get_mut(&frame.key) {
                    copy.push(frame.location);
                }
                ControlFlow::Continue(())
            };
            shelf.spool.scan(ScanOptions::default(), &mut visit).map_err(io)?;
            for (key, frames) in copies {
                let mut head = [0; OUTER_HEAD_BYTES];
                if shelf.spool.read(&frames[0], &key, 0, &mut head).is_err() {
                    continue;
                }
                let number = |at: usize| {
                    let mut bytes = [0; 4];
                    bytes.copy_from_slice(&key[at..at + 4]);
                    u32::from_le_bytes(bytes)
                };
                let (mut segment, mut institution) = ([0; 16], [0; 16]);
                segment.copy_from_slice(&key[..16]);
                institution.copy_from_slice(&head[16..32]);
                let segment = SegmentId(segment);
                let coding = CodingNumber { epoch: number(16), number: number(20) };
                let placement = Placement {
                    segment,
                    coding,
                    index: key[24],
                    shelf: shelf.spec.id,
                    log: LogId(frames[0].log.0),
                    frames: encode_frames(&frames),
                    bytes: frames.iter().map(|frame| u64::from(frame.len)).sum(),
                    state: PlacementState::Good,
                    checked: Time(0),
                };
                let institution = InstitutionId(institution);
                let placements = Vec::new();
                let of = FoundKeyring { segment, institution, placements };
                found.entry((segment, coding)).or_insert(of).placements.push(placement);
            }
        }
        Ok(found.into_values().collect())
    }
}
