//! Finding keyrings on the shelves alone: what whoever has lost the key file, or the registry, has left.

use crate::{Error, Vault};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use strongroom_record::{CodingNumber, InstitutionId, Placement, SegmentId, SegmentKind};

/// A keyring as the shelves show it, written by whom its institution certified.
#[derive(Clone, Debug)]
pub struct FoundKeyring {
    /// Its segment.
    pub segment: SegmentId,
    /// Whose it is.
    pub institution: InstitutionId,
    /// The generation of the key that it is sealed to.
    pub generation: u32,
    /// Where the shards of one coding of it stand.
    pub placements: Vec<Placement>,
}

impl Vault {
    /// The keyrings that stand on the shelves that are there. Reads header and trailer of every shard.
    pub fn find_keyrings(&self) -> Result<Vec<FoundKeyring>, Error> {
        let mut found: BTreeMap<(SegmentId, CodingNumber), FoundKeyring> = BTreeMap::new();
        for shelf in self.shelves() {
            shelf.find(&mut |_| {}, &mut |shard| {
                let placement = shard.placement;
                if let Ok(what) = shard.what
                    && what.kind == Some(SegmentKind::Keyring)
                {
                    let of = found.entry((placement.segment, placement.coding));
                    let of = of.or_insert(FoundKeyring {
                        segment: placement.segment,
                        institution: what.institution,
                        generation: what.generation,
                        placements: Vec::new(),
                    });
                    of.placements.push(placement);
                }
                ControlFlow::Continue(())
            })?;
        }
        Ok(found.into_values().collect())
    }
}
