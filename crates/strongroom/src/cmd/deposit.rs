//! `deposit`: takes sources in, many at once.

use super::work::{Worker, failure_of};
use super::{Context, remote};
use crate::desk::{Client, Desk};
use crate::errors::{Answer, Exit, Failure};
use crate::output;
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use strongroom_intake::Archive;
use strongroom_record::{Coding, ObjectName, WorkId};
use strongroom_serve::view;

/// The institution where none is named.
pub(crate) const LOCAL: &str = "local";

#[derive(Args)]
pub(crate) struct Deposit {
    /// Folders, bag folders, single files, .tar, .tar.gz or .tar.zst
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Name of the object, NAME or INSTITUTION/NAME; with one PATH only [default: the last part of PATH]
    #[arg(long, value_name = "OBJECT")]
    object: Option<String>,
    /// Whose records these are; a new name makes an institution and its key [default: local]
    #[arg(long, value_name = "NAME")]
    institution: Option<String>,
    /// Policy of the objects: copies=N or K+M
    #[arg(long, value_name = "POLICY")]
    policy: Option<Coding>,
    /// Go on though shelves are missing; repair makes the copies later
    #[arg(long)]
    accept_degraded: bool,
    /// Queue only; `strongroom work run` does the work
    #[arg(long)]
    detach: bool,
}

pub(crate) fn run(cx: &Context, args: Deposit) -> Result<Answer, Failure> {
    // Everything that can be refused is refused before anything is made or queued.
    let deposits: Vec<_> =
        args.paths.iter().map(|path| request(&args, path)).collect::<Result<_, _>>()?;
    let taker = match cx.client()? {
        Some(client) => Taker::Server(client, cx.desk()?),
        None => {
            let archive = cx.open_or_create()?;
            let worker = (!args.detach).then(|| Worker::new(&archive));
            Taker::Here(archive, worker)
        }
    };
    let (mut rows, mut worst) = (Vec::new(), None);
    for deposit in &deposits {
        let outcome = taker.take(deposit, args.detach);
        if let Err(failure) = &outcome.1 {
            worst = worst.max(Some(failure.exit));
            failure.say();
        }
        if !cx.out.is_json()
            && let Ok(line) = &outcome.1
        {
            cx.out.line(line)?;
        }
        rows.push(row(deposit, &outcome));
        if taker.stopped() {
            break;
        }
    }
    if cx.out.is_json() {
        cx.out.value(&Value::Array(rows), "")?;
    }
    match worst {
        None => Ok(Answer::Yes),
        Some(Exit::No) => Ok(Answer::No),
        Some(exit) => Err(Failure::told(exit)),
    }
}

/// The item as it ended, and the line that tells of it, or why it did not end well.
type Outcome = (Option<Value>, Result<String, Failure>);

/// Who takes sources in.
enum Taker {
    Here(Archive, Option<Worker>),
    Server(Client, Desk),
}

impl Taker {
    fn take(&self, deposit: &strongroom_intake::Deposit, detach: bool) -> Outcome {
        let item = match self.queue(deposit) {
            Ok(item) => item,
            Err(failure) => return (None, Err(failure)),
        };
        if detach {
            let id = output::short(item["id"].as_str().unwrap_or_default());
            return (Some(item), Ok(format!("{} queued as {id}", deposit.object)));
        }
        match self.end(&item) {
            Err(failure) => (Some(item), Err(failure)),
            Ok((ended, Some(failure))) => (Some(ended), Err(failure)),
            Ok((ended, None)) => {
                let line = line(deposit, &ended["report"]);
                (Some(ended), Ok(line))
            }
        }
    }

    fn queue(&self, deposit: &strongroom_intake::Deposit) -> Result<Value, Failure> {
        match self {
            Taker::Here(archive, _) => Ok(view::work(&archive.deposit(deposit)?)),
            Taker::Server(client, _) => remote::deposit(client, deposit),
        }
    }

    /// The item when it is over, and why it did not end well.
    fn end(&self, item: &Value) -> Result<(Value, Option<Failure>), Failure> {
        match self {
            Taker::Here(_, None) => Ok((item.clone(), None)),
            Taker::Here(_, Some(worker)) => {
                let id: WorkId = item["id"].as_str().unwrap_or_default().parse()?;
                let ended = worker.end(id)?;
                Ok((view::work(&ended.item), failure_of(&ended)))
            }
            Taker::Server(_, desk) => {
                let ended = remote::wait(desk, item)?;
                let failure = remote::failure_of(&ended);
                Ok((ended, failure))
            }
        }
    }

    fn stopped(&self) -> bool {
        matches!(self, Taker::Here(_, Some(worker)) if worker.stopped())
    }
}

fn line(deposit: &strongroom_intake::Deposit, report: &Value) -> String {
    let number = |name: &str| super::number(report, name);
    let version = format!("{}@{}", deposit.object, number("version"));
    let warnings = report["warnings"].as_array().map_or(0, Vec::len) as u64;
    let mut line = match report["outcome"].as_str() {
        Some("unchanged") => format!("{version} is unchanged; no version was made"),
        _ => format!(
            "{version} published: {}, {}; {} stored on shelves",
            output::count(number("files"), "file"),
            output::bytes(number("bytes")),
            output::bytes(number("stored_bytes")),
        ),
    };
    if warnings > 0 {
        line.push_str(&format!("; {}", output::count(warnings, "warning")));
    }
    line
}

fn row(deposit: &strongroom_intake::Deposit, (item, told): &Outcome) -> Value {
    json!({
        "source": deposit.source.to_string_lossy(),
        "object": deposit.object,
        "work": item.as_ref().map(|item| &item["id"]),
        "status": item.as_ref().map(|item| &item["status"]),
        "report": item.as_ref().map(|item| &item["report"]),
        "error": told.as_ref().err().map(Failure::to_json),
    })
}

fn request(args: &Deposit, path: &Path) -> Result<strongroom_intake::Deposit, Failure> {
    if args.object.is_some() && args.paths.len() > 1 {
        return Err(Failure::usage("--object names one object, and there are several paths"));
    }
    let source = std::fs::canonicalize(path).map_err(|e| {
        Failure::io(path.display(), &e).hint("Name a folder or file that is there.")
    })?;
    let object = name(args, path, &source)?;
    Ok(strongroom_intake::Deposit {
        source,
        object: object.to_string(),
        policy: args.policy,
        accept_degraded: args.accept_degraded,
        origin: None,
    })
}

fn name(args: &Deposit, path: &Path, source: &Path) -> Result<ObjectName, Failure> {
    let institution = args.institution.as_deref();
    let name = match &args.object {
        Some(full) if full.contains('/') => {
            let name: ObjectName = full.parse()?;
            return match institution {
                Some(other) if other != name.institution() => Err(Failure::usage(format_args!(
                    "--object names institution `{}`, --institution `{other}`",
                    name.institution()
                ))),
                _ => Ok(name),
            };
        }
        Some(name) => name.clone(),
        None => default_name(path, source)?,
    };
    Ok(ObjectName::new(institution.unwrap_or(LOCAL), &name)?)
}

/// The last part of the path as given (of `.` and `..`, of what they stand for), without the ending
/// of a tar.
fn default_name(path: &Path, source: &Path) -> Result<String, Failure> {
    let last = path.file_name().or(source.file_name());
    let name = last.and_then(|name| name.to_str()).ok_or_else(|| {
        Failure::usage(format_args!("no name can be made of {}", path.display()))
            .hint("Name the object with --object.")
    })?;
    let endings = [".tar", ".tar.gz", ".tgz", ".tar.zst"];
    let stem = match source.is_file() {
        true => endings.iter().find_map(|ending| name.strip_suffix(ending)),
        false => None,
    };
    Ok(stem.filter(|stem| !stem.is_empty()).unwrap_or(name).into())
}
