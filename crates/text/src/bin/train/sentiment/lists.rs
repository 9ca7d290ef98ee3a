//! The lists of words that speak for or against.

use crate::data::{self, File, Result};
use std::collections::BTreeMap;
use strongroom_text::Language;
use strongroom_text::sentiment::lexicon::{
    BEGINNING_CHARS_MIN, Entry, LISTS, Lexicon, NO_CLASS, ROLES,
};
use strongroom_text::sentiment::words;

/// The words of this project's own list, and what it is among the lists.
const OWN: &str = include_str!("../../../../lexicon/polarity.tsv");
const OWN_LIST: usize = LISTS - 1;
/// The list of a file, what its values are divided by, and the column they stand in.
const FILES: [(&str, usize, f32, usize); 7] = [
    ("afinn", 0, 5.0, 1),
    ("sentimental", 0, 5.0, 1),
    ("vader", 1, 4.0, 1),
    ("opinion_lexicon", 2, 1.0, 1),
    ("opener", 3, 1.0, 1),
    ("german_polarity_zurich", 4, 1.0, 1),
    ("afinn_emoticon", 5, 3.0, 1),
];
/// The least that a word counts that a list names without strength.
const STRENGTH_MIN: f32 = 0.3;

/// The lexicon of a language, and the files it is made from.
pub(crate) fn lexicon(language: Language) -> Result<(Lexicon, Vec<File>)> {
    let mut entries: BTreeMap<(Vec<char>, bool), Entry> = BTreeMap::new();
    let mut used = Vec::new();
    own(language, &mut entries)?;
    for folder in [language.code(), "any"] {
        for file in data::files("lexicon", folder)? {
            let Some((_, list, divisor, column)) =
                FILES.iter().find(|(stem, ..)| *stem == file.stem())
            else {
                continue;
            };
            for row in data::rows(&file.path)? {
                let Some(value) = value(&row, *column, *divisor) else { continue };
                // Phrases are left out; the model has pairs of words of its own.
                if let [word] = &words(&row[0], language)[..] {
                    let own = entry_of(word, &entries);
                    entries.entry((word.clone(), false)).or_insert(own).set(*list, value);
                }
            }
            used.push(file);
        }
    }
    let words: Vec<_> =
        entries.into_iter().map(|((word, beginning), entry)| (word, beginning, entry)).collect();
    Ok((Lexicon::new(&words), used))
}

/// The value of a row: a number, or a word for the side it is on and how strongly.
fn value(row: &[String], column: usize, divisor: f32) -> Option<f32> {
    let strength = || {
        let given = row.get(2).and_then(|cell| cell.parse().ok());
        f32::max(given.unwrap_or(1.0), STRENGTH_MIN)
    };
    match row.get(column)?.as_str() {
        "positive" | "POS" => Some(strength()),
        "negative" | "NEG" => Some(-strength()),
        cell => cell.parse().ok().map(|value: f32| value / divisor),
    }
}

/// What this project's list says of a word by its longest beginning there.
fn entry_of(word: &[char], entries: &BTreeMap<(Vec<char>, bool), Entry>) -> Entry {
    let beginnings = (BEGINNING_CHARS_MIN..=word.len()).rev();
    let found = beginnings.filter_map(|length| entries.get(&(word[..length].to_vec(), true)));
    found.copied().next().unwrap_or_default()
}

/// Reads this project's list: a row has a value or a role, then a column for each language and one for all, with words
/// apart by `|`; a star stands for any ending. The rows of values are classes.
fn own(language: Language, entries: &mut BTreeMap<(Vec<char>, bool), Entry>) -> Result<()> {
    let mut rows = OWN.lines().map(|line| line.split('\t'));
    let head: Vec<&str> = rows.next().ok_or("the list of words is empty")?.collect();
    for (class, row) in rows.enumerate() {
        let row: Vec<&str> = row.collect();
        let role = ROLES.iter().find(|(name, _)| *name == row[0]).map(|(_, class)| *class);
        let value = if role.is_some() { 0.0 } else { row[0].parse()? };
        let class = role.unwrap_or(u8::try_from(class)?);
        for (_, cell) in
            head.iter().zip(&row).filter(|(head, _)| [language.code(), "any"].contains(head))
        {
            for word in cell.split('|').filter(|word| !word.is_empty()) {
                let beginning = word.ends_with('*') && word.chars().count() > 2;
                let stem = if beginning { word.trim_end_matches('*') } else { word };
                if let [word] = &words(stem, language)[..] {
                    let mut entry = Entry { class, ..Entry::default() };
                    entry.set(OWN_LIST, value);
                    entries.insert((word.clone(), beginning), entry);
                }
            }
        }
    }
    debug_assert!(entries.values().all(|entry| entry.class != NO_CLASS));
    Ok(())
}
