//! Names of a treebank without marks, from the marks of its translation. PUD is the same thousand sentences in many
//! languages: where the names of the Chinese ones are of one kind, the proper nouns of their translation are.

use crate::data::{self, Result};
use crate::{measure, named};
use std::collections::BTreeMap;
use std::ops::Range;
use strongroom_text::entities::Kind;
use strongroom_text::entities::train::Sentence;
use strongroom_text::model::Source;
use strongroom_text::{Language, Upos, conllu};

/// The set that there is in many languages.
const PARALLEL: &str = "pud";

/// The set of marked texts that belongs to [`PARALLEL`].
const PARALLEL_NAMES: &str = "uner_pud";

/// The language whose translations are marked.
const MARKED: Language = Language::Zh;

/// The sentences of `language` whose names are clear.
pub(crate) fn sentences(language: Language, sources: &mut Vec<Source>) -> Result<Vec<Sentence>> {
    let kinds = kinds(sources)?;
    let mut all = Vec::new();
    for sentence in treebank(language, sources)? {
        let Some(kinds) = sentence.id.as_ref().and_then(|id| kinds.get(id)) else { continue };
        let words: Vec<(String, Upos)> =
            sentence.words().map(|word| (word.form.clone(), word.upos)).collect();
        let names = proper_nouns(&words);
        let one = kinds.first().filter(|first| kinds.iter().all(|kind| kind == *first));
        let names = match one {
            _ if names.is_empty() => Vec::new(),
            Some(kind) if names.len() <= kinds.len() => {
                names.into_iter().map(|words| (words, *kind)).collect()
            }
            _ => continue,
        };
        all.push(Sentence { words, names });
    }
    Ok(all)
}

/// The kinds of the names in each sentence, by its identifier.
fn kinds(sources: &mut Vec<Source>) -> Result<BTreeMap<String, Vec<Kind>>> {
    let mut by_text = BTreeMap::new();
    for file in
        data::files("ner", MARKED.code())?.iter().filter(|file| file.set() == PARALLEL_NAMES)
    {
        sources.push(file.source.clone());
        for marked in named::read(&file.path, MARKED)? {
            let kinds: Vec<Kind> = marked.names.iter().map(|(_, kind)| *kind).collect();
            by_text.insert(letters(&marked.text), kinds);
        }
    }
    let with_kinds = |sentence: conllu::Sentence| {
        let kinds = by_text.get(&letters(sentence.text.as_deref()?))?;
        Some((sentence.id?, kinds.clone()))
    };
    Ok(treebank(MARKED, sources)?.into_iter().filter_map(with_kinds).collect())
}

fn treebank(language: Language, sources: &mut Vec<Source>) -> Result<Vec<conllu::Sentence>> {
    let files = data::files("pos", language.code())?;
    let Some(file) = files.iter().find(|file| file.set() == PARALLEL) else {
        return Err(format!("{language} has no {PARALLEL}").into());
    };
    sources.push(file.source.clone());
    measure::treebank(file)
}

fn letters(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// Proper nouns that follow each other.
fn proper_nouns(words: &[(String, Upos)]) -> Vec<Range<usize>> {
    let mut names: Vec<Range<usize>> = Vec::new();
    for (at, _) in words.iter().enumerate().filter(|(_, (_, upos))| *upos == Upos::Propn) {
        match names.last_mut() {
            Some(name) if name.end == at => name.end += 1,
            _ => names.push(at..at + 1),
        }
    }
    names
}
