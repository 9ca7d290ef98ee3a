//! The life of shelves: what nobody wants any more goes, and nothing else; what is counted is what a full
//! look finds; shelves are emptied, replaced, lost and come back.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use strongroom_testkit::scenario::noise;

struct Archive {
    place: tempfile::TempDir,
}

impl Archive {
    fn new() -> Archive {
        Archive { place: tempfile::tempdir().unwrap() }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom"));
        command
            .env("STRONGROOM_DATA", self.path("archive"))
            .current_dir(self.place.path())
            .args(args);
        command
    }

    fn run(&self, args: &[&str], exit: i32) -> Output {
        let output = self.command(args).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        let out = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(exit), "{args:?}\nstdout: {out}\nstderr: {err}");
        output
    }

    fn json(&self, args: &[&str], exit: i32) -> Value {
        let args: Vec<_> = args.iter().copied().chain(["--json"]).collect();
        serde_json::from_slice(&self.run(&args, exit).stdout).unwrap()
    }

    /// The code of a failure.
    fn refused(&self, args: &[&str], exit: i32) -> String {
        let err = self.run(args, exit).stderr;
        let err = String::from_utf8_lossy(&err).into_owned();
        let (_, code) = err.split_once("error[").unwrap();
        code.split_once(']').unwrap().0.to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn add(&self, name: &str) {
        let path = self.path(&format!("archive/shelves/{name}"));
        self.run(&["shelf", "add", path.to_str().unwrap(), "--name", name], 0);
    }

    /// Deposits a folder of its own as `local/NAME`.
    fn deposit(&self, name: &str, bytes: usize) {
        self.source(name, bytes);
        self.run(&["deposit", name, "--object", &format!("local/{name}")], 0);
    }

    fn source(&self, name: &str, bytes: usize) {
        let source = self.path(name);
        std::fs::create_dir_all(&source).unwrap();
        let seed = name.bytes().map(u64::from).sum();
        std::fs::write(source.join("large"), noise(seed, bytes)).unwrap();
        std::fs::write(source.join("small"), name).unwrap();
    }

    fn comes_back(&self, name: &str) {
        let to = format!("{name}-back-{}", std::fs::read_dir(self.place.path()).unwrap().count());
        self.run(&["restore", &format!("local/{name}"), "--as", "files", "--to", &to], 0);
        for file in ["large", "small"] {
            let read = |folder: &str| std::fs::read(self.path(folder).join(file)).unwrap();
            assert!(read(name) == read(&to), "{name}/{file} came back with other bytes");
        }
    }

    /// Every shelf that is there is verified, and found to be as it is counted.
    fn adds_up(&self) -> Vec<Value> {
        let status = self.json(&["status", "--scan"], 0);
        let scans = status["scan"].as_array().unwrap().clone();
        for scan in &scans {
            assert_eq!(scan["live_bytes"], scan["counted_live_bytes"], "{scan}");
            let pending = count(scan, "pending_bytes") + count(scan, "removed_bytes");
            assert_eq!(pending, count(scan, "counted_pending_bytes"), "{scan}");
            assert_eq!(scan["differences_count"], 0, "{scan}");
        }
        scans
    }

    fn shelf(&self, name: &str) -> Value {
        self.json(&["shelf", "show", name], 0)
    }

    fn logs(&self, shelf: &str) -> Vec<PathBuf> {
        let folder = std::fs::read_dir(self.path(&format!("archive/shelves/{shelf}/logs")));
        folder.unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

fn sum(scans: &[Value], name: &str) -> u64 {
    scans.iter().map(|scan| scan[name].as_u64().unwrap()).sum()
}

/// As many bytes as before, but for the journals that tell of what was done.
fn about(bytes: u64, before: u64) {
    assert!((before..before + 100_000).contains(&bytes), "{before} bytes became {bytes}");
}

/// Of work items, those that a person asked for.
fn asked_for(items: &Value) -> Vec<&str> {
    let all = items.as_array().unwrap().iter().map(|item| item["kind"].as_str().unwrap());
    all.filter(|kind| *kind != "journal").collect()
}

fn count(report: &Value, name: &str) -> u64 {
    match &report[name] {
        Value::String(text) => text.parse().unwrap(),
        number => number.as_u64().unwrap(),
    }
}

#[test]
fn what_is_released_goes_and_the_rest_stays() {
    let archive = Archive::new();
    archive.deposit("x", 3_000_000);
    archive.deposit("y", 200_000);
    for name in ["c", "d", "e", "f"] {
        archive.add(name);
    }
    archive.adds_up();
    // Both copies of x are released by its new coding; y stays as it is, in the same shelves.
    archive.run(&["policy", "set", "4+2", "--object", "local/x"], 0);
    let before = archive.adds_up();
    assert!(sum(&before, "pending_bytes") > 6_000_000);
    let logs = sum(&before, "log_bytes");
    let report = archive.json(&["shelf", "reclaim"], 0);
    // A superseded journal may wait among what is wanted.
    assert!(count(&report, "pending_bytes") < 100_000, "{report}");
    assert!(count(&report, "removed_bytes") > 6_000_000, "{report}");
    let after = archive.adds_up();
    assert!(sum(&after, "pending_bytes") + sum(&after, "stray_bytes") < 100_000);
    about(sum(&after, "live_bytes"), sum(&before, "live_bytes"));
    assert!(sum(&after, "log_bytes") + 6_000_000 < logs);
    archive.run(&["fixity"], 0);
    archive.comes_back("x");
    archive.comes_back("y");
    let status = archive.json(&["status"], 0);
    assert!(status["fixity"]["round_seconds"].is_u64(), "{status}");
    about(status["fixity"]["round_bytes"].as_u64().unwrap(), sum(&after, "live_bytes"));

    // Where little of a log is released, it is rewritten only when everything is to go.
    archive.run(&["policy", "set", "copies=2", "--object", "local/y"], 0);
    archive.run(&["policy", "set", "copies=3", "--object", "local/y"], 0);
    archive.run(&["shelf", "reclaim", "--everything"], 0);
    let after = archive.adds_up();
    assert_eq!(sum(&after, "pending_bytes") + sum(&after, "stray_bytes"), 0);
    archive.run(&["fixity"], 0);
    archive.comes_back("y");
    archive.comes_back("x");
}

#[test]
fn much_that_is_released_goes_without_a_person() {
    let archive = Archive::new();
    archive.deposit("x", 3_000_000);
    archive.deposit("y", 200_000);
    for name in ["c", "d", "e", "f"] {
        archive.add(name);
    }
    let queued = || {
        let items = archive.json(&["work", "list", "--status", "queued"], 0);
        asked_for(&items).iter().map(|kind| kind.to_string()).collect::<Vec<_>>()
    };
    archive.run(&["policy", "set", "4+2", "--object", "local/x"], 0);
    assert_eq!(queued(), ["reclaim", "reclaim"], "one for each shelf on which x stood");
    let before = archive.adds_up();
    archive.run(&["work", "run"], 0);
    let after = archive.adds_up();
    assert!(sum(&after, "pending_bytes") < 100_000);
    assert!(sum(&after, "log_bytes") + 6_000_000 < sum(&before, "log_bytes"));
    // For little nothing is queued.
    archive.run(&["policy", "set", "copies=3", "--object", "local/y"], 0);
    assert_eq!(queued(), Vec::<String>::new());
    archive.run(&["fixity"], 0);
    archive.comes_back("x");
    archive.comes_back("y");
}

#[test]
fn what_an_interrupted_deposit_left_goes_too() {
    let archive = Archive::new();
    archive.deposit("x", 500_000);
    archive.source("y", 300_000_000);
    let mut left = 0;
    // The chance that a process is killed before it wrote anything is small, and no fault.
    for millis in [400, 800, 1500, 3000] {
        let mut child = (archive.command(&["deposit", "y", "--object", "local/y"]))
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(millis));
        child.kill().unwrap();
        child.wait().unwrap();
        let scans = archive.adds_up();
        left = sum(&scans, "stray_bytes") + sum(&scans, "waiting_bytes");
        if left > 0 {
            break;
        }
    }
    assert!(left > 0, "no process was killed in the middle");
    let items = archive.json(&["work", "list", "--kind", "ingest"], 0);
    let item = items.as_array().unwrap().iter().find(|item| item["status"] != "succeeded").unwrap();
    archive.run(&["work", "cancel", item["id"].as_str().unwrap()], 0);
    archive.run(&["shelf", "reclaim", "--everything"], 0);
    let scans = archive.adds_up();
    for what in ["pending_bytes", "stray_bytes", "waiting_bytes", "unknown_bytes"] {
        assert_eq!(sum(&scans, what), 0, "{what}");
    }
    assert!(archive.json(&["status"], 0)["segments"]["gone"].as_u64().unwrap() > 0);
    archive.run(&["fixity"], 0);
    archive.comes_back("x");
}

/// A registry that is older than the shelves takes nothing newer for rubbish.
#[test]
fn what_the_registry_does_not_know_is_kept_and_told() {
    let archive = Archive::new();
    archive.deposit("x", 1_000_000);
    let files = ["strongroom.db", "strongroom.db-wal", "strongroom.db-shm"];
    let swap = |from: &str, to: &str| {
        std::fs::create_dir_all(archive.path(to)).unwrap();
        for file in files {
            let _ = std::fs::remove_file(archive.path(to).join(file));
            let (from, to) = (archive.path(from).join(file), archive.path(to).join(file));
            if from.exists() {
                std::fs::copy(from, to).unwrap();
            }
        }
    };
    swap("archive", "old");
    archive.deposit("y", 1_000_000);
    archive.add("c");
    swap("archive", "new");
    swap("old", "archive");

    // Where the shelves were told of newer events, nothing at all is written.
    let scan = archive.json(&["shelf", "verify", "a"], 1);
    assert!(scan["unknown_bytes"].as_u64().unwrap() > 1_000_000, "{scan}");
    assert!(!scan["unknown_segments"].as_array().unwrap().is_empty());
    let reclaimed = archive.command(&["shelf", "reclaim", "--everything"]).output().unwrap();
    let said = String::from_utf8_lossy(&reclaimed.stderr);
    assert_eq!(reclaimed.status.code(), Some(3), "{said}");
    // A registry of which the shelves were not told to be older keeps what it does not know, too.
    for shelf in ["a", "b"] {
        for entry in std::fs::read_dir(archive.path(&format!("archive/shelves/{shelf}"))).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() && path.file_name().unwrap().to_string_lossy().contains("head") {
                std::fs::create_dir_all(archive.path(&format!("heads-{shelf}"))).unwrap();
                let aside = archive.path(&format!("heads-{shelf}")).join(path.file_name().unwrap());
                std::fs::rename(path, aside).unwrap();
            }
        }
    }
    let report = archive.json(&["shelf", "reclaim", "--everything"], 0);
    assert_eq!(count(&report, "removed_logs"), 0, "{report}");
    assert!(count(&report, "unknown_logs") >= 2, "{report}");
    assert!(archive.shelf("a")["unknown_bytes"].as_u64().unwrap() > 1_000_000);
    let told = archive.run(&["status"], 0).stdout;
    assert!(String::from_utf8_lossy(&told).contains("does not know"));

    // The newer one is found again: all is there, also what the older one did not know.
    swap("new", "archive");
    archive.run(&["fixity"], 0);
    archive.comes_back("y");
    archive.comes_back("x");
}

#[test]
fn a_shelf_whose_adding_was_cut_off_is_added_again() {
    let archive = Archive::new();
    archive.deposit("first", 100_000);
    let begun = archive.path("archive/shelves/c");
    std::fs::create_dir_all(begun.join("logs")).unwrap();
    let identity = "strongroom-shelf.json";
    let of_a = std::fs::read(archive.path("archive/shelves/a").join(identity)).unwrap();
    let mut of_c: Value = serde_json::from_slice(&of_a).unwrap();
    let id = "00112233445566778899aabbccddeeff";
    of_c["shelf"] = id.into();
    std::fs::write(begun.join(identity), of_c.to_string()).unwrap();
    archive.add("c");
    let shown = archive.json(&["shelf", "show", "c"], 0);
    assert_eq!(shown["id"], id, "{shown}");
    // One that the registry knows is taken, whatever it holds.
    let again = begun.to_str().unwrap();
    assert_eq!(archive.refused(&["shelf", "add", again, "--name", "d"], 2), "shelf-taken");
    archive.run(&["policy", "set", "copies=3"], 0);
    archive.comes_back("first");
}

#[test]
fn a_shelf_is_emptied_and_replaced() {
    let archive = Archive::new();
    archive.deposit("x", 2_000_000);
    archive.deposit("y", 100_000);
    assert_eq!(archive.refused(&["shelf", "retire", "b"], 3), "shelves-missing");
    assert_eq!(archive.shelf("b")["state"], "active", "what is refused changes nothing");
    let path = archive.path("archive/shelves/c");
    archive.run(&["shelf", "replace", "b", "--with", path.to_str().unwrap()], 0);
    assert_eq!(archive.shelf("b")["state"], "retired");
    assert_eq!(archive.shelf("b")["live_bytes"], 0);
    assert_eq!(archive.shelf("b")["pending_bytes"], 0);
    assert!(archive.logs("b").is_empty());
    archive.adds_up();
    // The other of the two is lost, and all is there.
    std::fs::rename(archive.path("archive/shelves/a"), archive.path("lost")).unwrap();
    archive.comes_back("x");
    archive.comes_back("y");

    // A shelf that is lost is replaced from the others, and what it has waits until it returns.
    let path = archive.path("archive/shelves/d");
    archive.run(&["shelf", "replace", "a", "--with", path.to_str().unwrap()], 0);
    archive.run(&["fixity"], 0);
    let waits = archive.shelf("a")["pending_bytes"].as_u64().unwrap();
    assert!(waits > 2_000_000, "{waits}");
    archive.run(&["shelf", "reclaim"], 0);
    assert_eq!(archive.shelf("a")["pending_bytes"].as_u64().unwrap(), waits);
    std::fs::rename(archive.path("lost"), archive.path("archive/shelves/a")).unwrap();
    archive.run(&["shelf", "reclaim"], 0);
    assert_eq!(archive.shelf("a")["pending_bytes"].as_u64().unwrap(), 0);
    assert!(archive.logs("a").is_empty());
    archive.adds_up();
    archive.comes_back("x");
}

#[test]
fn a_shelf_vanishes_and_returns() {
    let archive = Archive::new();
    archive.add("c");
    for i in 0..6 {
        archive.deposit(&format!("x{i}"), 300_000);
    }
    let b = archive.path("archive/shelves/b");
    std::fs::rename(&b, archive.path("away")).unwrap();
    let live = archive.shelf("b")["live_bytes"].as_u64().unwrap();
    assert!(live > 0);
    // An empty folder in its place, as an unmounted disk leaves, is a missing shelf, and nothing in it
    // is taken for gone.
    std::fs::create_dir_all(b.join("logs")).unwrap();
    archive.run(&["fixity"], 1);
    assert_eq!(archive.shelf("b")["live_bytes"], 0, "not counted while it is away");
    archive.run(&["repair"], 0);
    archive.run(&["shelf", "reclaim", "--everything"], 0);
    assert_eq!(archive.shelf("b")["pending_bytes"].as_u64().unwrap(), live);
    archive.run(&["fixity"], 0);
    std::fs::remove_dir_all(&b).unwrap();
    std::fs::rename(archive.path("away"), &b).unwrap();
    archive.adds_up();
    archive.run(&["shelf", "reclaim", "--everything"], 0);
    assert_eq!(archive.shelf("b")["pending_bytes"], 0);
    let scans = archive.adds_up();
    assert_eq!(sum(&scans, "pending_bytes") + sum(&scans, "stray_bytes"), 0);
    archive.run(&["fixity"], 0);

    // It is used again, and what returns undisturbed is counted again.
    archive.run(&["shelf", "rebalance"], 0);
    let live = archive.shelf("b")["live_bytes"].as_u64().unwrap();
    assert!(live > 0);
    std::fs::rename(&b, archive.path("away")).unwrap();
    archive.run(&["fixity"], 1);
    std::fs::rename(archive.path("away"), &b).unwrap();
    archive.run(&["shelf", "verify", "b"], 1);
    archive.run(&["fixity"], 0);
    about(archive.shelf("b")["live_bytes"].as_u64().unwrap(), live);
    archive.adds_up();
    archive.comes_back("x3");
}

#[test]
fn shards_move_to_new_shelves() {
    let archive = Archive::new();
    for i in 0..8 {
        archive.deposit(&format!("x{i}"), 200_000);
    }
    archive.add("c");
    archive.add("d");
    let before = sum(&archive.adds_up(), "live_bytes");
    let report = archive.json(&["shelf", "rebalance"], 0);
    assert!(count(&report, "moved_shards") > 4, "{report}");
    for name in ["a", "b", "c", "d"] {
        assert!(archive.shelf(name)["live_bytes"].as_u64().unwrap() > 0, "{name}");
    }
    let again = archive.json(&["shelf", "rebalance"], 0);
    assert_eq!(count(&again, "moved_shards"), 0, "all stand where they should");
    about(sum(&archive.adds_up(), "live_bytes"), before);
    archive.run(&["shelf", "reclaim", "--everything"], 0);
    let scans = archive.adds_up();
    assert_eq!(sum(&scans, "pending_bytes") + sum(&scans, "stray_bytes"), 0);
    archive.run(&["fixity"], 0);
    archive.comes_back("x7");
}

#[test]
fn capacity_read_only_and_quota_are_kept_to() {
    let archive = Archive::new();
    archive.deposit("x", 1_000_000);
    archive.add("c");
    archive.run(&["shelf", "set", "a", "--capacity", "1M"], 0);
    // A full shelf is passed over while others have room.
    for i in 0..4 {
        archive.deposit(&format!("y{i}"), 100_000);
    }
    let kept = archive.shelf("a")["live_bytes"].as_u64().unwrap();
    assert!(kept < 1_100_000, "{kept}");
    archive.run(&["shelf", "set", "b", "--read-only"], 0);
    let b = archive.shelf("b")["live_bytes"].as_u64().unwrap();
    archive.source("z", 100_000);
    assert_eq!(archive.refused(&["deposit", "z", "--object", "local/z"], 3), "no-room");
    archive.run(&["shelf", "set", "a", "--capacity", "none"], 0);
    archive.run(&["deposit", "z", "--object", "local/z"], 0);
    assert_eq!(archive.shelf("b")["live_bytes"].as_u64().unwrap(), b, "nothing is written to it");
    archive.run(&["shelf", "set", "b", "--active"], 0);

    let used = archive.json(&["policy", "quota"], 0)["used_bytes"].as_u64().unwrap();
    assert!(used > 1_500_000, "{used}");
    archive.run(&["policy", "quota", "2M"], 0);
    archive.source("w", 600_000);
    assert_eq!(archive.refused(&["deposit", "w", "--object", "local/w"], 3), "quota-exceeded");
    assert_eq!(archive.json(&["policy", "quota"], 0)["used_bytes"].as_u64().unwrap(), used);
    archive.run(&["policy", "quota", "none"], 0);
    archive.run(&["deposit", "w", "--object", "local/w"], 0);
    archive.adds_up();
}

#[test]
fn background_work_is_paused_and_lets_people_go_first() {
    let archive = Archive::new();
    archive.deposit("x", 100_000);
    let paused = archive.json(&["work", "pause", "fixity", "reclaim"], 0);
    assert_eq!(paused["paused"], serde_json::json!(["fixity", "reclaim"]));
    assert_eq!(archive.refused(&["fixity"], 3), "paused");
    archive.source("y", 100_000);
    archive.run(&["deposit", "y", "--object", "local/y", "--detach"], 0);
    archive.run(&["repair", "--detach"], 0);
    let done = archive.json(&["work", "run"], 0);
    let kinds = asked_for(&done);
    assert_eq!(kinds, ["ingest", "repair"], "a paused kind stays queued");
    archive.source("z", 100_000);
    archive.run(&["deposit", "z", "--object", "local/z", "--detach"], 0);
    archive.run(&["work", "resume"], 0);
    let done = archive.json(&["work", "run"], 0);
    let kinds = asked_for(&done);
    assert_eq!(kinds, ["ingest", "fixity"], "people come first, though they came later");
    archive.run(&["work", "throttle", "100M"], 0);
    archive.run(&["fixity"], 0);
    let rate = archive.json(&["work", "throttle"], 0);
    assert_eq!(rate["bytes_per_second"], 100_000_000);
    assert_eq!(archive.refused(&["work", "pause", "ingest"], 2), "usage");
}

/// Checks and reading of other processes while one reclaims: what was moved is neither damaged nor
/// lost to them.
#[test]
fn shards_are_moved_while_others_read_them() {
    let archive = Archive::new();
    archive.deposit("x", 40_000_000);
    archive.deposit("y", 100_000);
    archive.add("c");
    let large = std::fs::read(archive.path("x/large")).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    let ended = std::sync::atomic::Ordering::SeqCst;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(ended) {
                archive.run(&["fixity"], 0);
            }
        });
        scope.spawn(|| {
            while !done.load(ended) {
                let read = archive.run(&["cat", "local/x", "large"], 0).stdout;
                assert!(read == large, "other bytes were read");
            }
        });
        // Each time something is released beside what is wanted, so that logs are rewritten.
        for policy in ["copies=3", "copies=2", "copies=3", "copies=2"] {
            archive.run(&["policy", "set", policy, "--object", "local/y"], 0);
            archive.run(&["shelf", "rebalance"], 0);
            archive.run(&["shelf", "reclaim", "--everything"], 0);
        }
        done.store(true, ended);
    });
    let scans = archive.adds_up();
    assert_eq!(sum(&scans, "pending_bytes") + sum(&scans, "stray_bytes"), 0);
    archive.comes_back("x");
    let events = archive.json(&["object", "events", "local/x"], 0);
    for event in events.as_array().unwrap() {
        assert_eq!(event["outcome"], "success", "{event}");
        assert!(event["detail"]["faults"].as_u64().unwrap_or(0) == 0, "{event}");
    }
}

#[test]
fn a_damaged_shard_is_not_moved_and_its_log_stays() {
    let archive = Archive::new();
    archive.deposit("x", 400_000);
    archive.add("c");
    archive.run(&["policy", "set", "copies=3"], 0);
    // Something in each log is released now, and a shard that is wanted is damaged.
    let log = |shelf: &str| archive.logs(shelf).into_iter().max_by_key(|log| size(log)).unwrap();
    let damaged = log("a");
    let mut bytes = std::fs::read(&damaged).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    archive.run(&["shelf", "reclaim", "--everything"], 0);
    archive.run(&["fixity"], if damaged.exists() { 1 } else { 0 });
    archive.run(&["repair"], 0);
    archive.run(&["fixity"], 0);
    archive.run(&["shelf", "reclaim", "--everything"], 0);
    assert!(!damaged.exists());
    archive.adds_up();
    archive.comes_back("x");
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}
