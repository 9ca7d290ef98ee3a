//! `evaluate tag`: sentences, words and parts of speech.

use crate::data::{self, Options, Part, Result};

pub(crate) fn evaluate(options: &Options) -> Result<()> {
    for language in &options.languages {
        for file in data::files("pos", language.code())? {
            if file.part == Part::Development {
                println!("{}: {} sentences", file.source.path, data::treebank(&file.path)?.len());
            }
        }
    }
    Ok(())
}
