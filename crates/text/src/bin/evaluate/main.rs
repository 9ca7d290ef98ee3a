//! Prints how good the models are, beside published figures, on development data or on files that are named.
//!
//! ```text
//! cargo run --release -p strongroom-text --bin evaluate -- all
//!     entities [--language L]... [FILE.tsv]...
//!     language [--language L]... [FILE.tsv]...
//!     sentiment [--language L]... [FILE.tsv]...
//!     tag|segment [--gold-tokens] [--language L]... [FILE.conllu[.gz]]...
//! ```

#[path = "../../data.rs"]
mod data;
mod entities;
mod language;
#[path = "../../lines.rs"]
mod lines;
#[path = "../../measure.rs"]
mod measure;
#[path = "../../named.rs"]
mod named;
#[path = "../../opinions.rs"]
mod opinions;
mod sentiment;
mod tag;

use data::{Options, Result};
use std::process::ExitCode;

/// What a subcommand does.
type Command = fn(&Options) -> Result<()>;

/// What can be evaluated, in the order of `all`.
const EVALUATORS: &[(&str, Command)] = &[
    ("language", language::evaluate),
    ("sentiment", sentiment::evaluate),
    ("tag", tag::evaluate),
    ("entities", entities::evaluate),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("evaluate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let names: Vec<&str> = EVALUATORS.iter().map(|(name, _)| *name).collect();
    let usage = format!("name what to evaluate: all, {}", names.join(", "));
    let (name, rest) = arguments.split_first().ok_or(usage.clone())?;
    // Sentences and words go with parts of speech.
    let name = if name == "segment" { "tag" } else { name };
    let options = Options::parse(rest)?;
    let wanted: Vec<_> = EVALUATORS.iter().filter(|(n, _)| *n == name || name == "all").collect();
    if wanted.is_empty() {
        return Err(usage.into());
    }
    wanted.into_iter().try_for_each(|(_, evaluate)| evaluate(&options))
}
