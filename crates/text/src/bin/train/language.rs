//! `train language`: which language a text is in.
//!
//! A softmax over the languages in Latin script, learned by gradient steps (AdaGrad: Duchi, Hazan and Singer 2011) from
//! words, pairs of words and longer pieces drawn from running text, and from words of lists. Words lose their own
//! row in half of all examples, so that runs of letters learn to do without it, as they must for words never seen.

use crate::data::{self, File, Options, Part, Result};
use crate::lines::{self, Lot};
use std::collections::{BTreeMap, BTreeSet};
use strongroom_text::language::tables::{COLUMNS, Curve, Evidence, LATIN, Tables, WIDTH, runs};
use strongroom_text::language::{self, detect_with};
use strongroom_text::model::{Card, Kind, Model, Source};
use strongroom_text::{Language, Upos};

const SEED: u64 = 1;
/// 2 to this many rows of runs: with half of them long runs are told apart less well, with more nothing is won.
const RUN_BITS: u8 = 18;
/// 2 to this many places for words.
const WORD_BITS: u8 = 17;
/// Of the places so many are taken, so that a search is short.
const TAKEN: f32 = 0.72;
/// Passes over as many examples as [`EXAMPLES`] for each language.
const EPOCHS: usize = 8;
const EXAMPLES: usize = 100_000;
/// The first step; it falls to a tenth in equal measure.
const STEP: f32 = 0.2;
/// Shares of examples that are words of running text, words of lists, pairs of words; the rest is longer.
const SINGLE: f32 = 0.5;
const LISTED: f32 = 0.1;
const PAIRS: f32 = 0.25;
/// Words of longer examples.
const LONGER: std::ops::Range<usize> = 3..13;
/// A word that stands in a list counts as seen so often, besides.
const LISTED_COUNT: f32 = 0.5;
/// A language knows a word that was seen twice, and at least this often beside the language that has it most.
const KNOWN_BESIDE: f32 = 0.03;
/// What one step of words' weights stands for; runs have steps of four.
const UNIT: f32 = 1.0 / 64.0;

pub(crate) fn train(_: &Options) -> Result<()> {
    for free in [false, true] {
        // Confidence is learned on lines that are kept apart; then the tables are learned from all.
        let (texts, _) = Texts::read(free, true)?;
        let apart = learn(&texts);
        let curve = fit_curve(&texts.apart, &apart);
        let (texts, sources) = Texts::read(free, false)?;
        let tables = Tables { curve, ..learn(&texts) };
        let figures = figures(&tables)?;
        let notes = vec![
            "Words that two languages share, Spanish and Portuguese above all, are guessed.".to_owned(),
            "Other languages in Latin script are taken for one of these where a text has fewer than four words."
                .to_owned(),
            "Bulgarian and Persian texts without a letter of their own are taken for Russian and Arabic.".to_owned(),
        ];
        let card = Card { sources, seed: SEED, figures, notes };
        let model = Model { kind: Kind::Language, language: None, card, body: tables.write() };
        crate::save(&model, if free { ".free" } else { "" })?;
    }
    Ok(())
}

/// Shares of development lines and what is drawn from them that are told rightly, in percent.
fn figures(tables: &Tables) -> Result<BTreeMap<String, f64>> {
    let mut sums = BTreeMap::new();
    for language in Language::ALL {
        let drawn = lines::drawn(language)?;
        for (name, texts) in drawn.sets() {
            let right = texts.iter().filter(|t| detect_with(t, tables).language == Some(language));
            *sums.entry(name.to_owned()).or_insert(0.0) +=
                right.count() as f64 / texts.len() as f64;
        }
    }
    let count = Language::ALL.len() as f64;
    Ok(sums.into_iter().map(|(k, sum)| (k, (1e4 * sum / count).round() / 100.0)).collect())
}

/// A word as the tables see it.
type Word = (Box<[u8]>, u64);

/// What is learned from.
#[derive(Default)]
struct Texts {
    /// All words, each once.
    words: Vec<Word>,
    /// Running text by column of the language: places in `words`.
    running: [Vec<u32>; COLUMNS],
    /// Words of lists.
    listed: [BTreeSet<u32>; COLUMNS],
    /// Texts that are kept apart, with their language.
    apart: Vec<(String, usize)>,
}

impl Texts {
    fn read(free: bool, keep_apart: bool) -> Result<(Texts, Vec<Source>)> {
        let held = held_out()?;
        let mut texts = Texts::default();
        let mut places = BTreeMap::new();
        let mut sources = Vec::new();
        for (column, language) in LATIN.into_iter().enumerate() {
            let mut take = |text: &str, words: &mut Vec<Word>| -> Vec<u32> {
                let mut found = Vec::new();
                language::words(text, |codes, hash| {
                    let place = *places.entry(hash).or_insert_with(|| {
                        words.push((codes.into(), hash));
                        words.len() as u32 - 1
                    });
                    found.push(place);
                });
                found
            };
            let (running, apart) = running(language, free, keep_apart, &held, &mut sources)?;
            for text in running {
                let found = take(&text, &mut texts.words);
                texts.running[column].extend(found);
            }
            texts.apart.extend(apart.into_iter().map(|text| (text, column)));
            for word in listed(language, free, &mut sources)? {
                let found = take(&word, &mut texts.words);
                texts.listed[column].extend(found);
            }
        }
        Ok((texts, sources))
    }
}

/// Development lines of all kinds, as they are compared.
fn held_out() -> Result<BTreeSet<String>> {
    let mut held = BTreeSet::new();
    for language in Language::ALL {
        let lines = lines::of(language)?.into_iter();
        held.extend(
            lines.filter(|(_, development)| *development).map(|(line, _)| lines::normal(&line)),
        );
        for file in data::files("pos", language.code())? {
            if file.part == Part::Development {
                let sentences = data::treebank(&file.path)?.into_iter();
                held.extend(sentences.filter_map(|s| s.text).map(|text| lines::normal(&text)));
            }
        }
    }
    Ok(held)
}

/// The running text of a language, and of it what is kept apart: a tenth of the lines of `lid/`.
fn running(
    language: Language,
    free: bool,
    keep_apart: bool,
    held: &BTreeSet<String>,
    sources: &mut Vec<Source>,
) -> Result<(BTreeSet<String>, Vec<String>)> {
    let mut texts = BTreeSet::new();
    let mut barred = BTreeSet::new();
    for file in data::files("pos", language.code())? {
        let sentences = data::treebank(&file.path)?.into_iter().filter_map(|s| s.text);
        match free && file.source.non_commercial {
            // Some of these lines stand in `lid/` too.
            true => barred.extend(sentences.map(|text| lines::normal(&text))),
            false if file.part == Part::Train => {
                texts.extend(sentences);
                sources.push(file.source);
            }
            false => {}
        }
    }
    for section in ["sentiment", "ner"] {
        for file in data::files(section, language.code())? {
            // WikiANN is mostly names, which say little of a language.
            let wanted = file.part == Part::Train && file.set() != "wikiann";
            if !wanted || free && file.source.non_commercial {
                continue;
            }
            match section {
                "sentiment" => {
                    texts.extend(data::rows(&file.path)?.iter().map(|row| data::unescape(&row[1])))
                }
                _ => texts.extend(data::read(&file.path)?.split("\n\n").map(|sentence| {
                    let tokens = sentence.lines().filter_map(|line| line.split('\t').next());
                    tokens.collect::<Vec<_>>().join(" ")
                })),
            }
            sources.push(file.source);
        }
    }
    let mut apart = Vec::new();
    for (line, _) in lines::of(language)? {
        match keep_apart && lines::digest_ends_in(&line, 1) {
            true => apart.push(line),
            false => drop(texts.insert(line)),
        }
    }
    sources.extend(data::files("lid", language.code())?.into_iter().map(|file| Source {
        // These files hold lines of all treebanks; those under such terms are barred where the model is to be free.
        non_commercial: !free && file.source.licence.contains("NC"),
        ..file.source
    }));
    apart.retain(|line| !held.contains(&lines::normal(line)));
    let kept: BTreeSet<String> = apart.iter().map(|line| lines::normal(line)).collect();
    texts.retain(|text| {
        let normal = lines::normal(text);
        !held.contains(&normal) && !kept.contains(&normal) && !barred.contains(&normal)
    });
    Ok((texts, apart))
}

/// The words of a language's lists, without names and signs.
fn listed(language: Language, free: bool, sources: &mut Vec<Source>) -> Result<Vec<String>> {
    let mut words = Vec::new();
    // Tagged lists first, in the order in which words are numbered.
    let (tagged, others): (Vec<File>, Vec<File>) = data::files("lexicon", language.code())?
        .into_iter()
        .partition(|file| file.stem().starts_with("upos_"));
    for file in tagged {
        if !(free && file.source.non_commercial) {
            let names = [Upos::Propn, Upos::Num, Upos::Punct, Upos::X, Upos::Sym];
            let list = data::words(&file)?.into_iter();
            words.extend(list.filter(|(_, tag)| !names.contains(tag)).map(|(word, _)| word));
            sources.push(file.source);
        }
    }
    for file in others {
        if ["afinn", "opener", "german_polarity_zurich"].contains(&file.stem()) {
            words.extend(data::rows(&file.path)?.into_iter().map(|mut row| row.swap_remove(0)));
            sources.push(file.source);
        }
    }
    Ok(words)
}

/// Weights that are being learned, with the sums of squares of their gradients.
struct Weights(Vec<([f32; WIDTH], [f32; WIDTH])>);

impl Weights {
    fn new(rows: usize) -> Weights {
        Weights(vec![([0.0; WIDTH], [1e-4; WIDTH]); rows])
    }

    fn add(&self, row: u32, sums: &mut [f32; WIDTH]) {
        sums.iter_mut().zip(&self.0[row as usize].0).for_each(|(sum, weight)| *sum += weight);
    }

    fn step(&mut self, row: u32, gradient: &[f32; WIDTH], step: f32) {
        let (weights, squares) = &mut self.0[row as usize];
        for k in 0..WIDTH {
            squares[k] += gradient[k] * gradient[k];
            weights[k] -= step * gradient[k] / squares[k].sqrt();
        }
    }
}

fn learn(texts: &Texts) -> Tables {
    let counts = counts(texts);
    let own = words_with_rows(&counts);
    let mut row_of = vec![None; texts.words.len()];
    for (row, word) in own.iter().enumerate() {
        row_of[*word as usize] = Some(row as u32);
    }
    let features = texts.words.iter().map(|(codes, _)| {
        let mut rows = Vec::new();
        runs(codes, RUN_BITS, |row| rows.push(row as u32));
        rows
    });
    let features: Vec<Vec<u32>> = features.collect();
    let mut of_runs = Weights::new(1 << RUN_BITS);
    let mut of_words = Weights::new(own.len());
    let mut lot = Lot(SEED);
    let listed: Vec<Vec<u32>> = texts.listed.iter().map(|l| l.iter().copied().collect()).collect();
    for epoch in 0..EPOCHS {
        let step = STEP * (1.0 - 0.9 * epoch as f32 / EPOCHS as f32);
        for example in 0..EXAMPLES * COLUMNS {
            let column = example % COLUMNS;
            let words = draw(&texts.running[column], &listed[column], &mut lot);
            let rows = words.iter().filter_map(|word| row_of[*word as usize]);
            let rows: Vec<u32> = rows.filter(|_| lot.draw() & 1 == 0).collect();
            let letters = || words.iter().flat_map(|word| &features[*word as usize]);
            let mut sums = [0.0; WIDTH];
            letters().for_each(|row| of_runs.add(*row, &mut sums));
            rows.iter().for_each(|row| of_words.add(*row, &mut sums));
            let gradient = gradient(&sums, column);
            letters().for_each(|row| of_runs.step(*row, &gradient, step));
            rows.iter().for_each(|row| of_words.step(*row, &gradient, step));
        }
    }
    tables(texts, &counts, &own, &of_runs, &of_words)
}

/// Words for an example.
fn draw<'a>(running: &'a [u32], listed: &'a [u32], lot: &mut Lot) -> &'a [u32] {
    let share = lot.share();
    let (from, length) = match share {
        _ if share < LISTED && !listed.is_empty() => (listed, 1),
        _ if share < LISTED + SINGLE => (running, 1),
        _ if share < LISTED + SINGLE + PAIRS => (running, 2),
        _ => (running, LONGER.start + lot.below(LONGER.len())),
    };
    let first = lot.below(from.len() - length + 1);
    &from[first..first + length]
}

/// How the loss of a softmax changes with its sums, where `column` is right.
fn gradient(sums: &[f32; WIDTH], column: usize) -> [f32; WIDTH] {
    let most = sums[..COLUMNS].iter().copied().fold(f32::MIN, f32::max);
    let mut shares = [0.0; WIDTH];
    for k in 0..COLUMNS {
        shares[k] = libm::expf(sums[k] - most);
    }
    let all: f32 = shares.iter().sum();
    shares.iter_mut().for_each(|share| *share /= all);
    shares[column] -= 1.0;
    shares
}

/// How often each language has each word.
fn counts(texts: &Texts) -> Vec<[f32; COLUMNS]> {
    let mut counts = vec![[0.0; COLUMNS]; texts.words.len()];
    for (column, (running, listed)) in texts.running.iter().zip(&texts.listed).enumerate() {
        running.iter().for_each(|word| counts[*word as usize][column] += 1.0);
        listed.iter().for_each(|word| counts[*word as usize][column] += LISTED_COUNT);
    }
    counts
}

/// The words that are seen most.
fn words_with_rows(counts: &[[f32; COLUMNS]]) -> Vec<u32> {
    let total = |word: &u32| counts[*word as usize].iter().sum::<f32>();
    let mut order: Vec<u32> = (0..counts.len() as u32).collect();
    order.sort_by(|a, b| total(b).total_cmp(&total(a)).then(a.cmp(b)));
    order.truncate(((1u32 << WORD_BITS) as f32 * TAKEN) as usize);
    order
}

/// What was learned, in whole numbers.
fn tables(
    texts: &Texts,
    counts: &[[f32; COLUMNS]],
    own: &[u32],
    of_runs: &Weights,
    of_words: &Weights,
) -> Tables {
    let coarse = |w: f32| (w / (UNIT * Tables::FINER as f32)).round().clamp(-127.0, 127.0) as i8;
    let mut tables = Tables {
        unit: UNIT,
        run_bits: RUN_BITS,
        runs: of_runs.0.iter().map(|(weights, _)| weights.map(coarse)).collect(),
        word_bits: WORD_BITS,
        words: vec![0; 1 << WORD_BITS],
        rows: vec![[0; WIDTH]; 1 << WORD_BITS],
        curve: Curve::default(),
    };
    for (row, word) in own.iter().enumerate() {
        let (codes, hash) = &texts.words[*word as usize];
        let of_runs = tables.of_runs(codes);
        let mut weights = [0i16; WIDTH];
        for k in 0..COLUMNS {
            let whole = (of_words.0[row].0[k] / UNIT).round() as i32 + of_runs[k] * Tables::FINER;
            weights[k] = whole.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
        }
        let often = |k: usize| counts[*word as usize][k] / texts.running[k].len() as f32;
        let most = (0..COLUMNS).map(often).fold(0.0, f32::max);
        for (k, listed) in texts.listed.iter().enumerate() {
            let seen = counts[*word as usize][k] >= 2.0 && often(k) > KNOWN_BESIDE * most;
            if seen || listed.contains(word) {
                weights[COLUMNS] |= 1 << k;
            }
        }
        tables.insert(*hash, weights);
    }
    tables
}

/// Learns how sure answers are, from lines that the tables were not learned from, and parts of them.
fn fit_curve(lines: &[(String, usize)], tables: &Tables) -> Curve {
    let mut lot = Lot(SEED);
    let mut examples: Vec<(Evidence, bool)> = Vec::new();
    for (line, column) in lines {
        let words = lines::words(line);
        let mut add = |text: &str| {
            let (language, evidence) = language::evidence(text, tables);
            examples.push((evidence, language == LATIN[*column]));
        };
        add(line);
        for length in 1..=words.len().min(4) {
            let first = lot.below(words.len() - length + 1);
            add(&words[first..first + length].join(" "));
        }
    }
    let mut curve = [0f32; 4];
    let mut squares = [1e-4f32; 4];
    for _ in 0..40 {
        lot.shuffle(&mut examples);
        for (evidence, right) in &examples {
            let x = [1.0, evidence.margin, evidence.letters.sqrt(), evidence.known];
            let sum: f32 = (0..4).map(|i| curve[i] * x[i]).sum();
            let error = 1.0 / (1.0 + libm::expf(-sum)) - f32::from(u8::from(*right));
            for i in 0..4 {
                squares[i] += (error * x[i]) * (error * x[i]);
                curve[i] -= 0.1 * error * x[i] / squares[i].sqrt();
            }
        }
    }
    let [base, margin, length, known] = curve;
    Curve { base, margin, length, known }
}
