//! A bag in a tar, plain or compressed.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use strongroom_digest::{Digest, Pages, Set};

use super::folder::{is_tag, link};
use super::hash::{SPLIT_BYTES_MIN, split};
use super::work::{self, Done, Finder, Job, Open, Outcome, Place};
use super::{Gathered, Run, open, wanted};
use crate::problem::Problem;
use crate::rules::Facts;
use crate::source::Container;
use crate::tar::{self, Entry, Kind, Reader};
use crate::{Error, declaration, path};

/// A tar may hold so many links, folders and tag files that are kept in memory.
const KEPT_MAX: usize = 1_000_000;

/// Files of a compressed tar up to this size are handed on in batches, in memory.
const BATCHED_BYTES_MAX: u64 = 256 * 1024;

/// A batch of them, in bytes.
const BATCH_BYTES: usize = 1024 * 1024;

/// A link in a tar.
pub(super) struct Link {
    path: Vec<u8>,
    target: Vec<u8>,
    hard: bool,
}

/// Walks the headers, and reads the tag files.
pub(super) fn gather(path: &Path, container: Container, facts: Facts) -> Result<Gathered, Error> {
    let seekable = |path: &Path| {
        let fail = |error| Error::io("open", path, error);
        Reader::with_seek(File::open(path).map_err(fail)?).map_err(fail)
    };
    let gathered = Gathered { facts, ..Gathered::default() };
    if container == Container::Tar {
        let base = find_base(&mut seekable(path)?)?;
        walk(&mut seekable(path)?, Gathered { base, ..gathered })
    } else {
        let base = find_base(&mut Reader::new(open(path, container)?))?;
        walk(&mut Reader::new(open(path, container)?), Gathered { base, ..gathered })
    }
}

/// The folder in the tar that is the bag. Most tars tell by their first entry.
fn find_base(reader: &mut Reader<impl Read>) -> Result<Vec<u8>, Error> {
    let mut only_data = false;
    while let Some(entry) = reader.next()? {
        let first = entry.path.split(|&b| b == b'/').next().unwrap_or_default();
        let top = first.len() == entry.path.len();
        match first {
            b"." | b"" => {}
            _ if top && entry.kind != Kind::Folder => return Ok(Vec::new()),
            // A payload without a folder around the bag, or a bag in a folder of this name.
            b"data" => only_data = true,
            base => return Ok([base, b"/"].concat()),
        }
    }
    Ok(if only_data { b"data/".to_vec() } else { Vec::new() })
}

fn walk<R: Read>(reader: &mut Reader<R>, mut gathered: Gathered) -> Result<Gathered, Error> {
    let mut declared = false;
    while let Some(entry) = reader.next()? {
        let Some(name) = inside(&entry, &gathered.base, &mut gathered.notes) else { continue };
        let kept = gathered.links.len() + gathered.folders.len() + gathered.tag_files.len();
        if kept > KEPT_MAX {
            let detail = format!("holds over {KEPT_MAX} links, folders and tag files");
            gathered.notes.push(Problem::of_bag("too-many-names", detail));
            break;
        }
        match entry.kind {
            Kind::File => {
                gathered.total.files += 1;
                gathered.total.bytes = gathered.total.bytes.saturating_add(entry.size);
                if is_tag(&name) {
                    gathered.tag_files.push(name.clone());
                }
                if !gathered.facts.takes(&name) {
                    continue;
                }
                if name == declaration::NAME.as_bytes() && std::mem::replace(&mut declared, true) {
                    continue;
                }
                let offset = entry.data_offset;
                gathered.facts.feed(&name, &mut *reader).map_err(|error| as_tar(error, offset))?;
            }
            Kind::Folder => gathered.folders.push(name),
            Kind::Symlink(target) => gathered.links.push(Link { path: name, target, hard: false }),
            Kind::HardLink(target) => {
                let target = target.strip_prefix(&gathered.base[..]).unwrap_or(&target).to_vec();
                gathered.links.push(Link { path: name, target, hard: true });
            }
            Kind::Device | Kind::Fifo | Kind::Other(_) => {
                let detail = format!("is neither file, folder nor link: {:?}", entry.kind);
                gathered.notes.push(Problem::error("not-a-file", name, detail));
            }
        }
    }
    for warning in reader.warnings() {
        let problem = Problem::warning("tar-end", "", warning.clone());
        gathered.notes.push(Problem { path: None, ..problem });
    }
    if gathered.base.is_empty() {
        let detail = "the bag has no folder of its own in the tar";
        let problem = Problem::warning("no-base-folder", "", detail);
        gathered.notes.push(Problem { path: None, ..problem });
    }
    Ok(gathered)
}

/// An entry's path in the bag; `None`, and a note where it is due, if it has none.
fn inside(entry: &Entry, base: &[u8], notes: &mut Vec<Problem>) -> Option<Vec<u8>> {
    if entry.path == b"." || [&entry.path[..], b"/"].concat() == base {
        return None;
    }
    if let Err(reason) = path::check_entry(&entry.path) {
        let detail = format!("{reason} (header at byte {})", entry.header_offset);
        notes.push(Problem::error("unsafe-path", entry.path.clone(), detail));
        return None;
    }
    match entry.path.strip_prefix(base) {
        Some(name) => Some(name.to_vec()),
        None => {
            let base = path::show(base);
            let detail = format!("lies beside the bag's folder {base} in the tar");
            notes.push(Problem::error("outside-base", entry.path.clone(), detail));
            None
        }
    }
}

/// An error of reading an entry, as the tar's own.
fn as_tar(error: io::Error, offset: u64) -> Error {
    match error.downcast::<tar::Error>() {
        Ok(error) => Error::Tar(error),
        Err(source) => Error::Tar(tar::Error::Io { offset, source }),
    }
}

/// Hashes every file in the tar.
pub(super) fn hash(
    path: &Path,
    container: Container,
    gathered: &Gathered,
    run: &mut Run<'_>,
) -> Result<(), Error> {
    let targets = Targets::new(gathered);
    let mut known: HashMap<Vec<u8>, (u64, Vec<Digest>)> = HashMap::new();
    let fail = |error| Error::io("open", path, error);
    let (facts, options, progress) = (run.facts, run.options, run.progress);
    let threads = work::threads(options.threads);
    // A target must be hashed as its links want it.
    let all = facts.wanted();
    let want = |name: &[u8]| match targets.names.contains(name) && !options.quick {
        true => all,
        false => wanted(facts, options, name),
    };
    let each = |done: Done| {
        if let Outcome::Hashed(digests) = &done.outcome
            && targets.names.contains(&done.path)
        {
            known.insert(done.path.clone(), (done.size, digests.clone()));
        }
        run.take(done)
    };
    if container == Container::Tar {
        let file = File::open(path).map_err(fail)?;
        let reader = Reader::with_seek(File::open(path).map_err(fail)?).map_err(fail)?;
        let find = |finder: &mut Finder<'_>| find_in_place(reader, gathered, &want, finder);
        work::run(&Plain { file }, threads, progress, find, each)?;
    } else {
        let reader = Reader::new(open(path, container)?);
        let find =
            |finder: &mut Finder<'_>| find_in_stream(reader, gathered, &want, finder, progress);
        work::run(&Nowhere, threads, progress, find, each)?;
    }
    for (link_entry, target) in gathered.links.iter().zip(&targets.of_links) {
        let done = match target.as_ref().and_then(|target| known.get(target)) {
            Some((size, digests)) => {
                let (path, outcome) = (link_entry.path.clone(), Outcome::Hashed(digests.clone()));
                Done { path, size: *size, outcome }
            }
            None if link_entry.hard => dangling(link_entry),
            None => link(link_entry.path.clone(), &link_entry.target),
        };
        if !run.take(done) {
            break;
        }
    }
    Ok(())
}

fn dangling(link: &Link) -> Done {
    let shown = path::show(&link.target);
    let detail = format!("is a hard link to '{shown}', which is no file of the bag");
    let problem = Problem::error("link-leaves", link.path.clone(), detail);
    Done { path: link.path.clone(), size: 0, outcome: Outcome::Noted(problem, false) }
}

/// Which files the links in a tar lead to.
struct Targets {
    /// For each link, in order: the file that it leads to, if it leads anywhere.
    of_links: Vec<Option<Vec<u8>>>,
    names: HashSet<Vec<u8>>,
}

impl Targets {
    fn new(gathered: &Gathered) -> Targets {
        let links: HashMap<&[u8], &Link> =
            gathered.links.iter().map(|link| (link.path.as_slice(), link)).collect();
        let symlink = |path: &[u8]| {
            let link = links.get(path).filter(|link| !link.hard);
            Ok::<_, Infallible>(link.map(|link| link.target.clone()))
        };
        let resolve = |link: &Link| {
            if !link.hard && !path::link_stays_inside(&link.path, &link.target) {
                return None;
            }
            let mut path = link.path.clone();
            for _ in 0..path::LINK_HOPS_MAX {
                let Ok(led) = path::follow(&path, symlink);
                path = led.to()?;
                match links.get(path.as_slice()) {
                    Some(hard) => path = hard.target.clone(),
                    None => return Some(path),
                }
            }
            None
        };
        let of_links: Vec<_> = gathered.links.iter().map(resolve).collect();
        let names = of_links.iter().flatten().cloned().collect();
        Targets { of_links, names }
    }
}

/// Walks the headers of a plain tar; files are read where they lie.
fn find_in_place(
    mut reader: Reader<File>,
    gathered: &Gathered,
    want: &dyn Fn(&[u8]) -> Set,
    finder: &mut Finder<'_>,
) -> Result<(), Error> {
    loop {
        let state = reader.state();
        let Some(entry) = reader.next()? else { return Ok(()) };
        let Some(name) = wanted_name(&entry, gathered) else { continue };
        let place = match entry.sparse {
            true => Place::Sparse(state),
            false => Place::Range(entry.data_offset),
        };
        let (size, wanted) = (entry.size, want(&name));
        let go_on = if wanted.is_empty() {
            finder.tell(Done { path: name, size, outcome: Outcome::Hashed(Vec::new()) })
        } else {
            finder.push(Job { path: name, place, size, wanted })
        };
        if !go_on {
            return Ok(());
        }
    }
}

/// Reads a compressed tar from start to end; small files are handed on in memory.
fn find_in_stream(
    mut reader: Reader<Box<dyn Read + Send>>,
    gathered: &Gathered,
    want: &dyn Fn(&[u8]) -> Set,
    finder: &mut Finder<'_>,
    progress: &dyn crate::Progress,
) -> Result<(), Error> {
    let mut bytes = Vec::with_capacity(BATCH_BYTES);
    let mut waiting: Vec<(Vec<u8>, usize, u64, Set)> = Vec::new();
    let send = |bytes: &mut Vec<u8>, waiting: &mut Vec<_>, finder: &mut Finder<'_>| {
        let shared = Arc::new(std::mem::replace(bytes, Vec::with_capacity(BATCH_BYTES)));
        for (path, from, size, wanted) in waiting.drain(..) {
            let place = Place::Memory(shared.clone(), from);
            if !finder.push(Job { path, place, size, wanted }) {
                return false;
            }
        }
        finder.flush()
    };
    while let Some(entry) = reader.next()? {
        let Some(name) = wanted_name(&entry, gathered) else { continue };
        let (size, wanted) = (entry.size, want(&name));
        let offset = entry.data_offset;
        let go_on = if wanted.is_empty() {
            finder.tell(Done { path: name, size, outcome: Outcome::Hashed(Vec::new()) })
        } else if size <= BATCHED_BYTES_MAX {
            let full = bytes.len() + size as usize > BATCH_BYTES;
            let go_on = !full || send(&mut bytes, &mut waiting, finder);
            let from = bytes.len();
            reader.read_to_end(&mut bytes).map_err(|error| as_tar(error, offset))?;
            waiting.push((name, from, size, wanted));
            go_on
        } else {
            let mut read = |out: &mut [u8]| crate::source::fill(&mut reader, out);
            let hashed = if size < SPLIT_BYTES_MIN {
                let mut buffer = Pages::new(BATCHED_BYTES_MAX as usize);
                super::hash::together(&mut read, wanted, &mut buffer, |n| progress.bytes(n))
            } else {
                split(&mut read, wanted, |n| progress.bytes(n))
            };
            let (size, digests) = hashed.map_err(|error| as_tar(error, offset))?;
            progress.files(1);
            finder.tell(Done { path: name, size, outcome: Outcome::Hashed(digests) })
        };
        if !go_on {
            return Ok(());
        }
    }
    send(&mut bytes, &mut waiting, finder);
    Ok(())
}

/// The path in the bag of an entry that is a file; what is wrong with others was noted before.
fn wanted_name(entry: &Entry, gathered: &Gathered) -> Option<Vec<u8>> {
    if entry.kind != Kind::File {
        return None;
    }
    inside(entry, &gathered.base, &mut Vec::new())
}

/// A plain tar, whose files are read where they lie.
struct Plain {
    file: File,
}

impl Open for Plain {
    fn open<'a>(&'a self, job: &'a Job) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match &job.place {
            Place::Sparse(state) => {
                let at = At { file: &self.file, offset: state.offset, end: u64::MAX };
                let mut reader = Reader::resume(at, state.clone());
                reader.next()?;
                Box::new(reader)
            }
            Place::Range(offset) => {
                let end = offset.saturating_add(job.size);
                Box::new(At { file: &self.file, offset: *offset, end })
            }
            Place::Open { .. } | Place::Memory(..) => Box::new(io::empty()),
        })
    }
}

/// Reads a part of a file without moving its position.
struct At<'a> {
    file: &'a File,
    offset: u64,
    end: u64,
}

impl Read for At<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = self.end - self.offset;
        let want = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let n = self.file.read_at(&mut out[..want], self.offset)?;
        self.offset += n as u64;
        Ok(n)
    }
}

/// Files of a compressed tar come in memory; there is nowhere to open them.
struct Nowhere;

impl Open for Nowhere {
    fn open<'a>(&'a self, _: &'a Job) -> io::Result<Box<dyn Read + 'a>> {
        Ok(Box::new(io::empty()))
    }
}
