//! Words that speak for or against, of several lists, and words that turn or strengthen others.

use super::scan::{self, START, join};
use crate::Language;
use crate::model::{Error, Reader};

/// Lists that are told apart.
pub const LISTS: usize = 7;
/// What stands for 1 in an entry.
const ONE: f32 = 100.0;
/// Classes of words that say something alike.
pub const CLASSES_MAX: usize = 253;
/// What stands where a word has none.
pub const NO_CLASS: u8 = 255;
/// The classes of "not" and its like, of "very", and of "a little".
const NOT: u8 = 250;
const MORE: u8 = 251;
const LESS: u8 = 252;
/// What "very" and "a little" make of a value, as VADER has it by and large (Hutto and Gilbert 2014).
const MORE_BY: f32 = 1.3;
const LESS_BY: f32 = 0.7;
/// What a class's name is in a list where it is not a number.
pub const ROLES: [(&str, u8); 3] = [("not", NOT), ("more", MORE), ("less", LESS)];
/// A beginning of a word has at least so many characters.
pub const BEGINNING_CHARS_MIN: usize = 2;
/// Tables have at most 2 to this many places.
const BITS_MAX: u8 = 18;
/// Letters that Arabic writes together with the word that follows, the longest first.
const ARABIC_BEFORE: [&[char]; 10] = [
    &['و', 'ا', 'ل'],
    &['ب', 'ا', 'ل'],
    &['ف', 'ا', 'ل'],
    &['ا', 'ل'],
    &['ل', 'ل'],
    &['و'],
    &['ف'],
    &['ب'],
    &['ل'],
    &['ي'],
];
/// What remains of an Arabic word has at least so many letters.
const ARABIC_CHARS_MIN: usize = 3;

/// What lists say of a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// For and against by list, hundredths; 0 where a list does not have the word.
    pub values: [i8; LISTS],
    /// The class.
    pub class: u8,
}

/// What a word does to those that follow.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Role {
    /// Nothing.
    None,
    /// It turns them into their opposite.
    Not,
    /// It makes so much more of the next one.
    Degree(f32),
}

impl Default for Entry {
    fn default() -> Entry {
        Entry { values: [0; LISTS], class: NO_CLASS }
    }
}

impl Entry {
    /// What it says in a list, from -1 to 1; none where it is not there.
    pub fn value(&self, list: usize) -> Option<f32> {
        match self.values[list] {
            0 => None,
            value => Some(f32::from(value) / ONE),
        }
    }

    /// Takes over what a list says.
    pub fn set(&mut self, list: usize, value: f32) {
        self.values[list] = (value * ONE).round().clamp(-ONE, ONE) as i8;
    }

    /// The class, if it has one.
    pub fn class(&self) -> Option<usize> {
        (usize::from(self.class) < CLASSES_MAX).then_some(self.class.into())
    }

    /// What it does to others.
    pub fn role(&self) -> Role {
        match self.class {
            NOT => Role::Not,
            MORE => Role::Degree(MORE_BY),
            LESS => Role::Degree(LESS_BY),
            _ => Role::None,
        }
    }

    /// The mean of what lists say, from -1 to 1; 0 where none says anything.
    pub fn polarity(&self) -> f32 {
        let said = || (0..LISTS).filter_map(|list| self.value(list));
        match said().count() {
            0 => 0.0,
            count => said().sum::<f32>() / count as f32,
        }
    }
}

/// The words of a language.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lexicon {
    bits: u8,
    /// Part of the hash by place; 0 where none is.
    keys: Vec<u32>,
    entries: Vec<Entry>,
    /// The longest beginning, in characters.
    beginning_chars_max: usize,
    /// A bit for each of [`SEEN_BITS`] kinds of keys: most words that are not here are known by it alone.
    seen: Vec<u64>,
}

/// Few enough for the nearest memory, many enough to be mostly 0.
const SEEN_BITS: usize = 1 << 17;

/// The bits of some keys.
fn seen(keys: &[u32]) -> Vec<u64> {
    let mut seen = vec![0; SEEN_BITS / 64];
    for key in keys.iter().filter(|key| **key != 0) {
        let bit = *key as usize % SEEN_BITS;
        seen[bit / 64] |= 1 << (bit % 64);
    }
    seen
}

/// A word, or with a star the beginning of words.
fn key_of(hash: u64, beginning: bool) -> u64 {
    join(hash, 1 + u64::from(beginning))
}

impl Lexicon {
    /// From words in normal form, each once for either kind; whether it is the beginning of words.
    pub fn new(words: &[(Vec<char>, bool, Entry)]) -> Lexicon {
        // No more than half of the places are taken.
        let bits = (words.len() * 2).max(2).next_power_of_two().ilog2() as u8;
        let beginnings = words.iter().filter(|word| word.1).map(|word| word.0.len());
        let mut lexicon = Lexicon {
            bits,
            keys: vec![0; 1 << bits],
            entries: vec![Entry::default(); 1 << bits],
            beginning_chars_max: beginnings.max().unwrap_or(0),
            seen: Vec::new(),
        };
        for (word, beginning, entry) in words {
            let hash = key_of(scan::hash(word), *beginning);
            let place = lexicon.place(hash);
            lexicon.keys[place] = key(hash);
            lexicon.entries[place] = *entry;
        }
        lexicon.seen = seen(&lexicon.keys);
        lexicon
    }

    /// What is known of a word in normal form: itself, else its longest beginning that is known.
    pub fn find(&self, word: &[char], language: Language) -> Option<Entry> {
        if self.keys.is_empty() {
            return None;
        }
        let found = self.find_as_is(word);
        if found.is_some() || language != Language::Ar {
            return found;
        }
        ARABIC_BEFORE.iter().find_map(|before| {
            let rest = word.strip_prefix(*before)?;
            (rest.len() >= ARABIC_CHARS_MIN).then(|| self.find_as_is(rest)).flatten()
        })
    }

    fn find_as_is(&self, word: &[char]) -> Option<Entry> {
        let mut longest = None;
        let mut hash = START;
        for (at, c) in word.iter().enumerate() {
            hash = join(hash, u64::from(*c));
            if (BEGINNING_CHARS_MIN..=self.beginning_chars_max).contains(&(at + 1)) {
                longest = self.get(key_of(hash, true)).or(longest);
            }
        }
        self.get(key_of(hash, false)).or(longest)
    }

    fn get(&self, hash: u64) -> Option<Entry> {
        let bit = key(hash) as usize % SEEN_BITS;
        if self.seen[bit / 64] >> (bit % 64) & 1 == 0 {
            return None;
        }
        let place = self.place(hash);
        (self.keys[place] != 0).then(|| self.entries[place])
    }

    /// Where a hash is, or would be.
    fn place(&self, hash: u64) -> usize {
        let mask = self.keys.len() - 1;
        let mut place = (hash >> 32) as usize & mask;
        while self.keys[place] != 0 && self.keys[place] != key(hash) {
            place = (place + 1) & mask;
        }
        place
    }

    /// Reads what [`Lexicon::write`] wrote.
    ///
    /// # Errors
    /// Where it is too short or could not be searched.
    pub fn read(reader: &mut Reader<'_>) -> Result<Lexicon, Error> {
        let bits = reader.u8("size of the lexicon")?;
        if !(1..=BITS_MAX).contains(&bits) {
            return Err(Error::Value { what: "size of the lexicon", value: bits.into() });
        }
        let beginning_chars_max = reader.u8("longest beginning")?.into();
        let keys = reader.u32s(1 << bits, "words of the lexicon")?;
        if !keys.contains(&0) {
            return Err(Error::Value { what: "words of the lexicon", value: keys.len() as u64 });
        }
        let rows = reader.bytes((LISTS + 1) << bits, "entries of the lexicon")?;
        let entries = rows.as_chunks::<{ LISTS + 1 }>().0.iter().map(|row| Entry {
            values: std::array::from_fn(|list| row[list] as i8),
            class: row[LISTS],
        });
        let seen = seen(&keys);
        Ok(Lexicon { bits, keys, entries: entries.collect(), beginning_chars_max, seen })
    }

    /// Adds it to the body of a model.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend([self.bits, self.beginning_chars_max.min(255) as u8]);
        out.extend(self.keys.iter().flat_map(|key| key.to_le_bytes()));
        for entry in &self.entries {
            out.extend(entry.values.map(|value| value as u8));
            out.push(entry.class);
        }
    }
}

/// What a place tells of the word that is there.
fn key(hash: u64) -> u32 {
    (hash as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lexicon() -> Lexicon {
        let word = |text: &str, beginning, value: f32| {
            let mut entry = Entry { class: 3, ..Entry::default() };
            entry.set(6, value);
            (text.chars().collect::<Vec<_>>(), beginning, entry)
        };
        Lexicon::new(&[
            word("good", false, 0.8),
            word("go", true, 0.1),
            word("goodn", true, 0.5),
            word("جميل", false, 0.9),
        ])
    }

    #[test]
    fn the_word_comes_before_its_longest_beginning() {
        let lexicon = lexicon();
        let check = |word: &str, language, expected: Option<f32>| {
            let word: Vec<char> = word.chars().collect();
            let found = lexicon.find(&word, language).and_then(|entry| entry.value(6));
            assert_eq!(found, expected, "{word:?}");
        };
        check("good", Language::En, Some(0.8));
        check("goodness", Language::En, Some(0.5));
        check("goods", Language::En, Some(0.1));
        check("g", Language::En, None);
        check("bad", Language::En, None);
        check("", Language::En, None);
        check("والجميل", Language::Ar, Some(0.9));
        check("والجميل", Language::En, None);
    }

    #[test]
    fn what_is_written_is_read() {
        let mut body = Vec::new();
        lexicon().write(&mut body);
        assert_eq!(Lexicon::read(&mut Reader::new(&body)).unwrap(), lexicon());
        for end in 0..body.len() {
            assert!(Lexicon::read(&mut Reader::new(&body[..end])).is_err(), "cut at {end}");
        }
        let places = 1 << body[0];
        body[2..2 + 4 * places].fill(1);
        assert!(Lexicon::read(&mut Reader::new(&body)).is_err(), "a full table is refused");
    }
}
