//! `config`, `completions` and `man`.

use super::Context;
use crate::cli::Cli;
use crate::errors::{Answer, Failure};
use clap::{Args, CommandFactory as _, Subcommand};
use serde_json::json;
use std::io::Write as _;
use std::path::PathBuf;

#[derive(Subcommand)]
pub(crate) enum Config {
    /// Show every setting and where it comes from
    Show,
    /// Say whether the settings can be used
    Check,
}

#[derive(Args)]
pub(crate) struct Completions {
    /// For which shell
    shell: clap_complete::Shell,
}

#[derive(Args)]
pub(crate) struct Man {
    /// Write a page for each command to this folder
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

pub(crate) fn run(cx: &Context, args: Config) -> Result<Answer, Failure> {
    match args {
        Config::Show => show(cx),
        Config::Check => check(cx),
    }
}

fn show(cx: &Context) -> Result<Answer, Failure> {
    let settings = &cx.settings;
    let data = settings.data()?.to_string_lossy();
    let rows = [
        ("data", data.as_ref(), settings.data_source),
        ("log", settings.log.as_str(), settings.log_source),
    ];
    let row = |(name, value, source): (&str, &str, crate::config::Source)| {
        let json = json!({ "name": name, "value": value, "source": source.word() });
        (json, vec![name.into(), value.into(), source.word().into()])
    };
    cx.out.table(&["setting", "value", "from"], rows.map(row))?;
    Ok(Answer::Yes)
}

fn check(cx: &Context) -> Result<Answer, Failure> {
    let mut problems = Vec::new();
    match cx.settings.data() {
        Ok(data) if data.exists() && !data.is_dir() => {
            problems.push(format!("data: {} is no folder", data.display()));
        }
        Ok(_) => {}
        Err(failure) => problems.push(failure.message),
    }
    let filter = &cx.settings.log;
    if let Err(error) = tracing_subscriber::EnvFilter::try_new(filter) {
        problems.push(format!("STRONGROOM_LOG: `{filter}` is no filter: {error}"));
    }
    let lines = match problems.is_empty() {
        true => "The settings can be used.".into(),
        false => problems.join("\n"),
    };
    cx.out.value(&json!({ "ok": problems.is_empty(), "problems": problems }), lines)?;
    Ok(Answer::of(problems.is_empty()))
}

pub(crate) fn completions(_: &Context, args: Completions) -> Result<Answer, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "strongroom", &mut script);
    std::io::stdout().write_all(&script).map_err(|e| Failure::stdout(&e))?;
    Ok(Answer::Yes)
}

pub(crate) fn man(_: &Context, args: Man) -> Result<Answer, Failure> {
    if let Some(folder) = args.to {
        let write = std::fs::create_dir_all(&folder)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), &folder));
        write.map_err(|e| Failure::io(folder.display(), &e))?;
    } else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command())
            .render(&mut page)
            .and_then(|()| std::io::stdout().write_all(&page))
            .map_err(|e| Failure::stdout(&e))?;
    }
    Ok(Answer::Yes)
}
