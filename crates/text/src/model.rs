//! The container of a model: what it is for, where it comes from, and its tables.
//!
//! ```text
//! offset  bytes  what
//! 0       4      "SRTM"
//! 4       2      version of the container, 1
//! 6       1      kind
//! 7       1      length of the language's code, then the code; 0 and nothing for a model of all languages
//!         4      length of the card, then the card: JSON
//!         4      length of the body when decompressed
//!         ..     body, compressed by zstd with its checksum
//! ```
//!
//! Numbers are little-endian. What a body holds is the business of the kind, which begins it with a version of its own.

use crate::Language;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The first bytes of a model.
pub const MAGIC: [u8; 4] = *b"SRTM";

/// The version of the container that is written and read.
pub const VERSION: u16 = 1;

/// The longest card that is read.
pub const CARD_BYTES_MAX: usize = 1 << 20;

/// The longest body that is read, decompressed.
pub const BODY_BYTES_MAX: usize = 64 << 20;

/// How hard zstd tries: models are made seldom and read often.
const LEVEL: i32 = 19;

/// What a model is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Kind {
    /// Sentences and words.
    Segment = 1,
    /// Parts of speech and lemmas.
    Tag = 2,
    /// Which language a text is in.
    Language = 3,
    /// How a text speaks of its subject.
    Sentiment = 4,
    /// Names of persons, organisations, places.
    Entities = 5,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 5] =
        [Kind::Segment, Kind::Tag, Kind::Language, Kind::Sentiment, Kind::Entities];

    /// As it stands in names of files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Segment => "segment",
            Kind::Tag => "tag",
            Kind::Language => "language",
            Kind::Sentiment => "sentiment",
            Kind::Entities => "entities",
        }
    }
}

/// Where a model comes from and what it is worth.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Card {
    /// What it was trained on.
    pub sources: Vec<Source>,
    /// The number that its training drew all others from.
    pub seed: u64,
    /// Figures on development data, by name; percentages where nothing else is said.
    pub figures: BTreeMap<String, f64>,
    /// Known weak spots, and what else a user should know; a sentence each.
    pub notes: Vec<String>,
}

impl Card {
    /// Whether any source is under non-commercial terms.
    pub fn non_commercial(&self) -> bool {
        self.sources.iter().any(|source| source.non_commercial)
    }
}

/// A file that a model was trained on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Source {
    /// Its path in the training data.
    pub path: String,
    /// What it was made from.
    pub name: String,
    /// Its licence, as the source states it.
    pub licence: String,
    /// Whether the licence forbids commercial use.
    pub non_commercial: bool,
}

/// A model that was read.
#[derive(Clone, PartialEq, Debug)]
pub struct Model {
    /// What it is for.
    pub kind: Kind,
    /// The language, or none for a model of all.
    pub language: Option<Language>,
    /// Where it comes from.
    pub card: Card,
    /// Its tables.
    pub body: Vec<u8>,
}

/// Why a model cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not begin as models do.
    #[error("this is no model: it does not begin with SRTM")]
    Magic,
    /// It was written by a program that is newer or older.
    #[error("the model has version {found} of {what}; this program reads version {wanted}")]
    Version {
        /// What has the version.
        what: &'static str,
        /// The version that was found.
        found: u16,
        /// The version that is read.
        wanted: u16,
    },
    /// It ends too early, or a length in it is wrong.
    #[error("the model ends at byte {at}, within {what}")]
    Short {
        /// Where the bytes end.
        at: usize,
        /// What was being read.
        what: &'static str,
    },
    /// A value that cannot be.
    #[error("the model's {what} cannot be {value}")]
    Value {
        /// What was being read.
        what: &'static str,
        /// What was found.
        value: u64,
    },
    /// More than is read.
    #[error("the model's {what} has {bytes} bytes; at most {max} are read")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// The card is no card.
    #[error("the model's card cannot be read")]
    Card(#[source] serde_json::Error),
    /// The body cannot be compressed or decompressed.
    #[error("the model's body cannot be decompressed")]
    Zstd(#[source] std::io::Error),
}

impl Model {
    /// Reads a whole model.
    ///
    /// # Errors
    /// Where the bytes are no model, damaged, too long, or of another version.
    pub fn read(bytes: &[u8]) -> Result<Model, Error> {
        let (kind, language, mut reader) = head(bytes)?;
        let card = read_card(&mut reader)?;
        let length = reader.u32("length of the body")? as usize;
        if length > BODY_BYTES_MAX {
            return Err(Error::TooLong { what: "body", bytes: length, max: BODY_BYTES_MAX });
        }
        let body = zstd::bulk::decompress(reader.rest(), length).map_err(Error::Zstd)?;
        match body.len() == length {
            true => Ok(Model { kind, language, card, body }),
            false => Err(Error::Short { at: body.len(), what: "the body" }),
        }
    }

    /// Reads the card alone, which costs next to nothing.
    ///
    /// # Errors
    /// As [`Model::read`], but for the body.
    pub fn card(bytes: &[u8]) -> Result<Card, Error> {
        let (_, _, mut reader) = head(bytes)?;
        read_card(&mut reader)
    }

    /// The bytes of the model. The same model gives the same bytes.
    ///
    /// # Errors
    /// Where card or body are longer than what is read, or cannot be written.
    pub fn write(&self) -> Result<Vec<u8>, Error> {
        let card = serde_json::to_vec(&self.card).map_err(Error::Card)?;
        let language = self.language.map_or("", Language::code);
        let mut out = Vec::new();
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.push(self.kind as u8);
        out.push(language.len() as u8);
        out.extend(language.as_bytes());
        out.extend(length_of("card", &card, CARD_BYTES_MAX)?);
        out.extend(card);
        out.extend(length_of("body", &self.body, BODY_BYTES_MAX)?);
        let mut compressor = zstd::bulk::Compressor::new(LEVEL).map_err(Error::Zstd)?;
        compressor.include_checksum(true).map_err(Error::Zstd)?;
        out.extend(compressor.compress(&self.body).map_err(Error::Zstd)?);
        Ok(out)
    }
}

fn length_of(what: &'static str, bytes: &[u8], max: usize) -> Result<[u8; 4], Error> {
    match u32::try_from(bytes.len()) {
        Ok(length) if bytes.len() <= max => Ok(length.to_le_bytes()),
        _ => Err(Error::TooLong { what, bytes: bytes.len(), max }),
    }
}

fn head(bytes: &[u8]) -> Result<(Kind, Option<Language>, Reader<'_>), Error> {
    let mut reader = Reader::new(bytes);
    if !bytes.starts_with(&MAGIC) {
        return Err(Error::Magic);
    }
    reader.bytes(MAGIC.len(), "magic")?;
    reader.version("the container", VERSION)?;
    let kind = reader.u8("kind")?;
    let known = Kind::ALL.into_iter().find(|k| *k as u8 == kind);
    let kind = known.ok_or(Error::Value { what: "kind", value: kind.into() })?;
    let length = reader.u8("language")?;
    let code = reader.text(length.into(), "language")?;
    let language = match code {
        "" => None,
        code => match Language::parse(code) {
            Some(language) => Some(language),
            None => return Err(Error::Value { what: "language", value: length.into() }),
        },
    };
    Ok((kind, language, reader))
}

fn read_card(reader: &mut Reader<'_>) -> Result<Card, Error> {
    let length = reader.u32("length of the card")? as usize;
    if length > CARD_BYTES_MAX {
        return Err(Error::TooLong { what: "card", bytes: length, max: CARD_BYTES_MAX });
    }
    serde_json::from_slice(reader.bytes(length, "card")?).map_err(Error::Card)
}

/// Reads little-endian numbers and slices, in order, and never past the end.
///
/// Each verb is told what is read, for the error where the bytes end too early.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader of `bytes`, from their beginning.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// [`Error::Short`] where there are fewer.
    pub fn bytes(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], Error> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(Error::Short { at: self.bytes.len(), what })?;
        let slice = &self.bytes[self.at..end];
        self.at = end;
        Ok(slice)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// [`Error::Short`] where there are fewer.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Error> {
        let slice = self.bytes(N, what)?;
        Ok(slice.try_into().expect("a slice of N bytes fits an array of N"))
    }

    /// A number of one byte.
    ///
    /// # Errors
    /// [`Error::Short`] at the end.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, Error> {
        self.array(what).map(u8::from_le_bytes)
    }

    /// A number of two bytes.
    ///
    /// # Errors
    /// [`Error::Short`] at the end.
    pub fn u16(&mut self, what: &'static str) -> Result<u16, Error> {
        self.array(what).map(u16::from_le_bytes)
    }

    /// A number of four bytes.
    ///
    /// # Errors
    /// [`Error::Short`] at the end.
    pub fn u32(&mut self, what: &'static str) -> Result<u32, Error> {
        self.array(what).map(u32::from_le_bytes)
    }

    /// A number of eight bytes.
    ///
    /// # Errors
    /// [`Error::Short`] at the end.
    pub fn u64(&mut self, what: &'static str) -> Result<u64, Error> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A floating-point number of four bytes.
    ///
    /// # Errors
    /// [`Error::Short`] at the end.
    pub fn f32(&mut self, what: &'static str) -> Result<f32, Error> {
        self.array(what).map(f32::from_le_bytes)
    }

    /// The next `count` numbers of one byte, with sign.
    ///
    /// # Errors
    /// [`Error::Short`] where there are fewer.
    pub fn i8s(&mut self, count: usize, what: &'static str) -> Result<Vec<i8>, Error> {
        Ok(self.bytes(count, what)?.iter().map(|b| *b as i8).collect())
    }

    /// The next `count` numbers of two bytes, with sign.
    ///
    /// # Errors
    /// [`Error::Short`] where there are fewer.
    pub fn i16s(&mut self, count: usize, what: &'static str) -> Result<Vec<i16>, Error> {
        let slice = self.bytes(count.saturating_mul(2), what)?;
        Ok(slice.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect())
    }

    /// The next `count` numbers of four bytes.
    ///
    /// # Errors
    /// [`Error::Short`] where there are fewer.
    pub fn u32s(&mut self, count: usize, what: &'static str) -> Result<Vec<u32>, Error> {
        let slice = self.bytes(count.saturating_mul(4), what)?;
        Ok(slice.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }

    /// The next `length` bytes as text.
    ///
    /// # Errors
    /// [`Error::Short`] where there are fewer; [`Error::Value`] with the offset where they are no UTF-8.
    pub fn text(&mut self, length: usize, what: &'static str) -> Result<&'a str, Error> {
        let bytes = self.bytes(length, what)?;
        std::str::from_utf8(bytes)
            .map_err(|e| Error::Value { what, value: bytes[e.valid_up_to()].into() })
    }

    /// A version of two bytes, which must be `wanted`.
    ///
    /// # Errors
    /// [`Error::Version`] where it is another.
    pub fn version(&mut self, what: &'static str, wanted: u16) -> Result<(), Error> {
        match self.u16(what)? {
            found if found == wanted => Ok(()),
            found => Err(Error::Version { what, found, wanted }),
        }
    }

    /// All that was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn model() -> Model {
        let source = Source {
            path: "pos/en/a-train.conllu.gz".to_owned(),
            name: "A".to_owned(),
            licence: "CC BY-NC-SA 4.0 (NC)".to_owned(),
            non_commercial: true,
        };
        let card = Card {
            sources: vec![source],
            seed: 7,
            figures: BTreeMap::from([("upos".to_owned(), 95.5)]),
            notes: vec!["Weak on verse.".to_owned()],
        };
        let body = (0..3000u32).flat_map(|i| (i % 97).to_le_bytes()).collect();
        Model { kind: Kind::Tag, language: Some(Language::En), card, body }
    }

    #[test]
    fn what_is_written_is_read() {
        let model = model();
        let bytes = model.write().unwrap();
        assert_eq!(bytes, model.write().unwrap(), "the same bytes each time");
        assert!(bytes.len() < model.body.len() / 2, "compressed: {} bytes", bytes.len());
        assert_eq!(Model::read(&bytes).unwrap(), model);
        assert_eq!(Model::card(&bytes).unwrap(), model.card);
        assert!(model.card.non_commercial());
        let all = Model { language: None, ..model };
        assert_eq!(Model::read(&all.write().unwrap()).unwrap().language, None);
    }

    #[test]
    fn a_damaged_model_is_refused() {
        let bytes = model().write().unwrap();
        for at in 0..bytes.len() {
            assert!(Model::read(&bytes[..at]).is_err(), "cut at {at}");
        }
        let check = |at: usize, value: u8, expected: &str| {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            let error = Model::read(&bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} for {value} at {at}");
        };
        check(0, b'X', "no model");
        check(4, 2, "version 2 of the container");
        check(6, 99, "kind cannot be 99");
        check(8, b'q', "language cannot be");
        check(13, 0xff, "card has");
        let last = bytes.len() - 1;
        check(last, !bytes[last], "decompressed");
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_without_a_panic(mut bytes: Vec<u8>, as_model: bool) {
            if as_model {
                bytes.splice(0..0, *b"SRTM\x01\0\x02\x02en");
            }
            prop_assert!(Model::read(&bytes).is_err());
        }
    }
}
