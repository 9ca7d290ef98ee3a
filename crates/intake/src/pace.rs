//! How work in the background keeps out of people's way: it can be paused, its bytes a second bounded,
//! and between two bounded steps it waits for whoever deposits or restores, in any process.

use crate::archive::now;
use crate::runner::{Job, POLL};
use crate::{Archive, Error};
use std::sync::PoisonError;
use std::time::{Duration, Instant};
use strongroom_record::WorkKind;

/// The setting that names the paused kinds of work, separated by commas.
const PAUSED: &str = "background.paused";
/// The setting that bounds what each worker reads and writes in the background, in bytes a second.
const RATE: &str = "background.bytes_per_second";
/// The setting that keeps how fast the last check of everything was, in bytes a second.
const MEASURED: &str = "fixity.bytes_per_second";
/// Settings and other processes' work are looked at so often at most.
const LOOK: Duration = Duration::from_millis(200);

/// How far a job in the background has kept to its bounds.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    looked: Option<Instant>,
    /// The bound that holds, since when, and what was read and written since.
    rate: Option<u64>,
    since: Option<Instant>,
    bytes: u64,
    told: bool,
}

impl Archive {
    /// The kinds of work that are paused.
    pub fn paused(&self) -> Result<Vec<WorkKind>, Error> {
        let setting = self.block_on(self.registry().setting(PAUSED))?.unwrap_or_default();
        let words = setting.split(',').filter(|word| !word.is_empty());
        Ok(words.map(WorkKind::parse).collect::<Result<_, _>>()?)
    }

    /// Pauses these kinds of work in the background (none named: all), in all processes, until they are
    /// resumed. What runs stops at its next durable point. Says what is paused now.
    pub fn pause(&self, kinds: &[WorkKind]) -> Result<Vec<WorkKind>, Error> {
        if let Some(kind) = kinds.iter().find(|kind| kind.is_foreground()) {
            return Err(Error::Usage(format!("work of kind {kind} is not in the background")));
        }
        let mut paused = self.paused()?;
        let asked = if kinds.is_empty() { BACKGROUND } else { kinds };
        let new: Vec<_> = asked.iter().copied().filter(|kind| !paused.contains(kind)).collect();
        paused.extend(new);
        self.set_paused(paused)
    }

    /// Lets these kinds of work go on (none named: all). Says what is still paused.
    pub fn resume(&self, kinds: &[WorkKind]) -> Result<Vec<WorkKind>, Error> {
        let mut paused = self.paused()?;
        paused.retain(|kind| !kinds.is_empty() && !kinds.contains(kind));
        self.set_paused(paused)
    }

    fn set_paused(&self, paused: Vec<WorkKind>) -> Result<Vec<WorkKind>, Error> {
        let words: Vec<_> = paused.iter().map(|kind| kind.word()).collect();
        self.block_on(self.registry().set_setting(PAUSED, &words.join(",")))?;
        Ok(paused)
    }

    /// What each worker may read and write in the background, in bytes a second; `None`: as fast as it
    /// can.
    pub fn background_rate(&self) -> Result<Option<u64>, Error> {
        self.number_setting(RATE)
    }

    /// Sets that.
    pub fn set_background_rate(&self, rate: Option<u64>) -> Result<(), Error> {
        let text = rate.map(|rate| rate.to_string()).unwrap_or_default();
        Ok(self.block_on(self.registry().set_setting(RATE, &text))?)
    }

    /// How fast the last whole check was, in bytes a second, waiting included.
    pub fn fixity_rate(&self) -> Result<Option<u64>, Error> {
        self.number_setting(MEASURED)
    }

    pub(crate) fn note_fixity_rate(&self, rate: u64) -> Result<(), Error> {
        Ok(self.block_on(self.registry().set_setting(MEASURED, &rate.to_string()))?)
    }

    fn number_setting(&self, name: &str) -> Result<Option<u64>, Error> {
        let text = self.block_on(self.registry().setting(name))?.unwrap_or_default();
        match text.as_str() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                Error::Internal(format!("the setting {name} is no number of bytes: {text}"))
            }),
        }
    }
}

/// Kinds of work in the background.
pub(crate) const BACKGROUND: &[WorkKind] = &[
    WorkKind::Fixity,
    WorkKind::Repair,
    WorkKind::Recode,
    WorkKind::Reclaim,
    WorkKind::Drain,
    WorkKind::Rebalance,
];

impl Job<'_> {
    /// Between two bounded steps of work in the background, the last of which read and wrote so many
    /// bytes: waits as long as it must. [`Error::Yielded`] where this worker is to do something else
    /// first, or the kind is paused; then what is done is committed, and the item goes back to the queue.
    pub(crate) fn pace(&self, bytes: u64) -> Result<(), Error> {
        self.stop.check()?;
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.bytes = pace.bytes.saturating_add(bytes);
        if pace.looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
            self.give_way(&mut pace)?;
            let rate = self.archive.background_rate()?;
            if rate != pace.rate || pace.since.is_none() {
                (pace.rate, pace.since, pace.bytes) = (rate, Some(Instant::now()), 0);
            }
            pace.looked = Some(Instant::now());
        }
        while let (Some(rate), Some(since)) = (pace.rate, pace.since) {
            let due = Duration::from_secs_f64(pace.bytes as f64 / rate.max(1) as f64);
            let left = due.saturating_sub(since.elapsed());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(POLL));
            self.stop.check()?;
            // The bound may have been lifted, or a person come, while it slept.
            self.give_way(&mut pace)?;
            if self.archive.background_rate()? != pace.rate {
                pace.looked = None;
                break;
            }
        }
        Ok(())
    }

    fn give_way(&self, pace: &mut Pace) -> Result<(), Error> {
        loop {
            if self.archive.paused()?.contains(&self.item.kind) {
                return Err(Error::Yielded);
            }
            let registry = self.archive.registry();
            // Whoever asked for this very item does not take other work.
            if !self.alone && self.archive.block_on(registry.somebody_waits(true, now()))? {
                return Err(Error::Yielded);
            }
            if !self.archive.block_on(registry.somebody_waits(false, now()))? {
                return Ok(());
            }
            if !std::mem::replace(&mut pace.told, true) {
                let kind = self.item.kind;
                self.progress.warn(&format!("{kind} waits while others deposit or restore"));
            }
            std::thread::sleep(POLL);
            self.stop.check()?;
            self.archive.free_the_dead()?;
        }
    }
}
