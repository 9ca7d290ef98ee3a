//! `delete`: asks for deletions, and decides about them.

use super::Context;
use super::work::Worker;
use crate::errors::{Answer, Failure};
use crate::output;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use strongroom_intake::{Archive, Deleted, Deletion, DeletionTarget};
use strongroom_record::{WorkItem, WorkKind, WorkStatus};
use strongroom_registry::{Account, Decision, WorkFilter};
use strongroom_serve::{PAGE_ROWS_MAX, view};

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Delete {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    ask: Ask,
}

#[derive(Subcommand)]
enum Command {
    /// List deletions, and what of them is still on shelves
    List(List),
    /// Approve a deletion that another account asked for
    Approve(Approve),
    /// Refuse a deletion that another account asked for
    Refuse(Refuse),
    /// Withdraw a deletion that one asked for oneself
    Withdraw(Withdraw),
}

#[derive(Args)]
struct Ask {
    /// OBJECT with all its versions, or OBJECT@VERSION
    #[arg(required = true)]
    object: Option<String>,
    /// Only this file, by its path in the version [default version: the latest]
    #[arg(long, value_name = "PATH")]
    file: Option<std::ffi::OsString>,
    /// The file at this path in every version
    #[arg(long, requires = "file")]
    all_versions: bool,
    /// Why; it stays in the events for good
    #[arg(long, value_name = "WORDS", required = true)]
    reason: Option<String>,
    /// The account that asks: NAME, or INSTITUTION/NAME
    #[arg(long = "as", value_name = "ACCOUNT")]
    account: Option<String>,
    /// Delete without approval, where there is no other administrator who could give it
    #[arg(long)]
    force: bool,
    /// The object's name, to confirm --force without a terminal
    #[arg(long, value_name = "NAME", requires = "force")]
    confirm: Option<String>,
    /// Queue only, where it is forced; `strongroom work run` does it
    #[arg(long)]
    detach: bool,
}

#[derive(Args)]
struct List {
    /// Only those that wait
    #[arg(long)]
    waiting: bool,
}

#[derive(Args)]
struct Approve {
    /// The deletion's id, or the beginning of it
    id: String,
    /// The account that approves: an administrator, not who asked
    #[arg(long = "as", value_name = "ACCOUNT")]
    account: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Queue only; `strongroom work run` does it
    #[arg(long)]
    detach: bool,
}

#[derive(Args)]
struct Refuse {
    /// The deletion's id, or the beginning of it
    id: String,
    /// The account that refuses: an administrator, not who asked
    #[arg(long = "as", value_name = "ACCOUNT")]
    account: String,
    /// Why
    #[arg(long, value_name = "WORDS")]
    reason: String,
}

#[derive(Args)]
struct Withdraw {
    /// The deletion's id, or the beginning of it
    id: String,
    /// The account that asked
    #[arg(long = "as", value_name = "ACCOUNT")]
    account: String,
}

pub(crate) fn run(cx: &Context, args: Delete) -> Result<Answer, Failure> {
    match args.command {
        None => ask(cx, args.ask),
        Some(Command::List(args)) => list(cx, &args),
        Some(Command::Approve(args)) => approve(cx, &args),
        Some(Command::Refuse(args)) => {
            decide(cx, &args.id, &args.account, Decision::Refused, &args.reason)
        }
        Some(Command::Withdraw(args)) => {
            decide(cx, &args.id, &args.account, Decision::Withdrawn, "")
        }
    }
}

fn ask(cx: &Context, args: Ask) -> Result<Answer, Failure> {
    let archive = cx.open()?;
    let target = DeletionTarget {
        object: args.object.unwrap_or_default(),
        file: args.file.map(|path| path.into_vec()),
        all_versions: args.all_versions,
    };
    let deletion = archive.plan_deletion(&target)?;
    let institution = deletion.object.split('/').next().unwrap_or_default();
    let who =
        args.account.as_deref().map(|name| account(&archive, institution, name)).transpose()?;
    let institution = super::institution(&archive, institution)?.id;
    let others = archive.registry().another_administrator(institution, who.as_ref().map(|w| w.id));
    let forced = args.force || !archive.block_on(others)?;
    eprintln!("{}", preview(&deletion));
    if forced {
        confirm(&deletion, args.force, args.confirm.as_deref())?;
    }
    let reason = args.reason.unwrap_or_default();
    let item = archive.ask_deletion(deletion, &reason, who.as_ref(), forced)?;
    if item.status != WorkStatus::Waiting {
        return end(cx, &archive, item, args.detach);
    }
    let id = output::short(item.id);
    let line = format!(
        "asked for as {id}; another administrator decides with: strongroom delete approve {id} --as NAME"
    );
    cx.out.value(&row(&archive, &item)?, line)?;
    Ok(Answer::Yes)
}

/// Twice: that it is meant, and what is meant.
fn confirm(deletion: &Deletion, forced: bool, name: Option<&str>) -> Result<(), Failure> {
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let hint = format!("Without a terminal give both: --force --confirm {}", deletion.object);
    if !forced {
        if !terminal {
            let why = "nobody else could approve this deletion, so it must be forced";
            return Err(Failure::usage(why).hint(hint));
        }
        eprintln!("There is no other administrator who could approve it, and it cannot be undone.");
        if !matches!(prompt("Delete it? [y/N] ")?.as_str(), "y" | "yes") {
            return Err(Failure::usage("nothing was deleted"));
        }
    }
    let typed = match name {
        Some(name) => name.to_string(),
        None if terminal => prompt("Type the object's name to delete it: ")?,
        None => return Err(Failure::usage("a forced deletion is confirmed").hint(hint)),
    };
    match typed == deletion.object {
        true => Ok(()),
        false => Err(Failure::usage(format_args!(
            "`{typed}` is not {}: nothing was deleted",
            deletion.object
        ))),
    }
}

fn prompt(question: &str) -> Result<String, Failure> {
    let failed = |e| Failure::io("the terminal", &e);
    eprint!("{question}");
    std::io::stderr().flush().map_err(failed)?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(failed)?;
    Ok(line.trim().to_string())
}

fn preview(deletion: &Deletion) -> String {
    let files = output::count(deletion.root.map_or(0, |root| root.count), "file");
    let bytes = output::bytes(deletion.bytes);
    let versions = output::count(deletion.versions.len() as u64, "version");
    let what = match deletion.what {
        Deleted::Object => format!("the object with {versions}"),
        Deleted::Version => "one version".into(),
        Deleted::File => format!("a file of {versions}"),
        Deleted::Draft => "a draft".into(),
    };
    let mut text = format!("{}: {what}, {files}, {bytes} will be gone for good.", deletion.name);
    if deletion.what == Deleted::File {
        text.push_str("\nManifests and tag files of the bag still name it.");
    }
    if deletion.kept_by > 0 {
        text.push_str(&format!(
            "\nIts content stays: {} of the object with the same bytes.",
            output::count(deletion.kept_by, "other file")
        ));
    }
    text
}

fn approve(cx: &Context, args: &Approve) -> Result<Answer, Failure> {
    let archive = cx.open()?;
    let (item, who) = found(&archive, &args.id, &args.account)?;
    let deletion = Deletion::of(&item)?;
    eprintln!("{}", preview(&deletion));
    eprintln!(
        "Asked for by {}: {}",
        deletion.asked_by.as_deref().unwrap_or("the operator"),
        deletion.reason
    );
    if !args.yes {
        if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
            return Err(Failure::usage("approving wants a terminal, or --yes"));
        }
        if !matches!(prompt("Approve it? [y/N] ")?.as_str(), "y" | "yes") {
            return Err(Failure::usage("nothing was approved"));
        }
    }
    let item = archive.decide_deletion(&item, &who, Decision::Approved, "")?;
    end(cx, &archive, item, args.detach)
}

fn decide(
    cx: &Context,
    id: &str,
    name: &str,
    decision: Decision,
    reason: &str,
) -> Result<Answer, Failure> {
    let archive = cx.open()?;
    let (item, who) = found(&archive, id, name)?;
    let item = archive.decide_deletion(&item, &who, decision, reason)?;
    let line = format!("{} is {}; nothing was deleted.", output::short(item.id), item.note);
    cx.out.value(&row(&archive, &item)?, line)?;
    Ok(Answer::Yes)
}

/// The deletion, and the account that acts: of the deletion's institution where none is named.
fn found(archive: &Archive, id: &str, name: &str) -> Result<(WorkItem, Account), Failure> {
    let item = archive.find_work(id)?;
    let institution = archive.block_on(archive.registry().institution(item.institution))?;
    let institution = institution.map(|i| i.name).unwrap_or_default();
    Ok((item, account(archive, &institution, name)?))
}

fn account(archive: &Archive, institution: &str, name: &str) -> Result<Account, Failure> {
    let (institution, name) = name.split_once('/').unwrap_or((institution, name));
    Ok(archive.find_account(institution, name)?)
}

/// Does what was approved or forced, in this process, unless it is only to be queued.
fn end(cx: &Context, archive: &Archive, item: WorkItem, detach: bool) -> Result<Answer, Failure> {
    if detach {
        return super::queued(cx, &item);
    }
    let item = Worker::new(archive).succeed(&item)?;
    let json = row(archive, &item)?;
    let mut line = item.note.clone();
    let pending = json["pending_bytes"].as_u64().unwrap_or(0);
    if pending > 0 {
        let pending = output::bytes(pending);
        line.push_str(&format!("; {pending} on shelves wait to be reclaimed: strongroom work run"));
    }
    cx.out.value(&json, line)?;
    Ok(Answer::Yes)
}

fn list(cx: &Context, args: &List) -> Result<Answer, Failure> {
    let archive = cx.open()?;
    let mut list = cx.out.list();
    each(&archive, args.waiting.then_some(WorkStatus::Waiting), &mut |item| {
        let json = row(&archive, item)?;
        let text = |name: &str| json[name].as_str().unwrap_or("-").to_string();
        let pending = json["pending_bytes"].as_u64().unwrap_or(0);
        let line = format!(
            "{}  {:<9}  {:<9}  {}  {}, {}  {} pending  by {}: {}",
            output::short(item.id),
            item.status,
            text("decision"),
            text("name"),
            output::count(json["files"].as_u64().unwrap_or(0), "file"),
            output::bytes(json["bytes"].as_u64().unwrap_or(0)),
            output::bytes(pending),
            text("asked_by"),
            text("reason"),
        );
        list.row(&json, line)
    })?;
    if list.end()? == 0 {
        eprintln!("No deletions.");
    }
    Ok(Answer::Yes)
}

/// Every deletion, page by page.
fn each(
    archive: &Archive,
    status: Option<WorkStatus>,
    visit: &mut dyn FnMut(&WorkItem) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let filter = WorkFilter { status, kind: Some(WorkKind::Delete), object: None };
    let mut after = None;
    loop {
        let items = archive.block_on(archive.registry().work_list(filter, after, PAGE_ROWS_MAX))?;
        items.iter().try_for_each(&mut *visit)?;
        match items.last() {
            Some(last) if items.len() == PAGE_ROWS_MAX as usize => after = Some(last.id),
            _ => return Ok(()),
        }
    }
}

/// A deletion as JSON: its work item, what goes, who decided, and what is still on shelves.
fn row(archive: &Archive, item: &WorkItem) -> Result<Value, Failure> {
    let deletion = Deletion::of(item)?;
    let known = archive.block_on(archive.registry().deletion(item.id))?;
    let accounts = archive.block_on(archive.registry().accounts(item.institution))?;
    let decided_by = known.as_ref().and_then(|k| k.decided_by);
    let decided_by = accounts.iter().find(|a| Some(a.id) == decided_by).map(|a| &a.name);
    let mut json = view::work(item);
    json["what"] = json!(deletion.what);
    json["name"] = json!(deletion.name);
    json["versions"] = json!(deletion.versions.iter().map(|v| v.number).collect::<Vec<_>>());
    json["files"] = json!(deletion.root.map_or(0, |root| root.count));
    json["bytes"] = json!(deletion.bytes);
    json["reason"] = json!(deletion.reason);
    json["asked_by"] = json!(deletion.asked_by);
    json["decision"] = json!(known.as_ref().and_then(|k| k.decision.clone()));
    json["decided_by"] = json!(decided_by);
    json["decided"] = json!(known.as_ref().and_then(|k| k.decided).map(|t| t.to_string()));
    json["pending_bytes"] = json!(known.map_or(0, |k| k.pending_bytes));
    Ok(json)
}

/// What to tell of an object that is not there because it was deleted.
pub(super) fn told_of(archive: &Archive, text: &str) -> Result<Option<String>, Failure> {
    let name = if text.contains('/') { text.into() } else { format!("local/{text}") };
    let mut told = None;
    each(archive, None, &mut |item| {
        let deletion = Deletion::of(item)?;
        // Once it is dead it has a checkpoint.
        if !item.checkpoint.is_null() && [&deletion.name, &deletion.object].contains(&&name) {
            let json = row(archive, item)?;
            let pending = json["pending_bytes"].as_u64().unwrap_or(0);
            told = Some(format!(
                "{} was deleted (work {}); {} of it on shelves wait to be reclaimed",
                deletion.name,
                output::short(item.id),
                output::bytes(pending)
            ));
        }
        Ok(())
    })?;
    Ok(told)
}
