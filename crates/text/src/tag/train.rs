//! Training of taggers: integers all through, so that the same data and seed give the same bytes on any machine.

use super::features::{self, Light, NEAR};
use super::lemma::Lemmas;
use super::lexicon::{Known, LISTS_MAX, Lexicon};
use super::{ALL_NEAR, START, Tagger, Weights};
use crate::conllu::Sentence;
use crate::hash::{self, HashedMap, Random};
use crate::segment::{self, train::Treebank};
use crate::table::Table;
use crate::word::{Seen, Spelling, Variants};
use crate::{Language, Upos};
use std::collections::{BTreeMap, BTreeSet};

/// How a tagger is trained.
#[derive(Clone, Debug)]
pub struct Options {
    /// The number from which all others are drawn.
    pub seed: u64,
    /// How many perceptrons are trained and summed.
    pub perceptrons: u64,
    /// How often each sees all sentences.
    pub epochs: usize,
    /// Features seen less often are left out.
    pub count_min: u32,
    /// By how many points the right tag must lead, or weights are mended.
    pub margin: i32,
    /// Of a hundred features of an example, how many are left out at random each time that it is seen, so that
    /// none is relied on alone (Søgaard 2013).
    pub dropout_percent: u64,
    /// The most rows that the model keeps: those of the largest weights. The others hardly move a tag, and cost time: what a
    /// tagger takes is mostly waiting for memory.
    pub rows_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            seed: 1,
            perceptrons: 4,
            epochs: 6,
            count_min: 2,
            margin: 20,
            dropout_percent: 10,
            rows_max: 60_000,
        }
    }
}

/// A sentence to learn from: its fold, whose rules it follows, and words with their tags.
struct Tagged<'a> {
    fold: usize,
    rules: u32,
    words: Vec<(&'a str, Upos)>,
}

/// Parts of the training data, for each of which the lexicon is made of the others, so that words are no better known in training than later.
pub(crate) const FOLDS: usize = 10;

/// Weights of one perceptron, per feature.
type Sums = [i64; Upos::COUNT];

/// Trains a tagger.
pub fn train(
    language: Language,
    treebanks: &[Treebank],
    lists: &[Vec<(String, Upos)>],
    options: &Options,
) -> Tagger {
    // Where all have rules of their own, the first one's are the model's.
    let main = treebanks.iter().map(|treebank| treebank.rules).min().unwrap_or(0);
    let mut sentences = Vec::new();
    for treebank in treebanks {
        sentences.extend(treebank.sentences.iter().enumerate().map(|(at, sentence)| Tagged {
            fold: fold(at),
            rules: treebank.rules - main,
            words: sentence.words().map(|word| (word.form.as_str(), word.upos)).collect(),
        }));
    }
    let variants = segment::train::variants(treebanks);
    let words = Words::new(&sentences, lists, variants);
    let examples = Examples::new(&sentences, &words, options);
    let seeds: Vec<u64> = (0..options.perceptrons).map(|i| options.seed + i).collect();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut sums = vec![[0i64; Upos::COUNT]; examples.features.len()];
    for some in seeds.chunks(workers) {
        std::thread::scope(|scope| {
            let run = |seed: u64| examples.perceptron(seed, options);
            let threads: Vec<_> = some.iter().map(|seed| scope.spawn(move || run(*seed))).collect();
            for thread in threads {
                let weights = thread.join().expect("a perceptron does not panic");
                for (sum, weight) in sums.iter_mut().flatten().zip(weights.iter().flatten()) {
                    *sum += weight;
                }
            }
        });
    }
    let lemmas = Lemmas::learn(language, treebanks.iter().flat_map(lemmas));
    let (lexicon, weights) = (words.lexicon(), examples.pack(&sums, options));
    Tagger::new(words.variants, lexicon, weights, lemmas)
}

/// Words with tags and lemmas; those of treebanks whose rules are the model's weigh more.
fn lemmas(treebank: &Treebank) -> impl Iterator<Item = (&str, Upos, &str, u32)> {
    let weight = if treebank.rules == 0 { 8 } else { 1 };
    let words = treebank.sentences.iter().flat_map(Sentence::words);
    words.filter_map(move |word| Some((&*word.form, word.upos, word.lemma.as_deref()?, weight)))
}

/// What training data and lists say of each word.
struct Words {
    /// By normal form: how often with each tag, in all and in each fold.
    counts: HashedMap<[u32; Upos::COUNT]>,
    folds: Vec<HashedMap<[u32; Upos::COUNT]>>,
    listed: HashedMap<[Option<Upos>; LISTS_MAX]>,
    variants: Variants,
}

impl Words {
    fn new(sentences: &[Tagged<'_>], lists: &[Vec<(String, Upos)>], variants: Variants) -> Words {
        let mut spelling = Spelling::default();
        let mut words = Words {
            counts: HashedMap::default(),
            folds: vec![HashedMap::default(); FOLDS],
            listed: HashedMap::default(),
            variants,
        };
        for Tagged { fold, words: sentence, .. } in sentences {
            for (word, tag) in sentence {
                let form = spelling.form(word, &words.variants);
                words.counts.entry(form).or_default()[*tag as usize] += 1;
                words.folds[*fold].entry(form).or_default()[*tag as usize] += 1;
            }
        }
        for (number, list) in lists.iter().enumerate().take(LISTS_MAX) {
            for (word, tag) in list {
                words.listed.entry(spelling.form(word, &words.variants)).or_default()[number]
                    .get_or_insert(*tag);
            }
        }
        words
    }

    fn known(&self, form: u64, left_out: Option<usize>) -> Known {
        let mut counts = self.counts.get(&form).copied().unwrap_or_default();
        if let Some(out) = left_out.and_then(|fold| self.folds[fold].get(&form)) {
            counts.iter_mut().zip(out).for_each(|(count, out)| *count -= out);
        }
        Known::new(&counts, self.listed.get(&form).copied().unwrap_or_default())
    }

    fn lexicon(&self) -> Lexicon {
        let mut forms: Vec<u64> = self.counts.keys().chain(self.listed.keys()).copied().collect();
        forms.sort_unstable();
        forms.dedup();
        Lexicon::build(forms.into_iter().map(|form| (form, self.known(form, None))).collect())
    }
}

/// Sentences that follow each other are of one text, and share its words and names: they are in one fold.
pub(crate) fn fold(sentence: usize) -> usize {
    sentence / 50 % FOLDS
}

/// All training data as rows of weights.
struct Examples {
    /// The key of each row, and whether it is of the rules of some treebanks alone.
    features: Vec<(u64, bool)>,
    /// What words have for those around them, whatever their place.
    neighbours: BTreeSet<u64>,
    /// Rows of features that depend on tags.
    history: HashedMap<u32>,
    sentences: Vec<Vec<Example>>,
    /// The rows of all examples.
    rows: Vec<u32>,
}

struct Example {
    rules: u32,
    near: [Light; 5],
    rows: std::ops::Range<usize>,
    tag: u8,
}

impl Examples {
    fn new(sentences: &[Tagged<'_>], words: &Words, options: &Options) -> Examples {
        let mut counts: HashedMap<(u32, bool)> = HashedMap::default();
        let mut neighbours = BTreeSet::from([features::EDGE]);
        let count = |_, _: &[Light; 5], feature, _, own| {
            let count = counts.entry(feature).or_insert((0, own));
            count.0 += 1;
        };
        each(sentences, words, &mut neighbours, count);
        let kept = counts.iter().filter(|(_, (n, _))| *n >= options.count_min);
        let mut features: Vec<(u64, bool)> = kept.map(|(f, (_, own))| (*f, *own)).collect();
        features.sort_unstable();
        let index: HashedMap<u32> = features.iter().zip(0..).map(|(f, row)| (f.0, row)).collect();
        let mut examples = Examples {
            features,
            neighbours,
            history: HashedMap::default(),
            sentences: sentences.iter().map(|_| Vec::new()).collect(),
            rows: Vec::new(),
        };
        let mut last = (usize::MAX, usize::MAX);
        each(
            sentences,
            words,
            &mut BTreeSet::new(),
            |(sentence, word), near, feature, history, _| {
                if last != (sentence, word) {
                    let (start, tag) =
                        (examples.rows.len(), sentences[sentence].words[word].1 as u8);
                    let rules = sentences[sentence].rules;
                    let example = Example { rules, near: *near, rows: start..start, tag };
                    examples.sentences[sentence].push(example);
                    last = (sentence, word);
                }
                match index.get(&feature) {
                    Some(row) if history => drop(examples.history.insert(feature, *row)),
                    Some(row) => {
                        examples.rows.push(*row);
                        examples.sentences[sentence][word].rows.end += 1;
                    }
                    None => {}
                }
            },
        );
        examples
    }

    /// Rounds weights to bytes and keeps the largest rows.
    fn pack(&self, sums: &[Sums], options: &Options) -> Weights {
        let features = &self.features;
        let largest = |sums: &Sums| sums.iter().map(|w| w.unsigned_abs()).max().unwrap_or(0);
        let mut order: Vec<usize> =
            (0..sums.len()).filter(|row| !features[*row].1 && largest(&sums[*row]) > 0).collect();
        order.sort_by_key(|row| (std::cmp::Reverse(largest(&sums[*row])), features[*row].0));
        // The largest of all rows are few and are cut, so that the others keep their differences.
        let unit =
            order.get(order.len() / 2000).map_or(1, |row| largest(&sums[*row]) / 127).max(1) as i64;
        let round = |weight: &i64| {
            let half = if *weight < 0 { -unit / 2 } else { unit / 2 };
            ((weight + half) / unit).clamp(-127, 127) as i8 as u8
        };
        let rows = order.iter().map(|row| (features[*row].0, sums[*row].each_ref().map(round)));
        let rows = rows.filter(|(_, row)| *row != [0; Upos::COUNT]).take(options.rows_max);
        let mut own: BTreeMap<u64, [u8; Upos::COUNT]> = rows.collect();
        let mut near = Vec::new();
        for key in &self.neighbours {
            let mut all = [0; ALL_NEAR];
            for (place, to) in all.as_chunks_mut().0.iter_mut().enumerate() {
                *to = own.remove(&features::from(*key, place)).unwrap_or_default();
            }
            near.extend(Some((*key, all)).filter(|(_, all)| *all != [0; ALL_NEAR]));
        }
        Weights {
            own: Table::build(&own.into_iter().collect::<Vec<_>>()),
            near: Table::build(&near),
        }
    }

    /// The averaged weights of one perceptron.
    fn perceptron(&self, seed: u64, options: &Options) -> Vec<Sums> {
        let mut weights = vec![[0i32; Upos::COUNT]; self.features.len()];
        // What averaging takes away: each change times the step that it was made at.
        let mut early = vec![[0i64; Upos::COUNT]; self.features.len()];
        let mut random = Random::new(seed);
        let mut order: Vec<u32> = (0..self.sentences.len() as u32).collect();
        let mut step = 1i64;
        let mut rows: Vec<u32> = Vec::new();
        for _ in 0..options.epochs {
            random.shuffle(&mut order);
            for sentence in &order {
                let (mut last, mut second) = (START, START);
                for example in &self.sentences[*sentence as usize] {
                    rows.clear();
                    rows.extend(&self.rows[example.rows.clone()]);
                    features::of_history(last, second, &example.near, |feature| {
                        rows.extend(self.history.get(&feature));
                        if example.rules != 0 {
                            rows.extend(self.history.get(&of_rules(feature, example.rules)));
                        }
                    });
                    rows.retain(|_| random.next() % 100 >= options.dropout_percent);
                    let mut scores = [0i32; Upos::COUNT];
                    for row in &rows {
                        for (score, weight) in scores.iter_mut().zip(&weights[*row as usize]) {
                            *score += weight;
                        }
                    }
                    let right = usize::from(example.tag);
                    let (mut rival, mut best) = (usize::from(right == 0), 0);
                    for tag in 0..Upos::COUNT {
                        if tag != right && scores[tag] > scores[rival] {
                            rival = tag;
                        }
                        if scores[tag] > scores[best] {
                            best = tag;
                        }
                    }
                    if scores[right] <= scores[rival] + options.margin {
                        for row in &rows {
                            let row = *row as usize;
                            weights[row][right] += 1;
                            weights[row][rival] -= 1;
                            early[row][right] += step;
                            early[row][rival] -= step;
                        }
                    }
                    step += 1;
                    (last, second) = (best as u8, last);
                }
            }
        }
        // Scaled so that perceptrons of any length count alike.
        let average = |weight: &i32, early: &i64| (i64::from(*weight) * step - early) * 1024 / step;
        let mut sums = early;
        for (sums, weights) in sums.iter_mut().zip(&weights) {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum = average(weight, sum);
            }
        }
        sums
    }
}

/// The copy of a feature that only treebanks with rules of their own have: what they tag otherwise is learned there, and
/// left out of the model (Daumé 2007, with the target's own copies left out).
fn of_rules(feature: u64, rules: u32) -> u64 {
    feature ^ hash::feature(250, rules.into())
}

/// Tells every feature of every word with its place, the words around, whether it depends on tags, and whether it is of rules alone.
/// What words have for those around them is added to `neighbours`.
fn each(
    sentences: &[Tagged<'_>],
    words: &Words,
    neighbours: &mut BTreeSet<u64>,
    mut tell: impl FnMut((usize, usize), &[Light; 5], u64, bool, bool),
) {
    let mut spelling = Spelling::default();
    let mut looks: Vec<(Light, Seen, Known)> = Vec::new();
    for (at, sentence) in sentences.iter().enumerate() {
        looks.clear();
        looks.extend(sentence.words.iter().map(|(word, _)| {
            let seen = spelling.see(word, &words.variants);
            let known = words.known(seen.form, Some(sentence.fold));
            (Light::new(&seen, known), seen, known)
        }));
        let rules = sentence.rules;
        let mut tell = |place: (usize, usize), near: &[Light; 5], feature: u64, history: bool| {
            tell(place, near, feature, history, false);
            if rules != 0 {
                tell(place, near, of_rules(feature, rules), history, true);
            }
        };
        let (mut last, mut second) = (START, START);
        for (place, (_, tag)) in sentence.words.iter().enumerate() {
            let word = |away: isize| place.checked_add_signed(away).and_then(|at| looks.get(at));
            let around = [word(-2), word(-1), word(0), word(1), word(2)];
            let near = around.map(|look| look.map_or(Light::EDGE, |(light, ..)| *light));
            let place = (at, place);
            if let Some((_, seen, known)) = around[2] {
                let find = |form| words.known(form, Some(sentence.fold));
                features::of_word(seen, *known, find, |f| tell(place, &near, f, false));
            }
            for (from, look) in (0..NEAR).zip([around[0], around[1], around[3], around[4]]) {
                let mut tell = |key| {
                    neighbours.insert(key);
                    tell(place, &near, features::from(key, from), false);
                };
                match look {
                    Some((light, _, known)) => features::of_neighbour(light, *known, tell),
                    None => tell(features::EDGE),
                }
            }
            features::of_words(&near, |f| tell(place, &near, f, false));
            features::of_history(last, second, &near, |f| tell(place, &near, f, true));
            (last, second) = (*tag as u8, last);
        }
    }
}
