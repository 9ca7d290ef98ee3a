//! `work`: what is queued, what runs, what is in trouble.

use super::Context;
use crate::errors::{Answer, Failure};
use crate::interrupt::stop_on_signals;
use crate::output;
use crate::progress::Line;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use strongroom_intake::{Archive, Ended, Runner, Stop};
use strongroom_record::{Stage, WorkId, WorkItem, WorkKind, WorkStatus};
use strongroom_serve::{Call, PAGE_ROWS_MAX, view};

#[derive(Subcommand)]
pub(crate) enum Work {
    /// Work off whatever is queued
    Run(Run),
    /// List work items
    List(List),
    /// Show one work item with its whole state
    Show(Show),
    /// Put a work item back into the queue
    Requeue(Requeue),
    /// Give a work item up
    Cancel(Show),
    /// Pause work in the background, in all processes, until it is resumed
    Pause(Kinds),
    /// Let paused work go on
    Resume(Kinds),
    /// Show or set how many bytes a second each worker reads and writes in the background
    Throttle(Throttle),
}

#[derive(Args)]
pub(crate) struct Kinds {
    /// Kinds: fixity, repair, recode, reclaim, drain, rebalance [default: all of them]
    #[arg(value_parser = WorkKind::parse)]
    kinds: Vec<WorkKind>,
}

#[derive(Args)]
pub(crate) struct Throttle {
    /// Bytes a second, such as 20M, or `none` [default: only show it]
    rate: Option<String>,
}

#[derive(Args)]
pub(crate) struct Run {
    /// Stay, and take what is queued later too
    #[arg(long)]
    stay: bool,
}

#[derive(Args)]
pub(crate) struct List {
    /// Only those with this status: waiting, queued, running, trouble, succeeded, cancelled
    #[arg(long, value_parser = WorkStatus::parse)]
    status: Option<WorkStatus>,
    /// Only of this kind: ingest, restore, fixity, repair, recode, delete, reclaim, drain, rebalance
    #[arg(long, value_parser = WorkKind::parse)]
    kind: Option<WorkKind>,
}

#[derive(Args)]
pub(crate) struct Show {
    /// The work item's id, or the beginning of it
    id: String,
}

#[derive(Args)]
pub(crate) struct Requeue {
    /// The work item's id, or the beginning of it
    id: String,
    /// At this stage: inspect, store, validate, record, publish, run, rewrite [default: where it was]
    #[arg(long, value_parser = Stage::parse)]
    stage: Option<Stage>,
}

pub(crate) fn run(cx: &Context, args: Work) -> Result<Answer, Failure> {
    match args {
        Work::Run(args) => work_off(cx, &args),
        Work::List(args) => list(cx, &args),
        Work::Show(args) => show(cx, &args),
        Work::Requeue(args) => {
            let item = cx.desk()?.ask(&Call::Requeue { id: args.id, stage: args.stage })?;
            let (id, stage) = (output::short(text(&item, "id")), text(&item, "stage"));
            cx.out.value(
                &item,
                format_args!("{id} waits at stage {stage}. Go on with: strongroom work run"),
            )?;
            Ok(Answer::Yes)
        }
        Work::Pause(args) => {
            let archive = cx.open()?;
            let paused = archive.pause(&args.kinds)?;
            tell_paused(cx, &paused)
        }
        Work::Resume(args) => {
            let archive = cx.open()?;
            let paused = archive.resume(&args.kinds)?;
            tell_paused(cx, &paused)
        }
        Work::Throttle(args) => throttle(cx, &args),
        Work::Cancel(args) => {
            let item = cx.desk()?.ask(&Call::Cancel(args.id))?;
            let id = output::short(text(&item, "id"));
            cx.out.value(&item, format_args!("{id} is cancelled; its record and events stay."))?;
            Ok(Answer::Yes)
        }
    }
}

fn tell_paused(cx: &Context, paused: &[WorkKind]) -> Result<Answer, Failure> {
    let words: Vec<_> = paused.iter().map(|kind| kind.word()).collect();
    let line = match words.as_slice() {
        [] => "No work is paused.".to_string(),
        words => format!("Paused: {}. Go on with: strongroom work resume", words.join(", ")),
    };
    cx.out.value(&json!({ "paused": words }), line)?;
    Ok(Answer::Yes)
}

fn throttle(cx: &Context, args: &Throttle) -> Result<Answer, Failure> {
    let archive = cx.open()?;
    match args.rate.as_deref() {
        None => {}
        Some("none") => archive.set_background_rate(None)?,
        Some(text) => match super::shelf::size(text).map_err(Failure::usage)? {
            0 => return Err(Failure::usage("a rate of 0 is a pause: strongroom work pause")),
            rate => archive.set_background_rate(Some(rate))?,
        },
    }
    let rate = archive.background_rate()?;
    let line = match rate {
        Some(rate) => {
            format!("Work in the background: at most {}/s each worker", output::bytes(rate))
        }
        None => "Work in the background is not throttled.".into(),
    };
    cx.out.value(&json!({ "bytes_per_second": rate }), line)?;
    Ok(Answer::Yes)
}

/// Works on items in this process, with progress and a way to stop.
pub(crate) struct Worker {
    runner: Runner,
    stop: Stop,
    line: std::sync::Arc<Line>,
}

impl Worker {
    /// Ctrl-C is heard from now on.
    pub(crate) fn new(archive: &Archive) -> Worker {
        let (stop, line) = (stop_on_signals(), Line::new());
        Worker { runner: Runner::new(archive, stop.clone(), line.clone()), stop, line }
    }

    /// Works on one item to its end. What the item ended with is in [`Ended`].
    pub(crate) fn end(&self, item: WorkId) -> Result<Ended, Failure> {
        let ended = self.runner.run_one(item);
        self.line.clear();
        Ok(ended?)
    }

    /// Works on one item to its good end.
    pub(crate) fn succeed(&self, item: &WorkItem) -> Result<WorkItem, Failure> {
        let ended = self.end(item.id)?;
        match failure_of(&ended) {
            Some(failure) => Err(failure),
            None => Ok(ended.item),
        }
    }

    /// Whether a person asked to stop.
    pub(crate) fn stopped(&self) -> bool {
        self.stop.stopped()
    }
}

/// Why an item did not end well, with what to do about the item.
pub(crate) fn failure_of(ended: &Ended) -> Option<Failure> {
    let (item, id) = (&ended.item, output::short(ended.item.id));
    let failure = match &ended.error {
        Some(error) => Failure::of(error),
        None if matches!(item.status, WorkStatus::Succeeded | WorkStatus::Waiting) => return None,
        None => Failure::internal(format_args!("work item {id} is {}: {}", item.status, item.note)),
    };
    Some(match item.status {
        WorkStatus::Trouble => kept(failure, &id),
        _ => failure,
    })
}

/// With what to do about an item in trouble.
pub(crate) fn kept(failure: Failure, id: &str) -> Failure {
    let hint = format!(
        "{}\n  Its state is kept: strongroom work show {id}; strongroom work requeue {id}; \
         strongroom work cancel {id}",
        failure.hint
    );
    failure.hint(hint)
}

fn work_off(cx: &Context, args: &Run) -> Result<Answer, Failure> {
    let archive = cx.open()?;
    let worker = Worker::new(&archive);
    let (mut list, mut failed) = (cx.out.list(), 0);
    let worked = worker.runner.run_all::<Failure>(args.stay, &mut |ended| {
        worker.line.clear();
        if let Some(failure) = failure_of(&ended) {
            failed += 1;
            failure.say();
        }
        let item = &ended.item;
        let line =
            format!("{}  {:<9}  {}  {}", output::short(item.id), item.status, item.kind, item.note);
        list.row(&view::work(item), line)
    });
    worker.line.clear();
    worked?;
    if list.end()? == 0 {
        eprintln!("Nothing was queued.");
    }
    Ok(Answer::of(failed == 0))
}

fn list(cx: &Context, args: &List) -> Result<Answer, Failure> {
    let mut list = cx.out.list();
    let (status, kind) = (args.status, args.kind);
    let limit = PAGE_ROWS_MAX;
    let call = |after| Call::Work { institution: None, status, kind, after, limit };
    cx.desk()?.each(&call, &mut |item| {
        let note = text(&item, "note");
        let line = format!(
            "{}  {:<9}  {:<8}  {:<8}  {}  {}{}",
            output::short(text(&item, "id")),
            text(&item, "status"),
            text(&item, "kind"),
            text(&item, "stage"),
            output::time(text(&item, "updated")),
            text(&item, "key"),
            if note.is_empty() { String::new() } else { format!("  ({note})") },
        );
        list.row(&item, line)
    })?;
    if list.end()? == 0 {
        eprintln!("No work items.");
    }
    Ok(Answer::Yes)
}

fn show(cx: &Context, args: &Show) -> Result<Answer, Failure> {
    let item = cx.desk()?.ask(&Call::WorkItem(args.id.clone()))?;
    let text = |name| text(&item, name);
    let mut lines = vec![
        format!("work item  {}", text("id")),
        format!("kind       {}", text("kind")),
        format!(
            "status     {}, at stage {}, begun {}",
            text("status"),
            text("stage"),
            times(super::number(&item, "attempts"))
        ),
        format!("created    {}", output::time(text("created"))),
        format!("updated    {}", output::time(text("updated"))),
    ];
    for (name, head) in [("key", "works on"), ("asked_by", "asked by"), ("note", "note    ")] {
        if !text(name).is_empty() {
            lines.push(format!("{head}   {}", text(name)));
        }
    }
    lines.push(format!("request    {}", item["request"]));
    if !item["report"].is_null() {
        lines.push(format!("report     {:#}", item["report"]));
    }
    cx.out.value(&item, lines.join("\n"))?;
    Ok(Answer::Yes)
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_string()
}

fn times(count: u64) -> String {
    match count {
        1 => "once".into(),
        count => format!("{count} times"),
    }
}
