//! Makes the models of `models/` from data in the open, the same bytes each time.
//!
//! ```text
//! cargo run --release -p strongroom-text --bin train -- all
//!     entities [--language L]...
//!     language
//!     sentiment
//!     tag|segment [--language L]...
//! ```
//!
//! With `--check` nothing is written: for each model it is said whether the one that is there is the same.

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
mod projected;
mod sentiment;
mod tag;

use data::{Options, Result};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use strongroom_text::model::Model;

/// What a subcommand does.
type Command = fn(&Options) -> Result<()>;

/// What can be trained, in the order of `all`.
const TRAINERS: &[(&str, Command)] = &[
    ("language", language::train),
    ("sentiment", sentiment::train),
    ("tag", tag::train),
    // Names are learned with the parts of speech of the taggers.
    ("entities", entities::train),
];

/// The option that has models compared rather than written.
const CHECK: &str = "--check";

/// How many models were not the same.
static DIFFERENT: AtomicUsize = AtomicUsize::new(0);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != CHECK).collect();
    match run(&arguments) {
        Ok(()) if DIFFERENT.load(Ordering::Relaxed) == 0 => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("train: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let names: Vec<&str> = TRAINERS.iter().map(|(name, _)| *name).collect();
    let usage = format!("name what to train: all, {}", names.join(", "));
    let (name, rest) = arguments.split_first().ok_or(usage.clone())?;
    // Sentences and words go with parts of speech.
    let name = if name == "segment" { "tag" } else { name };
    let options = Options::parse(rest)?;
    let wanted: Vec<_> = TRAINERS.iter().filter(|(n, _)| *n == name || name == "all").collect();
    if wanted.is_empty() {
        return Err(usage.into());
    }
    wanted.into_iter().try_for_each(|(_, train)| train(&options))
}

/// Writes a model where the library includes it from, or compares it with what is there.
fn save(model: &Model, variant: &str) -> Result<PathBuf> {
    let language = model.language.map_or("all", |language| language.code());
    let name = format!("{language}{variant}.{}.model", model.kind.name());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name);
    let bytes = model.write()?;
    if std::env::args().any(|argument| argument == CHECK) {
        let same = std::fs::read(&path).is_ok_and(|there| there == bytes);
        DIFFERENT.fetch_add(usize::from(!same), Ordering::Relaxed);
        println!("{}: {}", path.display(), if same { "the same" } else { "different" });
        return Ok(path);
    }
    std::fs::write(&path, &bytes)?;
    eprintln!("{}: {} bytes, {} before compression", path.display(), bytes.len(), model.body.len());
    Ok(path)
}
