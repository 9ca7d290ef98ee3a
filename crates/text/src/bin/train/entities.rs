//! `train entities`: names. Where there are no marked texts of a language, its model is made of those of others.

use crate::data::{self, Options, Part, Result};
use crate::named::{self, Marked, Set};
use crate::{measure, projected};
use std::path::Path;
use strongroom_text::analysis::{Analysis, Engine, Scratch};
use strongroom_text::entities::train::{self, Sentence};
use strongroom_text::entities::{Finder, Kind};
use strongroom_text::language::tables::LATIN;
use strongroom_text::model::{self, Card, Model, Source};
use strongroom_text::segment::Segmenter;
use strongroom_text::tag::Tagger;
use strongroom_text::{Language, Upos};

/// The number from which all others are drawn.
const SEED: u64 = 1;

/// The set that a machine marked, which leaves names out.
const BY_MACHINE: &str = "wikiann";

/// Small sets that were marked by hand are seen so often.
const SMALL: &[(&str, usize)] = &[("uner_ewt", 3), ("germeval2014", 3)];

/// What a model is made of.
struct Recipe {
    language: Language,
    /// `.free` for one without the language's own non-commercial sets, beside one with them.
    variant: &'static str,
    /// Languages whose sets are used in place of its own.
    lenders: &'static [Language],
    /// Whether a first model marks the treebanks of the language, from which the second one learns as well.
    taught: bool,
    /// What a user should know.
    note: &'static str,
}

const ROMANCE: &[Language] = &[Language::Pt, Language::Fr];

const RECIPES: &[Recipe] = &[
    Recipe {
        language: Language::En,
        variant: "",
        lenders: &[],
        taught: true,
        note: "Little running text was marked by hand: weak on names in prose, organisations above all. Knows no other names.",
    },
    Recipe {
        language: Language::Ar,
        variant: "",
        lenders: &[],
        taught: true,
        note: "No marked texts: proper nouns of PUD with the kinds of their Chinese translation, and a short list. Kinds are weak, bounds of names of several words likewise.",
    },
    Recipe {
        language: Language::Zh,
        variant: "",
        lenders: &[],
        taught: false,
        note: "Knows no other names.",
    },
    Recipe {
        language: Language::De,
        variant: "",
        lenders: &[],
        taught: false,
        note: "Words derived from names and compounds with them are found as names, as GermEval marks them.",
    },
    Recipe {
        language: Language::Fr,
        variant: "",
        lenders: &[],
        taught: true,
        note: "No text was marked by hand: weak on prose. Knows no other names.",
    },
    Recipe {
        language: Language::Es,
        variant: "",
        lenders: ROMANCE,
        taught: true,
        note: "No marked texts: made of Portuguese and French ones and of the proper nouns of treebanks. Figures are those of the lenders' texts. Knows no other names.",
    },
    Recipe {
        language: Language::It,
        variant: "",
        lenders: &[],
        taught: false,
        note: "Knows no other names.",
    },
    Recipe {
        language: Language::It,
        variant: ".free",
        lenders: ROMANCE,
        taught: true,
        note: "Made without marked Italian texts, which are non-commercial, of Portuguese and French ones and of the proper nouns of treebanks. Figures are those of the lenders' texts. Knows no other names.",
    },
    Recipe {
        language: Language::Ru,
        variant: "",
        lenders: &[],
        taught: false,
        note: "Most marked texts are news on a few events, so figures on them are too good for other texts.",
    },
    Recipe {
        language: Language::Pl,
        variant: "",
        lenders: &[],
        taught: false,
        note: "The marked texts are news on a few events, so figures on them are too good for other texts.",
    },
    Recipe {
        language: Language::Pt,
        variant: "",
        lenders: &[],
        taught: false,
        note: "Knows no other names.",
    },
];

/// Arabic names, which nobody else lends.
const ARABIC: &str = include_str!("../../../lexicon/names-ar.tsv");

/// What is learned from, and where it comes from.
#[derive(Default)]
struct Material {
    card: Card,
    sentences: Vec<Sentence>,
    held_out: Vec<Sentence>,
    foreign: Vec<(Vec<String>, Kind)>,
}

pub(crate) fn train(options: &Options) -> Result<()> {
    let wanted = |recipe: &&Recipe| options.languages.contains(&recipe.language);
    RECIPES.iter().filter(wanted).try_for_each(train_one)
}

fn train_one(recipe: &Recipe) -> Result<()> {
    let language = recipe.language;
    let mut material = Material::default();
    material.card.seed = SEED;
    material.card.notes.push(recipe.note.to_owned());
    let own = [language];
    let lenders = if recipe.lenders.is_empty() { &own[..] } else { recipe.lenders };
    for lender in lenders {
        material.take(*lender, &named::sets(*lender)?)?;
    }
    if language == Language::Ar {
        material.take_projected(language)?;
    }
    material.take_foreign(language)?;
    let mut finder = material.train();
    if recipe.taught {
        let treebanks = treebanks(language, &mut material.card.sources)?;
        material.sentences.extend(train::teach(&finder, treebanks));
        finder = material.train();
    }
    let Material { mut card, .. } = material;
    for lender in lenders {
        figures(*lender, &finder, &mut card)?;
    }
    let mut seen = Vec::new();
    card.sources.retain(|source| {
        !seen.contains(&source.path) && {
            seen.push(source.path.clone());
            true
        }
    });
    let kind = model::Kind::Entities;
    let body = finder.write();
    crate::save(&Model { kind, language: Some(language), card, body }, recipe.variant)?;
    Ok(())
}

impl Material {
    fn train(&self) -> Finder {
        let options = train::Options { seed: SEED, ..train::Options::default() };
        train::train(&self.sentences, &self.foreign, &self.held_out, &options)
    }

    /// Takes marked texts of a language.
    fn take(&mut self, language: Language, sets: &[Set]) -> Result<()> {
        let engine = free_engine(language)?;
        for set in sets {
            if !set.train.is_empty() {
                self.card.sources.push(set.file.source.clone());
            }
            let mut sentences = sentences_of(&engine, &set.train);
            if set.file.set() == BY_MACHINE {
                sentences.retain(is_whole);
            }
            let times = SMALL.iter().find(|(name, _)| *name == set.file.set());
            for _ in 0..times.map_or(1, |(_, times)| *times) {
                self.sentences.extend(sentences.iter().cloned());
            }
            self.held_out.extend(sentences_of(&engine, &set.development));
        }
        Ok(())
    }

    /// Takes sentences whose names are known from their translations, and a list of names.
    fn take_projected(&mut self, language: Language) -> Result<()> {
        let all = projected::sentences(language, &mut self.card.sources)?;
        for (at, sentence) in all.into_iter().enumerate() {
            let held_out = at / 50 % 10 == 9;
            if held_out { &mut self.held_out } else { &mut self.sentences }.push(sentence);
        }
        for (kind, name) in ARABIC.lines().filter_map(|line| line.split_once('\t')) {
            let Some(kind) = Kind::ALL.into_iter().find(|known| known.name() == kind) else {
                return Err(format!("unknown kind {kind}").into());
            };
            let words: Vec<String> = name.split(' ').map(str::to_owned).collect();
            self.foreign.extend([(words.clone(), kind), (words.clone(), kind)]);
            let words: Vec<_> = words.into_iter().map(|word| (word, Upos::Propn)).collect();
            let names = vec![(0..words.len(), kind)];
            self.sentences.push(Sentence { words, names });
        }
        Ok(())
    }

    /// Takes names in free texts of other languages in the same letters.
    fn take_foreign(&mut self, language: Language) -> Result<()> {
        let with = |other: &&Language| LATIN.contains(&language) && **other != language;
        for other in LATIN.iter().filter(with) {
            for set in named::sets(*other)? {
                if set.file.source.non_commercial || set.train.is_empty() {
                    continue;
                }
                self.card.sources.push(set.file.source.clone());
                for Marked { text, names, .. } in &set.train {
                    let words = |name: &str| name.split(' ').map(str::to_owned).collect();
                    let names = names.iter().map(|(at, kind)| (words(&text[at.clone()]), *kind));
                    self.foreign.extend(names);
                }
            }
        }
        Ok(())
    }
}

/// The sentences of the free treebanks of a language, with their parts of speech.
fn treebanks(language: Language, sources: &mut Vec<Source>) -> Result<Vec<Vec<(String, Upos)>>> {
    let mut all = Vec::new();
    for file in data::files("pos", language.code())? {
        if file.part == Part::Train && !file.source.non_commercial {
            for sentence in measure::treebank(&file)? {
                all.push(sentence.words().map(|word| (word.form.clone(), word.upos)).collect());
            }
            sources.push(file.source);
        }
    }
    Ok(all)
}

/// Figures on development data, which are printed, too.
fn figures(language: Language, finder: &Finder, card: &mut Card) -> Result<()> {
    let engine = free_engine(language)?;
    for set in named::sets(language)?.iter().filter(|set| !set.development.is_empty()) {
        let figures = named::figures(&engine, finder, &set.development);
        let two = |figure: f64| (figure * 100.0).round() / 100.0;
        let (all, kinds) = (two(figures.all().f1()), figures.0.map(|kind| two(kind.f1())));
        eprintln!("{:<34} F1 {all}, by kind {kinds:?}", set.file.source.path);
        card.figures.insert(format!("{language} {} F1", set.file.set()), all);
    }
    Ok(())
}

/// Whether a sentence that a machine marked has all its names marked, as far as parts of speech tell; what has no verb is a title
/// or the item of a list, which is marked as a whole.
fn is_whole(sentence: &Sentence) -> bool {
    let verb = |(_, upos): &(String, Upos)| matches!(upos, Upos::Verb | Upos::Aux);
    let marked = |at: usize| sentence.names.iter().any(|(words, _)| words.contains(&at));
    let mut words = sentence.words.iter().enumerate();
    !sentence.words.iter().any(verb)
        || words.all(|(at, (_, upos))| *upos != Upos::Propn || marked(at))
}

/// What is marked in the texts, with words and parts of speech.
fn sentences_of(engine: &Engine, texts: &[Marked]) -> Vec<Sentence> {
    let (mut scratch, mut analysis) = (Scratch::default(), Analysis::default());
    let of = |Marked { text, names, .. }: &Marked| {
        engine.analyse(text, &mut scratch, &mut analysis);
        Sentence::all_of(text, &analysis, names)
    };
    texts.iter().flat_map(of).collect()
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
