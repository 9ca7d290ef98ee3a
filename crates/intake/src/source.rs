//! A source as a stream of entries in a stable order, that can be gone on with in the middle.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use strongroom_bag::source::{Container, decompress, detect, is_damage};
use strongroom_bag::{Problem, tar, tree};

/// What an entry of a source is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    EmptyFolder,
    Folder,
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
}

/// An entry of a source.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// As the source names it.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) mtime_ns: i64,
    pub(crate) size: u64,
}

/// Where a stream stands: between two entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Entries before it.
    pub(crate) entries: u64,
    /// Where in a plain tar.
    pub(crate) tar: Option<tar::State>,
}

/// What a source is, found once per run.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Folder(PathBuf),
    File(PathBuf),
    Tar(PathBuf, Container),
}

impl Source {
    pub(crate) fn open(path: &Path) -> Result<Source, Error> {
        let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
        Ok(match detect(path).map_err(unreadable)? {
            None => Source::File(path.to_owned()),
            Some(Container::Folder) => Source::Folder(path.to_owned()),
            Some(container) => Source::Tar(path.to_owned(), container),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Source::Folder(path) | Source::File(path) | Source::Tar(path, _) => path,
        }
    }

    /// What tells this source from another one under the same path; of a folder, each file's own
    /// identity is compared instead.
    pub(crate) fn pin(&self) -> Result<Option<String>, Error> {
        match self {
            Source::Folder(_) => Ok(None),
            Source::File(path) | Source::Tar(path, _) => {
                let meta = std::fs::metadata(path)
                    .map_err(|source| Error::Unreadable { path: path.clone(), source })?;
                Ok(Some(Identity::of(&meta).to_string()))
            }
        }
    }

    /// Whether it cannot seek at little cost, and so is read in one pass.
    pub(crate) fn in_one_pass(&self) -> bool {
        matches!(self, Source::Tar(_, container) if *container != Container::Tar)
    }

    /// Bytes of the file that it is.
    pub(crate) fn bytes(&self) -> Result<u64, Error> {
        let path = self.path();
        match std::fs::metadata(path) {
            Ok(meta) => Ok(meta.len()),
            Err(source) => Err(Error::Unreadable { path: path.to_owned(), source }),
        }
    }

    /// Its entries from `position` on.
    pub(crate) fn stream(&self, position: &Position) -> Result<Stream, Error> {
        let path = self.path().to_owned();
        let unreadable = |source| Error::Unreadable { path: path.clone(), source };
        let mut skip = position.entries;
        let inner = match self {
            Source::Folder(root) => Inner::Folder(tree::Walk::new(root).map_err(unreadable)?),
            Source::File(file) => Inner::File(Some(file.clone())),
            Source::Tar(file, Container::Tar) => {
                let opened = File::open(file).map_err(unreadable)?;
                let state = position.tar.clone().unwrap_or_default();
                skip = 0;
                let reader = tar::Reader::resume_with_seek(opened, state).map_err(unreadable)?;
                Inner::Tar(Box::new(reader))
            }
            Source::Tar(file, container) => {
                let opened = File::open(file).map_err(unreadable)?;
                let plain = decompress(*container, opened).map_err(unreadable)?;
                Inner::Decoded(Box::new(tar::Reader::new(plain)))
            }
        };
        let mut stream = Stream { path, inner, entries: position.entries - skip, current: None };
        for _ in 0..skip {
            if stream.next()?.is_none() {
                let what = "it has fewer entries than when the work was begun".into();
                return Err(Error::Changed { path: stream.path, what });
            }
        }
        Ok(stream)
    }
}

/// Entries of a source, each with its bytes.
pub(crate) struct Stream {
    path: PathBuf,
    inner: Inner,
    entries: u64,
    /// The open file of a folder or a single file.
    current: Option<Open>,
}

enum Inner {
    Folder(tree::Walk),
    File(Option<PathBuf>),
    Tar(Box<tar::Reader<File>>),
    Decoded(Box<tar::Reader<Box<dyn std::io::Read + Send>>>),
    Made(std::vec::IntoIter<Made>),
}

struct Open {
    path: PathBuf,
    file: File,
    identity: Identity,
    left: u64,
}

/// What tells a file from another one under the same path, or from itself once it was changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    mtime: (i64, i64),
}

impl Identity {
    fn of(meta: &std::fs::Metadata) -> Identity {
        let mtime = (meta.mtime(), meta.mtime_nsec());
        Identity { device: meta.dev(), inode: meta.ino(), size: meta.len(), mtime }
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Identity { device, inode, size, mtime: (seconds, nanos) } = self;
        write!(f, "{device}:{inode}:{size}:{seconds}.{nanos}")
    }
}

/// A file made on the way in.
pub(crate) struct Made {
    pub(crate) path: Vec<u8>,
    pub(crate) mtime_ns: i64,
    /// Its bytes, in a file without a name.
    pub(crate) file: File,
}

impl Stream {
    /// Files made on the way in, the first `skip` passed over.
    pub(crate) fn made(files: Vec<Made>, skip: u64) -> Stream {
        let mut files = files.into_iter();
        (0..skip).for_each(|_| drop(files.next()));
        let inner = Inner::Made(files);
        Stream { path: PathBuf::new(), inner, entries: skip, current: None }
    }

    /// What tells the file that is open from any other, where the source is a folder or a file.
    pub(crate) fn identity(&self) -> Option<Identity> {
        match &self.inner {
            Inner::Folder(_) | Inner::File(_) => self.current.as_ref().map(|o| o.identity),
            Inner::Tar(_) | Inner::Decoded(_) | Inner::Made(_) => None,
        }
    }

    /// Where the next entry is.
    pub(crate) fn position(&self) -> Position {
        let tar = match &self.inner {
            Inner::Tar(reader) => Some(reader.state()),
            _ => None,
        };
        Position { entries: self.entries, tar }
    }

    /// The next entry. What was not read of the one before is passed over.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Error> {
        self.current = None;
        let entry = match &mut self.inner {
            Inner::Folder(walk) => match walk.next() {
                None => None,
                Some(entry) => Some(folder_entry(entry?)?),
            },
            Inner::File(path) => match path.take() {
                None => None,
                Some(path) => Some(file_entry(&path)?),
            },
            Inner::Tar(reader) => tar_entry(reader.next().map_err(|e| damaged(&self.path, e))?)?,
            Inner::Decoded(reader) => {
                tar_entry(reader.next().map_err(|e| damaged(&self.path, e))?)?
            }
            Inner::Made(files) => match files.next() {
                None => None,
                Some(made) => Some(self.open_made(made)?),
            },
        };
        self.entries += u64::from(entry.is_some());
        Ok(entry)
    }

    /// Opens the file of `entry`, which [`Stream::next`] gave last, at byte `offset`.
    pub(crate) fn open(&mut self, entry: &Entry, offset: u64) -> Result<(), Error> {
        let path = match &self.inner {
            Inner::Folder(_) => self.path.join(std::ffi::OsStr::from_bytes(&entry.path)),
            Inner::File(_) => self.path.clone(),
            Inner::Tar(_) | Inner::Decoded(_) => return self.skip(offset),
            Inner::Made(_) => return self.skip(offset),
        };
        let unreadable = |source| Error::Unreadable { path: path.clone(), source };
        let mut file = File::open(&path).map_err(unreadable)?;
        let meta = file.metadata().map_err(unreadable)?;
        if !meta.is_file() || meta.len() != entry.size || mtime_ns(&meta) != entry.mtime_ns {
            let what = "it is not what it was when the folder was listed".into();
            return Err(Error::Changed { path, what });
        }
        if offset > 0 {
            file.seek(SeekFrom::Start(offset)).map_err(unreadable)?;
        }
        let left = entry.size.saturating_sub(offset);
        self.current = Some(Open { identity: Identity::of(&meta), path, file, left });
        Ok(())
    }

    fn skip(&mut self, offset: u64) -> Result<(), Error> {
        if offset == 0 {
            return Ok(());
        }
        match &mut self.inner {
            Inner::Tar(reader) => reader.advance(offset).map_err(|e| damaged(&self.path, e)),
            Inner::Decoded(reader) => reader.advance(offset).map_err(|e| damaged(&self.path, e)),
            _ => match &mut self.current {
                Some(open) => {
                    open.left = open.left.saturating_sub(offset);
                    (open.file.seek(SeekFrom::Start(offset)))
                        .map_err(|source| Error::Unreadable { path: open.path.clone(), source })?;
                    Ok(())
                }
                None => Ok(()),
            },
        }
    }

    /// Reads on in the entry's file; 0 at its end, where it is also checked that the file is still
    /// the one that was opened.
    pub(crate) fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        match &mut self.inner {
            Inner::Tar(reader) => reader.read(buf).map_err(|e| damaged(&self.path, e.into())),
            Inner::Decoded(reader) => reader.read(buf).map_err(|e| damaged(&self.path, e.into())),
            _ => {
                let Some(open) = &mut self.current else { return Ok(0) };
                let want = buf.len().min(usize::try_from(open.left).unwrap_or(usize::MAX));
                let unreadable = |source| Error::Unreadable { path: open.path.clone(), source };
                if want == 0 {
                    let meta = open.file.metadata().map_err(unreadable)?;
                    if Identity::of(&meta) != open.identity {
                        let what = "its size or time is another one now".into();
                        return Err(Error::Changed { path: open.path.clone(), what });
                    }
                    return Ok(0);
                }
                let got = open.file.read(&mut buf[..want]).map_err(unreadable)?;
                if got == 0 {
                    let what = format!("it ends {} bytes early", open.left);
                    return Err(Error::Changed { path: open.path.clone(), what });
                }
                open.left -= got as u64;
                Ok(got)
            }
        }
    }

    fn open_made(&mut self, made: Made) -> Result<Entry, Error> {
        let Made { path, mtime_ns, mut file } = made;
        let shown = PathBuf::from(String::from_utf8_lossy(&path).into_owned());
        let unreadable = |source| Error::Unreadable { path: shown.clone(), source };
        file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        let meta = file.metadata().map_err(unreadable)?;
        let size = meta.len();
        let identity = Identity::of(&meta);
        self.current = Some(Open { path: shown, file, identity, left: size });
        Ok(Entry { path, kind: Kind::File, mode: 0o644, mtime_ns, size })
    }
}

/// A tar that cannot be read on: bad bytes are refused, a bad disk is not.
fn damaged(path: &Path, error: tar::Error) -> Error {
    let code = error.code();
    let detail = match error {
        tar::Error::Io { source, .. } if !is_damage(&source) => {
            return Error::Unreadable { path: path.to_owned(), source };
        }
        // Such as a decompression bomb, or a sum of gzip's that is wrong.
        tar::Error::Io { offset, source } => format!("cannot read at byte {offset}: {source}"),
        other => other.to_string(),
    };
    Error::Refused(vec![Problem::error(code, path.as_os_str().as_bytes(), detail)])
}

fn folder_entry(entry: tree::Entry) -> Result<Entry, Error> {
    let kind = match entry.kind {
        tree::Kind::File => Kind::File,
        tree::Kind::EmptyFolder => Kind::EmptyFolder,
        tree::Kind::Folder => Kind::Folder,
        tree::Kind::Symlink { target } => Kind::Symlink(target),
        tree::Kind::Other => return Err(refused("special-file", entry.path, SPECIAL)),
    };
    let mtime_ns = clamp(entry.mtime_ns);
    Ok(Entry { path: entry.path, kind, mode: entry.mode, mtime_ns, size: entry.size })
}

const SPECIAL: &str = "is a device, a socket or a pipe, which cannot be kept";

fn tar_entry(entry: Option<tar::Entry>) -> Result<Option<Entry>, Error> {
    let Some(entry) = entry else { return Ok(None) };
    let kind = match entry.kind {
        tar::Kind::File => Kind::File,
        // Whether it is empty is known only once all are seen.
        tar::Kind::Folder => Kind::EmptyFolder,
        tar::Kind::Symlink(target) => Kind::Symlink(target),
        tar::Kind::HardLink(target) => Kind::HardLink(target),
        tar::Kind::Device | tar::Kind::Fifo => {
            return Err(refused("special-file", entry.path, SPECIAL));
        }
        tar::Kind::Other(flag) => {
            let why = format!("is of a type that is not known, {flag:#x}");
            return Err(refused("unknown-type", entry.path, &why));
        }
    };
    let mtime_ns = clamp(entry.mtime_ns);
    Ok(Some(Entry { path: entry.path, kind, mode: entry.mode, mtime_ns, size: entry.size }))
}

fn file_entry(path: &Path) -> Result<Entry, Error> {
    let meta = std::fs::metadata(path)
        .map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
    let name = path.file_name().unwrap_or(path.as_os_str()).as_bytes().to_vec();
    if !meta.is_file() {
        return Err(refused("special-file", name, SPECIAL));
    }
    let (mode, mtime_ns, size) = (meta.mode() & 0o7777, mtime_ns(&meta), meta.len());
    Ok(Entry { path: name, kind: Kind::File, mode, mtime_ns, size })
}

pub(crate) fn refused(code: &'static str, path: Vec<u8>, why: &str) -> Error {
    Error::Refused(vec![Problem::error(code, path, why)])
}

fn mtime_ns(meta: &std::fs::Metadata) -> i64 {
    clamp(i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec()))
}

/// Times beyond the years 1677 to 2262 are kept as the nearest that can be told.
fn clamp(ns: i128) -> i64 {
    ns.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}
