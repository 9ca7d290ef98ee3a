//! `train entities`: names. Where there are no marked texts of a language, its model is made of those of others.

use crate::data::{Options, Result};
use crate::named::{self, Marked};
use std::path::Path;
use strongroom_text::Language;
use strongroom_text::analysis::{Analysis, Engine, Scratch};
use strongroom_text::entities::Kind;
use strongroom_text::entities::train::{self, Sentence};
use strongroom_text::model::{self, Card, Model, Source};
use strongroom_text::segment::Segmenter;
use strongroom_text::tag::Tagger;

/// The number from which all others are drawn.
const SEED: u64 = 1;

/// Languages whose names are written in the same letters, and known in each other's texts.
const LATIN: &[Language] = &[
    Language::En,
    Language::De,
    Language::Fr,
    Language::Es,
    Language::It,
    Language::Pl,
    Language::Pt,
];

/// Sets that are labelled by rules of their own, or by a machine.
const OWN_RULES: &[&str] = &[];

pub(crate) fn train(options: &Options) -> Result<()> {
    for language in &options.languages {
        train_one(*language, "")?;
    }
    Ok(())
}

fn train_one(language: Language, variant: &str) -> Result<()> {
    let mut card = Card { seed: SEED, ..Card::default() };
    let (mut sentences, mut held_out) = (Vec::new(), Vec::new());
    let engine = free_engine(language)?;
    let sets = named::sets(language)?;
    for set in &sets {
        if !set.train.is_empty() {
            card.sources.push(set.file.source.clone());
        }
        let rules = OWN_RULES.iter().position(|name| *name == set.file.set());
        let rules = rules.map_or(0, |at| at as u32 + 1);
        sentences.extend(sentences_of(&engine, &set.train, rules));
        held_out.extend(sentences_of(&engine, &set.development, rules));
    }
    let foreign = foreign(language, &mut card.sources)?;
    let options = train::Options { seed: SEED, ..train::Options::default() };
    let finder = train::train(&sentences, &foreign, &held_out, &options);
    for set in sets.iter().filter(|set| !set.development.is_empty()) {
        let figures = named::figures(&engine, &finder, &set.development);
        let all = figures.all();
        eprintln!(
            "{:<34} P {:.2} R {:.2} F1 {:.2}  {:?}",
            set.file.source.path,
            all.precision(),
            all.recall(),
            all.f1(),
            figures.0.map(|kind| (kind.f1() * 100.0).round() / 100.0)
        );
        let name = format!("{} F1", set.file.set());
        card.figures.insert(name, (all.f1() * 100.0).round() / 100.0);
    }
    let kind = model::Kind::Entities;
    let body = finder.write();
    crate::save(&Model { kind, language: Some(language), card, body }, variant)?;
    Ok(())
}

/// What is marked in the texts, with words and parts of speech.
fn sentences_of(engine: &Engine, texts: &[Marked], rules: u32) -> Vec<Sentence> {
    let (mut scratch, mut analysis) = (Scratch::default(), Analysis::default());
    let of = |Marked { text, names, .. }: &Marked| {
        engine.analyse(text, &mut scratch, &mut analysis);
        Sentence::all_of(text, &analysis, names, rules)
    };
    texts.iter().flat_map(of).collect()
}

/// Names in free texts of other languages in the same letters.
fn foreign(language: Language, sources: &mut Vec<Source>) -> Result<Vec<(Vec<String>, Kind)>> {
    let mut all = Vec::new();
    let others = LATIN.iter().filter(|other| LATIN.contains(&language) && **other != language);
    for other in others {
        for set in named::sets(*other)? {
            if set.file.source.non_commercial || set.train.is_empty() {
                continue;
            }
            sources.push(set.file.source.clone());
            for Marked { text, names, .. } in &set.train {
                let words = |name: &str| name.split(' ').map(str::to_owned).collect();
                all.extend(names.iter().map(|(bytes, kind)| (words(&text[bytes.clone()]), *kind)));
            }
        }
    }
    Ok(all)
}

/// The engine of a language that was made of free data alone, so that what is learned from its answers is free as well.
fn free_engine(language: Language) -> Result<Engine> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let read = |kind: model::Kind| -> Result<Model> {
        let path = |variant| folder.join(format!("{language}{variant}.{}.model", kind.name()));
        let bytes = std::fs::read(path(".free")).or_else(|_| std::fs::read(path("")))?;
        Ok(Model::read(&bytes)?)
    };
    let segmenter = Segmenter::read(&read(model::Kind::Segment)?)?;
    Ok(Engine::new(segmenter, Tagger::read(&read(model::Kind::Tag)?)?))
}
