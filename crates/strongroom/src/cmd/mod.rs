//! One module for each family of commands.

pub(crate) mod account;
pub(crate) mod bag;
pub(crate) mod bench;
pub(crate) mod config;
mod damage;
pub(crate) mod delete;
pub(crate) mod demo;
pub(crate) mod deposit;
pub(crate) mod doctor;
pub(crate) mod fixity;
pub(crate) mod key;
pub(crate) mod object;
pub(crate) mod policy;
pub(crate) mod rebuild;
mod remote;
pub(crate) mod restore;
pub(crate) mod serve;
mod shares;
pub(crate) mod shelf;
pub(crate) mod shelf_life;
pub(crate) mod text;
pub(crate) mod wire;
pub(crate) mod work;

use crate::cli::{Cli, Command};
use crate::config::Settings;
use crate::desk::{Client, Desk};
use crate::errors::{Answer, Failure};
use crate::output::Output;
use std::cell::RefCell;
use std::sync::Arc;
use strongroom_intake::{Archive, Options, Runner, Stop};
use strongroom_record::WorkItem;

/// What every command is given.
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) out: Output,
    /// The archive that the command opened last.
    opened: RefCell<Option<Archive>>,
}

impl Context {
    /// Who answers calls: the archive that is there, or the server that was named.
    pub(crate) fn desk(&self) -> Result<Desk, Failure> {
        Ok(match self.client()? {
            Some(client) => Desk::Server(client),
            None => Desk::Local(self.open()?),
        })
    }

    /// The server that was named.
    pub(crate) fn client(&self) -> Result<Option<Client>, Failure> {
        let token = || self.settings.token();
        self.settings.server.as_ref().map(|url| Client::new(url, token()?)).transpose()
    }

    /// The archive that is there.
    pub(crate) fn open(&self) -> Result<Archive, Failure> {
        self.here()?;
        let archive = Archive::open(&self.options()?)?;
        self.opened.replace(Some(archive.clone()));
        Ok(archive)
    }

    /// The archive, made where there is none; then its owner is told what to keep.
    pub(crate) fn open_or_create(&self) -> Result<Archive, Failure> {
        self.here()?;
        let opened = Archive::open_or_create(&self.options()?)?;
        if opened.created {
            let data = opened.archive.data().display();
            let key = opened.archive.key_path().display();
            eprintln!("A new archive was made in {data}.");
            eprintln!("Its key is {key}. Keep a copy elsewhere too: without it nobody can read");
            eprintln!("what is preserved, and whoever has it can read everything.");
            eprintln!("Both shelves, a and b, are on one disk. Add another disk with:");
            eprintln!("  strongroom shelf add /path/on/another/disk");
        }
        self.opened.replace(Some(opened.archive.clone()));
        Ok(opened.archive)
    }

    /// Refuses a server where the archive's own folder is needed.
    fn here(&self) -> Result<(), Failure> {
        match &self.settings.server {
            None => Ok(()),
            Some(_) => Err(Failure::usage("this is done where the archive is, not at a server")
                .hint("Leave --server (or STRONGROOM_SERVER) out, on the archive's own machine.")),
        }
    }

    /// Tells the shelves what the command changed.
    fn keep_journals(&self) {
        if let Some(archive) = self.opened.take()
            && archive.behind().is_none()
        {
            Runner::new(&archive, Stop::default(), Arc::new(())).keep_journals();
        }
    }

    pub(crate) fn options(&self) -> Result<Options, Failure> {
        Ok(Options::new(self.settings.data()?.to_owned()))
    }
}

/// Does what was asked.
pub(crate) fn run(cli: Cli, out: Output) -> Result<Answer, Failure> {
    let opened = RefCell::default();
    let context = Context { settings: Settings::gather(cli.data, cli.server), out, opened };
    let looks_only = matches!(
        cli.command,
        Command::Object(_) | Command::Cat(_) | Command::Status(_) | Command::Doctor(_)
    );
    let answer = dispatch(&context, cli.command);
    if !looks_only {
        context.keep_journals();
    }
    answer
}

fn dispatch(cx: &Context, command: Command) -> Result<Answer, Failure> {
    match command {
        Command::Demo(args) => demo::run(cx, args),
        Command::Deposit(args) => deposit::run(cx, args),
        Command::Work(args) => work::run(cx, args),
        Command::Object(args) => object::run(cx, args),
        Command::Restore(args) => restore::run(cx, args),
        Command::Cat(args) => restore::cat(cx, args),
        Command::Delete(args) => delete::run(cx, args),
        Command::Fixity(args) => fixity::run(cx, args),
        Command::Repair(args) => fixity::repair(cx, args),
        Command::Status(args) => fixity::status(cx, args),
        Command::Rebuild(args) => rebuild::run(cx, args),
        Command::Shelf(args) => shelf::run(cx, args),
        Command::Policy(args) => policy::run(cx, args),
        Command::Key(args) => key::run(cx, args),
        Command::Serve(args) => serve::run(cx, args),
        Command::Account(args) => account::run(cx, args),
        Command::Token(args) => account::token(cx, args),
        Command::Bag(args) => bag::run(cx, args),
        Command::Doctor(args) => doctor::run(cx, args),
        Command::Config(args) => config::run(cx, args),
        Command::Text(args) => text::run(cx, args),
        Command::Wire(args) => wire::run(cx, args),
        Command::Bench(args) => bench::run(cx, args),
        Command::Completions(args) => config::completions(cx, args),
        Command::Man(args) => config::man(cx, args),
    }
}

/// The institution of this name.
fn institution(archive: &Archive, name: &str) -> Result<strongroom_registry::Institution, Failure> {
    let found = archive.block_on(archive.registry().institution_by_name(name))?;
    found.ok_or_else(|| Failure::not_found(format_args!("no institution is `{name}`")))
}

/// Says that an item waits.
fn queued(cx: &Context, item: &WorkItem) -> Result<Answer, Failure> {
    let id = crate::output::short(item.id);
    let line = format!("queued as {id}; strongroom work run does it");
    cx.out.value(&strongroom_serve::view::work(item), line)?;
    Ok(Answer::Yes)
}

/// A count in a report: a number, or a decimal string where it can pass 2^53; 0 where it is absent.
fn number(report: &serde_json::Value, name: &str) -> u64 {
    match &report[name] {
        serde_json::Value::String(text) => text.parse().unwrap_or(0),
        other => other.as_u64().unwrap_or(0),
    }
}
