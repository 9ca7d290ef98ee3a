//! The registry, made anew from shelves and key, or brought up to what its shelves tell.
//!
//! ```text
//! search    every shelf's logs: which shards stand there, signed by whom
//! journals  in the order of their numbers: rows, events, tombstones; those of revoked writers not
//! records   of each version the highest whole revision that an event names, else the highest whole one
//! segments  what versions, records and journals refer to is durable; what a tombstone names is
//!           released; the rest stays where it is, unknown, until a person discards it
//! epoch     told to every shelf, then raised; an event says up to where all was recovered
//! ```
//!
//! Only what a writer whom the institution certified has signed is believed; the sealing key is public, so
//! that something opens proves nothing. Nothing on a shelf is changed but its note of the epoch. A new
//! registry is made under another name and gets its own when it is whole, so an interrupted rebuild is
//! begun anew; one that takes newer things in can be run again.

mod dead;
mod read;
mod records;

use crate::archive::{now, open_registry, random, random_id};
use crate::keyring::Keyring;
use crate::locks;
use crate::runner::Stop;
use crate::{Error, KeyFile, Options, Progress};
use records::Versions;
use serde_json::json;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use strongroom_record::{
    ArchiveId, Coding, CodingNumber, EpochId, Event, EventDraft, EventKind, FileRecord, Id as _,
    InstitutionId, Outcome, Placement, PlacementState, SegmentId, SegmentKind, SegmentState,
    Sha256, Time,
};
use strongroom_registry::{
    FoundSegment, Institution, ROWS_MAX, Registry, Segment, Shelf, ShelfState,
};
use strongroom_vault::keys::SecretKeys;
use strongroom_vault::{Disk, Identity, ShelfSpec, Vault};

/// What a registry is rebuilt from.
#[derive(Clone, Debug)]
pub struct RebuildRequest {
    /// Folders of shelves. Where a registry is there already, its own shelves are read too.
    pub from: Vec<PathBuf>,
    /// The key file; the archive's own place for it where it is left out.
    pub key: Option<PathBuf>,
}

/// What a rebuild found.
#[derive(Clone, Default, Debug)]
pub struct Rebuilt {
    /// Whether the registry was made anew, rather than brought up to date.
    pub anew: bool,
    /// The epoch that begins.
    pub epoch: u32,
    /// For each institution its name and the last event that was recovered.
    pub events: Vec<(String, u64)>,
    /// Objects' versions that came back.
    pub versions: u64,
    /// Their files.
    pub files: u64,
    /// Shards that were found, by their shelf's name.
    pub shards: Vec<(String, u64)>,
    /// Segments that nothing tells of, which stay on the shelves.
    pub unknown: Vec<SegmentId>,
    /// What was passed over, was missing or was not believed, for a person.
    pub remarks: Vec<String>,
}

/// Most remarks of a report; the last one says how many more there were.
const REMARKS_MAX: usize = 1000;

impl Rebuilt {
    fn remark(&mut self, remark: impl Into<String>) {
        match self.remarks.len() {
            0..REMARKS_MAX => self.remarks.push(remark.into()),
            REMARKS_MAX => self.remarks.push("further remarks are left out".into()),
            _ => {}
        }
    }
}

/// A segment as its shards tell of it.
struct Found {
    institution: InstitutionId,
    kind: Option<SegmentKind>,
    generation: u32,
    bytes: u64,
    /// The codings that stand on the shelves, in the order of their numbers.
    codings: BTreeMap<CodingNumber, OneCoding>,
}

struct OneCoding {
    coding: Coding,
    /// Serial of its writer's certificate, and until when that may write, in microseconds.
    serial: [u8; 16],
    until: u64,
    placements: Vec<Placement>,
}

impl OneCoding {
    fn good(&self) -> usize {
        let indices: HashSet<u8> = (self.placements.iter())
            .filter(|p| p.state == PlacementState::Good)
            .map(|p| p.index)
            .collect();
        indices.len()
    }
}

impl Found {
    /// The newest coding that can be read.
    fn readable(&self) -> Option<(CodingNumber, &OneCoding)> {
        let enough = |c: &&OneCoding| c.good() >= usize::from(c.coding.k());
        self.codings.iter().rev().find(|(_, c)| enough(c)).map(|(number, c)| (*number, c))
    }
}

/// A rebuild under way.
struct Rebuild<'a> {
    runtime: &'a tokio::runtime::Runtime,
    registry: Registry,
    vault: Vault,
    keys: KeyFile,
    secrets: HashMap<InstitutionId, SecretKeys>,
    found: BTreeMap<SegmentId, Found>,
    /// A shelf tells of a later epoch than the registry knew.
    behind: bool,
    stop: &'a Stop,
    progress: &'a dyn Progress,
    report: Rebuilt,
}

/// Rebuilds the registry of an archive in its data folder, or takes in what its shelves have newer.
pub fn rebuild(
    options: &Options,
    request: &RebuildRequest,
    stop: &Stop,
    progress: &dyn Progress,
) -> Result<Rebuilt, Error> {
    let data = std::path::absolute(&options.data)
        .map_err(|source| Error::Unwritable { path: options.data.clone(), source })?;
    let unwritable = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Unwritable { path, source }
    };
    let disk = options.disk.clone();
    strongroom_vault::create_folders(disk.as_ref(), &data).map_err(unwritable(&data))?;
    let _turn = locks::making(disk.as_ref(), &data)?;

    let database = data.join("strongroom.db");
    let anew = !options.has_database();
    let temporary = data.join("strongroom.db.rebuilding");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|e| Error::Internal(format!("no runtime: {e}")))?;
    if anew {
        for suffix in ["", "-wal", "-shm"] {
            let left = data.join(format!("strongroom.db.rebuilding{suffix}"));
            match disk.remove(&left) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                other => other.map_err(unwritable(&left))?,
            }
        }
    }
    let path = if anew { &temporary } else { &database };
    let registry = open_registry(&runtime, options, path)?;
    let report = Rebuilt { anew, ..Rebuilt::default() };
    let read = fill(options, request, &data, (&runtime, &registry), report, (stop, progress));
    // Also after a failure: what is closed later, behind our back, could touch the next one's files.
    runtime.block_on(registry.close());
    let report = read?;
    fail::fail_point!("rebuild.whole");
    if anew {
        // A database whose last pages could not be brought home as it was closed keeps its log.
        let left = "strongroom.db.rebuilding-wal";
        if disk.list(&data).map_err(unwritable(&data))?.iter().any(|name| name == left) {
            let source = std::io::Error::other("its last pages could not be written");
            return Err(Error::Unwritable { path: temporary, source });
        }
        put_aside(disk.as_ref(), &data)?;
        disk.rename(&temporary, &database).map_err(unwritable(&database))?;
        fail::fail_point!("rebuild.named");
        disk.sync_dir(&data).map_err(unwritable(&data))?;
    }
    Ok(report)
}

/// Reads all that is to be read into the registry.
fn fill(
    options: &Options,
    request: &RebuildRequest,
    data: &Path,
    (runtime, registry): (&tokio::runtime::Runtime, &Registry),
    report: Rebuilt,
    (stop, progress): (&Stop, &dyn Progress),
) -> Result<Rebuilt, Error> {
    let disk = options.disk.clone();
    let registry = registry.clone();
    let shelves = shelves(runtime, &registry, disk.as_ref(), &request.from)?;
    let archive = shelves.archive;
    let key = request.key.clone().unwrap_or_else(|| data.join("strongroom.key"));
    let keys = KeyFile::open(disk.clone(), &key, archive)?;
    let kept = data.join("strongroom.key");
    if disk.open(&kept).is_err() {
        keys.at(&kept).write_new(None)?;
    }
    let epoch = shelves.epoch;
    let vault = Vault::open(
        disk.clone(),
        &shelves.specs,
        strongroom_vault::Options { archive, epoch, token: random_id(), random },
    );
    if let Some(missing) = vault.missing().iter().find(|m| request.from.contains(&m.spec.path)) {
        return Err(Error::Usage(format!("{}: {}", missing.spec.path.display(), missing.why)));
    }
    let secrets = keys.all_secrets()?;
    let found = BTreeMap::new();
    let behind = shelves.behind;
    let mut rebuild =
        Rebuild { runtime, registry, vault, keys, secrets, found, behind, stop, progress, report };
    rebuild.run(archive, epoch)?;
    Ok(rebuild.report)
}

/// Puts aside what a lost database has left beside it. SQLite would take a log or journal of that name for
/// the new database's own, and write old pages over it.
fn put_aside(disk: &dyn Disk, data: &Path) -> Result<(), Error> {
    let mut any = false;
    for suffix in ["-wal", "-journal", "-shm"] {
        let left = data.join(format!("strongroom.db{suffix}"));
        let aside = data.join(format!("strongroom.db{suffix}.lost"));
        match disk.rename(&left, &aside) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Ok(()) => any = true,
            Err(source) => return Err(Error::Unwritable { path: left, source }),
        }
    }
    match any {
        // Before the new one has its name, also when the power is cut.
        true => disk
            .sync_dir(data)
            .map_err(|source| Error::Unwritable { path: data.to_owned(), source }),
        false => Ok(()),
    }
}

/// Reads lines as those of records and journals are read, and says of each what it is, or why it is
/// nothing: what fuzzing gives bytes to.
pub fn look_at_lines(bytes: &[u8]) -> Vec<String> {
    let nobody = InstitutionId([0; 16]);
    let one = |line: &[u8]| {
        let line: serde_json::Value = match serde_json::from_slice(line) {
            Ok(line) => line,
            Err(_) => return "no JSON".to_string(),
        };
        let institution = line["institution"].as_str().and_then(|text| text.parse().ok());
        let institution = institution.unwrap_or(nobody);
        let told = match (line["strongroom"].as_str(), line["line"].as_str()) {
            (Some(crate::journal::HEAD), _) => {
                read::head(&line, SegmentId([0; 16]), Sha256([0; 32]), institution)
                    .map(|_| "journal")
            }
            (Some(crate::record::HEAD), _) => records::head(&line, institution).map(|_| "record"),
            (_, Some("event")) => Event::from_json(&line["event"], Sha256([0; 32]))
                .map(|event| {
                    read::Journals::default().note(&event);
                    let follows = event.follows(strongroom_record::EventHead::EMPTY);
                    if follows.is_ok() { "event" } else { "event without a canonical form" }
                })
                .map_err(Error::from),
            (_, Some("row")) => return format!("row of {}", line["table"]),
            (None, None) => FileRecord::from_json(&line)
                .map(|file| if file.leaf() == Sha256([0; 32]) { "no file" } else { "file" })
                .map_err(Error::from),
            _ => Ok("other"),
        };
        told.map_or_else(|why| why.to_string(), String::from)
    };
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(one).collect()
}

/// The shelves to read.
struct Shelves {
    archive: ArchiveId,
    /// The highest epoch that any of them, or the registry, was told of.
    epoch: u32,
    specs: Vec<ShelfSpec>,
    /// Whether the registry's own epoch is an earlier one.
    behind: bool,
}

fn shelves(
    runtime: &tokio::runtime::Runtime,
    registry: &Registry,
    disk: &dyn Disk,
    from: &[PathBuf],
) -> Result<Shelves, Error> {
    let known = runtime.block_on(registry.archive())?;
    let mut specs: Vec<ShelfSpec> =
        runtime.block_on(registry.shelves())?.iter().map(crate::archive::spec).collect();
    let mut archive = known.as_ref().map(|known| known.id);
    let known_epoch = known.map_or(1, |known| known.epoch_number);
    let mut epoch = known_epoch;
    for path in from {
        let path = std::path::absolute(path)
            .map_err(|source| Error::Unreadable { path: path.clone(), source })?;
        let identity = Identity::read(disk, &path).map_err(Error::Usage)?;
        if *archive.get_or_insert(identity.archive) != identity.archive {
            return Err(Error::Usage(format!(
                "{} belongs to another archive, {}",
                path.display(),
                identity.archive
            )));
        }
        epoch = epoch.max(identity.epoch_number);
        match specs.iter_mut().find(|spec| spec.id == identity.shelf) {
            Some(spec) => spec.path = path,
            None => specs.push(ShelfSpec {
                id: identity.shelf,
                name: name_of(&path),
                path,
                domain: "this-disk".into(),
                capacity_bytes: None,
                read_only: false,
            }),
        }
    }
    for spec in &specs {
        if let Ok(identity) = Identity::read(disk, &spec.path) {
            epoch = epoch.max(identity.epoch_number);
        }
    }
    let none = || Error::Usage("name the shelves to rebuild from: --from SHELF".into());
    let archive = archive.ok_or_else(none)?;
    Ok(Shelves { archive, epoch, specs, behind: epoch > known_epoch })
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(|| "shelf".into(), |name| name.to_string_lossy().into_owned())
}

impl Rebuild<'_> {
    fn run(&mut self, archive: ArchiveId, epoch: u32) -> Result<(), Error> {
        self.institutions(archive)?;
        self.search()?;
        self.keyrings();
        fail::fail_point!("rebuild.searched");
        let journals = self.journals()?;
        self.bury(&journals)?;
        self.shelves()?;
        fail::fail_point!("rebuild.journals");
        let mut versions = Versions::default();
        self.records(&journals, &mut versions)?;
        fail::fail_point!("rebuild.records");
        self.segments(&journals, &versions)?;
        fail::fail_point!("rebuild.segments");
        self.begin_epoch(epoch, &journals)
    }

    /// Makes the archive and its institutions, with the names of the key file; journals know more.
    fn institutions(&mut self, archive: ArchiveId) -> Result<(), Error> {
        let now = now();
        self.runtime.block_on(self.registry.create_archive(
            archive,
            EpochId(random_id()),
            &[],
            now,
        ))?;
        let own = self.keys.archive_public()?;
        make_own_institution_row(self.runtime, &self.registry, &own, now)?;
        for (name, public) in self.keys.institutions()? {
            let institution = Institution {
                id: public.id,
                name,
                generation: public.generation,
                keys: public.seal_to.to_bytes(),
                coding: None,
                created: now,
            };
            self.runtime.block_on(self.registry.take_in_institution(&institution))?;
        }
        Ok(())
    }

    /// Finds every shard on every shelf.
    fn search(&mut self) -> Result<(), Error> {
        let mut foreign = 0u64;
        for shelf in self.vault.shelves() {
            let (found, report) = (&mut self.found, &mut self.report);
            let (stop, secrets) = (self.stop, &self.secrets);
            let name = shelf.spec().name.clone();
            let searched = shelf.find(&mut |_| {}, &mut |shard| {
                if stop.stopped() {
                    return ControlFlow::Break(());
                }
                let placement = shard.placement;
                let what = match shard.what {
                    Ok(what) => what,
                    Err(why) => {
                        report.remark(format!(
                            "shelf `{name}`: shard {} of segment {}: {why}",
                            placement.index, placement.segment
                        ));
                        return ControlFlow::Continue(());
                    }
                };
                if !secrets.contains_key(&what.institution) {
                    foreign += 1;
                    return ControlFlow::Continue(());
                }
                let segment = found.entry(placement.segment).or_insert_with(|| Found {
                    institution: what.institution,
                    kind: what.kind,
                    generation: what.generation,
                    bytes: what.bytes,
                    codings: BTreeMap::new(),
                });
                if (segment.institution, segment.kind) != (what.institution, what.kind) {
                    report.remark(format!(
                        "shelf `{name}`: segment {} is said to be another's as well",
                        placement.segment
                    ));
                    return ControlFlow::Continue(());
                }
                let coding = segment.codings.entry(placement.coding).or_insert_with(|| OneCoding {
                    coding: what.coding,
                    serial: what.certificate.serial(),
                    until: what.certificate.grant().until_micros,
                    placements: Vec::new(),
                });
                coding.placements.push(placement);
                ControlFlow::Continue(())
            })?;
            stop.check()?;
            if searched.damaged > 0 {
                let (name, damaged) = (&shelf.spec().name, searched.damaged);
                report.remark(format!("shelf `{name}`: {damaged} regions of its logs are damaged"));
            }
            report.shards.push((shelf.spec().name.clone(), searched.shards));
        }
        for coding in self.found.values_mut().flat_map(|found| found.codings.values_mut()) {
            whole_first(&self.vault, &mut coding.placements);
        }
        for missing in self.vault.missing() {
            let (name, why) = (&missing.spec.name, &missing.why);
            self.report.remark(format!("shelf `{name}` is missing: {why}"));
        }
        if foreign > 0 {
            self.report.remark(format!(
                "{foreign} shards are of institutions of which the key file has no key; they are kept"
            ));
        }
        Ok(())
    }

    /// Takes the seeds that are not in the key file from the keyrings that those in it open.
    fn keyrings(&mut self) {
        let is_keyring = |found: &&Found| found.kind == Some(SegmentKind::Keyring);
        for (id, found) in self.found.iter().filter(|(_, found)| is_keyring(found)) {
            let (Some(secrets), Some((_, readable))) =
                (self.secrets.get_mut(&found.institution), found.readable())
            else {
                continue;
            };
            // One that is sealed to another key is no loss.
            let reader = self.vault.reader(*id, &readable.placements, secrets);
            let added = reader.map_err(Error::from).and_then(|reader| {
                Keyring::read(reader, found.institution).and_then(|ring| ring.add_to(secrets))
            });
            if let Err(error) = added {
                tracing::debug!(segment = %id, %error, "a keyring does not open");
            }
        }
    }

    /// The shelves' rows: as a journal told of them, or as they were found; where they are now.
    fn shelves(&mut self) -> Result<(), Error> {
        for shelf in self.vault.shelves() {
            let spec = shelf.spec();
            let location = spec
                .path
                .to_str()
                .ok_or_else(|| Error::Usage(format!("{} is not UTF-8", spec.path.display())))?;
            let row = Shelf {
                id: spec.id,
                name: spec.name.clone(),
                location: location.into(),
                domain: spec.domain.clone(),
                capacity_bytes: spec.capacity_bytes,
                state: ShelfState::Active,
                added: now(),
            };
            self.runtime.block_on(self.registry.take_in_shelf(&row))?;
        }
        Ok(())
    }

    /// Registers the segments that something refers to, and those that were deleted.
    fn segments(&mut self, journals: &read::Journals, versions: &Versions) -> Result<(), Error> {
        let shelves: HashSet<_> = (self.runtime.block_on(self.registry.shelves())?.into_iter())
            .map(|shelf| shelf.id)
            .collect();
        for institution in self.secrets.keys() {
            self.runtime.block_on(self.registry.list_deleted(*institution))?;
        }
        // A deletion that was cut off releases them, once what is living in them stands elsewhere.
        let to_rewrite = self.runtime.block_on(self.registry.segments_to_rewrite())?;
        let mut batch: Vec<FoundSegment> = Vec::new();
        let mut rows = 0;
        let found = std::mem::take(&mut self.found);
        for (id, found) in found {
            self.stop.check()?;
            let owner = versions.segments.get(&id);
            let known = self.runtime.block_on(self.registry.segment(id))?;
            // What a tombstone names stays where something living refers to it still.
            let dead = owner.is_none()
                && journals.dead(found.institution).is_some_and(|dead| dead.has(id.bytes()));
            let state = match (&known, dead) {
                (_, true) => SegmentState::Released,
                (Some(known), false) => known.state,
                (None, false)
                    if owner.is_some()
                        || journals.segments.contains(&id)
                        || to_rewrite.contains(&id) =>
                {
                    SegmentState::Durable
                }
                (None, false) if found.kind == Some(SegmentKind::Keyring) => SegmentState::Durable,
                (None, false) => {
                    self.report.unknown.push(id);
                    continue;
                }
            };
            let (Some(kind), Some((number, readable))) = (found.kind, found.readable()) else {
                self.report
                    .remark(format!("segment {id} has too few good shards on these shelves"));
                continue;
            };
            let wanted = known.as_ref().map_or(number, |known| known.number);
            let segment = Segment {
                id,
                version: owner.map(|owner| owner.version),
                object: owner.map(|owner| owner.object),
                institution: found.institution,
                kind,
                state,
                generation: found.generation,
                bytes: found.bytes,
                coding: readable.coding,
                number,
                work: None,
                token: 0,
                created: Time(0),
            };
            let mut placements = Vec::new();
            for (number, coding) in found.codings {
                let unwanted = number != wanted;
                placements.extend(coding.placements.into_iter().filter_map(|mut placement| {
                    if unwanted {
                        placement.state = PlacementState::Released;
                    }
                    shelves.contains(&placement.shelf).then_some(placement)
                }));
            }
            rows += 1 + placements.len();
            batch.push(FoundSegment { segment, placements });
            if rows > ROWS_MAX / 2 {
                self.runtime.block_on(self.registry.take_in_segments(&batch))?;
                batch.clear();
                rows = 0;
            }
        }
        self.runtime.block_on(self.registry.take_in_segments(&batch))?;
        for id in versions.segments.keys() {
            if self.runtime.block_on(self.registry.segment(*id))?.is_none() {
                self.report
                    .remark(format!("segment {id} is needed and stands on none of these shelves"));
            }
        }
        Ok(())
    }

    /// Tells every shelf of a new epoch, raises it, and says in each chain what was recovered.
    fn begin_epoch(&mut self, highest: u32, journals: &read::Journals) -> Result<(), Error> {
        let seen = highest.max(journals.epoch);
        let (number, epoch) = (seen + 1, EpochId(random_id()));
        for shelf in self.vault.shelves() {
            shelf.set_epoch(number, epoch)?;
        }
        fail::fail_point!("rebuild.shelves-told");
        let now = now();
        self.runtime.block_on(self.registry.raise_epoch(number, epoch, now))?;
        // A registry that is as new as its shelves goes on with its work.
        if self.report.anew || journals.newer || self.behind {
            let ended = self.runtime.block_on(self.registry.end_unfinished(now))?.len();
            if ended > 0 {
                let remark = format!("{ended} unfinished work items were ended: ask for them anew");
                self.report.remark(remark);
            }
        }
        self.report.epoch = number;
        let institutions = self.runtime.block_on(self.registry.institutions())?;
        for institution in institutions {
            let head = self.runtime.block_on(self.registry.event_head(institution.id))?;
            let lost = journals.beyond.get(&institution.id).copied().unwrap_or(0);
            let detail = json!({
                "epoch": number,
                "last_event": head.sequence.to_string(),
                "known_beyond": lost.to_string(),
                "versions": self.report.versions.to_string(),
                "remarks": self.report.remarks.len(),
                "unknown_segments": self.report.unknown.len(),
            });
            let warning = lost > head.sequence || !self.report.remarks.is_empty();
            let outcome = if warning { Outcome::Warning } else { Outcome::Success };
            let event = EventDraft { outcome, detail, ..EventDraft::new(EventKind::Recovery) };
            let told = self.registry.record_events(institution.id, vec![event], now);
            self.runtime.block_on(told)?;
            self.report.events.push((institution.name, head.sequence));
        }
        Ok(())
    }
}

/// Of shards that stand on several shelves, for one was moved or made anew elsewhere, those that are whole
/// come first: they are registered.
fn whole_first(vault: &Vault, placements: &mut [Placement]) {
    let mut count: HashMap<u8, usize> = HashMap::new();
    placements.iter().for_each(|p| *count.entry(p.index).or_default() += 1);
    for placement in placements.iter_mut().filter(|p| count[&p.index] > 1) {
        placement.state = vault.check(placement, &mut |_| {}).state();
    }
    placements.sort_by_key(|p| p.state != PlacementState::Good);
}

fn make_own_institution_row(
    runtime: &tokio::runtime::Runtime,
    registry: &Registry,
    own: &crate::keys::PublicKey,
    now: Time,
) -> Result<(), Error> {
    let keys = own.seal_to.to_bytes();
    runtime.block_on(registry.create_archive_institution(own.id, &keys, vec![], now))?;
    Ok(())
}
