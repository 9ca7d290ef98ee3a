//! Work items, and what they commit: drafts, versions, files, segments and events.

use crate::world::*;
use serde_json::json;
use std::collections::HashSet;
use strongroom_record::*;
use strongroom_registry::{Error, *};

pub(crate) async fn a_key_has_one_unfinished_item(a: &Registry, b: &Registry) {
    let world = world(a).await;
    let first = a.enqueue(world.ingest(world.object, "/in"), NOW).await.unwrap();
    assert!(!first.existing);
    let again = b.enqueue(world.ingest(world.object, "/in"), NOW).await.unwrap();
    assert!(again.existing);
    assert_eq!(again.item, first.item);
    assert!(!b.enqueue(world.ingest(world.object, "/other"), NOW).await.unwrap().existing);
    let draft = EventDraft::new(EventKind::Cancellation);
    b.cancel(first.item.id, NOW, draft.clone()).await.unwrap();
    assert!(!a.enqueue(world.ingest(world.object, "/in"), NOW).await.unwrap().existing);
    assert!(matches!(a.cancel(first.item.id, NOW, draft).await, Err(Error::Conflict { .. })));
}

pub(crate) async fn a_late_commit_is_refused(a: &Registry, b: &Registry) {
    let world = world(a).await;
    let first = world.taken(a).await;
    assert_eq!(first.token, (1 << 32) + 1, "the epoch stands in the high half of a token");
    assert_eq!(take(b, None, later(59)).await, None, "a lease is one worker's");
    let (item, second) = take(b, None, later(60)).await.expect("a lapsed lease is taken");
    assert_eq!((item.attempts, second.token), (2, first.token + 1));
    let before = picture(a, &world).await;
    let batch = Batch { begin_draft: Some(world.draft()), ..Batch::default() };
    for outcome in [
        a.commit(&first, later(61), SECONDS, batch.clone()).await.err(),
        a.renew(&first, later(61), SECONDS).await.err(),
        a.release(&first, later(61)).await.err(),
        a.give_up_stale_segments(&first).await.err(),
    ] {
        match outcome {
            Some(Error::LeaseLost { held, current }) => {
                assert_eq!((held, current), (first.token, second.token));
            }
            other => panic!("not refused: {other:?}"),
        }
    }
    assert_eq!(picture(a, &world).await, before);
    // A lease that lapsed and that nobody took still commits: the token decides, not the clock.
    let kept = b.commit(&second, later(9_999), SECONDS, batch).await.unwrap();
    assert_eq!(kept.lease.until, later(9_999 + 60));
    assert_eq!(b.renew(&second, later(10_000), 5).await.unwrap().until, later(10_005));
    b.release(&second, NOW).await.unwrap();
    let item = a.work(second.work).await.unwrap().unwrap();
    assert_eq!((item.status, item.attempts, item.worker), (WorkStatus::Queued, 1, None));
    let lost = b.commit(&second, NOW, SECONDS, Batch::default()).await;
    assert!(matches!(lost, Err(Error::LeaseLost { .. })), "after release it is another's");
}

pub(crate) async fn two_workers_never_hold_one_item(a: &Registry, b: &Registry) {
    let world = world(a).await;
    for number in 0..40 {
        let object = object(a, &format!("object {number}")).await;
        a.enqueue(world.ingest(object, &format!("/in/{number}")), NOW).await.unwrap();
    }
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..16 {
        let registry = if number % 2 == 0 { a.clone() } else { b.clone() };
        tasks.spawn(async move {
            let mut held = Vec::new();
            while let Some((_, lease)) = take(&registry, None, NOW).await {
                held.push(lease.work);
            }
            held
        });
    }
    let held = tasks.join_all().await.concat();
    // A worker that lost every race of a round may stop early; nobody else holds what it left.
    let distinct: HashSet<_> = held.iter().collect();
    assert_eq!(distinct.len(), held.len());
    assert_eq!(distinct.len(), 40);
}

pub(crate) async fn an_object_has_one_ingest_and_one_draft_at_a_time(a: &Registry, b: &Registry) {
    let world = world(a).await;
    let first = world.taken(a).await;
    let second = b.enqueue(world.ingest(world.object, "/other"), later(1)).await.unwrap().item;
    assert_eq!(take(b, Some(second.id), later(1)).await, None, "the first is running");
    assert!(take(b, Some(second.id), later(60)).await.is_some(), "the first lapsed, with no draft");
    b.requeue(second.id, None, later(200)).await.unwrap();

    let (_, first) = take(a, Some(first.work), later(200)).await.unwrap();
    let batch = Batch { begin_draft: Some(world.draft()), ..Batch::default() };
    a.commit(&first, later(200), SECONDS, batch.clone()).await.unwrap();
    let twice = a.commit(&first, later(200), SECONDS, batch).await;
    assert!(matches!(twice, Err(Error::Conflict { .. })));
    assert_eq!(take(b, Some(second.id), later(900)).await, None, "the first has a draft");
    let draft = b.draft(world.object).await.unwrap().unwrap();
    assert_eq!((draft.state, draft.number, draft.work), (VersionState::Draft, 0, first.work));

    a.cancel(first.work, later(900), EventDraft::new(EventKind::Cancellation)).await.unwrap();
    assert_eq!(b.draft(world.object).await.unwrap(), None);
    assert_eq!(b.version(draft.id).await.unwrap().unwrap().state, VersionState::Abandoned);
    let (_, second) = take(b, Some(second.id), later(900)).await.unwrap();
    world.publish(b, &second, 3).await;
}

pub(crate) async fn published_versions_are_numbered_and_never_change(a: &Registry, b: &Registry) {
    let world = world(a).await;
    let mut versions = Vec::new();
    for registry in [a, b, a] {
        let lease = world.taken(registry).await;
        versions.push(world.publish(registry, &lease, 5).await);
    }
    let found = b.versions(world.object).await.unwrap();
    assert_eq!(found.iter().map(|v| v.number).collect::<HashSet<_>>(), HashSet::from([1, 2, 3]));
    let latest = b.latest(world.object).await.unwrap().unwrap();
    assert_eq!((latest.id, latest.number, latest.files), (versions[2], 3, 5));
    assert_eq!(latest.revision, (1, 3));
    assert_eq!(latest.record_sha256, Some(Sha256([9; 32])));
    let object = b.object(world.object).await.unwrap().unwrap();
    assert_eq!(object.source.as_deref(), Some("/in"));

    // A later item can neither add to nor publish what is published.
    let lease = world.taken(a).await;
    let before = picture(a, &world).await;
    let data = a.segments_of(SegmentsOf::Version(versions[0]), None, 9).await.unwrap();
    let data = data.iter().find(|s| s.kind == SegmentKind::Data).unwrap();
    let batch = Batch { files: vec![file(5, data.id)], ..Batch::default() };
    assert!(matches!(a.commit(&lease, NOW, SECONDS, batch).await, Err(Error::Conflict { .. })));
    assert_eq!(picture(a, &world).await, before);

    let summary = &b.objects(Some(world.institution), None, 9).await.unwrap()[0];
    assert_eq!((summary.versions, summary.latest), (3, Some((versions[2], 3))));
    let status = b.status().await.unwrap();
    assert_eq!((status.objects, status.versions, status.files, status.bytes), (1, 3, 15, 30));
    assert_eq!(status.segments, [(SegmentState::Durable, 6)]);
    assert_eq!(status.work, [(WorkStatus::Running, 1), (WorkStatus::Succeeded, 3)]);
}

/// Each batch fails in its last part; none leaves a trace of its first ones.
pub(crate) async fn a_draft_is_amended_and_what_it_does_not_use_released(
    a: &Registry,
    b: &Registry,
) {
    let world = world(a).await;
    let lease = world.taken(a).await;
    let number = a.next_coding_number().await.unwrap();
    let draft = world.draft();
    let version = draft.version;
    let [used, unused] = [0, 1].map(|_| world.segment(version, SegmentKind::Data, number));
    let batch = Batch {
        begin_draft: Some(draft),
        begin_segments: vec![used.clone(), unused.clone()],
        durable: vec![world.durable(&used, 10_000), world.durable(&unused, 10_000)],
        files: (0..3).map(|n| file(n, used.id)).collect(),
        ..Batch::default()
    };
    let lease = a.commit(&lease, NOW, SECONDS, batch).await.unwrap().lease;
    let digests = vec![NamedDigest { algorithm: "md5".into(), bytes: vec![7; 16] }];
    let amended = FileRecord { path: b"moved".into(), id: fresh(), digests, ..file(1, used.id) };
    let unknown =
        Batch { amend: vec![FileRecord { number: 3, ..amended.clone() }], ..Batch::default() };
    assert!(a.commit(&lease, NOW, SECONDS, unknown).await.is_err());
    let batch = Batch {
        amend: vec![amended.clone()],
        bag: Some(true),
        release_unused: true,
        ..Batch::default()
    };
    a.commit(&lease, NOW, SECONDS, batch).await.unwrap();
    assert!(b.version(version).await.unwrap().unwrap().bag);
    assert_eq!(b.file_by_path(version, b"moved").await.unwrap(), Some(amended));
    assert_eq!(b.files(version, 0, 10).await.unwrap().len(), 3);
    let state = async |id| b.segment(id).await.unwrap().unwrap().state;
    assert_eq!(state(used.id).await, SegmentState::Durable);
    assert_eq!(state(unused.id).await, SegmentState::Released);
    assert_eq!(b.placements(used.id).await.unwrap().len(), 2);
    assert!(b.placements(unused.id).await.unwrap().is_empty());
}

pub(crate) async fn a_commit_is_all_or_nothing(a: &Registry, b: &Registry) {
    let world = world(a).await;
    let lease = world.taken(a).await;
    let number = a.next_coding_number().await.unwrap();
    let draft = world.draft();
    let data = world.segment(draft.version, SegmentKind::Data, number);
    let good = Batch {
        begin_draft: Some(draft),
        begin_segments: vec![data.clone()],
        durable: vec![world.durable(&data, 10_000)],
        files: (0..3).map(|n| file(n, data.id)).collect(),
        events: vec![EventDraft::new(EventKind::Ingestion)],
        stage: Some(Stage::Store),
        checkpoint: Some(json!({"at": 3})),
        ..Batch::default()
    };
    let with = |change: &dyn Fn(&mut Batch)| {
        let mut batch = good.clone();
        change(&mut batch);
        batch
    };
    let uncountable = json!({"size": u64::MAX});
    let bad = [
        ("a gap in the numbers", with(&|b| b.files[2].number = 7)),
        ("a path twice", with(&|b| b.files[2].path = b.files[0].path.clone())),
        ("an unknown segment", with(&|b| b.files[2].extents[0].segment = fresh())),
        ("extents that do not add up", with(&|b| b.files[2].size += 1)),
        ("a segment not durable", with(&|b| b.durable.clear())),
        ("too few shards", with(&|b| b.durable[0].placements.clear())),
        ("a shard twice", with(&|b| b.durable[0].placements[1].index = 0)),
        ("an unknown shelf", with(&|b| b.durable[0].placements[1].shelf = fresh())),
        ("another's segment", with(&|b| b.give_up = vec![fresh()])),
        ("no canonical event", with(&|b| b.events[0].detail = uncountable.clone())),
        ("another kind's stage", with(&|b| b.stage = Some(Stage::Run))),
        (
            "success with a draft",
            with(&|b| {
                b.finish = Some(Finish { status: WorkStatus::Succeeded, report: json!(null) });
            }),
        ),
        (
            "an end that is none",
            with(&|b| {
                b.finish = Some(Finish { status: WorkStatus::Queued, report: json!(null) });
            }),
        ),
        (
            "a version not whole",
            with(&|b| {
                let record = data.id;
                let (record_sha256, revision) = (Sha256([0; 32]), (1, 1));
                b.publish = Some(Publish { record, record_sha256, revision, files: 3, bytes: 3 });
            }),
        ),
        ("more than its rows", with(&|b| b.give_up = vec![data.id; ROWS_MAX])),
    ];
    let before = picture(b, &world).await;
    let item = b.work(lease.work).await.unwrap();
    for (what, batch) in bad {
        let outcome = a.commit(&lease, later(1), SECONDS, batch).await;
        assert!(outcome.is_err(), "{what} was kept");
        assert!(!matches!(outcome, Err(Error::Sql(_))), "{what}: {outcome:?}");
        assert_eq!(picture(b, &world).await, before, "{what} left a trace");
        assert_eq!(b.work(lease.work).await.unwrap(), item, "{what} left a trace");
    }
    let kept = a.commit(&lease, later(1), SECONDS, good).await.unwrap();
    assert_eq!(kept.events.len(), 1);
    let item = b.work(lease.work).await.unwrap().unwrap();
    assert_eq!((item.stage, item.checkpoint), (Stage::Store, json!({"at": 3})));
}

pub(crate) async fn a_crashed_workers_segments_are_given_up(a: &Registry, b: &Registry) {
    let world = world(a).await;
    let first = world.taken(a).await;
    let number = a.next_coding_number().await.unwrap();
    let draft = world.draft();
    let version = draft.version;
    let old = world.segment(version, SegmentKind::Data, number);
    let batch =
        Batch { begin_draft: Some(draft), begin_segments: vec![old.clone()], ..Batch::default() };
    a.commit(&first, NOW, SECONDS, batch).await.unwrap();
    let (_, second) = take(b, None, later(60)).await.unwrap();
    let new = world.segment(version, SegmentKind::Data, number);
    let batch = Batch { begin_segments: vec![new.clone()], ..Batch::default() };
    b.commit(&second, later(60), SECONDS, batch).await.unwrap();
    assert_eq!(b.writing_segments(first.work).await.unwrap().len(), 2);

    let late = Batch { durable: vec![world.durable(&old, 5)], ..Batch::default() };
    let refused = b.commit(&second, later(60), SECONDS, late).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })), "its writer is gone");
    assert_eq!(b.give_up_stale_segments(&second).await.unwrap(), [old.id]);
    assert_eq!(b.segment(old.id).await.unwrap().unwrap().state, SegmentState::Released);
    let batch = Batch { give_up: vec![old.id, new.id], ..Batch::default() };
    b.commit(&second, later(60), SECONDS, batch).await.unwrap();
    assert!(a.writing_segments(first.work).await.unwrap().is_empty());
}

pub(crate) async fn chains_stay_dense_when_two_processes_append(a: &Registry, b: &Registry) {
    let world = world(a).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let registry = if number % 2 == 0 { a.clone() } else { b.clone() };
        tasks.spawn(async move {
            for turn in 0..12 {
                let mut draft = EventDraft::new(EventKind::Fixity);
                draft.object = Some(world.object);
                draft.detail = json!({"number": number, "turn": turn, "text": "ä\u{1}"});
                draft.files = Some(MerkleRoot { count: 3, root: Sha256([7; 32]) });
                let drafts = vec![draft.clone(), draft];
                registry.record_events(world.institution, drafts, NOW).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let of = EventsOf::Institution(world.institution);
    let events = a.events(of, 0, 1_000).await.unwrap();
    assert_eq!(
        events.iter().map(|e| e.sequence).collect::<Vec<_>>(),
        (1..=192).collect::<Vec<_>>()
    );
    assert_eq!(b.event_head(world.institution).await.unwrap(), events[191].head());
    let report = b.verify_chain(world.institution).await.unwrap();
    assert_eq!(report, ChainReport { events: 192, broken_at: None });
    assert_eq!(b.events(EventsOf::Object(world.object), 190, 9).await.unwrap(), events[190..]);
}

pub(crate) async fn numbers_are_never_drawn_twice(a: &Registry, b: &Registry) {
    world(a).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let registry = if number % 2 == 0 { a.clone() } else { b.clone() };
        tasks.spawn(async move {
            let mut drawn = Vec::new();
            for _ in 0..10 {
                drawn.push(registry.next_coding_number().await.unwrap());
            }
            drawn
        });
    }
    let drawn: HashSet<_> = tasks.join_all().await.concat().into_iter().collect();
    assert_eq!(drawn, (1..=80).map(|number| CodingNumber { epoch: 1, number }).collect());
    assert_eq!(a.next_revision().await.unwrap(), (1, 1));
    assert_eq!(b.next_revision().await.unwrap(), (1, 2));
}

pub(crate) async fn items_are_requeued_at_stages_of_their_kind(a: &Registry, b: &Registry) {
    let world = world(a).await;
    let kinds = [
        (WorkKind::Ingest, Stage::Inspect),
        (WorkKind::Restore, Stage::Run),
        (WorkKind::Recode, Stage::Run),
    ];
    let stages =
        [Stage::Inspect, Stage::Store, Stage::Validate, Stage::Record, Stage::Publish, Stage::Run];
    for (kind, begin) in kinds {
        let mut new = world.ingest(world.object, "/in");
        (new.kind, new.stage) = (kind, begin);
        let wrong = if begin == Stage::Run { Stage::Store } else { Stage::Run };
        let refused = a.enqueue(NewWork { stage: wrong, ..new.clone() }, NOW).await;
        assert!(matches!(refused, Err(Error::Conflict { .. })));
        let id = a.enqueue(new, NOW).await.unwrap().item.id;
        for stage in stages {
            let (_, lease) = take(a, Some(id), NOW).await.unwrap();
            let running = b.requeue(id, None, NOW).await;
            assert!(matches!(running, Err(Error::Conflict { .. })), "a worker has it");
            let trouble = Finish { status: WorkStatus::Trouble, report: json!({"code": "E1"}) };
            let batch =
                Batch { finish: Some(trouble), note: Some("look".into()), ..Batch::default() };
            a.commit(&lease, NOW, SECONDS, batch).await.unwrap();
            let fits = (kind == WorkKind::Ingest) == (stage != Stage::Run);
            match b.requeue(id, Some(stage), NOW).await {
                Ok(item) => {
                    assert!(fits, "{kind} at {stage}");
                    assert_eq!((item.stage, item.status), (stage, WorkStatus::Queued));
                    assert_eq!((item.attempts, item.note.as_str()), (0, "look"));
                    let twice = b.requeue(id, Some(stage), NOW).await.unwrap();
                    assert_eq!(twice.status, WorkStatus::Queued);
                }
                Err(Error::Conflict { .. }) => {
                    assert!(!fits, "{kind} at {stage}");
                    assert_eq!(
                        b.work(id).await.unwrap().unwrap().status,
                        WorkStatus::Trouble,
                        "what was refused changed nothing"
                    );
                    b.requeue(id, None, NOW).await.unwrap();
                }
                Err(other) => panic!("{other}"),
            }
            let late = a.commit(&lease, NOW, SECONDS, Batch::default()).await;
            assert!(matches!(late, Err(Error::LeaseLost { .. })));
        }
        a.cancel(id, NOW, EventDraft::new(EventKind::Cancellation)).await.unwrap();
        assert!(matches!(a.requeue(id, None, NOW).await, Err(Error::Conflict { .. })));
    }
    assert!(matches!(a.requeue(fresh(), None, NOW).await, Err(Error::NotFound { .. })));
}

pub(crate) async fn shards_are_checked_repaired_and_coded_anew(a: &Registry, b: &Registry) {
    let world = world(a).await;
    let lease = world.taken(a).await;
    world.publish(a, &lease, 3).await;
    let of = SegmentsOf::Object(world.object);
    let segment = a.segments_of(of, None, 1).await.unwrap()[0].clone();
    let good = a.placements(segment.id).await.unwrap();
    assert_eq!(good.len(), 2);
    assert_eq!(
        a.shelf_bytes().await.unwrap(),
        world.shelves.map(|shelf| (shelf, 2_000)),
        "two segments on each shelf"
    );
    let work = NewWork { kind: WorkKind::Fixity, object: None, ..world.ingest(world.object, "f") };
    let work = NewWork { stage: Stage::Run, ..work };
    let item = b.enqueue(work, NOW).await.unwrap().item;
    let (_, lease) = take(b, Some(item.id), NOW).await.unwrap();
    let commit = async |batch| b.commit(&lease, NOW, SECONDS, batch).await;

    let checked = |p: &Placement, state, time| (p.segment, p.coding, p.index, p.log, state, time);
    let damaged = checked(&good[0], PlacementState::Damaged, later(10));
    commit(Batch { checked: vec![damaged], ..Batch::default() }).await.unwrap();
    let found = a.placements(segment.id).await.unwrap();
    assert_eq!((found[0].state, found[0].checked), (PlacementState::Damaged, later(10)));
    let overdue = a.least_recently_checked(10, Some(world.object)).await.unwrap();
    assert_eq!((overdue.len(), &overdue[3]), (4, &found[0]), "most overdue first");
    assert_eq!(a.least_recently_checked(3, None).await.unwrap(), overdue[..3]);

    // Repaired at 20; a check that read it at 15 says nothing of the new shard.
    let repaired = Placement { log: fresh(), checked: later(20), ..good[0].clone() };
    let stale = checked(&good[0], PlacementState::Damaged, later(15));
    let batch = Batch { placements: vec![repaired.clone()], ..Batch::default() };
    commit(batch).await.unwrap();
    commit(Batch { checked: vec![stale], ..Batch::default() }).await.unwrap();
    assert_eq!(a.placements(segment.id).await.unwrap()[0], repaired);

    let number = b.next_coding_number().await.unwrap();
    let recoded = Recoded {
        segment: segment.id,
        coding: "copies=2".parse().unwrap(),
        number,
        placements: world.placements(segment.id, number),
    };
    let batch = Batch { replace_codings: vec![recoded.clone()], ..Batch::default() };
    commit(batch.clone()).await.unwrap();
    assert!(matches!(commit(batch).await, Err(Error::Conflict { .. })), "not twice");
    assert_eq!(a.placements(segment.id).await.unwrap(), recoded.placements);
    assert_eq!(a.segment(segment.id).await.unwrap().unwrap().number, number);
    // A repairer that was late does not raise the old coding.
    commit(Batch { placements: vec![repaired], ..Batch::default() }).await.unwrap();
    assert_eq!(a.placements(segment.id).await.unwrap(), recoded.placements);

    let mut on_shelf = Vec::new();
    while let Some(next) = {
        let page = a.placements_on(world.shelves[1], on_shelf.last(), 1).await.unwrap();
        page.into_iter().next()
    } {
        on_shelf.push(next);
    }
    assert_eq!(on_shelf.len(), 2);
    assert!(on_shelf.iter().all(|p| p.shelf == world.shelves[1]));
}

pub(crate) async fn lists_are_given_in_pages(a: &Registry, b: &Registry) {
    let world = world(a).await;
    let mut asked = Vec::new();
    for name in ["b", "a c", "c", "a"] {
        let object = object(a, name).await;
        asked.push(a.enqueue(world.ingest(object, name), NOW).await.unwrap().item.id);
    }
    let mut names = Vec::new();
    let mut after: Option<ObjectName> = None;
    while let [summary, ..] = &b.objects(None, after.as_ref(), 1).await.unwrap()[..] {
        names.push(summary.object.name.name().to_string());
        after = Some(summary.object.name.clone());
    }
    assert_eq!(names, ["a", "a c", "b", "c", "letters"]);

    asked.sort();
    let mut listed: Vec<WorkId> = Vec::new();
    while let [item, ..] =
        &b.work_list(WorkFilter::default(), listed.last().copied(), 1).await.unwrap()[..]
    {
        listed.push(item.id);
    }
    assert_eq!(listed, asked, "items asked for at one time are in the order of their ids");
    let filter = WorkFilter { status: Some(WorkStatus::Trouble), ..WorkFilter::default() };
    assert!(b.work_list(filter, None, 9).await.unwrap().is_empty());

    let text = asked[0].to_string();
    let found = b.find_work_by_prefix(&text[..12]).await.unwrap();
    assert_eq!(found.iter().map(|w| w.id).collect::<Vec<_>>(), asked[..1]);
    assert_eq!(b.find_by_prefix(IdKind::Work, &text[..13]).await.unwrap(), [asked[0].0]);
    let shelf = world.shelves[0].to_string();
    assert_eq!(b.find_by_prefix(IdKind::Shelf, &shelf).await.unwrap(), [world.shelves[0].0]);
    assert!(b.find_by_prefix(IdKind::Object, "no hex").await.unwrap().is_empty());
}

pub(crate) async fn twenty_thousand_files_read_back_equal(a: &Registry, b: &Registry) {
    const FILES: u64 = 20_000;
    let world = world(a).await;
    let mut lease = world.taken(a).await;
    let number = a.next_coding_number().await.unwrap();
    let draft = world.draft();
    let version = draft.version;
    let data = world.segment(version, SegmentKind::Data, number);
    let batch = Batch {
        begin_draft: Some(draft),
        begin_segments: vec![data.clone()],
        durable: vec![world.durable(&data, 1 << 26)],
        ..Batch::default()
    };
    a.commit(&lease, NOW, SECONDS, batch).await.unwrap();
    let mut written: Vec<FileRecord> = (0..FILES).map(|n| file(n, data.id)).collect();
    // One of several extents, one with a path of other bytes, a link and a folder.
    written[10].extents =
        (0..10).map(|i| Extent { segment: data.id, offset: i, length: 1 }).collect();
    written[11].path = b"data/\xff\x00odd".to_vec();
    written[1_000].kind = FileKind::Symlink;
    written[1_000].target = Some(b"folder 1/file 1".to_vec());
    written[2_000].kind = FileKind::EmptyFolder;
    for files in written.chunks(2_000) {
        let batch = Batch { files: files.to_vec(), ..Batch::default() };
        lease = a.commit(&lease, NOW, SECONDS, batch).await.unwrap().lease;
    }
    let mut read = Vec::new();
    while read.len() < written.len() {
        let page = b.files(version, read.len() as u64, 3_333).await.unwrap();
        assert!(!page.is_empty());
        read.extend(page);
    }
    assert!(read == written, "files read back otherwise than they were written");
    let mut bare = read.split_off(15_000);
    bare.iter_mut().for_each(|file| file.extents.clear());
    assert!(b.files_without_extents(version, 15_000, 10_000).await.unwrap() == bare);
    assert_eq!(b.files_without_extents(version, 9, 2).await.unwrap().len(), 2);
    let draft = b.version(version).await.unwrap().unwrap();
    assert_eq!((draft.files, draft.bytes), (FILES, written.iter().map(|f| f.size).sum()));

    assert_eq!(
        b.file_by_path(version, &written[11].path).await.unwrap(),
        Some(written[11].clone())
    );
    assert_eq!(b.file_by_path(version, b"data").await.unwrap(), None);
    let twin = b.file_by_sha256(version, &written[10].sha256, 10).await.unwrap();
    assert_eq!(twin, Some(written[10].clone()));
    assert_eq!(b.file_by_sha256(version, &written[10].sha256, 11).await.unwrap(), None);

    let mut expected: Vec<_> =
        written.iter().filter(|f| f.path.starts_with(b"data/folder 3/")).cloned().collect();
    expected.sort_by(|x, y| x.path.cmp(&y.path));
    let mut listed: Vec<FileRecord> = Vec::new();
    loop {
        let after = listed.last().map(|f| f.path.clone());
        let page =
            b.files_by_path(version, after.as_deref(), b"data/folder 3/", 1_000).await.unwrap();
        if page.is_empty() {
            break;
        }
        listed.extend(page);
    }
    assert!(listed == expected, "{} of {} files", listed.len(), expected.len());

    let mut digests = Vec::new();
    while let page @ [_, ..] = &b
        .digests_of(version, digests.last().map_or(0, |(_, number)| number + 1), 10_000)
        .await
        .unwrap()[..]
    {
        digests.extend_from_slice(page);
    }
    let with_bytes = written.iter().filter(|f| f.size > 0 && f.kind == FileKind::File);
    assert_eq!(digests, with_bytes.map(|f| (f.sha256, f.number)).collect::<Vec<_>>());
}
