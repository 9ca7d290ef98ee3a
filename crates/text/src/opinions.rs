//! The texts of `sentiment/`, and how answers are counted. A module of the binaries.
#![allow(dead_code, reason = "each binary uses a part of it")]

use crate::data::{self, File, Part, Result};
use strongroom_text::Language;
use strongroom_text::sentiment::Label;

/// The set that the figures are for: as many tweets of each label in every language.
pub(crate) const BENCHMARK: &str = "umsab";

/// A set of texts.
pub(crate) struct Set {
    pub(crate) language: Language,
    pub(crate) file: File,
    pub(crate) rows: Vec<(Label, String)>,
}

impl Set {
    /// Whether its texts are positive or negative only.
    pub(crate) fn has_two_labels(&self) -> bool {
        have_two_labels(&self.rows)
    }

    /// Whether it is the one that the figures are for.
    pub(crate) fn is_benchmark(&self) -> bool {
        self.file.set() == BENCHMARK
    }
}

/// Whether texts are positive or negative only.
pub(crate) fn have_two_labels(rows: &[(Label, String)]) -> bool {
    rows.iter().all(|(label, _)| *label != Label::Neutral)
}

/// All sets of some languages, for training or for development.
pub(crate) fn sets(languages: &[Language], part: Part) -> Result<Vec<Set>> {
    let mut sets = Vec::new();
    for language in languages {
        for file in data::files("sentiment", language.code())? {
            if file.part == part {
                let rows = rows(&file.path)?;
                sets.push(Set { language: *language, file, rows });
            }
        }
    }
    Ok(sets)
}

/// The rows of a file of `label<TAB>text`.
pub(crate) fn rows(path: &std::path::Path) -> Result<Vec<(Label, String)>> {
    let rows = data::labelled(path)?.into_iter();
    rows.map(|(line, name, text)| match Label::parse(&name) {
        Some(label) => Ok((label, text)),
        None => {
            let names = Label::ALL.map(Label::name).join(", ");
            Err(format!("{}: line {line}: {name:?} is none of {names}", path.display()).into())
        }
    })
    .collect()
}

/// Answers by right label and given label.
#[derive(Clone, Copy, Default)]
pub(crate) struct Answers([[u32; 3]; 3]);

impl Answers {
    pub(crate) fn add(&mut self, right: Label, given: Label) {
        self.0[right as usize][given as usize] += 1;
    }

    /// Percent of answers that are right.
    pub(crate) fn accuracy(&self) -> f64 {
        let right: u32 = (0..3).map(|k| self.0[k][k]).sum();
        100.0 * f64::from(right) / f64::from(self.0.as_flattened().iter().sum::<u32>().max(1))
    }

    /// The mean of the F1 of the labels that occur, in percent.
    pub(crate) fn macro_f1(&self) -> f64 {
        let occurs = |k: &usize| self.0[*k].iter().sum::<u32>() > 0;
        let f1 = |k: usize| {
            let given: u32 = (0..3).map(|right| self.0[right][k]).sum();
            let right: u32 = self.0[k].iter().sum();
            2.0 * f64::from(self.0[k][k]) / f64::from((given + right).max(1))
        };
        let labels: Vec<usize> = (0..3).filter(occurs).collect();
        100.0 * labels.iter().map(|k| f1(*k)).sum::<f64>() / labels.len().max(1) as f64
    }
}
