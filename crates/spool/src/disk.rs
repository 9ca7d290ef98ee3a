//! Everything the spool does to a disk, as a trait, so that tests can cut the power; and the real one.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind, IoSlice};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Slices that one system call takes at most (Linux's `UIO_MAXIOV`).
const PARTS_PER_CALL_MAX: usize = 1024;

/// A write in which so many bytes fill whole pages goes around the system's cache, its ends excepted.
/// Passing through costs taking fresh memory, twice as dear as copying and hashing what is written.
const AROUND_FROM_BYTES: u64 = 128 << 10;

/// A file system as the spool sees it. Names are durable only after [`Disk::sync_dir`].
pub trait Disk: Send + Sync + Debug + 'static {
    /// Makes a folder and those above it; it may be there already.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes a new file, for reading and writing; an existing one is an error.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// As [`Disk::create`], of a file that nobody but its owner may read.
    fn create_private(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.create(path)
    }
    /// Opens an existing file for reading, and for writing where that is permitted.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// The names in a folder, in no order. A name that is not UTF-8 is left out.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Renames a file, over an existing one too, or a folder.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Bytes that this process may still write on the file system that holds `path`.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
    /// A number of that file system: what has the same shares the same room.
    fn device(&self, path: &Path) -> io::Result<u64>;
    /// Whether that file system is mounted read-only.
    fn is_read_only(&self, _path: &Path) -> io::Result<bool> {
        Ok(false)
    }
}

/// An open file. Contents are durable only after [`DiskFile::sync`].
pub trait DiskFile: Send + Sync + Debug {
    /// Writes the parts one after the other from `offset`, all of them or it is an error.
    fn write_at(&self, offset: u64, parts: &[&[u8]]) -> io::Result<()>;
    /// Reads at most `buf.len()` bytes; 0 is the end of the file.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
    /// Reads `len` bytes, or as many as the file has, into `buf`, and says where in it they lie; around
    /// the system's cache where that is possible. For what is read once from begin to end: its memory
    /// is not filled with that, and what is found is what is on the disk.
    fn read_around(&self, offset: u64, len: usize, buf: &mut PageBuf) -> io::Result<Range<usize>> {
        let place = buf.place(len);
        let mut filled = 0;
        while filled < len {
            let rest = &mut buf.bytes[place + filled..place + len];
            match self.read_at(offset.saturating_add(filled as u64), rest)? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(place..place + filled)
    }
    /// Makes contents and length durable. After a failure nothing that was written before can be
    /// relied on, also when a later call succeeds (the kernel forgets what it could not write).
    fn sync(&self) -> io::Result<()>;
    /// A hint: begin to write this range to the disk now, so that the next sync is short.
    fn begin_writeback(&self, offset: u64, len: u64);
    /// A hint: what the system's memory holds of this range, synced before, is not needed there soon.
    /// What is kept for years is written once and seldom read; left alone it would fill the memory of
    /// the machine, and taking fresh memory costs more than writing to a good disk does.
    fn forget(&self, offset: u64, len: u64);
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// A hint: reserve space for `len` bytes from the start; the length stays as it is.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Takes the file's exclusive lock, which is held until this handle is dropped. `false` when
    /// another handle has it, of this process or of any other.
    fn try_lock(&self) -> io::Result<bool>;
}

/// Memory that begins at a page, as going around the system's cache wants it. Grows as needed.
#[derive(Debug, Default)]
pub struct PageBuf {
    bytes: Vec<u8>,
}

/// What that begins and ends at, in the file and in memory: a multiple of any disk's block.
const PAGE_BYTES: usize = 4096;
pub(crate) const PAGE: u64 = PAGE_BYTES as u64;

impl PageBuf {
    /// The bytes of a range that [`DiskFile::read_around`] gave.
    pub fn get(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// Makes room for `len` bytes; where they begin.
    fn place(&mut self, len: usize) -> usize {
        if self.bytes.len() < len + PAGE_BYTES {
            self.bytes = vec![0; len + PAGE_BYTES];
        }
        self.bytes.as_ptr().align_offset(PAGE_BYTES).min(PAGE_BYTES)
    }
}

/// The operating system's file system.
#[derive(Debug, Default, Clone)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(OsFile::new(file)))
    }

    fn create_private(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Arc::new(OsFile::new(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                File::open(path)?
            }
            other => other?,
        };
        Ok(Arc::new(OsFile::new(file)))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn device(&self, path: &Path) -> io::Result<u64> {
        Ok(std::fs::metadata(path)?.dev())
    }

    fn is_read_only(&self, path: &Path) -> io::Result<bool> {
        let flags = rustix::fs::statvfs(path)?.f_flag;
        Ok(flags.contains(rustix::fs::StatVfsMountFlags::RDONLY))
    }
}

#[derive(Debug)]
struct OsFile {
    file: File,
    /// The same file, to be read and written around the cache; `None` where that cannot be.
    around: OnceLock<Option<File>>,
    /// What is written around it.
    stage: Mutex<PageBuf>,
}

impl OsFile {
    fn new(file: File) -> OsFile {
        OsFile { file, around: OnceLock::new(), stage: Mutex::default() }
    }

    #[cfg(target_os = "linux")]
    fn around(&self) -> Option<&File> {
        use rustix::fs::{Mode, OFlags};
        use std::os::fd::AsRawFd;
        let open = || {
            let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            let flags = OFlags::DIRECT | OFlags::CLOEXEC;
            let open = |access| rustix::fs::open(&path, flags | access, Mode::empty());
            open(OFlags::RDWR).or_else(|_| open(OFlags::RDONLY)).ok().map(File::from)
        };
        self.around.get_or_init(open).as_ref()
    }

    #[cfg(not(target_os = "linux"))]
    fn around(&self) -> Option<&File> {
        self.around.get_or_init(|| None).as_ref()
    }
}

impl OsFile {
    /// Writes `pages` around the system's cache, and what lies before and after them through it: a
    /// page that two writes share is in the cache for both, so neither undoes the other.
    fn write_around(
        &self,
        file: &File,
        offset: u64,
        parts: &[&[u8]],
        pages: Range<u64>,
    ) -> io::Result<()> {
        let before = (pages.start - offset) as usize;
        let len = (pages.end - pages.start) as usize;
        self.write_cached(offset, &cut(parts, 0..before))?;
        // The stage is overwritten each time, so a panic leaves nothing wrong in it.
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        let place = stage.place(len);
        let mut rest = &mut stage.bytes[place..place + len];
        for part in cut(parts, before..before + len) {
            let (now, later) = rest.split_at_mut(part.len());
            now.copy_from_slice(part);
            rest = later;
        }
        let staged = &stage.bytes[place..place + len];
        let mut done = 0;
        while done < len {
            let at = pages.start + done as u64;
            match rustix::io::pwrite(file, &staged[done..], at) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => done += written,
                Err(rustix::io::Errno::INTR) => {}
                // A disk of larger blocks, a file that was opened for reading alone, or what is left
                // of a page after a short write: the cache takes it, or says what is wrong.
                Err(rustix::io::Errno::INVAL | rustix::io::Errno::BADF) => {
                    self.write_cached(at, &[&staged[done..]])?;
                    done = len;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.write_cached(pages.end, &cut(parts, before + len..usize::MAX))
    }

    /// Writes through the system's cache.
    fn write_cached(&self, mut offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        for parts in parts.chunks(PARTS_PER_CALL_MAX) {
            let mut slices: Vec<IoSlice<'_>> =
                parts.iter().map(|part| IoSlice::new(part)).collect();
            let mut left = slices.as_mut_slice();
            // Drops the empty ones in front, so that a write of 0 bytes means a full device.
            IoSlice::advance_slices(&mut left, 0);
            while !left.is_empty() {
                match rustix::io::pwritev(&self.file, left, offset) {
                    Ok(0) => return Err(ErrorKind::WriteZero.into()),
                    Ok(written) => {
                        offset += written as u64;
                        IoSlice::advance_slices(&mut left, written);
                    }
                    Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}

/// The bytes of a range of `parts`, as if they lay one after the other.
fn cut<'a>(parts: &[&'a [u8]], range: Range<usize>) -> Vec<&'a [u8]> {
    let mut at = 0;
    let mut within = Vec::with_capacity(parts.len());
    for part in parts {
        let from = range.start.saturating_sub(at).min(part.len());
        let to = range.end.saturating_sub(at).min(part.len());
        within.push(&part[from..to]);
        at += part.len();
    }
    within
}

impl DiskFile for OsFile {
    fn write_at(&self, offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        let end = parts.iter().fold(offset, |end, part| end.saturating_add(part.len() as u64));
        let pages = offset.next_multiple_of(PAGE)..end / PAGE * PAGE;
        let large = pages.end.saturating_sub(pages.start) >= AROUND_FROM_BYTES;
        match large.then(|| self.around()).flatten() {
            Some(file) => self.write_around(file, offset, parts, pages),
            None => self.write_cached(offset, parts),
        }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match FileExt::read_at(&self.file, buf, offset) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn read_around(&self, offset: u64, len: usize, buf: &mut PageBuf) -> io::Result<Range<usize>> {
        let skip = (offset % PAGE_BYTES as u64) as usize;
        let whole = (skip + len).next_multiple_of(PAGE_BYTES);
        let place = buf.place(whole);
        let mut filled = 0;
        while filled < skip + len {
            let rest = &mut buf.bytes[place + filled..place + whole];
            let at = offset - skip as u64 + filled as u64;
            // After a read that ended within a page, as at the end of the file, the cache helps.
            let aligned = filled.is_multiple_of(PAGE_BYTES);
            let read = match self.around().filter(|_| aligned) {
                Some(file) => match FileExt::read_at(file, rest, at) {
                    Err(error) if error.kind() == ErrorKind::InvalidInput => self.read_at(at, rest),
                    other => other,
                },
                None => self.read_at(at, rest),
            };
            match read {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.around().is_none() {
            self.forget(offset, len as u64);
        }
        Ok(place + skip..place + filled.clamp(skip, skip + len))
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    #[cfg(target_os = "linux")]
    fn begin_writeback(&self, offset: u64, len: u64) {
        use std::os::fd::AsRawFd;
        let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else { return };
        // SAFETY: the call takes no pointers, and the descriptor is open for as long as `self`.
        // Its outcome is of no interest: what it could not start, `sync` does, and reports.
        unsafe {
            libc::sync_file_range(self.file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE);
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn begin_writeback(&self, _offset: u64, _len: u64) {}

    #[cfg(target_os = "linux")]
    fn forget(&self, offset: u64, len: u64) {
        let Some(len) = std::num::NonZeroU64::new(len) else { return };
        // Of no interest when it fails: it is a hint.
        let _ = rustix::fs::fadvise(&self.file, offset, Some(len), rustix::fs::Advice::DontNeed);
    }

    #[cfg(not(target_os = "linux"))]
    fn forget(&self, _offset: u64, _len: u64) {}

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    #[cfg(target_os = "linux")]
    fn allocate(&self, len: u64) -> io::Result<()> {
        let flags = rustix::fs::FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.file, flags, 0, len) {
            // A hint: not every file system can.
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            other => Ok(other?),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn allocate(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        // flock belongs to the open file, not to the process, so two handles of one process
        // exclude each other, and closing an unrelated handle does not release it.
        match rustix::fs::flock(&self.file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Makes a folder and those above it that are not there, each durable in the one above it before the next
/// is made: so a crash leaves at most the last one that is there in doubt, and its name is synced anew.
pub fn create_folders(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let all = || path.ancestors().filter(|dir| !dir.as_os_str().is_empty());
    let new = all().take_while(|dir| disk.list(dir).is_err()).count();
    let mut folders: Vec<&Path> = all().take(new + 1).collect();
    folders.reverse();
    for (i, folder) in folders.iter().enumerate() {
        disk.create_dir(folder)?;
        let Some(above) = folder.parent() else { continue };
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        match disk.sync_dir(above) {
            // A folder that was there, in one that is not ours to look into: we did not make it.
            Err(e) if e.kind() == ErrorKind::PermissionDenied && i == 0 => {}
            other => other?,
        }
    }
    Ok(())
}

/// Makes a file durable as it stands, and has the system's memory of it let go: what a process wrote that
/// was killed may be in memory alone, and what a sync that failed did not bring to the disk stays there
/// too, and looks as if it were written. What is read next is what the disk has, and outlives a power cut.
/// Where nothing can be written, there is nothing to be made durable. Says whether the file is there.
pub fn settle(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    let file = match disk.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    match file.sync() {
        Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => {}
        other => other?,
    }
    file.forget(0, file.len()?.next_multiple_of(PAGE));
    Ok(true)
}

/// Writes a small file whole and durably, over an existing one: a reader, also after a power cut,
/// finds the old bytes or the new ones. A crash can leave a `.NAME.*.tmp` beside it.
pub fn write_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(ErrorKind::InvalidInput, "the path names no file"));
    };
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    // Drawn from the seed of the standard library's hash maps; unlike a process id it also differs
    // between containers that share a folder.
    let draw = RandomState::new().build_hasher().finish();
    let temp = dir.join(format!(".{}.{draw:016x}.tmp", name.to_string_lossy()));
    let file = disk.create(&temp)?;
    let written = file
        .write_at(0, &[bytes])
        .and_then(|()| file.sync())
        .and_then(|()| disk.rename(&temp, path));
    if let Err(error) = written {
        // The first error is the one to tell; the temporary file is named so that it can be found.
        let _ = disk.remove(&temp);
        return Err(error);
    }
    disk.sync_dir(dir)
}

/// Reads a whole file of at most `bytes_max` bytes; a longer one is refused unread.
pub fn read_file(disk: &dyn Disk, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let len = file.len()?;
    if len > bytes_max {
        let message = format!("{} has {len} bytes, more than {bytes_max}", path.display());
        return Err(io::Error::new(ErrorKind::FileTooLarge, message));
    }
    let len = usize::try_from(len).map_err(|_| io::Error::from(ErrorKind::FileTooLarge))?;
    let mut bytes = vec![0; len];
    let read = read_up_to(&*file, 0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Reads until `buf` is full or the file ends; says how many bytes it read.
pub(crate) fn read_up_to(file: &dyn DiskFile, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match file.read_at(offset.saturating_add(filled as u64), &mut buf[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_written_in_order_past_the_limit_of_one_call() {
        let dir = tempfile::tempdir().unwrap();
        let file = OsDisk.create(&dir.path().join("f")).unwrap();
        let bytes: Vec<u8> = (0..5000u32).map(|i| (i % 251) as u8).collect();
        let mut parts: Vec<&[u8]> = vec![&[], &[]];
        parts.extend(bytes.chunks(2));
        parts.push(&[]);
        file.write_at(7, &parts).unwrap();
        file.write_at(0, &[]).unwrap();
        let mut read = vec![0; 5007];
        assert_eq!(read_up_to(&*file, 0, &mut read).unwrap(), 5007);
        assert_eq!(&read[7..], bytes);
        file.begin_writeback(0, 5007);
        file.sync().unwrap();
        file.forget(0, 4096);
        file.allocate(1 << 20).unwrap();
        assert_eq!(file.len().unwrap(), 5007);
    }

    #[test]
    fn bytes_are_written_around_the_cache_as_through_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = OsDisk.create(&dir.path().join("f")).unwrap();
        let bytes: Vec<u8> = (0..900_000u32).map(|i| (i % 251) as u8).collect();
        let mut expected = Vec::new();
        let page = PAGE_BYTES;
        let around = AROUND_FROM_BYTES as usize;
        // Each begins where the one before ended, as frames do: in a page that both share, mostly.
        for len in [256, around - 1, around, 5, around + page, around + 7777, page, 3 * around] {
            let parts = [&bytes[..96], &[], &bytes[len / 3..][..len], &[0; 8]];
            file.write_at(expected.len() as u64, &parts).unwrap();
            expected.extend(parts.concat());
        }
        file.sync().unwrap();
        // And over what is there, in its middle.
        let middle = &bytes[..2 * around + 99];
        file.write_at(1000, &[middle]).unwrap();
        expected[1000..1000 + middle.len()].copy_from_slice(middle);
        assert_eq!(file.len().unwrap(), expected.len() as u64);
        let mut found = vec![0; expected.len()];
        assert_eq!(read_up_to(&*file, 0, &mut found).unwrap(), expected.len());
        assert!(found == expected);
        let mut buf = PageBuf::default();
        let range = file.read_around(0, expected.len(), &mut buf).unwrap();
        assert!(buf.get(range) == expected);
    }

    #[test]
    fn bytes_are_read_around_the_cache_as_through_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = OsDisk.create(&dir.path().join("f")).unwrap();
        let bytes: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
        file.write_at(0, &[&bytes]).unwrap();
        let mut buf = PageBuf::default();
        for (offset, len) in
            [(0, 1), (0, 100_000), (4096, 4096), (5, 70_001), (99_999, 500), (100_000, 9)]
        {
            let range = file.read_around(offset, len, &mut buf).unwrap();
            let from = offset as usize;
            assert_eq!(buf.get(range), &bytes[from..100_000.min(from + len)], "{offset} {len}");
        }
        assert!(file.read_around(200_000, 10, &mut buf).unwrap().is_empty());
    }

    #[test]
    fn a_lock_excludes_other_handles_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let first = OsDisk.create(&path).unwrap();
        assert!(first.try_lock().unwrap());
        assert!(!OsDisk.open(&path).unwrap().try_lock().unwrap());
        drop(first);
        assert!(OsDisk.open(&path).unwrap().try_lock().unwrap());
    }

    #[test]
    fn a_small_file_is_replaced_whole_and_read_within_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity");
        write_file(&OsDisk, &path, b"one").unwrap();
        write_file(&OsDisk, &path, b"two and more").unwrap();
        assert_eq!(read_file(&OsDisk, &path, 12).unwrap(), b"two and more");
        assert_eq!(read_file(&OsDisk, &path, 11).unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert_eq!(OsDisk.list(dir.path()).unwrap(), ["identity"]);
        assert!(OsDisk.free_bytes(dir.path()).unwrap() > 0);
    }
}
