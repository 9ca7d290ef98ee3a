//! What every backend must do about deletion.

use serde_json::json;
use strongroom_record::*;
use strongroom_registry::{Error, *};

use crate::world::*;

/// An account of the institution.
async fn account(registry: &Registry, world: &World, name: &str, role: &str) -> [u8; 16] {
    let id = fresh::<WorkId>().0;
    let (role, state) = (role.into(), "active".into());
    let institution = world.institution;
    let account = Account { id, institution, name: name.into(), role, state, created: NOW };
    assert!(registry.create_account(&account).await.unwrap());
    id
}

fn deletion(world: &World, asked_by: Option<[u8; 16]>, forced: bool) -> NewDeletion {
    let work = NewWork {
        id: fresh(),
        kind: WorkKind::Delete,
        institution: world.institution,
        object: Some(world.object),
        key: Some("letters".into()),
        request: json!({"what": "version"}),
        stage: Stage::Run,
    };
    let events = vec![EventDraft::new(EventKind::DeletionRequest)];
    NewDeletion { work, asked_by, forced, events }
}

fn forbidden<T: std::fmt::Debug>(result: Result<T, Error>, why: &str) {
    match result {
        Err(Error::Forbidden { what }) => assert!(what.contains(why), "{what}, not {why}"),
        other => panic!("not forbidden: {other:?}"),
    }
}

pub(crate) async fn nobody_decides_alone(a: &Registry, b: &Registry) {
    let world = world(a).await;
    forbidden(a.ask_deletion(deletion(&world, None, false), NOW).await, "must be forced");
    let ada = account(a, &world, "ada", "administrator").await;
    forbidden(a.ask_deletion(deletion(&world, None, true), NOW).await, "say who asks");
    forbidden(a.ask_deletion(deletion(&world, Some(ada), false), NOW).await, "must be forced");
    let bob = account(a, &world, "bob", "administrator").await;
    let eve = account(a, &world, "eve", "observer").await;
    forbidden(a.ask_deletion(deletion(&world, Some(ada), true), NOW).await, "not forced");
    forbidden(a.ask_deletion(deletion(&world, Some(eve), false), NOW).await, "observer");

    let asked = a.ask_deletion(deletion(&world, Some(ada), false), NOW).await.unwrap();
    let id = asked.item.id;
    assert_eq!(asked.item.status, WorkStatus::Waiting);
    let again = b.ask_deletion(deletion(&world, Some(bob), false), NOW).await.unwrap();
    assert_eq!((again.existing, again.item.id), (true, id));

    // Waiting is not for workers, and no other way leads past the approval.
    assert!(take(b, Some(id), later(1_000)).await.is_none());
    assert!(matches!(b.requeue(id, None, NOW).await, Err(Error::Conflict { .. })));
    assert!(!b.wake(id, NOW).await.unwrap());
    let event = || EventDraft::new(EventKind::DeletionApproval);
    let decide = |by, what| b.decide_deletion(id, by, what, event(), NOW);
    forbidden(decide(ada, Decision::Approved).await, "who asked");
    forbidden(decide(eve, Decision::Approved).await, "observer");
    forbidden(decide([9; 16], Decision::Approved).await, "no such account");
    forbidden(decide(bob, Decision::Withdrawn).await, "only who asked");
    let elsewhere = Institution {
        id: fresh(),
        name: "far".into(),
        ..b.institutions().await.unwrap().remove(0)
    };
    assert!(b.create_institution(&elsewhere, vec![], NOW).await.unwrap());
    let far = World { institution: elsewhere.id, object: world.object, shelves: world.shelves };
    let zoe = account(a, &far, "zoe", "administrator").await;
    forbidden(decide(zoe, Decision::Approved).await, "another institution's");

    let events = b.event_head(world.institution).await.unwrap().sequence;
    assert_eq!(decide(bob, Decision::Approved).await.unwrap().status, WorkStatus::Queued);
    assert_eq!(a.event_head(world.institution).await.unwrap().sequence, events + 1);
    assert!(matches!(decide(bob, Decision::Refused).await, Err(Error::Conflict { .. })));
    let known = a.deletion(id).await.unwrap().unwrap();
    assert_eq!(known.decision.as_deref(), Some("approved"));
    assert_eq!((known.asked_by, known.decided_by), (Some(ada), Some(bob)));
}

/// Keeps a journal of all that happened so far.
async fn tell(registry: &Registry, world: &World, lease: &Lease) -> Lease {
    let number = registry.next_coding_number().await.unwrap();
    let segment = world.segment(fresh(), SegmentKind::Journal, number);
    let segment = NewSegment { version: None, object: None, ..segment };
    let journal = Journal {
        id: fresh::<WorkId>().0,
        institution: world.institution,
        number: registry.next_journal().await.unwrap(),
        whole: true,
        first_event: 1,
        last_event: registry.event_head(world.institution).await.unwrap().sequence,
        before: registry.last_journal(world.institution).await.unwrap().map(|last| last.id),
        head: segment.id,
        head_sha256: Sha256([1; 32]),
        created: NOW,
    };
    let batch = Batch {
        durable: vec![world.durable(&segment, 10)],
        begin_segments: vec![segment],
        journal: Some(journal),
        ..Batch::default()
    };
    registry.commit(lease, NOW, SECONDS, batch).await.unwrap().lease
}

/// A version, and an approved deletion under its lease.
pub(crate) async fn approved(a: &Registry, world: &World) -> (VersionId, Lease) {
    let lease = world.taken(a).await;
    let version = world.publish(a, &lease, 3).await;
    let asked = a.ask_deletion(deletion(world, None, true), NOW).await.unwrap();
    let (_, lease) = take(a, Some(asked.item.id), NOW).await.unwrap();
    (version, lease)
}

fn of(versions: Vec<VersionId>, segments: Vec<SegmentId>) -> Batch {
    let stone = |v: &VersionId| Tombstone {
        kind: TombstoneKind::Version,
        id: v.0,
        versions: vec![],
        segments: segments.clone(),
    };
    Batch {
        tombstones: versions.iter().map(stone).collect(),
        delete: Some(Delete { versions, ..Delete::default() }),
        checkpoint: Some(json!({})),
        events: vec![EventDraft::new(EventKind::Deletion)],
        ..Batch::default()
    }
}

pub(crate) async fn nothing_is_released_before_a_journal_told(a: &Registry, b: &Registry) {
    let world = world(a).await;
    let (version, lease) = approved(a, &world).await;
    let segments = a.segments_of(SegmentsOf::Version(version), None, 10).await.unwrap();
    let ids: Vec<_> = segments.iter().map(|s| s.id).collect();
    let release = || Batch { release_deleted: ids.clone(), ..Batch::default() };

    // Not before it is dead, and not before it is told.
    let early = a.commit(&lease, NOW, SECONDS, release()).await;
    assert!(matches!(early, Err(Error::Conflict { .. })), "{early:?}");
    let lease = a.commit(&lease, NOW, SECONDS, of(vec![version], ids.clone())).await.unwrap().lease;
    assert_eq!(b.latest(world.object).await.unwrap(), None);
    let early = a.commit(&lease, NOW, SECONDS, release()).await;
    assert!(matches!(early, Err(Error::Conflict { .. })), "{early:?}");
    assert!(b.tombstones_untold(world.institution).await.unwrap());
    // What is dead is ended, never given up.
    let cancelled = b.cancel(lease.work, NOW, EventDraft::new(EventKind::Cancellation)).await;
    assert!(matches!(cancelled, Err(Error::Conflict { .. })), "{cancelled:?}");
    let lease = tell(a, &world, &lease).await;
    a.commit(&lease, NOW, SECONDS, release()).await.unwrap();
    for id in ids {
        assert_eq!(b.segment(id).await.unwrap().unwrap().state, SegmentState::Released);
        assert!(b.placements(id).await.unwrap().is_empty());
    }
    assert_eq!(b.deletion(lease.work).await.unwrap().unwrap().pending_bytes, 4_000);
}

pub(crate) async fn what_a_draft_refers_to_is_kept(a: &Registry, b: &Registry) {
    let world = world(a).await;
    let first = world.taken(a).await;
    let version = world.publish(a, &first, 3).await;
    let draft = world.taken(a).await;
    let asked = a.ask_deletion(deletion(&world, None, true), NOW).await.unwrap();
    // While something is taken in nothing is deleted from the object, and the other way round.
    assert!(take(b, Some(asked.item.id), later(59)).await.is_none());
    let (_, lease) = take(b, Some(asked.item.id), later(61)).await.unwrap();
    assert!(take(a, Some(draft.work), later(62)).await.is_none());

    let segments = a.segments_of(SegmentsOf::Version(version), None, 10).await.unwrap();
    let ids: Vec<_> = segments.iter().map(|s| s.id).collect();
    let data = segments.iter().find(|s| s.kind == SegmentKind::Data).unwrap().id;
    let lease = b.commit(&lease, NOW, SECONDS, of(vec![version], ids.clone())).await.unwrap().lease;
    // A worker that slept wakes: its lease lapsed, but nobody took the item.
    let batch = Batch {
        begin_draft: Some(world.draft()),
        files: vec![file(0, data), file(1, data)],
        ..Batch::default()
    };
    let draft = a.commit(&draft, NOW, SECONDS, batch).await.unwrap().lease;
    let lease = tell(b, &world, &lease).await;
    let batch = Batch { release_deleted: ids, ..Batch::default() };
    let lease = b.commit(&lease, NOW, SECONDS, batch).await.unwrap().lease;
    assert_eq!(b.segment(data).await.unwrap().unwrap().state, SegmentState::Durable);
    let mixed = b.segments_deleted(lease.work, false, None, 10).await.unwrap();
    assert_eq!(mixed, [data]);

    // Its bytes are moved, and the worker is fenced, which may be about to store a record.
    let number = b.next_coding_number().await.unwrap();
    let new = NewSegment { version: None, ..world.segment(version, SegmentKind::Data, number) };
    let id = b.version_to_relocate(lease.work).await.unwrap().unwrap();
    let moves = vec![MovedBytes { segment: data, start: 1_000, to_segment: new.id, to_start: 5 }];
    let begin = vec![new.clone()];
    let batch = Batch { begin_segments: begin, moved_bytes: moves, ..Batch::default() };
    let lease = b.commit(&lease, NOW, SECONDS, batch).await.unwrap().lease;
    let relocate =
        || Batch { relocate: Some(Relocate { version: id, record: None }), ..Batch::default() };
    // Not to where nothing is stored yet.
    let early = b.commit(&lease, NOW, SECONDS, relocate()).await;
    assert!(matches!(early, Err(Error::Conflict { .. })), "{early:?}");
    let batch = Batch { durable: vec![world.durable(&new, 9)], ..relocate() };
    b.commit(&lease, NOW, SECONDS, batch).await.unwrap();
    let moved = a.files(id, 1, 1).await.unwrap().remove(0);
    assert_eq!(moved.extents, [Extent { segment: new.id, offset: 5, length: 1 }]);
    assert_eq!(b.version_to_relocate(lease.work).await.unwrap(), None);
    let late = a.commit(&draft, NOW, SECONDS, Batch::default()).await;
    assert!(matches!(late, Err(Error::LeaseLost { .. })), "{late:?}");
}

pub(crate) async fn a_draft_given_up_after_its_record_is_told_first(a: &Registry, b: &Registry) {
    let world = world(a).await;
    let lease = world.taken(a).await;
    let number = a.next_coding_number().await.unwrap();
    let draft = world.draft();
    let id = draft.version;
    let record = world.segment(id, SegmentKind::Record, number);
    let batch = Batch {
        begin_draft: Some(draft),
        begin_segments: vec![record.clone()],
        durable: vec![world.durable(&record, 100)],
        ..Batch::default()
    };
    a.commit(&lease, NOW, SECONDS, batch).await.unwrap();
    b.cancel(lease.work, NOW, EventDraft::new(EventKind::Cancellation)).await.unwrap();
    assert_eq!(b.segment(record.id).await.unwrap().unwrap().state, SegmentState::Durable);
    assert!(a.tombstones_untold(world.institution).await.unwrap());
    let (item, lease) = take(b, None, NOW).await.unwrap();
    assert_eq!((item.kind, item.id.0), (WorkKind::Delete, id.0));
    let lease = tell(b, &world, &lease).await;
    let batch = Batch { release_deleted: vec![record.id], ..Batch::default() };
    b.commit(&lease, NOW, SECONDS, batch).await.unwrap();
    assert_eq!(b.segment(record.id).await.unwrap().unwrap().state, SegmentState::Released);
}
