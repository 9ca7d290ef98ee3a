//! One bound for the memory of all lanes of a node: credit is promised out of it.
//!
//! While less than half of it is promised, a lane gets all the credit of its window, and no sender has to ask. After that a lane gets what its
//! sender *wants*, whole or not at all, and in the order in which lanes came to want: so nobody waits for somebody who waits too, and
//! whoever wants much is not passed over for ever. A small part of each window is the lane's own, and not counted here.
//! A sender that has nothing to say gives back what it has.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that may be under way to a node, or held there, on all lanes that have a part in it.
pub struct Budget {
    max: u64,
    next: AtomicU64,
    pool: Mutex<Pool>,
}

#[derive(Default)]
struct Pool {
    /// May be above the bound for a while, after connections broke and came again.
    promised: u64,
    /// Lanes that wait, the first first.
    queue: VecDeque<(u64, Arc<Wake>)>,
}

/// Tells a lane that it may find what it waits for.
pub type Wake = dyn Fn() + Send + Sync;

/// One lane's part in a budget.
pub struct Account {
    budget: Arc<Budget>,
    lane: u64,
    wake: Arc<Wake>,
    /// What was taken.
    taken: u64,
}

impl Budget {
    /// Of so many bytes.
    pub fn new(max: u64) -> Arc<Budget> {
        Arc::new(Budget { max, next: AtomicU64::new(0), pool: Mutex::default() })
    }

    /// An account with nothing taken; `wake` is called when what it waited for may be there.
    pub fn account(self: &Arc<Budget>, wake: Arc<Wake>) -> Account {
        let lane = self.next.fetch_add(1, Ordering::Relaxed);
        Account { budget: self.clone(), lane, wake, taken: 0 }
    }

    /// Bytes that are promised, and those that may be.
    pub fn promised(&self) -> (u64, u64) {
        (self.pool().promised, self.max)
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the first that waits, without the lock.
    fn wake(pool: MutexGuard<'_, Pool>) {
        let first = pool.queue.front().map(|(_, wake)| wake.clone());
        drop(pool);
        if let Some(first) = first {
            first();
        }
    }
}

impl Account {
    /// What was taken.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Takes so much if there is plenty: if no more than half is promised then.
    pub fn take_of_plenty(&mut self, bytes: u64) -> bool {
        let mut pool = self.budget.pool();
        let plenty =
            pool.queue.is_empty() && pool.promised.saturating_add(bytes) <= self.budget.max / 2;
        if plenty {
            pool.promised += bytes;
            self.taken += bytes;
        }
        plenty
    }

    /// Takes from `least` to `most` bytes, as they are there; or else waits its turn.
    pub fn take(&mut self, least: u64, most: u64) -> bool {
        let mut pool = self.budget.pool();
        let at = pool.queue.iter().position(|(lane, _)| *lane == self.lane);
        let turn = if pool.queue.is_empty() { true } else { at == Some(0) };
        let free = self.budget.max.saturating_sub(pool.promised);
        // What is more than all of it is given when nothing else is.
        if turn && (free >= least || pool.promised == 0) {
            let taken = most.min(free).max(least);
            pool.promised += taken;
            self.taken += taken;
            pool.queue.pop_front();
            Budget::wake(pool);
            return true;
        }
        if at.is_none() {
            pool.queue.push_back((self.lane, self.wake.clone()));
        }
        false
    }

    /// Counts what cannot be refused any more.
    pub fn force(&mut self, bytes: u64) {
        self.budget.pool().promised += bytes;
        self.taken += bytes;
    }

    /// Gives so much back.
    pub fn give_back(&mut self, bytes: u64) {
        let bytes = bytes.min(self.taken);
        self.taken -= bytes;
        let mut pool = self.budget.pool();
        pool.promised -= bytes;
        Budget::wake(pool);
    }

    /// Waits no longer.
    pub fn leave(&mut self) {
        let mut pool = self.budget.pool();
        let before = pool.queue.len();
        pool.queue.retain(|(lane, _)| *lane != self.lane);
        if pool.queue.len() != before {
            Budget::wake(pool);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.leave();
        self.give_back(self.taken);
    }
}
