//! What a source holds, by its headers alone: refused here if hostile, before payload flows.

use crate::Error;
use crate::runner::Job;
use crate::source::{Entry, Kind, Source, Stream, refused};
use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Seek as _};
use strongroom_bag::path::{self, Led, check_entry, link_stays_inside};
use strongroom_bag::{Problem, rules};
use strongroom_digest::{Algorithm, Set};

/// Problems of a source that are told at once; the rest is counted.
const PROBLEMS_MAX: usize = 1000;
/// Warnings of names that differ only in case or Unicode form are looked for among so many files.
const TWINS_FILES_MAX: usize = 200_000;

/// Stands before the path of a file of a source that is not known to be a bag yet: no path of a source
/// begins so, so none is met twice while they are given their places.
const UNPLACED: &[u8] = b"\0";
/// Folders of a source that is read in one pass are held until it is known which of them are empty.
const FOLDERS_MAX: usize = 1_000_000;
/// Symbolic links are held until it is known where each leads.
const LINKS_MAX: usize = 1_000_000;
/// Manifests and other tag files of meaning that such a source may have.
const TAGS_MAX: usize = 256;

/// What is known of a source before its payload is read; of one that is read in one pass, after.
pub(crate) struct Plan {
    /// Whether it is a bag already.
    pub(crate) bag: bool,
    /// What stands before every path of a bag in a tar.
    strip: Vec<u8>,
    /// Whether a bag has a payload folder, be it empty.
    pub(crate) payload_folder: bool,
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
        let mut walk = Walked::of(source);
        let mut stream = source.stream(&Default::default())?;
        while let Some(entry) = stream.next()? {
            job.stop.check()?;
            if let Some(inside) = walk.see(&entry) {
                stream.open(&entry, 0)?;
                let mut failed = None;
                walk.feed(&entry, &inside, Bytes { stream: &mut stream, failed: &mut failed });
                if let Some(error) = failed {
                    return Err(error);
                }
            }
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
    /// Of those seen, the folders.
    folders: HashSet<[u8; 16]>,
    /// Folders that were named again.
    again: Vec<Vec<u8>>,
    filled: HashSet<[u8; 16]>,
    names: Vec<Vec<u8>>,
    /// Targets of symbolic links by their paths.
    links: BTreeMap<Vec<u8>, Vec<u8>>,
    problems: Vec<Problem>,
}

impl Walked {
    fn of(source: &Source) -> Walked {
        let strip = matches!(source, Source::Folder(_)).then(Vec::new);
        Walked { strip, ..Walked::default() }
    }

    /// Takes an entry in. Returns what it is called in the bag, where it is a tag file of one whose
    /// bytes are wanted, as far as is known by now.
    fn see(&mut self, entry: &Entry) -> Option<Vec<u8>> {
        let raw = &entry.path[..];
        if raw == b"." && matches!(entry.kind, Kind::EmptyFolder | Kind::Folder) {
            return None;
        }
        if let Err(why) = check_entry(raw) {
            self.problem("unsafe-path", raw, why.to_string());
        }
        let folder = matches!(entry.kind, Kind::EmptyFolder | Kind::Folder);
        let hash = short(raw);
        let again = !self.seen.insert(hash);
        // A tar may name a folder again, if something lies in it; nothing else may come twice.
        if again && !(folder && self.folders.contains(&hash)) {
            self.problem("path-twice", raw, "stands in the source twice".into());
        }
        match folder {
            true if !self.folders.insert(hash) && self.again.len() < FOLDERS_MAX => {
                self.again.push(raw.to_vec());
            }
            true => {}
            false if self.filled.contains(&hash) => {
                self.problem("no-folder", raw, "is no folder, and something lies in it".into());
            }
            false => {}
        }
        for (at, _) in raw.iter().enumerate().filter(|(_, b)| **b == b'/') {
            let above = short(&raw[..at]);
            self.filled.insert(above);
            if self.seen.contains(&above) && !self.folders.contains(&above) {
                let detail = format!("lies in {}, which is no folder", path::show(&raw[..at]));
                self.problem("no-folder", raw, detail);
            }
        }
        match &entry.kind {
            Kind::Symlink(target) if !link_stays_inside(raw, target) => {
                let detail = format!("links to {}, outside the deposit", path::show(target));
                self.problem("link-out", raw, detail);
            }
            Kind::Symlink(target) => {
                self.links.insert(raw.to_vec(), target.clone());
                if self.links.len() == LINKS_MAX + 1 {
                    let detail = format!("is the link after {LINKS_MAX} others");
                    self.problem("too-many-links", raw, detail);
                }
            }
            Kind::HardLink(target) => {
                let first = short(path::clean(target));
                if first == hash || !self.seen.contains(&first) || self.folders.contains(&first) {
                    let shown = path::show(target);
                    let detail =
                        format!("is a hard link to {shown}, which is no file that comes before it");
                    self.problem("link-to-nothing", raw, detail);
                }
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
        let inside = self.inside(entry)?;
        self.declared |= inside == b"bagit.txt" && entry.kind == Kind::File;
        (entry.kind == Kind::File && self.facts.takes(&inside)).then_some(inside)
    }

    /// What an entry would be called in the bag.
    fn inside(&self, entry: &Entry) -> Option<Vec<u8>> {
        let strip = self.strip.as_ref().filter(|_| !self.disagree)?;
        entry.path.strip_prefix(&strip[..]).map(<[u8]>::to_vec)
    }

    fn feed(&mut self, entry: &Entry, inside: &[u8], bytes: impl io::Read) {
        if let Err(error) = self.facts.feed(inside, bytes) {
            self.problem("tag-file-unreadable", &entry.path, error.to_string());
        }
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

    /// Follows links through other ones, which may lead out together though none does alone; in a bag,
    /// out of its own folder.
    fn links_stay_inside(&mut self, strip: &[u8]) {
        let links = std::mem::take(&mut self.links);
        let target_of =
            |path: &[u8]| Ok::<_, Infallible>(links.get(&[strip, path].concat()).cloned());
        for (raw, target) in &links {
            let Some(path) = raw.strip_prefix(strip) else { continue };
            let Ok(led) = path::follow(path, target_of);
            if led == Led::Out {
                let detail = format!("links to {}, and so out of the deposit", path::show(target));
                self.problem("link-out", raw, detail);
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
        for path in std::mem::take(&mut self.again) {
            if !self.filled.contains(&short(&path)) {
                self.problem("path-twice", &path, "is an empty folder that stands twice".into());
            }
        }
        let strip = self.strip.as_deref().filter(|_| bag).unwrap_or_default().to_vec();
        self.links_stay_inside(&strip);
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
        let strip = self.strip.unwrap_or_default();
        let payload = short(&[&strip[..], b"data"].concat());
        Ok(Plan {
            bag,
            payload_folder: self.folders.contains(&payload) || self.filled.contains(&payload),
            strip,
            facts,
            files: self.files,
            bytes: self.bytes,
            warnings,
            wanted,
            filled: self.filled,
        })
    }
}

/// A source that is read in one pass: what its entries say as they pass, until a plan follows.
pub(crate) struct Unseen<'a> {
    job: &'a Job<'a>,
    source: &'a Source,
    walk: Walked,
    /// Tag files, by their whole path, each in a file without a name.
    tags: Vec<(Entry, File)>,
    folders: Vec<Entry>,
}

impl<'a> Unseen<'a> {
    /// All digests that manifests use commonly; others are computed from what is stored.
    pub(crate) const ALGORITHMS: [Algorithm; 3] =
        [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512];

    pub(crate) fn new(job: &'a Job<'a>, source: &'a Source) -> Unseen<'a> {
        let walk = Walked::of(source);
        Unseen { job, source, walk, tags: Vec::new(), folders: Vec::new() }
    }

    /// What passes: refused at once where it is hostile. Returns where its bytes are also to be
    /// written, of one that may be a tag file.
    pub(crate) fn see(&mut self, entry: &Entry) -> Result<Option<File>, Error> {
        let wanted = self.walk.see(entry).is_some();
        if !self.walk.problems.is_empty() {
            return Err(Error::Refused(std::mem::take(&mut self.walk.problems)));
        }
        if entry.kind == Kind::EmptyFolder {
            self.folders.push(entry.clone());
            if self.folders.len() > FOLDERS_MAX {
                let what = format!("holds more than {FOLDERS_MAX} folders");
                return Err(refused("too-many-folders", b".".to_vec(), &what));
            }
        }
        if !wanted {
            return Ok(None);
        }
        if self.tags.len() == TAGS_MAX {
            let what = format!("holds more than {TAGS_MAX} manifests");
            return Err(refused("too-many-manifests", entry.path.clone(), &what));
        }
        let data = self.job.archive.scratch();
        let file = tempfile::tempfile_in(data)
            .and_then(|file| Ok((file.try_clone()?, file)))
            .map_err(|source| Error::Unwritable { path: data.into(), source })?;
        self.tags.push((entry.clone(), file.1));
        Ok(Some(file.0))
    }

    /// The plan, and the folders that turned out to be empty.
    pub(crate) fn end(mut self) -> Result<(Plan, Vec<Entry>), Error> {
        for (entry, mut file) in self.tags {
            let Some(inside) = self.walk.inside(&entry) else { continue };
            file.rewind().map_err(|source| {
                let path = self.job.archive.scratch().into();
                Error::Unreadable { path, source }
            })?;
            self.walk.feed(&entry, &inside, file);
        }
        let plan = self.walk.end(self.source)?;
        let folders = self.folders.into_iter().filter(|entry| plan.place(entry).is_some());
        let folders = folders.collect();
        Ok((plan, folders))
    }
}

/// What the files are that pass the pipeline, and so where they stand.
#[derive(Clone, Copy)]
pub(crate) enum Way<'a> {
    /// Those of a source whose headers were walked.
    Planned(&'a Plan),
    /// Those of a source that is read in one pass: they are placed when it ended.
    OnePass(&'a Source),
    /// Made on the way in.
    Made,
}

impl Way<'_> {
    /// Where an entry stands; `None` for what is not kept as such, or not yet.
    pub(crate) fn place(&self, entry: &Entry) -> Option<Vec<u8>> {
        match self {
            Way::Planned(plan) => plan.place(entry),
            Way::OnePass(_) if matches!(entry.kind, Kind::Folder | Kind::EmptyFolder) => None,
            Way::OnePass(_) | Way::Made => Some(self.place_path(&entry.path)),
        }
    }

    /// The same for a path that an entry names.
    pub(crate) fn place_path(&self, raw: &[u8]) -> Vec<u8> {
        match self {
            Way::Planned(plan) => plan.place_path(raw),
            Way::OnePass(_) => [UNPLACED, raw].concat(),
            Way::Made => raw.to_vec(),
        }
    }
}

/// The path in the source of a file that is not placed yet.
pub(crate) fn unplaced(path: &[u8]) -> Option<&[u8]> {
    path.strip_prefix(UNPLACED)
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
