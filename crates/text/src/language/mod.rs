//! Which language a text is in.
//!
//! ```
//! use strongroom_text::{Language, language::detect};
//!
//! assert_eq!(detect("Wer das liest, versteht Deutsch.").language, Some(Language::De));
//! assert_eq!(detect("これは日本語です").language, None);
//! ```
//!
//! Script decides first: Arabic, Chinese and Russian have one of their own here, and letters that they do not write
//! (Persian, Japanese, Ukrainian) speak against them. Languages in Latin script are told apart by the linear model of
//! [`tables`], over runs of letters and whole words. A text of several words of which the best language
//! knows too few is in a language that is not known.

mod mixed;
mod scan;
pub mod tables;

pub use mixed::{Span, spans};

use crate::Language;
use crate::model::{Card, Error, Model};
use scan::Letters;
use std::sync::OnceLock;
use tables::{COLUMNS, Evidence, LATIN, Sums, Tables};

/// A text of up to this many bytes is read whole; of a longer one, pieces are.
pub const WHOLE_BYTES_MAX: usize = 4096;
/// Pieces that are read of a longer text, evenly spread.
const PIECES: usize = 16;
/// Bytes of such a piece.
const PIECE_BYTES: usize = WHOLE_BYTES_MAX / PIECES;

/// A text with fewer words than this is never said to be in an unknown language for the words it has.
const WORDS_TO_JUDGE: u32 = 4;
/// How familiar a text must be: the share of its letters in words that its language knows, and so much of the margin
/// per letter. Of development lines one in 500 is not; of sentences in other languages in Latin script (`foreign.tsv`)
/// nine in ten are not.
const FAMILIAR_MIN: f32 = 0.46;
const MARGIN_WEIGHT: f32 = 0.3;
/// Letters that a language does not write may be one in this many: names are foreign at times.
const STRANGE_ONE_IN: u32 = 20;
/// The same where the script decides; names are then written in it, too.
const STRANGE_IN_SCRIPT_ONE_IN: u32 = 50;
/// A Chinese character says as much as so many letters.
const HAN_LETTERS: u32 = 3;

/// What a text's language was found to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// The language; none where the text is in another one, or in none.
    pub language: Option<Language>,
    /// How likely it is that the language is right, from 0 to 1; of no language, how likely none of ours is.
    pub confidence: f32,
}

/// The model that is built in.
#[cfg(feature = "non-commercial")]
const MODEL: &[u8] = include_bytes!("../../models/all.language.model");
#[cfg(not(feature = "non-commercial"))]
const MODEL: &[u8] = include_bytes!("../../models/all.free.language.model");

fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(|| {
        let model = Model::read(MODEL).expect("a model that is built in can be read");
        Tables::read(&model.body).expect("the tables of a model that is built in can be read")
    })
}

/// What was found in a text.
#[derive(Clone, Debug, Default)]
struct Findings {
    letters: Letters,
    sums: Sums,
    words: u32,
    /// Letters of words in Latin script.
    word_letters: u32,
    /// Letters of words that each language knows.
    known: [u32; COLUMNS],
}

impl Findings {
    fn of(text: &str, tables: &Tables) -> Findings {
        let mut found = Findings::default();
        for piece in pieces(text) {
            found.take(piece, tables);
        }
        found
    }

    /// The column of the best language in Latin script, and what speaks for it.
    fn evidence(&self, tables: &Tables) -> (usize, Evidence) {
        let mut best = 0;
        for column in 1..COLUMNS {
            if self.sums[column] > self.sums[best] {
                best = column;
            }
        }
        let others = (0..COLUMNS).filter(|column| *column != best).map(|column| self.sums[column]);
        let margin = self.sums[best] - others.max().unwrap_or(0);
        let letters = self.word_letters.max(1) as f32;
        let known = self.known[best] as f32 / letters;
        (best, Evidence { margin: margin as f32 * tables.unit, letters, known })
    }

    fn add(&mut self, other: &Findings) {
        self.letters.add(&other.letters);
        self.words += other.words;
        self.word_letters += other.word_letters;
        self.sums
            .iter_mut()
            .zip(other.sums)
            .for_each(|(sum, other)| *sum = sum.saturating_add(other));
        self.known.iter_mut().zip(other.known).for_each(|(sum, other)| *sum += other);
    }

    fn take(&mut self, text: &str, tables: &Tables) {
        let Findings { letters, sums, words, word_letters, known } = self;
        let counted = scan::scan(text, |codes, hash| {
            let length = codes.len() as u32 - 2;
            *words += 1;
            *word_letters += length;
            let knowing = tables.add(codes, hash, sums);
            for (column, known) in known.iter_mut().enumerate() {
                *known += length * u32::from(knowing >> column & 1);
            }
        });
        letters.add(&counted);
    }
}

/// The parts of a text that are read: all of it, or pieces from all over it.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let (count, bytes) = match text.len() > WHOLE_BYTES_MAX {
        true => (PIECES, PIECE_BYTES),
        false => (1, text.len()),
    };
    let step = (text.len() - bytes) / (count - 1).max(1);
    (0..count).map(move |i| {
        let start = text.ceil_char_boundary(i * step);
        &text[start..text.ceil_char_boundary(i * step + bytes)]
    })
}

/// The language of a text of any length. Of a text of more than [`WHOLE_BYTES_MAX`] bytes, pieces from all over are
/// read; where several languages are mixed, see [`spans`].
pub fn detect(text: &str) -> Detection {
    let tables = tables();
    judge(&Findings::of(text, tables), tables)
}

/// The card of the model that is built in, and the bytes that it takes.
///
/// # Errors
/// Where it cannot be read, which a test rules out.
pub fn card() -> Result<(usize, Card), Error> {
    Ok((MODEL.len(), Model::card(MODEL)?))
}

/// What [`detect`] says with other tables, before they are built in.
pub fn detect_with(text: &str, tables: &Tables) -> Detection {
    judge(&Findings::of(text, tables), tables)
}

/// Shows the words in Latin script to `word`, as [`tables::Tables::add`] wants them.
pub fn words(text: &str, word: impl FnMut(&[u8], u64)) {
    scan::scan(text, word);
}

/// What the findings come to.
fn judge(found: &Findings, tables: &Tables) -> Detection {
    let letters = &found.letters;
    let scripts = [
        letters.latin,
        letters.arabic,
        letters.cyrillic,
        letters.han * HAN_LETTERS + letters.kana,
        letters.other,
    ];
    let most = scripts.iter().copied().max().unwrap_or(0);
    if most == 0 {
        return Detection { language: None, confidence: 1.0 };
    }
    let share = most as f32 / scripts.iter().sum::<u32>() as f32;
    // Few letters are weaker ground.
    let sure = share * (1.0 - 0.02 / most as f32);
    let by_script = |language, strange: u32, of: u32| Detection {
        language: if strange * STRANGE_IN_SCRIPT_ONE_IN > of { None } else { Some(language) },
        confidence: sure,
    };
    match scripts.iter().position(|count| *count == most) {
        Some(0) => latin(found, tables, share),
        Some(1) => by_script(Language::Ar, letters.persian, letters.arabic),
        Some(2) => by_script(Language::Ru, letters.slavic, letters.cyrillic),
        // Japanese has syllables in every sentence; Chinese has none.
        Some(3) => by_script(Language::Zh, letters.kana, letters.han + letters.kana),
        _ => Detection { language: None, confidence: sure },
    }
}

/// The language of a text in Latin script, for the most part.
fn latin(found: &Findings, tables: &Tables, share: f32) -> Detection {
    let (best, evidence) = found.evidence(tables);
    let strange = found.letters.foreign * STRANGE_ONE_IN > found.letters.latin;
    let familiar = evidence.known + MARGIN_WEIGHT * evidence.margin / evidence.letters;
    if strange || found.words >= WORDS_TO_JUDGE && familiar < FAMILIAR_MIN {
        return Detection { language: None, confidence: (1.0 - familiar).clamp(0.5, 1.0) };
    }
    let confidence = share * tables.curve.confidence(&evidence);
    Detection { language: Some(LATIN[best]), confidence }
}

/// The best language of those in Latin script, and what speaks for it: for learning how sure answers are.
pub fn evidence(text: &str, tables: &Tables) -> (Language, Evidence) {
    let (best, evidence) = Findings::of(text, tables).evidence(tables);
    (LATIN[best], evidence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: Option<Language>) {
        assert_eq!(detect(text).language, expected, "{text}");
    }

    #[test]
    fn each_language_is_told() {
        use Language::*;
        let rows = [
            ("Whoever reads this understands English.", En),
            ("هذا نص باللغة العربية", Ar),
            ("这是中文，繁體字也是。", Zh),
            ("Wer das liest, versteht Deutsch.", De),
            ("Qui lit cela comprend le français.", Fr),
            ("Quien lee esto entiende español.", Es),
            ("Chi legge questo capisce l'italiano.", It),
            ("Кто это читает, понимает по-русски.", Ru),
            ("Kto to czyta, rozumie po polsku.", Pl),
            ("Quem lê isto entende português.", Pt),
            ("ＦＵＬＬ ＷＩＤＴＨ ｌｅｔｔｅｒｓ ａｒｅ ｌｅｔｔｅｒｓ", En),
            ("Ou\u{300} est le gra\u{302}ce\u{301} de l\u{2019}e\u{301}te\u{301} ?", Fr),
            ("#ilovethis @dasisteinname https://example.org/eine/adresse look at this", En),
        ];
        rows.into_iter().for_each(|(text, language)| check(text, Some(language)));
    }

    #[test]
    fn what_has_no_letters_has_no_language() {
        for text in [
            "",
            " ",
            "123 456",
            "😀😀😀",
            "\0\0",
            "?!...",
            "\u{200b}\u{202e}",
            "http://example.org",
            "@name",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn other_languages_are_unknown() {
        let rows = include_str!("foreign.tsv").lines().filter_map(|line| line.split_once('\t'));
        let (mut unknown, mut all) = (0, 0);
        for (code, text) in rows {
            let told = detect(text).language;
            unknown += usize::from(told.is_none());
            all += 1;
            let told_by_letters = [
                "uk", "be", "sr", "kk", "fa", "ur", "ja", "ko", "el", "he", "hi", "th", "hy", "ka",
            ];
            assert!(
                told.is_none() || !told_by_letters.contains(&code),
                "{code} is taken for {told:?}"
            );
        }
        assert!(unknown * 100 >= all * 90, "{unknown} of {all}");
    }

    #[test]
    fn the_model_names_its_sources() {
        let (bytes, card) = card().unwrap();
        assert!(bytes > 1 << 20 && card.sources.len() > 20);
        assert_eq!(card.non_commercial(), cfg!(feature = "non-commercial"));
        assert!(card.figures["sentences"] > 99.0);
    }

    #[test]
    fn confidence_falls_with_doubt() {
        let sure = detect("The committee will meet again on Thursday.").confidence;
        let unsure = detect("no").confidence;
        assert!(sure > 0.99 && unsure < 0.7, "{sure} {unsure}");
    }

    #[test]
    fn a_long_text_is_read_in_pieces_from_all_over() {
        let title = "Introduction and table of contents. ".repeat(10);
        let body = "Die Verwaltung legt dem Ausschuss ihren Bericht vor. ".repeat(2000);
        check(&(title + &body), Some(Language::De));
        assert_eq!(pieces(&body).count(), PIECES);
        assert!(pieces(&body).all(|piece| piece.len() >= PIECE_BYTES - 4));
        check(&"a".repeat(1 << 20), detect(&"a".repeat(1 << 12)).language);
    }

    proptest! {
        #[test]
        fn any_text_has_an_answer(text in "(\\PC|[\u{300}-\u{36f}@:/'’w.h]){0,60}") {
            let found = detect(&text);
            prop_assert!((0.0..=1.0).contains(&found.confidence));
        }
    }
}
