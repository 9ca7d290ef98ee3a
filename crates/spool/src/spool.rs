//! One folder of logs: opening, reading, listing, removing.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile, PageBuf, read_up_to, settle};
use crate::error::Error;
use crate::format::{
    FORMAT_VERSION, FRAME_BYTES_LIMIT, Fault, HEAD_BYTES, HEADER_BYTES, Head, Header, Key,
    Location, LogId, LogName,
};
use crate::scan::Why;

/// Logs that are kept open for reading.
pub const OPEN_FILES_MAX: usize = 64;

/// How a spool writes. Reading depends on none of it.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// A log takes no frame that would make it longer than this, in bytes, save its first.
    pub log_bytes_max: u64,
    /// The longest payload that is appended, in bytes; at most [`FRAME_BYTES_LIMIT`].
    pub frame_bytes_max: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options { log_bytes_max: 1 << 30, frame_bytes_max: 4 << 20 }
    }
}

/// A log of the folder.
#[derive(Clone, Debug)]
pub struct LogInfo {
    /// Its id.
    pub id: LogId,
    /// Its file's name.
    pub name: String,
    /// The epoch in which it was begun.
    pub epoch: u64,
    /// Who began it: the token that the writer was given.
    pub token: [u8; 16],
    /// The how-manieth log it is of this epoch and token.
    pub counter: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// Whether a live writer has it.
    pub in_use: bool,
}

/// One folder of logs. Cheap to clone, and safe to use from many threads.
///
/// Opening reads names only, and nothing here changes a log. Logs that other processes begin are
/// found as soon as they are asked for.
#[derive(Clone, Debug)]
pub struct Spool {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    known: Mutex<Known>,
}

/// What is known of the folder; a cache of it.
#[derive(Debug, Default)]
struct Known {
    names: BTreeMap<LogId, LogName>,
    /// The most recently used last; at most [`OPEN_FILES_MAX`].
    open: Vec<(LogId, Arc<dyn DiskFile>)>,
}

impl Spool {
    /// Opens a folder, which must exist.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, options: Options) -> Result<Spool, Error> {
        if options.frame_bytes_max > FRAME_BYTES_LIMIT {
            let bytes = u64::from(options.frame_bytes_max);
            return Err(Error::TooLarge { bytes, bytes_max: FRAME_BYTES_LIMIT });
        }
        let shared = Shared { disk, dir: dir.to_path_buf(), options, known: Mutex::default() };
        let spool = Spool { shared: Arc::new(shared) };
        spool.refresh()?;
        Ok(spool)
    }

    /// Reads the payload's bytes from `skip` on until `buf` is full. The head is checked each time
    /// (checksum, log, place, key, length), the payload's checksum is not: see
    /// [`Spool::read_frame`].
    pub fn read(&self, at: &Location, key: &Key, skip: u32, buf: &mut [u8]) -> Result<(), Error> {
        let (skip, len) = (u64::from(skip), u64::from(at.len));
        let end = skip.saturating_add(buf.len() as u64);
        if end > len {
            return Err(Error::OutOfRange { skip, end, len: at.len });
        }
        let (file, path) = self.file(at.log)?;
        read_head(&*file, &path, at, key)?;
        read_payload(&*file, &path, at, skip, buf)
    }

    /// Reads a whole payload and verifies its checksum.
    pub fn read_frame(&self, at: &Location, key: &Key) -> Result<Vec<u8>, Error> {
        let (file, path) = self.file(at.log)?;
        // The head bounds the length before memory is taken for it.
        let head = read_head(&*file, &path, at, key)?;
        let mut payload = vec![0; head.len as usize];
        read_payload(&*file, &path, at, 0, &mut payload)?;
        if crc32c::crc32c(&payload) != head.payload_crc {
            return Err(Error::Damaged { path, offset: at.offset, why: Why::Payload });
        }
        Ok(payload)
    }

    /// Reads a whole frame around the system's cache, and says where in `buf` its payload lies. The
    /// head is checked, the payload's checksum is not.
    pub fn read_around(
        &self,
        at: &Location,
        key: &Key,
        buf: &mut PageBuf,
    ) -> Result<Range<usize>, Error> {
        let (file, path) = self.file(at.log)?;
        let len = HEAD_BYTES + at.len as usize;
        let read = file.read_around(at.offset, len, buf).map_err(Error::io("read", &path))?;
        let head = &buf.get(read.clone())[..read.len().min(HEAD_BYTES)];
        check_head(head, &path, at, key)?;
        if read.len() < len {
            return Err(Error::Damaged { path, offset: at.offset, why: Why::Short });
        }
        Ok(read.start + HEAD_BYTES..read.end)
    }

    /// The folder's logs, in the order of epoch, token and counter.
    pub fn logs(&self) -> Result<Vec<LogInfo>, Error> {
        let mut logs = Vec::new();
        for name in self.refresh()? {
            let path = self.shared.dir.join(name.to_string());
            let file = match self.shared.disk.open(&path) {
                // Removed by another process since the folder was listed.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                other => other.map_err(Error::io("open", &path))?,
            };
            logs.push(LogInfo {
                id: name.id,
                name: name.to_string(),
                epoch: name.epoch,
                token: name.token,
                counter: name.counter,
                bytes: file.len().map_err(Error::io("measure", &path))?,
                in_use: !file.try_lock().map_err(Error::io("lock", &path))?,
            });
        }
        Ok(logs)
    }

    /// The ids of the folder's logs, from their names alone.
    pub fn log_ids(&self) -> Result<Vec<LogId>, Error> {
        Ok(self.refresh()?.iter().map(|name| name.id).collect())
    }

    /// Settles all logs ([`settle`]), and makes their names durable.
    pub fn settle(&self) -> Result<(), Error> {
        let Shared { disk, dir, .. } = &*self.shared;
        for name in self.refresh()? {
            let path = dir.join(name.to_string());
            // One that is not there any more was removed by another process.
            settle(disk.as_ref(), &path).map_err(Error::io("sync", &path))?;
        }
        match disk.sync_dir(dir) {
            Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => Ok(()),
            other => other.map_err(Error::io("sync", dir)),
        }
    }

    /// Bytes of all logs together.
    pub fn bytes(&self) -> Result<u64, Error> {
        Ok(self.logs()?.iter().map(|log| log.bytes).fold(0, u64::saturating_add))
    }

    /// Bytes that may still be written to the folder's file system.
    pub fn free_bytes(&self) -> Result<u64, Error> {
        let Shared { disk, dir, .. } = &*self.shared;
        disk.free_bytes(dir).map_err(Error::io("ask the free space of", dir))
    }

    /// Removes a whole log, durably. One that a live writer has is refused.
    pub fn remove_log(&self, log: &LogId) -> Result<(), Error> {
        let Shared { disk, dir, .. } = &*self.shared;
        let path = dir.join(self.name(*log)?.to_string());
        let file = disk.open(&path).map_err(Error::io("open", &path))?;
        if !file.try_lock().map_err(Error::io("lock", &path))? {
            return Err(Error::InUse { path });
        }
        disk.remove(&path).map_err(Error::io("remove", &path))?;
        self.known().forget(*log);
        disk.sync_dir(dir).map_err(Error::io("sync", dir))
    }

    /// Lists the folder anew; forgets what is gone, also the handles that would keep its space.
    pub(crate) fn refresh(&self) -> Result<Vec<LogName>, Error> {
        let Shared { disk, dir, .. } = &*self.shared;
        // Under the lock, so that a log that a writer is just adding is not forgotten.
        let mut known = self.known();
        let listed = disk.list(dir).map_err(Error::io("list", dir))?;
        known.names = listed
            .iter()
            .filter_map(|name| LogName::parse(name))
            .map(|name| (name.id, name))
            .collect();
        let Known { names, open } = &mut *known;
        open.retain(|(log, _)| names.contains_key(log));
        let mut names: Vec<LogName> = names.values().copied().collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Whether the folder has a log of this id, as far as it is known without listing it.
    pub(crate) fn knows(&self, log: LogId) -> bool {
        self.known().names.contains_key(&log)
    }

    pub(crate) fn learn(&self, name: LogName) {
        self.known().names.insert(name.id, name);
    }

    pub(crate) fn name(&self, log: LogId) -> Result<LogName, Error> {
        if let Some(name) = self.known().names.get(&log) {
            return Ok(*name);
        }
        self.refresh()?;
        let found = self.known().names.get(&log).copied();
        found.ok_or_else(|| Error::NoSuchLog { log, dir: self.shared.dir.clone() })
    }

    /// The log's file, of a version that can be read.
    fn file(&self, log: LogId) -> Result<(Arc<dyn DiskFile>, PathBuf), Error> {
        let Shared { disk, dir, .. } = &*self.shared;
        let path = dir.join(self.name(log)?.to_string());
        if let Some(file) = self.known().opened(log) {
            return Ok((file, path));
        }
        let file = match disk.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.known().forget(log);
                return Err(Error::NoSuchLog { log, dir: dir.clone() });
            }
            other => other.map_err(Error::io("open", &path))?,
        };
        // A header that is damaged is no reason not to read: each head vouches for its frame.
        if let HeaderState::Newer(version) =
            read_header(&*file, log).map_err(Error::io("read", &path))?
        {
            return Err(Error::NewerVersion { path, version, known: FORMAT_VERSION });
        }
        self.known().keep_open(log, &file);
        Ok((file, path))
    }

    /// The lock guards a cache, which is sound at every moment, also when a thread panicked.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.shared.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn opened(&mut self, log: LogId) -> Option<Arc<dyn DiskFile>> {
        let at = self.open.iter().position(|(id, _)| *id == log)?;
        let entry = self.open.remove(at);
        let file = entry.1.clone();
        self.open.push(entry);
        Some(file)
    }

    fn keep_open(&mut self, log: LogId, file: &Arc<dyn DiskFile>) {
        self.open.retain(|(id, _)| *id != log);
        if self.open.len() >= OPEN_FILES_MAX {
            self.open.remove(0);
        }
        self.open.push((log, file.clone()));
    }

    fn forget(&mut self, log: LogId) {
        self.names.remove(&log);
        self.open.retain(|(id, _)| *id != log);
    }
}

/// What the first bytes of a log are.
pub(crate) enum HeaderState {
    Whole,
    /// The file ends before the header does.
    Short,
    /// Damaged, or the header of another log.
    Damaged,
    Newer(u32),
}

pub(crate) fn read_header(file: &dyn DiskFile, log: LogId) -> std::io::Result<HeaderState> {
    let mut bytes = [0; HEADER_BYTES];
    if read_up_to(file, 0, &mut bytes)? < HEADER_BYTES {
        return Ok(HeaderState::Short);
    }
    Ok(match Header::decode(&bytes) {
        Ok(header) if header.log == log => HeaderState::Whole,
        Ok(_) | Err(Fault::Damaged) => HeaderState::Damaged,
        Err(Fault::Newer(version)) => HeaderState::Newer(version),
    })
}

fn read_head(file: &dyn DiskFile, path: &Path, at: &Location, key: &Key) -> Result<Head, Error> {
    let mut bytes = [0; HEAD_BYTES];
    let read = read_up_to(file, at.offset, &mut bytes).map_err(Error::io("read", path))?;
    check_head(&bytes[..read], path, at, key)
}

/// Whether these bytes are the head of that frame.
fn check_head(bytes: &[u8], path: &Path, at: &Location, key: &Key) -> Result<Head, Error> {
    let (path, offset) = (path.to_path_buf(), at.offset);
    let head = match Head::decode(bytes, at.log, at.offset) {
        Ok(head) => head,
        Err(Fault::Damaged) => return Err(Error::Damaged { path, offset, why: Why::Head }),
        Err(Fault::Newer(version)) => {
            return Err(Error::NewerVersion { path, version, known: FORMAT_VERSION });
        }
    };
    if head.key != *key {
        return Err(Error::OtherFrame { path, offset, what: "key" });
    }
    if head.len != at.len {
        return Err(Error::OtherFrame { path, offset, what: "length" });
    }
    Ok(head)
}

fn read_payload(
    file: &dyn DiskFile,
    path: &Path,
    at: &Location,
    skip: u64,
    buf: &mut [u8],
) -> Result<(), Error> {
    let from = at.offset.saturating_add(HEAD_BYTES as u64).saturating_add(skip);
    let read = read_up_to(file, from, buf).map_err(Error::io("read", path))?;
    if read < buf.len() {
        let path = path.to_path_buf();
        return Err(Error::Damaged { path, offset: at.offset, why: Why::Short });
    }
    Ok(())
}
