//! Training of finders of names: integers all through, so that the same data and seed give the same bytes on any machine.

use std::ops::Range;

use super::features::{self, Look, Place, ROLES};
use super::labels::{self, LABELS, Search, Steps};
use super::names::{Count, Known, Names};
use super::{Confidence, Finder, Found, Kind, STEPS, Scratch, near};
use crate::Upos;
use crate::analysis::{Analysis, SentenceSpan, Word};
use crate::hash::{HashedMap, Random};
use crate::table::Table;
use crate::tag::train::{FOLDS, fold};
use crate::word::{Spelling, Variants};

/// How a finder is trained.
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
    /// By how many points a word the right labels must lead, or weights are mended.
    pub margin: i32,
    /// The most rows that the model keeps: those of the largest weights.
    pub rows_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { seed: 1, perceptrons: 2, epochs: 6, count_min: 2, margin: 20, rows_max: 64_000 }
    }
}

/// A sentence with its names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sentence {
    /// Forms and parts of speech.
    pub words: Vec<(String, Upos)>,
    /// The words of each name, in order, and its kind.
    pub names: Vec<(Range<usize>, Kind)>,
}

impl Sentence {
    /// The sentences of a text with names, whose bytes are given, in order. A word is of the name that it shares bytes with.
    pub fn all_of(
        text: &str,
        analysis: &Analysis,
        names: &[(Range<usize>, Kind)],
    ) -> Vec<Sentence> {
        let sentence = |span: &SentenceSpan| {
            let tokens = &analysis.tokens()[span.tokens.clone()];
            let start = tokens.first().map_or(0, |token| token.words.start);
            let end = tokens.last().map_or(0, |token| token.words.end);
            let form = |word: &Word| (analysis.form(word, text).to_owned(), word.upos);
            let words = analysis.words()[start..end].iter().map(form).collect();
            let mut sentence = Sentence { words, names: Vec::new() };
            let places: Vec<_> =
                (start..end).map(|word| super::place(word, text, analysis)).collect();
            for (bytes, kind) in names {
                let first = places.partition_point(|place| place.end <= bytes.start);
                let end = places.partition_point(|place| place.start < bytes.end);
                let last = sentence.names.last().map_or(0, |(words, _)| words.end);
                if first < end && first >= last {
                    sentence.names.push((first..end, *kind));
                }
            }
            sentence
        };
        analysis.sentences().iter().map(sentence).collect()
    }
}

/// Words of other languages' names are taken up where they stood so often.
const FOREIGN_MIN: u32 = 2;

type Row = [i64; LABELS];

/// Trains a finder. `foreign` are names of other languages; `held_out`, none of which are learned from, tell how much the
/// finder is to be trusted.
pub fn train(
    sentences: &[Sentence],
    foreign: &[(Vec<String>, Kind)],
    held_out: &[Sentence],
    options: &Options,
) -> Finder {
    let counts = Counts::new(sentences, foreign);
    let examples = Examples::new(sentences, &counts, options);
    let seeds: Vec<u64> = (0..options.perceptrons).map(|i| options.seed + i).collect();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut sums = Weights::<i64>::new(examples.features.len());
    for some in seeds.chunks(workers) {
        std::thread::scope(|scope| {
            let run = |seed: u64| examples.perceptron(seed, options);
            let threads: Vec<_> = some.iter().map(|seed| scope.spawn(move || run(*seed))).collect();
            for thread in threads {
                let weights = thread.join().expect("a perceptron does not panic");
                let all = sums.rows.iter_mut().chain(&mut sums.steps).flatten();
                for (sum, weight) in all.zip(weights.rows.iter().chain(&weights.steps).flatten()) {
                    *sum += weight;
                }
            }
        });
    }
    let (table, steps) = pack(&examples.features, &sums, options);
    let confidence = Confidence { unit: 1, right: [0; STEPS] };
    let mut finder = Finder::new(counts.names(), table, steps, examples.known, confidence);
    finder.confidence = confidence_of(&finder, held_out);
    finder
}

/// Lets a finder label sentences whose proper nouns are known for sure, to learn from them in turn. A sentence is left out where
/// a proper noun is in no name, a name has none, or it is not clear.
pub fn teach(finder: &Finder, sentences: Vec<Vec<(String, Upos)>>) -> Vec<Sentence> {
    let mut scratch = Scratch::default();
    let unit = i32::from(finder.confidence.unit);
    let sentence = |words: Vec<(String, Upos)>| {
        scratch.found.clear();
        finder.score(words.iter().map(|(form, upos)| (form.as_str(), *upos)), &mut scratch);
        for (scores, (_, upos)) in scratch.scores.iter_mut().zip(&words) {
            if *upos == Upos::Propn {
                scores[labels::OUTSIDE] -= NAMED * unit;
            }
        }
        finder.label(0, &mut scratch);
        let mut of_names = vec![false; words.len()];
        for Found { span, lead } in &scratch.found {
            let names = &words[span.words.clone()];
            if *lead < CLEAR * unit || names.iter().all(|(_, upos)| *upos != Upos::Propn) {
                return None;
            }
            of_names[span.words.clone()].fill(true);
        }
        let lost =
            |((_, upos), of_name): (&(String, Upos), &bool)| *upos == Upos::Propn && !of_name;
        if words.iter().zip(&of_names).any(lost) {
            return None;
        }
        let name = |found: &Found| (found.span.words.clone(), found.span.kind);
        let names = scratch.found.iter().map(name).collect();
        Some(Sentence { words, names })
    };
    sentences.into_iter().filter_map(sentence).collect()
}

/// In steps of confidence, what [`teach`] takes off for a proper noun outside of names.
const NAMED: i32 = 8;

/// In steps of confidence, the least lead of a name that is learned from.
const CLEAR: i32 = 3;

/// Rounds weights to bytes and keeps the largest rows.
fn pack(features: &[u64], sums: &Weights<i64>, options: &Options) -> (Table<LABELS>, Steps) {
    let largest = |row: &Row| row.iter().map(|w| w.unsigned_abs()).max().unwrap_or(0);
    let rows = &sums.rows;
    let mut order: Vec<usize> = (0..rows.len()).filter(|row| largest(&rows[*row]) > 0).collect();
    order.sort_by_key(|row| (std::cmp::Reverse(largest(&rows[*row])), features[*row]));
    // The largest of all rows are few and are cut, so that the others keep their differences.
    let unit =
        order.get(order.len() / 2000).map_or(1, |row| largest(&rows[*row]) / 127).max(1) as i64;
    let round = |weight: &i64| {
        let half = if *weight < 0 { -unit / 2 } else { unit / 2 };
        (weight + half) / unit
    };
    let byte = |weight: &i64| round(weight).clamp(-127, 127) as i8 as u8;
    let packed = order.iter().map(|row| (features[*row], rows[*row].each_ref().map(byte)));
    let mut packed: Vec<_> = packed.filter(|(_, row)| *row != [0; LABELS]).collect();
    packed.truncate(options.rows_max);
    packed.sort_unstable_by_key(|(feature, _)| *feature);
    let step = |weight: &i64| round(weight).clamp(-30_000, 30_000) as i32;
    let mut steps = [[0; LABELS]; LABELS];
    for (steps, sums) in steps.iter_mut().zip(&sums.steps) {
        *steps = sums.each_ref().map(step);
    }
    (Table::build(&packed), steps)
}

/// What share of names is right, by how far they lead; never less for more, and drawn to the mean where few names tell.
fn confidence_of(finder: &Finder, held_out: &[Sentence]) -> Confidence {
    let mut scratch = Scratch::default();
    let mut told: Vec<(i32, bool)> = Vec::new();
    for sentence in held_out {
        scratch.found.clear();
        let words = sentence.words.iter().map(|(form, upos)| (form.as_str(), *upos));
        finder.sentence(words, 0, &mut scratch);
        told.extend(scratch.found.iter().map(|found| {
            let right = |(words, kind): &(Range<usize>, Kind)| {
                *words == found.span.words && *kind == found.span.kind
            };
            (found.lead, sentence.names.iter().any(right))
        }));
    }
    told.sort_unstable();
    let high = told.get(told.len() * 9 / 10).map_or(1, |(lead, _)| *lead);
    let unit = (high / STEPS as i32).clamp(1, i32::from(u16::MAX)) as u16;
    let mut confidence = Confidence { unit, right: [0; STEPS] };
    let mut counts = [(0u64, 0u64); STEPS];
    for (lead, right) in &told {
        let count = &mut counts[confidence.step(*lead)];
        *count = (count.0 + 1, count.1 + u64::from(*right));
    }
    let all = told.len() as u64 + 2;
    let mean = (told.iter().filter(|(_, right)| *right).count() as u64 + 1) * 255 / all;
    // Steps that contradict their order are joined (pool adjacent violators).
    let mut pools: Vec<(u64, u64, usize)> = Vec::new();
    for (all, right) in counts {
        pools.push((all * 255 + 4 * 255, right * 255 * 255 + 4 * 255 * mean, 1));
        while let [.., (all, right, _), (more, more_right, _)] = pools[..]
            && right * more >= more_right * all
        {
            let last = pools.pop().unwrap_or_default();
            if let Some(pool) = pools.last_mut() {
                *pool = (pool.0 + last.0, pool.1 + last.1, pool.2 + last.2);
            }
        }
    }
    let shares = pools
        .iter()
        .flat_map(|(all, right, steps)| std::iter::repeat_n((right / all).min(255) as u8, *steps));
    confidence.right.iter_mut().zip(shares).for_each(|(step, share)| *step = share);
    confidence
}

/// How often words stood in names, in all and in each fold.
struct Counts {
    all: HashedMap<Count>,
    folds: Vec<HashedMap<Count>>,
}

impl Counts {
    fn new(sentences: &[Sentence], foreign: &[(Vec<String>, Kind)]) -> Counts {
        let mut spelling = Spelling::default();
        let mut counts =
            Counts { all: HashedMap::default(), folds: vec![HashedMap::default(); FOLDS] };
        let mut far: HashedMap<Count> = HashedMap::default();
        for (words, kind) in foreign {
            for (at, word) in words.iter().enumerate() {
                let form = spelling.form(word, &Variants::default());
                far.entry(form).or_default().within(*kind, at, words.len());
            }
        }
        far.retain(|_, count| count.names() >= FOREIGN_MIN);
        counts.all = far;
        for (number, sentence) in sentences.iter().enumerate() {
            let forms: Vec<u64> = sentence
                .words
                .iter()
                .map(|(w, _)| spelling.form(w, &Variants::default()))
                .collect();
            for counts in [&mut counts.all, &mut counts.folds[fold(number)]] {
                count(sentence, &forms, counts);
            }
        }
        counts
    }

    fn known(&self, form: u64, left_out: usize) -> Known {
        match (self.all.get(&form), self.folds[left_out].get(&form)) {
            (Some(count), Some(own)) => count.less(own).known(),
            (Some(count), None) => count.known(),
            (None, _) => Known::default(),
        }
    }

    fn names(&self) -> Names {
        Names::build(&self.all)
    }
}

fn count(sentence: &Sentence, forms: &[u64], counts: &mut HashedMap<Count>) {
    let mut outside = 0;
    for (words, kind) in &sentence.names {
        forms[outside..words.start]
            .iter()
            .for_each(|form| counts.entry(*form).or_default().outside());
        for (at, form) in forms[words.clone()].iter().enumerate() {
            counts.entry(*form).or_default().within(*kind, at, words.len());
        }
        outside = words.end;
    }
    forms[outside..].iter().for_each(|form| counts.entry(*form).or_default().outside());
}

/// Weights per feature, and of steps between labels.
#[derive(Clone)]
struct Weights<N> {
    rows: Vec<[N; LABELS]>,
    steps: Vec<[N; LABELS]>,
}

impl<N: Copy + Default> Weights<N> {
    fn new(rows: usize) -> Weights<N> {
        let zeros = [N::default(); LABELS];
        Weights { rows: vec![zeros; rows], steps: vec![zeros; LABELS] }
    }
}

/// All training data as rows of weights.
struct Examples {
    /// The key of each row.
    features: Vec<u64>,
    /// The words of each sentence, as a range of `words`.
    sentences: Vec<Range<usize>>,
    /// The rows of each word and its label.
    words: Vec<(Range<usize>, u8)>,
    rows: Vec<u32>,
    known: [bool; LABELS],
}

impl Examples {
    fn new(sentences: &[Sentence], counts: &Counts, options: &Options) -> Examples {
        let mut seen: HashedMap<u32> = HashedMap::default();
        each(sentences, counts, |feature| {
            if let Some(feature) = feature {
                *seen.entry(feature).or_default() += 1;
            }
        });
        let kept = seen.iter().filter(|(_, count)| **count >= options.count_min);
        let mut features: Vec<u64> = kept.map(|(feature, _)| *feature).collect();
        features.sort_unstable();
        let index: HashedMap<u32> = features.iter().zip(0..).map(|(f, row)| (*f, row)).collect();
        let (mut rows, mut ends) = (Vec::new(), Vec::new());
        each(sentences, counts, |feature| match feature {
            Some(feature) => rows.extend(index.get(&feature)),
            None => ends.push(rows.len()),
        });
        let labels = sentences.iter().flat_map(labels_of);
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let words: Vec<_> =
            starts.zip(&ends).zip(labels).map(|((from, to), label)| (from..*to, label)).collect();
        let mut known = [false; LABELS];
        words.iter().for_each(|(_, label)| known[usize::from(*label)] = true);
        let mut start = 0;
        let range = |sentence: &Sentence| {
            start += sentence.words.len();
            start - sentence.words.len()..start
        };
        let sentences = sentences.iter().map(range).collect();
        let mut examples = Examples { features, sentences, words, rows, known };
        // A kind has all its labels or none.
        for kind in 0..Kind::ALL.len() {
            let labels = &mut examples.known[1 + 4 * kind..5 + 4 * kind];
            let any = labels.iter().any(|known| *known);
            labels.fill(any);
        }
        examples.known[labels::OUTSIDE] = true;
        examples
    }

    /// The averaged weights of one perceptron.
    fn perceptron(&self, seed: u64, options: &Options) -> Weights<i64> {
        let mut weights = Weights::<i32>::new(self.features.len());
        // What averaging takes away: each change times the step that it was made at.
        let mut early = Weights::<i64>::new(self.features.len());
        let mut random = Random::new(seed);
        let mut order: Vec<u32> = (0..self.sentences.len() as u32).collect();
        let mut time = 1i64;
        let (mut search, mut scores) = (Search::default(), Vec::new());
        for _ in 0..options.epochs {
            random.shuffle(&mut order);
            for sentence in &order {
                let words = &self.words[self.sentences[*sentence as usize].clone()];
                scores.clear();
                scores.extend(words.iter().map(|(rows, label)| {
                    self.scores(&weights, rows.clone(), *label, options.margin)
                }));
                let mut steps = [[0; LABELS]; LABELS];
                steps.copy_from_slice(&weights.steps);
                let found = search.best(&scores, &steps);
                let (mut right, mut wrong) = (labels::OUTSIDE, labels::OUTSIDE);
                for (at, (rows, label)) in words.iter().enumerate() {
                    let last = (right, wrong);
                    (right, wrong) = (usize::from(*label), usize::from(found[at]));
                    if at > 0 && (last, right) != ((last.1, last.0), wrong) {
                        change(
                            &mut weights.steps[last.0][right],
                            &mut early.steps[last.0][right],
                            1,
                            time,
                        );
                        change(
                            &mut weights.steps[last.1][wrong],
                            &mut early.steps[last.1][wrong],
                            -1,
                            time,
                        );
                    }
                    if right == wrong {
                        continue;
                    }
                    for row in &self.rows[rows.clone()] {
                        let row = *row as usize;
                        let (weights, early) = (&mut weights.rows[row], &mut early.rows[row]);
                        change(&mut weights[right], &mut early[right], 1, time);
                        change(&mut weights[wrong], &mut early[wrong], -1, time);
                    }
                }
                time += 1;
            }
        }
        // Scaled so that perceptrons of any length count alike.
        let average = |weight: &i32, early: &i64| (i64::from(*weight) * time - early) * 1024 / time;
        let mut sums = early;
        let all = sums.rows.iter_mut().chain(&mut sums.steps).flatten();
        for (sum, weight) in all.zip(weights.rows.iter().chain(&weights.steps).flatten()) {
            *sum = average(weight, sum);
        }
        sums
    }

    /// The scores of a word's labels; wrong ones have a start.
    fn scores(
        &self,
        weights: &Weights<i32>,
        rows: Range<usize>,
        right: u8,
        margin: i32,
    ) -> [i32; LABELS] {
        let mut scores: [i32; LABELS] = std::array::from_fn(|label| match self.known[label] {
            true => margin,
            false => labels::UNKNOWN,
        });
        scores[usize::from(right)] -= margin;
        for row in &self.rows[rows] {
            for (score, weight) in scores.iter_mut().zip(&weights.rows[*row as usize]) {
                *score += weight;
            }
        }
        scores
    }
}

fn change(weight: &mut i32, early: &mut i64, by: i32, time: i64) {
    *weight += by;
    *early += i64::from(by) * time;
}

fn labels_of(sentence: &Sentence) -> Vec<u8> {
    let mut all = vec![labels::OUTSIDE as u8; sentence.words.len()];
    for (words, kind) in &sentence.names {
        let labels = labels::of_name(*kind, words.len());
        all[words.clone()].iter_mut().zip(labels).for_each(|(at, label)| *at = label);
    }
    all
}

/// Tells every feature of every word, and nothing at the end of each word.
fn each(sentences: &[Sentence], counts: &Counts, mut tell: impl FnMut(Option<u64>)) {
    let mut spelling = Spelling::default();
    for (number, sentence) in sentences.iter().enumerate() {
        let mut looks: Vec<Look> = Vec::with_capacity(sentence.words.len());
        let mut places: Vec<Place> = Vec::with_capacity(sentence.words.len());
        for (form, upos) in &sentence.words {
            let seen = spelling.see(form, &Variants::default());
            let known = counts.known(seen.form, fold(number));
            let look = Look { seen, stems: spelling.stems(), known };
            places.push(Place { light: features::Light::new(&look), upos: *upos as u64 });
            looks.push(look);
        }
        let style = features::style(&places);
        for at in 0..looks.len() {
            let mut tell_one = |feature: u64| tell(Some(feature));
            for (role, away) in (0..ROLES).zip([0, -2, -1, 1, 2]) {
                match at.checked_add_signed(away).and_then(|at| looks.get(at)) {
                    Some(look) => features::of_word(role, look, &mut tell_one),
                    None => features::of_edge(role, &mut tell_one),
                }
            }
            features::of_words(&near(&places, at), style, &mut tell_one);
            tell(None);
        }
    }
}
