//! What a source holds, by its headers alone: refused here if hostile, before payload flows.

use crate::Error;
use crate::runner::Job;
use crate::source::{Entry, Kind, Source, Stream};
use std::collections::HashSet;
use std::io;
use strongroom_bag::path::{self, check_entry, link_stays_inside};
use strongroom_bag::{Problem, rules};
use strongroom_digest::{Algorithm, Set};

/// Problems of a source that are told at once; the rest is counted.
const PROBLEMS_MAX: usize = 1000;
/// Warnings of names that differ only in case or Unicode form are looked for among so many files.
const TWINS_FILES_MAX: usize = 200_000;

/// What is known of a source before its payload is read.
pub(crate) struct Plan {
    /// Whether it is a bag already.
    pub(crate) bag: bool,
    /// What stands before every path of a bag in a tar.
    strip: Vec<u8>,
    /// What the tag files of a bag say.
    pub(crate) facts: Option<rules::Facts>,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) warnings: Vec<Problem>,
    wanted: Set,
    /// Folders in which something lies, by a hash of their path.
    filled: HashSet<[u8; 16]>,
}

impl Plan {
    /// Walks the headers of `source`, and reads the tag files of a bag.
    pub(crate) fn of(source: &Source, job: &Job<'_>) -> Result<Plan, Error> {
        let mut walk = Walked::default();
        if matches!(source, Source::Folder(_)) {
            walk.strip = Some(Vec::new());
        }
        let mut stream = source.stream(&Default::default())?;
        while let Some(entry) = stream.next()? {
            job.stop.check()?;
            walk.see(&entry, &mut stream)?;
        }
        walk.end(source)
    }

    /// Where an entry of the source stands in the bag; `None` for what is not kept as such (a folder
    /// in which something lies).
    pub(crate) fn place(&self, entry: &Entry) -> Option<Vec<u8>> {
        let raw = &entry.path[..];
        match entry.kind {
            Kind::Folder => return None,
            Kind::EmptyFolder if raw == b"." || self.filled.contains(&short(raw)) => return None,
            _ => {}
        }
        let place = self.place_path(raw);
        // The payload's own folder is no file of it, even where it is empty.
        if entry.kind == Kind::EmptyFolder && (place.is_empty() || place == b"data") {
            return None;
        }
        Some(place)
    }

    /// The same for a path that an entry names.
    pub(crate) fn place_path(&self, raw: &[u8]) -> Vec<u8> {
        match self.bag {
            true => raw.strip_prefix(&self.strip[..]).unwrap_or_default().to_vec(),
            false => [b"data/", raw].concat(),
        }
    }

    /// The digests that are computed of every file.
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        self.wanted.iter().collect()
    }
}

#[derive(Default)]
struct Walked {
    /// As far as all entries agree: what a bag's paths would begin with.
    strip: Option<Vec<u8>>,
    disagree: bool,
    facts: rules::Facts,
    declared: bool,
    files: u64,
    bytes: u64,
    seen: HashSet<[u8; 16]>,
    filled: HashSet<[u8; 16]>,
    names: Vec<Vec<u8>>,
    problems: Vec<Problem>,
}

impl Walked {
    fn see(&mut self, entry: &Entry, stream: &mut Stream) -> Result<(), Error> {
        let raw = &entry.path[..];
        if raw == b"." && matches!(entry.kind, Kind::EmptyFolder | Kind::Folder) {
            return Ok(());
        }
        if let Err(why) = check_entry(raw) {
            self.problem("unsafe-path", raw, why.to_string());
        }
        let folder = matches!(entry.kind, Kind::EmptyFolder | Kind::Folder);
        // A tar may name a folder again; nothing else may come twice.
        if !self.seen.insert(short(raw)) && !folder {
            self.problem("path-twice", raw, "stands in the source twice".into());
        }
        for (at, _) in raw.iter().enumerate().filter(|(_, b)| **b == b'/') {
            self.filled.insert(short(&raw[..at]));
        }
        match &entry.kind {
            Kind::Symlink(target) if !link_stays_inside(raw, target) => {
                let detail = format!("links to {}, outside the deposit", path::show(target));
                self.problem("link-out", raw, detail);
            }
            Kind::HardLink(target) if !self.seen.contains(&short(path::clean(target))) => {
                let shown = path::show(target);
                self.problem(
                    "link-to-nothing",
                    raw,
                    format!("is a hard link to {shown}, which does not come before it"),
                );
            }
            _ => {}
        }
        if !folder {
            self.files += 1;
            self.bytes = self.bytes.saturating_add(entry.size);
            if self.names.len() < TWINS_FILES_MAX {
                self.names.push(raw.to_vec());
            }
        }
        self.agree(raw, folder);
        let Some(strip) = self.strip.clone().filter(|_| !self.disagree) else { return Ok(()) };
        let Some(inside) = raw.strip_prefix(&strip[..]) else { return Ok(()) };
        self.declared |= inside == b"bagit.txt" && entry.kind == Kind::File;
        if entry.kind == Kind::File && self.facts.takes(inside) {
            stream.open(entry, 0)?;
            let mut failed = None;
            let fed = self.facts.feed(inside, Bytes { stream, failed: &mut failed });
            if let Some(error) = failed {
                return Err(error);
            }
            if let Err(error) = fed {
                self.problem("tag-file-unreadable", raw, error.to_string());
            }
        }
        Ok(())
    }

    /// A bag in a tar stands in one folder, which every path begins with.
    fn agree(&mut self, raw: &[u8], folder: bool) {
        match &self.strip {
            None => {
                let end = raw.iter().position(|b| *b == b'/').map(|at| at + 1);
                self.strip = match end {
                    Some(end) => Some(raw[..end].to_vec()),
                    None if folder => Some([raw, b"/"].concat()),
                    None => Some(Vec::new()),
                };
            }
            Some(strip) => {
                let top = folder && strip.strip_suffix(b"/") == Some(raw);
                self.disagree |= !top && !raw.starts_with(strip);
            }
        }
    }

    fn problem(&mut self, code: &'static str, path: &[u8], detail: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem::error(code, path, detail));
        }
    }

    fn end(mut self, source: &Source) -> Result<Plan, Error> {
        let bag = self.declared && !self.disagree && !matches!(source, Source::File(_));
        let mut warnings: Vec<Problem> =
            strongroom_bag::path::twins(self.names.iter().map(Vec::as_slice))
                .into_iter()
                .map(|twin| {
                    let detail = format!(
                        "differs from {} only in case or Unicode form",
                        path::show(&twin.first)
                    );
                    Problem::warning("twin-names", twin.second, detail)
                })
                .collect();
        let mut wanted = Set::from(Algorithm::Sha256);
        let facts = if bag {
            self.facts.settle();
            wanted = wanted.union(self.facts.wanted());
            if self.facts.has_fetch {
                self.problems.push(Problem::error(
                    "fetch-in-deposit",
                    &b"fetch.txt"[..],
                    "names files to be fetched from elsewhere; deposit the complete bag",
                ));
            }
            for problem in self.facts.problems() {
                match problem.is_error() {
                    true => self.problems.push(problem.clone()),
                    false => warnings.push(problem.clone()),
                }
            }
            Some(self.facts)
        } else {
            None
        };
        if !self.problems.is_empty() {
            return Err(Error::Refused(self.problems));
        }
        Ok(Plan {
            bag,
            strip: self.strip.unwrap_or_default(),
            facts,
            files: self.files,
            bytes: self.bytes,
            warnings,
            wanted,
            filled: self.filled,
        })
    }
}

/// The current entry's bytes as a reader; the true error is kept aside.
struct Bytes<'a> {
    stream: &'a mut Stream,
    failed: &'a mut Option<Error>,
}

impl io::Read for Bytes<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buf).map_err(|error| {
            let shown = io::Error::other(error.to_string());
            *self.failed = Some(error);
            shown
        })
    }
}

/// Enough of a hash that no two paths of a source share it, also where somebody tries.
fn short(path: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&strongroom_record::Sha256::of(path).0[..16]);
    short
}
