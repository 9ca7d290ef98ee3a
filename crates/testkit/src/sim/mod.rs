//! One disk in memory, under the shelves (spool's `Disk`) and under the registry (a VFS of SQLite), that
//! loses its power at one common moment.
//!
//! It is as strict as a file system may be. Contents are durable after a sync of the file alone, names
//! after a sync of their folder alone. What was not synced when the power is cut survives or vanishes by
//! the choice of a seed: all of it, none, up to some moment, or any of it; writes tear at sectors, names
//! and lengths may survive without contents and contents without names. What a failed sync of a file was
//! to write is partly gone for good, though it can still be read until the power is cut, and no later sync
//! brings it back, as on Linux; names wait for the next sync of their folder, as they do in a journal.
//!
//! The clock is the count of operations that change something or sync it: [`Sim::cut_at`] names one, and
//! what it changes is the last thing that may survive. Then every handle is dead, and everything fails,
//! until [`Sim::power_on`] gives the next [`Machine`].
//!
//! What is not simulated: damage to what was synced, reads that lie, folders whose removal matters, and the
//! neighbours of a torn sector within what was synced before (SQLite and spool both rely on them).

mod disk;
mod state;
mod vfs;

use state::State;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use strongroom_spool::testing::Random;

pub use disk::Machine;

/// A simulated disk. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct Sim(Arc<Mutex<State>>);

/// What fails, once, save [`Fault::NoSpace`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A sync fails; what it was to write of a file is lost but for what chance kept.
    SyncFails,
    /// A write is cut short and fails.
    WriteFails,
    /// A read fails.
    ReadFails,
    /// Writes that make a file longer are cut short and fail, until [`Sim::clear_faults`].
    NoSpace,
}

/// What happened so far.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Ends of processes, by the operation at which they came and what it was done to.
    pub kills: BTreeMap<(&'static str, &'static str), u64>,
    /// Cuts, by the operation at which they came and what it was done to.
    pub cuts: BTreeMap<(&'static str, &'static str), u64>,
    /// Cuts while something of this kind was written and not synced.
    pub pending: BTreeMap<&'static str, u64>,
    /// Faults that struck, by what they struck.
    pub faults: BTreeMap<(Fault, &'static str), u64>,
}

impl Sim {
    /// An empty disk, without power. `kind_of` names what a path is, for faults and counts.
    pub fn new(seed: u64, kind_of: fn(&Path) -> &'static str) -> Sim {
        Sim(Arc::new(Mutex::new(State::new(Random(seed), kind_of))))
    }

    /// Gives it power. Machines of before stay dead.
    pub fn power_on(&self) -> Machine {
        let boot = self.state().power_on();
        Machine::new(self.clone(), boot)
    }

    /// Cuts the power now.
    pub fn cut(&self) {
        self.state().cut("at rest", "-");
    }

    /// Cuts it at the `n`-th operation from now on, 0 being the next.
    pub fn cut_at(&self, n: u64) {
        let mut state = self.state();
        state.cut_at = Some(state.ops + n);
    }

    /// Cuts it at the `n`-th operation on paths of these kinds from now on.
    pub fn cut_at_kind(&self, kinds: &'static [&'static str], n: u64) {
        self.state().cut_of = Some((kinds, n));
    }

    /// Makes of the next cut the end of the process alone: what it wrote and did not sync stays, and can
    /// still be lost with a later cut. After a failed sync it is a cut all the same: the next process would
    /// find in the system's memory what is not on the disk, and no program that reads through that memory
    /// can tell.
    pub fn spare(&self) {
        self.state().spares = true;
    }

    /// Cuts it at no operation.
    pub fn cut_never(&self) {
        let mut state = self.state();
        (state.cut_at, state.cut_of, state.spares) = (None, None, false);
    }

    /// Whether it has power.
    pub fn is_on(&self) -> bool {
        self.state().on
    }

    /// How many files SQLite has open: a process that was made to die closes them in its own time.
    pub fn open_by_sqlite(&self) -> u64 {
        self.state().open_by_sqlite
    }

    /// Operations so far.
    pub fn ops(&self) -> u64 {
        self.state().ops
    }

    /// Lets `fault` strike the `after`-th of the operations that it can strike, 0 being the next, of paths
    /// of these kinds (none: of all).
    pub fn inject(&self, fault: Fault, kinds: &'static [&'static str], after: u64) {
        self.state().inject(fault, kinds, after);
    }

    /// Nothing fails any more.
    pub fn clear_faults(&self) {
        self.state().clear_faults();
    }

    /// Acknowledges syncs of paths of this kind without doing them: a bug for campaigns to find.
    pub fn lie_about_syncs_of(&self, kind: &'static str) {
        self.state().lies = Some(kind);
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.state().counts.clone()
    }

    /// Changes a byte of a file for good: damage from outside. `false` where there is no such byte.
    pub fn flip(&self, path: &Path, offset: u64) -> bool {
        self.state().flip(path, offset)
    }

    /// Takes a file or folder away for good, as a disaster does. `false` where there is none.
    pub fn lose(&self, path: &Path) -> bool {
        self.state().lose(path).is_some()
    }

    /// Gives a file or folder another path, as whoever carries a disk elsewhere does. `false` where it
    /// cannot be.
    pub fn carry(&self, from: &Path, to: &Path) -> bool {
        self.state().carry(from, to)
    }

    /// Copies a file or folder, as it can be read now, to the real file system.
    pub fn copy_out(&self, path: &Path, to: &Path) -> std::io::Result<()> {
        self.state().copy_out(path, to)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic of another thread leaves a state that is sound enough to tell of it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use strongroom_spool::{Disk, create_folders};

    const SEEDS: u64 = 300;

    fn kind_of(path: &Path) -> &'static str {
        if path.extension().is_some() { "file" } else { "folder" }
    }

    fn read(disk: &dyn Disk, path: &str) -> Option<Vec<u8>> {
        strongroom_spool::read_file(disk, Path::new(path), 1 << 20).ok()
    }

    /// What `after` finds once the power was cut after `before`, over many seeds.
    fn survives<T: Ord>(
        before: impl Fn(&Sim, &Machine),
        after: impl Fn(&Machine) -> T,
    ) -> BTreeSet<T> {
        let once = |seed| {
            let sim = Sim::new(seed, kind_of);
            before(&sim, &sim.power_on());
            sim.cut();
            after(&sim.power_on())
        };
        (0..SEEDS).map(once).collect()
    }

    #[test]
    fn what_was_synced_stays_and_what_was_not_may_be_anything() {
        let file = |machine: &Machine| {
            create_folders(machine, Path::new("/a")).unwrap();
            let file = machine.create(Path::new("/a/x.log")).unwrap();
            file.write_at(0, &[&[1; 1024]]).unwrap();
            file
        };
        let synced = |_: &Sim, machine: &Machine| {
            file(machine).sync().unwrap();
            machine.sync_dir(Path::new("/a")).unwrap();
        };
        let there = survives(synced, |machine| read(machine, "/a/x.log"));
        assert_eq!(there, BTreeSet::from([Some(vec![1; 1024])]));

        let unnamed = |_: &Sim, machine: &Machine| file(machine).sync().unwrap();
        let there = survives(unnamed, |machine| read(machine, "/a/x.log"));
        assert_eq!(there, BTreeSet::from([None, Some(vec![1; 1024])]));

        let overwritten = |sim: &Sim, machine: &Machine| {
            synced(sim, machine);
            let file = machine.open(Path::new("/a/x.log")).unwrap();
            file.write_at(512, &[&[2; 1024]]).unwrap();
        };
        let there = survives(overwritten, |machine| read(machine, "/a/x.log"));
        assert!(there.iter().flatten().all(|bytes| bytes[..512] == [1; 512]), "synced before");
        let [old, new] = [[1; 512], [2; 512]];
        for expected in [
            [&old[..], &old].concat(),
            [&old[..], &new].concat(),
            [&old[..], &new, &new].concat(),
            [&old[..], &old, &new].concat(),
            [&old[..], &old, &[0; 512]].concat(),
        ] {
            assert!(there.contains(&Some(expected)), "never lost, kept, torn, reordered or grown");
        }
    }

    #[test]
    fn a_failed_sync_is_not_made_good_by_a_later_one() {
        let before = |sim: &Sim, machine: &Machine| {
            let file = machine.create(Path::new("/x.log")).unwrap();
            machine.sync_dir(Path::new("/")).unwrap();
            file.write_at(0, &[b"lost"]).unwrap();
            sim.inject(Fault::SyncFails, &["file"], 0);
            assert!(file.sync().is_err());
            file.sync().unwrap();
            assert_eq!(read(machine, "/x.log").unwrap(), b"lost", "it can still be read");
        };
        let there = survives(before, |machine| read(machine, "/x.log"));
        assert!(there.contains(&Some(vec![])), "by chance some of it was kept, or torn: {there:?}");
    }

    #[test]
    fn what_was_settled_is_read_as_a_cut_leaves_it() {
        let outcomes: BTreeSet<bool> = (0..SEEDS)
            .map(|seed| {
                let sim = Sim::new(seed, kind_of);
                let machine = sim.power_on();
                let file = machine.create(Path::new("/x.log")).unwrap();
                machine.sync_dir(Path::new("/")).unwrap();
                file.write_at(0, &[b"perhaps lost"]).unwrap();
                sim.inject(Fault::SyncFails, &["file"], 0);
                assert!(file.sync().is_err());
                assert!(strongroom_spool::settle(&machine, Path::new("/x.log")).unwrap());
                let settled = read(&machine, "/x.log").unwrap();
                sim.cut();
                let mut left = read(&sim.power_on(), "/x.log").unwrap();
                // The length may be lost with the bytes, which then were not there to be read.
                assert!(
                    left.len() == settled.len() || settled[left.len()..].iter().all(|b| *b == 0)
                );
                left.resize(settled.len(), 0);
                assert_eq!(settled, left);
                settled == b"perhaps lost"
            })
            .collect();
        assert_eq!(outcomes.len(), 2, "kept by some, and lost by some");
    }

    #[test]
    fn a_cut_kills_what_was_open_and_frees_its_locks() {
        let sim = Sim::new(1, kind_of);
        let before = sim.power_on();
        let file = before.create(Path::new("/x.log")).unwrap();
        before.sync_dir(Path::new("/")).unwrap();
        assert!(file.try_lock().unwrap());
        sim.cut_at(1);
        file.write_at(0, &[b"a"]).unwrap();
        assert!(sim.is_on());
        assert!(file.sync().is_err(), "the operation at which the power goes is not done");
        assert!(!sim.is_on() && before.list(Path::new("/")).is_err());
        let after = sim.power_on();
        assert!(before.open(Path::new("/x.log")).is_err() && file.len().is_err());
        assert!(after.open(Path::new("/x.log")).unwrap().try_lock().unwrap());
    }

    #[test]
    fn new_folders_are_durable_also_when_a_sync_of_them_failed_at_first() {
        for fails_at in 0..4 {
            let before = |sim: &Sim, machine: &Machine| {
                sim.inject(Fault::SyncFails, &[], fails_at);
                let path = Path::new("/a/b/c");
                if create_folders(machine, path).is_err() {
                    create_folders(machine, path).unwrap();
                }
            };
            let there = survives(before, |machine| machine.list(Path::new("/a/b/c")).is_ok());
            assert_eq!(there, BTreeSet::from([true]), "the sync {fails_at} failed");
        }
    }

    #[test]
    fn what_is_lost_or_carried_away_stays_so_after_a_cut() {
        let before = |sim: &Sim, machine: &Machine| {
            create_folders(machine, Path::new("/a")).unwrap();
            for name in ["/a/x.log", "/a/y.log"] {
                machine.create(Path::new(name)).unwrap().sync().unwrap();
            }
            // Their names are not synced: a cut must not bring them back.
            assert!(sim.lose(Path::new("/a/x.log")) && !sim.lose(Path::new("/a/x.log")));
            assert!(sim.carry(Path::new("/a"), Path::new("/b")));
            assert!(!sim.carry(Path::new("/a"), Path::new("/c")));
        };
        let there = survives(before, |machine| {
            (machine.list(Path::new("/a")).is_ok(), machine.list(Path::new("/b")).unwrap())
        });
        assert_eq!(there, BTreeSet::from([(false, vec![]), (false, vec!["y.log".into()])]));
    }

    #[test]
    fn space_runs_out_within_a_write_and_comes_back() {
        let sim = Sim::new(1, kind_of);
        let machine = sim.power_on();
        let file = machine.create(Path::new("/x.log")).unwrap();
        sim.inject(Fault::NoSpace, &["file"], 1);
        file.write_at(0, &[&[1; 10]]).unwrap();
        for _ in 0..2 {
            let error = file.write_at(10, &[&[2; 10]]).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        }
        assert_eq!(file.len().unwrap(), 15, "half of it was written");
        file.write_at(0, &[&[3; 10]]).unwrap();
        sim.clear_faults();
        file.write_at(10, &[&[2; 10]]).unwrap();
    }
}
