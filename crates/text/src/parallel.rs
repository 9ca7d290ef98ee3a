//! Many texts on all cores, in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, PoisonError, mpsc};

/// Texts that are under way for each thread: enough that none waits, few enough that memory is bounded.
const UNDER_WAY_PER_THREAD: usize = 4;

/// What waits to be worked on.
struct Queue<T> {
    waiting: Mutex<(VecDeque<(u64, T)>, bool)>,
    more: Condvar,
}

/// Gives each item to `work`, on so many threads, and what comes of it to `take`, in the order of the items, as long as that says
/// so. No more than a few items for each thread are under way at a time. `work` gets what `own` made for its thread.
pub fn in_order<T: Send, R: Send, W>(
    items: impl Iterator<Item = T>,
    threads: usize,
    own: impl Fn() -> W + Sync,
    work: impl Fn(&mut W, T) -> R + Sync,
    mut take: impl FnMut(R) -> bool,
) {
    let threads = threads.max(1);
    let queue = Queue { waiting: Mutex::new((VecDeque::new(), false)), more: Condvar::new() };
    let (done, came) = mpsc::channel();
    std::thread::scope(|scope| {
        // However this ends, the threads end.
        let _closing = Closing(&queue);
        for _ in 0..threads {
            let (queue, done, own, work) = (&queue, done.clone(), &own, &work);
            scope.spawn(move || {
                let mut own = own();
                while let Some((number, item)) = queue.next() {
                    if done.send((number, work(&mut own, item))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        let mut items = items.zip(0u64..).fuse();
        let (mut given, mut taken) = (0, 0);
        let mut early = BTreeMap::new();
        loop {
            while given - taken < (threads * UNDER_WAY_PER_THREAD) as u64
                && let Some((item, number)) = items.next()
            {
                queue.put(number, item);
                given += 1;
            }
            if taken == given {
                return;
            }
            // All threads end only where one panicked, which the scope passes on.
            let Ok((number, result)) = came.recv() else { return };
            early.insert(number, result);
            while let Some(result) = early.remove(&taken) {
                taken += 1;
                if !take(result) {
                    return;
                }
            }
        }
    });
}

impl<T> Queue<T> {
    fn put(&self, number: u64, item: T) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).0.push_back((number, item));
        self.more.notify_one();
    }

    /// `None` where nothing comes any more.
    fn next(&self) -> Option<(u64, T)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if waiting.1 {
                return None;
            }
            if let Some(next) = waiting.0.pop_front() {
                return Some(next);
            }
            waiting = self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

struct Closing<'a, T>(&'a Queue<T>);

impl<T> Drop for Closing<'_, T> {
    fn drop(&mut self) {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.0.more.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn order_is_kept_and_little_is_under_way() {
        for threads in [1, 2, 7] {
            let (given, mut taken) = (AtomicUsize::new(0), Vec::new());
            let items = (0..1000usize).inspect(|_| {
                given.fetch_add(1, Ordering::SeqCst);
            });
            let work = |count: &mut usize, item: usize| {
                *count += 1;
                // Some take longer than others.
                (0..item % 17 * 100).fold(item, |sum, n| std::hint::black_box(sum ^ n ^ n))
            };
            in_order(
                items,
                threads,
                || 0,
                work,
                |item| {
                    let ahead = given.load(Ordering::SeqCst) - taken.len();
                    assert!(ahead <= threads * UNDER_WAY_PER_THREAD + 1, "{ahead} under way");
                    taken.push(item);
                    true
                },
            );
            assert!(taken.iter().copied().eq(0..1000));
        }
    }

    #[test]
    fn whoever_takes_can_end_it() {
        let mut taken = 0;
        in_order(
            0..,
            2,
            || (),
            |(), n: u64| n,
            |_| {
                taken += 1;
                taken < 10
            },
        );
        assert_eq!(taken, 10);
    }
}
