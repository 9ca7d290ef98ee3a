//! One archive on one simulated disk, and what is done with it.

use crate::PASSED;
use crate::source::{Object, files_in};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use strongroom_intake::{
    Archive, Deposit, Error, FAIL_POINTS, FixityRequest, Form, Options, RepairRequest,
    RestoreRequest, Runner, Stop,
};
use strongroom_record::{Coding, Lease, WorkId, WorkItem, WorkStatus};
use strongroom_registry::{Scope, WorkFilter};
use strongroom_spool::testing::Random;
use strongroom_testkit::sim::{Fault, Machine, Sim};

/// Where the archive stands on the simulated disk.
const DATA: &str = "/srv/archive";
/// Attempts at one action; the later ones are left alone, so that each ends.
const TROUBLED_ATTEMPTS: u32 = 5;
const ATTEMPTS_MAX: u32 = 12;
/// Kinds of paths.
const SHELVES: &[&str] = &["shelf log", "logs"];
const REGISTRY: &[&str] = &["registry", "registry log"];
/// So small that each batch of what is read becomes a segment of its own.
const SEGMENT_BYTES: u64 = 100_000;

/// What is done. To add an action is to add a line here, to [`ACTIONS`] and to `World::once`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Action {
    Deposit,
    Again,
    Restore,
    Fixity,
    Damage,
    Recode,
    Reopen,
}

/// How often each is done.
const ACTIONS: &[(Action, u64)] = &[
    (Action::Deposit, 8),
    (Action::Again, 2),
    (Action::Restore, 2),
    (Action::Fixity, 2),
    (Action::Damage, 3),
    (Action::Recode, 3),
    (Action::Reopen, 3),
];

pub(crate) struct World {
    tell: bool,
    draw: Random,
    pub(crate) sim: Sim,
    pub(crate) machine: Machine,
    archive: Option<Archive>,
    /// Sources and targets, on the real file system.
    place: tempfile::TempDir,
    pub(crate) objects: Vec<Object>,
    coding: Coding,
    /// The shelf that was damaged and is not repaired yet.
    pub(crate) damaged: Option<String>,
    /// What failed since the power came on, by injection.
    pub(crate) injected: bool,
    /// The end of the chain of events, as it was acknowledged last.
    pub(crate) head: (u64, [u8; 32]),
    /// Whether another process helps.
    helped: bool,
    names: u64,
    wal_pages: u32,
    pub(crate) done: BTreeMap<&'static str, u64>,
    pub(crate) moments: BTreeMap<&'static str, u64>,
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
            coding: "copies=2".parse().unwrap(),
            damaged: None,
            injected: false,
            head: (0, [0; 32]),
            helped: false,
            names: 0,
            wal_pages: [10, 50, 200, 4000][draw.below(4) as usize],
            done: BTreeMap::new(),
            moments: BTreeMap::new(),
            draw,
        }
    }

    pub(crate) fn run(&mut self) -> Result<(), String> {
        for _ in 0..3 + self.draw.below(5) {
            let all: u64 = ACTIONS.iter().map(|(_, weight)| weight).sum();
            let mut at = self.draw.below(all);
            let chosen = ACTIONS.iter().find(|(_, weight)| {
                let here = at < *weight;
                at = at.saturating_sub(*weight);
                here
            });
            let action = match (chosen, self.objects.is_empty()) {
                (Some((action, _)), false) => *action,
                _ => Action::Deposit,
            };
            self.perform(action)?;
        }
        self.say("all is checked");
        self.tries(|world| {
            world.check_shelves()?;
            world.check_all()
        })
    }

    /// Does one thing to its end, through whatever comes.
    fn perform(&mut self, action: Action) -> Result<(), String> {
        self.prepare(action);
        self.tries(|world| world.once(action))?;
        if let (Action::Deposit, Some(object)) = (action, self.objects.last_mut()) {
            object.acknowledged = object.versions.len();
        }
        *self.done.entry(name_of(action)).or_default() += 1;
        Ok(())
    }

    /// Attempts something until it succeeds, and looks at what is left after each cut.
    fn tries(&mut self, once: impl Fn(&mut World) -> Result<(), Miss>) -> Result<(), String> {
        for attempt in 0..ATTEMPTS_MAX {
            if attempt < TROUBLED_ATTEMPTS {
                self.trouble();
            }
            PASSED.store(FAIL_POINTS.len(), Ordering::Relaxed);
            let outcome = self.opened().and_then(|()| once(self));
            let outcome = match outcome {
                Ok(()) if self.sim.is_on() => {
                    self.acknowledge().and_then(|()| self.check_shelves())
                }
                outcome => outcome,
            };
            let on = self.sim.is_on();
            match outcome {
                Ok(()) => {
                    if on {
                        self.sim.cut_never();
                        self.calm();
                    } else {
                        self.restart();
                    }
                    return Ok(());
                }
                Err(Miss::Wrong(what)) => return Err(what),
                Err(Miss::Failed(error)) if !on => {
                    self.say(&format!("the power went: {error}"));
                    self.restart();
                }
                Err(Miss::Failed(error)) if self.injected => {
                    self.say(&format!("what was injected struck: {error}"));
                    self.calm();
                    if self.draw.below(2) == 0 {
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

    /// Says when the power goes, and what fails.
    fn trouble(&mut self) {
        if self.draw.below(3) < 2 {
            // Anywhere within an action, soon, where opening is, or near what the registry does less of.
            match self.draw.below(4) {
                0 => self.sim.cut_at(self.draw.draw() % (1 << (1 + self.draw.below(9)))),
                1 => self.sim.cut_at(self.draw.below(800)),
                2 => self.sim.cut_at_kind(SHELVES, self.draw.below(30)),
                _ => {
                    let kinds: &[_] =
                        &["registry", "registry journal", "key", "identity", "folder"];
                    self.sim.cut_at_kind(kinds, self.draw.below(40));
                }
            }
        }
        self.helped = self.draw.below(8) == 0;
        if self.draw.below(4) == 0 {
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
    fn restart(&mut self) {
        let moment = FAIL_POINTS.get(PASSED.load(Ordering::Relaxed));
        *self.moments.entry(moment.copied().unwrap_or("(before the first)")).or_default() += 1;
        self.close();
        self.calm();
        self.machine = self.sim.power_on();
    }

    fn close(&mut self) {
        if let Some(archive) = self.archive.take() {
            archive.block_on(archive.registry().clone().close());
        }
    }

    /// Opens the archive where it is not open; what is queued is worked off, and compared.
    fn opened(&mut self) -> Result<(), Miss> {
        if self.archive.is_some() {
            return Ok(());
        }
        let archive = Archive::open_or_create(&self.options())?.archive;
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
            bad = ended.error.or(bad.take());
            Ok(())
        })?;
        match bad {
            Some(error) => Err(error.into()),
            None => self.check_listed(),
        }
    }

    fn options(&self) -> Options {
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

    /// Chooses what an action is done with, once, before its attempts.
    fn prepare(&mut self, action: Action) {
        match action {
            Action::Deposit => self.change_source(),
            Action::Recode => {
                let codings = ["copies=2", "copies=3", "4+2", "2+1"];
                self.coding = codings[self.draw.below(4) as usize].parse().unwrap();
            }
            _ => {}
        }
        self.say(&format!("{action:?} {}", self.coding));
    }

    fn once(&mut self, action: Action) -> Result<(), Miss> {
        match action {
            Action::Deposit | Action::Again => self.deposit(),
            Action::Restore => {
                let object = self.draw.below(self.objects.len() as u64) as usize;
                let versions = self.objects[object].versions.len() as u64;
                self.restore(object, self.draw.clone().below(versions) as usize)
            }
            Action::Fixity => self.fixity().map(|_| ()),
            Action::Damage => self.damage(),
            Action::Recode => self.recode(),
            Action::Reopen => {
                // As a process ends: it tells the shelves what they were not told yet.
                self.runner().keep_journals();
                self.close();
                self.opened()
            }
        }
    }

    /// A new object, or new files for the last one.
    fn change_source(&mut self) {
        if self.objects.is_empty() || self.draw.below(3) == 0 {
            let number = self.objects.len();
            self.objects.push(Object::new(number, self.place.path(), &mut self.draw));
        }
        self.objects.last_mut().unwrap().change(&mut self.draw);
    }

    fn deposit(&mut self) -> Result<(), Miss> {
        let object = self.objects.last().unwrap();
        let deposit = Deposit {
            source: object.source.clone(),
            object: object.name.clone(),
            policy: None,
            accept_degraded: false,
            origin: None,
        };
        let item = self.archive().deposit(&deposit)?;
        let item = self.work(item.id)?;
        match item.report["outcome"].as_str() {
            Some("published" | "unchanged") => Ok(()),
            other => wrong(format!("a deposit ends as {other:?}")),
        }
    }

    /// Works on an item to its end; where it is so drawn, with another process beside this one.
    pub(crate) fn work(&self, id: WorkId) -> Result<WorkItem, Miss> {
        let (ended, helped) = std::thread::scope(|scope| {
            let helper = self.helped.then(|| scope.spawn(|| self.help()));
            let ended = self.runner().run_one(id);
            (ended, helper.map_or(Ok(()), |helper| helper.join().expect("it does not panic")))
        });
        let ended = ended?;
        helped?;
        match (ended.item.status, ended.error) {
            (WorkStatus::Succeeded, None) => Ok(ended.item),
            (_, Some(error)) => Err(error.into()),
            // What the other process met.
            (WorkStatus::Trouble, None) if self.injected => {
                Err(Error::Internal(ended.item.note).into())
            }
            (status, None) => wrong(format!("{} ends as {status}", ended.item.kind)),
        }
    }

    /// As another process on the same machine: does what is queued.
    fn help(&self) -> Result<(), Error> {
        let archive = Archive::open(&self.options())?;
        let runner = Runner::new(&archive, Stop::default(), Arc::new(()));
        let done = runner.run_all(false, &mut |_| Ok(()));
        archive.block_on(archive.registry().clone().close());
        done
    }

    pub(crate) fn restore(&mut self, object: usize, version: usize) -> Result<(), Miss> {
        self.names += 1;
        let to = self.place.path().join(format!("restored-{}", self.names));
        let text = format!("{}@{}", self.objects[object].name, version + 1);
        let (_, found) = self.archive().find_version(&text)?;
        let request =
            RestoreRequest { version: found.id.to_string(), to: to.clone(), form: Form::Files };
        let item = self.archive().restore(&request)?;
        self.work(item.id)?;
        let expected = &self.objects[object].versions[version];
        if files_in(&to) != *expected {
            return wrong(format!("{text} came back with other files or bytes"));
        }
        fs::remove_dir_all(&to).unwrap();
        Ok(())
    }

    /// Checks every shard. How many are not good.
    pub(crate) fn fixity(&mut self) -> Result<u64, Miss> {
        let item = self.archive().fixity(&FixityRequest::default())?;
        let item = self.work(item.id)?;
        let count = |name: &str| item.report[name].as_u64().unwrap_or(u64::MAX);
        let bad = count("damaged") + count("missing");
        // A read that failed looks like damage.
        match bad > 0 && self.damaged.is_none() && !self.injected {
            true => {
                wrong(format!("shards are bad that nobody harmed: {}", item.report["problems"]))
            }
            false => Ok(bad),
        }
    }

    /// Harms one shelf, has it found and repaired.
    fn damage(&mut self) -> Result<(), Miss> {
        if self.damaged.is_none() {
            let shelves = self.archive().vault().shelves();
            let shelf = &shelves[self.draw.clone().below(shelves.len() as u64) as usize];
            let (name, path) = (shelf.spec().name.clone(), shelf.spec().path.join("logs"));
            let (found, logs) = (self.scan(&path)?, self.logs(&path)?);
            for frame in found.iter().filter(|frame| frame.location.len > 0).step_by(7) {
                let at = &frame.location;
                let middle =
                    at.offset + strongroom_spool::HEAD_BYTES as u64 + u64::from(at.len / 2);
                self.sim.flip(&path.join(&logs[&at.log]), middle);
            }
            self.damaged = Some(name);
        }
        self.fixity()?;
        let item = self.archive().repair(&RepairRequest::default())?;
        let item = self.work(item.id)?;
        if item.report["lost"].as_array().is_none_or(|lost| !lost.is_empty()) {
            let what = format!("segments are lost: {}", item.report["lost"]);
            return match self.injected {
                true => Err(Error::Internal(what).into()),
                false => wrong(what),
            };
        }
        if self.fixity()? > 0 && !self.injected {
            return wrong("shards are bad after a repair");
        }
        self.damaged = None;
        Ok(())
    }

    fn recode(&mut self) -> Result<(), Miss> {
        // A shelf whose adding was cut off may be known or not; one that is made anew stands elsewhere.
        while self.archive().vault().shelves().len() < usize::from(self.coding.n()) {
            self.names += 1;
            let name = format!("s{}", self.names);
            let path = Path::new(DATA).join("shelves").join(&name);
            self.archive().add_shelf(&name, &path, &name, None)?;
            self.close();
            self.opened()?;
        }
        let item = self.archive().set_policy(Scope::Archive, self.coding)?;
        self.work(item.id).map(|_| ())
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

    fn say(&self, what: &str) {
        if self.tell {
            eprintln!("{:>7}  {what}", self.sim.ops());
        }
    }
}

/// What a path of the simulated disk is.
fn kind_of(path: &Path) -> &'static str {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match &*name {
        "strongroom.db" => "registry",
        "strongroom.db-wal" => "registry log",
        "strongroom.db-journal" => "registry journal",
        "logs" => "logs",
        _ if name.starts_with("strongroom.key") || name == "strongroom.new" => "key",
        _ if name.contains("strongroom-shelf.json") => "identity",
        _ if name.ends_with(".lock") => "lock",
        _ if path.parent().is_some_and(|above| above.ends_with("logs")) => "shelf log",
        _ => "folder",
    }
}

fn name_of(action: Action) -> &'static str {
    match action {
        Action::Deposit => "deposit",
        Action::Again => "deposit of the same",
        Action::Restore => "restore",
        Action::Fixity => "fixity",
        Action::Damage => "damage, fixity, repair",
        Action::Recode => "policy, recode",
        Action::Reopen => "close, open",
    }
}
