//! The kill campaign: deposit, repair, coding anew, reclaiming, rebuild, deletion and restore are killed (SIGKILL)
//! again and again, at random times and at each named moment of the work, and go on each time; in every second round of six
//! two processes share the archive. Afterwards nothing that was acknowledged may be lost, nothing may be
//! there twice, and a source may have been read only a little more than once.
//!
//! ```text
//! cargo test --release -p strongroom --features failpoints --test kills -- --rounds 50
//!     [--mib 1100] [--seed N] [--folder DIR]
//!     --plant     the program has a bug (a checkpoint that is committed before what it tells of; then,
//!                 one that goes on one file too late), and the campaign fails unless it finds each
//! ```
//!
//! A round is one operation with several kills. Seven rounds share an archive: a deposit; then all that
//! one shelf holds is deleted, and repaired; then it is coded anew to 4+2; then what all that left on the
//! shelves is reclaimed; then the registry is deleted, and rebuilt; then a file, or another object, is deleted
//! for good; then all that is left is restored. After each, what is
//! counted is what a full look finds.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use strongroom_bag::tar;
use strongroom_bag::tree::{Kind, Walk};
use strongroom_digest::{Algorithm, Digest, Hasher};
use strongroom_intake::{FAIL_POINTS, UNCOMMITTED_BYTES_MAX};
use strongroom_testkit::Random;

/// Random kills come so long after a process began, at most: long enough to come to each stage.
const RANDOM_MS_MAX: u64 = 1500;
/// Rounds beyond those asked for at most, while a moment is not met.
const EXTRA_ROUNDS: usize = 8;
/// Named moments at which processes of a round are killed.
const AIMED_KILLS: usize = 5;
/// How long all is waited for that should end.
const PATIENCE: Duration = Duration::from_secs(600);
/// The state of a round's work is asked for so often, and whenever a process ended.
const LOOK: Duration = Duration::from_millis(250);
/// Moments that only the deletion of a file passes, and those that only that of an object does.
const OF_A_FILE: [&str; 3] = ["delete.copied", "delete.recorded", "delete.moved"];
const OF_AN_OBJECT: [&str; 1] = ["delete.erased"];
/// What is said of a process that was killed before it passed any named moment.
const BEFORE: &str = "(before the first)";

fn main() -> ExitCode {
    let args = Args::parse();
    let place = match &args.folder {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")),
    };
    let place = place.unwrap();
    eprintln!("seed {}; making an input of {} MiB", args.seed, args.mib);
    let source = Source::make(&place.path().join("source"), args.mib);
    let mut campaign = Campaign {
        place: place.path().to_owned(),
        draw: Random(args.seed),
        plant: None,
        compressed: false,
        dead: None,
        aimed: BTreeMap::new(),
        random: BTreeMap::new(),
        found: Vec::new(),
        processes: 0,
        over: Vec::new(),
    };
    if args.plant {
        return campaign.finds_planted_bugs(&source);
    }
    let mut rounds = 0;
    // Chance may leave a moment out; a few rounds more come to it.
    while campaign.found.is_empty()
        && (rounds < args.rounds
            || (rounds < args.rounds + EXTRA_ROUNDS && !campaign.missed().is_empty()))
    {
        campaign.round(rounds, &source);
        rounds += 1;
    }
    campaign.report(rounds)
}

struct Args {
    rounds: usize,
    mib: u64,
    seed: u64,
    folder: Option<PathBuf>,
    plant: bool,
}

impl Args {
    fn parse() -> Args {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = u64::from(now.subsec_nanos());
        let mut args = Args { rounds: 10, mib: 1100, seed, folder: None, plant: false };
        let mut given = std::env::args().skip(1);
        while let Some(arg) = given.next() {
            let mut value = || given.next().unwrap_or_else(|| panic!("{arg} wants a value"));
            match arg.as_str() {
                "--rounds" => args.rounds = value().parse().unwrap(),
                "--mib" => args.mib = value().parse().unwrap(),
                "--seed" => args.seed = value().parse().unwrap(),
                "--folder" => args.folder = Some(value().into()),
                "--plant" => args.plant = true,
                other => panic!("unknown option {other}; see the top of tests/kills.rs"),
            }
        }
        args
    }
}

/// What is deposited: a folder, a tar of it, and that compressed; and what every file of it is.
struct Source {
    forms: [PathBuf; 3],
    files: BTreeMap<Vec<u8>, (u64, Digest)>,
    bytes: u64,
}

impl Source {
    /// Half of it one large file, a quarter three, the rest in small ones.
    fn make(folder: &Path, mib: u64) -> Source {
        let mut draw = Random(1);
        let tar = folder.with_extension("tar");
        let out = std::io::BufWriter::new(fs::File::create(&tar).unwrap());
        let forms = [folder.to_owned(), tar.clone(), folder.with_extension("tar.zst")];
        let mut source = Source { forms, files: BTreeMap::new(), bytes: 0 };
        let mut writer = tar::Writer::new(out);
        let total = mib << 20;
        let mut file = |name: String, size: u64| {
            use std::io::Write as _;
            let bytes: Vec<u8> =
                (0..size.div_ceil(8)).flat_map(|_| draw.draw().to_le_bytes()).collect();
            let bytes = &bytes[..size as usize];
            let path = folder.join(&name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
            let name = name.into_bytes();
            writer.append_file(&name, 0o644, 1_700_000_000_000_000_000, size).unwrap();
            writer.data().write_all(bytes).unwrap();
            let mut hasher = Hasher::new(Algorithm::Sha256);
            hasher.update(bytes);
            source.bytes += size;
            source.files.insert(name, (size, hasher.finish()));
        };
        file("a large one".into(), total / 2);
        (0..3).for_each(|i| file(format!("middle/{i}"), total / 12));
        let (mut left, mut i) = (total / 4, 0);
        while left > 0 {
            let size = left.min(1 + (i * 7919) % 60_000);
            file(format!("small/{:02}/{i:05}", i % 50), size);
            (left, i) = (left - size, i + 1);
        }
        drop(writer.finish().unwrap().into_inner().unwrap());
        let zst = fs::File::create(&source.forms[2]).unwrap();
        zstd::stream::copy_encode(fs::File::open(tar).unwrap(), zst, 1).unwrap();
        source
    }
}

/// When a process is killed.
#[derive(Clone)]
enum Kill {
    At(&'static str, u64),
    After(Duration),
}

struct Campaign {
    place: PathBuf,
    draw: Random,
    plant: Option<(&'static str, Kill)>,
    /// Whether the source of this deposit is.
    compressed: bool,
    /// The file that was deleted.
    dead: Option<Vec<u8>>,
    /// Kills at a moment that was aimed at, and at random times after one was passed.
    aimed: BTreeMap<String, u64>,
    random: BTreeMap<String, u64>,
    /// What must not be.
    found: Vec<String>,
    processes: u64,
    /// Of each deposit, what was read beyond its source, and how many kills there were.
    over: Vec<(i64, u64)>,
}

/// A process of the program that runs.
struct Running {
    child: Child,
    watch: PathBuf,
    /// Whether it runs the command itself, not `work run`.
    first: bool,
    kill: Option<Kill>,
    begun: Instant,
}

/// How one ended.
struct Ended {
    exit: Option<i32>,
    read: u64,
    said: String,
}

/// Of a round's work item.
#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Not queued, as far as is known.
    Unknown,
    Queued,
    Done,
}

const OPERATIONS: [&str; 7] =
    ["deposit", "repair", "recode", "reclaim", "rebuild", "delete", "restore"];

impl Campaign {
    fn round(&mut self, round: usize, source: &Source) {
        let operation = OPERATIONS[round % OPERATIONS.len()];
        let cycle = round / OPERATIONS.len();
        // Each operation is met by one process and by two, in turn; what shall surely be met is met by one: of two,
        // the other may pass the moment.
        let alone = match operation {
            "rebuild" | "delete" => true,
            "restore" => self.missed().iter().any(|moment| moment.starts_with("journal.")),
            _ => false,
        };
        let two = (round + cycle) % 2 == 1 && !alone;
        let begun = Instant::now();
        let archive = self.place.join("archive");
        let (before_aimed, before_random) = (sum(&self.aimed), sum(&self.random));
        // The compressed one comes second, so that ten rounds come to it.
        let deposited = &source.forms[2 * cycle % source.forms.len()];
        match operation {
            "deposit" => {
                let _ = fs::remove_dir_all(&archive);
                self.dead = None;
                if two {
                    // The second process wants an archive that is there.
                    let tiny = self.place.join("tiny");
                    fs::write(&tiny, "a few words").unwrap();
                    self.expect(&["deposit", "--object", "local/tiny", text(&tiny)], 0);
                }
                let command = ["deposit", "--object", "local/x", text(deposited)];
                self.compressed = deposited.extension().is_some_and(|e| e == "zst");
                let (read, kills) = self.work(operation, &command, two);
                // What is compressed is decoded again from its start, and so read again.
                if !self.compressed {
                    self.over.push((read as i64 - source.bytes as i64, kills));
                }
                self.check_recorded(source);
            }
            "repair" => {
                for log in files_of(&archive.join("shelves/b/logs")) {
                    fs::remove_file(log).unwrap();
                }
                self.expect(&["fixity"], 1);
                self.work(operation, &["repair"], two);
                self.expect(&["fixity"], 0);
            }
            "recode" => {
                for name in ["c", "d", "e", "f"] {
                    let path = archive.join("shelves").join(name);
                    self.expect(&["shelf", "add", text(&path), "--name", name], 0);
                }
                // Another object, whose shards come to lie among those of the first.
                let other = self.place.join("other");
                fs::write(&other, vec![7; 300_000]).unwrap();
                self.expect(&["deposit", "--object", "local/other", text(&other)], 0);
                self.work(operation, &["policy", "set", "4+2"], two);
                self.check_coding();
                self.expect(&["fixity"], 0);
            }
            "reclaim" => {
                // What is released lies among what is wanted, which must be copied.
                let set = ["policy", "set", "copies=2", "--object", "local/other"];
                self.expect(&set, 0);
                self.work(operation, &["shelf", "reclaim", "--everything"], two);
                self.expect(&["fixity"], 0);
            }
            "rebuild" => {
                for suffix in ["", "-wal", "-shm"] {
                    let _ = fs::remove_file(archive.join(format!("strongroom.db{suffix}")));
                }
                // A run that was killed while it made the archive left shelves of one that is none.
                let mut shelves = files_of(&archive.join("shelves"));
                shelves.retain(|shelf| !text(shelf).contains(".unused-"));
                let mut command = vec!["rebuild", "--from"];
                command.extend(shelves.iter().map(|shelf| text(shelf)));
                self.work(operation, &command, false);
                self.check_recorded(source);
                self.check_coding();
                self.expect(&["fixity"], 0);
            }
            "delete" => {
                let why = ["--reason", "a campaign", "--force", "--confirm"];
                let missed = self.missed();
                let any = |moments: &[&str]| moments.iter().any(|moment| missed.contains(moment));
                let a_file = match (any(&OF_A_FILE), any(&OF_AN_OBJECT)) {
                    (one, other) if one == other => cycle.is_multiple_of(2),
                    (of_a_file, _) => of_a_file,
                };
                if a_file {
                    // Bytes of it stand among others' in a segment.
                    let path = "small/00/00000";
                    let file = format!("data/{path}");
                    let what = ["delete", "local/x", "--file", &file, "--all-versions"];
                    self.dead = Some(path.into());
                    self.work(operation, &[&what[..], &why, &["local/x"]].concat(), two);
                    self.check_recorded(source);
                } else {
                    let middle = source.forms[0].join("middle");
                    self.expect(&["deposit", "--object", "local/gone", text(&middle)], 0);
                    let what = ["delete", "local/gone"];
                    self.work(operation, &[&what[..], &why, &["local/gone"]].concat(), two);
                    self.expect(&["object", "show", "local/gone"], 1);
                }
                self.expect(&["fixity"], 0);
            }
            _ => {
                let to = self.place.join("restored.tar");
                let form = ["bag", "tar", "files"][cycle % 3];
                let command = ["restore", "local/x", "--as", form, "--to", text(&to)];
                self.work(operation, &command, two);
                match form {
                    "tar" => self.check_restored_tar(&to, source),
                    "bag" => self.check_restored(&to.join("data"), source),
                    _ => self.check_restored(&to, source),
                }
                let _ = fs::remove_dir_all(&to).or_else(|_| fs::remove_file(&to));
            }
        }
        self.check_archive();
        eprintln!(
            "round {:>2}  {operation:<8}  {}  killed {} times at named moments, {} at random ones, {:.1} s",
            round + 1,
            if two { "two processes" } else { "one process  " },
            sum(&self.aimed) - before_aimed,
            sum(&self.random) - before_random,
            begun.elapsed().as_secs_f64()
        );
    }

    /// A deposit with each of the bugs, killed once where the bug shows.
    fn finds_planted_bugs(&mut self, source: &Source) -> ExitCode {
        let bugs = [
            ("planted.checkpoint", Kill::At("deposit.planted", 2 + self.draw.below(8))),
            // Late, among the small files: one of them is then passed over.
            ("planted.position", Kill::At("deposit.segment-committed", 17 + self.draw.below(3))),
        ];
        let mut outcome = ExitCode::SUCCESS;
        for (bug, kill) in bugs {
            self.plant = Some((bug, kill));
            self.found.clear();
            self.round(0, source);
            match self.found.first() {
                Some(first) => println!("kills: {bug} was found: {first}"),
                None => {
                    println!("kills: FAILED: {bug} was not found");
                    outcome = ExitCode::FAILURE;
                }
            }
        }
        outcome
    }

    /// Runs a command to the good end of its work, through kills. Returns the bytes that all its
    /// processes read, and the number of kills.
    fn work(&mut self, operation: &'static str, command: &[&str], two: bool) -> (u64, u64) {
        let before = sum(&self.aimed) + sum(&self.random);
        let mut kills = self.kills(operation);
        let mut read = 0;
        let mut running: Vec<Running> = Vec::new();
        let mut state = State::Unknown;
        let (until, mut looked) = (Instant::now() + PATIENCE, Instant::now());
        while !(state == State::Done && running.is_empty()) {
            let want = match (state, two) {
                (State::Done, _) => 0,
                (_, true) => 2,
                (_, false) => 1,
            };
            while running.len() < want {
                // One that dies before it has queued its work is run again; with two, others go on.
                let first = !running.iter().any(|r| r.first);
                // What is being deleted cannot be asked for once more.
                let again = !two && operation != "delete";
                let first = first && (again || state == State::Unknown);
                let args = if first { command } else { &["work", "run", "--stay"] };
                let kill = kills.pop();
                running.push(self.spawn(args, first, kill));
            }
            std::thread::sleep(Duration::from_millis(2));
            let mut i = 0;
            while i < running.len() {
                let late = match &running[i].kill {
                    Some(Kill::After(time)) => running[i].begun.elapsed() >= *time,
                    _ => false,
                };
                if late || state == State::Done {
                    let _ = running[i].child.kill();
                }
                if !ended(&running[i].child) {
                    i += 1;
                    continue;
                }
                let gone = running.swap_remove(i);
                let (kill, passed) = (gone.kill.clone(), passed(&gone.watch));
                let end = end(gone);
                read += end.read;
                match (end.exit, kill) {
                    // What only waited for more work.
                    (None, _) if state == State::Done => {}
                    (None, Some(Kill::At(moment, _))) => {
                        *self.aimed.entry(moment.into()).or_default() += 1;
                    }
                    (None, _) => *self.random.entry(passed).or_default() += 1,
                    (Some(0), _) => {}
                    (Some(exit), _) => {
                        let what = format!("{operation} exits with {exit}: {}", end.said);
                        self.found.push(what);
                        state = State::Done;
                    }
                }
                looked = Instant::now() - LOOK;
            }
            if state != State::Done && looked.elapsed() >= LOOK {
                (state, looked) = (self.state(operation), Instant::now());
            }
            if Instant::now() > until {
                self.found.push(format!("{operation} did not end"));
                state = State::Done;
            }
        }
        (read, sum(&self.aimed) + sum(&self.random) - before)
    }

    /// Of the work item of an operation, which is the only one of its kind on this object or on all.
    fn state(&self, operation: &str) -> State {
        if operation == "rebuild" {
            let there = self.place.join("archive/strongroom.db").exists();
            return if there { State::Done } else { State::Unknown };
        }
        let kind = if operation == "deposit" { "ingest" } else { operation };
        let output = self.command(&["work", "list", "--kind", kind]).output().unwrap();
        let items = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let tiny =
            |item: &Value| item["key"].as_str().is_some_and(|k| k.starts_with("local/tiny "));
        // Reclaiming is also queued by itself, for less than the campaign asks for.
        let by_itself = |item: &Value| item["request"]["everything"] == false;
        let mut items = rows(&items).filter(|item| !tiny(item) && !by_itself(item));
        match items.next().and_then(|item| item["status"].as_str()) {
            None => State::Unknown,
            Some("queued" | "running") => State::Queued,
            Some(_) => State::Done,
        }
    }

    /// Named moments in the order in which work passes them, the random ones between; the last first.
    fn kills(&mut self, operation: &'static str) -> Vec<Kill> {
        let prefix = format!("{operation}.");
        let passes = |moment: &str| {
            let others: &[&str] = if self.dead.is_some() { &OF_AN_OBJECT } else { &OF_A_FILE };
            (self.compressed || moment != "deposit.placed") && !others.contains(&moment)
        };
        let mut moments: Vec<_> = (FAIL_POINTS.iter().copied())
            .filter(|moment| {
                // A restoration is told of in a journal, as the last thing.
                let journal = operation == "restore" && moment.starts_with("journal.");
                (moment.starts_with(&prefix) && passes(moment)) || journal
            })
            .collect();
        let missed = self.missed().iter().any(|moment| moments.contains(moment));
        if let Some((_, kill)) = &self.plant {
            return vec![kill.clone()];
        }
        // Those that were met least often.
        moments.sort_by_key(|moment| self.aimed.get(*moment).copied().unwrap_or(0));
        // After a kill in the journal nobody goes on with it, and the next of its moments would not come.
        let mut journal = moments.iter().copied().filter(|moment| moment.starts_with("journal."));
        let last = journal.next();
        moments.retain(|moment| !moment.starts_with("journal."));
        moments.truncate(AIMED_KILLS - usize::from(last.is_some()));
        moments.extend(last);
        moments.sort_by_key(|moment| FAIL_POINTS.iter().position(|point| point == moment));
        let mut kills: Vec<Kill> = (moments.into_iter())
            .map(|m| {
                let often =
                    m.starts_with("deposit.segment") || m == "repair.made" || m == "recode.coded";
                Kill::At(m, if often { 1 + self.draw.below(3) } else { 1 })
            })
            .collect();
        // The first comes at any time; a later one soon, or nothing would be left to be killed.
        // What takes a short time is killed at its moments first; and both come last where a moment was not met yet.
        let short = matches!(operation, "rebuild" | "delete");
        for max in [RANDOM_MS_MAX, RANDOM_MS_MAX / 5] {
            let time = Duration::from_millis(20 + self.draw.below(max));
            let place = match max == RANDOM_MS_MAX {
                _ if missed => kills.len(),
                true if short => kills.len(),
                true => 0,
                false => 1 + self.draw.below(2) as usize,
            };
            kills.insert(place.min(kills.len()), Kill::After(time));
        }
        kills.reverse();
        kills
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom"));
        command
            .args(["--json", "--data"])
            .arg(self.place.join("archive"))
            .args(args)
            .stdin(Stdio::null());
        command
    }

    fn spawn(&mut self, args: &[&str], first: bool, kill: Option<Kill>) -> Running {
        self.processes += 1;
        let watch = self.place.join(format!("watch-{}", self.processes));
        let log = fs::File::create(watch.with_extension("stderr")).unwrap();
        let mut command = self.command(args);
        command.env("STRONGROOM_CAMPAIGN_WATCH", &watch).stdout(Stdio::null()).stderr(log);
        if let Some(Kill::At(moment, nth)) = &kill {
            command.env("STRONGROOM_CAMPAIGN_DIE", format!("{moment}:{nth}"));
        }
        if let Some((bug, _)) = &self.plant {
            command.env("STRONGROOM_CAMPAIGN_PLANT", bug);
        }
        let child = command.spawn().unwrap();
        Running { child, watch, first, kill, begun: Instant::now() }
    }

    /// Runs a command that is left alone, and gives what it prints.
    fn expect(&mut self, args: &[&str], exit: i32) -> Value {
        let output = self.command(args).output().unwrap();
        if output.status.code() != Some(exit) {
            let err = String::from_utf8_lossy(&output.stderr).into_owned();
            self.found.push(format!("{args:?} ended with {:?}: {err}", output.status.code()));
        }
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// The files of the source but the deleted one.
    fn expected(&self, source: &Source) -> BTreeMap<Vec<u8>, (u64, Digest)> {
        let mut files = source.files.clone();
        if let Some(dead) = &self.dead {
            files.remove(dead);
        }
        files
    }

    /// Each file is recorded once, as it is, in one version.
    fn check_recorded(&mut self, source: &Source) {
        let object = self.expect(&["object", "show", "local/x"], 0);
        if rows(&object["versions"]).count() != 1 {
            self.found.push(format!("not one version: {}", object["versions"]));
        }
        let files = self.expected(source);
        let mut seen = BTreeSet::new();
        for row in rows(&self.expect(&["object", "files", "local/x"], 0)) {
            let path = row["path"].as_str().unwrap_or_default().to_owned();
            if !seen.insert(path.clone()) {
                self.found.push(format!("{path} is recorded twice"));
            }
            let Some(path) = path.strip_prefix("data/") else { continue };
            match files.get(path.as_bytes()) {
                Some((size, digest))
                    if row["size"].as_str() == Some(&size.to_string())
                        && row["sha256"].as_str() == Some(&digest.to_string()) => {}
                _ => self.found.push(format!("{path} is recorded with other bytes")),
            }
        }
        for path in files.keys() {
            let path = String::from_utf8_lossy(path);
            if !seen.contains(&format!("data/{path}")) {
                self.found.push(format!("{path} is not recorded"));
            }
        }
        let events = self.expect(&["object", "events", "local/x"], 0);
        let accessions = rows(&events).filter(|event| event["type"] == "ingestion end").count();
        if accessions != 1 {
            self.found.push(format!("{accessions} accessions"));
        }
    }

    fn check_coding(&mut self) {
        let object = self.expect(&["object", "show", "local/x"], 0);
        for segment in rows(&object["segments"]) {
            let large = segment["bytes"].as_u64().unwrap_or_default() >= 65536;
            if large && segment["coding"] != "4+2" {
                self.found
                    .push(format!("segment {} is coded {}", segment["id"], segment["coding"]));
            }
        }
    }

    fn check_restored(&mut self, folder: &Path, source: &Source) {
        let files = self.expected(source);
        let mut left: BTreeSet<_> = files.keys().collect();
        for entry in Walk::new(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.kind == Kind::Folder {
                continue;
            }
            let path = folder.join(std::ffi::OsStr::from_bytes(&entry.path));
            let mut hasher = Hasher::new(Algorithm::Sha256);
            hasher.update(&fs::read(&path).unwrap());
            match files.get(&entry.path) {
                Some((_, digest)) if *digest == hasher.finish() => left.remove(&entry.path),
                _ => {
                    self.found.push(format!("{} came back with other bytes", path.display()));
                    false
                }
            };
        }
        if !left.is_empty() {
            self.found.push(format!("{} files did not come back", left.len()));
        }
    }

    fn check_restored_tar(&mut self, path: &Path, source: &Source) {
        let Ok(file) = fs::File::open(path) else {
            self.found.push("no tar came back".into());
            return;
        };
        let mut reader = tar::Reader::new(std::io::BufReader::new(file));
        let files = self.expected(source);
        let mut left: BTreeSet<_> = files.keys().collect();
        loop {
            let entry = match reader.next() {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                Err(error) => {
                    self.found.push(format!("the tar that came back is damaged: {error}"));
                    break;
                }
            };
            let Some(name) = entry.path.strip_prefix(b"restored/data/") else { continue };
            let mut bytes = Vec::new();
            let mut hasher = Hasher::new(Algorithm::Sha256);
            match std::io::Read::read_to_end(&mut reader, &mut bytes) {
                Ok(_) => hasher.update(&bytes),
                Err(error) => self.found.push(format!("the tar that came back: {error}")),
            }
            let same = files.get(name).is_some_and(|(_, d)| *d == hasher.finish());
            if !(same && left.remove(&name.to_vec())) {
                let name = String::from_utf8_lossy(name);
                self.found.push(format!("{name} came back in the tar with other bytes, or twice"));
            }
        }
        if !left.is_empty() {
            self.found.push(format!("{} files did not come back in the tar", left.len()));
        }
    }

    /// The chain of events holds, no work is left, and what is counted is on the shelves.
    fn check_archive(&mut self) {
        // What was queued by itself, such as reclaiming after a deletion.
        self.expect(&["work", "run"], 0);
        self.check_accounts();
        let chain = self.expect(&["object", "events", "--verify"], 0);
        if chain["holds"] != true {
            self.found.push(format!("the chain of events: {chain}"));
        }
        for item in rows(&self.expect(&["work", "list"], 0)) {
            // A process that is killed while it writes a journal leaves that to the next one; reclaiming is
            // queued by itself, and left to a worker.
            let left = item["kind"] == "journal"
                || item["kind"] == "reclaim" && item["status"] == "queued";
            if item["status"] != "succeeded" && !left {
                self.found.push(format!("a work item is left: {item}"));
            }
        }
    }

    /// What is counted is on the shelves. What a rebuilt registry does not know (segments that nobody had
    /// published) is listed, and is no difference here.
    fn check_accounts(&mut self) {
        let output = self.command(&["status", "--scan"]).output().unwrap();
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let scans: Vec<Value> = rows(&status["scan"]).cloned().collect();
        let whole = |scan: &Value| {
            let number = |name: &str| scan[name].as_u64();
            let pending = number("pending_bytes").zip(number("removed_bytes"));
            number("live_bytes").is_some()
                && number("live_bytes") == number("counted_live_bytes")
                && pending.map(|(there, gone)| there + gone) == number("counted_pending_bytes")
        };
        if scans.is_empty() || !scans.iter().all(whole) {
            self.found.push(format!("what is counted is not what is there: {}", status["scan"]));
        }
    }

    /// Moments at which no process was killed.
    fn missed(&self) -> Vec<&'static str> {
        let met = |at: &str| count(&self.aimed, at) + count(&self.random, at) > 0;
        FAIL_POINTS.iter().copied().filter(|moment| !met(moment)).collect()
    }

    fn report(&self, rounds: usize) -> ExitCode {
        println!("kills by moment              at it   at random after it");
        for moment in FAIL_POINTS.iter().chain([&BEFORE]) {
            let (at, after) = (count(&self.aimed, moment), count(&self.random, moment));
            println!("{moment:<28}{at:>6}{after:>21}");
        }
        let worst = self.over.iter().map(|(over, kills)| over / (*kills).max(1) as i64).max();
        let worst = worst.unwrap_or(0);
        println!(
            "read beyond the sources: {} MiB a kill in the worst deposit ({} MiB are allowed)",
            worst >> 20,
            UNCOMMITTED_BYTES_MAX >> 20
        );
        let mut found = self.found.clone();
        if worst > UNCOMMITTED_BYTES_MAX as i64 {
            found.push("more than allowed was read of a source".into());
        }
        if found.is_empty() {
            let missed = self.missed();
            found.extend(missed.iter().map(|moment| format!("no process was killed at {moment}")));
        }
        found.iter().for_each(|what| println!("FAILED: {what}"));
        let kills = sum(&self.aimed) + sum(&self.random);
        let outcome = if found.is_empty() { "nothing lost, nothing twice" } else { "FAILED" };
        println!("kills: {rounds} rounds, {} processes, {kills} killed: {outcome}", self.processes);
        if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Whether it ended; it stays a zombie, whose counters can be read.
fn ended(child: &Child) -> bool {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let pid = Pid::from_child(child);
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    waitid(WaitId::Pid(pid), options).unwrap().is_some()
}

fn end(mut running: Running) -> Ended {
    let io = fs::read_to_string(format!("/proc/{}/io", running.child.id())).unwrap();
    let read = io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap();
    let read = read.trim().parse().unwrap();
    let exit = running.child.wait().unwrap().code();
    let stderr = running.watch.with_extension("stderr");
    let said = fs::read_to_string(&stderr).unwrap_or_default();
    let _ = (fs::remove_file(&running.watch), fs::remove_file(&stderr));
    Ended { exit, read, said }
}

/// The moment that a process passed last.
fn passed(watch: &Path) -> String {
    let noted = fs::read_to_string(watch).unwrap_or_default();
    match noted.trim() {
        "" => BEFORE.into(),
        moment => moment.into(),
    }
}

fn rows(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

fn count(counts: &BTreeMap<String, u64>, moment: &str) -> u64 {
    counts.get(moment).copied().unwrap_or(0)
}

fn sum(counts: &BTreeMap<String, u64>) -> u64 {
    counts.values().sum()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}
