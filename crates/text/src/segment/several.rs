//! Tokens that are several words: `don't`, `du`, `dirglielo`.
//!
//! A token that was seen in training is split as it was there; where it was both one word and several, and where a token
//! is new and ends as others that were split, the words around decide.

use crate::hash::{self, feature, join};
use crate::model::{Error, Reader};
use crate::table::Table;
use std::collections::BTreeMap;

/// The most ways to split.
const SPLITS_MAX: usize = 1 << 16;

/// The longest ending, in characters, by which a new token is split.
const ENDING_CHARS_MAX: usize = 8;

/// Longer tokens, in bytes, are never split.
const TOKEN_BYTES_MAX: usize = 64;

/// How a token is split: what its end gives way to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Split {
    /// The end of the token, in lower case, that is taken off; all of it for words like `du`.
    strip: String,
    /// What is put there to make the first word.
    add: String,
    /// The words that follow.
    tail: Vec<String>,
    /// Whether acute accents are taken from what is left, as from `dándole`.
    plain: bool,
}

/// What is known of a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// One word.
    One,
    /// Several, by this split.
    Several(u32),
    /// The words around decide whether it is split like this.
    Ask(u32),
}

/// All that is known of tokens of several words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Several {
    splits: Vec<Split>,
    /// From forms, and from endings, to splits.
    forms: Table<4>,
    endings: Table<4>,
    weights: Table<1>,
}

/// A token with those around it, in lower case.
pub(super) struct Around<'a> {
    pub(super) before: &'a str,
    pub(super) token: &'a str,
    pub(super) after: &'a str,
}

/// What a token in lower case was in training: one word so many times, and how often split how.
type Seen = (String, u32, Vec<(Split, u32)>);

const ONE: u32 = 0;
const SEVERAL: u32 = 1 << 24;
const ASK: u32 = 2 << 24;

fn without_acute(c: char) -> char {
    match c {
        'á' => 'a',
        'é' => 'e',
        'í' => 'i',
        'ó' => 'o',
        'ú' => 'u',
        c => c,
    }
}

impl Split {
    /// The split that makes `words` of `token` (both in lower case): the one that keeps most of the token.
    pub(super) fn new(token: &str, words: &[String]) -> Split {
        let first = words.first().map_or("", String::as_str);
        let common = |plain: bool| {
            let same = |(a, b): &(char, char)| a == b || plain && without_acute(*a) == *b;
            let same: Vec<_> = token.chars().zip(first.chars()).take_while(same).collect();
            same.len()
        };
        let plain = common(true) > common(false);
        let kept = common(plain);
        let after = |text: &str| text.chars().skip(kept).collect::<String>();
        Split { strip: after(token), add: after(first), tail: words[1..].to_vec(), plain }
    }

    /// The words of `token`, if it ends as it must. `each` is told them in order.
    pub(super) fn apply(&self, token: &str, mut each: impl FnMut(&str)) {
        let strip = self.strip.chars().count();
        let kept =
            token.char_indices().rev().nth(strip.wrapping_sub(1)).map_or(token.len(), |(i, _)| i);
        let (stem, end) = token.split_at(if strip == 0 { token.len() } else { kept });
        let loud = token.chars().filter(|c| c.is_uppercase()).count() > 1
            && !token.chars().any(char::is_lowercase);
        let verbatim = self.strip == self.add.clone() + &self.tail.concat();
        let mut word = String::new();
        let mut given = end.chars();
        let mut put = |text: &str, first: bool, word: &mut String| {
            for (i, c) in text.chars().enumerate() {
                match given.next().filter(|_| verbatim) {
                    Some(original) => word.push(original),
                    None if loud || (first && i == 0 && end.starts_with(char::is_uppercase)) => {
                        word.extend(c.to_uppercase())
                    }
                    None => word.push(c),
                }
            }
        };
        match self.plain {
            true => word.extend(stem.chars().map(without_acute)),
            false => word.push_str(stem),
        }
        put(&self.add, stem.is_empty(), &mut word);
        each(&word);
        for text in &self.tail {
            word.clear();
            put(text, false, &mut word);
            each(&word);
        }
    }

    fn hash(&self) -> u64 {
        let tail = self.tail.iter().fold(1, |hash, word| join(hash, hash::bytes(word.as_bytes())));
        join(join(hash::bytes(self.strip.as_bytes()), hash::bytes(self.add.as_bytes())), tail)
    }
}

impl Several {
    /// Nothing is several words.
    pub(super) fn nothing() -> Several {
        let empty = || Table::build(&[]);
        Several { splits: Vec::new(), forms: empty(), endings: empty(), weights: Table::build(&[]) }
    }

    /// From what tokens were in training, and the least number of different tokens that an ending must have split.
    pub(super) fn build(tokens: &[Seen], types_min: usize) -> Several {
        let mut splits: Vec<Split> =
            tokens.iter().flat_map(|t| t.2.iter().map(|s| s.0.clone())).collect();
        splits.sort();
        splits.dedup();
        splits.truncate(SPLITS_MAX);
        let number = |split: &Split| splits.binary_search(split).unwrap_or(0) as u32;
        let mut endings: BTreeMap<&str, BTreeMap<u32, usize>> = BTreeMap::new();
        let mut forms = Vec::new();
        for (token, _, ways) in tokens {
            for (split, _) in ways {
                let (strip, whole) = (split.strip.chars().count(), token.chars().count());
                if strip > 0 && strip <= ENDING_CHARS_MAX && strip < whole {
                    *endings.entry(&split.strip).or_default().entry(number(split)).or_default() +=
                        1;
                }
            }
        }
        let best = endings.iter().filter_map(|(ending, ways)| {
            let (split, types) =
                ways.iter().max_by_key(|(split, n)| (**n, std::cmp::Reverse(**split)))?;
            (*types >= types_min)
                .then(|| (hash::bytes(ending.as_bytes()), (*split | ASK).to_le_bytes()))
        });
        let endings: Vec<_> = best.collect();
        let mut several = Several {
            endings: Table::build(&endings),
            splits: splits.clone(),
            ..Several::nothing()
        };
        for (token, once, ways) in tokens {
            let most = ways.iter().max_by_key(|(split, n)| (*n, std::cmp::Reverse(number(split))));
            let all: u32 = ways.iter().map(|(_, n)| n).sum();
            let code = match most {
                None if several.by_ending(token).is_none() => continue,
                None => ONE,
                Some((split, _)) if *once == 0 || all > once * 50 => number(split) | SEVERAL,
                Some(_) if *once > all * 50 => ONE,
                Some((split, _)) => number(split) | ASK,
            };
            forms.push((hash::bytes(token.as_bytes()), code.to_le_bytes()));
        }
        several.forms = Table::build(&forms);
        several
    }

    /// Whether no token was ever split.
    pub(super) fn is_empty(&self) -> bool {
        self.splits.is_empty()
    }

    pub(super) fn set_weights(&mut self, weights: Table<1>) {
        self.weights = weights;
    }

    /// What is known of a token in lower case, before the words around are asked.
    pub(super) fn of(&self, token: &str) -> Answer {
        if token.len() > TOKEN_BYTES_MAX || self.is_empty() {
            return Answer::One;
        }
        match self.forms.get(hash::bytes(token.as_bytes())) {
            Some(code) => self.answer(token, u32::from_le_bytes(*code)),
            None => self.by_ending(token).unwrap_or(Answer::One),
        }
    }

    /// What the longest known ending says.
    pub(super) fn by_ending(&self, token: &str) -> Option<Answer> {
        let count = token.chars().count();
        let starts = token.char_indices().skip(count.saturating_sub(ENDING_CHARS_MAX).max(1));
        let found = starts
            .into_iter()
            .find_map(|(at, _)| self.endings.get(hash::bytes(&token.as_bytes()[at..])));
        found.map(|code| self.answer(token, u32::from_le_bytes(*code)))
    }

    /// What a code says of a token; one whose split does not fit was found for another token of the same hash.
    fn answer(&self, token: &str, code: u32) -> Answer {
        let number = code & 0xff_ffff;
        match self.splits.get(number as usize) {
            Some(split) if token.ends_with(&split.strip) => match code & !0xff_ffff {
                SEVERAL => Answer::Several(number),
                ASK => Answer::Ask(number),
                _ => Answer::One,
            },
            _ => Answer::One,
        }
    }

    pub(super) fn split(&self, number: u32) -> &Split {
        &self.splits[number as usize]
    }

    /// Whether the words around speak for a split.
    pub(super) fn ask(
        &self,
        number: u32,
        around: &Around<'_>,
        known: impl Fn(&str) -> u64,
    ) -> bool {
        let mut sum = [0];
        self.features(number, around, known, |feature| self.weights.add_one(feature, &mut sum));
        sum[0] > 0
    }

    /// What is looked at to decide; `known` tells what is known of a word.
    pub(super) fn features(
        &self,
        number: u32,
        around: &Around<'_>,
        known: impl Fn(&str) -> u64,
        mut emit: impl FnMut(u64),
    ) {
        let split = &self.splits[number as usize];
        let rule = split.hash();
        let Around { before, token, after } = around;
        let text = |text: &str| hash::bytes(text.as_bytes());
        let ending = |text: &str, chars: usize| {
            let at = text.char_indices().rev().nth(chars - 1).map_or(0, |(i, _)| i);
            hash::bytes(&text.as_bytes()[at..])
        };
        let mut see = |template: u32, a: u64, b: u64| emit(feature(500 + template, join(a, b)));
        let form = text(token);
        see(0, rule, 0);
        see(1, form, 0);
        see(2, form, text(before));
        see(3, form, text(after));
        see(4, form, ending(before, 2));
        see(5, form, ending(before, 3));
        see(6, form, ending(after, 2));
        see(7, form, ending(after, 3));
        see(8, form, known(before));
        see(9, form, known(after));
        see(10, form, join(known(before), known(after)));
        see(11, rule, text(before));
        see(12, rule, known(before));
        see(13, rule, known(after));
        let stem = token.strip_suffix(split.strip.as_str()).unwrap_or_default();
        for chars in 1..=4 {
            see(13 + chars as u32, rule, ending(stem, chars));
        }
        let mut first = None;
        split.apply(token, |word| {
            first.get_or_insert_with(|| known(word));
        });
        let first = first.unwrap_or_default();
        see(18, rule, first);
        see(19, rule, join(first, known(token)));
        see(20, rule, stem.chars().count().min(8) as u64);
        see(21, rule, join(known(before), first));
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend((self.splits.len() as u32).to_le_bytes());
        let text = |text: &str, out: &mut Vec<u8>| {
            out.push(text.len() as u8);
            out.extend(text.as_bytes());
        };
        for split in &self.splits {
            out.push(u8::from(split.plain));
            text(&split.strip, out);
            text(&split.add, out);
            out.push(split.tail.len() as u8);
            split.tail.iter().for_each(|word| text(word, out));
        }
        self.forms.write(out);
        self.endings.write(out);
        self.weights.write(out);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Several, Error> {
        let what = "ways to split";
        let count = reader.u32(what)? as usize;
        if count > SPLITS_MAX {
            return Err(Error::Value { what, value: count as u64 });
        }
        let text = |reader: &mut Reader<'_>| {
            let length = reader.u8(what)?;
            Ok::<_, Error>(reader.text(length.into(), what)?.to_owned())
        };
        let mut splits = Vec::new();
        for _ in 0..count {
            let plain = reader.u8(what)? != 0;
            let (strip, add) = (text(reader)?, text(reader)?);
            let tail = (0..reader.u8(what)?).map(|_| text(reader)).collect::<Result<_, _>>()?;
            splits.push(Split { strip, add, tail, plain });
        }
        let (forms, endings) = (Table::read(reader)?, Table::read(reader)?);
        Ok(Several { splits, forms, endings, weights: Table::read(reader)? })
    }
}

/// What tokens were in training.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts(BTreeMap<String, (u32, BTreeMap<Split, u32>)>);

impl Counts {
    /// Counts a token, in lower case, and its words.
    pub(super) fn add(&mut self, token: &str, words: &[String]) {
        let entry = self.0.entry(token.to_owned()).or_default();
        match words.len() {
            0 | 1 => entry.0 += 1,
            _ if token.len() <= TOKEN_BYTES_MAX => {
                *entry.1.entry(Split::new(token, words)).or_default() += 1;
            }
            _ => {}
        }
    }

    pub(super) fn build(&self, types_min: usize) -> Several {
        let of = |(token, (once, ways)): (&String, &(u32, BTreeMap<Split, u32>))| {
            (token.clone(), *once, ways.iter().map(|(split, n)| (split.clone(), *n)).collect())
        };
        Several::build(&self.0.iter().map(of).collect::<Vec<_>>(), types_min)
    }
}
