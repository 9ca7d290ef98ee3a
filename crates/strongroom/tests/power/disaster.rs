//! The disaster: a deletion, a coding anew or a reclaiming is interrupted at any moment, one shelf is taken
//! away and the registry is lost. It is made anew from the other shelves and the key; then the shelf returns.
//! What was deleted stays deleted, all else comes back bit for bit, also by `tools/recover.py`, no number is
//! given twice, nothing is taken for rubbish that is not, and in the end the accounts are equal to a scan.

use crate::actions::Action;
use crate::source::{Files, Object};
use crate::world::{DATA, Miss, World, wrong};
use crate::{TRAP, Trap, moments};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the shelf is that was taken away.
const AWAY: &str = "/srv/away";

/// What a round met.
#[derive(Default)]
pub(crate) struct Met {
    /// How the work was interrupted.
    pub(crate) how: String,
    /// Versions that the independent script restored.
    pub(crate) recovered: u64,
}

impl World {
    /// One round. `python` runs the independent script.
    pub(crate) fn disaster(&mut self, python: Option<&Path>) -> Result<Met, String> {
        self.quiet = true;
        self.fill()?;
        let action =
            [Action::Delete, Action::Delete, Action::Recode, Action::Recode, Action::Reclaim]
                [self.draw.below(5) as usize];
        let how = self.interrupt(action)?;
        let all = self.shelves();
        let away = all[self.draw.below(all.len() as u64) as usize].clone();
        self.say(&format!("{how}; {} goes away, the registry is lost", away.display()));
        assert!(self.sim.carry(&away, Path::new(AWAY)), "it is there");
        self.unrepaired = true;
        self.choice = self.draw.draw();
        (self.head, self.lossy) = ((0, [0; 32]), true);
        self.lose_the_database();
        self.perhaps_cut();
        self.tries("rebuild without a shelf", |_| Ok(()))?;
        self.undecided = self.deleting.take();
        let touched = self.undecided.as_ref().map(|going| self.objects[going.object].name.clone());
        self.settled("after the rebuild")?;
        let recovered = match python {
            Some(python) => self.recover(python, touched.as_deref())?,
            None => 0,
        };
        if let Some(going) = &mut self.undecided {
            // What is deposited next is a version of the object whose deletion is undecided.
            let last = self.objects.len() - 1;
            self.objects.swap(going.object, last);
            going.object = last;
        }
        if self.draw.below(2) == 0 {
            self.live_on()?;
        }
        self.close();
        assert!(self.sim.carry(Path::new(AWAY), &away), "it was taken away");
        if self.draw.below(2) == 0 {
            // Whoever clears up before the shelf is read must not lose what it alone has.
            self.perhaps_cut();
            let before = self.frames_on(&away)?;
            self.perform(Action::Reclaim)?;
            let after = self.frames_on(&away)?;
            if after < before {
                return Err(format!("{before} frames stood on a shelf that was away, now {after}"));
            }
        }
        self.close();
        // A rebuild, though there is a registry.
        (self.lost, self.choice, self.from) = (true, 0, self.shelves());
        self.perhaps_cut();
        self.tries("rebuild when the shelf is back", |_| Ok(()))?;
        self.settled("with the shelf back")?;
        self.undecided = None;
        self.perhaps_cut();
        self.tries("repair", World::mend)?;
        for _ in 0..2 {
            self.perform(Action::Deposit)?;
        }
        self.tries("check of all", |world| {
            world.check_shelves()?;
            world.check_all()
        })?;
        Ok(Met { how, recovered })
    }

    /// Some objects with some versions; things were deleted, coded anew, sealed to a new key before.
    fn fill(&mut self) -> Result<(), String> {
        for _ in 0..2 + self.draw.below(3) {
            self.perform(Action::Deposit)?;
        }
        for (action, of) in
            [(Action::Recode, 2), (Action::Delete, 3), (Action::Rotate, 4), (Action::Reclaim, 4)]
        {
            if self.draw.below(of) == 0 && !self.objects.is_empty() {
                self.perform(action)?;
                self.perform(Action::Deposit)?;
            }
        }
        if self.draw.below(2) == 0 {
            self.perform(Action::Reopen)?;
        }
        Ok(())
    }

    /// Begins an action, and cuts the power, or ends the process, at some moment of it.
    fn interrupt(&mut self, action: Action) -> Result<String, String> {
        if self.objects.is_empty() {
            self.perform(Action::Deposit)?;
        }
        self.told_of(action)?;
        let word = match action {
            Action::Delete => "delete.",
            Action::Recode => "recode.",
            _ => "reclaim.",
        };
        let kill = self.draw.below(2) == 0;
        if kill {
            self.sim.spare();
        }
        let its: Vec<_> =
            moments().enumerate().filter(|(_, name)| name.starts_with(word)).collect();
        let at = match self.draw.below(4) {
            0 => {
                self.sim.cut_at(self.draw.draw() % (1 << (3 + self.draw.below(7))));
                "anywhere"
            }
            // One shelf has it then, and another has not.
            1 => {
                self.sim.cut_at_kind(&["shelf log"], self.draw.below(30));
                "within a shelf's log"
            }
            _ => {
                let (moment, name) = its[self.draw.below(its.len() as u64) as usize];
                let trap = Trap { moment, after: self.draw.below(3), sim: self.sim.clone() };
                *TRAP.lock().unwrap() = Some(trap);
                name
            }
        };
        let outcome = self.opened().and_then(|()| self.once(action));
        *TRAP.lock().unwrap() = None;
        let ended = self.sim.is_on();
        match outcome {
            Err(Miss::Wrong(what)) => return Err(what),
            Err(Miss::Failed(error)) if ended => return Err(format!("without any fault: {error}")),
            Ok(()) => self.note_done(action),
            Err(Miss::Failed(_)) => {}
        }
        self.sim.cut();
        self.restart(action.name());
        Ok(match (ended, kill) {
            (true, _) => format!("{}, done to its end", action.name()),
            (false, true) => format!("{}, killed: {at}", action.name()),
            (false, false) => format!("{}, cut: {at}", action.name()),
        })
    }

    fn frames_on(&self, shelf: &Path) -> Result<usize, String> {
        match self.scan(&shelf.join("logs")) {
            Ok(frames) => Ok(frames.len()),
            Err(Miss::Wrong(what)) => Err(what),
            Err(Miss::Failed(error)) => Err(error.to_string()),
        }
    }

    /// The next step is interrupted too, now and then.
    fn perhaps_cut(&mut self) {
        if self.draw.below(4) == 0 {
            self.sim.cut_at(self.draw.draw() % (1 << (4 + self.draw.below(6))));
            if self.draw.below(4) == 0 {
                self.sim.spare();
            }
        }
    }

    fn told_of(&mut self, action: Action) -> Result<(), String> {
        match self.prepare(action) {
            Ok(()) => Ok(()),
            Err(Miss::Wrong(what)) => Err(what),
            Err(Miss::Failed(error)) => Err(format!("without any fault: {error}")),
        }
    }

    /// All is as it must be; of an interrupted deletion nothing was done, or all. One that was not done may
    /// still come to be, by a journal that only the missing shelf has.
    fn settled(&mut self, when: &str) -> Result<(), String> {
        let outcome = self.opened().and_then(|()| self.settle());
        match outcome {
            Ok(()) => Ok(()),
            Err(Miss::Wrong(what)) => Err(format!("{when}: {what}")),
            Err(Miss::Failed(error)) => Err(format!("{when}: {error}")),
        }
    }

    fn settle(&mut self) -> Result<(), Miss> {
        if let Some(going) = self.undecided.take() {
            let object = &self.objects[going.object];
            let before = object.versions.clone();
            let mut after = going.after.clone().unwrap_or_else(|| vec![None; going.before]);
            after.extend_from_slice(&before[going.before..]);
            if self.is_as(going.object, &after)? {
                self.objects[going.object].versions = after;
                let whole = going.after.is_none();
                if whole && self.archive().find_object(&self.objects[going.object].name).is_err() {
                    let object = self.objects.remove(going.object);
                    self.buried.push((object.name, object.id.expect("it was deposited")));
                }
            } else if self.is_as(going.object, &before)? {
                self.undecided = Some(going);
            } else {
                return wrong(format!("the deletion of {:?} is half done", going.target));
            }
        }
        self.check_listed()?;
        for object in 0..self.objects.len() {
            for version in self.objects[object].living() {
                self.restore(object, version)?;
            }
        }
        Ok(())
    }

    /// Whether an object's versions are these, each with these files.
    fn is_as(&mut self, object: usize, versions: &[Option<Files>]) -> Result<bool, Miss> {
        let published = self.published(&self.objects[object])?;
        let listed = |i: usize| published.contains(&(i + 1));
        if versions.iter().enumerate().any(|(i, files)| files.is_some() != listed(i)) {
            return Ok(false);
        }
        for (i, files) in versions.iter().enumerate() {
            if let Some(files) = files
                && self.restored(object, i)? != *files
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// With a shelf missing people deposit and delete all the same.
    fn live_on(&mut self) -> Result<(), String> {
        let (known, enough) = {
            let archive = self.archive();
            let registry = archive.registry();
            let local = archive.block_on(registry.institution_by_name("local"));
            let local = local.map_err(|e| e.to_string())?.ok_or("no institution")?;
            let coding = archive.block_on(registry.coding_for_all(local.id));
            let coding = coding.map_err(|e| e.to_string())?;
            let known = archive.block_on(registry.shelves()).map_err(|e| e.to_string())?;
            let n = usize::from(coding.n());
            (known.len() >= n, archive.vault().shelves().len() >= n)
        };
        // What no shelf is known for is refused, rightly.
        if known {
            self.perhaps_cut();
            self.degraded = true;
            self.perform(Action::Deposit)?;
            self.degraded = false;
        }
        if enough && self.undecided.is_none() && self.draw.below(2) == 0 {
            self.perhaps_cut();
            self.perform(Action::Delete)?;
        }
        Ok(())
    }

    /// The independent script restores a version from the shelves that are there, and the key. It reads no
    /// journals, so of what was `touched` by a deletion that was interrupted it may still have all.
    fn recover(&mut self, python: &Path, touched: Option<&str>) -> Result<u64, String> {
        let sure = |object: &&Object| {
            let again = self.buried.iter().any(|(name, _)| *name == object.name);
            !again && touched != Some(&object.name) && !object.living().is_empty()
        };
        let Some(object) = self.objects.iter().find(sure) else { return Ok(0) };
        let version = object.living()[0];
        let text = format!("{}@{}", object.name, version + 1);
        let files = object.versions[version].as_ref().expect("it lives");
        let out = self.place.path().join("carried");
        let mut command = Command::new(python);
        let copied = |from: &Path, to: PathBuf| {
            self.sim.copy_out(from, &to).map(|()| to).map_err(|e| e.to_string())
        };
        std::fs::create_dir_all(&out).map_err(|e| e.to_string())?;
        let key = copied(&Path::new(DATA).join("strongroom.key"), out.join("key"))?;
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/recover.py"));
        command.arg("--key").arg(key);
        for shelf in self.shelves() {
            let to = out.join(shelf.file_name().expect("a shelf has a name"));
            command.arg("--shelf").arg(copied(&shelf, to)?);
        }
        let to = out.join("recovered");
        command.arg("--to").arg(&to).args(["--", &text]);
        let output = command.output().map_err(|e| e.to_string())?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("tools/recover.py does not restore {text}: {said}"));
        }
        if crate::source::files_in(&to.join("data")) != *files {
            return Err(format!("tools/recover.py restores {text} with other files or bytes"));
        }
        std::fs::remove_dir_all(&out).map_err(|e| e.to_string())?;
        Ok(1)
    }
}
