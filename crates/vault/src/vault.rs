//! The vault: its shelves, and the verbs on segments.

use crate::place::{self, Candidate};
use crate::spread::Pieces;
use crate::store::ShardFile;
use crate::{Error, Identity, MissingShelf, Shelf, ShelfSpec};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use strongroom_record::{ArchiveId, Coding, Placement, PlacementState, SegmentId, ShelfId};
use strongroom_spool::Disk;

/// What a vault is opened with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The archive whose shelves these are.
    pub archive: ArchiveId,
    /// The archive's epoch: it names this process's logs.
    pub epoch: u32,
    /// This process's own token: it names its logs too.
    pub token: [u8; 16],
    /// Fills a buffer with random bytes that nobody can guess.
    pub random: fn(&mut [u8]),
}

/// All shelves of an archive, as far as they are there. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Vault {
    pub(crate) options: Options,
    disk: Arc<dyn Disk>,
    shelves: Arc<Vec<Arc<Shelf>>>,
    missing: Arc<Vec<MissingShelf>>,
    pub(crate) memory: Arc<Pieces>,
}

impl Vault {
    /// Opens each shelf of `specs`; those that are not there are [`Vault::missing`].
    pub fn open(disk: Arc<dyn Disk>, specs: &[ShelfSpec], options: Options) -> Vault {
        let (mut shelves, mut missing) = (Vec::new(), Vec::new());
        for spec in specs {
            match Shelf::open(&disk, spec, options.archive) {
                Ok(shelf) => shelves.push(Arc::new(shelf)),
                Err(why) => missing.push(*why),
            }
        }
        Vault {
            options,
            disk,
            shelves: Arc::new(shelves),
            missing: Arc::new(missing),
            memory: Arc::default(),
        }
    }

    /// Makes a new shelf's identity and folders. It becomes part of a vault when one is opened with
    /// its [`ShelfSpec`], and its id is noted. One of the same archive and epoch that nothing was stored on
    /// may have been begun and noted by nobody: its id is given back, and the caller knows whether it is.
    pub fn create_shelf(
        disk: &Arc<dyn Disk>,
        dir: &std::path::Path,
        identity: &Identity,
    ) -> Result<ShelfId, Error> {
        Shelf::create(disk, dir, identity)
    }

    /// The shelves that are there.
    pub fn shelves(&self) -> &[Arc<Shelf>] {
        &self.shelves
    }

    /// The shelves that are not, and why.
    pub fn missing(&self) -> &[MissingShelf] {
        &self.missing
    }

    /// The disk under the shelves.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub(crate) fn shelf(&self, id: ShelfId) -> Option<&Arc<Shelf>> {
        self.shelves.iter().find(|shelf| shelf.is(id))
    }

    /// Whether segments of `bytes` plaintext in all, coded so, find room; call before reading a
    /// source. `used` tells the bytes that each shelf has been given so far.
    pub fn reserve(
        &self,
        coding: Coding,
        bytes: u64,
        used: impl Fn(ShelfId) -> u64,
    ) -> Result<(), Error> {
        let writable: Vec<_> = self.shelves.iter().filter(|s| !s.spec.read_only).collect();
        if writable.is_empty() {
            return Ok(()); // choosing shelves says what is wrong
        }
        let n = u64::from(coding.n());
        let per_shard = bytes / u64::from(coding.k()) + bytes / 512 + (1 << 20);
        // Of each segment a shelf takes one shard, so none can take more than all of one index; and what
        // is full is passed over. Shelves on one file system share its room.
        let mut devices: BTreeMap<u64, Vec<(&str, u64)>> = BTreeMap::new();
        let mut free_on = BTreeMap::new();
        for shelf in &writable {
            let capacity = shelf.spec.capacity_bytes;
            let left = capacity.map_or(u64::MAX, |most| most.saturating_sub(used(shelf.spec.id)));
            let device = shelf.device()?;
            free_on.insert(device, shelf.free_bytes()?);
            let takes = left.min(per_shard);
            devices.entry(device).or_default().push((&shelf.spec.name, takes));
        }
        let room = |(device, shelves): (&u64, &Vec<(&str, u64)>)| {
            let takes: u64 = shelves.iter().map(|(_, takes)| takes).sum();
            takes.min(free_on.get(device).copied().unwrap_or(0))
        };
        let free: u64 = devices.iter().map(room).sum();
        // With fewer shelves than shards the deposit is a degraded one, or choosing shelves refuses it.
        let needed = per_shard * n.min(writable.len() as u64);
        if free >= needed {
            return Ok(());
        }
        // Those that bear less than their part are named, with what is wanted of them beyond their room.
        let (mut names, mut has) = (Vec::new(), 0);
        for (device, shelves) in &devices {
            let takes: u64 = shelves.iter().map(|(_, takes)| takes).sum();
            let disk = free_on.get(device).copied().unwrap_or(0);
            if disk < takes {
                names.extend(shelves.iter().map(|(name, _)| *name));
                has += disk;
                continue;
            }
            for (name, takes) in shelves.iter().filter(|(_, takes)| *takes < per_shard) {
                names.push(name);
                has += takes;
            }
        }
        Err(Error::NoRoom { shelf: names.join("`, `"), free: has, needed: has + (needed - free) })
    }

    /// The shelves for the n shards of a segment, in order of index: `Ok` a shelf that is there,
    /// `Err` one that is missing and shall get its shard by repair.
    pub(crate) fn choose(
        &self,
        segment: SegmentId,
        coding: Coding,
        accept_degraded: bool,
    ) -> Result<Vec<Result<Arc<Shelf>, ShelfId>>, Error> {
        let n = usize::from(coding.n());
        let candidate =
            |spec: &ShelfSpec| Candidate { shelf: spec.id, domain: spec.domain.clone() };
        let takes: Vec<_> = self.shelves.iter().filter(|s| !s.spec.read_only).collect();
        let (full, roomy): (Vec<_>, Vec<_>) = takes.iter().partition(|s| s.is_full());
        if roomy.len() < n && takes.len() >= n {
            return Err(no_room(&full)?);
        }
        let writable: Vec<_> = roomy.iter().map(|s| candidate(&s.spec)).collect();
        let enough = writable.len() >= n;
        let mut candidates = writable.clone();
        if !enough {
            let missing = self.missing.iter().filter(|m| !m.spec.read_only);
            candidates.extend(missing.map(|m| candidate(&m.spec)));
            let floor = usize::from(coding.k());
            if !accept_degraded || candidates.len() < n || writable.len() < floor {
                return Err(self.too_few(coding, writable.len()));
            }
        }
        let order = place::order(segment, &candidates);
        let present = |id: &ShelfId| writable.iter().any(|c| c.shelf == *id);
        // Missing ones take only what those that are there cannot.
        let (mut chosen, rest): (Vec<_>, Vec<_>) = order.into_iter().partition(present);
        chosen.extend(rest);
        chosen.truncate(n);
        Ok(chosen.into_iter().map(|id| self.shelf(id).cloned().ok_or(id)).collect())
    }

    fn too_few(&self, coding: Coding, present: usize) -> Error {
        let missing: String = (self.missing.iter())
            .map(|m| format!("; shelf `{}` is missing: {}", m.spec.name, m.why))
            .collect();
        Error::TooFewShelves { coding, needed: usize::from(coding.n()), present, missing }
    }

    /// A shelf for a shard made anew: where it stood, if that shelf can be written to; else the
    /// next that keeps none of this segment.
    pub(crate) fn replacement(
        &self,
        segment: SegmentId,
        coding: Coding,
        stood: ShelfId,
        taken: &BTreeSet<ShelfId>,
    ) -> Result<Arc<Shelf>, Error> {
        let free =
            |s: &&Arc<Shelf>| !s.spec.read_only && !taken.contains(&s.spec.id) && !s.is_full();
        // Where it stood it was counted already, so a full shelf may have it back.
        let back = |s: &&Arc<Shelf>| !s.spec.read_only && !taken.contains(&s.spec.id);
        if let Some(shelf) = self.shelf(stood).filter(back) {
            return Ok(shelf.clone());
        }
        let candidates: Vec<_> = (self.shelves.iter().filter(free))
            .map(|s| Candidate { shelf: s.spec.id, domain: s.spec.domain.clone() })
            .collect();
        (place::order(segment, &candidates).first())
            .and_then(|id| self.shelf(*id).cloned())
            .ok_or_else(|| self.too_few(coding, self.shelves.iter().filter(free).count()))
    }

    /// The shelves that would take `count` shards of a segment now, the first choice first, none of
    /// `taken` among them; fewer where there are no more with room.
    pub fn wanted(
        &self,
        segment: SegmentId,
        count: usize,
        taken: &BTreeSet<ShelfId>,
    ) -> Vec<ShelfId> {
        let free =
            |s: &&Arc<Shelf>| !s.spec.read_only && !taken.contains(&s.spec.id) && !s.is_full();
        let candidates: Vec<_> = (self.shelves.iter().filter(free))
            .map(|s| Candidate { shelf: s.spec.id, domain: s.spec.domain.clone() })
            .collect();
        let mut order = place::order(segment, &candidates);
        order.truncate(count);
        order
    }

    /// The shard of `placement` on its shelf, or what is wrong.
    pub(crate) fn shard_file(&self, placement: &Placement) -> Result<ShardFile, String> {
        if placement.state == PlacementState::Missing && placement.frames.is_empty() {
            return Err("it was never stored there".into());
        }
        let Some(shelf) = self.shelf(placement.shelf) else {
            let name = self.missing.iter().find(|m| m.spec.id == placement.shelf);
            return Err(match name {
                Some(m) => format!("shelf `{}` is missing: {}", m.spec.name, m.why),
                None => format!("shelf {} is not known", placement.shelf),
            });
        };
        ShardFile::new(shelf.clone(), placement)
            .ok_or_else(|| "the registry's note of its frames is damaged".to_string())
    }
}

/// What is said where shelves are there, but full.
fn no_room(full: &[&&Arc<Shelf>]) -> Result<Error, Error> {
    let names: Vec<_> = full.iter().map(|shelf| shelf.spec.name.as_str()).collect();
    let mut free = 0;
    for shelf in full {
        free += shelf.room()?;
    }
    let needed = crate::shelf::ROOM_BYTES_MIN * full.len() as u64;
    Ok(Error::NoRoom { shelf: names.join("`, `"), free, needed })
}
