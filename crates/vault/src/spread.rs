//! Shards of one segment on their way to their shelves, a thread for each.
//!
//! A write that goes around the system's memory lasts as long as the disk does, and costs no time of a
//! core; so whoever seals goes on meanwhile, and the shelves write side by side.

use crate::put::PUSHED_BYTES;
use crate::store::{FRAME_BYTES, encode_frames, frame_key};
use crate::{Error, Shelf, Vault};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use strongroom_record::{CodingNumber, LogId, Placement, PlacementState, SegmentId, ShelfId, Time};
use strongroom_shard::Tree;
use strongroom_spool::{Key, Location, Writer};

/// Pieces that wait for a shelf at most, besides the one that it writes: of a lane that all shelves
/// share. Of several lanes none waits, for each is another piece.
const PIECES_WAITING_MAX: usize = 2;

/// Pieces of memory that are kept for use again: of one segment at 10+4 that fills and one that ends.
const PIECES_KEPT_MAX: usize = 32;

/// What a lane grows to before it is written, at most, in bytes: it had not enough for a frame, and took
/// what was pushed next and what waited to fill a stripe.
const PIECE_BYTES: usize = FRAME_BYTES + 2 * PUSHED_BYTES;

/// Memory that shelves are done with: fresh memory is dear.
#[derive(Debug, Default)]
pub(crate) struct Pieces(Mutex<Vec<Vec<u8>>>);

impl Pieces {
    /// Empty, with room for what a lane takes.
    pub(crate) fn take(&self) -> Vec<u8> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| Vec::with_capacity(PIECE_BYTES))
    }

    pub(crate) fn give(&self, mut bytes: Vec<u8>) {
        bytes.clear();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes.capacity() == PIECE_BYTES && kept.len() < PIECES_KEPT_MAX {
            kept.push(bytes);
        }
    }
}

/// Dropped before it is finished, it waits for what is being written, and nothing is synced.
pub(crate) struct Spread {
    targets: Vec<Target>,
    segment: SegmentId,
    number: CodingNumber,
    memory: Arc<Pieces>,
}

/// A shard that is to be written.
pub(crate) struct NewShard {
    pub(crate) index: u8,
    pub(crate) header: Vec<u8>,
    /// `Err` where the shelf is missing.
    pub(crate) shelf: Result<Arc<Shelf>, ShelfId>,
}

struct Target {
    index: u8,
    shelf: Result<Arc<Shelf>, ShelfId>,
    /// `None` where the shelf is missing, or its writing has ended.
    lane: Option<SyncSender<Order>>,
    running: Option<JoinHandle<Result<Written, strongroom_spool::Error>>>,
    written: Written,
}

enum Order {
    Write(Arc<Piece>),
    /// Make it durable, and end. A lane that ends without was given up.
    Sync,
}

/// Bytes that one shelf or several write.
struct Piece {
    bytes: Vec<u8>,
    /// Blocks are hashed, trailers are not.
    blocks: bool,
    memory: Arc<Pieces>,
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.memory.give(std::mem::take(&mut self.bytes));
    }
}

/// What came of a shard.
#[derive(Default)]
struct Written {
    frames: Vec<Location>,
    bytes: u64,
    /// The hash that was computed of the blocks as the shelf received them.
    root: Option<[u8; 32]>,
}

impl Spread {
    /// `lanes` is 1 where all shards have the same bytes.
    pub(crate) fn begin(
        vault: &Vault,
        segment: SegmentId,
        number: CodingNumber,
        lanes: usize,
        shards: Vec<NewShard>,
    ) -> Result<Spread, Error> {
        let options = &vault.options;
        let waiting = if lanes == 1 { PIECES_WAITING_MAX } else { 0 };
        // Shelves that are handed the very same memory would each compute the same hash of it: one
        // does for all.
        let mut hashes = true;
        let mut target = |NewShard { index, header, shelf }: NewShard| {
            let (mut lane, mut running) = (None, None);
            if let Ok(shelf) = &shelf {
                let writer = shelf.writer(options.epoch, options.token, options.random)?;
                let key = frame_key(segment, number, index);
                let tree = hashes.then(Tree::new);
                hashes = lanes > 1;
                let (orders, receiver) = sync_channel(waiting);
                running = Some(std::thread::spawn(move || {
                    write_shard(&writer, &key, &header, receiver, tree)
                }));
                lane = Some(orders);
            }
            Ok(Target { index, shelf, lane, running, written: Written::default() })
        };
        let targets = shards.into_iter().map(&mut target).collect::<Result<_, Error>>()?;
        Ok(Spread { targets, segment, number, memory: vault.memory.clone() })
    }

    /// Writes what the lanes hold (one lane: the same to all), and empties them. What fails is told by
    /// a later call.
    pub(crate) fn write(&mut self, lanes: &mut [Vec<u8>]) -> Result<(), Error> {
        let (count, mut piece) = (lanes.len(), None);
        for i in 0..self.targets.len() {
            if count > 1 || piece.is_none() {
                piece = self.piece(&mut lanes[if count == 1 { 0 } else { i }]);
            }
            if let Some(piece) = &piece {
                self.targets[i].order(Order::Write(piece.clone()))?;
            }
        }
        Ok(())
    }

    /// Takes what a lane holds, and leaves it memory that was used before.
    fn piece(&self, lane: &mut Vec<u8>) -> Option<Arc<Piece>> {
        if lane.is_empty() {
            return None;
        }
        let bytes = std::mem::replace(lane, self.memory.take());
        Some(Arc::new(Piece { bytes, blocks: true, memory: self.memory.clone() }))
    }

    /// Writes the trailers (one: the same to all), syncs every shelf, and compares the hash that
    /// each computed with `roots`.
    pub(crate) fn finish(&mut self, trailers: &[Vec<u8>], roots: &[[u8; 32]]) -> Result<(), Error> {
        for (i, target) in self.targets.iter_mut().enumerate() {
            let bytes = trailers[if trailers.len() == 1 { 0 } else { i }].clone();
            let piece = Piece { bytes, blocks: false, memory: self.memory.clone() };
            target.order(Order::Write(Arc::new(piece)))?;
        }
        self.sync()?;
        for (i, target) in self.targets.iter().enumerate() {
            let root = roots[if roots.len() == 1 { 0 } else { i }];
            if let Ok(shelf) = &target.shelf
                && target.written.root.is_some_and(|received| received != root)
            {
                let shelf = shelf.spec.name.clone();
                return Err(Error::Mismatch { shelf, segment: self.segment });
            }
        }
        Ok(())
    }

    /// Returns when what was written is durable on every shelf; no more can be written.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        self.targets.iter_mut().try_for_each(|target| target.order(Order::Sync))?;
        self.targets.iter_mut().try_for_each(Target::end)
    }

    /// Where the shards now stand.
    pub(crate) fn placements(&self, now: Time) -> Vec<Placement> {
        let placement = |target: &Target| {
            let (shelf, state) = match &target.shelf {
                Ok(shelf) => (shelf.spec.id, PlacementState::Good),
                Err(id) => (*id, PlacementState::Missing),
            };
            let frames = &target.written.frames;
            Placement {
                segment: self.segment,
                coding: self.number,
                index: target.index,
                shelf,
                log: LogId(frames.first().map_or([0; 16], |f| f.log.0)),
                frames: encode_frames(frames),
                bytes: target.written.bytes,
                state,
                checked: now,
            }
        };
        self.targets.iter().map(placement).collect()
    }
}

impl Target {
    /// Gives the shelf's thread an order; where it is gone, says why.
    fn order(&mut self, order: Order) -> Result<(), Error> {
        match &self.lane {
            Some(lane) if lane.send(order).is_err() => {
                self.end()?;
                let what = std::io::Error::other("its writing ended before its end");
                let path = self.shelf.as_ref().map_or_else(|_| "".into(), |s| s.spec.path.clone());
                Err(Error::Shelf { path, source: what })
            }
            _ => Ok(()),
        }
    }

    /// Waits for the thread, and takes what it wrote.
    fn end(&mut self) -> Result<(), Error> {
        self.lane = None;
        let (Some(running), Ok(shelf)) = (self.running.take(), &self.shelf) else { return Ok(()) };
        let failed = |source| Error::Spool { shelf: shelf.spec.name.clone(), source };
        self.written = running.join().expect("writing a shard does not panic").map_err(failed)?;
        shelf.add_used(self.written.bytes);
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // Given up: what failed or was written is of no interest any more.
        let _ = self.end();
    }
}

/// Whether the power campaign asked for a bug that it must find: a sync that is left out, or one that
/// nobody waits for, so that the registry's commit comes first.
fn planted(_writer: &Writer) -> bool {
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

/// A shelf's thread: appends what comes as frames of the log, and syncs when told to.
fn write_shard(
    writer: &Writer,
    key: &Key,
    header: &[u8],
    orders: Receiver<Order>,
    mut tree: Option<Tree>,
) -> Result<Written, strongroom_spool::Error> {
    let mut written = Written::default();
    for order in orders {
        let piece = match order {
            Order::Write(piece) => piece,
            Order::Sync => {
                if !planted(writer) {
                    writer.sync()?;
                }
                written.root = tree.map(|tree| tree.finish().1);
                return Ok(written);
            }
        };
        let header = if written.bytes == 0 { header } else { &[] };
        if let Some(tree) = tree.as_mut().filter(|_| piece.blocks) {
            tree.push(&piece.bytes);
        }
        let frame = writer.append(key, written.bytes, &[header, &piece.bytes])?;
        written.bytes += u64::from(frame.len);
        written.frames.push(frame);
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ShardFile;
    use crate::{Identity, Options, ShelfSpec};
    use std::path::PathBuf;
    use strongroom_record::{ArchiveId, EpochId};
    use strongroom_spool::Disk;
    use strongroom_spool::testing::{Faults, MemDisk};

    const SEGMENT: SegmentId = SegmentId([7; 16]);
    const NUMBER: CodingNumber = CodingNumber { epoch: 1, number: 3 };

    /// A vault of three shelves in memory.
    fn vault(disk: &MemDisk) -> Vault {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let archive = ArchiveId([1; 16]);
        let specs: Vec<ShelfSpec> = (b'a'..=b'c')
            .map(|name| ShelfSpec {
                id: ShelfId([name; 16]),
                name: char::from(name).into(),
                path: PathBuf::from(format!("/{}", char::from(name))),
                domain: "here".into(),
                capacity_bytes: None,
                read_only: false,
            })
            .collect();
        for spec in &specs {
            let identity = Identity::new(spec.id, archive, 1, EpochId([1; 16]));
            Vault::create_shelf(&disk, &spec.path, &identity).unwrap();
        }
        let random = |bytes: &mut [u8]| getrandom::fill(bytes).unwrap();
        let vault =
            Vault::open(disk, &specs, Options { archive, epoch: 1, token: [2; 16], random });
        assert_eq!(vault.shelves().len(), 3);
        vault
    }

    fn spread(vault: &Vault, lanes: usize) -> Spread {
        let shards = (vault.shelves().iter().zip(0u8..))
            .map(|(shelf, index)| NewShard {
                index,
                header: format!("header {index}.").into(),
                shelf: Ok(shelf.clone()),
            })
            .collect();
        Spread::begin(vault, SEGMENT, NUMBER, lanes, shards).unwrap()
    }

    /// What each of `lanes` lanes is given, piece by piece.
    fn pieces(lanes: usize) -> Vec<Vec<Vec<u8>>> {
        (0..5u8)
            .map(|piece| (0..lanes as u8).map(|l| vec![16 * piece + l; 300_000]).collect())
            .collect()
    }

    fn written(vault: &Vault, lanes: usize) -> Result<Vec<Placement>, Error> {
        let mut spread = spread(vault, lanes);
        let (mut whole, mut roots, mut trailers) = (vec![Vec::new(); lanes], vec![], vec![]);
        for mut piece in pieces(lanes) {
            whole.iter_mut().zip(&piece).for_each(|(all, now)| all.extend_from_slice(now));
            spread.write(&mut piece)?;
            assert!(piece.iter().all(Vec::is_empty));
        }
        for (lane, bytes) in whole.iter().enumerate() {
            roots.push(*blake3::hash(bytes).as_bytes());
            trailers.push(format!(" trailer {lane}").into_bytes());
        }
        spread.finish(&trailers, &roots)?;
        let placements = spread.placements(Time(5));
        for (i, placement) in placements.iter().enumerate() {
            let lane = if lanes == 1 { 0 } else { i };
            let expected =
                [format!("header {i}.").as_bytes(), &whole[lane], &trailers[lane]].concat();
            let shelf = vault.shelves()[i].clone();
            let file = ShardFile::new(shelf, placement).unwrap();
            assert_eq!(file.bytes(), expected.len() as u64);
            assert!(file.read(0, expected.len()).unwrap() == expected, "shard {i}");
        }
        Ok(placements)
    }

    #[test]
    fn each_shelf_has_its_shard_whether_lanes_are_shared_or_not() {
        let vault = vault(&MemDisk::default());
        for lanes in [1, 3] {
            assert_eq!(written(&vault, lanes).unwrap().len(), 3);
        }
    }

    #[test]
    fn a_hash_that_differs_is_told_with_the_shelf() {
        let vault = vault(&MemDisk::default());
        for (lanes, wrong) in [(1, 0), (3, 0), (3, 2)] {
            let mut spread = spread(&vault, lanes);
            let mut piece = vec![b"blocks".to_vec(); lanes];
            spread.write(&mut piece).unwrap();
            let mut roots = vec![*blake3::hash(b"blocks").as_bytes(); lanes];
            roots[wrong][5] ^= 1;
            let told = spread.finish(&vec![b"end".to_vec(); lanes], &roots);
            let name = ["a", "b", "c"][wrong];
            assert!(
                matches!(&told, Err(Error::Mismatch { shelf, .. }) if shelf == name),
                "{told:?}"
            );
        }
    }

    #[test]
    fn what_fails_on_a_shelf_fails_the_segment_and_the_next_begins_another_log() {
        for lanes in [1, 3] {
            for fault in 0..12 {
                let disk = MemDisk::default();
                let vault = vault(&disk);
                let faults = match fault {
                    0..3 => Faults { syncs_left: Some(fault), ..Faults::default() },
                    _ => Faults { writes_left: Some(fault), ..Faults::default() },
                };
                disk.set_faults(faults);
                let told = written(&vault, lanes);
                assert!(matches!(told, Err(Error::Spool { .. })), "{fault}: {told:?}");
                // When the disk is well again, nothing goes to the log of which nobody knows what was lost.
                let logs = |vault: &Vault| -> Vec<_> {
                    let of = |s: &Arc<Shelf>| s.spool.logs().unwrap().into_iter().map(|l| l.id);
                    vault.shelves().iter().flat_map(of).collect()
                };
                let before = logs(&vault);
                disk.set_faults(Faults::default());
                let placements = written(&vault, lanes).unwrap();
                let begun = logs(&vault).into_iter().filter(|log| !before.contains(log)).count();
                assert!(begun > 0, "{fault}");
                assert!(placements.iter().all(|p| p.state == PlacementState::Good), "{fault}");
            }
        }
    }

    #[test]
    fn what_is_given_up_is_not_synced() {
        let disk = MemDisk::default();
        let vault = vault(&disk);
        let before = disk.syncs();
        let mut spread = spread(&vault, 1);
        for mut piece in pieces(1) {
            spread.write(&mut piece).unwrap();
        }
        drop(spread);
        assert_eq!(disk.syncs(), before);
    }
}
