//! The suite is read where it lies; nothing of it is copied.

use std::path::Path;

use strongroom_bag::validate::{Options, Report, validate};
use strongroom_bag::{Severity, source, tar};
use strongroom_testkit::conformance;

/// Unpacks the suite's archive with our own reader.
fn unpack(archive: &Path, to: &Path) -> u64 {
    let container = source::detect(archive).unwrap().unwrap();
    let file = std::fs::File::open(archive).unwrap();
    let mut reader = tar::Reader::new(source::decompress(container, file).unwrap());
    let mut files = 0;
    while let Some(entry) = reader.next().unwrap() {
        use std::os::unix::ffi::OsStrExt;
        let path = to.join(std::ffi::OsStr::from_bytes(&entry.path));
        match entry.kind {
            tar::Kind::Folder => std::fs::create_dir_all(path).unwrap(),
            tar::Kind::File => {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::io::copy(&mut reader, &mut std::fs::File::create(path).unwrap()).unwrap();
                files += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    files
}

#[test]
fn all_sixty_bags_of_the_suite_get_their_verdicts() {
    let Some(suite) = conformance("bagit") else { return };
    let place = tempfile::tempdir().unwrap();
    assert_eq!(unpack(&suite.join("bags.tar.gz"), place.path()), 438);
    let options = Options { all_errors: true, ..Options::default() };
    let mut wrong = Vec::new();
    let mut bags = 0;
    for line in std::fs::read_to_string(suite.join("expected.tsv")).unwrap().lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let (path, expected) = (fields[0], fields[2]);
        let report = validate(&place.path().join(path), &options, &()).unwrap();
        bags += 1;
        let warned = report.problems.iter().any(|p| p.severity == Severity::Warning);
        let right = match expected {
            "valid" => report.valid,
            "invalid" | "linux-only" => !report.valid,
            // Read on Linux, these are names that lie outside data/, and are not there.
            "windows-only" => !report.valid && outside(&report),
            // Three of them list a file that is not there on this kind of file system.
            "warning" => {
                warned && (report.valid || LACKING.iter().any(|name| path.ends_with(name)))
            }
            other => panic!("{other}"),
        };
        println!("{expected:12} {path}: {}", if report.valid { "valid" } else { "invalid" });
        report.problems.iter().for_each(|problem| println!("             {problem}"));
        if !right {
            wrong.push(path.to_owned());
        }
    }
    assert_eq!(bags, 60);
    assert!(wrong.is_empty(), "wrong verdicts: {wrong:#?}");
}

const LACKING: [&str; 3] = [
    "duplicate-file-with-different-case",
    "same-filename-listed-twice-with-different-normalization",
    "special-system-files",
];

fn outside(report: &Report) -> bool {
    report.errors().any(|problem| problem.code == "outside-payload")
}
