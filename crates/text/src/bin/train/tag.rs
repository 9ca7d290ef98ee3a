//! `train tag`: sentences and words, parts of speech. Each language has a model made of all data, and, where some of these are
//! non-commercial, one made of the others.

use crate::data::{self, File, Options, Part, Result};
use crate::measure::{self, Figures};
use std::collections::BTreeMap;
use strongroom_text::Language;
use strongroom_text::analysis::Engine;
use strongroom_text::model::{Card, Kind, Model};
use strongroom_text::segment::train::Treebank;
use strongroom_text::{segment, tag};

/// The number from which all others are drawn.
const SEED: u64 = 1;

/// Treebanks whose tokens are apart by spaces, so that they do not tell how text is written.
const WITHOUT_RAW_TEXT: &[&str] = &["padt_v1", "empirist"];

/// Treebanks of speech, whose sentences do not end as those of texts do.
const SPEECH: &[&str] = &["rhapsodie", "parisstories"];

pub(crate) fn train(options: &Options) -> Result<()> {
    for language in &options.languages {
        let mut files = data::files("pos", language.code())?;
        let lists = data::files("lexicon", language.code())?.into_iter();
        files.extend(lists.filter(|file| file.stem().starts_with("upos_")));
        train_one(*language, &files, "")?;
        let used = |file: &&File| file.part != Part::Development;
        if std::env::var("FREE").is_err() { continue; }
        if files.iter().filter(used).any(|file| file.source.non_commercial) {
            files.retain(|file| file.part == Part::Development || !file.source.non_commercial);
            train_one(*language, &files, ".free")?;
        }
    }
    Ok(())
}

fn train_one(language: Language, files: &[File], variant: &str) -> Result<()> {
    let (mut treebanks, mut lists) = (Vec::new(), Vec::new());
    let mut card = Card { seed: SEED, ..Card::default() };
    for file in files.iter().filter(|file| file.part != Part::Development) {
        card.sources.push(file.source.clone());
        match file.part {
            Part::Train => treebanks.push(Treebank {
                rules: std::env::var("OWN").ok().and_then(|v| v.split(',').position(|x| x == file.set())).map_or(0, |i| i as u32 + 1),
                sentences: measure::treebank(file)?,
                raw: !WITHOUT_RAW_TEXT.contains(&file.set()),
                breaks: !SPEECH.contains(&file.set()),
            }),
            _ => lists.push(data::words(file)?),
        }
    }
    let segmenter = segment::train::train(language, &treebanks, &lists, SEED);
    let env = |n: &str, d: i64| std::env::var(n).ok().and_then(|v| v.parse().ok()).unwrap_or(d);
    let mut options = tag::train::Options { seed: SEED, ..tag::train::Options::default() };
    options.perceptrons = env("P", 4) as u64; options.epochs = env("E", 6) as usize; options.margin = env("M", 20) as i32; options.count_min = env("C", 2) as u32; options.rows_max = env("R", 200000) as usize;
    let tagger = tag::train::train(language, &treebanks, &lists, &options);
    let bodies = [(Kind::Segment, segmenter.write()), (Kind::Tag, tagger.write())];
    card.figures = figures(&Engine::new(segmenter, tagger), files)?;
    for (kind, body) in bodies {
        let card = card.clone();
        crate::save(&Model { kind, language: Some(language), card, body }, variant)?;
    }
    Ok(())
}

/// Figures on development data, which are printed, too.
fn figures(engine: &Engine, files: &[File]) -> Result<BTreeMap<String, f64>> {
    let mut figures = BTreeMap::new();
    for file in files.iter().filter(|file| file.part == Part::Development) {
        let Figures { gold, lemmas, raw, tokens, seconds, .. } = measure::figures(engine, &measure::treebank(file)?)?;
        let two = |figure: f64| (figure * 100.0).round() / 100.0;
        let set = file.set();
        let all = [
            ("upos, gold tokens", two(gold.f1())),
            ("upos", two(raw.upos.f1())),
            ("words", two(raw.words.f1())),
            ("sentences", two(raw.sentences.f1())),
        ];
        eprintln!("{:<34} {:.2} {:.2} | {:.2} {:.2} {:.2} {:.0}k", file.source.path, gold.f1(), lemmas.f1(), raw.upos.f1(), raw.words.f1(), raw.sentences.f1(), tokens as f64 / seconds / 1000.0);
        figures.extend(all.map(|(name, figure)| (format!("{set} {name}"), figure)));
    }
    Ok(figures)
}
