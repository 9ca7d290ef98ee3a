//! Threads that look at texts, one for each core, behind a bounded queue.
//!
//! What takes little time goes before what takes much, so that a call with one short text is answered while others send
//! megabytes; every [`SLOW_TURN`]th turn is that of the others. A text that cannot be cut takes a thread for long:
//! such texts never have all threads.

use crate::Error;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use strongroom_text::answer::Desk;
use tokio::sync::oneshot;

/// Jobs that wait; whoever comes then hears `busy`.
pub const TEXTS_WAITING_MAX: usize = 1024;

/// Of so many turns one is that of slow jobs, whatever else waits.
const SLOW_TURN: u64 = 8;

/// What a job is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Takes a few milliseconds at most.
    Quick,
    /// A piece of many.
    Piece,
    /// May take seconds.
    Whole,
}

type Job = Box<dyn FnOnce(&mut Desk) + Send>;

#[derive(Default)]
struct Waiting {
    quick: VecDeque<Job>,
    slow: VecDeque<(Kind, Job)>,
    turns: u64,
    /// Whole texts that are looked at.
    wholes: usize,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

/// The threads, which begin with the first job and end with this.
#[derive(Default)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    begun: OnceLock<()>,
}

/// How many texts are looked at at once.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Pool {
    /// Queues a job; what comes of it is told to the receiver, and nothing where it panicked.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        kind: Kind,
        job: impl FnOnce(&mut Desk) -> T + Send + 'static,
    ) -> Result<oneshot::Receiver<T>, Error> {
        self.begun.get_or_init(|| self.begin());
        let (done, told) = oneshot::channel();
        let job: Job = Box::new(move |desk| {
            // Who asked may have gone away meanwhile.
            if !done.is_closed() {
                let _ = done.send(job(desk));
            }
        });
        let mut waiting = self.shared.lock();
        if waiting.quick.len() + waiting.slow.len() >= TEXTS_WAITING_MAX {
            return Err(Error::busy("too many texts wait already"));
        }
        match kind {
            Kind::Quick => waiting.quick.push_back(job),
            Kind::Piece | Kind::Whole => waiting.slow.push_back((kind, job)),
        }
        drop(waiting);
        self.shared.more.notify_one();
        Ok(told)
    }

    /// Jobs that wait.
    pub(crate) fn waiting(&self) -> usize {
        let waiting = self.shared.lock();
        waiting.quick.len() + waiting.slow.len()
    }

    fn begin(&self) {
        for number in 0..threads() {
            let shared = self.shared.clone();
            let thread = std::thread::Builder::new().name(format!("texts-{number}"));
            if let Err(error) = thread.spawn(move || shared.work()) {
                tracing::error!(%error, "a thread for texts does not begin");
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.more.notify_all();
    }
}

impl Waiting {
    /// The next job, of those that may run now.
    fn next(&mut self) -> Option<(Kind, Job)> {
        self.turns += 1;
        let slow = self.turns.is_multiple_of(SLOW_TURN);
        if !slow && let Some(job) = self.quick.pop_front() {
            return Some((Kind::Quick, job));
        }
        let room = self.wholes < threads().saturating_sub(1).max(1);
        let runnable = self.slow.iter().position(|(kind, _)| room || *kind != Kind::Whole);
        let next = runnable.and_then(|at| self.slow.remove(at));
        let next = next.or_else(|| self.quick.pop_front().map(|job| (Kind::Quick, job)))?;
        self.wholes += usize::from(next.0 == Kind::Whole);
        Some(next)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut desk = Desk::default();
        while let Some((kind, job)) = self.next() {
            if catch_unwind(AssertUnwindSafe(|| job(&mut desk))).is_err() {
                tracing::error!("looking at a text panicked");
                desk = Desk::default();
            }
            if kind == Kind::Whole {
                self.lock().wholes -= 1;
                self.more.notify_one();
            }
        }
    }

    /// Waits for a job; `None` where none comes any more.
    fn next(&self) -> Option<(Kind, Job)> {
        let mut waiting = self.lock();
        loop {
            if waiting.closed {
                return None;
            }
            if let Some(next) = waiting.next() {
                return Some(next);
            }
            waiting = self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(waiting: &mut Waiting) -> Vec<Kind> {
        std::iter::from_fn(|| waiting.next()).map(|(kind, _)| kind).collect()
    }

    #[test]
    fn quick_jobs_go_first_and_slow_ones_have_their_turn() {
        let mut waiting = Waiting::default();
        waiting.slow.extend((0..2).map(|_| (Kind::Piece, Box::new(|_: &mut Desk| ()) as Job)));
        waiting.quick.extend((0..20).map(|_| Box::new(|_: &mut Desk| ()) as Job));
        let order = named(&mut waiting);
        let slow: Vec<_> = (0..22).filter(|at| order[*at] == Kind::Piece).collect();
        assert_eq!(slow, [7, 15]);
    }

    #[test]
    fn whole_texts_never_have_all_threads() {
        let mut waiting = Waiting::default();
        let most = threads().saturating_sub(1).max(1);
        waiting.slow.extend((0..=most).map(|_| (Kind::Whole, Box::new(|_: &mut Desk| ()) as Job)));
        waiting.slow.push_back((Kind::Piece, Box::new(|_| ())));
        let order = named(&mut waiting);
        assert_eq!(order.iter().filter(|kind| **kind == Kind::Whole).count(), most);
        assert_eq!(order.last(), Some(&Kind::Piece), "it does not wait for the last whole one");
        waiting.wholes -= 1;
        assert_eq!(named(&mut waiting), [Kind::Whole]);
    }

    #[test]
    fn a_job_that_panics_costs_only_its_answer() {
        let pool = Pool::default();
        for _ in 0..2 * threads() {
            let told = pool.run(Kind::Quick, |_| panic!("planted")).unwrap();
            told.blocking_recv().unwrap_err();
        }
        let told = pool.run(Kind::Whole, |_| 7).unwrap();
        assert_eq!(told.blocking_recv(), Ok(7));
    }

    #[test]
    fn who_comes_when_too_many_wait_hears_so() {
        let pool = Pool::default();
        pool.begun.get_or_init(|| ());
        let jobs: Vec<_> = (0..TEXTS_WAITING_MAX).map(|_| pool.run(Kind::Piece, |_| ())).collect();
        assert!(jobs.iter().all(Result::is_ok));
        assert!(pool.run(Kind::Quick, |_| ()).is_err());
    }
}
