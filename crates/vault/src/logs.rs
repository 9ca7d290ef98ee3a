//! What a shelf's logs hold, as shards; copying shards out of them, and removing logs.
//!
//! Which shards are wanted is the caller's to say: the vault keeps no table. It says what is there, and
//! which logs nobody writes to any more.

use crate::spread::{NewShard, Spread};
use crate::store::{ShardFile, decode_frames, shard_of_key};
use crate::{Error, Shelf, Vault, Verdict};
use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use strongroom_record::{CodingNumber, LogId, Placement, PlacementState, SegmentId, ShelfId, Time};
use strongroom_spool::{Location, ScanOptions};

/// A log of a shelf.
#[derive(Clone, Debug)]
pub struct Log {
    /// Its id.
    pub id: LogId,
    /// Its file's name.
    pub name: String,
    /// The archive's epoch when it was begun.
    pub epoch: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// Whether a process appends to it.
    pub in_use: bool,
    /// Whether this process does.
    pub own: bool,
    /// Whether the process that wrote it still lives: it may have stored in it what it has not committed.
    pub writer_lives: bool,
}

/// What a log holds of one shard.
#[derive(Clone, Debug)]
pub struct Part {
    /// The segment.
    pub segment: SegmentId,
    /// Which coding of it.
    pub coding: CodingNumber,
    /// Which shard.
    pub index: u8,
    /// Bytes of the shard in this log.
    pub bytes: u64,
    frames: BTreeSet<Location>,
}

impl Part {
    /// How many bytes of this belong to a shard whose frames lie so; 0 where it is another shard.
    pub fn bytes_of(
        &self,
        segment: SegmentId,
        coding: CodingNumber,
        index: u8,
        frames: &[u8],
    ) -> u64 {
        if (segment, coding, index) != (self.segment, self.coding, self.index) {
            return 0;
        }
        let frames = decode_frames(frames).unwrap_or_default();
        (frames.iter().filter(|frame| self.frames.contains(frame)))
            .map(|frame| u64::from(frame.len))
            .sum()
    }
}

/// What was found in a log.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Shards of which it has frames.
    pub parts: Vec<Part>,
    /// Frames under keys that are no shard's: a later version's, perhaps.
    pub foreign: u64,
    /// Regions that could not be used, torn ends too.
    pub damaged: u64,
    /// Whether all of it could be looked at.
    pub readable: bool,
}

/// The right to remove logs of a shelf: one process at a time has it. Released when dropped.
#[derive(Debug)]
pub struct Clearing {
    shelf: Arc<Shelf>,
    _lock: Arc<dyn strongroom_spool::DiskFile>,
}

/// The logs that a placement or leftover has frames in; `None` where its note is damaged.
pub fn logs_of(frames: &[u8]) -> Option<BTreeSet<LogId>> {
    Some(decode_frames(frames)?.iter().map(|frame| LogId(frame.log.0)).collect())
}

/// Bytes of a shard in logs that are not among these; `None` where its note is damaged.
pub fn bytes_outside(frames: &[u8], logs: &BTreeSet<LogId>) -> Option<u64> {
    let frames = decode_frames(frames)?;
    let outside = frames.iter().filter(|frame| !logs.contains(&LogId(frame.log.0)));
    Some(outside.map(|frame| u64::from(frame.len)).sum())
}

impl Vault {
    /// The logs of a shelf that is there, in the order in which each writer wrote them.
    pub fn logs(&self, shelf: ShelfId) -> Result<Vec<Log>, Error> {
        let shelf = self.present(shelf)?;
        let spool = |source| Error::Spool { shelf: shelf.spec.name.clone(), source };
        let logs = shelf.spool.logs().map_err(spool)?;
        // A writer begins its next log before it lets go of a full one, so the one in use is in the
        // second list where the first came too early to have it.
        let again = shelf.spool.logs().map_err(spool)?;
        let writer = |log: &strongroom_spool::LogInfo| (log.epoch, log.token);
        let known: BTreeSet<_> = logs.iter().map(|log| log.id).collect();
        let living: BTreeSet<_> = (logs.iter().chain(&again))
            .filter(|log| log.in_use || !known.contains(&log.id))
            .map(writer)
            .collect();
        shelf.check_identity()?;
        let log = |log: strongroom_spool::LogInfo| Log {
            id: LogId(log.id.0),
            epoch: log.epoch,
            bytes: log.bytes,
            in_use: log.in_use,
            own: log.in_use && log.token == self.options.token,
            writer_lives: living.contains(&writer(&log)),
            name: log.name,
        };
        Ok(logs.into_iter().map(log).collect())
    }

    /// Lets go of the log that this process appends to on a shelf, so that it can be removed.
    pub fn next_log(&self, shelf: ShelfId) -> Result<(), Error> {
        self.present(shelf)?.next_log()
    }

    /// What a log holds. Only the heads of frames are read.
    pub fn contents(&self, shelf: ShelfId, log: LogId) -> Result<Contents, Error> {
        let shelf = self.present(shelf)?;
        let options =
            ScanOptions { verify_payload: false, log: Some(strongroom_spool::LogId(log.0)) };
        let mut parts: HashMap<[u8; 40], BTreeSet<Location>> = HashMap::new();
        let mut order = Vec::new();
        let report = (shelf.spool).scan(options, &mut |found| {
            let frames = parts.entry(found.key).or_insert_with(|| {
                order.push(found.key);
                BTreeSet::new()
            });
            frames.insert(found.location);
            ControlFlow::Continue(())
        });
        let report =
            report.map_err(|source| Error::Spool { shelf: shelf.spec.name.clone(), source })?;
        let mut contents = Contents {
            damaged: (report.damaged.len() + report.torn.len()) as u64,
            readable: report.unreadable.is_empty() && report.not_listed == 0,
            ..Contents::default()
        };
        for key in order {
            let frames = parts.remove(&key).unwrap_or_default();
            let Some((segment, coding, index)) = shard_of_key(&key) else {
                contents.foreign += frames.len() as u64;
                continue;
            };
            let bytes = frames.iter().map(|frame| u64::from(frame.len)).sum();
            contents.parts.push(Part { segment, coding, index, bytes, frames });
        }
        Ok(contents)
    }

    /// Whether each frame of a placement stands where it says; the payloads are not read.
    pub fn stands(&self, placement: &Placement) -> bool {
        self.shard_file(placement).is_ok_and(|file| file.heads_stand())
    }

    /// Takes the right to remove logs of a shelf; `None` while another process has it.
    pub fn clearing(&self, shelf: ShelfId) -> Result<Option<Clearing>, Error> {
        let shelf = self.present(shelf)?.clone();
        let lock = shelf.clearing_lock()?;
        Ok(lock.map(|lock| Clearing { shelf, _lock: lock }))
    }

    /// Copies good shards to a shelf each (their own or another), durably, and verifies every byte of
    /// each copy. What could not be copied, because it is not what was signed or not there, is given back
    /// with the reason. `tell` hears of bytes as they are read. Nothing is overwritten, and nothing
    /// commits: the copies count once the registry says so.
    pub fn copy(
        &self,
        shards: &[(Placement, ShelfId)],
        now: Time,
        tell: &mut dyn FnMut(u64),
    ) -> Result<Copied, Error> {
        let mut copied = Copied::default();
        let mut spreads = Vec::new();
        for (placement, to) in shards {
            let shelf = self.present(*to)?.clone();
            match self.copy_one(placement, shelf, tell)? {
                Ok(spread) => spreads.push((placement, spread)),
                Err(why) => copied.bad.push((placement.clone(), why)),
            }
        }
        // One sync for all that went to a shelf: the first does it, the others find nothing to do.
        for (placement, mut spread) in spreads {
            spread.sync()?;
            let made = spread.placements(now).pop();
            let made = made.ok_or(Error::Coding { segment: placement.segment })?;
            let made = Placement { checked: now, state: PlacementState::Good, ..made };
            match self.check(&made, tell).verdict {
                Verdict::Good => copied.made.push((placement.clone(), made)),
                Verdict::Damaged(why) | Verdict::Missing(why) => {
                    copied.bad.push((placement.clone(), why));
                }
            }
        }
        Ok(copied)
    }

    fn copy_one(
        &self,
        placement: &Placement,
        to: Arc<Shelf>,
        tell: &mut dyn FnMut(u64),
    ) -> Result<Result<Spread, String>, Error> {
        let file = match self.shard_file(placement) {
            Ok(file) => file,
            Err(why) => return Ok(Err(why)),
        };
        let shard = NewShard { index: placement.index, header: Vec::new(), shelf: Ok(to) };
        let mut spread = Spread::begin(self, placement.segment, placement.coding, 1, vec![shard])?;
        for frame in 0..file.frames() {
            let mut payload = match file.payload(frame) {
                Ok(payload) => payload,
                Err(why) => return Ok(Err(why)),
            };
            tell(payload.len() as u64);
            spread.write(std::slice::from_mut(&mut payload))?;
        }
        Ok(Ok(spread))
    }

    pub(crate) fn present(&self, id: ShelfId) -> Result<&Arc<Shelf>, Error> {
        self.shelf(id).ok_or_else(|| {
            let missing = self.missing().iter().find(|m| m.spec.id == id);
            Error::ShelfGone {
                shelf: missing.map_or_else(|| format!("{id:?}"), |m| m.spec.name.clone()),
                why: missing.map_or_else(|| "it is not known".into(), |m| m.why.clone()),
            }
        })
    }
}

/// What [`Vault::copy`] did.
#[derive(Clone, Debug, Default)]
pub struct Copied {
    /// Each shard as it stood, and its copy.
    pub made: Vec<(Placement, Placement)>,
    /// Shards that were not copied, and why.
    pub bad: Vec<(Placement, String)>,
}

impl Clearing {
    /// Removes a log, durably. `false` where a process has it open as its own.
    pub fn remove(&self, log: LogId) -> Result<bool, Error> {
        match self.shelf.spool.remove_log(&strongroom_spool::LogId(log.0)) {
            Ok(()) => Ok(true),
            Err(strongroom_spool::Error::InUse { .. }) => Ok(false),
            // Somebody was faster; the folder is synced all the same, for what follows relies on it.
            Err(strongroom_spool::Error::NoSuchLog { .. }) => self.shelf.sync_logs().map(|()| true),
            Err(source) => Err(Error::Spool { shelf: self.shelf.spec.name.clone(), source }),
        }
    }

    /// The logs that stand on the shelf now. Durable: what is not among them does not come back after a
    /// power cut.
    pub fn standing(&self) -> Result<BTreeSet<LogId>, Error> {
        self.shelf.sync_logs()?;
        let logs = self.shelf.spool.log_ids();
        let logs =
            logs.map_err(|source| Error::Spool { shelf: self.shelf.spec.name.clone(), source })?;
        // An unmounted disk is an empty folder, in which nothing is gone.
        self.shelf.check_identity()?;
        Ok(logs.iter().map(|log| LogId(log.0)).collect())
    }
}

impl ShardFile {
    fn heads_stand(&self) -> bool {
        (0..self.frames()).all(|frame| self.head_stands(frame))
    }
}
