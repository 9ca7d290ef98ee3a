//! `fixity`, `repair` and `status`: whether everything is intact, and making it so again.

use super::work::Worker;
use super::{Context, number};
use crate::errors::{Answer, Failure};
use crate::output;
use clap::Args;
use serde_json::Value;
use strongroom_intake::{Archive, FixityRequest, RepairRequest};
use strongroom_record::{PlacementState, Time, WorkStatus};
use strongroom_serve::Call;

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
    let desk = cx.desk()?;
    let mut json = desk.ask(&Call::Status)?;
    let list = |name: &str| match json[name].as_object() {
        Some(pairs) if !pairs.is_empty() => {
            pairs.iter().map(|(word, n)| format!("{n} {word}")).collect::<Vec<_>>().join(", ")
        }
        _ => "none".to_string(),
    };
    let some = |name: &str, word: &str| number(&json[name], word) > 0;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let absent = if json["key"]["present"] == true { "" } else { " (ABSENT)" };
    let shelves = json["shelves"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines = vec![
        format!("archive  {}", text(&json["data"])),
        format!("key      {}{absent}", text(&json["key"]["path"])),
        format!(
            "holds    {}, {}, {}, {}",
            output::count(number(&json, "objects"), "object"),
            output::count(number(&json, "versions"), "version"),
            output::count(number(&json, "files"), "file"),
            output::bytes(number(&json, "bytes"))
        ),
        format!("shards   {}", list("shards")),
        format!("work     {}", list("work")),
    ];
    let pending = number(&json, "pending_bytes");
    if pending > 0 {
        lines.push(format!("pending  {} on shelves wait to be reclaimed", output::bytes(pending)));
    }
    for shelf in shelves {
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
        output::bytes(number(&json, "free_bytes")),
        output::count(number(&json, "disks"), "disk")
    ));
    lines.push(round_line(&json["fixity"]));
    let paused = json["paused"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !paused.is_empty() {
        let words: Vec<_> = paused.iter().filter_map(Value::as_str).collect();
        lines.push(format!("Paused: {}. Go on with `strongroom work resume`.", words.join(", ")));
    }
    if json["shelves_on_one_disk"] == true {
        lines.push("All shelves are on one disk: add another with `strongroom shelf add`.".into());
    }
    if some("shards", PlacementState::Damaged.word())
        || some("shards", PlacementState::Missing.word())
    {
        lines.push("Shards are damaged or missing: run `strongroom repair`.".into());
    }
    if some("work", WorkStatus::Trouble.word()) {
        lines.push("Work is in trouble: see `strongroom work list --status trouble`.".into());
    }
    let mut answer = Ok(Answer::Yes);
    if args.scan {
        let archive = desk.archive().ok_or_else(|| {
            Failure::usage("--scan reads the shelves: run it on the server's own machine")
        })?;
        let (scanned, told, scans) = super::shelf_life::scan_all(archive)?;
        json["scan"] = scanned;
        lines.extend(told);
        answer = super::shelf_life::answer(&scans);
    }
    cx.out.value(&json, lines.join("\n"))?;
    answer
}

/// How long it takes to check everything once.
fn round_line(round: &Value) -> String {
    let oldest = match round["oldest_check"].as_str().map(str::parse::<Time>) {
        Some(Ok(time)) => format!("; checked longest ago: {}", output::time(time)),
        _ => String::new(),
    };
    let bytes = output::bytes(number(round, "round_bytes"));
    match (round["bytes_per_second"].as_u64(), round["round_seconds"].as_u64()) {
        (Some(rate), Some(seconds)) => format!(
            "fixity   a full round reads {bytes} and takes {} at the {}/s of the last one{oldest}",
            duration(seconds),
            output::bytes(rate)
        ),
        _ => format!(
            "fixity   a full round reads {bytes}; how fast is known after the first{oldest}"
        ),
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
