//! Fuzzing without a special compiler: inputs of a corpus are mutated, and what a parser *says* of each
//! (which error, how many entries) is its coverage: an input that makes it say something new is kept and
//! mutated further. It is a weaker guide than instrumented branches, and runs in every build.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use strongroom_spool::testing::Random;

/// Inputs that are kept beside the corpus at most, each saying something of its own.
const KEPT_MAX: usize = 4096;
/// Mutations of one input at most, made one after the other.
const MUTATIONS_MAX: u64 = 8;
/// What is said is told apart by this many bytes.
const SAID_BYTES: usize = 96;

/// What is fuzzed.
pub struct Target {
    /// Its name, and that of its folder in the corpus.
    pub name: &'static str,
    /// Gives bytes to what parses them, and says what came of it; a panic is a find.
    pub run: fn(&[u8]) -> String,
    /// Makes checksums right again, so that what lies behind them is reached.
    pub mend: fn(&mut [u8]),
    /// Inputs are not longer, in bytes.
    pub bytes_max: usize,
}

/// What a run of a target came to.
pub struct Outcome {
    /// Inputs that were tried.
    pub inputs: u64,
    /// Different things that were said.
    pub said: usize,
    /// The slowest input, and its time.
    pub slowest: (Duration, usize),
    /// Inputs at which it panicked, with what it said.
    pub found: Vec<(Vec<u8>, String)>,
}

/// A number below `end`; 0 where that is 0.
fn below(random: &mut Random, end: usize) -> usize {
    random.below(end.max(1) as u64) as usize
}

/// The inputs of a target's folder in the corpus, in order of their names.
///
/// # Panics
/// Where the folder cannot be read, or is empty: fuzzing from nothing finds nothing.
pub fn corpus(root: &Path, target: &Target) -> Vec<Vec<u8>> {
    let folder = root.join(target.name);
    let listed = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = listed.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths.iter().map(|path| std::fs::read(path).expect("an input")).collect()
}

/// Tries every input of the corpus, then mutations of them for so long.
pub fn run(target: &Target, corpus: Vec<Vec<u8>>, seed: u64, time: Duration) -> Outcome {
    let mut random = Random(seed);
    let mut pool = corpus;
    let mut said: BTreeMap<String, u64> = BTreeMap::new();
    let mut outcome =
        Outcome { inputs: 0, said: 0, slowest: (Duration::ZERO, 0), found: Vec::new() };
    // Panics are told of at the end, with their inputs.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    for input in pool.clone() {
        one(target, &input, &mut said, &mut outcome);
    }
    let until = Instant::now() + time;
    while Instant::now() < until && outcome.found.is_empty() {
        let mut input = pool[below(&mut random, pool.len())].clone();
        for _ in 0..1 + random.draw() % MUTATIONS_MAX {
            mutate(&mut input, &pool, &mut random);
        }
        input.truncate(target.bytes_max);
        if below(&mut random, 4) > 0 {
            (target.mend)(&mut input);
        }
        let new = one(target, &input, &mut said, &mut outcome);
        if new && pool.len() < KEPT_MAX {
            pool.push(input);
        }
    }
    std::panic::set_hook(hook);
    outcome.said = said.len();
    outcome
}

/// Tries one input; whether it made the target say something new.
fn one(
    target: &Target,
    input: &[u8],
    said: &mut BTreeMap<String, u64>,
    outcome: &mut Outcome,
) -> bool {
    let begun = Instant::now();
    let result = std::panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    outcome.slowest = outcome.slowest.max((begun.elapsed(), input.len()));
    outcome.inputs += 1;
    match result {
        Ok(what) => {
            let what = alike(&what);
            let times = said.entry(what).or_default();
            *times += 1;
            *times == 1
        }
        Err(panic) => {
            let why = (panic.downcast_ref::<String>().cloned())
                .or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
            outcome.found.push((input.to_vec(), why.unwrap_or_default()));
            false
        }
    }
}

/// What is said, without what differs between inputs that are alike: numbers, and what is quoted.
fn alike(said: &str) -> String {
    let unquoted = said.split(['\'', '`', '"']).step_by(2).collect::<Vec<_>>().join("_");
    unquoted.chars().filter(|c| c.is_ascii() && !c.is_ascii_digit()).take(SAID_BYTES).collect()
}

/// Numbers that parsers are wrong about.
const NUMBERS: [u64; 10] =
    [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX];
/// Texts that parsers are wrong about.
const TEXTS: [&[u8]; 12] = [
    b"\0",
    b"\n",
    b"\r\n",
    b"../",
    b"%0A",
    b"\xff\xfe",
    b"\xf0\x9f\x98\x80",
    b"77777777777",
    b"99999999999999999999",
    b"-1",
    b"{}",
    b"[[[[[[[[",
];

fn mutate(input: &mut Vec<u8>, pool: &[Vec<u8>], random: &mut Random) {
    let at = below(random, input.len() + 1);
    let most = if below(random, 4) == 0 { 600 } else { 16 };
    let span = 1 + below(random, most);
    let end = (at + span).min(input.len());
    match below(random, 10) {
        0 if at < input.len() => input[at] ^= 1 << below(random, 8),
        1 if at < input.len() => input[at] = random.draw() as u8,
        2 => {
            let number =
                NUMBERS[below(random, NUMBERS.len())].wrapping_add(random.draw() % 3).to_le_bytes();
            let width = 1 << below(random, 4);
            for (place, byte) in input[at..].iter_mut().zip(&number[..width]) {
                *place = *byte;
            }
        }
        3 => drop(input.drain(at..end)),
        4 => {
            let again = input[at..end].to_vec();
            input.splice(at..at, again);
        }
        5 => {
            let other = &pool[below(random, pool.len())];
            let from = below(random, other.len() + 1);
            let to = (from + span * 8).min(other.len());
            input.splice(at..end, other[from..to].iter().copied());
        }
        6 => {
            let text = TEXTS[below(random, TEXTS.len())];
            input.splice(at..at, text.iter().copied());
        }
        7 => input.truncate(at),
        8 => {
            let filler = random.draw() as u8;
            input.splice(at..at, std::iter::repeat_n(filler, span));
        }
        _ => {
            let filler = random.draw() as u8;
            input[at..end].fill(filler);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three steps lead to the fault, each of which says something of its own.
    fn faulty(input: &[u8]) -> String {
        match input {
            [b'S', b'R', rest @ ..] => match rest {
                [0xff, 0xff, ..] => match rest.len() {
                    300.. => panic!("the fault"),
                    _ => "short".into(),
                },
                _ => "begun".into(),
            },
            _ => "other".into(),
        }
    }

    #[test]
    fn a_planted_fault_is_found() {
        let target = Target { name: "x", run: faulty, mend: |_| {}, bytes_max: 1000 };
        let outcome = run(&target, vec![b"SR and more".to_vec()], 1, Duration::from_secs(60));
        assert_eq!(outcome.found.len(), 1, "after {} inputs", outcome.inputs);
        assert_eq!(outcome.found[0].1, "the fault");
    }
}
