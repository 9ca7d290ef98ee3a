//! The contracts kept to by SQLite, and what only a file can meet.

use crate::world::*;
use std::path::Path;
use strongroom_record::*;
use strongroom_registry::{Error, *};

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
    ($module:ident: $($name:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("registry.db");
            // Both at once, as two processes that begin on a new archive do.
            let (a, b) = tokio::join!(open(&path), open(&path));
            crate::$module::$name(&a, &b).await;
            a.close().await;
            b.close().await;
        }
    )*};
}

contract! { archive:
    the_archive_and_its_parts_read_back
    keys_follow_one_another_and_never_without_a_keyring
    writers_are_certified_and_revoked_once
    the_nearest_policy_applies_and_is_told
    a_token_is_known_by_its_hash_while_it_counts
    of_two_who_write_rules_one_is_told_to_look_again
    what_accounts_use_adds_up
}

contract! { work:
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
}

contract! { shelving:
    shelves_are_counted_as_they_change
    reclaiming_is_queued_where_much_waits
    a_copy_takes_the_place_of_what_was_copied_only
    nothing_is_placed_on_a_retired_shelf
    a_quota_is_never_passed
    people_are_served_first
}

contract! { deletion:
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
