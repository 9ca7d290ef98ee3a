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
//!                     (the registry's, before the shelves' syncs), lost-folder-sync (by the disk)
//! ```
//!
//! A seed decides what is done, at which operation the power goes and what survives. Identifiers, keys and
//! the order in which threads come to the disk are not the seed's: a failing seed mostly fails again, but not
//! always at the same operation. Leases that a dead process left are released instead of waited for.
#![allow(clippy::unwrap_used)]

mod check;
mod source;
mod world;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use strongroom_intake::FAIL_POINTS;
use strongroom_testkit::sim::Counts;
use world::World;

/// Seeds after which a planted bug must have been found.
const PLANTED_SEEDS_MAX: u64 = 300;
/// A seed that takes longer hangs, in seconds.
const PATIENCE_SECONDS: u64 = 120;

/// The moment of work that was passed last, as an index of [`FAIL_POINTS`] (its length: none yet).
static PASSED: AtomicUsize = AtomicUsize::new(0);
/// The seed that runs, and when it began (seconds since the start), for who watches over it.
static SEED: AtomicU64 = AtomicU64::new(0);
static BEGAN: AtomicU64 = AtomicU64::new(0);

fn main() -> ExitCode {
    let args = Args::parse();
    for (i, moment) in FAIL_POINTS.iter().enumerate() {
        fail::cfg_callback(*moment, move || PASSED.store(i, Ordering::Relaxed)).unwrap();
    }
    if let Some(bug) = &args.plant {
        // The last is the disk's.
        fail::cfg(format!("planted.{bug}"), "return").unwrap();
    }
    let begun = Instant::now();
    std::thread::spawn(move || watch(begun));
    let mut tally = Tally::default();
    let mut found = None;
    for seed in args.from..args.from + args.seeds {
        SEED.store(seed, Ordering::Relaxed);
        BEGAN.store(begun.elapsed().as_secs(), Ordering::Relaxed);
        let mut world = World::new(seed, args.tell);
        if args.plant.as_deref() == Some("lost-folder-sync") {
            world.sim.lie_about_syncs_of("logs");
        }
        let outcome = world.run();
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
    plant: Option<String>,
}

impl Args {
    fn parse() -> Args {
        let (mut seeds, mut args) = (None, Args { seeds: 0, from: 1, tell: false, plant: None });
        let mut given = std::env::args().skip(1);
        while let Some(arg) = given.next() {
            let mut value = || given.next().unwrap_or_else(|| panic!("{arg} wants a value"));
            match arg.as_str() {
                "--seeds" => seeds = Some(value().parse().unwrap()),
                "--from" => args.from = value().parse().unwrap(),
                "--seed" => {
                    (args.from, seeds, args.tell) = (value().parse().unwrap(), Some(1), true)
                }
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
    done: BTreeMap<&'static str, u64>,
    moments: BTreeMap<&'static str, u64>,
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
        add(&mut self.done, &world.done);
        add(&mut self.moments, &world.moments);
    }

    fn print(&self, took: Duration) {
        let Counts { kills, cuts, pending, faults } = &self.counts;
        println!("done to its end:");
        self.done.iter().for_each(|(what, n)| println!("{n:>8}  {what}"));
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
