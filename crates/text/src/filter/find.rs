//! Looking for many rules in a text at once.
//!
//! The text is gone through once: each word is looked up among those of all rules. Then each rule is decided by
//! where its words were found.

use super::words::{each_word, exact};
use super::{Error, Filter, Form, Node, RANGES_MAX, RULES_MAX, Word};
use crate::places::{Place, Places};
use crate::sentiment::rules::Lemma;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::Range;

/// Rules, ready to be looked for in texts.
#[derive(Clone, Debug, Default)]
pub struct Filters {
    /// The rules, with numbers for words.
    rules: Vec<Node<usize>>,
    /// The numbers of words, by form.
    numbers: [BTreeMap<Vec<char>, usize>; 4],
    /// How many words there are.
    count: usize,
    /// Lengths of prefixes in characters.
    prefixes: Vec<usize>,
}

/// What was found of a rule.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Found {
    /// Whether the rule matches the text.
    pub matched: bool,
    /// What made it match, in order: phrases, and for NEAR all from the first of its words to the last. At most
    /// [`RANGES_MAX`]; none where only NOT made it match.
    pub ranges: Vec<Place>,
    /// How many there are in all.
    pub count: usize,
}

/// A text, as far as the words of rules are found in it.
struct Seen {
    /// Where words stand, in bytes.
    places: Vec<Range<usize>>,
    /// By the number of a rule's word: the numbers of the text's words, in order.
    hits: Vec<Vec<usize>>,
}

/// Some words of a text, one after the other, by their numbers.
type Span = (usize, usize);

impl Filters {
    /// Of some rules; what is found of them comes in the same order.
    ///
    /// # Errors
    /// Where there are more than [`RULES_MAX`].
    pub fn new(rules: Vec<Filter>) -> Result<Filters, Error> {
        if rules.len() > RULES_MAX {
            return Err(Error::Rules { count: rules.len() });
        }
        let mut filters = Filters::default();
        for rule in &rules {
            let rule = rule.root.map(&mut |word| filters.number(word));
            filters.rules.push(rule);
        }
        filters.prefixes = filters.numbers[Form::Prefix as usize].keys().map(Vec::len).collect();
        filters.prefixes.sort_unstable();
        filters.prefixes.dedup();
        Ok(filters)
    }

    /// Whether a rule asks for lemmas.
    pub fn need_lemmas(&self) -> bool {
        !self.numbers[Form::Lemma as usize].is_empty()
    }

    /// What is found of each rule in a text. `lemmas` are those of the text's words, in order; none where they are
    /// not known.
    pub fn find(&self, text: &str, lemmas: &[Lemma<'_>]) -> Vec<Found> {
        let seen = self.see(text, lemmas);
        let places = Places::new(text);
        let found = |rule: &Node<usize>| {
            let mut spans = Vec::new();
            let matched = seen.matches(rule, &mut spans);
            spans.sort();
            spans.dedup();
            let place = |(from, to): &Span| {
                places.place(seen.places[*from].start..seen.places[*to - 1].end)
            };
            let ranges = spans.iter().take(RANGES_MAX).map(place).collect();
            Found { matched, ranges, count: spans.len() }
        };
        self.rules.iter().map(found).collect()
    }

    fn number(&mut self, word: &Word) -> usize {
        let next = self.count;
        let number = *self.numbers[word.form as usize].entry(word.chars.clone()).or_insert(next);
        self.count += usize::from(number == next);
        number
    }

    fn see(&self, text: &str, mut lemmas: &[Lemma<'_>]) -> Seen {
        let mut seen = Seen { places: Vec::new(), hits: vec![Vec::new(); self.count] };
        let of = |form: Form| &self.numbers[form as usize];
        each_word(text, |place, chars| {
            let number = seen.places.len();
            let mut hit = |word: Option<&usize>| {
                if let Some(word) = word {
                    seen.hits[*word].push(number);
                }
            };
            hit(of(Form::Any).get(chars));
            if !of(Form::Exact).is_empty() {
                let exact: Vec<char> = exact(&text[place.clone()]).chars().collect();
                hit(of(Form::Exact).get(&exact));
            }
            if self.need_lemmas() {
                let before = lemmas.iter().take_while(|lemma| lemma.bytes.start < place.start);
                lemmas = &lemmas[before.count()..];
                match lemmas.first().filter(|lemma| lemma.bytes.start == place.start) {
                    Some(lemma) => hit(of(Form::Lemma).get(&first_word(lemma.lemma))),
                    None => hit(of(Form::Lemma).get(chars)),
                }
            }
            for length in self.prefixes.iter().take_while(|length| **length <= chars.len()) {
                hit(of(Form::Prefix).get(&chars[..*length]));
            }
            seen.places.push(place);
        });
        seen
    }
}

fn first_word(text: &str) -> Vec<char> {
    let mut first = Vec::new();
    each_word(text, |_, chars| {
        if first.is_empty() {
            first = chars.to_vec();
        }
    });
    first
}

impl Seen {
    /// Whether a rule matches; where it does, what made it match comes to `spans`.
    fn matches(&self, node: &Node<usize>, spans: &mut Vec<Span>) -> bool {
        let before = spans.len();
        match node {
            Node::Term(_) | Node::Near(..) => {
                spans.extend(self.spans(node));
                spans.len() > before
            }
            Node::Not(node) => !self.matches(node, &mut Vec::new()),
            // All are looked at, so that all that matches is told.
            Node::Or(nodes) => nodes.iter().filter(|node| self.matches(node, spans)).count() > 0,
            Node::And(nodes) => {
                let matched = nodes.iter().all(|node| self.matches(node, spans));
                if !matched {
                    spans.truncate(before);
                }
                matched
            }
        }
    }

    /// Where a part of a rule is found, in order, nothing twice.
    fn spans(&self, node: &Node<usize>) -> Vec<Span> {
        match node {
            Node::Term(words) => self.phrase(words),
            Node::Or(nodes) => {
                let mut spans: Vec<Span> = nodes.iter().flat_map(|node| self.spans(node)).collect();
                spans.sort();
                spans.dedup();
                spans
            }
            Node::Near(a, most, b) => {
                let (a, b) = (self.spans(a), self.spans(b));
                let mut spans = Vec::new();
                join(&a, &b, *most, &mut spans);
                join(&b, &a, *most, &mut spans);
                shortest(spans)
            }
            // The parser lets neither into NEAR.
            Node::Not(_) | Node::And(_) => Vec::new(),
        }
    }

    fn phrase(&self, words: &[usize]) -> Vec<Span> {
        let Some((first, others)) = words.split_first() else { return Vec::new() };
        let follows = |from: &usize| {
            let mut others = others.iter().zip(from + 1..);
            others.all(|(word, at)| self.hits[*word].binary_search(&at).is_ok())
        };
        let starts = self.hits[*first].iter().copied().filter(follows);
        starts.map(|from| (from, from + words.len())).collect()
    }
}

/// Joins each of `first` with the nearest of `second` after it, and each of `second` with the nearest of `first` before
/// it, where at most so many words stand between.
fn join(first: &[Span], second: &[Span], most: usize, spans: &mut Vec<Span>) {
    let mut ends: Vec<Span> = first.iter().map(|(from, end)| (*end, *from)).collect();
    ends.sort();
    let mut after = 0;
    for (end, from) in &ends {
        while second.get(after).is_some_and(|(start, _)| start < end) {
            after += 1;
        }
        let nearest = second.get(after).filter(|(start, _)| start - end <= most);
        spans.extend(nearest.map(|(_, to)| (*from, *to)));
    }
    let mut before = 0;
    for (start, to) in second {
        while ends.get(before).is_some_and(|(end, _)| end <= start) {
            before += 1;
        }
        let nearest = before.checked_sub(1).map(|at| ends[at]);
        let nearest = nearest.filter(|(end, _)| start - end <= most);
        spans.extend(nearest.map(|(_, from)| (from, *to)));
    }
}

/// Of spans that begin or end alike the shortest, so that there are never more than twice as many as words. (The stable
/// sort is the faster one for what is nearly in order.)
fn shortest(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort();
    let mut kept = spans.clone();
    kept.dedup_by_key(|(from, _)| *from);
    spans.sort_by_key(|(from, to)| (*to, std::cmp::Reverse(*from)));
    spans.dedup_by_key(|(_, to)| *to);
    kept.extend(spans);
    kept.sort();
    kept.dedup();
    kept
}
