//! Campaigns of a simulator: many seeds, and bugs that are planted on purpose and must be found.
//!
//! ```text
//! cargo test --release -p PACKAGE --test NAME -- [--seeds N] [--from N] [--plant BUG]
//! ```
//!
//! Without `--seeds` and `--plant` the seeds of the gate run, and every planted bug is looked for.

use std::process::ExitCode;
use std::time::Instant;

/// What a campaign tries.
pub struct Campaign {
    /// Its name, as of its test.
    pub name: &'static str,
    /// Bugs that it must find.
    pub plants: &'static [&'static str],
    /// Seeds that run where nothing is said.
    pub seeds: u64,
    /// Seeds in which a planted bug must be found.
    pub seeds_for_a_plant: u64,
}

impl Campaign {
    /// Runs as the command line asks. `run` tries one seed, with a planted bug or `""`, and adds to the counts what happened;
    /// `tell` prints the counts of so many seeds, and says what is not as it should be in them: a campaign that tries
    /// nothing proves nothing.
    pub fn main<C: Default>(
        &self,
        run: impl Fn(u64, &str, &mut C) -> Result<(), String>,
        tell: impl FnOnce(C, u64) -> Result<(), String>,
    ) -> ExitCode {
        let (mut seeds, mut from, mut plant) = (None, 1, None);
        let mut given = std::env::args().skip(1);
        let number =
            |text: String| text.parse::<u64>().unwrap_or_else(|_| panic!("{text} is no number"));
        while let Some(arg) = given.next() {
            let mut value = || given.next().unwrap_or_else(|| panic!("{arg} wants a value"));
            match arg.as_str() {
                "--seeds" => seeds = Some(number(value())),
                "--from" => from = number(value()),
                "--plant" => plant = Some(value()),
                other => panic!("unknown option {other}; see the top of tests/{}.rs", self.name),
            }
        }
        if let Some(plant) = &plant {
            let known = self.plants.contains(&plant.as_str());
            assert!(known, "{plant} is none of {:?}", self.plants);
        }
        let mut failed = false;
        if plant.is_none() {
            let (begun, seeds) = (Instant::now(), seeds.unwrap_or(self.seeds));
            let mut counts = C::default();
            for seed in from..from + seeds {
                if let Err(why) = run(seed, "", &mut counts) {
                    println!("{}: seed {seed}: {why}", self.name);
                    failed = true;
                }
            }
            if let Err(why) = tell(counts, seeds) {
                println!("{}: {why}", self.name);
                failed = true;
            }
            let outcome = if failed { "FAILED" } else { "all held" };
            let seconds = begun.elapsed().as_secs_f64();
            println!("{}: {seeds} seeds, {seconds:.1} s: {outcome}", self.name);
        }
        let all = plant.is_none() && seeds.is_none();
        let looked_for = |name: &&&str| all || plant.as_deref() == Some(name);
        for plant in self.plants.iter().filter(looked_for) {
            let found = (from..from + self.seeds_for_a_plant)
                .find_map(|seed| Some((seed, run(seed, plant, &mut C::default()).err()?)));
            match found {
                Some((seed, why)) => {
                    println!("{}: planted {plant} was found: seed {seed}: {why}", self.name);
                }
                None => {
                    println!("{}: planted {plant} was NOT found", self.name);
                    failed = true;
                }
            }
        }
        if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}
