//! The registry is lost, or old: shelves and key bring back what was known, and nothing that was not.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::path::Path;
use strongroom_record::Time;
use strongroom_registry::Registry;
use strongroom_testkit::scenario::{Scenario, noise};

fn scenario() -> Scenario {
    Scenario::new(env!("CARGO_BIN_EXE_strongroom"))
}

/// An archive with three shelves, three objects of two institutions and a policy.
fn filled() -> Scenario {
    let s = scenario();
    for i in 0..30u64 {
        s.write(&format!("letters/{}/{i}.txt", i % 3), noise(i, 3000 + i as usize * 200));
    }
    s.write("letters/large", noise(99, 3_000_000));
    s.write("one.txt", "first");
    s.run(&["deposit", "letters"], 0);
    s.run(&["shelf", "add", "third"], 0);
    s.run(&["policy", "set", "copies=3", "--object", "letters"], 0);
    s.run(&["work", "run"], 0);
    s.run(&["deposit", "one.txt", "--object", "uni/one"], 0);
    s.write("one.txt", "second");
    s.run(&["deposit", "one.txt", "--object", "uni/one"], 0);
    s.run(&["policy", "set", "2+1"], 0);
    s.write("letters/new.txt", "a later letter");
    s.run(&["deposit", "letters"], 0);
    s
}

fn lose_the_registry(s: &Scenario) {
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(s.path(&format!("archive/strongroom.db{suffix}")));
    }
}

const ALL: [&str; 5] = ["rebuild", "--from", "archive/shelves/a", "archive/shelves/b", "third"];

/// What a person sees of an archive, work and times of checks aside.
fn seen(s: &Scenario) -> Value {
    let versions = ["local/letters@1", "local/letters", "uni/one@1", "uni/one"]
        .map(|v| s.json(&["object", "files", v], 0));
    serde_json::json!({
        "objects": s.json(&["object", "list"], 0),
        "shown": s.json(&["object", "show", "letters"], 0)["versions"],
        "versions": versions,
        "policy": s.json(&["policy", "show"], 0),
    })
}

#[test]
fn a_lost_registry_is_made_anew() {
    let s = filled();
    let before = seen(&s);
    let events = s.json(&["object", "events", "uni/one"], 0);
    let shelves = s.json(&["shelf", "list"], 0);
    lose_the_registry(&s);
    let rebuilt = s.json(&ALL, 0);
    assert_eq!(rebuilt["versions"], 4);
    assert_eq!(rebuilt["epoch"], 2);
    assert_eq!(rebuilt["remarks"], serde_json::json!([]));
    assert_eq!(seen(&s), before);
    assert_eq!(s.json(&["object", "events", "uni/one"], 0), events);
    let names = |v: &Value| -> Vec<String> {
        let one = |s: &Value| format!("{} {} {}", s["id"], s["name"], s["domain"]);
        v.as_array().unwrap().iter().map(one).collect()
    };
    assert_eq!(names(&s.json(&["shelf", "list"], 0)), names(&shelves));
    s.run(&["object", "events", "--verify", "uni/one"], 0);
    s.run(&["fixity"], 0);
    s.comes_back("letters", "back", "letters");
    // It goes on: numbers follow, what is unchanged is known.
    s.write("one.txt", "third");
    s.run(&["deposit", "one.txt", "--object", "uni/one"], 0);
    assert_eq!(s.json(&["object", "show", "uni/one"], 0)["versions"].as_array().unwrap().len(), 3);
    s.run(&["deposit", "letters"], 0);
    assert_eq!(s.json(&["object", "show", "letters"], 0)["versions"].as_array().unwrap().len(), 2);
    // And can be lost again.
    let before = seen(&s);
    lose_the_registry(&s);
    assert_eq!(s.json(&ALL, 0)["epoch"], 3);
    assert_eq!(seen(&s), before);
}

#[test]
fn it_is_rebuilt_without_a_shelf_that_returns_later() {
    let s = filled();
    let before = seen(&s);
    for missing in ["archive/shelves/a", "archive/shelves/b", "third"] {
        lose_the_registry(&s);
        let away = s.path("away");
        std::fs::rename(s.path(missing), &away).unwrap();
        let rest: Vec<_> = ALL.into_iter().filter(|arg| *arg != missing).collect();
        let rebuilt = s.json(&rest, 0);
        assert_eq!(rebuilt["versions"], 4, "without {missing}");
        assert_eq!(seen(&s), before, "without {missing}");
        s.comes_back("letters", &format!("without-{}", missing.replace('/', "-")), "letters");
        std::fs::rename(&away, s.path(missing)).unwrap();
        let back = s.json(&["rebuild", "--yes", "--from", missing], 0);
        assert_eq!((&back["anew"], &back["versions"]), (&Value::Bool(false), &0.into()));
        assert_eq!(seen(&s), before, "with {missing} back");
        s.run(&["fixity"], 0);
    }
}

#[test]
fn of_a_shard_that_was_repaired_the_good_copy_is_registered() {
    let s = filled();
    for shelf in ["archive/shelves/a", "archive/shelves/b", "third"] {
        for log in std::fs::read_dir(s.path(shelf).join("logs")).unwrap() {
            let log = log.unwrap().path();
            let mut bytes = std::fs::read(&log).unwrap();
            (5000..bytes.len()).step_by(50_000).for_each(|at| bytes[at] ^= 1);
            std::fs::write(log, bytes).unwrap();
        }
        s.run(&["fixity"], 1);
        s.run(&["repair"], 0);
    }
    s.run(&["fixity"], 0);
    lose_the_registry(&s);
    s.run(&ALL, 0);
    s.run(&["fixity"], 0);
    s.comes_back("letters", "back", "letters");
}

#[test]
fn the_log_of_a_lost_database_is_not_taken_for_the_new_one_s() {
    let s = filled();
    let before = seen(&s);
    let log = s.path("archive/strongroom.db-wal");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let old = runtime.block_on(async {
        let path = s.path("archive/strongroom.db");
        let registry = Registry::open(&path, Default::default()).await.unwrap();
        for shelf in registry.shelves().await.unwrap() {
            registry.note_unknown(shelf.id, 7, 7, Time(7)).await.unwrap();
        }
        let old = std::fs::read(&log).unwrap();
        registry.close().await;
        old
    });
    lose_the_registry(&s);
    std::fs::write(&log, &old).unwrap();
    s.run(&ALL, 0);
    assert_eq!(seen(&s), before);
    let shelves = s.json(&["shelf", "list"], 0);
    assert!(!old.is_empty() && !shelves.to_string().contains("\"unknown_bytes\":7"), "{shelves}");
    s.run(&["fixity"], 0);
    assert!(s.path("archive/strongroom.db-wal.lost").exists(), "it is put aside, not deleted");
}

/// A shelf's folder, as a backup would have it.
fn copy_shelf(s: &Scenario, from: &str, to: &str) {
    std::fs::create_dir_all(s.path(to).join("logs")).unwrap();
    let names = std::fs::read_dir(s.path(from).join("logs")).unwrap();
    let logs = names.map(|entry| format!("logs/{}", entry.unwrap().file_name().to_str().unwrap()));
    for name in logs.chain(["strongroom-shelf.json".to_string()]) {
        std::fs::copy(s.path(from).join(&name), s.path(to).join(&name)).unwrap();
    }
}

#[test]
fn what_came_back_dies_when_a_shelf_tells_of_its_death() {
    let s = scenario();
    let [a, b] = ["archive/shelves/a", "archive/shelves/b"];
    let deposit = |object: &str, files: &[(&str, &str)]| {
        for (name, text) in files {
            s.write(&format!("{object}/{name}"), text);
        }
        s.run(&["deposit", object, "--accept-degraded"], 0);
    };
    deposit("x", &[("one", "first")]);
    deposit("x", &[("one", "second"), ("two", "two")]);
    deposit("y", &[("kept", "kept by both versions")]);
    copy_shelf(&s, a, "a-of-then");
    let sure = |object: &'static str| ["--reason", "r", "--force", "--confirm", object];
    s.run(&[&["delete", "local/x@1"], &sure("local/x")[..]].concat(), 0);
    s.run(&[&["delete", "local/x@2", "--file", "two"], &sure("local/x")[..]].concat(), 0);
    s.run(&[&["delete", "local/y"], &sure("local/y")[..]].concat(), 0);
    // Of one shelf there is a backup only, the other is away: nothing tells of the deletions.
    lose_the_registry(&s);
    std::fs::rename(s.path(b), s.path("away")).unwrap();
    std::fs::remove_dir_all(s.path(a)).unwrap();
    std::fs::rename(s.path("a-of-then"), s.path(a)).unwrap();
    s.run(&["rebuild", "--from", a], 0);
    assert_eq!(s.run(&["cat", "x@1", "data/one"], 0).stdout, b"first");
    s.run(&["shelf", "add", "third"], 0);
    deposit("y", &[("new", "deposited since")]);
    std::fs::rename(s.path("away"), s.path(b)).unwrap();
    let rebuilds: [&[&str]; 2] =
        [&["rebuild", "--yes", "--from", b], &["rebuild", "--from", a, b, "third"]];
    for rebuild in rebuilds {
        s.run(rebuild, 0);
        s.run(&["repair"], 0);
        s.run(&["cat", "x@1", "data/one"], 1);
        s.run(&["cat", "x", "data/two"], 1);
        s.run(&["cat", "y@1", "data/kept"], 1);
        assert_eq!(s.run(&["cat", "x", "data/one"], 0).stdout, b"second");
        // What was deposited meanwhile lives, with the bytes that it shares with the dead.
        let latest = s.path(&format!("y-{}", rebuild.len()));
        s.comes_back("y", latest.to_str().unwrap(), "y");
        s.run(&["shelf", "reclaim", "--everything"], 0);
        s.run(&["fixity"], 0);
        lose_the_registry(&s);
    }
}

#[test]
fn a_shelf_that_was_away_is_not_cleared_before_it_is_read() {
    let s = filled();
    lose_the_registry(&s);
    let b = "archive/shelves/b";
    std::fs::rename(s.path(b), s.path("away")).unwrap();
    s.run(&["rebuild", "--from", "archive/shelves/a", "third"], 0);
    std::fs::rename(s.path("away"), s.path(b)).unwrap();
    let logs = || std::fs::read_dir(s.path(b).join("logs")).unwrap().count();
    let before = logs();
    let said = s.json(&["shelf", "reclaim", "--everything"], 0);
    assert!(said.to_string().contains("rebuild --yes --from"), "{said}");
    assert!(logs() >= before, "{} logs of {before} are left", logs());
    s.run(&["rebuild", "--yes", "--from", b], 0);
    s.run(&["fixity"], 0);
    let said = s.json(&["shelf", "reclaim", "--everything"], 0);
    assert!(!said.to_string().contains("rebuild --yes --from"), "{said}");
    s.comes_back("letters", "back", "letters");
}

#[test]
fn an_old_registry_writes_nothing_and_is_brought_up() {
    let s = filled();
    let copy = |from: &str, to: &str| {
        std::fs::create_dir_all(s.path(to)).unwrap();
        for suffix in ["", "-wal", "-shm"] {
            let name = format!("strongroom.db{suffix}");
            let _ = std::fs::remove_file(s.path(to).join(&name));
            let _ = std::fs::copy(s.path(from).join(&name), s.path(to).join(&name));
        }
    };
    copy("archive", "backup");
    s.write("two.txt", "later");
    s.run(&["deposit", "two.txt", "--object", "uni/two"], 0);
    let objects = s.json(&["object", "list"], 0);
    copy("backup", "archive");
    let old = s.json(&["object", "list"], 0);
    assert_ne!(old, objects);
    let said = s.says(&["deposit", "two.txt", "--object", "uni/two"], 3);
    assert!(said.contains("registry-behind"), "{said}");
    assert_eq!(s.json(&["object", "list"], 0), old);
    s.run(&["rebuild"], 2); // it asks first
    let brought = s.json(&["rebuild", "--yes"], 0);
    assert_eq!((&brought["anew"], &brought["versions"]), (&Value::Bool(false), &1.into()));
    assert_eq!(s.json(&["object", "list"], 0), objects);
    s.run(&["object", "events", "--verify", "uni/two"], 0);
    s.run(&["fixity"], 0);
    assert_eq!(s.run(&["cat", "uni/two", "data/two.txt"], 0).stdout, b"later");
}

#[test]
fn what_others_wrote_on_a_shelf_is_not_believed() {
    let s = filled();
    let before = seen(&s);
    // Another archive's shards, signed by its own writers, under a log's own name.
    let other = scenario();
    other.write("x.txt", "forged");
    other.run(&["deposit", "x.txt", "--object", "local/letters"], 0);
    for log in std::fs::read_dir(other.path("archive/shelves/a/logs")).unwrap() {
        let log = log.unwrap().path();
        std::fs::copy(&log, s.path("archive/shelves/a/logs").join(log.file_name().unwrap()))
            .unwrap();
    }
    // The same, said to be this institution's: its id is public, as its sealing key is.
    let institution = s.json(&["object", "events", "letters"], 0)[0]["institution"].clone();
    let institution = strongroom_record::json::bytes::unhex(institution.as_str().unwrap()).unwrap();
    let mut forged = 0;
    for log in std::fs::read_dir(other.path("archive/shelves/b/logs")).unwrap() {
        let log = log.unwrap().path();
        let mut bytes = std::fs::read(&log).unwrap();
        forged += claim(&mut bytes, &institution);
        let to = s.path("archive/shelves/b/logs").join(log.file_name().unwrap());
        std::fs::write(to, bytes).unwrap();
    }
    assert!(forged > 0);
    lose_the_registry(&s);
    let rebuilt = s.json(&ALL, 0);
    let remarks = rebuilt["remarks"].to_string();
    assert!(remarks.contains("of which the key file has no key"), "{remarks}");
    let refused = remarks.matches("certif").count() + remarks.matches("signature").count();
    assert!(refused >= forged, "{forged} forged shards: {remarks}");
    assert_eq!(rebuilt["versions"], 4);
    assert_eq!(seen(&s), before);
}

/// Puts another institution's id into the header of every shard of a log, with checksums that are right
/// again (docs/format/spool.md, docs/format/shard.md); how many these were.
fn claim(log: &mut [u8], institution: &[u8]) -> usize {
    let (mut at, mut claimed) = (256, 0);
    while at + 96 <= log.len() {
        let length = u32::from_le_bytes(log[at + 72..at + 76].try_into().unwrap()) as usize;
        let payload = at + 96..at + 96 + length;
        if log[payload.clone()].starts_with(b"SR-SHARD") {
            log[at + 96 + 16..at + 96 + 32].copy_from_slice(institution);
            let sum = crc32c::crc32c(&log[payload.clone()]);
            log[at + 76..at + 80].copy_from_slice(&sum.to_le_bytes());
            let sum = crc32c::crc32c(&log[at..at + 92]);
            log[at + 92..at + 96].copy_from_slice(&sum.to_le_bytes());
            claimed += 1;
        }
        at = payload.end.next_multiple_of(8);
    }
    claimed
}

#[test]
fn the_wrong_key_or_shelf_is_said_so() {
    let s = filled();
    let other = scenario();
    other.write("x.txt", "x");
    other.run(&["deposit", "x.txt"], 0);
    lose_the_registry(&s);
    let path = |p: &Path| p.to_str().unwrap().to_string();
    let key = path(&other.path("archive/strongroom.key"));
    let said = s.says(&["rebuild", "--from", "third", "--key", &key], 3);
    assert!(said.contains("belongs to archive"), "{said}");
    let shelf = path(&other.path("archive/shelves/a"));
    let said = s.says(&["rebuild", "--from", "third", &shelf], 2);
    assert!(said.contains("another archive"), "{said}");
    let said = s.says(&["rebuild", "--from", "letters"], 2);
    assert!(said.contains("strongroom-shelf.json"), "{said}");
    s.run(&["rebuild"], 2);
    // Nothing of that stands in the way.
    s.run(&ALL, 0);
}
