//! The lines of `lid/`, and what is drawn from them. A module of the binaries.
#![allow(dead_code, reason = "each binary uses a part of it")]

use crate::data::{self, Result};
use sha2::{Digest as _, Sha256};
use strongroom_text::Language;
use unicode_normalization::UnicodeNormalization as _;

/// Words with this many letters or more make the second draw of words and pairs.
pub(crate) const LONG_WORD_LETTERS: usize = 5;

/// The lines of a language, and whether each is for development.
pub(crate) fn of(language: Language) -> Result<Vec<(String, bool)>> {
    let mut lines = Vec::new();
    for file in data::files("lid", language.code())? {
        let text = data::read(&file.path)?;
        lines.extend(text.lines().map(|line| (line.to_owned(), digest_ends_in(line, 0))));
    }
    Ok(lines)
}

/// Whether a line's SHA-256, as a number, ends in `digit`; 0 makes a line one for development.
pub(crate) fn digest_ends_in(line: &str, digit: u32) -> bool {
    let digest = Sha256::digest(line.as_bytes());
    digest.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % 10) == digit
}

/// What remains of a line when lines are compared: NFKC, small letters and digits only.
pub(crate) fn normal(line: &str) -> String {
    line.nfkc().flat_map(char::to_lowercase).filter(|c| c.is_alphanumeric()).collect()
}

/// The words of a line: its runs of letters.
pub(crate) fn words(line: &str) -> Vec<&str> {
    line.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).collect()
}

/// Numbers that look drawn by lot, the same each time (SplitMix64).
pub(crate) struct Lot(pub(crate) u64);

impl Lot {
    /// The next number.
    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.draw() % end as u64) as usize
    }

    /// A number from 0 to 1.
    pub(crate) fn share(&mut self) -> f32 {
        (self.draw() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// Brings `items` in an order drawn by lot.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

/// What a language is evaluated with.
#[derive(Default)]
pub(crate) struct Drawn {
    lines: Vec<String>,
    pairs: [Vec<String>; 2],
    words: [Vec<String>; 2],
}

impl Drawn {
    /// The sets with their names: whole lines; a pair of neighbouring words of each line, and a word; a pair of
    /// neighbours among the words of [`LONG_WORD_LETTERS`] or more, and such a word.
    pub(crate) fn sets(&self) -> [(&'static str, &[String]); 5] {
        [
            ("sentences", &self.lines),
            ("word pairs", &self.pairs[0]),
            ("single words", &self.words[0]),
            ("long word pairs", &self.pairs[1]),
            ("long single words", &self.words[1]),
        ]
    }
}

/// What [`drawn`] draws by.
const SEED: u64 = 7;

/// Draws pairs and words from development lines. Chinese "words" are runs of characters between signs.
pub(crate) fn drawn(language: Language) -> Result<Drawn> {
    let mut drawn = Drawn::default();
    let mut lot = Lot(SEED + language.index() as u64);
    for (line, _) in of(language)?.into_iter().filter(|(_, development)| *development) {
        let any = words(&line);
        let is_long =
            |word: &&str| language == Language::Zh || word.chars().count() >= LONG_WORD_LETTERS;
        let long = any.iter().copied().filter(is_long).collect();
        for (kind, words) in [any, long].into_iter().enumerate() {
            if words.len() > 1 {
                let first = lot.below(words.len() - 1);
                drawn.pairs[kind].push(words[first..first + 2].join(" "));
            }
            if !words.is_empty() {
                drawn.words[kind].push(words[lot.below(words.len())].to_owned());
            }
        }
        drawn.lines.push(line);
    }
    Ok(drawn)
}
