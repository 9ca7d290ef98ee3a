//! The names that manifests list, each once, in little more memory than their bytes: a million of them
//! are ordinary.

use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;

/// Names in the order in which they were first listed; a name's place in it is its slot.
#[derive(Default)]
pub(super) struct Names {
    /// All of them, one after another.
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
    slots: HashTable<u32>,
    hasher: RandomState,
}

impl Names {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn slot(&self, name: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(name);
        self.slots.find(hash, |slot| self.at(*slot) == name).copied()
    }

    /// Adds a name that is not there yet. Returns its slot.
    pub(super) fn add(&mut self, name: &[u8]) -> u32 {
        let slot = self.ends.len() as u32; // below `NAMES_MAX`
        self.bytes.extend_from_slice(name);
        self.ends.push(self.bytes.len());
        let (bytes, ends, hasher) = (&self.bytes, &self.ends, &self.hasher);
        let rehash = |slot: &u32| hasher.hash_one(name_at(bytes, ends, *slot));
        self.slots.insert_unique(hasher.hash_one(name), slot, rehash);
        slot
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> + Clone {
        (0..self.ends.len() as u32).map(|slot| self.at(slot))
    }

    fn at(&self, slot: u32) -> &[u8] {
        name_at(&self.bytes, &self.ends, slot)
    }
}

fn name_at<'a>(bytes: &'a [u8], ends: &[usize], slot: u32) -> &'a [u8] {
    let slot = slot as usize;
    let start = slot.checked_sub(1).map_or(0, |before| ends[before]);
    &bytes[start..ends[slot]]
}
