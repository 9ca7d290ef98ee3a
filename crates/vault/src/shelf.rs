//! A shelf on a local directory: an identity file and a folder of logs.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use strongroom_record::{ArchiveId, EpochId, Id as _, InstitutionId, Sha256, ShelfId};
use strongroom_spool::{Disk, LogId, Spool, Writer};

/// Name of the identity file in a shelf's directory.
const IDENTITY: &str = "strongroom-shelf.json";
/// Name of the file that says how far the archive's journals had come.
const HEADS: &str = "strongroom-heads.json";
/// What it says it is.
const HEADS_MAGIC: &str = "strongroom heads";
/// It is never longer, in bytes: room for thousands of institutions.
const HEADS_BYTES_MAX: u64 = 4 << 20;
/// The folder of its logs.
const LOGS: &str = "logs";
/// Who has this file locked removes logs.
const CLEARING: &str = "clearing.lock";
/// What the identity file says it is.
const MAGIC: &str = "strongroom shelf";
/// The format of shelves that this program writes.
const FORMAT: u32 = 1;
/// An identity file is never longer, in bytes.
const IDENTITY_BYTES_MAX: u64 = 64 * 1024;

/// What a shelf says of itself, in a file of its own.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identity {
    magic: String,
    format: u32,
    /// Its id.
    pub shelf: ShelfId,
    /// The archive that it belongs to.
    pub archive: ArchiveId,
    /// The archive's epoch when it was last written.
    pub epoch_number: u32,
    /// That epoch's id.
    pub epoch: EpochId,
}

impl Identity {
    /// Of a new shelf.
    pub fn new(shelf: ShelfId, archive: ArchiveId, epoch_number: u32, epoch: EpochId) -> Identity {
        Identity { magic: MAGIC.into(), format: FORMAT, shelf, archive, epoch_number, epoch }
    }
}

impl Identity {
    /// Reads the identity of the shelf in `dir`; the error says what was found in its place.
    pub fn read(disk: &dyn Disk, dir: &Path) -> Result<Identity, String> {
        let file = dir.join(IDENTITY);
        let bytes = strongroom_spool::read_file(disk, &file, IDENTITY_BYTES_MAX)
            .map_err(|e| format!("{} cannot be read: {e}", file.display()))?;
        let identity: Identity = serde_json::from_slice(&bytes)
            .map_err(|e| format!("{} is no shelf's identity: {e}", file.display()))?;
        if identity.magic != MAGIC {
            return Err(format!("{} is no shelf's identity", file.display()));
        }
        if identity.format > FORMAT {
            return Err(format!(
                "its format is {}, this program knows up to {FORMAT}: use a newer one",
                identity.format
            ));
        }
        Ok(identity)
    }

    fn write(&self, disk: &dyn Disk, dir: &Path) -> std::io::Result<()> {
        let text = serde_json::to_vec_pretty(self).expect("an identity is plain JSON");
        strongroom_spool::write_file(disk, &dir.join(IDENTITY), &text)
    }
}

/// How far an institution's journals had come when a shelf was last told: a registry that knows of
/// less is an older one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Head {
    /// The institution; the archive's own too.
    pub institution: InstitutionId,
    /// The epoch of its last journal.
    pub epoch: u32,
    /// The number of that journal.
    pub number: u64,
    /// The last event of which it tells.
    pub event: u64,
    /// That event's hash.
    pub hash: Sha256,
}

#[derive(Serialize, Deserialize)]
struct Heads {
    magic: String,
    format: u32,
    heads: Vec<Head>,
}

/// A shelf as the registry knows it.
#[derive(Clone, Debug)]
pub struct ShelfSpec {
    /// Its id.
    pub id: ShelfId,
    /// The name that people use.
    pub name: String,
    /// Its directory.
    pub path: PathBuf,
    /// What fails with it: shelves of one domain are lost together.
    pub domain: String,
    /// Most bytes that it may take, where bounded.
    pub capacity_bytes: Option<u64>,
    /// Nothing is written to it.
    pub read_only: bool,
}

/// A shelf that is not there, and why.
#[derive(Clone, Debug)]
pub struct MissingShelf {
    /// The shelf.
    pub spec: ShelfSpec,
    /// What was found in its place.
    pub why: String,
}

/// An open shelf.
#[derive(Debug)]
pub struct Shelf {
    pub(crate) spec: ShelfSpec,
    pub(crate) spool: Spool,
    disk: Arc<dyn Disk>,
    identity: Identity,
    writer: Mutex<Option<Writer>>,
    /// Bytes of shards on it, as its registry counted them, and what this process wrote since.
    used: AtomicU64,
    mounted_read_only: bool,
}

/// A shelf, or a file system, with less room than this is full: a segment that finds room still may
/// take more than is left by its shard, which is why room is reserved before a source is read.
pub(crate) const ROOM_BYTES_MIN: u64 = 1 << 20;

impl Shelf {
    /// Makes a shelf in `dir`, which may exist but must hold no shelf. Durable when it returns.
    pub fn create(disk: &Arc<dyn Disk>, dir: &Path, identity: &Identity) -> Result<ShelfId, Error> {
        let io = |source| Error::Shelf { path: dir.to_owned(), source };
        let disk = disk.as_ref();
        strongroom_spool::create_folders(disk, dir).map_err(io)?;
        let names = disk.list(dir).map_err(io)?;
        strongroom_spool::create_folders(disk, &dir.join(LOGS)).map_err(io)?;
        if names.iter().any(|name| name == IDENTITY) {
            let begun = Identity::read(disk, dir).ok();
            let begun =
                begun.filter(|begun| *begun == Identity { shelf: begun.shelf, ..identity.clone() });
            return match (begun, disk.list(&dir.join(LOGS)).map_err(io)?.is_empty()) {
                (Some(begun), true) => Ok(begun.shelf),
                _ => Err(Error::ShelfTaken { path: dir.to_owned() }),
            };
        }
        identity.write(disk, dir).map_err(io)?;
        Ok(identity.shelf)
    }

    /// Opens the shelf of `spec`; the error says what was found in its place.
    pub fn open(
        disk: &Arc<dyn Disk>,
        spec: &ShelfSpec,
        archive: ArchiveId,
    ) -> Result<Shelf, Box<MissingShelf>> {
        let missing = |why: String| Box::new(MissingShelf { spec: spec.clone(), why });
        let identity = Identity::read(disk.as_ref(), &spec.path).map_err(missing)?;
        if identity.archive != archive {
            return Err(missing(format!("it belongs to another archive, {}", identity.archive)));
        }
        if identity.shelf != spec.id {
            return Err(missing(format!("another shelf, {}, stands there", identity.shelf)));
        }
        let spool = Spool::open(disk.clone(), &spec.path.join(LOGS), Default::default())
            .map_err(|e| missing(format!("its logs cannot be opened: {e}")))?;
        // Nothing can be written there, whatever the registry says.
        let mounted_read_only = disk.is_read_only(&spec.path).unwrap_or(false);
        let mut spec = spec.clone();
        spec.read_only |= mounted_read_only;
        Ok(Shelf {
            spec,
            spool,
            disk: disk.clone(),
            identity,
            writer: Mutex::new(None),
            used: AtomicU64::new(0),
            mounted_read_only,
        })
    }

    /// What the shelf says of itself.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Tells the shelf of the archive's present epoch, durably.
    pub fn set_epoch(&self, number: u32, epoch: EpochId) -> Result<(), Error> {
        let identity = Identity { epoch_number: number, epoch, ..self.identity.clone() };
        let io = |source| Error::Shelf { path: self.spec.path.clone(), source };
        identity.write(self.disk.as_ref(), &self.spec.path).map_err(io)
    }

    /// How far the archive's journals had come when the shelf was last told; empty where it never was,
    /// or where that cannot be read: it is a hint, what the logs hold counts.
    pub fn heads(&self) -> Vec<Head> {
        let file = self.spec.path.join(HEADS);
        let bytes = strongroom_spool::read_file(self.disk.as_ref(), &file, HEADS_BYTES_MAX);
        let heads = bytes.ok().and_then(|bytes| serde_json::from_slice::<Heads>(&bytes).ok());
        heads.filter(|h| h.magic == HEADS_MAGIC && h.format <= FORMAT).map_or(vec![], |h| h.heads)
    }

    /// Tells the shelf how far an institution's journals have come.
    pub fn set_head(&self, head: &Head) -> Result<(), Error> {
        let io = |source| Error::Shelf { path: self.spec.path.clone(), source };
        let mut heads = self.heads();
        heads.retain(|known| known.institution != head.institution);
        heads.push(head.clone());
        let heads = Heads { magic: HEADS_MAGIC.into(), format: FORMAT, heads };
        let text = serde_json::to_vec_pretty(&heads).expect("heads are plain JSON");
        strongroom_spool::write_file(self.disk.as_ref(), &self.spec.path.join(HEADS), &text)
            .map_err(io)
    }

    /// What the registry says of it.
    pub fn spec(&self) -> &ShelfSpec {
        &self.spec
    }

    /// Whether its file system is mounted read-only.
    pub fn is_mounted_read_only(&self) -> bool {
        self.mounted_read_only
    }

    /// Notes how many bytes of shards are on it.
    pub fn note_used(&self, bytes: u64) {
        self.used.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn add_used(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that it may still take: within its capacity, and on its file system.
    pub fn room(&self) -> Result<u64, Error> {
        let free = self.free_bytes()?;
        let used = self.used.load(Ordering::Relaxed);
        Ok(self.spec.capacity_bytes.map_or(free, |most| most.saturating_sub(used).min(free)))
    }

    /// Whether it takes no more. One whose room cannot be asked for says why when it is written to.
    pub(crate) fn is_full(&self) -> bool {
        self.room().is_ok_and(|room| room < ROOM_BYTES_MIN)
    }

    /// Bytes free on its file system.
    pub fn free_bytes(&self) -> Result<u64, Error> {
        let io = |source| Error::Shelf { path: self.spec.path.clone(), source };
        self.disk.free_bytes(&self.spec.path).map_err(io)
    }

    /// Whether the shelf's identity is there, as it was when it was opened: a disk that was unmounted
    /// leaves an empty folder, in which nothing may be taken for gone.
    pub(crate) fn check_identity(&self) -> Result<(), Error> {
        let file = self.spec.path.join(IDENTITY);
        let gone = |why: String| Error::ShelfGone { shelf: self.spec.name.clone(), why };
        let bytes = strongroom_spool::read_file(self.disk.as_ref(), &file, IDENTITY_BYTES_MAX)
            .map_err(|e| gone(format!("{} cannot be read any more: {e}", file.display())))?;
        match serde_json::from_slice::<Identity>(&bytes) {
            Ok(found)
                if (found.shelf, found.archive) == (self.identity.shelf, self.identity.archive) =>
            {
                Ok(())
            }
            _ => Err(gone(format!("{} is another shelf's now", file.display()))),
        }
    }

    /// The lock of who removes logs; `None` while another has it.
    pub(crate) fn clearing_lock(
        &self,
    ) -> Result<Option<Arc<dyn strongroom_spool::DiskFile>>, Error> {
        let path = self.spec.path.join(CLEARING);
        let io = |source| Error::Shelf { path: path.clone(), source };
        let file = match self.disk.open(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => match self.disk.create(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => self.disk.open(&path),
                made => made,
            },
            found => found,
        };
        let file = file.map_err(io)?;
        Ok(file.try_lock().map_err(io)?.then_some(file))
    }

    /// Makes the names of its logs durable, as they are.
    pub(crate) fn sync_logs(&self) -> Result<(), Error> {
        let path = self.spec.path.join(LOGS);
        self.disk.sync_dir(&path).map_err(|source| Error::Shelf { path, source })
    }

    /// A number of its file system.
    pub(crate) fn device(&self) -> Result<u64, Error> {
        let io = |source| Error::Shelf { path: self.spec.path.clone(), source };
        self.disk.device(&self.spec.path).map_err(io)
    }

    /// This process's writer, begun with the first call, and anew after a failure, as when the disk was
    /// full: its own logs, appended to by no other.
    pub(crate) fn writer(
        &self,
        epoch: u32,
        token: [u8; 16],
        random: fn(&mut [u8]),
    ) -> Result<Writer, Error> {
        let mut slot = self.writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(writer) = slot.as_ref().filter(|writer| !writer.has_failed()) {
            return Ok(writer.clone());
        }
        let new_id = move || {
            let mut id = [0; 16];
            random(&mut id);
            LogId(id)
        };
        let writer = self
            .spool
            .writer(u64::from(epoch), token, Box::new(new_id))
            .map_err(|source| Error::Spool { shelf: self.spec.name.clone(), source })?;
        *slot = Some(writer.clone());
        Ok(writer)
    }

    /// Has this process's writer begin its next log, where it has one that is not empty.
    pub(crate) fn next_log(&self) -> Result<(), Error> {
        let slot = self.writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        match slot {
            Some(writer) if !writer.has_failed() => writer
                .next_log()
                .map_err(|source| Error::Spool { shelf: self.spec.name.clone(), source }),
            _ => Ok(()),
        }
    }

    /// Whether `id` is this shelf's.
    pub(crate) fn is(&self, id: ShelfId) -> bool {
        self.spec.id.bytes() == id.bytes()
    }
}
