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

    /// Cuts it at no operation.
    pub fn cut_never(&self) {
        let mut state = self.state();
        (state.cut_at, state.cut_of) = (None, None);
    }

    /// Whether it has power.
    pub fn is_on(&self) -> bool {
        self.state().on
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

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic of another thread leaves a state that is sound enough to tell of it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
