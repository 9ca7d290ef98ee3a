//! A folder, walked in the byte order of names, depth first, without following links.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use crate::Error;

/// A folder may lie so many folders deep.
pub const DEPTH_MAX: usize = 512;

/// One folder may hold so many names.
pub const FOLDER_ENTRIES_MAX: usize = 10_000_000;

/// What an entry is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder with nothing in it.
    EmptyFolder,
    /// A folder with something in it, which follows.
    Folder,
    /// A symbolic link.
    Symlink {
        /// What it points to, as stored.
        target: Vec<u8>,
    },
    /// A device, a socket or a pipe.
    Other,
}

/// One thing in a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// From the root, components separated by `/`.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits (`07777`).
    pub mode: u32,
    /// Time of the last change of its bytes, in nanoseconds since 1970.
    pub mtime_ns: i128,
    /// Bytes of a file; 0 of anything else.
    pub size: u64,
    /// The device it lies on.
    pub dev: u64,
    /// Its number there. Equal `dev` and `ino` are the same file under two names.
    pub ino: u64,
    /// How many names it has.
    pub links: u64,
    /// Time of the last change of anything about it, in nanoseconds since 1970.
    pub ctime_ns: i128,
}

/// The entries of a folder. One folder's names at a time are in memory, and those of the folders above.
pub struct Walk {
    root: PathBuf,
    levels: Vec<Level>,
    prefix: Vec<u8>,
}

struct Level {
    folder: OwnedFd,
    /// Names yet to come, last first.
    names: Vec<Box<[u8]>>,
    /// How long the prefix is without this level.
    prefix: usize,
}

impl Walk {
    /// Begins at `root`, which is not itself an entry.
    ///
    /// # Errors
    /// If `root` is no folder, or cannot be read.
    pub fn new(root: &Path) -> io::Result<Walk> {
        // The root may be reached through a link; nothing below it is.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(root, flags, Mode::empty())?;
        let names = names(folder.as_fd())?.ok_or_else(|| io::Error::other("too many names"))?;
        let level = Level { folder, names, prefix: 0 };
        Ok(Walk { root: root.to_owned(), levels: vec![level], prefix: Vec::new() })
    }

    /// Leaves out the entry of this name at the top, with all below it.
    pub fn without(mut self, name: &[u8]) -> Walk {
        if let Some(level) = self.levels.first_mut() {
            level.names.retain(|known| **known != *name);
        }
        self
    }

    fn absolute(&self, path: &[u8]) -> PathBuf {
        self.root.join(OsStr::from_bytes(path))
    }

    fn step(&mut self, name: &[u8]) -> Result<Entry, Error> {
        let depth = self.levels.len();
        let folder = self.levels[depth - 1].folder.as_fd();
        let mut path = Vec::with_capacity(self.prefix.len() + name.len());
        path.extend_from_slice(&self.prefix);
        path.extend_from_slice(name);
        let fail = |doing, errno: rustix::io::Errno| {
            Error::io(doing, &self.absolute(&path), errno.into())
        };
        let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| fail("examine", errno))?;
        let ns = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        let mut entry = Entry {
            path: Vec::new(),
            kind: Kind::Other,
            mode: stat.st_mode & 0o7777,
            mtime_ns: ns(stat.st_mtime, stat.st_mtime_nsec as i64),
            size: 0,
            dev: stat.st_dev,
            ino: stat.st_ino,
            links: u64::from(stat.st_nlink as u32),
            ctime_ns: ns(stat.st_ctime, stat.st_ctime_nsec as i64),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                entry.kind = Kind::File;
                entry.size = u64::try_from(stat.st_size).unwrap_or(0);
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(folder, name, Vec::new())
                    .map_err(|errno| fail("read the link", errno))?;
                entry.kind = Kind::Symlink { target: target.into_bytes() };
            }
            FileType::Directory => {
                if depth >= DEPTH_MAX {
                    return Err(Error::TooDeep { path: self.absolute(&path), max: DEPTH_MAX });
                }
                let flags =
                    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let below = rustix::fs::openat(folder, name, flags, Mode::empty())
                    .map_err(|errno| fail("open the folder", errno))?;
                let names = names(below.as_fd())
                    .map_err(|error| Error::io("read the folder", &self.absolute(&path), error))?
                    .ok_or_else(|| Error::TooManyNames {
                        path: self.absolute(&path),
                        max: FOLDER_ENTRIES_MAX,
                    })?;
                entry.kind = if names.is_empty() { Kind::EmptyFolder } else { Kind::Folder };
                if !names.is_empty() {
                    let prefix = self.prefix.len();
                    self.levels.push(Level { folder: below, names, prefix });
                    self.prefix.extend_from_slice(name);
                    self.prefix.push(b'/');
                }
            }
            _ => {}
        }
        entry.path = path;
        Ok(entry)
    }
}

impl Iterator for Walk {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let level = self.levels.last_mut()?;
            if let Some(name) = level.names.pop() {
                return Some(self.step(&name));
            }
            self.prefix.truncate(level.prefix);
            self.levels.pop();
        }
    }
}

/// The names in a folder in descending byte order; `None` if they are too many.
fn names(folder: BorrowedFd<'_>) -> io::Result<Option<Vec<Box<[u8]>>>> {
    let mut names: Vec<Box<[u8]>> = Vec::new();
    let mut buffer = Vec::with_capacity(32 * 1024);
    let mut raw = rustix::fs::RawDir::new(folder, buffer.spare_capacity_mut());
    while let Some(entry) = raw.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            if names.len() >= FOLDER_ENTRIES_MAX {
                return Ok(None);
            }
            names.push(name.into());
        }
    }
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(Some(names))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn entries_come_in_byte_order_with_their_kinds() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path();
        std::fs::create_dir_all(root.join("b/inner")).unwrap();
        std::fs::create_dir(root.join("empty")).unwrap();
        std::fs::write(root.join("b/inner/x"), "123").unwrap();
        std::fs::write(root.join("a"), "").unwrap();
        std::fs::write(root.join("b.txt"), "").unwrap();
        std::fs::write(root.join(OsStr::from_bytes(b"\xff")), "").unwrap();
        symlink("../outside", root.join("c")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.join("pipe"),
            FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let entries: Vec<Entry> = Walk::new(root).unwrap().map(Result::unwrap).collect();
        let paths: Vec<String> = entries.iter().map(|e| crate::path::show(&e.path)).collect();
        let expected =
            ["a", "b", "b/inner", "b/inner/x", "b.txt", "c", "empty", "pipe", "\\xff"];
        assert_eq!(paths, expected);
        assert_eq!(entries[1].kind, Kind::Folder);
        assert_eq!((entries[3].size, entries[3].links), (3, 1));
        assert_eq!(entries[5].kind, Kind::Symlink { target: b"../outside".to_vec() });
        assert_eq!(entries[6].kind, Kind::EmptyFolder);
        assert_eq!(entries[7].kind, Kind::Other);
        assert!(entries[3].mtime_ns > 0 && entries[3].ino > 0);
    }

    #[test]
    fn a_folder_too_deep_is_an_error_not_a_crash() {
        let place = tempfile::tempdir().unwrap();
        let mut at = rustix::fs::open(place.path(), OFlags::RDONLY, Mode::empty()).unwrap();
        for _ in 0..DEPTH_MAX + 2 {
            rustix::fs::mkdirat(&at, "d", Mode::from_raw_mode(0o700)).unwrap();
            at = rustix::fs::openat(&at, "d", OFlags::RDONLY, Mode::empty()).unwrap();
        }
        let last = Walk::new(place.path()).unwrap().last().unwrap();
        assert!(matches!(last, Err(Error::TooDeep { .. })), "{last:?}");
    }
}
