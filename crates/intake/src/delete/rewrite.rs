//! Moves living bytes out of segments that hold dead ones too, and stores the records anew that name
//! such a segment, or a file that is dead.

use super::run::Checkpoint;
use super::{Deleted, Deletion};
use crate::keeper::Sealing;
use crate::record::Subject;
use crate::restore::Reader;
use crate::runner::Job;
use crate::{Error, SEGMENT_BYTES, segment};
use serde_json::{Value, json};
use strongroom_record::{EventDraft, EventKind, Extent, SegmentId, SegmentKind, VersionId};
use strongroom_registry::{Batch, ExtentUse, MovedBytes, Relocate, VersionState};
use strongroom_vault::Put;

/// Rows that are asked of the registry at once.
const PAGE: u32 = 1000;
/// Moves of one commit.
const MOVES: usize = 1500;

/// Copies what is living, then lets each version that refers to it say where it stands now.
pub(super) fn run(job: &Job<'_>, deletion: &Deletion, at: &mut Checkpoint) -> Result<(), Error> {
    let sealing = job.archive.sealing(job.item.institution)?;
    let (reader, open, moves) = (None, None, Vec::new());
    let mut copier = Copier { job, sealing, reader, open, moves, version: None };
    for segment in mixed(job)? {
        copier.copy(segment, at)?;
    }
    copier.close(at)?;
    let registry = job.archive.registry();
    while let Some(version) = job.archive.block_on(registry.version_to_relocate(job.item.id))? {
        relocate(job, version, at)?;
    }
    // A record that names a dead file is stored anew, though no byte was moved.
    if deletion.what == Deleted::File {
        for file in &deletion.files {
            if at.recorded.iter().all(|(version, _)| *version != file.version) {
                relocate(job, file.version, at)?;
            }
        }
    }
    Ok(())
}

/// The deletion's segments that are not yet rewritten.
pub(super) fn mixed(job: &Job<'_>) -> Result<Vec<SegmentId>, Error> {
    let mut all: Vec<SegmentId> = Vec::new();
    loop {
        let after = all.last().copied();
        let page = job.archive.registry().segments_deleted(job.item.id, false, after, PAGE);
        let page = job.archive.block_on(page)?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// An event that tells where bytes went.
pub(super) fn event(job: &Job<'_>, detail: Value) -> EventDraft {
    let kind = EventKind::Relocation;
    let work = Some(job.item.id);
    EventDraft { object: job.item.object, work, detail, ..EventDraft::new(kind) }
}

/// Fills new segments with the living bytes of old ones, of one version in each.
struct Copier<'a> {
    job: &'a Job<'a>,
    sealing: Sealing,
    reader: Option<Reader<'a>>,
    open: Option<Put>,
    /// Where the bytes in `open` stood.
    moves: Vec<MovedBytes>,
    version: Option<VersionId>,
}

impl Copier<'_> {
    fn copy(&mut self, segment: SegmentId, at: &mut Checkpoint) -> Result<(), Error> {
        let (job, registry) = (self.job, self.job.archive.registry());
        let version = self.owner(segment)?;
        let mut last: Option<ExtentUse> = None;
        loop {
            job.stop.check()?;
            let page = job.archive.block_on(registry.extents_in(segment, last, PAGE))?;
            if page.is_empty() {
                return Ok(());
            }
            for extent in page {
                let same = last.is_some_and(|last| last.start == extent.start);
                last = Some(extent);
                let moved = registry.is_moved(job.item.id, segment, extent.start);
                if same || job.archive.block_on(moved)? {
                    continue;
                }
                let fits = |put: &Put| put.bytes() + extent.length <= SEGMENT_BYTES;
                if self.version != version || !self.open.as_ref().is_none_or(fits) {
                    self.close(at)?;
                }
                self.version = version;
                self.take(segment, &extent)?;
            }
        }
    }

    /// The version for which the segment was written, if it is living.
    fn owner(&self, segment: SegmentId) -> Result<Option<VersionId>, Error> {
        let (archive, registry) = (self.job.archive, self.job.archive.registry());
        let version = archive.block_on(registry.segment(segment))?.and_then(|s| s.version);
        let Some(version) = version else { return Ok(None) };
        let found = archive.block_on(registry.version(version))?;
        let living = found.is_some_and(|v| v.state == VersionState::Published);
        Ok(living.then_some(version))
    }

    fn take(&mut self, segment: SegmentId, extent: &ExtentUse) -> Result<(), Error> {
        let job = self.job;
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => {
                let secrets = job.archive.secrets(job.item.institution)?;
                none.insert(Reader::new(job.archive, secrets))
            }
        };
        let put = match &mut self.open {
            Some(put) => put,
            none => {
                let (version, object) = (self.version, job.item.object);
                let kind = SegmentKind::Data;
                none.insert(segment::begin(job, &self.sealing, version, object, kind)?)
            }
        };
        let (start, to_start) = (extent.start, put.bytes());
        self.moves.push(MovedBytes { segment, start, to_segment: put.segment(), to_start });
        let from = Extent { segment, offset: start, length: extent.length };
        reader.extent(&from, &mut |bytes| Ok(put.push(bytes)?))?;
        job.progress.done(0, extent.length);
        Ok(())
    }

    /// Stores the open segment: the moves first, which count once it is durable.
    fn close(&mut self, at: &mut Checkpoint) -> Result<(), Error> {
        let Some(put) = self.open.take() else { return Ok(()) };
        let durable = segment::finish(&self.sealing, put)?;
        for moves in std::mem::take(&mut self.moves).chunks(MOVES) {
            self.job.commit(Batch { moved_bytes: moves.to_vec(), ..Batch::default() })?;
        }
        fail::fail_point!("delete.copied");
        at.rewritten += 1;
        at.commit(self.job, Batch { durable: vec![durable], ..Batch::default() })
    }
}

/// Stores the record of a version anew, and lets its files stand where they were moved to. A draft has
/// no record yet.
fn relocate(job: &Job<'_>, id: VersionId, at: &mut Checkpoint) -> Result<(), Error> {
    let (archive, registry) = (job.archive, job.archive.registry());
    let missing = || Error::NotFound { what: "version", name: id.to_string() };
    let version = archive.block_on(registry.version(id))?.ok_or_else(missing)?;
    if version.state != VersionState::Published {
        let relocate = Some(Relocate { version: id, record: None });
        job.commit(Batch { relocate, ..Batch::default() })?;
        return Ok(());
    }
    let object = archive.block_on(registry.object(version.object))?.ok_or_else(missing)?;
    let (number, bag) = (version.number, version.bag);
    let subject = Subject { name: &object.name, version: id, number, bag, moved: true };
    let record = crate::record::store(job, &subject)?;
    fail::fail_point!("delete.recorded");
    let event = EventDraft {
        version: Some(id),
        files: Some(record.root),
        ..event(
            job,
            json!({
                "version": number,
                "record": record.head.to_string(),
                "record_sha256": record.sha256.to_string(),
                "revision": [record.revision.0, record.revision.1],
            }),
        )
    };
    at.recorded.push((id, record.segments));
    let record = Some((record.head, record.sha256, record.revision));
    let relocate = Some(Relocate { version: id, record });
    at.commit(job, Batch { relocate, events: vec![event], ..Batch::default() })?;
    fail::fail_point!("delete.moved");
    Ok(())
}
