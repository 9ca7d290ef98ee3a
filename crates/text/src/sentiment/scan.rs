//! Words, emoji and signs of a text, as sentiment sees them.
//!
//! A word is normalised: small letters, no vowel signs, Arabic letters that are written in several ways as one, no
//! letter more than twice in a row. Where each stands in the text is kept.

use super::lexicon::{Entry, Role};
use super::tables::Runs;
use crate::Language;
use std::ops::Range;
use std::str::Chars;
use std::sync::OnceLock;

/// Of a longer word only so many characters are looked at.
const WORD_CHARS_MAX: usize = 40;
/// Words after "not" that it turns.
const TURNED_WORDS: u32 = 3;
/// Signs that are kept of a run of them.
const SIGNS_MAX: usize = 8;

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A word, or a number.
    Word,
    /// An emoji.
    Emoji,
    /// A run of signs, an emoticon among them.
    Signs,
    /// `@name`.
    Name,
    /// An address of the web.
    Address,
    /// What a rule of the account decides on; the model leaves it out.
    Ruled,
}

/// A token.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// Where it stands in the text.
    pub(crate) bytes: Range<usize>,
    /// Where its normal form stands in [`Scanned::chars`].
    pub(crate) chars: Range<usize>,
    /// A hash of the normal form.
    pub(crate) hash: u64,
    pub(crate) kind: Kind,
    /// Whether `#` stands before it.
    pub(crate) tagged: bool,
    /// Whether all its letters are capitals, and more than one.
    pub(crate) loud: bool,
    /// Whether it is drawn out: sooo.
    pub(crate) drawn: bool,
    /// Whether "not" or the like stands before it.
    pub(crate) turned: bool,
    /// How much "very" and the like before it make of it; 1 where there is none.
    pub(crate) degree: f32,
    /// What the lexicon says of it.
    pub(crate) entry: Option<Entry>,
    /// What its runs of letters come to.
    pub(crate) runs: Runs,
}

/// What a model says of a word by itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    pub(crate) entry: Option<Entry>,
    pub(crate) runs: Runs,
}

/// A text's tokens; memory that is used again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scanned {
    pub(crate) chars: Vec<char>,
    pub(crate) tokens: Vec<Token>,
}

impl Scanned {
    /// Reads `text`, of which the first byte is byte `offset` of the whole. `known` tells what is known of a normal form, which
    /// has this hash.
    pub(crate) fn read(
        &mut self,
        text: &str,
        offset: usize,
        language: Language,
        mut known: impl FnMut(u64, &[char]) -> Known,
    ) {
        self.chars.clear();
        self.tokens.clear();
        self.split(text, offset, language);
        for token in &mut self.tokens {
            if matches!(token.kind, Kind::Word | Kind::Emoji | Kind::Signs) {
                let known = known(token.hash, &self.chars[token.chars.clone()]);
                (token.entry, token.runs) = (known.entry, known.runs);
            }
        }
        self.turn();
    }

    /// Some of the tokens alone, as they were seen among the others.
    pub(crate) fn part(&self, tokens: Range<usize>, into: &mut Scanned) {
        into.chars.clone_from(&self.chars);
        into.tokens.clear();
        into.tokens.extend_from_slice(&self.tokens[tokens]);
    }

    /// Tokens without what is known of them.
    pub(crate) fn split(&mut self, text: &str, offset: usize, language: Language) {
        let mut rest = text.chars();
        loop {
            let start = text.len() - rest.as_str().len();
            let Some(c) = rest.next() else { break };
            let face = Face::of(c);
            if face.has(Face::SPACE) {
                continue;
            }
            let from = self.chars.len();
            let next = || rest.clone().next();
            let tagged = c == '#' && next().is_some_and(is_alphanumeric);
            let (mut kind, mut loud, mut drawn) = (Kind::Signs, false, false);
            if face.has(Face::ALPHANUMERIC) || tagged {
                kind = Kind::Word;
                let mut letters = Letters::default();
                if !tagged {
                    letters.push(c, face, &mut self.chars, from);
                }
                if !is_han(c) {
                    self.word(&mut rest, &mut letters, c, from, language);
                }
                (loud, drawn) = letters.end(&mut self.chars, from);
                let word = &self.chars[from..];
                if [&['h', 't', 't', 'p'][..], &['h', 't', 't', 'p', 's'], &['w', 'w', 'w']]
                    .contains(&word)
                {
                    kind = Kind::Address;
                }
            } else if c == '@' {
                kind = Kind::Name;
            } else if is_emoji(c) {
                kind = Kind::Emoji;
                self.chars.push(c);
            } else {
                // In a name or elision between two words an apostrophe is no sign.
                if matches!(c, '\'' | '’') && next().is_some_and(char::is_alphabetic) {
                    continue;
                }
                self.chars.push(c);
                self.signs(&mut rest, from);
            }
            match kind {
                Kind::Name => skip(&mut rest, |c| is_alphanumeric(c) || c == '_'),
                Kind::Address => skip(&mut rest, |c| !c.is_whitespace()),
                _ if self.chars.len() == from => continue,
                _ => {}
            }
            if matches!(kind, Kind::Name | Kind::Address) {
                self.chars.truncate(from);
            }
            let end = text.len() - rest.as_str().len();
            self.tokens.push(Token {
                bytes: start + offset..end + offset,
                chars: from..self.chars.len(),
                hash: hash(&self.chars[from..]),
                kind,
                tagged,
                loud,
                drawn,
                turned: false,
                degree: 1.0,
                entry: None,
                runs: Runs::default(),
            });
        }
    }

    /// Takes the rest of a word that begins with `first`.
    fn word(
        &mut self,
        rest: &mut Chars<'_>,
        letters: &mut Letters,
        first: char,
        from: usize,
        language: Language,
    ) {
        let mut before = first;
        loop {
            let mut ahead = rest.clone();
            let Some(c) = ahead.next() else { break };
            let face = Face::of(c);
            if face.has(Face::ALPHANUMERIC | Face::MARK) || c == '_' {
                if is_han(c) && before != '#' {
                    break;
                }
                letters.push(c, face, &mut self.chars, from);
            } else if matches!(c, '\'' | '’') {
                let within = language == Language::En
                    && before.is_alphabetic()
                    && ahead.clone().next().is_some_and(char::is_alphabetic);
                if !within {
                    break;
                }
                letters.push('\'', Face::of('\''), &mut self.chars, from);
            } else {
                break;
            }
            before = c;
            *rest = ahead;
        }
    }

    /// Takes the rest of a run of signs.
    fn signs(&mut self, rest: &mut Chars<'_>, from: usize) {
        loop {
            let mut ahead = rest.clone();
            let Some(c) = ahead.next() else { break };
            let face = Face::of(c);
            let signs = &self.chars[from..];
            // The D of :D, if nothing follows it.
            let mouth = || {
                matches!(c, 'D' | 'P' | 'p' | 'O' | 'o' | '3' | '(' | ')')
                    && signs.last().is_some_and(|eye| matches!(eye, ':' | ';' | '=' | '-'))
                    && !ahead.clone().next().is_some_and(is_alphanumeric)
            };
            let ends = face.has(Face::SPACE) || is_emoji(c) || matches!(c, '@' | '#');
            if ends || face.has(Face::ALPHANUMERIC) && !mouth() {
                break;
            }
            let run = signs.iter().rev().take_while(|sign| **sign == c).count();
            if run < 3 && signs.len() < SIGNS_MAX {
                self.chars.extend(c.to_lowercase().next());
            }
            *rest = ahead;
        }
    }

    /// Finds what "not" and "very" do to the words after them.
    pub(crate) fn turn(&mut self) {
        let (mut turned, mut degree) = (0u32, 1.0);
        for at in 0..self.tokens.len() {
            let ends = self.ends_clause(at);
            let token = &mut self.tokens[at];
            match token.kind {
                Kind::Word => {
                    token.turned = turned > 0;
                    token.degree = degree;
                    turned = turned.saturating_sub(1);
                    degree = 1.0;
                    match token.entry.map(|entry| entry.role()) {
                        Some(Role::Not) => turned = TURNED_WORDS,
                        Some(Role::Degree(by)) => {
                            degree = by;
                            // "Not very good": what stands between does not count.
                            turned += u32::from(token.turned);
                        }
                        _ => {}
                    }
                }
                Kind::Ruled => {
                    token.turned = turned > 0;
                    token.degree = degree;
                }
                _ if ends => (turned, degree) = (0, 1.0),
                _ => {}
            }
        }
    }

    /// Whether a token ends a clause: a comma, a full stop and the like.
    pub(crate) fn ends_clause(&self, at: usize) -> bool {
        const ENDS: [char; 13] =
            ['.', ',', '!', '?', ';', ':', '،', '؟', '。', '，', '！', '？', '…'];
        let token = &self.tokens[at];
        token.kind == Kind::Signs
            && self.chars[token.chars.clone()].iter().any(|c| ENDS.contains(c))
    }
}

/// Goes over all characters that belong.
fn skip(rest: &mut Chars<'_>, belongs: impl Fn(char) -> bool) {
    let after = rest.as_str().trim_start_matches(belongs);
    *rest = after.chars();
}

/// The letters of a word that is being read.
#[derive(Default)]
struct Letters {
    count: usize,
    capitals: usize,
    digits: usize,
    drawn: bool,
}

impl Letters {
    #[inline]
    fn push(&mut self, c: char, face: Face, chars: &mut Vec<char>, from: usize) {
        self.count += 1;
        self.capitals += usize::from(face.has(Face::CAPITAL));
        self.digits += usize::from(c.is_ascii_digit());
        if chars.len() - from >= WORD_CHARS_MAX {
            return;
        }
        let normal = match face.normal {
            Some(c) => c,
            None => match normal(c, chars, from) {
                Some(c) => c,
                None => return,
            },
        };
        match chars[from..] {
            [.., second, last] if second == normal && last == normal => self.drawn = true,
            _ => chars.push(normal),
        }
    }

    /// Whether it is loud and drawn out.
    fn end(&self, chars: &mut Vec<char>, from: usize) -> (bool, bool) {
        // Numbers are all alike.
        if self.digits == self.count && self.count > 0 {
            chars.truncate(from);
            chars.push('0');
        }
        (self.count > 1 && self.capitals == self.count, self.drawn)
    }
}

/// What is to be known of a character.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Face {
    is: u8,
    /// Its normal form where that is told without the characters before it.
    normal: Option<char>,
}

impl Face {
    /// A space, or not seen.
    const SPACE: u8 = 1;
    const ALPHANUMERIC: u8 = 2;
    const MARK: u8 = 4;
    const CAPITAL: u8 = 8;
    /// Faces of characters below this are in a table: those of most alphabets.
    const TABLE: u32 = 0x700;

    #[inline]
    fn of(c: char) -> Face {
        static TABLE: OnceLock<Vec<Face>> = OnceLock::new();
        let all = || (0..Face::TABLE).filter_map(char::from_u32).map(Face::new).collect();
        TABLE.get_or_init(all).get(c as usize).copied().unwrap_or_else(|| Face::new(c))
    }

    fn new(c: char) -> Face {
        let bit = |bit, is| if is { bit } else { 0 };
        // Of all beyond the table the most frequent.
        if matches!(c, '\u{4e00}'..='\u{9fff}') {
            return Face { is: Face::ALPHANUMERIC, normal: Some(c) };
        }
        Face {
            is: bit(Face::SPACE, c.is_whitespace() || is_unseen(c))
                | bit(Face::ALPHANUMERIC, c.is_alphanumeric())
                | bit(Face::MARK, is_mark(c))
                | bit(Face::CAPITAL, c.is_uppercase()),
            normal: normal(c, &mut [], 0),
        }
    }

    /// Whether it is one of these.
    #[inline]
    const fn has(self, bits: u8) -> bool {
        self.is & bits != 0
    }
}

fn is_alphanumeric(c: char) -> bool {
    Face::of(c).has(Face::ALPHANUMERIC)
}

/// The normal form of a character; none where it is a mark, which goes with the letter before it.
pub(crate) fn normal(c: char, chars: &mut [char], from: usize) -> Option<char> {
    Some(match c {
        'A'..='Z' => c.to_ascii_lowercase(),
        ..'\u{80}' => c,
        '\u{300}'..='\u{36f}' => {
            let last = chars[from..].last_mut()?;
            *last = unicode_normalization::char::compose(*last, c).unwrap_or(*last);
            return None;
        }
        '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{640}' => return None,
        'أ' | 'إ' | 'آ' | 'ٱ' => 'ا',
        'ة' => 'ه',
        'ى' | 'ئ' => 'ي',
        'ؤ' => 'و',
        'ς' => 'σ',
        '\u{ff01}'..='\u{ff5e}'
        | '\u{1d400}'..='\u{1d7ff}'
        | '\u{fb00}'..='\u{fdff}'
        | '\u{fe70}'..='\u{fefc}' => {
            let mut first = None;
            unicode_normalization::char::decompose_compatible(c, |part| {
                first = first.or(Some(part))
            });
            first.unwrap_or(c).to_lowercase().next().unwrap_or(c)
        }
        _ if is_mark(c) => return None,
        _ => c.to_lowercase().next().unwrap_or(c),
    })
}

fn is_mark(c: char) -> bool {
    c >= '\u{300}' && unicode_normalization::char::is_combining_mark(c)
}

/// Characters that are not seen: selectors of variants, joiners, marks of direction, tones of skin.
pub(crate) fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{fe00}'..='\u{fe0f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{1f3fb}'..='\u{1f3ff}'
    )
}

pub(crate) fn is_emoji(c: char) -> bool {
    matches!(
        c,
        '\u{1f000}'..='\u{1faff}' | '\u{2600}'..='\u{27bf}' | '\u{2b00}'..='\u{2bff}' | '\u{2190}'..='\u{21ff}'
    )
}

pub(crate) fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// An odd number with bits all over (that of SplitMix64).
const MIX: u64 = 0xbf58_476d_1ce4_e5b9;

/// Where hashes begin.
pub(crate) const START: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes a number into a hash.
pub(crate) fn join(hash: u64, number: u64) -> u64 {
    let mixed = (hash ^ number).wrapping_mul(MIX);
    mixed ^ (mixed >> 32)
}

/// The hash of characters.
pub(crate) fn hash(chars: &[char]) -> u64 {
    chars.iter().fold(START, |hash, c| join(hash, u64::from(*c)))
}

#[cfg(test)]
mod tests {
    use super::super::lexicon::Lexicon;
    use super::*;

    fn check(text: &str, language: Language, expected: &[&str]) {
        let mut scanned = Scanned::default();
        scanned.split(text, 0, language);
        let found: Vec<String> = scanned
            .tokens
            .iter()
            .map(|t| scanned.chars[t.chars.clone()].iter().collect())
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn words_emoji_and_signs_are_taken_apart_and_made_alike() {
        use Language::{Ar, En, Fr, Zh};
        check("SOOOO good!!!!! 😀😀", En, &["soo", "good", "!!!", "😀", "😀"]);
        check(
            "I don’t know @user http://t.co/x #TopStory",
            En,
            &["i", "don't", "know", "", "", "topstory"],
        );
        check("l'été, e\u{301}te\u{301}", Fr, &["l", "été", ",", "été"]);
        check("أحبّ المكتبةَ", Ar, &["احب", "المكتبه"]);
        check("很好 iPhone", Zh, &["很", "好", "iphone"]);
        check(":-) :D <3 =( 100 ﬁne ＯＫ", En, &[":-)", ":d", "<", "0", "=(", "0", "fne", "ok"]);
    }

    #[test]
    fn what_not_and_very_do_ends_with_the_clause() {
        let lexicon = Lexicon::new(&[
            ("not".chars().collect(), false, Entry { class: 250, ..Entry::default() }),
            ("very".chars().collect(), false, Entry { class: 251, ..Entry::default() }),
        ]);
        let mut scanned = Scanned::default();
        scanned.read("not a very good one here, good", 7, Language::En, |_, word| Known {
            entry: lexicon.find(word, Language::En),
            ..Known::default()
        });
        let turned: Vec<bool> = scanned.tokens.iter().map(|t| t.turned).collect();
        assert_eq!(turned, [false, true, true, true, true, false, false, false]);
        assert!(scanned.tokens[3].degree > 1.0 && scanned.tokens[4].degree == 1.0);
        assert_eq!(scanned.tokens[0].bytes, 7..10);
    }

    #[test]
    fn the_table_of_faces_tells_what_unicode_tells() {
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            let face = Face::of(c);
            assert_eq!(face, Face::new(c), "{c:?}");
            assert_eq!(face.normal, normal(c, &mut [], 0), "{c:?}");
            assert_eq!(face.has(Face::ALPHANUMERIC), c.is_alphanumeric(), "{c:?}");
            assert_eq!(face.has(Face::CAPITAL), c.is_uppercase(), "{c:?}");
            assert_eq!(face.has(Face::MARK), is_mark(c), "{c:?}");
            assert_eq!(face.has(Face::SPACE), c.is_whitespace() || is_unseen(c), "{c:?}");
        }
    }

    #[test]
    fn a_flood_costs_little() {
        let mut scanned = Scanned::default();
        scanned.split(&("a".to_owned() + &"\u{301}".repeat(100_000)), 0, Language::En);
        assert_eq!((scanned.tokens.len(), scanned.chars.len()), (1, 1));
        scanned.split(&"x".repeat(100_000), 0, Language::En);
        assert!(scanned.chars.len() <= 1 + WORD_CHARS_MAX);
    }
}
