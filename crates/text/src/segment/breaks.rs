//! Where a sentence ends: what is looked at for each gap between two tokens of a line.

use super::scan::{Atom, kind};
use crate::hash::{feature, join};

/// Where a token can stand to a gap: two before, right before, right after, two after.
pub(super) const ROLES: u32 = 4;

/// Features of a token alone, in each role.
pub(super) const ALONE: usize = 2;

/// What a gap sees of a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Glimpse {
    /// The hash of its atoms.
    pub(super) form: u64,
    /// The kinds of its first and last atom.
    pub(super) first: u32,
    pub(super) last: u32,
    /// What it adds in each role.
    pub(super) scores: [i16; ROLES as usize],
}

impl Glimpse {
    pub(super) fn new(atoms: &[Atom]) -> Glimpse {
        let form = atoms.iter().fold(17, |hash, atom| join(hash, atom.form));
        let kind = |atom: Option<&Atom>| atom.map_or(kind::NONE, |atom| atom.kind);
        Glimpse { form, first: kind(atoms.first()), last: kind(atoms.last()), scores: [0; 4] }
    }

    fn kinds(&self) -> u64 {
        u64::from(self.first) << 32 | u64::from(self.last)
    }

    /// Features of the token alone, in a role.
    pub(super) fn alone(&self, role: u32, emit: impl FnMut(u64)) {
        let features: [u64; ALONE] =
            [feature(400 + role, self.form), feature(404 + role, self.kinds())];
        features.into_iter().for_each(emit);
    }
}

/// What is known of the sentence so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct SoFar {
    /// Tokens.
    pub(super) tokens: u32,
    /// Brackets that are open.
    pub(super) depth: u32,
    /// Whether a straight quotation mark is open.
    pub(super) quoted: bool,
    /// The kind of the first token.
    pub(super) first: u32,
    /// Whether there was a word that begins with a lower-case letter.
    pub(super) lower: bool,
}

impl SoFar {
    pub(super) fn add(&mut self, token: &Glimpse) {
        if self.tokens == 0 {
            self.first = token.first;
        }
        self.tokens += 1;
        self.lower |= token.first == kind::LOWER;
        const OPEN: [u32; 3] = [kind::SIGNS + 0x28, kind::SIGNS + 0x5b, kind::SIGNS + 0x201c];
        const CLOSE: [u32; 3] = [kind::SIGNS + 0x29, kind::SIGNS + 0x5d, kind::SIGNS + 0x201d];
        if OPEN.contains(&token.first) {
            self.depth += 1;
        } else if CLOSE.contains(&token.first) {
            self.depth = self.depth.saturating_sub(1);
        } else if token.first == kind::SIGNS + 0x22 {
            self.quoted = !self.quoted;
        }
    }
}

/// Features of a gap; `near` are the two tokens before it and the two after, `space` whether a space stands in it.
pub(super) fn of_gap(near: &[Glimpse; 4], space: bool, so_far: &SoFar, mut emit: impl FnMut(u64)) {
    let [before2, before, after, after2] = near;
    let space = u64::from(space);
    let mut see = |template: u32, a: u64, b: u64| emit(feature(420 + template, join(a, b)));
    let kinds = join(before.kinds(), after.kinds());
    let (first, last) = (u64::from(after.first), u64::from(before.last));
    let length = u64::from(match so_far.tokens {
        0..=5 => so_far.tokens,
        6..=7 => 6,
        8..=11 => 7,
        12..=19 => 8,
        20..=35 => 9,
        _ => 10,
    });
    see(0, kinds, space);
    see(1, before.form, join(first, space));
    see(2, last, after.form);
    see(3, before.form, after.form);
    see(4, before2.form, join(before.form, first));
    see(5, join(before2.kinds(), before.form), first);
    see(6, kinds, u64::from(after2.first));
    see(7, join(before.form, first), u64::from(after2.first));
    see(8, length, join(last, first));
    see(9, last, join(first, u64::from(so_far.depth.min(2)) << 1 | u64::from(so_far.quoted)));
    see(10, join(before.form, first), u64::from(so_far.first) << 1 | u64::from(so_far.lower));
    see(11, length, join(u64::from(so_far.first), join(last, first)));
    see(12, after.form, join(after2.form, last));
    see(13, last, join(first, u64::from(so_far.lower)));
}
