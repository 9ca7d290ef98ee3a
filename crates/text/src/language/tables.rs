//! The tables that tell languages in Latin script apart.
//!
//! A linear model over the runs of one to five letters of a word, edges included: each has a weight for each language,
//! found by its hash. Frequent words have a row of their own, in which the weights of their runs are summed already,
//! and what was learned about the word as a whole is added; so most words cost one lookup.

use super::scan::{EDGE, MIX};
use crate::Language;
use crate::model::{Error, Reader};

/// The languages in Latin script, in the order of the columns.
pub const LATIN: [Language; COLUMNS] = [
    Language::En,
    Language::De,
    Language::Fr,
    Language::Es,
    Language::It,
    Language::Pl,
    Language::Pt,
];

/// Languages in Latin script.
pub const COLUMNS: usize = 7;
/// Columns of a row: the languages and one to spare, so that a row fills a vector register.
pub const WIDTH: usize = 8;
/// The longest run of letters that is a feature.
const RUN_MAX: u32 = 5;
/// Version of the body.
const VERSION: u16 = 1;
/// Tables have at most 2 to this many rows.
const BITS_MAX: u8 = 20;
/// Sums of weights, a column a language.
pub type Sums = [i32; WIDTH];

/// The model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tables {
    /// What a weight of one in a word's row stands for, in natural logarithms of odds.
    pub unit: f32,
    /// 2 to this many rows of runs.
    pub run_bits: u8,
    /// Rows of runs, by hash; a step is [`Tables::FINER`] units.
    pub runs: Vec<[i8; WIDTH]>,
    /// 2 to this many places for words.
    pub word_bits: u8,
    /// Part of a word's hash, by place; 0 where none is. A word is at its place or one of those that follow.
    pub words: Vec<u32>,
    /// Rows of the words in units; the last column tells by a bit which languages know the word.
    pub rows: Vec<[i16; WIDTH]>,
    /// How confidence follows from what was found.
    pub curve: Curve,
}

/// How sure an answer is: the logistic function of a weighted sum.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Curve {
    /// Always added.
    pub base: f32,
    /// Times the difference of the two best languages, in natural logarithms of odds.
    pub margin: f32,
    /// Times the square root of the number of letters.
    pub length: f32,
    /// Times the share of words that the language knows.
    pub known: f32,
}

/// What speaks for an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    /// How much more speaks for the best language than for the next, in natural logarithms of odds.
    pub margin: f32,
    /// Letters of all words.
    pub letters: f32,
    /// The share of letters that stand in words which the language knows.
    pub known: f32,
}

impl Curve {
    /// How likely an answer is right, from 0 to 1.
    pub fn confidence(&self, evidence: &Evidence) -> f32 {
        let sum = self.base
            + self.margin * evidence.margin
            + self.length * evidence.letters.sqrt()
            + self.known * evidence.known;
        1.0 / (1.0 + libm::expf(-sum))
    }
}

/// The rows of the runs of a word, whose letters stand between two edges.
pub fn runs(codes: &[u8], bits: u8, mut row: impl FnMut(usize)) {
    let mut window: u64 = 0;
    for (i, code) in codes.iter().enumerate() {
        window = window << 8 | u64::from(*code);
        let first = if *code == EDGE { 2 } else { 1 };
        for length in first..=RUN_MAX.min(i as u32 + 1) {
            let key = (window & ((1 << (8 * length)) - 1)) | u64::from(length) << 40;
            let mixed = key.wrapping_mul(MIX);
            row(((mixed ^ (mixed >> 29)).wrapping_mul(MIX) >> (64 - bits)) as usize);
        }
    }
}

impl Tables {
    /// Units of a step of the weights of runs: words' rows are finer.
    pub const FINER: i32 = 4;

    /// Adds the weights of a word to `sums`, and gives the languages that know it, a bit for each column.
    #[inline]
    pub fn add(&self, codes: &[u8], hash: u64, sums: &mut Sums) -> u8 {
        match self.find(hash) {
            Some(row) => {
                for (sum, weight) in sums.iter_mut().zip(&row[..COLUMNS]) {
                    *sum += i32::from(*weight);
                }
                row[COLUMNS] as u8
            }
            None => {
                let found = self.of_runs(codes);
                sums.iter_mut().zip(found).for_each(|(sum, weight)| *sum += weight * Tables::FINER);
                0
            }
        }
    }

    /// The sums of the weights of a word's runs, in steps of runs.
    pub fn of_runs(&self, codes: &[u8]) -> Sums {
        let mut sums = Sums::default();
        runs(codes, self.run_bits, |row| {
            for (sum, weight) in sums.iter_mut().zip(&self.runs[row]) {
                // A word has far too few to reach the end.
                *sum = sum.wrapping_add(i32::from(*weight));
            }
        });
        sums
    }

    fn find(&self, hash: u64) -> Option<&[i16; WIDTH]> {
        let wanted = key(hash);
        let mask = self.words.len().checked_sub(1)?;
        let mut place = (hash >> 32) as usize & mask;
        loop {
            match self.words[place] {
                0 => return None,
                found if found == wanted => return Some(&self.rows[place]),
                _ => place = (place + 1) & mask,
            }
        }
    }

    /// Gives a word a row. Words that come first are found fastest.
    ///
    /// # Panics
    /// Where the table would be full, and searches would not end.
    pub fn insert(&mut self, hash: u64, row: [i16; WIDTH]) {
        let mask = self.words.len() - 1;
        let mut place = (hash >> 32) as usize & mask;
        for _ in 0..mask {
            if self.words[place] == 0 || self.words[place] == key(hash) {
                self.words[place] = key(hash);
                self.rows[place] = row;
                return;
            }
            place = (place + 1) & mask;
        }
        panic!("the table of words is full");
    }

    /// Reads the body of a model.
    ///
    /// # Errors
    /// Where it is too short, of another version, or a table could not be searched.
    pub fn read(body: &[u8]) -> Result<Tables, Error> {
        let mut reader = Reader::new(body);
        reader.version("the tables of languages", VERSION)?;
        let unit = reader.f32("unit")?;
        let curve = Curve {
            base: reader.f32("curve")?,
            margin: reader.f32("curve")?,
            length: reader.f32("curve")?,
            known: reader.f32("curve")?,
        };
        let run_bits = bits(&mut reader)?;
        let runs = reader.i8s(WIDTH << run_bits, "runs of letters")?;
        let word_bits = bits(&mut reader)?;
        let words = reader.u32s(1 << word_bits, "words")?;
        if !words.contains(&0) {
            return Err(Error::Value { what: "table of words", value: words.len() as u64 });
        }
        let rows = reader.i16s(WIDTH << word_bits, "rows of words")?;
        let runs = runs.as_chunks().0.to_vec();
        let rows = rows.as_chunks().0.to_vec();
        Ok(Tables { unit, run_bits, runs, word_bits, words, rows, curve })
    }

    /// The body of a model.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(VERSION.to_le_bytes());
        let Curve { base, margin, length, known } = self.curve;
        for number in [self.unit, base, margin, length, known] {
            out.extend(number.to_le_bytes());
        }
        out.push(self.run_bits);
        out.extend(self.runs.as_flattened().iter().map(|weight| *weight as u8));
        out.push(self.word_bits);
        out.extend(self.words.iter().flat_map(|word| word.to_le_bytes()));
        out.extend(self.rows.as_flattened().iter().flat_map(|weight| weight.to_le_bytes()));
        out
    }
}

/// What a place tells of the word that is there.
fn key(hash: u64) -> u32 {
    (hash as u32).max(1)
}

fn bits(reader: &mut Reader<'_>) -> Result<u8, Error> {
    match reader.u8("size of a table")? {
        bits @ 1..=BITS_MAX => Ok(bits),
        bits => Err(Error::Value { what: "size of a table", value: bits.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Tables {
        let mut tables = Tables {
            unit: 0.5,
            run_bits: 4,
            runs: (0..16).map(|i| [i; WIDTH]).collect(),
            word_bits: 2,
            words: vec![0; 4],
            rows: vec![[0; WIDTH]; 4],
            curve: Curve { base: 0.1, margin: 1.0, length: -0.5, known: 2.0 },
        };
        tables.insert(7, [1, 2, 3, 4, 5, 6, 7, 0b101]);
        tables.insert(7 << 40 | 8, [9; WIDTH]);
        tables
    }

    #[test]
    fn what_is_written_is_read() {
        let body = small().write();
        assert_eq!(Tables::read(&body).unwrap(), small());
        for end in 0..body.len() {
            assert!(Tables::read(&body[..end]).is_err(), "cut at {end}");
        }
        let mut newer = body.clone();
        newer[0] = 2;
        assert!(Tables::read(&newer).unwrap_err().to_string().contains("version 2"));
    }

    #[test]
    fn a_table_in_which_no_search_would_end_is_refused() {
        let full = Tables { words: vec![1; 4], ..small() };
        assert!(Tables::read(&full.write()).is_err());
    }

    #[test]
    fn a_word_is_found_by_its_hash_and_others_by_their_runs() {
        let tables = small();
        let mut sums = Sums::default();
        assert_eq!(tables.add(&[EDGE, 1, EDGE], 7, &mut sums), 0b101);
        assert_eq!(sums, [1, 2, 3, 4, 5, 6, 7, 0]);
        let mut sums = Sums::default();
        assert_eq!(tables.add(&[EDGE, 1, 2, EDGE], 9, &mut sums), 0);
        assert_eq!(sums, tables.of_runs(&[EDGE, 1, 2, EDGE]).map(|sum| sum * Tables::FINER));
    }

    #[test]
    fn runs_have_one_to_five_letters_and_edges_alone_are_none() {
        let mut count = 0;
        runs(&[EDGE, 1, 2, 3, EDGE], 8, |_| count += 1);
        // a b c; ^a ab bc c$; ^ab abc bc$; ^abc abc$; ^abc$
        assert_eq!(count, 3 + 4 + 3 + 2 + 1);
    }
}
