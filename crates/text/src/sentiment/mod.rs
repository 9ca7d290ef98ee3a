//! How a text speaks of its subject: for, against, or neither.
//!
//! ```
//! use strongroom_text::Language;
//! use strongroom_text::sentiment::{Label, Scratch, analyser};
//!
//! let found = analyser(Language::En).judge("The staff were friendly and very helpful!", None, &mut Scratch::default());
//! assert_eq!(found.label, Label::Positive);
//! assert!(found.score > 0.3);
//! ```
//!
//! A linear model (a softmax over three labels) sees words, pairs of words, runs of letters, and what lists of words
//! say. A longer text is cut into passages, and their answers are averaged, so that it costs no more memory than a
//! passage. Rules of an account ([`rules`]) replace the model's opinion of what they match.

pub mod explain;
pub mod features;
pub mod lexicon;
pub(crate) mod near;
pub mod rules;
mod scan;
pub mod tables;

pub use explain::{Chunk, Reason};
pub(crate) use scan::{is_emoji, is_han, is_unseen, normal};

use crate::memory::Memory;
use crate::model::{Card, Error, Model};
use crate::{Language, hash};
use features::{Sink, features};
use rules::Ruling;
use scan::{Kind, Known, Scanned};
use std::ops::Range;
use std::sync::OnceLock;
use tables::{LABELS, Sum, Tables};

/// A passage ends with the first sentence after this many bytes,
const PASSAGE_BYTES: usize = 400;
/// with the first space after this many,
const PASSAGE_BYTES_SPACE: usize = 800;
/// and in any case after this many.
const PASSAGE_BYTES_MAX: usize = 1600;
/// How much a rule of score 1 adds for a text, and takes against it, in natural logarithms of odds.
const RULE_WEIGHT: f32 = 2.5;

/// What a text says.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// It speaks against its subject.
    Negative,
    /// It does neither.
    Neutral,
    /// It speaks for its subject.
    Positive,
}

impl Label {
    /// All labels, in the order of their numbers.
    pub const ALL: [Label; 3] = [Label::Negative, Label::Neutral, Label::Positive];

    /// As it is written: `negative`.
    pub const fn name(self) -> &'static str {
        match self {
            Label::Negative => "negative",
            Label::Neutral => "neutral",
            Label::Positive => "positive",
        }
    }

    /// The label of a name.
    pub fn parse(name: &str) -> Option<Label> {
        Label::ALL.into_iter().find(|label| label.name() == name)
    }
}

/// What was found of a text.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sentiment {
    /// The most likely label.
    pub label: Label,
    /// From -1 (against) to 1 (for): how likely it is positive, less how likely it is negative.
    pub score: f32,
    /// How likely the label is right, from 0 to 1.
    pub confidence: f32,
}

/// Places of the memory for words that were seen before: a power of two.
const MEMORY_PLACES: usize = 16384;

/// Memory that is used again from text to text, in whatever language, with one model of each. What it holds changes no answer.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    scanned: Scanned,
    /// Words seen before, where the hash of their normal form and language says.
    memory: Memory<Known, MEMORY_PLACES>,
}

/// Judges texts of one language.
#[derive(Clone, Debug)]
pub struct Analyser {
    language: Language,
    tables: Tables,
}

/// The models that are built in.
const MODELS: [&[u8]; 10] = [
    include_bytes!("../../models/en.sentiment.model"),
    include_bytes!("../../models/ar.sentiment.model"),
    include_bytes!("../../models/zh.sentiment.model"),
    include_bytes!("../../models/de.sentiment.model"),
    include_bytes!("../../models/fr.sentiment.model"),
    include_bytes!("../../models/es.sentiment.model"),
    include_bytes!("../../models/it.sentiment.model"),
    include_bytes!("../../models/ru.sentiment.model"),
    include_bytes!("../../models/pl.sentiment.model"),
    include_bytes!("../../models/pt.sentiment.model"),
];

/// The analyser of a language; its model is read when it is asked for the first time.
///
/// # Panics
/// Where the model that is built in cannot be read, which a test rules out.
pub fn analyser(language: Language) -> &'static Analyser {
    static ANALYSERS: [OnceLock<Analyser>; 10] = [const { OnceLock::new() }; 10];
    ANALYSERS[language.index()].get_or_init(|| {
        let model = Model::read(MODELS[language.index()]).expect("a test reads all models");
        Analyser::read(language, &model).expect("a test reads all models")
    })
}

/// The card of the model of a language, and the bytes that it takes.
///
/// # Errors
/// Where it cannot be read, which a test rules out.
pub fn card(language: Language) -> Result<(usize, Card), Error> {
    let bytes = MODELS[language.index()];
    Ok((bytes.len(), Model::card(bytes)?))
}

impl Analyser {
    /// From tables, before they are built in.
    pub fn new(language: Language, tables: Tables) -> Analyser {
        Analyser { language, tables }
    }

    /// From a model.
    ///
    /// # Errors
    /// Where its tables cannot be read.
    pub fn read(language: Language, model: &Model) -> Result<Analyser, Error> {
        Ok(Analyser { language, tables: Tables::read(&model.body)? })
    }

    /// Judges a text: a document, a sentence, or a part of one.
    pub fn judge(&self, text: &str, rules: Option<&Ruling>, scratch: &mut Scratch) -> Sentiment {
        self.judge_part(text, 0..text.len(), rules, scratch)
    }

    /// Judges a part of a text, by its bytes, alone; rules see the lemmas of the whole text.
    pub fn judge_part(
        &self,
        text: &str,
        part: Range<usize>,
        rules: Option<&Ruling>,
        scratch: &mut Scratch,
    ) -> Sentiment {
        sentiment(self.shares_of(text, part, rules, scratch))
    }

    /// How likely each label is for a part of a text.
    fn shares_of(
        &self,
        text: &str,
        part: Range<usize>,
        rules: Option<&Ruling>,
        scratch: &mut Scratch,
    ) -> [f32; LABELS] {
        let mut sums = [0.0; LABELS];
        let mut words = 0.0;
        for passage in passages(&text[part.clone()]) {
            let passage = passage.start + part.start..passage.end + part.start;
            self.scan(text, &passage, scratch);
            let weight = (scratch.scanned.tokens.len() as f32).max(1.0);
            let shares = self.shares(rules, &mut scratch.scanned);
            sums.iter_mut().zip(shares).for_each(|(sum, share)| *sum += weight * share);
            words += weight;
        }
        match words > 0.0 {
            true => sums.map(|sum| sum / words),
            false => [1.0 / LABELS as f32; LABELS],
        }
    }

    /// How likely each label is for what was scanned.
    fn shares(&self, rules: Option<&Ruling>, scanned: &mut Scanned) -> [f32; LABELS] {
        let mut ruled = 0.0;
        if let Some(rules) = rules {
            for found in rules.find(scanned) {
                let first = &scanned.tokens[found.tokens.start];
                let turn = if first.turned { features::TURNED } else { 1.0 };
                ruled += (found.score * turn * first.degree).clamp(-1.0, 1.0);
                scanned.tokens[found.tokens].iter_mut().for_each(|token| token.kind = Kind::Ruled);
            }
        }
        let mut sum = Sum::new(&self.tables);
        features(scanned, &mut sum);
        let mut logits = sum.logits();
        let ruled = ruled * RULE_WEIGHT / self.tables.sharpness.max(0.1);
        logits[Label::Positive as usize] += ruled;
        logits[Label::Negative as usize] -= ruled;
        let most = logits.iter().copied().fold(f32::MIN, f32::max);
        let shares = logits.map(|logit| libm::expf((logit - most) * self.tables.sharpness));
        let all: f32 = shares.iter().sum();
        shares.map(|share| share / all)
    }

    /// Reads a passage of a text.
    fn scan<'s>(
        &self,
        text: &str,
        passage: &Range<usize>,
        scratch: &'s mut Scratch,
    ) -> &'s mut Scanned {
        let Scratch { scanned, memory } = scratch;
        let salt = hash::salt(Some(self.language));
        let Tables { lexicon, .. } = &self.tables;
        scanned.read(&text[passage.clone()], passage.start, self.language, |hash, word| {
            memory.get(hash ^ salt, || Known {
                entry: lexicon.find(word, self.language),
                runs: self.tables.runs(word),
            })
        });
        scanned
    }

    /// Shows all features of a text's first passage to `sink`: for training.
    pub fn features(&self, text: &str, scratch: &mut Scratch, sink: &mut impl Sink) {
        if let Some(passage) = passages(text).next() {
            features(self.scan(text, &passage, scratch), sink);
        }
    }
}

/// What the likelihoods of the labels come to.
fn sentiment([against, neither, for_it]: [f32; LABELS]) -> Sentiment {
    let (label, confidence) = match neither >= against && neither >= for_it {
        true => (Label::Neutral, neither),
        false if against > for_it => (Label::Negative, against),
        false => (Label::Positive, for_it),
    };
    Sentiment { label, score: for_it - against, confidence }
}

/// The normal form of each word of a text.
pub fn words(text: &str, language: Language) -> Vec<Vec<char>> {
    let mut scanned = Scanned::default();
    scanned.split(text, 0, language);
    let tokens = scanned.tokens.iter().filter(|token| !token.chars.is_empty());
    tokens.map(|token| scanned.chars[token.chars.clone()].to_vec()).collect()
}

/// Cuts a text into passages that cover it.
fn passages(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        if start >= text.len() {
            return None;
        }
        let rest = &text[start..];
        let mut end = rest.floor_char_boundary(PASSAGE_BYTES_MAX);
        if rest.len() > PASSAGE_BYTES {
            let mut before = ' ';
            let from = rest.ceil_char_boundary(PASSAGE_BYTES);
            for (at, c) in rest[from..end].char_indices() {
                let sentence = matches!(before, '.' | '!' | '?' | '…' | '؟') && c.is_whitespace();
                let line = matches!(before, '\n' | '。' | '！' | '？');
                if sentence || line || c.is_whitespace() && from + at > PASSAGE_BYTES_SPACE {
                    end = from + at;
                    break;
                }
                before = c;
            }
        }
        let passage = start..start + end;
        start = passage.end;
        Some(passage)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn judge(text: &str, language: Language) -> Sentiment {
        analyser(language).judge(text, None, &mut Scratch::default())
    }

    #[test]
    fn praise_and_blame_are_told_in_each_language() {
        use Language::*;
        let rows = [
            (
                En,
                "I love this place, the food is amazing!",
                "Terrible service, I will never come back.",
            ),
            (Ar, "هذا رائع جدا، احبه", "خدمة سيئة جدا ومقرفة"),
            (Zh, "房间很干净，服务非常好，很满意", "太差了，非常失望，再也不来了"),
            (
                De,
                "Ein wunderbarer Abend, ich bin so glücklich!",
                "Das ist echt scheiße, ich bin so enttäuscht.",
            ),
            (Fr, "J'adore ce film, il est magnifique !", "Quelle honte, c'est vraiment nul."),
            (Es, "Me encanta, es una maravilla", "Qué asco, es horrible y una vergüenza"),
            (It, "Che meraviglia, sono felicissima!", "Che schifo, una vergogna totale."),
            (Ru, "Обожаю этот фильм, он прекрасный!", "Ужасный день, всё бесит, ненавижу."),
            (Pl, "Uwielbiam ten film, jest wspaniały!", "Okropne miejsce, nienawidzę tego."),
            (Pt, "Adorei, foi maravilhoso, muito obrigada!", "Que nojo, péssimo, odeio isso."),
        ];
        for (language, praise, blame) in rows {
            let (praise, blame) = (judge(praise, language), judge(blame, language));
            assert!(praise.label == Label::Positive && praise.score > 0.2, "{language} {praise:?}");
            assert!(blame.label == Label::Negative && blame.score < -0.2, "{language} {blame:?}");
        }
    }

    #[test]
    fn not_turns_and_very_strengthens() {
        let score = |text| judge(text, Language::En).score;
        assert!(score("The food was good") > score("The food was not good") + 0.3);
        assert!(score("The food was very good") > score("The food was a little good"));
    }

    #[test]
    fn a_long_text_is_the_mean_of_its_passages() {
        let praise = "I love this place, the food is amazing! ".repeat(200);
        let blame = "Terrible service, I will never come back. ".repeat(200);
        let [one, other, both] = [praise.clone(), blame.clone(), praise + &blame]
            .map(|text| judge(&text, Language::En).score);
        assert!(one > 0.5 && other < -0.5 && both.abs() < 0.4, "{one} {other} {both}");
    }

    #[test]
    fn memory_changes_no_answer() {
        let mut scratch = Scratch::default();
        let text = "Nein, die Bar war gut; bar of soap, no good \u{1f600}\u{1f600} :) 100 #sad";
        for _ in 0..2 {
            for language in Language::ALL {
                let found = analyser(language).judge(text, None, &mut scratch);
                assert_eq!(found, judge(text, language), "{language}");
            }
        }
    }

    #[test]
    fn an_empty_text_says_nothing() {
        for text in ["", " \n", "\u{200b}"] {
            let found = judge(text, Language::En);
            assert!(found.score.abs() < 0.5 && found.confidence < 0.9, "{text:?} {found:?}");
        }
        assert_eq!(judge("", Language::De).score, 0.0);
    }

    #[test]
    fn all_models_are_of_their_language() {
        for language in Language::ALL {
            let model = Model::read(MODELS[language.index()]).unwrap();
            assert_eq!(
                (model.kind, model.language),
                (crate::model::Kind::Sentiment, Some(language))
            );
            let (bytes, card) = card(language).unwrap();
            assert!(bytes > 400_000 && card == model.card && card.sources.len() > 20);
            assert!(!card.non_commercial(), "there is no variant without such sources");
        }
    }

    #[test]
    fn passages_cover_a_text_and_end_with_sentences() {
        let text = "A sentence of some length stands here. ".repeat(30);
        let found: Vec<_> = passages(&text).collect();
        assert!(found.len() > 1 && found.iter().all(|p| p.len() <= PASSAGE_BYTES_MAX));
        assert!(found[..found.len() - 1].iter().all(|p| text[p.clone()].ends_with('.')));
        assert_eq!(passages(&"\u{1f600}".repeat(5000)).map(|p| p.len()).sum::<usize>(), 20_000);
    }

    proptest! {
        #[test]
        fn any_text_has_an_answer(text in "(\\PC|[\u{300}-\u{36f}@#:D)(/'’w.!ه]){0,60}", at in 0usize..10) {
            let analyser = analyser(Language::ALL[at]);
            let mut scratch = Scratch::default();
            let found = analyser.judge(&text, None, &mut scratch);
            prop_assert!((-1.0..=1.0).contains(&found.score) && (0.3..=1.0).contains(&found.confidence));
            for chunk in analyser.chunks(&text, None, &mut scratch) {
                prop_assert!(text.get(chunk.range.clone()).is_some());
                prop_assert!(chunk.reasons.iter().all(|r| chunk.range.start <= r.range.start && r.range.end <= chunk.range.end));
            }
        }

        #[test]
        fn passages_cover_any_text(text in "(\\PC|[ .\\n。]){0,3000}") {
            let mut at = 0;
            for passage in passages(&text) {
                prop_assert!(passage.start == at && !passage.is_empty());
                at = passage.end;
            }
            prop_assert_eq!(at, text.len());
        }
    }
}
