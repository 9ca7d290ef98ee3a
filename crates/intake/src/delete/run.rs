//! Does what was approved: marks it dead, tells of it in a journal, releases what nothing living refers
//! to, rewrites what does, and releases that. Each phase is a commit, and each can be gone over again.

use super::{Deleted, Deletion, rewrite};
use crate::runner::Job;
use crate::{Code, Error};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::HashSet;
use strongroom_record::{
    EventKind, SegmentId, SegmentKind, SegmentState, Stage, VersionId, WorkStatus,
};
use strongroom_registry::{
    Batch, Delete, Erased, ExtentUse, Finish, SegmentsOf, Tombstone, TombstoneKind,
};

/// Rows that are asked of the registry at once.
const PAGE: u32 = 1000;
const EXTENTS_PAGE: u32 = 10_000;
/// Segments that one commit releases.
const RELEASED: u32 = 250;
/// Segments of which one tombstone tells: it is a line of a journal, which has at most 1 MiB.
const TOLD_MAX: usize = 20_000;

/// How far a deletion is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Phase {
    /// Nothing is done.
    #[default]
    Asked,
    /// It is dead: nothing lists or reads it. Names and segments are still there.
    Dead,
    /// What only it referred to is released.
    Released,
    /// What is living was moved out of the segments that held both.
    Rewritten,
}

/// Where to go on: what the work item's checkpoint holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Checkpoint {
    phase: Phase,
    /// Segments that were released, as far as was noted.
    released: u64,
    /// Segments that were written anew.
    pub(super) rewritten: u64,
    /// Versions whose record was stored anew, and the segments of that record.
    pub(super) recorded: Vec<(VersionId, Vec<SegmentId>)>,
}

impl Checkpoint {
    pub(super) fn commit(&self, job: &Job<'_>, batch: Batch) -> Result<(), Error> {
        let checkpoint = serde_json::to_value(self)
            .map_err(|e| Error::Internal(format!("no checkpoint: {e}")))?;
        job.commit(Batch { checkpoint: Some(checkpoint), ..batch })?;
        Ok(())
    }
}

/// Does what is left of a deletion. What wants the key waits for a worker that has it.
pub(crate) fn run(job: &Job<'_>) -> Result<(), Error> {
    let deletion: Deletion = job.request()?;
    job.progress.stage(job.item.kind, &deletion.name, job.item.stage);
    let mut at: Checkpoint = match job.item.checkpoint.is_object() {
        true => serde_json::from_value(job.item.checkpoint.clone())
            .map_err(|e| Error::Internal(format!("the checkpoint is damaged: {e}")))?,
        false => Checkpoint::default(),
    };
    let registry = job.archive.registry();
    job.archive.block_on(registry.give_up_stale_segments(&job.lease()))?;
    match go_on(job, &deletion, &mut at) {
        Err(error)
            if matches!(error.code(), Code::Key | Code::KeyMissing | Code::KeyLocked)
                && at.phase != Phase::Asked =>
        {
            let note = format!("waits for a worker that has the institution's key: {error}");
            let report = json!({"outcome": "waiting", "code": error.code().word()});
            job.commit(Batch {
                stage: Some(Stage::Rewrite),
                note: Some(note),
                finish: Some(Finish { status: WorkStatus::Waiting, report }),
                ..Batch::default()
            })?;
            Ok(())
        }
        other => other,
    }
}

fn go_on(job: &Job<'_>, deletion: &Deletion, at: &mut Checkpoint) -> Result<(), Error> {
    loop {
        match at.phase {
            Phase::Asked => {
                let next = Checkpoint { phase: Phase::Dead, ..Checkpoint::default() };
                // A draft died when it was given up.
                if deletion.what != Deleted::Draft {
                    let batch = plan(job, deletion)?;
                    fail::fail_point!("delete.planned");
                    next.commit(job, batch)?;
                    fail::fail_point!("delete.dead");
                }
                *at = next;
            }
            Phase::Dead => {
                erase(job, deletion)?;
                release(job, at)?;
                at.phase = Phase::Released;
                at.commit(job, Batch::default())?;
            }
            Phase::Released => {
                rewrite::run(job, deletion, at)?;
                at.phase = Phase::Rewritten;
                finish_rewriting(job, at)?;
                fail::fail_point!("delete.rewritten");
            }
            Phase::Rewritten => {
                release(job, at)?;
                // What something came to refer to meanwhile is rewritten too.
                if rewrite::mixed(job)?.is_empty() {
                    return end(job, deletion, at);
                }
                at.phase = Phase::Released;
            }
        }
    }
}

/// What becomes of a segment in which dead bytes may lie.
#[derive(PartialEq, Eq)]
enum Fate {
    /// Nothing living refers to it.
    Goes,
    /// It holds dead bytes, and living ones.
    Mixed,
    /// All its bytes are living ones'.
    Stays,
}

/// The one commit by which it is dead.
fn plan(job: &Job<'_>, deletion: &Deletion) -> Result<Batch, Error> {
    let registry = job.archive.registry();
    let mut delete = Delete::default();
    let mut tombstones = Vec::new();
    let mut seen = HashSet::new();
    let versions: Vec<VersionId> = deletion.versions.iter().map(|v| v.id).collect();
    let whole: HashSet<VersionId> = versions.iter().copied().collect();
    let files: HashSet<_> = deletion.files.iter().map(|f| (f.version, f.number)).collect();
    let dead = |at: &ExtentUse| match deletion.what {
        Deleted::File => files.contains(&(at.version, at.number)),
        _ => whole.contains(&at.version),
    };
    let mut sort = |segments: Vec<SegmentId>, delete: &mut Delete| -> Result<Vec<_>, Error> {
        let mut going = Vec::new();
        for segment in segments {
            if !seen.insert(segment) {
                continue;
            }
            // Of an object that goes nothing lives.
            let fate = match deletion.what {
                Deleted::Object => Fate::Goes,
                _ => fate(job, segment, &dead)?,
            };
            match fate {
                Fate::Goes => going.push(segment),
                Fate::Mixed => delete.rewrite.push(segment),
                Fate::Stays => {}
            }
        }
        Ok(going)
    };
    if deletion.what == Deleted::File {
        for file in &deletion.files {
            let page = job.archive.block_on(registry.files(file.version, file.number, 1))?;
            let found = page.iter().find(|f| f.number == file.number && f.id == file.id);
            let Some(found) = found else {
                let what = "a file, or its version, is deleted already".into();
                return Err(strongroom_registry::Error::Outdated { what }.into());
            };
            let erased = Erased { version: file.version, number: file.number, leaf: found.leaf() };
            delete.files.push((file.id, erased));
            let segments = referred(job, file.version, Some(file.number))?;
            let segments = sort(segments, &mut delete)?;
            let mut stone = Tombstone {
                kind: TombstoneKind::File,
                id: file.id.0,
                versions: vec![file.version],
                segments,
            };
            // The same file in several versions has one tombstone.
            match tombstones.iter_mut().find(|t: &&mut Tombstone| t.id == stone.id) {
                Some(one) => {
                    one.versions.append(&mut stone.versions);
                    one.segments.append(&mut stone.segments);
                }
                None => tombstones.push(stone),
            }
        }
    } else {
        for id in &versions {
            let mut segments = referred(job, *id, None)?;
            segments.extend(durable(job, SegmentsOf::Version(*id))?);
            let segments = sort(segments, &mut delete)?;
            tombstones.push(Tombstone {
                kind: TombstoneKind::Version,
                id: id.0,
                versions: vec![],
                segments,
            });
        }
        delete.versions = versions;
    }
    if let (Deleted::Object, Some(object)) = (deletion.what, job.item.object) {
        delete.object = Some(object);
        let segments = sort(durable(job, SegmentsOf::Object(object))?, &mut delete)?;
        let kind = TombstoneKind::Object;
        tombstones.push(Tombstone { kind, id: object.0, versions: vec![], segments });
    }
    Ok(Batch {
        delete: Some(delete),
        tombstones: tombstones.into_iter().flat_map(in_lines).collect(),
        events: vec![told(job, deletion, json!({"step": "deleted"}))?],
        ..Batch::default()
    })
}

/// A tombstone that tells of more segments than a line has room for goes on in others.
pub(super) fn in_lines(mut tombstone: Tombstone) -> Vec<Tombstone> {
    let rest = tombstone.segments.split_off(tombstone.segments.len().min(TOLD_MAX));
    let mut all = vec![tombstone];
    all.extend(of_segments(rest));
    all
}

/// Tombstones of segments alone.
pub(super) fn of_segments(segments: Vec<SegmentId>) -> impl Iterator<Item = Tombstone> {
    let lines: Vec<_> = segments.chunks(TOLD_MAX).map(<[SegmentId]>::to_vec).collect();
    lines.into_iter().map(|segments| Tombstone {
        kind: TombstoneKind::Segment,
        id: segments[0].0,
        versions: vec![],
        segments,
    })
}

fn referred(
    job: &Job<'_>,
    version: VersionId,
    number: Option<u64>,
) -> Result<Vec<SegmentId>, Error> {
    let (registry, mut all) = (job.archive.registry(), Vec::new());
    loop {
        job.stop.check()?;
        let after = all.last().copied();
        let page = registry.segments_referred(version, number, after, EXTENTS_PAGE);
        let page = job.archive.block_on(page)?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// Durable segments of data and records.
pub(super) fn durable(job: &Job<'_>, of: SegmentsOf) -> Result<Vec<SegmentId>, Error> {
    let (registry, mut all, mut after) = (job.archive.registry(), Vec::new(), None);
    loop {
        job.stop.check()?;
        let page = job.archive.block_on(registry.segments_of(of, after, PAGE))?;
        let Some(last) = page.last() else { return Ok(all) };
        after = Some(last.id);
        let kept = page.iter().filter(|s| {
            s.state == SegmentState::Durable
                && matches!(s.kind, SegmentKind::Data | SegmentKind::Record)
        });
        all.extend(kept.map(|s| s.id));
    }
}

/// Extents share bytes only where they are the same: what begins at one place ends at one place.
fn fate(
    job: &Job<'_>,
    segment: SegmentId,
    dead: &dyn Fn(&ExtentUse) -> bool,
) -> Result<Fate, Error> {
    let registry = job.archive.registry();
    let (mut any_living, mut any_dead) = (false, false);
    // Of those that begin where the last one does.
    let (mut living, mut last) = (true, None::<ExtentUse>);
    loop {
        job.stop.check()?;
        let page = job.archive.block_on(registry.extents_in(segment, last, EXTENTS_PAGE))?;
        for at in &page {
            if last.is_none_or(|last| last.start != at.start) {
                any_dead |= !living;
                living = false;
            }
            living |= !dead(at);
            any_living |= living;
            last = Some(*at);
        }
        any_dead |= page.is_empty() && !living;
        match (any_living, any_dead, page.is_empty()) {
            (true, true, _) => return Ok(Fate::Mixed),
            (true, false, true) => return Ok(Fate::Stays),
            (false, _, true) => return Ok(Fate::Goes),
            _ => {}
        }
    }
}

/// Of the files of deleted versions only the leaf hashes are kept.
fn erase(job: &Job<'_>, deletion: &Deletion) -> Result<(), Error> {
    if !matches!(deletion.what, Deleted::Object | Deleted::Version) {
        return Ok(());
    }
    for version in &deletion.versions {
        loop {
            job.stop.check()?;
            let files = job.archive.registry().files(version.id, 0, PAGE);
            let files = job.archive.block_on(files)?;
            if files.is_empty() {
                break;
            }
            let erase = files.iter().map(|file| Erased {
                version: version.id,
                number: file.number,
                leaf: file.leaf(),
            });
            job.commit(Batch { erase: erase.collect(), ..Batch::default() })?;
            fail::fail_point!("delete.erased");
        }
    }
    Ok(())
}

/// Releases the segments that tombstones name, once a journal told of them.
fn release(job: &Job<'_>, at: &mut Checkpoint) -> Result<(), Error> {
    let registry = job.archive.registry();
    if job.archive.block_on(registry.tombstones_untold(job.item.institution))? {
        crate::journal::keep(job)?;
    }
    fail::fail_point!("delete.journalled");
    loop {
        job.stop.check()?;
        let page = registry.segments_deleted(job.item.id, true, None, RELEASED);
        let page = job.archive.block_on(page)?;
        if page.is_empty() {
            return Ok(());
        }
        at.released += page.len() as u64;
        job.progress.done(page.len() as u64, 0);
        at.commit(job, Batch { release_deleted: page, ..Batch::default() })?;
        fail::fail_point!("delete.released");
    }
}

/// Sets the tombstones of the segments that were rewritten, and of records that are superseded.
fn finish_rewriting(job: &Job<'_>, at: &Checkpoint) -> Result<(), Error> {
    let mut segments = rewrite::mixed(job)?;
    for (version, kept) in &at.recorded {
        let records = durable(job, SegmentsOf::Version(*version))?;
        for id in records.into_iter().filter(|id| !kept.contains(id)) {
            let segment = job.archive.block_on(job.archive.registry().segment(id))?;
            if segment.is_some_and(|s| s.kind == SegmentKind::Record) {
                segments.push(id);
            }
        }
    }
    if segments.is_empty() {
        return at.commit(job, Batch::default());
    }
    let event = rewrite::event(
        job,
        json!({
            "segments": segments.len(), "versions": at.recorded.len(),
        }),
    );
    let tombstones = of_segments(segments).collect();
    at.commit(job, Batch { events: vec![event], tombstones, ..Batch::default() })
}

fn end(job: &Job<'_>, deletion: &Deletion, at: &Checkpoint) -> Result<(), Error> {
    let detail = json!({
        "step": "released", "segments": at.released, "rewritten": at.rewritten,
        "records": at.recorded.len(),
    });
    let report = json!({
        "outcome": "deleted",
        "files": deletion.root.map_or(0, |root| root.count),
        "bytes": deletion.bytes,
        "released_segments": at.released,
        "rewritten_segments": at.rewritten,
        "records": at.recorded.len(),
    });
    job.commit(Batch {
        events: vec![told(job, deletion, detail)?],
        note: Some(format!("{} is deleted", deletion.name)),
        finish: Some(Finish { status: WorkStatus::Succeeded, report }),
        ..Batch::default()
    })?;
    fail::fail_point!("delete.done");
    Ok(())
}

/// An event of the deletion, with who asked for it and who decided.
fn told(
    job: &Job<'_>,
    deletion: &Deletion,
    mut detail: serde_json::Value,
) -> Result<strongroom_record::EventDraft, Error> {
    let archive = job.archive;
    let known = archive.block_on(archive.registry().deletion(job.item.id))?;
    let accounts = archive.block_on(archive.registry().accounts(job.item.institution))?;
    let name = |id: Option<[u8; 16]>| accounts.iter().find(|a| Some(a.id) == id).map(|a| &a.name);
    if let Some(known) = &known {
        detail["asked_by"] = json!(name(known.asked_by));
        detail["decided_by"] = json!(name(known.decided_by));
        detail["decision"] = json!(known.decision);
    }
    let object =
        job.item.object.ok_or_else(|| Error::Internal("a deletion from nothing".into()))?;
    Ok(deletion.event(EventKind::Deletion, job.item.id, object, None, detail))
}
