//! The texts of `ner/`, whose names are marked, and how found names are counted. A module of the binaries.
#![allow(dead_code, reason = "each binary uses a part of it")]

use crate::data::{self, File, Part, Result};
use std::ops::Range;
use std::path::Path;
use strongroom_text::Language;
use strongroom_text::analysis::{self, Analysis, Engine};
use strongroom_text::entities::{self, Finder, Kind};
use strongroom_text::score::Agreement;

/// A sentence as a text, with the bytes and kinds of its names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marked {
    pub(crate) text: String,
    pub(crate) names: Vec<(Range<usize>, Kind)>,
    /// How many tokens it was given in.
    pub(crate) tokens: usize,
}

/// A set of marked texts.
pub(crate) struct Set {
    pub(crate) file: File,
    pub(crate) train: Vec<Marked>,
    pub(crate) development: Vec<Marked>,
}

/// The sets of a language. One that has not both parts is divided: of each ten blocks of fifty sentences the last is for development.
pub(crate) fn sets(language: Language) -> Result<Vec<Set>> {
    let files = data::files("ner", language.code())?;
    let parts = |set: &str| files.iter().filter(|file| file.set() == set).count();
    let mut sets = Vec::new();
    for file in &files {
        let all = read(&file.path, language)?;
        let (file, alone) = (file.clone(), parts(file.set()) == 1);
        let (mut train, mut development) = (Vec::new(), Vec::new());
        for (at, marked) in all.into_iter().enumerate() {
            let held_out = match alone {
                true => at / 50 % 10 == 9,
                false => file.part == Part::Development,
            };
            if held_out { &mut development } else { &mut train }.push(marked);
        }
        sets.push(Set { file, train, development });
    }
    Ok(sets)
}

/// Reads `token<TAB>tag` lines, with an empty one after each sentence. Tokens are joined by spaces, in Chinese only between
/// those that begin and end with letters or digits of ASCII.
pub(crate) fn read(path: &Path, language: Language) -> Result<Vec<Marked>> {
    let named = |at: usize, what: &str| format!("{}: line {}: {what}", path.display(), at + 1);
    let text = data::read(path)?;
    let (mut all, mut marked, mut before) = (Vec::new(), Marked::default(), None);
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            if !marked.text.is_empty() {
                all.push(std::mem::take(&mut marked));
            }
            before = None;
            continue;
        }
        let columns: Vec<&str> = line.split('\t').collect();
        let [token, .., tag] = columns[..] else {
            return Err(named(at, "no token and tag").into());
        };
        let kind = kind(tag).map_err(|e| named(at, &e))?;
        if spaced(language, &marked.text, token) {
            marked.text.push(' ');
        }
        let bytes = marked.text.len()..marked.text.len() + token.len();
        marked.text.push_str(token);
        marked.tokens += 1;
        match (kind, marked.names.last_mut()) {
            (Some(kind), Some(name))
                if before == Some(kind) && !tag.starts_with(['B', 'S', 'U']) =>
            {
                name.0.end = bytes.end;
            }
            (Some(kind), _) => marked.names.push((bytes, kind)),
            (None, _) => {}
        }
        before = kind;
    }
    if !marked.text.is_empty() {
        all.push(marked);
    }
    Ok(all)
}

fn spaced(language: Language, text: &str, token: &str) -> bool {
    let ascii = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    !text.is_empty()
        && (language != Language::Zh
            || (ascii(text.chars().next_back()) && ascii(token.chars().next())))
}

/// The kind that a tag tells of. Words that are derived from names (`LOCderiv`) or have them as a part (`ORGpart`) are taken as names.
fn kind(tag: &str) -> std::result::Result<Option<Kind>, String> {
    if tag == "O" {
        return Ok(None);
    }
    let unknown = || format!("unknown tag {tag}");
    let (part, name) = tag.split_once('-').ok_or_else(unknown)?;
    if !matches!(part, "B" | "I" | "E" | "L" | "S" | "U") {
        return Err(unknown());
    }
    match name.trim_end_matches("deriv").trim_end_matches("part").to_ascii_uppercase().as_str() {
        "PER" | "PERS" | "PERSON" => Ok(Some(Kind::Person)),
        "ORG" | "ORGANISATION" | "ORGANIZATION" => Ok(Some(Kind::Organisation)),
        "LOC" | "GPE" | "FAC" | "LOCATION" | "PLACE" => Ok(Some(Kind::Place)),
        "MISC" | "OTH" | "OTHER" | "PRO" | "PROD" | "PRODUCT" | "EVT" | "EVENT" => {
            Ok(Some(Kind::Other))
        }
        _ => Err(unknown()),
    }
}

/// Names by kind: how many there are, were found, and were found right in bounds and kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures(pub(crate) [Agreement; 4]);

impl Figures {
    pub(crate) fn add(&mut self, other: &Figures) {
        self.0.iter_mut().zip(&other.0).for_each(|(all, one)| all.add(one));
    }

    /// Of all kinds.
    pub(crate) fn all(&self) -> Agreement {
        let mut all = Agreement::default();
        self.0.iter().for_each(|kind| all.add(kind));
        all
    }
}

/// What `finder` finds in texts.
pub(crate) fn figures(engine: &Engine, finder: &Finder, texts: &[Marked]) -> Figures {
    let (mut scratch, mut memory) = (analysis::Scratch::default(), entities::Scratch::default());
    let (mut analysis, mut figures) = (Analysis::default(), Figures::default());
    for Marked { text, names, .. } in texts {
        engine.analyse(text, &mut scratch, &mut analysis);
        let found = finder.find(text, &analysis, &mut memory);
        for (_, kind) in names {
            figures.0[*kind as usize].gold += 1;
        }
        for entity in &found {
            let count = &mut figures.0[entity.kind as usize];
            count.found += 1;
            let right = names.iter().any(|(b, kind)| *b == entity.bytes && *kind == entity.kind);
            count.right += u64::from(right);
        }
    }
    figures
}
