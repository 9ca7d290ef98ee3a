//! Words, emoji and signs of a text, as sentiment sees them.
//!
//! A word is normalised: small letters, no vowel signs, Arabic letters that are written in several ways as one, no
//! letter more than twice in a row. Where each stands in the text is kept.

use super::lexicon::{Entry, Lexicon, Role};
use crate::Language;
use std::ops::Range;

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
}

/// A text's tokens; memory that is used again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scanned {
    pub(crate) chars: Vec<char>,
    pub(crate) tokens: Vec<Token>,
}

impl Scanned {
    /// Reads `text`, of which the first byte is byte `offset` of the whole.
    pub(crate) fn read(
        &mut self,
        text: &str,
        offset: usize,
        language: Language,
        lexicon: &Lexicon,
    ) {
        self.chars.clear();
        self.tokens.clear();
        self.split(text, offset, language);
        for token in &mut self.tokens {
            if matches!(token.kind, Kind::Word | Kind::Emoji | Kind::Signs) {
                token.entry = lexicon.find(&self.chars[token.chars.clone()], language);
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

    /// Tokens without what a lexicon says of them.
    pub(crate) fn split(&mut self, text: &str, offset: usize, language: Language) {
        let mut rest = text.char_indices().peekable();
        while let Some((start, c)) = rest.next() {
            if c.is_whitespace() || is_unseen(c) {
                continue;
            }
            let from = self.chars.len();
            let next = rest.peek().map(|(_, next)| *next);
            let tagged = c == '#' && next.is_some_and(char::is_alphanumeric);
            let mut token = Token {
                bytes: start..start + c.len_utf8(),
                chars: from..from,
                hash: 0,
                kind: Kind::Signs,
                tagged,
                loud: false,
                drawn: false,
                turned: false,
                degree: 1.0,
                entry: None,
            };
            let mut letters = Letters::default();
            if c.is_alphanumeric() || tagged {
                token.kind = Kind::Word;
                if !tagged {
                    letters.push(c, &mut self.chars, from);
                }
                let alone = is_han(c) && !tagged;
                let mut before = c;
                while let Some((at, c)) = rest.peek().copied().filter(|_| !alone) {
                    let apostrophe = matches!(c, '\'' | '’');
                    let within = match apostrophe {
                        true => {
                            let mut ahead = text[at + c.len_utf8()..].chars();
                            language == Language::En
                                && before.is_alphabetic()
                                && ahead.next().is_some_and(char::is_alphabetic)
                        }
                        false => c.is_alphanumeric() || c == '_' || is_mark(c),
                    };
                    if !within || is_han(c) && before != '#' {
                        break;
                    }
                    letters.push(if apostrophe { '\'' } else { c }, &mut self.chars, from);
                    before = c;
                    token.bytes.end = at + c.len_utf8();
                    rest.next();
                }
                letters.end(&mut token, &mut self.chars, from);
                let word = &self.chars[from..];
                if [&['h', 't', 't', 'p'][..], &['h', 't', 't', 'p', 's'], &['w', 'w', 'w']]
                    .contains(&word)
                {
                    token.kind = Kind::Address;
                }
            } else if c == '@' {
                token.kind = Kind::Name;
            } else if is_emoji(c) {
                token.kind = Kind::Emoji;
                self.chars.push(c);
            } else {
                // In a name or elision between two words an apostrophe is no sign.
                if matches!(c, '\'' | '’') && next.is_some_and(char::is_alphabetic) {
                    continue;
                }
                self.chars.push(c);
                while let Some((at, c)) = rest.peek().copied() {
                    let ends =
                        c.is_whitespace() || is_unseen(c) || is_emoji(c) || matches!(c, '@' | '#');
                    // The D of :D, if nothing follows it.
                    let mut ahead = text[at..].chars().skip(1);
                    let mouth = matches!(c, 'D' | 'P' | 'p' | 'O' | 'o' | '3' | '(' | ')')
                        && self.chars[from..]
                            .last()
                            .is_some_and(|eye| matches!(eye, ':' | ';' | '=' | '-'))
                        && !ahead.next().is_some_and(char::is_alphanumeric);
                    if ends || c.is_alphanumeric() && !mouth {
                        break;
                    }
                    let run =
                        self.chars[from..].iter().rev().take_while(|sign| **sign == c).count();
                    if run < 3 && self.chars.len() - from < SIGNS_MAX {
                        self.chars.extend(c.to_lowercase().next());
                    }
                    token.bytes.end = at + c.len_utf8();
                    rest.next();
                }
            }
            if matches!(token.kind, Kind::Name | Kind::Address) {
                while let Some((at, c)) = rest.peek().copied() {
                    let within = match token.kind {
                        Kind::Name => c.is_alphanumeric() || c == '_',
                        _ => !c.is_whitespace(),
                    };
                    if !within {
                        break;
                    }
                    token.bytes.end = at + c.len_utf8();
                    rest.next();
                }
                self.chars.truncate(from);
            } else if self.chars.len() == from {
                continue;
            }
            token.chars = from..self.chars.len();
            token.hash = hash(&self.chars[from..]);
            token.bytes = token.bytes.start + offset..token.bytes.end + offset;
            self.tokens.push(token);
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

/// The letters of a word that is being read.
#[derive(Default)]
struct Letters {
    count: usize,
    capitals: usize,
    digits: usize,
    drawn: bool,
}

impl Letters {
    fn push(&mut self, c: char, chars: &mut Vec<char>, from: usize) {
        self.count += 1;
        self.capitals += usize::from(c.is_uppercase());
        self.digits += usize::from(c.is_ascii_digit());
        if chars.len() - from >= WORD_CHARS_MAX {
            return;
        }
        let Some(c) = normal(c, chars, from) else { return };
        match chars[from..].ends_with(&[c, c]) {
            true => self.drawn = true,
            false => chars.push(c),
        }
    }

    fn end(&self, token: &mut Token, chars: &mut Vec<char>, from: usize) {
        token.loud = self.count > 1 && self.capitals == self.count;
        token.drawn = self.drawn;
        // Numbers are all alike.
        if self.digits == self.count && self.count > 0 {
            chars.truncate(from);
            chars.push('0');
        }
    }
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
        scanned.read("not a very good one here, good", 7, Language::En, &lexicon);
        let turned: Vec<bool> = scanned.tokens.iter().map(|t| t.turned).collect();
        assert_eq!(turned, [false, true, true, true, true, false, false, false]);
        assert!(scanned.tokens[3].degree > 1.0 && scanned.tokens[4].degree == 1.0);
        assert_eq!(scanned.tokens[0].bytes, 7..10);
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
