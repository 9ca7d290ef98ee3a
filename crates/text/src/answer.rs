//! What there is to say of a text, in the form in which the command and the API say it.

use std::borrow::Cow;
use std::ops::Range;

use serde::Serialize;
use smallvec::SmallVec;

use crate::analysis::{self, Analysis, Scratch};
use crate::entities::{self, Entity};
use crate::filter::{Filters, Found};
use crate::places::{Place, Places};
use crate::sentiment::rules::{Lemma, Matcher, Ruling};
use crate::tag::LemmaScratch;
use crate::themes::{self, Theme};
use crate::topics::{self, Topics, Toward};
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
    /// What each sentence says of it, too, where `tags` and `sentiment` are wanted.
    pub each: bool,
    /// Why: the parts with an effect.
    pub because: bool,
    /// The phrases that speak for or against.
    pub chunks: bool,
    /// What the text is about.
    pub themes: bool,
    /// What is said of these, by [`Language::index`].
    pub topics: Option<&'a [Topics]>,
    /// Rules of which it is told whether they match.
    pub filters: Option<&'a Filters>,
    /// An account's rules, by [`Language::index`].
    pub rules: Option<&'a [Matcher]>,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Answer<'t> {
    /// The language, `None` where it is none of those that are known.
    pub language: Option<&'static str>,
    /// How likely that is, from 0 to 1; 1 where it was given.
    pub confidence: f32,
    /// The sentences; `None` where nobody asked, or the language is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentences: Option<Vec<Sentence<'t>>>,
    /// The names in it; `None` likewise, and where none are known in the language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entities: Option<Vec<Entity>>,
    /// What the text says of its subject; `None` likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentiment: Option<Sentiment>,
    /// The phrases that speak for or against, in order; `None` likewise. Those of the first
    /// [`PASSAGES_MAX`](sentiment::explain::PASSAGES_MAX) passages of about 400 bytes are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunks: Option<Vec<Chunk>>,
    /// What the text is about, the best first; `None` likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub themes: Option<Vec<Theme>>,
    /// What is said of the topics that occur; `None` likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topics: Option<Vec<Toward>>,
    /// What was found of each rule, in whatever language the text is; `None` where nobody asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matches: Option<Vec<Found>>,
}

/// A sentence.
#[derive(Debug, Serialize)]
pub struct Sentence<'t> {
    /// Where it stands, in bytes.
    pub bytes: Range<usize>,
    /// The same in characters.
    pub chars: Range<usize>,
    /// Its tokens.
    pub tokens: Vec<Token<'t>>,
    /// What it says, judged alone; `None` where nobody asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentiment: Option<Sentiment>,
}

/// What stands in the text: a word, or several that are written as one.
#[derive(Debug, Serialize)]
pub struct Token<'t> {
    /// Where it stands, in bytes.
    pub bytes: Range<usize>,
    /// The same in characters.
    pub chars: Range<usize>,
    /// Its words.
    pub words: SmallVec<[Word<'t>; 1]>,
}

/// A syntactic word.
#[derive(Debug, Serialize)]
pub struct Word<'t> {
    /// As it stands there, or as it would alone.
    pub form: Cow<'t, str>,
    /// Its lemma, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lemma: Option<Cow<'t, str>>,
    /// Its part of speech.
    pub upos: &'static str,
}

impl Sentence<'_> {
    /// Moves it, and its tokens, by so much: where it stands in a text of which only a part was looked at.
    pub fn shift(&mut self, bytes: usize, chars: usize) {
        let shift = |range: &mut Range<usize>, by| *range = range.start + by..range.end + by;
        shift(&mut self.bytes, bytes);
        shift(&mut self.chars, chars);
        for token in &mut self.tokens {
            shift(&mut token.bytes, bytes);
            shift(&mut token.chars, chars);
        }
    }
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

impl Sentiment {
    /// The same, without what speaks for or against.
    fn alone(&self) -> Sentiment {
        Sentiment { because: Vec::new(), ..*self }
    }
}

impl From<sentiment::Sentiment> for Sentiment {
    fn from(found: sentiment::Sentiment) -> Sentiment {
        let sentiment::Sentiment { label, score, confidence } = found;
        Sentiment { label: label.name(), score, confidence, because: Vec::new() }
    }
}

/// A phrase that speaks for or against.
#[derive(Debug, Serialize)]
pub struct Chunk {
    /// Its words.
    pub text: String,
    /// Where it stands.
    #[serde(flatten)]
    pub place: Place,
    /// What it says, judged alone.
    #[serde(flatten)]
    pub sentiment: Sentiment,
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
    scratch: Scratch,
    analysis: Analysis,
    lemmas: LemmaScratch,
    entities: entities::Scratch,
    sentiment: sentiment::Scratch,
}

/// Looks at a text.
pub fn answer<'t>(text: &'t str, wants: &Wants<'_>, desk: &mut Desk) -> Answer<'t> {
    let (language, confidence) = match wants.language {
        Some(language) => (Some(language), 1.0),
        None => {
            let detected = language::detect(text);
            (detected.language, detected.confidence)
        }
    };
    let mut answer = Answer {
        language: language.map(Language::code),
        confidence,
        sentences: None,
        entities: None,
        sentiment: None,
        chunks: None,
        themes: None,
        topics: None,
        matches: None,
    };
    let Some(language) = language else {
        answer.matches = wants.filters.map(|filters| filters.find(text, &[]));
        return answer;
    };
    let rules = wants.rules.and_then(|rules| rules.get(language.index()));
    let rules = rules.filter(|rules| !rules.is_empty());
    let topics = wants.topics.and_then(|topics| topics.get(language.index()));
    // Rules and filters for lemmas need these, and so do topics.
    let ruled = rules.is_some() && (wants.sentiment || wants.chunks);
    let filtered = wants.filters.is_some_and(Filters::need_lemmas);
    let worded = wants.tags || wants.themes || topics.is_some() || ruled || filtered;
    if worded || wants.entities {
        analyse(text, language, desk);
    }
    let mut sentences = if worded { sentences(text, language, desk) } else { Vec::new() };
    if wants.entities {
        let Desk { analysis, entities, .. } = desk;
        let finder = models::finder(language);
        answer.entities = finder.map(|finder| finder.find(text, analysis, entities));
    }
    let mut said = Vec::new();
    {
        let lemmas = if rules.is_some() || filtered { lemmas(&sentences) } else { Vec::new() };
        let ruling = rules.map(|matcher| Ruling { matcher, lemmas: &lemmas });
        let ruling = ruling.as_ref();
        if wants.sentiment {
            answer.sentiment = Some(judged(text, language, ruling, wants.because, desk));
            // What a text of one sentence says, that says.
            said = match &answer.sentiment {
                Some(all) if wants.each && sentences.len() == 1 => vec![all.alone()],
                _ if wants.each && wants.tags => {
                    judged_each(text, language, &sentences, ruling, desk)
                }
                _ => Vec::new(),
            };
        }
        let scratch = &mut desk.sentiment;
        answer.chunks = wants.chunks.then(|| chunks(text, language, ruling, scratch));
        answer.themes =
            wants.themes.then(|| themes::themes(text, language, &sentences, ruling, scratch));
        answer.topics =
            topics.map(|topics| topics::toward(text, topics, &sentences, ruling, scratch));
        answer.matches = wants.filters.map(|filters| filters.find(text, &lemmas));
    }
    for (sentence, said) in sentences.iter_mut().zip(said) {
        sentence.sentiment = Some(said);
    }
    answer.sentences = wants.tags.then_some(sentences);
    answer
}

fn analyse(text: &str, language: Language, desk: &mut Desk) {
    let Desk { scratch, analysis, .. } = desk;
    models::engine(language).analyse(text, scratch, analysis);
}

/// The sentences of the text that was analysed last.
fn sentences<'t>(text: &'t str, language: Language, desk: &mut Desk) -> Vec<Sentence<'t>> {
    let engine = models::engine(language);
    let Desk { analysis, lemmas, .. } = desk;
    let mut word = |word: &analysis::Word| {
        let (tagger, upos) = (engine.tagger(), word.upos);
        let (form, lemma) = match analysis.bytes(word) {
            Some(bytes) => {
                let form = &text[bytes];
                (Cow::Borrowed(form), tagger.lemma(form, upos, lemmas))
            }
            None => {
                let form = analysis.form(word, text);
                let lemma = tagger.lemma(form, upos, lemmas).map(Cow::into_owned);
                (Cow::Owned(form.to_owned()), lemma.map(Cow::Owned))
            }
        };
        Word { form, lemma, upos: Upos::name(upos) }
    };
    let mut token = |token: &analysis::Token| Token {
        bytes: token.bytes.clone(),
        chars: token.chars.clone(),
        words: analysis.words()[token.words.clone()].iter().map(&mut word).collect(),
    };
    let sentence = |sentence: &analysis::SentenceSpan| {
        let tokens = &analysis.tokens()[sentence.tokens.clone()];
        let (first, last) = (tokens.first()?, tokens.last()?);
        Some(Sentence {
            bytes: first.bytes.start..last.bytes.end,
            chars: first.chars.start..last.chars.end,
            tokens: tokens.iter().map(&mut token).collect(),
            sentiment: None,
        })
    };
    analysis.sentences().iter().filter_map(sentence).collect()
}

/// The lemmas of the words of sentences, for rules and filters.
pub fn lemmas<'a>(sentences: &'a [Sentence<'_>]) -> Vec<Lemma<'a>> {
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
    Sentiment { because: reasons, ..found.into() }
}

fn judged_each(
    text: &str,
    language: Language,
    sentences: &[Sentence<'_>],
    rules: Option<&Ruling<'_>>,
    desk: &mut Desk,
) -> Vec<Sentiment> {
    let analyser = sentiment::analyser(language);
    let mut judge = |sentence: &Sentence<'_>| {
        analyser.judge_part(text, sentence.bytes.clone(), rules, &mut desk.sentiment).into()
    };
    sentences.iter().map(&mut judge).collect()
}

fn chunks(
    text: &str,
    language: Language,
    rules: Option<&Ruling<'_>>,
    scratch: &mut sentiment::Scratch,
) -> Vec<Chunk> {
    let places = Places::new(text);
    let chunk = |chunk: sentiment::Chunk| Chunk {
        text: text[chunk.range.clone()].to_owned(),
        place: places.place(chunk.range),
        sentiment: chunk.sentiment.into(),
    };
    sentiment::analyser(language).chunks(text, rules, scratch).into_iter().map(chunk).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentiment::rules::{Book, Kind, Rule};

    fn ask<'t>(text: &'t str, wants: &Wants<'_>) -> Answer<'t> {
        answer(text, &Wants { language: Some(Language::En), ..*wants }, &mut Desk::default())
    }

    #[test]
    fn document_sentences_and_phrases_have_their_own_sentiment() {
        let text = "Caf\u{e9}: the staff were wonderful. The bathroom was disgusting, but we loved the view.";
        let found = ask(
            text,
            &Wants { tags: true, sentiment: true, each: true, chunks: true, ..Wants::default() },
        );
        let sentences = found.sentences.unwrap();
        let labels: Vec<_> =
            sentences.iter().map(|s| s.sentiment.as_ref().map(|said| said.label)).collect();
        assert_eq!(labels[0], Some("positive"));
        assert_eq!(labels.len(), 2);
        let chunks = found.chunks.unwrap();
        let told: Vec<_> = chunks.iter().map(|c| (c.text.as_str(), c.sentiment.label)).collect();
        let expected = [
            ("the staff were wonderful", "positive"),
            ("The bathroom was disgusting", "negative"),
            ("but we loved the view", "positive"),
        ];
        assert_eq!(told, expected);
        for chunk in &chunks {
            let Place { bytes, chars } = &chunk.place;
            assert_eq!(chunk.text, text[bytes.clone()]);
            assert_eq!(text[..bytes.start].chars().count(), chars.start);
        }
        let json = serde_json::to_value(&chunks[0]).unwrap();
        assert_eq!((&json["label"], &json["chars"]["start"]), (&"positive".into(), &6.into()));
    }

    #[test]
    fn a_desk_keeps_languages_apart() {
        let text = "Die Kinder die vor Ort. Not a man; come on, per se. He has war, was bald.";
        let wants = Wants { tags: true, entities: true, ..Wants::default() };
        let mut desk = Desk::default();
        for _ in 0..2 {
            for language in Language::ALL {
                let wants = Wants { language: Some(language), ..wants };
                let told = |desk: &mut Desk| serde_json::to_string(&answer(text, &wants, desk));
                assert_eq!(told(&mut desk).unwrap(), told(&mut Desk::default()).unwrap());
            }
        }
    }

    #[test]
    fn names_are_found_in_all_languages() {
        use crate::entities::Kind::{Organisation, Person, Place};
        for (language, text, kind, name) in [
            (Language::En, "Angela Merkel met the president of France in Berlin.", Place, "Berlin"),
            (
                Language::De,
                "Angela Merkel traf gestern in Paris die Deutsche Bank.",
                Place,
                "Paris",
            ),
            (Language::Fr, "Victor Hugo est n\u{e9} \u{e0} Besan\u{e7}on.", Person, "Victor Hugo"),
            (
                Language::Es,
                "Gabriel Garc\u{ed}a M\u{e1}rquez naci\u{f3} en Colombia.",
                Place,
                "Colombia",
            ),
            (Language::It, "Alessandro Manzoni nacque a Milano nel 1785.", Place, "Milano"),
            (Language::Pt, "Fernando Pessoa nasceu em Lisboa.", Person, "Fernando Pessoa"),
            (Language::Ru, "Владимир Путин приехал в Москву.", Place, "Москву"),
            (Language::Pl, "Donald Tusk przyjechał do Brukseli.", Person, "Donald Tusk"),
            (Language::Zh, "李小龙出生在美国旧金山。", Person, "李小龙"),
            (Language::Ar, "وصل محمد مرسي إلى القاهرة يوم الثلاثاء.", Person, "محمد مرسي"),
            (
                Language::En,
                "She studied at the University of Oxford.",
                Organisation,
                "University of Oxford",
            ),
        ] {
            let wants = Wants { language: Some(language), entities: true, ..Wants::default() };
            let found = answer(text, &wants, &mut Desk::default()).entities.unwrap();
            let told = found.iter().find(|entity| entity.text == name).map(|entity| entity.kind);
            assert_eq!(told, Some(kind), "{language} {name}: {found:?}");
        }
    }

    #[test]
    fn what_is_not_asked_is_not_told() {
        let json = serde_json::to_value(ask("A fine day.", &Wants::default())).unwrap();
        assert_eq!(
            json.as_object().unwrap().keys().collect::<Vec<_>>(),
            ["confidence", "language"]
        );
        let tags = ask("A fine day.", &Wants { tags: true, ..Wants::default() });
        assert!(tags.sentences.unwrap()[0].sentiment.is_none());
    }

    #[test]
    fn rules_for_lemmas_hold_in_later_sentences() {
        let mut book = Book::default();
        let rule = Rule { kind: Kind::Lemma, text: "bug".into(), score: -1.0, language: None };
        book.add(rule).unwrap();
        book.commit();
        let rules: Vec<Matcher> =
            Language::ALL.into_iter().map(|language| Matcher::new(&book, language)).collect();
        let text = "It is a table. It has bugs.";
        let wants = Wants { tags: true, sentiment: true, each: true, ..Wants::default() };
        let second = |wants: &Wants<'_>| {
            let sentences = ask(text, wants).sentences.unwrap();
            sentences[1].sentiment.as_ref().map(|said| said.score).unwrap()
        };
        assert!(second(&Wants { rules: Some(&rules), ..wants }) < second(&wants) - 0.2);
    }
}
