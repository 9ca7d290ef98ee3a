//! What there is to see in a single word: its normal form, beginnings, endings and shape, as hashes.

use crate::hash;
use crate::model::{Error, Reader};
use std::collections::BTreeMap;
use std::sync::OnceLock;
use unicode_normalization::char::canonical_combining_class;
use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

/// How many endings are seen: of one character up to this many.
pub(crate) const SUFFIXES: usize = 6;

/// How many beginnings are seen.
pub(crate) const PREFIXES: usize = 4;

/// How many stems are seen: without the last character up to without the last three.
pub(crate) const STEMS: usize = 3;

/// The fewest characters of a stem.
const STEM_CHARS_MIN: usize = 3;

/// How many of the longest beginnings and endings are looked at for being words themselves.
const INNER: usize = 4;

/// Of a longer word only this many characters at either end are looked at.
const SIDE_CHARS_MAX: usize = 24;

/// What is seen in a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Seen {
    /// The word as it is written, composed.
    pub(crate) exact: u64,
    /// Its normal form: lower case, digits alike, without vowel signs.
    pub(crate) form: u64,
    /// The endings of the normal form, the shortest first; those longer than the word are 0.
    pub(crate) suffixes: [u64; SUFFIXES],
    /// The beginnings of the normal form.
    pub(crate) prefixes: [u64; PREFIXES],
    /// The normal forms of what is left without the first characters, the longest first; 0 where it would be too short.
    pub(crate) tails: [u64; INNER],
    /// The normal forms of what is left without the last characters.
    pub(crate) heads: [u64; INNER],
    /// Whether each of its letters could be a word.
    pub(crate) ideographs: bool,
    /// Kinds of characters, repeats left out.
    pub(crate) shape: u64,
    /// Kinds of characters, up to ten of them with repeats.
    pub(crate) long_shape: u64,
    /// How many characters, at most twice [`SIDE_CHARS_MAX`].
    pub(crate) length: u32,
    /// Whether it begins with an upper-case letter of the Latin script.
    pub(crate) capital: bool,
    /// Whether it begins with an upper-case letter of any script.
    pub(crate) upper: bool,
    /// Whether it begins with a lower-case letter of any script.
    pub(crate) lower: bool,
    /// Whether a character is neither letter nor digit.
    pub(crate) mixed: bool,
}

/// Reused memory for looking at words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spelling {
    exact: String,
    chars: Vec<char>,
}

/// Characters that stand for others: the traditional forms of simplified ones.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Variants {
    /// For each character of [`Variants::BLOCK`] the one that it stands for; empty where none stands for another.
    of: Vec<u16>,
}

impl Variants {
    /// The characters that are looked at: the unified ideographs of Unicode's first block of them.
    const BLOCK: std::ops::Range<u32> = 0x4e00..0xa000;

    /// The character that `c` stands for.
    #[inline]
    pub(crate) fn plain(&self, c: char) -> char {
        let at = (c as u32).wrapping_sub(Variants::BLOCK.start) as usize;
        self.of.get(at).and_then(|c| char::from_u32((*c).into())).unwrap_or(c)
    }

    /// Learns from texts that are the same, character for character, but for the script.
    pub(crate) fn learn<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Variants {
        let mut counts: BTreeMap<char, BTreeMap<char, u32>> = BTreeMap::new();
        for (from, to) in pairs.filter(|(from, to)| from.chars().count() == to.chars().count()) {
            let both = from.chars().zip(to.chars());
            let within = |c: char| Variants::BLOCK.contains(&(c as u32));
            for (from, to) in both.filter(|(from, to)| within(*from) && within(*to)) {
                *counts.entry(from).or_default().entry(to).or_default() += 1;
            }
        }
        let best = |ways: BTreeMap<char, u32>| ways.into_iter().rev().max_by_key(|(_, n)| *n);
        let pairs = counts.into_iter().filter_map(|(from, ways)| Some((from, best(ways)?.0)));
        Variants::new(pairs.filter(|(from, to)| from != to))
    }

    fn new(pairs: impl Iterator<Item = (char, char)>) -> Variants {
        let mut variants = Variants::default();
        for (from, to) in pairs {
            if variants.of.is_empty() {
                variants.of = Variants::BLOCK.map(|c| c as u16).collect();
            }
            let at = (from as u32).wrapping_sub(Variants::BLOCK.start) as usize;
            if let (Some(place), Ok(to)) = (variants.of.get_mut(at), u16::try_from(to as u32)) {
                *place = to;
            }
        }
        variants
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let pairs = Variants::BLOCK.zip(&self.of).filter(|(from, to)| *from != u32::from(**to));
        let pairs: Vec<_> = pairs.map(|(from, to)| [from as u16, *to]).collect();
        out.extend((pairs.len() as u16).to_le_bytes());
        pairs.into_iter().flatten().for_each(|c| out.extend(c.to_le_bytes()));
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Variants, Error> {
        let what = "variants of characters";
        let mut number = || reader.u16(what);
        let count = number()?;
        let mut pairs = Vec::new();
        for _ in 0..count {
            let (from, to) = (number()?, number()?);
            let char = |c: u16| char::from_u32(c.into());
            let value = |c: u16| Error::Value { what, value: c.into() };
            pairs.push((char(from).ok_or(value(from))?, char(to).ok_or(value(to))?));
        }
        Ok(Variants::new(pairs.into_iter()))
    }
}

impl Spelling {
    /// Looks at a word.
    pub(crate) fn see(&mut self, word: &str, variants: &Variants) -> Seen {
        let mut seen = Seen::default();
        self.normalise(word, variants);
        seen.exact = hash::bytes(self.exact.as_bytes());
        let mut last = ' ';
        let (mut shape, mut long) = (0, 0);
        for (i, c) in self.exact.chars().enumerate() {
            let kind = char::from(kind(c));
            if i == 0 {
                seen.capital = kind == 'A';
                seen.upper = matches!(kind, 'A' | 'B');
                seen.lower = matches!(kind, 'a' | 'b');
            }
            seen.mixed |= !matches!(kind, 'A' | 'a' | 'o' | '0');
            if i < 10 {
                long = hash::join(long, kind.into());
            }
            if kind != last {
                shape = hash::join(shape, kind.into());
            }
            last = kind;
        }
        seen.shape = hash::mix(shape);
        seen.long_shape = hash::mix(long);
        seen.length = self.chars.len() as u32;
        seen.form = form(&self.chars);
        seen.ideographs = !self.chars.is_empty() && self.chars.iter().all(|c| is_ideograph(*c));
        let chars_min = if seen.ideographs { 1 } else { 3 };
        for left_out in 1..=INNER.min(self.chars.len().saturating_sub(chars_min)) {
            seen.tails[left_out - 1] = form(&self.chars[left_out..]);
            seen.heads[left_out - 1] = form(&self.chars[..self.chars.len() - left_out]);
        }
        let mut hash = 1;
        for (c, prefix) in self.chars.iter().zip(&mut seen.prefixes) {
            hash = hash::join(hash, u64::from(*c) + 1);
            *prefix = hash::mix(hash);
        }
        let mut hash = 2;
        for (c, suffix) in self.chars.iter().rev().zip(&mut seen.suffixes) {
            hash = hash::join(hash, u64::from(*c) + 1);
            *suffix = hash::mix(hash);
        }
        seen
    }

    /// Hashes of the normal form of the word that was seen last without its last characters, one to [`STEMS`]; 0 where too little
    /// would be left.
    pub(crate) fn stems(&self) -> [u64; STEMS] {
        std::array::from_fn(|cut| match self.chars.len().checked_sub(cut + 1) {
            Some(length) if length >= STEM_CHARS_MIN => {
                let hash = |hash, c: &char| hash::join(hash, u64::from(*c) + 1);
                hash::mix(self.chars[..length].iter().fold(3, hash))
            }
            _ => 0,
        })
    }

    /// The hash of a word's normal form, as [`Seen::form`].
    pub(crate) fn form(&mut self, word: &str, variants: &Variants) -> u64 {
        self.see(word, variants).form
    }

    /// Fills `exact` with the word, composed and without ornaments, and `chars` with its normal form.
    fn normalise(&mut self, word: &str, variants: &Variants) {
        self.exact.clear();
        self.chars.clear();
        if word.is_ascii() && word.len() <= 2 * SIDE_CHARS_MAX {
            self.exact.push_str(word);
            let lower = word.bytes().map(|b| char::from(b.to_ascii_lowercase()));
            self.chars.extend(lower.map(|c| if c.is_ascii_digit() { '0' } else { c }));
            return;
        }
        let kept = word.chars().filter(|c| !is_ornament(*c)).map(|c| variants.plain(c));
        match word.len() <= 2 * SIDE_CHARS_MAX || word.chars().count() <= 2 * SIDE_CHARS_MAX {
            true if kept.clone().all(is_composed) => self.exact.extend(kept.map(alike)),
            true => self.exact.extend(kept.nfc().map(alike)),
            false => {
                self.exact.extend(kept.clone().take(SIDE_CHARS_MAX).nfc().map(alike));
                let tail = word.char_indices().rev().nth(SIDE_CHARS_MAX - 1).map_or(0, |(i, _)| i);
                let tail = word[tail..].chars().filter(|c| !is_ornament(*c));
                self.exact.extend(tail.map(|c| variants.plain(c)).nfc().map(alike));
            }
        }
        self.chars.extend(self.exact.chars().map(normal));
    }
}

/// The hash of characters as a normal form.
fn form(chars: &[char]) -> u64 {
    hash::mix(chars.iter().fold(0, |hash, c| hash::join(hash, u64::from(*c) + 1)))
}

fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// The lower case of a token, character by character, with one kind of apostrophe.
pub(crate) fn lower(token: &str) -> String {
    let mut lower = String::new();
    set_lower(token, &mut lower);
    lower
}

/// Makes `out` the [`lower`] of a token.
pub(crate) fn set_lower(token: &str, out: &mut String) {
    out.clear();
    if token.is_ascii() {
        out.push_str(token);
        return out.make_ascii_lowercase();
    }
    out.extend(token.chars().map(|c| match c {
        '\u{2019}' => '\'',
        c => small(c),
    }));
}

/// What normal forms and shapes need of a character.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Face {
    small: char,
    normal: char,
    kind: u8,
    composed: bool,
}

/// Characters below this have their faces in a table: the alphabets of the languages here.
const FACES: u32 = 0x700;

impl Face {
    fn of(c: char) -> Face {
        Face {
            small: small_of(c),
            normal: if c.is_numeric() { '0' } else { small_of(c) },
            kind: kind_of(c),
            composed: composes_alone(c),
        }
    }

    /// The face of a frequent character.
    #[inline]
    fn known(c: char) -> Option<Face> {
        static TABLE: OnceLock<Vec<Face>> = OnceLock::new();
        if Variants::BLOCK.contains(&c.into()) {
            return Some(Face { small: c, normal: c, kind: b'o', composed: true });
        }
        let all = || (0..FACES).filter_map(char::from_u32).map(Face::of).collect();
        TABLE.get_or_init(all).get(c as usize).copied()
    }
}

fn small_of(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// Whether texts of such characters alone are composed.
fn composes_alone(c: char) -> bool {
    canonical_combining_class(c) == 0 && is_nfc_quick(std::iter::once(c)) == IsNormalized::Yes
}

/// Its lower case.
fn small(c: char) -> char {
    Face::known(c).map_or_else(|| small_of(c), |face| face.small)
}

/// Its lower case, digits alike.
fn normal(c: char) -> char {
    match Face::known(c) {
        Some(face) => face.normal,
        None if c.is_numeric() => '0',
        None => small_of(c),
    }
}

/// See [`composes_alone`].
fn is_composed(c: char) -> bool {
    Face::known(c).map_or_else(|| composes_alone(c), |face| face.composed)
}

/// See [`kind_of`].
fn kind(c: char) -> u8 {
    Face::known(c).map_or_else(|| kind_of(c), |face| face.kind)
}

/// What is no part of a word but sits on it: Arabic vowel signs and the stretching of lines, soft hyphens, joiners and
/// marks of direction, which have no width, and selectors of a character's look.
fn is_ornament(c: char) -> bool {
    matches!(c,
        '\u{64b}'..='\u{652}' | '\u{670}' | '\u{640}' | '\u{ad}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}')
}

/// One character for those that mean the same: apostrophes.
fn alike(c: char) -> char {
    match c {
        '\u{2019}' | '\u{2bc}' | '\u{ff07}' | '`' | '\u{b4}' => '\'',
        c => c,
    }
}

/// What kind of character it is, as a character: `A` and `a` for letters of the Latin script in upper and lower case, `B`
/// and `b` for those of others, `o` for letters without case, `0` for digits, itself for other ASCII, `-` for other
/// punctuation, `*` for the rest.
fn kind_of(c: char) -> u8 {
    match c {
        'A'..='Z' => b'A',
        'a'..='z' => b'a',
        '0'..='9' => b'0',
        c if c.is_ascii() => c as u8,
        c if c.is_uppercase() => {
            if c < '\u{250}' {
                b'A'
            } else {
                b'B'
            }
        }
        c if c.is_lowercase() => {
            if c < '\u{250}' {
                b'a'
            } else {
                b'b'
            }
        }
        c if c.is_alphabetic() => b'o',
        c if c.is_numeric() => b'0',
        '\u{2010}'..='\u{205e}'
        | '\u{3000}'..='\u{303f}'
        | '\u{ff00}'..='\u{ffef}'
        | '\u{a1}'..='\u{bf}'
        | '\u{60c}'..='\u{61f}' => b'-',
        _ => b'*',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_mean_the_same_look_the_same() {
        let check = |a: &str, b: &str| {
            let mut spelling = Spelling::default();
            assert_eq!(
                spelling.see(a, &Variants::default()).form,
                spelling.see(b, &Variants::default()).form,
                "{a} {b}"
            );
        };
        check("Don\u{2019}t", "don't");
        check("Cafe\u{301}", "caf\u{e9}");
        check("\u{643}\u{64e}\u{62a}\u{628}", "\u{643}\u{62a}\u{628}");
        check("1999", "2000");
        check("\u{661}\u{662}", "12");
        check("co\u{ad}op", "coop");
    }

    #[test]
    fn faces_tell_what_unicode_tells() {
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            assert_eq!(Face::known(c).unwrap_or_else(|| Face::of(c)), Face::of(c), "{c:?}");
            if is_composed(c) {
                assert!(['e', c].into_iter().nfc().eq(['e', c]), "{c:?}");
            }
        }
    }

    #[test]
    fn endings_and_beginnings_are_those_of_the_normal_form() {
        let mut spelling = Spelling::default();
        let (walking, talking) = (
            spelling.see("Walking", &Variants::default()),
            spelling.see("talking", &Variants::default()),
        );
        assert_eq!(walking.suffixes[..6], talking.suffixes[..6]);
        assert_ne!(walking.prefixes[0], talking.prefixes[0]);
        assert!(walking.capital && !talking.capital);
        assert_eq!(spelling.see("a", &Variants::default()).suffixes[1], 0);
        assert_eq!(spelling.see("", &Variants::default()).length, 0);
    }

    #[test]
    fn a_long_word_is_seen_at_its_ends() {
        let mut spelling = Spelling::default();
        let long = |middle: usize| format!("anti{}tion", "\u{e9}x".repeat(middle));
        let (a, b) = (
            spelling.see(&long(1000), &Variants::default()),
            spelling.see(&long(50_000), &Variants::default()),
        );
        assert_eq!(a, b);
        assert_eq!(a.suffixes[3], spelling.see("nation", &Variants::default()).suffixes[3]);
    }

    #[test]
    fn variants_are_learned_from_the_same_text_in_both_scripts() {
        let pairs =
            [("漢語,簡單", "汉语，简单"), ("漢字", "汉字"), ("著書", "着书x"), ("a漢", "b汉")];
        let variants = Variants::learn(pairs.into_iter());
        let mut bytes = Vec::new();
        variants.write(&mut bytes);
        let read = Variants::read(&mut Reader::new(&bytes)).unwrap();
        assert_eq!(read, variants);
        assert!(Variants::read(&mut Reader::new(&bytes[..bytes.len() - 1])).is_err());
        let plain: String = "漢語,字a著".chars().map(|c| read.plain(c)).collect();
        assert_eq!(plain, "汉语,字a著", "signs and texts of other lengths teach nothing");
        let mut spelling = Spelling::default();
        assert_eq!(spelling.see("漢語", &read), spelling.see("汉语", &read));
    }

    #[test]
    fn parts_of_a_word_are_words() {
        let (mut spelling, none) = (Spelling::default(), Variants::default());
        let seen = spelling.see("Haustür", &none);
        assert_eq!(seen.tails[3], spelling.form("tür", &none));
        assert_eq!(seen.heads[2], spelling.form("haus", &none));
        assert_eq!(spelling.see("tür", &none).heads, [0; INNER], "too short");
        let seen = spelling.see("汉语", &none);
        assert_eq!(seen.tails, [spelling.form("语", &none), 0, 0, 0]);
    }
}
