//! What is looked at to find names.
//!
//! As in the tagger, what depends on one word alone is summed once per word, into one row for each place that the word can have from
//! the word to be labelled. What depends on several words or on parts of speech is looked up for each word. No feature
//! depends on labels: those that follow each other have steps of their own.

use super::names::Known;
use crate::Upos;
use crate::hash::{feature, join};
use crate::word::{STEMS, Seen};

/// How far away a word is that still has a say: itself, two before, one before, one after, two after.
pub(super) const ROLES: usize = 5;

/// What is seen of a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Look {
    pub(super) seen: Seen,
    /// Hashes of the normal form without its last characters.
    pub(super) stems: [u64; STEMS],
    pub(super) known: Known,
}

/// What features of several words need of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Light {
    form: u64,
    suffix: u64,
    shape: u64,
    kinds: u64,
    most: u64,
    case: Case,
}

/// Upper and lower case of a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Case {
    Upper,
    Lower,
    Neither,
}

/// A word, for what depends on its neighbours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) light: Light,
    /// Its part of speech, or a number for none.
    pub(super) upos: u64,
}

impl Place {
    /// What stands before the first word and after the last.
    pub(super) const EDGE: Place = Place { light: Light::EDGE, upos: Upos::COUNT as u64 };
}

impl Light {
    pub(super) const EDGE: Light =
        Light { form: 1, suffix: 1, shape: 1, kinds: 1 << 10, most: 1 << 10, case: Case::Neither };

    pub(super) fn new(look: &Look) -> Light {
        let Look { seen, known, .. } = look;
        let ending = seen.suffixes[..3].iter().rev().find(|suffix| **suffix != 0);
        let case = match seen {
            seen if seen.upper => Case::Upper,
            seen if seen.lower => Case::Lower,
            _ => Case::Neither,
        };
        Light {
            form: seen.form,
            suffix: ending.copied().unwrap_or_default(),
            shape: seen.shape,
            kinds: known.kinds(),
            most: known.most(),
            case,
        }
    }
}

/// Features of a word in a role.
pub(super) fn of_word(role: usize, look: &Look, mut emit: impl FnMut(u64)) {
    let Look { seen, stems, known } = look;
    let mut see = |template: u32, value: u64| emit(feature(template, value));
    if role != 0 {
        let light = Light::new(look);
        let mut see = |template: u32, value: u64| see(50 + role as u32 * 10 + template, value);
        see(0, light.form);
        see(1, light.shape);
        see(2, light.kinds);
        see(3, light.suffix);
        see(4, seen.exact);
        see(5, stems[1]);
        return;
    }
    see(0, 0);
    see(1, seen.form);
    see(2, seen.exact);
    for (i, suffix) in (0..).zip(seen.suffixes).filter(|(_, suffix)| *suffix != 0) {
        see(3 + i, suffix);
        if (1..4).contains(&i) {
            see(10 + i, join(suffix, seen.shape));
        }
    }
    for (i, prefix) in (0..).zip(seen.prefixes).filter(|(_, prefix)| *prefix != 0) {
        see(14 + i, prefix);
    }
    for (i, stem) in (0..).zip(stems).filter(|(_, stem)| **stem != 0) {
        see(18 + i, *stem);
    }
    see(22, seen.shape);
    see(23, seen.long_shape);
    see(24, known.code());
    see(25, join(known.code(), seen.shape));
    see(26, known.kinds());
    see(27, known.most());
    see(28, u64::from(seen.length.min(12)) << 1 | u64::from(seen.upper));
}

/// Features of a place at either end of the sentence, in a role.
pub(super) fn of_edge(role: usize, mut emit: impl FnMut(u64)) {
    if role != 0 {
        emit(feature(50 + role as u32 * 10, Light::EDGE.form));
    }
}

/// How a sentence is written: whether it has a verb, how long it is, how much of it is in upper case.
pub(super) fn style(places: &[Place]) -> u64 {
    let verb = |place: &Place| matches!(place.upos, VERB | AUX);
    let with = |case: Case| places.iter().skip(1).filter(|place| place.light.case == case).count();
    let (upper, lower) = (with(Case::Upper), with(Case::Lower));
    let long = match places.len() {
        0..=5 => 0,
        6..=12 => 1,
        _ => 2,
    };
    let much = match (upper, lower) {
        (0, _) => 0,
        (upper, lower) if upper > lower => 2,
        _ => 1,
    };
    u64::from(places.iter().any(verb)) | long << 1 | much << 3
}

const VERB: u64 = Upos::Verb as u64;
const AUX: u64 = Upos::Aux as u64;

/// Features of words together; `near` are the words from two before to two after.
#[inline]
pub(super) fn of_words(near: &[Place; 5], style: u64, mut emit: impl FnMut(u64)) {
    let mut see = |template: u32, a: u64, b: u64| emit(feature(120 + template, join(a, b)));
    let [before2, before, word, after, after2] = near;
    let (b, w, a) = (&before.light, &word.light, &after.light);
    see(0, b.form, w.form);
    see(1, w.form, a.form);
    see(2, b.form, w.shape);
    see(3, w.shape, a.form);
    see(4, join(b.shape, w.shape), a.shape);
    see(5, word.upos, w.shape);
    see(6, word.upos, w.form);
    see(7, before.upos, word.upos);
    see(8, word.upos, after.upos);
    see(9, join(before.upos, word.upos), after.upos);
    see(10, join(before2.upos, before.upos), word.upos);
    see(11, join(word.upos, after.upos), after2.upos);
    see(12, word.upos, w.kinds);
    see(13, b.kinds, w.kinds);
    see(14, w.kinds, a.kinds);
    see(15, join(b.most, w.most), a.most);
    see(16, style, w.shape);
    see(17, style, w.most);
    see(18, join(before.upos, w.shape), after.upos);
    see(19, b.suffix, w.shape);
    see(20, w.shape, a.suffix);
    see(21, before2.light.form, b.form);
    see(22, a.form, after2.light.form);
    see(23, b.form, a.form);
    see(24, join(style, word.upos), w.shape);
}
