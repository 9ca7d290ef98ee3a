//! The simulated disk as a file system of SQLite (<https://www.sqlite.org/vfs.html>): all that is unsafe.
//!
//! It does what SQLite's own for Unix does: the first sync of a journal or log that it opens to write is followed
//! by one of its folder; overwriting never harms neighbouring bytes (`POWERSAFE_OVERWRITE`). The memory
//! that connections share for the write-ahead log is memory of this process, and is gone with the power.

use super::Sim;
use super::disk::Handle;
use super::state::State;
use libsqlite3_sys as sqlite;
use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longest path, in bytes.
const PATH_BYTES_MAX: c_int = 1024;
/// What SQLite's own file system says.
const SECTOR_BYTES: c_int = 4096;
/// Locks of the shared memory.
const SLOTS: usize = sqlite::SQLITE_SHM_NLOCK as usize;
/// The Julian day of 1970-01-01, in milliseconds.
const EPOCH_JULIAN_MS: i64 = 210_866_760_000_000;

/// The shared memory of a database's connections, and its locks, each by handle.
#[derive(Debug, Default)]
pub(super) struct SharedMemory {
    regions: Vec<Arc<Region>>,
    users: BTreeSet<u64>,
    exclusive: [Option<u64>; SLOTS],
    shared: [BTreeSet<u64>; SLOTS],
}

/// Memory that SQLite reads and writes through pointers, by rules of its own.
#[derive(Debug)]
struct Region(*mut [u64]);

// SAFETY: nothing here reads or writes the memory between its making and its end; SQLite orders its own
// accesses by the locks and barriers below.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    fn new(bytes: usize) -> Region {
        Region(Box::into_raw(vec![0u64; bytes.div_ceil(8)].into_boxed_slice()))
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: it came from `Box::into_raw`, and is dropped once. Each connection that was given a
        // pointer holds the region in an `Arc` until it has unmapped it.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// A name under which SQLite finds a machine's disk; it is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Registered {
    vfs: *mut sqlite::sqlite3_vfs,
    name: CString,
}

// SAFETY: the structure is written before it is registered and never again by us; SQLite guards its list of
// them with a mutex.
unsafe impl Send for Registered {}
// SAFETY: as above.
unsafe impl Sync for Registered {}

/// What a registered VFS knows.
struct App {
    state: Weak<Mutex<State>>,
    boot: u64,
}

impl App {
    /// The disk; an error where nobody has it any more.
    fn sim(&self) -> io::Result<Sim> {
        self.state.upgrade().map(Sim).ok_or_else(|| io::Error::other("the disk is gone"))
    }
}

/// SQLite's view of an open file: its own part first, then ours.
#[repr(C)]
struct OpenFile {
    base: sqlite::sqlite3_file,
    /// From `Box::into_raw`; null where the file is not open.
    own: *mut Own,
}

struct Own {
    handle: Handle,
    /// The folder that the first sync syncs too.
    sync_folder: Option<PathBuf>,
    delete_on_close: Option<PathBuf>,
    regions: Vec<Arc<Region>>,
}

impl Registered {
    pub(super) fn new(sim: &Sim, boot: u64) -> Registered {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = CString::new(format!("sim-{number}")).expect("no NUL in it");
        // Neither is ever freed: connections that are closed late, on threads of their own, still use
        // them. It is a few hundred bytes for each start of a machine.
        let app = Box::leak(Box::new(App { state: Arc::downgrade(&sim.0), boot }));
        let leaked = name.clone().into_raw();
        let vfs = Box::leak(Box::new(sqlite::sqlite3_vfs {
            iVersion: 2,
            szOsFile: size_of::<OpenFile>() as c_int,
            mxPathname: PATH_BYTES_MAX,
            pNext: std::ptr::null_mut(),
            zName: leaked,
            pAppData: std::ptr::from_mut(app).cast(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
            xFullPathname: Some(full_pathname),
            xDlOpen: None,
            xDlError: None,
            xDlSym: None,
            xDlClose: None,
            xRandomness: Some(randomness),
            xSleep: Some(sleep),
            xCurrentTime: Some(current_time),
            xGetLastError: None,
            xCurrentTimeInt64: Some(current_time_i64),
            xSetSystemCall: None,
            xGetSystemCall: None,
            xNextSystemCall: None,
        }));
        // SAFETY: the structure is whole and lives for ever.
        let outcome = unsafe { sqlite::sqlite3_vfs_register(vfs, 0) };
        assert_eq!(outcome, sqlite::SQLITE_OK, "SQLite takes a VFS");
        Registered { vfs, name }
    }

    pub(super) fn name(&self) -> String {
        self.name.to_str().expect("it was made of text").to_owned()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // SAFETY: it was registered, and stays in memory for connections that still use it.
        unsafe { sqlite::sqlite3_vfs_unregister(self.vfs) };
    }
}

static METHODS: sqlite::sqlite3_io_methods = sqlite::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// What is known of the VFS that SQLite passes.
///
/// # Safety
/// `vfs` is one that [`Registered::new`] made.
unsafe fn app<'a>(vfs: *mut sqlite::sqlite3_vfs) -> &'a App {
    // SAFETY: the caller's promise; the data is never freed nor written.
    unsafe { &*(*vfs).pAppData.cast::<App>() }
}

/// # Safety
/// `name` is null or ends with a NUL, and outlives the result.
unsafe fn path<'a>(name: *const c_char) -> Option<&'a Path> {
    // SAFETY: the caller's promise.
    let text = (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) })?;
    Some(Path::new(OsStr::from_bytes(text.to_bytes())))
}

/// # Safety
/// `file` is one that [`open`] opened, and SQLite uses it from one thread at a time.
unsafe fn own<'a>(file: *mut sqlite::sqlite3_file) -> &'a mut Own {
    // SAFETY: the caller's promise: `open` has set `own`, and `close`, which ends it, comes last.
    unsafe { &mut *(*file.cast::<OpenFile>()).own }
}

/// An outcome as SQLite's number; `code` where there is no better one.
fn code(outcome: io::Result<()>, code: c_int) -> c_int {
    match outcome {
        Ok(()) => sqlite::SQLITE_OK,
        Err(e) if e.kind() == ErrorKind::StorageFull => sqlite::SQLITE_FULL,
        Err(_) => code,
    }
}

unsafe extern "C" fn open(
    vfs: *mut sqlite::sqlite3_vfs,
    name: sqlite::sqlite3_filename,
    file: *mut sqlite::sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes our VFS, a name or null, and room for `szOsFile` bytes.
    let (app, path) = unsafe {
        (*file).pMethods = std::ptr::null();
        (app(vfs), path(name))
    };
    let Ok(sim) = app.sim() else { return sqlite::SQLITE_CANTOPEN };
    let mut state = sim.state();
    let node = match path {
        None => state.create_unnamed(app.boot),
        Some(path) => match state.find_file(app.boot, path) {
            Err(e)
                if e.kind() == ErrorKind::NotFound && flags & sqlite::SQLITE_OPEN_CREATE != 0 =>
            {
                state.create(app.boot, path)
            }
            Ok(_) if flags & sqlite::SQLITE_OPEN_EXCLUSIVE != 0 => {
                Err(ErrorKind::AlreadyExists.into())
            }
            found => found,
        },
    };
    let Ok(node) = node else { return sqlite::SQLITE_CANTOPEN };
    let journals = sqlite::SQLITE_OPEN_MAIN_JOURNAL
        | sqlite::SQLITE_OPEN_SUPER_JOURNAL
        | sqlite::SQLITE_OPEN_WAL;
    let own = Own {
        handle: Handle { sim: sim.clone(), boot: app.boot, node, id: state.new_handle() },
        sync_folder: path
            .filter(|_| flags & journals != 0 && flags & sqlite::SQLITE_OPEN_CREATE != 0)
            .and_then(|path| path.parent().map(Path::to_owned)),
        delete_on_close: path
            .filter(|_| flags & sqlite::SQLITE_OPEN_DELETEONCLOSE != 0)
            .map(Path::to_owned),
        regions: Vec::new(),
    };
    state.open_by_sqlite += 1;
    // SAFETY: as above; what was there of our part is not initialised, and not read.
    unsafe {
        std::ptr::addr_of_mut!((*file.cast::<OpenFile>()).own).write(Box::into_raw(Box::new(own)));
        (*file).pMethods = &METHODS;
        if !flags_out.is_null() {
            *flags_out = flags;
        }
    }
    sqlite::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut sqlite::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes a file once, and does not use it again.
    let own = unsafe {
        let file = file.cast::<OpenFile>();
        Box::from_raw(std::mem::replace(&mut (*file).own, std::ptr::null_mut()))
    };
    own.handle.state().open_by_sqlite -= 1;
    if let Ok(mut state) = own.handle.alive() {
        let id = own.handle.id;
        state.file(own.handle.node).levels.remove(&id);
        leave(&mut state, &own.handle);
        if let Some(path) = &own.delete_on_close {
            let _ = state.remove(own.handle.boot, path);
        }
    }
    sqlite::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut sqlite::sqlite3_file,
    to: *mut c_void,
    len: c_int,
    offset: sqlite::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite passes an open file, and `len` bytes that are ours to write.
    let (own, buf) =
        unsafe { (own(file), std::slice::from_raw_parts_mut(to.cast(), len as usize)) };
    let Handle { boot, node, .. } = own.handle;
    match own.handle.state().read(boot, node, offset as u64, buf) {
        Ok(read) if read == buf.len() => sqlite::SQLITE_OK,
        Ok(read) => {
            buf[read..].fill(0);
            sqlite::SQLITE_IOERR_SHORT_READ
        }
        Err(_) => sqlite::SQLITE_IOERR_READ,
    }
}

unsafe extern "C" fn write(
    file: *mut sqlite::sqlite3_file,
    from: *const c_void,
    len: c_int,
    offset: sqlite::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite passes an open file, and `len` bytes to read.
    let (own, bytes) =
        unsafe { (own(file), std::slice::from_raw_parts(from.cast::<u8>(), len as usize)) };
    let Handle { boot, node, .. } = own.handle;
    let outcome = own.handle.state().write(boot, node, offset as u64, bytes.to_vec());
    code(outcome, sqlite::SQLITE_IOERR_WRITE)
}

unsafe extern "C" fn truncate(
    file: *mut sqlite::sqlite3_file,
    size: sqlite::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite passes an open file.
    let Handle { ref sim, boot, node, .. } = unsafe { own(file) }.handle;
    code(sim.state().truncate(boot, node, size as u64), sqlite::SQLITE_IOERR_TRUNCATE)
}

unsafe extern "C" fn sync(file: *mut sqlite::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: SQLite passes an open file.
    let own = unsafe { own(file) };
    let Handle { boot, node, .. } = own.handle;
    let mut state = own.handle.sim.state();
    if state.sync(boot, node).is_err() {
        return sqlite::SQLITE_IOERR_FSYNC;
    }
    match own.sync_folder.take() {
        Some(folder) => code(state.sync_folder(boot, &folder), sqlite::SQLITE_IOERR_DIR_FSYNC),
        None => sqlite::SQLITE_OK,
    }
}

unsafe extern "C" fn file_size(
    file: *mut sqlite::sqlite3_file,
    size: *mut sqlite::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite passes an open file, and a place for the number.
    let (own, size) = unsafe { (own(file), &mut *size) };
    let Handle { boot, node, .. } = own.handle;
    match own.handle.state().len(boot, node) {
        Ok(len) => {
            *size = len as i64;
            sqlite::SQLITE_OK
        }
        Err(_) => sqlite::SQLITE_IOERR_FSTAT,
    }
}

unsafe extern "C" fn lock(file: *mut sqlite::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: SQLite passes an open file.
    let own = unsafe { own(file) };
    let Ok(mut state) = own.handle.alive() else { return sqlite::SQLITE_IOERR_LOCK };
    let id = own.handle.id;
    let levels = &mut state.file(own.handle.node).levels;
    let mine = levels.get(&id).copied().unwrap_or(sqlite::SQLITE_LOCK_NONE);
    let others = levels.iter().filter(|(other, _)| **other != id).map(|(_, level)| *level).max();
    let others = others.unwrap_or(sqlite::SQLITE_LOCK_NONE);
    if mine >= level {
        return sqlite::SQLITE_OK;
    }
    let (got, outcome) = match level {
        sqlite::SQLITE_LOCK_SHARED if others < sqlite::SQLITE_LOCK_PENDING => {
            (level, sqlite::SQLITE_OK)
        }
        sqlite::SQLITE_LOCK_RESERVED if others < sqlite::SQLITE_LOCK_RESERVED => {
            (level, sqlite::SQLITE_OK)
        }
        sqlite::SQLITE_LOCK_EXCLUSIVE if others == sqlite::SQLITE_LOCK_NONE => {
            (level, sqlite::SQLITE_OK)
        }
        // Readers end, and no new ones come.
        sqlite::SQLITE_LOCK_EXCLUSIVE if others == sqlite::SQLITE_LOCK_SHARED => {
            (sqlite::SQLITE_LOCK_PENDING, sqlite::SQLITE_BUSY)
        }
        _ => (mine, sqlite::SQLITE_BUSY),
    };
    if got != sqlite::SQLITE_LOCK_NONE {
        levels.insert(id, got);
    }
    outcome
}

unsafe extern "C" fn unlock(file: *mut sqlite::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: SQLite passes an open file.
    let own = unsafe { own(file) };
    if let Ok(mut state) = own.handle.alive() {
        let levels = &mut state.file(own.handle.node).levels;
        match level {
            sqlite::SQLITE_LOCK_NONE => levels.remove(&own.handle.id),
            _ => levels.insert(own.handle.id, level),
        };
    }
    sqlite::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(
    file: *mut sqlite::sqlite3_file,
    reserved: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes an open file, and a place for the answer.
    let (own, reserved) = unsafe { (own(file), &mut *reserved) };
    let Ok(mut state) = own.handle.alive() else { return sqlite::SQLITE_IOERR_CHECKRESERVEDLOCK };
    let levels = &state.file(own.handle.node).levels;
    *reserved = c_int::from(levels.values().any(|level| *level >= sqlite::SQLITE_LOCK_RESERVED));
    sqlite::SQLITE_OK
}

unsafe extern "C" fn file_control(
    _file: *mut sqlite::sqlite3_file,
    _op: c_int,
    _arg: *mut c_void,
) -> c_int {
    sqlite::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_file: *mut sqlite::sqlite3_file) -> c_int {
    SECTOR_BYTES
}

unsafe extern "C" fn device_characteristics(_file: *mut sqlite::sqlite3_file) -> c_int {
    sqlite::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn shm_map(
    file: *mut sqlite::sqlite3_file,
    number: c_int,
    bytes: c_int,
    extend: c_int,
    place: *mut *mut c_void,
) -> c_int {
    // SAFETY: SQLite passes an open file, and a place for the pointer.
    let (own, place) = unsafe { (own(file), &mut *place) };
    let Ok(mut state) = own.handle.alive() else { return sqlite::SQLITE_IOERR_SHMMAP };
    let shared = &mut state.file(own.handle.node).shared_memory;
    shared.users.insert(own.handle.id);
    let number = number as usize;
    while extend != 0 && shared.regions.len() <= number {
        shared.regions.push(Arc::new(Region::new(bytes as usize)));
    }
    *place = match shared.regions.get(number) {
        None => std::ptr::null_mut(),
        Some(region) => {
            // It stays in memory for as long as this connection may look at it, also after a cut.
            own.regions.push(region.clone());
            region.0.cast()
        }
    };
    sqlite::SQLITE_OK
}

unsafe extern "C" fn shm_lock(
    file: *mut sqlite::sqlite3_file,
    first: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    // SAFETY: SQLite passes an open file.
    let own = unsafe { own(file) };
    let Ok(mut state) = own.handle.alive() else { return sqlite::SQLITE_IOERR_SHMLOCK };
    let id = own.handle.id;
    let slots = first as usize..(first + count) as usize;
    let shared = &mut state.file(own.handle.node).shared_memory;
    let exclusive = flags & sqlite::SQLITE_SHM_EXCLUSIVE != 0;
    if flags & sqlite::SQLITE_SHM_UNLOCK != 0 {
        for slot in slots {
            shared.exclusive[slot].take_if(|holder| *holder == id);
            shared.shared[slot].remove(&id);
        }
        return sqlite::SQLITE_OK;
    }
    let taken = |slot: usize| {
        shared.exclusive[slot].is_some_and(|holder| holder != id)
            || (exclusive && shared.shared[slot].iter().any(|holder| *holder != id))
    };
    if slots.clone().any(taken) {
        return sqlite::SQLITE_BUSY;
    }
    for slot in slots {
        match exclusive {
            true => shared.exclusive[slot] = Some(id),
            false => {
                shared.shared[slot].insert(id);
            }
        }
    }
    sqlite::SQLITE_OK
}

unsafe extern "C" fn shm_barrier(file: *mut sqlite::sqlite3_file) {
    fence(Ordering::SeqCst);
    // SAFETY: SQLite passes an open file. Taking the lock is what its own file system does here too.
    drop(unsafe { own(file) }.handle.state());
}

unsafe extern "C" fn shm_unmap(file: *mut sqlite::sqlite3_file, _delete: c_int) -> c_int {
    // SAFETY: SQLite passes an open file.
    let own = unsafe { own(file) };
    if let Ok(mut state) = own.handle.alive() {
        leave(&mut state, &own.handle);
    }
    own.regions.clear();
    sqlite::SQLITE_OK
}

/// A connection has no more to do with the shared memory; with the last one it is gone.
fn leave(state: &mut MutexGuard<'_, State>, handle: &Handle) {
    let shared = &mut state.file(handle.node).shared_memory;
    shared.users.remove(&handle.id);
    for slot in 0..SLOTS {
        shared.exclusive[slot].take_if(|holder| *holder == handle.id);
        shared.shared[slot].remove(&handle.id);
    }
    if shared.users.is_empty() {
        *shared = SharedMemory::default();
    }
}

unsafe extern "C" fn delete(
    vfs: *mut sqlite::sqlite3_vfs,
    name: *const c_char,
    sync_folder: c_int,
) -> c_int {
    // SAFETY: SQLite passes our VFS, and a name.
    let (app, path) = unsafe { (app(vfs), path(name)) };
    let (Some(path), Ok(sim)) = (path, app.sim()) else { return sqlite::SQLITE_IOERR_DELETE };
    let mut state = sim.state();
    match state.remove(app.boot, path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return sqlite::SQLITE_IOERR_DELETE_NOENT,
        Err(_) => return sqlite::SQLITE_IOERR_DELETE,
        Ok(()) => {}
    }
    match path.parent().filter(|_| sync_folder != 0) {
        Some(folder) => code(state.sync_folder(app.boot, folder), sqlite::SQLITE_IOERR_DIR_FSYNC),
        None => sqlite::SQLITE_OK,
    }
}

unsafe extern "C" fn access(
    vfs: *mut sqlite::sqlite3_vfs,
    name: *const c_char,
    flags: c_int,
    answer: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes our VFS, a name, and a place for the answer.
    let (app, path, answer) = unsafe { (app(vfs), path(name), &mut *answer) };
    let Ok(sim) = app.sim() else { return sqlite::SQLITE_IOERR_ACCESS };
    let mut state = sim.state();
    if state.alive(app.boot).is_err() {
        return sqlite::SQLITE_IOERR_ACCESS;
    }
    // As SQLite's own: an empty journal is as none.
    let found = path.and_then(|path| state.find_file(app.boot, path).ok());
    *answer = c_int::from(found.is_some_and(|node| {
        flags != sqlite::SQLITE_ACCESS_EXISTS || state.len(app.boot, node).is_ok_and(|len| len > 0)
    }));
    sqlite::SQLITE_OK
}

unsafe extern "C" fn full_pathname(
    _vfs: *mut sqlite::sqlite3_vfs,
    name: *const c_char,
    room: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: SQLite passes a name, and `room` bytes that are ours to write.
    let (name, out) = unsafe {
        (CStr::from_ptr(name), std::slice::from_raw_parts_mut(out.cast::<u8>(), room as usize))
    };
    let bytes = name.to_bytes_with_nul();
    match out.get_mut(..bytes.len()) {
        Some(out) => out.copy_from_slice(bytes),
        None => return sqlite::SQLITE_CANTOPEN,
    }
    sqlite::SQLITE_OK
}

unsafe extern "C" fn randomness(
    vfs: *mut sqlite::sqlite3_vfs,
    len: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: SQLite passes our VFS, and `len` bytes that are ours to write.
    let (app, out) =
        unsafe { (app(vfs), std::slice::from_raw_parts_mut(out.cast::<u8>(), len as usize)) };
    let Ok(sim) = app.sim() else { return 0 };
    let mut state = sim.state();
    out.iter_mut().for_each(|byte| *byte = state.random() as u8);
    len
}

unsafe extern "C" fn sleep(_vfs: *mut sqlite::sqlite3_vfs, micros: c_int) -> c_int {
    std::thread::sleep(Duration::from_micros(u64::from(micros.unsigned_abs())));
    micros
}

unsafe extern "C" fn current_time_i64(
    _vfs: *mut sqlite::sqlite3_vfs,
    out: *mut sqlite::sqlite3_int64,
) -> c_int {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // SAFETY: SQLite passes a place for the number.
    unsafe { *out = EPOCH_JULIAN_MS + since.as_millis() as i64 };
    sqlite::SQLITE_OK
}

unsafe extern "C" fn current_time(vfs: *mut sqlite::sqlite3_vfs, out: *mut f64) -> c_int {
    let mut millis = 0;
    // SAFETY: SQLite passes a place for the number; the other call wants none but its own.
    unsafe {
        current_time_i64(vfs, &mut millis);
        *out = millis as f64 / 86_400_000.0;
    }
    sqlite::SQLITE_OK
}
