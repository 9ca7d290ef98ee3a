//! A segment of its own for a work item: registered, filled, stored.

use crate::Error;
use crate::archive::{now, random_id};
use crate::keeper::Sealing;
use crate::runner::Job;
use serde_json::Value;
use strongroom_record::{ObjectId, SegmentId, SegmentKind, VersionId};
use strongroom_registry::{Batch, DurableSegment, NewSegment};
use strongroom_vault::{Put, PutSpec, Stored};

/// Registers a segment as `writing`, and begins to fill it.
pub(crate) fn begin(
    job: &Job<'_>,
    sealing: &Sealing,
    version: Option<VersionId>,
    object: Option<ObjectId>,
    kind: SegmentKind,
) -> Result<Put, Error> {
    let archive = job.archive;
    let institution = job.item.institution;
    let registry = archive.registry();
    let Sealing { generation, seal_to, .. } = sealing.clone();
    let coding = archive.coding_of(object, institution)?;
    let number = archive.block_on(registry.next_coding_number())?;
    let segment = SegmentId(random_id());
    let begin =
        NewSegment { id: segment, version, object, institution, kind, generation, coding, number };
    job.commit(Batch { begin_segments: vec![begin], ..Batch::default() })?;
    let accept_degraded =
        job.item.request.get("accept_degraded").and_then(Value::as_bool).unwrap_or(false);
    Ok(archive.vault().put(PutSpec {
        segment,
        kind,
        institution,
        generation,
        seal_to,
        coding,
        number,
        accept_degraded,
    }))
}

/// Stores it; it counts once it is committed.
pub(crate) fn finish(sealing: &Sealing, put: Put) -> Result<DurableSegment, Error> {
    let Stored { segment, bytes, coding, number, placements } =
        put.finish(&sealing.writer, now())?;
    Ok(DurableSegment { id: segment, bytes, coding, number, placements })
}
