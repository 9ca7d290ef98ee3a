//! Deletion: what is dead cannot be had back, what lives comes back bit for bit, nobody decides alone, and
//! a deletion that is killed at any moment ends exactly as approved (with feature `failpoints`).
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use strongroom_record::{SegmentId, SegmentKind, SegmentState};
use strongroom_registry::{Account, Registry, Segment, SegmentsOf};
use strongroom_testkit::scenario::noise;

struct Archive {
    place: tempfile::TempDir,
}

/// Contents of a folder by name.
type Files = BTreeMap<String, Vec<u8>>;

impl Archive {
    fn new() -> Archive {
        Archive { place: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom"));
        command.env("STRONGROOM_DATA", self.path("archive"));
        command.current_dir(self.place.path()).args(args).stdin(std::process::Stdio::null());
        command
    }

    fn run(&self, args: &[&str], exit: i32) -> Output {
        let output = self.command(args).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        let out = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(exit), "{args:?}\nstdout: {out}\nstderr: {err}");
        output
    }

    /// Runs what is refused, and looks for words of the refusal.
    fn refused(&self, args: &[&str], exit: i32, words: &str) {
        let err = String::from_utf8_lossy(&self.run(args, exit).stderr).into_owned();
        assert!(err.contains(words), "{args:?}: {err}");
    }

    fn json(&self, args: &[&str], exit: i32) -> Value {
        let args: Vec<_> = args.iter().copied().chain(["--json"]).collect();
        serde_json::from_slice(&self.run(&args, exit).stdout).unwrap()
    }

    /// Deposits files as the next version of `local/x`.
    fn deposit(&self, files: &Files) {
        let source = self.path("source");
        let _ = std::fs::remove_dir_all(&source);
        std::fs::create_dir(&source).unwrap();
        for (name, bytes) in files {
            std::fs::write(source.join(name), bytes).unwrap();
        }
        self.run(&["deposit", "source", "--object", "local/x"], 0);
    }

    /// What a version comes back as.
    fn restored(&self, version: &str) -> Files {
        let to = self.path("restored");
        let _ = std::fs::remove_dir_all(&to);
        self.run(&["restore", version, "--as", "files", "--to", "restored"], 0);
        let entries = std::fs::read_dir(&to).unwrap().map(|entry| entry.unwrap());
        let one = |entry: std::fs::DirEntry| {
            (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
        };
        entries.map(one).collect()
    }

    fn comes_back(&self, version: &str, files: &Files) {
        let back = self.restored(version);
        assert_eq!(back.keys().collect::<Vec<_>>(), files.keys().collect::<Vec<_>>(), "{version}");
        assert!(back == *files, "{version} came back with other bytes");
    }

    /// Durable segments of data and records; journals come with each process.
    fn durable(&self) -> usize {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let path = self.path("archive/strongroom.db");
            let registry = Registry::open(&path, Default::default()).await.unwrap();
            let all = registry.segments_of(SegmentsOf::All, None, 10_000).await.unwrap();
            registry.close().await;
            let kept = |s: &&Segment| {
                s.state == SegmentState::Durable
                    && matches!(s.kind, SegmentKind::Data | SegmentKind::Record)
            };
            all.iter().filter(kept).count()
        })
    }

    /// Segments of data and records that nobody wants any more, as the registry has them.
    fn dead(&self) -> BTreeSet<SegmentId> {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let path = self.path("archive/strongroom.db");
            let registry = Registry::open(&path, Default::default()).await.unwrap();
            let all = registry.segments_of(SegmentsOf::All, None, 10_000).await.unwrap();
            registry.close().await;
            let dead = |s: &&Segment| {
                matches!(s.state, SegmentState::Released | SegmentState::Gone)
                    && matches!(s.kind, SegmentKind::Data | SegmentKind::Record)
            };
            all.iter().filter(dead).map(|s| s.id).collect()
        })
    }

    /// Segments of which any shelf has a frame.
    fn on_shelves(&self) -> BTreeSet<SegmentId> {
        let options = strongroom_intake::Options::new(self.path("archive"));
        held(&strongroom_intake::Archive::open(&options).unwrap())
    }

    /// The segments in which a file of a version of `local/x` lies.
    fn segments_of(&self, number: u32, path: &str) -> BTreeSet<SegmentId> {
        let options = strongroom_intake::Options::new(self.path("archive"));
        let archive = strongroom_intake::Archive::open(&options).unwrap();
        let (_, version) = archive.find_version(&format!("local/x@{number}")).unwrap();
        let path = format!("data/{path}").into_bytes();
        let file = archive.registry().file_by_path(version.id, &path);
        let file = archive.block_on(file).unwrap().unwrap();
        file.extents.iter().map(|extent| extent.segment).collect()
    }

    /// What was deleted stands on no shelf.
    fn is_cleared(&self) {
        let dead = self.dead();
        assert!(!dead.is_empty());
        assert_eq!(self.on_shelves().intersection(&dead).count(), 0);
        for row in self.json(&["delete", "list"], 0).as_array().unwrap() {
            assert_eq!(row["pending_bytes"], 0, "{row}");
        }
        self.run(&["status", "--scan"], 0);
    }

    fn account(&self, institution: &str, name: &str, role: &str) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let path = self.path("archive/strongroom.db");
            let registry = Registry::open(&path, Default::default()).await.unwrap();
            let institution = registry.institution_by_name(institution).await.unwrap().unwrap();
            let mut id = [0; 16];
            id[..name.len()].copy_from_slice(name.as_bytes());
            let account = Account {
                id,
                institution: institution.id,
                name: name.into(),
                role: role.into(),
                state: "active".into(),
                created: institution.created,
            };
            assert!(registry.create_account(&account).await.unwrap());
            registry.close().await;
        });
    }

    /// The registry is lost, and made anew from the shelves.
    fn rebuild(&self) {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(self.path(&format!("archive/strongroom.db{suffix}")));
        }
        let from = ["--from", "archive/shelves/a", "--from", "archive/shelves/b"];
        self.run(&[&["rebuild"], &from[..]].concat(), 0);
    }

    /// Everything that must hold whatever was deleted.
    fn is_sound(&self) {
        self.run(&["fixity"], 0);
        self.run(&["object", "events", "--verify"], 0);
        let status = self.json(&["status"], 0);
        assert!(status["segments"].get("writing").is_none(), "{status}");
        assert!(status["work"].get("trouble").is_none(), "{status}");
    }

    /// Types of the events of `local/x` that tell of deletions, with what each covers.
    #[cfg(feature = "failpoints")]
    fn told(&self) -> Vec<String> {
        let events = self.json(&["object", "events"], 0);
        let told = events.as_array().unwrap().iter().filter(|e| {
            let kind = e["type"].as_str().unwrap();
            kind.starts_with("deletion") || kind == "relocation"
        });
        told.map(|e| format!("{} {} {}", e["type"], e["outcome"], e["files"])).collect()
    }
}

/// Segments of which any shelf has a frame.
fn held(archive: &strongroom_intake::Archive) -> BTreeSet<SegmentId> {
    let mut held = BTreeSet::new();
    for shelf in archive.vault().shelves() {
        for log in archive.vault().logs(shelf.spec().id).unwrap() {
            let contents = archive.vault().contents(shelf.spec().id, log.id).unwrap();
            held.extend(contents.parts.iter().map(|part| part.segment));
        }
    }
    held
}

/// Three versions: files that all share, that come and go, that change, that are equal.
fn versions() -> [Files; 3] {
    let mut first = Files::new();
    for i in 0..20 {
        first.insert(format!("small-{i:02}"), noise(i, 1_000 * i as usize));
    }
    first.insert("large".into(), noise(100, 3_000_000));
    let mut second = first.clone();
    second.remove("small-03");
    second.insert("small-05".into(), noise(205, 5_000));
    second.insert("copy-of-06".into(), first["small-06"].clone());
    let mut third = second.clone();
    third.remove("large");
    third.insert("new".into(), noise(300, 70_000));
    [first, second, third]
}

const FORCED: [&str; 5] = ["--reason", "no longer wanted", "--force", "--confirm", "local/x"];

fn forced<'a>(args: &[&'a str]) -> Vec<&'a str> {
    ["delete"].iter().chain(args).chain(&FORCED).copied().collect()
}

/// The independent reader agrees, where there is a Python for it.
fn recovers(archive: &Archive, object: &str, files: &Files) {
    let Some(python) = strongroom_testkit::python() else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/recover.py");
    let to = archive.path("recovered");
    let _ = std::fs::remove_dir_all(&to);
    let mut recover = Command::new(python);
    recover.arg(script).arg("--key").arg(archive.path("archive/strongroom.key"));
    recover.arg("--shelf").arg(archive.path("archive/shelves/a"));
    recover.arg("--to").arg(&to).args(["--", object]);
    let output = recover.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (name, bytes) in files {
        assert!(std::fs::read(to.join("data").join(name)).unwrap() == *bytes, "{name}");
    }
    let count = std::fs::read_dir(to.join("data")).unwrap().count();
    assert_eq!(count, files.len(), "{object} has files that are dead");
}

#[test]
fn what_is_deleted_is_gone_and_what_lives_comes_back() {
    let archive = Archive::new();
    let [first, mut second, mut third] = versions();
    for files in [&first, &second, &third] {
        archive.deposit(files);
    }

    // A version, whose segments the later ones share.
    archive.run(&forced(&["local/x@1"]), 0);
    archive.run(&["restore", "local/x@1", "--to", "gone"], 1);
    archive.run(&["cat", "local/x@1", "small-03"], 1);
    archive.comes_back("local/x@2", &second);
    archive.comes_back("local/x@3", &third);
    archive.is_sound();
    let shown = archive.json(&["object", "show", "local/x"], 0);
    let numbers: Vec<_> = shown["versions"].as_array().unwrap().iter().collect();
    assert_eq!(numbers.len(), 2, "{shown}");

    // A file that shares a segment with others: from one version, then from all.
    archive.run(&forced(&["local/x@2", "--file", "small-07"]), 0);
    second.remove("small-07").unwrap();
    archive.comes_back("local/x@2", &second);
    archive.comes_back("local/x@3", &third);
    archive.run(&forced(&["local/x", "--file", "small-06", "--all-versions"]), 0);
    for (number, files) in [("2", &mut second), ("3", &mut third)] {
        files.remove("small-06").unwrap();
        archive.comes_back(&format!("local/x@{number}"), files);
        recovers(&archive, &format!("local/x@{number}"), files);
    }
    archive.run(&["cat", "local/x", "small-06"], 1);
    archive.is_sound();
    // The roots are those that were published: a deleted file leaves its leaf.
    let events = archive.json(&["object", "events", "local/x"], 0);
    let root_of = |kind: &str| {
        let of_kind = events.as_array().unwrap().iter().filter(|e| e["type"] == kind);
        let mut third = of_kind.filter(|e| e["detail"]["version"] == 3);
        third.next_back().unwrap()["files_root"].clone()
    };
    assert_eq!(root_of("relocation"), root_of("ingestion end"));

    // A rebuild does not raise the dead.
    archive.rebuild();
    archive.run(&["restore", "local/x@1", "--to", "gone"], 1);
    archive.comes_back("local/x@2", &second);
    archive.comes_back("local/x@3", &third);
    archive.is_sound();

    // Numbers are not given again, and a file that was deleted may come anew.
    third.insert("small-06".into(), first["small-06"].clone());
    archive.deposit(&third);
    archive.comes_back("local/x@4", &third);

    // The object. Its name is free, and what comes under it is another one.
    let before = archive.json(&["object", "show", "local/x"], 0)["id"].clone();
    archive.run(&forced(&["local/x"]), 0);
    archive.refused(&["object", "show", "local/x"], 1, "wait to be reclaimed");
    archive.run(&["restore", before.as_str().unwrap(), "--to", "gone"], 1);
    assert_eq!(archive.json(&["object", "list"], 0).as_array().unwrap().len(), 0);
    let status = archive.json(&["status"], 0);
    assert_eq!((&status["objects"], &status["files"]), (&0.into(), &0.into()), "{status}");
    assert!(status["pending_bytes"].as_u64().unwrap() > 3_000_000, "{status}");
    assert_eq!(archive.durable(), 0);
    let listed = archive.json(&["delete", "list"], 0);
    assert!(listed[3]["pending_bytes"].as_u64().unwrap() > 3_000_000, "{listed}");
    archive.deposit(&first);
    archive.comes_back("local/x@1", &first);
    recovers(&archive, "local/x@1", &first);
    assert_ne!(archive.json(&["object", "show", "local/x"], 0)["id"], before);
    archive.is_sound();

    let id = archive.json(&["object", "show", "local/x"], 0)["id"].clone();
    archive.rebuild();
    assert_eq!(archive.json(&["object", "show", "local/x"], 0)["id"], id);
    archive.comes_back("local/x@1", &first);
    archive.is_sound();

    let listed = archive.json(&["delete", "list"], 0);
    assert_eq!(listed.as_array().unwrap().len(), 4);
    for row in listed.as_array().unwrap() {
        assert_eq!((&row["status"], &row["decision"]), (&"succeeded".into(), &"forced".into()));
    }
}

#[test]
fn what_is_deleted_leaves_the_shelves_without_a_person() {
    let archive = Archive::new();
    let [first, second, _] = versions();
    archive.deposit(&first);
    archive.deposit(&second);
    archive.run(&["deposit", "source", "--object", "local/y"], 0);

    // A version: what it shares with another stays.
    archive.run(&forced(&["local/x@1"]), 0);
    let waits = || archive.dead().intersection(&archive.on_shelves()).count();
    assert!(waits() > 0, "it is cleared before the work is done");
    let queued = ["work", "list", "--status", "queued"];
    let kinds = |items: Value| {
        let items = items.as_array().unwrap().clone();
        items.iter().map(|item| item["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(archive.json(&queued, 0)), ["reclaim", "reclaim"], "one for each shelf");
    // It is paused as what a person asks for is.
    archive.run(&["work", "pause", "reclaim"], 0);
    let before = waits();
    archive.run(&["work", "run"], 0);
    assert_eq!(waits(), before);
    archive.run(&["work", "resume"], 0);
    archive.run(&["work", "run"], 0);
    archive.is_cleared();
    archive.comes_back("local/x@2", &second);

    // What waits on a shelf that is not there goes when it returns.
    archive.run(&forced(&["local/x"]), 0);
    let (there, away) = (archive.path("archive/shelves/b"), archive.path("away"));
    std::fs::rename(&there, &away).unwrap();
    archive.run(&["work", "run"], 0);
    assert!(archive.json(&["status"], 0)["pending_bytes"].as_u64().unwrap() > 3_000_000);
    std::fs::rename(&away, &there).unwrap();
    archive.run(&["work", "run"], 0);
    archive.is_cleared();
    archive.comes_back("local/y", &second);
    archive.is_sound();
    assert_eq!(kinds(archive.json(&queued, 0)), Vec::<String>::new());
}

/// The registry is lost after the dead were told of, and before what lives beside them was rewritten.
#[test]
fn a_rebuild_goes_on_with_what_was_being_deleted() {
    let [first, mut second, mut third] = versions();
    for (what, dead) in [
        (&["local/x@1"][..], "small-03"),
        (&["local/x", "--file", "small-07", "--all-versions"], "small-07"),
    ] {
        let archive = Archive::new();
        for files in [&first, &second, &third] {
            archive.deposit(files);
        }
        let held = archive.segments_of(1, dead);
        // A worker that cannot read comes to where it is dead and told of, and no further.
        let key = archive.path("archive/strongroom.key");
        archive.run(&["key", "export", "--public", "worker.key"], 0);
        std::fs::rename(&key, key.with_extension("elsewhere")).unwrap();
        std::fs::copy(archive.path("worker.key"), &key).unwrap();
        let asked = archive.json(&forced(what), 0);
        assert_eq!((&asked["status"], &asked["stage"]), (&"waiting".into(), &"rewrite".into()));
        std::fs::rename(key.with_extension("elsewhere"), &key).unwrap();
        archive.rebuild();
        let listed = archive.json(&["delete", "list"], 0);
        for same in ["id", "name", "reason", "decision", "files", "bytes"] {
            assert_eq!(listed[0][same], asked[same], "{listed}");
        }
        assert_eq!(listed[0]["status"], "queued");
        assert!(listed[0]["pending_bytes"].as_u64().unwrap() > 0, "{listed}");
        assert!(held.is_subset(&archive.on_shelves()));
        archive.run(&["work", "run"], 0);
        assert_eq!(archive.json(&["delete", "list"], 0)[0]["status"], "succeeded");
        assert_eq!(held.intersection(&archive.on_shelves()).count(), 0, "{what:?}");
        archive.is_cleared();
        if dead == "small-07" {
            for files in [&mut second, &mut third] {
                files.remove(dead).unwrap();
            }
        }
        archive.comes_back("local/x@2", &second);
        archive.comes_back("local/x@3", &third);
        archive.is_sound();
        // And again, now that it is done.
        archive.rebuild();
        archive.comes_back("local/x@2", &second);
        archive.run(&["restore", "local/x@1", "--to", "gone"], i32::from(dead == "small-03"));
        archive.is_sound();
    }
}

/// A server stores and deletes in one process, whose log is in use as long as it lives.
#[test]
fn a_process_that_stays_clears_its_own_log() {
    use strongroom_intake::{Deposit, Runner, Stop};
    let place = tempfile::tempdir().unwrap();
    let options = strongroom_intake::Options::new(place.path().join("archive"));
    let archive = strongroom_intake::Archive::open_or_create(&options).unwrap().archive;
    let runner = Runner::new(&archive, Stop::default(), std::sync::Arc::new(()));
    let work_off = || {
        let mut ended = Vec::new();
        runner
            .run_all::<strongroom_intake::Error>(false, &mut |item| {
                assert!(item.error.is_none(), "{item:?}");
                ended.push(item.item.kind);
                Ok(())
            })
            .unwrap();
        ended
    };
    for name in ["kept", "gone"] {
        let source = place.path().join(name);
        std::fs::write(&source, noise(name.len() as u64, 400_000)).unwrap();
        let object = format!("local/{name}");
        let deposit =
            Deposit { source, object, policy: None, accept_degraded: false, origin: None };
        archive.deposit(&deposit).unwrap();
    }
    work_off();
    let before = held(&archive);
    let target = strongroom_intake::DeletionTarget {
        object: "local/gone".into(),
        file: None,
        all_versions: false,
    };
    let deletion = archive.plan_deletion(&target).unwrap();
    archive.ask_deletion(deletion, "a test", None, true).unwrap();
    let kinds: Vec<_> = work_off().iter().map(|kind| kind.word()).collect();
    assert_eq!(kinds, ["delete", "reclaim", "reclaim"]);
    assert_eq!(archive.block_on(archive.registry().pending_bytes()).unwrap(), 0);
    let after = held(&archive);
    assert!(before.difference(&after).count() >= 2, "{before:?} {after:?}");
    // What stays is whole, and what is stored now goes to a new log.
    let fixity = archive.fixity(&Default::default()).unwrap();
    let report = runner.run_one(fixity.id).unwrap().item.report;
    assert_eq!((&report["damaged"], &report["missing"]), (&0.into(), &0.into()), "{report}");
}

#[test]
fn alone_one_forces_and_confirms_twice() {
    let archive = Archive::new();
    let [first, ..] = versions();
    archive.deposit(&first);
    let delete = ["delete", "local/x", "--reason", "r"];
    let with = |more: &[&'static str]| [&delete[..], more].concat();
    archive.refused(&["delete", "local/x"], 2, "--reason");
    archive.refused(
        &["delete", "local/x", "--reason", " ", "--force", "--confirm", "local/x"],
        2,
        "reason",
    );
    archive.refused(&with(&[]), 2, "--force --confirm local/x");
    archive.refused(&with(&["--force"]), 2, "--confirm");
    archive.refused(&with(&["--force", "--confirm", "local/y"]), 2, "nothing was deleted");
    archive.refused(&["delete", "local/x@7", "--reason", "r"], 1, "local/x@7");
    archive.refused(&["delete", "local/x", "--file", "none", "--reason", "r"], 1, "none");
    archive.refused(&["delete", "local/x", "--file", "bagit.txt", "--reason", "r"], 2, "made by");
    archive.comes_back("local/x", &first);
    assert_eq!(archive.json(&["delete", "list"], 0).as_array().unwrap().len(), 0);
}

#[test]
fn nobody_deletes_alone_where_there_are_two() {
    let archive = Archive::new();
    let [first, ..] = versions();
    archive.deposit(&first);
    archive.run(&["deposit", "source", "--object", "far/y"], 0);
    for (institution, name, role) in [
        ("local", "ada", "administrator"),
        ("local", "bob", "administrator"),
        ("local", "dora", "depositor"),
        ("local", "otto", "observer"),
        ("far", "zoe", "administrator"),
    ] {
        archive.account(institution, name, role);
    }
    let ask = ["delete", "local/x", "--reason", "by request"];
    let asking = |more: &[&'static str]| [&ask[..], more].concat();
    archive.refused(&asking(&["--force", "--confirm", "local/x"]), 1, "say who asks");
    archive.refused(&asking(&[]), 1, "say who asks");
    archive.refused(&asking(&["--as", "otto"]), 1, "observer");
    archive.refused(&asking(&["--as", "far/zoe"]), 1, "another institution");
    archive.refused(&asking(&["--as", "nobody"]), 1, "nobody");
    let forced = asking(&["--as", "ada", "--force", "--confirm", "local/x"]);
    archive.refused(&forced, 1, "not forced");

    let asked = archive.json(&asking(&["--as", "dora"]), 0);
    let id = asked["id"].as_str().unwrap();
    assert_eq!(asked["status"], "waiting");
    assert_eq!(archive.json(&asking(&["--as", "ada"]), 0)["id"], asked["id"], "one at a time");
    for (who, words) in [
        ("dora", "not administrator"),
        ("otto", "not administrator"),
        ("far/zoe", "another institution"),
    ] {
        archive.refused(&["delete", "approve", id, "--as", who, "--yes"], 1, words);
    }
    archive.refused(&["delete", "withdraw", id, "--as", "bob"], 1, "who asked");
    archive.refused(&["delete", "approve", id, "--as", "bob"], 2, "--yes");
    // No other way leads past it.
    archive.refused(&["work", "requeue", id], 3, "waits for approval");
    archive.run(&["work", "run"], 0);
    archive.comes_back("local/x", &first);
    let waiting = archive.json(&["work", "list", "--status", "waiting"], 0);
    assert_eq!(waiting[0]["id"], asked["id"]);

    // Refused, and withdrawn, it is over; asked anew, an administrator's own word is not enough.
    archive.run(&["delete", "refuse", id, "--as", "bob", "--reason", "still wanted"], 0);
    archive.refused(&["delete", "approve", id, "--as", "bob", "--yes"], 3, "cancelled");
    let asked = archive.json(&asking(&["--as", "ada"]), 0);
    let id = asked["id"].as_str().unwrap();
    archive.refused(&["delete", "approve", id, "--as", "ada", "--yes"], 1, "who asked");
    archive.run(&["delete", "withdraw", id, "--as", "ada"], 0);
    archive.comes_back("local/x", &first);

    // What changed since it was asked for is not deleted.
    let asked = archive.json(&asking(&["--as", "ada"]), 0);
    let id = asked["id"].as_str().unwrap();
    let [_, second, _] = versions();
    archive.deposit(&second);
    archive.refused(&["delete", "approve", id, "--as", "bob", "--yes"], 3, "another version");
    archive.comes_back("local/x@1", &first);
    archive.run(&["work", "cancel", id], 0);

    let asked = archive.json(&asking(&["--as", "ada"]), 0);
    let id = asked["id"].as_str().unwrap();
    let done = archive.json(&["delete", "approve", id, "--as", "bob", "--yes"], 0);
    assert_eq!((&done["status"], &done["decided_by"]), (&"succeeded".into(), &"bob".into()));
    archive.run(&["restore", "local/x", "--to", "gone"], 1);
    archive.comes_back("far/y", &first);
    let events = archive.json(&["object", "events"], 0);
    let last = events.as_array().unwrap().iter().rev().find(|e| e["type"] == "deletion").unwrap();
    assert_eq!(
        (&last["detail"]["asked_by"], &last["detail"]["decided_by"]),
        (&"ada".into(), &"bob".into())
    );
    assert_eq!(last["detail"]["reason"], "by request");
    archive.is_sound();
}

#[test]
fn without_the_key_it_waits_for_a_worker_that_has_it() {
    let archive = Archive::new();
    let [first, second, _] = versions();
    archive.deposit(&first);
    archive.deposit(&second);
    let key = archive.path("archive/strongroom.key");
    std::fs::rename(&key, key.with_extension("elsewhere")).unwrap();
    let done = archive.json(&forced(&["local/x@1"]), 0);
    assert_eq!((&done["status"], &done["stage"]), (&"waiting".into(), &"rewrite".into()));
    assert!(done["note"].as_str().unwrap().contains("has the institution's key"), "{done}");
    // Dead it is already, and it cannot be given up.
    archive.run(&["restore", "local/x@1", "--to", "gone"], 1);
    archive.refused(&["work", "cancel", done["id"].as_str().unwrap()], 3, "only be ended");
    archive.run(&["work", "run"], 0);
    assert_eq!(archive.json(&["delete", "list"], 0)[0]["status"], "waiting");
    std::fs::rename(key.with_extension("elsewhere"), &key).unwrap();
    archive.run(&["work", "run"], 0);
    assert_eq!(archive.json(&["delete", "list"], 0)[0]["status"], "succeeded");
    archive.comes_back("local/x@2", &second);
    archive.is_sound();
}

#[cfg(feature = "failpoints")]
mod killed {
    use super::*;
    use strongroom_intake::FAIL_POINTS;

    impl Archive {
        /// Runs a command that is killed when it passes a moment for the n-th time; whether it came to.
        fn dies(&self, moment: &str, nth: u32, args: &[&str]) -> bool {
            let mut command = self.command(args);
            command.env("STRONGROOM_CAMPAIGN_WATCH", self.path("watch"));
            command.env("STRONGROOM_CAMPAIGN_DIE", format!("{moment}:{nth}"));
            let output = command.output().unwrap();
            match output.status.code() {
                None => true,
                Some(0) => false,
                other => panic!("{other:?}: {}", String::from_utf8_lossy(&output.stderr)),
            }
        }

        /// Counts that tell one end from another.
        fn picture(&self) -> Vec<String> {
            let status = self.json(&["status"], 0);
            let mut picture: Vec<_> = ["objects", "versions", "files", "bytes"]
                .iter()
                .map(|name| format!("{name} {}", status[name]))
                .collect();
            picture.push(format!("durable {}", self.durable()));
            picture.extend(self.told());
            picture
        }
    }

    #[test]
    fn killed_at_any_moment_it_ends_as_approved() {
        let [first, second, third] = versions();
        let deletions: [(&[&str], &[&str]); 2] = [
            (&["local/x@1"], &[]),
            (&["local/x", "--file", "small-08", "--all-versions"], &["delete.erased"]),
        ];
        for (args, not_met) in deletions {
            let undisturbed = Archive::new();
            let begin = |archive: &Archive| {
                [&first, &second, &third].iter().for_each(|files| archive.deposit(files));
            };
            begin(&undisturbed);
            undisturbed.run(&forced(args), 0);
            let picture = undisturbed.picture();
            let latest = undisturbed.restored("local/x");
            let (second, mut kills) = (undisturbed.restored("local/x@2"), 0);
            for moment in FAIL_POINTS.iter().filter(|moment| moment.starts_with("delete.")) {
                for nth in [1, 2] {
                    let archive = Archive::new();
                    begin(&archive);
                    if !archive.dies(moment, nth, &forced(args)) {
                        assert!(
                            nth > 1 || not_met.contains(moment),
                            "{moment} is not met: {args:?}"
                        );
                        break;
                    }
                    kills += 1;
                    archive.run(&["work", "run"], 0);
                    assert_eq!(archive.picture(), picture, "killed at {moment}, {nth}: {args:?}");
                    archive.comes_back("local/x", &latest);
                    archive.comes_back("local/x@2", &second);
                    archive.is_sound();
                }
            }
            println!("{args:?}: killed {kills} times");
        }
    }

    #[test]
    fn a_rebuild_after_a_kill_raises_no_dead() {
        let [first, second, third] = versions();
        let deletions: [&[&str]; 2] =
            [&["local/x@1"], &["local/x", "--file", "small-08", "--all-versions"]];
        for (args, one_file) in deletions.into_iter().zip([false, true]) {
            let moments = ["journalled", "copied", "recorded", "moved", "rewritten", "done"];
            for moment in moments.map(|moment| format!("delete.{moment}")) {
                let archive = Archive::new();
                [&first, &second, &third].iter().for_each(|files| archive.deposit(files));
                assert!(archive.dies(&moment, 1, &forced(args)), "{moment} is not met");
                archive.rebuild();
                for (number, files) in (1..).zip([&first, &second, &third]) {
                    let (version, mut files) = (format!("local/x@{number}"), files.clone());
                    if number == 1 && !one_file {
                        archive.run(&["restore", &version, "--to", "gone"], 1);
                        continue;
                    }
                    if one_file {
                        files.remove("small-08").unwrap();
                    }
                    archive.comes_back(&version, &files);
                }
                archive.is_sound();
            }
        }
    }

    #[test]
    fn a_draft_given_up_after_its_record_was_stored_stays_dead() {
        let archive = Archive::new();
        let [first, second, _] = versions();
        archive.deposit(&first);
        for (name, bytes) in &second {
            std::fs::write(archive.path("source").join(name), bytes).unwrap();
        }
        let deposit = ["deposit", "source", "--object", "local/x"];
        assert!(archive.dies("deposit.recorded", 1, &deposit));
        let items = archive.json(&["work", "list", "--status", "running"], 0);
        let items = match items.as_array().unwrap().is_empty() {
            true => archive.json(&["work", "list", "--status", "queued"], 0),
            false => items,
        };
        let before = archive.durable();
        archive.run(&["work", "cancel", items[0]["id"].as_str().unwrap()], 0);
        assert_eq!(archive.durable(), before, "a segment was released before a journal told of it");
        archive.run(&["work", "run"], 0);
        assert!(archive.durable() < before);
        assert_eq!(archive.json(&["delete", "list"], 0)[0]["decision"], "cancelled");
        archive.comes_back("local/x", &first);
        archive.is_sound();
    }
}
