//! Sentences and words of raw text, with their places in it.
//!
//! A text is cut at spaces into chunks, a chunk at some of the gaps between its atoms into tokens; some tokens are several words; sentences end
//! at line ends and at some of the gaps between tokens. What happens at a gap is decided by averaged perceptrons over
//! hashed features, from left to right. Where letters count (Arabic, Chinese), what runs of them say of the gaps around is summed
//! for a whole chunk at once. Time is linear in the length of the text, memory bounded by a sentence.

mod breaks;
mod gaps;
mod pieces;
mod scan;
mod several;
pub mod train;

use crate::memory::Memory;
use crate::model::{self, Error, Reader};
use crate::table::{Asked, Table};
use crate::word::{Variants, lower};
use crate::{Language, hash};
use breaks::{Glimpse, SoFar};
use gaps::{Chunk, REACH, RUNS, Words};
pub use pieces::piece_end;
use scan::{Atom, Scan, kind};
use several::{Answer, Around, Several};
use std::ops::Range;

/// The version of the body that is written and read.
const VERSION: u16 = 3;

/// A longer sentence is cut.
pub const SENTENCE_TOKENS_MAX: usize = 512;

/// Longer chunks, in atoms, are not remembered, nor are clauses: they do not come again.
const MEMORY_ATOMS_MAX: usize = 24;

/// Places of the memory for tokens, and of that for chunks, that were seen before: a power of two.
const MEMORY_PLACES: usize = 8192;

/// What stands between two spaces is not cut at a gap against which runs of letters say so much: what else there is to see
/// there hardly ever made a token end in development data.
const RUNS_AGAINST: i16 = -100;

/// No sentence ends where the tokens around, each for itself, say so much against it: what they say together hardly ever made
/// one end there in development data. Between two in lower case it never did where they said anything against it.
const TOKENS_AGAINST: i16 = -200;

/// A segmenter of one language.
#[derive(Clone, Debug)]
pub struct Segmenter {
    language: Language,
    variants: Variants,
    /// Words by [`Segmenter::word_key`].
    known: Table<1>,
    /// What runs of letters say of the gaps around them.
    runs: Table<REACH>,
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
    /// The hash of its bytes.
    pub(crate) hash: u64,
    glimpse: Glimpse,
    /// Whether a space stands before it.
    space: bool,
    answer: Answer,
}

/// Memory that is reused from text to text, in whatever language. What it holds changes no answer.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    atoms: Vec<Atom>,
    pieces: Vec<Piece>,
    /// How many pieces at the beginning were given out as a sentence.
    given: usize,
    memory: Memory<(Glimpse, Answer), MEMORY_PLACES>,
    /// Known words among the atoms of a chunk.
    words: Vec<Words>,
    /// What runs of letters say of the gaps of a chunk.
    scores: Vec<i16>,
    /// Chunks that were cut before: the hash of their bytes, and after which of their atoms a token ends.
    chunks: Memory<u64, MEMORY_PLACES>,
    /// Features that are looked up together.
    asked: Asked,
}

impl Segmenter {
    /// The segmenter of a model.
    ///
    /// # Errors
    /// Where it is none, or of another version.
    pub fn read(model: &model::Model) -> Result<Segmenter, Error> {
        let mut reader = Reader::new(&model.body);
        reader.version("the segmenter", VERSION)?;
        let language = model.language.ok_or(Error::Value { what: "language", value: 0 })?;
        let variants = Variants::read(&mut reader)?;
        let (known, runs) = (Table::read(&mut reader)?, Table::read(&mut reader)?);
        let gaps = Table::read(&mut reader)?;
        let (breaks, several) = (Table::read(&mut reader)?, Several::read(&mut reader)?);
        Ok(Segmenter { language, variants, known, runs, gaps, breaks, several })
    }

    /// The body of its model.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(VERSION.to_le_bytes());
        self.variants.write(&mut out);
        self.known.write(&mut out);
        self.runs.write(&mut out);
        self.gaps.write(&mut out);
        self.breaks.write(&mut out);
        self.several.write(&mut out);
        out
    }

    /// Goes through a text sentence by sentence.
    pub fn walk<'a>(&'a self, text: &'a str, scratch: &'a mut Scratch) -> Walk<'a> {
        scratch.pieces.clear();
        scratch.given = 0;
        let scan = self.scan(text);
        Walk { segmenter: self, text, scan, scratch, done: false }
    }

    fn scan<'a>(&'a self, text: &'a str) -> Scan<'a> {
        Scan::new(text, self.language == Language::Ar, &self.variants)
    }

    /// Whether chunks are what stands between spaces, rather than clauses.
    fn spaced(&self) -> bool {
        self.language != Language::Zh
    }

    /// Whether words are written together without signs between, so that letters and known words tell where they end.
    fn by_letter(&self) -> bool {
        matches!(self.language, Language::Ar | Language::Zh)
    }

    /// What is known of a word in lower case: its most frequent tag, plus 1; or 0.
    fn known(&self, word: &str) -> u64 {
        let row = self.known.get(self.word_key(word));
        row.map_or(0, |row| u64::from(row[0] & !gaps::LONGER))
    }

    /// The key of a word in lower case: where words are looked for letter by letter, that of its atoms.
    fn word_key(&self, word: &str) -> u64 {
        if !self.by_letter() {
            return hash::bytes(word.as_bytes());
        }
        let mut atoms = Vec::new();
        self.scan(word).next(&mut atoms);
        atoms.iter().fold(0, gaps::word_key)
    }

    fn look(&self, text: &str, atoms: &[Atom], asked: &mut Asked) -> (Glimpse, Answer) {
        let mut glimpse = Glimpse::new(atoms);
        for role in 0..breaks::ROLES {
            glimpse.alone(role, |feature| self.breaks.ask(feature, asked));
        }
        self.breaks.each(asked, |number, [weight]| {
            let score = &mut glimpse.scores[number / breaks::ALONE];
            *score = score.wrapping_add(i16::from(*weight as i8));
        });
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
        let Scratch { pieces, asked, .. } = &mut *self.scratch;
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
        if alone <= TOKENS_AGAINST || lower && alone <= 0 {
            return false; // most gaps
        }
        let breaks = &self.segmenter.breaks;
        breaks::of_gap(&near, next.space, so_far, |feature| breaks.ask(feature, asked));
        alone + sum(breaks, asked) > 0
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
        let (Some(first), Some(last)) = (atoms.first(), atoms.last()) else { return };
        if atoms.len() == 1 {
            return self.push(atoms, true, line);
        }
        let next = self.scan.peek();
        if atoms.len() > MEMORY_ATOMS_MAX || !self.segmenter.spaced() {
            return self.decide(atoms, next, |walk, atoms, first| {
                walk.push(atoms, first, line && first);
            });
        }
        let bytes = &self.text.as_bytes()[first.bytes.start..last.bytes.end];
        let salt = hash::salt(Some(self.segmenter.language));
        let key = hash::join(hash::bytes(bytes), next.into()) ^ salt;
        let mut ends = self.scratch.chunks.find(key).unwrap_or_else(|| {
            let (mut ends, mut count) = (0u64, 0);
            self.decide(atoms, next, |_, atoms, _| {
                count += atoms.len();
                ends |= 1 << (count - 1);
            });
            self.scratch.chunks.keep(key, ends);
            ends
        });
        let mut start = 0;
        while ends != 0 {
            let end = ends.trailing_zeros() as usize + 1;
            self.push(&atoms[start..end], start == 0, line && start == 0);
            ends &= ends - 1;
            start = end;
        }
    }

    /// Tells `each` the tokens of a chunk, and which is the first; `next` is the kind of what follows the chunk.
    fn decide(
        &mut self,
        atoms: &[Atom],
        next: u32,
        mut each: impl FnMut(&mut Self, &[Atom], bool),
    ) {
        let segmenter = self.segmenter;
        let mut words = std::mem::take(&mut self.scratch.words);
        words.clear();
        if segmenter.by_letter() {
            let find = |key| segmenter.known.get(key).map(|row| row[0]);
            gaps::known_words(atoms, find, &mut words);
        }
        self.add_runs(atoms);
        let chunk = Chunk::new(atoms, next, &words, segmenter.spaced());
        let mut start = 0;
        for at in 0..atoms.len() {
            let ends = at + 1 == atoms.len() || {
                let Scratch { asked, scores, .. } = &mut *self.scratch;
                let runs = scores[at + REACH - 2];
                let open = runs > RUNS_AGAINST || !segmenter.spaced();
                open && {
                    chunk.gap(at, start, |feature| segmenter.gaps.ask(feature, asked));
                    runs + sum(&segmenter.gaps, asked) > 0
                }
            };
            if ends {
                each(self, &atoms[start..=at], start == 0);
                start = at + 1;
            }
        }
        self.scratch.words = words;
    }

    /// Sums what runs of letters say of each gap: of the gap after atom `at` at place `at + REACH - 2`.
    fn add_runs(&mut self, atoms: &[Atom]) {
        let Scratch { asked, scores, .. } = &mut *self.scratch;
        scores.clear();
        scores.resize(atoms.len() + REACH, 0);
        if !self.segmenter.by_letter() {
            return;
        }
        let runs = &self.segmenter.runs;
        gaps::runs(atoms, |key| runs.ask(key, asked));
        runs.each(asked, |number, row| {
            let places = &mut scores[number / RUNS..][..REACH];
            for (score, weight) in places.iter_mut().zip(row) {
                *score = score.wrapping_add(i16::from(*weight as i8));
            }
        });
    }

    fn push(&mut self, atoms: &[Atom], first: bool, line: bool) {
        let [head, ..] = atoms else { return };
        let bytes = head.bytes.start..atoms[atoms.len() - 1].bytes.end;
        let before = self.text.as_bytes()[..bytes.start].last();
        let space = first && before.is_some_and(|b| b.is_ascii_whitespace() || *b >= 0x80);
        let text = &self.text[bytes.clone()];
        let Scratch { memory, asked, .. } = &mut *self.scratch;
        let hash = hash::bytes(text.as_bytes());
        let key = hash ^ hash::salt(Some(self.segmenter.language));
        let (glimpse, answer) = memory.get(key, || self.segmenter.look(text, atoms, asked));
        let last = self.scratch.pieces.last();
        let joined = !first
            && self.segmenter.language == Language::Ar
            && glimpse.first == kind::LETTERS
            && last.is_some_and(|last| last.glimpse.last == kind::LETTERS);
        self.scratch.pieces.push(Piece { bytes, joined, line, hash, glimpse, space, answer });
    }
}

fn sum(weights: &Table<1>, asked: &mut Asked) -> i16 {
    let mut sum = [0];
    weights.add(asked, &mut sum);
    sum[0]
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
    fn letters_and_known_words_tell_where_tokens_end() {
        let words = ["我们", "喜欢", "他", "的", "图书馆", "和", "狗", "图书", "学生", "看"];
        let mut random = hash::Random::new(1);
        let mut treebank = String::new();
        for _ in 0..400 {
            for number in 1..8 {
                let word = words[random.below(words.len())];
                treebank += &format!("{number}\t{word}\t_\tX\t_\t_\t_\t_\t_\tSpaceAfter=No\n");
            }
            treebank += "8\t。\t_\tPUNCT\t_\t_\t_\t_\t_\tSpaceAfter=No\n\n";
        }
        let sentences = crate::conllu::read(&treebank).unwrap();
        let treebanks =
            treebanks().into_iter().map(|t| train::Treebank { sentences: sentences.clone(), ..t });
        let trained = train::train(Language::Zh, &treebanks.collect::<Vec<_>>(), &[], 1);
        let language = Some(Language::Zh);
        let model = Model { language, ..model(trained.write()) };
        let segmenter = Segmenter::read(&model).unwrap();
        let mut scratch = Scratch::default();
        // The second time from memory.
        for _ in 0..2 {
            let text = "学生看图书馆的狗。我们喜欢图书和他";
            let (mut found, mut walk) = (Vec::new(), segmenter.walk(text, &mut scratch));
            while let Some(sentence) = walk.next_sentence() {
                found.extend(sentence.pieces.iter().map(|piece| &text[piece.bytes.clone()]));
            }
            let expected = "学生 看 图书馆 的 狗 。 我们 喜欢 图书 和 他";
            assert_eq!(found, expected.split(' ').collect::<Vec<_>>());
        }
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
