//! Places in a text, in bytes and in characters.

use serde::Serialize;
use std::ops::Range;

/// A place in a text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Place {
    /// In bytes.
    pub bytes: Range<usize>,
    /// In characters (Unicode scalar values).
    pub chars: Range<usize>,
}

/// Bytes between two places whose characters are kept.
const STEP: usize = 256;

/// How many characters stand before some of the bytes of a text.
pub(crate) struct Places<'a> {
    text: &'a str,
    /// Characters before each byte of which the number is a multiple of [`STEP`]; none where all are ASCII.
    before: Vec<usize>,
}

impl<'a> Places<'a> {
    pub(crate) fn new(text: &'a str) -> Places<'a> {
        let mut before = Vec::new();
        if !text.is_ascii() {
            let mut chars = 0;
            for step in text.as_bytes().chunks(STEP) {
                before.push(chars);
                chars += count(step);
            }
        }
        Places { text, before }
    }

    /// The place of a range of bytes.
    pub(crate) fn place(&self, bytes: Range<usize>) -> Place {
        Place { chars: self.chars(&bytes), bytes }
    }

    /// The characters of a range of bytes.
    pub(crate) fn chars(&self, bytes: &Range<usize>) -> Range<usize> {
        self.before(bytes.start)..self.before(bytes.end)
    }

    fn before(&self, at: usize) -> usize {
        match self.before.get(at / STEP) {
            Some(before) => before + count(&self.text.as_bytes()[at / STEP * STEP..at]),
            // ASCII, or the end of a text of whole steps.
            None if self.before.is_empty() => at,
            None => match self.before.last() {
                Some(before) => {
                    before + count(&self.text.as_bytes()[(self.before.len() - 1) * STEP..at])
                }
                None => at,
            },
        }
    }
}

/// How many characters begin in some bytes.
fn count(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| (**byte as i8) >= -0x40).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_from_anywhere() {
        for text in ["", "abc", "né à Łódź 你好 \u{1f600}"] {
            for times in [1, 7, 256] {
                let text = text.repeat(times);
                let places = Places::new(&text);
                for (at, _) in text.char_indices().chain([(text.len(), ' ')]) {
                    assert_eq!(places.chars(&(0..at)).end, text[..at].chars().count());
                }
            }
        }
    }
}
