//! What every backend of the registry must do. Each contract takes two handles on one registry, as
//! two processes have them; only the harness at the end knows which backend it is.
#![allow(clippy::unwrap_used)]

mod deletion;
mod shelving;
mod world;

use std::collections::HashSet;

use deletion::*;
use serde_json::json;
use shelving::*;
use strongroom_record::*;
use strongroom_registry::{Error, *};
use world::*;

async fn the_archive_and_its_parts_read_back(a: &Registry, b: &Registry) {
    assert!(matches!(a.next_revision().await, Err(Error::NotFound { .. })));
    assert_eq!(a.archive().await.unwrap(), None);
    let world = world(a).await;
    assert!(!b.create_archive(fresh(), fresh(), &[], NOW).await.unwrap());
    assert_eq!(b.archive().await.unwrap().unwrap().epoch_number, 1);

    let local = b.institution_by_name("local").await.unwrap().unwrap();
    assert_eq!(b.institution(world.institution).await.unwrap(), Some(local.clone()));
    let twin = Institution { id: fresh(), ..local.clone() };
    assert!(!b.create_institution(&twin, vec![], NOW).await.unwrap());
    assert_eq!(b.institutions().await.unwrap(), [local]);

    let account = Account {
        id: [5; 16],
        institution: world.institution,
        name: "ada".into(),
        role: "administrator".into(),
        state: "active".into(),
        created: NOW,
    };
    assert!(a.create_account(&account).await.unwrap());
    assert!(!a.create_account(&Account { id: [6; 16], ..account.clone() }).await.unwrap());
    assert_eq!(b.accounts(world.institution).await.unwrap(), [account]);

    let shelves = b.shelves().await.unwrap();
    assert_eq!(shelves.iter().map(|s| s.id).collect::<Vec<_>>(), world.shelves);
    assert!(matches!(a.add_shelf(&shelves[0]).await, Err(Error::Conflict { .. })));

    a.set_setting("x", "1").await.unwrap();
    b.set_setting("x", "2").await.unwrap();
    assert_eq!(a.setting("x").await.unwrap().as_deref(), Some("2"));
    assert_eq!(a.setting("y").await.unwrap(), None);

    let name = ObjectName::new("local", "letters").unwrap();
    let object = b.ensure_object(&name, fresh(), NOW).await.unwrap();
    assert_eq!((object.id, &object.name), (world.object, &name));
    assert_eq!(a.object_by_name(&name).await.unwrap(), Some(object));
    let elsewhere = ObjectName::new("nobody", "letters").unwrap();
    let refused = a.ensure_object(&elsewhere, fresh(), NOW).await;
    assert!(matches!(refused, Err(Error::NotFound { what: "institution", .. })));
}

async fn a_token_is_known_by_its_hash_while_it_counts(a: &Registry, b: &Registry) {
    let world = world(a).await;
    let account = Account {
        id: [5; 16],
        institution: world.institution,
        name: "ada".into(),
        role: Role::Administrator.word().into(),
        state: AccountState::Active.word().into(),
        created: NOW,
    };
    let token = |n: u8, once: bool, seconds: Option<i64>| Token {
        id: [n; 16],
        account: account.id,
        name: format!("token {n}"),
        sha256: Sha256::of(&[n]),
        scopes: "read restore".into(),
        once,
        created: NOW.plus_seconds(n.into()),
        expires: seconds.map(later),
        last_used: None,
        revoked: None,
    };
    let nobody = a.create_token(&token(1, false, None)).await;
    assert!(matches!(nobody, Err(Error::NotFound { what: "account", .. })), "{nobody:?}");
    assert!(a.create_account(&account).await.unwrap());
    assert!(!b.has_administrator(world.institution, NOW).await.unwrap());

    // A one-time token is no lasting one, and is exchanged once, by one of two who try.
    a.create_token(&token(1, true, Some(60))).await.unwrap();
    assert!(!b.has_administrator(world.institution, NOW).await.unwrap());
    let (lasting, other) = (token(2, false, Some(60)), token(3, false, None));
    assert!(!a.exchange_token([1; 16], &lasting, later(60)).await.unwrap(), "it has expired");
    let (first, second) = tokio::join!(
        a.exchange_token([1; 16], &lasting, NOW),
        b.exchange_token([1; 16], &other, NOW)
    );
    assert!(first.unwrap() != second.unwrap());
    assert!(!b.exchange_token([1; 16], &token(4, false, None), NOW).await.unwrap());
    let mut kept = b.tokens(account.id).await.unwrap();
    assert_eq!(kept.len(), 2);
    assert!(!kept[0].counts(NOW) && kept[1].counts(NOW));
    assert!(b.has_administrator(world.institution, NOW).await.unwrap());

    let token = kept.pop().unwrap();
    let bearer = b.bearer(&token.sha256).await.unwrap().unwrap();
    assert_eq!((&bearer.token, &bearer.account), (&token, &account));
    assert_eq!(bearer.institution_name, "local");
    assert_eq!(b.bearer(&Sha256::of(b"guessed")).await.unwrap(), None);

    // Of uses within an hour the first is noted.
    for (seconds, noted) in [(1, 1), (3_599, 1), (3_601, 3_601)] {
        a.touch_token(token.id, later(seconds)).await.unwrap();
        let token = b.token(token.id).await.unwrap().unwrap();
        assert_eq!(token.last_used, Some(later(noted)), "{seconds}");
    }

    let disabled = b.set_account_state(account.id, AccountState::Disabled).await.unwrap();
    assert_eq!(a.account(account.id).await.unwrap(), Some(disabled.clone()));
    assert_eq!(a.account_by_name(world.institution, "ada").await.unwrap(), Some(disabled));
    assert!(!a.has_administrator(world.institution, NOW).await.unwrap());
    b.set_account_state(account.id, AccountState::Active).await.unwrap();
    assert!(a.revoke_token(token.id, NOW).await.unwrap());
    assert!(!b.revoke_token(token.id, NOW).await.unwrap());
    assert!(!b.bearer(&token.sha256).await.unwrap().unwrap().token.counts(NOW));
    assert!(!a.has_administrator(world.institution, NOW).await.unwrap());
}

async fn the_nearest_policy_applies_and_is_told(a: &Registry, b: &Registry) {
    let world = world(a).await;
    let (o, i) = (Some(world.object), world.institution);
    let coding = |text: &str| text.parse::<Coding>().unwrap();
    let event = || EventDraft::new(EventKind::Policy);
    assert_eq!(b.coding_for(o, i).await.unwrap(), Coding::TWO_COPIES);
    for (scope, policy) in [
        (Scope::Archive, "copies=3"),
        (Scope::Institution(i), "4+2"),
        (Scope::Object(world.object), "10+4"),
    ] {
        let told = a.set_policy(scope, coding(policy), event(), NOW).await.unwrap();
        assert_eq!(told.len(), 1);
        assert_eq!(b.coding_for(o, i).await.unwrap(), coding(policy));
    }
    assert_eq!(b.coding_for(None, i).await.unwrap(), coding("4+2"));
    let nobody = a.set_policy(Scope::Object(fresh()), coding("4+2"), event(), NOW).await;
    assert!(matches!(nobody, Err(Error::NotFound { .. })));
    assert_eq!(b.event_head(i).await.unwrap().sequence, 3);
}

async fn keys_follow_one_another_and_never_without_a_keyring(a: &Registry, b: &Registry) {
    let world = world(a).await;
    let of = world.institution;
    let work = NewWork {
        kind: WorkKind::Keys,
        object: None,
        stage: Stage::Run,
        ..world.ingest(world.object, "keys")
    };
    let item = a.enqueue(work, NOW).await.unwrap().item;
    let lease = take(a, Some(item.id), NOW).await.unwrap().1;
    let number = a.next_coding_number().await.unwrap();
    let keyring = NewSegment {
        version: None,
        object: None,
        ..world.segment(fresh(), SegmentKind::Keyring, number)
    };
    let begin = Batch { begin_segments: vec![keyring.clone()], ..Batch::default() };
    a.commit(&lease, NOW, SECONDS, begin).await.unwrap();
    let next = |generation, keyring: Option<SegmentId>| KeyGeneration {
        institution: of,
        generation,
        keys: vec![generation as u8; 9],
        keyring,
        created: NOW,
    };
    let batch = |next: &KeyGeneration| Batch {
        keys: vec![next.clone()],
        events: vec![EventDraft::new(EventKind::KeyRotation)],
        ..Batch::default()
    };
    // Not while its keyring is being written, not without one, not by two at once.
    let before = picture(a, &world).await;
    for refused in [next(2, Some(keyring.id)), next(2, None), next(3, None), next(0, None)] {
        let refused = a.commit(&lease, NOW, SECONDS, batch(&refused)).await;
        assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    }
    assert_eq!(picture(b, &world).await, before);
    assert_eq!(b.key_generations(of).await.unwrap(), []);
    let durable = Batch { durable: vec![world.durable(&keyring, 100)], ..Batch::default() };
    a.commit(&lease, NOW, SECONDS, durable).await.unwrap();
    for refused in [next(1, Some(keyring.id)), next(3, Some(keyring.id))] {
        let refused = a.commit(&lease, NOW, SECONDS, batch(&refused)).await;
        assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    }

    let (second, recovery) = (next(2, Some(keyring.id)), next(0, Some(keyring.id)));
    a.commit(&lease, NOW, SECONDS, batch(&second)).await.unwrap();
    a.commit(&lease, NOW, SECONDS, batch(&recovery)).await.unwrap();
    let first = KeyGeneration { keys: vec![1, 2, 3], ..next(1, None) };
    assert_eq!(b.key_generations(of).await.unwrap(), [recovery, first, second.clone()]);
    let institution = b.institution(of).await.unwrap().unwrap();
    assert_eq!((institution.generation, institution.keys), (2, second.keys.clone()));
    let again = a.commit(&lease, NOW, SECONDS, batch(&second)).await;
    assert!(matches!(again, Err(Error::Conflict { .. })), "it is the present one already");
    assert_eq!(b.event_head(of).await.unwrap().sequence, 2);
}

async fn writers_are_certified_and_revoked_once(a: &Registry, b: &Registry) {
    let world = world(a).await;
    let certificate = WriterCertificate {
        institution: world.institution,
        serial: [1; 16],
        writer: [2; 32],
        certificate: b"signed".to_vec(),
        from: NOW,
        until: later(60),
        created: NOW,
    };
    let told = EventDraft::new(EventKind::Certification);
    assert_eq!(a.add_certificate(&certificate, told.clone()).await.unwrap().len(), 1);
    assert_eq!(b.add_certificate(&certificate, told.clone()).await.unwrap().len(), 0);
    let other = WriterCertificate { serial: [3; 16], created: later(1), ..certificate.clone() };
    a.add_certificate(&other, told.clone()).await.unwrap();
    assert_eq!(b.certificates(world.institution).await.unwrap(), [certificate.clone(), other]);
    // Journals carry both, however small their pages are.
    let table = TABLES.iter().find(|table| table.name == "certificates").unwrap();
    let of = RowsOf { institution: world.institution, whole: true, first_event: 1, last_event: 0 };
    let (mut after, mut told_of) = (Vec::new(), 0);
    while let Some((cursor, _)) = a.journal_rows(table, of, &after, 1).await.unwrap().pop() {
        (after, told_of) = (cursor, told_of + 1);
    }
    assert_eq!(told_of, 2);
    let nobody = WriterCertificate { institution: fresh(), serial: [4; 16], ..certificate };
    assert!(a.add_certificate(&nobody, told).await.is_err());

    // Revoked once and for all, also what was never listed here.
    for (serial, last_journal) in [([1; 16], (1, 7)), ([9; 16], (2, 0))] {
        let institution = world.institution;
        let revocation = Revocation { institution, serial, last_journal, time: NOW };
        let told = EventDraft::new(EventKind::Revocation);
        assert_eq!(b.revoke(&revocation, told.clone()).await.unwrap().len(), 1);
        let later = Revocation { last_journal: (9, 9), ..revocation.clone() };
        assert!(matches!(a.revoke(&later, told).await, Err(Error::Conflict { .. })));
        assert!(a.revocations(institution).await.unwrap().contains(&revocation));
    }
    assert_eq!(b.event_head(world.institution).await.unwrap().sequence, 4);
}

async fn a_key_has_one_unfinished_item(a: &Registry, b: &Registry) {
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

async fn a_late_commit_is_refused(a: &Registry, b: &Registry) {
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

async fn two_workers_never_hold_one_item(a: &Registry, b: &Registry) {
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

async fn an_object_has_one_ingest_and_one_draft_at_a_time(a: &Registry, b: &Registry) {
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

async fn published_versions_are_numbered_and_never_change(a: &Registry, b: &Registry) {
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
async fn a_draft_is_amended_and_what_it_does_not_use_released(a: &Registry, b: &Registry) {
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

async fn a_commit_is_all_or_nothing(a: &Registry, b: &Registry) {
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

async fn a_crashed_workers_segments_are_given_up(a: &Registry, b: &Registry) {
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

async fn chains_stay_dense_when_two_processes_append(a: &Registry, b: &Registry) {
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

async fn numbers_are_never_drawn_twice(a: &Registry, b: &Registry) {
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

async fn items_are_requeued_at_stages_of_their_kind(a: &Registry, b: &Registry) {
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

async fn shards_are_checked_repaired_and_coded_anew(a: &Registry, b: &Registry) {
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

async fn lists_are_given_in_pages(a: &Registry, b: &Registry) {
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

async fn twenty_thousand_files_read_back_equal(a: &Registry, b: &Registry) {
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

/// Workers spawn these: their futures must be able to move between threads.
#[test]
fn futures_can_move_between_threads() {
    fn send<F: Future + Send>(_: impl Fn(&'static Registry, &'static Lease) -> F) {}
    send(|r, lease| r.commit(lease, NOW, SECONDS, Batch::default()));
    send(|r, lease| r.give_up_stale_segments(lease));
    send(|r, lease| r.cancel(lease.work, NOW, EventDraft::new(EventKind::Cancellation)));
    send(|r, _| {
        r.set_policy(Scope::Archive, Coding::TWO_COPIES, EventDraft::new(EventKind::Policy), NOW)
    });
    send(|r, _| r.verify_chain(InstitutionId([0; 16])));
    send(|r, _| r.files(VersionId([0; 16]), 0, 1));
    send(|r, _| r.files_by_path(VersionId([0; 16]), None, b"", 1));
    send(|_, _| Registry::open(std::path::Path::new(""), Options::default()));
}

mod sqlite {
    use super::*;
    use std::path::Path;

    async fn open(path: &Path) -> Registry {
        Registry::open(path, Options::default()).await.unwrap()
    }

    /// Bytes to the file, behind the registry's back.
    async fn tamper(path: &Path, sql: &'static str) {
        use sqlx::Connection as _;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    macro_rules! contract {
        ($($name:ident)*) => {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("registry.db");
                // Both at once, as two processes that begin on a new archive do.
                let (a, b) = tokio::join!(open(&path), open(&path));
                super::$name(&a, &b).await;
                a.close().await;
                b.close().await;
            }
        )*};
    }

    contract! {
        the_archive_and_its_parts_read_back
        keys_follow_one_another_and_never_without_a_keyring
        writers_are_certified_and_revoked_once
        the_nearest_policy_applies_and_is_told
        a_token_is_known_by_its_hash_while_it_counts
        a_key_has_one_unfinished_item
        a_late_commit_is_refused
        two_workers_never_hold_one_item
        an_object_has_one_ingest_and_one_draft_at_a_time
        published_versions_are_numbered_and_never_change
        a_commit_is_all_or_nothing
        a_crashed_workers_segments_are_given_up
        chains_stay_dense_when_two_processes_append
        numbers_are_never_drawn_twice
        items_are_requeued_at_stages_of_their_kind
        shards_are_checked_repaired_and_coded_anew
        lists_are_given_in_pages
        a_draft_is_amended_and_what_it_does_not_use_released
        twenty_thousand_files_read_back_equal
        shelves_are_counted_as_they_change
        reclaiming_is_queued_where_much_waits
        a_copy_takes_the_place_of_what_was_copied_only
        nothing_is_placed_on_a_retired_shelf
        a_quota_is_never_passed
        people_are_served_first
        nobody_decides_alone
        nothing_is_released_before_a_journal_told
        what_a_draft_refers_to_is_kept
        a_draft_given_up_after_its_record_is_told_first
    }

    #[tokio::test]
    async fn a_tampered_event_is_found() {
        let allow = "DROP TRIGGER events_are_not_changed; DROP TRIGGER events_are_not_deleted;";
        for (sql, broken_at) in [
            ("SELECT 1", None),
            ("UPDATE events SET detail = '{\"x\":1}' WHERE sequence = 1300", Some(1300)),
            ("UPDATE events SET detail = '{' WHERE sequence = 1300", Some(1300)),
            ("UPDATE events SET outcome = 'failure' WHERE sequence = 1", Some(1)),
            ("UPDATE events SET kind = 'none' WHERE sequence = 2", Some(2)),
            ("DELETE FROM events WHERE sequence = 7", Some(7)),
            ("DELETE FROM events WHERE sequence > 1000", Some(1001)),
            ("UPDATE event_heads SET sequence = 1, hash = zeroblob(32)", Some(1)),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("registry.db");
            let registry = open(&path).await;
            let world = world(&registry).await;
            let drafts = vec![EventDraft::new(EventKind::Creation); 1_400];
            registry.record_events(world.institution, drafts, NOW).await.unwrap();
            tamper(&path, allow).await;
            tamper(&path, sql).await;
            let report = registry.verify_chain(world.institution).await.unwrap();
            assert_eq!(report.broken_at, broken_at, "{sql}");
        }
    }

    #[tokio::test]
    async fn a_registry_opens_again_and_a_newer_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("registry.db");
        let read_only = Options { read_only: true, ..Options::default() };
        assert!(Registry::open(&path, read_only.clone()).await.is_err(), "nothing is made");
        assert!(!path.exists());

        let registry = open(&path).await;
        let world = world(&registry).await;
        registry.close().await;
        let registry = open(&path).await;
        assert!(registry.object(world.object).await.unwrap().is_some());
        registry.close().await;

        let registry = Registry::open(&path, read_only.clone()).await.unwrap();
        assert!(registry.object(world.object).await.unwrap().is_some());
        assert!(matches!(registry.set_setting("x", "y").await, Err(Error::ReadOnly)));
        registry.close().await;

        tamper(&path, "PRAGMA user_version = 99").await;
        for options in [Options::default(), read_only] {
            match Registry::open(&path, options).await {
                Err(Error::Newer { found, known }) => {
                    assert_eq!((found, known), (99, SCHEMA_VERSION))
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_file_that_is_no_registry_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("registry.db");
        let letter = b"Dear Sir, this is no database at all. ".repeat(100);
        std::fs::write(&path, &letter).unwrap();
        let refused = Registry::open(&path, Options::default()).await;
        assert!(matches!(refused, Err(Error::Corrupt { table: "file", .. })), "{refused:?}");
        assert_eq!(std::fs::read(&path).unwrap(), letter);
    }

    #[tokio::test]
    async fn what_the_disk_refused_is_not_kept_and_keeps_nobody_from_working() {
        use strongroom_testkit::sim::{Fault, Sim};
        for fault in [Fault::SyncFails, Fault::WriteFails, Fault::NoSpace] {
            let sim = Sim::new(1, |path| match path.extension().is_some_and(|e| e == "db-wal") {
                true => "log",
                false => "other",
            });
            let machine = sim.power_on();
            let options = Options { vfs: Some(machine.vfs()), ..Options::default() };
            let registry = Registry::open("/r.db".as_ref(), options).await.unwrap();
            registry.set_setting("x", "before").await.unwrap();
            sim.inject(fault, &["log"], 0);
            let refused = registry.set_setting("x", "refused").await;
            assert!(refused.is_err(), "{fault:?}");
            sim.clear_faults();
            let kept = registry.setting("x").await.unwrap();
            assert_eq!(kept.as_deref(), Some("before"), "{fault:?}");
            registry.set_setting("x", "after").await.unwrap();
            let kept = registry.setting("x").await.unwrap();
            assert_eq!(kept.as_deref(), Some("after"), "{fault:?}");
            registry.close().await;
        }
    }

    #[tokio::test]
    async fn who_waits_too_long_hears_busy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("registry.db");
        open(&path).await.close().await;
        let options = Options { busy_seconds_max: 1, ..Options::default() };
        let registry = Registry::open(&path, options).await.unwrap();
        use sqlx::Connection as _;
        let connect = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
        let mut other = sqlx::SqliteConnection::connect_with(&connect).await.unwrap();
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
        assert!(matches!(registry.set_setting("x", "y").await, Err(Error::Busy)));
        assert_eq!(registry.setting("x").await.unwrap(), None, "readers do not wait");
        sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
        registry.set_setting("x", "y").await.unwrap();
    }
}
