//! A text as it is asked about in JSON, and its answer: what lines of a batch and calls of the API have in common.
//!
//! ```
//! use strongroom_text::answer::{Desk, Wants};
//!
//! let mut out = Vec::new();
//! let asked = br#"{"id": 7, "text": "The sun shines on the garden.", "language": "en"}"#;
//! strongroom_text::item::answer(asked, &Wants::default(), &mut Desk::default(), &mut out);
//! assert_eq!(out, br#"{"id":7,"language":"en","confidence":1.0}"#);
//! ```

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::Language;
use crate::answer::{self, Answer, Desk, TEXT_BYTES_MAX, Wants};

/// Bytes of an id, as JSON.
pub const ID_BYTES_MAX: usize = 1024;

/// Why there is no answer to a text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is not the JSON that is asked for.
    #[error(
        "this is not {{\"id\": ..., \"text\": \"...\", \"language\": \"en\"}}, nor a text alone: {0}"
    )]
    Json(#[from] serde_json::Error),
    /// It is not UTF-8.
    #[error("this is not UTF-8 from byte {at} on")]
    Utf8 {
        /// The first byte that belongs to no character.
        at: usize,
    },
    /// The id is too long.
    #[error("the id has {bytes} bytes as JSON; at most {ID_BYTES_MAX} are allowed")]
    IdLength {
        /// How long it is.
        bytes: usize,
    },
    /// The text is too long.
    #[error("the text has {bytes} bytes; at most {TEXT_BYTES_MAX} are allowed")]
    TextLength {
        /// How long it is.
        bytes: usize,
    },
    /// The language is none of those that are known.
    #[error("the language {0:?} is not known here; one of {codes}", codes = Language::codes())]
    Language(String),
}

/// A text, and what is said of it beforehand.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item<'a> {
    /// What the answer is known by: any JSON, given back as it is.
    #[serde(borrow)]
    pub id: Option<&'a RawValue>,
    /// The text.
    #[serde(borrow)]
    pub text: Cow<'a, str>,
    /// The code of its language, where that is known.
    #[serde(borrow)]
    pub language: Option<Cow<'a, str>>,
}

/// The id alone, of what is otherwise wrong.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Alone<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads the code of a language.
///
/// # Errors
/// Where it is none that is known.
pub fn language(code: &str) -> Result<Language, Error> {
    Language::parse(code).ok_or_else(|| Error::Language(code.into()))
}

impl<'a> Item<'a> {
    /// Reads `{"id": ..., "text": "...", "language": "..."}`, of which only the text must be there, or a text alone.
    ///
    /// # Errors
    /// Where it is neither.
    pub fn read(json: &'a str) -> Result<Item<'a>, Error> {
        if json.trim_start().starts_with('"') {
            let text = serde_json::from_str::<Alone<'a>>(json)?.0;
            return Ok(Item { text, ..Item::default() });
        }
        Ok(serde_json::from_str(json)?)
    }

    /// Adds the answer to `out`, a JSON object with the same id. The language that is given here goes before that of `wants`.
    ///
    /// # Errors
    /// Where something is out of bounds; nothing is added then.
    pub fn answer(
        &self,
        wants: &Wants<'_>,
        desk: &mut Desk,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if let Some(id) = self.id.filter(|id| id.get().len() > ID_BYTES_MAX) {
            return Err(Error::IdLength { bytes: id.get().len() });
        }
        if self.text.len() > TEXT_BYTES_MAX {
            return Err(Error::TextLength { bytes: self.text.len() });
        }
        let given = self.language.as_deref().map(language).transpose()?;
        let wants = Wants { language: given.or(wants.language), ..*wants };
        write(self.id, &answer::answer(&self.text, &wants, desk), out)
    }
}

/// Adds an answer to `out`, a JSON object with this id.
///
/// # Errors
/// None that is known; writing JSON could fail in principle.
pub fn write(id: Option<&RawValue>, answer: &Answer<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    let begun = begin(id, out);
    let at = out.len();
    serde_json::to_writer(&mut *out, answer)?;
    if begun {
        // An answer is an object that is never empty, and goes on what is begun.
        out[at] = b',';
    }
    Ok(())
}

/// Answers what [`Item::read`] reads: adds a JSON object to `out`, the answer or what is wrong.
pub fn answer(json: &[u8], wants: &Wants<'_>, desk: &mut Desk, out: &mut Vec<u8>) {
    let json = match std::str::from_utf8(json) {
        Ok(json) => json,
        Err(error) => return refusal("", &Error::Utf8 { at: error.valid_up_to() }, out),
    };
    let answered = Item::read(json).and_then(|item| item.answer(wants, desk, out));
    if let Err(error) = answered {
        refusal(json, &error, out);
    }
}

/// What is told where there is no answer: a JSON object with the id, where one can be read, and the error.
fn refusal(json: &str, error: &Error, out: &mut Vec<u8>) {
    let id = serde_json::from_str::<Named<'_>>(json).ok().and_then(|named| named.id);
    let begun = begin(id.filter(|id| id.get().len() <= ID_BYTES_MAX), out);
    out.extend(if begun { b"," } else { b"{" });
    out.extend(b"\"error\":");
    out.extend(serde_json::Value::from(error.to_string()).to_string().bytes());
    out.push(b'}');
}

/// Begins an object with an id, where there is one.
fn begin(id: Option<&RawValue>, out: &mut Vec<u8>) -> bool {
    if let Some(id) = id {
        out.extend(b"{\"id\":");
        out.extend(id.get().bytes());
    }
    id.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(json: &str) -> String {
        let mut out = Vec::new();
        answer(json.as_bytes(), &Wants::default(), &mut Desk::default(), &mut out);
        let text = String::from_utf8(out).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
        text
    }

    #[test]
    fn what_is_wrong_is_told_with_the_id() {
        let long = "x".repeat(ID_BYTES_MAX);
        for (asked, with) in [
            (r#"{"id":1,"text":"lone \ud800"}"#.to_owned(), r#"{"id":1,"error":"this is not"#),
            (r#"{"id":"a","text":7}"#.into(), r#"{"id":"a","error":"this is not"#),
            (r#"{"id":[2],"language":"en"}"#.into(), r#"{"id":[2],"error":"this is not"#),
            (r#"{"text":"a","txet":"b"}"#.into(), r#"{"error":"this is not"#),
            (
                r#"{"id":3,"text":"a","language":"xx"}"#.into(),
                "{\"id\":3,\"error\":\"the language \\\"xx\\\"",
            ),
            (format!("{{\"id\":\"{long}\",\"text\":\"a\"}}"), r#"{"error":"the id has 1026 bytes"#),
            (format!("\"{}\"", "a ".repeat(TEXT_BYTES_MAX / 2 + 1)), r#"{"error":"the text has"#),
            ("nonsense".into(), r#"{"error":"this is not"#),
            (String::new(), r#"{"error":"this is not"#),
        ] {
            let told = told(&asked);
            assert!(told.starts_with(with), "{}: {told}", &asked[..asked.len().min(60)]);
        }
    }

    #[test]
    fn what_is_no_text_is_told_with_its_place() {
        let mut out = Vec::new();
        answer(b"{\"text\":\"ab\xffc\"}", &Wants::default(), &mut Desk::default(), &mut out);
        assert_eq!(out, br#"{"error":"this is not UTF-8 from byte 11 on"}"#);
    }

    #[test]
    fn a_text_has_its_answer() {
        assert_eq!(
            told(r#" {"text":"x","id":{"a":"\ud83d\ude00"},"language":"de"}"#),
            r#"{"id":{"a":"\ud83d\ude00"},"language":"de","confidence":1.0}"#
        );
        assert!(told("\"Der Garten liegt hinter dem Haus.\"").starts_with(r#"{"language":"de","#));
        assert!(told(r#"{"id":null,"text":""}"#).contains(r#""language":null"#));
        assert!(told("\"a\\u0000b\"").contains("\"language\""));
    }
}
