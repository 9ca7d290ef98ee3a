//! Rules of an account: what a phrase, a word in all its forms, or words that begin alike mean to it.
//!
//! ```
//! use strongroom_text::Language;
//! use strongroom_text::sentiment::rules::{Book, Kind, Matcher, Rule, Ruling};
//! use strongroom_text::sentiment::{Scratch, analyser};
//!
//! let mut book = Book::default();
//! book.add(Rule { kind: Kind::Phrase, text: "killer feature".into(), score: 0.9, language: None })?;
//! book.commit();
//! let matcher = Matcher::new(&book, Language::En);
//! let ruling = Ruling { matcher: &matcher, lemmas: &[] };
//! let found = analyser(Language::En).judge("It has a killer feature.", Some(&ruling), &mut Scratch::default());
//! assert!(found.score > 0.5);
//! # Ok::<(), strongroom_text::sentiment::rules::Error>(())
//! ```
//!
//! A [`Book`] is a plain value: changes wait in it until they are committed, all at once. As JSON it is the one file that
//! is kept and sent to other nodes; of two versions the one with the higher revision holds.

use super::scan::{Scanned, Token, hash, join};
use crate::Language;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;

/// Rules of a book at most, and changes that wait.
pub const RULES_MAX: usize = 20_000;
/// Bytes of a rule's text at most.
pub const TEXT_BYTES_MAX: usize = 256;
/// Words of a phrase at most.
pub const PHRASE_WORDS_MAX: usize = 12;
/// Characters of a prefix at least: a shorter one would match nearly anything.
pub const PREFIX_CHARS_MIN: usize = 2;
/// Bytes of a book as JSON at most.
pub const BOOK_BYTES_MAX: usize = 16 << 20;
/// The version of the JSON that is written, and the newest that is read.
const VERSION: u32 = 1;

/// What a rule matches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// These words, one after the other, whatever their case.
    Phrase,
    /// A word in all its forms, where lemmas are given; else in this one.
    Lemma,
    /// Words that begin so.
    Prefix,
}

/// A rule.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Rule {
    /// What it matches.
    pub kind: Kind,
    /// The phrase, lemma or prefix.
    pub text: String,
    /// What it means, from -1 to 1; with 0 what is matched says nothing.
    pub score: f32,
    /// The language whose texts it is for; all where it is not given.
    #[serde(default, with = "code", skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
}

/// Languages by their codes.
mod code {
    use crate::Language;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(
        language: &Option<Language>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_some(&language.map(Language::code))
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(
        from: D,
    ) -> Result<Option<Language>, D::Error> {
        let code = Option::<String>::deserialize(from)?;
        let parse = |code: String| {
            Language::parse(&code)
                .ok_or_else(|| D::Error::custom(format!("unknown language {code}")))
        };
        code.map(parse).transpose()
    }
}

/// Why a rule or a book is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is too long.
    #[error("a rule's text has {bytes} bytes; at most {TEXT_BYTES_MAX} are allowed")]
    TextLength {
        /// How long it is.
        bytes: usize,
    },
    /// The text holds nothing that could be matched, or not what the kind asks for.
    #[error("the text {text:?} cannot be matched: {why}")]
    Text {
        /// The text.
        text: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The score is out of bounds.
    #[error("a rule's score is {score}; it must be from -1 to 1")]
    Score {
        /// The score.
        score: f32,
    },
    /// There are as many rules as there may be.
    #[error("the book is full: it holds {RULES_MAX} rules, or as many changes wait")]
    Full,
    /// No rule has this number.
    #[error("no rule has the number {id}")]
    Unknown {
        /// The number.
        id: u64,
    },
    /// The book is too long.
    #[error("the book has {bytes} bytes; at most {BOOK_BYTES_MAX} are read")]
    BookLength {
        /// How long it is.
        bytes: usize,
    },
    /// The book was written by a newer program.
    #[error("the book has version {found}; this program reads up to {VERSION}")]
    Newer {
        /// Its version.
        found: u32,
    },
    /// The book is no JSON of a book.
    #[error("the book cannot be read")]
    Json(#[source] serde_json::Error),
}

/// A change that waits.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// A rule with this number comes.
    Add(u64, Rule),
    /// The rule with this number goes.
    Delete(u64),
}

/// The rules of an account, and the changes that wait to be committed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Book {
    version: u32,
    /// How often changes were committed.
    revision: u64,
    /// The number of the next rule.
    next: u64,
    rules: BTreeMap<u64, Rule>,
    #[serde(default)]
    waiting: Vec<Change>,
}

impl Default for Book {
    fn default() -> Book {
        Book { version: VERSION, revision: 0, next: 1, rules: BTreeMap::new(), waiting: Vec::new() }
    }
}

impl Book {
    /// Adds a rule, which holds once it is committed, and gives its number.
    ///
    /// # Errors
    /// Where the rule could never match, or there are too many.
    pub fn add(&mut self, rule: Rule) -> Result<u64, Error> {
        check(&rule)?;
        let coming = self.waiting.iter().filter(|change| matches!(change, Change::Add(..))).count();
        if self.rules.len() + coming >= RULES_MAX || self.waiting.len() >= RULES_MAX {
            return Err(Error::Full);
        }
        let id = self.next;
        self.next = id.saturating_add(1);
        self.waiting.push(Change::Add(id, rule));
        Ok(id)
    }

    /// Deletes a rule, which holds until it is committed.
    ///
    /// # Errors
    /// Where there is no such rule, or too many changes wait.
    pub fn delete(&mut self, id: u64) -> Result<(), Error> {
        let coming = |change: &Change| matches!(change, Change::Add(added, _) if *added == id);
        let going = self.waiting.contains(&Change::Delete(id));
        if going || !self.rules.contains_key(&id) && !self.waiting.iter().any(coming) {
            return Err(Error::Unknown { id });
        }
        if self.waiting.len() >= RULES_MAX {
            return Err(Error::Full);
        }
        self.waiting.push(Change::Delete(id));
        Ok(())
    }

    /// The rules that hold, with their numbers, in order.
    pub fn list(&self) -> impl Iterator<Item = (u64, &Rule)> {
        self.rules.iter().map(|(id, rule)| (*id, rule))
    }

    /// The changes that wait, in order.
    pub fn waiting(&self) -> &[Change] {
        &self.waiting
    }

    /// How often changes were committed.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Makes all changes that wait, at once, and gives the new revision; without changes it stays as it is.
    pub fn commit(&mut self) -> u64 {
        if !self.waiting.is_empty() {
            self.revision = self.revision.saturating_add(1);
        }
        for change in self.waiting.drain(..) {
            match change {
                Change::Add(id, rule) => drop(self.rules.insert(id, rule)),
                Change::Delete(id) => drop(self.rules.remove(&id)),
            }
        }
        self.revision
    }

    /// Of two versions of a book, from two nodes, the one that holds: that of the higher revision; of two with the same
    /// one, either, but the same on every node.
    pub fn newer(self, other: Book) -> Book {
        let rank = |book: &Book| (book.revision, serde_json::to_string(book).unwrap_or_default());
        if rank(&other) > rank(&self) { other } else { self }
    }

    /// The book as JSON.
    ///
    /// # Errors
    /// None that is known; writing JSON could fail in principle.
    pub fn to_json(&self) -> Result<String, Error> {
        serde_json::to_string(self).map_err(Error::Json)
    }

    /// Reads a book.
    ///
    /// # Errors
    /// Where the bytes are no book, or one with rules that would be refused.
    pub fn from_json(bytes: &[u8]) -> Result<Book, Error> {
        if bytes.len() > BOOK_BYTES_MAX {
            return Err(Error::BookLength { bytes: bytes.len() });
        }
        let mut book: Book = serde_json::from_slice(bytes).map_err(Error::Json)?;
        if book.version > VERSION {
            return Err(Error::Newer { found: book.version });
        }
        if book.rules.len() > RULES_MAX || book.waiting.len() > RULES_MAX {
            return Err(Error::Full);
        }
        let waiting = book.waiting.iter().filter_map(|change| match change {
            Change::Add(id, rule) => Some((id, rule)),
            Change::Delete(_) => None,
        });
        let mut last = 0;
        for (id, rule) in book.rules.iter().chain(waiting) {
            check(rule)?;
            last = last.max(*id);
        }
        book.next = book.next.max(last.saturating_add(1));
        Ok(book)
    }
}

fn check(rule: &Rule) -> Result<(), Error> {
    if rule.text.len() > TEXT_BYTES_MAX {
        return Err(Error::TextLength { bytes: rule.text.len() });
    }
    if !(-1.0..=1.0).contains(&rule.score) {
        return Err(Error::Score { score: rule.score });
    }
    let refused = |why| Err(Error::Text { text: rule.text.clone(), why });
    let mut scanned = Scanned::default();
    let words = words(rule, rule.language.unwrap_or(Language::En), &mut scanned);
    match (rule.kind, words) {
        (_, []) => refused("it has no words or signs"),
        (Kind::Phrase, words) if words.len() > PHRASE_WORDS_MAX => refused("it has too many words"),
        (Kind::Lemma | Kind::Prefix, [_, _, ..]) => refused("it has more than one word"),
        (Kind::Prefix, [word]) if word.chars.len() < PREFIX_CHARS_MIN => refused("it is too short"),
        _ => Ok(()),
    }
}

/// The words of a rule's text, as those of a text are read.
fn words<'a>(rule: &Rule, language: Language, scanned: &'a mut Scanned) -> &'a [Token] {
    scanned.split(&rule.text, 0, language);
    // Names and addresses leave nothing to compare.
    scanned.tokens.retain(|token| !token.chars.is_empty());
    &scanned.tokens
}

/// The rules that hold for texts of a language, ready to be looked for.
///
/// How long it takes to look does not depend on how many rules there are.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    /// From a beginning of a phrase (0, or a number of this table) and the next word to the longer beginning.
    steps: Places,
    /// What beginnings mean that are whole phrases, by number.
    phrases: Vec<Option<f32>>,
    lemmas: Places,
    prefixes: Places,
    /// Lengths of prefixes in characters.
    prefix_chars: Range<usize>,
    /// Scores of lemmas and prefixes.
    scores: Vec<f32>,
}

/// The lemma of a word of the text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lemma<'a> {
    /// Where the word stands, in bytes.
    pub bytes: Range<usize>,
    /// Its lemma.
    pub lemma: &'a str,
}

/// Rules for a text, with the lemmas of its words as far as they are known.
#[derive(Clone, Copy, Debug)]
pub struct Ruling<'a> {
    /// The rules.
    pub matcher: &'a Matcher,
    /// Lemmas, in the order of the text; none where rules for lemmas are to match words as they are.
    pub lemmas: &'a [Lemma<'a>],
}

/// Where a rule matches.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Match {
    /// The tokens.
    pub(crate) tokens: Range<usize>,
    /// What they mean.
    pub(crate) score: f32,
}

impl Matcher {
    /// Of the rules that hold for texts of `language`. Of rules for the same thing the newest holds.
    pub fn new(book: &Book, language: Language) -> Matcher {
        let mut matcher = Matcher { phrases: vec![None], ..Matcher::default() };
        let mut scanned = Scanned::default();
        let (mut shortest, mut longest) = (usize::MAX, 0);
        for (_, rule) in book.list().filter(|(_, rule)| rule.language.is_none_or(|l| l == language))
        {
            scanned.chars.clear();
            scanned.tokens.clear();
            let words = words(rule, language, &mut scanned);
            let score = matcher.scores.len() as u32;
            match (rule.kind, words) {
                (_, []) => continue,
                (Kind::Phrase, words) => {
                    let mut at = 0;
                    for word in words {
                        let next = matcher.phrases.len() as u32;
                        at = *matcher.steps.entry(step(at, word.hash), next);
                        if at == next {
                            matcher.phrases.push(None);
                        }
                    }
                    matcher.phrases[at as usize] = Some(rule.score);
                    continue;
                }
                (Kind::Lemma, [word, ..]) => *matcher.lemmas.entry(word.hash, score) = score,
                (Kind::Prefix, [word, ..]) => {
                    shortest = shortest.min(word.chars.len());
                    longest = longest.max(word.chars.len());
                    *matcher.prefixes.entry(word.hash, score) = score;
                }
            }
            matcher.scores.push(rule.score);
        }
        matcher.prefix_chars = shortest.min(longest + 1)..longest + 1;
        matcher
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.scores.is_empty() && self.phrases.iter().all(Option::is_none)
    }
}

impl Ruling<'_> {
    /// Where rules match, from left to right, none over another. The longest phrase comes before a lemma, a lemma before
    /// the longest prefix.
    pub(crate) fn find(&self, scanned: &Scanned) -> Vec<Match> {
        let mut found = Vec::new();
        if self.matcher.is_empty() {
            return found;
        }
        let mut at = 0;
        let first = scanned.tokens.first().map_or(0, |token| token.bytes.start);
        let mut lemmas =
            &self.lemmas[self.lemmas.partition_point(|lemma| lemma.bytes.start < first)..];
        while at < scanned.tokens.len() {
            let start = scanned.tokens[at].bytes.start;
            while lemmas.first().is_some_and(|lemma| lemma.bytes.start < start) {
                lemmas = &lemmas[1..];
            }
            let lemma = lemmas.first().filter(|lemma| lemma.bytes.start == start);
            match self.matcher.longest(scanned, at, lemma) {
                Some((length, score)) => {
                    found.push(Match { tokens: at..at + length, score });
                    at += length;
                }
                None => at += 1,
            }
        }
        found
    }
}

impl Matcher {
    /// How many tokens match from token `at`, and what they mean.
    fn longest(
        &self,
        scanned: &Scanned,
        at: usize,
        lemma: Option<&Lemma<'_>>,
    ) -> Option<(usize, f32)> {
        let mut phrase = None;
        let mut node = 0;
        for (length, token) in scanned.tokens[at..].iter().enumerate().take(PHRASE_WORDS_MAX) {
            let Some(next) = self.steps.get(step(node, token.hash)) else { break };
            node = next;
            if let Some(score) = self.phrases[node as usize] {
                phrase = Some((length + 1, score));
            }
        }
        if phrase.is_some() || self.scores.is_empty() {
            return phrase;
        }
        let word = &scanned.chars[scanned.tokens[at].chars.clone()];
        let of_lemma = || match lemma {
            None => self.lemmas.get(hash(word)),
            Some(lemma) => {
                let mut scanned = Scanned::default();
                scanned.split(lemma.lemma, 0, Language::En);
                scanned.tokens.first().and_then(|token| self.lemmas.get(token.hash))
            }
        };
        let of_prefix = || {
            let lengths = self.prefix_chars.start..self.prefix_chars.end.min(word.len() + 1);
            lengths.rev().find_map(|length| self.prefixes.get(hash(&word[..length])))
        };
        let score = of_lemma().or_else(of_prefix)?;
        Some((1, self.scores[score as usize]))
    }
}

/// The key of a step from a beginning of a phrase by a word.
fn step(from: u32, word: u64) -> u64 {
    join(word, u64::from(from) + 1)
}

/// Numbers by hash: open addressing, half of the places empty at least.
#[derive(Clone, Debug, Default)]
struct Places {
    /// Key and number; the key 0 where a place is empty.
    places: Vec<(u64, u32)>,
    taken: usize,
}

impl Places {
    fn place(&self, key: u64) -> usize {
        let mask = self.places.len() - 1;
        let mut place = (key >> 20) as usize & mask;
        while self.places[place].0 != 0 && self.places[place].0 != key {
            place = (place + 1) & mask;
        }
        place
    }

    fn get(&self, key: u64) -> Option<u32> {
        if self.places.is_empty() {
            return None;
        }
        let (found, number) = self.places[self.place(key.max(1))];
        (found != 0).then_some(number)
    }

    /// The number of a key, which is `number` where it had none.
    fn entry(&mut self, key: u64, number: u32) -> &mut u32 {
        if self.places.len() <= 2 * (self.taken + 1) {
            let more = vec![(0, 0); (4 * (self.taken + 1)).next_power_of_two()];
            for (key, number) in std::mem::replace(&mut self.places, more) {
                if key != 0 {
                    let place = self.place(key);
                    self.places[place] = (key, number);
                }
            }
        }
        let place = self.place(key.max(1));
        if self.places[place].0 == 0 {
            self.places[place] = (key.max(1), number);
            self.taken += 1;
        }
        &mut self.places[place].1
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Label, Scratch, analyser};
    use super::*;

    fn rule(kind: Kind, text: &str, score: f32) -> Rule {
        Rule { kind, text: text.to_owned(), score, language: None }
    }

    fn book(rules: &[Rule]) -> Book {
        let mut book = Book::default();
        for rule in rules {
            book.add(rule.clone()).unwrap();
        }
        book.commit();
        book
    }

    fn found(book: &Book, text: &str, lemmas: &[Lemma]) -> Vec<(String, f32)> {
        let matcher = Matcher::new(book, Language::En);
        let mut scanned = Scanned::default();
        scanned.split(text, 0, Language::En);
        let matches = Ruling { matcher: &matcher, lemmas }.find(&scanned).into_iter();
        let text = |m: &Match| {
            let tokens = &scanned.tokens[m.tokens.clone()];
            text[tokens[0].bytes.start..tokens[tokens.len() - 1].bytes.end].to_owned()
        };
        matches.map(|m| (text(&m), m.score)).collect()
    }

    #[test]
    fn phrases_come_before_lemmas_and_lemmas_before_prefixes() {
        let book = book(&[
            rule(Kind::Phrase, "Killer Feature", 0.9),
            rule(Kind::Phrase, "killer feature set", 0.7),
            rule(Kind::Lemma, "bug", -0.5),
            rule(Kind::Prefix, "kill", -0.8),
            rule(Kind::Prefix, "ki", -0.1),
        ]);
        let lemmas = [Lemma { bytes: 38..42, lemma: "bug" }];
        let text = "A KILLER feature, killers, kin; and a bugs killer feature set";
        let expected = [
            ("KILLER feature", 0.9),
            ("killers", -0.8),
            ("kin", -0.1),
            ("bugs", -0.5),
            ("killer feature set", 0.7),
        ];
        let expected = expected.map(|(text, score)| (text.to_owned(), score));
        assert_eq!(found(&book, text, &lemmas), expected);
        assert_eq!(found(&book, "bugs bug", &[]), [("bug".to_owned(), -0.5)]);
    }

    #[test]
    fn a_rule_replaces_the_opinion_of_the_model() {
        let judge = |book: &Book, text| {
            let matcher = Matcher::new(book, Language::En);
            let ruling = Ruling { matcher: &matcher, lemmas: &[] };
            analyser(Language::En).judge(text, Some(&ruling), &mut Scratch::default())
        };
        let text = "This phone has a sick display";
        let (without, with) = (book(&[]), book(&[rule(Kind::Phrase, "sick display", 1.0)]));
        assert!(judge(&without, text).score < judge(&with, text).score - 0.3);
        assert_eq!(judge(&with, text).label, Label::Positive);
        assert!(
            judge(&with, "This phone has not a sick display").score
                < judge(&with, text).score - 0.5
        );
        let silent = book(&[rule(Kind::Lemma, "terrible", 0.0)]);
        assert!(
            judge(&silent, "terrible").score.abs() < judge(&without, "terrible").score.abs() / 2.0
        );
    }

    #[test]
    fn changes_hold_together_once_they_are_committed() {
        let mut book = book(&[rule(Kind::Lemma, "good", 0.5)]);
        let (first, _) = book.list().next().map(|(id, rule)| (id, rule.clone())).unwrap();
        let added = book.add(rule(Kind::Lemma, "bad", -0.5)).unwrap();
        book.delete(first).unwrap();
        assert!(matches!(book.delete(first), Err(Error::Unknown { .. })), "deleted twice");
        assert_eq!((book.list().count(), book.waiting().len(), book.revision()), (1, 2, 1));
        assert_eq!(found(&book, "good bad", &[]), [("good".to_owned(), 0.5)]);
        assert_eq!(book.commit(), 2);
        assert_eq!(book.list().map(|(id, _)| id).collect::<Vec<_>>(), [added]);
        assert_eq!(found(&book, "good bad", &[]), [("bad".to_owned(), -0.5)]);
        assert_eq!(book.commit(), 2, "nothing to commit");
    }

    #[test]
    fn a_book_is_one_file_and_the_newer_one_holds() {
        let mut one =
            book(&[Rule { language: Some(Language::De), ..rule(Kind::Phrase, "sehr gut", 1.0) }]);
        one.add(rule(Kind::Prefix, "gut", 0.1)).unwrap();
        let json = one.to_json().unwrap();
        assert_eq!(Book::from_json(json.as_bytes()).unwrap(), one);
        assert!(
            Matcher::new(&one, Language::En).is_empty()
                && !Matcher::new(&one, Language::De).is_empty()
        );
        let mut two = one.clone();
        two.commit();
        assert_eq!(one.clone().newer(two.clone()), two);
        assert_eq!(two.clone().newer(one.clone()), two);
        let mut other = one.clone();
        other.add(rule(Kind::Prefix, "schlecht", -0.1)).unwrap();
        assert_eq!(one.clone().newer(other.clone()), other.newer(one));
    }

    #[test]
    fn what_could_never_match_is_refused() {
        let mut book = Book::default();
        let rows = [
            (rule(Kind::Phrase, "", 0.1), "no words"),
            (rule(Kind::Phrase, " \u{200b}", 0.1), "no words"),
            (rule(Kind::Phrase, "@name", 0.1), "no words"),
            (rule(Kind::Phrase, &"a b ".repeat(10), 0.1), "too many words"),
            (rule(Kind::Phrase, &"a".repeat(300), 0.1), "300 bytes"),
            (rule(Kind::Lemma, "two words", 0.1), "more than one word"),
            (rule(Kind::Prefix, "x", 0.1), "too short"),
            (rule(Kind::Lemma, "word", 1.5), "from -1 to 1"),
            (rule(Kind::Lemma, "word", f32::NAN), "from -1 to 1"),
        ];
        for (rule, expected) in rows {
            let error = book.add(rule).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let refused = |json: &str, expected: &str| {
            let error = Book::from_json(json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        refused("{}", "cannot be read");
        refused(r#"{"version":2,"revision":0,"next":1,"rules":{}}"#, "version 2");
        let bad = r#"{"version":1,"revision":0,"next":1,"rules":{"7":{"kind":"lemma","text":"a","score":9}}}"#;
        refused(bad, "score is 9");
    }

    #[test]
    fn a_full_book_takes_no_more() {
        let mut full = book(&[]);
        for i in 0..RULES_MAX {
            full.add(rule(
                Kind::Phrase,
                &format!("w{}y{}y{} phrase", i % 100, i / 100 % 100, i / 10_000),
                0.5,
            ))
            .unwrap();
        }
        assert!(matches!(full.add(rule(Kind::Lemma, "x", 0.1)), Err(Error::Full)));
        full.commit();
        assert!(matches!(full.add(rule(Kind::Lemma, "x", 0.1)), Err(Error::Full)));
        let matcher = Matcher::new(&full, Language::En);
        assert_eq!(matcher.phrases.iter().flatten().count(), RULES_MAX);
        let json = full.to_json().unwrap();
        assert_eq!(Book::from_json(json.as_bytes()).unwrap(), full);
    }
}
