//! What a deposit may hold, and that it comes back: everything that FORMAT promises to preserve, in as a
//! folder and as tars of each kind, out in each form.
#![allow(clippy::unwrap_used)]

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use strongroom_digest::{Algorithm, Hasher};
use strongroom_testkit::scenario::noise;

struct Archive {
    place: tempfile::TempDir,
}

impl Archive {
    fn new() -> Archive {
        Archive { place: tempfile::tempdir().unwrap() }
    }

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

    fn json(&self, args: &[&str]) -> Value {
        let args: Vec<_> = args.iter().copied().chain(["--json"]).collect();
        serde_json::from_slice(&self.run(&args, 0).stdout).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Deposits as `object`, and returns the report.
    fn deposit(&self, source: &str, object: &str) -> Value {
        self.json(&["deposit", source, "--object", object])[0]["report"].clone()
    }

    /// Restores `object` in each form, and compares with `expected` what came back.
    fn comes_back(&self, object: &str, expected: &Tree) {
        for form in ["files", "bag", "tar"] {
            let to = format!("{object}-{form}{}", if form == "tar" { ".tar" } else { "" });
            self.run(&["restore", object, "--as", form, "--to", &to], 0);
            if form == "files" {
                same(&tree(&self.path(&to)), expected, &to);
                continue;
            }
            self.run(&["bag", "validate", &to], 0);
            let bag = match form {
                "bag" => Some(tree(&self.path(&to))),
                _ => self.list_tar(&to),
            };
            let Some(bag) = bag else { continue };
            let payload = bag.iter().filter_map(|(path, item)| {
                Some((path.strip_prefix(b"data/")?.to_vec(), item.clone()))
            });
            let attributes = match form {
                "bag" => std::fs::read(self.path(&to).join("strongroom-files.jsonl")).unwrap(),
                _ => self.python("member", &[&to, "strongroom-files.jsonl"]).unwrap(),
            };
            let said = attributes_of(&attributes);
            same(&payload.collect(), &bag_form(expected, &said), &to);
            let said = said.into_iter().map(|(path, (_, item))| (path, item)).collect();
            let without_bytes = |(path, item): (&Vec<u8>, &Item)| {
                (path.clone(), Item { bytes: String::new(), ..item.clone() })
            };
            same(&said, &expected.iter().map(without_bytes).collect(), "its tag file");
        }
    }

    /// The files of a bag in a tar, as Python's tarfile sees them, without the bag's own folder.
    fn list_tar(&self, tar: &str) -> Option<Tree> {
        let text = self.python("list", &[tar])?;
        let rows: Vec<(String, String, u32, String, String)> =
            serde_json::from_slice(&text).unwrap();
        let top = format!("{}/", tar.strip_suffix(".tar").unwrap());
        let row = |(path, kind, mode, mtime, bytes): (String, String, u32, String, String)| {
            let path = unhex(&path).strip_prefix(top.as_bytes()).unwrap().to_vec();
            let mtime_ns = mtime.parse().unwrap();
            (path, Item { kind, mode, mtime_ns, bytes })
        };
        Some(rows.into_iter().map(row).collect())
    }

    /// Runs a command of [`TARS`]; `None` where there is no Python.
    fn python(&self, command: &str, args: &[&str]) -> Option<Vec<u8>> {
        let mut python = Command::new(strongroom_testkit::python()?);
        let python = python.current_dir(self.place.path()).args(["-c", TARS, command]).args(args);
        let output = python.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(output.stdout)
    }
}

/// Makes and lists tars with Python's tarfile, which knows nothing of ours.
const TARS: &str = r#"
import decimal, hashlib, json, os, sys, tarfile
how = dict(encoding="utf-8", errors="surrogateescape")
command, tar, rest = sys.argv[1], sys.argv[2], sys.argv[3:]
if command in ("ustar", "gnu", "pax"):
    kind = dict(ustar=tarfile.USTAR_FORMAT, gnu=tarfile.GNU_FORMAT, pax=tarfile.PAX_FORMAT)[command]
    folder = rest[0]
    def exactly(info):
        ns = os.lstat(os.path.join(folder, info.name)).st_mtime_ns
        info.mtime = ns // 10**9
        if command == "pax" and ns % 10**9:
            info.pax_headers = {"mtime": format(decimal.Decimal(ns).scaleb(-9), "f")}
        return info
    with tarfile.open(tar, "w", format=kind, **how) as out:
        for name in sorted(os.listdir(folder), key=os.fsencode):
            out.add(os.path.join(folder, name), arcname=name, filter=exactly)
elif command == "member":
    with tarfile.open(tar, **how) as opened:
        sys.stdout.buffer.write(opened.extractfile(tar[:-4] + "/" + rest[0]).read())
else:
    rows = []
    with tarfile.open(tar, **how) as opened:
        for info in opened:
            exact = decimal.Decimal(info.pax_headers.get("mtime", info.mtime))
            if info.issym():
                kind, text = "symlink", os.fsencode(info.linkname).hex()
            elif info.isdir():
                kind, text = "folder", ""
            else:
                digest = hashlib.file_digest(opened.extractfile(info), "sha256")
                kind, text = "file", digest.hexdigest()
            mode = 0 if info.issym() else info.mode
            rows.append((os.fsencode(info.name).hex(), kind, mode, str(int(exact.scaleb(9))), text))
    json.dump(rows, sys.stdout)
"#;

/// What is compared of a path.
#[derive(Clone, PartialEq, Debug)]
struct Item {
    kind: String,
    /// 0 of a link, which has none of its own.
    mode: u32,
    mtime_ns: i64,
    /// SHA-256 of a file, the target of a link, in hex.
    bytes: String,
}

type Tree = BTreeMap<Vec<u8>, Item>;

/// Everything in a folder that is kept: files, links, empty folders.
fn tree(root: &Path) -> Tree {
    let mut all = Tree::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let (kind, bytes) = if meta.is_symlink() {
                ("symlink", hex(path.read_link().unwrap().as_os_str().as_bytes()))
            } else if meta.is_file() {
                let mut hasher = Hasher::new(Algorithm::Sha256);
                hasher.update(&std::fs::read(&path).unwrap());
                ("file", hasher.finish().to_string())
            } else if std::fs::read_dir(&path).unwrap().next().is_none() {
                ("folder", String::new())
            } else {
                open.push(path);
                continue;
            };
            let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
            let mode = if meta.is_symlink() { 0 } else { meta.mode() & 0o7777 };
            let mtime_ns = meta.mtime() * 1_000_000_000 + meta.mtime_nsec();
            all.insert(name, Item { kind: kind.into(), mode, mtime_ns, bytes });
        }
    }
    all
}

/// What the tag file says of each path: how it stands in the bag, and what it is, but for its bytes.
fn attributes_of(text: &[u8]) -> BTreeMap<Vec<u8>, (Vec<u8>, Item)> {
    let lines = text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let line = |line: &[u8]| {
        let line: Value = serde_json::from_slice(line).unwrap();
        let text = |name: &str| line[name].as_str().unwrap().to_string();
        let path = strongroom_record::json::get_bytes(line.as_object().unwrap(), "path").unwrap();
        let path = path.strip_prefix(b"data/").unwrap().to_vec();
        let stands = line["stands_as"].as_str().map(|name| name.strip_prefix("data/").unwrap());
        let stands = stands.map_or(path.clone(), |name| name.as_bytes().to_vec());
        let kind = text("kind");
        let mode =
            if kind == "symlink" { 0 } else { u32::from_str_radix(&text("mode"), 8).unwrap() };
        let item =
            Item { kind, mode, mtime_ns: text("mtime_ns").parse().unwrap(), bytes: String::new() };
        (path, (stands, item))
    };
    lines.map(line).collect()
}

/// How a tree stands in the bag form: without links to nothing, and each path under the name that the
/// tag file says, which is its own wherever that is UTF-8.
fn bag_form(tree: &Tree, said: &BTreeMap<Vec<u8>, (Vec<u8>, Item)>) -> Tree {
    let pairs = said.iter().flat_map(|(path, (stands, _))| {
        path.split(|b| *b == b'/').zip(stands.split(|b| *b == b'/'))
    });
    let names: BTreeMap<&[u8], &[u8]> = pairs.collect();
    let mut all = Tree::new();
    for (path, item) in tree {
        if path.ends_with(b"to-nothing") {
            continue;
        }
        let stands = &said[path].0;
        assert!(std::str::from_utf8(stands).is_ok());
        let plain = std::str::from_utf8(path).is_ok() && !path.ends_with(b".not-utf8");
        assert_eq!(plain, stands == path, "{} stands as {}", show(path), show(stands));
        // A link leads to what stands for its target.
        let mut item = item.clone();
        if item.kind == "symlink" {
            let target = unhex(&item.bytes);
            let names = target.split(|b| *b == b'/').map(|name| *names.get(name).unwrap_or(&name));
            item.bytes = hex(&names.collect::<Vec<_>>().join(&b'/'));
        }
        assert!(all.insert(stands.clone(), item).is_none(), "two stand as one");
    }
    all
}

/// Fails with the first differences only.
fn same(found: &Tree, expected: &Tree, what: &str) {
    let mut different = Vec::new();
    for path in found.keys().chain(expected.keys()).collect::<BTreeSet<_>>() {
        let (a, b) = (found.get(path), expected.get(path));
        if a != b {
            different.push(format!("{}:\n  found    {a:?}\n  expected {b:?}", show(path)));
        }
    }
    different.truncate(5);
    assert!(different.is_empty(), "{what}\n{}", different.join("\n"));
}

fn show(path: &[u8]) -> String {
    path.escape_ascii().to_string()
}

fn hex(bytes: &[u8]) -> String {
    strongroom_record::json::bytes::hex(bytes)
}

fn unhex(text: &str) -> Vec<u8> {
    strongroom_record::json::bytes::unhex(text).unwrap()
}

fn set_time(path: &Path, mtime_ns: i64) {
    let at = Timespec {
        tv_sec: mtime_ns.div_euclid(1_000_000_000),
        tv_nsec: mtime_ns.rem_euclid(1_000_000_000),
    };
    let times = Timestamps { last_access: at, last_modification: at };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Names and shapes that every bag tool takes.
fn plain(root: &Path) {
    let file = |name: &str, bytes: &[u8]| {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    };
    file("nothing", b"");
    file("a letter.txt", b"Dear archive\n");
    file("-rf", b"a leading dash");
    file("\"quoted\" 'twice'", b"quotes");
    file("back\\slash and * ? $HOME", b"for shells");
    file("~draft.docx", b"a tilde");
    file("deep/er/and/deeper/still", b"nested");
    file("deep/twin", &noise(5, 10_000));
    file("deep/er/twin", &noise(5, 10_000));
    file("case/Letter", b"a case twin");
    file("case/letter", b"another");
    file("forms/caf\u{e9}", b"NFC");
    file("forms/cafe\u{301}", b"NFD");
    std::fs::hard_link(root.join("deep/twin"), root.join("hard-1")).unwrap();
    std::fs::hard_link(root.join("deep/twin"), root.join("hard-2")).unwrap();
    let sparse = std::fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(3_000_000).unwrap();
    for at in [0, 1_000_001, 2_500_000] {
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"an island", at).unwrap();
    }
    std::fs::File::create(root.join("only-a-hole")).unwrap().set_len(100_000).unwrap();
    let modes = [("private", 0o600), ("script", 0o755), ("fixed", 0o444), ("none", 0o000)];
    let special = [("setuid", 0o4755), ("setgid", 0o2755), ("sticky", 0o1644)];
    for (name, mode) in modes.into_iter().chain(special) {
        let path = file(&format!("modes/{name}"), name.as_bytes());
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }
    for (name, mode) in [("empty", 0o755), ("empty/er", 0o700), ("shared", 0o1777)] {
        let path = root.join("folders").join(name);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }
    let times = [
        ("now-ish", 1_700_000_000_123_456_789),
        ("half", 500_000_000),
        ("epoch", 0),
        ("moon", -14_182_940_000_000_000),
        ("just-before", -1),
        ("old-and-odd", -1_766_000_000_000_000_001),
        ("beyond-2038", 5_000_000_000_000_000_007),
    ];
    for (name, mtime_ns) in times {
        set_time(&file(&format!("times/{name}"), name.as_bytes()), mtime_ns);
    }
    set_time(&root.join("folders/shared"), 86_400_000_000_001);
    let links = [
        ("links/to-file", "../a letter.txt"),
        ("links/to-folder", "../deep/er"),
        ("links/to-empty-folder", "../folders/shared"),
        ("links/to-link", "to-file"),
        ("links/through-link", "to-folder/twin"),
        ("links/roundabout", "../links/.././deep//er/../twin"),
        ("links/up", ".."),
        ("links/through-link-and-up", "to-folder/../twin"),
        ("top", "deep/er/twin"),
    ];
    std::fs::create_dir(root.join("links")).unwrap();
    for (name, target) in links {
        symlink(target, root.join(name)).unwrap();
        set_time(&root.join(name), 1_234_567_890_987_654_321);
    }
}

/// Names and links that a bag cannot hold as such, or that bag tools differ about.
fn odd(root: &Path) {
    let file = |name: &[u8], bytes: &[u8]| {
        let path = root.join(OsStr::from_bytes(name));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
    };
    file(b"100%", b"percent");
    file(b"%0A and %25", b"escapes that are none");
    file(b"two\nlines", b"LF");
    file(b"two\r\nlines", b"CR LF");
    file(b"caf\xe9.txt", b"Latin-1");
    file(b"caf=E9.txt", b"as it could stand for another");
    file(b"caf=E9.txt.not-utf8", b"as another stands");
    file(b"fold\xe9r/in \xff\xfe/f", b"folders too");
    file(&[b'n'; 255], b"a long name");
    file(&[b'\xe9'; 255], b"one that is long and not UTF-8");
    file(&[&[b'\xe9'; 254][..], b"e"].concat(), b"another");
    file(&[&[b'd'; 200][..], &[b'e'; 255], &[b'f'; 255]].join(&b'/'), b"a long path");
    for (name, target) in [
        ("links/to-latin-1", &b"../caf\xe9.txt"[..]),
        ("links/to-latin-1-folder", b"../fold\xe9r"),
        ("links/through-latin-1", b"../links/to-latin-1-folder/in \xff\xfe/f"),
    ] {
        symlink(OsStr::from_bytes(target), root.join(name)).unwrap();
    }
    std::fs::create_dir(root.join("only-links")).unwrap();
    symlink("../nobody", root.join("only-links/to-nothing")).unwrap();
    symlink("../only-links", root.join("only-links/round-to-nothing")).unwrap();
    symlink("only-links", root.join("folder-of-links-to-nothing")).unwrap();
    symlink("no-such-file", root.join("to-nothing")).unwrap();
    symlink("./to-nothing", root.join("to-to-nothing")).unwrap();
    symlink("to-itself-to-nothing", root.join("to-itself-to-nothing")).unwrap();
}

/// A tree whose times a tar of whole seconds can say.
fn seconds(tree: &Tree) -> Tree {
    let whole = |ns: i64| ns.div_euclid(1_000_000_000) * 1_000_000_000;
    let item = |item: &Item| Item { mtime_ns: whole(item.mtime_ns), ..item.clone() };
    tree.iter().map(|(path, i)| (path.clone(), item(i))).collect()
}

#[test]
fn a_folder_comes_back_in_each_form() {
    let archive = Archive::new();
    let source = archive.path("source");
    std::fs::create_dir(&source).unwrap();
    plain(&source);
    odd(&source);
    std::fs::write(source.join("large"), noise(1, (66 << 20) + 1)).unwrap();
    std::fs::write(source.join("larger than a batch"), noise(2, 3 << 20)).unwrap();
    let report = archive.deposit("source", "x");
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("case/letter") && warnings.contains("forms/caf"), "{warnings}");
    archive.comes_back("x", &tree(&source));
    archive.run(&["fixity"], 0);
}

#[test]
fn bag_tools_take_what_was_a_folder() {
    let archive = Archive::new();
    let source = archive.path("source");
    std::fs::create_dir(&source).unwrap();
    plain(&source);
    archive.deposit("source", "x");
    archive.comes_back("x", &tree(&source));
    let Some(python) = strongroom_testkit::python() else { return };
    let mut bag = Command::new(python);
    let bag = bag.args(["-m", "bagit", "--validate"]).arg(archive.path("x-bag")).output().unwrap();
    assert!(bag.status.success(), "{}", String::from_utf8_lossy(&bag.stderr));
}

#[test]
fn folders_of_nothing_come_back() {
    let archive = Archive::new();
    let source = archive.path("source");
    std::fs::create_dir(&source).unwrap();
    archive.deposit("source", "nothing");
    archive.comes_back("nothing", &Tree::new());
    std::fs::create_dir_all(source.join("only/folders")).unwrap();
    archive.deposit("source", "nothing");
    archive.run(&["restore", "nothing", "--as", "files", "--to", "back"], 0);
    same(&tree(&archive.path("back")), &tree(&source), "only folders");
}

#[test]
fn a_bag_of_nothing_comes_back() {
    let archive = Archive::new();
    std::fs::create_dir(archive.path("x")).unwrap();
    archive.run(&["bag", "create", "x"], 0);
    archive.deposit("x", "x");
    for to in ["back", "back.tar"] {
        let form = if to == "back" { "bag" } else { "tar" };
        archive.run(&["restore", "x", "--as", form, "--to", to], 0);
        archive.run(&["bag", "validate", to], 0);
    }
    let files = |name: &str| {
        // The payload folder's own mode and time are not kept, as of any folder that stands for others.
        let mut all = tree(&archive.path(name));
        assert!(all.remove(&b"data"[..]).is_some());
        all
    };
    same(&files("back"), &files("x"), "the bag");
}

#[test]
fn gnu_tars_come_back() {
    let archive = Archive::new();
    let source = archive.path("source");
    std::fs::create_dir(&source).unwrap();
    plain(&source);
    odd(&source);
    for format in ["posix", "gnu"] {
        let name = format!("{format}.tar");
        let mut tar = Command::new("tar");
        let tar = tar.args(["--sparse", &format!("--format={format}"), "-C"]).arg(&source);
        let tar = tar.arg("-cf").arg(archive.path(&name)).arg(".").output();
        let Ok(tar) = tar else {
            return strongroom_testkit::lacking("GNU tar").unwrap_or_default();
        };
        assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
        let expected = match format {
            "gnu" => seconds(&tree(&source)),
            _ => tree(&source),
        };
        archive.deposit(&name, format);
        archive.comes_back(format, &expected);
    }
}

#[test]
fn tars_of_python_come_back_compressed_or_not() {
    let archive = Archive::new();
    let source = archive.path("source");
    std::fs::create_dir(&source).unwrap();
    plain(&source);
    std::fs::write(source.join(OsStr::from_bytes(b"caf\xe9.txt")), "Latin-1").unwrap();
    for format in ["ustar", "gnu", "pax"] {
        if format == "ustar" {
            // It has no word for times before 1970, nor after 2242.
            for name in ["moon", "just-before", "old-and-odd"] {
                set_time(&source.join("times").join(name), 1_000_000_007);
            }
        } else {
            set_time(&source.join("times/moon"), -14_182_940_000_000_000);
            set_time(&source.join("times/just-before"), -1);
            std::fs::write(source.join("n".repeat(255)), "a long name").unwrap();
        }
        let name = format!("{format}.tar");
        if archive.python(format, &[&name, "source"]).is_none() {
            return;
        }
        let expected = match format {
            "pax" => tree(&source),
            _ => seconds(&tree(&source)),
        };
        archive.deposit(&name, format);
        archive.comes_back(format, &expected);
    }
    let tar = std::fs::read(archive.path("pax.tar")).unwrap();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&tar).unwrap();
    std::fs::write(archive.path("x.tar.gz"), gz.finish().unwrap()).unwrap();
    std::fs::write(archive.path("x.tar.zst"), zstd::encode_all(&tar[..], 1).unwrap()).unwrap();
    for name in ["x.tar.gz", "x.tar.zst"] {
        let object = name.replace(".", "-");
        archive.deposit(name, &object);
        archive.run(&["restore", &object, "--as", "files", "--to", &object], 0);
        same(&tree(&archive.path(&object)), &tree(&source), name);
    }
}

#[test]
fn a_bag_comes_back_byte_for_byte() {
    let archive = Archive::new();
    let bag = archive.path("bag");
    std::fs::create_dir(&bag).unwrap();
    plain(&bag);
    archive.run(&["bag", "create", "bag", "--algorithm", "md5,sha512"], 0);
    std::fs::create_dir_all(bag.join("notes/of/readers")).unwrap();
    std::fs::write(bag.join("notes/of/readers/1.txt"), "A tag file\r\n").unwrap();
    std::fs::write(bag.join("README"), "Another").unwrap();
    std::fs::create_dir(bag.join("data/one-more-empty-folder")).unwrap();
    std::fs::create_dir(bag.join("an-empty-tag-folder")).unwrap();
    let info = bag.join("bag-info.txt");
    let mut text = std::fs::read(&info).unwrap();
    text.extend_from_slice(b"Contact-Name:  J.  Doe\r\nX-Folded: one\n  two\n\n");
    std::fs::write(&info, text).unwrap();
    // Its own sum is another now, so the tag manifests are made anew by hand: there are none.
    for name in ["tagmanifest-md5.txt", "tagmanifest-sha512.txt"] {
        let _ = std::fs::remove_file(bag.join(name));
    }
    archive.run(&["bag", "validate", "bag"], 0);
    let expected = tree(&bag);
    archive.deposit("bag", "x");
    for form in ["bag", "tar"] {
        let to = format!("back{}", if form == "tar" { ".tar" } else { "" });
        archive.run(&["restore", "x", "--as", form, "--to", &to], 0);
        archive.run(&["bag", "validate", &to], 0);
    }
    same(&tree(&archive.path("back")), &expected, "the bag");
    if let Some(listed) = archive.list_tar("back.tar") {
        same(&listed, &expected, "the bag in a tar");
    }

    // In a tar it is the same bag, whatever its folder is called.
    for (format, name) in [("posix", "one.tar"), ("gnu", "two.tar")] {
        let mut tar = Command::new("tar");
        let tar = tar.arg(format!("--format={format}")).arg("-C").arg(archive.place.path());
        let Ok(tar) = tar.arg("-cf").arg(archive.path(name)).arg("bag").output() else { continue };
        assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
        let back = format!("back-of-{name}").replace(".tar", "");
        archive.deposit(name, format);
        archive.run(&["restore", format, "--to", &back], 0);
        let expected = if format == "gnu" { seconds(&expected) } else { expected.clone() };
        same(&tree(&archive.path(&back)), &expected, name);
    }
}

#[test]
fn only_what_changed_is_stored_again() {
    let archive = Archive::new();
    let source = archive.path("source");
    std::fs::create_dir(&source).unwrap();
    plain(&source);
    odd(&source);
    std::fs::write(source.join("middling"), noise(3, 5_000_000)).unwrap();
    archive.deposit("source", "x");
    let first = tree(&source);
    let again = archive.deposit("source", "x");
    assert_eq!((&again["outcome"], &again["version"]), (&"unchanged".into(), &1.into()));
    assert_eq!(archive.json(&["object", "list"])[0]["versions"], 1);

    std::fs::write(source.join("deep/er/and/deeper/still"), noise(4, 777_777)).unwrap();
    let changed = archive.deposit("source", "x");
    assert_eq!(changed["version"], 2);
    archive.comes_back("x", &tree(&source));
    // The tag files are new with each version.
    let mut tags = 0;
    for entry in std::fs::read_dir(archive.path("x-bag")).unwrap() {
        let meta = entry.unwrap().metadata().unwrap();
        tags += if meta.is_file() { meta.len() } else { 0 };
    }
    assert_eq!(changed["stored_bytes"], 777_777 + tags);

    // A mode or a time is a change too, and costs nothing.
    std::fs::set_permissions(source.join("nothing"), PermissionsExt::from_mode(0o640)).unwrap();
    let changed = archive.deposit("source", "x");
    assert_eq!(changed["version"], 3);
    assert!(changed["stored_bytes"].as_u64().unwrap() < 100_000, "{changed}");
    archive.run(&["restore", "x@1", "--as", "files", "--to", "first"], 0);
    same(&tree(&archive.path("first")), &first, "version 1");
}
