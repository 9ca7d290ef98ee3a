//! An archive: its registry, vault and keys, joined; and what can be asked of it.

use crate::keeper::Keeper;
use crate::keys::PublicKey;
use crate::locks::{self, Held};
use crate::request::Asker;
use crate::{
    Deposit, Error, FixityRequest, KeyFile, RecodeRequest, RepairRequest, RestoreRequest,
    SEGMENT_BYTES,
};
use std::cell::RefCell;
use std::future::Future;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use strongroom_record::{
    ArchiveId, Coding, EpochId, EventDraft, EventKind, Id, InstitutionId, ObjectId, ObjectName,
    ShelfId, Stage, Time, WorkId, WorkItem, WorkKind, WorkStatus, WorkerId,
};
use strongroom_registry::{
    ARCHIVE_NAME, Account, IdKind, Institution, NewWork, Object, Registry, Scope, Shelf,
    ShelfState, Version, VersionState, WorkFilter,
};
use strongroom_vault::{Disk, Identity, OsDisk, ShelfSpec, Vault};

/// Work items that are asked of the registry at once.
const PAGE: u32 = 1000;

/// The registry's file in the data folder.
const DATABASE: &str = "strongroom.db";

/// The institution that an archive has from the start.
pub(crate) const DEFAULT_INSTITUTION: &str = "local";

/// What an archive is opened with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its data folder.
    pub data: PathBuf,
    /// What holds the data folder and the shelves; the system's file system but for tests.
    pub disk: Arc<dyn Disk>,
    /// Where files go that have no name and that nobody outlives: in the data folder, but for tests.
    pub scratch: PathBuf,
    /// How the registry is opened; a test gives it a disk of its own by the name of a VFS.
    pub registry: strongroom_registry::Options,
    /// Plaintext of a segment as ingest fills it, in bytes. Only tests want smaller ones.
    pub segment_bytes: u64,
}

impl Options {
    /// As it is but for tests: on the system's file system.
    pub fn new(data: PathBuf) -> Options {
        Options {
            scratch: data.clone(),
            data,
            disk: Arc::new(OsDisk),
            registry: Default::default(),
            segment_bytes: SEGMENT_BYTES,
        }
    }

    pub(crate) fn has_database(&self) -> bool {
        // Only SQLite opens its file: closing another handle on it would drop SQLite's locks.
        let names = self.disk.list(&self.data).unwrap_or_default();
        names.iter().any(|name| name == DATABASE)
    }
}

/// An archive that was opened, or made.
pub struct Opened {
    /// The archive.
    pub archive: Archive,
    /// Whether it was made just now.
    pub created: bool,
}

/// An open archive. Cheap to clone. Its calls block; it holds the runtime that the registry needs.
#[derive(Clone)]
pub struct Archive {
    inner: Arc<Inner>,
}

struct Inner {
    data: PathBuf,
    runtime: tokio::runtime::Runtime,
    registry: Registry,
    vault: Vault,
    id: ArchiveId,
    epoch: u32,
    /// Why nothing may be written, where that is so.
    behind: Option<String>,
    worker: WorkerId,
    keeper: Keeper,
    scratch: PathBuf,
    segment_bytes: u64,
    _alive: Held,
}

impl Archive {
    /// Opens an archive that exists.
    pub fn open(options: &Options) -> Result<Archive, Error> {
        if !options.has_database() {
            let name = options.data.display().to_string();
            return Err(Error::NotFound { what: "archive", name });
        }
        Archive::open_in(options, false).map(|opened| opened.archive)
    }

    /// Opens an archive, or makes one with two shelves and the institution `local`.
    pub fn open_or_create(options: &Options) -> Result<Opened, Error> {
        if !options.has_database() {
            strongroom_vault::create_folders(options.disk.as_ref(), &options.data)
                .map_err(|source| Error::Unwritable { path: options.data.clone(), source })?;
        }
        // One process at a time makes or finds the archive; a crash half-way is gone over again.
        let _turn = locks::making(options.disk.as_ref(), &options.data)?;
        Archive::open_in(options, true)
    }

    fn open_in(options: &Options, create: bool) -> Result<Opened, Error> {
        let data = std::path::absolute(&options.data)
            .map_err(|source| Error::Unwritable { path: options.data.clone(), source })?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|e| Error::Internal(format!("no runtime: {e}")))?;
        let database = data.join(DATABASE);
        let registry = open_registry(&runtime, options, &database)?;
        let key_path = data.join("strongroom.key");
        let known = runtime.block_on(registry.archive())?;
        let created = known.is_none();
        let known = match known {
            Some(known) => known,
            None if create => make(&runtime, &registry, &options.disk, &data, &key_path)?,
            None => {
                let name = data.display().to_string();
                return Err(Error::NotFound { what: "archive", name });
            }
        };
        let worker = WorkerId(random_id());
        let alive = locks::alive(options.disk.as_ref(), &data, worker)?;
        let shelves = runtime.block_on(registry.shelves())?;
        let usage = runtime.block_on(registry.shelf_usage())?;
        let used = |id| usage.iter().find(|usage| usage.shelf == id);
        // One that is retired is opened only for what waits on it to be reclaimed.
        let needed = |shelf: &&Shelf| {
            shelf.state != ShelfState::Retired
                || used(shelf.id).is_some_and(|u| u.pending_bytes > 0)
        };
        let specs: Vec<_> = shelves.iter().filter(needed).map(spec).collect();
        let vault = Vault::open(
            options.disk.clone(),
            &specs,
            strongroom_vault::Options {
                archive: known.id,
                epoch: known.epoch_number,
                token: worker.bytes(),
                random,
            },
        );
        for shelf in vault.shelves() {
            let used = used(shelf.spec().id).map_or(0, |u| u.live_bytes + u.pending_bytes);
            shelf.note_used(used);
        }
        let behind = behind(&runtime, &registry, &vault, known.epoch_number)?;
        let registry = match &behind {
            None => registry,
            Some(why) => {
                tracing::error!(why, "the registry is older than its shelves: nothing is written");
                runtime.block_on(registry.close());
                let options =
                    strongroom_registry::Options { read_only: true, ..options.registry.clone() };
                runtime.block_on(Registry::open(&database, options))?
            }
        };
        let inner = Inner {
            keeper: Keeper::new(key_path, known.id),
            data,
            runtime,
            registry,
            vault,
            id: known.id,
            epoch: known.epoch_number,
            behind,
            worker,
            scratch: options.scratch.clone(),
            segment_bytes: options.segment_bytes,
            _alive: alive,
        };
        let archive = Archive { inner: Arc::new(inner) };
        if archive.behind().is_none() {
            archive.free_the_dead()?;
            archive.ensure_own_institution()?;
        }
        Ok(Opened { archive, created })
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.inner.data
    }
    /// Where the key file belongs.
    pub fn key_path(&self) -> &Path {
        self.inner.keeper.path()
    }
    /// Its id.
    pub fn id(&self) -> ArchiveId {
        self.inner.id
    }
    /// The number of the present life of its registry.
    pub fn epoch(&self) -> u32 {
        self.inner.epoch
    }
    /// Why the registry was opened read-only: shelves tell of more than it knows. `None` where all is
    /// as it should be.
    pub fn behind(&self) -> Option<&str> {
        self.inner.behind.as_deref()
    }
    /// The registry.
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }
    /// The vault.
    pub fn vault(&self) -> &Vault {
        &self.inner.vault
    }
    /// This process, as a worker.
    pub fn worker(&self) -> WorkerId {
        self.inner.worker
    }
    /// Where files without a name go.
    pub(crate) fn scratch(&self) -> &Path {
        &self.inner.scratch
    }
    /// Plaintext of a segment as ingest fills it.
    pub(crate) fn segment_bytes(&self) -> u64 {
        self.inner.segment_bytes
    }
    /// Waits for what the registry promises.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.inner.runtime.block_on(future)
    }
    /// Begins what the registry promises, to be waited for later.
    pub(crate) fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.inner.runtime.spawn(future)
    }

    pub(crate) fn keeper(&self) -> &Keeper {
        &self.inner.keeper
    }
    /// The moment, by this machine's clock.
    pub fn now(&self) -> Time {
        now()
    }

    /// Queues a deposit, or finds the unfinished one of the same source. What a person mended since
    /// it went to the trouble queue is tried again.
    pub fn deposit(&self, deposit: &Deposit) -> Result<WorkItem, Error> {
        self.deposit_as(WorkId(random_id()), deposit, None)
    }

    /// As [`Archive::deposit`]; an item that is made has this id, and its events name who asked.
    pub fn deposit_as(
        &self,
        id: WorkId,
        deposit: &Deposit,
        by: Option<&Account>,
    ) -> Result<WorkItem, Error> {
        let name: ObjectName = deposit.object.parse()?;
        let source = std::path::absolute(&deposit.source)
            .map_err(|source| Error::Unreadable { path: deposit.source.clone(), source })?;
        std::fs::metadata(&source)
            .map_err(|e| Error::Unreadable { path: source.clone(), source: e })?;
        let institution = self.institution(name.institution())?;
        let registry = self.registry();
        let object = self.block_on(registry.ensure_object(&name, ObjectId(random_id()), now()))?;
        let text = source_text(&source);
        // Whoever tells the origin has named the object on purpose.
        if let Some(before) = &object.source
            && *before != text
            && deposit.origin.is_none()
        {
            let (object, before) = (name.to_string(), before.clone());
            return Err(Error::SourceDiffers { object, before, now: text });
        }
        if let Some(coding) = deposit.policy {
            self.policy(Scope::Object(object.id), coding)?;
        }
        let request = Deposit { source, ..deposit.clone() };
        let key = format!("{name} {text}");
        let new =
            self.new_work(WorkKind::Ingest, institution, Some(object.id), Some(key), &request);
        let mut new = NewWork { id, ..new };
        if let Some(by) = by {
            Asker::note(by, &mut new.request);
        }
        let queued = self.block_on(registry.enqueue(new.clone(), now()))?;
        if queued.item.status != WorkStatus::Trouble {
            return Ok(queued.item);
        }
        let moved_on = queued.item.object != Some(object.id);
        match queued.item.note.starts_with("source-") || moved_on {
            // The source may be another one now, so nothing that was read of it counts; or the object
            // was deleted, and this name is another's.
            true => {
                self.cancel(queued.item.id)?;
                Ok(self.block_on(registry.enqueue(new, now()))?.item)
            }
            false => self.requeue(queued.item.id, None),
        }
    }

    /// Queues a restoration.
    pub fn restore(&self, request: &RestoreRequest) -> Result<WorkItem, Error> {
        self.restore_as(request, None)
    }

    /// As [`Archive::restore`]; its events name who asked.
    pub fn restore_as(
        &self,
        request: &RestoreRequest,
        by: Option<&Account>,
    ) -> Result<WorkItem, Error> {
        let version = request.version.parse()?;
        let version = self.block_on(self.registry().version(version))?;
        let missing = || Error::NotFound { what: "version", name: request.version.clone() };
        let version = version.filter(|v| v.state == VersionState::Published).ok_or_else(missing)?;
        let object = self.block_on(self.registry().object(version.object))?.ok_or_else(missing)?;
        let to = std::path::absolute(&request.to)
            .map_err(|source| Error::Unwritable { path: request.to.clone(), source })?;
        let request = RestoreRequest { to, ..request.clone() };
        let key = Some(source_text(&request.to));
        let (institution, object) = (object.institution, Some(object.id));
        let mut new = self.new_work(WorkKind::Restore, institution, object, key, &request);
        if let Some(by) = by {
            Asker::note(by, &mut new.request);
        }
        self.queue_new(new)
    }

    /// Whether a restoration to this path was begun and is not ended.
    pub fn restores_to(&self, to: &Path) -> Result<bool, Error> {
        let key = source_text(to);
        for status in [WorkStatus::Queued, WorkStatus::Running] {
            let kind = Some(WorkKind::Restore);
            let filter = WorkFilter { status: Some(status), kind, object: None };
            let mut after = None;
            loop {
                let items = self.block_on(self.registry().work_list(filter, after, PAGE))?;
                if items.iter().any(|item| item.key.as_deref() == Some(&key)) {
                    return Ok(true);
                }
                match items.last() {
                    Some(last) => after = Some(last.id),
                    None => break,
                }
            }
        }
        Ok(false)
    }

    /// Queues a check of every shard.
    pub fn fixity(&self, request: &FixityRequest) -> Result<WorkItem, Error> {
        self.queue_over(WorkKind::Fixity, request.object.as_deref(), request)
    }

    /// Queues a repair.
    pub fn repair(&self, request: &RepairRequest) -> Result<WorkItem, Error> {
        self.queue_over(WorkKind::Repair, request.object.as_deref(), request)
    }

    /// Queues coding anew by the policies that hold now.
    pub fn recode(&self, request: &RecodeRequest) -> Result<WorkItem, Error> {
        self.queue_over(WorkKind::Recode, request.object.as_deref(), request)
    }

    /// Makes a shelf in `path`. This handle does not use it; open the archive again.
    pub fn add_shelf(
        &self,
        name: &str,
        path: &Path,
        domain: &str,
        capacity: Option<u64>,
    ) -> Result<Shelf, Error> {
        let path = std::path::absolute(path)
            .map_err(|source| Error::Unwritable { path: path.to_owned(), source })?;
        let known = self.block_on(self.registry().shelves())?;
        if known.iter().any(|s| s.name == name) {
            return Err(Error::Usage(format!("there is a shelf `{name}` already")));
        }
        let archive = self.block_on(self.registry().archive())?;
        let archive = archive.ok_or_else(|| Error::Internal("the archive has no row".into()))?;
        let mut shelf = new_shelf(name, &path, domain, capacity)?;
        let identity = Identity::new(shelf.id, archive.id, archive.epoch_number, archive.epoch);
        // What was cut off before the registry knew is gone on with.
        shelf.id = Vault::create_shelf(self.vault().disk(), &path, &identity)?;
        if known.iter().any(|known| known.id == shelf.id) {
            return Err(strongroom_vault::Error::ShelfTaken { path }.into());
        }
        self.block_on(self.registry().add_shelf(&shelf))?;
        self.note(serde_json::json!({"shelf": shelf.id, "name": name, "change": "added"}))?;
        Ok(shelf)
    }

    /// Tells of a change of shelves, accounts or settings in the archive's own chain of events.
    pub fn note(&self, detail: serde_json::Value) -> Result<(), Error> {
        let own = self.block_on(self.registry().institution_by_name(ARCHIVE_NAME))?;
        let Some(own) = own else { return Ok(()) }; // an archive whose key is elsewhere
        let event = EventDraft { detail, ..EventDraft::new(EventKind::Administration) };
        self.block_on(self.registry().record_events(own.id, vec![event], now()))?;
        Ok(())
    }

    /// Archives that were made before journals get a chain of events of their own when the key is there.
    fn ensure_own_institution(&self) -> Result<(), Error> {
        if self.block_on(self.registry().institution_by_name(ARCHIVE_NAME))?.is_some() {
            return Ok(());
        }
        match self.with_keys(|keys| keys.archive_public()) {
            Ok(public) => make_own_institution(&self.inner.runtime, self.registry(), &public),
            Err(Error::Key { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sets a policy, and queues coding anew what is stored already.
    pub fn set_policy(&self, scope: Scope, coding: Coding) -> Result<WorkItem, Error> {
        self.policy(scope, coding)?;
        let object = match scope {
            Scope::Object(id) => Some(id.to_string()),
            Scope::Institution(_) | Scope::Archive => None,
        };
        self.recode(&RecodeRequest { object })
    }

    /// Gives a work item up.
    pub fn cancel(&self, id: WorkId) -> Result<WorkItem, Error> {
        self.cancel_as(id, None)
    }

    /// As [`Archive::cancel`]; its event names who asked.
    pub fn cancel_as(&self, id: WorkId, by: Option<&Account>) -> Result<WorkItem, Error> {
        let mut event = EventDraft { work: Some(id), ..EventDraft::new(EventKind::Cancellation) };
        if let Some(by) = by {
            Asker::is(by).tell(&mut event.detail);
        }
        Ok(self.block_on(self.registry().cancel(id, now(), event))?)
    }

    /// Queues a work item again, at a stage of its kind or where it was.
    pub fn requeue(&self, id: WorkId, stage: Option<Stage>) -> Result<WorkItem, Error> {
        Ok(self.block_on(self.registry().requeue(id, stage, now()))?)
    }

    /// The object of `institution/name`, of `name` in `local`, or of an abbreviated id.
    pub fn find_object(&self, text: &str) -> Result<Object, Error> {
        let name = match text.contains('/') {
            true => text.parse::<ObjectName>()?,
            false => ObjectName::new(DEFAULT_INSTITUTION, text)?,
        };
        if let Some(object) = self.block_on(self.registry().object_by_name(&name))? {
            return Ok(object);
        }
        let id: ObjectId = self.find_id(IdKind::Object, "object", text)?;
        let missing = || Error::NotFound { what: "object", name: text.into() };
        self.block_on(self.registry().object(id))?.ok_or_else(missing)
    }

    /// The version of `OBJECT@NUMBER`, or the latest of `OBJECT`.
    pub fn find_version(&self, text: &str) -> Result<(Object, Version), Error> {
        let (object, number) = match text.rsplit_once('@') {
            None => (text, None),
            Some((object, number)) => {
                let bad = |_| Error::Usage(format!("`{number}` is no number of a version"));
                (object, Some(number.parse::<u32>().map_err(bad)?))
            }
        };
        let object = self.find_object(object)?;
        let missing = || Error::NotFound { what: "version", name: text.into() };
        let version = match number {
            None => self.block_on(self.registry().latest(object.id))?,
            Some(number) => (self.block_on(self.registry().versions(object.id))?.into_iter())
                .find(|v| v.number == number && v.state == VersionState::Published),
        };
        Ok((object, version.ok_or_else(missing)?))
    }

    /// The work item of an abbreviated id.
    pub fn find_work(&self, text: &str) -> Result<WorkItem, Error> {
        let mut found = self.block_on(self.registry().find_work_by_prefix(text))?;
        match (found.pop(), found.is_empty()) {
            (None, _) => Err(Error::NotFound { what: "work item", name: text.into() }),
            (Some(item), true) => Ok(item),
            (Some(_), false) => Err(Error::Ambiguous { what: "work item", name: text.into() }),
        }
    }

    fn find_id<I: Id>(&self, kind: IdKind, what: &'static str, text: &str) -> Result<I, Error> {
        let missing = || Error::NotFound { what, name: text.into() };
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(missing());
        }
        let found = self.block_on(self.registry().find_by_prefix(kind, text))?;
        match found.as_slice() {
            [] => Err(missing()),
            [id] => Ok(I::from_bytes(*id)),
            _ => Err(Error::Ambiguous { what, name: text.into() }),
        }
    }

    /// The institution of this name, made with a key of its own where there is none.
    pub fn institution(&self, name: &str) -> Result<InstitutionId, Error> {
        if let Some(known) = self.block_on(self.registry().institution_by_name(name))? {
            return Ok(known.id);
        }
        self.change_keys(|keys| make_institution(&self.inner.runtime, self.registry(), keys, name))
    }

    /// What holds the data folder and the shelves.
    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        self.vault().disk()
    }

    /// How a segment of an object is kept, or one that concerns all of an institution.
    pub(crate) fn coding_of(
        &self,
        object: Option<ObjectId>,
        institution: InstitutionId,
    ) -> Result<Coding, Error> {
        let registry = self.registry();
        Ok(match object {
            Some(_) => self.block_on(registry.coding_for(object, institution))?,
            None => self.block_on(registry.coding_for_all(institution))?,
        })
    }

    fn policy(&self, scope: Scope, coding: Coding) -> Result<(), Error> {
        let detail = serde_json::json!({"policy": coding.to_string(), "scope": match scope {
            Scope::Archive => "archive",
            Scope::Institution(_) => "institution",
            Scope::Object(_) => "object",
        }});
        let object = match scope {
            Scope::Object(id) => Some(id),
            Scope::Institution(_) | Scope::Archive => None,
        };
        let event = EventDraft { object, detail, ..EventDraft::new(EventKind::Policy) };
        self.block_on(self.registry().set_policy(scope, coding, event, now()))?;
        Ok(())
    }

    fn queue_over(
        &self,
        kind: WorkKind,
        object: Option<&str>,
        request: &impl serde::Serialize,
    ) -> Result<WorkItem, Error> {
        let object = object.map(str::parse::<ObjectId>).transpose()?;
        let institution = match object {
            None => self.institution(DEFAULT_INSTITUTION)?,
            Some(id) => {
                let missing = || Error::NotFound { what: "object", name: id.to_string() };
                self.block_on(self.registry().object(id))?.ok_or_else(missing)?.institution
            }
        };
        let key = object.map_or("all".into(), |id| id.to_string());
        self.queue(kind, institution, object, Some(key), request)
    }

    pub(crate) fn queue(
        &self,
        kind: WorkKind,
        institution: InstitutionId,
        object: Option<ObjectId>,
        key: Option<String>,
        request: &impl serde::Serialize,
    ) -> Result<WorkItem, Error> {
        self.queue_new(self.new_work(kind, institution, object, key, request))
    }

    /// What is in trouble is tried again.
    fn queue_new(&self, new: NewWork) -> Result<WorkItem, Error> {
        let item = self.block_on(self.registry().enqueue(new, now()))?.item;
        match item.status {
            WorkStatus::Trouble => self.requeue(item.id, None),
            _ => Ok(item),
        }
    }

    pub(crate) fn new_work(
        &self,
        kind: WorkKind,
        institution: InstitutionId,
        object: Option<ObjectId>,
        key: Option<String>,
        request: &impl serde::Serialize,
    ) -> NewWork {
        let request = serde_json::to_value(request).expect("a request is plain JSON");
        let stage = if kind == WorkKind::Ingest { Stage::Inspect } else { Stage::Run };
        NewWork { id: WorkId(random_id()), kind, institution, object, key, request, stage }
    }

    /// Frees the work of processes of this machine that are dead, so that nobody waits for leases.
    pub(crate) fn free_the_dead(&self) -> Result<(), Error> {
        if self.behind().is_some() {
            return Ok(());
        }
        let filter = strongroom_registry::WorkFilter {
            status: Some(WorkStatus::Running),
            ..Default::default()
        };
        let running = self.block_on(self.registry().work_list(filter, None, 1000))?;
        for item in running {
            let Some(worker) = item.worker else { continue };
            let is_dead = || locks::is_dead(self.disk().as_ref(), &self.inner.data, worker);
            if worker != self.inner.worker && is_dead() {
                let until = item.lease_until.unwrap_or_default();
                let lease = strongroom_record::Lease { work: item.id, token: item.token, until };
                match self.block_on(self.registry().release(&lease, now())) {
                    Ok(_) => tracing::info!(work = %item.id, "freed the work of a dead process"),
                    Err(strongroom_registry::Error::LeaseLost { .. }) => {}
                    Err(e) => return Err(e.into()),
                }
            }
        }
        Ok(())
    }
}

fn make(
    runtime: &tokio::runtime::Runtime,
    registry: &Registry,
    disk: &Arc<dyn Disk>,
    data: &Path,
    key_path: &Path,
) -> Result<strongroom_registry::Archive, Error> {
    let archive = ArchiveId(random_id());
    // The key is durable before the registry names it. One left by a crash before that is of no
    // archive, and is put aside, never deleted.
    if disk.open(key_path).is_ok() {
        let aside = key_path.with_extension(format!("key.unused-{archive}"));
        disk.rename(key_path, &aside)
            .map_err(|source| Error::Unwritable { path: aside, source })?;
    }
    let mut keys = KeyFile::create(disk.clone(), key_path, archive, random)?;
    let epoch = EpochId(random_id());
    keys.add_institution(DEFAULT_INSTITUTION, random)?;
    let mut shelves = Vec::new();
    for name in ["a", "b"] {
        let path = data.join("shelves").join(name);
        if disk.list(&path).is_ok() {
            let aside = data.join("shelves").join(format!("{name}.unused-{archive}"));
            disk.rename(&path, &aside)
                .map_err(|source| Error::Unwritable { path: aside, source })?;
        }
        let shelf = new_shelf(name, &path, "this-disk", None)?;
        Vault::create_shelf(disk, &path, &Identity::new(shelf.id, archive, 1, epoch))?;
        shelves.push(shelf);
    }
    runtime.block_on(registry.create_archive(archive, epoch, &shelves, now()))?;
    make_own_institution(runtime, registry, &keys.archive_public()?)?;
    make_institution(runtime, registry, &mut keys, DEFAULT_INSTITUTION)?;
    let missing = || Error::Internal("the archive was made and is not there".into());
    runtime.block_on(registry.archive())?.ok_or_else(missing)
}

/// Opens a registry, after its write-ahead log was settled: SQLite's recovery would take what a sync that
/// failed left in memory for what the disk has, and write behind it what a power cut would end with it.
pub(crate) fn open_registry(
    runtime: &tokio::runtime::Runtime,
    options: &Options,
    database: &Path,
) -> Result<Registry, Error> {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    let path = PathBuf::from(log);
    strongroom_vault::settle(options.disk.as_ref(), &path)
        .map_err(|source| Error::Unwritable { path, source })?;
    Ok(runtime.block_on(Registry::open(database, options.registry.clone()))?)
}

/// The institution under which the archive's own events and journals stand.
pub(crate) fn make_own_institution(
    runtime: &tokio::runtime::Runtime,
    registry: &Registry,
    public: &PublicKey,
) -> Result<(), Error> {
    let keys = public.seal_to.to_bytes();
    let event = EventDraft::new(EventKind::Creation);
    runtime.block_on(registry.create_archive_institution(public.id, &keys, vec![event], now()))?;
    Ok(())
}

/// Whether a shelf tells of a later life of the registry, or of journals that it does not know.
fn behind(
    runtime: &tokio::runtime::Runtime,
    registry: &Registry,
    vault: &Vault,
    epoch: u32,
) -> Result<Option<String>, Error> {
    for shelf in vault.shelves() {
        let told = shelf.identity().epoch_number;
        if told > epoch {
            return Ok(Some(format!(
                "shelf `{}` was told of epoch {told}, and this registry is of epoch {epoch}",
                shelf.spec().name
            )));
        }
    }
    // Shelves are asked before the registry: another process may just be keeping a journal.
    let heads: Vec<_> = (vault.shelves().iter())
        .flat_map(|shelf| shelf.heads().into_iter().map(|head| (shelf.spec().name.clone(), head)))
        .collect();
    crate::journal::behind(&heads, |institution| {
        Ok(runtime.block_on(registry.last_journal(institution))?)
    })
}

fn make_institution(
    runtime: &tokio::runtime::Runtime,
    registry: &Registry,
    keys: &mut KeyFile,
    name: &str,
) -> Result<InstitutionId, Error> {
    strongroom_record::check_institution(name)?;
    let public = keys.add_institution(name, random)?;
    let institution = Institution {
        id: public.id,
        name: name.into(),
        generation: public.generation,
        keys: public.seal_to.to_bytes(),
        coding: None,
        created: now(),
    };
    let detail = serde_json::json!({"institution": name});
    let event = EventDraft { detail, ..EventDraft::new(EventKind::Creation) };
    runtime.block_on(registry.create_institution(&institution, vec![event], now()))?;
    Ok(public.id)
}

fn new_shelf(
    name: &str,
    path: &Path,
    domain: &str,
    capacity_bytes: Option<u64>,
) -> Result<Shelf, Error> {
    let bad = || Error::Usage(format!("{} is not UTF-8", path.display()));
    Ok(Shelf {
        id: ShelfId(random_id()),
        name: name.into(),
        location: path.to_str().ok_or_else(bad)?.into(),
        domain: domain.into(),
        capacity_bytes,
        state: ShelfState::Active,
        added: now(),
    })
}

pub(crate) fn spec(shelf: &Shelf) -> ShelfSpec {
    ShelfSpec {
        id: shelf.id,
        name: shelf.name.clone(),
        path: shelf.location.clone().into(),
        domain: shelf.domain.clone(),
        capacity_bytes: shelf.capacity_bytes,
        read_only: shelf.state != ShelfState::Active,
    }
}

/// A source as its object remembers it. A path that is not UTF-8 stands in base64.
pub(crate) fn source_text(path: &Path) -> String {
    match path.to_str() {
        Some(text) => text.into(),
        None => {
            let bytes = path.as_os_str().as_bytes();
            format!("base64:{}", strongroom_record::json::bytes::base64(bytes))
        }
    }
}

pub(crate) fn random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the system's random source works");
}

/// Ids that one call to the system draws. They are no secrets.
const IDS_DRAWN: usize = 64;

pub(crate) fn random_id() -> [u8; 16] {
    thread_local! {
        static DRAWN: RefCell<Vec<[u8; 16]>> = const { RefCell::new(Vec::new()) };
    }
    DRAWN.with_borrow_mut(|drawn| {
        if drawn.is_empty() {
            drawn.resize(IDS_DRAWN, [0; 16]);
            random(drawn.as_flattened_mut());
        }
        drawn.pop().expect("more were drawn just now")
    })
}

pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
