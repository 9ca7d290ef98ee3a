//! `evaluate tag`: sentences, words and parts of speech, from raw text and with words that are given.

use crate::data::{self, File, Options, Part, Result};
use crate::measure::{self, Figures};
use crate::report::Report;
use std::path::Path;
use strongroom_text::conllu::{self, Sentence};
use strongroom_text::model::Source;
use strongroom_text::{Language, models};

/// UPOS of UDPipe 1 as published: with gold tokens, and from raw text.
const PUBLISHED: &[(&str, f64, f64)] = &[
    ("en/ewt", 94.4, 93.3),
    ("ar/padt", 95.6, 90.4),
    ("zh/gsdsimp", 92.0, 84.2),
    ("de/gsd", 92.1, 91.7),
    ("fr/gsd", 97.1, 95.8),
    ("es/gsd", 95.7, 95.5),
    ("it/isdt", 97.3, 97.2),
    ("pt/bosque", 96.4, 95.9),
    ("ru/gsd", 95.4, 95.0),
];

/// What must be reached on English EWT: UPOS with gold tokens, UPOS from raw text, sentences, F1 in percent.
const MUST: (&str, [f64; 3]) = ("en/ewt", [95.5, 94.0, 80.0]);

pub(crate) fn evaluate(options: &Options, report: &mut Report) -> Result<()> {
    println!(
        "                     gold tokens  | from raw text                    | UDPipe 1     | one core"
    );
    println!(
        "treebank             upos   lemma | upos   words  tokens  sentences  | gold   raw   | tokens/s"
    );
    for (language, files) in treebanks(options)? {
        let engine = models::engine(language);
        let mut all = Figures::default();
        for file in &files {
            let (treebank, name) = (measure::treebank(file)?, format!("{language}/{}", file.set()));
            if let Some(folder) = &options.write_items {
                write_items(&name, &treebank, folder)?;
            }
            let figures = match options.gold_tokens {
                true => measure::gold_tokens(engine, &treebank),
                false => measure::figures(engine, &treebank)
                    .map_err(|e| format!("{}: {e}", file.path.display()))?,
            };
            print(&name, &figures);
            compare(&name, &figures, options.gold_tokens, report);
            all.add(&figures);
        }
        if files.len() > 1 {
            print(&format!("{language} (all)"), &all);
        }
    }
    Ok(())
}

/// The development treebanks of each language; or the files that were named, whose language is that of `--language` or of their folder.
fn treebanks(options: &Options) -> Result<Vec<(Language, Vec<File>)>> {
    let mut treebanks = Vec::new();
    for path in &options.files {
        let language = data::language_of(path, options)?;
        treebanks.push((language, vec![named(path)]));
    }
    if options.files.is_empty() {
        for language in &options.languages {
            let mut files = data::files("pos", language.code())?;
            files.retain(|file| file.part == Part::Development);
            treebanks.push((*language, files));
        }
    }
    Ok(treebanks)
}

/// A file that was named on the command line.
fn named(path: &std::path::Path) -> File {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let source =
        Source { path: name, name: String::new(), licence: String::new(), non_commercial: false };
    File { path: path.to_owned(), part: Part::Development, source }
}

fn print(name: &str, figures: &Figures) {
    let Figures { gold, lemmas, raw, tokens, seconds } = figures;
    let published = PUBLISHED.iter().find(|(treebank, ..)| name.starts_with(treebank));
    let published = published
        .map_or("             ".to_owned(), |(_, gold, raw)| format!("{gold:>5.1}  {raw:>5.1} "));
    // Nothing was found in raw text where it was not looked at.
    let raw = match *tokens {
        0 => format!("{:>6} {:>6} {:>6}  {:>6}", "-", "-", "-", "-"),
        _ => format!(
            "{:>6.2} {:>6.2} {:>6.2}  {:>6.2}",
            raw.upos.f1(),
            raw.words.f1(),
            raw.tokens.f1(),
            raw.sentences.f1()
        ),
    };
    let speed = match *tokens {
        0 => "-".to_owned(),
        count => format!("{:.0}", count as f64 / seconds),
    };
    println!(
        "{name:<20} {:>6.2} {:>6.2} | {raw}     | {published}| {speed:>8}",
        gold.f1(),
        lemmas.f1(),
    );
}

/// Beside what was published, and what must be reached.
fn compare(name: &str, figures: &Figures, gold_tokens: bool, report: &mut Report) {
    let Figures { gold, raw, .. } = figures;
    let here = [gold, &raw.upos, &raw.sentences].map(|agreement| agreement.f1());
    let looked_at = if gold_tokens { 1 } else { here.len() };
    let whats = ["UPOS, gold tokens", "UPOS, raw text", "sentences, raw text"];
    let rows = whats.into_iter().zip(here).take(looked_at);
    let rows = rows.map(|(what, here)| (format!("tagging, {name}, {what}, F1"), here));
    if name == MUST.0 {
        rows.zip(MUST.1).for_each(|((what, here), must)| report.at_least(what, must, here));
    } else if let Some((_, gold, raw)) =
        PUBLISHED.iter().find(|(treebank, ..)| name.starts_with(treebank))
    {
        rows.zip([*gold, *raw]).for_each(|((what, here), aim)| {
            report.aims_at(format!("{what}, UDPipe 1 published"), aim, here);
        });
    }
}

/// Writes a treebank as it is judged, and its raw text.
fn write_items(name: &str, treebank: &[Sentence], folder: &Path) -> Result<()> {
    let path = folder.join(format!("tag-{}", name.replace('/', "-")));
    let mut written = String::new();
    treebank.iter().for_each(|sentence| conllu::write(sentence, &mut written));
    data::write(&path.with_extension("conllu"), &written)?;
    data::write(&path.with_extension("txt"), &conllu::raw_text(treebank).0)
}
