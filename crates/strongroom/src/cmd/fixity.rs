//! `fixity`, `repair` and `status`: whether everything is intact, and making it so again.

use super::shelf::{on_one_disk, shelves};
use super::work::Worker;
use super::{Context, number};
use crate::errors::{Answer, Failure};
use crate::output;
use clap::Args;
use serde_json::{Value, json};
use strongroom_intake::{Archive, FixityRequest, RepairRequest};
use strongroom_record::{PlacementState, WorkStatus};

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
pub(crate) struct Status {}

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

pub(crate) fn status(cx: &Context, _: Status) -> Result<Answer, Failure> {
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
    let json = json!({
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
                "shelf    {}: {} stored, {} free, {}",
                text("name"),
                output::bytes(number(shelf, "stored_bytes")),
                output::bytes(number(shelf, "free_bytes")),
                text("location")
            ),
        });
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
    cx.out.value(&json, lines.join("\n"))?;
    Ok(Answer::Yes)
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
