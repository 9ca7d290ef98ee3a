//! Where a chunk is cut into tokens: what is looked at for each gap between two atoms.

use super::scan::{Atom, kind};
use crate::hash::{feature, join};
use std::ops::Range;

/// A chunk, as gaps see it.
pub(super) struct Chunk<'a> {
    pub(super) atoms: &'a [Atom],
    /// The hash of all its atoms.
    form: u64,
    /// The kind of the first atom of the next chunk, roughly.
    next: u32,
    /// For each atom the longest known word that begins with it; empty where letters do not count.
    words: &'a [Longest],
}

/// The longest known word of several atoms that begins with an atom.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Longest {
    /// The atom after its last one; 0 where there is none.
    end: usize,
    /// What is known of it.
    known: u64,
}

/// Looks for known words among atoms; `word` tells what is known of a range of them.
pub(super) fn longest_words(
    count: usize,
    word: impl Fn(Range<usize>) -> u64,
    words: &mut Vec<Longest>,
) {
    words.clear();
    words.extend((0..count).map(|from| {
        let ends = (from + 2..=count.min(from + WORD_ATOMS_MAX)).rev();
        let known = ends.map(|end| Longest { end, known: word(from..end) });
        known.into_iter().find(|longest| longest.known != 0).unwrap_or_default()
    }));
}

/// Of a longer chunk only this many atoms make its form.
const FORM_ATOMS_MAX: usize = 24;

impl<'a> Chunk<'a> {
    pub(super) fn new(atoms: &'a [Atom], next: u32, words: &'a [Longest]) -> Chunk<'a> {
        let form = atoms.iter().take(FORM_ATOMS_MAX).fold(3, |hash, atom| join(hash, atom.form));
        Chunk { atoms, form, next: next.min(kind::SIGNS), words }
    }

    fn kind(&self, at: usize, away: isize) -> u64 {
        let atom = at.checked_add_signed(away).and_then(|at| self.atoms.get(at));
        atom.map_or(kind::NONE, |atom| atom.kind).into()
    }

    fn form(&self, at: usize, away: isize) -> u64 {
        let atom = at.checked_add_signed(away).and_then(|at| self.atoms.get(at));
        atom.map_or(1, |atom| atom.form)
    }

    /// The features of the gap after atom `at`; the token that it would end begins with atom `start`.
    /// `word` tells of a range of atoms what is known of it as a word.
    pub(super) fn gap(
        &self,
        at: usize,
        start: usize,
        word: impl Fn(Range<usize>) -> u64,
        mut emit: impl FnMut(u64),
    ) {
        let k = |away| self.kind(at, away);
        let f = |away| self.form(at, away);
        let mut see = |template: u32, a: u64, b: u64| emit(feature(300 + template, join(a, b)));
        let pair = join(k(0), k(1));
        let count = self.atoms.len();
        see(0, 0, 0);
        see(1, self.form, at as u64);
        see(2, pair, 0);
        see(3, pair, k(-1));
        see(4, pair, k(2));
        see(5, join(pair, k(-1)), k(2));
        see(6, f(0), k(1));
        see(7, k(0), f(1));
        see(8, f(0), f(1));
        see(9, join(k(0), f(1)), k(2));
        see(10, join(k(-1), f(0)), k(1));
        see(11, join(f(-1), f(0)), k(1));
        see(12, join(k(0), f(1)), f(2));
        let ends = u64::from(at == 0) << 1 | u64::from(at + 2 == count);
        see(13, pair, ends);
        let last = u64::from(at + 2 == count) * (1 + u64::from(self.next));
        see(14, pair, last);
        see(15, join(f(0), k(1)), last);
        see(16, join(f(-1), pair), last);
        let begun =
            (start.max(at.saturating_sub(8))..=at).fold(5, |hash, i| join(hash, self.kind(i, 0)));
        see(17, begun, k(1));
        see(18, begun, join(k(1), k(2)));
        let first = (self.kind(start, 0), (at - start).min(5) as u64);
        see(19, pair, join(first.0, first.1));
        let rest = (at + 1..count.min(at + 7)).fold(7, |hash, i| join(hash, self.kind(i, 0)));
        see(20, k(0), rest);
        see(21, k(-2), join(k(-1), pair));
        if !self.words.is_empty() {
            self.letters(at, start, word, emit);
        }
    }

    fn letters(
        &self,
        at: usize,
        start: usize,
        word: impl Fn(Range<usize>) -> u64,
        mut emit: impl FnMut(u64),
    ) {
        let f = |away| self.form(at, away);
        let mut see = |template: u32, a: u64, b: u64| emit(feature(340 + template, join(a, b)));
        for (i, away) in (0..).zip(-2..=3) {
            see(i, f(away), 0);
        }
        for (i, away) in (6..).zip(-2..=2) {
            see(i, f(away), f(away + 1));
        }
        see(11, f(-1), f(1));
        see(12, f(0), f(2));
        see(13, join(f(-1), f(0)), f(1));
        see(14, join(f(0), f(1)), f(2));
        let length = at + 1 - start;
        let token = (start.max((at + 1).saturating_sub(FORM_ATOMS_MAX))..=at)
            .fold(9, |hash, i| join(hash, self.form(i, 0)));
        see(15, token, 0);
        see(16, token, f(1));
        see(17, length.min(6) as u64, self.kind(at, 1));
        see(18, length.min(6) as u64, word(start..at + 1));
        let count = self.atoms.len();
        // The longest known words: that begins after the gap, that begins with the token, and whether any stands across.
        let after = self.words[at + 1];
        let length_after = after.end.saturating_sub(at + 1) as u64;
        see(19, length_after, after.known);
        let begun =
            Some(self.words[start]).filter(|longest| longest.end > at + 1).unwrap_or_default();
        let length_begun = begun.end.saturating_sub(start) as u64;
        see(20, length_begun, begun.known);
        let known = word(start..at + 1);
        see(21, join(length_begun, length_after), join(known, length.min(6) as u64));
        let first = start.max((at + 1).saturating_sub(WORD_ATOMS_MAX));
        let across = self.words[first..=at].iter().any(|longest| longest.end > at + 1);
        see(22, across.into(), join(length_after, u64::from(known != 0)));
        if at + 1 < 5 || count - at < 6 {
            see(23, (at + 1) as u64, f(0));
            see(24, (count - at) as u64, f(1));
            let rest = (at + 1..count.min(at + 8)).fold(11, |hash, i| join(hash, self.form(i, 0)));
            see(25, rest, 0);
            see(26, rest, f(0));
            let from_start = (0..=at).fold(13, |hash, i| join(hash, self.form(i, 0)));
            see(27, from_start, 0);
            see(28, from_start, f(1));
            see(29, word(at + 1..count), word(0..at + 1));
            see(30, join(word(at + 1..count), rest), word(0..count));
            see(31, word(at + 1..count), join(token, word(0..count)));
        }
    }
}

/// The longest word that is looked for among known ones, in atoms.
pub(super) const WORD_ATOMS_MAX: usize = 8;
