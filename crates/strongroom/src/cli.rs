//! The commands and what they take. The words here are what `--help` says.

use crate::cmd;
use clap::{Parser, Subcommand};
use std::path::PathBuf;

const AFTER: &str = "\
Exit codes: 0 done; 1 the answer is no (invalid, damaged, not found); 2 used wrongly; 3 could not \
tell, or could not do it.

First steps: `strongroom demo` shows the whole round in a throw-away archive; \
`strongroom deposit FOLDER` puts a folder into yours.";

/// Keeps records that must not be lost: takes them in, checks them, proves that they are intact,
/// gives them back.
#[derive(Parser)]
#[command(name = "strongroom", version, after_help = AFTER, max_term_width = 100)]
pub(crate) struct Cli {
    /// The archive's data folder [env: STRONGROOM_DATA] [default: the user's XDG data folder]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Ask the server at this URL instead, with the token in STRONGROOM_TOKEN or the token file
    /// [env: STRONGROOM_SERVER]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Print JSON on stdout
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show the whole main job on real files, in a throw-away archive
    Demo(cmd::demo::Demo),
    /// Take folders, bags, files or tars in
    Deposit(cmd::deposit::Deposit),
    /// Run, list, show, requeue or cancel work
    #[command(subcommand)]
    Work(cmd::work::Work),
    /// List and show what is preserved
    #[command(subcommand)]
    Object(cmd::object::Object),
    /// Bring an object back, as a bag, a tar or plain files
    Restore(cmd::restore::Restore),
    /// Write one file of an object to stdout
    Cat(cmd::restore::Cat),
    /// Delete an object, a version or a file, once another administrator approved it
    Delete(cmd::delete::Delete),
    /// Check every copy
    Fixity(cmd::fixity::Fixity),
    /// Make lost or damaged copies anew
    Repair(cmd::fixity::Repair),
    /// Show the state of the archive
    Status(cmd::fixity::Status),
    /// Add and list the places that keep copies
    #[command(subcommand)]
    Shelf(cmd::shelf::Shelf),
    /// Make the registry anew from shelves and key, or take in what the shelves have newer
    Rebuild(cmd::rebuild::Rebuild),
    /// Show and set how many copies, or which coding, is kept
    #[command(subcommand)]
    Policy(cmd::policy::Policy),
    /// Show, split, rotate and export keys; certify writers
    #[command(subcommand)]
    Key(cmd::key::Key),
    /// Serve the archive over HTTP, and work off what is queued
    Serve(cmd::serve::Serve),
    /// Make, list and disable accounts
    #[command(subcommand)]
    Account(cmd::account::Account),
    /// Make, list, revoke and exchange tokens
    #[command(subcommand)]
    Token(cmd::account::Token),
    /// Make and validate BagIt bags, without an archive
    #[command(subcommand)]
    Bag(cmd::bag::Bag),
    /// Look for what stands in the way of good work
    Doctor(cmd::doctor::Doctor),
    /// Show and check settings
    #[command(subcommand)]
    Config(cmd::config::Config),
    /// What language texts are in, their sentences and words, and how they speak
    #[command(subcommand)]
    Text(cmd::text::Text),
    /// Messages between nodes: try a network, and measure it
    #[command(subcommand)]
    Wire(cmd::wire::Wire),
    /// Measure this machine
    #[command(subcommand)]
    Bench(cmd::bench::Bench),
    /// Print completions for a shell
    Completions(cmd::config::Completions),
    /// Print the manual page, or write all of them to a folder
    Man(cmd::config::Man),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_commands_are_well_formed() {
        super::Cli::command().debug_assert();
    }
}
