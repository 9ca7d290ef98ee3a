//! Training of segmenters on treebanks.

use super::several::{Around, Counts, Several, lower};
use super::{Chunk, Piece, Scan, Scratch, Segmenter, SoFar, breaks, near};
use crate::binary::{Examples, Options};
use crate::conllu::{self, Sentence};
use crate::hash::{self, HashedMap};
use crate::table::Table;
use crate::{Language, Upos};
use std::collections::{BTreeMap, BTreeSet};

/// A treebank to learn from.
#[derive(Clone, Debug)]
pub struct Treebank {
    /// Its sentences.
    pub sentences: Vec<Sentence>,
    /// Whether its sentences end as those of running text do.
    pub breaks: bool,
}

/// Trains a segmenter.
pub fn train(
    language: Language,
    treebanks: &[Treebank],
    lists: &[Vec<(String, Upos)>],
    seed: u64,
) -> Segmenter {
    let empty = || Table::build(&[]);
    let mut segmenter = Segmenter {
        language,
        known: known(treebanks, lists),
        gaps: empty(),
        breaks: empty(),
        several: Several::nothing(),
    };
    let options = Options { seed, perceptrons: 3, epochs: 8, count_min: 2, margin: 8 };
    let texts: Vec<Raw> = treebanks.iter().map(Raw::new).collect();
    segmenter.gaps = gaps(&segmenter, &texts).learn(&options);
    learn_several(&mut segmenter, treebanks, &options);
    let mut examples = Examples::default();
    for text in texts.iter().filter(|text| text.breaks) {
        sentence_ends(&segmenter, text, &mut examples);
    }
    segmenter.breaks = examples.learn(&options);
    segmenter
}

/// The raw text of a treebank, with where tokens and sentences end in it.
struct Raw {
    text: String,
    tokens: BTreeSet<usize>,
    sentences: BTreeSet<usize>,
    breaks: bool,
}

impl Raw {
    fn new(treebank: &Treebank) -> Raw {
        let (text, spans) = conllu::raw_text(&treebank.sentences);
        let tokens = spans.iter().flat_map(|s| s.tokens.iter().map(|t| t.end)).collect();
        let sentences = spans.iter().filter_map(|s| s.tokens.last().map(|t| t.end)).collect();
        Raw { text, tokens, sentences, breaks: treebank.breaks }
    }
}

/// Words with their most frequent tags.
fn known(treebanks: &[Treebank], lists: &[Vec<(String, Upos)>]) -> Table<1> {
    let mut counts: BTreeMap<String, [u32; Upos::COUNT]> = BTreeMap::new();
    for word in treebanks.iter().flat_map(|t| &t.sentences).flat_map(Sentence::words) {
        counts.entry(lower(&word.form)).or_default()[word.upos as usize] += 1;
    }
    for (word, tag) in lists.iter().flatten() {
        counts.entry(lower(word)).or_default()[*tag as usize] += 1;
    }
    let mut rows: HashedMap<u8> = HashedMap::default();
    for (word, counts) in &counts {
        let best = (0..Upos::COUNT).rev().max_by_key(|tag| counts[*tag]).unwrap_or_default();
        rows.insert(hash::bytes(word.as_bytes()), best as u8 + 1);
    }
    let mut rows: Vec<_> = rows.into_iter().map(|(key, tag)| (key, [tag])).collect();
    rows.sort_unstable();
    Table::build(&rows)
}

fn gaps(segmenter: &Segmenter, texts: &[Raw]) -> Examples {
    let mut examples = Examples::default();
    for Raw { text, tokens, .. } in texts {
        let mut scan = Scan::new(text, segmenter.language == Language::Ar);
        let mut atoms = Vec::new();
        while scan.next(&mut atoms).is_some() {
            let chunk = Chunk::new(&atoms, scan.peek(), segmenter.detail());
            let mut start = 0;
            for at in 0..atoms.len().saturating_sub(1) {
                let ends = tokens.contains(&atoms[at].bytes.end);
                let word = |range| segmenter.known_atoms(text, &atoms, range);
                examples.add(ends, |out| chunk.gap(at, start, word, |feature| out.push(feature)));
                if ends {
                    start = at + 1;
                }
            }
        }
    }
    examples
}

/// Endings by which new tokens are split come from at least this many different tokens.
const TYPES_MIN: usize = 3;

fn learn_several(segmenter: &mut Segmenter, treebanks: &[Treebank], options: &Options) {
    let mut counts = Counts::default();
    let tokens = || treebanks.iter().flat_map(|t| &t.sentences).flat_map(|s| &s.tokens);
    for token in tokens() {
        let words: Vec<_> = token.words.iter().map(|word| lower(&word.form)).collect();
        counts.add(&lower(&token.form), &words);
    }
    let mut several = counts.build(TYPES_MIN);
    let mut examples = Examples::default();
    let mut seen = BTreeSet::new();
    for sentence in treebanks.iter().flat_map(|t| &t.sentences) {
        let forms: Vec<_> = sentence.tokens.iter().map(|token| lower(&token.form)).collect();
        for (at, token) in sentence.tokens.iter().enumerate() {
            let near = |at: Option<usize>| at.and_then(|at| forms.get(at)).map_or("", String::as_str);
            let around = Around { before: near(at.checked_sub(1)), token: &forms[at], after: near(Some(at + 1)) };
            let yes = token.words.len() > 1;
            // A token that is known one way teaches how new tokens with its ending are split, but once.
            let asked = match several.of(&forms[at]) {
                super::Answer::Ask(number) => Some(number),
                _ if !seen.insert((forms[at].clone(), yes)) => None,
                _ => match several.by_ending(&forms[at]) {
                    Some(super::Answer::Ask(number)) => Some(number),
                    _ => None,
                },
            };
            if let Some(number) = asked {
                let known = |word: &str| segmenter.known(word);
                examples.add(yes, |out| several.features(number, &around, known, |f| out.push(f)));
            }
        }
    }
    several.set_weights(examples.learn(options));
    segmenter.several = several;
}

/// Adds an example for each gap between tokens of a line.
fn sentence_ends(segmenter: &Segmenter, raw: &Raw, examples: &mut Examples) {
    let mut scratch = Scratch::default();
    let mut walk = segmenter.walk(&raw.text, &mut scratch);
    walk.fill(usize::MAX);
    let pieces: Vec<Piece> = std::mem::take(&mut walk.scratch.pieces);
    let mut so_far = SoFar::default();
    for (at, piece) in pieces.iter().enumerate() {
        so_far.add(&piece.glimpse);
        let Some(next) = pieces.get(at + 1) else { break };
        let ends = next.line || raw.sentences.contains(&piece.bytes.end);
        if !next.line && !next.joined {
            let near = near(&pieces, at + 1);
            examples.add(ends, |out| {
                for (role, glimpse) in (0..).zip(&near) {
                    glimpse.alone(role, |feature| out.push(feature));
                }
                breaks::of_gap(&near, next.space, &so_far, |feature| out.push(feature));
            });
        }
        if ends {
            so_far = SoFar::default();
        }
    }
}
