//! What stands in a text, as far as its language is concerned: how many letters of each script, and the Latin words.

use std::ops::Range;

/// Letters of a Latin word that are looked at together; a longer run of letters counts as several words.
pub(crate) const WORD_LETTERS_MAX: usize = 32;

/// The code that stands before and after a word.
pub(crate) const EDGE: u8 = 127;
const APOSTROPHE: u8 = 126;
/// The code of a Latin letter that none of the languages writes.
const FOREIGN: u8 = 125;
/// The first code that is no letter but says what a byte of ASCII does.
const BREAK: u8 = 0;

/// Letters of each script in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Letters {
    /// Latin ones, of which [`Letters::foreign`] are of no language that is known.
    pub(crate) latin: u32,
    /// Latin letters of other languages only: ğ, ř, å.
    pub(crate) foreign: u32,
    /// Arabic ones, of which [`Letters::persian`] are not written in Arabic.
    pub(crate) arabic: u32,
    /// Letters of Persian, Urdu, Pashto and others: چ, گ, ڑ.
    pub(crate) persian: u32,
    /// Cyrillic ones, of which [`Letters::slavic`] are not Russian.
    pub(crate) cyrillic: u32,
    /// Letters of Ukrainian, Serbian, Kazakh and others: і, љ, қ; and ъ where Bulgarian has it.
    pub(crate) slavic: u32,
    /// Chinese characters.
    pub(crate) han: u32,
    /// Japanese syllables.
    pub(crate) kana: u32,
    /// Letters of all other scripts.
    pub(crate) other: u32,
}

/// Counts the letters of `text`, and shows each Latin word to `word`: the codes of its letters between two edges, and
/// a hash of them.
///
/// Addresses and names of users (`@name`) are passed over. Words end at apostrophes, which belong to them: `l'` and
/// `homme`.
pub(crate) fn scan(text: &str, mut word: impl FnMut(&[u8], u64)) -> Letters {
    let mut letters = Letters::default();
    let mut codes = [EDGE; WORD_LETTERS_MAX + 3];
    let mut length = 0;
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let (code, next) = match byte < 128 {
            true => (ASCII[usize::from(byte)], at + 1),
            false => match text[at..].chars().next() {
                Some(c @ '\u{300}'..='\u{36f}') => {
                    if length > 0 {
                        codes[length] = marked(codes[length], c);
                    }
                    at += c.len_utf8();
                    continue;
                }
                Some(c) => (wide(c, &mut letters), at + c.len_utf8()),
                None => break,
            },
        };
        if code != BREAK && code != APOSTROPHE {
            letters.latin += 1;
            letters.foreign += u32::from(code == FOREIGN);
            length += 1;
            codes[length] = code;
            at = next;
            if length == WORD_LETTERS_MAX {
                give(&mut codes, &mut length, &mut word);
            }
            continue;
        }
        if length > 0 {
            if is_address(&codes[1..=length], &bytes[at..]) {
                letters.latin -= length as u32;
                length = 0;
                at = skip(bytes, next);
                continue;
            }
            if code == APOSTROPHE {
                length += 1;
                codes[length] = APOSTROPHE;
            }
            give(&mut codes, &mut length, &mut word);
        }
        at = if byte == b'@' { skip(bytes, next) } else { next };
    }
    if length > 0 && !is_address(&codes[1..=length], &[]) {
        give(&mut codes, &mut length, &mut word);
    }
    letters
}

fn give(codes: &mut [u8], length: &mut usize, word: &mut impl FnMut(&[u8], u64)) {
    codes[*length + 1] = EDGE;
    let codes = &codes[..*length + 2];
    word(codes, hash(&codes[1..=*length]));
    *length = 0;
}

/// Whether a word, with what follows it, begins an address: `http`, `www.`, `name@`, `ftp://`.
fn is_address(codes: &[u8], rest: &[u8]) -> bool {
    const HTTP: [u8; 4] = [8, 20, 20, 16];
    const WWW: [u8; 3] = [23, 23, 23];
    rest.starts_with(b"://")
        || rest.starts_with(b"@")
        || codes == HTTP
        || codes == WWW && rest.starts_with(b".")
}

/// Cuts a text into sentences, lines and runs of one script, spaces and signs with what stands before them.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut chars = text.char_indices().peekable();
    let mut start = 0;
    let mut script = None;
    let mut ended = false;
    std::iter::from_fn(move || {
        while let Some((at, c)) = chars.next() {
            let own = script_of(c);
            // A sentence ends where its spaces do; scripts change at a letter.
            let cut =
                ended && !c.is_whitespace() || own.is_some() && script.is_some() && own != script;
            let space_follows = chars.peek().is_none_or(|(_, next)| next.is_whitespace());
            ended = match c {
                '\n' | '。' | '！' | '？' => true,
                '.' | '!' | '?' | '…' | '؟' => space_follows,
                c => ended && !cut && c.is_whitespace(),
            };
            script = if cut { own } else { own.or(script) };
            if cut {
                let piece = start..at;
                start = at;
                return Some(piece);
            }
        }
        let piece = start..text.len();
        start = text.len();
        (!piece.is_empty()).then_some(piece)
    })
}

/// A number for the script of a letter.
fn script_of(c: char) -> Option<u8> {
    match c {
        'a'..='z' | 'A'..='Z' => Some(0),
        _ if c.is_ascii() => None,
        _ => {
            let mut letters = Letters::default();
            let code = wide(c, &mut letters);
            let counts = [
                u32::from(code != BREAK && code != APOSTROPHE),
                letters.arabic,
                letters.cyrillic,
                letters.han + letters.kana,
                letters.other,
            ];
            counts.iter().position(|count| *count > 0).map(|script| script as u8)
        }
    }
}

/// Where the next space is.
fn skip(bytes: &[u8], from: usize) -> usize {
    from + bytes[from..].iter().take_while(|b| !b.is_ascii_whitespace()).count()
}

/// A hash of a word's letters: each is mixed in by a multiplication, the upper half folded onto the lower at the end.
pub(crate) fn hash(codes: &[u8]) -> u64 {
    let mixed = codes
        .iter()
        .fold(0x9e37_79b9_7f4a_7c15, |h: u64, code| (h ^ u64::from(*code)).wrapping_mul(MIX));
    mixed ^ (mixed >> 32)
}

/// An odd number with bits all over (that of SplitMix64).
pub(crate) const MIX: u64 = 0xbf58_476d_1ce4_e5b9;

/// What a byte of ASCII is: a letter's code, an apostrophe, or the end of a word.
const ASCII: [u8; 128] = {
    let mut table = [BREAK; 128];
    let mut letter = 0;
    while letter < 26 {
        table[b'a' as usize + letter] = letter as u8 + 1;
        table[b'A' as usize + letter] = letter as u8 + 1;
        letter += 1;
    }
    table[b'\'' as usize] = APOSTROPHE;
    table
};

/// The letters beyond ASCII that the languages write, small; a code is 27 and the place.
const LATIN: [char; 36] = [
    'à', 'á', 'â', 'ã', 'ä', 'ç', 'è', 'é', 'ê', 'ë', 'ì', 'í', 'î', 'ï', 'ñ', 'ò', 'ó', 'ô', 'õ',
    'ö', 'ù', 'ú', 'û', 'ü', 'ß', 'œ', 'æ', 'ą', 'ć', 'ę', 'ł', 'ń', 'ś', 'ź', 'ż', 'ÿ',
];

/// The first letter beyond ASCII: À.
const WIDE_FIRST: u32 = 0xc0;

/// Codes of the letters of Latin-1 and Latin Extended-A, large and small.
const WIDE: [u8; 0x180 - WIDE_FIRST as usize] = {
    let mut table = [FOREIGN; 0x180 - WIDE_FIRST as usize];
    let mut place = 0;
    while place < LATIN.len() {
        let small = LATIN[place] as u32;
        // How far the large letter stands before the small one; ß and ÿ have none in Latin-1.
        let large = match small {
            0xdf | 0xff => small,
            ..0x100 => small - 0x20,
            _ => small - 1,
        };
        table[(small - WIDE_FIRST) as usize] = 27 + place as u8;
        table[(large - WIDE_FIRST) as usize] = 27 + place as u8;
        place += 1;
    }
    table['×' as usize - WIDE_FIRST as usize] = BREAK;
    table['÷' as usize - WIDE_FIRST as usize] = BREAK;
    table
};

/// Counts a character beyond ASCII, and gives its code if it is a Latin letter.
fn wide(c: char, letters: &mut Letters) -> u8 {
    match c {
        '\u{aa}' | '\u{ba}' => BREAK,
        '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => latin(c),
        '’' | 'ʼ' => APOSTROPHE,
        '\u{ff21}'..='\u{ff3a}' => (u32::from(c) - 0xff20) as u8,
        '\u{ff41}'..='\u{ff5a}' => (u32::from(c) - 0xff40) as u8,
        '\u{400}'..='\u{52f}' => {
            letters.cyrillic += 1;
            letters.slavic += u32::from(!matches!(c, '\u{410}'..='\u{44f}' | 'ё' | 'Ё'));
            BREAK
        }
        '\u{620}'..='\u{64a}' | '\u{671}'..='\u{6d3}' | '\u{6d5}' | '\u{750}'..='\u{77f}' => {
            letters.arabic += 1;
            letters.persian += u32::from(c > '\u{64a}');
            BREAK
        }
        '\u{fb50}'..='\u{fdff}' | '\u{fe70}'..='\u{fefe}' => {
            letters.arabic += 1;
            BREAK
        }
        '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' => {
            letters.han += 1;
            BREAK
        }
        '\u{20000}'..='\u{3ffff}' => {
            letters.han += 1;
            BREAK
        }
        '\u{3041}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{ff66}'..='\u{ff9d}' => {
            letters.kana += u32::from(!matches!(c, '・' | 'ー'));
            BREAK
        }
        c => {
            letters.other += u32::from(c.is_alphabetic());
            BREAK
        }
    }
}

/// The code of a letter beyond ASCII, in Latin-1 or one of the extended Latin blocks.
fn latin(c: char) -> u8 {
    let place = (u32::from(c) - WIDE_FIRST) as usize;
    WIDE.get(place).copied().unwrap_or(FOREIGN)
}

/// The code of a letter with a combining mark on it.
fn marked(code: u8, mark: char) -> u8 {
    let letter = match code {
        1..=26 => char::from(b'a' + code - 1),
        _ => return FOREIGN,
    };
    match unicode_normalization::char::compose(letter, mark) {
        Some(c) if u32::from(c) >= WIDE_FIRST => latin(c),
        _ => FOREIGN,
    }
}

impl Letters {
    /// Counts the letters of another piece too.
    pub(crate) fn add(&mut self, other: &Letters) {
        self.latin += other.latin;
        self.foreign += other.foreign;
        self.arabic += other.arabic;
        self.persian += other.persian;
        self.cyrillic += other.cyrillic;
        self.slavic += other.slavic;
        self.han += other.han;
        self.kana += other.kana;
        self.other += other.other;
    }
}
