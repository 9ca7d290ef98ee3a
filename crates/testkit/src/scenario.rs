//! An archive in a folder of its own, used through the program as a person would.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use strongroom_spool::testing::Random;

/// A throw-away folder in which commands run, with an archive in `archive`.
pub struct Scenario {
    program: PathBuf,
    place: tempfile::TempDir,
}

impl Scenario {
    /// With the program to run: `env!("CARGO_BIN_EXE_strongroom")`.
    ///
    /// # Panics
    /// Where no folder can be made, as everything here where a test cannot go on.
    pub fn new(program: impl AsRef<Path>) -> Scenario {
        let place = tempfile::tempdir().expect("a folder for the test");
        Scenario { program: program.as_ref().to_owned(), place }
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// A file in the folder, with the folders above it.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("it lies in the folder")).expect("made");
        std::fs::write(&path, bytes).expect("written");
        path
    }

    /// Runs the program with these arguments, and checks how it ends.
    pub fn run(&self, args: &[&str], exit: i32) -> Output {
        let output = Command::new(&self.program)
            .env("STRONGROOM_DATA", self.path("archive"))
            .current_dir(self.place.path())
            .args(args)
            .output()
            .expect("the program runs");
        let err = String::from_utf8_lossy(&output.stderr);
        let out = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(exit), "{args:?}\nstdout: {out}\nstderr: {err}");
        output
    }

    /// The JSON that the program prints.
    pub fn json(&self, args: &[&str], exit: i32) -> serde_json::Value {
        let args: Vec<_> = args.iter().copied().chain(["--json"]).collect();
        serde_json::from_slice(&self.run(&args, exit).stdout).expect("it prints JSON")
    }

    /// What the program says on stderr.
    pub fn says(&self, args: &[&str], exit: i32) -> String {
        String::from_utf8_lossy(&self.run(args, exit).stderr).into_owned()
    }

    /// Restores an object's payload, and compares it file by file with a folder.
    pub fn comes_back(&self, object: &str, to: &str, source: &str) {
        self.run(&["restore", object, "--as", "files", "--to", to], 0);
        assert_eq!(tree(&self.path(to)), tree(&self.path(source)), "{object} came back otherwise");
    }
}

/// Every file below a folder, by its path in it.
pub fn tree(folder: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut files = std::collections::BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let name = path.strip_prefix(folder).expect("below it").to_owned();
                    files.insert(name, std::fs::read(&path).expect("a file"));
                }
            }
        }
    }
    files
}

/// Bytes that look random and are the same each time.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed);
    (0..len.div_ceil(8)).flat_map(|_| random.draw().to_le_bytes()).take(len).collect()
}
