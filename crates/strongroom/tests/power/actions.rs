//! What is done with an archive. To add an action is to add a line to [`Action`] and to [`ACTIONS`], and
//! what it does to `World::once`.

use crate::source::{Files, Object, files_in};
use crate::world::{DATA, Miss, World, wrong};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use strongroom_intake::{
    Archive, Deposit, Error, FixityRequest, Form, RebuildRequest, RepairRequest, RestoreRequest,
    Runner, Stop,
};
use strongroom_record::{WorkId, WorkItem, WorkKind, WorkStatus};
use strongroom_registry::{Scope, WorkFilter};
use strongroom_spool::Disk as _;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Action {
    Deposit,
    Again,
    Restore,
    Fixity,
    Damage,
    Recode,
    Reopen,
    Delete,
    Reclaim,
    Rotate,
    Rebuild,
}

/// How often each is done, and what it is called.
pub(crate) const ACTIONS: &[(Action, u64, &str)] = &[
    (Action::Deposit, 8, "deposit"),
    (Action::Again, 3, "deposit of the same"),
    (Action::Restore, 6, "restore"),
    (Action::Fixity, 4, "fixity"),
    (Action::Damage, 3, "damage, fixity, repair"),
    (Action::Recode, 3, "policy, recode"),
    (Action::Reopen, 2, "close, open"),
    (Action::Delete, 5, "delete"),
    (Action::Reclaim, 4, "reclaim"),
    (Action::Rotate, 4, "rotate the key"),
    (Action::Rebuild, 3, "lose the registry, rebuild"),
];

impl Action {
    pub(crate) fn name(self) -> &'static str {
        let of = ACTIONS.iter().find(|(action, ..)| *action == self);
        of.map_or("(unlisted)", |(.., name)| name)
    }
}

impl World {
    /// Chooses what an action is done with, once, before its attempts.
    pub(crate) fn prepare(&mut self, action: Action) -> Result<(), Miss> {
        self.choice = self.draw.draw();
        match action {
            Action::Deposit => self.change_source(),
            Action::Again => self.objects.last_mut().expect("there is one").again(),
            Action::Recode => {
                let codings = ["copies=2", "copies=3", "4+2", "2+1"];
                self.coding = codings[self.draw.below(4) as usize].parse().unwrap();
            }
            Action::Delete => {
                let index = self.draw.below(self.objects.len() as u64) as usize;
                self.deleting = Some(self.objects[index].delete(index, &mut self.draw));
            }
            Action::Rebuild => self.lose_the_registry()?,
            _ => {}
        }
        match &self.deleting {
            Some(deleting) => self.say(&format!("{action:?} {:?}", deleting.target)),
            None => self.say(&format!("{action:?} {}", self.coding)),
        }
        Ok(())
    }

    pub(crate) fn once(&mut self, action: Action) -> Result<(), Miss> {
        match action {
            Action::Deposit | Action::Again => self.deposit(),
            Action::Restore => {
                let object = (self.choice % self.objects.len() as u64) as usize;
                let living = self.objects[object].living();
                match living.get(self.choice as usize / 64 % living.len().max(1)) {
                    Some(version) => self.restore(object, *version),
                    None => Ok(()),
                }
            }
            Action::Fixity => self.fixity().map(|_| ()),
            Action::Damage => self.damage(),
            Action::Recode => self.recode(),
            Action::Reopen => self.reopen(),
            Action::Delete => self.delete(),
            Action::Reclaim => self.reclaim(),
            Action::Rotate => {
                let item = self.archive().rotate_key("local")?;
                self.work(item.id).map(|_| ())
            }
            // The rebuild was done when the archive was opened. What was being written when the registry
            // was lost may stand on some shelves only.
            Action::Rebuild => self.mend(),
        }
    }

    /// What an action that was done to its end means for what must be.
    pub(crate) fn note_done(&mut self, action: Action) {
        let Some(deleting) = self.deleting.take() else {
            if let (Action::Deposit | Action::Again, Some(object)) =
                (action, self.objects.last_mut())
            {
                self.deposits += object.versions.len() - object.acknowledged;
                object.acknowledged = object.versions.len();
            }
            return;
        };
        match deleting.after {
            Some(versions) => self.objects[deleting.object].versions = versions,
            None => {
                let object = self.objects.remove(deleting.object);
                self.buried.push((object.name, object.id.expect("it was deposited")));
            }
        }
    }

    /// A new object, now and then under the name of a deleted one, or new files for the last one.
    fn change_source(&mut self) {
        if self.objects.is_empty() || self.draw.below(3) == 0 {
            self.names += 1;
            let living = |name: &String| self.objects.iter().any(|object| object.name == *name);
            let free =
                self.buried.iter().map(|(name, _)| name).rfind(|name| !living(name)).cloned();
            let again = free.filter(|_| self.draw.below(2) == 0);
            let name = again.unwrap_or_else(|| format!("local/o{}", self.names));
            let object = Object::new(name, self.names, self.place.path(), &mut self.draw);
            self.objects.push(object);
        }
        self.objects.last_mut().unwrap().change(&mut self.draw);
    }

    fn deposit(&mut self) -> Result<(), Miss> {
        let object = self.objects.last().unwrap();
        let deposit = Deposit {
            source: object.source.clone(),
            object: object.name.clone(),
            policy: None,
            accept_degraded: self.degraded,
            origin: None,
        };
        let name = object.name.clone();
        let item = self.archive().deposit(&deposit)?;
        let item = self.work(item.id)?;
        match item.report["outcome"].as_str() {
            Some("published" | "unchanged") => {
                let id = self.archive().find_object(&name)?.id;
                self.objects.last_mut().unwrap().id = Some(id);
                Ok(())
            }
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
        let expected = self.objects[object].versions[version].clone();
        match Some(self.restored(object, version)?) == expected {
            true => Ok(()),
            false => {
                let name = &self.objects[object].name;
                wrong(format!("{name}@{} came back with other files or bytes", version + 1))
            }
        }
    }

    /// What a version comes back as.
    pub(crate) fn restored(&mut self, object: usize, version: usize) -> Result<Files, Miss> {
        self.names += 1;
        let to = self.place.path().join(format!("restored-{}", self.names));
        let text = format!("{}@{}", self.objects[object].name, version + 1);
        let (_, found) = self.archive().find_version(&text)?;
        let request =
            RestoreRequest { version: found.id.to_string(), to: to.clone(), form: Form::Files };
        let item = self.archive().restore(&request)?;
        self.work(item.id)?;
        let files = files_in(&to);
        fs::remove_dir_all(&to).unwrap();
        Ok(files)
    }

    /// Checks every shard. How many are not good.
    pub(crate) fn fixity(&mut self) -> Result<u64, Miss> {
        let item = self.archive().fixity(&FixityRequest::default())?;
        let item = self.work(item.id)?;
        let count = |name: &str| item.report[name].as_u64().unwrap_or(u64::MAX);
        let bad = count("damaged") + count("missing");
        // A read that failed looks like damage.
        let harmed = self.damaged.is_some() || self.unrepaired || self.misread;
        match bad > 0 && !harmed && !self.injected {
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
            let shelf = &shelves[(self.choice % shelves.len() as u64) as usize];
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
        self.mend()?;
        self.damaged = None;
        Ok(())
    }

    /// What is not good is found and made anew.
    pub(crate) fn mend(&mut self) -> Result<(), Miss> {
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
        (self.unrepaired, self.misread) = (false, self.injected);
        match self.fixity()? > 0 && !self.injected {
            true => wrong("shards are bad after a repair"),
            false => Ok(()),
        }
    }

    fn recode(&mut self) -> Result<(), Miss> {
        let lacks =
            |world: &World| world.archive().vault().shelves().len() < usize::from(world.coding.n());
        if lacks(self) {
            // What an attempt before this one added only a new handle has.
            self.close();
            self.opened()?;
        }
        // One whose adding was cut off before it was known is added again.
        while lacks(self) {
            let vault = self.archive().vault();
            let name = format!("s{}", vault.shelves().len() + vault.missing().len());
            let path = Path::new(DATA).join("shelves").join(&name);
            self.archive().add_shelf(&name, &path, &name, None)?;
            self.close();
            self.opened()?;
        }
        let item = self.archive().set_policy(Scope::Archive, self.coding)?;
        self.work(item.id).map(|_| ())
    }

    /// As a process ends: it tells the shelves what they were not told yet.
    pub(crate) fn reopen(&mut self) -> Result<(), Miss> {
        self.runner().keep_journals();
        self.close();
        self.opened()
    }

    /// Has what was asked for deleted, also what an attempt before this one asked for.
    fn delete(&mut self) -> Result<(), Miss> {
        let target = &self.deleting.as_ref().expect("it was drawn").target;
        let archive = self.archive();
        let begun = match self.deletion_begun()? {
            Some(item) => Some(item),
            None => match archive.plan_deletion(target) {
                Ok(plan) => Some(archive.ask_deletion(plan, "no longer wanted", None, true)?),
                // Whether it may be gone, what is listed afterwards tells.
                Err(Error::NotFound { .. }) => None,
                Err(error) => return Err(error.into()),
            },
        };
        match begun {
            Some(item) => self.end_deletion(&item),
            None => Ok(()),
        }
    }

    fn deletion_begun(&self) -> Result<Option<WorkItem>, Miss> {
        let archive = self.archive();
        let filter = WorkFilter { kind: Some(WorkKind::Delete), ..WorkFilter::default() };
        let all = archive.block_on(archive.registry().work_list(filter, None, 1000))?;
        let over = |s: WorkStatus| matches!(s, WorkStatus::Succeeded | WorkStatus::Cancelled);
        Ok(all.into_iter().find(|item| !over(item.status)))
    }

    fn end_deletion(&self, item: &WorkItem) -> Result<(), Miss> {
        if item.status == WorkStatus::Trouble {
            self.archive().requeue(item.id, None)?;
        }
        self.work(item.id).map(|_| ())
    }

    /// A deletion that a rebuild had go on, and that met what was injected, is asked for again by whoever
    /// looks after the archive.
    pub(crate) fn end_deletions(&self) -> Result<(), Miss> {
        while self.rebuilt
            && let Some(item) = self.deletion_begun()?
        {
            self.end_deletion(&item)?;
        }
        Ok(())
    }

    fn reclaim(&mut self) -> Result<(), Miss> {
        // What a process writes itself it does not reclaim.
        if !self.choice.is_multiple_of(4) {
            self.reopen()?;
        }
        let item = self.archive().reclaim(None, self.choice % 8 > 3)?;
        let item = self.work(item.id)?;
        let not_done = item.report["not_done"].as_array().is_none_or(|all| !all.is_empty());
        match not_done && !self.injected && !self.struck && !self.unrepaired {
            true => wrong(format!("something is not reclaimed: {}", item.report["not_done"])),
            false => Ok(()),
        }
    }

    /// The registry is gone: what shelves and key do not tell is lost, and nothing else.
    fn lose_the_registry(&mut self) -> Result<(), Miss> {
        self.opened()?;
        self.told = self.choice.is_multiple_of(2);
        if self.told {
            self.runner().keep_journals();
        } else {
            // What no journal told of is lost.
            (self.head, self.lossy) = ((0, [0; 32]), true);
        }
        self.lose_the_database();
        Ok(())
    }

    pub(crate) fn lose_the_database(&mut self) {
        self.close();
        self.from = self.shelves();
        for (suffix, chance) in [("", 1), ("-wal", 2), ("-journal", 1), (".rebuilding", 1)] {
            if self.draw.below(chance) == 0 {
                self.sim.lose(&Path::new(DATA).join(format!("strongroom.db{suffix}")));
            }
        }
        (self.lost, self.rebuilt) = (true, true);
    }

    /// Makes the registry anew, or has it take in what its shelves have newer.
    pub(crate) fn rebuild(&mut self) -> Result<(), Miss> {
        let request = RebuildRequest { from: self.from.clone(), key: None };
        let found = strongroom_intake::rebuild(&self.options(), &request, &Stop::default(), &())?;
        self.say(&format!("rebuilt: {found:?}"));
        Ok(())
    }

    /// The folders that are shelves.
    pub(crate) fn shelves(&self) -> Vec<PathBuf> {
        let all = Path::new(DATA).join("shelves");
        let names = self.machine.list(&all).unwrap_or_default();
        let is_shelf =
            |path: &PathBuf| strongroom_vault::Identity::read(&self.machine, path).is_ok();
        let used = names.iter().filter(|name| !name.contains(".unused-"));
        used.map(|name| all.join(name)).filter(is_shelf).collect()
    }
}
