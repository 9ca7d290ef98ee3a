//! What is known of words: which tags they had in training, and what word lists say.

use crate::model::{Error, Reader};
use crate::table::Table;
use crate::{Upos, hash};

/// No tag, where one could stand.
pub(crate) const NONE: u32 = 31;

/// How many word lists can be told apart.
pub(crate) const LISTS_MAX: usize = 2;

/// A tag that a word had this many times less often than its most frequent one is not told.
const RARE: u32 = 25;

/// A word that stood this often in training, and with another tag than its most frequent one less than once in
/// [`SURE_SHARE`] times, is not looked at any more.
const SURE_COUNT: u32 = 40;

/// See [`SURE_COUNT`].
const SURE_SHARE: u32 = 500;

/// The bits that tell of tags.
const TAGS: u32 = 0x1ff_ffff;

/// The bit that tells that a word has one tag for sure.
const SURE: u32 = 1 << 25;

/// What is known of a word: up to three tags of its training data, how often it stood there, and the tags of word lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Known(u32);

impl Known {
    /// Of a word that nobody knows.
    pub(crate) const NOTHING: Known = Known(0x1ff_ffff);

    /// From how often a word had each tag, and from the tags that lists give it.
    pub(crate) fn new(counts: &[u32; Upos::COUNT], lists: [Option<Upos>; LISTS_MAX]) -> Known {
        let mut order: Vec<usize> = (0..Upos::COUNT).filter(|tag| counts[*tag] > 0).collect();
        order.sort_by_key(|tag| std::cmp::Reverse(counts[*tag]));
        let most = order.first().map_or(0, |tag| counts[*tag]);
        order.retain(|tag| counts[*tag] * RARE > most);
        let tag = |i: usize| order.get(i).map_or(NONE, |tag| *tag as u32);
        let list = |i: usize| lists[i].map_or(NONE, |tag| tag as u32);
        let all: u32 = counts.iter().sum();
        let sure = all >= SURE_COUNT && (all - most) * SURE_SHARE < all;
        let sure = if sure { SURE } else { 0 };
        Known(tag(0) | tag(1) << 5 | tag(2) << 10 | list(0) << 15 | list(1) << 20 | sure)
    }

    /// The tags in training alone, or a number where there are none.
    pub(crate) const fn class(self) -> u64 {
        self.0 as u64 & 0x7fff
    }

    /// The tags of word lists alone.
    pub(crate) const fn listed(self) -> u64 {
        (self.0 & TAGS) as u64 >> 15
    }

    /// All of that together.
    pub(crate) const fn code(self) -> u64 {
        (self.0 & TAGS) as u64
    }

    /// The tag of a word that is frequent and always has the same.
    pub(crate) fn sure(self) -> Option<Upos> {
        Some(self.0)
            .filter(|bits| bits & SURE != 0)
            .and_then(|bits| Upos::ALL.get(bits as usize & 31))
            .copied()
    }

    /// What is known, or `other` (a hash) of a word of which nothing is.
    pub(crate) const fn class_or(self, other: u64) -> u64 {
        if self.0 == Known::NOTHING.0 { other | 1 << 63 } else { self.code() }
    }
}

/// Known words, by the hash of their normal form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Lexicon(Table<4>);

impl Lexicon {
    /// From words and what is known of them; the order tells nothing.
    pub(crate) fn build(mut words: Vec<(u64, Known)>) -> Lexicon {
        words.sort_unstable_by_key(|(form, _)| *form);
        let rows: Vec<_> =
            words.iter().map(|(form, known)| (key(*form), known.0.to_le_bytes())).collect();
        Lexicon(Table::build(&rows))
    }

    pub(crate) fn get(&self, form: u64) -> Known {
        self.0.get(key(form)).map_or(Known::NOTHING, |row| Known(u32::from_le_bytes(*row)))
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Lexicon, Error> {
        Table::read(reader).map(Lexicon)
    }
}

fn key(form: u64) -> u64 {
    hash::feature(200, form)
}
