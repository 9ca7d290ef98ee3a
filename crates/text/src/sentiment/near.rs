//! What a text says near some place in it: in the clause in which it stands or, where that says nothing for or
//! against, in the sentence.

use super::explain::{clauses, parts, range_of};
use super::rules::{Lemma, Matcher, Ruling};
use super::scan::Scanned;
use super::tables::LABELS;
use super::{Analyser, Scratch, Sentiment, passages, sentiment};
use crate::Language;
use std::collections::BTreeSet;
use std::ops::Range;

/// A part of a text with what it says.
#[derive(Clone, Debug)]
struct Opinion {
    range: Range<usize>,
    shares: [f32; LABELS],
}

/// What the parts of a text say.
#[derive(Clone, Debug)]
pub(crate) struct Opinions {
    /// The clauses with a word for or against, in order.
    clauses: Vec<Opinion>,
    /// The sentences, in order.
    sentences: Vec<Opinion>,
}

impl Analyser {
    /// What the clauses and sentences of a text say.
    pub(crate) fn opinions(
        &self,
        text: &str,
        sentences: impl Iterator<Item = Range<usize>>,
        rules: Option<&Ruling>,
        scratch: &mut Scratch,
    ) -> Opinions {
        let mut found = Vec::new();
        let mut clause = Scanned::default();
        for passage in passages(text) {
            let scanned = self.scan(text, &passage, scratch);
            for tokens in clauses(scanned, self.language) {
                scanned.part(tokens, &mut clause);
                if parts(rules, &clause).is_empty() {
                    continue;
                }
                if let Some(range) = range_of(&clause.tokens) {
                    found.push(Opinion { range, shares: self.shares(rules, &mut clause) });
                }
            }
        }
        let sentences = sentences.map(|range| Opinion {
            shares: self.shares_of(text, range.clone(), rules, scratch),
            range,
        });
        Opinions { clauses: found, sentences: sentences.collect() }
    }
}

impl Opinions {
    /// What is said near a place; nothing for or against where it stands in no sentence.
    pub(crate) fn near(&self, place: &Range<usize>) -> Sentiment {
        self.mean(std::slice::from_ref(place))
    }

    /// The mean of what is said near some places; what is said near several of them counts once.
    pub(crate) fn mean(&self, places: &[Range<usize>]) -> Sentiment {
        let parts: BTreeSet<(bool, usize)> = places.iter().filter_map(|p| self.part(p)).collect();
        let mut sums = [0.0; LABELS];
        for (clause, at) in &parts {
            let opinion = if *clause { &self.clauses[*at] } else { &self.sentences[*at] };
            sums.iter_mut().zip(opinion.shares).for_each(|(sum, share)| *sum += share);
        }
        match parts.len() {
            0 => sentiment([1.0 / LABELS as f32; LABELS]),
            count => sentiment(sums.map(|sum| sum / count as f32)),
        }
    }

    /// The part that speaks of a place: whether it is a clause, and its number.
    fn part(&self, place: &Range<usize>) -> Option<(bool, usize)> {
        let within = |all: &[Opinion]| {
            let at = all.partition_point(|part| part.range.end <= place.start);
            all.get(at).is_some_and(|part| part.range.start < place.end).then_some(at)
        };
        let clause = within(&self.clauses).map(|at| (true, at));
        clause.or_else(|| within(&self.sentences).map(|at| (false, at)))
    }
}

/// Tells `each` where the words of several matchers stand in a text: the number of the matcher and the place.
pub(crate) fn each_match(
    text: &str,
    language: Language,
    matchers: &[Matcher],
    lemmas: &[Lemma<'_>],
    mut each: impl FnMut(usize, Range<usize>),
) {
    let mut scanned = Scanned::default();
    for passage in passages(text) {
        scanned.chars.clear();
        scanned.tokens.clear();
        scanned.split(&text[passage.clone()], passage.start, language);
        for (number, matcher) in matchers.iter().enumerate() {
            for found in (Ruling { matcher, lemmas }).find(&scanned) {
                if let Some(range) = range_of(&scanned.tokens[found.tokens]) {
                    each(number, range);
                }
            }
        }
    }
}
