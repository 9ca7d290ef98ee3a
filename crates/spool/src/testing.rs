//! A disk in memory that can lose its power, fail, and be damaged. For tests only.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile};

/// What a disk writes as a whole or not at all, in bytes.
const SECTOR_BYTES: u64 = 512;

/// What a power cut does to writes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// All are lost.
    Lose,
    /// Those up to some moment are kept, the last of them in part.
    Tear,
    /// Any sectors are kept and any others lost, as if the disk had reordered them.
    Reorder,
}

/// A disk in memory. Clones are the same disk.
///
/// It is as strict as a file system may be: contents are durable after the file's sync alone, names
/// after the folder's alone, and what a failed sync was to write is lost though it can be read.
#[derive(Clone, Debug, Default)]
pub struct MemDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Rises with each power cut; handles from before are dead.
    boot: u64,
    names: BTreeMap<PathBuf, usize>,
    names_durable: BTreeMap<PathBuf, usize>,
    /// What was done to names since the last sync of their folder, in order.
    names_pending: Vec<(PathBuf, Option<usize>)>,
    files: Vec<File>,
    faults: Faults,
    syncs: u64,
    handles: u64,
}

#[derive(Debug, Default)]
struct File {
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<(u64, Vec<u8>)>,
    locked_by: Option<u64>,
}

/// What is to fail; `None` never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Writes that succeed before all fail, each having written half.
    pub writes_left: Option<u64>,
    /// Syncs of files and folders that succeed before one fails. The next succeed again.
    pub syncs_left: Option<u64>,
    /// How long a sync takes.
    pub sync_takes: std::time::Duration,
    /// Reads that touch these bytes of any file fail.
    pub unreadable: Option<(u64, u64)>,
}

impl MemDisk {
    /// Cuts the power: all handles die, and what was not synced is lost, as `cut` and `seed` say.
    pub fn power_cut(&self, cut: Cut, seed: u64) {
        let mut state = self.state();
        let mut random = Random(seed);
        state.boot += 1;
        state.faults = Faults::default();
        let kept = match cut {
            Cut::Lose => 0,
            _ => random.below(state.names_pending.len() as u64 + 1) as usize,
        };
        // A journal keeps the order of changes to names.
        let mut pending = std::mem::take(&mut state.names_pending);
        pending.truncate(kept);
        for (path, file) in pending {
            set_name(&mut state.names_durable, path, file);
        }
        state.names = state.names_durable.clone();
        for file in &mut state.files {
            let pending = std::mem::take(&mut file.pending);
            let until = random.below(pending.len() as u64 + 1) as usize;
            for (nth, (offset, bytes)) in pending.iter().enumerate() {
                let torn_at = random.below(bytes.len() as u64 + 1);
                for (at, sector) in sectors(*offset, bytes) {
                    let keep = match cut {
                        Cut::Lose => false,
                        Cut::Tear => nth < until || (nth == until && at - offset < torn_at),
                        Cut::Reorder => random.below(2) == 0,
                    };
                    if keep {
                        put(&mut file.durable, at, sector);
                    }
                }
            }
            // The length can be durable when the bytes are not.
            if cut == Cut::Reorder && random.below(2) == 0 && file.durable.len() < file.now.len() {
                file.durable.resize(file.now.len(), 0);
            }
            file.now = file.durable.clone();
            file.locked_by = None;
        }
    }

    /// Sets what is to fail from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Syncs of files so far.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// A file's bytes as they can be read now; `None` when there is none.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(path).map(|file| state.files[*file].now.clone())
    }

    /// Puts a durable file there, also over one that is open: damage from outside.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let file = match state.names.get(path) {
            Some(file) => *file,
            None => {
                state.files.push(File::default());
                let file = state.files.len() - 1;
                state.names.insert(path.to_path_buf(), file);
                state.names_durable.insert(path.to_path_buf(), file);
                file
            }
        };
        state.files[file].now = bytes.to_vec();
        state.files[file].durable = bytes.to_vec();
        state.files[file].pending.clear();
    }

    fn handle(&self, state: &mut State, file: usize) -> Arc<dyn DiskFile> {
        state.handles += 1;
        let (boot, id) = (state.boot, state.handles);
        Arc::new(MemFile { disk: self.clone(), file, boot, id })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn name(&mut self, path: &Path, file: Option<usize>) {
        set_name(&mut self.names, path.to_path_buf(), file);
        self.names_pending.push((path.to_path_buf(), file));
    }

    fn sync_fails(&mut self) -> bool {
        match &mut self.faults.syncs_left {
            Some(0) => {
                self.faults.syncs_left = None;
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }
}

impl Disk for MemDisk {
    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        if state.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        state.files.push(File::default());
        let file = state.files.len() - 1;
        state.name(path, Some(file));
        Ok(self.handle(&mut state, file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        let file = *state.names.get(path).ok_or(ErrorKind::NotFound)?;
        Ok(self.handle(&mut state, file))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        let inside = state.names.keys().filter(|name| name.parent() == Some(path));
        Ok(inside.filter_map(|name| Some(name.file_name()?.to_str()?.to_owned())).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let file = *state.names.get(from).ok_or(ErrorKind::NotFound)?;
        state.name(to, Some(file));
        state.name(from, None);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.names.get(path).ok_or(ErrorKind::NotFound)?;
        state.name(path, None);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.sync_fails() {
            return Err(io::Error::other("injected failure of a sync"));
        }
        let (synced, pending) = std::mem::take(&mut state.names_pending)
            .into_iter()
            .partition(|(name, _)| name.parent() == Some(path));
        state.names_pending = pending;
        let synced: Vec<_> = synced;
        for (name, file) in synced {
            set_name(&mut state.names_durable, name, file);
        }
        Ok(())
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        Ok(1 << 40)
    }

    fn device(&self, _path: &Path) -> io::Result<u64> {
        Ok(0)
    }
}

#[derive(Debug)]
struct MemFile {
    disk: MemDisk,
    file: usize,
    boot: u64,
    id: u64,
}

impl MemFile {
    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        if state.boot == self.boot { Ok(state) } else { Err(io::Error::other("the power was cut")) }
    }
}

impl DiskFile for MemFile {
    fn write_at(&self, offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        let mut state = self.alive()?;
        let mut bytes = parts.concat();
        let fails = match &mut state.faults.writes_left {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        if fails {
            bytes.truncate(bytes.len() / 2);
        }
        let file = &mut state.files[self.file];
        put(&mut file.now, offset, &bytes);
        file.pending.push((offset, bytes));
        if fails { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let state = self.alive()?;
        let now = &state.files[self.file].now;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(now.len());
        let read = buf.len().min(now.len() - from);
        if let Some((begin, end)) = state.faults.unreadable
            && offset < end
            && offset.saturating_add(read as u64) > begin
        {
            return Err(io::Error::other("injected failure of a read"));
        }
        buf[..read].copy_from_slice(&now[from..from + read]);
        Ok(read)
    }

    fn sync(&self) -> io::Result<()> {
        let (pending, takes) = {
            let mut state = self.alive()?;
            state.syncs += 1;
            let pending = std::mem::take(&mut state.files[self.file].pending);
            if state.sync_fails() {
                return Err(io::Error::other("injected failure of a sync"));
            }
            (pending, state.faults.sync_takes)
        };
        // What is written meanwhile is not part of this sync.
        std::thread::sleep(takes);
        let mut state = self.alive()?;
        for (offset, bytes) in pending {
            put(&mut state.files[self.file].durable, offset, &bytes);
        }
        Ok(())
    }

    fn begin_writeback(&self, _offset: u64, _len: u64) {}

    fn forget(&self, _offset: u64, _len: u64) {}

    fn len(&self) -> io::Result<u64> {
        Ok(self.alive()?.files[self.file].now.len() as u64)
    }

    fn allocate(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut state = self.alive()?;
        let holder = &mut state.files[self.file].locked_by;
        Ok(*holder.get_or_insert(self.id) == self.id)
    }
}

impl Drop for MemFile {
    fn drop(&mut self) {
        if let Ok(mut state) = self.alive() {
            let holder = &mut state.files[self.file].locked_by;
            holder.take_if(|holder| *holder == self.id);
        }
    }
}

fn set_name(names: &mut BTreeMap<PathBuf, usize>, path: PathBuf, file: Option<usize>) {
    match file {
        Some(file) => names.insert(path, file),
        None => names.remove(&path),
    };
}

fn put(file: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let from = offset as usize;
    if file.len() < from + bytes.len() {
        file.resize(from + bytes.len(), 0);
    }
    file[from..from + bytes.len()].copy_from_slice(bytes);
}

/// A write, cut where the disk's sectors end.
fn sectors(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let here = offset + at as u64;
        let len = rest.len().min((SECTOR_BYTES - here % SECTOR_BYTES) as usize);
        at += len;
        Some((here, &rest[..len]))
    })
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough to choose what is lost.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.draw() % limit
    }
}
