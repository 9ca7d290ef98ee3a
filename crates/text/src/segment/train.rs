//! Training of segmenters on treebanks.

use super::several::{Around, Counts, Several};
use super::{Chunk, Piece, Scan, Scratch, Segmenter, SoFar, breaks, bytes_of, gaps, near};
use crate::binary::{Examples, Options};
use crate::conllu::{self, Sentence};
use crate::hash::{self, HashedMap};
use crate::table::Table;
use crate::word::lower;
use crate::{Language, Upos};
use std::collections::BTreeSet;

/// A treebank to learn from.
#[derive(Clone, Debug)]
pub struct Treebank {
    /// Its sentences.
    pub sentences: Vec<Sentence>,
    /// Whether it tells which tokens are written together.
    pub raw: bool,
    /// Whether its sentences end as those of running text do.
    pub breaks: bool,
    /// A number for a treebank that is tagged by rules of its own; 0 for one whose rules are those of the model.
    pub rules: u32,
}

/// Trains a segmenter.
pub fn train(
    language: Language,
    treebanks: &[Treebank],
    lists: &[Vec<(String, Upos)>],
    seed: u64,
) -> Segmenter {
    let empty = || Table::build(&[]);
    let words = Words::new(treebanks, lists);
    let mut segmenter = Segmenter {
        language,
        known: words.table(),
        gaps: empty(),
        breaks: empty(),
        several: Several::nothing(),
    };
    let options = Options { seed, perceptrons: 3, epochs: 8, count_min: 2, margin: 8 };
    let texts: Vec<Raw> = treebanks.iter().map(Raw::new).collect();
    segmenter.gaps = token_ends(&segmenter, &words, &texts).learn(&options);
    let raw: Vec<_> = treebanks.iter().filter(|treebank| treebank.raw).collect();
    learn_several(&mut segmenter, &raw, &options);
    if !segmenter.by_letter() && segmenter.several.is_empty() {
        segmenter.known = empty(); // nobody asks
    }
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
    /// Where each sentence begins.
    starts: Vec<usize>,
    raw: bool,
    breaks: bool,
}

impl Raw {
    fn new(treebank: &Treebank) -> Raw {
        let (text, spans) = conllu::raw_text(&treebank.sentences);
        let tokens = spans.iter().flat_map(|s| s.tokens.iter().map(|t| t.end)).collect();
        let sentences = spans.iter().filter_map(|s| s.tokens.last().map(|t| t.end)).collect();
        let starts = spans.iter().filter_map(|s| s.tokens.first().map(|t| t.start)).collect();
        Raw { text, tokens, sentences, starts, raw: treebank.raw, breaks: treebank.breaks }
    }
}

/// Parts of a treebank; what is known of words in one of them is taken from the others, as of a text that is new.
const FOLDS: usize = 10;

/// Which fold a sentence is in. Those that follow each other are of one text, and share its words.
fn fold(sentence: usize) -> usize {
    sentence / 50 % FOLDS
}

type TagCounts = [u32; Upos::COUNT];

/// How often words have each tag, in all and in each fold.
struct Words {
    all: HashedMap<TagCounts>,
    folds: Vec<HashedMap<TagCounts>>,
}

impl Words {
    fn new(treebanks: &[Treebank], lists: &[Vec<(String, Upos)>]) -> Words {
        let mut words =
            Words { all: HashedMap::default(), folds: vec![HashedMap::default(); FOLDS] };
        for treebank in treebanks {
            for (at, sentence) in treebank.sentences.iter().enumerate() {
                for word in sentence.words() {
                    let key = hash::bytes(lower(&word.form).as_bytes());
                    words.all.entry(key).or_default()[word.upos as usize] += 1;
                    words.folds[fold(at)].entry(key).or_default()[word.upos as usize] += 1;
                }
            }
        }
        for (word, tag) in lists.iter().flatten() {
            let key = hash::bytes(lower(word).as_bytes());
            words.all.entry(key).or_default()[*tag as usize] += 1;
        }
        words
    }

    /// The most frequent tag of a word, plus 1; 0 of one that is not known outside of `fold`.
    fn known(&self, word: &str, fold: usize) -> u64 {
        let key = hash::bytes(word.as_bytes());
        let Some(mut counts) = self.all.get(&key).copied() else { return 0 };
        if let Some(own) = self.folds[fold].get(&key) {
            counts.iter_mut().zip(own).for_each(|(count, own)| *count -= own);
        }
        most(&counts).into()
    }

    fn table(&self) -> Table<1> {
        let mut rows: Vec<_> =
            self.all.iter().map(|(key, counts)| (*key, [most(counts)])).collect();
        rows.sort_unstable();
        Table::build(&rows)
    }
}

/// The most frequent tag, plus 1; 0 where there is none.
fn most(counts: &TagCounts) -> u8 {
    let best = (0..Upos::COUNT).rev().max_by_key(|tag| counts[*tag]).unwrap_or_default();
    if counts[best] == 0 { 0 } else { best as u8 + 1 }
}

fn token_ends(segmenter: &Segmenter, words: &Words, texts: &[Raw]) -> Examples {
    let mut examples = Examples::default();
    for Raw { text, tokens, starts, .. } in texts.iter().filter(|text| text.raw) {
        let mut scan = Scan::new(text, segmenter.language == Language::Ar);
        let (mut atoms, mut longest) = (Vec::new(), Vec::new());
        while scan.next(&mut atoms).is_some() {
            let Some(first) = atoms.first() else { continue };
            let sentence = starts.partition_point(|start| *start <= first.bytes.start);
            let fold = fold(sentence.saturating_sub(1));
            let word = |range| words.known(bytes_of(text, &atoms, range), fold);
            longest.clear();
            if segmenter.by_letter() {
                gaps::longest_words(atoms.len(), word, &mut longest);
            }
            let chunk = Chunk::new(&atoms, scan.peek(), &longest);
            let mut start = 0;
            for (at, atom) in atoms[..atoms.len() - 1].iter().enumerate() {
                let ends = tokens.contains(&atom.bytes.end);
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

fn learn_several(segmenter: &mut Segmenter, treebanks: &[&Treebank], options: &Options) {
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
            let near =
                |at: Option<usize>| at.and_then(|at| forms.get(at)).map_or("", String::as_str);
            let around = Around {
                before: near(at.checked_sub(1)),
                token: &forms[at],
                after: near(Some(at + 1)),
            };
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Sentences of a small world, as a treebank; the same each time.
    pub(crate) fn small_world() -> Vec<Sentence> {
        let (names, verbs) = (["Ann", "Bob", "Kim", "Lee"], ["sees", "hears", "likes", "knows"]);
        let mut text = String::new();
        for i in 0..240 {
            let (name, verb) = (names[i % 4], verbs[i / 4 % 4]);
            let noun = ["dog", "cat", "man", "hat", "sea"][i % 5];
            let (title, at) = if i % 3 == 0 { ("1\tMr.\tMr.\tNOUN\n", 2) } else { ("", 1) };
            text += title;
            text += &format!("{at}\t{name}\t{name}\tPROPN\n");
            let at = at + 1;
            let at = match i % 2 {
                0 => {
                    text += &format!("{at}-{}\tdoesn't\t_\t_\n", at + 1);
                    text += &format!("{at}\tdoes\tdo\tAUX\n{}\tn't\tnot\tPART\n", at + 1);
                    at + 2
                }
                _ => at,
            };
            text += &format!("{at}\t{verb}\t{}\tVERB\n", verb.trim_end_matches('s'));
            text += &format!("{}\tthe\tthe\tDET\n", at + 1);
            text += &format!("{}\t{noun}\t{noun}\tNOUN\t_\t_\t_\t_\t_\tSpaceAfter=No\n", at + 2);
            text += &format!("{}\t.\t.\tPUNCT\n\n", at + 3);
        }
        conllu::read(&text).unwrap()
    }

    pub(crate) fn treebanks() -> Vec<Treebank> {
        vec![Treebank { sentences: small_world(), raw: true, breaks: true, rules: 0 }]
    }

    #[test]
    fn training_gives_the_same_bytes_each_time() {
        let train = || train(Language::En, &treebanks(), &[], 7).write();
        assert_eq!(train(), train());
    }
}
