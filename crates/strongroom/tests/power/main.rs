//! The power campaign: whole archives upon a simulated disk (`testkit::sim`) that loses its power at any
//! operation, at one moment for shelves and registry, that fails syncs, writes and reads, and runs full.
//! After each cut the archive is opened on what survived, and goes on. Nothing that was acknowledged may be
//! lost, nothing may be there twice, no work may be stuck, and what the registry says of the shelves must be
//! what a scan of their logs finds.
//!
//! ```text
//! cargo test -p strongroom --features failpoints --test power -- --seeds 5000
//!     [--from N]      the first seed; each is a small archive and a series of actions
//!     [--seed N]      this seed alone, telling what it does
//!     [--plant BUG]   the campaign fails unless it finds the bug: missing-sync (of a shelf), early-commit
//!                     (the registry's, before the shelves' syncs), lost-folder-sync (by the disk),
//!                     raise-dead (rebuild passes over tombstones; with --rebuild)
//!     [--rebuild]     each seed is a disaster instead: work is interrupted, a shelf goes away and the
//!                     registry is lost, it is rebuilt, the shelf returns (`disaster`)
//! ```
//!
//! A seed decides what is done, at which operation the power goes and what survives. Identifiers, keys and
//! the order in which threads come to the disk are not the seed's: a failing seed mostly fails again, but not
//! always at the same operation. Leases that a dead process left are released instead of waited for.
#![allow(clippy::unwrap_used)]

mod actions;
mod check;
mod disaster;
mod source;
mod world;

use actions::ACTIONS;
use disaster::Met;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use strongroom_intake::{FAIL_POINTS, KEY_FAIL_POINTS};
use strongroom_testkit::sim::{Counts, Sim};
use world::{Done, World};

/// Seeds after which a planted bug must have been found.
const PLANTED_SEEDS_MAX: u64 = 300;
/// So many seeds cut and kill each action at least once, or the campaign is no longer what it was.
const SEEDS_FOR_ALL: u64 = 300;
/// A seed that takes longer hangs, in seconds.
const PATIENCE_SECONDS: u64 = 120;

/// The moment of work that was passed last, as an index of [`moments`] (beyond them: none yet).
static PASSED: AtomicUsize = AtomicUsize::new(0);
/// The seed that runs, and when it began (seconds since the start), for who watches over it.
static SEED: AtomicU64 = AtomicU64::new(0);
static BEGAN: AtomicU64 = AtomicU64::new(0);

/// A cut, or the end of the process, at a moment of work that is passed for the `after`-th time, 0 being
/// the next.
struct Trap {
    moment: usize,
    after: u64,
    sim: Sim,
}

static TRAP: Mutex<Option<Trap>> = Mutex::new(None);

fn pass(moment: usize) {
    PASSED.store(moment, Ordering::Relaxed);
    let mut trap = TRAP.lock().unwrap();
    match trap.as_mut().filter(|trap| trap.moment == moment) {
        Some(trap) if trap.after > 0 => trap.after -= 1,
        Some(trap) => trap.sim.cut(),
        None => {}
    }
}

/// Moments of work.
fn moments() -> impl Iterator<Item = &'static str> {
    FAIL_POINTS.iter().chain(KEY_FAIL_POINTS).copied()
}

fn main() -> ExitCode {
    let args = Args::parse();
    for (i, moment) in moments().enumerate() {
        fail::cfg_callback(moment, move || pass(i)).unwrap();
    }
    if let Some(bug) = &args.plant {
        // The last is the disk's.
        fail::cfg(format!("planted.{bug}"), "return").unwrap();
    }
    let begun = Instant::now();
    std::thread::spawn(move || watch(begun));
    let mut tally = Tally::default();
    let mut found = None;
    let python = args.rebuild.then(strongroom_testkit::python).flatten();
    for seed in args.from..args.from + args.seeds {
        SEED.store(seed, Ordering::Relaxed);
        BEGAN.store(begun.elapsed().as_secs(), Ordering::Relaxed);
        let mut world = World::new(seed, args.tell);
        if args.plant.as_deref() == Some("lost-folder-sync") {
            world.sim.lie_about_syncs_of("logs");
        }
        let outcome = match args.rebuild {
            false => world.run(),
            true => world.disaster(python.as_deref()).map(|met| tally.note(met)),
        };
        tally.add(&world);
        if tally.seeds % 500 == 0 {
            eprintln!("{} seeds, {:.0} s", tally.seeds, begun.elapsed().as_secs_f64());
        }
        if let Err(what) = outcome {
            found = Some(format!("seed {seed}: {what}"));
            break;
        }
    }
    tally.print(begun.elapsed());
    let found = found.or_else(|| tally.lacks().filter(|_| !args.rebuild));
    match (args.plant, found) {
        (None, None) => {
            println!("power: {} seeds: nothing lost, nothing twice", tally.seeds);
            ExitCode::SUCCESS
        }
        (None, Some(what)) => {
            println!("power: FAILED: {what}");
            ExitCode::FAILURE
        }
        (Some(bug), Some(what)) => {
            println!("power: planted.{bug} was found: {what}");
            ExitCode::SUCCESS
        }
        (Some(bug), None) => {
            println!("power: FAILED: planted.{bug} was not found in {} seeds", tally.seeds);
            ExitCode::FAILURE
        }
    }
}

/// Ends the process when a seed hangs.
fn watch(begun: Instant) {
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let began = BEGAN.load(Ordering::Relaxed);
        if begun.elapsed().as_secs() > began + PATIENCE_SECONDS {
            println!("power: FAILED: seed {} hangs", SEED.load(Ordering::Relaxed));
            std::process::exit(1);
        }
    }
}

struct Args {
    seeds: u64,
    from: u64,
    tell: bool,
    rebuild: bool,
    plant: Option<String>,
}

impl Args {
    fn parse() -> Args {
        let (mut seeds, mut args) =
            (None, Args { seeds: 0, from: 1, tell: false, rebuild: false, plant: None });
        let mut given = std::env::args().skip(1);
        while let Some(arg) = given.next() {
            let mut value = || given.next().unwrap_or_else(|| panic!("{arg} wants a value"));
            match arg.as_str() {
                "--seeds" => seeds = Some(value().parse().unwrap()),
                "--from" => args.from = value().parse().unwrap(),
                "--seed" => {
                    (args.from, seeds, args.tell) = (value().parse().unwrap(), Some(1), true)
                }
                "--rebuild" => args.rebuild = true,
                "--plant" => args.plant = Some(value()),
                other => panic!("unknown option {other}; see the top of tests/power.rs"),
            }
        }
        let usual = if args.plant.is_some() { PLANTED_SEEDS_MAX } else { 300 };
        args.seeds = seeds.unwrap_or(usual);
        args
    }
}

/// What a campaign met.
#[derive(Default)]
struct Tally {
    seeds: u64,
    ops: u64,
    counts: Counts,
    done: BTreeMap<&'static str, Done>,
    moments: BTreeMap<&'static str, u64>,
    /// Of disasters: how work was interrupted, and versions that the script restored.
    interrupted: BTreeMap<String, u64>,
    recovered: u64,
}

impl Tally {
    fn add(&mut self, world: &World) {
        fn add<K: Ord + Clone>(to: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
            for (key, n) in from {
                *to.entry(key.clone()).or_default() += n;
            }
        }
        self.seeds += 1;
        self.ops += world.sim.ops();
        let counts = world.sim.counts();
        add(&mut self.counts.kills, &counts.kills);
        add(&mut self.counts.cuts, &counts.cuts);
        add(&mut self.counts.pending, &counts.pending);
        add(&mut self.counts.faults, &counts.faults);
        for (name, done) in &world.done {
            let all = self.done.entry(name).or_default();
            all.done += done.done;
            all.cuts += done.cuts;
            all.kills += done.kills;
            all.faults += done.faults;
        }
        add(&mut self.moments, &world.moments);
    }

    fn note(&mut self, met: Met) {
        *self.interrupted.entry(met.how).or_default() += 1;
        self.recovered += met.recovered;
    }

    /// What a campaign that is long enough should have met and has not.
    fn lacks(&self) -> Option<String> {
        let cut = |name: &str| self.done.get(name).is_some_and(|d| d.cuts > 0 && d.kills > 0);
        let missed = ACTIONS.iter().map(|(.., name)| *name).find(|name| !cut(name));
        let long = self.seeds >= SEEDS_FOR_ALL;
        missed.filter(|_| long).map(|name| format!("`{name}` was never cut, or never killed"))
    }

    fn print(&self, took: Duration) {
        let Counts { kills, cuts, pending, faults } = &self.counts;
        println!("done to its end; cut, killed and struck by faults meanwhile:");
        for (what, Done { done, cuts, kills, faults }) in &self.done {
            println!("{done:>8} {cuts:>7} {kills:>7} {faults:>7}  {what}");
        }
        if !self.interrupted.is_empty() {
            println!("interrupted before the disaster:");
            self.interrupted.iter().for_each(|(how, n)| println!("{n:>8}  {how}"));
            println!("{:>8}  versions restored by tools/recover.py", self.recovered);
        }
        println!("the power was cut at:");
        cuts.iter().for_each(|((op, kind), n)| println!("{n:>8}  {op}, {kind}"));
        println!("while these were not synced:");
        pending.iter().for_each(|(kind, n)| println!("{n:>8}  {kind}"));
        println!("after the moment of work:");
        self.moments.iter().for_each(|(moment, n)| println!("{n:>8}  {moment}"));
        println!("injected:");
        faults.iter().for_each(|((fault, kind), n)| println!("{n:>8}  {fault:?}, {kind}"));
        println!(
            "{} seeds, {} operations, {} cuts, {} kills, {} faults, {:.1} s, {:.1} seeds/s",
            self.seeds,
            self.ops,
            cuts.values().sum::<u64>(),
            kills.values().sum::<u64>(),
            faults.values().sum::<u64>(),
            took.as_secs_f64(),
            self.seeds as f64 / took.as_secs_f64().max(0.001)
        );
    }
}
