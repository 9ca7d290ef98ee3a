//! `evaluate speed`: how fast, in the library, without reading or writing.
//!
//! Beside it stands what no analysis can pass: FNV-1a over the same bytes, which multiplies once for each, handed over
//! to as many threads. Everything is by the clock, so nobody else should be at work.

use crate::data::{self, Options, Part, Result};
use crate::measure::{self, ROUNDS};
use crate::report::{Report, number};
use crate::{lines, opinions};
use std::hint::black_box;
use strongroom_text::analysis::{Analysis, Scratch};
use strongroom_text::answer::{Desk, Wants, answer};
use strongroom_text::language::detect;
use strongroom_text::parallel::in_order;
use strongroom_text::{Language, conllu, models};

/// Threads that short texts are given to.
const CORES: usize = 2;
/// Short texts that a thread takes at a time, as calls of the API bring them.
const CHUNK: usize = 100;
/// Bytes that are copied to see how fast memory is: past the caches.
const COPIED_BYTES: usize = 64 << 20;

/// What must be reached: sentences whose language is told a second and tokens tagged a second, one core; short texts
/// a second, two cores.
const MUST: [f64; 3] = [200e3, 1e6, 60e3];

pub(crate) fn evaluate(options: &Options, report: &mut Report) -> Result<()> {
    if !options.files.is_empty() {
        return Err("speed is measured on the development data, not on files".into());
    }
    println!("speed, {ROUNDS} rounds of each");
    copying();
    print_heading();
    let mut sentences = Vec::new();
    for language in &options.languages {
        let lines = lines::of(*language)?.into_iter();
        sentences.extend(lines.filter(|(_, development)| *development).map(|(line, _)| line));
    }
    let sentences: Vec<&str> = sentences.iter().map(String::as_str).collect();
    let told = languages("language of sentences", &sentences);
    report.at_least("language, sentences/s, one core", MUST[0], told);
    let tagged = tagging(&options.languages)?;
    report.at_least("tagging, raw text to tags, tokens/s, one core", MUST[1], tagged);
    let texts = short_texts(&options.languages)?;
    let answered = answering(&texts);
    report.at_least("short texts, everything, texts/s, two cores, library", MUST[2], answered);
    Ok(())
}

/// How fast memory is copied on one core.
fn copying() {
    let (source, mut target) = (vec![1u8; COPIED_BYTES], vec![0u8; COPIED_BYTES]);
    let rounds = measure::rounds(|| black_box(&mut target).copy_from_slice(black_box(&source)));
    let [best, _] = best_and_median(rounds);
    println!("memory is copied at {:.1} GB/s at best, one core", COPIED_BYTES as f64 / best / 1e9);
}

/// Telling the language of texts, one core. Texts a second of that.
pub(crate) fn languages(what: &str, texts: &[&str]) -> f64 {
    let detect_all = || {
        for text in texts {
            black_box(detect(black_box(text)));
        }
    };
    let pace = Pace::of(texts.len(), detect_all, || texts.iter().for_each(|text| hash(text)));
    pace.print(what);
    pace.best
}

/// From the raw text of the development treebanks to tags, one core. Tokens a second of that, of all languages together.
fn tagging(languages: &[Language]) -> Result<f64> {
    let (mut tokens, mut took) = (0, 0.0);
    for language in languages {
        let mut files = data::files("pos", language.code())?;
        files.retain(|file| file.part == Part::Development);
        let mut texts = Vec::new();
        for file in &files {
            texts.push(conllu::raw_text(&measure::treebank(file)?).0);
        }
        let engine = models::engine(*language);
        let (mut scratch, mut analysis) = (Scratch::default(), Analysis::default());
        let mut count = 0;
        for text in &texts {
            engine.analyse(text, &mut scratch, &mut analysis);
            count += analysis.tokens().len();
        }
        let analyse = || {
            for text in &texts {
                engine.analyse(black_box(text), &mut scratch, &mut analysis);
            }
        };
        let pace = Pace::of(count, analyse, || texts.iter().for_each(|text| hash(text)));
        pace.print(&format!("tokens tagged, {language}"));
        tokens += count;
        took += count as f64 / pace.best;
    }
    let all = tokens as f64 / took;
    println!("{:<40} {:>14}", "tokens tagged, all of these", number(all));
    Ok(all)
}

/// The short texts: every row of `sentiment/*/umsab-*`, each once.
fn short_texts(languages: &[Language]) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for part in [Part::Train, Part::Development] {
        let sets = opinions::sets(languages, part)?.into_iter().filter(|set| set.is_benchmark());
        texts.extend(sets.flat_map(|set| set.rows).map(|(_, text)| text));
    }
    match texts.is_empty() {
        true => Err("there are no short texts in these languages".into()),
        false => Ok(texts),
    }
}

/// What there is to say of short texts whose language is not known. Texts a second with everything, on two cores.
fn answering(texts: &[String]) -> f64 {
    let chars: usize = texts.iter().map(|text| text.chars().count()).sum();
    let mean = chars as f64 / texts.len() as f64;
    println!("{} short texts of {mean:.1} characters on average:", texts.len());
    let all = Wants { tags: true, sentiment: true, ..Wants::default() };
    let sentiment = Wants { tags: false, ..all };
    let tags = Wants { sentiment: false, ..all };
    let mut last = 0.0;
    for (what, wants, threads) in [
        ("language, one core", &Wants::default(), 1),
        ("language, sentiment, one core", &sentiment, 1),
        ("language, sentences, tags, one core", &tags, 1),
        ("all of it, one core", &all, 1),
        ("all of it, two cores", &all, CORES),
    ] {
        let told = || {
            let work = |desk: &mut Desk, texts: &[String]| {
                for text in texts {
                    black_box(answer(text, wants, desk));
                }
            };
            in_order(texts.chunks(CHUNK), threads, Desk::default, work, |()| true);
        };
        let hash_all = |(): &mut (), texts: &[String]| texts.iter().for_each(|text| hash(text));
        let hashed = || in_order(texts.chunks(CHUNK), threads, || (), hash_all, |()| true);
        let pace = Pace::of(texts.len(), told, hashed);
        pace.print(what);
        last = pace.best;
    }
    last
}

/// FNV-1a (Fowler, Noll and Vo), 64 bits.
fn hash(text: &str) {
    let bytes = black_box(text).bytes();
    black_box(bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    }));
}

/// The heading of what [`Pace::print`] prints.
pub(crate) fn print_heading() {
    println!("{:<40} {:>14} {:>13} {:>14}", "", "a second, best", "median", "FNV-1a takes");
}

/// How many things a second.
struct Pace {
    /// In the best round, and in the middle one.
    best: f64,
    median: f64,
    /// The share of the time that a pass over the bytes takes.
    limit: f64,
}

impl Pace {
    /// Of `work`, which does `count`, beside `limit`.
    fn of(count: usize, work: impl FnMut(), limit: impl FnMut()) -> Pace {
        let (work, limit) = (measure::rounds(work), measure::rounds(limit));
        let ([best, median], [limit, _]) = (best_and_median(work), best_and_median(limit));
        let count = count as f64;
        Pace { best: count / best, median: count / median, limit: limit / best }
    }

    fn print(&self, what: &str) {
        let ([best, median], share) = ([self.best, self.median].map(number), 100.0 * self.limit);
        println!("{what:<40} {best:>14} {median:>13} {share:>12.2} %");
    }
}

/// The least, and the one in the middle.
fn best_and_median(mut of: [f64; ROUNDS]) -> [f64; 2] {
    of.sort_by(f64::total_cmp);
    [of[0], of[ROUNDS / 2]]
}
