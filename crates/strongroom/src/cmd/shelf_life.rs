//! A shelf's life: shown, set, verified, reclaimed, retired, replaced; and shards moved to new ones.

use super::shelf::{domain_of, size};
use super::work::Worker;
use super::{Context, number};
use crate::errors::{Answer, Failure};
use crate::interrupt::stop_on_signals;
use crate::output;
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;
use strongroom_intake::{Archive, ShelfChange, ShelfScan, scan_shelf};
use strongroom_record::WorkItem;
use strongroom_serve::view;

/// What is named to a person; `--json` has more.
const SHOWN: usize = 10;

#[derive(Args)]
pub(crate) struct Named {
    /// The shelf's name
    name: String,
}

#[derive(Args)]
pub(crate) struct Set {
    /// The shelf's name
    name: String,
    /// Most that it may take, such as 500G or 2TiB, or `none`: as much as its disk can
    #[arg(long, value_parser = capacity)]
    capacity: Option<Capacity>,
    /// Read it only: nothing is written to it or removed from it
    #[arg(long, conflicts_with = "active")]
    read_only: bool,
    /// Write to it again
    #[arg(long)]
    active: bool,
    /// What is lost together with it: a disk, a machine, a site
    #[arg(long)]
    domain: Option<String>,
}

/// `None`: as much as the disk can take.
#[derive(Clone, Copy)]
struct Capacity(Option<u64>);

fn capacity(text: &str) -> Result<Capacity, String> {
    match text {
        "none" => Ok(Capacity(None)),
        text => size(text).map(|bytes| Capacity(Some(bytes))),
    }
}

#[derive(Args)]
pub(crate) struct Retire {
    /// The shelf's name
    name: String,
    /// Queue only; `strongroom work run` does the work
    #[arg(long)]
    detach: bool,
}

#[derive(Args)]
pub(crate) struct Replace {
    /// The name of the shelf that goes
    old: String,
    /// The directory that takes its place; it is made if it is not there
    #[arg(long, value_name = "PATH")]
    with: PathBuf,
    /// What people call the new one [default: the last part of PATH]
    #[arg(long)]
    name: Option<String>,
    /// What is lost together with the new one [default: the disk]
    #[arg(long)]
    domain: Option<String>,
    /// Queue only; `strongroom work run` does the work
    #[arg(long)]
    detach: bool,
}

#[derive(Args)]
pub(crate) struct Reclaim {
    /// Only on this shelf
    name: Option<String>,
    /// Every byte that is not wanted, even where much must be copied for little
    #[arg(long)]
    everything: bool,
    /// Queue only; `strongroom work run` does the work
    #[arg(long)]
    detach: bool,
}

#[derive(Args)]
pub(crate) struct Rebalance {
    /// Queue only; `strongroom work run` does the work
    #[arg(long)]
    detach: bool,
}

pub(crate) fn show(cx: &Context, args: &Named) -> Result<Answer, Failure> {
    let archive = cx.open()?;
    archive.find_shelf(&args.name)?;
    let all = view::shelves(&archive)?;
    let json = all.into_iter().find(|shelf| shelf["name"] == args.name.as_str());
    let json = json.unwrap_or_default();
    let text = |name: &str| json[name].as_str().unwrap_or_default();
    let bytes = |name: &str| output::bytes(number(&json, name));
    let mut lines = vec![
        format!("shelf      {}  {}", text("name"), text("id")),
        format!("state      {}", text("state")),
        format!("location   {}", text("location")),
        format!("domain     {}", text("domain")),
        format!("wanted     {} in {}", bytes("live_bytes"), shards(&json, "live_shards")),
        format!("to reclaim {} in {}", bytes("pending_bytes"), shards(&json, "pending_shards")),
    ];
    if let Some(most) = json["capacity_bytes"].as_u64() {
        lines.push(format!("capacity   {}", output::bytes(most)));
    }
    match json["missing"].as_str() {
        Some(why) => lines.push(format!("MISSING    {why}")),
        None => lines.push(format!("free       {}", bytes("free_bytes"))),
    }
    if json["mounted_read_only"] == true {
        lines.push("Its file system is mounted read-only: nothing is written to it.".into());
    }
    if number(&json, "unknown_logs") > 0 {
        lines.push(unknown_line(&json));
    }
    cx.out.value(&json, lines.join("\n"))?;
    Ok(Answer::Yes)
}

/// What is said of segments that the registry does not know.
pub(super) fn unknown_line(shelf: &Value) -> String {
    format!(
        "Shelf {} holds {} of segments that this registry does not know: the registry may be an older \
         copy. They are kept; `strongroom shelf verify` names them.",
        shelf["name"].as_str().unwrap_or_default(),
        output::bytes(number(shelf, "unknown_bytes"))
    )
}

fn shards(shelf: &Value, name: &str) -> String {
    output::count(number(shelf, name), "shard")
}

pub(crate) fn set(cx: &Context, args: &Set) -> Result<Answer, Failure> {
    let archive = cx.open()?;
    let read_only = match (args.read_only, args.active) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    };
    let capacity = args.capacity.map(|Capacity(most)| most);
    let change = ShelfChange { capacity, domain: args.domain.clone(), read_only };
    let shelf = archive.set_shelf(&args.name, &change)?;
    let json = json!({
        "id": shelf.id, "name": shelf.name, "state": shelf.state.word(), "domain": shelf.domain,
        "capacity_bytes": shelf.capacity_bytes,
    });
    let most = shelf.capacity_bytes.map_or("its disk's".into(), output::bytes);
    let line = format!(
        "Shelf {} is {}; domain {}; capacity {most}",
        shelf.name, shelf.state, shelf.domain
    );
    cx.out.value(&json, line)?;
    Ok(Answer::Yes)
}

pub(crate) fn verify(cx: &Context, args: &Named) -> Result<Answer, Failure> {
    let archive = cx.open()?;
    let shelf = archive.find_shelf(&args.name)?;
    let scan = scan_shelf(&archive, &shelf, &stop_on_signals())?;
    let (json, lines) = told(&shelf.name, &scan);
    cx.out.value(&json, lines)?;
    answer(&[scan])
}

/// Verifies every shelf that is there; what `status --scan` adds.
pub(super) fn scan_all(archive: &Archive) -> Result<(Value, Vec<String>, Vec<ShelfScan>), Failure> {
    let stop = stop_on_signals();
    let (mut jsons, mut lines, mut scans) = (Vec::new(), Vec::new(), Vec::new());
    for shelf in archive.block_on(archive.registry().shelves())? {
        if !archive.vault().shelves().iter().any(|open| open.spec().id == shelf.id) {
            continue;
        }
        let scan = scan_shelf(archive, &shelf, &stop)?;
        let (json, line) = told(&shelf.name, &scan);
        jsons.push(json);
        lines.push(line);
        scans.push(scan);
    }
    Ok((jsons.into(), lines, scans))
}

/// Whether what is there is what is counted.
pub(super) fn answer(scans: &[ShelfScan]) -> Result<Answer, Failure> {
    let differ = scans.iter().any(|scan| scan.differences_count > 0);
    if differ && scans.iter().any(|scan| scan.moved_meanwhile) {
        let why =
            "work went on while the shelf was looked at, so no difference can be told from it";
        return Err(Failure::undecided(why).hint("Ask again when nothing runs."));
    }
    Ok(Answer::of(!differ))
}

fn told(name: &str, scan: &ShelfScan) -> (Value, String) {
    let counted = scan.counted;
    let json = json!({
        "shelf": name,
        "logs": scan.logs,
        "log_bytes": scan.log_bytes,
        "live_bytes": scan.live_bytes,
        "pending_bytes": scan.pending_bytes,
        "removed_bytes": scan.removed_bytes,
        "stray_bytes": scan.stray_bytes,
        "waiting_bytes": scan.waiting_bytes,
        "unknown_bytes": scan.unknown_bytes,
        "unknown_logs": scan.unknown_logs,
        "unknown_segments": scan.unknown,
        "damaged_regions": scan.damaged_regions,
        "counted_live_bytes": counted.map(|c| c.live_bytes),
        "counted_pending_bytes": counted.map(|c| c.pending_bytes),
        "differences": scan.differences,
        "differences_count": scan.differences_count,
        "changed_meanwhile": scan.moved_meanwhile,
    });
    let mut lines = vec![format!(
        "shelf {name}: {} in {}: {} wanted, {} to reclaim, {} left by interrupted work, {} unknown",
        output::bytes(scan.log_bytes),
        output::count(scan.logs, "log"),
        output::bytes(scan.live_bytes),
        output::bytes(scan.pending_bytes),
        output::bytes(scan.stray_bytes),
        output::bytes(scan.unknown_bytes),
    )];
    lines.extend(scan.differences.iter().take(SHOWN).map(|what| format!("  {what}")));
    match scan.differences_count {
        0 if scan.removed_bytes > 0 => lines.push(format!(
            "  It is as the registry counts it; {} of what waits is removed, which the next reclaiming has \
             confirmed.",
            output::bytes(scan.removed_bytes)
        )),
        0 => lines.push("  It is as the registry counts it.".into()),
        n if n > SHOWN as u64 => lines.push(format!("  ... {} more", n - SHOWN as u64)),
        _ => {}
    }
    (json, lines.join("\n"))
}

pub(crate) fn retire(cx: &Context, args: &Retire) -> Result<Answer, Failure> {
    let archive = cx.open()?;
    let item = archive.retire_shelf(&args.name)?;
    drain(cx, &item, args.detach)
}

pub(crate) fn replace(cx: &Context, args: &Replace) -> Result<Answer, Failure> {
    let path = std::path::absolute(&args.with).map_err(|e| Failure::io(args.with.display(), &e))?;
    let last = path.file_name().map(|last| last.to_string_lossy().into_owned());
    let Some(name) = args.name.clone().or(last) else {
        return Err(Failure::usage("no name can be made of it").hint("Name the shelf with --name."));
    };
    let domain = domain_of(args.domain.as_deref(), &path, &name);
    let archive = cx.open()?;
    // Run again after an interruption, it goes on: the new shelf stands already.
    let added =
        archive.find_shelf(&name).is_ok_and(|shelf| shelf.location == path.to_string_lossy());
    if !added {
        archive.add_in_place_of(&args.old, &name, &path, &domain)?;
        eprintln!("Shelf {name} is added: {}", path.display());
    }
    drop(archive);
    let item = cx.open()?.retire_shelf(&args.old)?;
    drain(cx, &item, args.detach)
}

/// Works off a drain in an archive that knows that nothing is to be placed there.
fn drain(cx: &Context, item: &WorkItem, detach: bool) -> Result<Answer, Failure> {
    if detach {
        return super::queued(cx, item);
    }
    let archive = cx.open()?;
    let item = Worker::new(&archive).succeed(item)?;
    cx.out.value(&with_work(&item), &item.note)?;
    Ok(Answer::Yes)
}

pub(crate) fn reclaim(cx: &Context, args: &Reclaim) -> Result<Answer, Failure> {
    let archive = cx.open()?;
    let item = archive.reclaim(args.name.as_deref(), args.everything)?;
    if args.detach {
        return super::queued(cx, &item);
    }
    let item = Worker::new(&archive).succeed(&item)?;
    let report = &item.report;
    let mut lines = vec![format!(
        "{} removed, {}; {} copied to others; {} pending",
        output::count(number(report, "removed_logs"), "log"),
        output::bytes(number(report, "removed_bytes")),
        output::bytes(number(report, "moved_bytes")),
        output::bytes(number(report, "pending_bytes")),
    )];
    let kept = (number(report, "kept_logs"), number(report, "waiting_logs"));
    if kept != (0, 0) {
        let (kept, used) = kept;
        lines.push(format!("{} kept, {used} in use", output::count(kept, "log")));
    }
    let rows = |name: &str| report[name].as_array().cloned().unwrap_or_default();
    for row in rows("not_done").iter().take(SHOWN) {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        lines.push(format!("  shelf {}: {} {}", text("shelf"), text("why"), text("log")));
    }
    for row in rows("unknown").iter().take(SHOWN) {
        let (shelf, log) = (&row["shelf"], &row["log"]);
        lines.push(format!(
            "  shelf {}: kept: {} holds {} segments that the registry does not know: it may be an older copy",
            shelf.as_str().unwrap_or_default(),
            log.as_str().unwrap_or_default(),
            row["count"]
        ));
    }
    cx.out.value(&with_work(&item), lines.join("\n"))?;
    Ok(Answer::Yes)
}

pub(crate) fn rebalance(cx: &Context, args: &Rebalance) -> Result<Answer, Failure> {
    let archive = cx.open()?;
    let item = archive.rebalance()?;
    if args.detach {
        return super::queued(cx, &item);
    }
    let item = Worker::new(&archive).succeed(&item)?;
    cx.out.value(&with_work(&item), &item.note)?;
    Ok(Answer::Yes)
}

fn with_work(item: &WorkItem) -> Value {
    let mut json = item.report.clone();
    if let Some(fields) = json.as_object_mut() {
        fields.insert("work".into(), item.id.to_string().into());
    }
    json
}
