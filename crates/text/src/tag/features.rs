//! What the tagger looks at.
//!
//! What depends on one word alone (how it looks, what lists say of it) is summed once per word: what it says of itself, and what it
//! says of each of the words around it, whose rows lie side by side. What depends on two words or on the tags before is
//! looked up for each word.

use super::lexicon::Known;
use crate::hash::{feature, join, mix};
use crate::word::Seen;

/// The words around on which a word has a say: it is the second before, the one before, the next, or the one after that.
pub(crate) const NEAR: usize = 4;

/// What pairs and histories need of a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Light {
    pub(crate) form: u64,
    pub(crate) suffix: u64,
    pub(crate) class: u64,
    pub(crate) shape: u64,
}

impl Light {
    pub(crate) fn new(seen: &Seen, known: Known) -> Light {
        // Of ideographs one is an ending.
        let (ending, short) = match seen.ideographs {
            true => (Some(&seen.suffixes[0]), seen.suffixes[0]),
            false => (
                seen.suffixes[..3].iter().rev().find(|s| **s != 0),
                seen.suffixes[1].max(seen.suffixes[0]),
            ),
        };
        Light {
            form: seen.form,
            suffix: ending.copied().unwrap_or_default(),
            class: known.class_or(short),
            shape: seen.shape,
        }
    }

    /// What stands before the first word and after the last.
    pub(crate) const EDGE: Light = Light { form: 1, suffix: 1, class: 1, shape: 1 };
}

/// Features that a word has for itself; `find` tells what is known of another word, by its normal form.
pub(crate) fn of_word(
    seen: &Seen,
    known: Known,
    find: impl Fn(u64) -> Known,
    mut emit: impl FnMut(u64),
) {
    let light = Light::new(seen, known);
    of_parts(seen, known, &light, find, &mut emit);
    let mut see = |template: u32, value: u64| emit(feature(template, value));
    see(0, 0);
    see(1, seen.form);
    see(2, seen.exact);
    let (shape, capital) = (seen.shape, u64::from(seen.capital));
    for (i, suffix) in (0..).zip(seen.suffixes).filter(|(_, suffix)| *suffix != 0) {
        see(3 + i, suffix);
        if i < 4 {
            see(9 + i, join(suffix, shape));
        }
    }
    for (i, prefix) in (0..).zip(seen.prefixes).filter(|(_, prefix)| *prefix != 0) {
        see(13 + i, prefix);
    }
    see(17, shape);
    see(18, seen.long_shape);
    see(19, u64::from(seen.length.min(12)) << 1 | capital);
    see(20, known.code());
    see(21, known.class());
    see(22, join(known.class(), shape));
    see(23, known.listed());
    see(24, join(known.listed(), shape));
    see(25, join(known.class(), light.suffix));
    see(26, u64::from(seen.mixed) << 1 | capital);
}

/// Features of the longest known words that a word ends and begins with.
fn of_parts(
    seen: &Seen,
    known: Known,
    light: &Light,
    find: impl Fn(u64) -> Known,
    mut emit: impl FnMut(u64),
) {
    // With how many characters are left out.
    let longest = |forms: &[u64]| {
        let forms = forms.iter().zip(1u64..).take_while(|(form, _)| **form != 0);
        let mut found = forms.map(|(form, left_out)| (find(*form), left_out));
        let (known, left_out) =
            found.find(|(known, _)| *known != Known::NOTHING).unwrap_or((Known::NOTHING, 0));
        (known, join(known.code(), left_out))
    };
    let ((tail, tail_code), (head, head_code)) = (longest(&seen.tails), longest(&seen.heads));
    let mut see = |template: u32, a: u64, b: u64| emit(feature(300 + template, join(a, b)));
    see(0, tail_code, 0);
    see(1, head_code, 0);
    see(2, tail_code, head_code);
    see(3, known.code(), tail.code());
    see(4, known.code(), head.code());
    see(5, tail.class(), light.suffix);
    see(6, join(tail.class(), head.class()), seen.shape);
}

/// Features that a word has for the words around it; what each says of one of these is [`from`] there.
pub(crate) fn of_neighbour(light: &Light, known: Known, mut emit: impl FnMut(u64)) {
    let mut see = |template: u32, value: u64| emit(feature(30 + template, value));
    see(0, light.form);
    see(1, known.code());
    see(2, light.shape);
    see(3, light.suffix);
}

/// The feature that a place at either end of the sentence has for the words around it.
pub(crate) const EDGE: u64 = feature(30, Light::EDGE.form);

/// The key of what feature `key` says from one of the [`NEAR`] places.
pub(crate) fn from(key: u64, place: usize) -> u64 {
    mix(join(key, place as u64))
}

/// Features of words together; `near` are the words from two before to two after.
#[inline]
pub(crate) fn of_words(near: &[Light; 5], mut emit: impl FnMut(u64)) {
    let mut see = |template: u32, a: u64, b: u64| emit(feature(100 + template, join(a, b)));
    let [before2, before, word, after, after2] = near;
    see(0, before.form, word.form);
    see(1, word.form, after.form);
    see(2, before.class, word.class);
    see(3, word.class, after.class);
    see(4, before.class, after.class);
    see(5, word.form, after.class);
    see(6, join(before.class, word.class), after.class);
    see(7, join(word.class, after.class), after2.class);
    see(8, join(before.shape, word.shape), after.shape);
    see(9, word.suffix, after.suffix);
    let _ = before2;
}

/// Features of the tags before, `last` and the one before it `second`, with the words around.
#[inline]
pub(crate) fn of_history(last: u8, second: u8, near: &[Light; 5], mut emit: impl FnMut(u64)) {
    let (last, both) = (u64::from(last), u64::from(last) << 8 | u64::from(second));
    let mut see = |template: u32, a: u64, b: u64| emit(feature(120 + template, join(a, b)));
    let [_, before, word, after, after2] = near;
    see(0, last, 0);
    see(1, both, 0);
    see(2, last, word.form);
    see(3, last, word.class);
    see(4, last, word.suffix);
    see(5, both, word.class);
    see(6, last, join(word.class, after.class));
    see(7, last, after.form);
    see(8, last, before.form);
    see(9, both, word.form);
    see(10, last, join(join(word.class, after.class), after2.class));
}
