//! The linear model of a language: weights of features for each label.

use super::Label;
use super::features::{DENSE, Sink, runs};
use super::lexicon::Lexicon;
use crate::model::{Error, Reader};

/// Labels, and columns of weights.
pub const LABELS: usize = Label::ALL.len();
/// Columns of a row in memory, so that none straddles a cache line.
const WIDTH: usize = 4;
/// 2 to this many rows.
pub const BITS: u8 = 18;
/// Version of the body.
const VERSION: u16 = 1;

/// The model of a language.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tables {
    /// Words that speak for or against.
    pub lexicon: Lexicon,
    /// Weights of words and runs of letters by hash, in steps.
    pub rows: Vec<[i8; WIDTH]>,
    /// What a step is worth, in natural logarithms of odds, before division by the root of the number of features.
    pub step: f32,
    /// Weights of the dense features.
    pub dense: Vec<[f32; LABELS]>,
    /// What sums are multiplied by before they are taken as logarithms of odds: what makes confidence right.
    pub sharpness: f32,
}

/// The row of a feature.
pub fn row(hash: u64) -> usize {
    (hash.wrapping_mul(0x94d0_49bb_1331_11eb) >> (64 - BITS)) as usize
}

/// What the runs of letters of a word come to: sums of weights by label, and how many runs there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Runs {
    sums: [i16; LABELS],
    count: u16,
}

/// Sums up a text.
pub(crate) struct Sum<'a> {
    tables: &'a Tables,
    words: ([i32; WIDTH], u32),
    letters: ([i32; LABELS], u32),
    dense: [f32; LABELS],
}

impl<'a> Sum<'a> {
    pub(crate) fn new(tables: &'a Tables) -> Sum<'a> {
        Sum { tables, words: Default::default(), letters: Default::default(), dense: [0.0; LABELS] }
    }

    /// Logarithms of odds of the labels, but for a constant.
    pub(crate) fn logits(&self) -> [f32; LABELS] {
        let mean = |sum: i32, count: u32| sum as f32 / (count.max(1) as f32).sqrt();
        let ((words, word_count), (letters, run_count)) = (self.words, self.letters);
        std::array::from_fn(|k| {
            let (words, letters) = (mean(words[k], word_count), mean(letters[k], run_count));
            (words + letters) * self.tables.step + self.dense[k]
        })
    }
}

impl Sink for Sum<'_> {
    fn word(&mut self, hash: u64) {
        let (sums, count) = &mut self.words;
        for (sum, weight) in sums.iter_mut().zip(self.tables.weights(hash)) {
            // A passage has far too few to reach the end.
            *sum = sum.wrapping_add(i32::from(*weight));
        }
        *count += 1;
    }

    fn letters(&mut self, _: &[char], known: &Runs) {
        let (sums, count) = &mut self.letters;
        for (sum, more) in sums.iter_mut().zip(known.sums) {
            *sum = sum.wrapping_add(more.into());
        }
        *count += u32::from(known.count);
    }

    fn dense(&mut self, place: usize, value: f32) {
        if let Some(weights) = self.tables.dense.get(place) {
            self.dense.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += value * weight);
        }
    }
}

impl Tables {
    /// The weights of a feature; of labels only.
    fn weights(&self, hash: u64) -> &[i8; WIDTH] {
        self.rows.get(row(hash)).unwrap_or(&[0; WIDTH])
    }

    /// What the runs of letters of a word in normal form come to.
    pub(crate) fn runs(&self, word: &[char]) -> Runs {
        let mut all = Runs::default();
        runs(word, |hash| {
            for (sum, weight) in all.sums.iter_mut().zip(self.weights(hash)) {
                // A word of 40 letters has some 120 runs, so the end is far.
                *sum = sum.wrapping_add((*weight).into());
            }
            all.count += 1;
        });
        all
    }

    /// Reads the body of a model.
    ///
    /// # Errors
    /// Where it is too short, or of another version.
    pub fn read(body: &[u8]) -> Result<Tables, Error> {
        let mut reader = Reader::new(body);
        reader.version("the tables of sentiment", VERSION)?;
        let step = reader.f32("step")?;
        let sharpness = reader.f32("sharpness")?;
        let mut dense = vec![[0.0; LABELS]; DENSE];
        for weight in dense.as_flattened_mut() {
            *weight = reader.f32("dense weights")?;
        }
        let lexicon = Lexicon::read(&mut reader)?;
        // Column by column, which packs better.
        let mut rows = vec![[0; WIDTH]; 1 << BITS];
        for column in 0..LABELS {
            let weights = reader.i8s(1 << BITS, "weights")?;
            rows.iter_mut().zip(weights).for_each(|(row, weight)| row[column] = weight);
        }
        Ok(Tables { lexicon, rows, step, dense, sharpness })
    }

    /// The body of a model.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(VERSION.to_le_bytes());
        out.extend(self.step.to_le_bytes());
        out.extend(self.sharpness.to_le_bytes());
        out.extend(self.dense.as_flattened().iter().flat_map(|weight| weight.to_le_bytes()));
        self.lexicon.write(&mut out);
        for column in 0..LABELS {
            out.extend(self.rows.iter().map(|row| row[column] as u8));
        }
        out
    }
}
