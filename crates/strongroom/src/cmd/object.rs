//! `object`: what is preserved, where it lies, and what happened to it.

use super::Context;
use super::deposit::LOCAL;
use crate::desk::Desk;
use crate::errors::{Answer, Failure};
use crate::output;
use clap::{Args, Subcommand};
use serde_json::Value;
use std::collections::BTreeSet;
use strongroom_bag::path::show as show_path;
use strongroom_record::{Event, FileRecord, SegmentId};
use strongroom_serve::{Call, EventsOf, PAGE_ROWS_MAX, SEGMENTS_MAX};

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
    let mut list = cx.out.list();
    let call = |after| Call::Objects {
        institution: args.institution.clone(),
        after,
        limit: PAGE_ROWS_MAX,
    };
    cx.desk()?.each(&call, &mut |row| {
        let line = format!(
            "{}  {:<32}  {:>12}  {:>12}  {:>10}  {}",
            output::short(text(&row, "id")),
            text(&row, "name"),
            output::count(super::number(&row, "versions"), "version"),
            output::count(super::number(&row, "files"), "file"),
            output::bytes(super::number(&row, "bytes")),
            output::time(text(&row, "published")),
        );
        list.row(&row, line.trim_end())
    })?;
    if list.end()? == 0 {
        eprintln!("No objects yet. Put one in with: strongroom deposit PATH");
    }
    Ok(Answer::Yes)
}

fn show(cx: &Context, args: &Show) -> Result<Answer, Failure> {
    let desk = cx.desk()?;
    let asked = desk.ask(&Call::Object(args.object.clone()));
    let mut object = match (asked, desk.archive()) {
        // What was deleted here is told of.
        (Err(failure), Some(archive)) if failure.is_not_found() => {
            let told = super::delete::told_of(archive, &args.object)?;
            return Err(match told {
                Some(told) => failure.hint(told),
                None => failure,
            });
        }
        (asked, _) => asked?,
    };
    // What is listed is of that version, also where another is published meanwhile.
    let number = super::number(&object, "shown");
    let exact = format!("{}@{number}", text(&object, "id"));
    let versions = object["versions"].as_array().cloned().unwrap_or_default();
    let chosen = versions.iter().find(|version| super::number(version, "number") == number);
    let chosen = chosen.ok_or_else(|| Failure::internal("a version that is not listed"))?;
    let limit = if args.all || cx.out.is_json() { u64::MAX } else { FILES_SHOWN.into() };
    let (mut shown, mut segments) = (Vec::new(), BTreeSet::new());
    desk.each(&files_of(&exact), &mut |row| {
        let file = FileRecord::from_json(&row)?;
        segments.extend(file.extents.iter().map(|extent| extent.segment));
        if (shown.len() as u64) < limit {
            shown.push((row, file));
        }
        Ok(())
    })?;
    segments.extend(text(chosen, "record").parse::<SegmentId>().ok());
    let segments = segments_of(&desk, &exact, &segments)?;

    if cx.out.is_json() {
        object["files"] = shown.into_iter().map(|(row, _)| row).collect();
        object["segments"] = segments.into();
        cx.out.value(&object, "")?;
        return Ok(Answer::Yes);
    }
    let out = cx.out;
    let [name, id, policy] = ["name", "id", "policy"].map(|field| text(&object, field));
    out.line(format_args!("{name}  {id}  policy {policy}"))?;
    let head = ["version", "published", "files", "bytes", "record", "record's SHA-256", "source"];
    let rows: Vec<_> = versions.iter().map(version_row).collect();
    out.columns(&head, &rows)?;
    out.line(format_args!("\nfiles of version {number}"))?;
    for (_, file) in &shown {
        out.line(file_line(file))?;
        out.line(extents_lines(file))?;
    }
    let files = super::number(chosen, "files");
    if files > shown.len() as u64 {
        let more = files - shown.len() as u64;
        out.line(format_args!("... and {more} more (--all lists them)"))?;
    }
    out.line("\nsegments of that version")?;
    let head = ["segment", "kind", "bytes", "coding", "shards on shelves"];
    out.columns(&head, &segments.iter().map(segment_row).collect::<Vec<_>>())?;
    Ok(Answer::Yes)
}

/// Pages of the files of a version.
fn files_of(object: &str) -> impl Fn(Option<String>) -> Call {
    move |after| Call::Files { object: object.into(), after, limit: PAGE_ROWS_MAX }
}

fn segments_of(
    desk: &Desk,
    object: &str,
    ids: &BTreeSet<SegmentId>,
) -> Result<Vec<Value>, Failure> {
    let ids: Vec<_> = ids.iter().copied().collect();
    let mut rows = Vec::new();
    for ids in ids.chunks(SEGMENTS_MAX) {
        rows.extend(desk.all(&Call::Segments { object: object.into(), ids: ids.to_vec() })?);
    }
    Ok(rows)
}

fn files(cx: &Context, args: &Files) -> Result<Answer, Failure> {
    let desk = cx.desk()?;
    let object = desk.ask(&Call::Object(args.object.clone()))?;
    let exact = format!("{}@{}", text(&object, "id"), super::number(&object, "shown"));
    let mut list = cx.out.list();
    desk.each(&files_of(&exact), &mut |row| {
        let file = FileRecord::from_json(&row)?;
        let mut line = file_line(&file);
        if args.extents && !file.extents.is_empty() {
            line = format!("{line}\n{}", extents_lines(&file));
        }
        list.row(&row, line)
    })?;
    list.end()?;
    Ok(Answer::Yes)
}

fn events(cx: &Context, args: &Events) -> Result<Answer, Failure> {
    let desk = cx.desk()?;
    let of = match &args.object {
        Some(name) => EventsOf::Object(name.clone()),
        None => EventsOf::Institution(args.institution.clone()),
    };
    if args.verify {
        let json = desk.ask(&Call::Verify(of))?;
        let events = output::count(super::number(&json, "events"), "event");
        let line = match json["broken_at"].as_u64() {
            None => format!("The chain of {events} holds; its head is {}.", text(&json, "head")),
            Some(at) => format!("The chain is broken at event {at}; {events} before it hold."),
        };
        cx.out.value(&json, line)?;
        return Ok(Answer::of(json["broken_at"].is_null()));
    }
    let mut list = cx.out.list();
    let call = |after| Call::Events { of: of.clone(), after, limit: PAGE_ROWS_MAX };
    desk.each(&call, &mut |row| {
        let hash = text(&row, "event_hash").parse()?;
        list.row(&row, event_line(&Event::from_json(&row, hash)?))
    })?;
    list.end()?;
    Ok(Answer::Yes)
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

fn version_row(version: &Value) -> Vec<String> {
    vec![
        super::number(version, "number").to_string(),
        output::time(text(version, "published")),
        super::number(version, "files").to_string(),
        output::bytes(super::number(version, "bytes")),
        output::short(text(version, "record")),
        output::short(text(version, "record_sha256")),
        text(version, "source"),
    ]
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_string()
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
