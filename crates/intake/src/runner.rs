//! Leases work and does it; keeps the lease alive; turns what failed into trouble.

use crate::archive::now;
use crate::pace::Pace;
use crate::request::Asker;
use crate::{Archive, Error, LEASE_SECONDS, Progress};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use strongroom_record::{
    EventDraft, EventKind, Lease, Outcome, Stage, WorkId, WorkItem, WorkKind, WorkStatus,
};
use strongroom_registry::{Batch, Committed, Finish, WorkFilter};

/// How long a worker waits before it asks again for work that another process holds.
pub(crate) const POLL: Duration = Duration::from_millis(200);
/// A lease is renewed so often; well below [`LEASE_SECONDS`].
const RENEWAL: Duration = Duration::from_secs(15);
/// Waiting items that are asked of the registry at once.
const WAITING_PAGE: u32 = 1000;
/// What one that stays tells the shelves so often, beside when it ends.
const JOURNAL_EVERY: Duration = Duration::from_secs(15 * 60);
/// Kinds of work that this runner does.
const KINDS: &[WorkKind] = &[
    WorkKind::Ingest,
    WorkKind::Restore,
    WorkKind::Fixity,
    WorkKind::Repair,
    WorkKind::Recode,
    WorkKind::Reclaim,
    WorkKind::Drain,
    WorkKind::Rebalance,
    WorkKind::Delete,
    WorkKind::Keys,
    WorkKind::Journal,
];

/// Asks work to stop at its next durable point. Cheap to clone.
#[derive(Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks for it.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
    /// Whether it was asked for.
    pub fn stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.stopped() { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// How work on an item ended.
#[derive(Debug)]
pub struct Ended {
    /// The item, as it stands now.
    pub item: WorkItem,
    /// What went wrong, where this process saw it.
    pub error: Option<Error>,
}

/// Works off what is queued, in this process.
#[derive(Clone)]
pub struct Runner {
    archive: Archive,
    stop: Stop,
    progress: Arc<dyn Progress>,
}

/// A work item under its lease: what each step holds.
pub(crate) struct Job<'a> {
    pub(crate) archive: &'a Archive,
    pub(crate) item: WorkItem,
    pub(crate) stop: &'a Stop,
    pub(crate) progress: &'a dyn Progress,
    lease: Mutex<Lease>,
    /// Whether a person asked for this very item, and waits for it.
    pub(crate) alone: bool,
    pub(crate) pace: Mutex<Pace>,
}

/// What came of looking for work.
enum Tried {
    Nothing,
    /// Work in the background was given back, for something else comes first.
    Yielded,
    Ended(Box<Ended>),
}

impl Job<'_> {
    /// Commits under the fencing token; the lease is renewed with it. Events name the account that asked.
    pub(crate) fn commit(&self, mut batch: Batch) -> Result<Committed, Error> {
        let lease = *self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asker) = Asker::of(&self.item) {
            batch.events.iter_mut().for_each(|event| asker.tell(&mut event.detail));
        }
        let registry = self.archive.registry();
        let seconds = LEASE_SECONDS as u32;
        let done = self.archive.block_on(registry.commit(&lease, now(), seconds, batch))?;
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = done.lease;
        Ok(done)
    }

    pub(crate) fn lease(&self) -> Lease {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was asked for.
    pub(crate) fn request<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_value(self.item.request.clone()).map_err(|e| {
            Error::Internal(format!("the request of {} is damaged: {e}", self.item.id))
        })
    }
}

impl Runner {
    /// For an archive; `stop` and `progress` are shared with whoever watches.
    pub fn new(archive: &Archive, stop: Stop, progress: Arc<dyn Progress>) -> Runner {
        Runner { archive: archive.clone(), stop, progress }
    }

    /// Works on one item until it is ended, whoever ends it.
    pub fn run_one(&self, id: WorkId) -> Result<Ended, Error> {
        loop {
            if let Tried::Ended(ended) = self.try_one(Some(id))? {
                return Ok(*ended);
            }
            let item = self.item(id)?;
            let waits = matches!(item.status, WorkStatus::Queued | WorkStatus::Running);
            if self.wake(&item)? {
                continue;
            }
            if !waits {
                return Ok(Ended { item, error: None });
            }
            if self.archive.paused()?.contains(&item.kind) {
                return Err(Error::Paused(item.kind));
            }
            self.stop.check()?;
            std::thread::sleep(POLL);
            self.archive.free_the_dead()?;
        }
    }

    /// Works off what is queued; with `stay`, waits for more until stopped. `told` hears of each item
    /// as it ends.
    pub fn run_all<E: From<Error>>(
        &self,
        stay: bool,
        told: &mut dyn FnMut(Ended) -> Result<(), E>,
    ) -> Result<(), E> {
        self.wake_all()?;
        self.archive.retry_reclaims()?;
        self.archive.queue_reclaims()?;
        let mut journals = Instant::now();
        while !self.stop.stopped() {
            match self.try_one(None)? {
                Tried::Ended(ended) => told(*ended)?,
                Tried::Yielded => {}
                Tried::Nothing if stay => {
                    std::thread::sleep(POLL);
                    self.archive.free_the_dead()?;
                }
                Tried::Nothing => break,
            }
            if journals.elapsed() > JOURNAL_EVERY {
                self.keep_journals();
                self.archive.queue_reclaims()?;
                journals = Instant::now();
            }
        }
        Ok(())
    }

    /// Queues a deletion that waits for a worker that has the key, or for shelves, where this one has them.
    fn wake(&self, item: &WorkItem) -> Result<bool, Error> {
        if (item.status, item.stage) != (WorkStatus::Waiting, Stage::Rewrite)
            || self.archive.secrets(item.institution).is_err()
        {
            return Ok(false);
        }
        let shelves = self.archive.vault().shelves().iter();
        let writable = shelves.filter(|shelf| !shelf.spec().read_only).count();
        for object in [item.object, None] {
            let coding = self.archive.coding_of(object, item.institution)?;
            if writable < usize::from(coding.n()) {
                return Ok(false);
            }
        }
        Ok(self.archive.block_on(self.archive.registry().wake(item.id, now()))?)
    }

    fn wake_all(&self) -> Result<(), Error> {
        let (status, kind) = (Some(WorkStatus::Waiting), Some(WorkKind::Delete));
        let filter = WorkFilter { status, kind, ..WorkFilter::default() };
        let mut after = None;
        loop {
            let page = self.archive.registry().work_list(filter, after, WAITING_PAGE);
            let page = self.archive.block_on(page)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            for item in &page {
                self.wake(item)?;
            }
        }
    }

    /// Tells the shelves what they were not told yet: the last thing a process does, and from time to
    /// time what one that stays does. What cannot be told now is told later; it is logged.
    pub fn keep_journals(&self) {
        let archive = &self.archive;
        let kept = archive.journals_due().and_then(|due| {
            due.into_iter().try_for_each(|item| match self.try_one(Some(item.id))? {
                Tried::Ended(ended) => ended.error.map_or(Ok(()), Err),
                Tried::Nothing | Tried::Yielded => Ok(()),
            })
        });
        if let Err(error) = kept {
            tracing::warn!(%error, "the journal was not stored; it is tried again");
        }
    }

    fn item(&self, id: WorkId) -> Result<WorkItem, Error> {
        let missing = || Error::NotFound { what: "work item", name: id.to_string() };
        self.archive.block_on(self.archive.registry().work(id))?.ok_or_else(missing)
    }

    fn try_one(&self, which: Option<WorkId>) -> Result<Tried, Error> {
        let registry = self.archive.registry();
        let paused = self.archive.paused()?;
        let kinds: Vec<_> = KINDS.iter().copied().filter(|kind| !paused.contains(kind)).collect();
        let lease =
            registry.lease(self.archive.worker(), &kinds, which, now(), LEASE_SECONDS as u32);
        let Some((item, lease)) = self.archive.block_on(lease)? else { return Ok(Tried::Nothing) };
        let id = item.id;
        let job = Job {
            archive: &self.archive,
            item,
            stop: &self.stop,
            progress: self.progress.as_ref(),
            lease: Mutex::new(lease),
            alone: which.is_some(),
            pace: Mutex::default(),
        };
        let error = self.kept_alive(&job).err();
        let error = match error {
            None => None,
            Some(Error::Interrupted) => {
                self.archive.block_on(registry.release(&job.lease(), now()))?;
                Some(Error::Interrupted)
            }
            Some(Error::Yielded) => {
                self.archive.block_on(registry.release(&job.lease(), now()))?;
                return Ok(Tried::Yielded);
            }
            // Another worker has it: whatever it does is right.
            Some(Error::Registry(strongroom_registry::Error::LeaseLost { .. })) => {
                return Ok(Tried::Nothing);
            }
            Some(error) => {
                self.trouble(&job, &error)?;
                Some(error)
            }
        };
        Ok(Tried::Ended(Box::new(Ended { item: self.item(id)?, error })))
    }

    fn kept_alive(&self, job: &Job<'_>) -> Result<(), Error> {
        let done = (Mutex::new(false), Condvar::new());
        std::thread::scope(|scope| {
            // The heartbeat shares no thread with bulk data.
            scope.spawn(|| {
                let mut ended = done.0.lock().unwrap_or_else(PoisonError::into_inner);
                while !*ended {
                    let waited = done.1.wait_timeout(ended, RENEWAL);
                    let (guard, time) = waited.unwrap_or_else(PoisonError::into_inner);
                    ended = guard;
                    if time.timed_out() && !*ended {
                        let registry = self.archive.registry();
                        let lease = job.lease();
                        let renewed = registry.renew(&lease, now(), LEASE_SECONDS as u32);
                        if let Err(error) = self.archive.block_on(renewed) {
                            tracing::warn!(work = %job.item.id, %error, "lease not renewed");
                        }
                    }
                }
            });
            let result = self.dispatch(job);
            *done.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
            done.1.notify_all();
            result
        })
    }

    fn dispatch(&self, job: &Job<'_>) -> Result<(), Error> {
        match job.item.kind {
            WorkKind::Ingest => crate::ingest::run(job),
            WorkKind::Restore => crate::restore::run(job),
            WorkKind::Fixity => crate::fixity::check(job),
            WorkKind::Repair => crate::fixity::repair(job),
            WorkKind::Recode => crate::fixity::recode(job),
            WorkKind::Reclaim => crate::reclaim::run(job),
            WorkKind::Drain => crate::moving::drain(job),
            WorkKind::Rebalance => crate::moving::rebalance(job),
            WorkKind::Delete => crate::delete::run(job),
            WorkKind::Keys => crate::rotation::run(job),
            WorkKind::Journal => crate::journal::run(job),
        }
    }

    /// Parks the item for a person, with everything that was found.
    fn trouble(&self, job: &Job<'_>, error: &Error) -> Result<(), Error> {
        let problems = match error {
            Error::Refused(problems) => problems.iter().map(|p| p.to_string()).collect(),
            other => vec![other.to_string()],
        };
        let report = serde_json::json!({
            "outcome": "trouble",
            "code": error.code().word(),
            "remedy": error.code().remedy(),
            "problems": problems,
        });
        let kind = match job.item.kind {
            WorkKind::Ingest => Some(EventKind::Rejection),
            WorkKind::Fixity => Some(EventKind::Fixity),
            WorkKind::Repair => Some(EventKind::Repair),
            WorkKind::Recode => Some(EventKind::Recoding),
            WorkKind::Restore => Some(EventKind::Dissemination),
            WorkKind::Delete => Some(EventKind::Deletion),
            WorkKind::Reclaim | WorkKind::Drain | WorkKind::Rebalance => Some(EventKind::Storage),
            WorkKind::Keys => Some(EventKind::KeyRotation),
            // An event would be one more that the shelves were not told of.
            WorkKind::Journal => None,
        };
        let first: String =
            problems.first().map_or("", String::as_str).chars().take(2000).collect();
        let event = kind.map(|kind| EventDraft {
            outcome: Outcome::Failure,
            object: job.item.object,
            work: Some(job.item.id),
            detail: serde_json::json!({"code": error.code().word(), "first": first,
                "problems": problems.len()}),
            ..EventDraft::new(kind)
        });
        // A journal is no person's to mend: the next process writes it anew.
        let status = match job.item.kind {
            WorkKind::Journal => WorkStatus::Cancelled,
            _ => WorkStatus::Trouble,
        };
        let batch = Batch {
            note: Some(format!("{}: {first}", error.code().word())),
            events: event.into_iter().collect(),
            finish: Some(Finish { status, report }),
            ..Batch::default()
        };
        match job.commit(batch) {
            Err(Error::Registry(strongroom_registry::Error::LeaseLost { .. })) => Ok(()),
            other => other.map(|_| ()),
        }
    }
}
