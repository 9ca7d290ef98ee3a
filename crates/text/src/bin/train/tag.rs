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

/// Treebanks in traditional characters that stand beside the same sentences in simplified ones.
const VARIANTS: &[&str] = &["gsd_trad"];

/// Treebanks that are tagged by rules of their own. The model tags as the others do, which are the largest or best known
/// of their language; learning the difference apart raised UPOS there by 0.2 to 3.6 points.
const OWN_RULES: &[(Language, &[&str])] = &[
    (Language::Ar, &["pud"]),
    (Language::De, &["empirist"]),
    (Language::Es, &["ancora", "coser"]),
    (Language::Pl, &["mpdt"]),
    (Language::Zh, &["cfl", "hk", "pud"]),
];

/// Languages where non-commercial treebanks (Heidelberg's of 1800, ParTUT, a textbook's) do not raise the figures of the others, and
/// are left out.
const WITHOUT_NON_COMMERCIAL: &[Language] = &[Language::De, Language::Fr, Language::Zh];

/// The most rows of the Chinese model, of whose words each has few that others have, too: with as many as other languages
/// have it loses 0.25 points of UPOS. These lose or gain less than 0.05 against 140,000.
const CHINESE_ROWS_MAX: usize = 140_000;

/// A number for the rules that a treebank is tagged by; 0 for those of the model.
fn rules(language: Language, set: &str) -> u32 {
    let own = OWN_RULES.iter().find(|(of, _)| *of == language).map_or(&[][..], |(_, sets)| sets);
    own.iter().position(|name| *name == set).map_or(0, |at| at as u32 + 1)
}

pub(crate) fn train(options: &Options) -> Result<()> {
    for language in &options.languages {
        let mut files = data::files("pos", language.code())?;
        let lists = data::files("lexicon", language.code())?.into_iter();
        files.extend(lists.filter(|file| file.stem().starts_with("upos_")));
        if WITHOUT_NON_COMMERCIAL.contains(language) {
            files.retain(|file| file.part == Part::Development || !file.source.non_commercial);
        }
        train_one(*language, &files, "")?;
        let used = |file: &&File| file.part != Part::Development;
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
                sentences: measure::treebank(file)?,
                raw: !WITHOUT_RAW_TEXT.contains(&file.set()),
                breaks: !SPEECH.contains(&file.set()),
                variants: VARIANTS.contains(&file.set()),
                rules: rules(language, file.set()),
            }),
            _ => lists.push(data::words(file)?),
        }
    }
    let segmenter = segment::train::train(language, &treebanks, &lists, SEED);
    let mut options = tag::train::Options { seed: SEED, ..tag::train::Options::default() };
    if language == Language::Zh {
        options.rows_max = CHINESE_ROWS_MAX;
    }
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
        let Figures { gold, lemmas, raw, .. } =
            measure::figures(engine, &measure::treebank(file)?)?;
        let two = |figure: f64| (figure * 100.0).round() / 100.0;
        let all = [
            ("UPOS, gold tokens", two(gold.f1())),
            ("lemmas, gold tokens", two(lemmas.f1())),
            ("UPOS", two(raw.upos.f1())),
            ("words", two(raw.words.f1())),
            ("sentences", two(raw.sentences.f1())),
        ];
        eprintln!("{:<34} {all:?}", file.source.path);
        figures.extend(all.map(|(name, figure)| (format!("{} {name}", file.set()), figure)));
    }
    Ok(figures)
}
