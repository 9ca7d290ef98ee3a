//! The record of a version: JSON Lines, sealed in segments of its own, the head last.

use crate::runner::Job;
use crate::{Error, segment};
use serde_json::{Value, json};
use std::collections::VecDeque;
use strongroom_digest::{Algorithm, Hasher};
use strongroom_record::json::canonical;
use strongroom_record::{
    FileRecord, Merkle, MerkleRoot, ObjectName, SegmentId, SegmentKind, Sha256, VersionId,
};
use strongroom_registry::{Batch, EventsOf};
use strongroom_vault::Put;

/// Rows that are asked of the registry at once.
const PAGE: u32 = 1000;
/// Plaintext of one part at most.
const PART_BYTES: u64 = 32 << 20;
/// A line is never longer; further extents of a file go on in further lines.
const LINE_BYTES_MAX: usize = 1 << 20;
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
    let mut parts = Parts { job, version, about, put: None, hasher: None, stored: Vec::new() };
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
    let mut next = 0;
    loop {
        job.stop.check()?;
        let page = match subject.moved {
            true => archive.block_on(registry.files_after_moves(job.item.id, version, next, PAGE)),
            false => archive.block_on(registry.files(version, next, PAGE)),
        }?;
        let end = page.last().map_or(u64::MAX, |last| last.number);
        for file in &page {
            gone += deleted.before(file.number, &mut parts, &mut merkle)?;
            merkle.push(&file.leaf());
            files += 1;
            bytes += file.size;
            parts.file(file)?;
        }
        if page.is_empty() {
            gone += deleted.before(end, &mut parts, &mut merkle)?;
            break;
        }
        next = end + 1;
    }
    parts.end()?;
    let root = merkle.root();
    let listed: Vec<_> = parts.stored.iter().map(|(id, sha256)| json!([id, sha256])).collect();
    let mut head = parts.about.clone();
    head["strongroom"] = "version record head".into();
    head["parts"] = listed.into();
    head["files"] = files.to_string().into();
    if gone > 0 {
        head["deleted"] = gone.to_string().into();
    }
    head["files_root"] = root.root.to_string().into();
    head["hash"] = "sha256".into();
    let text = line_of(&head)?;
    let (head, _) = parts.whole(&text)?;
    let segments = parts.stored.iter().map(|(id, _)| *id).chain([head]).collect();
    Ok(Recorded { head, sha256: Sha256::of(&text), revision, root, files, bytes, segments })
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
        parts: &mut Parts<'_>,
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

/// The record's text, cut into segments.
struct Parts<'a> {
    job: &'a Job<'a>,
    version: VersionId,
    /// What each segment says first of itself.
    about: Value,
    put: Option<Put>,
    hasher: Option<Hasher>,
    stored: Vec<(SegmentId, Sha256)>,
}

impl Parts<'_> {
    fn file(&mut self, file: &FileRecord) -> Result<(), Error> {
        let mut first = file.clone();
        let later = first.extents.split_off(file.extents.len().min(LINE_EXTENTS));
        let mut line = first.to_json();
        line["line"] = "file".into();
        self.line(&line)?;
        for extents in later.chunks(LINE_EXTENTS) {
            let extents: Value = extents
                .iter()
                .map(|e| json!([e.segment, e.offset.to_string(), e.length.to_string()]))
                .collect();
            self.line(&json!({"line": "extents", "id": file.id, "extents": extents}))?;
        }
        Ok(())
    }

    fn line(&mut self, value: &Value) -> Result<(), Error> {
        let text = line_of(value)?;
        if self.put.as_ref().is_some_and(|put| put.bytes() + text.len() as u64 > PART_BYTES) {
            self.end()?;
        }
        if self.put.is_none() {
            let mut first = self.about.clone();
            first["strongroom"] = "version record".into();
            first["part"] = self.stored.len().into();
            self.put = Some(self.begin()?);
            self.hasher = Some(Hasher::new(Algorithm::Sha256));
            let first = line_of(&first)?;
            self.push(&first)?;
        }
        self.push(&text)
    }

    fn push(&mut self, text: &[u8]) -> Result<(), Error> {
        if let (Some(put), Some(hasher)) = (&mut self.put, &mut self.hasher) {
            hasher.update(text);
            put.push(text)?;
        }
        Ok(())
    }

    /// Ends the present part.
    fn end(&mut self) -> Result<(), Error> {
        let (Some(put), Some(hasher)) = (self.put.take(), self.hasher.take()) else {
            return Ok(());
        };
        let sha256 = Sha256::from_slice(hasher.finish().as_bytes())?;
        let id = self.commit(put)?;
        self.stored.push((id, sha256));
        Ok(())
    }

    /// A segment of one text.
    fn whole(&mut self, text: &[u8]) -> Result<(SegmentId, Sha256), Error> {
        let mut put = self.begin()?;
        put.push(text)?;
        Ok((self.commit(put)?, Sha256::of(text)))
    }

    fn begin(&self) -> Result<Put, Error> {
        segment::begin(self.job, Some(self.version), SegmentKind::Record)
    }

    fn commit(&self, put: Put) -> Result<SegmentId, Error> {
        let durable = segment::finish(self.job, put)?;
        let id = durable.id;
        fail::fail_point!("deposit.record-part-synced");
        self.job.commit(Batch { durable: vec![durable], ..Batch::default() })?;
        Ok(id)
    }
}

fn line_of(value: &Value) -> Result<Vec<u8>, Error> {
    let mut text = canonical(value)?;
    text.push(b'\n');
    match text.len() <= LINE_BYTES_MAX {
        true => Ok(text),
        false => Err(Error::Internal(format!("a record's line of {} bytes", text.len()))),
    }
}
