//! Training of segmenters on treebanks.

use super::several::{Around, Counts, Several};
use super::{Chunk, Piece, REACH, Scratch, Segmenter, SoFar, breaks, gaps, near};
use crate::binary::{Examples, Options};
use crate::conllu::{self, Sentence};
use crate::hash::HashedMap;
use crate::table::Table;
use crate::word::{Variants, lower};
use crate::{Language, Upos};
use std::collections::{BTreeMap, BTreeSet};

/// A treebank to learn from.
#[derive(Clone, Debug)]
pub struct Treebank {
    /// Its sentences.
    pub sentences: Vec<Sentence>,
    /// Whether it tells which tokens are written together.
    pub raw: bool,
    /// Whether its sentences end as those of running text do.
    pub breaks: bool,
    /// Whether sentences of other treebanks say the same, under the same ids, in the plain forms of its characters.
    pub variants: bool,
    /// A number for a treebank that is tagged by rules of its own; 0 for one whose rules are those of the model.
    pub rules: u32,
}

/// What treebanks tell of characters that stand for others.
pub(crate) fn variants(treebanks: &[Treebank]) -> Variants {
    let (variants, others): (Vec<_>, Vec<_>) =
        treebanks.iter().partition(|treebank| treebank.variants);
    if variants.is_empty() {
        return Variants::default();
    }
    let text = |sentence: &Sentence| -> String {
        sentence.tokens.iter().map(|token| token.form.as_str()).collect()
    };
    let sentences = |treebanks: &[&Treebank]| -> BTreeMap<String, String> {
        let all = treebanks.iter().flat_map(|treebank| &treebank.sentences);
        all.filter_map(|sentence| Some((sentence.id.clone()?, text(sentence)))).collect()
    };
    let (from, to) = (sentences(&variants), sentences(&others));
    Variants::learn(from.iter().filter_map(|(id, from)| Some((&**from, &**to.get(id)?))))
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
        variants: variants(treebanks),
        known: empty(),
        runs: Table::build(&[]),
        gaps: empty(),
        breaks: empty(),
        several: Several::nothing(),
    };
    let options =
        Options { seed, perceptrons: 3, epochs: 8, count_min: 2, margin: 8, dropout_percent: 10 };
    let texts: Vec<Raw> = treebanks.iter().map(Raw::new).collect();
    let words = Words::new(&segmenter, treebanks, lists);
    segmenter.known = words.table();
    let (examples, runs) = token_ends(&segmenter, &words, &texts);
    let weights = examples.learn(&options);
    (segmenter.runs, segmenter.gaps) = apart(&weights, &runs);
    let raw: Vec<_> = treebanks.iter().filter(|treebank| treebank.raw).collect();
    learn_several(&mut segmenter, &raw, &options);
    if !segmenter.by_letter() && segmenter.several.is_empty() {
        segmenter.known = empty(); // nobody asks
    }
    let mut examples = Examples::default();
    for text in texts.iter().filter(|text| text.breaks) {
        sentence_ends(&segmenter, text, &mut examples);
    }
    segmenter.breaks = Table::build(&examples.learn(&options));
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
    /// The keys with which longer words begin.
    begun: BTreeSet<u64>,
}

impl Words {
    fn new(segmenter: &Segmenter, treebanks: &[Treebank], lists: &[Vec<(String, Upos)>]) -> Words {
        let mut words = Words {
            all: HashedMap::default(),
            folds: vec![HashedMap::default(); FOLDS],
            begun: BTreeSet::new(),
        };
        for treebank in treebanks {
            for (at, sentence) in treebank.sentences.iter().enumerate() {
                for word in sentence.words() {
                    let key = words.key(segmenter, &word.form);
                    words.all.entry(key).or_default()[word.upos as usize] += 1;
                    words.folds[fold(at)].entry(key).or_default()[word.upos as usize] += 1;
                }
            }
        }
        for (word, tag) in lists.iter().flatten() {
            let key = words.key(segmenter, word);
            words.all.entry(key).or_default()[*tag as usize] += 1;
        }
        words
    }

    /// The key of a word; notes with which keys it begins.
    fn key(&mut self, segmenter: &Segmenter, word: &str) -> u64 {
        let word = lower(word);
        let mut atoms = Vec::new();
        if segmenter.by_letter() {
            segmenter.scan(&word).next(&mut atoms);
            atoms.pop();
            let keys = atoms.iter().scan(0, |key, atom| {
                *key = gaps::word_key(*key, atom);
                Some(*key)
            });
            self.begun.extend(keys.take(gaps::WORD_ATOMS_MAX));
        }
        segmenter.word_key(&word)
    }

    /// The most frequent tag of a word, plus 1; 0 of one that is not known outside of `fold`.
    fn known(&self, key: u64, fold: usize) -> u8 {
        let Some(mut counts) = self.all.get(&key).copied() else { return 0 };
        if let Some(own) = self.folds[fold].get(&key) {
            counts.iter_mut().zip(own).for_each(|(count, own)| *count -= own);
        }
        most(&counts)
    }

    fn table(&self) -> Table<1> {
        let mut rows: BTreeMap<u64, [u8; 1]> =
            self.all.iter().map(|(key, counts)| (*key, [most(counts)])).collect();
        for key in &self.begun {
            rows.entry(*key).or_default()[0] |= gaps::LONGER;
        }
        Table::build(&rows.into_iter().collect::<Vec<_>>())
    }
}

/// The most frequent tag, plus 1; 0 where there is none.
fn most(counts: &TagCounts) -> u8 {
    let best = (0..Upos::COUNT).rev().max_by_key(|tag| counts[*tag]).unwrap_or_default();
    if counts[best] == 0 { 0 } else { best as u8 + 1 }
}

/// An example for each gap between atoms, and the runs of letters in all of them.
fn token_ends(segmenter: &Segmenter, words: &Words, texts: &[Raw]) -> (Examples, BTreeSet<u64>) {
    let (mut examples, mut all) = (Examples::default(), BTreeSet::new());
    for Raw { text, tokens, starts, .. } in texts.iter().filter(|text| text.raw) {
        let mut scan = segmenter.scan(text);
        let (mut atoms, mut found, mut runs) = (Vec::new(), Vec::new(), Vec::new());
        while scan.next(&mut atoms).is_some() {
            let Some(first) = atoms.first() else { continue };
            let sentence = starts.partition_point(|start| *start <= first.bytes.start);
            let fold = fold(sentence.saturating_sub(1));
            if segmenter.by_letter() {
                let find = |key| Some(words.known(key, fold) | gaps::LONGER);
                gaps::known_words(&atoms, find, &mut found);
                runs.clear();
                gaps::runs(&atoms, |key| runs.push(key));
                all.extend(&runs);
            }
            let chunk = Chunk::new(&atoms, scan.peek(), &found, segmenter.spaced());
            let mut start = 0;
            for (at, atom) in atoms[..atoms.len() - 1].iter().enumerate() {
                let ends = tokens.contains(&atom.bytes.end);
                examples.add(ends, |out| {
                    chunk.gap(at, start, |feature| out.push(feature));
                    out.extend(gaps::of_gap(&runs, at));
                });
                if ends {
                    start = at + 1;
                }
            }
        }
    }
    (examples, all)
}

/// The weights of what runs of letters say, row by row, and the others.
fn apart(weights: &[(u64, [u8; 1])], runs: &BTreeSet<u64>) -> (Table<REACH>, Table<1>) {
    let mut others: BTreeMap<u64, [u8; 1]> = weights.iter().copied().collect();
    let mut row = |run: &u64| {
        let row: [u8; REACH] = std::array::from_fn(|place| {
            others.remove(&gaps::of_run(*run, place)).unwrap_or_default()[0]
        });
        (*run, row)
    };
    let rows: Vec<_> = runs.iter().map(&mut row).filter(|(_, row)| *row != [0; REACH]).collect();
    (Table::build(&rows), Table::build(&others.into_iter().collect::<Vec<_>>()))
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
    several.set_weights(Table::build(&examples.learn(options)));
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
        vec![Treebank {
            sentences: small_world(),
            raw: true,
            breaks: true,
            variants: false,
            rules: 0,
        }]
    }

    #[test]
    fn training_gives_the_same_bytes_each_time() {
        let train = || train(Language::En, &treebanks(), &[], 7).write();
        assert_eq!(train(), train());
    }
}
