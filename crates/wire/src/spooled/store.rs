//! What a node knows of spooled messages, kept in logs: those that it has to deliver, and marks of those that it has handled.
//!
//! Each record is a frame of the spool's. Its key is a node (32 bytes), a kind, and an epoch (7 bytes): that of the spool from which
//! the message comes, the time at which that was begun, in microseconds since 1970. Its position (`first`) is the message's number.
//!
//! | kind | node | payload | what it says |
//! |---|---|---|---|
//! | 1 | to | bytes of the name (1), the name, the message | this is to be delivered |
//! | 2 | to | – | it was: nobody need deliver it again |
//! | 3 | from | – | a handler begins with it |
//! | 4 | from | – | a handler was done with it |
//! | 5 | from | – | all below were handled |
//! | 6 | to | – | the number of the next message |
//!
//! All but the first only ever add to what is known, so it does not matter in which order they are read. When a log is full, what is
//! still true is said again in the next, and logs in which nothing waits to be delivered are removed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use strongroom_spool::{
    Disk, Error, KEY_BYTES, Key, Location, LogId, Options, ScanOptions, Spool, Writer,
};

use super::SpoolError;
use crate::NodeId;

/// How a store is bounded.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Bytes of messages that wait.
    pub(super) bytes: u64,
    /// Bytes of a log after which another is begun.
    pub(super) log_bytes: u64,
}
/// Epochs of one sender that are remembered: a spool that was lost, and begun anew, has another.
const EPOCHS_MAX: usize = 4;
/// Messages of one sender that may be handled beyond the first that it has not heard to be.
pub(super) const AHEAD_MAX: u64 = 1 << 16;
/// What waits in a log is moved to a new one if it is less than this part of it.
const MOVED_PART: u64 = 4;
/// An epoch has seven bytes.
const EPOCH_MAX: u64 = (1 << 56) - 1;

mod kind {
    pub(super) const MESSAGE: u8 = 1;
    pub(super) const SENT: u8 = 2;
    pub(super) const BEGUN: u8 = 3;
    pub(super) const HANDLED: u8 = 4;
    pub(super) const BELOW: u8 = 5;
    pub(super) const NEXT: u8 = 6;
}

/// What is kept in a folder. Everything here may block.
pub(super) struct Store {
    spool: Spool,
    writer: Writer,
    /// Of this spool.
    epoch: u64,
    bytes_max: u64,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    outgoing: BTreeMap<NodeId, Outgoing>,
    incoming: BTreeMap<NodeId, BTreeMap<u64, Handled>>,
    logs: HashMap<LogId, Log>,
    current: Option<LogId>,
}

#[derive(Default)]
struct Outgoing {
    next: u64,
    /// Durable, and not delivered.
    waiting: BTreeMap<u64, Location>,
    /// Not known to be durable yet.
    coming: BTreeMap<u64, Location>,
}

impl Outgoing {
    /// All below were delivered.
    fn below(&self) -> u64 {
        let first = |of: &BTreeMap<u64, Location>| of.first_key_value().map(|(first, _)| *first);
        first(&self.waiting).into_iter().chain(first(&self.coming)).min().unwrap_or(self.next)
    }
}

/// What was handled of one sender's messages.
#[derive(Default)]
struct Handled {
    below: u64,
    above: BTreeSet<u64>,
    begun: BTreeSet<u64>,
}

impl Handled {
    fn has(&self, number: u64) -> bool {
        number < self.below || self.above.contains(&number)
    }

    fn up_to(&mut self, below: u64) {
        self.below = self.below.max(below);
        while self.above.remove(&self.below) {
            self.below += 1;
        }
        self.above = self.above.split_off(&self.below);
        self.begun = self.begun.split_off(&self.below);
    }
}

/// Bytes of a log, and of those in it what waits to be delivered.
#[derive(Default)]
struct Log {
    bytes: u64,
    waiting: u64,
}

/// Whether a message is to be handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// It was.
    Handled,
    /// It is, and never was before.
    First,
    /// It is, and a handler had begun with it that was never done.
    Again,
}

fn key(node: &NodeId, kind: u8, epoch: u64) -> Key {
    let mut key = [0; KEY_BYTES];
    key[..32].copy_from_slice(&node.0);
    key[32] = kind;
    key[33..].copy_from_slice(&epoch.to_le_bytes()[..7]);
    key
}

fn unkey(key: &Key) -> (NodeId, u8, u64) {
    let mut node = [0; 32];
    node.copy_from_slice(&key[..32]);
    let mut epoch = [0; 8];
    epoch[..7].copy_from_slice(&key[33..]);
    (NodeId(node), key[32], u64::from_le_bytes(epoch))
}

impl Store {
    /// Opens a folder, which must exist, and reads what is in it. `now` is the time, in microseconds since 1970; `random`
    /// bytes name logs.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        bounds: Bounds,
        now: u64,
        random: impl Fn() -> [u8; 16] + Send + Sync + 'static,
    ) -> Result<Store, SpoolError> {
        let options =
            Options { log_bytes_max: bounds.log_bytes, frame_bytes_max: super::MESSAGE_BYTES_MAX };
        let spool = Spool::open(disk, dir, options)?;
        let in_use = |logs: Vec<strongroom_spool::LogInfo>| logs.into_iter().any(|log| log.in_use);
        if in_use(spool.logs()?) {
            return Err(SpoolError::InUse(dir.to_owned()));
        }
        let mut known = Known::default();
        let mut epoch = 0;
        let (mut sent, mut messages) = (Vec::new(), Vec::new());
        let report = spool.scan(ScanOptions { verify_payload: true, log: None }, &mut |found| {
            let (node, kind, of) = unkey(&found.key);
            let log = known.logs.entry(found.location.log).or_default();
            log.bytes += found.location.frame_bytes();
            let number = found.first;
            match kind {
                kind::MESSAGE | kind::NEXT => {
                    epoch = epoch.max(of);
                    let outgoing = known.outgoing.entry(node).or_default();
                    let after = if kind == kind::NEXT { number } else { number.saturating_add(1) };
                    outgoing.next = outgoing.next.max(after);
                    // What is not whole was never said to be kept; its number is not given to another.
                    if kind == kind::MESSAGE && found.payload_ok != Some(false) {
                        messages.push((node, number, found.location));
                    }
                }
                kind::SENT => sent.push((node, number)),
                kind::BEGUN | kind::HANDLED | kind::BELOW => {
                    let handled = known.handled(node, of);
                    match kind {
                        kind::BEGUN => drop(handled.begun.insert(number)),
                        kind::HANDLED => drop(handled.above.insert(number)),
                        _ => handled.up_to(number),
                    }
                }
                _ => {}
            }
            ControlFlow::Continue(())
        })?;
        for damage in report.damaged {
            tracing::warn!("a spool of messages is damaged: {damage:?}");
        }
        for unreadable in report.unreadable {
            tracing::warn!("a spool of messages cannot be read: {unreadable:?}");
        }
        for (node, number, at) in messages {
            known.outgoing.entry(node).or_default().waiting.insert(number, at);
        }
        for (node, number) in sent {
            known.outgoing.entry(node).or_default().waiting.remove(&number);
        }
        for handled in known.incoming.values_mut().flat_map(BTreeMap::values_mut) {
            handled.up_to(0);
        }
        for at in known.outgoing.values().flat_map(|outgoing| outgoing.waiting.values()) {
            known.logs.entry(at.log).or_default().waiting += at.frame_bytes();
        }
        let epoch = if epoch == 0 { now.clamp(1, EPOCH_MAX) } else { epoch };
        let new_id = Box::new(move || LogId(random()));
        let writer = spool.writer(now, new_id().0, new_id)?;
        let store =
            Store { spool, writer, epoch, bytes_max: bounds.bytes, known: Mutex::new(known) };
        store.tidy(&mut store.known())?;
        // Another process may have begun at the same time: each sees the other's log now.
        if store.spool.logs()?.into_iter().filter(|log| log.in_use).count() > 1 {
            return Err(SpoolError::InUse(dir.to_owned()));
        }
        Ok(store)
    }

    /// Of this spool.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Peers to whom something is to be delivered.
    pub(super) fn peers(&self) -> Vec<NodeId> {
        let known = self.known();
        let waiting = known.outgoing.iter().filter(|(_, outgoing)| !outgoing.waiting.is_empty());
        waiting.map(|(peer, _)| *peer).collect()
    }

    /// What waits for a peer: messages, and their bytes.
    pub(super) fn waiting(&self, to: &NodeId) -> (usize, u64) {
        let known = self.known();
        let Some(outgoing) = known.outgoing.get(to) else { return (0, 0) };
        let bytes = outgoing.waiting.values().map(|at| u64::from(at.len)).sum();
        (outgoing.waiting.len(), bytes)
    }

    /// Keeps a message until it is delivered; durable when this returns. Returns its number, which `known_as` hears before
    /// anybody can deliver it.
    pub(super) fn put(
        &self,
        to: &NodeId,
        name: &str,
        message: &[u8],
        known_as: impl FnOnce(u64),
    ) -> Result<u64, SpoolError> {
        let mut known = self.known();
        let waiting = known.logs.values().map(|log| log.waiting).sum::<u64>();
        if waiting > 0 && waiting.saturating_add(message.len() as u64) > self.bytes_max {
            return Err(SpoolError::Full { bytes: waiting, max: self.bytes_max });
        }
        let number = known.outgoing.get(to).map_or(0, |outgoing| outgoing.next);
        let name_bytes = u8::try_from(name.len()).unwrap_or(u8::MAX);
        let parts = [&[name_bytes], name.as_bytes(), message];
        let at = self.writer.append(&key(to, kind::MESSAGE, self.epoch), number, &parts)?;
        // From now on its log stays.
        known.logs.entry(at.log).or_default().waiting += at.frame_bytes();
        let outgoing = known.outgoing.entry(*to).or_default();
        outgoing.next = number + 1;
        outgoing.coming.insert(number, at);
        self.appended(&mut known, at)?;
        drop(known);
        self.writer.sync()?;
        known_as(number);
        let mut known = self.known();
        let outgoing = known.outgoing.entry(*to).or_default();
        outgoing.coming.remove(&number);
        outgoing.waiting.insert(number, at);
        Ok(number)
    }

    /// The first message from this number on that waits for a peer.
    pub(super) fn next(&self, to: &NodeId, from: u64) -> Option<u64> {
        let known = self.known();
        known.outgoing.get(to)?.waiting.range(from..).next().map(|(number, _)| *number)
    }

    /// Bytes of a message that waits.
    pub(super) fn length(&self, to: &NodeId, number: u64) -> Option<u32> {
        Some(self.known().outgoing.get(to)?.waiting.get(&number)?.len)
    }

    /// A message that waits: its name's length, name, and bytes; and the number below which all were delivered. `None` where it
    /// does not wait any more.
    pub(super) fn load(&self, to: &NodeId, number: u64) -> Result<Option<(Vec<u8>, u64)>, Error> {
        loop {
            let found = {
                let known = self.known();
                let outgoing = known.outgoing.get(to);
                outgoing.and_then(|o| Some((*o.waiting.get(&number)?, o.below())))
            };
            let Some((at, below)) = found else { return Ok(None) };
            match self.spool.read_frame(&at, &key(to, kind::MESSAGE, self.epoch)) {
                Ok(message) => return Ok(Some((message, below))),
                // It was moved meanwhile.
                Err(Error::NoSuchLog { .. }) if self.moved(to, number, &at) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn moved(&self, to: &NodeId, number: u64, at: &Location) -> bool {
        let known = self.known();
        known.outgoing.get(to).and_then(|o| o.waiting.get(&number)).is_some_and(|now| now != at)
    }

    /// A message was delivered. That is not durable at once: told again, the peer knows it.
    pub(super) fn sent(&self, to: &NodeId, number: u64) -> Result<(), Error> {
        let mut known = self.known();
        let Some(outgoing) = known.outgoing.get_mut(to) else { return Ok(()) };
        let Some(at) = outgoing.waiting.remove(&number) else { return Ok(()) };
        if let Some(log) = known.logs.get_mut(&at.log) {
            log.waiting = log.waiting.saturating_sub(at.frame_bytes());
        }
        let at = self.writer.append(&key(to, kind::SENT, self.epoch), number, &[])?;
        self.appended(&mut known, at)
    }

    /// Whether a message that came is to be handled; all of the sender's below `below` are known by it to be. If it is, that is
    /// durable.
    pub(super) fn begin(
        &self,
        from: &NodeId,
        epoch: u64,
        number: u64,
        below: u64,
    ) -> Result<Begin, SpoolError> {
        let epoch = epoch.min(EPOCH_MAX);
        let mut known = self.known();
        let handled = known.handled(*from, epoch);
        handled.up_to(below);
        if handled.has(number) {
            return Ok(Begin::Handled);
        }
        if number - handled.below >= AHEAD_MAX {
            return Err(SpoolError::TooFarAhead(number));
        }
        if handled.begun.contains(&number) {
            return Ok(Begin::Again);
        }
        let at = self.writer.append(&key(from, kind::BEGUN, epoch), number, &[])?;
        handled.begun.insert(number);
        self.appended(&mut known, at)?;
        drop(known);
        self.writer.sync()?;
        Ok(Begin::First)
    }

    /// A handler was done with a message; durable when this returns.
    pub(super) fn handled(&self, from: &NodeId, epoch: u64, number: u64) -> Result<(), Error> {
        let epoch = epoch.min(EPOCH_MAX);
        let mut known = self.known();
        let at = self.writer.append(&key(from, kind::HANDLED, epoch), number, &[])?;
        let handled = known.handled(*from, epoch);
        handled.above.insert(number);
        handled.begun.remove(&number);
        handled.up_to(0);
        self.appended(&mut known, at)?;
        drop(known);
        self.writer.sync()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a record; with the first of a log, what is in earlier ones is looked through.
    fn appended(&self, known: &mut Known, at: Location) -> Result<(), Error> {
        known.logs.entry(at.log).or_default().bytes += at.frame_bytes();
        match known.current.replace(at.log) {
            Some(before) if before != at.log => self.tidy(known),
            _ => Ok(()),
        }
    }

    /// Says again what is true, and removes the logs that nobody needs any more.
    fn tidy(&self, known: &mut Known) -> Result<(), Error> {
        let mut said = Vec::new();
        for (to, outgoing) in &known.outgoing {
            said.push((key(to, kind::NEXT, self.epoch), outgoing.next));
        }
        for (from, epochs) in &known.incoming {
            for (epoch, handled) in epochs {
                said.push((key(from, kind::BELOW, *epoch), handled.below));
                let begun = handled.begun.iter().map(|n| (key(from, kind::BEGUN, *epoch), *n));
                said.extend(begun);
                let above = handled.above.iter().map(|n| (key(from, kind::HANDLED, *epoch), *n));
                said.extend(above);
            }
        }
        if said.is_empty() {
            // A log of this process's own shows others that the folder is in use.
            said.push((key(&NodeId([0; 32]), 0, 0), 0));
        }
        let mut current = None;
        for (key, number) in said {
            let at = self.writer.append(&key, number, &[])?;
            known.logs.entry(at.log).or_default().bytes += at.frame_bytes();
            current = Some(at.log);
        }
        let few = |log: &Log| log.waiting > 0 && log.waiting < log.bytes / MOVED_PART;
        let moved: BTreeSet<LogId> = (known.logs.iter())
            .filter(|(id, log)| Some(**id) != current && few(log))
            .map(|(id, _)| *id)
            .collect();
        let Known { outgoing, logs, .. } = &mut *known;
        for (to, outgoing) in outgoing {
            let key = key(to, kind::MESSAGE, self.epoch);
            for (number, at) in &mut outgoing.waiting {
                if !moved.contains(&at.log) {
                    continue;
                }
                let message = self.spool.read_frame(at, &key)?;
                let now = self.writer.append(&key, *number, &[&message])?;
                if let Some(log) = logs.get_mut(&at.log) {
                    log.waiting = log.waiting.saturating_sub(at.frame_bytes());
                }
                let log = logs.entry(now.log).or_default();
                (log.bytes, log.waiting) =
                    (log.bytes + now.frame_bytes(), log.waiting + now.frame_bytes());
                *at = now;
                current = Some(now.log);
            }
        }
        self.writer.sync()?;
        known.current = current;
        // Also those in which a scan found nothing whole.
        for log in self.spool.logs()? {
            if !log.in_use && known.logs.get(&log.id).is_none_or(|log| log.waiting == 0) {
                self.spool.remove_log(&log.id)?;
                known.logs.remove(&log.id);
            }
        }
        Ok(())
    }
}

impl Known {
    fn handled(&mut self, from: NodeId, epoch: u64) -> &mut Handled {
        let epochs = self.incoming.entry(from).or_default();
        if !epochs.contains_key(&epoch) && epochs.len() >= EPOCHS_MAX {
            epochs.pop_first();
        }
        epochs.entry(epoch).or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use strongroom_spool::testing::{Cut, MemDisk, Random};

    use super::*;

    const DIR: &str = "spool";
    const BOUNDS: Bounds = Bounds { bytes: 1 << 20, log_bytes: 20_000 };

    fn open(disk: &MemDisk, life: u64) -> Store {
        let dir = PathBuf::from(DIR);
        disk.create_dir(&dir).ok();
        let count = std::sync::atomic::AtomicU64::new(life << 32);
        let name = move || {
            let n = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            u128::from(n).to_le_bytes()
        };
        Store::open(Arc::new(disk.clone()), &dir, BOUNDS, 1000 + life, name).unwrap()
    }

    fn message(number: u64) -> Vec<u8> {
        (0..number * 37 % 3000).map(|i| (i + number) as u8).collect()
    }

    /// What a store must still know, whatever happens to the power.
    #[derive(Default)]
    struct Model {
        waiting: BTreeSet<(u8, u64)>,
        /// Which may or may not wait: their delivery was told, and need not be durable.
        sent: BTreeSet<(u8, u64)>,
        next: BTreeMap<u8, u64>,
        begun: BTreeSet<(u8, u64)>,
        handled: BTreeSet<(u8, u64)>,
    }

    #[test]
    fn what_was_acknowledged_outlives_cuts_of_the_power() {
        let (mut cuts, mut logs_most, mut removed) = (0, 0, BTreeSet::new());
        for seed in 1..40 {
            let mut chance = Random(seed);
            let disk = MemDisk::default();
            let mut life = 1;
            let mut store = open(&disk, life);
            let mut epoch = None;
            let mut model = Model::default();
            let mut logs = BTreeSet::new();
            for _ in 0..600 {
                let who = chance.below(3) as u8;
                let node = NodeId([who; 32]);
                match chance.below(60) {
                    0..20 => {
                        let bytes = message(model.next.get(&who).copied().unwrap_or(0));
                        let number = store.put(&node, "name", &bytes, |_| {}).unwrap();
                        assert_eq!(*epoch.get_or_insert(store.epoch()), store.epoch());
                        assert!(
                            Some(&number) >= model.next.get(&who),
                            "numbers are not given twice"
                        );
                        model.next.insert(who, number + 1);
                        if bytes == message(number) {
                            model.waiting.insert((who, number));
                        } else {
                            store.sent(&node, number).unwrap();
                            model.sent.insert((who, number));
                        }
                    }
                    20..40 => {
                        if let Some(number) = store.next(&node, chance.below(10)) {
                            store.sent(&node, number).unwrap();
                            model.waiting.remove(&(who, number));
                            model.sent.insert((who, number));
                        }
                    }
                    40..50 => {
                        let number = chance.below(200);
                        let known = (who, number);
                        let begin = store.begin(&node, 7, number, 0).unwrap();
                        let expected = match () {
                            () if model.handled.contains(&known) => Begin::Handled,
                            () if model.begun.contains(&known) => Begin::Again,
                            () => Begin::First,
                        };
                        assert_eq!(begin, expected, "seed {seed}, {known:?}");
                        model.begun.insert(known);
                    }
                    50..59 => {
                        let begun =
                            model.begun.iter().find(|k| k.0 == who && !model.handled.contains(k));
                        if let Some(known) = begun.copied() {
                            store.handled(&node, 7, known.1).unwrap();
                            model.handled.insert(known);
                        }
                    }
                    _ => {
                        drop(store);
                        let cut = [Cut::Lose, Cut::Tear, Cut::Reorder][chance.below(3) as usize];
                        disk.power_cut(cut, chance.draw());
                        (life, cuts) = (life + 1, cuts + 1);
                        store = open(&disk, life);
                        // Only a spool that never kept anything has another one.
                        assert!(epoch.is_none_or(|epoch| epoch == store.epoch()));
                    }
                }
                let now = store.spool.log_ids().unwrap();
                logs_most = logs_most.max(now.len());
                logs.extend(now);
            }
            removed.extend(
                logs.iter().filter(|log| !store.spool.log_ids().unwrap().contains(log)).copied(),
            );
            for (who, number) in &model.waiting {
                let node = NodeId([*who; 32]);
                let (loaded, below) = store.load(&node, *number).unwrap().unwrap();
                assert_eq!(loaded[..5], *b"\x04name", "seed {seed}");
                assert!(loaded[5..] == message(*number), "seed {seed}: {number}");
                assert!(below <= *number);
            }
            for who in 0..3 {
                let node = NodeId([who; 32]);
                let mut from = 0;
                while let Some(number) = store.next(&node, from) {
                    let known = (who, number);
                    assert!(model.waiting.contains(&known) || model.sent.contains(&known));
                    from = number + 1;
                }
            }
        }
        assert!(cuts > 100 && removed.len() > 100, "{cuts} cuts, {} logs removed", removed.len());
        assert!(logs_most < 60, "{logs_most} logs at a time");
    }

    #[test]
    fn a_spool_has_one_process_and_its_bounds() {
        let disk = MemDisk::default();
        let store = open(&disk, 1);
        let dir = PathBuf::from(DIR);
        let second = Store::open(Arc::new(disk.clone()), &dir, BOUNDS, 5, || [9; 16]);
        assert!(matches!(second.err(), Some(SpoolError::InUse(_))));
        let node = NodeId([1; 32]);
        for _ in 0..2 {
            store.put(&node, "name", &vec![1; 500_000], |_| {}).unwrap();
        }
        let third = store.put(&node, "name", &vec![1; 500_000], |_| {});
        assert!(matches!(third, Err(SpoolError::Full { .. })), "{third:?}");
        store.sent(&node, 0).unwrap();
        store.put(&node, "name", &vec![1; 500_000], |_| {}).unwrap();
        assert_eq!(store.waiting(&node).0, 2);
        let far = store.begin(&node, 7, AHEAD_MAX + 5, 5);
        assert!(matches!(far, Err(SpoolError::TooFarAhead(_))));
        assert_eq!(store.begin(&node, 7, AHEAD_MAX + 4, 5).unwrap(), Begin::First);
        assert_eq!(store.begin(&node, 7, 4, 5).unwrap(), Begin::Handled, "its sender knows it");
    }
}
