//! What an archive is for: shelves and shards are lost, up to n-k of them, and everything comes back.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use strongroom_testkit::scenario::noise;

struct Archive {
    place: tempfile::TempDir,
}

impl Archive {
    fn run(&self, args: &[&str], exit: i32) -> Output {
        let output = Command::new(env!("CARGO_BIN_EXE_strongroom"))
            .env("STRONGROOM_DATA", self.path("archive"))
            .current_dir(self.place.path())
            .args(args)
            .output()
            .unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        let out = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(exit), "{args:?}\nstdout: {out}\nstderr: {err}");
        output
    }

    fn json(&self, args: &[&str], exit: i32) -> Value {
        let args: Vec<_> = args.iter().copied().chain(["--json"]).collect();
        serde_json::from_slice(&self.run(&args, exit).stdout).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// The archive's shelves, in order of name.
    fn shelves(&self) -> Vec<PathBuf> {
        let folder = std::fs::read_dir(self.path("archive/shelves")).unwrap();
        let mut all: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
        all.sort();
        all
    }

    /// Restores the payload, and compares it with the source.
    fn comes_back(&self, to: &str) {
        self.run(&["restore", "local/x", "--as", "files", "--to", to], 0);
        let (source, back) = (self.path("source"), self.path(to));
        let mut compared = 0;
        for entry in std::fs::read_dir(&source).unwrap() {
            let name = entry.unwrap().file_name();
            let (a, b) = (std::fs::read(source.join(&name)), std::fs::read(back.join(&name)));
            assert!(a.unwrap() == b.unwrap(), "{name:?} came back with other bytes");
            compared += 1;
        }
        assert_eq!(compared, 22);
    }
}

fn flip(log: &Path) {
    let mut bytes = std::fs::read(log).unwrap();
    for at in (5000..bytes.len()).step_by(50_000) {
        bytes[at] ^= 1;
    }
    std::fs::write(log, bytes).unwrap();
}

fn check(policy: &str, k: usize, n: usize) {
    let archive = Archive { place: tempfile::tempdir().unwrap() };
    let source = archive.path("source");
    std::fs::create_dir(&source).unwrap();
    // Two files of several batches, one after the other in the pipeline, among small ones.
    std::fs::write(source.join("a-large"), noise(1, 5_000_000)).unwrap();
    std::fs::write(source.join("b-large"), noise(2, 3_000_001)).unwrap();
    for i in 0..20 {
        std::fs::write(source.join(format!("small-{i}")), noise(i, 100 * i as usize)).unwrap();
    }
    for i in 2..n {
        let path = archive.path(&format!("archive/shelves/s{i}"));
        archive.run(&["shelf", "add", path.to_str().unwrap()], 0);
    }
    archive.run(&["deposit", "source", "--object", "local/x", "--policy", policy], 0);
    let shelves = archive.shelves();
    assert_eq!(shelves.len(), n);

    // Any n-k shelves are gone: the first, and then the last.
    for (round, gone) in [&shelves[..n - k], &shelves[k..]].into_iter().enumerate() {
        for shelf in gone {
            std::fs::rename(shelf, shelf.with_extension("gone")).unwrap();
        }
        archive.comes_back(&format!("without-{round}"));
        for shelf in gone {
            std::fs::rename(shelf.with_extension("gone"), shelf).unwrap();
        }
    }

    // Bits are flipped all over n-k shelves: found, made anew from the others, and told of.
    for shelf in &shelves[k..] {
        for log in std::fs::read_dir(shelf.join("logs")).unwrap() {
            flip(&log.unwrap().path());
        }
    }
    archive.comes_back("flipped");
    let found = archive.json(&["fixity"], 1).to_string();
    assert!(found.contains("damaged"), "{found}");
    archive.run(&["repair"], 0);
    archive.run(&["fixity"], 0);
    archive.comes_back("repaired");
    let chain = archive.run(&["object", "events", "local/x", "--verify"], 0);
    let chain = String::from_utf8_lossy(&chain.stdout).into_owned();
    assert!(chain.contains("holds") || chain.contains("hold"), "{chain}");

    // Bag tools and an independent reader of the format say the same.
    archive.run(&["restore", "local/x", "--to", "as-bag"], 0);
    let Some(python) = strongroom_testkit::python() else { return };
    let mut bag = Command::new(&python);
    let bag = bag.args(["-m", "bagit", "--validate"]).arg(archive.path("as-bag")).output().unwrap();
    assert!(bag.status.success(), "{}", String::from_utf8_lossy(&bag.stderr));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/recover.py");
    let mut recover = Command::new(&python);
    recover.arg(script).arg("--key").arg(archive.path("archive/strongroom.key"));
    for shelf in &shelves[n - k..] {
        recover.arg("--shelf").arg(shelf);
    }
    recover.arg("--to").arg(archive.path("recovered")).args(["--", "local/x"]);
    let recovered = recover.output().unwrap();
    assert!(recovered.status.success(), "{}", String::from_utf8_lossy(&recovered.stderr));
    for name in ["data/a-large", "data/b-large", "data/small-19", "manifest-sha256.txt"] {
        let read = |folder: &str| std::fs::read(archive.path(folder).join(name)).unwrap();
        assert!(read("as-bag") == read("recovered"), "{name} is another file");
    }
}

#[test]
fn everything_survives_the_loss_of_a_copy() {
    check("copies=2", 1, 2);
}

#[test]
fn everything_survives_the_loss_of_two_of_six() {
    check("4+2", 4, 6);
}

#[test]
fn everything_survives_the_loss_of_four_of_fourteen() {
    check("10+4", 10, 14);
}
