//! `fixity`, `repair` and `status`: whether everything is intact, and making it so again.

use super::shelf::{on_one_disk, shelves};
use super::work::Worker;
use super::{Context, number};
use crate::errors::{Answer, Failure};
use crate::output;
use clap::Args;
use serde_json::{Value, json};
use strongroom_intake::{Archive, FixityRequest, RepairRequest};
use strongroom_record::{PlacementState, Time, WorkStatus};

#[derive(Args)]
pub(crate) struct Fixity {
    /// Only of this object
    #[arg(long)]
    object: Option<String>,
    /// Queue only; `strongroom work run` does the work
    #[arg(long)]
    detach: bool,
}

#[derive(Args)]
pub(crate) struct Repair {
    /// Only of this object
    #[arg(long)]
    object: Option<String>,
    /// Queue only; `strongroom work run` does the work
    #[arg(long)]
    detach: bool,
}

#[derive(Args)]
pub(crate) struct Status {
    /// Look at every frame on every shelf, and compare with what is counted
    #[arg(long)]
    scan: bool,
}

/// Problems that are told to a person; `work show` has all.
const PROBLEMS_SHOWN: usize = 10;

pub(crate) fn run(cx: &Context, args: Fixity) -> Result<Answer, Failure> {
    let archive = cx.open()?;
    let object = object_id(&archive, args.object.as_deref())?;
    let mut item = archive.fixity(&FixityRequest { object })?;
    if args.detach {
        return super::queued(cx, &item);
    }
    item = Worker::new(&archive).succeed(&item)?;
    let report = &item.report;
    let (damaged, missing) = (number(report, "damaged"), number(report, "missing"));
    let mut lines = vec![format!(
        "{} checked ({}): {damaged} damaged, {missing} missing",
        output::count(number(report, "checked"), "shard"),
        output::bytes(number(report, "bytes")),
    )];
    let problems = report["problems"].as_array().map(Vec::as_slice).unwrap_or_default();
    lines.extend(problems.iter().take(PROBLEMS_SHOWN).map(|problem| {
        let text = |name: &str| match &problem[name] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let segment = output::short(text("segment"));
        let (index, shelf, verdict) = (text("index"), text("shelf"), text("verdict"));
        format!("  segment {segment}, shard {index}, shelf {shelf}: {verdict}")
    }));
    if problems.len() > PROBLEMS_SHOWN {
        lines.push(format!("  ... {} more", problems.len() - PROBLEMS_SHOWN));
    }
    let intact = damaged == 0 && missing == 0;
    cx.out.value(&with_work(&item), lines.join("\n"))?;
    if !intact {
        eprintln!("Make them anew with: strongroom repair");
    }
    Ok(Answer::of(intact))
}

pub(crate) fn repair(cx: &Context, args: Repair) -> Result<Answer, Failure> {
    let archive = cx.open()?;
    let object = object_id(&archive, args.object.as_deref())?;
    let mut item = archive.repair(&RepairRequest { object })?;
    if args.detach {
        return super::queued(cx, &item);
    }
    item = Worker::new(&archive).succeed(&item)?;
    let lost = item.report["lost"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines = vec![format!(
        "{} made anew, {} lost",
        output::count(number(&item.report, "repaired"), "shard"),
        output::count(lost.len() as u64, "segment"),
    )];
    lines.extend(lost.iter().map(|segment| match segment {
        Value::String(text) => format!("  lost: {text}"),
        other => format!("  lost: {other}"),
    }));
    cx.out.value(&with_work(&item), lines.join("\n"))?;
    Ok(Answer::of(lost.is_empty()))
}

pub(crate) fn status(cx: &Context, args: Status) -> Result<Answer, Failure> {
    let archive = cx.open()?;
    let status = archive.block_on(archive.registry().status())?;
    let pending = archive.block_on(archive.registry().pending_bytes())?;
    let shelves = shelves(&archive)?;
    let one_disk = on_one_disk(&archive);
    let key = archive.key_path();
    let words = |pairs: Vec<(&str, u64)>| {
        pairs.into_iter().map(|(word, n)| (word.to_string(), n.into())).collect()
    };
    let placed: Vec<_> = status.placements.iter().map(|(s, n)| (s.word(), *n)).collect();
    let work: Vec<_> = status.work.iter().map(|(s, n)| (s.word(), *n)).collect();
    let segments: Vec<_> = status.segments.iter().map(|(s, n)| (s.word(), *n)).collect();
    let paused = archive.paused()?;
    let round = Round::of(&archive, &shelves)?;
    let (free, disks) = free_once(&shelves);
    let mut json = json!({
        "data": archive.data().to_string_lossy(),
        "key": { "path": key.to_string_lossy(), "present": key.exists() },
        "objects": status.objects,
        "versions": status.versions,
        "files": status.files,
        "bytes": status.bytes,
        "segments": Value::Object(words(segments)),
        "shards": Value::Object(words(placed.clone())),
        "work": Value::Object(words(work.clone())),
        "pending_bytes": pending,
        "shelves": shelves,
        "shelves_on_one_disk": one_disk,
        "paused": paused,
        "fixity": round.json(),
        "free_bytes": free,
        "disks": disks,
    });
    let list = |pairs: &[(&str, u64)]| match pairs {
        [] => "none".to_string(),
        pairs => pairs.iter().map(|(w, n)| format!("{n} {w}")).collect::<Vec<_>>().join(", "),
    };
    let mut lines = vec![
        format!("archive  {}", archive.data().display()),
        format!("key      {}{}", key.display(), if key.exists() { "" } else { " (ABSENT)" }),
        format!(
            "holds    {}, {}, {}, {}",
            output::count(status.objects, "object"),
            output::count(status.versions, "version"),
            output::count(status.files, "file"),
            output::bytes(status.bytes)
        ),
        format!("shards   {}", list(&placed)),
        format!("work     {}", list(&work)),
    ];
    if pending > 0 {
        lines.push(format!("pending  {} on shelves wait to be reclaimed", output::bytes(pending)));
    }
    for shelf in &shelves {
        let text = |name: &str| shelf[name].as_str().unwrap_or_default();
        lines.push(match shelf["missing"].as_str() {
            Some(why) => format!("shelf    {}: MISSING: {why}", text("name")),
            None => format!(
                "shelf    {}: {} stored{}, {} free, {}{}",
                text("name"),
                output::bytes(number(shelf, "stored_bytes")),
                match number(shelf, "pending_bytes") {
                    0 => String::new(),
                    pending => format!(" ({} to reclaim)", output::bytes(pending)),
                },
                output::bytes(number(shelf, "free_bytes")),
                text("location"),
                match (text("state"), shelf["mounted_read_only"] == true) {
                    ("active", false) => String::new(),
                    ("active", true) => ", MOUNTED READ-ONLY".into(),
                    (state, _) => format!(", {state}"),
                },
            ),
        });
        if number(shelf, "unknown_logs") > 0 {
            lines.push(super::shelf_life::unknown_line(shelf));
        }
    }
    lines.push(format!(
        "room     {} free on {}",
        output::bytes(free),
        output::count(disks, "disk")
    ));
    lines.push(round.line());
    if !paused.is_empty() {
        let words: Vec<_> = paused.iter().map(|kind| kind.word()).collect();
        lines.push(format!("Paused: {}. Go on with `strongroom work resume`.", words.join(", ")));
    }
    if one_disk {
        lines.push("All shelves are on one disk: add another with `strongroom shelf add`.".into());
    }
    let bad = (status.placements.iter())
        .any(|(s, n)| matches!(s, PlacementState::Damaged | PlacementState::Missing) && *n > 0);
    if bad {
        lines.push("Shards are damaged or missing: run `strongroom repair`.".into());
    }
    if status.work.iter().any(|(s, n)| *s == WorkStatus::Trouble && *n > 0) {
        lines.push("Work is in trouble: see `strongroom work list --status trouble`.".into());
    }
    let mut answer = Ok(Answer::Yes);
    if args.scan {
        let (scanned, told, scans) = super::shelf_life::scan_all(&archive)?;
        json["scan"] = scanned;
        lines.extend(told);
        answer = super::shelf_life::answer(&scans);
    }
    cx.out.value(&json, lines.join("\n"))?;
    answer
}

/// Bytes free on the disks under the shelves, each counted once, and how many disks there are.
fn free_once(shelves: &[Value]) -> (u64, u64) {
    let on = |shelf: &Value| {
        let device = shelf["device"].as_str()?.to_owned();
        Some((device, number(shelf, "free_bytes")))
    };
    let disks: std::collections::BTreeMap<_, _> = shelves.iter().filter_map(on).collect();
    (disks.values().sum(), disks.len() as u64)
}

/// How long it takes to check everything once.
struct Round {
    bytes: u64,
    rate: Option<u64>,
    oldest: Option<Time>,
}

impl Round {
    fn of(archive: &Archive, shelves: &[Value]) -> Result<Round, Failure> {
        Ok(Round {
            bytes: shelves.iter().map(|shelf| number(shelf, "live_bytes")).sum(),
            rate: archive.fixity_rate()?,
            oldest: archive.block_on(archive.registry().oldest_check())?,
        })
    }

    fn seconds(&self) -> Option<u64> {
        self.rate.map(|rate| self.bytes.div_ceil(rate.max(1)))
    }

    fn json(&self) -> Value {
        json!({
            "round_bytes": self.bytes,
            "bytes_per_second": self.rate,
            "round_seconds": self.seconds(),
            "oldest_check": self.oldest.map(|time| time.to_string()),
        })
    }

    fn line(&self) -> String {
        let oldest = match self.oldest {
            Some(time) => format!("; checked longest ago: {}", output::time(time)),
            None => String::new(),
        };
        match (self.rate, self.seconds()) {
            (Some(rate), Some(seconds)) => format!(
                "fixity   a full round reads {} and takes {} at the {}/s of the last one{oldest}",
                output::bytes(self.bytes),
                duration(seconds),
                output::bytes(rate)
            ),
            _ => format!(
                "fixity   a full round reads {}; how fast is known after the first{oldest}",
                output::bytes(self.bytes)
            ),
        }
    }
}

/// A time as people say it, rounded up.
fn duration(seconds: u64) -> String {
    let unit = |size: u64, word: &str| output::count(seconds.div_ceil(size), word);
    match seconds {
        0..=119 => unit(1, "second"),
        120..=7199 => unit(60, "minute"),
        7200..=172_799 => unit(3600, "hour"),
        _ => unit(86_400, "day"),
    }
}

/// An item's report, with its id beside it.
fn with_work(item: &strongroom_record::WorkItem) -> Value {
    let mut json = item.report.clone();
    if let Some(fields) = json.as_object_mut() {
        fields.insert("work".into(), item.id.to_string().into());
    }
    json
}

fn object_id(archive: &Archive, name: Option<&str>) -> Result<Option<String>, Failure> {
    name.map(|name| Ok(archive.find_object(name)?.id.to_string())).transpose()
}
