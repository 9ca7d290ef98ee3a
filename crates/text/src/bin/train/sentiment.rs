//! `train sentiment`: how texts speak of their subjects.
//!
//! One softmax over three labels is learned from texts of all languages together. A feature has weights that all
//! languages share, weights of each language, and for data that are not of the kind the figures are for, weights of the
//! data set (the feature augmentation of Daumé, 2007). What a language's model holds is the sum of the first two. Steps
//! are those of AdaGrad, with a penalty on squares of weights. Texts of each set are in five parts: to know how
//! sure answers are, and which settings serve, each part is judged by what was learned from the others.

mod lists;

use crate::data::{self, File, Options, Part, Result};
use crate::lines::Lot;
use crate::opinions::{self, Answers, Set};
use std::collections::BTreeMap;
use strongroom_text::Language;
use strongroom_text::model::{Card, Kind, Model, Source};
use strongroom_text::sentiment::features::{DENSE, Sink, runs};
use strongroom_text::sentiment::tables::{BITS, LABELS, Runs, Tables, row};
use strongroom_text::sentiment::{Analyser, Label, Scratch};

const SEED: u64 = 1;
const PARTS: usize = 5;
/// Passes over all texts.
const EPOCHS: usize = 8;
/// The first step; it falls to nothing in equal measure.
const STEP: f32 = 0.3;
/// The penalty on squares of weights.
const PENALTY: f32 = 5e-5;
/// Texts of sets that the figures are not for count so much.
const BESIDE: f32 = 0.5;
/// Of larger sets in two labels only one text in so many is taken.
const TWO_LABELS_ONE_IN: usize = 4;
/// What values of features are multiplied by for shared weights, those of a language, and those of a set.
const SHARES: [f32; 3] = [0.85, 0.8, 0.5];
/// Features of fewer texts are left out.
const TEXTS_MIN: u32 = 2;
/// A feature that stands in more than this share of texts counts as in all.
const COMMON: f32 = 0.3;

pub(crate) fn train(_: &Options) -> Result<()> {
    let lexicons: Vec<_> = Language::ALL.into_iter().map(lists::lexicon).collect::<Result<_>>()?;
    let analysers: Vec<Analyser> = Language::ALL
        .into_iter()
        .zip(&lexicons)
        .map(|(language, (lexicon, _))| {
            Analyser::new(language, Tables { lexicon: lexicon.clone(), ..Tables::default() })
        })
        .collect();
    let mut sets = opinions::sets(&Language::ALL, Part::Train)?;
    sets.extend(plain()?);
    let texts = Texts::new(&sets, &analysers);
    let judged = cross_validate(&texts);
    let sharpness = sharpness(&texts, &judged);
    let figures = figures(&texts, &judged);
    for (name, value) in &figures {
        println!("{name}: {value}");
    }
    println!("sharpness: {sharpness}");
    let learned = learn(&texts, None);
    let lists = lexicons.iter().flat_map(|(_, files)| files);
    let files: Vec<&File> = sets.iter().map(|set| &set.file).chain(lists).collect();
    for (language, (lexicon, _)) in Language::ALL.into_iter().zip(&lexicons) {
        let (step, rows, dense) = learned.of_language(&texts, language);
        let lexicon = lexicon.clone();
        let tables = Tables { lexicon, rows, step, dense, sharpness };
        let model = Model {
            kind: Kind::Sentiment,
            language: Some(language),
            card: card(language, &files, &figures),
            body: tables.write(),
        };
        crate::save(&model, "")?;
    }
    Ok(())
}

/// Chinese sentences of an encyclopedia, taken for neutral: the Chinese sets have no neutral texts.
fn plain() -> Result<Vec<Set>> {
    let language = Language::Zh;
    let files = data::files("pos", language.code())?.into_iter();
    let files = files.filter(|file| file.part == Part::Train && file.set() == "gsdsimp");
    files
        .map(|file| {
            let texts =
                data::treebank(&file.path)?.into_iter().filter_map(|sentence| sentence.text);
            let rows = texts.map(|text| (Label::Neutral, text)).collect();
            Ok(Set { language, file, rows })
        })
        .collect()
}

fn card(language: Language, files: &[&File], figures: &BTreeMap<String, f64>) -> Card {
    let mut sources: Vec<Source> = files.iter().map(|file| file.source.clone()).collect();
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources.dedup();
    sources.push(Source {
        path: "lexicon/polarity.tsv of this crate".to_owned(),
        name: "words that speak for or against, in ten languages".to_owned(),
        licence: "as this program".to_owned(),
        non_commercial: false,
    });
    let mut notes = vec![
        "Learned together with all other languages; the weights that they share come from their texts too."
            .to_owned(),
        "Irony, and praise or blame that needs knowledge of the subject, are not seen.".to_owned(),
    ];
    match language {
        Language::Pl => notes.push(
            "There is no labelled Polish text: word lists and shared weights only.".to_owned(),
        ),
        Language::Zh => {
            notes.push("Chinese texts for learning are reviews; what is neutral was learned from an encyclopedia.".to_owned())
        }
        _ => {}
    }
    let mine = figures.iter().filter(|(name, _)| name.starts_with(language.code()));
    Card { sources, seed: SEED, figures: mine.map(|(k, v)| (k.clone(), *v)).collect(), notes }
}

/// A text as the model sees it.
struct Text {
    language: usize,
    set: usize,
    /// Whether figures are for texts of this set.
    measured: bool,
    /// Whether the set is the main one of its language, and has no weights of its own.
    main: bool,
    two_labels: bool,
    part: usize,
    label: Label,
    /// Rows of hashed features and their values.
    rows: Vec<(u32, f32)>,
    dense: Vec<(u32, f32)>,
}

struct Texts {
    texts: Vec<Text>,
    names: Vec<String>,
    /// What values of a row are multiplied by: rare features weigh more.
    rarity: Vec<f32>,
}

/// Takes the features of a text.
#[derive(Default)]
struct Taken {
    words: BTreeMap<u32, f32>,
    letters: BTreeMap<u32, f32>,
    counts: [f32; 2],
    dense: BTreeMap<u32, f32>,
}

impl Sink for Taken {
    fn word(&mut self, hash: u64) {
        *self.words.entry(row(hash) as u32).or_default() += 1.0;
        self.counts[0] += 1.0;
    }

    fn letters(&mut self, word: &[char], _: &Runs) {
        runs(word, |hash| {
            *self.letters.entry(row(hash) as u32).or_default() += 1.0;
            self.counts[1] += 1.0;
        });
    }

    fn dense(&mut self, place: usize, value: f32) {
        *self.dense.entry(place as u32).or_default() += value;
    }
}

impl Texts {
    fn new(sets: &[Set], analysers: &[Analyser]) -> Texts {
        let mut texts = Vec::new();
        let mut scratch = Scratch::default();
        for (number, set) in sets.iter().enumerate() {
            let two_labels = set.has_two_labels();
            let chinese = set.language == Language::Zh;
            let every = if two_labels && chinese { TWO_LABELS_ONE_IN } else { 1 };
            for (at, (label, text)) in set.rows.iter().enumerate().step_by(every) {
                let mut taken = Taken::default();
                analysers[set.language.index()].features(text, &mut scratch, &mut taken);
                let [words, letters] = taken.counts.map(|count| 1.0 / count.max(1.0).sqrt());
                let mut rows = taken.words;
                rows.values_mut().for_each(|value| *value *= words);
                for (row, value) in taken.letters {
                    *rows.entry(row).or_default() += value * letters;
                }
                texts.push(Text {
                    language: set.language.index(),
                    set: number,
                    measured: set.is_benchmark(),
                    main: set.is_benchmark() || matches!(set.language, Language::Ru | Language::Zh),
                    // For Chinese there are neutral texts apart from these sets.
                    two_labels: two_labels && !chinese,
                    part: at % PARTS,
                    label: *label,
                    rows: rows.into_iter().collect(),
                    dense: taken.dense.into_iter().collect(),
                });
            }
        }
        let names = sets.iter().map(|set| format!("{} {}", set.language, set.file.set())).collect();
        let rarity = rarity(&texts);
        for text in &mut texts {
            text.rows.retain(|(row, _)| rarity[*row as usize] > 0.0);
            text.rows.iter_mut().for_each(|(row, value)| *value *= rarity[*row as usize]);
        }
        Texts { texts, names, rarity }
    }
}

fn rarity(texts: &[Text]) -> Vec<f32> {
    let mut counts = vec![0u32; 1 << BITS];
    texts.iter().flat_map(|text| &text.rows).for_each(|(row, _)| counts[*row as usize] += 1);
    let all = texts.len() as f32;
    let of = |count: &u32| match *count {
        count if count < TEXTS_MIN => 0.0,
        count if count as f32 > COMMON * all => 1.0,
        // The square root of the inverse frequency, 1 where a feature stands in the square root of all texts.
        count => (2.0 * libm::logf(all / count as f32) / libm::logf(all)).sqrt(),
    };
    counts.iter().map(of).collect()
}

/// Weights of a block of features, with the sums of squares of their gradients, and how many texts have each.
struct Block {
    weights: Vec<[[f32; LABELS]; 2]>,
    counts: Vec<f32>,
    share: f32,
}

impl Block {
    fn new(rows: usize, share: f32) -> Block {
        Block {
            weights: vec![[[0.0; LABELS], [1e-3; LABELS]]; rows],
            counts: vec![0.0; rows],
            share,
        }
    }

    fn count(&mut self, features: &[(u32, f32)]) {
        features.iter().for_each(|(row, _)| self.counts[*row as usize] += 1.0);
    }

    fn add(&self, features: &[(u32, f32)], sums: &mut [f32; LABELS]) {
        for (row, value) in features {
            let [weights, _] = &self.weights[*row as usize];
            sums.iter_mut().zip(weights).for_each(|(sum, w)| *sum += self.share * value * w);
        }
    }

    fn step(&mut self, features: &[(u32, f32)], gradient: &[f32; LABELS], step: f32, penalty: f32) {
        for (row, value) in features {
            let penalty = penalty / self.counts[*row as usize];
            let [weights, squares] = &mut self.weights[*row as usize];
            for k in 0..LABELS {
                let change = gradient[k] * value * self.share + penalty * weights[k];
                squares[k] += change * change;
                weights[k] -= step * change / squares[k].sqrt();
            }
        }
    }
}

/// What was learned: for all, for each language, for each set; of hashed features and of dense ones.
struct Learned {
    blocks: Vec<[Block; 2]>,
}

/// The blocks that a text's features have weights in.
fn blocks(text: &Text) -> impl Iterator<Item = usize> {
    let set = (!text.main).then_some(1 + Language::ALL.len() + text.set);
    [0, 1 + text.language].into_iter().chain(set)
}

fn learn(texts: &Texts, without: Option<usize>) -> Learned {
    let count = 1 + Language::ALL.len() + texts.names.len();
    let share = |block: usize| match block {
        0 => SHARES[0],
        1..=10 => SHARES[1],
        _ => SHARES[2],
    };
    let block = |b: usize| [Block::new(1 << BITS, share(b)), Block::new(DENSE, share(b))];
    let mut learned = Learned { blocks: (0..count).map(block).collect() };
    let mut order: Vec<&Text> =
        texts.texts.iter().filter(|text| Some(text.part) != without).collect();
    for text in &order {
        for block in blocks(text) {
            learned.blocks[block][0].count(&text.rows);
            learned.blocks[block][1].count(&text.dense);
        }
    }
    let penalty = PENALTY * order.len() as f32;
    let mut lot = Lot(SEED);
    for epoch in 0..EPOCHS {
        lot.shuffle(&mut order);
        let step = STEP * (1.0 - epoch as f32 / EPOCHS as f32);
        for text in &order {
            let mut gradient = shares(learned.logits(text), text.two_labels);
            gradient[text.label as usize] -= 1.0;
            let weight = if text.main { 1.0 } else { BESIDE };
            gradient.iter_mut().for_each(|part| *part *= weight);
            for block in blocks(text) {
                let [rows, dense] = &mut learned.blocks[block];
                rows.step(&text.rows, &gradient, step, penalty);
                dense.step(&text.dense, &gradient, step, penalty);
            }
        }
    }
    learned
}

/// How likely each label is; neutral not at all where there are only two.
fn shares(mut logits: [f32; LABELS], two_labels: bool) -> [f32; LABELS] {
    if two_labels {
        logits[Label::Neutral as usize] = -1e9;
    }
    let most = logits.iter().copied().fold(f32::MIN, f32::max);
    let shares = logits.map(|logit| libm::expf(logit - most));
    let all: f32 = shares.iter().sum();
    shares.map(|share| share / all)
}

impl Learned {
    fn logits(&self, text: &Text) -> [f32; LABELS] {
        let mut sums = [0.0; LABELS];
        for block in blocks(text) {
            self.blocks[block][0].add(&text.rows, &mut sums);
            self.blocks[block][1].add(&text.dense, &mut sums);
        }
        sums
    }

    /// The step, rows and dense weights of a language's tables.
    fn of_language(
        &self,
        texts: &Texts,
        language: Language,
    ) -> (f32, Vec<[i8; 4]>, Vec<[f32; LABELS]>) {
        let both = [&self.blocks[0], &self.blocks[1 + language.index()]];
        let sum = |kind: usize, row: usize, k: usize| -> f32 {
            both.iter().map(|block| block[kind].share * block[kind].weights[row][0][k]).sum()
        };
        let weight = |row: usize, k: usize| sum(0, row, k) * texts.rarity[row];
        let mut sizes: Vec<f32> =
            (0..1 << BITS).map(|row| weight(row, 0).abs().max(weight(row, 2).abs())).collect();
        sizes.sort_by(f32::total_cmp);
        // A few outliers are cut off, so that steps are fine enough for all others.
        let step = sizes[sizes.len() - sizes.len() / 2000] / 127.0;
        let rows = (0..1 << BITS).map(|row| {
            let steps = |k: usize| (weight(row, k) / step).round().clamp(-127.0, 127.0) as i8;
            [steps(0), steps(1), steps(2), 0]
        });
        let dense = (0..DENSE).map(|row| std::array::from_fn(|k| sum(1, row, k)));
        (step, rows.collect(), dense.collect())
    }
}

/// Judges each text by what was learned from the parts it is not in.
fn cross_validate(texts: &Texts) -> Vec<[f32; LABELS]> {
    let mut judged = vec![[0.0; LABELS]; texts.texts.len()];
    let parts: Vec<Vec<(usize, [f32; LABELS])>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|thread| {
                scope.spawn(move || {
                    let mut found = Vec::new();
                    for part in (0..PARTS).filter(|part| part % 2 == thread) {
                        let learned = learn(texts, Some(part));
                        let own =
                            texts.texts.iter().enumerate().filter(|(_, text)| text.part == part);
                        found.extend(own.map(|(at, text)| (at, learned.logits(text))));
                    }
                    found
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_default()).collect()
    });
    for (at, logits) in parts.into_iter().flatten() {
        judged[at] = logits;
    }
    judged
}

/// What sums must be multiplied by so that the texts that the figures are for are as likely as can be.
fn sharpness(texts: &Texts, judged: &[[f32; LABELS]]) -> f32 {
    let loss = |sharpness: f32| -> f64 {
        let own = texts.texts.iter().zip(judged).filter(|(text, _)| text.measured);
        own.map(|(text, logits)| {
            let share = shares(logits.map(|logit| logit * sharpness), false)[text.label as usize];
            -f64::from(libm::logf(share.max(1e-9)))
        })
        .sum()
    };
    let candidates = (4..40).map(|twentieth| twentieth as f32 / 20.0);
    candidates.min_by(|a, b| loss(*a).total_cmp(&loss(*b))).unwrap_or(1.0)
}

/// Macro-F1 of each set by cross-validation.
fn figures(texts: &Texts, judged: &[[f32; LABELS]]) -> BTreeMap<String, f64> {
    let mut answers = vec![Answers::default(); texts.names.len()];
    for (text, logits) in texts.texts.iter().zip(judged) {
        let shares = shares(*logits, text.two_labels);
        let best = (0..LABELS).max_by(|a, b| shares[*a].total_cmp(&shares[*b])).unwrap_or(0);
        answers[text.set].add(text.label, Label::ALL[best]);
    }
    let round = |value: f64| (value * 100.0).round() / 100.0;
    let mut figures: BTreeMap<String, f64> = texts
        .names
        .iter()
        .zip(&answers)
        .map(|(name, answers)| {
            (format!("{name} cross-validated macro-F1"), round(answers.macro_f1()))
        })
        .collect();
    let own: Vec<f64> =
        figures.iter().filter(|(k, _)| k.contains(opinions::BENCHMARK)).map(|(_, v)| *v).collect();
    figures.insert("mean of umsab".to_owned(), round(own.iter().sum::<f64>() / own.len() as f64));
    figures
}
