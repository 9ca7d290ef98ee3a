//! Removing from the shelves what nobody wants any more.
//!
//! A log is removed whole, never changed: what is wanted of it is copied into a log of this process,
//! synced and verified first, and the registry says where it stands now before the old log goes. What
//! the registry does not know is never removed: it proves that the registry is the older one.

use crate::archive::now;
use crate::runner::Job;
use crate::{Archive, Error, ReclaimRequest};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use strongroom_record::{
    EventKind, LogId, Outcome, Placement, PlacementState, SegmentId, SegmentState, ShelfId,
};
use strongroom_registry::{Batch, Fate, Leftover, Move, Shelf, ShelfState};
use strongroom_vault::{Clearing, Contents, Log, Part, logs_of};

/// A log is rewritten where less than this share of it is wanted, in percent.
const LIVE_PERCENT_MAX: u64 = 50;
/// Shards, and bytes of them, that are copied between two commits at most (and one shard).
const COPIED_SHARDS_MAX: usize = 256;
const COPIED_BYTES_MAX: u64 = 64 << 20;
/// Rows that are confirmed in one transaction.
const CONFIRMED_MAX: u32 = 1000;
/// Logs, and segments of each, that a report names; the count is always told.
const NAMED_MAX: usize = 100;
/// Room that a shelf keeps beside what is copied, in bytes.
const ROOM_MIN: u64 = 16 << 20;

/// What reclaiming, emptying a shelf or rebalancing did; kept in the checkpoint, so that what was
/// interrupted goes on.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Tally {
    /// The last segment that was rebalanced.
    pub(crate) segment: Option<SegmentId>,
    /// Shards that were made anew, and segments that were left alone.
    pub(crate) repaired: u64,
    pub(crate) skipped: u64,
    /// Shelves that were gone over, and the last log of the one that is being.
    shelves: BTreeSet<ShelfId>,
    after: Option<String>,
    pub(crate) removed_logs: u64,
    pub(crate) removed_bytes: u64,
    pub(crate) moved_shards: u64,
    pub(crate) moved_bytes: u64,
    confirmed: u64,
    kept_logs: u64,
    waiting_logs: u64,
    unknown_logs: u64,
    unknown_bytes: u64,
    /// Of the shelf that is being gone over.
    unknown_here: (u64, u64),
    unknown: Vec<Value>,
    not_done: Vec<Value>,
}

impl Tally {
    /// What the checkpoint says.
    pub(crate) fn read(job: &Job<'_>) -> Result<Tally, Error> {
        match job.item.checkpoint.is_object() {
            true => serde_json::from_value(job.item.checkpoint.clone())
                .map_err(|e| Error::Internal(format!("the checkpoint is damaged: {e}"))),
            false => Ok(Tally::default()),
        }
    }

    pub(crate) fn commit(&self, job: &Job<'_>, batch: Batch) -> Result<(), Error> {
        let checkpoint = serde_json::to_value(self)
            .map_err(|e| Error::Internal(format!("no checkpoint: {e}")))?;
        job.commit(Batch { checkpoint: Some(checkpoint), ..batch })?;
        Ok(())
    }

    fn not_done(&mut self, shelf: &Shelf, log: Option<&Log>, why: &str) {
        if self.not_done.len() < NAMED_MAX {
            let log = log.map(|log| log.name.clone());
            self.not_done.push(json!({"shelf": shelf.name, "log": log, "why": why}));
        }
    }

    fn unknown(&mut self, shelf: &Shelf, log: &Log, segments: &BTreeSet<SegmentId>, bytes: u64) {
        self.unknown_logs += 1;
        self.unknown_bytes += bytes;
        self.unknown_here.0 += 1;
        self.unknown_here.1 += bytes;
        if self.unknown.len() < NAMED_MAX {
            let named: Vec<_> = segments.iter().take(NAMED_MAX).collect();
            self.unknown.push(json!({"shelf": shelf.name, "log": log.name, "bytes": bytes,
                "segments": named, "count": segments.len(),
                "newer_epoch": log.epoch > 0 && segments.is_empty()}));
        }
    }
}

/// The work item.
pub(crate) fn run(job: &Job<'_>) -> Result<(), Error> {
    let request: ReclaimRequest = job.request()?;
    let only = request.shelf.as_deref().map(str::parse::<ShelfId>).transpose()?;
    let archive = job.archive;
    let registry = archive.registry();
    let mut tally = Tally::read(job)?;
    job.progress.stage(job.item.kind, "the shelves", job.item.stage);
    archive.block_on(registry.give_up_superseded())?;
    for shelf in archive.block_on(registry.shelves())? {
        if only.is_some_and(|only| only != shelf.id) || tally.shelves.contains(&shelf.id) {
            continue;
        }
        let wanted = match (request.everything, request.listed) {
            (true, _) => Wanted::Everything,
            (false, true) => Wanted::Listed(listed(job.archive, shelf.id)?),
            (false, false) => Wanted::Much,
        };
        clear(job, &shelf, &wanted, &mut tally)?;
    }
    let gone = archive.block_on(registry.note_gone())?;
    let usage = archive.block_on(registry.shelf_usage())?;
    let pending: u64 = usage.iter().map(|usage| usage.pending_bytes).sum();
    let counts = json!({
        "removed_logs": tally.removed_logs, "removed_bytes": tally.removed_bytes.to_string(),
        "moved_shards": tally.moved_shards, "moved_bytes": tally.moved_bytes.to_string(),
        "confirmed_shards": tally.confirmed, "gone_segments": gone,
        "kept_logs": tally.kept_logs, "waiting_logs": tally.waiting_logs,
        "unknown_logs": tally.unknown_logs, "unknown_bytes": tally.unknown_bytes.to_string(),
        "pending_bytes": pending.to_string(),
    });
    let mut report = counts.clone();
    report["unknown"] = tally.unknown.into();
    report["not_done"] = tally.not_done.into();
    let note = format!(
        "{} logs with {} bytes removed, {pending} bytes pending",
        tally.removed_logs, tally.removed_bytes
    );
    crate::fixity::end(job, EventKind::Storage, Outcome::Success, counts, report, note)
}

/// Which logs are worth to be gone over.
pub(crate) enum Wanted {
    /// Those of which little is wanted.
    Much,
    /// All in which there is anything that nobody wants.
    Everything,
    /// These, as if it were everything.
    Listed(BTreeSet<LogId>),
}

impl Wanted {
    fn names(&self, log: LogId) -> bool {
        matches!(self, Wanted::Listed(logs) if logs.contains(&log))
    }
}

/// The logs in which the registry lists something that waits to be reclaimed.
fn listed(archive: &Archive, shelf: ShelfId) -> Result<BTreeSet<LogId>, Error> {
    let (mut logs, mut after) = (BTreeSet::new(), None::<Leftover>);
    loop {
        let page = archive.registry().leftovers_on(shelf, after.as_ref(), CONFIRMED_MAX);
        let page = archive.block_on(page)?;
        logs.extend(page.iter().filter_map(|left| logs_of(&left.frames)).flatten());
        match page.into_iter().next_back() {
            Some(last) => after = Some(last),
            None => return Ok(logs),
        }
    }
}

/// Removes from one shelf what it can, and has the shelf confirm what is gone.
pub(crate) fn clear(
    job: &Job<'_>,
    shelf: &Shelf,
    wanted: &Wanted,
    tally: &mut Tally,
) -> Result<(), Error> {
    let vault = job.archive.vault();
    let registry = job.archive.registry();
    let open = vault.shelves().iter().find(|open| open.spec().id == shelf.id);
    let why_not = match (open, shelf.state) {
        (_, ShelfState::ReadOnly) => Some("the shelf is read-only".to_string()),
        (Some(open), _) if open.is_mounted_read_only() => {
            Some("its file system is mounted read-only".to_string())
        }
        (Some(open), _) if open.identity().epoch_number < job.archive.epoch() => Some(format!(
            "it was away when the registry was rebuilt, which may not know all that is on it: have it read \
             first, strongroom rebuild --yes --from {}",
            shelf.location
        )),
        (None, ShelfState::Retired) => Some("the shelf is retired".to_string()),
        (None, _) => Some("the shelf is missing: what waits on it waits on".to_string()),
        _ => None,
    };
    let clearing = match why_not {
        None => vault.clearing(shelf.id)?.ok_or("another process reclaims on it just now".into()),
        Some(why) => Err(why),
    };
    let clearing = match clearing {
        Ok(clearing) => clearing,
        Err(why) => {
            tally.not_done(shelf, None, &why);
            tally.shelves.insert(shelf.id);
            return tally.commit(job, Batch::default());
        }
    };
    let epoch = job.archive.block_on(registry.archive())?.map_or(0, |a| u64::from(a.epoch_number));
    let live: BTreeMap<LogId, u64> =
        job.archive.block_on(registry.live_by_log(shelf.id))?.into_iter().collect();
    let everything = !matches!(wanted, Wanted::Much);
    let mut logs = vault.logs(shelf.id)?;
    if logs.iter().any(|log| log.own && wanted.names(log.id)) {
        vault.next_log(shelf.id)?;
        logs = vault.logs(shelf.id)?;
    }
    for log in logs {
        if matches!(wanted, Wanted::Listed(_)) && !wanted.names(log.id) {
            continue;
        }
        if tally.after.as_ref().is_some_and(|after| log.name <= *after) {
            continue;
        }
        if let Err(stopped) = job.pace(0) {
            tally.commit(job, Batch::default())?;
            return Err(stopped);
        }
        let live = live.get(&log.id).copied().unwrap_or(0);
        if log.in_use {
            tally.waiting_logs += 1;
        } else if log.epoch > epoch {
            tally.unknown(shelf, &log, &BTreeSet::new(), log.bytes);
        } else if !everything && live * 100 >= log.bytes * LIVE_PERCENT_MAX {
            tally.kept_logs += 1;
        } else {
            one_log(job, shelf, &log, everything, &clearing, tally)?;
        }
        tally.after = Some(log.name);
        tally.commit(job, Batch::default())?;
    }
    confirm(job, shelf.id, &clearing, tally)?;
    let (logs, bytes) = std::mem::take(&mut tally.unknown_here);
    if matches!(wanted, Wanted::Everything) || logs > 0 {
        job.archive.block_on(registry.note_unknown(shelf.id, logs, bytes, now()))?;
    }
    tally.after = None;
    tally.shelves.insert(shelf.id);
    tally.commit(job, Batch::default())
}

/// What a log's bytes are to the registry.
#[derive(Default)]
pub(crate) struct Sorted {
    /// Shards that are wanted, with their bytes in this log.
    pub(crate) live: Vec<(Placement, u64)>,
    pub(crate) live_bytes: u64,
    /// Of those, bytes of shards that are noted as missing: they are there after all.
    pub(crate) returned_bytes: u64,
    /// Bytes that are listed as waiting to be reclaimed.
    pub(crate) pending_bytes: u64,
    /// Bytes that interrupted work left, which are listed nowhere.
    pub(crate) stray_bytes: u64,
    /// Bytes that may yet be committed.
    pub(crate) waiting_bytes: u64,
    pub(crate) unknown: BTreeSet<SegmentId>,
    pub(crate) unknown_bytes: u64,
}

/// Asks the registry what it knows of each shard in a log.
pub(crate) fn sort(
    archive: &Archive,
    shelf: ShelfId,
    log: &Log,
    contents: &Contents,
) -> Result<Sorted, Error> {
    let mut sorted = Sorted::default();
    let mut fate: Option<(SegmentId, Option<Fate>)> = None;
    for part in &contents.parts {
        let known = match &fate {
            Some((segment, fate)) if *segment == part.segment => fate.clone(),
            _ => archive.block_on(archive.registry().fate(part.segment))?,
        };
        match &known {
            Some(known) => sort_part(shelf, log, part, known, &mut sorted),
            None => {
                sorted.unknown.insert(part.segment);
                sorted.unknown_bytes += part.bytes;
            }
        }
        fate = Some((part.segment, known));
    }
    Ok(sorted)
}

fn sort_part(shelf: ShelfId, log: &Log, part: &Part, fate: &Fate, sorted: &mut Sorted) {
    let mut rest = part.bytes;
    for placement in fate.placements.iter().filter(|p| p.shelf == shelf) {
        let p = placement;
        let bytes = part.bytes_of(p.segment, p.coding, p.index, &p.frames);
        rest = rest.saturating_sub(bytes);
        if bytes == 0 {
        } else if p.state == PlacementState::Released {
            sorted.pending_bytes += bytes;
        } else {
            sorted.live_bytes += bytes;
            if p.state == PlacementState::Missing {
                sorted.returned_bytes += bytes;
            }
            sorted.live.push((p.clone(), bytes));
        }
    }
    for left in fate.leftovers.iter().filter(|left| left.shelf == shelf) {
        let bytes = part.bytes_of(left.segment, left.coding, left.index, &left.frames);
        let bytes = bytes.min(rest);
        rest -= bytes;
        sorted.pending_bytes += bytes;
    }
    // What is noted nowhere was left by interrupted work, unless who wrote it may still commit it.
    let may_come = match fate.segment.state {
        SegmentState::Writing => true,
        SegmentState::Durable => {
            (log.in_use || log.writer_lives) && part.coding >= fate.segment.number
        }
        SegmentState::Released | SegmentState::Gone => false,
    };
    match may_come {
        true => sorted.waiting_bytes += rest,
        false => sorted.stray_bytes += rest,
    }
}

/// Removes one log, if it may be and that is worth it.
fn one_log(
    job: &Job<'_>,
    shelf: &Shelf,
    log: &Log,
    everything: bool,
    clearing: &Clearing,
    tally: &mut Tally,
) -> Result<(), Error> {
    let archive = job.archive;
    let contents = archive.vault().contents(shelf.id, log.id)?;
    let sorted = sort(archive, shelf.id, log, &contents)?;
    if !sorted.unknown.is_empty() {
        tally.unknown(shelf, log, &sorted.unknown, sorted.unknown_bytes);
        return Ok(());
    }
    if !contents.readable || contents.foreign > 0 {
        tally.kept_logs += 1;
        tally.not_done(shelf, Some(log), "it holds what this program cannot read");
        return Ok(());
    }
    if sorted.waiting_bytes > 0 {
        tally.waiting_logs += 1;
        return Ok(());
    }
    let nothing_to_gain = sorted.pending_bytes + sorted.stray_bytes + contents.damaged == 0;
    let much = sorted.live_bytes * 100 >= log.bytes * LIVE_PERCENT_MAX;
    if !sorted.live.is_empty() && (nothing_to_gain || (much && !everything)) {
        tally.kept_logs += 1;
        return Ok(());
    }
    if !sorted.live.is_empty() && !move_out(job, shelf, log, sorted.live, tally)? {
        tally.kept_logs += 1;
        return Ok(());
    }
    // Damage may have hidden a head whose shard is still listed here.
    if !archive.block_on(archive.registry().is_log_free(shelf.id, log.id))? {
        tally.kept_logs += 1;
        let why = "shards that are wanted stand in it and cannot be read: run `strongroom repair`";
        tally.not_done(shelf, Some(log), why);
        return Ok(());
    }
    if clearing.remove(log.id)? {
        tally.removed_logs += 1;
        tally.removed_bytes += log.bytes;
    } else {
        tally.waiting_logs += 1;
    }
    fail::fail_point!("reclaim.deleted");
    Ok(())
}

/// Copies what is wanted of a log into this process's own, and has the registry say so. `false` where
/// something stays behind.
fn move_out(
    job: &Job<'_>,
    shelf: &Shelf,
    log: &Log,
    live: Vec<(Placement, u64)>,
    tally: &mut Tally,
) -> Result<bool, Error> {
    let open = job.archive.vault().shelves().iter().find(|open| open.spec().id == shelf.id);
    let needed: u64 = live.iter().map(|(placement, _)| placement.bytes).sum();
    let free = open.map_or(Ok(0), |open| open.free_bytes())?;
    let why = match shelf.state {
        ShelfState::Active if free < needed + ROOM_MIN => {
            Some("the shelf has no room to rewrite it")
        }
        ShelfState::Active => None,
        _ => Some("shards stand in it, and the shelf takes nothing"),
    };
    if let Some(why) = why {
        tally.not_done(shelf, Some(log), why);
        return Ok(false);
    }
    let mut whole = true;
    let mut live = live.into_iter().map(|(placement, _)| placement).peekable();
    while live.peek().is_some() {
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        while chunk.len() < COPIED_SHARDS_MAX
            && let Some(next) =
                live.next_if(|next| chunk.is_empty() || bytes + next.bytes <= COPIED_BYTES_MAX)
        {
            bytes += next.bytes;
            chunk.push((next, shelf.id));
        }
        whole &= copy(job, &chunk, tally)?;
        if let Err(stopped) = job.pace(2 * bytes) {
            tally.commit(job, Batch::default())?;
            return Err(stopped);
        }
    }
    if !whole {
        let why = "a shard in it is damaged: run `strongroom repair`";
        tally.not_done(shelf, Some(log), why);
    }
    Ok(whole)
}

/// Copies shards each to a shelf, and commits that they stand there now. Those that are found to be
/// damaged are noted so. Says whether all were copied.
pub(crate) fn copy(
    job: &Job<'_>,
    shards: &[(Placement, ShelfId)],
    tally: &mut Tally,
) -> Result<bool, Error> {
    let copied =
        job.archive.vault().copy(shards, now(), &mut |bytes| job.progress.done(0, bytes))?;
    fail::fail_point!("reclaim.copied");
    tally.moved_shards += copied.made.len() as u64;
    tally.moved_bytes += copied.made.iter().map(|(from, _)| from.bytes).sum::<u64>();
    let moves = copied.made.into_iter().map(|(from, to)| Move { from, to }).collect();
    let noted = |(p, why): &(Placement, String)| {
        tracing::warn!(segment = %p.segment, index = p.index, shelf = %p.shelf, why, "not copied");
        let state = PlacementState::Damaged;
        (p.segment, p.coding, p.index, p.log, state, now())
    };
    let checked: Vec<_> = copied.bad.iter().map(noted).collect();
    let all = checked.is_empty();
    tally.commit(job, Batch { moves, checked, ..Batch::default() })?;
    fail::fail_point!("reclaim.moved");
    Ok(all)
}

/// Notes what no log of the shelf has any more.
fn confirm(
    job: &Job<'_>,
    shelf: ShelfId,
    clearing: &Clearing,
    tally: &mut Tally,
) -> Result<(), Error> {
    let registry = job.archive.registry();
    let mut after: Option<Leftover> = None;
    loop {
        let page = registry.leftovers_on(shelf, after.as_ref(), CONFIRMED_MAX);
        let page = job.archive.block_on(page)?;
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        // Listed after what is looked for, so that no log is taken for gone that was just begun.
        let standing = clearing.standing()?;
        let gone =
            |left: &Leftover| logs_of(&left.frames).is_some_and(|logs| logs.is_disjoint(&standing));
        let confirmed: Vec<_> = page.into_iter().filter(gone).collect();
        if confirmed.is_empty() {
            continue;
        }
        tally.confirmed += confirmed.len() as u64;
        tally.commit(job, Batch { confirmed, ..Batch::default() })?;
        fail::fail_point!("reclaim.confirmed");
    }
    Ok(())
}
