//! Sentences and words of raw text, with their places in it.
//!
//! A text is cut at spaces into chunks, a chunk at some of the gaps between its atoms into tokens; some tokens are several words; sentences end
//! at line ends and at some of the gaps between tokens. What happens at a gap is decided by averaged perceptrons over
//! hashed features, from left to right. Time is linear in the length of the text, memory bounded by a sentence.

mod breaks;
mod gaps;
mod pieces;
mod scan;
mod several;
pub mod train;

use crate::model::{self, Error, Reader};
use crate::table::Table;
use crate::word::lower;
use crate::{Language, hash};
use breaks::{Glimpse, SoFar};
use gaps::{Chunk, Longest};
pub use pieces::piece_end;
use scan::{Atom, Scan, kind};
use several::{Answer, Around, Several};
use std::ops::Range;

/// The version of the body that is written, and the newest that is read.
const VERSION: u16 = 1;

/// A longer sentence is cut.
pub const SENTENCE_TOKENS_MAX: usize = 512;

/// Places of the memory for tokens that were seen before: a power of two.
const MEMORY_PLACES: usize = 8192;

/// A segmenter of one language.
#[derive(Clone, Debug)]
pub struct Segmenter {
    language: Language,
    known: Table<1>,
    gaps: Table<1>,
    breaks: Table<1>,
    several: Several,
}

/// What stands in a text: a token, or a part of one where words are written together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Its bytes in the text.
    pub bytes: Range<usize>,
    /// Whether it is one token with the piece before it: a clitic.
    pub joined: bool,
    /// Whether a line ended, or the text began, before it.
    pub line: bool,
    glimpse: Glimpse,
    /// Whether a space stands before it.
    space: bool,
    answer: Answer,
}

/// Memory that is reused from text to text. What it holds changes no answer.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    atoms: Vec<Atom>,
    pieces: Vec<Piece>,
    /// How many pieces at the beginning were given out as a sentence.
    given: usize,
    memory: Vec<(u64, Glimpse, Answer)>,
    /// Known words among the atoms of a chunk.
    words: Vec<Longest>,
    /// Features that are looked up together.
    keys: Vec<u64>,
}

impl Segmenter {
    /// The segmenter of a model.
    ///
    /// # Errors
    /// Where it is none, or of a newer version.
    pub fn read(model: &model::Model) -> Result<Segmenter, Error> {
        let mut reader = Reader::new(&model.body);
        reader.version("the segmenter", VERSION)?;
        let language = model.language.ok_or(Error::Value { what: "language", value: 0 })?;
        let (known, gaps) = (Table::read(&mut reader)?, Table::read(&mut reader)?);
        let (breaks, several) = (Table::read(&mut reader)?, Several::read(&mut reader)?);
        Ok(Segmenter { language, known, gaps, breaks, several })
    }

    /// The body of its model.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(VERSION.to_le_bytes());
        self.known.write(&mut out);
        self.gaps.write(&mut out);
        self.breaks.write(&mut out);
        self.several.write(&mut out);
        out
    }

    /// Goes through a text sentence by sentence.
    pub fn walk<'a>(&'a self, text: &'a str, scratch: &'a mut Scratch) -> Walk<'a> {
        scratch.pieces.clear();
        scratch.given = 0;
        let scan = Scan::new(text, self.language == Language::Ar);
        Walk { segmenter: self, text, scan, scratch, done: false }
    }

    /// Whether words are written together without signs between, so that letters and known words tell where they end.
    fn by_letter(&self) -> bool {
        matches!(self.language, Language::Ar | Language::Zh)
    }

    /// What is known of a word in lower case: its most frequent tag, plus 1; or 0.
    fn known(&self, word: &str) -> u64 {
        let row = self.known.get(hash::bytes(word.as_bytes()));
        row.map_or(0, |row| u64::from(row[0]))
    }

    fn look(&self, text: &str, atoms: &[Atom], keys: &mut Vec<u64>) -> (Glimpse, Answer) {
        let mut glimpse = Glimpse::new(atoms);
        for role in 0..4 {
            keys.clear();
            glimpse.alone(role, |feature| keys.push(feature));
            glimpse.scores[role as usize] = sum(&self.breaks, keys);
        }
        let answer = match text.len() {
            0..=64 => self.several.of(&lower(text)),
            _ => Answer::One,
        };
        (glimpse, answer)
    }

    /// Tells `each` the words of piece `at` of a sentence, in order. False, and nothing told, where it is one word.
    pub fn words(&self, sentence: &Sentence<'_>, at: usize, mut each: impl FnMut(&str)) -> bool {
        let piece = &sentence.pieces[at];
        let number = match piece.answer {
            Answer::One => return false,
            Answer::Several(number) => number,
            Answer::Ask(number) => {
                let near = |at: Option<usize>| {
                    let piece = at.and_then(|at| sentence.pieces.get(at));
                    let clip = piece.filter(|piece| piece.bytes.len() <= 64);
                    clip.map_or(String::new(), |piece| lower(&sentence.text[piece.bytes.clone()]))
                };
                let (before, token, after) =
                    (near(at.checked_sub(1)), near(Some(at)), near(Some(at + 1)));
                let around = Around { before: &before, token: &token, after: &after };
                if !self.several.ask(number, &around, |word| self.known(word)) {
                    return false;
                }
                number
            }
        };
        let mut count = 0;
        self.several.split(number).apply(&sentence.text[piece.bytes.clone()], |word| {
            if !word.is_empty() {
                count += 1;
                each(word);
            }
        });
        count > 0
    }
}

/// A sentence in its text.
#[derive(Clone, Copy, Debug)]
pub struct Sentence<'a> {
    /// The whole text.
    pub text: &'a str,
    /// What stands in the sentence; never empty.
    pub pieces: &'a [Piece],
}

/// Goes through a text sentence by sentence.
#[derive(Debug)]
pub struct Walk<'a> {
    segmenter: &'a Segmenter,
    text: &'a str,
    scan: Scan<'a>,
    scratch: &'a mut Scratch,
    done: bool,
}

impl Walk<'_> {
    /// The next sentence.
    pub fn next_sentence(&mut self) -> Option<Sentence<'_>> {
        let given = std::mem::take(&mut self.scratch.given);
        self.scratch.pieces.drain(..given);
        let mut so_far = SoFar::default();
        let mut at = 0;
        loop {
            self.fill(at + 3);
            let piece = self.scratch.pieces.get(at)?;
            so_far.add(&piece.glimpse);
            at += 1;
            if self.ends(at, &so_far) {
                break;
            }
        }
        self.scratch.given = at;
        Some(Sentence { text: self.text, pieces: &self.scratch.pieces[..at] })
    }

    /// Whether a sentence ends before piece `at`.
    fn ends(&mut self, at: usize, so_far: &SoFar) -> bool {
        let Scratch { pieces, keys, .. } = &mut *self.scratch;
        let Some(next) = pieces.get(at).filter(|next| !next.line) else { return true };
        if next.joined {
            return false;
        }
        if at >= SENTENCE_TOKENS_MAX {
            return true;
        }
        let near = near(pieces, at);
        let alone: i16 = near.iter().enumerate().map(|(i, glimpse)| glimpse.scores[i]).sum();
        let lower = near[1].last == kind::LOWER && near[2].first == kind::LOWER;
        if lower && alone <= 0 {
            return false; // most gaps: what else there is to see there never made a sentence end in development data
        }
        keys.clear();
        breaks::of_gap(&near, next.space, so_far, |feature| keys.push(feature));
        alone + sum(&self.segmenter.breaks, keys) > 0
    }

    /// Reads on until there are `count` pieces.
    fn fill(&mut self, count: usize) {
        while self.scratch.pieces.len() < count && !self.done {
            let mut atoms = std::mem::take(&mut self.scratch.atoms);
            match self.scan.next(&mut atoms) {
                Some(line) => self.cut(&atoms, line),
                None => self.done = true,
            }
            self.scratch.atoms = atoms;
        }
    }

    /// Cuts a chunk into pieces.
    fn cut(&mut self, atoms: &[Atom], line: bool) {
        let segmenter = self.segmenter;
        let word = |range| segmenter.known(bytes_of(self.text, atoms, range));
        let mut words = std::mem::take(&mut self.scratch.words);
        words.clear();
        if segmenter.by_letter() {
            gaps::longest_words(atoms.len(), word, &mut words);
        }
        let chunk = Chunk::new(atoms, self.scan.peek(), &words);
        let mut start = 0;
        for at in 0..atoms.len() {
            let ends = at + 1 == atoms.len() || {
                let word = |range| segmenter.known(bytes_of(self.text, atoms, range));
                let keys = &mut self.scratch.keys;
                keys.clear();
                chunk.gap(at, start, word, |feature| keys.push(feature));
                sum(&segmenter.gaps, keys) > 0
            };
            if ends {
                self.push(&atoms[start..=at], start == 0, line && start == 0);
                start = at + 1;
            }
        }
        self.scratch.words = words;
    }

    fn push(&mut self, atoms: &[Atom], first: bool, line: bool) {
        let [head, ..] = atoms else { return };
        let bytes = head.bytes.start..atoms[atoms.len() - 1].bytes.end;
        let before = self.text.as_bytes()[..bytes.start].last();
        let space = first && before.is_some_and(|b| b.is_ascii_whitespace() || *b >= 0x80);
        let text = &self.text[bytes.clone()];
        let memory = &mut self.scratch.memory;
        let key = hash::bytes(text.as_bytes()) | 1;
        if memory.is_empty() {
            memory.resize(MEMORY_PLACES, (0, Glimpse::default(), Answer::One));
        }
        let place = &mut memory[(key >> 32) as usize % MEMORY_PLACES];
        if place.0 != key {
            let (glimpse, answer) = self.segmenter.look(text, atoms, &mut self.scratch.keys);
            *place = (key, glimpse, answer);
        }
        let (_, glimpse, answer) = *place;
        let last = self.scratch.pieces.last();
        let joined = !first
            && self.segmenter.language == Language::Ar
            && glimpse.first == kind::LETTERS
            && last.is_some_and(|last| last.glimpse.last == kind::LETTERS);
        self.scratch.pieces.push(Piece { bytes, joined, line, glimpse, space, answer });
    }
}

fn sum(weights: &Table<1>, keys: &[u64]) -> i16 {
    let mut sum = [0];
    weights.add(keys, &mut sum);
    sum[0]
}

/// What stands between the first and the last of some atoms.
fn bytes_of<'a>(text: &'a str, atoms: &[Atom], range: Range<usize>) -> &'a str {
    match atoms.get(range) {
        Some([first, .., last]) => &text[first.bytes.start..last.bytes.end],
        Some([one]) => &text[one.bytes.clone()],
        _ => "",
    }
}

/// The two pieces before a gap and the two after it, on the same line.
fn near(pieces: &[Piece], at: usize) -> [Glimpse; 4] {
    let glimpse =
        |i: Option<usize>| i.and_then(|i| pieces.get(i)).map_or(Glimpse::default(), |p| p.glimpse);
    let before2 = at.checked_sub(2).filter(|i| !pieces[i + 1].line);
    let after2 = Some(at + 1).filter(|i| pieces.get(*i).is_some_and(|piece| !piece.line));
    [glimpse(before2), glimpse(at.checked_sub(1)), glimpse(Some(at)), glimpse(after2)]
}

#[cfg(test)]
mod tests {
    use super::train::tests::treebanks;
    use super::*;
    use crate::model::{Card, Kind, Model};

    fn segmenter() -> Segmenter {
        train::train(Language::En, &treebanks(), &[], 1)
    }

    fn model(body: Vec<u8>) -> Model {
        let language = Some(Language::En);
        Model { kind: Kind::Segment, language, card: Card::default(), body }
    }

    #[test]
    fn sentences_and_tokens_are_found() {
        let segmenter = segmenter();
        let check = |text: &str, expected: &[&[&str]]| {
            let (mut scratch, mut found) = (Scratch::default(), Vec::new());
            let mut walk = segmenter.walk(text, &mut scratch);
            while let Some(sentence) = walk.next_sentence() {
                let forms = sentence.pieces.iter().map(|p| &text[p.bytes.clone()]);
                found.push(forms.collect::<Vec<_>>());
            }
            assert_eq!(found, expected, "{text:?}");
        };
        check("", &[]);
        check(" \n\t", &[]);
        check(
            "Mr. Lee doesn't like the cat. Ann knows the dog.",
            &[
                &["Mr.", "Lee", "doesn't", "like", "the", "cat", "."],
                &["Ann", "knows", "the", "dog", "."],
            ],
        );
        check("Ann sees\nBob", &[&["Ann", "sees"], &["Bob"]]);
    }

    #[test]
    fn tokens_of_several_words_keep_their_capitals() {
        let segmenter = segmenter();
        let check = |text: &str, expected: &[&str]| {
            let mut scratch = Scratch::default();
            let mut walk = segmenter.walk(text, &mut scratch);
            let sentence = walk.next_sentence().unwrap();
            let mut words = Vec::new();
            segmenter
                .words(&sentence, sentence.pieces.len() - 1, |word| words.push(word.to_owned()));
            assert_eq!(words, expected, "{text:?}");
        };
        check("Kim doesn't", &["does", "n't"]);
        check("Kim Doesn\u{2019}t", &["Does", "n\u{2019}t"]);
        check("KIM DOESN'T", &["DOES", "N'T"]);
        check("Kim sees", &[]);
    }

    #[test]
    fn a_sentence_has_a_bound() {
        let text = "dog ".repeat(3 * SENTENCE_TOKENS_MAX);
        let (segmenter, mut scratch, mut tokens) = (segmenter(), Scratch::default(), 0);
        let mut walk = segmenter.walk(&text, &mut scratch);
        while let Some(sentence) = walk.next_sentence() {
            assert!(sentence.pieces.len() <= SENTENCE_TOKENS_MAX);
            tokens += sentence.pieces.len();
        }
        assert_eq!(tokens, 3 * SENTENCE_TOKENS_MAX);
    }

    #[test]
    fn a_damaged_model_is_refused() {
        let body = segmenter().write();
        assert!(Segmenter::read(&model(body.clone())).is_ok());
        for at in (0..body.len()).step_by(body.len() / 200 + 1) {
            assert!(Segmenter::read(&model(body[..at].to_vec())).is_err(), "cut at {at}");
        }
        let mut newer = body;
        newer[0] += 1;
        assert!(Segmenter::read(&model(newer)).unwrap_err().to_string().contains("version"));
    }
}
