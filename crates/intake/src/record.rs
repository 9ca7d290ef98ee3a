//! The record of a version: JSON Lines, sealed in segments of its own, the head last.

use crate::Error;
use crate::ingest::each_page;
use crate::lines::Lines;
use crate::runner::Job;
use serde_json::{Value, json};
use std::collections::VecDeque;
use strongroom_record::{
    FileRecord, Merkle, MerkleRoot, ObjectName, SegmentId, SegmentKind, Sha256, VersionId,
};
use strongroom_registry::{EventsOf, Registry};

/// What a part says first of itself.
pub(crate) const PART: &str = "version record";
/// What a head says.
pub(crate) const HEAD: &str = "version record head";
/// Rows that are asked of the registry at once.
const PAGE: u32 = 1000;
/// Extents of one line, so that it stays below the bound.
const LINE_EXTENTS: usize = 8000;

/// Of what a record is stored.
pub(crate) struct Subject<'a> {
    pub(crate) name: &'a ObjectName,
    pub(crate) version: VersionId,
    /// The number under which it is, or is to be, published.
    pub(crate) number: u32,
    pub(crate) bag: bool,
    /// Whether its files stand where the item's moves say, not where they stand now.
    pub(crate) moved: bool,
}

/// A record that is stored.
pub(crate) struct Recorded {
    pub(crate) head: SegmentId,
    pub(crate) sha256: Sha256,
    pub(crate) revision: (u32, u64),
    /// Of all files that the version ever had.
    pub(crate) root: MerkleRoot,
    /// Files that it has, and their bytes.
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// The parts and the head.
    pub(crate) segments: Vec<SegmentId>,
}

/// Stores the record of a version, in a revision of its own.
pub(crate) fn store(job: &Job<'_>, subject: &Subject<'_>) -> Result<Recorded, Error> {
    let archive = job.archive;
    let registry = archive.registry();
    let version = subject.version;
    let revision = archive.block_on(registry.next_revision())?;
    let about = json!({
        "format": 1,
        "institution": job.item.institution,
        "institution_name": subject.name.institution(),
        "object": job.item.object,
        "object_name": subject.name.name(),
        "version": version,
        "number": subject.number,
        "revision": [revision.0.to_string(), revision.1.to_string()],
        "bag": subject.bag,
    });
    let mut parts = Lines::new(job, SegmentKind::Record, Some(version), PART, about)?;
    if let Some(object) = job.item.object {
        let mut after = 0;
        loop {
            let page = archive.block_on(registry.events(EventsOf::Object(object), after, PAGE))?;
            let Some(last) = page.last() else { break };
            after = last.sequence;
            for event in &page {
                let (hash, event) = (event.hash, event.to_json());
                parts.line(&json!({"line": "event", "event": event, "sha256": hash}))?;
            }
        }
    }
    let mut deleted = Deleted { job, version, page: VecDeque::new(), next: Some(0) };
    let (mut merkle, mut files, mut bytes, mut gone) = (Merkle::default(), 0, 0, 0u64);
    let (work, moved) = (job.item.id, subject.moved);
    let read = |registry: Registry, from| async move {
        match moved {
            true => registry.files_after_moves(work, version, from, PAGE).await,
            false => registry.files(version, from, PAGE).await,
        }
    };
    each_page(job, read, &mut |page| {
        for file in page {
            gone += deleted.before(file.number, &mut parts, &mut merkle)?;
            merkle.push(&file.leaf());
            files += 1;
            bytes += file.size;
            file_lines(&mut parts, file)?;
        }
        Ok(())
    })?;
    gone += deleted.before(u64::MAX, &mut parts, &mut merkle)?;
    let root = merkle.root();
    let mut segments = Vec::new();
    let (head, sha256) = parts.finish(HEAD, |head| {
        let parts = head["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
        segments = parts.iter().filter_map(|part| part[0].as_str()?.parse().ok()).collect();
        head["files"] = files.to_string().into();
        if gone > 0 {
            head["deleted"] = gone.to_string().into();
        }
        head["files_root"] = root.root.to_string().into();
    })?;
    segments.push(head);
    Ok(Recorded { head, sha256, revision, root, files, bytes, segments })
}

fn file_lines(parts: &mut Lines<'_>, file: &FileRecord) -> Result<(), Error> {
    let mut first = file.clone();
    let later = first.extents.split_off(file.extents.len().min(LINE_EXTENTS));
    let mut line = first.to_json();
    line["line"] = "file".into();
    parts.line(&line)?;
    for extents in later.chunks(LINE_EXTENTS) {
        let extents: Value = extents
            .iter()
            .map(|e| json!([e.segment, e.offset.to_string(), e.length.to_string()]))
            .collect();
        parts.line(&json!({"line": "extents", "id": file.id, "extents": extents}))?;
    }
    Ok(())
}

/// The deleted files of a version, in the order of their numbers.
struct Deleted<'a> {
    job: &'a Job<'a>,
    version: VersionId,
    page: VecDeque<(u64, Sha256)>,
    /// From which number on there may be more.
    next: Option<u64>,
}

impl Deleted<'_> {
    /// Tells of those before a number; how many there were.
    fn before(
        &mut self,
        number: u64,
        parts: &mut Lines<'_>,
        merkle: &mut Merkle,
    ) -> Result<u64, Error> {
        let mut count = 0;
        loop {
            if self.page.is_empty()
                && let Some(next) = self.next
            {
                let archive = self.job.archive;
                let page = archive.registry().deleted_files(self.version, next, PAGE);
                self.page = archive.block_on(page)?.into();
                self.next = self.page.back().map(|(last, _)| last + 1);
            }
            match self.page.front() {
                Some((at, leaf)) if *at < number => {
                    parts.line(&json!({
                        "line": "deleted", "number": at.to_string(), "leaf": leaf,
                    }))?;
                    merkle.push(leaf);
                }
                _ => return Ok(count),
            }
            self.page.pop_front();
            count += 1;
        }
    }
}
