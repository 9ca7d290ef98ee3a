use super::*;
use crate::validate::{self, validate};
use place::{Bagging, Steps};
use std::fs;
use std::os::unix::fs::symlink;

/// A folder with everything that makes bagging hard: names that a bag uses itself, links, odd names.
fn fill(root: &Path) {
    fs::create_dir_all(root.join("data/data")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    fs::create_dir_all(root.join("sub/deep")).unwrap();
    for (name, text) in [
        ("data/a", "1"),
        ("data/data/b", "22"),
        ("manifest-md5.txt", "333"),
        ("bag-info.txt", "4444"),
        ("ready", "55555"),
        ("sub/deep/100% line\nbreak\r", "666666"),
        ("zero", ""),
    ] {
        fs::write(root.join(name), text).unwrap();
    }
    fs::write(root.join("large"), vec![7; 9 * 1024 * 1024]).unwrap();
    symlink("sub/deep", root.join("to-folder")).unwrap();
    symlink("../data/a", root.join("sub/to-file")).unwrap();
    symlink("nothing", root.join("to-nothing")).unwrap();
}

/// All files and links of a folder, with their bytes.
fn snapshot(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in Walk::new(root).unwrap() {
        let entry = entry.unwrap();
        let bytes = match &entry.kind {
            tree::Kind::File => fs::read(absolute(root, &entry.path)).unwrap(),
            tree::Kind::Symlink { target } => target.clone(),
            _ => Vec::new(),
        };
        all.push((path::show(&entry.path), bytes));
    }
    all
}

fn options() -> Options {
    Options {
        algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
        info: vec![("Source-Organization".into(), "Here".into())],
        ..Options::default()
    }
}

fn check_valid(bag: &Path, files: u64) {
    let all_errors = validate::Options { all_errors: true, ..Default::default() };
    let report = validate(bag, &all_errors, &()).unwrap();
    assert!(report.valid, "{:#?}", report.problems);
    assert_eq!(report.files, files);
}

#[test]
fn a_folder_becomes_a_bag_with_nothing_lost_or_added() {
    let place = tempfile::tempdir().unwrap();
    fill(place.path());
    let before = snapshot(place.path());
    let created = in_place(place.path(), &options()).unwrap();
    assert_eq!(created.payload, Oxum { bytes: 9 * 1024 * 1024 + 22, files: 9 });
    assert_eq!(created.notes.len(), 3, "{:?}", created.notes);
    check_valid(place.path(), 9);
    assert_eq!(snapshot(&place.path().join("data")), before);
    assert!(matches!(in_place(place.path(), &options()), Err(Error::AlreadyABag(_))));
}

#[test]
fn killed_before_any_step_and_run_again_it_is_the_same_bag() {
    let undisturbed = tempfile::tempdir().unwrap();
    fill(undisturbed.path());
    let created = in_place(undisturbed.path(), &options()).unwrap();
    let expected = snapshot(undisturbed.path());
    let mut kills = 0;
    for kill in 0.. {
        let place = tempfile::tempdir().unwrap();
        fill(place.path());
        let root = place.path();
        // A second kill soon after the first must do no harm either.
        let mut died = 0;
        for stop_before in [Some(kill), Some(kill % 3), None] {
            let steps = Steps { done: 0, stop_before };
            let mut bagging = Bagging { root, marker: root.join(MARKER), steps };
            match bagging.run(&options(), &()) {
                Ok(again) => {
                    assert_eq!(again.payload, created.payload, "killed before step {kill}");
                    break;
                }
                Err(Error::Io { source, .. }) => {
                    assert_eq!(source.kind(), std::io::ErrorKind::Interrupted, "{source}");
                    died += 1;
                }
                Err(error) => panic!("killed before step {kill}: {error}"),
            }
        }
        assert_eq!(snapshot(root), expected, "killed before step {kill}");
        if died == 0 {
            break;
        }
        kills = kill + 1;
    }
    println!("killed before each of {kills} steps");
    assert!(kills > 20);
}

#[test]
fn what_cannot_stand_in_a_bag_is_refused_and_nothing_changed() {
    for make in [
        (|root: &Path| symlink("../../outside", root.join("x")).unwrap()) as fn(&Path),
        |root| symlink("/etc/passwd", root.join("x")).unwrap(),
        |root| drop(std::os::unix::net::UnixListener::bind(root.join("x")).unwrap()),
    ] {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("a"), "1").unwrap();
        make(place.path());
        let before = snapshot(place.path());
        assert!(matches!(in_place(place.path(), &options()), Err(Error::Unfit { .. })));
        assert_eq!(snapshot(place.path()), before);
    }
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("a\nb"), "1").unwrap();
    let old = Options { version: Version::V0_97, ..options() };
    assert!(matches!(in_place(place.path(), &old), Err(Error::Unfit { .. })));
    let none = Options { algorithms: Vec::new(), ..options() };
    assert!(matches!(in_place(place.path(), &none), Err(Error::Asked(_))));
}

#[test]
fn a_name_that_appears_between_two_runs_is_not_overwritten() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    fs::write(root.join("a"), "old").unwrap();
    let steps = Steps { done: 0, stop_before: Some(3) };
    let mut bagging = Bagging { root, marker: root.join(MARKER), steps };
    assert!(bagging.run(&options(), &()).is_err());
    assert!(!root.join("a").exists());
    fs::write(root.join("a"), "new").unwrap();
    assert!(matches!(in_place(root, &options()), Err(Error::Asked(_))));
    assert_eq!(fs::read(root.join("a")).unwrap(), b"new");
    assert_eq!(fs::read(root.join(MARKER).join("data/a")).unwrap(), b"old");
}

#[test]
fn a_tar_holds_the_same_bag() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fill(&folder);
    let before = snapshot(&folder);
    let to = place.path().join("bag.tar");
    // What a killed run left behind.
    fs::write(place.path().join(".bag.tar.strongroom-bagging"), "rubbish").unwrap();
    let created = to_tar(&folder, &to, "bag", &options(), &()).unwrap();
    assert_eq!(created.payload.files, 9);
    assert_eq!(snapshot(&folder), before);
    check_valid(&to, 9);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
    let again = to_tar(&folder, &to, "bag", &options(), &());
    assert!(matches!(again, Err(Error::Io { .. })), "{again:?}");
    let nameless = to_tar(&folder, &place.path().join("x.tar"), "..", &options(), &());
    assert!(matches!(nameless, Err(Error::Asked(_))));
}

/// Changes a file when all of them are hashed.
struct Meddler<'a> {
    files: std::sync::atomic::AtomicU64,
    path: &'a Path,
    change: fn(&Path),
}

impl Progress for Meddler<'_> {
    fn files(&self, n: u64) {
        use std::sync::atomic::Ordering;
        if self.files.fetch_sub(n, Ordering::Relaxed) == n {
            (self.change)(self.path);
        }
    }
    fn bytes(&self, _: u64) {}
    fn total(&self, _: u64, _: u64) {}
}

/// Many small files are held and hashed together: in their order, and none that is not what was hashed.
#[test]
fn many_small_files_go_into_a_tar_as_they_were_hashed_or_not_at_all() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("folder");
    let path = |i: usize| folder.join(format!("{}/{i:04}", i / 200));
    for i in 0..700 {
        fs::create_dir_all(path(i).parent().unwrap()).unwrap();
        fs::write(path(i), vec![i as u8; (i * 7919) % 30_000]).unwrap();
    }
    fs::write(folder.join("1/0300-long"), vec![3; 300_000]).unwrap();
    let try_with = |name: &str, change: fn(&Path)| {
        let meddler = Meddler { files: 701.into(), path: &path(333), change };
        to_tar(&folder, &place.path().join(name), "bag", &options(), &meddler)
    };
    try_with("good.tar", |_| ()).unwrap();
    check_valid(&place.path().join("good.tar"), 701);
    let mut tar = crate::tar::Reader::new(File::open(place.path().join("good.tar")).unwrap());
    let mut names = Vec::new();
    while let Some(entry) = tar.next().unwrap() {
        names.push(entry.path);
    }
    let walked = Walk::new(&folder).unwrap().map(|entry| entry.unwrap().path);
    let expected: Vec<_> = walked.map(|path| [b"bag/data/", &path[..]].concat()).collect();
    assert_eq!(names[names.len() - expected.len()..], expected);

    let length = (333 * 7919) % 30_000;
    assert!(length > 0);
    let changes: [fn(&Path); 3] = [
        |path| fs::write(path, vec![0; fs::metadata(path).unwrap().len() as usize]).unwrap(),
        |path| fs::write(path, vec![77; fs::metadata(path).unwrap().len() as usize + 1]).unwrap(),
        |path| fs::write(path, b"short").unwrap(),
    ];
    for (i, change) in changes.into_iter().enumerate() {
        fs::write(path(333), vec![77; length]).unwrap();
        let told = try_with(&format!("{i}.tar"), change);
        assert!(
            matches!(&told, Err(Error::Unfit { path, .. }) if path.ends_with("0333")),
            "{told:?}"
        );
        assert!(!place.path().join(format!("{i}.tar")).exists());
    }
}
