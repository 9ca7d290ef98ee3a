//! One archive on one simulated disk, through whatever comes.

use crate::actions::{ACTIONS, Action};
use crate::source::{Deleting, Object};
use crate::{PASSED, moments};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use strongroom_intake::{Archive, Error, Options, Runner, Stop};
use strongroom_record::{Coding, Lease, ObjectId, SegmentId, WorkKind, WorkStatus};
use strongroom_registry::WorkFilter;
use strongroom_spool::testing::Random;
use strongroom_testkit::sim::{Fault, Machine, Sim};

/// Where the archive stands on the simulated disk.
pub(crate) const DATA: &str = "/srv/archive";
/// Attempts at one action; the later ones are left alone, so that each ends.
const TROUBLED_ATTEMPTS: u32 = 5;
const ATTEMPTS_MAX: u32 = 12;
/// Closing takes no longer than this.
const CLOSING_MAX: Duration = Duration::from_secs(10);
/// Kinds of paths.
const SHELVES: &[&str] = &["shelf log", "logs"];
const REGISTRY: &[&str] = &["registry", "registry log"];
/// So small that each batch of what is read becomes a segment of its own.
const SEGMENT_BYTES: u64 = 100_000;

pub(crate) struct World {
    tell: bool,
    pub(crate) draw: Random,
    pub(crate) sim: Sim,
    pub(crate) machine: Machine,
    archive: Option<Archive>,
    /// Sources and targets, on the real file system.
    pub(crate) place: tempfile::TempDir,
    pub(crate) objects: Vec<Object>,
    /// Objects that were deleted.
    pub(crate) buried: Vec<(String, ObjectId)>,
    /// Versions that were ever published.
    pub(crate) deposits: usize,
    /// What is being deleted.
    pub(crate) deleting: Option<Deleting>,
    /// An interrupted deletion of which nothing was done, and which a shelf that is away may tell of.
    pub(crate) undecided: Option<Deleting>,
    pub(crate) coding: Coding,
    /// The shelf that was damaged and is not repaired yet.
    pub(crate) damaged: Option<String>,
    /// What failed since the power came on, by injection.
    pub(crate) injected: bool,
    /// Whether a fault struck that fixity and repair have not gone over since.
    pub(crate) struck: bool,
    /// Whether that was a read that failed, which fixity takes for damage: what it noted so before it was
    /// interrupted it tells when it has gone on.
    pub(crate) misread: bool,
    /// The end of the chain of events, as it was acknowledged last.
    pub(crate) head: (u64, [u8; 32]),
    /// The registry was lost, and is not made anew yet.
    pub(crate) lost: bool,
    /// The shelves from which it is to be made.
    pub(crate) from: Vec<PathBuf>,
    /// Whether the shelves had been told of all when it was.
    pub(crate) told: bool,
    /// It was lost once; and what no journal told of was lost with it.
    pub(crate) rebuilt: bool,
    pub(crate) lossy: bool,
    /// Segments on the shelves of which nothing told when the registry was rebuilt.
    pub(crate) strangers: BTreeSet<SegmentId>,
    /// A shelf was away, and nothing was repaired since.
    pub(crate) unrepaired: bool,
    /// Whether deposits go on where a shelf is missing.
    pub(crate) degraded: bool,
    /// Whether nothing is to fail.
    pub(crate) quiet: bool,
    /// Whether another process helps.
    pub(crate) helped: bool,
    /// What was drawn for the action, the same for each attempt.
    pub(crate) choice: u64,
    pub(crate) names: u64,
    wal_pages: u32,
    pub(crate) done: BTreeMap<&'static str, Done>,
    pub(crate) moments: BTreeMap<&'static str, u64>,
}

/// How often an action came to its end, and what came between.
#[derive(Clone, Copy, Default)]
pub(crate) struct Done {
    pub(crate) done: u64,
    pub(crate) cuts: u64,
    pub(crate) kills: u64,
    pub(crate) faults: u64,
}

/// Why an attempt did not end well.
pub(crate) enum Miss {
    /// As it may when the power goes or something fails.
    Failed(Error),
    /// As it must not.
    Wrong(String),
}

impl From<Error> for Miss {
    fn from(error: Error) -> Miss {
        Miss::Failed(error)
    }
}

impl From<strongroom_registry::Error> for Miss {
    fn from(error: strongroom_registry::Error) -> Miss {
        Miss::Failed(error.into())
    }
}

pub(crate) fn wrong<T>(what: impl Into<String>) -> Result<T, Miss> {
    Err(Miss::Wrong(what.into()))
}

impl World {
    pub(crate) fn new(seed: u64, tell: bool) -> World {
        let mut draw = Random(seed);
        let sim = Sim::new(draw.draw(), kind_of);
        let memory = Path::new("/dev/shm");
        let place = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        World {
            tell,
            machine: sim.power_on(),
            sim,
            archive: None,
            place: place.unwrap(),
            objects: Vec::new(),
            buried: Vec::new(),
            deposits: 0,
            deleting: None,
            undecided: None,
            coding: "copies=2".parse().unwrap(),
            damaged: None,
            injected: false,
            struck: false,
            misread: false,
            head: (0, [0; 32]),
            lost: false,
            from: Vec::new(),
            told: false,
            rebuilt: false,
            lossy: false,
            strangers: BTreeSet::new(),
            unrepaired: false,
            degraded: false,
            quiet: false,
            helped: false,
            choice: 0,
            names: 0,
            wal_pages: [10, 50, 200, 4000][draw.below(4) as usize],
            done: BTreeMap::new(),
            moments: BTreeMap::new(),
            draw,
        }
    }

    pub(crate) fn run(&mut self) -> Result<(), String> {
        for _ in 0..3 + self.draw.below(5) {
            let all: u64 = ACTIONS.iter().map(|(_, weight, _)| weight).sum();
            let mut at = self.draw.below(all);
            let chosen = ACTIONS.iter().find(|(_, weight, _)| {
                let here = at < *weight;
                at = at.saturating_sub(*weight);
                here
            });
            let action = match (chosen, self.objects.is_empty()) {
                (Some((action, ..)), false) => *action,
                _ => Action::Deposit,
            };
            self.perform(action)?;
        }
        self.say("all is checked");
        self.tries("check of all", |world| {
            world.check_shelves()?;
            world.check_all()
        })
    }

    /// Does one thing to its end, through whatever comes.
    pub(crate) fn perform(&mut self, action: Action) -> Result<(), String> {
        match self.prepare(action) {
            Ok(()) => {}
            Err(Miss::Wrong(what)) => return Err(what),
            Err(Miss::Failed(error)) => return Err(format!("without any fault: {error}")),
        }
        self.tries(action.name(), |world| world.once(action))?;
        self.note_done(action);
        self.done.entry(action.name()).or_default().done += 1;
        Ok(())
    }

    /// Attempts something until it succeeds, and looks at what is left after each cut.
    pub(crate) fn tries(
        &mut self,
        name: &'static str,
        once: impl Fn(&mut World) -> Result<(), Miss>,
    ) -> Result<(), String> {
        for attempt in 0..ATTEMPTS_MAX {
            if attempt < TROUBLED_ATTEMPTS && !self.quiet {
                self.trouble();
            }
            PASSED.store(usize::MAX, Ordering::Relaxed);
            let (faults, misread) = (self.faults(), self.misread());
            let outcome = self.opened().and_then(|()| once(self));
            let outcome = match outcome {
                Ok(()) if self.sim.is_on() => {
                    self.acknowledge().and_then(|()| self.check_shelves())
                }
                outcome => outcome,
            };
            let struck = self.faults() - faults;
            self.struck |= struck > 0;
            self.misread |= self.misread() > misread;
            self.done.entry(name).or_default().faults += struck;
            let on = self.sim.is_on();
            match outcome {
                Ok(()) => {
                    if on {
                        self.sim.cut_never();
                        self.calm();
                    } else {
                        self.restart(name);
                    }
                    return Ok(());
                }
                Err(Miss::Wrong(what)) => return Err(what),
                Err(Miss::Failed(error)) if !on => {
                    self.say(&format!("the power went: {error}"));
                    self.restart(name);
                }
                Err(Miss::Failed(error)) if self.injected => {
                    self.say(&format!("what was injected struck: {error}"));
                    self.calm();
                    // A process that could not open the archive ends.
                    if self.draw.below(2) == 0 || self.archive.is_none() {
                        self.close();
                    } else if let Err(Miss::Wrong(what)) = self.release_leases() {
                        return Err(what);
                    }
                }
                Err(Miss::Failed(error)) => return Err(format!("without any fault: {error}")),
            }
        }
        Err("it does not come to an end".into())
    }

    fn faults(&self) -> u64 {
        self.sim.counts().faults.values().sum()
    }

    fn misread(&self) -> u64 {
        let counts = self.sim.counts();
        let reads = counts.faults.iter().filter(|((fault, _), _)| *fault == Fault::ReadFails);
        reads.map(|(_, n)| n).sum()
    }

    /// Says when the power goes, and what fails.
    fn trouble(&mut self) {
        if self.draw.below(3) < 2 {
            // Anywhere within an action, soon, where opening is, or near what the registry does less of.
            match self.draw.below(4) {
                0 => self.sim.cut_at(self.draw.draw() % (1 << (1 + self.draw.below(9)))),
                1 => self.sim.cut_at(self.draw.below(800)),
                2 => self.sim.cut_at_kind(SHELVES, self.draw.below(30)),
                _ => {
                    let kinds: &[_] = &[
                        "registry",
                        "registry journal",
                        "key",
                        "identity",
                        "folder",
                        "shelf note",
                    ];
                    self.sim.cut_at_kind(kinds, self.draw.below(40));
                }
            }
        }
        self.helped = self.draw.below(8) == 0;
        if self.draw.below(3) == 0 {
            self.sim.spare();
        }
        if self.draw.below(4) == 0 {
            let kinds = [SHELVES, REGISTRY, &[]][self.draw.below(3) as usize];
            let fault = match self.draw.below(5) {
                0 | 1 => Fault::SyncFails,
                2 => Fault::WriteFails,
                3 => Fault::ReadFails,
                _ => Fault::NoSpace,
            };
            let after = self.draw.draw() % (1 << (1 + self.draw.below(6)));
            self.sim.inject(fault, kinds, after);
            self.injected = true;
        }
    }

    fn calm(&mut self) {
        self.sim.clear_faults();
        (self.injected, self.helped) = (false, false);
    }

    /// After a cut.
    pub(crate) fn restart(&mut self, name: &'static str) {
        let moment = moments().nth(PASSED.load(Ordering::Relaxed));
        *self.moments.entry(moment.unwrap_or("(before the first)")).or_default() += 1;
        let before = self.done.values().map(|done| done.kills).sum::<u64>();
        let kills = self.sim.counts().kills.values().sum::<u64>() - before;
        let done = self.done.entry(name).or_default();
        done.kills += kills;
        done.cuts += 1 - kills;
        self.close();
        self.calm();
        self.machine = self.sim.power_on();
    }

    pub(crate) fn close(&mut self) {
        if let Some(archive) = self.archive.take() {
            archive.block_on(archive.registry().clone().close());
        }
        // A process that dies has nothing open; here what failed to be opened is closed behind our back.
        let begun = Instant::now();
        while self.sim.open_by_sqlite() > 0 && begun.elapsed() < CLOSING_MAX {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Opens the archive where it is not open; what is queued is worked off, and compared.
    pub(crate) fn opened(&mut self) -> Result<(), Miss> {
        if self.archive.is_some() {
            return Ok(());
        }
        let opened = match self.lost {
            true => self.found_again()?,
            false => Archive::open_or_create(&self.options())?.archive,
        };
        if let Some(why) = opened.behind() {
            return wrong(format!("the registry is behind: {why}"));
        }
        let archive = opened;
        let missing = archive.vault().missing().first().map(|missing| missing.why.clone());
        self.archive = Some(archive);
        if let (Some(why), true) = (missing, self.injected) {
            self.close();
            return Err(Error::Internal(why).into());
        }
        self.check_head()?;
        self.check_shelves()?;
        self.release_leases()?;
        let runner = self.runner();
        let mut bad = None;
        runner.run_all::<Error>(false, &mut |ended| {
            // With too few shelves known a journal cannot be stored; it is once they are back.
            let waits = self.unrepaired && ended.item.kind == WorkKind::Journal;
            bad = ended.error.filter(|_| !waits).or(bad.take());
            Ok(())
        })?;
        match bad {
            Some(error) => Err(error.into()),
            None => self.check_listed(),
        }
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            disk: Arc::new(self.machine.clone()),
            registry: strongroom_registry::Options {
                vfs: Some(self.machine.vfs()),
                busy_seconds_max: 5,
                wal_pages_max: self.wal_pages,
                ..Default::default()
            },
            scratch: self.place.path().into(),
            segment_bytes: SEGMENT_BYTES,
            ..Options::new(DATA.into())
        }
    }

    pub(crate) fn archive(&self) -> &Archive {
        self.archive.as_ref().expect("it was opened")
    }

    pub(crate) fn runner(&self) -> Runner {
        Runner::new(self.archive(), Stop::default(), Arc::new(()))
    }

    /// The archive, once its registry is made anew.
    fn found_again(&mut self) -> Result<Archive, Miss> {
        let known = |world: &World| Archive::open(&world.options());
        // One that was interrupted at its very end may have left a registry that is whole.
        let there = match self.choice % 3 {
            0 => None,
            _ => known(self).ok().filter(|archive| archive.behind().is_none()),
        };
        let archive = match there {
            Some(archive) => archive,
            None => {
                self.rebuild()?;
                known(self)?
            }
        };
        self.archive = Some(archive.clone());
        self.strangers = self.unregistered()?;
        self.archive = None;
        (self.lost, self.unrepaired) = (false, true);
        Ok(archive)
    }

    /// As time does: a dead process may have left no lock by which it is known to be dead.
    fn release_leases(&mut self) -> Result<(), Miss> {
        let filter = WorkFilter { status: Some(WorkStatus::Running), ..Default::default() };
        let Some(archive) = &self.archive else { return Ok(()) };
        for item in archive.block_on(archive.registry().work_list(filter, None, 1000))? {
            let until = item.lease_until.unwrap_or_default();
            let lease = Lease { work: item.id, token: item.token, until };
            archive.block_on(archive.registry().release(&lease, archive.now()))?;
        }
        Ok(())
    }

    /// From here on the events of now are acknowledged.
    fn acknowledge(&mut self) -> Result<(), Miss> {
        let archive = self.archive();
        let Some(local) = archive.block_on(archive.registry().institution_by_name("local"))? else {
            return wrong("the institution is gone");
        };
        let head = archive.block_on(archive.registry().event_head(local.id))?;
        self.head = (head.sequence, head.hash.0);
        Ok(())
    }

    pub(crate) fn say(&self, what: &str) {
        if self.tell {
            eprintln!("{:>7}  {what}", self.sim.ops());
        }
    }
}

/// What a path of the simulated disk is.
fn kind_of(path: &Path) -> &'static str {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match &*name {
        "strongroom.db" | "strongroom.db.rebuilding" => "registry",
        "strongroom.db-wal" | "strongroom.db.rebuilding-wal" => "registry log",
        "strongroom.db-journal" | "strongroom.db.rebuilding-journal" => "registry journal",
        "logs" => "logs",
        _ if name.starts_with("strongroom.key") || name == "strongroom.new" => "key",
        _ if name.contains("strongroom-shelf.json") => "identity",
        _ if name.ends_with(".lock") => "lock",
        _ if path.parent().is_some_and(|above| above.ends_with("logs")) => "shelf log",
        _ => "folder",
    }
}
