//! Keys as their keepers meet them: rotated, split, combined, exported, lost, and the wrong ones. With the
//! feature `failpoints`, work on keys is killed at each of its moments.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A place with an archive in it.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn key(&self) -> PathBuf {
        self.path("archive/strongroom.key")
    }

    fn output(&self, args: &[&str], more: &[(&str, &str)]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_strongroom"))
            .env("STRONGROOM_DATA", self.path("archive"))
            .envs(more.iter().copied())
            .current_dir(self.dir.path())
            .stdin(std::process::Stdio::null())
            .args(args)
            .arg("--json")
            .output()
            .unwrap()
    }

    /// Runs it, and reads its JSON.
    fn run(&self, args: &[&str]) -> Value {
        let output = self.output(args, &[]);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?}\n{err}");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Runs it, expects a failure of this code, and gives its message.
    fn fails(&self, args: &[&str], code: &str) -> String {
        let output = self.output(args, &[]);
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_ne!(output.status.code(), Some(0), "{args:?}\n{err}");
        // A deposit answers for each source.
        let last: Value = match serde_json::from_slice::<Value>(&output.stdout) {
            Ok(Value::Array(rows)) => rows[0].clone(),
            _ => serde_json::from_str(err.lines().last().unwrap()).unwrap(),
        };
        assert_eq!(last["error"]["code"], code, "{args:?}\n{err}");
        assert!(!last["error"]["hint"].as_str().unwrap().is_empty());
        last["error"]["message"].as_str().unwrap().into()
    }

    /// Deposits an object of this name: a file of several chunks, and small ones.
    fn deposit(&self, name: &str) {
        self.make(name);
        self.run(&["deposit", name, "--object", &format!("local/{name}")]);
    }

    fn make(&self, name: &str) {
        let folder = self.path(name);
        std::fs::create_dir(&folder).unwrap();
        let large: Vec<u8> =
            (0..200_000u32).flat_map(|i| (i ^ name.len() as u32).to_le_bytes()).collect();
        std::fs::write(folder.join("large"), large).unwrap();
        std::fs::write(folder.join("small"), name).unwrap();
    }

    /// Every object deposited so far comes back, in a fresh folder, and is what it was.
    fn all_come_back(&self, names: &[&str]) {
        for name in names {
            let to = self.path("back");
            self.run(&["restore", &format!("local/{name}"), "--as", "files", "--to", text(&to)]);
            assert_eq!(files(&to), files(&self.path(name)), "{name}");
            std::fs::remove_dir_all(&to).unwrap();
        }
    }

    fn generation(&self) -> u64 {
        self.run(&["key", "show"])["institutions"][0]["generation"].as_u64().unwrap()
    }

    /// Runs `work` with only the newest seed in the key file, which is then put back.
    fn with_newest_seed_only(&self, work: impl FnOnce()) {
        let whole = std::fs::read(self.key()).unwrap();
        self.edit_key(|key| {
            let seeds = key["seeds"].as_array_mut().unwrap();
            let newest = seeds.iter().max_by_key(|s| s["generation"].as_u64()).unwrap().clone();
            *seeds = vec![newest];
        });
        work();
        std::fs::write(self.key(), whole).unwrap();
    }

    fn edit_key(&self, edit: impl FnOnce(&mut Value)) {
        let mut keys: Value = serde_json::from_slice(&std::fs::read(self.key()).unwrap()).unwrap();
        edit(&mut keys["institutions"][0]);
        // Replaced, as an editor does, so that a running process sees it too.
        let new = self.path("archive/edited");
        std::fs::write(&new, keys.to_string()).unwrap();
        std::fs::rename(new, self.key()).unwrap();
    }

    /// Runs `work` with the key file and the registry gone, and the key file made of shares 1, 3
    /// and 5 in `pages`; then both are put back.
    fn with_shares_only(&self, pages: &str, work: impl FnOnce()) {
        let (key, kept) = (self.key(), self.path("kept.key"));
        std::fs::rename(&key, &kept).unwrap();
        let (db, kept_db) = (self.path("archive/strongroom.db"), self.path("kept.db"));
        std::fs::rename(&db, &kept_db).unwrap();
        let shares: Vec<_> = [5, 1, 3].map(|n| format!("{pages}/share-{n}-of-5.txt")).into();
        let args = [&["key", "combine"], &*shares.iter().map(String::as_str).collect::<Vec<_>>()];
        let made = self.run(&args.concat());
        assert_eq!(made["path"], text(&key));
        assert_eq!(made["archive_key"], true);
        std::fs::rename(kept_db, db).unwrap();
        work();
        std::fs::rename(kept, key).unwrap();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap()))
        .collect()
}

fn logs(place: &Place) -> BTreeMap<String, Vec<u8>> {
    let shelves = ["a", "b"].map(|name| place.path("archive/shelves").join(name).join("logs"));
    shelves.iter().flat_map(|logs| files(logs)).collect()
}

#[test]
fn what_each_generation_sealed_comes_back_with_each_way_of_keeping_keys() {
    let place = Place::new();
    place.deposit("first");
    let split = place.run(&["key", "split", "--to", "pages", "--yes"]);
    assert_eq!((&split["threshold"], &split["count"]), (&3.into(), &5.into()));
    let before = logs(&place);
    place.run(&["key", "rotate", "--yes"]);
    place.deposit("second");
    place.run(&["key", "rotate", "--yes"]);
    place.deposit("third");
    let all = ["first", "second", "third"];

    // Nothing that was written before is another: no header was changed.
    let after = logs(&place);
    assert!(before.iter().all(|(name, bytes)| after[name].starts_with(bytes)));
    let shown = place.run(&["key", "show"]);
    let of = &shown["institutions"][0];
    assert_eq!((&of["generation"], &of["rotating"]), (&3.into(), &false.into()));
    assert_eq!(of["recovery"]["set"], split["set"]);
    let generations = of["generations"].as_array().unwrap();
    assert_eq!(generations.len(), 3);
    assert!(generations.iter().skip(1).all(|g| g["keyring"].is_string()));

    place.all_come_back(&all);
    place.with_newest_seed_only(|| place.all_come_back(&all));
    place.with_shares_only("pages", || place.all_come_back(&all));
    // The newest seed alone passes everything on.
    place.with_newest_seed_only(|| {
        place.run(&["key", "rotate", "--yes"]);
        place.with_newest_seed_only(|| place.all_come_back(&all));
        place.with_shares_only("pages", || place.all_come_back(&all));
    });
    // The archive's own key is one like others.
    place.run(&["key", "rotate", "--archive", "--yes"]);
    place.with_shares_only("pages", || {
        let keys: Value = serde_json::from_slice(&std::fs::read(place.key()).unwrap()).unwrap();
        assert_eq!(keys["archive_key"]["seeds"].as_array().unwrap().len(), 2);
        place.deposit("fourth");
    });
    // What only older seeds open stays open to them, and says what it cannot.
    let keys: Value = serde_json::from_slice(&std::fs::read(place.key()).unwrap()).unwrap();
    assert_eq!(keys["institutions"][0]["seeds"].as_array().unwrap().len(), 3);
    place.all_come_back(&all);
    place.run(&["fixity"]);
}

#[test]
fn a_registry_is_rebuilt_with_the_newest_seed_or_with_shares() {
    let place = Place::new();
    place.deposit("first");
    place.run(&["key", "split", "--to", "pages", "--yes"]);
    place.run(&["key", "rotate", "--yes"]);
    place.deposit("second");
    let serial = "5e".repeat(16);
    place.run(&["key", "revoke", &serial, "--last-journal", "1:7", "--yes"]);
    place.run(&["key", "rotate", "--yes"]);
    place.deposit("third");
    let check = || {
        for name in ["strongroom.db", "strongroom.db-wal", "strongroom.db-shm"] {
            let _ = std::fs::remove_file(place.path("archive").join(name));
        }
        let (a, b) = (place.path("archive/shelves/a"), place.path("archive/shelves/b"));
        let rebuilt = place.run(&["rebuild", "--from", text(&a), "--from", text(&b)]);
        assert_eq!(rebuilt["versions"], 3, "{rebuilt}");
        place.all_come_back(&["first", "second", "third"]);
        let shown = &place.run(&["key", "show"])["institutions"][0];
        assert_eq!((&shown["generation"], &shown["rotating"]), (&3.into(), &false.into()));
        assert_eq!(shown["revocations"][0]["serial"], serial);
        assert!(shown["recovery"]["keyring"].is_string());
    };
    place.with_newest_seed_only(check);
    std::fs::remove_file(place.key()).unwrap();
    let pages = [1, 2, 4].map(|n| format!("pages/share-{n}-of-5.txt"));
    place.run(&["key", "combine", &pages[0], &pages[1], &pages[2]]);
    check();
    place.run(&["key", "rotate", "--yes"]);
    place.deposit("fourth");
    place.with_newest_seed_only(|| place.all_come_back(&["first", "second", "third", "fourth"]));
}

#[test]
fn the_script_reads_every_generation_with_the_newest_seed() {
    let Some(python) = strongroom_testkit::python() else { return };
    let place = Place::new();
    place.deposit("first");
    place.run(&["key", "rotate", "--yes"]);
    place.deposit("second");
    place.run(&["key", "rotate", "--yes"]);
    place.with_newest_seed_only(|| {
        for name in ["first", "second"] {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/recover.py");
            let done = Command::new(&python)
                .arg(script)
                .arg(format!("local/{name}"))
                .args(["--key", text(&place.key()), "--to", text(&place.path("recovered"))])
                .args(["--shelf", text(&place.path("archive/shelves/a"))])
                .output()
                .unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            let (back, was) = (place.path("recovered/data"), place.path(name));
            assert_eq!(files(&back), files(&was));
            std::fs::remove_dir_all(place.path("recovered")).unwrap();
        }
    });
}

#[test]
fn wrong_shares_are_each_named() {
    let place = Place::new();
    place.deposit("x");
    let printed = place.run(&["key", "split", "--shares", "3", "--threshold", "2", "--yes"]);
    place.fails(&["key", "split", "--yes"], "usage");
    place.run(&["key", "split", "--replace", "--to", "pages", "--yes"]);
    let page = |n: usize| format!("pages/share-{n}-of-5.txt");
    fn combine<'a>(shares: &[&'a str]) -> Vec<&'a str> {
        [&["key", "combine", "--to", "new.key"], shares].concat()
    }

    let (one, two, three, four) = (page(1), page(2), page(3), page(4));
    let few = place.fails(&combine(&[&one, &two, &one]), "shares-too-few");
    assert!(few.contains("2 different shares") && few.contains("3 are needed"), "{few}");
    let words = |i: usize| -> Vec<String> {
        let words = printed["shares"][i]["words"].as_array().unwrap();
        words.iter().map(|w| w.as_str().unwrap().to_string()).collect()
    };
    std::fs::write(place.path("old"), words(0).join(" ")).unwrap();
    let mixed = place.fails(&combine(&[&one, &two, "old"]), "shares-mixed");
    assert!(mixed.contains(printed["set"].as_str().unwrap()), "{mixed}");
    let mut altered = words(1);
    altered.swap(4, 5);
    std::fs::write(place.path("altered"), altered.join("\n")).unwrap();
    let damaged = place.fails(&combine(&["old", "altered"]), "share-damaged");
    assert!(damaged.starts_with("altered: "), "{damaged}");
    altered[7] = "strongroom".into();
    std::fs::write(place.path("altered"), altered.join("\n")).unwrap();
    let word = place.fails(&combine(&["old", "altered"]), "share-damaged");
    assert!(word.contains("word 8, `strongroom`"), "{word}");
    // Good shares of another archive.
    let other = Place::new();
    other.deposit("y");
    let shelf = other.path("archive/shelves/a");
    let good = [one.as_str(), &two, &three, "--shelf", text(&shelf)];
    let none = place.fails(&combine(&good), "key-missing");
    assert!(none.contains("no keyring on these shelves"), "{none}");
    place.fails(&combine(&[&one, &two, &three, "--shelf", "pages"]), "usage");
    assert!(!place.path("new.key").exists(), "nothing was made of wrong shares");
    place.run(&combine(&[&one, &four, &three]));

    // The shares of the key before are still good for what they were made for.
    std::fs::write(place.path("old-2"), words(2).join(" ")).unwrap();
    let typed = ["key", "combine", "--to", "old.key", "old", "old-2"];
    assert_eq!(place.run(&typed)["keyrings_of_other_recovery_keys"], 1);
}

#[test]
fn a_worker_with_only_public_keys_takes_in_checks_and_repairs_and_reads_nothing() {
    let place = Place::new();
    place.deposit("before");
    let exported = place.run(&["key", "export", "--public", "worker.key", "--days", "30"]);
    let text_of_it = std::fs::read_to_string(place.path("worker.key")).unwrap();
    let whole: Value = serde_json::from_slice(&std::fs::read(place.key()).unwrap()).unwrap();
    for seed in whole["institutions"][0]["seeds"].as_array().unwrap() {
        assert!(!text_of_it.contains(seed["seed"].as_str().unwrap()));
    }
    assert!(!text_of_it.contains(whole["archive_key"]["seeds"][0]["seed"].as_str().unwrap()));
    std::fs::rename(place.key(), place.path("whole.key")).unwrap();
    std::fs::copy(place.path("worker.key"), place.key()).unwrap();

    place.deposit("by-the-worker");
    place.run(&["fixity"]);
    for log in std::fs::read_dir(place.path("archive/shelves/b/logs")).unwrap() {
        std::fs::remove_file(log.unwrap().path()).unwrap();
    }
    assert_eq!(place.output(&["fixity"], &[]).status.code(), Some(1));
    place.run(&["repair"]);
    place.run(&["fixity"]);
    let more = place.path("archive/shelves/c");
    place.run(&["shelf", "add", text(&more)]);
    place.run(&["policy", "set", "copies=3"]);
    place.run(&["fixity"]);

    // What needs reading says which key, and the work waits.
    let fingerprint = exported["institutions"][0]["fingerprint"].as_str().unwrap();
    let restore = ["restore", "local/before", "--as", "files", "--to", "back"];
    for args in [&restore[..], &["cat", "local/before", "small"]] {
        let said = place.fails(args, "key-missing");
        assert!(said.contains("generation 1") && said.contains(fingerprint), "{said}");
    }
    for args in [
        &["key", "rotate", "--yes"][..],
        &["key", "split", "--yes"],
        &["key", "certify", &"ab".repeat(32), "--yes"],
        &["deposit", "before", "--object", "new-institution/x"],
    ] {
        place.fails(args, "key-missing");
    }
    // A digest that a manifest names, and that one pass over a compressed tar did not compute.
    let bag = place.path("bag");
    std::fs::create_dir_all(bag.join("data")).unwrap();
    std::fs::write(
        bag.join("bagit.txt"),
        "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
    )
    .unwrap();
    std::fs::write(bag.join("data/a"), "abc").unwrap();
    let sha1 = "a9993e364706816aba3e25717850c26c9cd0d89d  data/a\n";
    std::fs::write(bag.join("manifest-sha1.txt"), sha1).unwrap();
    let tgz = place.path("bag.tgz");
    let tar = Command::new("tar").args(["-C", text(&bag), "-czf", text(&tgz), "."]).status();
    assert!(tar.unwrap().success());
    let deposit = ["deposit", "bag.tgz", "--object", "local/bag"];
    place.fails(&deposit, "key-missing");

    // Where the whole key is, all of it goes on, and everything comes back.
    std::fs::remove_file(place.key()).unwrap();
    std::fs::rename(place.path("whole.key"), place.key()).unwrap();
    place.run(&deposit);
    place.all_come_back(&["before", "by-the-worker"]);
    let shown = place.run(&["key", "show"]);
    let certificates = shown["institutions"][0]["certificates"].as_array().unwrap();
    assert_eq!(certificates.len(), 1);
    assert_eq!(certificates[0]["writer"], exported["writer"]);

    // After a rotation the worker needs another file: what it would seal, the old key could open.
    place.run(&["key", "rotate", "--yes"]);
    let newest = std::fs::read(place.key()).unwrap();
    std::fs::copy(place.path("worker.key"), place.key()).unwrap();
    place.make("late");
    let late = ["deposit", "late", "--object", "local/late"];
    assert!(place.fails(&late, "key-old").contains("present generation is 2"));
    std::fs::write(place.key(), newest).unwrap();
    place.run(&["key", "export", "--public", "newer.key"]);
    std::fs::copy(place.path("newer.key"), place.key()).unwrap();
    place.run(&late);
}

#[test]
fn wrong_lost_and_locked_key_files_are_told_apart() {
    let place = Place::new();
    place.deposit("x");
    let other = Place::new();
    other.deposit("x");
    let whole = std::fs::read(place.key()).unwrap();
    let restore = ["restore", "local/x", "--as", "files", "--to", "back"];

    std::fs::copy(other.key(), place.key()).unwrap();
    assert!(place.fails(&restore, "key-wrong").contains("it belongs to archive"));
    std::fs::remove_file(place.key()).unwrap();
    place.fails(&restore, "key");
    std::fs::write(place.key(), &whole[..whole.len() / 2]).unwrap();
    assert!(place.fails(&restore, "key").contains("damaged"));
    std::fs::write(place.key(), &whole).unwrap();
    // The seed of another institution under this one's name.
    let theirs: Value = serde_json::from_slice(&std::fs::read(other.key()).unwrap()).unwrap();
    place.edit_key(|key| key["seeds"] = theirs["institutions"][0]["seeds"].clone());
    assert!(place.fails(&restore, "key-wrong").contains("generation 1"));
    std::fs::write(place.key(), &whole).unwrap();

    // Locked copies.
    std::fs::write(place.path("words"), "correct horse battery staple\n").unwrap();
    std::fs::write(place.path("wrong"), "correct house\n").unwrap();
    place.fails(&["key", "export", "plain.key"], "usage");
    assert!(!place.path("plain.key").exists(), "nobody said yes");
    let locked = place.run(&["key", "export", "locked.key", "--passphrase-file", "words"]);
    assert_eq!(locked["locked"], true);
    let unlock = |to: &'static str, words: &'static str| {
        ["key", "export", "--key", "locked.key", to, "--passphrase-file", words, "--yes"]
    };
    place.fails(&unlock("open.key", "wrong"), "passphrase-wrong");
    place.run(&unlock("open.key", "words"));
    assert_eq!(std::fs::read(place.path("open.key")).unwrap(), whole);
    place.fails(&unlock("open.key", "words"), "target-exists");
    std::fs::copy(place.path("locked.key"), place.key()).unwrap();
    place.fails(&restore, "key-locked");
    std::fs::copy(place.path("open.key"), place.key()).unwrap();
    place.all_come_back(&["x"]);

    // A copy from before a rotation reads what is older, and nothing is sealed to its key.
    place.run(&["key", "rotate", "--yes"]);
    place.deposit("y");
    let newest = std::fs::read(place.key()).unwrap();
    std::fs::write(place.key(), &whole).unwrap();
    place.all_come_back(&["x"]);
    let newer = ["cat", "local/y", "small"];
    assert!(place.fails(&newer, "key-missing").contains("generation 2"));
    place.make("z");
    place.fails(&["deposit", "z", "--object", "local/z"], "key-old");
    place.fails(&["key", "rotate", "--yes"], "key-old");
    std::fs::write(place.key(), &newest).unwrap();
    // The rotation that was asked for meanwhile waits in the trouble queue, and ends now.
    place.run(&["key", "rotate", "--yes"]);
    assert_eq!(place.generation(), 3);
    place.all_come_back(&["x", "y"]);
}

#[test]
fn writers_are_certified_and_revoked() {
    let place = Place::new();
    place.deposit("x");
    let writer = "17".repeat(32);
    place.fails(&["key", "certify", "17"], "usage");
    let args = ["key", "certify", &writer, "--kinds", "data,journal", "--days", "7", "--yes"];
    let given = place.run(&args);
    let bytes = given["certificate"].as_str().unwrap();
    let bytes: Vec<u8> = (0..bytes.len() / 2)
        .map(|i| u8::from_str_radix(&bytes[2 * i..2 * i + 2], 16).unwrap())
        .collect();
    let certificate = strongroom_shard::Certificate::parse(&bytes).unwrap();
    certificate.verify().unwrap();
    assert_eq!(certificate.writer(), [0x17; 32]);
    assert!(certificate.allows(strongroom_shard::Kind::Journal));
    assert!(!certificate.allows(strongroom_shard::Kind::Record));

    let serial = given["serial"].as_str().unwrap();
    let revoke = |serial: &str| {
        let args = ["key", "revoke", serial, "--last-journal", "1:7", "--yes"];
        args.map(String::from)
    };
    let args = revoke(&serial[..8]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    assert_eq!(place.run(&args)["serial"], serial);
    place.fails(&args, "usage");
    place.fails(&["key", "revoke", "ff", "--last-journal", "0:0", "--yes"], "not-found");
    place.fails(&["key", "revoke", serial, "--last-journal", "0:0"], "usage");
    let shown = &place.run(&["key", "show"])["institutions"][0];
    assert_eq!(shown["certificates"][0]["revoked"], true);
    assert_eq!(shown["revocations"][0]["last_journal"][1], "7");
}

/// Each moment is met, and whatever it leaves is the old state or goes on to the new one.
#[cfg(feature = "failpoints")]
#[test]
fn work_on_keys_that_is_killed_at_any_moment_goes_on() {
    let die = |place: &Place, args: &[&str], moment: &str, nth: u32| {
        let watch = place.path("watch");
        let at = format!("{moment}:{nth}");
        let campaign =
            [("STRONGROOM_CAMPAIGN_WATCH", text(&watch)), ("STRONGROOM_CAMPAIGN_DIE", &at)];
        let output = place.output(args, &campaign);
        assert_eq!(output.status.code(), None, "{at} was not met: {output:?}");
        let met = std::fs::read_to_string(watch).unwrap();
        assert_eq!(met.trim_end(), moment);
    };
    let rotate = ["key", "rotate", "--yes"];
    let mut met = std::collections::BTreeSet::new();
    for (moment, nth) in [
        ("key.drawn", 1),
        ("key.keyring-synced", 1),
        ("key.keyring-committed", 1),
        ("key.keyring-synced", 2),
        ("key.keyring-committed", 2),
        ("key.file-replaced", 1),
        ("key.file-replaced", 1), // and then cancelled, below
        ("key.rotated", 1),
    ] {
        let place = Place::new();
        place.deposit("old");
        place.run(&["key", "split", "--to", "pages", "--yes"]);
        die(&place, &rotate, moment, nth);
        let first = met.insert(moment);
        let ended = moment == "key.rotated";
        assert_eq!(place.generation(), if ended { 2 } else { 1 }, "{moment}");
        // As it is left, everything goes on: reading, taking in, recovering.
        place.all_come_back(&["old"]);
        place.deposit("meanwhile");
        place.with_newest_seed_only(|| place.all_come_back(&["old", "meanwhile"]));
        place.with_shares_only("pages", || place.all_come_back(&["old", "meanwhile"]));
        // A person gives it up: what the key file has brought into use is brought to its end yet.
        if moment == "key.file-replaced" && !first {
            let work = place.run(&["work", "list"]);
            let of = work
                .as_array()
                .unwrap()
                .iter()
                .find(|item| item["kind"] == "keys" && item["status"] == "queued");
            place.run(&["work", "cancel", of.unwrap()["id"].as_str().unwrap()]);
        }
        if !ended {
            place.run(&rotate);
        }
        let shown = &place.run(&["key", "show"])["institutions"][0];
        assert_eq!((&shown["generation"], &shown["rotating"]), (&2.into(), &false.into()));
        place.deposit("new");
        let all = ["old", "meanwhile", "new"];
        place.all_come_back(&all);
        place.with_newest_seed_only(|| place.all_come_back(&all));
        place.with_shares_only("pages", || place.all_come_back(&all));
        place.run(&["fixity"]);
    }
    for moment in
        ["key.keyring-synced", "key.keyring-committed", "key.recovery-noted", "key.shared"]
    {
        let place = Place::new();
        place.deposit("old");
        die(&place, &["key", "split", "--to", "void", "--yes"], moment, 1);
        met.insert(moment);
        // Nobody was told that these shares are good; another set is.
        let args = ["key", "split", "--to", "pages", "--yes"];
        match moment {
            "key.shared" => place.run(&[&args[..], &["--replace"]].concat()),
            _ => place.run(&args),
        };
        place.run(&rotate);
        place.deposit("new");
        place.with_shares_only("pages", || place.all_come_back(&["old", "new"]));
        place.run(&["fixity"]);
    }
    assert_eq!(met, strongroom_intake::KEY_FAIL_POINTS.iter().copied().collect());
}
