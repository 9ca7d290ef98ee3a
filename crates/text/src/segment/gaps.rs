//! Where a chunk is cut into tokens: what is looked at for each gap between two atoms.

use super::scan::{Atom, kind};
use crate::hash::{feature, join, mix};
use std::ops::Range;

/// The longest word that is looked for among known ones, in atoms.
pub(super) const WORD_ATOMS_MAX: usize = 12;

/// Of a longer chunk or token only this many atoms make its form.
const FORM_ATOMS_MAX: usize = 24;

/// How many gaps a run of letters has a say in: from three before its first letter to two after it.
pub(super) const REACH: usize = 6;

/// How many runs begin with an atom.
pub(super) const RUNS: usize = 4;

/// The words that begin with an atom.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Words {
    /// What is known of each, by its length less one; 0 where it is none.
    known: [u8; WORD_ATOMS_MAX],
    /// How many atoms the longest has that has several; 0 where there is none.
    longest: u8,
}

/// The bit that tells that a longer word begins so.
pub(super) const LONGER: u8 = 0x80;

/// The key of a word, from the forms of its atoms so far; `before` is what [`word_key`] said of those before the last, 0 at first.
pub(super) fn word_key(before: u64, atom: &Atom) -> u64 {
    mix(join(before, atom.form))
}

/// Looks for known words among atoms. `find` tells what is known of a key, or none where no word begins so.
pub(super) fn known_words(
    atoms: &[Atom],
    mut find: impl FnMut(u64) -> Option<u8>,
    words: &mut Vec<Words>,
) {
    words.clear();
    words.extend((0..atoms.len()).map(|from| {
        let (mut words, mut key) = (Words::default(), 0);
        for (length, atom) in (1..=WORD_ATOMS_MAX).zip(&atoms[from..]) {
            key = word_key(key, atom);
            let Some(found) = find(key) else { break };
            words.known[length - 1] = found & !LONGER;
            if length > 1 && found & !LONGER != 0 {
                words.longest = length as u8;
            }
            if found & LONGER == 0 {
                break;
            }
        }
        words
    }));
}

/// The runs of letters that begin before the first atom, and with each: one, two, three letters, and two with any between.
/// Run `RUNS * i + n` begins with atom `i - 1`.
pub(super) fn runs(atoms: &[Atom], mut emit: impl FnMut(u64)) {
    let form = |at: usize| at.checked_sub(1).and_then(|at| atoms.get(at)).map_or(1, |a| a.form);
    for at in 0..=atoms.len() {
        let [one, two, three] = [form(at), form(at + 1), form(at + 2)];
        let pair = join(one, two);
        emit(feature(340, one));
        emit(feature(341, pair));
        emit(feature(342, join(pair, three)));
        emit(feature(343, join(one, three)));
    }
}

/// The key of what run `key` says of the gap that is `place` less three after its beginning.
pub(super) fn of_run(key: u64, place: usize) -> u64 {
    mix(join(key, place as u64))
}

/// Which gaps a run says something of, as places in [`REACH`].
const PLACES: [Range<usize>; RUNS] = [0..6, 1..6, 2..6, 2..5];

/// The features that the runs of a chunk have for the gap after atom `at`.
pub(super) fn of_gap(runs: &[u64], at: usize) -> impl Iterator<Item = u64> {
    // Run `i` begins with atom `i - 1`, and its place 0 is the gap three atoms before: after atom `i - 4`.
    (0..REACH).flat_map(move |place| {
        let first = (at + REACH - 2).checked_sub(place).map_or(usize::MAX, |i| i * RUNS);
        let some = runs.get(first..).unwrap_or_default();
        let some = some.iter().zip(PLACES).filter(move |(_, places)| places.contains(&place));
        some.map(move |(run, _)| of_run(*run, place))
    })
}

/// A chunk, as gaps see it.
pub(super) struct Chunk<'a> {
    pub(super) atoms: &'a [Atom],
    /// The hash of all its atoms.
    form: u64,
    /// The kind of the first atom of the next chunk, roughly.
    next: u32,
    /// What words begin with each atom; empty where letters do not count.
    words: &'a [Words],
    /// Whether the chunk is what stands between two spaces, rather than a clause.
    spaced: bool,
}

impl<'a> Chunk<'a> {
    pub(super) fn new(atoms: &'a [Atom], next: u32, words: &'a [Words], spaced: bool) -> Chunk<'a> {
        let form = atoms.iter().take(FORM_ATOMS_MAX).fold(3, |hash, atom| join(hash, atom.form));
        Chunk { atoms, form, next: next.min(kind::SIGNS), words, spaced }
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
    /// What [`runs`] say of it comes on top.
    pub(super) fn gap(&self, at: usize, start: usize, mut emit: impl FnMut(u64)) {
        if !self.words.is_empty() {
            self.letters(at, start, &mut emit);
            if self.spaced {
                self.within_spaces(at, start, &mut emit);
            }
            let ideograph = u64::from(kind::IDEOGRAPH);
            if self.kind(at, 0) == ideograph && self.kind(at, 1) == ideograph {
                return; // kinds tell nothing
            }
        }
        self.kinds(at, start, emit);
    }

    fn kinds(&self, at: usize, start: usize, mut emit: impl FnMut(u64)) {
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
    }

    /// What is known of some atoms as a word.
    fn known(&self, atoms: Range<usize>) -> u64 {
        let length = atoms.len().wrapping_sub(1);
        let words = self.words.get(atoms.start);
        words.and_then(|words| words.known.get(length)).copied().unwrap_or_default().into()
    }

    /// The longest known word of several atoms that begins with an atom: its length, or 0, and what is known of it.
    fn longest(&self, from: usize) -> (usize, u64) {
        let length = self.words.get(from).map_or(0, |words| words.longest.into());
        (length, self.known(from..from + length))
    }

    /// The hash of the token that a gap would end.
    fn token(&self, at: usize, start: usize) -> u64 {
        let start = start.max((at + 1).saturating_sub(FORM_ATOMS_MAX));
        (start..=at).fold(9, |hash, i| join(hash, self.form(i, 0)))
    }

    fn letters(&self, at: usize, start: usize, mut emit: impl FnMut(u64)) {
        let mut see = |template: u32, a: u64, b: u64| emit(feature(350 + template, join(a, b)));
        let length = at + 1 - start;
        let few = length.min(6) as u64;
        let token = self.token(at, start);
        see(0, token, 0);
        see(1, token, self.form(at, 1));
        let known = self.known(start..at + 1);
        see(2, few, known);
        // The longest known words: that begins after the gap, that begins with the token, and whether any stands across.
        let (after, known_after) = self.longest(at + 1);
        see(3, after as u64, known_after);
        let begun = Some(self.longest(start)).filter(|(begun, _)| *begun > length);
        let (begun, known_begun) = begun.unwrap_or_default();
        see(4, begun as u64, known_begun);
        see(5, join(begun as u64, after as u64), join(known, few));
        let first = start.max((at + 1).saturating_sub(WORD_ATOMS_MAX));
        let across = (first..=at).any(|from| from + usize::from(self.words[from].longest) > at + 1);
        see(6, across.into(), join(after as u64, u64::from(known != 0)));
        see(7, few, self.kind(at, 1));
    }

    fn within_spaces(&self, at: usize, start: usize, mut emit: impl FnMut(u64)) {
        let count = self.atoms.len();
        if at + 1 >= 5 && count - at >= 6 {
            return;
        }
        let f = |away| self.form(at, away);
        let mut see = |template: u32, a: u64, b: u64| emit(feature(370 + template, join(a, b)));
        see(0, (at + 1) as u64, f(0));
        see(1, (count - at) as u64, f(1));
        let rest = (at + 1..count.min(at + 8)).fold(11, |hash, i| join(hash, self.form(i, 0)));
        see(2, rest, 0);
        see(3, rest, f(0));
        let from_start = (0..=at).fold(13, |hash, i| join(hash, self.form(i, 0)));
        see(4, from_start, 0);
        see(5, from_start, f(1));
        let (after, whole) = (self.known(at + 1..count), self.known(0..count));
        see(6, after, self.known(0..at + 1));
        see(7, join(after, rest), whole);
        see(8, after, join(self.token(at, start), whole));
    }
}
