//! The record of a version: JSON Lines, sealed in segments of its own, the head last.

use crate::Error;
use crate::archive::{Sealing, now, random_id};
use crate::ingest::each_file;
use crate::runner::Job;
use serde_json::{Value, json};
use strongroom_digest::{Algorithm, Hasher};
use strongroom_record::json::canonical;
use strongroom_record::{MerkleRoot, ObjectName, SegmentId, SegmentKind, Sha256, VersionId};
use strongroom_registry::{Batch, DurableSegment, EventsOf, NewSegment};
use strongroom_vault::{Put, PutSpec, Stored};

/// Plaintext of one part at most.
const PART_BYTES: u64 = 32 << 20;
/// A line is never longer; further extents of a file go on in further lines.
const LINE_BYTES_MAX: usize = 1 << 20;
/// Extents of one line, so that it stays below the bound.
const LINE_EXTENTS: usize = 8000;

/// A record that is stored.
pub(crate) struct Recorded {
    pub(crate) head: SegmentId,
    pub(crate) sha256: Sha256,
    pub(crate) revision: (u32, u64),
}

/// Stores the record of the draft `version`, which is to be published as `number`.
pub(crate) fn store(
    job: &Job<'_>,
    name: &ObjectName,
    version: VersionId,
    number: u32,
    bag: bool,
    root: MerkleRoot,
) -> Result<Recorded, Error> {
    let archive = job.archive;
    let revision = archive.block_on(archive.registry().next_revision())?;
    let about = json!({
        "format": 1,
        "institution": job.item.institution,
        "institution_name": name.institution(),
        "object": job.item.object,
        "object_name": name.name(),
        "version": version,
        "number": number,
        "revision": [revision.0.to_string(), revision.1.to_string()],
        "bag": bag,
    });
    let sealing = archive.sealing(job.item.institution)?;
    let (put, hasher, stored) = (None, None, Vec::new());
    let mut parts = Parts { job, version, about, sealing, put, hasher, stored };
    if let Some(object) = job.item.object {
        let mut after = 0;
        loop {
            let page = archive.registry().events(EventsOf::Object(object), after, 1000);
            let page = archive.block_on(page)?;
            let Some(last) = page.last() else { break };
            after = last.sequence;
            for event in &page {
                let (hash, event) = (event.hash, event.to_json());
                parts.line(&json!({"line": "event", "event": event, "sha256": hash}))?;
            }
        }
    }
    each_file(job, version, &mut |file| {
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
    })?;
    parts.end()?;
    let listed: Vec<_> = parts.stored.iter().map(|(id, sha256)| json!([id, sha256])).collect();
    let mut head = parts.about.clone();
    head["strongroom"] = "version record head".into();
    head["parts"] = listed.into();
    head["files"] = root.count.to_string().into();
    head["files_root"] = root.root.to_string().into();
    head["hash"] = "sha256".into();
    let text = line_of(&head)?;
    let (head, _) = parts.whole(&text)?;
    Ok(Recorded { head, sha256: Sha256::of(&text), revision })
}

/// The record's text, cut into segments.
struct Parts<'a> {
    job: &'a Job<'a>,
    version: VersionId,
    /// What each segment says first of itself.
    about: Value,
    /// The same for all parts, though keys be rotated meanwhile.
    sealing: Sealing,
    put: Option<Put>,
    hasher: Option<Hasher>,
    stored: Vec<(SegmentId, Sha256)>,
}

impl Parts<'_> {
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
        let (job, archive) = (self.job, self.job.archive);
        let institution = job.item.institution;
        let registry = archive.registry();
        let Sealing { generation, seal_to, .. } = self.sealing.clone();
        let coding = archive.block_on(registry.coding_for(job.item.object, institution))?;
        let number = archive.block_on(registry.next_coding_number())?;
        let segment = SegmentId(random_id());
        let begin = NewSegment {
            id: segment,
            version: Some(self.version),
            object: job.item.object,
            institution,
            kind: SegmentKind::Record,
            generation,
            coding,
            number,
        };
        job.commit(Batch { begin_segments: vec![begin], ..Batch::default() })?;
        let accept_degraded =
            job.item.request.get("accept_degraded").and_then(Value::as_bool).unwrap_or(false);
        Ok(archive.vault().put(PutSpec {
            segment,
            kind: SegmentKind::Record,
            institution,
            generation,
            seal_to,
            coding,
            number,
            accept_degraded,
        }))
    }

    fn commit(&self, put: Put) -> Result<SegmentId, Error> {
        let Stored { segment, bytes, coding, number, placements } =
            put.finish(&self.sealing.writer, now())?;
        let durable = DurableSegment { id: segment, bytes, coding, number, placements };
        fail::fail_point!("deposit.record-part-synced");
        self.job.commit(Batch { durable: vec![durable], ..Batch::default() })?;
        Ok(segment)
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
