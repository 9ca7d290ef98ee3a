//! An archive for contracts to work in, and what they put into it.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use strongroom_record::*;
use strongroom_registry::*;

pub(crate) const NOW: Time = Time(1_000_000_000);
pub(crate) const SECONDS: u32 = 60;

/// An id that no other call gives.
pub(crate) fn fresh<I: Id>() -> I {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    I::from_slice(&Sha256::of(&number).0[..16]).unwrap()
}

pub(crate) fn later(seconds: i64) -> Time {
    NOW.plus_seconds(seconds)
}

/// An archive with an institution, an object and two shelves.
pub(crate) struct World {
    pub(crate) institution: InstitutionId,
    pub(crate) object: ObjectId,
    pub(crate) shelves: [ShelfId; 2],
}

pub(crate) async fn world(registry: &Registry) -> World {
    assert!(registry.create_archive(fresh(), fresh(), &[], NOW).await.unwrap());
    let institution = Institution {
        id: fresh(),
        name: "local".into(),
        generation: 1,
        keys: vec![1, 2, 3],
        coding: None,
        created: NOW,
    };
    assert!(registry.create_institution(&institution, vec![], NOW).await.unwrap());
    let shelves = [fresh(), fresh()];
    for (id, name) in shelves.into_iter().zip(["a", "b"]) {
        let shelf = Shelf {
            id,
            name: name.into(),
            location: format!("/shelves/{name}"),
            domain: "disk".into(),
            capacity_bytes: Some(1 << 40),
            state: ShelfState::Active,
            added: NOW,
        };
        registry.add_shelf(&shelf).await.unwrap();
    }
    let object = object(registry, "letters").await;
    World { institution: institution.id, object, shelves }
}

pub(crate) async fn object(registry: &Registry, name: &str) -> ObjectId {
    let name = ObjectName::new("local", name).unwrap();
    registry.ensure_object(&name, fresh(), NOW).await.unwrap().id
}

impl World {
    pub(crate) fn ingest(&self, object: ObjectId, key: &str) -> NewWork {
        NewWork {
            id: fresh(),
            kind: WorkKind::Ingest,
            institution: self.institution,
            object: Some(object),
            key: Some(key.into()),
            request: json!({"source": key}),
            stage: Stage::Inspect,
        }
    }

    /// An ingest of the object, leased.
    pub(crate) async fn taken(&self, registry: &Registry) -> Lease {
        let item = registry.enqueue(self.ingest(self.object, "/in"), NOW).await.unwrap().item;
        take(registry, Some(item.id), NOW).await.unwrap().1
    }

    pub(crate) fn draft(&self) -> NewDraft {
        NewDraft {
            version: fresh(),
            object: self.object,
            source: "/in".into(),
            bag: false,
            detail: json!({"plan": [1, 2]}),
        }
    }

    pub(crate) fn segment(
        &self,
        version: VersionId,
        kind: SegmentKind,
        number: CodingNumber,
    ) -> NewSegment {
        NewSegment {
            id: fresh(),
            version: Some(version),
            object: Some(self.object),
            institution: self.institution,
            kind,
            generation: 1,
            coding: Coding::TWO_COPIES,
            number,
        }
    }

    pub(crate) fn durable(&self, segment: &NewSegment, bytes: u64) -> DurableSegment {
        DurableSegment {
            id: segment.id,
            bytes,
            coding: segment.coding,
            number: segment.number,
            placements: self.placements(segment.id, segment.number),
        }
    }

    pub(crate) fn placements(&self, segment: SegmentId, coding: CodingNumber) -> Vec<Placement> {
        let one = |(index, shelf): (u8, &ShelfId)| Placement {
            segment,
            coding,
            index,
            shelf: *shelf,
            log: fresh(),
            frames: vec![index; 8],
            bytes: 1_000,
            state: PlacementState::Good,
            checked: NOW,
        };
        (0..).zip(&self.shelves).map(one).collect()
    }

    /// Takes a version in with these files, up to its publishing.
    pub(crate) async fn publish(
        &self,
        registry: &Registry,
        lease: &Lease,
        files: u64,
    ) -> VersionId {
        let number = registry.next_coding_number().await.unwrap();
        let draft = self.draft();
        let version = draft.version;
        let data = self.segment(version, SegmentKind::Data, number);
        let record = self.segment(version, SegmentKind::Record, number);
        let batch = Batch {
            begin_draft: Some(draft),
            begin_segments: vec![data.clone(), record.clone()],
            durable: vec![self.durable(&data, 1 << 20), self.durable(&record, 100)],
            files: (0..files).map(|n| file(n, data.id)).collect(),
            ..Batch::default()
        };
        let bytes = batch.files.iter().map(|f| f.size).sum();
        let lease = registry.commit(lease, NOW, SECONDS, batch).await.unwrap().lease;
        let batch = Batch {
            publish: Some(Publish {
                record: record.id,
                record_sha256: Sha256([9; 32]),
                revision: registry.next_revision().await.unwrap(),
                files,
                bytes,
            }),
            events: vec![EventDraft::new(EventKind::Accession)],
            finish: Some(Finish { status: WorkStatus::Succeeded, report: json!({"ok": true}) }),
            ..Batch::default()
        };
        registry.commit(&lease, NOW, SECONDS, batch).await.unwrap();
        version
    }
}

pub(crate) async fn take(
    registry: &Registry,
    which: Option<WorkId>,
    now: Time,
) -> Option<(WorkItem, Lease)> {
    registry.lease(fresh(), &[], which, now, SECONDS).await.unwrap()
}

pub(crate) fn file(number: u64, segment: SegmentId) -> FileRecord {
    let path = format!("data/folder {}/file {number}", number % 7).into_bytes();
    let size = number % 1_000;
    let extent = Extent { segment, offset: number * 1_000, length: size };
    FileRecord {
        id: fresh(),
        number,
        sha256: Sha256::of(&path),
        path,
        kind: FileKind::File,
        mode: 0o644,
        mtime_ns: -5,
        size,
        digests: vec![NamedDigest { algorithm: "md5".into(), bytes: vec![number as u8; 16] }],
        target: None,
        made: number == 3,
        format: (number == 4).then(|| "fmt/1".into()),
        extents: if size == 0 { vec![] } else { vec![extent] },
    }
}

/// The registry as a reader sees it, to show that nothing was left behind.
pub(crate) async fn picture(registry: &Registry, world: &World) -> String {
    format!(
        "{:?} {:?} {:?} {:?}",
        registry.status().await.unwrap(),
        registry.versions(world.object).await.unwrap(),
        registry.segments_of(SegmentsOf::All, None, 100).await.unwrap(),
        registry.event_head(world.institution).await.unwrap(),
    )
}
