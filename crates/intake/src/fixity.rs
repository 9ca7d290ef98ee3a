//! Checking every shard, making lost ones anew, and coding anew under another policy.

use crate::archive::now;
use crate::runner::Job;
use crate::{Archive, Error, FixityRequest};
use serde_json::{Value, json};
use std::time::Instant;
use strongroom_record::{
    EventDraft, EventKind, ObjectId, Outcome, Placement, PlacementState, SegmentId, SegmentState,
    WorkStatus,
};
use strongroom_registry::{Batch, Finish, Recoded, Segment, SegmentsOf};
use strongroom_vault::{Error as VaultError, Verdict};

/// Segments that are asked of the registry at once, and plaintext of those that are worked on, between
/// two commits at most (and one segment).
const PAGE: u32 = 64;
const COMMIT_BYTES: u64 = 256 << 20;
/// Problems that a report names; the count is always told.
const PROBLEMS_MAX: usize = 1000;

/// Tallies of a pass over segments; kept in the checkpoint, so that an interrupted pass goes on.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
struct Tally {
    after: Option<SegmentId>,
    segments: u64,
    checked: u64,
    bytes: u64,
    damaged: u64,
    missing: u64,
    repaired: u64,
    recoded: u64,
    #[serde(default)]
    micros: u64,
    problems: Vec<Value>,
    lost: Vec<String>,
}

impl Tally {
    fn commit(&self, job: &Job<'_>, batch: Batch) -> Result<(), Error> {
        let checkpoint = serde_json::to_value(self)
            .map_err(|e| Error::Internal(format!("no checkpoint: {e}")))?;
        job.commit(Batch { checkpoint: Some(checkpoint), ..batch })?;
        Ok(())
    }

    fn problem(&mut self, placement: &Placement, verdict: &str) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(json!({
                "segment": placement.segment,
                "index": placement.index,
                "shelf": placement.shelf,
                "verdict": verdict.chars().take(500).collect::<String>(),
            }));
        }
    }
}

/// Goes over all durable segments of the request, page by page; `work` says what to commit.
fn over(
    job: &Job<'_>,
    mut work: impl FnMut(&Segment, &[Placement], &mut Tally, &mut Batch) -> Result<(), Error>,
) -> Result<Tally, Error> {
    let request: FixityRequest = job.request()?;
    let object = request.object.map(|id| id.parse::<ObjectId>()).transpose()?;
    let of = object.map_or(SegmentsOf::All, SegmentsOf::Object);
    let archive = job.archive;
    let registry = archive.registry();
    let mut tally: Tally = match job.item.checkpoint.is_object() {
        true => serde_json::from_value(job.item.checkpoint.clone())
            .map_err(|e| Error::Internal(format!("the checkpoint is damaged: {e}")))?,
        false => Tally::default(),
    };
    let what = object.map_or("everything".into(), |id| id.to_string());
    job.progress.stage(job.item.kind, &what, job.item.stage);
    let (mut began, mut stepped) = (Instant::now(), 0);
    loop {
        let page = archive.block_on(registry.segments_of(of, tally.after, PAGE))?;
        if page.is_empty() {
            return Ok(tally);
        }
        let (mut batch, mut bytes) = (Batch::default(), 0);
        for segment in &page {
            if segment.state != SegmentState::Durable {
                tally.after = Some(segment.id);
                continue;
            }
            let waits = job.pace(std::mem::take(&mut stepped));
            tally.micros += began.elapsed().as_micros() as u64;
            began = Instant::now();
            if let Err(stopped) = waits {
                tally.commit(job, batch)?;
                return Err(stopped);
            }
            tally.after = Some(segment.id);
            let wanted = wanted_shards(archive, segment)?;
            if wanted.is_empty() && !still_durable(archive, segment)? {
                continue;
            }
            tally.segments += 1;
            let before = (batch.placements.len(), batch.checked.len());
            match work(segment, &wanted, &mut tally, &mut batch) {
                // Shards that were moved while they were read are read where they stand now.
                Err(error) if wanted_shards(archive, segment)? != wanted => {
                    tracing::debug!(segment = %segment.id, %error, "read again: shards were moved");
                    batch.placements.truncate(before.0);
                    batch.checked.truncate(before.1);
                    let wanted = wanted_shards(archive, segment)?;
                    work(segment, &wanted, &mut tally, &mut batch)?;
                }
                worked => worked?,
            }
            job.progress.done(1, 0);
            stepped = wanted.iter().map(|p| p.bytes).sum();
            bytes += segment.bytes;
            if bytes >= COMMIT_BYTES {
                tally.commit(job, std::mem::take(&mut batch))?;
                bytes = 0;
            }
        }
        tally.commit(job, batch)?;
    }
}

/// Whether a segment was not released since it was listed.
fn still_durable(archive: &Archive, segment: &Segment) -> Result<bool, Error> {
    let now = archive.block_on(archive.registry().segment(segment.id))?;
    Ok(now.is_some_and(|now| now.state == SegmentState::Durable))
}

/// A segment's shards of the coding that is wanted, as they stand now.
fn wanted_shards(archive: &Archive, segment: &Segment) -> Result<Vec<Placement>, Error> {
    let placements = archive.block_on(archive.registry().placements(segment.id))?;
    Ok(placements.into_iter().filter(|p| p.coding == segment.number).collect())
}

/// Whether a shard stands elsewhere now than where it was read.
fn was_moved(archive: &Archive, placement: &Placement) -> Result<bool, Error> {
    let now = archive.block_on(archive.registry().placements(placement.segment))?;
    let same = |p: &&Placement| (p.coding, p.index) == (placement.coding, placement.index);
    Ok(now
        .iter()
        .find(same)
        .is_none_or(|p| (p.shelf, &p.frames) != (placement.shelf, &placement.frames)))
}

fn was_any_moved(archive: &Archive, placements: &[Placement]) -> Result<bool, Error> {
    for placement in placements {
        if was_moved(archive, placement)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads every shard and compares it with what was signed.
pub(crate) fn check(job: &Job<'_>) -> Result<(), Error> {
    let tally = over(job, |_, placements, tally, batch| {
        for placement in placements {
            let mut bytes = 0;
            let checked = job.archive.vault().check(placement, &mut |read| {
                bytes += read;
                job.progress.done(0, read);
            });
            if checked.verdict != Verdict::Good && was_moved(job.archive, placement)? {
                // Read again the next time; it was verified when it was moved.
                continue;
            }
            tally.checked += 1;
            tally.bytes += bytes;
            match &checked.verdict {
                Verdict::Good => {}
                Verdict::Damaged(why) => {
                    tally.damaged += 1;
                    tally.problem(placement, why);
                }
                Verdict::Missing(why) => {
                    tally.missing += 1;
                    tally.problem(placement, why);
                }
            }
            let state = checked.state();
            batch.checked.push((
                placement.segment,
                placement.coding,
                placement.index,
                placement.log,
                state,
                now(),
            ));
        }
        Ok(())
    })?;
    if job.item.object.is_none() && tally.micros > 0 {
        let rate = u128::from(tally.bytes) * 1_000_000 / u128::from(tally.micros);
        job.archive.note_fixity_rate(u64::try_from(rate).unwrap_or(u64::MAX))?;
    }
    let bad = tally.damaged + tally.missing;
    let outcome = if bad == 0 { Outcome::Success } else { Outcome::Failure };
    let report = json!({
        "segments": tally.segments,
        "checked": tally.checked,
        "bytes": tally.bytes,
        "damaged": tally.damaged,
        "missing": tally.missing,
        "problems": tally.problems,
    });
    let detail = json!({
        "segments": tally.segments, "shards": tally.checked, "bytes": tally.bytes.to_string(),
        "damaged": tally.damaged, "missing": tally.missing,
    });
    let note = match bad {
        0 => format!("{} shards are good", tally.checked),
        _ => format!(
            "{} damaged, {} missing of {} shards: run `strongroom repair`",
            tally.damaged, tally.missing, tally.checked
        ),
    };
    end(job, EventKind::Fixity, outcome, detail, report, note)
}

/// Makes anew the shards that are known to be damaged or missing, or whose shelf is not there.
pub(crate) fn repair(job: &Job<'_>) -> Result<(), Error> {
    let tally = over(job, |segment, placements, tally, batch| {
        let vault = job.archive.vault();
        let there = |p: &Placement| {
            p.state == PlacementState::Good
                && vault.shelves().iter().any(|s| s.spec().id == p.shelf)
        };
        if placements.len() == usize::from(segment.coding.n()) && placements.iter().all(there) {
            return Ok(());
        }
        match vault.repair(placements, now(), &mut |bytes| job.progress.done(0, bytes)) {
            Ok(repaired) => {
                tally.repaired += repaired.made.len() as u64;
                fail::fail_point!("repair.made");
                batch.placements.extend(repaired.made);
                // What was thought bad and is good again is noted so.
                for p in placements.iter().filter(|p| p.state != PlacementState::Good) {
                    if !batch
                        .placements
                        .iter()
                        .any(|m| m.segment == p.segment && m.index == p.index)
                    {
                        let good = PlacementState::Good;
                        batch.checked.push((p.segment, p.coding, p.index, p.log, good, now()));
                    }
                }
                Ok(())
            }
            Err(error @ VaultError::Lost { .. }) if was_any_moved(job.archive, placements)? => {
                Err(error.into())
            }
            Err(error @ (VaultError::Lost { .. } | VaultError::TooFewShelves { .. })) => {
                tally.lost.push(error.to_string());
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    })?;
    let outcome = if tally.lost.is_empty() { Outcome::Success } else { Outcome::Failure };
    let report = json!({
        "segments": tally.segments, "repaired": tally.repaired, "lost": tally.lost,
    });
    let detail = json!({
        "segments": tally.segments, "repaired": tally.repaired, "lost": tally.lost.len(),
    });
    let note = match tally.lost.first() {
        None => format!("{} shards made anew", tally.repaired),
        Some(first) => format!("segment-lost: {} segments not repaired: {first}", tally.lost.len()),
    };
    fail::fail_point!("repair.done");
    end(job, EventKind::Repair, outcome, detail, report, note)
}

/// Codes anew what is not as the policy now wants it.
pub(crate) fn recode(job: &Job<'_>) -> Result<(), Error> {
    let tally = over(job, |segment, placements, tally, batch| {
        let archive = job.archive;
        let registry = archive.registry();
        let policy = archive.coding_of(segment.object, segment.institution)?;
        let small = segment.bytes < strongroom_vault::SMALL_BYTES;
        let coding = if small { policy.small() } else { policy };
        if coding == segment.coding {
            return Ok(());
        }
        let number = archive.block_on(registry.next_coding_number())?;
        let writer = archive.writer(segment.institution)?;
        let stored = archive.vault().recode(
            segment.id,
            placements,
            policy,
            number,
            &writer,
            now(),
            &mut |bytes| job.progress.done(0, bytes),
        )?;
        fail::fail_point!("recode.coded");
        batch.replace_codings.push(Recoded {
            segment: segment.id,
            coding: stored.coding,
            number: stored.number,
            placements: stored.placements,
        });
        tally.recoded += 1;
        Ok(())
    })?;
    let report = json!({"segments": tally.segments, "recoded": tally.recoded});
    let note = format!("{} of {} segments coded anew", tally.recoded, tally.segments);
    fail::fail_point!("recode.done");
    end(job, EventKind::Recoding, Outcome::Success, report.clone(), report, note)
}

pub(crate) fn end(
    job: &Job<'_>,
    kind: EventKind,
    outcome: Outcome,
    detail: Value,
    report: Value,
    note: String,
) -> Result<(), Error> {
    let event = EventDraft {
        outcome,
        object: job.item.object,
        work: Some(job.item.id),
        detail,
        ..EventDraft::new(kind)
    };
    job.commit(Batch {
        events: vec![event],
        note: Some(note),
        finish: Some(Finish { status: WorkStatus::Succeeded, report }),
        ..Batch::default()
    })?;
    Ok(())
}
