//! `object`: what is preserved, where it lies, and what happened to it.

use super::Context;
use super::deposit::LOCAL;
use super::work::PAGE_ROWS;
use crate::errors::{Answer, Failure};
use crate::output;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use strongroom_bag::path::show as show_path;
use strongroom_intake::Archive;
use strongroom_record::{Event, FileRecord, SegmentId, ShelfId};
use strongroom_registry::{EventsOf, Version, VersionState};

#[derive(Subcommand)]
pub(crate) enum Object {
    /// List objects
    List(List),
    /// Show an object: versions, digests, where its bytes lie
    Show(Show),
    /// List the files of a version
    Files(Files),
    /// List what happened to an object, as chained PREMIS events
    Events(Events),
}

#[derive(Args)]
pub(crate) struct List {
    /// Only of this institution
    #[arg(long, value_name = "NAME")]
    institution: Option<String>,
}

#[derive(Args)]
pub(crate) struct Show {
    /// OBJECT or OBJECT@VERSION: institution/name, name, or an id's beginning
    object: String,
    /// Also list every file with its digest and extents, not only the first ones
    #[arg(long)]
    all: bool,
}

#[derive(Args)]
pub(crate) struct Files {
    /// OBJECT or OBJECT@VERSION
    object: String,
    /// Also say where each file's bytes lie
    #[arg(long)]
    extents: bool,
}

#[derive(Args)]
pub(crate) struct Events {
    /// The object [default: all that happened in the institution]
    object: Option<String>,
    /// The institution, where no object is named
    #[arg(long, value_name = "NAME", default_value = LOCAL, conflicts_with = "object")]
    institution: String,
    /// Compute the institution's whole chain anew; exit 1 where it does not hold
    #[arg(long)]
    verify: bool,
}

/// Files that `show` lists unless told to list all.
const FILES_SHOWN: u32 = 20;

pub(crate) fn run(cx: &Context, args: Object) -> Result<Answer, Failure> {
    match args {
        Object::List(args) => list(cx, &args),
        Object::Show(args) => show(cx, &args),
        Object::Files(args) => files(cx, &args),
        Object::Events(args) => events(cx, &args),
    }
}

fn list(cx: &Context, args: &List) -> Result<Answer, Failure> {
    let archive = cx.open()?;
    let registry = archive.registry();
    let institution = match &args.institution {
        Some(name) => Some(super::institution(&archive, name)?.id),
        None => None,
    };
    let (mut list, mut after) = (cx.out.list(), None);
    loop {
        let objects = archive.block_on(registry.objects(institution, after.as_ref(), PAGE_ROWS))?;
        for summary in &objects {
            let object = &summary.object;
            let json = json!({
                "id": object.id,
                "name": object.name.to_string(),
                "versions": summary.versions,
                "latest": summary.latest.map(|(_, number)| number),
                "files": summary.files,
                "bytes": summary.bytes,
                "published": summary.published.map(|t| t.to_string()),
                "source": object.source,
            });
            let line = format!(
                "{}  {:<32}  {:>12}  {:>12}  {:>10}  {}",
                output::short(object.id),
                object.name.to_string(),
                output::count(summary.versions.into(), "version"),
                output::count(summary.files, "file"),
                output::bytes(summary.bytes),
                summary.published.map(output::time).unwrap_or_default(),
            );
            list.row(&json, line.trim_end())?;
        }
        match objects.last() {
            Some(last) if objects.len() == PAGE_ROWS as usize => {
                after = Some(last.object.name.clone());
            }
            _ => break,
        }
    }
    if list.end()? == 0 {
        eprintln!("No objects yet. Put one in with: strongroom deposit PATH");
    }
    Ok(Answer::Yes)
}

fn show(cx: &Context, args: &Show) -> Result<Answer, Failure> {
    let archive = cx.open()?;
    let (object, chosen) = match archive.find_version(&args.object) {
        Err(error @ strongroom_intake::Error::NotFound { .. }) => {
            let told = super::delete::told_of(&archive, &args.object)?;
            let failure = Failure::of(&error);
            return Err(match told {
                Some(told) => failure.hint(told),
                None => failure,
            });
        }
        found => found?,
    };
    let registry = archive.registry();
    // Drafts and what came of a deposit that changed nothing are work, not versions.
    let mut versions = archive.block_on(registry.versions(object.id))?;
    versions.retain(|version| version.state == VersionState::Published);
    let coding = archive.block_on(registry.coding_for(Some(object.id), object.institution))?;
    let limit = if args.all || cx.out.is_json() { u64::MAX } else { FILES_SHOWN.into() };
    let mut shown = Vec::new();
    let mut segments = BTreeSet::new();
    each_file(&archive, &chosen, &mut |file| {
        segments.extend(file.extents.iter().map(|extent| extent.segment));
        if (shown.len() as u64) < limit {
            shown.push(file);
        }
        Ok(())
    })?;
    segments.extend(chosen.record);
    let segments = segments_json(&archive, &segments)?;

    if cx.out.is_json() {
        let json = json!({
            "id": object.id,
            "name": object.name.to_string(),
            "institution": object.institution,
            "policy": coding,
            "source": object.source,
            "versions": versions.iter().map(version_json).collect::<Vec<_>>(),
            "shown": chosen.number,
            "files": shown.iter().map(FileRecord::to_json).collect::<Vec<_>>(),
            "segments": segments,
        });
        cx.out.value(&json, "")?;
        return Ok(Answer::Yes);
    }
    let out = cx.out;
    out.line(format_args!("{}  {}  policy {coding}", object.name, object.id))?;
    let head = ["version", "published", "files", "bytes", "record", "record's SHA-256", "source"];
    let rows: Vec<_> = versions.iter().map(version_row).collect();
    out.columns(&head, &rows)?;
    out.line(format_args!("\nfiles of version {}", chosen.number))?;
    for file in &shown {
        out.line(file_line(file))?;
        out.line(extents_lines(file))?;
    }
    if chosen.files > shown.len() as u64 {
        let more = chosen.files - shown.len() as u64;
        out.line(format_args!("... and {more} more (--all lists them)"))?;
    }
    out.line("\nsegments of that version")?;
    let head = ["segment", "kind", "bytes", "coding", "shards on shelves"];
    out.columns(&head, &segments.iter().map(segment_row).collect::<Vec<_>>())?;
    Ok(Answer::Yes)
}

fn files(cx: &Context, args: &Files) -> Result<Answer, Failure> {
    let archive = cx.open()?;
    let (_, version) = archive.find_version(&args.object)?;
    let mut list = cx.out.list();
    each_file(&archive, &version, &mut |file| {
        let mut line = file_line(&file);
        if args.extents && !file.extents.is_empty() {
            line = format!("{line}\n{}", extents_lines(&file));
        }
        list.row(&file.to_json(), line)
    })?;
    list.end()?;
    Ok(Answer::Yes)
}

fn events(cx: &Context, args: &Events) -> Result<Answer, Failure> {
    let archive = cx.open()?;
    let registry = archive.registry();
    let (of, institution) = match &args.object {
        Some(name) => {
            let object = archive.find_object(name)?;
            (EventsOf::Object(object.id), object.institution)
        }
        None => {
            let id = super::institution(&archive, &args.institution)?.id;
            (EventsOf::Institution(id), id)
        }
    };
    if args.verify {
        let report = archive.block_on(registry.verify_chain(institution))?;
        let head = archive.block_on(registry.event_head(institution))?;
        let json = json!({
            "institution": institution,
            "events": report.events,
            "holds": report.broken_at.is_none(),
            "broken_at": report.broken_at,
            "head": head.hash,
        });
        let line = match report.broken_at {
            None => format!(
                "The chain of {} holds; its head is {}.",
                output::count(report.events, "event"),
                head.hash
            ),
            Some(at) => {
                format!("The chain is broken at event {at}; {} before it hold.", report.events)
            }
        };
        cx.out.value(&json, line)?;
        return Ok(Answer::of(report.broken_at.is_none()));
    }
    let (mut list, mut after) = (cx.out.list(), 0);
    loop {
        let events = archive.block_on(registry.events(of, after, PAGE_ROWS))?;
        for event in &events {
            list.row(&event_json(event), event_line(event))?;
        }
        match events.last() {
            Some(last) if events.len() == PAGE_ROWS as usize => after = last.sequence,
            _ => break,
        }
    }
    list.end()?;
    Ok(Answer::Yes)
}

/// Every file of a version, in its order.
pub(crate) fn each_file(
    archive: &Archive,
    version: &Version,
    tell: &mut dyn FnMut(FileRecord) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut from = 0;
    loop {
        let files = archive.block_on(archive.registry().files(version.id, from, PAGE_ROWS))?;
        let full = files.len() == PAGE_ROWS as usize;
        for file in files {
            from = file.number + 1;
            tell(file)?;
        }
        if !full {
            return Ok(());
        }
    }
}

fn segments_json(archive: &Archive, ids: &BTreeSet<SegmentId>) -> Result<Vec<Value>, Failure> {
    let registry = archive.registry();
    let shelves: BTreeMap<ShelfId, String> = (archive.block_on(registry.shelves())?.into_iter())
        .map(|shelf| (shelf.id, shelf.name))
        .collect();
    let mut rows = Vec::new();
    for &id in ids {
        let Some(segment) = archive.block_on(registry.segment(id))? else { continue };
        let placements = archive.block_on(registry.placements(id))?;
        let shards: Vec<_> = (placements.iter())
            .map(|placement| {
                json!({
                    "index": placement.index,
                    "shelf": shelves.get(&placement.shelf).map_or("?", String::as_str),
                    "log": placement.log,
                    "bytes": placement.bytes,
                    "state": placement.state,
                    "checked": placement.checked.to_string(),
                })
            })
            .collect();
        rows.push(json!({
            "id": id,
            "kind": segment.kind,
            "bytes": segment.bytes,
            "coding": segment.coding,
            "number": segment.number.to_string(),
            "shards": shards,
        }));
    }
    Ok(rows)
}

fn segment_row(segment: &Value) -> Vec<String> {
    let text = |name: &str| segment[name].as_str().unwrap_or_default().to_string();
    let shards = segment["shards"].as_array().map(Vec::as_slice).unwrap_or_default();
    let shard = |shard: &Value| {
        let (index, shelf) = (&shard["index"], shard["shelf"].as_str().unwrap_or("?"));
        match shard["state"].as_str() {
            Some("good") => format!("{index}:{shelf}"),
            state => format!("{index}:{shelf} ({})", state.unwrap_or("?")),
        }
    };
    vec![
        output::short(text("id")),
        text("kind"),
        output::bytes(super::number(segment, "bytes")),
        text("coding"),
        shards.iter().map(shard).collect::<Vec<_>>().join(" "),
    ]
}

fn version_json(version: &Version) -> Value {
    json!({
        "id": version.id,
        "number": version.number,
        "published": version.published.map(|t| t.to_string()),
        "files": version.files,
        "bytes": version.bytes,
        "bag": version.bag,
        "source": version.source,
        "record": version.record,
        "record_sha256": version.record_sha256,
    })
}

fn version_row(version: &Version) -> Vec<String> {
    vec![
        version.number.to_string(),
        version.published.map(output::time).unwrap_or_default(),
        version.files.to_string(),
        output::bytes(version.bytes),
        version.record.map(output::short).unwrap_or_default(),
        version.record_sha256.map(output::short).unwrap_or_default(),
        version.source.clone(),
    ]
}

fn file_line(file: &FileRecord) -> String {
    let path = show_path(&file.path);
    let target =
        file.target.as_deref().map(|t| format!(" -> {}", show_path(t))).unwrap_or_default();
    match file.kind {
        strongroom_record::FileKind::File => format!("{}  {:>12}  {path}", file.sha256, file.size),
        kind => format!("{:<64}  {:>12}  {path}{target}", kind.word(), ""),
    }
}

fn extents_lines(file: &FileRecord) -> String {
    let one = |e: &strongroom_record::Extent| {
        format!(
            "    segment {}, offset {}, length {}",
            output::short(e.segment),
            e.offset,
            e.length
        )
    };
    match file.extents.is_empty() {
        true => "    no bytes".into(),
        false => file.extents.iter().map(one).collect::<Vec<_>>().join("\n"),
    }
}

fn event_json(event: &Event) -> Value {
    let mut json = match event.to_json() {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    json.insert("event_hash".into(), event.hash.to_string().into());
    json.into()
}

fn event_line(event: &Event) -> String {
    let draft = &event.draft;
    let files = draft.files.map(|f| format!("  {}", output::count(f.count, "file")));
    format!(
        "{:>6}  {}  {:<32}  {:<8}{}  {}",
        event.sequence,
        output::time(event.time),
        draft.kind,
        draft.outcome,
        files.unwrap_or_default(),
        draft.detail,
    )
}
