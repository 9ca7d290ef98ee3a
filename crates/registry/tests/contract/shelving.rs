//! Contracts of shelves: what is counted, moved, confirmed and refused.

use serde_json::json;
use strongroom_record::*;
use strongroom_registry::{Error, *};

use crate::world::*;

/// What a pass over all rows finds, for comparison with what is counted.
async fn added_up(registry: &Registry, world: &World) -> Vec<(u64, u64)> {
    let mut sums = Vec::new();
    for shelf in world.shelves {
        let placed = registry.placements_on(shelf, None, 10_000).await.unwrap();
        let live = placed.iter().filter(|p| p.state != PlacementState::Missing);
        let live = live.map(|p| p.bytes).sum();
        let (mut pending, mut after) = (0, None);
        loop {
            let page = registry.leftovers_on(shelf, after.as_ref(), 1).await.unwrap();
            let Some(left) = page.into_iter().next() else { break };
            pending += left.bytes;
            after = Some(left);
        }
        sums.push((live, pending));
    }
    sums
}

async fn adds_up(registry: &Registry, world: &World) -> Vec<(u64, u64)> {
    let usage = registry.shelf_usage().await.unwrap();
    let of = |id| usage.iter().find(|usage| usage.shelf == id).unwrap();
    let counted = world.shelves.map(|id| (of(id).live_bytes, of(id).pending_bytes)).to_vec();
    assert_eq!(counted, added_up(registry, world).await);
    counted
}

async fn storage_lease(registry: &Registry, world: &World) -> Lease {
    let work = NewWork { kind: WorkKind::Reclaim, object: None, ..world.ingest(world.object, "r") };
    let work = NewWork { stage: Stage::Run, ..work };
    let item = registry.enqueue(work, NOW).await.unwrap().item;
    take(registry, Some(item.id), NOW).await.unwrap().1
}

async fn published(registry: &Registry, world: &World) -> Segment {
    let lease = world.taken(registry).await;
    world.publish(registry, &lease, 3).await;
    let of = SegmentsOf::Object(world.object);
    let all = registry.segments_of(of, None, 10).await.unwrap();
    all.into_iter().find(|segment| segment.kind == SegmentKind::Data).unwrap()
}

fn copy_of(placement: &Placement) -> Placement {
    Placement { log: fresh(), frames: vec![77; 9], checked: later(5), ..placement.clone() }
}

pub(crate) async fn reclaiming_is_queued_where_much_waits(a: &Registry, b: &Registry) {
    let world = world(a).await;
    let queued = async || {
        let filter = WorkFilter { kind: Some(WorkKind::Reclaim), ..WorkFilter::default() };
        let mut items = b.work_list(filter, None, 100).await.unwrap();
        items.retain(|item| item.status != WorkStatus::Succeeded);
        items
    };
    // A deposit that stored so much on each shelf is given up.
    let given_up = async |bytes: u64| {
        let lease = world.taken(a).await;
        let draft = world.draft();
        let number = a.next_coding_number().await.unwrap();
        let segment = world.segment(draft.version, SegmentKind::Data, number);
        let mut durable = world.durable(&segment, bytes);
        durable.placements.iter_mut().for_each(|placement| placement.bytes = bytes);
        let batch = Batch {
            begin_draft: Some(draft),
            begin_segments: vec![segment],
            durable: vec![durable],
            ..Batch::default()
        };
        a.commit(&lease, NOW, SECONDS, batch).await.unwrap();
        a.cancel(lease.work, NOW, EventDraft::new(EventKind::Cancellation)).await.unwrap();
    };
    let finish = async |item: &WorkItem| {
        let lease = take(b, Some(item.id), NOW).await.unwrap().1;
        let finish = Some(Finish { status: WorkStatus::Succeeded, report: json!({}) });
        b.commit(&lease, NOW, SECONDS, Batch { finish, ..Batch::default() }).await.unwrap();
    };
    given_up(RECLAIM_BYTES_MIN - 1).await;
    assert_eq!(queued().await.len(), 0, "it is too little");
    given_up(10).await;
    let items = queued().await;
    let mut keys: Vec<_> = items.iter().map(|item| item.key.clone().unwrap()).collect();
    let mut shelves = world.shelves.map(|id| id.to_string()).to_vec();
    keys.sort();
    shelves.sort();
    assert_eq!(keys, shelves, "one for each shelf");
    given_up(RECLAIM_BYTES_MIN).await;
    assert_eq!(queued().await, items, "what is queued is not queued again");

    // Behind one that runs another is queued, and no third.
    let running = take(b, Some(items[0].id), NOW).await.unwrap().1;
    given_up(RECLAIM_BYTES_MIN).await;
    given_up(RECLAIM_BYTES_MIN).await;
    assert_eq!(queued().await.len(), 3);
    b.release(&running, NOW).await.unwrap();
    for item in queued().await {
        finish(&item).await;
    }
    // What was kept is not what the next is queued for.
    given_up(RECLAIM_BYTES_MIN / 2).await;
    assert_eq!(queued().await.len(), 0);
    given_up(RECLAIM_BYTES_MIN).await;
    assert_eq!(queued().await.len(), 2);
}

pub(crate) async fn shelves_are_counted_as_they_change(a: &Registry, b: &Registry) {
    let world = world(a).await;
    let segment = published(a, &world).await;
    assert_eq!(adds_up(b, &world).await, [(2_000, 0), (2_000, 0)]);
    let lease = storage_lease(b, &world).await;
    let commit = async |batch| b.commit(&lease, NOW, SECONDS, batch).await;
    let stood = a.placements(segment.id).await.unwrap();

    // Missing, and there again.
    let p = &stood[0];
    let checked = |state, time| (p.segment, p.coding, p.index, p.log, state, later(time));
    let missing = vec![checked(PlacementState::Missing, 1)];
    commit(Batch { checked: missing, ..Batch::default() }).await.unwrap();
    assert_eq!(adds_up(a, &world).await, [(1_000, 0), (2_000, 0)]);
    let good = vec![checked(PlacementState::Good, 2)];
    commit(Batch { checked: good, ..Batch::default() }).await.unwrap();

    // Made anew: what stood there before waits to be reclaimed, until the shelf confirms.
    let anew = copy_of(p);
    commit(Batch { placements: vec![anew.clone()], ..Batch::default() }).await.unwrap();
    assert_eq!(adds_up(a, &world).await, [(2_000, 1_000), (2_000, 0)]);
    // A check of what stood there says nothing of what stands there now.
    let late = vec![checked(PlacementState::Damaged, 9)];
    commit(Batch { checked: late, ..Batch::default() }).await.unwrap();
    assert_eq!(a.placements(segment.id).await.unwrap()[0], anew);
    let left = a.leftovers_on(p.shelf, None, 10).await.unwrap();
    assert_eq!((left.len(), &left[0].frames), (1, &p.frames));
    assert!(!a.is_log_free(p.shelf, anew.log).await.unwrap());
    assert!(a.is_log_free(p.shelf, p.log).await.unwrap());

    // Coded anew: both old shards wait too; then everything is confirmed.
    let number = b.next_coding_number().await.unwrap();
    let placements = world.placements(segment.id, number);
    let recoded = Recoded { segment: segment.id, coding: segment.coding, number, placements };
    commit(Batch { replace_codings: vec![recoded], ..Batch::default() }).await.unwrap();
    assert_eq!(adds_up(a, &world).await, [(2_000, 2_000), (2_000, 1_000)]);
    assert_eq!(a.fate(segment.id).await.unwrap().unwrap().placements.len(), 4);
    for shelf in world.shelves {
        while let Some(left) = {
            let page = a.leftovers_on(shelf, None, 1).await.unwrap();
            page.into_iter().next()
        } {
            commit(Batch { confirmed: vec![left], ..Batch::default() }).await.unwrap();
        }
    }
    assert_eq!(adds_up(a, &world).await, [(2_000, 0), (2_000, 0)]);
    assert_eq!(a.note_gone().await.unwrap(), 0, "it is wanted");

    // A draft that is given up: pending, then gone, and its row stays.
    let taken = take_second(a, &world).await;
    let number = a.next_coding_number().await.unwrap();
    let draft = world.draft();
    let (one, two) = (
        world.segment(draft.version, SegmentKind::Data, number),
        world.segment(draft.version, SegmentKind::Data, number),
    );
    let batch = Batch {
        begin_draft: Some(draft),
        begin_segments: vec![one.clone(), two.clone()],
        durable: vec![world.durable(&one, 100)],
        ..Batch::default()
    };
    a.commit(&taken, NOW, SECONDS, batch).await.unwrap();
    assert_eq!(a.give_up_superseded().await.unwrap(), 0, "its writer may yet commit it");
    b.cancel(taken.work, NOW, EventDraft::new(EventKind::Cancellation)).await.unwrap();
    assert_eq!(adds_up(a, &world).await, [(2_000, 1_000), (2_000, 1_000)]);
    assert_eq!(a.note_gone().await.unwrap(), 1, "of one there never was a shard");
    for shelf in world.shelves {
        let confirmed = a.leftovers_on(shelf, None, 10).await.unwrap();
        commit(Batch { confirmed, ..Batch::default() }).await.unwrap();
    }
    assert_eq!(a.note_gone().await.unwrap(), 1);
    assert_eq!(a.fate(one.id).await.unwrap().unwrap().segment.state, SegmentState::Gone);
    assert_eq!(a.fate(fresh()).await.unwrap(), None);
    adds_up(a, &world).await;
}

async fn take_second(registry: &Registry, world: &World) -> Lease {
    let item = registry.enqueue(world.ingest(world.object, "/in2"), NOW).await.unwrap().item;
    take(registry, Some(item.id), NOW).await.unwrap().1
}

pub(crate) async fn a_copy_takes_the_place_of_what_was_copied_only(a: &Registry, b: &Registry) {
    let world = world(a).await;
    let segment = published(a, &world).await;
    let lease = storage_lease(b, &world).await;
    let commit =
        async |moves| b.commit(&lease, NOW, SECONDS, Batch { moves, ..Batch::default() }).await;
    let stood = a.placements(segment.id).await.unwrap();
    let moved = copy_of(&stood[0]);
    let there = Move { from: stood[0].clone(), to: moved.clone() };
    commit(vec![there.clone()]).await.unwrap();
    assert_eq!(a.placements(segment.id).await.unwrap()[0], moved);
    adds_up(a, &world).await;
    // Copied from where it stands no longer: passed over.
    let late = Move { to: Placement { frames: vec![5; 3], ..copy_of(&stood[0]) }, ..there };
    commit(vec![late]).await.unwrap();
    assert_eq!(a.placements(segment.id).await.unwrap()[0], moved);
    let other = Move { from: moved.clone(), to: Placement { index: 1, ..moved.clone() } };
    assert!(matches!(commit(vec![other]).await, Err(Error::Conflict { .. })));
    // Of a coding that was released meanwhile nothing comes back.
    let number = b.next_coding_number().await.unwrap();
    let placements = world.placements(segment.id, number);
    let recoded = Recoded { segment: segment.id, coding: segment.coding, number, placements };
    let batch = Batch { replace_codings: vec![recoded.clone()], ..Batch::default() };
    b.commit(&lease, NOW, SECONDS, batch).await.unwrap();
    let late = Move { from: moved.clone(), to: Placement { frames: vec![6; 3], ..moved } };
    commit(vec![late]).await.unwrap();
    assert_eq!(a.placements(segment.id).await.unwrap(), recoded.placements);
    adds_up(a, &world).await;
}

pub(crate) async fn nothing_is_placed_on_a_retired_shelf(a: &Registry, b: &Registry) {
    let world = world(a).await;
    let segment = published(a, &world).await;
    let lease = storage_lease(b, &world).await;
    let retire =
        |shelf| Batch { shelf_states: vec![(shelf, ShelfState::Retired)], ..Batch::default() };
    let retired = b.commit(&lease, NOW, SECONDS, retire(world.shelves[1])).await;
    assert!(matches!(retired, Err(Error::Conflict { .. })), "shards stand on it");
    let third = Shelf {
        id: fresh(),
        name: "c".into(),
        location: "/shelves/c".into(),
        domain: "disk".into(),
        capacity_bytes: None,
        state: ShelfState::Active,
        added: NOW,
    };
    a.add_shelf(&third).await.unwrap();
    b.commit(&lease, NOW, SECONDS, retire(third.id)).await.unwrap();
    let stood = a.placements(segment.id).await.unwrap()[0].clone();
    let there = Placement { shelf: third.id, ..copy_of(&stood) };
    let batch = Batch { placements: vec![there.clone()], ..Batch::default() };
    assert!(matches!(b.commit(&lease, NOW, SECONDS, batch).await, Err(Error::Conflict { .. })));
    let batch = Batch { moves: vec![Move { from: stood, to: there }], ..Batch::default() };
    assert!(matches!(b.commit(&lease, NOW, SECONDS, batch).await, Err(Error::Conflict { .. })));
}

pub(crate) async fn a_quota_is_never_passed(a: &Registry, b: &Registry) {
    let world = world(a).await;
    let told = EventDraft::new(EventKind::Policy);
    published(a, &world).await;
    let quota = b.quota(world.institution).await.unwrap();
    assert_eq!(quota, Quota { used: 3, max: None }, "files of 0, 1 and 2 bytes");
    b.set_quota(world.institution, Some(5), told.clone(), NOW).await.unwrap();
    let lease = take_second(a, &world).await;
    let number = a.next_coding_number().await.unwrap();
    let draft = world.draft();
    let segment = world.segment(draft.version, SegmentKind::Data, number);
    let batch = Batch {
        begin_draft: Some(draft),
        begin_segments: vec![segment.clone()],
        durable: vec![world.durable(&segment, 100)],
        files: (0..3).map(|n| file(n, segment.id)).collect(),
        ..Batch::default()
    };
    let refused = a.commit(&lease, NOW, SECONDS, batch.clone()).await;
    assert!(matches!(refused, Err(Error::OverQuota { used: 6, max: 5 })), "{refused:?}");
    assert_eq!(a.quota(world.institution).await.unwrap().used, 3, "nothing of it was kept");
    b.set_quota(world.institution, Some(6), told, NOW).await.unwrap();
    a.commit(&lease, NOW, SECONDS, batch).await.unwrap();
    assert_eq!(b.quota(world.institution).await.unwrap().used, 6, "a draft counts");
    b.cancel(lease.work, NOW, EventDraft::new(EventKind::Cancellation)).await.unwrap();
    assert_eq!(b.quota(world.institution).await.unwrap().used, 3);
}

pub(crate) async fn people_are_served_first(a: &Registry, b: &Registry) {
    let world = world(a).await;
    let work = NewWork { kind: WorkKind::Fixity, object: None, ..world.ingest(world.object, "f") };
    let fixity = NewWork { stage: Stage::Run, request: json!({}), ..work };
    a.enqueue(fixity, NOW).await.unwrap();
    assert!(!b.somebody_waits(true, NOW).await.unwrap());
    a.enqueue(world.ingest(world.object, "/in"), later(1)).await.unwrap();
    assert!(b.somebody_waits(true, later(1)).await.unwrap());
    assert!(!b.somebody_waits(false, later(1)).await.unwrap(), "nobody does it yet");
    let (item, lease) = take(b, None, later(2)).await.unwrap();
    assert_eq!(item.kind, WorkKind::Ingest, "though it came later");
    assert!(a.somebody_waits(false, later(2)).await.unwrap());
    // A lease that lapsed is nobody's work, until another takes it.
    let lapsed = later(i64::from(SECONDS) + 3);
    assert!(!a.somebody_waits(false, lapsed).await.unwrap());
    assert!(a.somebody_waits(true, lapsed).await.unwrap());
    // What waits for another's draft keeps nobody waiting.
    a.enqueue(world.ingest(world.object, "/other"), later(3)).await.unwrap();
    let batch = Batch { begin_draft: Some(world.draft()), ..Batch::default() };
    b.commit(&lease, later(3), SECONDS, batch).await.unwrap();
    let finish = Finish { status: WorkStatus::Trouble, report: json!({}) };
    let batch = Batch { finish: Some(finish), ..Batch::default() };
    b.commit(&lease, later(3), SECONDS, batch).await.unwrap();
    assert!(!a.somebody_waits(true, later(4)).await.unwrap());
}
