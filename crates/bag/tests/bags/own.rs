//! Bags made here. Each row changes one thing of a good bag; it is then read as a folder, as a tar, and as
//! both kinds of compressed tar, and must get the same verdict everywhere.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use proptest::prelude::*;
use strongroom_bag::validate::{Options, Report, validate};
use strongroom_bag::{path, tar};
use strongroom_digest::{Algorithm, hash};

/// A bag in memory.
type Bag = BTreeMap<Vec<u8>, Vec<u8>>;

fn line(algorithm: Algorithm, name: &str, bytes: &[u8]) -> String {
    format!("{}  {name}\n", hash(algorithm, bytes))
}

/// A good bag of this version: two manifests, names of several kinds, one file that is split for hashing.
fn good(version: &str) -> Bag {
    let large = vec![3; 9 * 1024 * 1024];
    let payload: [(&str, &[u8]); 4] =
        [("data/a", b"one"), ("data/b/c d", b"two"), ("data/empty", b""), ("data/large", &large)];
    let mut bag = Bag::new();
    let mut manifests = [String::new(), String::new()];
    for (name, bytes) in payload {
        bag.insert(name.into(), bytes.to_vec());
        for (text, algorithm) in manifests.iter_mut().zip([Algorithm::Md5, Algorithm::Sha256]) {
            text.push_str(&line(algorithm, name, bytes));
        }
    }
    let declaration = format!("BagIt-Version: {version}\nTag-File-Character-Encoding: UTF-8\n");
    bag.insert("bagit.txt".into(), declaration.into_bytes());
    let oxum = format!("Payload-Oxum: {}.4\n", 6 + large.len());
    bag.insert("bag-info.txt".into(), oxum.into_bytes());
    for (text, name) in manifests.into_iter().zip(["manifest-md5.txt", "manifest-sha256.txt"]) {
        bag.insert(name.into(), text.into_bytes());
    }
    seal(&mut bag);
    bag
}

/// Makes the tag manifest right again.
fn seal(bag: &mut Bag) {
    bag.remove(&b"tagmanifest-sha512.txt"[..]);
    let tags = bag.iter().filter(|(name, _)| !name.starts_with(b"data/"));
    let text: String =
        tags.map(|(name, bytes)| line(Algorithm::Sha512, &path::show(name), bytes)).collect();
    bag.insert("tagmanifest-sha512.txt".into(), text.into_bytes());
}

fn edit(bag: &mut Bag, name: &str, change: impl FnOnce(String) -> String) {
    let text = String::from_utf8(bag.remove(name.as_bytes()).unwrap_or_default()).unwrap();
    bag.insert(name.into(), change(text).into_bytes());
}

fn write_folder(bag: &Bag, root: &Path) {
    use std::os::unix::ffi::OsStrExt;
    for (name, bytes) in bag {
        let path = root.join(std::ffi::OsStr::from_bytes(name));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    std::fs::create_dir_all(root).unwrap();
}

fn write_tar(bag: &Bag) -> Vec<u8> {
    let mut writer = tar::Writer::new(Vec::new());
    // Payload first: tag files that come late must do no harm.
    for (name, bytes) in bag.iter().rev() {
        let name = [b"bag/", &name[..]].concat();
        let mut file = writer.append_file(&name, 0o644, 0, bytes.len() as u64).unwrap();
        file.write_all(bytes).unwrap();
    }
    writer.finish().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn all_errors() -> Options {
    Options { all_errors: true, ..Options::default() }
}

/// Problems as `error:code`, without repetition; warnings as `code`.
fn codes(report: &Report) -> Vec<String> {
    let warnings = report.warnings().map(|problem| problem.code.to_owned());
    let mut codes: Vec<_> =
        report.errors().map(|p| format!("error:{}", p.code)).chain(warnings).collect();
    codes.sort();
    codes.dedup();
    codes
}

/// Reads a bag in all four containers, and expects these problems of each.
fn check(what: &str, bag: &Bag, expected: &[&str]) {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("bag");
    write_folder(bag, &folder);
    let plain = write_tar(bag);
    let files = [
        ("bag.tar", plain.clone()),
        ("bag.tgz", gzip(&plain)),
        ("bag.zst", zstd::encode_all(&plain[..], 1).unwrap()),
    ];
    let mut places = vec![folder];
    for (name, bytes) in files {
        places.push(place.path().join(name));
        std::fs::write(place.path().join(name), bytes).unwrap();
    }
    let valid = !expected.iter().any(|code| code.starts_with("error:"));
    for at in places {
        let report = validate(&at, &all_errors(), &()).unwrap();
        assert_eq!(codes(&report), expected, "{what}, {}: {:#?}", at.display(), report.problems);
        assert_eq!(report.valid, valid, "{what}");
        // One error is enough to stop at, and the verdict is the same.
        let first = validate(&at, &Options::default(), &()).unwrap();
        assert_eq!(first.valid, valid, "{what}, first error only");
    }
}

#[test]
fn good_bags_of_every_version_are_valid_in_every_container() {
    for version in ["0.93", "0.94", "0.95", "0.96", "0.97", "1.0"] {
        check(version, &good(version), &[]);
    }
}

#[test]
fn each_fault_is_named() {
    type Change = fn(&mut Bag);
    let rows: &[(&str, &str, Change, &[&str])] = &[
        (
            "a payload byte",
            "1.0",
            |b| edit(b, "data/a", |_| "onE".into()),
            &["error:digest-mismatch"],
        ),
        (
            "a longer payload",
            "1.0",
            |b| edit(b, "data/a", |t| t + "!"),
            &["error:digest-mismatch", "error:oxum-mismatch"],
        ),
        (
            "a missing file",
            "1.0",
            |b| drop(b.remove(&b"data/empty"[..])),
            &["error:missing-file", "error:oxum-mismatch"],
        ),
        (
            "an extra file",
            "1.0",
            |b| drop(b.insert(b"data/x".to_vec(), Vec::new())),
            &["error:not-in-manifest", "error:oxum-mismatch"],
        ),
        ("an extra tag file", "1.0", |b| drop(b.insert(b"x.txt".to_vec(), b"x".to_vec())), &[]),
        (
            "a tag byte",
            "1.0",
            |b| edit(b, "bag-info.txt", |t| t + "A: b\n"),
            &["error:digest-mismatch"],
        ),
        (
            "no declaration",
            "1.0",
            |b| drop(b.remove(&b"bagit.txt"[..])),
            &["error:missing-declaration", "error:missing-file"],
        ),
        (
            "no manifest",
            "1.0",
            |b| {
                b.retain(|name, _| !name.starts_with(b"manifest"));
                seal(b);
            },
            &["error:missing-manifest", "error:not-in-manifest"],
        ),
        (
            "a file in one manifest only, 1.0",
            "1.0",
            |b| {
                edit(b, "manifest-md5.txt", |t| {
                    t.lines().skip(1).map(|l| l.to_owned() + "\n").collect()
                });
                seal(b);
            },
            &["error:not-in-every-manifest"],
        ),
        (
            "a file in one manifest only, 0.97",
            "0.97",
            |b| {
                edit(b, "manifest-md5.txt", |t| {
                    t.lines().skip(1).map(|l| l.to_owned() + "\n").collect()
                });
                seal(b);
            },
            &["not-in-every-manifest"],
        ),
        (
            "a line twice, 1.0",
            "1.0",
            |b| {
                edit(b, "manifest-md5.txt", |t| t.clone() + &t);
                seal(b);
            },
            &["error:listed-twice"],
        ),
        (
            "a line twice, 0.97",
            "0.97",
            |b| {
                edit(b, "manifest-md5.txt", |t| t.clone() + &t);
                seal(b);
            },
            &["listed-twice"],
        ),
        (
            "a manifest of nonsense",
            "1.0",
            |b| {
                edit(b, "manifest-md5.txt", |t| t + "nonsense\n");
                seal(b);
            },
            &["error:bad-manifest-line"],
        ),
        (
            "an unknown algorithm",
            "1.0",
            |b| {
                edit(b, "manifest-crc32.txt", |_| "00000000  data/a\n".into());
                seal(b);
            },
            &["error:unknown-algorithm"],
        ),
        (
            "a path that leaves",
            "1.0",
            |b| {
                edit(b, "manifest-md5.txt", |t| t + &line(Algorithm::Md5, "data/../../x", b""));
                seal(b);
            },
            &["error:unsafe-path"],
        ),
        (
            "a payload manifest that lists a tag file",
            "1.0",
            |b| {
                edit(b, "manifest-md5.txt", |t| t + &line(Algorithm::Md5, "bagit.txt", b""));
                seal(b);
            },
            &["error:outside-payload"],
        ),
        (
            "a tag manifest that lists payload",
            "1.0",
            |b| {
                edit(b, "tagmanifest-sha512.txt", |t| {
                    t + &line(Algorithm::Sha512, "data/a", b"one")
                })
            },
            &["error:payload-in-tag-manifest"],
        ),
        (
            "a tag manifest without a manifest",
            "1.0",
            |b| {
                edit(b, "tagmanifest-sha512.txt", |t| {
                    t.lines()
                        .filter(|l| !l.contains("manifest-md5"))
                        .map(|l| l.to_owned() + "\n")
                        .collect()
                });
            },
            &["error:manifest-not-listed"],
        ),
        (
            "fetch.txt of what is there",
            "1.0",
            |b| {
                edit(b, "fetch.txt", |_| "http://h/a 3 data/a\n".into());
                seal(b);
            },
            &[],
        ),
        (
            "fetch.txt of what is not",
            "1.0",
            |b| {
                b.remove(&b"data/empty"[..]);
                edit(b, "fetch.txt", |_| "http://h/e - data/empty\nhttp://h/x - data/x\n".into());
                seal(b);
            },
            &["error:fetch-not-listed", "error:missing-file", "error:oxum-mismatch"],
        ),
        (
            "an oxum of words",
            "1.0",
            |b| {
                edit(b, "bag-info.txt", |_| "Payload-Oxum: many\n".into());
                seal(b);
            },
            &["error:bad-oxum"],
        ),
        (
            "names that are not UTF-8, and twins",
            "1.0",
            |b| {
                for name in [&b"data/\xff"[..], b"data/A"] {
                    b.insert(name.to_vec(), b"x".to_vec());
                    for (manifest, algorithm) in [
                        ("manifest-md5.txt", Algorithm::Md5),
                        ("manifest-sha256.txt", Algorithm::Sha256),
                    ] {
                        let mut text = b.remove(manifest.as_bytes()).unwrap();
                        text.extend(format!("{}  ", hash(algorithm, b"x")).as_bytes());
                        text.extend(name);
                        text.push(b'\n');
                        b.insert(manifest.into(), text);
                    }
                }
                b.remove(&b"bag-info.txt"[..]);
                seal(b);
            },
            &["not-in-encoding", "twin-names"],
        ),
        (
            "escapes of 1.0",
            "1.0",
            |b| {
                let bytes = b.remove(&b"data/a"[..]).unwrap();
                b.insert(b"data/100%\r\n".to_vec(), bytes);
                for manifest in ["manifest-md5.txt", "manifest-sha256.txt"] {
                    edit(b, manifest, |t| t.replace("data/a\n", "data/100%25%0D%0A\n"));
                }
                seal(b);
            },
            &[],
        ),
        (
            "no escapes before",
            "0.97",
            |b| {
                let bytes = b.remove(&b"data/a"[..]).unwrap();
                b.insert(b"data/100%25%0A".to_vec(), bytes);
                for manifest in ["manifest-md5.txt", "manifest-sha256.txt"] {
                    edit(b, manifest, |t| t.replace("data/a\n", "data/100%25%0A\r\n"));
                }
                seal(b);
            },
            &[],
        ),
        (
            "md5sum's marks",
            "0.97",
            |b| {
                edit(b, "manifest-md5.txt", |t| t.replace("  ", " *./"));
                seal(b);
            },
            &["md5sum-asterisk", "relative-path"],
        ),
        (
            "an empty payload without its folder",
            "1.0",
            |b| {
                b.retain(|name, _| !name.starts_with(b"data/"));
                for name in ["manifest-md5.txt", "manifest-sha256.txt", "bag-info.txt"] {
                    b.insert(name.into(), Vec::new());
                }
                seal(b);
            },
            &["error:missing-payload-folder"],
        ),
    ];
    for (what, version, change, expected) in rows {
        let mut bag = good(version);
        change(&mut bag);
        check(what, &bag, expected);
    }
    println!("{} faults, each in 4 containers", rows.len());
}

/// Adds entries to a tar of the good bag, and validates it, plain and compressed.
fn check_tar(what: &str, add: impl Fn(&mut tar::Writer<Vec<u8>>), expected: &[&str]) {
    let place = tempfile::tempdir().unwrap();
    let mut writer = tar::Writer::new(Vec::new());
    for (name, bytes) in &good("1.0") {
        let name = [b"bag/", &name[..]].concat();
        writer.append_file(&name, 0, 0, bytes.len() as u64).unwrap().write_all(bytes).unwrap();
    }
    add(&mut writer);
    let bytes = writer.finish().unwrap();
    for (name, bytes) in [("x.tar", bytes.clone()), ("x.tgz", gzip(&bytes))] {
        let path = place.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let report = validate(&path, &all_errors(), &()).unwrap();
        assert_eq!(codes(&report), expected, "{what}, {name}: {:#?}", report.problems);
    }
}

#[test]
fn hostile_entries_of_a_tar_are_named() {
    let file = |name: &'static [u8]| {
        move |w: &mut tar::Writer<Vec<u8>>| {
            let _ = w.append_file(name, 0, 0, 0).unwrap();
        }
    };
    let link = |name: &'static [u8], to: &'static [u8]| {
        move |w: &mut tar::Writer<Vec<u8>>| w.symlink(name, to, 0o777, 0).unwrap()
    };
    check_tar("leaving", file(b"bag/../x"), &["error:unsafe-path"]);
    check_tar("absolute", file(b"/etc/x"), &["error:unsafe-path"]);
    check_tar("beside", file(b"other/x"), &["error:outside-base"]);
    check_tar("twice", file(b"bag/data/empty"), &["error:oxum-mismatch", "error:path-twice"]);
    check_tar("link out", link(b"bag/data/l", b"../../../x"), &["error:link-leaves"]);
    check_tar("link to nothing", link(b"bag/data/l", b"nothing"), &["link-not-checked"]);
    let unlisted = ["error:not-in-manifest", "error:oxum-mismatch"];
    check_tar("link to a file", link(b"bag/data/l", b"../data/a"), &unlisted);
    check_tar(
        "a circle",
        |w| {
            w.symlink(b"bag/x", b"y", 0o777, 0).unwrap();
            w.symlink(b"bag/y", b"x", 0o777, 0).unwrap();
        },
        &["link-not-checked"],
    );
}

#[test]
fn a_cut_tar_is_invalid_and_says_where() {
    let place = tempfile::tempdir().unwrap();
    let bytes = write_tar(&good("1.0"));
    let half = bytes.len() / 2;
    for (name, cut) in [
        ("plain", bytes[..half].to_vec()),
        ("gzip", gzip(&bytes)[..400].to_vec()),
        ("inside", gzip(&bytes[..half])),
    ] {
        let path = place.path().join(name);
        std::fs::write(&path, cut).unwrap();
        let report = validate(&path, &all_errors(), &()).unwrap();
        assert!(!report.valid && !report.undecided);
        let code = report.problems[0].code;
        assert!(["tar-truncated", "tar-unreadable"].contains(&code), "{name}: {code}");
        println!("{name}: {}", report.problems[0]);
    }
    std::fs::write(place.path().join("text"), "no bag").unwrap();
    let report = validate(&place.path().join("text"), &all_errors(), &()).unwrap();
    assert_eq!(codes(&report), ["error:not-a-bag"]);
    assert!(validate(&place.path().join("nowhere"), &all_errors(), &()).is_err());
}

#[test]
fn links_in_folders_stay_inside() {
    use std::os::unix::fs::symlink;
    let place = tempfile::tempdir().unwrap();
    let bag = place.path().join("bag");
    let mut files = good("1.0");
    for (manifest, algorithm) in
        [("manifest-md5.txt", Algorithm::Md5), ("manifest-sha256.txt", Algorithm::Sha256)]
    {
        edit(&mut files, manifest, |t| t + &line(algorithm, "data/b/link", b"one"));
    }
    files.remove(&b"bag-info.txt"[..]);
    seal(&mut files);
    write_folder(&files, &bag);
    symlink("../a", bag.join("data/b/link")).unwrap();
    assert_eq!(codes(&validate(&bag, &all_errors(), &()).unwrap()), [""; 0]);
    std::fs::write(place.path().join("a"), "one").unwrap();
    std::fs::remove_file(bag.join("data/b/link")).unwrap();
    symlink("../../../a", bag.join("data/b/link")).unwrap();
    let report = validate(&bag, &all_errors(), &()).unwrap();
    assert_eq!(codes(&report), ["error:link-leaves", "error:missing-file"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever happens to the tag files, there is a verdict; and a bag that still counts as valid has all
    /// its payload right, for that was not touched.
    #[test]
    fn mutated_tag_files_never_panic(which in 0usize..4, at: prop::sample::Index, bytes: Vec<u8>) {
        let mut bag = Bag::new();
        bag.insert(b"data/a".to_vec(), b"one".to_vec());
        let text = |s: &str| s.as_bytes().to_vec();
        bag.insert(text("bagit.txt"), text("BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"));
        bag.insert(text("bag-info.txt"), text("A: b\n c\nPayload-Oxum: 3.1\n"));
        bag.insert(text("manifest-md5.txt"), text(&line(Algorithm::Md5, "data/a", b"one")));
        bag.insert(text("fetch.txt"), text("http://h/a 3 data/a\n"));
        let names = ["bagit.txt", "bag-info.txt", "manifest-md5.txt", "fetch.txt"];
        let file = bag.get_mut(names[which].as_bytes()).unwrap();
        let at = at.index(file.len());
        file.splice(at..(at + bytes.len()).min(file.len()), bytes);
        let mut facts = strongroom_bag::rules::Facts::new();
        for (name, bytes) in bag.iter().filter(|(name, _)| facts_take(name)) {
            facts.feed(name, &bytes[..]).unwrap();
        }
        facts.settle();
        let wanted: Vec<_> = facts.wanted().iter().map(|a| hash(a, b"one")).collect();
        let mut checker = strongroom_bag::rules::Checker::new(&facts);
        checker.feed(b"data/a", 3, &wanted);
        checker.finish();
    }

    #[test]
    fn mutated_profiles_never_panic(json in "[\\[\\]{}:,\"a-zA-Z0-9 -]{0,200}") {
        let _ = strongroom_bag::profile::Profile::load(json.as_bytes());
    }
}

fn facts_take(name: &[u8]) -> bool {
    !name.starts_with(b"data/")
}
