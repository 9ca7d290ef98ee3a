//! Dictionary forms: what the end of a word with its part of speech gives way to.
//!
//! Endings vote: the longest ending that was seen tells the rule. Words that their endings tell wrongly are kept by themselves.

use crate::hash::{self, join};
use crate::memory::Memory;
use crate::model::{Error, Reader};
use crate::table::Table;
use crate::word::{lower, set_lower};
use crate::{Language, Upos};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The most rules: they are told by two bytes.
const RULES_MAX: usize = 1 << 16;

/// The longest ending, in characters.
const ENDING_CHARS_MAX: usize = 6;

/// Longer words, in bytes, are their own lemmas.
const WORD_BYTES_MAX: usize = 96;

/// Places of the memory for words that were seen before: a power of two.
const MEMORY_PLACES: usize = 16384;

/// How a lemma is made of a form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Rule {
    /// Whether the form is taken as it is written, rather than in lower case.
    as_written: bool,
    /// How many characters are taken from its end.
    strip: u8,
    /// What is put there.
    add: String,
}

impl Rule {
    fn new(form: &str, lemma: &str) -> Rule {
        let common = |a: &str| a.chars().zip(lemma.chars()).take_while(|(a, b)| a == b).count();
        let small = lower(form);
        let as_written = common(form) > common(&small);
        let base = if as_written { form } else { &small };
        let kept = common(base);
        let strip = base.chars().count() - kept;
        Rule { as_written, strip: strip.min(255) as u8, add: lemma.chars().skip(kept).collect() }
    }

    /// Makes the lemma of `form` of what stands in `out`, its lower case.
    fn apply(&self, form: &str, out: &mut String) {
        if self.as_written {
            out.clear();
            out.push_str(form);
        }
        if let Some(last) = usize::from(self.strip).checked_sub(1) {
            out.truncate(out.char_indices().rev().nth(last).map_or(0, |(at, _)| at));
        }
        out.push_str(&self.add);
    }
}

/// Memory that is reused from word to word, in whatever language, with one model of each. What it holds changes no answer.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    lower: String,
    /// The rules of words seen before, where the hash of their bytes, tag and language says; none for those that are
    /// their own lemmas.
    memory: Memory<Option<u16>, MEMORY_PLACES>,
}

/// The lemmas of a language.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Lemmas {
    rules: Vec<Rule>,
    words: Table<2>,
    endings: Table<2>,
}

fn word_key(form: &str, tag: Upos) -> u64 {
    hash::feature(600, join(hash::bytes(form.as_bytes()), tag as u64))
}

/// The keys of a form's endings, the longest first, the empty one last.
fn ending_keys(form: &str, tag: Upos) -> impl Iterator<Item = u64> {
    let mut keys = [0; ENDING_CHARS_MAX + 1];
    let mut hash = tag as u64;
    keys[0] = hash::feature(601, hash);
    let mut count = 1;
    for c in form.chars().rev().take(ENDING_CHARS_MAX) {
        hash = join(hash, u64::from(c) + 1);
        keys[count] = hash::feature(601, hash);
        count += 1;
    }
    keys.into_iter().take(count).rev()
}

impl Lemmas {
    /// The lemma of a word. One of which nothing is known is its own. `salt` is that of the language.
    pub(super) fn of<'f>(
        &self,
        form: &'f str,
        tag: Upos,
        salt: u64,
        scratch: &mut Scratch,
    ) -> Cow<'f, str> {
        if form.len() > WORD_BYTES_MAX {
            return Cow::Borrowed(form);
        }
        let Scratch { lower, memory } = scratch;
        let rule = memory.get(word_key(form, tag) ^ salt, || {
            let number = self.apply(form, tag, lower)?;
            (!lower.is_empty() && lower != form).then_some(number)
        });
        match rule.and_then(|number| self.rules.get(usize::from(number))) {
            None => Cow::Borrowed(form),
            Some(rule) => {
                set_lower(form, lower);
                rule.apply(form, lower);
                Cow::Owned(lower.clone())
            }
        }
    }

    /// Finds the rule of a word, and makes its lemma in `out`.
    fn apply(&self, form: &str, tag: Upos, out: &mut String) -> Option<u16> {
        set_lower(form, out);
        let number = self.rule(out, tag)?;
        self.rules.get(usize::from(number))?.apply(form, out);
        Some(number)
    }

    /// Whether nothing is known of any word.
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    fn rule(&self, form: &str, tag: Upos) -> Option<u16> {
        let row = self.words.get(word_key(form, tag)).or_else(|| self.by_ending(form, tag))?;
        Some(u16::from_le_bytes(*row))
    }

    fn by_ending(&self, form: &str, tag: Upos) -> Option<&[u8; 2]> {
        ending_keys(form, tag).find_map(|key| self.endings.get(key))
    }

    /// Learns from words with tags and lemmas, each with a weight. Arabic has none: its lemmas carry vowel signs that texts do not tell.
    pub(super) fn learn<'a>(
        language: Language,
        words: impl Iterator<Item = (&'a str, Upos, &'a str, u32)>,
    ) -> Lemmas {
        let mut counts: BTreeMap<(String, Upos), BTreeMap<Rule, u32>> = BTreeMap::new();
        for (form, tag, lemma, weight) in words.filter(|_| language != Language::Ar) {
            if form.len() <= WORD_BYTES_MAX && lemma.len() <= WORD_BYTES_MAX {
                let rules = counts.entry((lower(form), tag)).or_default();
                *rules.entry(Rule::new(form, lemma)).or_default() += weight;
            }
        }
        let best = |rules: BTreeMap<Rule, u32>| {
            let most = rules.into_iter().rev().max_by_key(|(_, count)| *count);
            most.map(|(rule, _)| rule)
        };
        let types: Vec<((String, Upos), Rule)> =
            counts.into_iter().filter_map(|(word, rules)| Some((word, best(rules)?))).collect();
        let mut rules: Vec<Rule> = types.iter().map(|(_, rule)| rule.clone()).collect();
        rules.sort();
        rules.dedup();
        rules.truncate(RULES_MAX);
        let types: Vec<_> = types
            .into_iter()
            .filter_map(|(word, rule)| Some((word, rules.binary_search(&rule).ok()? as u16)))
            .collect();
        let endings = Table::build(&endings(&types));
        let mut lemmas = Lemmas { rules, words: Table::build(&[]), endings };
        let told = |(form, tag): &(String, Upos)| lemmas.by_ending(form, *tag).copied();
        let wrong = types.iter().filter(|(word, rule)| told(word) != Some(rule.to_le_bytes()));
        let words = wrong.map(|((form, tag), rule)| (word_key(form, *tag), rule.to_le_bytes()));
        lemmas.words = Table::build(&words.collect::<Vec<_>>());
        lemmas
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend((self.rules.len() as u32).to_le_bytes());
        for rule in &self.rules {
            out.extend([u8::from(rule.as_written), rule.strip, rule.add.len() as u8]);
            out.extend(rule.add.as_bytes());
        }
        self.words.write(out);
        self.endings.write(out);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Lemmas, Error> {
        let what = "rules of lemmas";
        let count = reader.u32(what)? as usize;
        if count > RULES_MAX {
            return Err(Error::Value { what, value: count as u64 });
        }
        let mut rules = Vec::new();
        for _ in 0..count {
            let [as_written, strip, length] = reader.array(what)?;
            let add = reader.text(length.into(), what)?.to_owned();
            rules.push(Rule { as_written: as_written != 0, strip, add });
        }
        Ok(Lemmas { rules, words: Table::read(reader)?, endings: Table::read(reader)? })
    }
}

/// The rule that most words of an ending have; endings that tell what the next shorter one tells are left out.
fn endings(types: &[((String, Upos), u16)]) -> Vec<(u64, [u8; 2])> {
    // By how long the ending is: its key, the key of the next shorter one, and the votes.
    type Votes = BTreeMap<u64, (u64, BTreeMap<u16, u32>)>;
    let mut votes: Vec<Votes> = vec![Votes::new(); ENDING_CHARS_MAX + 1];
    for ((form, tag), rule) in types {
        let mut keys: Vec<u64> = ending_keys(form, *tag).collect();
        keys.reverse();
        for (length, key) in keys.iter().enumerate() {
            let shorter = keys[length.saturating_sub(1)];
            let entry = votes[length].entry(*key).or_insert((shorter, BTreeMap::new()));
            *entry.1.entry(*rule).or_default() += 1;
        }
    }
    let mut told: BTreeMap<u64, u16> = BTreeMap::new();
    let mut kept = Vec::new();
    for (length, votes) in votes.iter().enumerate() {
        for (key, (shorter, rules)) in votes {
            let best =
                rules.iter().max_by_key(|(rule, count)| (**count, std::cmp::Reverse(**rule)));
            let Some((rule, count)) = best else { continue };
            let before = told.get(shorter).copied();
            // A single word is no ending; it is kept as a word where it is told wrongly.
            if length > 0 && (*count < 2 || before == Some(*rule)) {
                told.extend(before.map(|rule| (*key, rule)));
                continue;
            }
            told.insert(*key, *rule);
            kept.push((*key, rule.to_le_bytes()));
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_and_new_words_have_lemmas() {
        let words = [
            ("walks", Upos::Verb, "walk"),
            ("talks", Upos::Verb, "talk"),
            ("goes", Upos::Verb, "go"),
            ("went", Upos::Verb, "go"),
            ("Dogs", Upos::Noun, "dog"),
            ("cats", Upos::Noun, "cat"),
            ("Paris", Upos::Propn, "Paris"),
            ("Berlin", Upos::Propn, "Berlin"),
        ];
        let words = words.iter().map(|(form, tag, lemma)| (*form, *tag, *lemma, 1));
        let lemmas = Lemmas::learn(Language::En, words);
        let mut bytes = Vec::new();
        lemmas.write(&mut bytes);
        let lemmas = Lemmas::read(&mut Reader::new(&bytes)).unwrap();
        let check = |form: &str, tag: Upos, expected: &str| {
            let mut scratch = Scratch::default();
            for _ in 0..2 {
                // The second time from memory.
                assert_eq!(lemmas.of(form, tag, 0, &mut scratch), expected, "{form} {tag}");
            }
        };
        check("went", Upos::Verb, "go");
        check("Goes", Upos::Verb, "go");
        check("Barks", Upos::Verb, "bark");
        check("RATS", Upos::Noun, "rat");
        check("Rome", Upos::Propn, "Rome");
        check("never", Upos::Adv, "never");
        check("", Upos::X, "");
    }
}
