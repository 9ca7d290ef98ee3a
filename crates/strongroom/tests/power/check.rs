//! What must hold after each cut, and at rest.

use crate::source::Object;
use crate::world::{Miss, World, wrong};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use strongroom_intake::{Error, RepairRequest};
use strongroom_record::{
    EventKind, Outcome, Placement, SegmentState, WorkItem, WorkKind, WorkStatus,
};
use strongroom_registry::{EventsOf, SegmentsOf, VersionState};
use strongroom_spool::{Found, Location, LogId, ScanOptions, Spool};

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

    /// Each object has the versions that were acknowledged, and at most the one that is under way.
    pub(crate) fn check_listed(&self) -> Result<(), Miss> {
        for object in &self.objects {
            let published = self.published(object)?;
            if published < object.acknowledged || published > object.versions.len() {
                let (name, all) = (&object.name, object.versions.len());
                let acknowledged = object.acknowledged;
                return wrong(format!(
                    "{name} has {published} versions: {acknowledged} of {all} were acknowledged"
                ));
            }
        }
        Ok(())
    }

    fn published(&self, object: &Object) -> Result<usize, Miss> {
        let archive = self.archive();
        let name = object.name.parse().unwrap();
        let Some(found) = archive.block_on(archive.registry().object_by_name(&name))? else {
            return Ok(0);
        };
        let versions = archive.block_on(archive.registry().versions(found.id))?;
        Ok(versions.iter().filter(|version| version.state == VersionState::Published).count())
    }

    /// What the registry says of the shelves is what a scan of their logs finds.
    pub(crate) fn check_shelves(&self) -> Result<(), Miss> {
        let archive = self.archive();
        let mut on_shelves: BTreeMap<_, BTreeMap<Place, Found>> = BTreeMap::new();
        for shelf in archive.vault().shelves() {
            let found = self.scan(&shelf.spec().path.join("logs"))?;
            let unknown: BTreeSet<[u8; 16]> =
                found.iter().map(|frame| frame.key[..16].try_into().unwrap()).collect();
            for segment in unknown {
                let id = strongroom_record::SegmentId(segment);
                if archive.block_on(archive.registry().segment(id))?.is_none() {
                    return wrong(format!("segment {id} stands on a shelf and is not registered"));
                }
            }
            let found = found.into_iter().map(|frame| (place(&frame.location), frame)).collect();
            on_shelves.insert(shelf.spec().id, found);
        }
        if let [missing, ..] = archive.vault().missing() {
            return match self.injected {
                true => Ok(()),
                false => wrong(format!("shelf {} is missing: {}", missing.spec.name, missing.why)),
            };
        }
        let harmed = |placement: &Placement| {
            let name = archive.vault().shelves().iter().find(|s| s.spec().id == placement.shelf);
            name.is_some_and(|shelf| Some(&shelf.spec().name) == self.damaged.as_ref())
        };
        let mut after = None;
        loop {
            let page = archive.registry().segments_of(SegmentsOf::All, after, 1000);
            let page = archive.block_on(page)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            for segment in page.iter().filter(|s| s.state == SegmentState::Durable) {
                let all = archive.block_on(archive.registry().placements(segment.id))?;
                let all: Vec<_> = all.iter().filter(|p| p.coding == segment.number).collect();
                if all.len() != usize::from(segment.coding.n()) {
                    return wrong(format!("segment {} has {} shards", segment.id, all.len()));
                }
                for placement in all {
                    let frames = frames_of(&placement.frames);
                    let good = |at: &Location| {
                        on_shelves[&placement.shelf].get(&place(at)).is_some_and(|found| {
                            found.payload_ok != Some(false) && found.key[..16] == segment.id.0
                        })
                    };
                    let bytes: u64 = frames.iter().map(|at| u64::from(at.len)).sum();
                    let whole = bytes == placement.bytes && frames.iter().all(good);
                    if !whole && !harmed(placement) && !self.injected {
                        return wrong(format!(
                            "shard {} of segment {} is registered and not on its shelf",
                            placement.index, segment.id
                        ));
                    }
                }
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
        if self.fixity()? > 0 {
            // Only reads that failed are a reason, and they are repaired.
            let item = self.archive().repair(&RepairRequest::default())?;
            self.work(item.id)?;
        }
        for object in 0..self.objects.len() {
            let (published, states) =
                (self.published(&self.objects[object])?, self.objects[object].versions.len());
            if published != states {
                let name = &self.objects[object].name;
                return wrong(format!("{name} has {published} versions instead of {states}"));
            }
            for version in 0..states {
                self.restore(object, version)?;
            }
        }
        self.check_events()?;
        let archive = self.archive();
        let items =
            archive.block_on(archive.registry().work_list(Default::default(), None, 1000))?;
        let ended = |item: &&WorkItem| item.status != WorkStatus::Succeeded;
        // A restoration that was cut off goes on to a target of its own, and is not asked for again.
        let stuck = items.iter().filter(ended).find(|i| i.kind != WorkKind::Restore);
        match stuck {
            Some(item) => wrong(format!("{} is left {}: {}", item.kind, item.status, item.note)),
            None => self.check_accounts(),
        }
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
            if event.draft.outcome != Outcome::Failure
                && !seen.insert((work, event.draft.kind.word()))
            {
                return wrong(format!("work {work} has two events of {}", event.draft.kind));
            }
        }
        let versions: usize = self.objects.iter().map(|object| object.versions.len()).sum();
        if creations != 1 {
            return wrong(format!("the institution has {creations} events of its making"));
        }
        match accessions == versions {
            true => Ok(()),
            false => wrong(format!("{accessions} accessions of {versions} versions")),
        }
    }

    /// What the registry adds up for each shelf is at least what stands there and is wanted, and all of it
    /// where nothing was released.
    fn check_accounts(&self) -> Result<(), Miss> {
        let archive = self.archive();
        let told = archive.block_on(archive.registry().shelf_bytes())?;
        for (shelf, told) in told {
            let placements = archive.registry().placements_on(shelf, None, 10_000);
            let live: u64 = archive.block_on(placements)?.iter().map(|p| p.bytes).sum();
            let path = archive.vault().shelves().iter().find(|s| s.spec().id == shelf);
            let path = path.expect("none is missing").spec().path.join("logs");
            let there: u64 = self.scan(&path)?.iter().map(|f| u64::from(f.location.len)).sum();
            if told < live || there < told {
                return wrong(format!(
                    "shelf {shelf}: {live} bytes are wanted, {told} are told, {there} are there"
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
