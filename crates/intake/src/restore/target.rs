//! What a restoration writes: a folder, or a tar.

use crate::Error;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use strongroom_bag::tar;
use strongroom_digest::{PAGE_BYTES, Pages};
use strongroom_record::{FileKind, FileRecord};

/// Files of so many bytes are written around the system's cache: nobody reads them there, and taking
/// fresh memory for them costs more than writing to a good disk does.
const LARGE_BYTES: u64 = 4 << 20;
/// Bytes of a large file that are written at once.
const BUFFER_BYTES: usize = 1 << 20;

pub(super) trait Target {
    /// Makes the payload folder of a bag, where nothing else does.
    fn payload_folder(&mut self) -> Result<(), Error>;
    /// Begins a file, or goes on with one of which `done` bytes are there.
    fn begin(&mut self, place: &[u8], file: &FileRecord, done: u64) -> Result<(), Error>;
    /// Its next bytes.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Its bytes are all there.
    fn end(&mut self, place: &[u8], file: &FileRecord) -> Result<(), Error>;
    /// Makes durable what has ended so far; returns the length of a tar.
    fn sync(&mut self) -> Result<u64, Error>;
    /// Makes durable what there is of a file that is being written, too; returns the length of a tar.
    fn sync_within(&mut self) -> Result<u64, Error>;
    /// Makes what comes last, and everything durable.
    fn finish(self: Box<Self>) -> Result<(), Error>;
}

/// A large file, written from its end on.
struct Large {
    file: File,
    /// Whether writes go around the cache now.
    direct: bool,
    /// Not every file system can.
    can: bool,
    /// Where in the file the buffer's bytes belong: the beginning of a page.
    at: u64,
    buf: Pages,
    len: usize,
}

impl Large {
    /// Goes on at byte `at`; what the file has behind it is cut off.
    fn new(file: File, at: u64) -> io::Result<Large> {
        file.set_len(at)?;
        let buf = Pages::new(BUFFER_BYTES);
        let len = (at % PAGE_BYTES as u64) as usize;
        let at = at - len as u64;
        let mut large = Large { file, direct: false, can: true, at, buf, len };
        large.file.read_exact_at(&mut large.buf[..len], at)?;
        Ok(large)
    }

    /// Writes the buffer's first `len` bytes to their place.
    fn put(&mut self, len: usize) -> io::Result<()> {
        let want = self.can && len.is_multiple_of(PAGE_BYTES);
        if want != self.direct {
            let mut flags = rustix::fs::fcntl_getfl(&self.file)?;
            flags.set(rustix::fs::OFlags::DIRECT, want);
            self.can &= rustix::fs::fcntl_setfl(&self.file, flags).is_ok();
            self.direct = want && self.can;
        }
        let bytes = &self.buf[..len];
        match self.file.write_all_at(bytes, self.at) {
            // As a file system says that it cannot write so after all.
            Err(error) if self.direct && error.kind() == io::ErrorKind::InvalidInput => {
                self.can = false;
                self.put(len)
            }
            other => other,
        }
    }

    /// Writes what is held. What does not fill a block stays held too, to be written again with it.
    fn settle(&mut self) -> io::Result<()> {
        let whole = self.len - self.len % PAGE_BYTES;
        self.put(whole)?;
        self.at += whole as u64;
        self.buf.copy_within(whole..self.len, 0);
        self.len -= whole;
        if self.len > 0 { self.put(self.len) } else { Ok(()) }
    }

    fn end(&self) -> u64 {
        self.at + self.len as u64
    }
}

impl Write for Large {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let take = bytes.len().min(BUFFER_BYTES - self.len);
        self.buf[self.len..self.len + take].copy_from_slice(&bytes[..take]);
        self.len += take;
        if self.len == BUFFER_BYTES {
            self.settle()?;
        }
        Ok(take)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.settle()
    }
}

pub(super) struct FolderTarget {
    root: PathBuf,
    /// The folder that was last made sure of, so that files side by side ask once.
    folder: PathBuf,
    file: Option<Open>,
    /// Whether an earlier run may have left files that are begun anew.
    resumed: bool,
    /// Links come last: no file is ever written through one.
    links: Vec<(PathBuf, Vec<u8>, i64)>,
    /// Modes and times of empty folders are set at the end.
    folders: Vec<(PathBuf, u32, i64)>,
}

enum Open {
    Small(File),
    Large(Large),
}

impl FolderTarget {
    pub(super) fn new(root: &Path, resumed: bool) -> FolderTarget {
        FolderTarget {
            root: root.to_owned(),
            folder: root.to_owned(),
            file: None,
            resumed,
            links: Vec::new(),
            folders: Vec::new(),
        }
    }

    fn path(&self, place: &[u8]) -> Result<PathBuf, Error> {
        // What was recorded was checked when it came in; what is written is checked again.
        strongroom_bag::path::check_entry(place).map_err(|why| {
            Error::Internal(format!("{}: {why}", strongroom_bag::path::show(place)))
        })?;
        Ok(self.root.join(std::ffi::OsStr::from_bytes(place)))
    }
}

impl Target for FolderTarget {
    fn payload_folder(&mut self) -> Result<(), Error> {
        let path = self.root.join("data");
        std::fs::create_dir_all(&path).map_err(|source| Error::Unwritable { path, source })
    }

    fn begin(&mut self, place: &[u8], file: &FileRecord, done: u64) -> Result<(), Error> {
        let path = self.path(place)?;
        let unwritable = |source| Error::Unwritable { path: path.clone(), source };
        if let Some(folder) = path.parent()
            && folder != self.folder
        {
            std::fs::create_dir_all(folder).map_err(unwritable)?;
            self.folder = folder.to_owned();
        }
        match file.kind {
            FileKind::File => {
                if done == 0 && self.resumed && path.symlink_metadata().is_ok() {
                    std::fs::remove_file(&path).map_err(unwritable)?;
                }
                // Readable too, for the end of a large one is read back.
                let mut options = File::options();
                let opened = options.read(true).write(true).create_new(done == 0).open(&path);
                let opened = opened.map_err(unwritable)?;
                self.file = Some(match file.size >= LARGE_BYTES {
                    true => Open::Large(Large::new(opened, done).map_err(unwritable)?),
                    false => Open::Small(opened),
                });
            }
            FileKind::EmptyFolder => {
                std::fs::create_dir_all(&path).map_err(unwritable)?;
                self.folders.push((path, file.mode, file.mtime_ns));
            }
            FileKind::Symlink => {
                let target = file.target.clone().unwrap_or_default();
                self.links.push((path, target, file.mtime_ns));
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.file {
            Some(Open::Small(file)) => file.write_all(bytes),
            Some(Open::Large(file)) => file.write_all(bytes),
            None => Err(io::Error::other("bytes of no file")),
        }
    }

    fn end(&mut self, place: &[u8], file: &FileRecord) -> Result<(), Error> {
        let unwritable = |source| Error::Unwritable {
            path: self.root.join(std::ffi::OsStr::from_bytes(place)),
            source,
        };
        let opened = match self.file.take() {
            None => return Ok(()),
            Some(Open::Small(file)) => file,
            Some(Open::Large(mut large)) => {
                large.settle().map_err(unwritable)?;
                large.file
            }
        };
        opened.set_permissions(PermissionsExt::from_mode(file.mode)).map_err(unwritable)?;
        let times = timestamps(file.mtime_ns);
        rustix::fs::futimens(&opened, &times).map_err(|e| unwritable(e.into()))
    }

    fn sync(&mut self) -> Result<u64, Error> {
        sync(&self.root)?;
        Ok(0)
    }

    fn sync_within(&mut self) -> Result<u64, Error> {
        if let Some(Open::Large(large)) = &mut self.file {
            let path = &self.root;
            large.settle().map_err(|source| Error::Unwritable { path: path.clone(), source })?;
        }
        self.sync()
    }

    fn finish(self: Box<Self>) -> Result<(), Error> {
        for (path, target, mtime_ns) in &self.links {
            let unwritable = |source| Error::Unwritable { path: path.clone(), source };
            std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(target), path)
                .map_err(unwritable)?;
            set_times(path, *mtime_ns)?;
        }
        for (path, mode, mtime_ns) in self.folders.iter().rev() {
            let unwritable = |source| Error::Unwritable { path: path.clone(), source };
            std::fs::set_permissions(path, PermissionsExt::from_mode(*mode)).map_err(unwritable)?;
            set_times(path, *mtime_ns)?;
        }
        sync(&self.root)
    }
}

/// One sync of the file system for everything: a restoration has no other order to keep.
fn sync(path: &Path) -> Result<(), Error> {
    let unwritable = |source| Error::Unwritable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unwritable)?;
    rustix::fs::syncfs(&file).map_err(|e| unwritable(e.into()))
}

/// Whether the file system of this folder, or file, takes names that differ in case or Unicode form
/// alone for different names. Where it does not, what one run left cannot be told from a name that
/// meets another one.
pub(super) fn tells_names_apart(path: &Path) -> bool {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    let names = [(".strongroom-probe", ".strongroom-PROBE"), (".probe-\u{e9}", ".probe-e\u{301}")];
    names.iter().all(|(name, other)| {
        let (path, other) = (folder.join(name), folder.join(other));
        let apart = File::create(&path).is_ok() && other.symlink_metadata().is_err();
        std::fs::remove_file(&path).is_ok() && apart
    })
}

fn set_times(path: &Path, mtime_ns: i64) -> Result<(), Error> {
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(rustix::fs::CWD, path, &timestamps(mtime_ns), flags)
        .map_err(|e| Error::Unwritable { path: path.to_owned(), source: e.into() })
}

fn timestamps(mtime_ns: i64) -> rustix::fs::Timestamps {
    let at = rustix::fs::Timespec {
        tv_sec: mtime_ns.div_euclid(1_000_000_000),
        tv_nsec: mtime_ns.rem_euclid(1_000_000_000),
    };
    rustix::fs::Timestamps { last_access: at, last_modification: at }
}

pub(super) struct TarTarget {
    path: PathBuf,
    /// The folder in which a bag stands in its tar.
    name: Vec<u8>,
    writer: tar::Writer<Large>,
}

impl TarTarget {
    /// A tar in the file `path`, gone on with at byte `at`.
    pub(super) fn new(path: &Path, name: &[u8], at: u64) -> Result<TarTarget, Error> {
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let large = opened.and_then(|file| Large::new(file, at));
        let large = large.map_err(|source| Error::Unwritable { path: path.to_owned(), source })?;
        let (path, name) = (path.to_owned(), name.to_vec());
        Ok(TarTarget { path, name, writer: tar::Writer::new(large) })
    }

    fn unwritable(&self, source: io::Error) -> Error {
        Error::Unwritable { path: self.path.clone(), source }
    }
}

impl Target for TarTarget {
    fn payload_folder(&mut self) -> Result<(), Error> {
        let path = [&self.name[..], b"/data"].concat();
        self.writer.folder(&path, 0o755, 0).map_err(|source| self.unwritable(source))
    }

    fn begin(&mut self, place: &[u8], file: &FileRecord, done: u64) -> Result<(), Error> {
        if done > 0 {
            self.writer.resume_file(file.size, done);
            return Ok(());
        }
        let path = [&self.name[..], b"/", place].concat();
        let mtime = i128::from(file.mtime_ns);
        let begun = match file.kind {
            FileKind::File => {
                self.writer.append_file(&path, file.mode, mtime, file.size).map(|_| ())
            }
            FileKind::EmptyFolder => self.writer.folder(&path, file.mode, mtime),
            FileKind::Symlink => {
                let target = file.target.as_deref().unwrap_or_default();
                self.writer.symlink(&path, target, file.mode, mtime)
            }
        };
        begun.map_err(|source| self.unwritable(source))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.data().write_all(bytes)
    }

    fn end(&mut self, _: &[u8], _: &FileRecord) -> Result<(), Error> {
        Ok(())
    }

    fn sync(&mut self) -> Result<u64, Error> {
        let settled = self.writer.settle().and_then(|large| {
            large.settle()?;
            Ok(large.end())
        });
        let end = settled.map_err(|source| self.unwritable(source))?;
        sync(&self.path)?;
        Ok(end)
    }

    fn sync_within(&mut self) -> Result<u64, Error> {
        let large = self.writer.within();
        let settled = large.settle().map(|()| large.end());
        let end = settled.map_err(|source| self.unwritable(source))?;
        sync(&self.path)?;
        Ok(end)
    }

    fn finish(self: Box<Self>) -> Result<(), Error> {
        let TarTarget { path, writer, .. } = *self;
        // Gives the file back flushed.
        writer.finish().map_err(|source| Error::Unwritable { path: path.clone(), source })?;
        sync(&path)
    }
}
