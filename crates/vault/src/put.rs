//! Storing a segment: plaintext in, shards on n shelves, synced and compared.

use crate::store::{FRAME_BYTES, encode_frames, frame_key};
use crate::{Error, Shelf, Vault};
use std::sync::Arc;
use strongroom_record::{
    Coding, CodingNumber, InstitutionId, LogId, Placement, PlacementState, SegmentId, SegmentKind,
    ShelfId, Time,
};
use strongroom_shard::{Code, Sealer, SealingPublic, Spec, Tree};
use strongroom_spool::{Key, Location};

/// What a segment is to be.
#[derive(Clone, Debug)]
pub struct PutSpec {
    /// Its id, registered as `writing` before the first byte is put.
    pub segment: SegmentId,
    /// What it holds.
    pub kind: SegmentKind,
    /// Whose it is.
    pub institution: InstitutionId,
    /// The generation of the key that it is sealed to.
    pub generation: u32,
    /// The public half of that key.
    pub seal_to: SealingPublic,
    /// How it is spread; a small one by [`Coding::small`].
    pub coding: Coding,
    /// Its coding number.
    pub number: CodingNumber,
    /// Whether fewer shelves than the coding needs will do, to be repaired later.
    pub accept_degraded: bool,
}

/// A segment that is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Which.
    pub segment: SegmentId,
    /// Bytes of plaintext.
    pub bytes: u64,
    /// How it was spread in the end.
    pub coding: Coding,
    /// Which coding this is.
    pub number: CodingNumber,
    /// Where its shards stand; those on missing shelves have no frames.
    pub placements: Vec<Placement>,
}

/// A segment being stored. Dropping it gives the segment up: what was written stays on the shelves
/// until it is reclaimed, and nothing refers to it.
pub struct Put {
    vault: Vault,
    spec: PutSpec,
    /// Plaintext held until it is known whether the segment is a small one.
    small: Vec<u8>,
    open: Option<Open>,
    bytes: u64,
}

struct Open {
    coding: Coding,
    sealer: Sealer,
    lanes: Vec<Vec<u8>>,
    spread: Spread,
    /// Whether a stripe was already decoded from parity and compared.
    proven: bool,
}

impl Vault {
    /// Begins to store a segment.
    pub fn put(&self, spec: PutSpec) -> Put {
        Put { vault: self.clone(), spec, small: Vec::new(), open: None, bytes: 0 }
    }
}

impl Put {
    /// Its id.
    pub fn segment(&self) -> SegmentId {
        self.spec.segment
    }

    /// Bytes of plaintext so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// More plaintext. Fails for good where sealing or a shelf fails.
    pub fn push(&mut self, plaintext: &[u8]) -> Result<(), Error> {
        self.bytes += plaintext.len() as u64;
        if let Some(open) = &mut self.open {
            return open.push(self.spec.segment, plaintext);
        }
        self.small.extend_from_slice(plaintext);
        if self.small.len() as u64 >= strongroom_shard::SMALL_BYTES {
            let held = std::mem::take(&mut self.small);
            let (segment, coding) = (self.spec.segment, self.spec.coding);
            self.begin(coding)?.push(segment, &held)?;
        }
        Ok(())
    }

    /// Ends the segment: its last bytes and trailers are written, every shelf syncs, and answers
    /// with the hash of what it received. Only then is it stored. `now` is noted as the time of the
    /// check.
    pub fn finish(mut self, writer: &strongroom_shard::Writer, now: Time) -> Result<Stored, Error> {
        let segment = self.spec.segment;
        let shard = |source| Error::Shard { segment, source };
        if self.open.is_none() {
            let held = std::mem::take(&mut self.small);
            self.begin(self.spec.coding.small())?.push(segment, &held)?;
        }
        let Open { coding, sealer, mut lanes, mut spread, proven } =
            self.open.take().expect("begun just above, or before");
        let begun: Vec<usize> = lanes.iter().map(Vec::len).collect();
        let sealed = sealer.finish(writer, &mut lanes).map_err(shard)?;
        if !proven {
            prove_stripe(segment, coding, &lanes, &begun)?;
        }
        spread.write(&mut lanes)?;
        spread.finish(&sealed.trailers, &sealed.roots)?;
        let placements = spread.placements(now);
        Ok(Stored { segment, bytes: self.bytes, coding, number: self.spec.number, placements })
    }

    fn begin(&mut self, coding: Coding) -> Result<&mut Open, Error> {
        let spec = &self.spec;
        let chosen = self.vault.choose(spec.segment, coding, spec.accept_degraded)?;
        let shard = Spec {
            kind: shard_kind(spec.kind),
            institution: spec.institution.0,
            generation: spec.generation,
            segment: spec.segment.0,
            coding: shard_number(spec.number),
            k: coding.k(),
            n: coding.n(),
        };
        let sealer = Sealer::new(shard, &spec.seal_to, &mut self.vault.options.random.clone())
            .map_err(|source| Error::Shard { segment: spec.segment, source })?;
        let shards = (chosen.into_iter().zip(0..))
            .map(|(shelf, index)| NewShard { index, header: sealer.header(index), shelf })
            .collect();
        let spread = Spread::begin(&self.vault, spec.segment, spec.number, shards)?;
        let lanes = vec![Vec::with_capacity(2 * FRAME_BYTES); sealer.lanes()];
        Ok(self.open.insert(Open { coding, sealer, lanes, spread, proven: false }))
    }
}

impl Open {
    fn push(&mut self, segment: SegmentId, plaintext: &[u8]) -> Result<(), Error> {
        // Lanes are emptied often enough that they stay small, whatever a caller pushes at once.
        for part in plaintext.chunks(FRAME_BYTES) {
            let begun: Vec<usize> = self.lanes.iter().map(Vec::len).collect();
            (self.sealer.push(part, &mut self.lanes))
                .map_err(|source| Error::Shard { segment, source })?;
            if !self.proven && self.lanes[0].len() > begun[0] {
                prove_stripe(segment, self.coding, &self.lanes, &begun)?;
                self.proven = true;
            }
            if self.lanes[0].len() >= FRAME_BYTES {
                self.spread.write(&mut self.lanes)?;
            }
        }
        Ok(())
    }
}

/// Decodes the first stripe at `begun` from the last k lanes and compares it with the first k: a
/// kernel that codes wrongly is found before anything counts as stored.
fn prove_stripe(
    segment: SegmentId,
    coding: Coding,
    lanes: &[Vec<u8>],
    begun: &[usize],
) -> Result<(), Error> {
    let (k, n) = (coding.k(), coding.n());
    if k == 1 {
        return Ok(());
    }
    let shard = |source| Error::Shard { segment, source };
    let len = (lanes[0].len() - begun[0]).min(strongroom_shard::BLOCK);
    let block = |i: u8| &lanes[usize::from(i)][begun[usize::from(i)]..][..len];
    let have: Vec<(u8, &[u8])> = (n - k..n).map(|i| (i, block(i))).collect();
    let want: Vec<u8> = (0..k.min(n - k)).collect();
    let mut made = vec![vec![0; len]; want.len()];
    let mut out: Vec<&mut [u8]> = made.iter_mut().map(Vec::as_mut_slice).collect();
    Code::new(k, n).and_then(|code| code.reconstruct(&have, &want, &mut out)).map_err(shard)?;
    match want.iter().zip(&made).all(|(i, made)| made.as_slice() == block(*i)) {
        true => Ok(()),
        false => Err(Error::Coding { segment }),
    }
}

/// Shards of one segment on their way to their shelves.
pub(crate) struct Spread {
    targets: Vec<Target>,
    segment: SegmentId,
    number: CodingNumber,
}

/// A shard that is to be written.
pub(crate) struct NewShard {
    pub(crate) index: u8,
    pub(crate) header: Vec<u8>,
    /// `Err` where the shelf is missing.
    pub(crate) shelf: Result<Arc<Shelf>, ShelfId>,
}

struct Target {
    shard: NewShard,
    writer: Option<strongroom_spool::Writer>,
    key: Key,
    frames: Vec<Location>,
    written: u64,
    /// The hash that the shelf computes of the blocks it receives.
    received: Tree,
}

impl Spread {
    pub(crate) fn begin(
        vault: &Vault,
        segment: SegmentId,
        number: CodingNumber,
        shards: Vec<NewShard>,
    ) -> Result<Spread, Error> {
        let options = &vault.options;
        let target = |shard: NewShard| {
            let writer = match &shard.shelf {
                Ok(shelf) => Some(shelf.writer(options.epoch, options.token, options.random)?),
                Err(_) => None,
            };
            let key = frame_key(segment, number, shard.index);
            Ok(Target { shard, writer, key, frames: vec![], written: 0, received: Tree::new() })
        };
        let targets = shards.into_iter().map(target).collect::<Result<_, Error>>()?;
        Ok(Spread { targets, segment, number })
    }

    /// Writes what the lanes hold (one lane: the same to all), and empties them.
    pub(crate) fn write(&mut self, lanes: &mut [Vec<u8>]) -> Result<(), Error> {
        for (i, target) in self.targets.iter_mut().enumerate() {
            let lane = &lanes[if lanes.len() == 1 { 0 } else { i }];
            if lane.is_empty() {
                continue;
            }
            target.received.push(lane);
            target.append(lane)?;
        }
        lanes.iter_mut().for_each(Vec::clear);
        Ok(())
    }

    /// Writes the trailers (one: the same to all), syncs every shelf, and compares the hash that
    /// each computed with `roots`.
    pub(crate) fn finish(&mut self, trailers: &[Vec<u8>], roots: &[[u8; 32]]) -> Result<(), Error> {
        for (i, target) in self.targets.iter_mut().enumerate() {
            let trailer = &trailers[if trailers.len() == 1 { 0 } else { i }];
            target.append(trailer)?;
        }
        let synced: Vec<Result<(), Error>> = std::thread::scope(|scope| {
            let sync = |target: &Target| match &target.writer {
                Some(writer) if !planted(writer) => {
                    writer.sync().map_err(|source| target.failed(source))
                }
                _ => Ok(()),
            };
            let running: Vec<_> =
                self.targets.iter().map(|target| scope.spawn(move || sync(target))).collect();
            running.into_iter().map(|t| t.join().expect("a sync does not panic")).collect()
        });
        synced.into_iter().collect::<Result<(), Error>>()?;
        for (i, target) in self.targets.iter_mut().enumerate() {
            let root = roots[if roots.len() == 1 { 0 } else { i }];
            if let Ok(shelf) = &target.shard.shelf
                && std::mem::take(&mut target.received).finish().1 != root
            {
                let shelf = shelf.spec.name.clone();
                return Err(Error::Mismatch { shelf, segment: self.segment });
            }
        }
        Ok(())
    }

    /// Where the shards now stand.
    pub(crate) fn placements(&self, now: Time) -> Vec<Placement> {
        let placement = |target: &Target| {
            let (shelf, state) = match &target.shard.shelf {
                Ok(shelf) => (shelf.spec.id, PlacementState::Good),
                Err(id) => (*id, PlacementState::Missing),
            };
            Placement {
                segment: self.segment,
                coding: self.number,
                index: target.shard.index,
                shelf,
                log: LogId(target.frames.first().map_or([0; 16], |f| f.log.0)),
                frames: encode_frames(&target.frames),
                bytes: target.written,
                state,
                checked: now,
            }
        };
        self.targets.iter().map(placement).collect()
    }
}

/// Whether the power campaign asked for a bug that it must find: a sync that is left out, or one that
/// nobody waits for, so that the registry's commit comes first.
fn planted(_writer: &strongroom_spool::Writer) -> bool {
    fail::fail_point!("planted.missing-sync", |_| true);
    fail::fail_point!("planted.early-commit", |_| {
        let writer = _writer.clone();
        std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(5));
            let _ = writer.sync();
        });
        true
    });
    false
}

impl Target {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Some(writer) = &self.writer else { return Ok(()) };
        let header = if self.written == 0 { self.shard.header.as_slice() } else { &[] };
        let frame = (writer.append(&self.key, self.written, &[header, bytes]))
            .map_err(|source| self.failed(source))?;
        self.written += u64::from(frame.len);
        self.frames.push(frame);
        Ok(())
    }

    fn failed(&self, source: strongroom_spool::Error) -> Error {
        let shelf = self.shard.shelf.as_ref().map_or(String::new(), |s| s.spec.name.clone());
        Error::Spool { shelf, source }
    }
}

pub(crate) fn shard_kind(kind: SegmentKind) -> strongroom_shard::Kind {
    match kind {
        SegmentKind::Data => strongroom_shard::Kind::Data,
        SegmentKind::Record => strongroom_shard::Kind::Record,
        SegmentKind::Journal => strongroom_shard::Kind::Journal,
        SegmentKind::Keyring => strongroom_shard::Kind::Keyring,
    }
}

pub(crate) fn shard_number(number: CodingNumber) -> strongroom_shard::CodingNumber {
    strongroom_shard::CodingNumber { epoch: number.epoch, number: number.number }
}
