//! `train tag`: parts of speech.

use crate::data::{self, Options, Part, Result};

pub(crate) fn train(options: &Options) -> Result<()> {
    for language in &options.languages {
        for file in data::files("pos", language.code())? {
            if file.part == Part::Train {
                println!("{}: {} sentences", file.source.path, data::treebank(&file.path)?.len());
            }
        }
    }
    Ok(())
}
