//! Topics: what a text says of things that someone asks about, each told by its words.
//!
//! ```
//! use strongroom_text::answer::{Desk, Wants, answer};
//! use strongroom_text::sentiment::rules::Kind;
//! use strongroom_text::topics::{Topic, Topics, Word};
//!
//! let word = |kind, text: &str| Word { kind, text: text.to_owned() };
//! let asked = [
//!     Topic { name: "food".into(), words: vec![word(Kind::Lemma, "breakfast"), word(Kind::Prefix, "dinner")] },
//!     Topic { name: "room".into(), words: vec![word(Kind::Lemma, "room"), word(Kind::Phrase, "air conditioning")] },
//! ];
//! let topics = Topics::of_all(&asked)?;
//! let wants = Wants { topics: Some(&topics), ..Wants::default() };
//! let text = "The breakfast was wonderful, but our rooms were dirty and loud.";
//! let found = answer(text, &wants, &mut Desk::default()).topics.unwrap_or_default();
//! assert_eq!((found[0].topic.as_str(), found[0].sentiment.label), ("food", "positive"));
//! assert_eq!((found[1].topic.as_str(), found[1].sentiment.label), ("room", "negative"));
//! assert_eq!(&text[found[1].occurrences[0].place.bytes.clone()], "rooms");
//! # Ok::<(), strongroom_text::topics::Error>(())
//! ```
//!
//! Words are those of rules ([`rules`]): a phrase, a word in all its forms, words that begin alike. What is
//! said of a topic is what is said near its words: in the clause in which they stand, that is between signs and words like "but";
//! where the clause has nothing for or against, as in "The battery, which I bought in May, is terrible", in the sentence. The same
//! serves for categories: what a text is about is which topics occur in it.
//!
//! # Failure
//! A list of topics is refused with what is wrong and in which topic. In texts nothing fails. What a pronoun says in the next sentence
//! is not seen, nor who is meant where two things stand in one clause: "better food than service" is the same for both.

use crate::Language;
use crate::answer::{Sentence, Sentiment, lemmas};
use crate::places::{Place, Places};
use crate::sentiment::near::each_match;
use crate::sentiment::rules::{self, Book, Kind, Matcher, Rule, Ruling};
use crate::sentiment::{self, analyser};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Topics that are asked about together at most.
pub const TOPICS_MAX: usize = 100;
/// Words of a topic at most.
pub const WORDS_MAX: usize = 200;
/// Bytes of a topic's name at most; those of a word are bounded by [`rules::TEXT_BYTES_MAX`].
pub const NAME_BYTES_MAX: usize = 256;
/// Places in a text at which a topic is looked at, at most, the first; more are counted.
pub const OCCURRENCES_MAX: usize = 1000;

/// Something that is asked about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Topic {
    /// What it is called.
    pub name: String,
    /// The words that speak of it.
    pub words: Vec<Word>,
}

/// A word of a topic.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Word {
    /// What it matches.
    pub kind: Kind,
    /// The phrase, lemma or prefix.
    pub text: String,
}

/// Why topics are refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There are too many.
    #[error("these are {count} topics; at most {TOPICS_MAX} are looked for together")]
    Topics {
        /// How many.
        count: usize,
    },
    /// A name is too long, or there is none.
    #[error("a topic's name has {bytes} bytes; it must have from 1 to {NAME_BYTES_MAX}")]
    Name {
        /// How long it is.
        bytes: usize,
    },
    /// A topic has too many words, or none.
    #[error("the topic {topic:?} has {count} words; it must have from 1 to {WORDS_MAX}")]
    Words {
        /// Its name.
        topic: String,
        /// How many.
        count: usize,
    },
    /// A word could never be found.
    #[error("the topic {topic:?} cannot be looked for")]
    Word {
        /// The name of the topic.
        topic: String,
        /// Why.
        #[source]
        why: rules::Error,
    },
}

/// Topics, ready to be looked for in texts of a language.
#[derive(Clone, Debug)]
pub struct Topics {
    language: Language,
    names: Vec<String>,
    matchers: Vec<Matcher>,
}

/// What a text says of a topic.
#[derive(Debug, Serialize)]
pub struct Toward {
    /// The topic's name.
    pub topic: String,
    /// What is said of it: the mean of what is said near its words.
    #[serde(flatten)]
    pub sentiment: Sentiment,
    /// How often it occurs.
    pub count: usize,
    /// Where, in order: at most [`OCCURRENCES_MAX`].
    pub occurrences: Vec<Occurrence>,
}

/// A place at which a topic occurs.
#[derive(Debug, Serialize)]
pub struct Occurrence {
    /// Where it stands.
    #[serde(flatten)]
    pub place: Place,
    /// What is said there.
    #[serde(flatten)]
    pub sentiment: Sentiment,
}

impl Topics {
    /// Of topics, for texts of a language.
    ///
    /// # Errors
    /// Where there are too many of something, or a word could never be found.
    pub fn new(topics: &[Topic], language: Language) -> Result<Topics, Error> {
        if topics.len() > TOPICS_MAX {
            return Err(Error::Topics { count: topics.len() });
        }
        let matchers = topics.iter().map(|topic| matcher(topic, language));
        let matchers = matchers.collect::<Result<_, _>>()?;
        let names = topics.iter().map(|topic| topic.name.clone()).collect();
        Ok(Topics { language, names, matchers })
    }

    /// The same for each language, by [`Language::index`].
    ///
    /// # Errors
    /// As [`Topics::new`].
    pub fn of_all(topics: &[Topic]) -> Result<Vec<Topics>, Error> {
        Language::ALL.into_iter().map(|language| Topics::new(topics, language)).collect()
    }
}

fn matcher(topic: &Topic, language: Language) -> Result<Matcher, Error> {
    if !(1..=NAME_BYTES_MAX).contains(&topic.name.len()) {
        return Err(Error::Name { bytes: topic.name.len() });
    }
    if !(1..=WORDS_MAX).contains(&topic.words.len()) {
        return Err(Error::Words { topic: topic.name.clone(), count: topic.words.len() });
    }
    let mut book = Book::default();
    for Word { kind, text } in &topic.words {
        // Where a word stands is all that is asked; what it means is not.
        let rule = Rule { kind: *kind, text: text.clone(), score: 0.0, language: None };
        book.add(rule).map_err(|why| Error::Word { topic: topic.name.clone(), why })?;
    }
    book.commit();
    Ok(Matcher::new(&book, language))
}

/// What a text says of topics, in their order; those that do not occur are left out. `sentences` are those of the
/// text, with lemmas; `rules` an account's, which bear on what is said.
pub fn toward(
    text: &str,
    topics: &Topics,
    sentences: &[Sentence<'_>],
    rules: Option<&Ruling<'_>>,
    scratch: &mut sentiment::Scratch,
) -> Vec<Toward> {
    let mut found: Vec<(usize, Vec<Range<usize>>)> = vec![(0, Vec::new()); topics.names.len()];
    each_match(text, topics.language, &topics.matchers, &lemmas(sentences), |topic, range| {
        let (count, ranges) = &mut found[topic];
        *count += 1;
        if ranges.len() < OCCURRENCES_MAX {
            ranges.push(range);
        }
    });
    if found.iter().all(|(count, _)| *count == 0) {
        return Vec::new();
    }
    let spans = sentences.iter().map(|sentence| sentence.bytes.clone());
    let opinions = analyser(topics.language).opinions(text, spans, rules, scratch);
    let places = Places::new(text);
    let occurrence = |range: Range<usize>| Occurrence {
        sentiment: opinions.near(&range).into(),
        place: places.place(range),
    };
    let occurring = topics.names.iter().zip(found).filter(|(_, (count, _))| *count > 0);
    let toward = occurring.map(|(name, (count, ranges))| Toward {
        topic: name.clone(),
        sentiment: opinions.mean(&ranges).into(),
        count,
        occurrences: ranges.into_iter().map(occurrence).collect(),
    });
    toward.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{Desk, Wants, answer};
    use proptest::prelude::*;

    fn topic(name: &str, words: &[(Kind, &str)]) -> Topic {
        let word = |(kind, text): &(Kind, &str)| Word { kind: *kind, text: (*text).to_owned() };
        Topic { name: name.to_owned(), words: words.iter().map(word).collect() }
    }

    fn found(text: &str, language: Language, topics: &[Topic]) -> Vec<Toward> {
        let topics = Topics::of_all(topics).unwrap();
        let wants = Wants { language: Some(language), topics: Some(&topics), ..Wants::default() };
        let found = answer(text, &wants, &mut Desk::default()).topics.unwrap();
        for toward in &found {
            assert!(
                toward.count >= 1 && toward.occurrences.len() == toward.count.min(OCCURRENCES_MAX)
            );
            for occurrence in &toward.occurrences {
                let Place { bytes, chars } = &occurrence.place;
                assert_eq!(text[..bytes.start].chars().count(), chars.start);
                assert_eq!(text[bytes.clone()].chars().count(), chars.len());
            }
        }
        found
    }

    #[test]
    fn what_is_said_of_each_thing_is_told_apart() {
        use Kind::Lemma;
        use Language::*;
        let rows = [
            (En, "Great screen, terrible battery.", "screen", "battery"),
            (En, "I love the screens but the battery is awful", "screen", "battery"),
            (
                De,
                "Das Essen war wunderbar, aber das Personal war unfreundlich.",
                "Essen",
                "Personal",
            ),
            (
                Fr,
                "La chambre est magnifique, mais le personnel est désagréable.",
                "chambre",
                "personnel",
            ),
            (Es, "La comida es maravillosa, pero el servicio es horrible.", "comida", "servicio"),
            (It, "La camera è bellissima ma il servizio è pessimo.", "camera", "servizio"),
            (Ru, "Еда отличная, но персонал ужасный.", "еда", "персонал"),
            (Pl, "Jedzenie wspaniałe, ale obsługa okropna.", "jedzenie", "obsługa"),
            (Pt, "A comida é maravilhosa, mas o serviço é péssimo.", "comida", "serviço"),
        ];
        for (language, text, praised, blamed) in rows {
            let topics = [topic("for", &[(Lemma, praised)]), topic("against", &[(Lemma, blamed)])];
            let told: Vec<_> = found(text, language, &topics)
                .into_iter()
                .map(|toward| (toward.topic, toward.sentiment.label))
                .collect();
            let expected = [("for".to_owned(), "positive"), ("against".to_owned(), "negative")];
            assert_eq!(told, expected, "{text}");
        }
    }

    #[test]
    fn a_clause_that_says_nothing_is_judged_with_its_sentence() {
        let text = "The battery, which I bought in May, is terrible. It rained.";
        let told = found(text, Language::En, &[topic("b", &[(Kind::Lemma, "battery")])]);
        assert_eq!(told[0].sentiment.label, "negative");
    }

    #[test]
    fn words_are_found_in_their_forms_and_topics_may_share_them() {
        let topics = [
            topic("one", &[(Kind::Lemma, "mouse"), (Kind::Phrase, "battery life")]),
            topic("two", &[(Kind::Prefix, "batter")]),
            topic("three", &[(Kind::Lemma, "cat")]),
        ];
        let text = "Mice. The battery life, the batteries";
        let told: Vec<_> = found(text, Language::En, &topics)
            .iter()
            .map(|t| {
                let places = t.occurrences.iter().map(|o| text[o.place.bytes.clone()].to_owned());
                (t.topic.clone(), places.collect::<Vec<_>>().join("|"))
            })
            .collect();
        let expected = [("one", "Mice|battery life"), ("two", "battery|batteries")];
        assert_eq!(told, expected.map(|(name, places)| (name.to_owned(), places.to_owned())));
    }

    #[test]
    fn what_could_not_be_looked_for_is_refused() {
        let refused = |topics: &[Topic], expected: &str| {
            let error = Topics::new(topics, Language::En).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        };
        refused(&[topic("t", &[])], "\"t\" has 0 words");
        refused(&[topic("", &[(Kind::Lemma, "a")])], "0 bytes");
        refused(&[topic("t", &[(Kind::Lemma, "a b")])], "\"t\" cannot be looked for");
        refused(&vec![topic("t", &[(Kind::Lemma, "a")]); TOPICS_MAX + 1], "101 topics");
        refused(&[topic("t", &[(Kind::Lemma, "a"); WORDS_MAX + 1])], "201 words");
    }

    #[test]
    fn a_flood_is_counted_and_not_told() {
        let told =
            found(&"good cat ".repeat(2000), Language::En, &[topic("c", &[(Kind::Lemma, "cat")])]);
        assert_eq!((told[0].count, told[0].occurrences.len()), (2000, OCCURRENCES_MAX));
    }

    #[test]
    fn the_answer_as_json() {
        let topics = [topic("c", &[(Kind::Lemma, "cat")])];
        let json = serde_json::to_value(found("A cat", Language::En, &topics)).unwrap();
        assert_eq!(json[0]["topic"], "c");
        assert_eq!(json[0]["occurrences"][0]["bytes"]["start"], 2);
        assert!(json[0]["score"].is_number() && json[0]["occurrences"][0]["label"].is_string());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_text_has_an_answer(text in "(cat|bad |好|\\PC|[ .,'كé\u{301}]){0,60}", at in 0usize..10) {
            found(&text, Language::ALL[at], &[topic("c", &[(Kind::Lemma, "cat"), (Kind::Phrase, "好"), (Kind::Prefix, "ba")])]);
        }
    }
}
