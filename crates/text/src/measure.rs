//! Figures of an engine on treebanks, how sure answers are, and how long things take. A module of the binaries.
#![allow(dead_code, reason = "each binary uses a part of it")]

use crate::data::{self, File, Result};
use std::fmt;
use std::time::Instant;
use strongroom_text::Upos;
use strongroom_text::analysis::{Analysis, Engine, Scratch};
use strongroom_text::conllu::{self, Sentence};
use strongroom_text::score::{self, Agreement, Scores};
use strongroom_text::tag::{self, LemmaScratch};

/// How often everything is done to see how fast.
pub(crate) const ROUNDS: usize = 7;

/// The figures of a treebank.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    /// Words with the right tag where words are given.
    pub(crate) gold: Agreement,
    /// Lemmas, likewise.
    pub(crate) lemmas: Agreement,
    /// From raw text.
    pub(crate) raw: Scores,
    /// Tokens found in raw text, and seconds of a core for that.
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
    if treebank.is_empty() {
        return Err(format!("{}: there are no sentences", file.path.display()).into());
    }
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
    let mut memory = LemmaScratch::default();
    for sentence in treebank {
        engine.tagger().begin(&mut scratch);
        sentence.words().for_each(|word| engine.tagger().push(&word.form, &mut scratch));
        let tags = engine.tagger().finish(&mut scratch);
        let right = sentence.words().zip(tags).filter(|(word, tag)| word.upos == **tag).count();
        let all = tags.len() as u64;
        figures.gold.add(&Agreement { gold: all, found: all, right: right as u64 });
        let lemmas = sentence.words().zip(tags).filter(|(word, tag)| {
            let lemma = engine.tagger().lemma(&word.form, **tag, &mut memory);
            word.lemma.as_ref().is_none_or(|gold| lemma.is_some_and(|lemma| lemma == **gold))
        });
        figures.lemmas.add(&Agreement { gold: all, found: all, right: lemmas.count() as u64 });
    }
    figures
}

/// The figures from raw text.
fn raw_text(engine: &Engine, treebank: &[Sentence], figures: &mut Figures) -> Result<()> {
    let (text, _) = conllu::raw_text(treebank);
    let (mut scratch, mut analysis) = (Scratch::default(), Analysis::default());
    let rounds = rounds(|| engine.analyse(&text, &mut scratch, &mut analysis));
    figures.seconds = rounds.into_iter().fold(f64::INFINITY, f64::min);
    figures.tokens = analysis.tokens().len();
    let mut lemmas = LemmaScratch::default();
    let found = analysis
        .sentences()
        .iter()
        .map(|sentence| analysis.conllu(engine, sentence, &text, &mut lemmas));
    figures.raw = score::compare(treebank, &found.collect::<Vec<_>>())?;
    Ok(())
}

/// How long `work` takes, in seconds by the clock.
pub(crate) fn took(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// How long `work` takes each of [`ROUNDS`] times, after once to warm up, as in a process that runs on.
pub(crate) fn rounds(mut work: impl FnMut()) -> [f64; ROUNDS] {
    work();
    std::array::from_fn(|_| took(&mut work))
}

/// How confidence and the share of right answers go together, in ten steps of confidence.
#[derive(Clone, Copy, Default)]
pub(crate) struct Calibration([Step; 10]);

#[derive(Clone, Copy, Default)]
struct Step {
    answers: u32,
    /// The sum of their confidences.
    confidence: f32,
    right: u32,
}

impl Calibration {
    /// Counts an answer; `confidence` is from 0 to 1.
    pub(crate) fn add(&mut self, confidence: f32, right: bool) {
        let step = &mut self.0[((confidence * 10.0) as usize).min(9)];
        step.answers += 1;
        step.confidence += confidence;
        step.right += u32::from(right);
    }
}

/// The mean confidence and the share of right answers of each step, and the mean gap between the two.
impl fmt::Display for Calibration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("confidence→right:")?;
        for step in self.0.iter().filter(|step| step.answers > 0) {
            let all = step.answers as f32;
            write!(f, " {:.2}→{:.2}", step.confidence / all, step.right as f32 / all)?;
        }
        let all: u32 = self.0.iter().map(|step| step.answers).sum();
        let gap: f32 = self.0.iter().map(|step| (step.confidence - step.right as f32).abs()).sum();
        write!(f, "; mean gap {:.3}", gap / all.max(1) as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calibration_tells_confidence_and_share_of_each_step() {
        let mut calibration = Calibration::default();
        assert_eq!(calibration.to_string(), "confidence→right:; mean gap 0.000");
        for (confidence, right) in [(0.5, true), (0.52, false), (0.98, true), (1.0, true)] {
            calibration.add(confidence, right);
        }
        let expected = "confidence→right: 0.51→0.50 0.99→1.00; mean gap 0.010";
        assert_eq!(calibration.to_string(), expected);
    }
}
