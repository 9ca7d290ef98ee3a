//! A full look at what is on a shelf, compared with what the registry counts and lists.

use crate::reclaim::sort;
use crate::{Archive, Error, Stop};
use std::collections::BTreeSet;
use strongroom_record::{PlacementState, SegmentId};
use strongroom_registry::{Leftover, Shelf, ShelfUsage};
use strongroom_vault::bytes_outside;

/// Rows that are asked of the registry at once.
const PAGE: u32 = 1000;
/// Differences, and unknown segments, that are named; the count is always told.
const NAMED_MAX: usize = 1000;

/// What was found on a shelf. Bytes are those of shards, without the frames around them.
#[derive(Clone, Debug, Default)]
pub struct ShelfScan {
    /// What the registry counts.
    pub counted: Option<ShelfUsage>,
    /// Logs that were looked at.
    pub logs: u64,
    /// Bytes of their files.
    pub log_bytes: u64,
    /// Bytes of shards that are wanted.
    pub live_bytes: u64,
    /// Of those, bytes of shards that were noted as missing.
    pub returned_bytes: u64,
    /// Bytes that are listed as waiting to be reclaimed.
    pub pending_bytes: u64,
    /// Bytes that are listed so too, and whose logs are gone: the next reclaiming has that confirmed.
    pub removed_bytes: u64,
    /// Bytes that interrupted work left, which reclaiming removes too.
    pub stray_bytes: u64,
    /// Bytes that are being written, and not committed yet.
    pub waiting_bytes: u64,
    /// Bytes of segments that the registry does not know.
    pub unknown_bytes: u64,
    /// Logs that hold such.
    pub unknown_logs: u64,
    /// Those segments.
    pub unknown: Vec<SegmentId>,
    /// Regions of logs that cannot be used.
    pub damaged_regions: u64,
    /// What is not as the registry says, in words.
    pub differences: Vec<String>,
    /// How many such there are.
    pub differences_count: u64,
    /// Whether the registry's count changed meanwhile, so that no difference can be told from work.
    pub moved_meanwhile: bool,
}

impl ShelfScan {
    fn differs(&mut self, what: String) {
        self.differences_count += 1;
        if self.differences.len() < NAMED_MAX {
            self.differences.push(what);
        }
    }
}

/// Looks at every frame of a shelf that is there and at every shard that should be there.
pub fn scan_shelf(archive: &Archive, shelf: &Shelf, stop: &Stop) -> Result<ShelfScan, Error> {
    let registry = archive.registry();
    let counted = || -> Result<Option<ShelfUsage>, Error> {
        let usage = archive.block_on(registry.shelf_usage())?;
        Ok(usage.into_iter().find(|usage| usage.shelf == shelf.id))
    };
    let before = counted()?;
    let mut scan = ShelfScan { counted: before, ..ShelfScan::default() };
    frames(archive, shelf, stop, &mut scan)?;
    placements(archive, shelf, stop, &mut scan)?;
    leftovers(archive, shelf, stop, &mut scan)?;
    let counts = |usage: &Option<ShelfUsage>| {
        usage.map(|u| (u.live_shards, u.live_bytes, u.pending_shards, u.pending_bytes))
    };
    scan.moved_meanwhile = counts(&before) != counts(&counted()?);
    if let Some(counted) = before {
        let pending = scan.pending_bytes + scan.removed_bytes;
        for (what, found, counted) in [
            ("wanted shards", scan.live_bytes, counted.live_bytes),
            ("shards that wait to be reclaimed", pending, counted.pending_bytes),
        ] {
            if found != counted {
                scan.differs(format!("{found} bytes of {what} are there, {counted} are counted"));
            }
        }
    }
    let now = crate::archive::now();
    let noted = registry.note_unknown(shelf.id, scan.unknown_logs, scan.unknown_bytes, now);
    match archive.block_on(noted) {
        // A registry that is behind its shelves is only read, and looked at all the same.
        Ok(()) | Err(strongroom_registry::Error::ReadOnly) => Ok(scan),
        Err(error) => Err(error.into()),
    }
}

fn frames(
    archive: &Archive,
    shelf: &Shelf,
    stop: &Stop,
    scan: &mut ShelfScan,
) -> Result<(), Error> {
    let vault = archive.vault();
    let mut unknown = BTreeSet::new();
    for log in vault.logs(shelf.id)? {
        stop.check()?;
        let contents = vault.contents(shelf.id, log.id)?;
        let sorted = sort(archive, shelf.id, &log, &contents)?;
        scan.logs += 1;
        scan.log_bytes += log.bytes;
        scan.live_bytes += sorted.live_bytes;
        scan.returned_bytes += sorted.returned_bytes;
        scan.pending_bytes += sorted.pending_bytes;
        scan.stray_bytes += sorted.stray_bytes;
        scan.waiting_bytes += sorted.waiting_bytes;
        scan.damaged_regions += contents.damaged;
        if !contents.readable || contents.foreign > 0 {
            scan.differs(format!("log {} holds what this program cannot read", log.name));
        }
        if !sorted.unknown.is_empty() {
            scan.unknown_logs += 1;
            scan.unknown_bytes += sorted.unknown_bytes;
            let (count, name) = (sorted.unknown.len(), &log.name);
            scan.differs(format!(
                "log {name} holds {count} segments that the registry does not know"
            ));
            unknown.extend(sorted.unknown);
            while unknown.len() > NAMED_MAX {
                unknown.pop_last();
            }
        }
    }
    scan.unknown = unknown.into_iter().collect();
    Ok(())
}

fn placements(
    archive: &Archive,
    shelf: &Shelf,
    stop: &Stop,
    scan: &mut ShelfScan,
) -> Result<(), Error> {
    let mut after = None;
    loop {
        stop.check()?;
        let page = archive.registry().placements_on(shelf.id, after.as_ref(), PAGE);
        let page = archive.block_on(page)?;
        for p in &page {
            let (segment, index, state) = (p.segment, p.index, p.state);
            match (archive.vault().stands(p), p.state) {
                (true, PlacementState::Missing) if !p.frames.is_empty() => {
                    scan.differs(format!(
                        "shard {index} of segment {segment} is noted as missing, and is there: fixity counts it again"
                    ));
                }
                (false, PlacementState::Good | PlacementState::Damaged) => {
                    let what = format!(
                        "shard {index} of segment {segment} is noted as {state}, and does not stand where it should: fixity and repair mend it"
                    );
                    scan.differs(what);
                }
                _ => {}
            }
        }
        match page.into_iter().next_back() {
            Some(last) => after = Some(last),
            None => return Ok(()),
        }
    }
}

fn leftovers(
    archive: &Archive,
    shelf: &Shelf,
    stop: &Stop,
    scan: &mut ShelfScan,
) -> Result<(), Error> {
    let standing: BTreeSet<_> =
        archive.vault().logs(shelf.id)?.into_iter().map(|log| log.id).collect();
    let mut after: Option<Leftover> = None;
    loop {
        stop.check()?;
        let page = archive.registry().leftovers_on(shelf.id, after.as_ref(), PAGE);
        let page = archive.block_on(page)?;
        for left in &page {
            scan.removed_bytes += bytes_outside(&left.frames, &standing).unwrap_or(left.bytes);
        }
        match page.into_iter().next_back() {
            Some(last) => after = Some(last),
            None => return Ok(()),
        }
    }
}
