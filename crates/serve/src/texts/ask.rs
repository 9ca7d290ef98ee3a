//! What a call asks: one text, or several.

use crate::Error;
use crate::texts::clients::Rules;
use crate::texts::{About, FILTERS_MAX, TEXTS_MAX};
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use strongroom_intake::Code;
use strongroom_text::Language;
use strongroom_text::answer::{Desk, Wants};
use strongroom_text::filter::{Filter, Filters};
use strongroom_text::item::{self, Item};
use strongroom_text::topics::{Topic, Topics};

/// A call's body: `{"text": "...", "id": ..., "language": "en"}`, or with `"texts": [...]` instead of a text, each a string or
/// `{"text": "...", "id": ..., "language": "en"}`; with what more is wanted of it, or of each.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) texts: Option<Texts<'a>>,
    #[serde(borrow)]
    language: Option<Cow<'a, str>>,
    #[serde(default)]
    because: bool,
    #[serde(default)]
    each: bool,
    #[serde(default)]
    entities: bool,
    #[serde(default)]
    chunks: bool,
    #[serde(default)]
    themes: bool,
    topics: Option<Vec<Topic>>,
    filters: Option<Vec<String>>,
}

/// What is wanted of each text, made ready.
#[derive(Default)]
pub(super) struct Wanted {
    about: Option<About>,
    language: Option<Language>,
    because: bool,
    each: bool,
    entities: bool,
    chunks: bool,
    themes: bool,
    topics: Option<Vec<Topics>>,
    filters: Option<Filters>,
}

impl Wanted {
    /// With an account's rules.
    pub(super) fn with<'a>(&'a self, rules: &'a Rules) -> Wants<'a> {
        let about = |all: &[About]| self.about.is_some_and(|about| all.contains(&about));
        Wants {
            language: self.language,
            tags: about(&[About::All, About::Tags]),
            sentiment: about(&[About::All, About::Sentiment]),
            because: self.because,
            each: self.each,
            entities: self.entities || about(&[About::Entities]),
            chunks: self.chunks || about(&[About::Chunks]),
            themes: self.themes || about(&[About::Themes]),
            topics: self.topics.as_deref(),
            filters: self.filters.as_ref(),
            rules: rules.matchers.as_deref(),
        }
    }
}

/// Texts as they stand in the body: one that is wrong spoils none of the others.
pub(super) struct Texts<'a> {
    pub(super) items: Vec<&'a RawValue>,
    /// Of all that stand there.
    count: usize,
}

impl<'a> Ask<'a> {
    pub(super) fn read(body: &'a [u8]) -> Result<Ask<'a>, Error> {
        let text = std::str::from_utf8(body).map_err(|error| {
            Error::usage(format!("the body is not UTF-8 from byte {} on", error.valid_up_to()))
        })?;
        let ask: Ask<'a> = serde_json::from_str(text)
            .map_err(|error| Error::usage(format!("the body is not what is asked for: {error}")))?;
        match (&ask.text, &ask.texts) {
            (Some(_), None) => Ok(ask),
            (None, Some(texts)) if texts.count > TEXTS_MAX => {
                let why = format!("a call has {TEXTS_MAX} texts at most, not {}", texts.count);
                Err(Error::refused(Code::TooLarge, why))
            }
            (None, Some(_)) if ask.id.is_some() => {
                Err(Error::usage("of several texts each has its own `id`"))
            }
            (None, Some(_)) => Ok(ask),
            _ => Err(Error::usage("the body needs a `text`, or several as `texts`")),
        }
    }

    /// How many texts it brings.
    pub(super) fn texts(&self) -> usize {
        self.texts.as_ref().map_or(1, |texts| texts.items.len())
    }

    /// What is wanted of each text.
    pub(super) fn wanted(&self, about: About) -> Result<Wanted, Error> {
        let missing = |what: &str| Err(Error::usage(format!("the body needs {what}")));
        if about == About::Topics && self.topics.is_none() {
            return missing("`topics`: [{\"name\": \"...\", \"words\": [...]}]");
        }
        if about == About::Filter && self.filters.is_none() {
            return missing("`filters`: [\"...\"]");
        }
        let language = self.language.as_deref().map(item::language).transpose().map_err(told)?;
        let topics = self.topics.as_deref().map(Topics::of_all).transpose();
        let filters = self.filters.as_deref().map(filters).transpose()?;
        Ok(Wanted {
            about: Some(about),
            language,
            because: self.because,
            each: self.each,
            entities: self.entities,
            chunks: self.chunks,
            themes: self.themes,
            topics: topics.map_err(|error| Error::usage(error.to_string()))?,
            filters,
        })
    }

    /// The text, where it is one.
    pub(super) fn item(&self) -> Option<Item<'_>> {
        let text = Cow::Borrowed(self.text.as_deref()?);
        Some(Item { id: self.id, text, language: None })
    }

    /// The whole answer.
    pub(super) fn answer(
        &self,
        about: About,
        rules: &Rules,
        desk: &mut Desk,
    ) -> Result<Vec<u8>, Error> {
        let wanted = self.wanted(about)?;
        let wants = wanted.with(rules);
        let mut out = Vec::with_capacity(1 << 12);
        if let Some(item) = self.item() {
            item.answer(&wants, desk, &mut out).map_err(told)?;
            return Ok(out);
        }
        out.extend(BEFORE_ITEMS);
        for (number, item) in self.texts.iter().flat_map(|texts| &texts.items).enumerate() {
            if number > 0 {
                out.push(b',');
            }
            item::answer(item.get().as_bytes(), &wants, desk, &mut out);
        }
        out.extend(AFTER_ITEMS);
        Ok(out)
    }
}

fn filters(rules: &[String]) -> Result<Filters, Error> {
    if rules.len() > FILTERS_MAX {
        let why = format!("a call has {FILTERS_MAX} filters at most, not {}", rules.len());
        return Err(Error::refused(Code::TooLarge, why));
    }
    let parse = |(number, rule): (usize, &String)| {
        let told = |error| Error::usage(format!("filter {}: {error}", number + 1));
        Filter::parse(rule).map_err(told)
    };
    let parsed = rules.iter().enumerate().map(parse).collect::<Result<Vec<_>, _>>()?;
    Filters::new(parsed).map_err(|error| Error::usage(error.to_string()))
}

/// What stands before the answers to several texts.
pub(super) const BEFORE_ITEMS: &[u8] = b"{\"items\":[";
/// What stands behind them.
pub(super) const AFTER_ITEMS: &[u8] = b"]}";

pub(super) fn told(error: item::Error) -> Error {
    match error {
        item::Error::TextLength { .. } => Error::refused(Code::TooLarge, error.to_string()),
        _ => Error::usage(error.to_string()),
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Texts<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Texts<'a>, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Texts<'de>;
            fn expecting(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                to.write_str("a list of texts")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Texts<'de>, A::Error> {
                let (mut items, mut count) = (Vec::new(), 0);
                while items.len() < TEXTS_MAX
                    && let Some(item) = list.next_element::<&'de RawValue>()?
                {
                    items.push(item);
                }
                count += items.len();
                // What is too much is counted, and not kept.
                while list.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Texts { items, count })
            }
        }
        from.deserialize_seq(All)
    }
}
