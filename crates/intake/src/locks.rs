//! Files of the data folder that are locked: who is alive, and who may make things.

use crate::Error;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use strongroom_record::WorkerId;
use strongroom_vault::{Disk, DiskFile};

/// How long to wait before a lock is tried again.
const PAUSE: Duration = Duration::from_millis(10);

/// A file that stays locked until it is dropped, or its process ends.
pub(crate) type Held = Arc<dyn DiskFile>;

/// Makes and locks the file that tells others of this process, for as long as it lives: who can lock
/// it knows that its worker is dead.
pub(crate) fn alive(disk: &dyn Disk, data: &Path, worker: WorkerId) -> Result<Held, Error> {
    let path = alive_path(data, worker);
    let io = |source| Error::Unwritable { path: path.clone(), source };
    // Neither is synced: after a power cut nobody is alive, and what was leased lapses.
    disk.create_dir(&data.join("workers")).map_err(io)?;
    let file = disk.create(&path).map_err(io)?;
    match file.try_lock().map_err(io)? {
        true => Ok(file),
        false => Err(Error::Internal(format!("{} is another's", path.display()))),
    }
}

/// Whether a worker of this machine is known to be dead. One whose file is gone, or is on another
/// machine, is not: its lease lapses.
pub(crate) fn is_dead(disk: &dyn Disk, data: &Path, worker: WorkerId) -> bool {
    let file = disk.open(&alive_path(data, worker));
    file.and_then(|file| file.try_lock()).unwrap_or(false)
}

/// Waits until no other process makes an archive, or a key of it, in this data folder.
pub(crate) fn making(disk: &dyn Disk, data: &Path) -> Result<Held, Error> {
    let path = data.join("create.lock");
    let wait = || loop {
        let file = match disk.create(&path) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => disk.open(&path)?,
            other => other?,
        };
        if file.try_lock()? {
            return Ok(file);
        }
        std::thread::sleep(PAUSE);
    };
    wait().map_err(|source| Error::Unwritable { path: path.clone(), source })
}

fn alive_path(data: &Path, worker: WorkerId) -> PathBuf {
    data.join("workers").join(format!("{worker}.lock"))
}
