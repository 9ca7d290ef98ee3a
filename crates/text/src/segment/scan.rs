//! From text to chunks (what stands between spaces) and atoms (what is never cut): runs of letters, of digits, web addresses, single signs.

use crate::hash;
use crate::word::Variants;
use std::ops::Range;
use std::sync::OnceLock;

/// The most atoms of a chunk; what is longer is cut, so that memory and time are bounded.
pub(super) const CHUNK_ATOMS_MAX: usize = 256;

/// What a character is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Class {
    /// Between chunks: spaces, controls.
    Space,
    /// Between paragraphs.
    Line,
    Lower,
    Upper,
    /// A letter without case.
    Letter,
    Digit,
    /// A letter of a script without spaces: each is an atom.
    Ideograph,
    /// Belongs to the character before: marks, joiners, variation selectors.
    Extend,
    /// All else.
    Sign,
}

/// The classes of characters that follow each other.
type Block = [Class; BLOCK];
const BLOCK: usize = 0x100;

/// So many blocks, from the first on, are tables: alphabets, but for a few, and punctuation. Each is made when a character of
/// it is met, for the library looks long for the classes of some.
const BLOCKS: usize = 0x21;

/// A block of the first [`BLOCKS`], by its number.
#[inline]
fn block(number: usize) -> Option<&'static Block> {
    static TABLES: [OnceLock<Block>; BLOCKS] = [const { OnceLock::new() }; BLOCKS];
    let class = |at| char::from_u32((number * BLOCK + at) as u32).map_or(Class::Sign, class_of);
    Some(TABLES.get(number)?.get_or_init(|| std::array::from_fn(class)))
}

/// The class of a character.
#[inline]
fn class(c: char) -> Class {
    block(c as usize / BLOCK).map_or_else(|| class_of(c), |block| block[c as usize % BLOCK])
}

fn class_of(c: char) -> Class {
    match c {
        '\u{4e00}'..='\u{9fff}' => Class::Ideograph, // of all beyond the table the most frequent
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => Class::Line,
        '\u{300}'..='\u{36f}'
        | '\u{483}'..='\u{489}'
        | '\u{610}'..='\u{61a}'
        | '\u{64b}'..='\u{65f}'
        | '\u{670}'
        | '\u{6d6}'..='\u{6dc}'
        | '\u{6df}'..='\u{6e8}'
        | '\u{ad}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{20d0}'..='\u{20ff}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{1f3fb}'..='\u{1f3ff}'
        | '\u{e0020}'..='\u{e007f}' => Class::Extend,
        c if c.is_whitespace() || c.is_control() => Class::Space,
        '\u{3041}'..='\u{30ff}'
        | '\u{3400}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{e00}'..='\u{eff}'
        | '\u{3005}'
        | '\u{3007}'
        | '\u{20000}'..='\u{3ffff}' => Class::Ideograph,
        c if c.is_uppercase() => Class::Upper,
        c if c.is_lowercase() => Class::Lower,
        c if c.is_alphabetic() => Class::Letter,
        c if c.is_numeric() => Class::Digit,
        _ => Class::Sign,
    }
}

/// What an atom is, as a small number: kinds of runs, or the sign itself.
pub(super) mod kind {
    pub(in crate::segment) const NONE: u32 = 0;
    pub(in crate::segment) const LOWER: u32 = 1;
    /// A capital letter alone.
    pub(in crate::segment) const INITIAL: u32 = 2;
    pub(in crate::segment) const CAPITAL: u32 = 3;
    pub(in crate::segment) const UPPER: u32 = 4;
    pub(in crate::segment) const LETTERS: u32 = 5;
    pub(in crate::segment) const DIGITS: u32 = 6;
    pub(in crate::segment) const IDEOGRAPH: u32 = 7;
    /// A web or mail address.
    pub(in crate::segment) const ADDRESS: u32 = 8;
    /// `#word`.
    pub(in crate::segment) const HASHTAG: u32 = 9;
    /// `@name`.
    pub(in crate::segment) const MENTION: u32 = 10;
    /// A sign that is neither ASCII nor punctuation: emoji and other symbols.
    pub(in crate::segment) const SYMBOL: u32 = 11;
    /// Signs are their character, which is above all of these.
    pub(in crate::segment) const SIGNS: u32 = 32;
}

/// What is never cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Atom {
    pub(super) bytes: Range<usize>,
    pub(super) kind: u32,
    /// The hash of its bytes; of digits, how many there are.
    pub(super) form: u64,
}

/// Goes through a text chunk by chunk.
#[derive(Clone, Debug)]
pub(super) struct Scan<'a> {
    text: &'a str,
    at: usize,
    /// Whether each letter is an atom of its own, for clitics that are written together with words.
    by_letter: bool,
    variants: &'a Variants,
    /// The first one, with ASCII.
    first: &'static Block,
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a str, by_letter: bool, variants: &'a Variants) -> Scan<'a> {
        Scan { text, at: 0, by_letter, variants, first: block(0).expect("there is a first one") }
    }

    /// The class of the character at a byte, and how many bytes it has.
    #[inline]
    fn class(&self, at: usize) -> Option<(Class, usize)> {
        let first = *self.text.as_bytes().get(at)?;
        if first < 0x80 {
            return Some((self.first[usize::from(first)], 1));
        }
        let c = self.text[at..].chars().next()?;
        Some((class(c), c.len_utf8()))
    }

    /// Fills `atoms` with the next chunk. Tells whether a line ended before it; none at the end.
    pub(super) fn next(&mut self, atoms: &mut Vec<Atom>) -> Option<bool> {
        atoms.clear();
        let mut line = false;
        loop {
            match self.class(self.at)? {
                (Class::Space, width) => self.at += width,
                (Class::Line, width) => {
                    line = true;
                    self.at += width;
                }
                _ => break,
            }
        }
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut marked = false; // a sign that addresses, hashtags and mentions have
        while atoms.len() < CHUNK_ATOMS_MAX {
            let Some((class, width)) = self.class(self.at) else { break };
            let from = self.at;
            self.at += width;
            let kind = match class {
                Class::Space | Class::Line => {
                    self.at = from;
                    break;
                }
                Class::Lower | Class::Upper | Class::Letter | Class::Extend => self.letters(class),
                Class::Digit => {
                    self.run(|class| matches!(class, Class::Digit | Class::Extend));
                    kind::DIGITS
                }
                Class::Ideograph => {
                    self.run(|class| class == Class::Extend);
                    kind::IDEOGRAPH
                }
                Class::Sign => {
                    marked |= matches!(bytes[from], b'@' | b'#' | b'/' | b'.');
                    self.sign(from)
                }
            };
            let form = match kind {
                kind::DIGITS => (self.at - from).min(12) as u64,
                kind::IDEOGRAPH => {
                    let first = self.text[from..].chars().next().unwrap_or_default();
                    hash::mix(self.variants.plain(first).into())
                }
                _ => hash::bytes(&bytes[from..self.at]),
            };
            atoms.push(Atom { bytes: from..self.at, kind, form });
        }
        if marked {
            self.join_addresses(start, atoms);
        }
        Some(line)
    }

    /// The kind of the atom that comes next on the line, roughly.
    pub(super) fn peek(&self) -> u32 {
        let mut at = self.at;
        // Longer runs of spaces look like the end of a line.
        for _ in 0..4 {
            let Some((class, width)) = self.class(at) else { return kind::NONE };
            match class {
                Class::Space => at += width,
                Class::Line => return kind::NONE,
                Class::Lower => return kind::LOWER,
                Class::Upper => return kind::CAPITAL,
                Class::Digit => return kind::DIGITS,
                Class::Letter => return kind::LETTERS,
                Class::Ideograph => return kind::IDEOGRAPH,
                Class::Sign | Class::Extend => return kind::SIGNS,
            }
        }
        kind::NONE
    }

    fn run(&mut self, belongs: impl Fn(Class) -> bool) {
        while let Some((class, width)) = self.class(self.at) {
            if !belongs(class) {
                break;
            }
            self.at += width;
        }
    }

    fn letters(&mut self, first: Class) -> u32 {
        if self.by_letter && first == Class::Letter {
            self.run(|class| class == Class::Extend);
            return kind::LETTERS;
        }
        let (mut upper, mut lower) = (u32::from(first == Class::Upper), first == Class::Lower);
        let mut other = first == Class::Letter;
        while let Some((class, width)) = self.class(self.at) {
            match class {
                Class::Lower => lower = true,
                Class::Upper => upper += 1,
                Class::Letter if !self.by_letter => other = true,
                Class::Extend => {}
                _ => break,
            }
            self.at += width;
        }
        match (upper, lower) {
            (0, true) => kind::LOWER,
            (0, false) => {
                if other {
                    kind::LETTERS
                } else {
                    kind::NONE
                }
            }
            (1, false) => kind::INITIAL,
            (_, false) => kind::UPPER,
            (_, true) => kind::CAPITAL,
        }
    }

    /// A sign with what belongs to it: selectors and skin tones, what a joiner joins, the second half of a flag.
    fn sign(&mut self, from: usize) -> u32 {
        let Some(c) = self.text[from..].chars().next() else { return kind::NONE };
        if c.is_ascii() {
            self.run(|class| class == Class::Extend);
            return kind::SIGNS + c as u32;
        }
        let flag = |c: char| ('\u{1f1e6}'..='\u{1f1ff}').contains(&c);
        let next = self.text[self.at..].chars().next();
        if flag(c) && next.is_some_and(flag) {
            self.at += next.map_or(0, char::len_utf8);
        }
        loop {
            let before = self.at;
            self.run(|class| class == Class::Extend);
            let joined = self.text[..self.at].ends_with('\u{200d}') && self.at > before;
            match self.class(self.at) {
                Some((Class::Sign, width)) if joined => self.at += width,
                _ => break,
            }
        }
        match c {
            '\u{a1}'..='\u{bf}'
            | '\u{2010}'..='\u{205e}'
            | '\u{3000}'..='\u{303f}'
            | '\u{ff00}'..='\u{ffef}'
            | '\u{60c}'..='\u{6d4}'
            | '\u{20a0}'..='\u{20cf}' => kind::SIGNS + c as u32,
            _ => kind::SYMBOL,
        }
    }

    /// Makes one atom of an address, a hashtag or a mention.
    fn join_addresses(&self, start: usize, atoms: &mut Vec<Atom>) {
        let chunk = &self.text[start..self.at];
        if let Some((kind, range)) = address(chunk) {
            let range = range.start + start..range.end + start;
            let first = atoms.partition_point(|atom| atom.bytes.end <= range.start);
            let last = atoms.partition_point(|atom| atom.bytes.start < range.end);
            if atoms.get(first).is_some_and(|a| a.bytes.start == range.start)
                && last > first
                && atoms[last - 1].bytes.end == range.end
            {
                let form = hash::bytes(&self.text.as_bytes()[range.clone()]);
                atoms.splice(first..last, [Atom { bytes: range, kind, form }]);
            }
        }
        let is_word = |atom: &Atom| {
            matches!(atom.kind, kind::LOWER..=kind::IDEOGRAPH)
                || atom.kind == kind::SIGNS + u32::from(b'_')
        };
        let mut at = 0;
        while at + 1 < atoms.len() {
            let kind = match atoms[at].kind.wrapping_sub(kind::SIGNS) {
                0x23 => kind::HASHTAG,
                0x40 => kind::MENTION,
                _ => 0,
            };
            let alone = at == 0 || !is_word(&atoms[at - 1]);
            let words = atoms[at + 1..].iter().take_while(|atom| is_word(atom)).count();
            let letters = atoms[at + 1..].iter().take(words).any(|atom| atom.kind != kind::DIGITS);
            if kind != 0 && alone && letters {
                let bytes = atoms[at].bytes.start..atoms[at + words].bytes.end;
                let form = hash::bytes(&self.text.as_bytes()[bytes.clone()]);
                atoms.splice(at..=at + words, [Atom { bytes, kind, form }]);
            }
            at += 1;
        }
    }
}

/// Where a web or mail address lies in a chunk.
fn address(chunk: &str) -> Option<(u32, Range<usize>)> {
    let bytes = chunk.as_bytes();
    let scheme = chunk.find("://").map(|at| {
        let letters = bytes[..at].iter().rev().take_while(|b| b.is_ascii_alphanumeric()).count();
        at - letters
    });
    let start = match scheme {
        Some(start) => Some(start),
        None => chunk.find("www.").or_else(|| chunk.find("WWW.")),
    };
    if let Some(start) = start {
        return Some((kind::ADDRESS, start..end_of_address(chunk, start)));
    }
    let at = chunk.find('@')?;
    let of_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+');
    let before = bytes[..at].iter().rev().take_while(|b| of_name(b)).count();
    let after = bytes[at + 1..].iter().take_while(|b| of_name(b)).count();
    let host = chunk[at + 1..at + 1 + after].trim_end_matches(['.', '-', '_', '+']);
    let dotted = host.bytes().rposition(|b| b == b'.').is_some_and(|dot| dot > 0);
    (before > 0 && dotted).then(|| (kind::ADDRESS, at - before..at + 1 + host.len()))
}

/// An address ends before signs that rather belong to the sentence.
fn end_of_address(chunk: &str, start: usize) -> usize {
    let rest = &chunk[start..];
    let stop = rest
        .find(['<', '>', '"', '\u{201c}', '\u{201d}', '\u{ab}', '\u{bb}'])
        .unwrap_or(rest.len());
    let rest = &rest[..stop];
    let mut kept = rest.trim_end_matches(['.', ',', ';', ':', '!', '?', '\'', '\u{2026}', ']']);
    if kept.ends_with(')') && !kept.contains('(') {
        kept = kept.trim_end_matches([')', '.', ',']);
    }
    start + kept.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&[&str]]) {
        let variants = Variants::default();
        let mut scan = Scan::new(text, false, &variants);
        let (mut atoms, mut chunks) = (Vec::new(), Vec::new());
        while scan.next(&mut atoms).is_some() {
            chunks.push(atoms.iter().map(|a| &text[a.bytes.clone()]).collect::<Vec<_>>());
        }
        assert_eq!(chunks, expected, "{text:?}");
    }

    #[test]
    fn tables_tell_the_classes() {
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            assert_eq!(class(c), class_of(c), "{c:?}");
        }
    }

    #[test]
    fn what_is_never_cut() {
        check("Don't go.", &[&["Don", "'", "t"], &["go", "."]]);
        check("", &[]);
        check(" \0\t\n", &[]);
        check("see https://a.org/x?y=1, ok", &[&["see"], &["https://a.org/x?y=1", ","], &["ok"]]);
        check("(www.a.org)", &[&["(", "www.a.org", ")"]]);
        check("mail a.b@c.org.", &[&["mail"], &["a.b@c.org", "."]]);
        check("@ann_b: #tag_1!", &[&["@ann_b", ":"], &["#tag_1", "!"]]);
        check("#1 a@b", &[&["#", "1"], &["a", "@", "b"]]);
        check("10km 你好", &[&["10", "km"], &["你", "好"]]);
        check(
            "👍🏽👩\u{200d}👩\u{200d}👧🇩🇪❤\u{fe0f}",
            &[&["👍🏽", "👩\u{200d}👩\u{200d}👧", "🇩🇪", "❤\u{fe0f}"]],
        );
        check("cafe\u{301}s", &[&["cafe\u{301}s"]]);
    }

    #[test]
    fn a_long_chunk_is_cut() {
        let text = "!".repeat(3 * CHUNK_ATOMS_MAX);
        let variants = Variants::default();
        let mut scan = Scan::new(&text, false, &variants);
        let (mut atoms, mut chunks) = (Vec::new(), 0);
        while scan.next(&mut atoms).is_some() {
            assert_eq!(atoms.len(), CHUNK_ATOMS_MAX);
            chunks += 1;
        }
        assert_eq!(chunks, 3);
    }
}
