//! What must not get in, and what stands in the way: each is refused with its code and named, leaves its
//! work item in the trouble queue and all that is stored unharmed, and once mended goes through.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use strongroom_testkit::scenario::noise;

struct Archive {
    place: tempfile::TempDir,
    /// Whom the program runs as, where that is not whoever runs the tests.
    user: Option<u32>,
}

impl Archive {
    fn new() -> Archive {
        Archive { place: tempfile::tempdir().unwrap(), user: None }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom"));
        command.env("STRONGROOM_DATA", self.path("archive"));
        command.current_dir(self.place.path()).args(args);
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    fn run(&self, args: &[&str], exit: i32) -> Output {
        let output = self.command(args).output().unwrap();
        expect(&output, args, exit);
        output
    }

    fn json(&self, args: &[&str], exit: i32) -> Value {
        let args: Vec<_> = args.iter().copied().chain(["--json"]).collect();
        serde_json::from_slice(&self.run(&args, exit).stdout).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Deposits `name` as `local/name`, and expects a published version of this number.
    fn published(&self, name: &str, version: u32) {
        let row = &self.json(&["deposit", name, "--object", name], 0)[0];
        assert_eq!(row["report"]["outcome"], "published", "{row}");
        assert_eq!(row["report"]["version"], version, "{row}");
    }

    /// Deposits `name`, and expects that it fails as `refusal` says and is kept. Returns the item's id.
    fn refused(&self, name: &str, refusal: &Refusal) -> String {
        let Refusal { exit, code, words } = refusal;
        let row = self.json(&["deposit", name, "--object", name], *exit)[0].clone();
        assert_eq!(row["error"]["code"], *code, "{name}: {row}");
        assert_eq!(row["error"]["exit"], *exit, "{name}: {row}");
        let told = format!("{} {}", row["error"]["message"], row["report"]["problems"]);
        for word in *words {
            assert!(told.contains(word), "{name}: `{word}` is not in {told}");
        }
        let id = row["work"].as_str().unwrap().to_string();
        let listed = self.json(&["work", "list", "--status", "trouble"], 0);
        let item = listed.as_array().unwrap().iter().find(|item| item["id"] == row["work"]);
        let item = item.unwrap_or_else(|| panic!("{name}: {id} is not in trouble: {listed}"));
        assert_eq!(item["report"]["code"], *code, "{item}");
        assert_eq!(item["key"], format!("local/{name} {}", self.path(name).display()));
        assert!(item["note"].as_str().unwrap().starts_with(code), "{item}");
        assert!(matches!(item["stage"].as_str(), Some("inspect" | "store" | "validate")), "{item}");
        id
    }

    /// What the note of `object` says when it is restored.
    fn says(&self, object: &str, text: &str) {
        let to = tempfile::tempdir_in(self.place.path()).unwrap();
        if let Some(user) = self.user {
            chown(to.path(), Some(user), None).unwrap();
        }
        let back = to.path().join("back");
        self.run(&["restore", object, "--as", "files", "--to", back.to_str().unwrap()], 0);
        assert_eq!(std::fs::read_to_string(back.join("note.txt")).unwrap(), text, "{object}");
    }

    /// A good version, a bad one that is refused, and a good one again.
    fn check(&self, name: &str, good: Make, bad: Make, refusal: &Refusal) {
        let source = self.path(name);
        good(&source, "good\n");
        self.published(name, 1);
        remove(&source);
        bad(&source, "bad\n");
        let id = self.refused(name, refusal);
        self.says(&format!("{name}@1"), "good\n");
        self.says(name, "good\n");
        // Tried again as it is, it is refused again.
        self.run(&["work", "requeue", &id], 0);
        self.run(&["work", "run"], 1);
        self.refused(name, refusal);
        remove(&source);
        good(&source, "mended\n");
        self.published(name, 2);
        self.says(name, "mended\n");
        self.says(&format!("{name}@1"), "good\n");
    }

    /// Nothing that is stored is harmed, and nothing is left in trouble.
    fn is_clean(&self) {
        let found = self.json(&["fixity"], 0);
        assert_eq!((&found["damaged"], &found["missing"]), (&0.into(), &0.into()), "{found}");
        let trouble = self.json(&["work", "list", "--status", "trouble"], 0);
        assert_eq!(trouble, serde_json::json!([]));
    }

    /// Begins a deposit, and returns when its payload has begun to be stored.
    fn begun(&self, name: &str, stored_bytes: u64) -> Child {
        let stored = || -> u64 {
            let logs = std::fs::read_dir(self.path("archive/shelves/a/logs"));
            let logs = logs.into_iter().flatten().flatten();
            logs.filter_map(|log| log.metadata().ok()).map(|meta| meta.len()).sum()
        };
        let before = stored();
        let mut command = self.command(&["deposit", name, "--object", name, "--json"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let begun = Instant::now();
        while stored() < before + stored_bytes {
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing is stored");
            std::thread::sleep(Duration::from_millis(1));
        }
        child
    }
}

fn expect(output: &Output, args: &[&str], exit: i32) {
    let err = String::from_utf8_lossy(&output.stderr);
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(exit), "{args:?}\nstdout: {out}\nstderr: {err}");
}

/// Makes a source at a path, with a note that says this.
type Make<'a> = &'a dyn Fn(&Path, &str);

struct Refusal {
    exit: i32,
    code: &'static str,
    /// What its message, or its report, has in it.
    words: &'static [&'static str],
}

fn no(words: &'static [&'static str]) -> Refusal {
    Refusal { exit: 1, code: "source-refused", words }
}

fn unable(code: &'static str, words: &'static [&'static str]) -> Refusal {
    Refusal { exit: 3, code, words }
}

fn remove(path: &Path) {
    match path.symlink_metadata().unwrap().is_dir() {
        true => std::fs::remove_dir_all(path).unwrap(),
        false => std::fs::remove_file(path).unwrap(),
    }
}

fn folder(path: &Path, note: &str) {
    std::fs::create_dir(path).unwrap();
    std::fs::write(path.join("note.txt"), note).unwrap();
}

/// A header of a tar, as POSIX has it; `size` is what it claims.
fn header(name: &[u8], kind: u8, link: &[u8], size: u64) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name);
    block[100..108].copy_from_slice(b"0000644\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    number(&mut block[124..136], size);
    block[136..148].copy_from_slice(b"14000000000\0");
    block[156] = kind;
    block[157..157 + link.len()].copy_from_slice(link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    sum(&mut block);
    block
}

/// A number of a header: octal, or in base 256 where that is too short.
fn number(field: &mut [u8], value: u64) {
    if value < 1 << 33 {
        field.copy_from_slice(format!("{value:011o}\0").as_bytes());
    } else {
        field[0] = 0x80;
        field[4..].copy_from_slice(&value.to_be_bytes());
    }
}

fn sum(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn member(name: &[u8], kind: u8, link: &[u8], bytes: &[u8]) -> Vec<u8> {
    let padding = vec![0; bytes.len().next_multiple_of(512) - bytes.len()];
    [header(name, kind, link, bytes.len() as u64), bytes.to_vec(), padding].concat()
}

/// A tar of a note, and of these members after it.
fn tar(note: &str, members: &[Vec<u8>]) -> Vec<u8> {
    [&member(b"note.txt", b'0', b"", note.as_bytes())[..], &members.concat(), &[0; 1024]].concat()
}

fn good_tar(path: &Path, note: &str) {
    std::fs::write(path, tar(note, &[])).unwrap();
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(bytes).unwrap();
    gz.finish().unwrap()
}

fn good_gz(path: &Path, note: &str) {
    std::fs::write(path, gzip(&tar(note, &[]))).unwrap();
}

#[test]
fn tars_that_are_damaged_or_hostile_are_refused() {
    let archive = Archive::new();
    let long = member(b"long.bin", b'0', b"", &[7; 100_000]);
    let cut = |at: usize| tar("x", std::slice::from_ref(&long))[..at].to_vec();
    let pax =
        |record: &[u8]| tar("x", &[member(b"x", b'x', b"", record), header(b"y", b'0', b"", 0)]);
    let with = |name: &[u8], kind: u8, link: &[u8]| tar("x", &[header(name, kind, link, 0)]);
    let claims = |size: u64| tar("x", &[header(b"lie", b'0', b"", size)]);
    let mut sparse = header(b"holes", b'S', b"", 0);
    number(&mut sparse[386..398], 1 << 50);
    number(&mut sparse[398..410], 0);
    number(&mut sparse[483..495], 1 << 50);
    sparse[257..265].copy_from_slice(b"ustar  \0");
    sum(&mut sparse);
    let mut flipped = tar("x", &[header(b"sum", b'0', b"", 0)]);
    flipped[1024 + 3] ^= 1;
    let rows: Vec<(&str, Vec<u8>, Refusal)> = vec![
        ("cut-in-a-file", cut(50_000), no(&["cut-in-a-file", "byte 50000", "51888 more"])),
        ("cut-in-a-header", cut(1100), no(&["cut-in-a-header", "byte 1100", "a header"])),
        ("lies", claims((1 << 33) - 1), no(&["lies", "byte", "8589933568 more"])),
        ("lies-much", claims(1 << 62), no(&["lies-much", "byte"])),
        ("sum", flipped, no(&["sum", "byte 1024"])),
        ("pax-length", pax(b"999 path=z\n"), no(&["pax-length", "byte 1024"])),
        ("pax-number", pax(b"13 size=1x3z\n"), no(&["pax-number", "byte 1024"])),
        ("pax-nul", pax(b"12 path=a\0b\n"), no(&["u{0}b: ", "NUL"])),
        ("parent", with(b"a/../../up", b'0', b""), no(&["a/../../up", "[unsafe-path]"])),
        ("absolute", with(b"/etc/shadow", b'0', b""), no(&["/etc/shadow", "[unsafe-path]"])),
        ("link-out", with(b"l", b'2', b"a/../../up"), no(&["l: ", "a/../../up", "[link-out]"])),
        ("link-abs", with(b"l", b'2', b"/etc/shadow"), no(&["/etc/shadow", "[link-out]"])),
        ("link-hard", with(b"l", b'1', b"absent"), no(&["absent", "[link-to-nothing]"])),
        ("link-itself", with(b"l", b'1', b"l"), no(&["l: ", "[link-to-nothing]"])),
        ("in-a-file", with(b"note.txt/x", b'0', b""), no(&["note.txt/x: ", "[no-folder]"])),
        ("folder-again", with(b"note.txt", b'5', b""), no(&["note.txt: ", "[path-twice]"])),
        (
            "in-a-link",
            tar("x", &[header(b"a/b", b'0', b"", 0), header(b"a", b'2', b"note.txt", 0)]),
            no(&["a: is no folder", "[no-folder]"]),
        ),
        (
            "empty-folder-twice",
            tar("x", &[header(b"f", b'5', b"", 0), header(b"f", b'5', b"", 0)]),
            no(&["f: is an empty folder", "[path-twice]"]),
        ),
        (
            "link-by-links",
            tar("x", &[header(b"a/up", b'2', b"..", 0), header(b"a/out", b'2', b"up/../z", 0)]),
            no(&["a/out: ", "up/../z", "[link-out]"]),
        ),
        ("device", with(b"tty", b'3', b""), no(&["tty: ", "[special-file]"])),
        ("fifo", with(b"pipe", b'6', b""), no(&["pipe: ", "[special-file]"])),
        ("type", with(b"what", b'~', b""), no(&["what: ", "0x7e", "[unknown-type]"])),
        ("twice", with(b"note.txt", b'0', b""), no(&["note.txt: ", "twice", "[path-twice]"])),
        ("twice-otherwise", with(b"./note.txt", b'2', b"x"), no(&["note.txt: ", "[path-twice]"])),
        ("sparse", tar("x", &[sparse]), no(&["byte 1024", "a sparse file of 1125899906842624"])),
    ];
    for (name, bytes, refusal) in rows {
        archive.check(name, &good_tar, &|path, _| std::fs::write(path, &bytes).unwrap(), &refusal);
    }
    archive.is_clean();
}

#[test]
fn compressed_tars_that_are_cut_or_grow_without_measure_are_refused() {
    let archive = Archive::new();
    let whole = gzip(&tar("x", &[member(b"long", b'0', b"", &noise(1, 300_000))]));
    let cut = &whole[..200_000];
    let mut flipped = whole.clone();
    let sum = flipped.len() - 6;
    flipped[sum] ^= 1;
    // 320 MiB of zeros in members that each say so in 32 KiB.
    let zeros = gzip(&vec![0; 32 << 20]);
    let mut bomb = gzip(&header(b"zeros", b'0', b"", 10 * (32 << 20)));
    (0..10).for_each(|_| bomb.extend_from_slice(&zeros));
    assert!(bomb.len() < 2_000_000);
    let rows = [("cut-gz", cut, no(&["cut-gz"])), ("flipped-gz", &flipped, no(&["flipped-gz"]))];
    for (name, bytes, refusal) in rows {
        archive.check(name, &good_gz, &|path, _| std::fs::write(path, bytes).unwrap(), &refusal);
    }
    good_gz(&archive.path("bomb"), "good\n");
    archive.published("bomb", 1);
    std::fs::write(archive.path("bomb"), bomb).unwrap();
    let words = &["bomb: cannot read at byte 26", "a decompression bomb", "200 times"];
    archive.refused("bomb", &no(words));
    archive.says("bomb", "good\n");
    let shelves = archive.json(&["shelf", "list"], 0);
    assert!(shelves[0]["stored_bytes"].as_u64().unwrap() < 300 << 20, "{shelves}");
    remove(&archive.path("bomb"));
    good_gz(&archive.path("bomb"), "mended\n");
    archive.published("bomb", 2);
    archive.is_clean();
}

#[test]
fn folders_with_what_cannot_be_kept_are_refused() {
    let archive = Archive::new();
    let fifo = |path: &Path, note: &str| {
        folder(path, note);
        let mode = rustix::fs::Mode::from(0o644);
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, path.join("pipe"), fifo, mode, 0).unwrap();
    };
    let socket = |path: &Path, note: &str| {
        folder(path, note);
        drop(std::os::unix::net::UnixListener::bind(path.join("s")).unwrap());
    };
    let link = |target: &'static str| {
        move |path: &Path, note: &str| {
            folder(path, note);
            std::fs::create_dir(path.join("in")).unwrap();
            symlink(target, path.join("in/link")).unwrap();
        }
    };
    let rows: [(&str, Make, Refusal); 4] = [
        ("pipe", &fifo, no(&["pipe: ", "[special-file]"])),
        ("socket", &socket, no(&["s: ", "[special-file]"])),
        ("out", &link("../../archive"), no(&["in/link: ", "../../archive", "[link-out]"])),
        ("absolute", &link("/etc"), no(&["in/link: ", "/etc", "[link-out]"])),
    ];
    for (name, bad, refusal) in rows {
        archive.check(name, &folder, bad, &refusal);
    }
    archive.is_clean();
}

#[test]
fn bags_that_are_not_valid_are_refused() {
    let archive = Archive::new();
    let bag = |path: &Path, note: &str| {
        folder(path, note);
        std::fs::write(path.join("other.txt"), "other").unwrap();
        let args = ["bag", "create", path.to_str().unwrap(), "--algorithm", "md5,sha256"];
        archive.run(&args, 0);
    };
    // Without the tag manifests, so that only what is meant is wrong.
    let bad = |change: &'static dyn Fn(&Path)| {
        move |path: &Path, note: &str| {
            bag(path, note);
            std::fs::remove_file(path.join("tagmanifest-md5.txt")).unwrap();
            std::fs::remove_file(path.join("tagmanifest-sha256.txt")).unwrap();
            change(path);
        }
    };
    let rows: [(&str, Make, Refusal); 9] = [
        (
            "digest",
            &bad(&|bag| std::fs::write(bag.join("data/note.txt"), "BAD\n").unwrap()),
            no(&["data/note.txt: ", "expected", "[digest-mismatch]"]),
        ),
        (
            "missing",
            &bad(&|bag| std::fs::remove_file(bag.join("data/other.txt")).unwrap()),
            no(&["data/other.txt: ", "is missing", "manifest-", "[missing-file]"]),
        ),
        (
            "extra",
            &bad(&|bag| std::fs::write(bag.join("data/extra.txt"), "").unwrap()),
            no(&["data/extra.txt: "]),
        ),
        (
            "disagree",
            &bad(&|bag| {
                let path = bag.join("manifest-md5.txt");
                let text = std::fs::read_to_string(&path).unwrap();
                let lines = text.lines().filter(|line| !line.contains("other"));
                std::fs::write(&path, lines.map(|l| format!("{l}\n")).collect::<String>()).unwrap();
            }),
            no(&["data/other.txt: ", "manifest-md5.txt"]),
        ),
        (
            "md5-only",
            &bad(&|bag| {
                let path = bag.join("manifest-md5.txt");
                let text = std::fs::read_to_string(&path).unwrap();
                let text: String =
                    text.lines().map(|l| format!("{}{}\n", "0".repeat(32), &l[32..])).collect();
                std::fs::write(&path, text).unwrap();
            }),
            no(&["data/other.txt: ", "md5", "[digest-mismatch]"]),
        ),
        (
            "fetch",
            &bad(&|bag| {
                let line = "https://example.org/x 5 data/other.txt\n";
                std::fs::write(bag.join("fetch.txt"), line).unwrap();
            }),
            no(&["fetch.txt: ", "complete bag", "[fetch-in-deposit]"]),
        ),
        (
            "oxum",
            &bad(&|bag| {
                std::fs::write(bag.join("bag-info.txt"), "Payload-Oxum: 1.1\n").unwrap();
            }),
            no(&["bag-info.txt: ", "Payload-Oxum", "[oxum-mismatch]"]),
        ),
        (
            "no-manifest",
            &bad(&|bag| {
                std::fs::remove_file(bag.join("manifest-md5.txt")).unwrap();
                std::fs::remove_file(bag.join("manifest-sha256.txt")).unwrap();
            }),
            no(&["manifest"]),
        ),
        (
            "tag-file",
            &|path, note| {
                bag(path, note);
                std::fs::write(path.join("bag-info.txt"), "Contact-Name: Mallory\n").unwrap();
            },
            no(&["bag-info.txt: ", "tagmanifest-", "[digest-mismatch]"]),
        ),
    ];
    for (name, bad, refusal) in rows {
        archive.check(name, &bag, bad, &refusal);
    }
    archive.is_clean();
}

/// A folder with a file that takes a while.
fn large(path: &Path, note: &str) {
    folder(path, note);
    std::fs::write(path.join("large"), noise(1, 40 << 20)).unwrap();
}

fn ended(child: Child, exit: i32) -> Value {
    let output = child.wait_with_output().unwrap();
    expect(&output, &["deposit"], exit);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_file_that_changes_while_it_is_read_is_refused() {
    let archive = Archive::new();
    folder(&archive.path("x"), "good\n");
    archive.published("x", 1);
    let file = archive.path("x/large");
    for append in [false, true] {
        remove(&archive.path("x"));
        large(&archive.path("x"), "mended\n");
        let child = archive.begun("x", 1);
        let changed = std::fs::File::options().append(true).open(&file).unwrap();
        match append {
            true => (&changed).write_all(b"more").unwrap(),
            false => changed.set_len(39 << 20).unwrap(),
        }
        let row = ended(child, 3)[0].clone();
        assert_eq!(row["error"]["code"], "source-changed", "{row}");
        assert!(
            row["error"]["message"].as_str().unwrap().contains(file.to_str().unwrap()),
            "{row}"
        );
        assert_eq!(row["status"], "trouble", "{row}");
        archive.says("x", "good\n");
    }
    archive.published("x", 2);
    archive.says("x", "mended\n");
    archive.is_clean();
}

#[test]
fn a_source_that_changed_since_the_deposit_was_interrupted_is_refused() {
    let archive = Archive::new();
    good_tar(&archive.path("x"), "good\n");
    archive.published("x", 1);
    let tar = |seed| tar("mended\n", &[member(b"large", b'0', b"", &noise(seed, 40 << 20))]);
    std::fs::write(archive.path("x"), tar(1)).unwrap();
    let child = archive.begun("x", 1);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let row = ended(child, 3)[0].clone();
    assert_eq!((&row["error"]["code"], &row["status"]), (&"interrupted".into(), &"queued".into()));
    std::fs::write(archive.path("x"), tar(2)).unwrap();
    archive.refused("x", &unable("source-changed", &["x changed", "when the work was begun"]));
    archive.says("x", "good\n");
    archive.published("x", 2);
    archive.says("x", "mended\n");
    archive.is_clean();
}

#[test]
fn a_folder_that_changed_since_the_deposit_was_interrupted_is_refused() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 4] = [
        ("less", |folder| std::fs::remove_file(folder.join("f-1000")).unwrap()),
        ("more", |folder| std::fs::write(folder.join("a-new-one"), "new").unwrap()),
        ("other", |folder| std::fs::write(folder.join("f-1001"), "other").unwrap()),
        ("inside", |folder| {
            let file = std::fs::File::options().write(true).open(folder.join("z-large")).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, b"other", 7).unwrap();
        }),
    ];
    for (name, change) in changes {
        let archive = Archive::new();
        let source = archive.path("x");
        folder(&source, "good\n");
        // What is read is handed on in segments of 52 MiB or commits of 1500 files; a third is begun
        // when the first is committed.
        let inside = name == "inside";
        for i in 1000..if inside { 1000 } else { 5500 } {
            std::fs::write(source.join(format!("f-{i}")), noise(i, 10_000)).unwrap();
        }
        // A hole costs no room here, and takes as long as anything else.
        let large = std::fs::File::create(source.join("z-large")).unwrap();
        large.set_len(if inside { 160 << 20 } else { 48 << 20 }).unwrap();
        let child = archive.begun("x", if inside { 108 << 20 } else { 36 << 20 });
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        let row = ended(child, 3)[0].clone();
        assert_eq!(row["status"], "queued", "{row}");
        change(&source);
        let args = ["deposit", "x", "--object", "x", "--json"];
        let output = archive.command(&args).output().unwrap();
        let row: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(row[0]["error"]["code"], "source-changed", "{name}: {row}");
        archive.published("x", 1);
        archive.run(&["restore", "x", "--as", "files", "--to", "back"], 0);
        let mut diff = Command::new("diff");
        let diff = diff.arg("-r").arg(&source).arg(archive.path("back")).output().unwrap();
        let told = String::from_utf8_lossy(&diff.stdout).into_owned();
        assert!(diff.status.success(), "{name}: {told}");
    }
}

#[test]
fn a_deposit_that_was_interrupted_goes_on() {
    let archive = Archive::new();
    large(&archive.path("x"), "good\n");
    let child = archive.begun("x", 1);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let row = ended(child, 3)[0].clone();
    assert_eq!((&row["error"]["code"], &row["status"]), (&"interrupted".into(), &"queued".into()));
    let ran = archive.json(&["work", "run"], 0);
    assert_eq!((&ran[0]["id"], &ran[0]["status"]), (&row["work"], &"succeeded".into()), "{ran}");
    archive.says("x", "good\n");
    archive.is_clean();
}

/// An archive of a user for whom permissions count; `None` where no other user can be had.
fn unprivileged() -> Option<Archive> {
    let mut archive = Archive::new();
    if rustix::process::geteuid().is_root() {
        let nobody = 65534;
        chown(archive.place.path(), Some(nobody), Some(nobody)).unwrap();
        archive.user = Some(nobody);
        if archive.command(&["--version"]).output().is_err() {
            return strongroom_testkit::lacking("a program that another user can run");
        }
    }
    Some(archive)
}

#[test]
fn what_cannot_be_read_is_refused() {
    let Some(archive) = unprivileged() else { return };
    let own = |path: &Path| {
        if let Some(user) = archive.user {
            chown(path, Some(user), Some(user)).unwrap();
        }
    };
    let mode = |path: &Path, mode| {
        own(path);
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    };
    for name in ["file", "folder"] {
        let source = archive.path(name);
        folder(&source, "good\n");
        archive.published(name, 1);
        let shut = source.join("shut");
        match name {
            "file" => std::fs::write(&shut, "secret").unwrap(),
            _ => std::fs::create_dir(&shut).unwrap(),
        }
        mode(&shut, 0o000);
        let refusal = match name {
            "file" => unable("source-unreadable", &["file/shut", "Permission denied"]),
            _ => unable("source-unreadable", &["folder/shut", "Permission denied"]),
        };
        let id = archive.refused(name, &refusal);
        archive.says(name, "good\n");
        mode(&shut, 0o700);
        archive.run(&["work", "requeue", &id], 0);
        let ran = archive.json(&["work", "run"], 0);
        assert_eq!((&ran[0]["id"], &ran[0]["report"]["version"]), (&id.into(), &2.into()), "{ran}");
    }
    archive.is_clean();
}

#[test]
fn a_shelf_that_cannot_be_written_fails_the_deposit() {
    let Some(archive) = unprivileged() else { return };
    folder(&archive.path("x"), "good\n");
    archive.published("x", 1);
    std::fs::write(archive.path("x/note.txt"), "mended\n").unwrap();
    let logs = archive.path("archive/shelves/b/logs");
    std::fs::set_permissions(&logs, PermissionsExt::from_mode(0o555)).unwrap();
    archive.refused("x", &unable("shelf-failed", &["shelf `b`", "Permission denied"]));
    archive.says("x", "good\n");
    std::fs::set_permissions(&logs, PermissionsExt::from_mode(0o755)).unwrap();
    archive.published("x", 2);
    archive.says("x", "mended\n");
    archive.is_clean();
}

#[test]
fn a_full_shelf_parks_the_deposit() {
    let archive = Archive::new();
    folder(&archive.path("x"), "good\n");
    archive.published("x", 1);
    archive.run(&["shelf", "add", "small", "--capacity", "3M"], 0);
    std::fs::write(archive.path("x/note.txt"), "mended\n").unwrap();
    std::fs::write(archive.path("x/more"), noise(1, 5_000_000)).unwrap();
    archive.run(&["policy", "set", "copies=3"], 0);
    let id = archive.refused("x", &unable("no-room", &["shelf `small`", "has room for", "needed"]));
    archive.says("x", "good\n");
    std::fs::write(archive.path("x/more"), noise(1, 50_000)).unwrap();
    archive.run(&["work", "requeue", &id], 0);
    let ran = archive.json(&["work", "run"], 0);
    assert_eq!((&ran[0]["id"], &ran[0]["report"]["version"]), (&id.into(), &2.into()), "{ran}");
    archive.says("x", "mended\n");
    archive.is_clean();
}

#[test]
fn a_missing_shelf_parks_the_deposit_unless_that_is_accepted() {
    let archive = Archive::new();
    folder(&archive.path("x"), "good\n");
    archive.published("x", 1);
    let (shelf, away) = (archive.path("archive/shelves/b"), archive.path("away"));
    std::fs::rename(&shelf, &away).unwrap();
    std::fs::write(archive.path("x/note.txt"), "better\n").unwrap();
    let refusal =
        unable("shelves-missing", &["needs 2 shelves", "1 can be written to", "shelves/b"]);
    let id = archive.refused("x", &refusal);
    archive.says("x", "good\n");
    // An empty folder in its place is a disk that is not mounted, and not an empty shelf.
    std::fs::create_dir(&shelf).unwrap();
    assert_eq!(archive.refused("x", &refusal), id);
    std::fs::remove_dir(&shelf).unwrap();
    std::fs::rename(&away, &shelf).unwrap();
    archive.run(&["work", "requeue", &id], 0);
    archive.run(&["work", "run"], 0);
    archive.says("x", "better\n");
    archive.is_clean();

    std::fs::rename(&shelf, &away).unwrap();
    std::fs::write(archive.path("x/note.txt"), "degraded\n").unwrap();
    archive.run(&["deposit", "x", "--accept-degraded"], 0);
    archive.says("x", "degraded\n");
    let status = archive.run(&["status"], 0);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("MISSING") || status.contains("missing"), "{status}");
    archive.run(&["fixity"], 1);
    std::fs::rename(&away, &shelf).unwrap();
    archive.run(&["repair"], 0);
    archive.is_clean();
    archive.says("x", "degraded\n");
}

#[test]
fn without_its_key_nothing_is_read_and_nothing_is_lost() {
    let archive = Archive::new();
    folder(&archive.path("x"), "good\n");
    archive.published("x", 1);
    let other = Archive::new();
    folder(&other.path("x"), "another's\n");
    other.published("x", 1);
    let key = archive.path("archive/strongroom.key");
    let good = std::fs::read(&key).unwrap();
    let others = std::fs::read(other.path("archive/strongroom.key")).unwrap();
    let half = good[..good.len() / 2].to_vec();
    let newer = String::from_utf8(good.clone()).unwrap().replace("\"format\": 1", "\"format\": 2");
    assert_ne!(newer.as_bytes(), good);
    let rows: [(Option<&[u8]>, &str, &str); 4] = [
        (None, "key", "No such file"),
        (Some(&others), "key-wrong", "belongs to archive"),
        (Some(&half), "key", "it is damaged"),
        (Some(newer.as_bytes()), "newer-format", "newer than 1"),
    ];
    for (at, (bytes, code, words)) in rows.into_iter().enumerate() {
        match bytes {
            None => std::fs::remove_file(&key).unwrap(),
            Some(bytes) => std::fs::write(&key, bytes).unwrap(),
        }
        std::fs::write(archive.path("x/note.txt"), format!("{at}\n")).unwrap();
        let words: &'static [&'static str] = Vec::leak(vec![words, "strongroom.key"]);
        let id = archive.refused("x", &unable(code, words));
        let output = archive.run(&["cat", "x", "note.txt"], 3);
        assert!(String::from_utf8_lossy(&output.stderr).contains(&format!("error[{code}]")));
        // Neither a check nor a repair needs it.
        assert_eq!(archive.json(&["fixity"], 0)["damaged"], 0);
        archive.run(&["repair"], 0);
        std::fs::write(&key, &good).unwrap();
        archive.says("x", &if at == 0 { "good\n".into() } else { format!("{}\n", at - 1) });
        archive.run(&["work", "requeue", &id], 0);
        archive.run(&["work", "run"], 0);
        archive.says("x", &format!("{at}\n"));
    }
    archive.is_clean();
}

#[test]
fn what_a_newer_program_wrote_is_not_guessed_at() {
    let archive = Archive::new();
    folder(&archive.path("x"), "good\n");
    archive.published("x", 1);
    std::fs::write(archive.path("x/note.txt"), "mended\n").unwrap();

    let identity = archive.path("archive/shelves/b/strongroom-shelf.json");
    let text = std::fs::read_to_string(&identity).unwrap();
    std::fs::write(&identity, text.replace("\"format\": 1", "\"format\": 2")).unwrap();
    let words = &["its format is 2", "use a newer one"];
    archive.refused("x", &unable("shelves-missing", words));
    archive.says("x", "good\n");
    std::fs::write(&identity, text).unwrap();
    archive.published("x", 2);

    let Some(python) = strongroom_testkit::python() else { return };
    let version = |set: &str| -> u32 {
        let script = "import sqlite3, sys\nd = sqlite3.connect(sys.argv[1])\n\
                      print(d.execute('PRAGMA user_version').fetchone()[0])\n\
                      d.execute('PRAGMA user_version' + sys.argv[2])";
        let mut python = Command::new(&python);
        python.args(["-c", script]).arg(archive.path("archive/strongroom.db")).arg(set);
        let output = python.output().unwrap();
        expect(&output, &["user_version"], 0);
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    };
    let stands = version("=1000");
    for args in [&["deposit", "x"][..], &["fixity"], &["restore", "x", "--to", "y"], &["status"]] {
        let output = archive.run(args, 3);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("error[newer-format]") && told.contains("1000"), "{told}");
    }
    assert_eq!(version(&format!("={stands}")), 1000);
    archive.says("x", "mended\n");
    archive.is_clean();
}
