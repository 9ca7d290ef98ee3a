//! A bag in a folder.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

use super::work::{self, Done, Job, Open, Outcome, Place, Run};
use super::{Gathered, wanted};
use crate::problem::Problem;
use crate::rules::{Checker, Facts, Role, role};
use crate::tree::{Kind, Walk};
use crate::{Error, declaration, info, path};

/// Reads the tag files: bagit.txt first, so that nothing needs to be held.
pub(super) fn gather(root: &Path, facts: Facts) -> Result<Gathered, Error> {
    let mut gathered = Gathered { facts, ..Gathered::default() };
    let fail = |error| Error::io("read the folder", root, error);
    let place = Folder::open(root).map_err(fail)?;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root).map_err(fail)? {
        names.push(entry.map_err(fail)?.file_name().as_bytes().to_vec());
    }
    // bagit.txt sorts before all but odd names; the declaration must come first in any case.
    names.sort_by_key(|name| (name != declaration::NAME.as_bytes(), name.clone()));
    let asked = gathered.facts.asked().filter(|path| path.contains(&b'/')).map(<[u8]>::to_vec);
    names.extend(asked.collect::<Vec<_>>());
    names.retain(|name| gathered.facts.takes(name));
    for name in names {
        let file = match place.file(&name, true) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                let detail = "is no regular file inside the bag";
                gathered.notes.push(Problem::error("not-a-file", name, detail));
                continue;
            }
            Err(error) => return Err(tag_error(root, &name, error)),
        };
        gathered.facts.feed(&name, file).map_err(|error| tag_error(root, &name, error))?;
    }
    gathered.tag_files = tag_files(root)?;
    gathered.total.files = gathered.facts.names() as u64;
    let oxum = info::values(&gathered.facts.info, info::OXUM).find_map(info::Oxum::parse);
    gathered.total.bytes = oxum.unwrap_or_default().bytes;
    Ok(gathered)
}

fn tag_error(root: &Path, name: &[u8], error: io::Error) -> Error {
    Error::io("read", &root.join(std::ffi::OsStr::from_bytes(name)), error)
}

/// The paths of all files outside `data/`.
fn tag_files(root: &Path) -> Result<Vec<Vec<u8>>, Error> {
    let mut found = Vec::new();
    let walk = Walk::new(root).map_err(|error| Error::io("read the folder", root, error))?;
    for entry in walk.without(b"data") {
        // What cannot be read is told of when files are hashed.
        if let Ok(entry) = entry
            && entry.kind == Kind::File
        {
            found.push(entry.path);
        }
    }
    Ok(found)
}

/// Hashes every file of the folder.
pub(super) fn hash(root: &Path, run: &Run<'_>, checker: &mut Checker<'_>) -> Result<bool, Error> {
    let fail = |error| Error::io("read the folder", root, error);
    let place = Folder::open(root).map_err(fail)?;
    let walk = Walk::new(root).map_err(fail)?;
    let find = |finder: &mut work::Finder<'_>| {
        for entry in walk {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let unreadable = matches!(error, Error::Io { .. });
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    let detail = format!("{error}: {}", source.unwrap_or_default());
                    let problem = Problem::of_bag("unreadable", detail);
                    let outcome = Outcome::Noted(problem, unreadable);
                    if !finder.tell(Done { path: Vec::new(), size: 0, outcome }) {
                        break;
                    }
                    continue;
                }
            };
            let wanted = wanted(run.facts, run.options, &entry.path);
            let size = entry.size;
            let go_on = match &entry.kind {
                Kind::File if wanted.is_empty() => {
                    let outcome = Outcome::Hashed(Vec::new());
                    finder.tell(Done { path: entry.path, size, outcome })
                }
                Kind::File => {
                    let place = Place::Open { link: false };
                    finder.push(Job { path: entry.path, place, size, wanted })
                }
                Kind::Symlink { target } => match place.file(&entry.path, true) {
                    Ok(file) => {
                        let size = file.metadata().map_or(0, |meta| meta.len());
                        let place = Place::Open { link: true };
                        finder.push(Job { path: entry.path, place, size, wanted })
                    }
                    Err(_) => finder.tell(link(entry.path, target)),
                },
                Kind::Other => {
                    let detail = "is neither file, folder nor link";
                    let problem = Problem::error("not-a-file", entry.path.clone(), detail);
                    let outcome = Outcome::Wrong(problem, false);
                    finder.tell(Done { path: entry.path, size, outcome })
                }
                // The payload folder is there even if it is empty.
                Kind::Folder | Kind::EmptyFolder => !finder.stopped(),
            };
            if !go_on {
                break;
            }
        }
        Ok(())
    };
    if root.join("data").is_dir() {
        checker.folder(b"data");
    }
    work::run(run, &place, checker, find, |_| {})
}

/// A link that leads to no file of the bag. No manifest can say it, so nothing can be checked.
pub(super) fn link(link: Vec<u8>, target: &[u8]) -> Done {
    let shown = path::show(target);
    let problem = if path::link_stays_inside(&link, target) {
        let detail = format!("is a link to '{shown}', which is no file; it is not checked");
        Problem::warning("link-not-checked", link.clone(), detail)
    } else {
        let detail = format!("is a link to '{shown}', which leaves the bag");
        Problem::error("link-leaves", link.clone(), detail)
    };
    Done { path: link, size: 0, outcome: Outcome::Noted(problem, false) }
}

/// An open folder, whose files are opened relative to it.
struct Folder {
    fd: OwnedFd,
}

impl Folder {
    fn open(root: &Path) -> io::Result<Folder> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Folder { fd: rustix::fs::open(root, flags, Mode::empty())? })
    }

    /// Opens a regular file; through links only if they stay inside, and only if asked to.
    fn file(&self, path: &[u8], link: bool) -> io::Result<File> {
        // Without NONBLOCK, a pipe that has taken the file's place would stop us for good.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        if !link {
            let flags = flags | OFlags::NOFOLLOW;
            return Ok(rustix::fs::openat(&self.fd, path, flags, Mode::empty())?.into());
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let fd = rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), resolve).map_err(
            |errno| match errno {
                // The path leaves the bag, or turns in a circle.
                rustix::io::Errno::XDEV | rustix::io::Errno::LOOP => {
                    io::Error::from(io::ErrorKind::InvalidInput)
                }
                other => other.into(),
            },
        )?;
        let stat = rustix::fs::fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(fd.into())
    }
}

impl Open for Folder {
    fn open<'a>(&'a self, job: &'a Job) -> io::Result<Box<dyn io::Read + 'a>> {
        let link = matches!(job.place, Place::Open { link: true });
        Ok(Box::new(self.file(&job.path, link)?))
    }
}

/// Whether a path is a tag file's.
pub(super) fn is_tag(path: &[u8]) -> bool {
    role(path) != Role::Payload
}
