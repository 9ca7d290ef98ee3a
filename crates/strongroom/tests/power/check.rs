//! What must hold after each cut, and at rest.

use crate::source::Object;
use crate::world::{Miss, World, wrong};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use strongroom_intake::{Error, RepairRequest, Stop};
use strongroom_record::{
    EventKind, Outcome, Placement, PlacementState, SegmentId, SegmentState, ShelfId, WorkItem,
    WorkKind, WorkStatus,
};
use strongroom_registry::{EventsOf, Segment, SegmentsOf, VersionState};
use strongroom_spool::{Found, Location, LogId, ScanOptions, Spool};

/// Rows that are asked of the registry at once.
const PAGE: u32 = 1000;

impl World {
    /// What was acknowledged of the chain of events is still its beginning.
    pub(crate) fn check_head(&self) -> Result<(), Miss> {
        let archive = self.archive();
        let (sequence, hash) = self.head;
        if sequence == 0 {
            return Ok(());
        }
        let Some(local) = archive.block_on(archive.registry().institution_by_name("local"))? else {
            return wrong("the institution is gone");
        };
        let of = EventsOf::Institution(local.id);
        let event = archive.block_on(archive.registry().events(of, sequence - 1, 1))?;
        match event.first().is_some_and(|event| event.sequence == sequence && event.hash.0 == hash)
        {
            true => Ok(()),
            false => wrong(format!("event {sequence}, which was acknowledged, is gone or another")),
        }
    }

    /// Each object has the versions that were acknowledged, at most the one that is under way, and none
    /// that was deleted.
    pub(crate) fn check_listed(&self) -> Result<(), Miss> {
        for (index, object) in self.objects.iter().enumerate() {
            let (name, published) = (&object.name, self.published(object)?);
            let going = self.deleting.iter().chain(&self.undecided);
            let going: Vec<_> = going.filter(|going| going.object == index).collect();
            let stays = |i: usize| going.iter().all(|going| going.spares(i));
            for (i, files) in object.versions.iter().enumerate() {
                let (number, is) = (i + 1, published.contains(&(i + 1)));
                if is && files.is_none() {
                    return wrong(format!("{name}@{number} was deleted, and is back"));
                }
                if !is && files.is_some() && stays(i) && i < object.acknowledged {
                    return wrong(format!("{name}@{number} was acknowledged, and is gone"));
                }
            }
            if let Some(more) = published.iter().find(|number| **number > object.versions.len()) {
                return wrong(format!("{name}@{more} is nobody's"));
            }
        }
        let archive = self.archive();
        for (name, id) in &self.buried {
            let object = archive.block_on(archive.registry().object(*id))?;
            let versions = archive.block_on(archive.registry().versions(*id))?;
            if object.is_some() || versions.iter().any(|v| v.state == VersionState::Published) {
                return wrong(format!("{name} ({id}) was deleted, and is back"));
            }
        }
        Ok(())
    }

    /// The numbers of an object's versions that are published.
    pub(crate) fn published(&self, object: &Object) -> Result<BTreeSet<usize>, Miss> {
        let archive = self.archive();
        let name = object.name.parse().unwrap();
        let Some(found) = archive.block_on(archive.registry().object_by_name(&name))? else {
            return Ok(BTreeSet::new());
        };
        if object.id.is_some_and(|id| id != found.id) {
            return wrong(format!("{name} is another object"));
        }
        let versions = archive.block_on(archive.registry().versions(found.id))?;
        let published = versions.iter().filter(|v| v.state == VersionState::Published);
        let numbers: BTreeSet<_> = published.clone().map(|v| v.number as usize).collect();
        match numbers.len() == published.count() {
            true => Ok(numbers),
            false => wrong(format!("{name} has two versions of one number")),
        }
    }

    /// Segments on the shelves that the registry does not know.
    pub(crate) fn unregistered(&self) -> Result<BTreeSet<SegmentId>, Miss> {
        let (known, mut unknown) = (self.segments()?, BTreeSet::new());
        for shelf in self.archive().vault().shelves() {
            for frame in self.scan(&shelf.spec().path.join("logs"))? {
                let segment = SegmentId(frame.key[..16].try_into().unwrap());
                if !known.contains_key(&segment) {
                    unknown.insert(segment);
                }
            }
        }
        Ok(unknown)
    }

    /// What the registry says of the shelves is what a scan of their logs finds.
    pub(crate) fn check_shelves(&self) -> Result<(), Miss> {
        // Shelves and reads that fail on purpose tell nothing.
        if self.injected || self.unrepaired {
            return Ok(());
        }
        let archive = self.archive();
        if let [missing, ..] = archive.vault().missing() {
            return wrong(format!("shelf {} is missing: {}", missing.spec.name, missing.why));
        }
        let segments = self.segments()?;
        let mut shards: BTreeMap<SegmentId, usize> = BTreeMap::new();
        for shelf in archive.vault().shelves() {
            let mut there = BTreeMap::new();
            for frame in self.scan(&shelf.spec().path.join("logs"))? {
                let segment = SegmentId(frame.key[..16].try_into().unwrap());
                if !segments.contains_key(&segment) && !self.strangers.contains(&segment) {
                    return wrong(format!("a shelf has {segment}, which is not registered"));
                }
                there.insert(place(&frame.location), (segment, frame));
            }
            let harmed = Some(&shelf.spec().name) == self.damaged.as_ref();
            for placement in self.placements_on(shelf.spec().id)? {
                let (segment, index) = (placement.segment, placement.index);
                let wanted = &segments[&segment];
                if wanted.state != SegmentState::Durable || wanted.number != placement.coding {
                    continue;
                }
                *shards.entry(segment).or_default() += 1;
                let frames = frames_of(&placement.frames);
                let good = |at: &Location| {
                    there.get(&place(at)).is_some_and(|(of, frame)| {
                        *of == segment && frame.payload_ok == Some(true) && frame.key[24] == index
                    })
                };
                let bytes: u64 = frames.iter().map(|at| u64::from(at.len)).sum();
                if !(harmed || bytes == placement.bytes && frames.iter().all(good)) {
                    return wrong(format!(
                        "shard {index} of segment {segment} is registered and not on its shelf"
                    ));
                }
            }
        }
        for segment in segments.values().filter(|s| s.state == SegmentState::Durable) {
            let shards = shards.get(&segment.id).copied().unwrap_or(0);
            if shards != usize::from(segment.coding.n()) {
                return wrong(format!("segment {} has {shards} shards", segment.id));
            }
        }
        Ok(())
    }

    fn segments(&self) -> Result<BTreeMap<SegmentId, Segment>, Miss> {
        let archive = self.archive();
        let mut all = BTreeMap::new();
        loop {
            let after = all.keys().next_back().copied();
            let page = archive.registry().segments_of(SegmentsOf::All, after, PAGE);
            match archive.block_on(page)? {
                page if page.is_empty() => return Ok(all),
                page => all.extend(page.into_iter().map(|segment| (segment.id, segment))),
            }
        }
    }

    fn placements_on(&self, shelf: ShelfId) -> Result<Vec<Placement>, Miss> {
        let archive = self.archive();
        let mut all = Vec::new();
        loop {
            let page = archive.registry().placements_on(shelf, all.last(), PAGE);
            match archive.block_on(page)? {
                page if page.is_empty() => return Ok(all),
                page => all.extend(page),
            }
        }
    }

    pub(crate) fn scan(&self, logs: &Path) -> Result<Vec<Found>, Miss> {
        let mut frames = Vec::new();
        let options = ScanOptions { verify_payload: true, log: None };
        self.spool(logs)?
            .scan(options, &mut |frame| {
                frames.push(frame);
                ControlFlow::Continue(())
            })
            .map_err(|e| Error::Internal(e.to_string()))?;
        Ok(frames)
    }

    pub(crate) fn logs(&self, logs: &Path) -> Result<BTreeMap<LogId, String>, Miss> {
        let all = self.spool(logs)?.logs().map_err(|e| Error::Internal(e.to_string()))?;
        Ok(all.into_iter().map(|log| (log.id, log.name)).collect())
    }

    fn spool(&self, logs: &Path) -> Result<Spool, Miss> {
        let spool = Spool::open(Arc::new(self.machine.clone()), logs, Default::default());
        Ok(spool.map_err(|e| Error::Internal(e.to_string()))?)
    }

    /// At rest: every version comes back, every shard is good, nothing is there twice, nothing is stuck.
    pub(crate) fn check_all(&mut self) -> Result<(), Miss> {
        self.end_deletions()?;
        if self.fixity()? > 0 || self.struck {
            // Only reads that failed are a reason, and they are repaired; so is what a repair left.
            let item = self.archive().repair(&RepairRequest::default())?;
            self.work(item.id)?;
        }
        (self.struck, self.misread) = (self.injected, self.injected);
        self.check_listed()?;
        for object in 0..self.objects.len() {
            for version in self.objects[object].living() {
                self.restore(object, version)?;
            }
            self.check_versions(object)?;
        }
        self.check_events()?;
        self.check_reclaimed()?;
        if let Some(segment) = self.segments()?.values().find(|s| s.state == SegmentState::Writing)
        {
            let archive = self.archive();
            let work = segment.work.map(|id| archive.block_on(archive.registry().work(id)));
            let whose = work.transpose()?.flatten().map(|work| (work.kind, work.status, work.note));
            let journal = matches!(whose, Some((WorkKind::Journal, WorkStatus::Trouble, _)));
            if !journal {
                return self.unless_injected(format!(
                    "segment {} is being written still: {whose:?}",
                    segment.id
                ));
            }
        }
        let archive = self.archive();
        let items =
            archive.block_on(archive.registry().work_list(Default::default(), None, 1000))?;
        // What was unfinished when the registry was lost is not rebuilt.
        let ended = |item: &&WorkItem| match item.status {
            WorkStatus::Succeeded => false,
            WorkStatus::Cancelled => !self.rebuilt,
            _ => true,
        };
        // A restoration that was cut off goes on to a target of its own, and is not asked for again; a
        // journal in trouble waits for the next event of its institution.
        let stuck = items
            .iter()
            .filter(ended)
            .find(|i| !matches!(i.kind, WorkKind::Restore | WorkKind::Journal));
        match stuck {
            Some(item) => self
                .unless_injected(format!("{} is left {}: {}", item.kind, item.status, item.note)),
            None => Ok(()),
        }
    }

    /// What must not be, but where something fails on purpose: then it is looked at again.
    fn unless_injected(&self, what: String) -> Result<(), Miss> {
        match self.injected {
            true => Err(Error::Internal(what).into()),
            false => wrong(what),
        }
    }

    /// Each version lists each file once, and none is a draft.
    fn check_versions(&self, object: usize) -> Result<(), Miss> {
        let archive = self.archive();
        let Object { name, versions, .. } = &self.objects[object];
        let found = archive.find_object(name)?;
        if versions.iter().all(Option::is_none) && archive.find_version(name).is_ok() {
            return wrong(format!("{name} has a latest version, and all were deleted"));
        }
        for version in archive.block_on(archive.registry().versions(found.id))? {
            match version.state {
                VersionState::Draft | VersionState::Rebuilding => {
                    return wrong(format!("{name} has a draft of nobody"));
                }
                VersionState::Abandoned | VersionState::Deleted => continue,
                VersionState::Published => {}
            }
            let (mut deposited, mut next) = (0, 0);
            loop {
                let files = archive.block_on(archive.registry().files(version.id, next, PAGE))?;
                let Some(last) = files.last() else { break };
                next = last.number + 1;
                deposited += files.iter().filter(|file| !file.made).count();
            }
            let expected = versions[version.number as usize - 1].as_ref().map_or(0, BTreeMap::len);
            if deposited != expected {
                return wrong(format!("{name} has {deposited} files instead of {expected}"));
            }
        }
        Ok(())
    }

    fn check_events(&self) -> Result<(), Miss> {
        let archive = self.archive();
        let local = archive.block_on(archive.registry().institution_by_name("local"))?;
        let local = local.expect("checked when it was opened").id;
        let chain = archive.block_on(archive.registry().verify_chain(local))?;
        if let Some(at) = chain.broken_at {
            return wrong(format!("the chain of events is broken at {at}"));
        }
        let mut seen = BTreeSet::new();
        let (mut accessions, mut creations) = (0, 0);
        let of = EventsOf::Institution(local);
        for event in archive.block_on(archive.registry().events(of, 0, 1000))? {
            accessions += usize::from(event.draft.kind == EventKind::Accession);
            creations += usize::from(event.draft.kind == EventKind::Creation);
            let Some(work) = event.draft.work else { continue };
            // A deletion tells of its steps, and of each version whose bytes it moved.
            let step = event.draft.detail["step"].as_str().map(str::to_owned);
            if event.draft.outcome != Outcome::Failure
                && event.draft.kind != EventKind::Relocation
                && !seen.insert((work, event.draft.kind.word(), step))
            {
                return wrong(format!("work {work} has two events of {}", event.draft.kind));
            }
        }
        if creations > 1 || (creations == 0 && !self.lossy) {
            return wrong(format!("the institution has {creations} events of its making"));
        }
        let deposits = self.deposits;
        match accessions == deposits || (accessions < deposits && self.lossy) {
            true => Ok(()),
            false => wrong(format!("{accessions} accessions of {deposits} versions")),
        }
    }

    /// What is dead is gone from every shelf once all that waits is reclaimed, and the accounts are equal to
    /// what is there.
    fn check_reclaimed(&mut self) -> Result<(), Miss> {
        // What a process wrote itself it does not reclaim; a journal that could not be stored is stored now.
        self.reopen()?;
        loop {
            let item = self.archive().reclaim(None, true)?;
            self.work(item.id)?;
            // One that was interrupted goes on after the shelves that it had gone over.
            if item.checkpoint.is_null() {
                break;
            }
        }
        self.check_accounts()?;
        if self.injected || !self.strangers.is_empty() {
            return Ok(());
        }
        let segments = self.segments()?;
        let archive = self.archive();
        for shelf in archive.vault().shelves() {
            for frame in self.scan(&shelf.spec().path.join("logs"))? {
                let id = SegmentId(frame.key[..16].try_into().unwrap());
                let state = segments.get(&id).map(|segment| segment.state);
                if state != Some(SegmentState::Durable) {
                    let name = &shelf.spec().name;
                    return wrong(format!("segment {id}, {state:?}, is left on shelf {name}"));
                }
            }
        }
        let usage = archive.block_on(archive.registry().shelf_usage())?;
        match usage.iter().map(|usage| usage.pending_bytes).sum::<u64>() {
            0 => Ok(()),
            pending => wrong(format!("{pending} bytes wait to be reclaimed still")),
        }
    }

    /// What the registry counts of each shelf is what a full look finds, the program's and one of our own.
    pub(crate) fn check_accounts(&self) -> Result<(), Miss> {
        let archive = self.archive();
        let mut told: BTreeMap<_, _> = archive
            .block_on(archive.registry().shelf_usage())?
            .into_iter()
            .map(|usage| (usage.shelf, usage))
            .collect();
        for shelf in archive.block_on(archive.registry().shelves())? {
            let scan = strongroom_intake::scan_shelf(archive, &shelf, &Stop::default())?;
            let stranger = |what: &&String| {
                !self.strangers.is_empty() && what.contains("the registry does not know")
            };
            if let Some(what) = scan.differences.iter().find(|what| !stranger(what)) {
                return self.unless_injected(format!("shelf {}: {what}", shelf.name));
            }
            let wanted =
                |p: &&Placement| matches!(p.state, PlacementState::Good | PlacementState::Damaged);
            let placements = self.placements_on(shelf.id)?;
            let wanted: Vec<_> = placements.iter().filter(wanted).collect();
            let there: BTreeSet<Place> = (self.scan(&Path::new(&shelf.location).join("logs"))?)
                .iter()
                .map(|frame| place(&frame.location))
                .collect();
            let frames = wanted.iter().flat_map(|p| frames_of(&p.frames));
            let live = frames.filter(|at| there.contains(&place(at))).map(|at| u64::from(at.len));
            let found = (wanted.len() as u64, live.sum::<u64>());
            let usage = told.remove(&shelf.id).expect("each shelf is counted");
            if found != (usage.live_shards, usage.live_bytes) {
                return self.unless_injected(format!(
                    "shelf {}: {found:?} shards and bytes are wanted, counted are {usage:?}",
                    shelf.name
                ));
            }
        }
        Ok(())
    }
}

/// A frame's place, in an order.
type Place = ([u8; 16], u64, u32);

fn place(at: &Location) -> Place {
    (at.log.0, at.offset, at.len)
}

/// The frames of a shard, from a placement (docs/format.md): read here anew, not by the code that is tested.
fn frames_of(mut bytes: &[u8]) -> Vec<Location> {
    fn number(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let (byte, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(byte & 127) << shift;
            if byte & 128 == 0 {
                break;
            }
        }
        value
    }
    let mut frames = Vec::new();
    while let Some((log, rest)) = bytes.split_at_checked(16) {
        bytes = rest;
        let mut offset = 0;
        for _ in 0..number(&mut bytes) {
            offset += number(&mut bytes);
            let len = number(&mut bytes) as u32;
            frames.push(Location { log: LogId(log.try_into().unwrap()), offset, len });
        }
    }
    frames
}
