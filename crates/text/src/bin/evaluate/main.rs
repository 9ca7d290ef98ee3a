//! Prints how good and how fast the models are, beside published figures, on development data or on files that are named.
//!
//! ```text
//! cargo run --release -p strongroom-text --bin evaluate -- all
//!     entities [--language L]... [FILE.tsv]...             tokens with labels in BIO
//!     language [--language L]... [FILE.tsv]...             lines of code, tab, text
//!     sentiment [--language L]... [FILE.tsv]...            lines of label, tab, text
//!     tag|segment [--gold-tokens] [--language L]... [FILE.conllu[.gz]]...
//!     speed
//!     memory
//! ```
//!
//! A treebank is in the language of its folder (`en/x.conllu`) or of `--language`; where `padt` is in its name, X counts
//! as PROPN. `--write-items FOLDER` writes the very texts that are judged there, for other programs to be judged on
//! them. What is asked of the models is compared with what they come to in a table at the end.

#[path = "../../data.rs"]
mod data;
mod entities;
mod language;
#[path = "../../lines.rs"]
mod lines;
#[path = "../../measure.rs"]
mod measure;
mod memory;
#[path = "../../named.rs"]
mod named;
#[path = "../../opinions.rs"]
mod opinions;
mod report;
mod sentiment;
mod speed;
mod tag;

use data::{Options, Result};
use report::Report;
use std::process::ExitCode;

/// What a subcommand does.
type Command = fn(&Options, &mut Report) -> Result<()>;

/// What can be evaluated, in the order of `all`.
const EVALUATORS: &[(&str, Command)] = &[
    ("language", language::evaluate),
    ("sentiment", sentiment::evaluate),
    ("tag", tag::evaluate),
    ("entities", entities::evaluate),
    ("speed", speed::evaluate),
    ("memory", memory::evaluate),
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
    if name == memory::FRESH {
        return memory::fresh(&options);
    }
    let wanted: Vec<_> = EVALUATORS.iter().filter(|(n, _)| *n == name || name == "all").collect();
    if wanted.is_empty() {
        return Err(usage.into());
    }
    if wanted.len() > 1 && !options.files.is_empty() {
        return Err("name what the files are to be judged by: language, sentiment, tag".into());
    }
    let mut report = Report::default();
    wanted.into_iter().try_for_each(|(_, evaluate)| evaluate(&options, &mut report))?;
    print!("{report}");
    Ok(())
}
