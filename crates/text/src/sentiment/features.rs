//! What the linear model sees in a text.
//!
//! Three groups: words, their pairs, and words under "not"; runs of letters; and a few hundred numbers: what each list of
//! the lexicon says in sum, which classes of words occur, in which order words for and against follow each other, and
//! how the text is written. The first two are found by
//! hash and divided by the square root of how many there are, so that long and short texts weigh alike.

use super::lexicon::{CLASSES_MAX, Entry, LISTS, Role};
use super::scan::{Kind, Scanned, Token, join};
use super::tables::Runs;

/// Runs of letters have so many, edges of the word included.
const RUN_MIN: usize = 3;
const RUN_MAX: usize = 5;
/// What stands for the edge of a word.
const EDGE: u64 = 1;
/// Of a word's value so much remains, with the other sign, where "not" stands before it: Taboada et al. (2011) shift
/// rather than flip, for much the same reason.
pub const TURNED: f32 = -0.7;

/// Numbers in the third group.
pub const DENSE: usize = META + METAS;
/// Where the numbers of each list begin, and how many there are of one; the sums of all lists come last.
const OF_LIST: usize = 11;
const ALL_LISTS: usize = LISTS * OF_LIST;
/// Where the classes begin; for each, how often it occurs, and how often under "not".
const CLASSES: usize = ALL_LISTS + 3;
/// Where patterns begin: pairs of neighbours among the tokens that have a sign, whatever stands between them.
const PATTERNS: usize = CLASSES + 2 * CLASSES_MAX;
/// Signs of tokens in a pattern; 0 stands for the beginning, and for the end.
const SIGNS: usize = 9;
/// Where the manner of writing begins.
const META: usize = PATTERNS + SIGNS * SIGNS;
const METAS: usize = 16;

/// Weights of the groups of numbers against each other: what they are multiplied by.
const LIST_SCALE: f32 = 0.5;
const CLASS_SCALE: f32 = 0.5;
const PATTERN_SCALE: f32 = 0.3;
const META_SCALE: f32 = 0.3;
/// A word has the sign of one side where the lists say at least so much in the mean.
const POLARITY_MIN: f32 = 0.15;

/// What takes the features.
pub trait Sink {
    /// A word, a pair, or a word under "not", as a hash.
    fn word(&mut self, hash: u64);
    /// The runs of letters of a word ([`runs`] tells them), and what they are known to come to.
    fn letters(&mut self, word: &[char], known: &Runs);
    /// One of the [`DENSE`] numbers; the same may come several times, and its values add up.
    fn dense(&mut self, place: usize, value: f32);
}

/// Shows all features to `sink`.
pub(crate) fn features(scanned: &Scanned, sink: &mut impl Sink) {
    let mut before = None;
    let mut sums = Sums::default();
    let mut sign_before = 0;
    for token in &scanned.tokens {
        let sign = sign(scanned, token);
        if sign > 0 {
            sink.dense(PATTERNS + sign_before * SIGNS + sign, PATTERN_SCALE);
            sign_before = sign;
        }
        if !matches!(token.kind, Kind::Word | Kind::Emoji | Kind::Signs) {
            continue;
        }
        sink.word(token.hash);
        if token.tagged {
            sink.word(join(token.hash, b'#'.into()));
        }
        if token.turned {
            sink.word(join(token.hash, b'!'.into()));
        }
        if let Some(before) = before {
            sink.word(join(join(before, b'+'.into()), token.hash));
        }
        before = Some(token.hash);
        if token.kind == Kind::Word {
            sink.letters(&scanned.chars[token.chars.clone()], &token.runs);
        }
        if let Some(entry) = &token.entry {
            sums.add(entry, token);
            if let Some(class) = entry.class() {
                sink.dense(CLASSES + class, CLASS_SCALE);
                if token.turned {
                    sink.dense(CLASSES + CLASSES_MAX + class, CLASS_SCALE);
                }
            }
        }
    }
    sink.dense(PATTERNS + sign_before * SIGNS, PATTERN_SCALE);
    sums.give(sink);
    manner(&scanned.tokens, sink);
}

/// The sign of a token in a pattern: for, against, not, a name, a question, a call, dots, an address; 0 if none.
fn sign(scanned: &Scanned, token: &Token) -> usize {
    if token.kind == Kind::Signs {
        match scanned.chars[token.chars.clone()] {
            ref signs if signs.iter().any(|c| matches!(c, '?' | '؟' | '？')) => return 5,
            ref signs if signs.iter().any(|c| matches!(c, '!' | '！')) => return 6,
            ['.', '.', ..] | ['…', ..] => return 7,
            _ => {}
        }
    }
    let Some(entry) = token.entry else {
        return match token.kind {
            Kind::Name => 4,
            Kind::Address => 8,
            _ => 0,
        };
    };
    let turn = if token.turned { -1.0 } else { 1.0 };
    match entry.polarity() * turn {
        _ if entry.role() == Role::Not => 3,
        _ if token.kind == Kind::Ruled => 0,
        polarity if polarity > POLARITY_MIN => 1,
        polarity if polarity < -POLARITY_MIN => 2,
        _ => 0,
    }
}

/// Tells the runs of letters of a word, each as a hash. A letter's number is multiplied by one that depends on its place in the run, and the
/// products are added: unlike a chain of mixing, the steps do not wait for each other.
pub fn runs(word: &[char], mut tell: impl FnMut(u64)) {
    const PLACES: [u64; RUN_MAX] = [
        0x9e37_79b9_7f4a_7c15,
        0xbf58_476d_1ce4_e5b9,
        0x94d0_49bb_1331_11eb,
        0xd6e8_feb8_6659_fd93,
        0xa076_1d64_78bd_642f,
    ];
    let edge = || std::iter::once(EDGE);
    let mut rest = edge().chain(word.iter().map(|c| u64::from(*c))).chain(edge());
    let (mut run, mut length) = ([0; RUN_MAX], 0);
    while let Some(place) = run.get_mut(length)
        && let Some(letter) = rest.next()
    {
        *place = letter;
        length += 1;
    }
    while length >= RUN_MIN {
        let mut sum = 0u64;
        for (count, (letter, place)) in (1..).zip(run[..length].iter().zip(PLACES)) {
            sum = sum.wrapping_add(letter.wrapping_mul(place));
            if count >= RUN_MIN {
                tell(sum ^ (sum >> 29));
            }
        }
        run.rotate_left(1);
        match rest.next() {
            Some(letter) => run[RUN_MAX - 1] = letter,
            None => length -= 1,
        }
    }
}

/// What the lists of the lexicon say.
#[derive(Default)]
struct Sums {
    /// For and against, by list.
    said: [[f32; 2]; LISTS],
    counts: [[f32; 2]; LISTS],
    last: f32,
}

impl Sums {
    fn add(&mut self, entry: &Entry, token: &Token) {
        let turn = if token.turned { TURNED } else { 1.0 };
        for list in 0..LISTS {
            if let Some(value) = entry.value(list) {
                let value = value * turn * token.degree;
                let side = usize::from(value < 0.0);
                self.said[list][side] += value.abs();
                self.counts[list][side] += 1.0;
                self.last = value;
            }
        }
    }

    fn give(&self, sink: &mut impl Sink) {
        let (mut all_for, mut all_against) = (0.0, 0.0);
        for list in 0..LISTS {
            let mut give =
                |at: usize, value: f32| sink.dense(list * OF_LIST + at, LIST_SCALE * value);
            let (said, counts) = (self.said[list], self.counts[list]);
            if counts == [0.0; 2] {
                give(10, 1.0);
                continue;
            }
            for (side, (said, count)) in said.iter().zip(counts).enumerate() {
                if count > 0.0 {
                    give(3 * side, said.sqrt());
                    give(3 * side + 1, count.sqrt());
                    give(3 * side + 2, 1.0);
                }
            }
            let [good, bad] = said;
            let difference = good - bad;
            give(6, difference.clamp(-2.0, 2.0));
            give(
                if difference > 0.2 {
                    7
                } else if difference < -0.2 {
                    8
                } else {
                    9
                },
                1.0,
            );
            all_for += good;
            all_against += bad;
        }
        let all = 2.0 * (all_for - all_against) / (1.0 + all_for + all_against);
        sink.dense(ALL_LISTS, LIST_SCALE * all);
        if self.last != 0.0 {
            sink.dense(ALL_LISTS + 1 + usize::from(self.last < 0.0), LIST_SCALE);
        }
    }
}

/// How a text is written.
fn manner(tokens: &[Token], sink: &mut impl Sink) {
    let any = |test: &dyn Fn(&Token) -> bool| tokens.iter().any(test);
    let loud = tokens.iter().filter(|token| token.loud).count();
    let is = |kind: Kind| move |token: &Token| token.kind == kind;
    let found = [
        loud > 0,
        any(&|token| token.drawn),
        any(&is(Kind::Address)),
        tokens.first().is_some_and(is(Kind::Name)),
        any(&is(Kind::Name)),
        any(&|token| token.tagged),
        any(&|token| token.turned),
        any(&is(Kind::Emoji)),
    ];
    for (place, _) in found.iter().enumerate().filter(|(_, found)| **found) {
        let value = if place == 0 { (loud as f32).sqrt() } else { 1.0 };
        sink.dense(META + place, META_SCALE * value);
    }
    sink.dense(META + 8 + (tokens.len() / 6).min(5), META_SCALE);
    // Always there.
    sink.dense(META + METAS - 1, 1.0);
}
