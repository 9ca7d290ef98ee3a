//! `text chunks`, `themes`, `topics`, `filter` and `clean`: what texts are about, and which are meant.

use super::super::Context;
use super::{Input, each_text, matchers};
use crate::errors::{Answer, Failure};
use clap::Args;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use strongroom_text::answer::{self, Wants};
use strongroom_text::filter::{Filter, Filters};
use strongroom_text::html::{self, HTML_BYTES_MAX, Keep};
use strongroom_text::topics::{Topic, Topics};

/// Bytes of a file of topics.
const TOPICS_BYTES_MAX: u64 = 16 << 20;

#[derive(Args)]
pub(crate) struct Plain {
    #[command(flatten)]
    input: Input,
    /// Rules of one's own, as `text rules` keeps them
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Entities {
    #[command(flatten)]
    input: Input,
}

#[derive(Args)]
pub(crate) struct TopicArgs {
    #[command(flatten)]
    plain: Plain,
    /// What is asked about: [{"name": "room", "words": [{"kind": "lemma", "text": "room"}]}]; kinds are phrase, lemma and prefix
    #[arg(long, value_name = "FILE")]
    topics: PathBuf,
}

#[derive(Args)]
pub(crate) struct FilterArgs {
    #[command(flatten)]
    input: Input,
    /// A rule, such as '(refund OR "money back") NEAR/5 late*'; may be given several times
    #[arg(long = "rule", value_name = "RULE", required = true, value_parser = Filter::parse)]
    rules: Vec<Filter>,
}

#[derive(Args)]
pub(crate) struct Clean {
    /// Pages; without, stdin
    files: Vec<PathBuf>,
    /// All that a reader would see, menus too
    #[arg(long)]
    all: bool,
    /// The charset, where the page does not say it
    #[arg(long, value_name = "NAME")]
    charset: Option<String>,
}

pub(crate) fn entities(cx: &Context, args: &Entities) -> Result<Answer, Failure> {
    let wants = Wants { language: args.input.language, entities: true, ..Wants::default() };
    each_text(cx, &args.input, &wants, |answer, _| {
        let names = answer.entities.iter().flatten().map(|name| {
            let (kind, sure) = (name.kind.name(), name.confidence * 100.0);
            format!("\n  {kind:<12} {} ({sure:.0} %)", name.text.replace('\n', " "))
        });
        format!("{}{}", code(answer), names.collect::<String>())
    })
}

pub(crate) fn chunks(cx: &Context, args: &Plain) -> Result<Answer, Failure> {
    let rules = matchers(args.rules.as_deref())?;
    let wants = Wants {
        language: args.input.language,
        chunks: true,
        rules: rules.as_deref(),
        ..Wants::default()
    };
    each_text(cx, &args.input, &wants, |answer, _| {
        let chunks = answer.chunks.iter().flatten();
        let line = |chunk: &answer::Chunk| {
            let answer::Sentiment { label, score, .. } = &chunk.sentiment;
            format!("\n  {label} ({score:+.2})  {}", chunk.text.replace('\n', " "))
        };
        format!("{}{}", code(answer), chunks.map(line).collect::<String>())
    })
}

pub(crate) fn themes(cx: &Context, args: &Plain) -> Result<Answer, Failure> {
    let rules = matchers(args.rules.as_deref())?;
    let wants = Wants {
        language: args.input.language,
        themes: true,
        rules: rules.as_deref(),
        ..Wants::default()
    };
    each_text(cx, &args.input, &wants, |answer, _| {
        let themes = answer.themes.iter().flatten().map(|theme| {
            let answer::Sentiment { label, score, .. } = &theme.sentiment;
            let text = theme.text.replace('\n', " ");
            format!("\n  {:.2}  {text} ({} times, {label} {score:+.2})", theme.score, theme.count)
        });
        format!("{}{}", code(answer), themes.collect::<String>())
    })
}

pub(crate) fn topics(cx: &Context, args: &TopicArgs) -> Result<Answer, Failure> {
    let Plain { input, rules } = &args.plain;
    let (rules, topics) = (matchers(rules.as_deref())?, read_topics(&args.topics)?);
    let wants = Wants {
        language: input.language,
        topics: Some(&topics),
        rules: rules.as_deref(),
        ..Wants::default()
    };
    each_text(cx, input, &wants, |answer, _| {
        let topics = answer.topics.iter().flatten().map(|toward| {
            let answer::Sentiment { label, score, .. } = &toward.sentiment;
            format!("\n  {}: {label} ({score:+.2}), {} times", toward.topic, toward.count)
        });
        format!("{}{}", code(answer), topics.collect::<String>())
    })
}

fn read_topics(file: &Path) -> Result<Vec<Topics>, Failure> {
    let name = file.display();
    let opened = std::fs::File::open(file).map_err(|e| Failure::io(name, &e))?;
    let mut bytes = Vec::new();
    let read = opened.take(TOPICS_BYTES_MAX).read_to_end(&mut bytes);
    read.map_err(|e| Failure::io(file.display(), &e))?;
    let wrong = |error: String| Failure::undecided(format_args!("{}: {error}", file.display()));
    let topics: Vec<Topic> =
        serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    Topics::of_all(&topics).map_err(|error| wrong(error.to_string()))
}

/// The answer is yes where a rule matches one of the texts.
pub(crate) fn filter(cx: &Context, args: FilterArgs) -> Result<Answer, Failure> {
    let wrong = |error| Failure::usage(format_args!("{error}"));
    let filters = Filters::new(args.rules).map_err(wrong)?;
    let wants =
        Wants { language: args.input.language, filters: Some(&filters), ..Wants::default() };
    let matched = std::cell::Cell::new(false);
    each_text(cx, &args.input, &wants, |answer, text| {
        let matches = answer.matches.iter().flatten().enumerate();
        let lines = matches.map(|(number, found)| {
            matched.set(matched.get() || found.matched);
            let places = found.ranges.iter().map(|place| &text[place.bytes.clone()]);
            let places: Vec<_> = places.map(|place| format!("{place:?}")).collect();
            let told = if found.matched { "matches" } else { "does not match" };
            format!("\n  rule {} {told} {}", number + 1, places.join(", "))
        });
        lines.collect()
    })?;
    Ok(Answer::of(matched.get()))
}

pub(crate) fn clean(cx: &Context, args: &Clean) -> Result<Answer, Failure> {
    let keep = if args.all { Keep::All } else { Keep::Main };
    let mut list = cx.out.list();
    let input = Input { files: args.files.clone(), language: None };
    for opened in input.readers() {
        let (name, reader) = opened?;
        let mut bytes = Vec::new();
        let read = reader.take(HTML_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|e| Failure::io(&name, &e))?;
        let wrong = |error: html::Error| Failure::undecided(format_args!("{name}: {error}"));
        let page = html::decode(&bytes, args.charset.as_deref()).map_err(wrong)?;
        let found = html::clean(&page, keep).map_err(wrong)?;
        let mut json = serde_json::to_value(&found).map_err(Failure::internal)?;
        json["name"] = name.clone().into();
        list.row(&json, &found.text)?;
    }
    list.end()?;
    Ok(Answer::Yes)
}

/// The language of an answer.
fn code(answer: &answer::Answer<'_>) -> &'static str {
    answer.language.unwrap_or("in none of the languages that are known here")
}
