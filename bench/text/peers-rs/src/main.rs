//! Ours, and peers that are Rust crates, on the items that `evaluate --write-items` wrote.
//!
//! ```text
//! text-peers language ours|lingua|whatlang|whichlang ITEMS.tsv ANSWERS
//! text-peers sentiment ours ITEMS.tsv ANSWERS
//! text-peers tag ours ITEMS.conllu ANSWERS        words are given
//! text-peers raw ours ITEMS.txt ANSWERS           from raw text, to CoNLL-U
//! text-peers score GOLD.conllu FOUND.conllu       UPOS, words and sentences, F1 in percent
//! ```
//!
//! Answers are a line for each item. What is printed is seconds of a core for one pass over the items, after one to
//! warm up; passes are repeated until a second has passed.

use rustix::time::{ClockId, clock_gettime};
use std::error::Error;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use strongroom_text::analysis::{Analysis, Scratch};
use strongroom_text::conllu::{self, Sentence};
use strongroom_text::{Language, language, models, score, sentiment, tag};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Passes go on for so long.
const MEASURED: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("text-peers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["score", gold, found] => score(gold, found),
        [kind, peer, items, answers] => {
            let (items, mut written) = (std::fs::read_to_string(items)?, String::new());
            let seconds = match (*kind, *peer) {
                ("language", peer) => languages(peer, &items, &mut written)?,
                ("sentiment", "ours") => sentiments(&items, &mut written),
                ("tag", "ours") => tags(&conllu::read(&items)?, &mut written),
                ("raw", "ours") => analyse(&items, &mut written),
                _ => return Err(format!("{peer} is not known for {kind}").into()),
            };
            std::fs::write(answers, written)?;
            println!("{seconds}");
            Ok(())
        }
        _ => Err("text-peers KIND PEER ITEMS ANSWERS, or: score GOLD FOUND".into()),
    }
}

/// Seconds of a core for one pass, of as many as fit [`MEASURED`].
fn seconds_each(mut pass: impl FnMut()) -> f64 {
    let cpu = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let (start, before, mut passes) = (Instant::now(), cpu(), 0.0);
    while start.elapsed() < MEASURED {
        pass();
        passes += 1.0;
    }
    (cpu() - before) / passes
}

/// The texts of `label<TAB>text`.
fn texts(items: &str) -> Vec<String> {
    let texts = items.lines().filter_map(|line| line.split_once('\t'));
    // `\\` is a backslash and `\n` a line end; no text has a NUL.
    texts
        .map(|(_, text)| text.replace(r"\\", "\0").replace(r"\n", "\n").replace('\0', r"\"))
        .collect()
}

/// The language of each text, `-` where it is unknown.
fn languages(peer: &str, items: &str, written: &mut String) -> Result<f64> {
    let texts = texts(items);
    let detect = detector(peer)?;
    texts.iter().for_each(|text| written.extend([detect(text), "\n"]));
    Ok(seconds_each(|| {
        for text in &texts {
            black_box(detect(black_box(text)));
        }
    }))
}

/// What tells the code of a text's language.
fn detector(peer: &str) -> Result<Box<dyn Fn(&str) -> &'static str>> {
    fn code<L: PartialEq>(codes: &[(L, &'static str)], found: Option<L>) -> &'static str {
        let found = found.and_then(|found| codes.iter().find(|(language, _)| *language == found));
        found.map_or("-", |(_, code)| code)
    }
    Ok(match peer {
        "ours" => Box::new(|text| language::detect(text).language.map_or("-", Language::code)),
        "lingua" => {
            // All that it was built with, which are ours.
            let mut builder = lingua::LanguageDetectorBuilder::from_all_languages();
            let lingua = builder.with_preloaded_language_models().build();
            Box::new(move |text| code(&LINGUA, lingua.detect_language_of(text)))
        }
        "whatlang" => {
            let ours = WHATLANG.map(|(language, _)| language).to_vec();
            let whatlang = whatlang::Detector::with_allowlist(ours);
            Box::new(move |text| code(&WHATLANG, whatlang.detect_lang(text)))
        }
        "whichlang" => Box::new(|text| code(&WHICHLANG, Some(whichlang::detect_language(text)))),
        _ => return Err(format!("{peer} is not known").into()),
    })
}

/// The languages of lingua.
const LINGUA: [(lingua::Language, &str); 10] = [
    (lingua::Language::English, "en"),
    (lingua::Language::Arabic, "ar"),
    (lingua::Language::Chinese, "zh"),
    (lingua::Language::German, "de"),
    (lingua::Language::French, "fr"),
    (lingua::Language::Spanish, "es"),
    (lingua::Language::Italian, "it"),
    (lingua::Language::Russian, "ru"),
    (lingua::Language::Polish, "pl"),
    (lingua::Language::Portuguese, "pt"),
];

/// The languages that whatlang is told to choose from, which are ours.
const WHATLANG: [(whatlang::Lang, &str); 10] = [
    (whatlang::Lang::Eng, "en"),
    (whatlang::Lang::Ara, "ar"),
    (whatlang::Lang::Cmn, "zh"),
    (whatlang::Lang::Deu, "de"),
    (whatlang::Lang::Fra, "fr"),
    (whatlang::Lang::Spa, "es"),
    (whatlang::Lang::Ita, "it"),
    (whatlang::Lang::Rus, "ru"),
    (whatlang::Lang::Pol, "pl"),
    (whatlang::Lang::Por, "pt"),
];

/// The languages of whichlang that are ours; it has no Polish.
const WHICHLANG: [(whichlang::Lang, &str); 9] = [
    (whichlang::Lang::Eng, "en"),
    (whichlang::Lang::Ara, "ar"),
    (whichlang::Lang::Cmn, "zh"),
    (whichlang::Lang::Deu, "de"),
    (whichlang::Lang::Fra, "fr"),
    (whichlang::Lang::Spa, "es"),
    (whichlang::Lang::Ita, "it"),
    (whichlang::Lang::Rus, "ru"),
    (whichlang::Lang::Por, "pt"),
];

/// The label of each English text.
fn sentiments(items: &str, written: &mut String) -> f64 {
    let texts = texts(items);
    let (analyser, mut scratch) =
        (sentiment::analyser(Language::En), sentiment::Scratch::default());
    for text in &texts {
        written.extend([analyser.judge(text, None, &mut scratch).label.name(), "\n"]);
    }
    seconds_each(|| {
        for text in &texts {
            black_box(analyser.judge(black_box(text), None, &mut scratch));
        }
    })
}

/// The tags of each English sentence whose words are given.
fn tags(treebank: &[Sentence], written: &mut String) -> f64 {
    let (tagger, mut scratch) = (models::engine(Language::En).tagger(), tag::Scratch::default());
    let mut tag = |sentence: &Sentence, written: Option<&mut String>| {
        tagger.begin(&mut scratch);
        sentence.words().for_each(|word| tagger.push(&word.form, &mut scratch));
        let tags = tagger.finish(&mut scratch);
        if let Some(written) = written {
            written.push_str(&tags.iter().map(|tag| tag.name()).collect::<Vec<_>>().join(" "));
            written.push('\n');
        }
    };
    treebank.iter().for_each(|sentence| tag(sentence, Some(written)));
    seconds_each(|| treebank.iter().for_each(|sentence| tag(sentence, None)))
}

/// From raw English text to CoNLL-U; writing it is not timed.
fn analyse(text: &str, written: &mut String) -> f64 {
    let engine = models::engine(Language::En);
    let (mut scratch, mut analysis) = (Scratch::default(), Analysis::default());
    let seconds = seconds_each(|| engine.analyse(black_box(text), &mut scratch, &mut analysis));
    for sentence in analysis.sentences() {
        conllu::write(&analysis.conllu(engine, sentence, text), written);
    }
    seconds
}

/// Prints UPOS, words and sentences, F1 in percent, by the measures of the CoNLL 2018 shared task.
fn score(gold: &str, found: &str) -> Result<()> {
    let read = |path: &str| -> Result<Vec<Sentence>> {
        conllu::read(&std::fs::read_to_string(path)?).map_err(|e| format!("{path}: {e}").into())
    };
    let scores = score::compare(&read(gold)?, &read(found)?)?;
    println!("{} {} {}", scores.upos.f1(), scores.words.f1(), scores.sentences.f1());
    Ok(())
}
