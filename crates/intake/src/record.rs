//! The record of a version: JSON Lines, sealed in segments of its own, the head last.

use crate::Error;
use crate::ingest::each_file;
use crate::lines::Lines;
use crate::runner::Job;
use serde_json::{Value, json};
use strongroom_record::{MerkleRoot, ObjectName, SegmentId, SegmentKind, Sha256, VersionId};
use strongroom_registry::EventsOf;

/// What a part says first of itself.
pub(crate) const PART: &str = "version record";
/// What a head says.
pub(crate) const HEAD: &str = "version record head";
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
    let mut parts = Lines::new(job, SegmentKind::Record, Some(version), PART, about);
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
    let (head, sha256) = parts.finish(HEAD, |head| {
        head["files"] = root.count.to_string().into();
        head["files_root"] = root.root.to_string().into();
    })?;
    Ok(Recorded { head, sha256, revision })
}
