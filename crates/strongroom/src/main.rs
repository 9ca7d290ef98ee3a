//! The `strongroom` program: command line, configuration, telemetry and wiring.
//!
//! It is the only room that knows a terminal, the environment and a home directory. What the
//! commands do is the other rooms' work; here requests are read, work is handed to a runner, and what
//! came of it is told.
//!
//! ```text
//! strongroom deposit letters/                 # takes a folder in; a new machine gets an archive
//! strongroom fixity                           # checks every shard
//! strongroom restore letters --to /tmp        # brings it back as a bag
//! ```
//!
//! # Output
//!
//! stdout is data, stderr is talk. With `--json`, stdout holds one JSON value: an object for one
//! thing, an array for a list. Identifiers are hex; bytes that are not UTF-8 stand in base64 under
//! `NAME_base64`; a row of `object files` is the row of the version's record, in which numbers that
//! can pass 2^53 are decimal strings. Fields may be added, none is renamed. A failure is one line on
//! stderr, `{"error":{"code","message","hint","exit"}}`.
//!
//! | exit | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | the answer is no: invalid, damaged, not found |
//! | 2 | used wrongly |
//! | 3 | could not tell, or could not do it |
//!
//! # What it refuses
//!
//! It creates an archive only for commands that put something in (`deposit`, `shelf add`, `serve`,
//! `policy set`, and `demo` in a folder of its own), never for one that only looks. It deletes
//! nothing of an archive that was not asked for with a reason and approved by another account, or, where
//! there is none, forced and confirmed twice; shelves are cleared (`shelf reclaim`, `retire`, `replace`) only of
//! what the registry lists as released.
//!
//! # Failure modes
//!
//! Interrupted work stays in the registry; the same command, or `work run`, goes on with it. What a
//! person must look at is in the trouble queue (`work list --status trouble`). A reader of stdout
//! that goes away ends the program quietly.
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(feature = "failpoints")]
mod campaign;
mod cli;
mod cmd;
mod config;
mod desk;
mod errors;
mod interrupt;
mod output;
mod progress;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    log_to_stderr();
    #[cfg(feature = "failpoints")]
    campaign::begin();
    let out = output::Output::new(cli.json);
    let result = cmd::run(cli, out);
    match result {
        Ok(answer) => answer.into(),
        Err(failure) => failure.tell(out),
    }
}

/// Logs go to stderr; `STRONGROOM_LOG` says which (`debug`, `strongroom_vault=trace`, ...).
fn log_to_stderr() {
    use std::io::IsTerminal as _;
    let filter = tracing_subscriber::EnvFilter::try_from_env(config::LOG_VARIABLE)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(config::LOG_DEFAULT));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
