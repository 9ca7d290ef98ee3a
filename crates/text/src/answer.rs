//! What there is to say of a text, in the form in which the command and the API say it.

use std::ops::Range;

use serde::Serialize;

use crate::analysis::{Analysis, Scratch};
use crate::entities::{self, Entity};
use crate::sentiment::rules::{Lemma, Matcher, Ruling};
use crate::{Language, Upos, language, models, sentiment};

/// Bytes of one text at most; a longer one is cut by whoever has it.
pub const TEXT_BYTES_MAX: usize = 10 << 20;
/// Reasons that are told of one text at most, the strongest.
pub const REASONS_MAX: usize = 10;

/// What is asked.
#[derive(Clone, Copy, Default)]
pub struct Wants<'a> {
    /// The language, where it is known.
    pub language: Option<Language>,
    /// Sentences, tokens, words with part of speech and lemma.
    pub tags: bool,
    /// Names of persons, organisations, places.
    pub entities: bool,
    /// What the text says of its subject.
    pub sentiment: bool,
    /// Why: the parts with an effect.
    pub because: bool,
    /// An account's rules, by [`Language::index`].
    pub rules: Option<&'a [Matcher]>,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// The language, `None` where it is none of those that are known.
    pub language: Option<&'static str>,
    /// How likely that is, from 0 to 1; 1 where it was given.
    pub confidence: f32,
    /// The sentences; `None` where nobody asked, or the language is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentences: Option<Vec<Sentence>>,
    /// The names in it; `None` likewise, and where none are known in the language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entities: Option<Vec<Entity>>,
    /// What the text says of its subject; `None` likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentiment: Option<Sentiment>,
}

/// A sentence.
#[derive(Debug, Serialize)]
pub struct Sentence {
    /// Where it stands, in bytes.
    pub bytes: Range<usize>,
    /// The same in characters.
    pub chars: Range<usize>,
    /// Its tokens.
    pub tokens: Vec<Token>,
}

/// What stands in the text: a word, or several that are written as one.
#[derive(Debug, Serialize)]
pub struct Token {
    /// Where it stands, in bytes.
    pub bytes: Range<usize>,
    /// The same in characters.
    pub chars: Range<usize>,
    /// Its words.
    pub words: Vec<Word>,
}

/// A syntactic word.
#[derive(Debug, Serialize)]
pub struct Word {
    /// As it stands there, or as it would alone.
    pub form: String,
    /// Its lemma, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lemma: Option<String>,
    /// Its part of speech.
    pub upos: &'static str,
}

/// What a text says of its subject.
#[derive(Debug, Serialize)]
pub struct Sentiment {
    /// `negative`, `neutral`, `positive`.
    pub label: &'static str,
    /// From -1 to 1.
    pub score: f32,
    /// How likely the label is right, from 0 to 1.
    pub confidence: f32,
    /// The parts with an effect, the strongest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<Reason>,
}

/// A part of a text that speaks for or against.
#[derive(Debug, Serialize)]
pub struct Reason {
    /// Its words.
    pub text: String,
    /// Where it stands, in bytes.
    pub bytes: Range<usize>,
    /// By how much the score is higher with it.
    pub effect: f32,
}

/// Memory that is used again from text to text.
#[derive(Default)]
pub struct Desk {
    scratch: [Scratch; 10],
    analysis: Analysis,
    entities: [entities::Scratch; 10],
    sentiment: sentiment::Scratch,
}

/// Looks at a text.
pub fn answer(text: &str, wants: &Wants<'_>, desk: &mut Desk) -> Answer {
    let (language, confidence) = match wants.language {
        Some(language) => (Some(language), 1.0),
        None => {
            let detected = language::detect(text);
            (detected.language, detected.confidence)
        }
    };
    let code = language.map(Language::code);
    let mut answer =
        Answer { language: code, confidence, sentences: None, entities: None, sentiment: None };
    let Some(language) = language else { return answer };
    let rules = wants.rules.and_then(|rules| rules.get(language.index()));
    let rules = rules.filter(|rules| !rules.is_empty());
    // Rules for lemmas need these.
    let lemmas_wanted = wants.tags || (wants.sentiment && rules.is_some());
    if lemmas_wanted || wants.entities {
        let Desk { scratch, analysis, .. } = desk;
        models::engine(language).analyse(text, &mut scratch[language.index()], analysis);
    }
    if lemmas_wanted {
        answer.sentences = Some(sentences(text, language, desk));
    }
    if wants.entities {
        let Desk { analysis, entities, .. } = desk;
        let scratch = &mut entities[language.index()];
        let finder = models::finder(language);
        answer.entities = finder.map(|finder| finder.find(text, analysis, scratch));
    }
    if wants.sentiment {
        let lemmas: Vec<Lemma<'_>> = match (&answer.sentences, rules) {
            (Some(sentences), Some(_)) => lemmas(sentences),
            _ => Vec::new(),
        };
        let ruling = rules.map(|matcher| Ruling { matcher, lemmas: &lemmas });
        answer.sentiment = Some(judged(text, language, ruling.as_ref(), wants.because, desk));
    }
    if !wants.tags {
        answer.sentences = None;
    }
    answer
}

/// The sentences of the text that was analysed last.
fn sentences(text: &str, language: Language, desk: &Desk) -> Vec<Sentence> {
    let engine = models::engine(language);
    let Desk { analysis, .. } = desk;
    let word = |word: &crate::analysis::Word| {
        let (form, mut lemma) = (analysis.form(word, text).to_owned(), String::new());
        let known = engine.tagger().lemma(&form, word.upos, &mut lemma);
        Word { form, lemma: known.then_some(lemma), upos: Upos::name(word.upos) }
    };
    let token = |token: &crate::analysis::Token| Token {
        bytes: token.bytes.clone(),
        chars: token.chars.clone(),
        words: analysis.words()[token.words.clone()].iter().map(word).collect(),
    };
    let sentence = |sentence: &crate::analysis::SentenceSpan| {
        let tokens = &analysis.tokens()[sentence.tokens.clone()];
        let (first, last) = (tokens.first()?, tokens.last()?);
        Some(Sentence {
            bytes: first.bytes.start..last.bytes.end,
            chars: first.chars.start..last.chars.end,
            tokens: tokens.iter().map(token).collect(),
        })
    };
    analysis.sentences().iter().filter_map(sentence).collect()
}

fn lemmas(sentences: &[Sentence]) -> Vec<Lemma<'_>> {
    let tokens = sentences.iter().flat_map(|sentence| &sentence.tokens);
    tokens
        .filter_map(|token| match token.words.as_slice() {
            [Word { lemma: Some(lemma), .. }] => Some(Lemma { bytes: token.bytes.clone(), lemma }),
            _ => None,
        })
        .collect()
}

fn judged(
    text: &str,
    language: Language,
    rules: Option<&Ruling<'_>>,
    because: bool,
    desk: &mut Desk,
) -> Sentiment {
    let analyser = sentiment::analyser(language);
    let found = analyser.judge(text, rules, &mut desk.sentiment);
    let mut reasons = Vec::new();
    if because {
        let reason = |reason: sentiment::Reason| Reason {
            text: text[reason.range.clone()].to_owned(),
            bytes: reason.range,
            effect: reason.effect,
        };
        let told = analyser.explain(text, rules, &mut desk.sentiment);
        reasons = told.into_iter().take(REASONS_MAX).map(reason).collect();
    }
    Sentiment {
        label: found.label.name(),
        score: found.score,
        confidence: found.confidence,
        because: reasons,
    }
}
