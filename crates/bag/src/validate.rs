//! Whether a bag is valid, in a folder or a tar, plain or compressed, without unpacking anything.
//!
//! The bag is looked at twice: its tag files first (which digests are wanted, what is listed), then every
//! file once. Several threads hash files side by side; the algorithms of a large file run on threads of
//! their own, so that the slowest alone (MD5) binds. A plain tar's files are read where they lie; only a
//! compressed tar passes through one thread, which hands on small files in batches.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use strongroom_digest::{Algorithm, Set};

use crate::declaration::Version;
use crate::problem::{Problem, Severity};
use crate::profile::{Profile, Seen};
use crate::rules::{Checker, Facts};
use crate::source::{self, Container};
use crate::{Error, Progress};

mod archive;
mod folder;
mod hash;
mod work;

/// How to validate.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Goes on after the first error, and reports every one.
    pub all_errors: bool,
    /// Also holds the bag against this profile.
    pub profile: Option<Profile>,
    /// Threads that hash; 0 for one for each processor.
    pub threads: usize,
    /// Compares names and Payload-Oxum only, and reads no payload.
    pub quick: bool,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Report {
    /// No error was found. Warnings may have been.
    pub valid: bool,
    /// Something could not be read: if nothing else is wrong, nobody can tell whether the bag is valid.
    pub undecided: bool,
    /// Errors first, then warnings.
    pub problems: Vec<Problem>,
    /// Payload files.
    pub files: u64,
    /// Bytes of the payload.
    pub bytes: u64,
    /// The version, if bagit.txt could be read.
    pub version: Option<Version>,
    /// What holds the bag; `None` if it is neither a folder nor a tar.
    pub container: Option<Container>,
    /// The algorithms of its manifests.
    pub algorithms: Vec<Algorithm>,
}

impl Report {
    /// The problems that make the bag invalid.
    pub fn errors(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| problem.severity == Severity::Error)
    }

    /// The problems that do not.
    pub fn warnings(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| problem.severity == Severity::Warning)
    }
}

/// Validates the bag at `path`.
///
/// # Errors
/// Where nobody can tell: the path is not there, or cannot be read. A bag that is wrong, a broken tar
/// too, is a [`Report`].
pub fn validate(path: &Path, options: &Options, progress: &dyn Progress) -> Result<Report, Error> {
    let read = |error| Error::io("read", path, error);
    let Some(container) = source::detect(path).map_err(read)? else {
        let detail = "is neither a folder nor a tar (plain, gzip or zstd)";
        return Ok(Report::of(None, None, vec![Problem::of_bag("not-a-bag", detail)]));
    };
    let mut facts = Facts::new();
    for name in options.profile.iter().flat_map(|profile| profile.tag_files()) {
        facts.ask_for(name.as_bytes());
    }
    let gathered = match container {
        Container::Folder => folder::gather(path, facts),
        _ => archive::gather(path, container, facts),
    };
    let mut gathered = match gathered {
        Ok(gathered) => gathered,
        Err(error) => return unreadable(error, container, None),
    };
    gathered.facts.settle();
    let (facts, base) = (&gathered.facts, gathered.base.as_slice());

    let mut checker = Checker::new(facts);
    if options.quick {
        checker = checker.names_only();
    }
    gathered.notes.drain(..).for_each(|problem| checker.note(problem));
    gathered.folders.iter().for_each(|folder| checker.folder(folder));
    if let Some(profile) = &options.profile {
        let file_name = path.file_name().map(OsStrExt::as_bytes);
        let tag_files = &gathered.tag_files;
        let seen = Seen { facts, container, base, file_name, tag_files };
        profile.check(&seen).into_iter().for_each(|problem| checker.note(problem));
    }
    if checker.has_errors() && !options.all_errors {
        return Ok(Report::of(Some(container), Some(facts), checker.finish_early()));
    }
    progress.total(gathered.total.files, gathered.total.bytes);

    let threads = match options.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let run = work::Run { facts, options, progress, threads };
    let outcome = match container {
        Container::Folder => folder::hash(path, &run, &mut checker),
        _ => archive::hash(path, container, &gathered, &run, &mut checker),
    };
    match outcome {
        Ok(undecided) => {
            let payload = checker.payload();
            let stopped = checker.has_errors() && !options.all_errors;
            let problems = if stopped { checker.finish_early() } else { checker.finish() };
            let report = Report::of(Some(container), Some(facts), problems);
            Ok(Report { undecided, files: payload.files, bytes: payload.bytes, ..report })
        }
        Err(error) => unreadable(error, container, Some((facts, checker))),
    }
}

impl Report {
    fn of(container: Option<Container>, facts: Option<&Facts>, problems: Vec<Problem>) -> Report {
        Report {
            valid: !problems.iter().any(|problem| problem.severity == Severity::Error),
            undecided: false,
            problems,
            files: 0,
            bytes: 0,
            version: facts.and_then(|facts| facts.declaration()).map(|d| d.version),
            container,
            algorithms: facts.map_or_else(Vec::new, |facts| facts.wanted().iter().collect()),
        }
    }
}

/// A tar that is broken is an invalid bag; a disk that fails tells nothing about it.
fn unreadable(
    error: Error,
    container: Container,
    so_far: Option<(&Facts, Checker<'_>)>,
) -> Result<Report, Error> {
    let Error::Tar(error) = error else { return Err(error) };
    if !error.is_damage() {
        return Err(Error::Tar(error));
    }
    let mut detail = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        detail.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    let problem = Problem::of_bag(error.code(), detail);
    Ok(match so_far {
        Some((facts, mut checker)) => {
            checker.note(problem);
            Report::of(Some(container), Some(facts), checker.finish_early())
        }
        None => Report::of(Some(container), None, vec![problem]),
    })
}

/// What the first look gathers.
#[derive(Default)]
struct Gathered {
    facts: Facts,
    /// The folder in a tar that is the bag, with its slash; empty if the tar has none.
    base: Vec<u8>,
    folders: Vec<Vec<u8>>,
    tag_files: Vec<Vec<u8>>,
    links: Vec<archive::Link>,
    notes: Vec<Problem>,
    total: crate::info::Oxum,
}

/// The digests wanted of a file; none of what no manifest lists.
fn wanted(facts: &Facts, options: &Options, path: &[u8]) -> Set {
    match !options.quick && facts.is_listed(path) {
        true => facts.wanted_for(path),
        false => Set::default(),
    }
}

/// Opens a tar, or the stream inside a compressed one.
fn open(path: &Path, container: Container) -> Result<Box<dyn io::Read + Send>, Error> {
    let fail = |error| Error::io("open", path, error);
    let file = File::open(path).map_err(fail)?;
    source::decompress(container, file).map_err(fail)
}
