//! Appending to logs of one's own, and syncing once for all who wait.

use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

use crate::disk::{DiskFile, PAGE};
use crate::error::Error;
use crate::format::{
    ALIGN_BYTES, HEAD_BYTES, HEADER_BYTES, Head, Header, Key, Location, LogId, LogName, frame_bytes,
};
use crate::spool::{Shared, Spool};

/// Bytes that gather before the disk is told to begin with them, so that a sync finds little left.
pub const WRITEBACK_BYTES: u64 = 8 << 20;
/// Full logs that may wait for a sync; one more, and the append that filled it syncs.
pub const LOGS_BEHIND_MAX: usize = 4;

/// Times that a new log is begun anew when something else took its file.
const BEGIN_ATTEMPTS_MAX: usize = 4;
/// A log under this ending has not begun: it becomes a log by being renamed, locked and with its
/// header, so nobody ever sees a log that is neither in use nor finished.
const UNBEGUN_END: &str = ".new";
const CREATED_BY: &str = concat!("strongroom-spool ", env!("CARGO_PKG_VERSION"));

/// Appends frames to logs of its own. Cheap to clone, and safe to use from many threads.
///
/// Nothing is durable before [`Writer::sync`]. After a failed write or sync every call returns
/// [`Error::Poisoned`]; a new writer begins new logs.
#[derive(Clone)]
pub struct Writer {
    inner: Arc<Inner>,
}

struct Inner {
    spool: Spool,
    epoch: u64,
    token: [u8; 16],
    new_id: Box<dyn Fn() -> LogId + Send + Sync>,
    state: Mutex<State>,
    /// Whether a thread is syncing, for all that wait for `synced`.
    syncing: Mutex<bool>,
    synced: Condvar,
    /// Of the bytes ever appended, how many are durable.
    durable: AtomicU64,
    /// The first failure, in words.
    failed: OnceLock<String>,
}

#[derive(Default)]
struct State {
    counter: u64,
    log: Option<OpenLog>,
    /// Full logs that are not synced yet. They stay locked until they are.
    behind: Vec<OpenLog>,
    /// Whether a log was begun since the folder was synced.
    dir_changed: bool,
    /// Bytes ever appended, over all logs.
    appended: u64,
}

#[derive(Clone)]
struct OpenLog {
    id: LogId,
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    len: u64,
    /// Up to here the disk was told to begin writing.
    written_back: u64,
}

impl Spool {
    /// Begins writing, to logs of this writer alone: named by epoch, token and a counter, and locked
    /// as long as they are written. `new_id` draws the logs' random ids. The first log is begun by
    /// the first append.
    pub fn writer(
        &self,
        epoch: u64,
        token: [u8; 16],
        new_id: Box<dyn Fn() -> LogId + Send + Sync>,
    ) -> Result<Writer, Error> {
        let own = |name: &LogName| name.epoch == epoch && name.token == token;
        let counter =
            self.refresh()?.iter().filter(|name| own(name)).map(|name| name.counter).max();
        self.sweep_unbegun()?;
        let state = State { counter: counter.unwrap_or(0), ..State::default() };
        Ok(Writer {
            inner: Arc::new(Inner {
                spool: self.clone(),
                epoch,
                token,
                new_id,
                state: Mutex::new(state),
                syncing: Mutex::new(false),
                synced: Condvar::new(),
                durable: AtomicU64::new(0),
                failed: OnceLock::new(),
            }),
        })
    }

    /// Removes what a crash left of logs that had not begun. One that another process is just
    /// beginning is locked, or will find itself gone, and is begun anew.
    fn sweep_unbegun(&self) -> Result<(), Error> {
        let Shared { disk, dir, .. } = &*self.shared;
        for name in disk.list(dir).map_err(Error::io("list", dir))? {
            let is_log = |name: &str| LogName::parse(name).is_some();
            if !name.strip_suffix(UNBEGUN_END).is_some_and(is_log) {
                continue;
            }
            let path = dir.join(name);
            // Of no consequence when it fails: the file holds nothing, and a later writer tries again.
            if let Ok(file) = disk.open(&path)
                && file.try_lock().unwrap_or(false)
            {
                let _ = disk.remove(&path);
            }
        }
        Ok(())
    }
}

impl Writer {
    /// Appends a frame, its payload given in parts, and says where it lies. `first` is its position
    /// in its item, in a unit of the caller's.
    ///
    /// A payload that is too large is refused and harms nothing.
    pub fn append(&self, key: &Key, first: u64, parts: &[&[u8]]) -> Result<Location, Error> {
        let inner = &*self.inner;
        let bytes = parts.iter().map(|part| part.len() as u64).fold(0, u64::saturating_add);
        let bytes_max = inner.spool.shared.options.frame_bytes_max;
        let len = match u32::try_from(bytes) {
            Ok(len) if len <= bytes_max => len,
            _ => return Err(Error::TooLarge { bytes, bytes_max }),
        };
        let payload_crc = parts.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part));
        let head = Head { log: LogId([0; 16]), key: *key, first, len, payload_crc, offset: 0 };

        let mut state = inner.state.lock().map_err(|_| inner.poisoned())?;
        inner.check()?;
        let log = inner.write(&mut state, head, parts).map_err(|error| inner.fail(error))?;
        let location = Location { log: log.id, offset: log.len - frame_bytes(len), len };
        let pending = log.len - log.written_back;
        let writeback = (pending >= WRITEBACK_BYTES)
            .then(|| (log.file.clone(), std::mem::replace(&mut log.written_back, log.len)));
        let too_many_behind = state.behind.len() > LOGS_BEHIND_MAX;
        drop(state);
        if too_many_behind {
            self.sync()?;
        }
        if let Some((file, from)) = writeback {
            file.begin_writeback(from, pending);
        }
        Ok(location)
    }

    /// Returns when everything that was appended before the call is durable. Callers at the same
    /// time share a sync: the first to come syncs for all that have appended by then.
    pub fn sync(&self) -> Result<(), Error> {
        let inner = &*self.inner;
        let wanted = inner.state.lock().map_err(|_| inner.poisoned())?.appended;
        loop {
            let syncing = inner.syncing.lock().map_err(|_| inner.poisoned())?;
            let mut syncing = inner
                .synced
                .wait_while(syncing, |syncing| *syncing && !inner.is_durable(wanted))
                .map_err(|_| inner.poisoned())?;
            inner.check()?;
            if inner.is_durable(wanted) {
                return Ok(());
            }
            *syncing = true;
            drop(syncing);
            let _turn = Turn(inner);
            inner.sync_all().map_err(|error| inner.fail(error))?;
        }
    }

    /// Lets go of the log that is being written, durable as it is, so that others may remove it: what is
    /// appended from now on goes to a new one, which is begun first. An empty log is kept.
    pub fn next_log(&self) -> Result<(), Error> {
        self.sync()?;
        let inner = &*self.inner;
        let mut state = inner.state.lock().map_err(|_| inner.poisoned())?;
        inner.check()?;
        if state.log.as_ref().is_none_or(|log| log.len <= HEADER_BYTES as u64) {
            return Ok(());
        }
        state.dir_changed = true;
        let next = inner.begin_log(&mut state.counter).map_err(|error| inner.fail(error))?;
        let old = state.log.replace(next);
        // What was appended since that sync keeps it until the next.
        if !inner.is_durable(state.appended) {
            state.behind.extend(old);
        }
        Ok(())
    }

    /// Whether an earlier failure has ended it: a new writer has to begin new logs.
    pub fn has_failed(&self) -> bool {
        self.inner.failed.get().is_some()
    }

    /// Bytes, with heads and padding, that were appended and are not durable yet.
    pub fn unsynced_bytes(&self) -> u64 {
        // A state that a panic left behind is still counted right: the sum is changed last.
        let state = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.appended - self.inner.durable.load(Ordering::Acquire)
    }
}

impl Inner {
    /// Writes a frame at the end of a log that has room for it, and returns that log.
    fn write<'a>(
        &self,
        state: &'a mut State,
        mut head: Head,
        parts: &[&[u8]],
    ) -> Result<&'a mut OpenLog, Error> {
        let bytes = frame_bytes(head.len);
        let bytes_max = self.spool.shared.options.log_bytes_max;
        if let Some(full) = state.log.take_if(|log| log.len.saturating_add(bytes) > bytes_max) {
            full.file.begin_writeback(full.written_back, full.len - full.written_back);
            state.behind.push(full);
        }
        let log = match &mut state.log {
            Some(log) => log,
            none => {
                state.dir_changed = true;
                none.insert(self.begin_log(&mut state.counter)?)
            }
        };
        head.log = log.id;
        head.offset = log.len;
        let encoded = head.encode();
        let padding = bytes as usize - HEAD_BYTES - head.len as usize;
        let mut whole = Vec::with_capacity(parts.len() + 2);
        whole.push(encoded.as_slice());
        whole.extend(parts);
        whole.push(&[0; ALIGN_BYTES as usize][..padding]);
        log.file.write_at(log.len, &whole).map_err(Error::io("write to", &log.path))?;
        log.len += bytes;
        state.appended += bytes;
        Ok(log)
    }

    /// Begins a log: made and locked under a name that nobody reads, with its header, then renamed.
    fn begin_log(&self, counter: &mut u64) -> Result<OpenLog, Error> {
        let Shared { disk, dir, .. } = &*self.spool.shared;
        for _ in 0..BEGIN_ATTEMPTS_MAX {
            let id = (self.new_id)();
            if self.spool.knows(id) {
                return Err(Error::IdDrawnTwice { log: id });
            }
            *counter += 1;
            let name = LogName { epoch: self.epoch, token: self.token, counter: *counter, id };
            let path = dir.join(name.to_string());
            let unbegun = dir.join(format!("{name}{UNBEGUN_END}"));
            let file = disk.create(&unbegun).map_err(Error::io("create", &unbegun))?;
            if !file.try_lock().map_err(Error::io("lock", &unbegun))? {
                continue;
            }
            let created_by = CREATED_BY.to_owned();
            let header = Header { log: id, epoch: self.epoch, token: self.token, created_by };
            file.write_at(0, &[&header.encode()]).map_err(Error::io("write to", &unbegun))?;
            match disk.rename(&unbegun, &path) {
                // Another process took it for a remnant.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                other => other.map_err(Error::io("rename", &unbegun))?,
            }
            self.spool.learn(name);
            let len = HEADER_BYTES as u64;
            return Ok(OpenLog { id, file, path, len, written_back: 0 });
        }
        let source = std::io::Error::other("every new log was taken by another process");
        Err(Error::Io { doing: "begin a log in", path: dir.clone(), source })
    }

    /// Called by whoever has the [`Turn`]. Appending goes on meanwhile, for a later sync.
    fn sync_all(&self) -> Result<(), Error> {
        let Shared { disk, dir, .. } = &*self.spool.shared;
        let (logs, dir_changed, appended) = {
            let mut state = self.state.lock().map_err(|_| self.poisoned())?;
            let mut logs = std::mem::take(&mut state.behind);
            logs.extend(state.log.clone());
            (logs, std::mem::take(&mut state.dir_changed), state.appended)
        };
        for log in &logs {
            log.file.sync().map_err(Error::io("sync", &log.path))?;
            // The last, begun page is needed by the next append.
            log.file.forget(0, log.len - log.len % PAGE);
        }
        if dir_changed {
            disk.sync_dir(dir).map_err(Error::io("sync", dir))?;
        }
        self.durable.store(appended, Ordering::Release);
        Ok(())
    }

    fn is_durable(&self, appended: u64) -> bool {
        self.durable.load(Ordering::Acquire) >= appended
    }

    fn check(&self) -> Result<(), Error> {
        if self.failed.get().is_some() { Err(self.poisoned()) } else { Ok(()) }
    }

    /// Ends this writer for good.
    fn fail(&self, error: Error) -> Error {
        self.failed.get_or_init(|| error.to_string());
        error
    }

    fn poisoned(&self) -> Error {
        let why = self.failed.get().map_or("a thread panicked while it had the writer", |why| why);
        Error::Poisoned { dir: self.spool.shared.dir.clone(), why: why.to_owned() }
    }
}

/// The turn to sync. However it ends, those who wait are woken.
struct Turn<'a>(&'a Inner);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.failed.get_or_init(|| "a thread panicked while it synced".to_owned());
        }
        *self.0.syncing.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.synced.notify_all();
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("dir", &self.inner.spool.shared.dir)
            .field("epoch", &self.inner.epoch)
            .field("failed", &self.inner.failed.get())
            .finish_non_exhaustive()
    }
}
