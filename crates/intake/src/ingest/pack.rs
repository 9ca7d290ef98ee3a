//! The last stages of the pipeline: new bytes fill segments; each that is full is finished, synced
//! and committed with the files that it completes, while the next one fills.

use super::format::identify;
use super::known::Known;
use super::plan::{Plan, Way};
use super::read::{
    self, After, BATCH_PARTS, Batch, Begun, Hashed, Out, Packed, Part, QUEUE_BATCHES,
};
use crate::archive::{now, random_id};
use crate::keeper::Sealing;
use crate::runner::Job;
use crate::source::{Entry, Kind, Position, Stream};
use crate::{Deposit, Error};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use strongroom_digest::{Algorithm, Digest};
use strongroom_record::json::bytes::{hex, unhex};
use strongroom_record::{
    Coding, CodingNumber, Extent, FileId, FileKind, FileRecord, NamedDigest, ObjectId, SegmentId,
    SegmentKind, Sha256, VersionId,
};
use strongroom_registry::{self as registry, DurableSegment, NewSegment, Version};
use strongroom_vault::keys::{SealingPublic, Writer};
use strongroom_vault::{Put, PutSpec};

/// Files of one commit: with their extents and placements they stay below the registry's bound.
const FILES_MAX: usize = 1500;
/// Segments that are registered before they are needed.
const AHEAD: usize = 3;

/// Which files the pipeline takes in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// Those of the source.
    #[default]
    Payload,
    /// They are given their places: those of a source that was read in one pass.
    Place,
    /// The tag files made for it.
    Made,
}

/// Where to go on: what a work item's checkpoint holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    pub(crate) phase: Phase,
    pub(crate) pin: Option<String>,
    pub(crate) position: Position,
    /// Number of the next file of the draft.
    pub(crate) next_number: u64,
    /// Files so far that are as they were in the last version.
    pub(crate) unchanged: u64,
    /// Files so far that have their places.
    #[serde(default)]
    pub(crate) placed: u64,
    /// Bytes that were stored anew.
    pub(crate) stored: u64,
    /// Of these, bytes that were given up again, as they were there already.
    #[serde(default)]
    pub(crate) given_up: u64,
    /// A file that is not ended.
    inside: Option<Inside>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Inside {
    id: FileId,
    offset: u64,
    /// States of the two hashing stages, hex.
    states: [Option<String>; 2],
    /// What tells the file from another one under its path, where it is one of a folder.
    #[serde(default)]
    identity: Option<String>,
    #[serde(default)]
    format: Option<String>,
    /// `[segment, offset, length]` each.
    extents: Vec<(SegmentId, u64, u64)>,
}

impl Checkpoint {
    pub(crate) fn read(value: &serde_json::Value) -> Result<Checkpoint, Error> {
        serde_json::from_value(value.clone())
            .map_err(|e| Error::Internal(format!("the checkpoint is damaged: {e}")))
    }
    pub(crate) fn write(&self) -> Result<serde_json::Value, Error> {
        serde_json::to_value(self).map_err(|e| Error::Internal(format!("no checkpoint: {e}")))
    }
    pub(crate) fn begin(&mut self, phase: Phase) {
        self.phase = phase;
        self.position = Position::default();
    }
}

/// A pipeline about to run.
pub(crate) struct Pack<'a> {
    job: &'a Job<'a>,
    version: VersionId,
    object: ObjectId,
    latest: Option<VersionId>,
    accept_degraded: bool,
    coding: Coding,
    number: CodingNumber,
    generation: u32,
    seal_to: SealingPublic,
    writer: Arc<Writer>,
    checkpoint: Checkpoint,
}

impl<'a> Pack<'a> {
    pub(crate) fn new(
        job: &'a Job<'a>,
        version: VersionId,
        object: ObjectId,
        request: &Deposit,
        latest: Option<&Version>,
        checkpoint: &Checkpoint,
    ) -> Result<Pack<'a>, Error> {
        let archive = job.archive;
        let institution = job.item.institution;
        let registry = archive.registry();
        // What an earlier worker began and did not finish is never gone on with.
        archive.block_on(registry.give_up_stale_segments(&job.lease()))?;
        let Sealing { generation, seal_to, writer } = archive.sealing(institution)?;
        Ok(Pack {
            job,
            version,
            object,
            latest: latest.map(|v| v.id),
            accept_degraded: request.accept_degraded,
            coding: archive.block_on(registry.coding_for(Some(object), institution))?,
            number: archive.block_on(registry.next_coding_number())?,
            generation,
            seal_to,
            writer,
            checkpoint: checkpoint.clone(),
        })
    }

    /// Runs to the end of `stream`. Returns the checkpoint as it was committed last, and the plan of a
    /// source that was read in one pass.
    pub(crate) fn run(
        self,
        stream: Stream,
        way: Way<'_>,
        algorithms: Vec<Algorithm>,
    ) -> Result<(Checkpoint, Option<Plan>), Error> {
        let (sha, others): (Vec<_>, Vec<_>) =
            algorithms.into_iter().partition(|a| *a == Algorithm::Sha256);
        let inside = self.checkpoint.inside.clone();
        let offset = inside.as_ref().map_or(0, |i| i.offset);
        let identity = inside.as_ref().and_then(|i| i.identity.clone());
        let states = inside.map_or([None, None], |i| i.states);
        let states = states.map(|state| state.and_then(|text| unhex(&text)));
        let entries = self.checkpoint.position.entries;
        let job = self.job;
        std::thread::scope(|scope| {
            let (to_pack, batches) = sync_channel(QUEUE_BATCHES);
            let (to_sha, sha_batches) = sync_channel(QUEUE_BATCHES);
            let (sha_out, sha_in) = sync_channel(QUEUE_BATCHES);
            let mut out = Out { hashers: vec![to_sha], packer: to_pack };
            let mut hashers = vec![sha_in];
            let mut stages = Vec::new();
            let [sha_state, other_state] = &states;
            let sha = &sha;
            stages.push(
                scope.spawn(move || read::hash(sha, sha_state.as_deref(), sha_batches, sha_out)),
            );
            if !others.is_empty() {
                let (to_others, other_batches) = sync_channel(QUEUE_BATCHES);
                let (other_out, other_in) = sync_channel(QUEUE_BATCHES);
                out.hashers.insert(0, to_others);
                hashers.push(other_in);
                let others = &others;
                stages.push(scope.spawn(move || {
                    read::hash(others, other_state.as_deref(), other_batches, other_out)
                }));
            }
            let state = sha_state.as_deref();
            let begun = Begun { version: self.version, entries, inside: offset, identity, state };
            let reader = scope.spawn(move || read::read(job, stream, way, begun, &out));
            let packed = self.pack(&batches, &hashers, way);
            drop((batches, hashers));
            let mut errors = Vec::new();
            let read = reader.join().map_err(|_| Error::Internal("the reader panicked".into()))?;
            let plan = read.map_err(|error| errors.push(error)).unwrap_or_default();
            for stage in stages {
                let ended = stage.join().map_err(|_| Error::Internal("a stage panicked".into()))?;
                errors.extend(ended.err());
            }
            match packed {
                Ok(checkpoint) if errors.is_empty() => Ok((checkpoint, plan)),
                packed => Err(Error::of_stages(packed.err().into_iter().chain(errors))),
            }
        })
    }

    fn pack(
        &self,
        batches: &Receiver<Packed>,
        hashers: &[Receiver<Hashed>],
        way: Way<'_>,
    ) -> Result<Checkpoint, Error> {
        let (ids_out, ids) = channel();
        let (closed_out, closed) = sync_channel::<Closed>(0);
        std::thread::scope(|scope| {
            let finisher = scope.spawn(|| self.finisher(closed, ids_out));
            let mut packer = Packer {
                pack: self,
                way,
                ids,
                closed: closed_out,
                put: None,
                files: Vec::new(),
                closed_files: Vec::new(),
                begun: self.checkpoint.inside.clone(),
                open: None,
                run: 0..0,
                at: self.checkpoint.clone(),
                known: Known::new(self.job.archive, self.latest, self.version),
            };
            let filled = packer.fill(batches, hashers);
            let at = packer.at.clone();
            drop(packer);
            let finished =
                finisher.join().map_err(|_| Error::Internal("the finisher panicked".into()))?;
            match (filled, finished) {
                (_, Err(error)) | (Err(error), _) => Err(error),
                (Ok(()), Ok(())) => Ok(at),
            }
        })
    }

    /// Finishes and commits segments as they are closed.
    fn finisher(&self, closed: Receiver<Closed>, ids: Sender<SegmentId>) -> Result<(), Error> {
        let first: Vec<_> = (0..AHEAD).map(|_| self.new_segment()).collect();
        let begun: Vec<_> = first.iter().map(|s| s.id).collect();
        let batch = registry::Batch { begin_segments: first, ..Default::default() };
        self.job.commit(batch)?;
        for id in begun {
            let _ = ids.send(id); // the packer may have ended
        }
        for Closed { put, files, checkpoint } in closed {
            let mut batch = registry::Batch {
                files,
                checkpoint: Some(checkpoint.write()?),
                ..Default::default()
            };
            let mut next = None;
            if let Some(put) = put {
                fail::fail_point!("deposit.segment-filled");
                let stored = put.finish(&self.writer, now())?;
                batch.durable.push(DurableSegment {
                    id: stored.segment,
                    bytes: stored.bytes,
                    coding: stored.coding,
                    number: stored.number,
                    placements: stored.placements,
                });
                let segment = self.new_segment();
                next = Some(segment.id);
                batch.begin_segments.push(segment);
            }
            fail::fail_point!("deposit.segment-synced");
            if planted() {
                let checkpoint = batch.checkpoint.take();
                self.job.commit(registry::Batch { checkpoint, ..Default::default() })?;
                fail::fail_point!("deposit.planted");
            }
            self.job.commit(batch)?;
            fail::fail_point!("deposit.segment-committed");
            if let Some(id) = next {
                let _ = ids.send(id); // the packer may have ended
            }
        }
        Ok(())
    }

    fn new_segment(&self) -> NewSegment {
        NewSegment {
            id: SegmentId(random_id()),
            version: Some(self.version),
            object: Some(self.object),
            institution: self.job.item.institution,
            kind: SegmentKind::Data,
            generation: self.generation,
            coding: self.coding,
            number: self.number,
        }
    }

    fn put(&self, segment: SegmentId) -> Put {
        self.job.archive.vault().put(PutSpec {
            segment,
            kind: SegmentKind::Data,
            institution: self.job.item.institution,
            generation: self.generation,
            seal_to: self.seal_to.clone(),
            coding: self.coding,
            number: self.number,
            accept_degraded: self.accept_degraded,
        })
    }
}

/// Whether the kill campaign asked for a bug that it must find: a checkpoint that is committed before
/// what it tells of.
fn planted() -> bool {
    fail::fail_point!("planted.checkpoint", |_| true);
    false
}

/// A segment that is full, with what it completes.
struct Closed {
    put: Option<Put>,
    files: Vec<FileRecord>,
    checkpoint: Checkpoint,
}

struct Packer<'a> {
    pack: &'a Pack<'a>,
    way: Way<'a>,
    ids: Receiver<SegmentId>,
    closed: SyncSender<Closed>,
    put: Option<Put>,
    /// Ended, and not yet handed to the finisher.
    files: Vec<FileRecord>,
    /// What the finisher was handed last: all before that is committed.
    closed_files: Vec<FileRecord>,
    /// A file that an earlier run began, and this one goes on with first.
    begun: Option<Inside>,
    /// A file that is not ended.
    open: Option<OpenFile>,
    /// Bytes of the present batch that have their place at the segment's end, and are not put yet.
    run: Range<usize>,
    /// Where things stand after the last batch.
    at: Checkpoint,
    known: Known<'a>,
}

struct OpenFile {
    entry: Entry,
    place: Vec<u8>,
    id: FileId,
    format: Option<String>,
    extents: Vec<Extent>,
}

impl Packer<'_> {
    fn fill(
        &mut self,
        batches: &Receiver<Packed>,
        hashers: &[Receiver<Hashed>],
    ) -> Result<(), Error> {
        // Of the tag files that are made there are few.
        if !matches!(self.way, Way::Made) {
            self.known.load()?;
        }
        while let Ok(packed) = batches.recv() {
            let mut hashed = Vec::with_capacity(hashers.len());
            for hasher in hashers {
                hashed.push(hasher.recv().map_err(|_| Error::Interrupted)?);
            }
            let held = self.put.as_ref().map_or(0, Put::bytes);
            let full = held + packed.batch.len() as u64 > self.pack.job.archive.segment_bytes();
            if full || self.files.len() + BATCH_PARTS > FILES_MAX {
                self.close()?;
            }
            self.take(packed, hashed)?;
        }
        if self.pack.job.stop.stopped() {
            return Err(Error::Interrupted);
        }
        self.close()
    }

    /// Hands what is ready to the finisher.
    fn close(&mut self) -> Result<(), Error> {
        let closed =
            Closed { put: self.put.take(), files: self.files.clone(), checkpoint: self.at.clone() };
        // The finisher has said itself why it is gone.
        self.closed.send(closed).map_err(|_| Error::Interrupted)?;
        self.closed_files = std::mem::take(&mut self.files);
        Ok(())
    }

    fn take(&mut self, packed: Packed, hashed: Vec<Hashed>) -> Result<(), Error> {
        let Packed { batch, begin, after: After { position, inside, identity } } = packed;
        let mut begin = begin.into_iter();
        let mut digests: Vec<_> =
            hashed.iter().flat_map(|h| &h.digests).map(|all| all.iter()).collect();
        let mut ended: Vec<Digest> = Vec::with_capacity(digests.len());
        for part in &batch.parts {
            ended.clear();
            if part.ends {
                ended.extend(digests.iter_mut().filter_map(|d| d.next()));
            }
            let begin = if part.begins { begin.next() } else { None };
            self.part(begin, &batch, part, &ended)?;
        }
        self.push_run(&batch)?;
        self.at.position = position;
        let mut states = hashed.into_iter().map(|h| h.state.map(|s| hex(&s)));
        let mut state = || states.next().flatten();
        self.at.inside = match (inside, &self.open) {
            (Some(offset), Some(open)) => Some(Inside {
                id: open.id,
                offset,
                states: [state(), state()],
                identity,
                format: open.format.clone(),
                extents: open.extents.iter().map(|e| (e.segment, e.offset, e.length)).collect(),
            }),
            _ => None,
        };
        Ok(())
    }

    fn part(
        &mut self,
        begin: Option<(Entry, Vec<u8>)>,
        batch: &Batch,
        part: &Part,
        digests: &[Digest],
    ) -> Result<(), Error> {
        if let Some((entry, place)) = begin {
            if entry.kind != Kind::File {
                return self.not_a_file(entry, place);
            }
            // A file that was begun by an earlier run goes on under its id.
            let inside = self.begun.take();
            let (id, format, extents) = match inside {
                None => {
                    let format = identify(batch.bytes_of(part), part.ends).map(str::to_owned);
                    (FileId(random_id()), format, Vec::new())
                }
                Some(inside) => {
                    let extent = |(segment, offset, length)| Extent { segment, offset, length };
                    let extents = inside.extents.into_iter().map(extent).collect();
                    (inside.id, inside.format, extents)
                }
            };
            self.open = Some(OpenFile { entry, place, id, format, extents });
        }
        let Some(mut open) = self.open.take() else {
            return Err(Error::Internal("a piece of no file".into()));
        };
        if !part.ends {
            self.store(batch, part, &mut open.extents)?;
            self.open = Some(open);
            return Ok(());
        }
        let sha256 = sha256_of(digests)?;
        let size = open.entry.size;
        let uncommitted = self.closed_files.iter().chain(&self.files);
        match self.known.extents(&sha256, uncommitted)? {
            // Nothing is kept twice; pieces of a large one that were stored are given up.
            Some(extents) if size > 0 => {
                self.at.given_up += open.extents.iter().map(|e| e.length).sum::<u64>();
                open.extents = extents;
            }
            _ => {
                self.store(batch, part, &mut open.extents)?;
                if size > 0 {
                    self.known.add(&sha256, self.at.next_number);
                }
            }
        }
        self.end(open, FileKind::File, sha256, digests, None)
    }

    /// Gives a part's bytes their place in the present segment, or a new one.
    fn store(
        &mut self,
        batch: &Batch,
        part: &Part,
        extents: &mut Vec<Extent>,
    ) -> Result<(), Error> {
        if part.range.is_empty() {
            return Ok(());
        }
        if self.run.end != part.range.start {
            self.push_run(batch)?;
            self.run = part.range.start..part.range.start;
        }
        if self.put.is_none() {
            let id = self.ids.recv().map_err(|_| Error::Interrupted)?;
            self.put = Some(self.pack.put(id));
        }
        let put = self.put.as_ref().expect("it was there, or was just begun");
        let (segment, length) = (put.segment(), part.range.len() as u64);
        let offset = put.bytes() + self.run.len() as u64;
        self.run.end = part.range.end;
        self.at.stored += length;
        match extents.last_mut() {
            Some(last) if last.segment == segment && last.offset + last.length == offset => {
                last.length += length;
            }
            _ => extents.push(Extent { segment, offset, length }),
        }
        Ok(())
    }

    /// Puts the bytes that have their place into the segment: in long runs, which are sealed where they
    /// lie.
    fn push_run(&mut self, batch: &Batch) -> Result<(), Error> {
        let run = std::mem::take(&mut self.run);
        match &mut self.put {
            Some(put) if !run.is_empty() => Ok(put.push(batch.bytes(run))?),
            _ => Ok(()),
        }
    }

    fn not_a_file(&mut self, entry: Entry, place: Vec<u8>) -> Result<(), Error> {
        let id = FileId(random_id());
        let open = |entry: Entry, extents| OpenFile { entry, place, id, format: None, extents };
        match &entry.kind {
            Kind::Symlink(target) => {
                let entry = Entry { size: 0, ..entry.clone() };
                let sha256 = Sha256::of(target);
                let target = Some(target.clone());
                self.end(open(entry, vec![]), FileKind::Symlink, sha256, &[], target)
            }
            Kind::HardLink(target) => {
                let target = strongroom_bag::path::clean(target);
                let path = self.way.place_path(target);
                let pack = self.pack;
                let recent = self.closed_files.iter().chain(&self.files).find(|f| f.path == path);
                let first = match recent {
                    Some(file) => Some(file.clone()),
                    None => {
                        let found = pack.job.archive.registry().file_by_path(pack.version, &path);
                        pack.job.archive.block_on(found)?
                    }
                };
                let missing = || Error::Internal("a hard link's target is not recorded".into());
                let first = first.ok_or_else(missing)?;
                let entry = Entry { size: first.size, ..entry.clone() };
                let mut open = open(entry, first.extents.clone());
                open.entry.mode = first.mode;
                open.format = first.format;
                self.finish_file(open, first.kind, first.sha256, first.digests, first.target)
            }
            _ => self.end(open(entry, vec![]), FileKind::EmptyFolder, Sha256::of(b""), &[], None),
        }
    }

    fn end(
        &mut self,
        open: OpenFile,
        kind: FileKind,
        sha256: Sha256,
        digests: &[Digest],
        target: Option<Vec<u8>>,
    ) -> Result<(), Error> {
        let further =
            (digests.iter()).filter(|d| d.algorithm() != Algorithm::Sha256).map(named).collect();
        self.finish_file(open, kind, sha256, further, target)
    }

    fn finish_file(
        &mut self,
        open: OpenFile,
        kind: FileKind,
        sha256: Sha256,
        digests: Vec<NamedDigest>,
        target: Option<Vec<u8>>,
    ) -> Result<(), Error> {
        let mut file = FileRecord {
            id: open.id,
            number: self.at.next_number,
            path: open.place,
            kind,
            mode: open.entry.mode,
            mtime_ns: open.entry.mtime_ns,
            size: open.entry.size,
            sha256,
            digests,
            target,
            made: matches!(self.way, Way::Made),
            format: open.format,
            extents: open.extents,
        };
        if let Some(before) = self.known.before(&file.path)?
            && before.same_as(&file)
        {
            file.id = before.id;
            self.at.unchanged += 1;
        }
        self.at.next_number += 1;
        self.files.push(file);
        Ok(())
    }
}

pub(super) fn named(digest: &Digest) -> NamedDigest {
    NamedDigest { algorithm: digest.algorithm().name().into(), bytes: digest.as_bytes().to_vec() }
}

fn sha256_of(digests: &[Digest]) -> Result<Sha256, Error> {
    let found = digests.iter().find(|d| d.algorithm() == Algorithm::Sha256);
    let found = found.ok_or_else(|| Error::Internal("a file without SHA-256".into()))?;
    Ok(Sha256::from_slice(found.as_bytes())?)
}
