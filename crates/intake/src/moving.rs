//! Moving shards between shelves: all of them away from one that is to be retired, and each to where
//! it would be placed now. A shard is copied, verified and committed before it is wanted no longer where
//! it stood, so a segment never has fewer shards than before.

use crate::archive::now;
use crate::reclaim::{self, Tally, Wanted, copy};
use crate::runner::Job;
use crate::{DrainRequest, Error};
use serde_json::json;
use std::collections::BTreeSet;
use strongroom_record::{
    EventDraft, EventKind, Placement, PlacementState, SegmentState, ShelfId, WorkStatus,
};
use strongroom_registry::{Batch, Finish, Segment, SegmentsOf, Shelf, ShelfState};

/// Shards, or segments, that are asked of the registry at once.
const PAGE: u32 = 64;
/// Bytes that are copied between two commits at most (and one shard).
const COPIED_BYTES_MAX: u64 = 64 << 20;

/// Copies shards each to a shelf, and gives way.
fn move_shards(
    job: &Job<'_>,
    shards: &[(Placement, ShelfId)],
    tally: &mut Tally,
) -> Result<(), Error> {
    let bytes: u64 = shards.iter().map(|(placement, _)| placement.bytes).sum();
    copy(job, shards, tally)?;
    job.pace(2 * bytes)
}

/// Makes or copies every shard of a shelf elsewhere, then retires it and removes what is left there.
pub(crate) fn drain(job: &Job<'_>) -> Result<(), Error> {
    let request: DrainRequest = job.request()?;
    let id: ShelfId = request.shelf.parse()?;
    let archive = job.archive;
    let registry = archive.registry();
    let shelf = find(job, id)?;
    let mut tally = Tally::read(job)?;
    if shelf.state != ShelfState::Draining {
        let note = format!("shelf `{}` is {}: it is not to be retired", shelf.name, shelf.state);
        return end(job, &tally, &shelf.name, note, Batch::default());
    }
    job.progress.stage(job.item.kind, &shelf.name, job.item.stage);
    // The work of others that began before they knew may still place shards there: gone over again, until
    // there is none, which the last transaction makes sure of.
    loop {
        job.pace(0)?;
        let page = archive.block_on(registry.placements_on(id, None, PAGE))?;
        if page.is_empty() {
            break;
        }
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        for placement in page {
            match away(job, &placement, id)? {
                Away::Copy(to) => {
                    bytes += placement.bytes;
                    chunk.push((placement, to));
                }
                Away::Made(made, read) => {
                    tally.repaired += made.placements.len() as u64;
                    tally.commit(job, *made)?;
                    job.pace(read)?;
                }
                Away::Gone => {}
            }
            if bytes >= COPIED_BYTES_MAX {
                move_shards(job, &std::mem::take(&mut chunk), &mut tally)?;
                bytes = 0;
            }
        }
        if !chunk.is_empty() {
            move_shards(job, &chunk, &mut tally)?;
        }
    }
    // What stands there still waits to be reclaimed; where the shelf is not there, until it returns.
    if archive.vault().shelves().iter().any(|open| open.spec().id == id) {
        reclaim::clear(job, &shelf, &Wanted::Everything, &mut tally)?;
    }
    let note = format!(
        "shelf `{}` is retired: {} shards copied, {} made anew",
        shelf.name, tally.moved_shards, tally.repaired
    );
    let batch = Batch { shelf_states: vec![(id, ShelfState::Retired)], ..Batch::default() };
    end(job, &tally, &shelf.name, note, batch)
}

/// What is done with a shard that must leave its shelf.
enum Away {
    Copy(ShelfId),
    Made(Box<Batch>, u64),
    Gone,
}

fn away(job: &Job<'_>, placement: &Placement, from: ShelfId) -> Result<Away, Error> {
    let archive = job.archive;
    let vault = archive.vault();
    let all = archive.block_on(archive.registry().placements(placement.segment))?;
    let all: Vec<_> = all.into_iter().filter(|p| p.coding == placement.coding).collect();
    if !all.contains(placement) {
        return Ok(Away::Gone);
    }
    let there = vault.shelves().iter().any(|open| open.spec().id == from);
    if there && placement.state == PlacementState::Good {
        let taken: BTreeSet<_> = all.iter().map(|p| p.shelf).collect();
        return match vault.wanted(placement.segment, 1, &taken).first() {
            Some(to) => Ok(Away::Copy(*to)),
            None => Err(too_few(job, from)?),
        };
    }
    let mut read = 0;
    let repaired = vault.repair(&all, now(), &mut |bytes| {
        read += bytes;
        job.progress.done(0, bytes);
    })?;
    let moved = repaired.made.iter().any(|p| p.index == placement.index && p.shelf != from);
    if repaired.made.is_empty() {
        // It was thought bad and is good: noted so, and copied the next time.
        let good = PlacementState::Good;
        let p = placement;
        let checked = vec![(p.segment, p.coding, p.index, p.log, good, now())];
        return Ok(Away::Made(Box::new(Batch { checked, ..Batch::default() }), read));
    }
    if !moved {
        return Err(too_few(job, from)?);
    }
    let batch = Batch { placements: repaired.made, ..Batch::default() };
    Ok(Away::Made(Box::new(batch), read))
}

fn too_few(job: &Job<'_>, from: ShelfId) -> Result<Error, Error> {
    let shelf = find(job, from)?.name;
    let open = job.archive.vault().shelves().iter();
    let remain = open.filter(|s| !s.spec().read_only && s.spec().id != from).count();
    let needed = job.archive.block_on(job.archive.registry().widest_coding())?;
    Ok(Error::TooFewRemain { shelf, needed: needed.into(), remain })
}

fn find(job: &Job<'_>, id: ShelfId) -> Result<Shelf, Error> {
    let shelves = job.archive.block_on(job.archive.registry().shelves())?;
    let missing = || Error::NotFound { what: "shelf", name: id.to_string() };
    shelves.into_iter().find(|shelf| shelf.id == id).ok_or_else(missing)
}

/// Moves each shard that stands on a shelf where it would not be placed now to one where it would.
pub(crate) fn rebalance(job: &Job<'_>) -> Result<(), Error> {
    let archive = job.archive;
    let registry = archive.registry();
    let mut tally = Tally::read(job)?;
    job.progress.stage(job.item.kind, "the shelves", job.item.stage);
    loop {
        let page = registry.segments_of(SegmentsOf::All, tally.segment, PAGE);
        let page = archive.block_on(page)?;
        if page.is_empty() {
            break;
        }
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        for segment in &page {
            if segment.state == SegmentState::Durable {
                match moves(job, segment)? {
                    Some(moves) => {
                        bytes += moves.iter().map(|(p, _)| p.bytes).sum::<u64>();
                        chunk.extend(moves);
                    }
                    None => tally.skipped += 1,
                }
            }
            tally.segment = Some(segment.id);
            if bytes >= COPIED_BYTES_MAX {
                move_shards(job, &std::mem::take(&mut chunk), &mut tally)?;
                bytes = 0;
            }
        }
        move_shards(job, &chunk, &mut tally)?;
    }
    let note = format!(
        "{} shards moved; {} segments left alone, for not all their shards are good",
        tally.moved_shards, tally.skipped
    );
    end(job, &tally, "all", note, Batch::default())
}

/// Where shards of a segment should go; `None` where some are not good: they are repaired first.
fn moves(job: &Job<'_>, segment: &Segment) -> Result<Option<Vec<(Placement, ShelfId)>>, Error> {
    let vault = job.archive.vault();
    let placements = job.archive.block_on(job.archive.registry().placements(segment.id))?;
    let placements: Vec<_> =
        placements.into_iter().filter(|p| p.coding == segment.number).collect();
    let takes = |id: ShelfId| {
        vault.shelves().iter().any(|open| open.spec().id == id && !open.spec().read_only)
    };
    // What stands on a shelf that takes nothing stays: emptying one is another work.
    let (movable, fixed): (Vec<_>, Vec<_>) = placements.iter().partition(|p| takes(p.shelf));
    let good = |p: &&Placement| p.state == PlacementState::Good;
    if placements.len() != usize::from(segment.coding.n()) || !placements.iter().all(|p| good(&p)) {
        return Ok(None);
    }
    let taken: BTreeSet<_> = fixed.iter().map(|p| p.shelf).collect();
    let wanted = vault.wanted(segment.id, movable.len(), &taken);
    let stands: BTreeSet<_> = movable.iter().map(|p| p.shelf).collect();
    let to = wanted.iter().copied().filter(|shelf| !stands.contains(shelf));
    let from = movable.iter().filter(|p| !wanted.contains(&p.shelf));
    Ok(Some(from.zip(to).map(|(p, to)| ((*p).clone(), to)).collect()))
}

fn end(job: &Job<'_>, tally: &Tally, shelf: &str, note: String, batch: Batch) -> Result<(), Error> {
    let report = json!({
        "shelf": shelf, "moved_shards": tally.moved_shards, "moved_bytes": tally.moved_bytes.to_string(),
        "repaired_shards": tally.repaired, "skipped_segments": tally.skipped,
        "removed_logs": tally.removed_logs,
    });
    let event = EventDraft {
        work: Some(job.item.id),
        detail: json!({"work": job.item.kind, "report": report}),
        ..EventDraft::new(EventKind::Storage)
    };
    let committed = job.commit(Batch {
        events: vec![event],
        note: Some(note),
        finish: Some(Finish { status: WorkStatus::Succeeded, report }),
        ..batch
    });
    match committed {
        // Somebody placed a shard there between the last look and this: the item goes on.
        Err(Error::Registry(strongroom_registry::Error::Conflict { .. })) => Err(Error::Yielded),
        other => other.map(|_| ()),
    }
}
