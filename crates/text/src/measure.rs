//! Figures of an engine on treebanks. A module of the binaries.
#![allow(dead_code, reason = "each binary uses a part of it")]

use crate::data::{self, File, Result};
use std::time::Instant;
use strongroom_text::analysis::{Analysis, Engine, Scratch};
use strongroom_text::conllu::{self, Sentence};
use strongroom_text::score::{self, Agreement, Scores};
use strongroom_text::{Upos, tag};

/// How often a text is analysed to see how fast.
const ROUNDS: usize = 7;

/// The figures of a treebank.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    /// Words with the right tag where words are given.
    pub(crate) gold: Agreement,
    /// Lemmas, likewise.
    pub(crate) lemmas: Agreement,
    /// From raw text.
    pub(crate) raw: Scores,
    /// Tokens found in raw text, and seconds for that.
    pub(crate) tokens: usize,
    pub(crate) seconds: f64,
}

impl Figures {
    pub(crate) fn add(&mut self, other: &Figures) {
        self.gold.add(&other.gold);
        self.lemmas.add(&other.lemmas);
        self.raw.add(&other.raw);
        self.tokens += other.tokens;
        self.seconds += other.seconds;
    }
}

/// A treebank; in early PADT names are tagged X, and count as PROPN.
pub(crate) fn treebank(file: &File) -> Result<Vec<Sentence>> {
    let mut treebank = data::treebank(&file.path)?;
    if file.set().contains("padt") {
        let tokens = treebank.iter_mut().flat_map(|sentence| &mut sentence.tokens);
        for word in tokens.flat_map(|token| &mut token.words).filter(|w| w.upos == Upos::X) {
            word.upos = Upos::Propn;
        }
    }
    Ok(treebank)
}

/// The figures of `engine` on `treebank`.
pub(crate) fn figures(engine: &Engine, treebank: &[Sentence]) -> Result<Figures> {
    let mut figures = gold_tokens(engine, treebank);
    raw_text(engine, treebank, &mut figures)?;
    Ok(figures)
}

/// The figures with words that are given.
pub(crate) fn gold_tokens(engine: &Engine, treebank: &[Sentence]) -> Figures {
    let mut figures = Figures::default();
    let mut scratch = tag::Scratch::default();
    let mut lemma = String::new();
    for sentence in treebank {
        engine.tagger().begin(&mut scratch);
        sentence.words().for_each(|word| engine.tagger().push(&word.form, &mut scratch));
        let tags = engine.tagger().finish(&mut scratch);
        let right = sentence.words().zip(tags).filter(|(word, tag)| word.upos == **tag).count();
        let all = tags.len() as u64;
        figures.gold.add(&Agreement { gold: all, found: all, right: right as u64 });
        let lemmas = sentence.words().zip(tags).filter(|(word, tag)| {
            lemma.clear();
            engine.tagger().lemma(&word.form, **tag, &mut lemma);
            word.lemma.as_ref().is_none_or(|gold| *gold == lemma)
        });
        figures.lemmas.add(&Agreement { gold: all, found: all, right: lemmas.count() as u64 });
    }
    figures
}

/// The figures from raw text.
fn raw_text(engine: &Engine, treebank: &[Sentence], figures: &mut Figures) -> Result<()> {
    let (text, _) = conllu::raw_text(treebank);
    let (mut scratch, mut analysis) = (Scratch::default(), Analysis::default());
    // Once to warm up, as in a process that runs on; then the best of some rounds, for others may be at work.
    engine.analyse(&text, &mut scratch, &mut analysis);
    figures.seconds = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        engine.analyse(&text, &mut scratch, &mut analysis);
        figures.seconds = figures.seconds.min(start.elapsed().as_secs_f64());
    }
    figures.tokens = analysis.tokens().len();
    let found =
        analysis.sentences().iter().map(|sentence| analysis.conllu(engine, sentence, &text));
    figures.raw = score::compare(treebank, &found.collect::<Vec<_>>())?;
    Ok(())
}
