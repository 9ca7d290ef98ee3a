//! `text`: what language texts are in, their sentences and words, and how they speak.

mod about;
mod bench;

use super::Context;
use crate::errors::{Answer, Failure};
use crate::output;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::io::{BufRead, BufReader, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use strongroom_serve::Call;
use strongroom_text::answer::{self, Desk, TEXT_BYTES_MAX, Wants};
use strongroom_text::parallel::in_order;
use strongroom_text::segment::piece_end;
use strongroom_text::sentiment::rules::{BOOK_BYTES_MAX, Book, Kind, Matcher, Rule};
use strongroom_text::tag::{self, LemmaScratch};
use strongroom_text::{Language, analysis, conllu, item, language, models, sentiment};

/// A larger text is cut behind a line of about this many bytes.
const PART_BYTES: usize = 256 << 10;
/// Progress is told so often.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

#[derive(Subcommand)]
pub(crate) enum Text {
    /// Say all there is to say of each text: language, sentences, words, sentiment
    Analyze(Analyze),
    /// Say what language each text is in
    Language(Languages),
    /// Find sentences and words, with their parts of speech and lemmas
    Tag(Tag),
    /// Say how each text speaks of its subject, and why
    Sentiment(Sentiments),
    /// Find names of persons, organisations and places
    Entities(about::Entities),
    /// Find the phrases that speak for or against
    Chunks(about::Plain),
    /// Find phrases that tell what each text is about
    Themes(about::Plain),
    /// Say how each text speaks of things that are asked about
    Topics(about::TopicArgs),
    /// Say which texts rules match: words, "phrases", pre*, AND, OR, NOT, NEAR/n, lemma:word, exact:Word
    Filter(about::FilterArgs),
    /// Take the main text out of pages of HTML
    Clean(about::Clean),
    /// Analyse texts that come as lines of JSON: {"id": ..., "text": "...", "language": "en"}
    Batch(Batch),
    /// Keep rules of one's own for sentiment in a file
    Rules(Rules),
    /// Show what an account used of a server's text calls
    Usage(Usage),
    /// Set how many texts an account may have analysed in a day of UTC
    Quota(Quota),
    /// List the models that are built in, from what they were made, and under what licences
    Models,
    /// Measure texts a second on this machine, by the library and through HTTP
    Bench(bench::BenchArgs),
}

#[derive(Args)]
pub(crate) struct Input {
    /// Texts; without, stdin
    files: Vec<PathBuf>,
    /// The language of all of it: en ar zh de fr es it ru pl pt. Without, it is found out
    #[arg(long, value_name = "L", value_parser = code)]
    language: Option<Language>,
}

#[derive(Args)]
pub(crate) struct Analyze {
    #[command(flatten)]
    input: Input,
    /// Rules of one's own, as `text rules` keeps them
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Languages {
    #[command(flatten)]
    input: Input,
    /// Each line is a text; print one code a line, or "unknown"
    #[arg(long)]
    lines: bool,
    /// Say where which language is, in a text of several
    #[arg(long, conflicts_with = "lines")]
    parts: bool,
}

#[derive(Args)]
pub(crate) struct Tag {
    #[command(flatten)]
    input: Input,
    /// Write CoNLL-U
    #[arg(long)]
    conllu: bool,
    /// The input is CoNLL-U; its sentences and words are kept, and tagged anew
    #[arg(long, requires = "conllu", requires = "language")]
    gold_tokens: bool,
}

#[derive(Args)]
pub(crate) struct Sentiments {
    #[command(flatten)]
    input: Input,
    /// Each line is a text; print one label a line
    #[arg(long)]
    lines: bool,
    /// Rules of one's own, as `text rules` keeps them
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Batch {
    #[command(flatten)]
    input: Input,
    /// Sentences and words too
    #[arg(long)]
    tags: bool,
    /// Why sentiment is as it is, too
    #[arg(long)]
    because: bool,
    /// Rules of one's own, as `text rules` keeps them
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Rules {
    /// The file; it is made by the first that is added
    file: PathBuf,
    #[command(subcommand)]
    change: Change,
}

#[derive(Subcommand)]
enum Change {
    /// List the rules
    List,
    /// Add a rule, to take effect with the next commit
    Add {
        /// phrase: these words; lemma: a word in all its forms; prefix: words that begin so
        #[arg(value_parser = kind)]
        kind: Kind,
        /// The phrase, lemma or prefix
        text: String,
        /// What it means, from -1 to 1; with 0 it says nothing
        #[arg(allow_negative_numbers = true)]
        score: f32,
        /// Only in texts of this language
        #[arg(long, value_name = "L", value_parser = code)]
        language: Option<Language>,
    },
    /// Take a rule out, with the next commit
    Delete {
        /// Its number
        id: u64,
    },
    /// Let what was added and deleted take effect, all at once
    Commit,
}

#[derive(Args)]
pub(crate) struct Usage {
    /// INSTITUTION/NAME [default: at a server, the account whose token is shown]
    account: Option<String>,
    /// Of how many days
    #[arg(long, default_value_t = strongroom_serve::USAGE_DAYS)]
    days: u32,
}

#[derive(Args)]
pub(crate) struct Quota {
    /// INSTITUTION/NAME
    account: String,
    /// Texts a day [default: as many as it likes]
    #[arg(long, value_name = "TEXTS")]
    texts: Option<u64>,
    /// Bytes a day of the calls that bring them [default: as many as it likes]
    #[arg(long, value_name = "BYTES")]
    bytes: Option<u64>,
}

pub(crate) fn run(cx: &Context, args: Text) -> Result<Answer, Failure> {
    match args {
        Text::Analyze(Analyze { input, rules }) => {
            let matchers = matchers(rules.as_deref())?;
            let wants = Wants {
                language: input.language,
                tags: true,
                sentiment: true,
                because: true,
                each: true,
                rules: matchers.as_deref(),
                ..Wants::default()
            };
            each_text(cx, &input, &wants, lines_of)
        }
        Text::Language(args) => languages(cx, &args),
        Text::Tag(args) => tag(cx, &args),
        Text::Sentiment(args) => sentiments(cx, &args),
        Text::Entities(args) => about::entities(cx, &args),
        Text::Chunks(args) => about::chunks(cx, &args),
        Text::Themes(args) => about::themes(cx, &args),
        Text::Topics(args) => about::topics(cx, &args),
        Text::Filter(args) => about::filter(cx, args),
        Text::Clean(args) => about::clean(cx, &args),
        Text::Batch(args) => batch(&args),
        Text::Rules(args) => rules(cx, args),
        Text::Usage(args) => usage(cx, args),
        Text::Quota(args) => quota(cx, args),
        Text::Models => list_models(cx),
        Text::Bench(args) => bench::run(cx, &args),
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Input {
    /// Opens what is to be read, one after the other.
    fn readers(&self) -> impl Iterator<Item = Result<(String, Box<dyn BufRead>), Failure>> {
        let stdin = self.files.is_empty().then(|| {
            let reader: Box<dyn BufRead> = Box::new(std::io::stdin().lock());
            Ok(("stdin".to_owned(), reader))
        });
        let files = self.files.iter().map(|path| {
            let name = path.display().to_string();
            let file = std::fs::File::open(path).map_err(|e| Failure::io(&name, &e))?;
            let reader: Box<dyn BufRead> = Box::new(BufReader::with_capacity(1 << 16, file));
            Ok((name, reader))
        });
        stdin.into_iter().chain(files)
    }

    /// What `cut` makes of each of them, one after the other.
    fn each<T: 'static, I: Iterator<Item = Result<T, Failure>> + 'static>(
        &self,
        cut: impl Fn(String, Box<dyn BufRead>) -> I,
    ) -> impl Iterator<Item = Result<T, Failure>> {
        self.readers().flat_map(move |opened| match opened {
            Ok((name, reader)) => Box::new(cut(name, reader)) as Box<dyn Iterator<Item = _>>,
            Err(failure) => Box::new(std::iter::once(Err(failure))),
        })
    }

    /// Whole texts, one a file.
    fn texts(&self) -> impl Iterator<Item = Result<(String, String), Failure>> {
        self.readers().map(|opened| {
            let (name, reader) = opened?;
            let mut bytes = Vec::new();
            let read = reader.take(TEXT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
            read.map_err(|e| Failure::io(&name, &e))?;
            if bytes.len() > TEXT_BYTES_MAX {
                let most = output::bytes(TEXT_BYTES_MAX as u64);
                return Err(Failure::usage(format_args!("{name} has more than {most}"))
                    .hint("`text tag`, `text language --lines` and `text batch` take texts of any length."));
            }
            Ok((name.clone(), utf8(&name, bytes)?))
        })
    }
}

fn utf8(name: &str, bytes: Vec<u8>) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::undecided(format_args!("{name} is not UTF-8 from byte {at} on"))
            .hint("Texts must be in UTF-8; convert it first.")
    })
}

/// Lines, each bounded as a text is, with their numbers.
fn numbered(
    name: String,
    mut reader: Box<dyn BufRead>,
) -> impl Iterator<Item = Result<(u64, Vec<u8>), Failure>> {
    let (mut number, mut failed) = (0u64, false);
    std::iter::from_fn(move || {
        if failed {
            return None;
        }
        number += 1;
        let mut line = Vec::new();
        let read = (&mut reader).take(TEXT_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line);
        let line = match read {
            Ok(0) => return None,
            Ok(_) if line.len() > TEXT_BYTES_MAX => Err(Failure::usage(format_args!(
                "line {number} of {name} has more than {}",
                output::bytes(TEXT_BYTES_MAX as u64)
            ))),
            Ok(_) => {
                while matches!(line.last(), Some(b'\n' | b'\r')) {
                    line.pop();
                }
                Ok((number, line))
            }
            Err(error) => Err(Failure::io(&name, &error)),
        };
        failed = line.is_err();
        Some(line)
    })
}

/// Lines of text.
fn lines(name: String, reader: Box<dyn BufRead>) -> impl Iterator<Item = Result<String, Failure>> {
    numbered(name.clone(), reader).map(move |line| {
        let (number, line) = line?;
        utf8(&format!("line {number} of {name}"), line)
    })
}

/// Works on items on all cores, and prints what comes of each, in order.
fn print_in_order<T: Send, R: AsRef<[u8]> + Send>(
    items: impl Iterator<Item = Result<T, Failure>>,
    work: impl Fn(&mut Desk, T) -> R + Sync,
) -> Result<Answer, Failure> {
    let (mut failed, mut done, mut told) = (None, 0u64, Instant::now());
    // Who looks on sees how far it is; a file of messages needs one line, at the end.
    let terminal = std::io::stderr().is_terminal();
    let mut shown = false;
    let mut out = std::io::BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    let items = items.map_while(|item| match item {
        Ok(item) => Some(item),
        Err(failure) => {
            failed = Some(failure);
            None
        }
    });
    let mut unwritten = None;
    in_order(items, threads(), Desk::default, work, |text| {
        done += 1;
        if terminal && told.elapsed() >= PROGRESS_EVERY {
            (told, shown) = (Instant::now(), true);
            eprint!("\r{} done", output::count(done, "text"));
        }
        unwritten = out.write_all(text.as_ref()).err();
        unwritten.is_none()
    });
    if shown {
        eprintln!("\r{} done", output::count(done, "text"));
    }
    let flushed = match unwritten {
        Some(error) => Err(error),
        None => out.flush(),
    };
    flushed.map_err(|e| Failure::stdout(&e))?;
    match failed {
        Some(failure) => Err(failure),
        None => Ok(Answer::Yes),
    }
}

fn each_text(
    cx: &Context,
    input: &Input,
    wants: &Wants<'_>,
    say: impl Fn(&answer::Answer<'_>, &str) -> String,
) -> Result<Answer, Failure> {
    let (mut desk, mut list) = (Desk::default(), cx.out.list());
    let mut known = true;
    for text in input.texts() {
        let (name, text) = text?;
        let answer = answer::answer(&text, wants, &mut desk);
        known &= answer.language.is_some();
        let mut json = serde_json::to_value(&answer).map_err(Failure::internal)?;
        json["name"] = name.clone().into();
        list.row(&json, format_args!("{name}: {}", say(&answer, &text)))?;
    }
    list.end()?;
    Ok(Answer::of(known))
}

/// An answer for people.
fn lines_of(answer: &answer::Answer<'_>, text: &str) -> String {
    let Some(code) = answer.language else {
        return "in none of the languages that are known here".into();
    };
    let mut lines = format!("{code} ({:.0} %)", answer.confidence * 100.0);
    if let Some(sentiment) = &answer.sentiment {
        lines.push_str(&format!(
            ", {} ({:+.2}, {:.0} %)",
            sentiment.label,
            sentiment.score,
            sentiment.confidence * 100.0
        ));
        if !sentiment.because.is_empty() {
            let because: Vec<String> = (sentiment.because.iter())
                .map(|reason| format!("{} ({:+.2})", reason.text, reason.effect))
                .collect();
            lines.push_str(&format!(", because: {}", because.join(", ")));
        }
    }
    for sentence in answer.sentences.iter().flatten() {
        let words = sentence.tokens.iter().flat_map(|token| &token.words);
        let words: Vec<String> = words.map(|word| format!("{}/{}", word.form, word.upos)).collect();
        let place = &text[sentence.bytes.clone()];
        lines.push_str(&format!("\n  {}\n    {}", place.replace('\n', " "), words.join(" ")));
    }
    lines
}

fn languages(cx: &Context, args: &Languages) -> Result<Answer, Failure> {
    if args.lines {
        return print_in_order(args.input.each(lines), |_, line: String| {
            let code = language::detect(&line).language.map_or("unknown", Language::code);
            format!("{code}\n")
        });
    }
    if !args.parts {
        return each_text(cx, &args.input, &Wants::default(), lines_of);
    }
    let mut list = cx.out.list();
    for text in args.input.texts() {
        let (name, text) = text?;
        for span in language::spans(&text) {
            let code = span.language.map(Language::code);
            let json = json!({
                "name": name, "language": code, "confidence": span.confidence,
                "bytes": { "start": span.range.start, "end": span.range.end },
            });
            let part = text[span.range.clone()].replace('\n', " ");
            let begin: String = part.chars().take(60).collect();
            let code = code.unwrap_or("unknown");
            list.row(&json, format_args!("{name} {:>9}  {code:<7}  {begin}", span.range.start))?;
        }
    }
    list.end()?;
    Ok(Answer::Yes)
}

/// Pieces of a text that end behind a line, or a space where there is none: what stands in one part of it is never in another's
/// sentence.
fn parts(
    name: String,
    mut reader: Box<dyn BufRead>,
) -> impl Iterator<Item = Result<String, Failure>> {
    let (mut rest, mut over) = (Vec::new(), false);
    let mut before = 0u64;
    std::iter::from_fn(move || {
        if over {
            return None;
        }
        let wanted = (PART_BYTES.saturating_sub(rest.len())) as u64;
        if let Err(error) = (&mut reader).take(wanted).read_to_end(&mut rest) {
            over = true;
            return Some(Err(Failure::io(&name, &error)));
        }
        over = rest.len() < PART_BYTES;
        let cut = if over { rest.len() } else { piece_end(&rest, PART_BYTES - 1) };
        if cut == 0 {
            return None;
        }
        let later = rest.split_off(cut);
        let part = std::mem::replace(&mut rest, later);
        let place = format!("{name}, from byte {before} on,");
        before += part.len() as u64;
        let part = utf8(&place, part);
        over |= part.is_err();
        Some(part)
    })
}

fn tag(cx: &Context, args: &Tag) -> Result<Answer, Failure> {
    if args.gold_tokens {
        return tag_again(args);
    }
    if !args.conllu {
        let wants = Wants { language: args.input.language, tags: true, ..Wants::default() };
        return each_text(cx, &args.input, &wants, lines_of);
    }
    let given = args.input.language;
    print_in_order(args.input.each(parts), move |_, part: String| {
        let Some(language) = given.or_else(|| language::detect(&part).language) else {
            return String::new();
        };
        let engine = models::engine(language);
        let (mut scratch, mut analysis) =
            (analysis::Scratch::default(), analysis::Analysis::default());
        engine.analyse(&part, &mut scratch, &mut analysis);
        let (mut written, mut lemmas) = (String::new(), LemmaScratch::default());
        for sentence in analysis.sentences() {
            let sentence = analysis.conllu(engine, sentence, &part, &mut lemmas);
            conllu::write(&sentence, &mut written);
        }
        written
    })
}

/// Tags what is given as CoNLL-U.
fn tag_again(args: &Tag) -> Result<Answer, Failure> {
    let language = args.input.language.unwrap_or(Language::En);
    let engine = models::engine(language);
    let (mut scratch, mut lemmas) = (tag::Scratch::default(), LemmaScratch::default());
    for opened in args.input.readers() {
        let (name, mut reader) = opened?;
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(|e| Failure::io(&name, &e))?;
        let mut sentences = conllu::read(&utf8(&name, bytes)?)
            .map_err(|error| Failure::undecided(format_args!("{name}: {error}")))?;
        let mut written = String::new();
        for sentence in &mut sentences {
            engine.tagger().begin(&mut scratch);
            sentence.words().for_each(|word| engine.tagger().push(&word.form, &mut scratch));
            let tags = engine.tagger().finish(&mut scratch);
            let words = sentence.tokens.iter_mut().flat_map(|token| &mut token.words);
            for (word, upos) in words.zip(tags) {
                let lemma = engine.tagger().lemma(&word.form, *upos, &mut lemmas);
                (word.upos, word.lemma) = (*upos, lemma.map(Cow::into_owned));
            }
            conllu::write(sentence, &mut written);
        }
        std::io::stdout().lock().write_all(written.as_bytes()).map_err(|e| Failure::stdout(&e))?;
    }
    Ok(Answer::Yes)
}

fn sentiments(cx: &Context, args: &Sentiments) -> Result<Answer, Failure> {
    let matchers = matchers(args.rules.as_deref())?;
    let wants = Wants {
        language: args.input.language,
        sentiment: true,
        because: !args.lines,
        rules: matchers.as_deref(),
        ..Wants::default()
    };
    if !args.lines {
        return each_text(cx, &args.input, &wants, lines_of);
    }
    print_in_order(args.input.each(lines), move |desk, line: String| {
        let answer = answer::answer(&line, &wants, desk);
        // Whatever it is in, a line has a label.
        let label = answer.sentiment.map_or(sentiment::Label::Neutral.name(), |s| s.label);
        format!("{label}\n")
    })
}

fn batch(args: &Batch) -> Result<Answer, Failure> {
    let matchers = matchers(args.rules.as_deref())?;
    let wants = Wants {
        language: args.input.language,
        tags: args.tags,
        sentiment: true,
        because: args.because,
        rules: matchers.as_deref(),
        ..Wants::default()
    };
    print_in_order(args.input.each(numbered), move |desk, (_, line): (u64, Vec<u8>)| {
        let mut out = Vec::with_capacity(4 * line.len());
        item::answer(&line, &wants, desk, &mut out);
        out.push(b'\n');
        out
    })
}

fn matchers(file: Option<&Path>) -> Result<Option<Vec<Matcher>>, Failure> {
    let Some(file) = file else { return Ok(None) };
    let book = read_book(file)?;
    Ok(Some(Language::ALL.into_iter().map(|language| Matcher::new(&book, language)).collect()))
}

fn read_book(file: &Path) -> Result<Book, Failure> {
    let opened = std::fs::File::open(file).map_err(|e| Failure::io(file.display(), &e))?;
    let mut bytes = Vec::new();
    let read = opened.take(BOOK_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|e| Failure::io(file.display(), &e))?;
    Book::from_json(&bytes).map_err(|e| Failure::undecided(format_args!("{}: {e}", file.display())))
}

fn rules(cx: &Context, args: Rules) -> Result<Answer, Failure> {
    let Rules { file, change } = args;
    let mut book = match (file.exists(), &change) {
        (false, Change::Add { .. }) => Book::default(),
        _ => read_book(&file)?,
    };
    let refused = |error| Failure::usage(format_args!("{error}"));
    match change {
        Change::List => {
            let rows = book.list().map(|(id, rule)| {
                let Rule { kind, text, score, language } = rule;
                let code = language.map_or("all", Language::code);
                let json = json!({ "id": id, "kind": kind, "text": text, "score": score, "language": code });
                let kind = json["kind"].as_str().unwrap_or_default().to_owned();
                (json, vec![id.to_string(), kind, code.into(), format!("{score:+.2}"), text.clone()])
            });
            cx.out.table(
                &["number", "kind", "language", "score", "text"],
                rows.collect::<Vec<_>>(),
            )?;
            if !book.waiting().is_empty() {
                eprintln!(
                    "{} not in effect yet: `text rules {} commit`.",
                    output::count(book.waiting().len() as u64, "change"),
                    file.display()
                );
            }
            return Ok(Answer::Yes);
        }
        Change::Add { kind, text, score, language } => {
            let id = book.add(Rule { kind, text, score, language }).map_err(refused)?;
            cx.out.value(&json!({ "id": id }), format_args!("rule {id}, with the next commit"))?;
        }
        Change::Delete { id } => {
            book.delete(id).map_err(refused)?;
            cx.out.value(
                &json!({ "id": id }),
                format_args!("rule {id} goes, with the next commit"),
            )?;
        }
        Change::Commit => {
            let revision = book.commit();
            cx.out.value(&json!({ "revision": revision }), format_args!("revision {revision}"))?;
        }
    }
    let written = book.to_json().map_err(refused)?;
    strongroom_spool::write_file(&strongroom_spool::OsDisk, &file, written.as_bytes())
        .map_err(|e| Failure::io(file.display(), &e))?;
    Ok(Answer::Yes)
}

fn usage(cx: &Context, args: Usage) -> Result<Answer, Failure> {
    let days = cx.desk()?.all(&Call::TextUsage { account: args.account, days: args.days })?;
    let head = ["day", "calls", "texts", "bytes"];
    let row = |day: Value| {
        let counts = ["calls", "texts", "bytes"].map(|name| day[name].to_string());
        let cells = std::iter::once(named(&day, "day")).chain(counts).collect();
        (day, cells)
    };
    cx.out.table(&head, days.into_iter().map(row))?;
    Ok(Answer::Yes)
}

fn quota(cx: &Context, args: Quota) -> Result<Answer, Failure> {
    let Quota { account, texts: texts_per_day, bytes: bytes_per_day } = args;
    let set = cx.desk()?.ask(&Call::SetTextQuota { account, texts_per_day, bytes_per_day })?;
    let most = |name: &str, what: &str| {
        let max = set["quota"][name].as_u64();
        max.map_or(format!("any number of {what}"), |max| {
            output::count(max, what.trim_end_matches('s'))
        })
    };
    let (texts, bytes) = (most("texts_per_day", "texts"), most("bytes_per_day", "bytes"));
    cx.out.value(&set, format_args!("{}: {texts}, {bytes} a day", named(&set, "account")))?;
    Ok(Answer::Yes)
}

/// The text of a field.
fn named(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

fn list_models(cx: &Context) -> Result<Answer, Failure> {
    let mut all = Vec::new();
    for (kind, language, size, card) in models::cards().map_err(Failure::internal)? {
        all.push((kind.name(), language.code(), size, card));
    }
    let (size, card) = language::card().map_err(Failure::internal)?;
    all.push(("language", "all", size, card));
    for language in Language::ALL {
        let (size, card) = sentiment::card(language).map_err(Failure::internal)?;
        all.push(("sentiment", language.code(), size, card));
    }
    let rows = all.into_iter().map(|(kind, code, size, card)| {
        let non_commercial = card.non_commercial();
        let mut licences: Vec<&str> =
            card.sources.iter().map(|source| source.licence.as_str()).collect();
        licences.sort_unstable();
        licences.dedup();
        let json = json!({
            "kind": kind, "language": code, "bytes": size, "non_commercial": non_commercial,
            "card": card,
        });
        let figures: Vec<String> =
            card.figures.iter().map(|(name, value)| format!("{name} {value:.1}")).collect();
        let cells = vec![
            kind.to_owned(),
            code.to_owned(),
            output::bytes(size as u64),
            if non_commercial { "non-commercial" } else { "free" }.to_owned(),
            output::count(card.sources.len() as u64, "source"),
            figures.join(", "),
        ];
        (json, cells)
    });
    let head = ["kind", "language", "size", "use", "made from", "figures"];
    cx.out.table(&head, rows.collect::<Vec<_>>())?;
    Ok(Answer::Yes)
}

fn code(text: &str) -> Result<Language, String> {
    Language::parse(text)
        .ok_or_else(|| format!("{text:?} is not known here; one of {}", Language::codes()))
}

fn kind(text: &str) -> Result<Kind, String> {
    serde_json::from_value(text.into())
        .map_err(|_| format!("{text:?} is none of phrase, lemma, prefix"))
}
