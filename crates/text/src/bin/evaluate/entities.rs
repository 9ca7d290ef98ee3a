//! `evaluate entities`: names, by language and kind, in marked texts. A name is right where both ends and the kind are.

use crate::data::{self, Options, Result};
use crate::named::{self, Figures, Marked};
use crate::report::Report;
use std::time::Instant;
use strongroom_text::analysis::{Analysis, Scratch};
use strongroom_text::entities::{self, Finder, Kind};
use strongroom_text::score::Agreement;
use strongroom_text::{Language, models};

/// How often texts are gone through to see how fast.
const ROUNDS: usize = 5;

/// Languages without marked texts of their own.
const UNMARKED: &[Language] = &[Language::Ar, Language::Es];

pub(crate) fn evaluate(options: &Options, _: &mut Report) -> Result<()> {
    println!("Tokens are joined by spaces (none in Chinese), and analysed as raw text.");
    println!(
        "Sets without a development file are divided: every tenth block of fifty sentences is held out."
    );
    print!("\n{:<26} names", "set");
    let columns = ["all".to_owned()]
        .into_iter()
        .chain(Kind::ALL.map(|kind| format!("{kind:?}").to_lowercase()));
    columns.for_each(|column| print!(" | {column:<17}"));
    println!("\n{:<32}{}", "", " | P     R     F1   ".repeat(5));
    for (language, name, texts) in sets(options)? {
        let Some(finder) = models::finder(language) else {
            println!("{language}/{name}: there is no model");
            continue;
        };
        let figures = named::figures(models::engine(language), finder, &texts);
        print(&format!("{language}/{name}"), &figures);
    }
    if options.files.is_empty() {
        for language in options.languages.iter().filter(|language| UNMARKED.contains(language)) {
            println!("{language}: there are no marked texts");
        }
    }
    println!("\n{:<26} tokens/s, one core, beside the analysis", "language");
    for (language, name, texts) in sets(options)? {
        if let Some(finder) = models::finder(language) {
            let speed = tokens_per_second(language, finder, &texts);
            println!("{:<26} {speed:>8.0}", format!("{language}/{name}"));
        }
    }
    Ok(())
}

/// The development texts of each language, by set; or those of the files that were named, whose language is that of `--language` or of
/// their folder.
fn sets(options: &Options) -> Result<Vec<(Language, String, Vec<Marked>)>> {
    let mut sets = Vec::new();
    for path in &options.files {
        let language = data::language_of(path, options)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        sets.push((language, name, named::read(path, language)?));
    }
    if options.files.is_empty() {
        for language in &options.languages {
            for set in named::sets(*language)? {
                if !set.development.is_empty() {
                    sets.push((*language, set.file.set().to_owned(), set.development));
                }
            }
        }
    }
    Ok(sets)
}

fn print(name: &str, figures: &Figures) {
    let all = figures.all();
    print!("{name:<26} {:>5}", all.gold);
    let show = |figures: &Agreement| match figures.gold {
        0 => print!(" | {:<17}", format!("none; found {}", figures.found)),
        _ => print!(" | {:5.1} {:5.1} {:5.1}", figures.precision(), figures.recall(), figures.f1()),
    };
    [all].iter().chain(&figures.0).for_each(show);
    println!();
}

/// How many tokens are looked at for names in a second, after their analysis.
fn tokens_per_second(language: Language, finder: &Finder, texts: &[Marked]) -> f64 {
    let engine = models::engine(language);
    let (mut scratch, mut memory) = (Scratch::default(), entities::Scratch::default());
    let analyse = |marked: &Marked| {
        let mut analysis = Analysis::default();
        engine.analyse(&marked.text, &mut scratch, &mut analysis);
        analysis
    };
    let analyses: Vec<Analysis> = texts.iter().map(analyse).collect();
    let tokens: usize = analyses.iter().map(|analysis| analysis.tokens().len()).sum();
    let mut seconds = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for (marked, analysis) in texts.iter().zip(&analyses) {
            std::hint::black_box(finder.find(&marked.text, analysis, &mut memory));
        }
        seconds = seconds.min(start.elapsed().as_secs_f64());
    }
    tokens as f64 / seconds
}
