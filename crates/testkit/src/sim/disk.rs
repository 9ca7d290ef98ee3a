//! The simulated disk as spool's.

use super::Sim;
use super::state::State;
use std::io;
use std::path::Path;
use std::sync::{Arc, MutexGuard};
use strongroom_spool::{Disk, DiskFile};

/// What is free, as far as anybody is told, in bytes.
const FREE_BYTES: u64 = 1 << 40;

/// The disk from one power-on to the next cut. Clones are the same.
#[derive(Clone, Debug)]
pub struct Machine {
    sim: Sim,
    pub(super) boot: u64,
    vfs: Arc<super::vfs::Registered>,
}

impl Machine {
    pub(super) fn new(sim: Sim, boot: u64) -> Machine {
        let vfs = Arc::new(super::vfs::Registered::new(&sim, boot));
        Machine { sim, boot, vfs }
    }

    /// The name under which SQLite knows it, for as long as any clone lives.
    pub fn vfs(&self) -> String {
        self.vfs.name()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.sim.state()
    }

    fn handle(&self, mut state: MutexGuard<'_, State>, node: usize) -> Arc<dyn DiskFile> {
        let id = state.new_handle();
        drop(state);
        Arc::new(SimFile(Handle { sim: self.sim.clone(), boot: self.boot, node, id }))
    }
}

impl Disk for Machine {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.state().create_folder(self.boot, path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        let node = state.create(self.boot, path)?;
        Ok(self.handle(state, node))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state();
        let node = state.find_file(self.boot, path)?;
        Ok(self.handle(state, node))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.state().list(self.boot, path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.state().rename(self.boot, from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.state().remove(self.boot, path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.state().sync_folder(self.boot, path)
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        self.state().alive(self.boot)?;
        Ok(FREE_BYTES)
    }

    fn device(&self, _path: &Path) -> io::Result<u64> {
        self.state().alive(self.boot)?;
        Ok(0)
    }
}

/// An open file, of this disk or of SQLite.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) sim: Sim,
    pub(super) boot: u64,
    pub(super) node: usize,
    pub(super) id: u64,
}

impl Handle {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.sim.state()
    }

    pub(super) fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state();
        state.alive(self.boot)?;
        Ok(state)
    }
}

#[derive(Debug)]
struct SimFile(Handle);

impl DiskFile for SimFile {
    fn write_at(&self, offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        self.0.state().write(self.0.boot, self.0.node, offset, parts.concat())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.state().read(self.0.boot, self.0.node, offset, buf)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.state().sync(self.0.boot, self.0.node)
    }

    fn begin_writeback(&self, _offset: u64, _len: u64) {}

    fn forget(&self, _offset: u64, _len: u64) {
        self.0.state().forget(self.0.boot, self.0.node);
    }

    fn len(&self) -> io::Result<u64> {
        self.0.state().len(self.0.boot, self.0.node)
    }

    fn allocate(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut state = self.0.alive()?;
        let holder = &mut state.file(self.0.node).locked_by;
        Ok(*holder.get_or_insert(self.0.id) == self.0.id)
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if let Ok(mut state) = self.0.alive() {
            let holder = &mut state.file(self.0.node).locked_by;
            holder.take_if(|holder| *holder == self.0.id);
        }
    }
}
