//! Words of texts and rules, as filters compare them.

use crate::sentiment::{is_emoji, is_han, is_unseen, normal};
use std::ops::Range;

/// Of a longer word only so many characters are compared.
const WORD_CHARS_MAX: usize = 64;

/// Tells `each` the words of a text: where they stand, and their normal form.
pub(super) fn each_word(text: &str, mut each: impl FnMut(Range<usize>, &[char])) {
    let mut normalised = Vec::with_capacity(WORD_CHARS_MAX);
    let mut word: Option<Range<usize>> = None;
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        let alone = is_han(c) || is_emoji(c);
        let within = c.is_alphanumeric() || c == '_' || is_mark(c) && word.is_some();
        if is_unseen(c) || c == '\u{ad}' {
            continue;
        }
        if (alone || !within)
            && let Some(word) = word.take()
        {
            tell(word, &mut normalised, &mut each);
        }
        if alone {
            normalised.push(c);
            tell(at..end, &mut normalised, &mut each);
        } else if within {
            word.get_or_insert(at..end).end = end;
            if normalised.len() < WORD_CHARS_MAX
                && let Some(c) = normal(c, &mut normalised, 0)
            {
                normalised.push(c);
            }
        }
    }
    if let Some(word) = word {
        tell(word, &mut normalised, &mut each);
    }
}

/// Tells of a word, unless it was of marks alone, and forgets it.
fn tell(
    word: Range<usize>,
    normalised: &mut Vec<char>,
    each: &mut impl FnMut(Range<usize>, &[char]),
) {
    if !normalised.is_empty() {
        each(word, normalised);
    }
    normalised.clear();
}

/// The exact form of a word: as it is written, composed, at the same length.
pub(super) fn exact(word: &str) -> String {
    use unicode_normalization::UnicodeNormalization as _;
    match word.is_ascii() {
        true => word.chars().take(WORD_CHARS_MAX).collect(),
        false => {
            let seen = word.chars().filter(|c| !is_unseen(*c) && *c != '\u{ad}');
            seen.take(2 * WORD_CHARS_MAX).nfc().take(WORD_CHARS_MAX).collect()
        }
    }
}

fn is_mark(c: char) -> bool {
    unicode_normalization::char::is_combining_mark(c)
}
