//! The models that are built in.

use crate::Language;
use crate::analysis::Engine;
use crate::entities::Finder;
use crate::model::{Card, Error, Kind, Model};
use crate::segment::Segmenter;
use crate::tag::Tagger;
use std::sync::OnceLock;

/// The bytes of a language's models, by name: all data, free data alone, and names from free data alone; without non-commercial data where the feature is off.
macro_rules! models {
    ($($language:ident: $whole:literal, $free:literal, $free_names:literal;)*) => {
        const fn bytes(language: Language) -> [&'static [u8]; 3] {
            match language {
                $(Language::$language => {
                    #[cfg(feature = "non-commercial")]
                    {
                        [
                            include_bytes!(concat!("../models/", $whole, ".segment.model")),
                            include_bytes!(concat!("../models/", $whole, ".tag.model")),
                            include_bytes!(concat!("../models/", $whole, ".entities.model")),
                        ]
                    }
                    #[cfg(not(feature = "non-commercial"))]
                    {
                        [
                            include_bytes!(concat!("../models/", $free, ".segment.model")),
                            include_bytes!(concat!("../models/", $free, ".tag.model")),
                            include_bytes!(concat!("../models/", $free_names, ".entities.model")),
                        ]
                    }
                })*
            }
        }
    };
}

models! {
    En: "en", "en.free", "en";
    Ar: "ar", "ar.free", "ar";
    Zh: "zh", "zh", "zh";
    De: "de", "de", "de";
    Fr: "fr", "fr", "fr";
    Es: "es", "es", "es";
    It: "it", "it.free", "it.free";
    Ru: "ru", "ru.free", "ru";
    Pl: "pl", "pl.free", "pl";
    Pt: "pt", "pt", "pt";
}

/// The engine of a language; its models are read when it is asked for the first time.
///
/// # Panics
/// Where models that are built in cannot be read, which a test rules out.
pub fn engine(language: Language) -> &'static Engine {
    static ENGINES: [OnceLock<Engine>; 10] = [const { OnceLock::new() }; 10];
    ENGINES[language.index()].get_or_init(|| {
        read(bytes(language)).expect("models that are built in were read by a test")
    })
}

/// The finder of names of a language, or nothing where there is no model; it is read when it is asked for the first time.
///
/// # Panics
/// As [`engine`].
pub fn finder(language: Language) -> Option<&'static Finder> {
    static FINDERS: [OnceLock<Finder>; 10] = [const { OnceLock::new() }; 10];
    let [_, _, names] = bytes(language);
    let read = || {
        let finder = Model::read(names).and_then(|model| Finder::read(&model));
        finder.expect("models that are built in were read by a test")
    };
    (!names.is_empty()).then(|| FINDERS[language.index()].get_or_init(read))
}

/// Both models at once, on two threads where a second is to be had.
fn read([segment, tag, _]: [&[u8]; 3]) -> Result<Engine, Error> {
    let segmenter = || Segmenter::read(&Model::read(segment)?);
    std::thread::scope(|scope| {
        let other = std::thread::Builder::new().spawn_scoped(scope, segmenter);
        let tagger = Model::read(tag).and_then(|tag| Tagger::read(&tag));
        let segmenter = match other {
            Ok(thread) => thread.join().expect("reading a model does not panic"),
            Err(_) => segmenter(),
        };
        Ok(Engine::new(segmenter?, tagger?))
    })
}

/// What is built in for segmentation, tagging and names: kind, language, bytes and card of each model.
///
/// # Errors
/// Where a card cannot be read.
pub fn cards() -> Result<Vec<(Kind, Language, usize, Card)>, Error> {
    let mut cards = Vec::new();
    for language in Language::ALL {
        let kinds = [Kind::Segment, Kind::Tag, Kind::Entities];
        for (kind, bytes) in kinds.into_iter().zip(bytes(language)) {
            // A language may have no model for names.
            if !bytes.is_empty() {
                cards.push((kind, language, bytes.len(), Model::card(bytes)?));
            }
        }
    }
    Ok(cards)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_models_are_read_and_within_their_bounds() {
        let mut total = 0;
        for (kind, language, size, card) in cards().unwrap() {
            total += size;
            assert!(!card.sources.is_empty(), "{language} {}", kind.name());
            let free = cfg!(not(feature = "non-commercial"));
            assert!(!free || !card.non_commercial(), "{language} {}", kind.name());
        }
        assert!(total < BYTES_MAX, "{total} bytes");
        for language in Language::ALL {
            engine(language); // which panics where it cannot
            finder(language);
        }
    }

    /// Of the 40 MB that all models of all kinds may have.
    const BYTES_MAX: usize = 24 << 20;
}
