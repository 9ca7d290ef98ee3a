//! Where uploads stand until they are taken in, and restorations until they are fetched.
//!
//! ```text
//! DATA/uploads/WORK-ID/upload.tar       until the work item WORK-ID has ended well, or is cancelled
//! DATA/restored/RANDOM/NAME[.tar]       for a day after it was brought back
//! ```

use crate::Error;
use crate::answer::restored_folder;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use strongroom_intake::{Archive, RestoreRequest};
use strongroom_record::{WorkId, WorkItem, WorkKind, WorkStatus};

/// What was brought back can be fetched for so long, in seconds.
pub const RESTORED_SECONDS: u64 = 24 * 3600;
/// An upload that no work item knows, such as of a server that died, is kept so long, in seconds.
pub const ORPHAN_SECONDS: u64 = 24 * 3600;
/// Folders that one sweep looks at.
const SWEPT_MAX: usize = 10_000;

/// The folder of an upload.
pub(crate) fn upload_folder(archive: &Archive, id: WorkId) -> PathBuf {
    archive.data().join("uploads").join(id.to_string())
}

/// Where a restoration over HTTP brought things, if it is one.
pub(crate) fn restored(archive: &Archive, item: &WorkItem) -> Option<PathBuf> {
    let request: RestoreRequest = serde_json::from_value(item.request.clone()).ok()?;
    let folder = restored_folder(archive);
    let inside = request.to.strip_prefix(&folder).ok()?;
    let is_ours = item.kind == WorkKind::Restore && inside.components().count() == 2;
    is_ours.then_some(request.to)
}

/// Clears an item's upload away, once the version is published and recorded, or the deposit given up.
pub(crate) fn done_with(archive: &Archive, item: &WorkItem) {
    let over = matches!(item.status, WorkStatus::Succeeded | WorkStatus::Cancelled);
    if over && item.kind == WorkKind::Ingest {
        remove(&upload_folder(archive, item.id));
    }
}

/// Clears away what is done with, whoever ended it.
pub(crate) fn sweep(archive: &Archive) -> Result<(), Error> {
    for folder in folders(&archive.data().join("uploads"))? {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Ok(id) = name.parse::<WorkId>() else { continue };
        match archive.block_on(archive.registry().work(id))? {
            Some(item) => done_with(archive, &item),
            None if older(&folder, ORPHAN_SECONDS) => remove(&folder),
            None => {}
        }
    }
    for folder in folders(&restored_folder(archive))? {
        if !older(&folder, RESTORED_SECONDS) {
            continue;
        }
        let mut unfinished = false;
        for target in folders(&folder)? {
            unfinished |= archive.restores_to(&target)?;
        }
        if !unfinished {
            remove(&folder);
        }
    }
    Ok(())
}

/// What lies in a folder; nothing where it is not there.
fn folders(root: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(root.display().to_string())(error)),
    };
    Ok(entries.take(SWEPT_MAX).filter_map(|entry| Some(entry.ok()?.path())).collect())
}

fn older(path: &Path, seconds: u64) -> bool {
    let modified = std::fs::metadata(path).and_then(|meta| meta.modified());
    let age = modified.ok().and_then(|time| SystemTime::now().duration_since(time).ok());
    age.is_some_and(|age| age > Duration::from_secs(seconds))
}

pub(crate) fn remove(folder: &Path) {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(folder = %folder.display(), %error, "not cleared away");
        }
        _ => {}
    }
}
