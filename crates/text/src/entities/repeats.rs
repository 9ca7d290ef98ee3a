//! Names that a text has several times.
//!
//! A name that is clear in one place helps where it is not: it has the same kind there, and is found where a proper noun of
//! that form was passed over. The last word of a person's name does so alone.

use super::{ENTITIES_MAX, Found, Kind, Span};
use crate::Upos;
use crate::analysis::Analysis;
use crate::hash::{self, HashedMap};

/// How much of its lead a name lends to a proper noun that was passed over, in percent.
const LENT_PERCENT: i32 = 50;

/// How clear a form is as a name of each kind: the sum of the leads of its names.
type Clear = [i64; Kind::ALL.len()];

/// Makes the names of a text agree. They are in order, before and after.
pub(super) fn agree(text: &str, analysis: &Analysis, found: &mut Vec<Found>) {
    let mut clear: HashedMap<Clear> = HashedMap::default();
    for Found { span: Span { words, kind }, lead } in found.iter() {
        let mut add = |key: u64| clear.entry(key).or_default()[*kind as usize] += i64::from(*lead);
        add(key(text, analysis, words.clone()));
        if *kind == Kind::Person && words.len() > 1 {
            add(key(text, analysis, words.end - 1..words.end));
        }
    }
    for Found { span: Span { words, kind }, lead } in found.iter_mut() {
        let Some(clear) = clear.get(&key(text, analysis, words.clone())) else { continue };
        let most = most(clear);
        if clear[most as usize] > clear[*kind as usize] {
            *kind = most;
            *lead = (*lead).max(lent(clear[most as usize]));
        }
    }
    let mut passed_over = Vec::new();
    let mut names = found.iter().map(|found| found.span.words.clone()).peekable();
    for (at, word) in analysis.words().iter().enumerate() {
        while names.next_if(|words| words.end <= at).is_some() {}
        let within = names.peek().is_some_and(|words| words.contains(&at));
        if within || word.upos != Upos::Propn || found.len() + passed_over.len() >= ENTITIES_MAX {
            continue;
        }
        if let Some(clear) = clear.get(&key(text, analysis, at..at + 1)) {
            let kind = most(clear);
            let lead = lent(clear[kind as usize]);
            passed_over.push(Found { span: Span { words: at..at + 1, kind }, lead });
        }
    }
    found.extend(passed_over);
    found.sort_by_key(|found| found.span.words.start);
}

fn lent(clear: i64) -> i32 {
    (clear * i64::from(LENT_PERCENT) / 100).min(i64::from(i32::MAX)) as i32
}

/// The kind that is clearest.
fn most(clear: &Clear) -> Kind {
    Kind::ALL.into_iter().rev().max_by_key(|kind| clear[*kind as usize]).unwrap_or(Kind::Other)
}

/// The forms of words that follow each other, as a hash.
fn key(text: &str, analysis: &Analysis, words: std::ops::Range<usize>) -> u64 {
    let words = analysis.words()[words].iter();
    words.fold(0, |key, word| hash::join(key, hash::bytes(analysis.form(word, text).as_bytes())))
}
