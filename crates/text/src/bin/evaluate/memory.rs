//! `evaluate memory`: how long models take to load, in processes of their own, and how much memory there is at most.

use crate::data::{Options, Part, Result};
use crate::measure::took;
use crate::report::Report;
use crate::{lines, opinions};
use std::hint::black_box;
use std::process::Command;
use strongroom_text::answer::{Desk, Wants, answer};
use strongroom_text::language::detect;
use strongroom_text::parallel::in_order;
use strongroom_text::{Language, language, models, sentiment};

/// What is called in a process of its own.
pub(crate) const FRESH: &str = "fresh";
/// Processes that models are loaded in, of which the median counts.
const PROCESSES: usize = 5;
/// Threads that use the models.
const CORES: usize = 2;

/// What must not be passed: milliseconds for the models of a language, and for those of all; bytes at most of a
/// process that has loaded and used every model, in MB; bytes of all models, likewise.
const MUST: [f64; 4] = [50.0, 50.0, 150.0, 40.0];

/// Everything that there is to say.
const ALL: Wants<'_> = Wants {
    language: None,
    tags: true,
    entities: true,
    sentiment: true,
    each: true,
    because: true,
    chunks: true,
    themes: true,
    topics: None,
    filters: None,
    rules: None,
};

/// Milliseconds until each model is loaded, and until a text is answered with them.
#[derive(Clone, Copy, Default)]
struct Loading {
    language: f64,
    tag: f64,
    sentiment: f64,
    answer: f64,
}

impl Loading {
    fn sum(&self) -> f64 {
        self.language + self.tag + self.sentiment + self.answer
    }
}

pub(crate) fn evaluate(options: &Options, report: &mut Report) -> Result<()> {
    if !options.files.is_empty() {
        return Err("memory is measured on the development data, not on files".into());
    }
    println!("loading in a fresh process, ms, median of {PROCESSES}");
    println!("    language  sentences, tags  sentiment  first answer     sum");
    let mut slowest: f64 = 0.0;
    for language in &options.languages {
        let mut runs = Vec::new();
        for _ in 0..PROCESSES {
            runs.push(in_fresh_process(&[*language])?.0);
        }
        slowest = slowest.max(print(language.code(), runs));
    }
    let (mut runs, mut peak_kib) = (Vec::new(), 0);
    for _ in 0..PROCESSES {
        let (loading, kib) = in_fresh_process(&options.languages)?;
        runs.push(loading);
        peak_kib = kib.max(peak_kib);
    }
    let all = print("all", runs);
    let peak_mb = (peak_kib << 10) as f64 / 1e6;
    let model_mb = model_bytes()? as f64 / 1e6;
    println!("memory at most, all of these loaded and used by {CORES} threads: {peak_mb:.1} MB");
    println!("models that are built in: {model_mb:.1} MB");
    if options.languages.len() == Language::ALL.len() {
        let whats = [
            "loading, the slowest language, ms",
            "loading, all ten languages, one after another, ms",
            "memory at most, all models used, MB",
            "models, MB",
        ];
        for ((what, must), here) in
            whats.into_iter().zip(MUST).zip([slowest, all, peak_mb, model_mb])
        {
            report.at_most(what, must, here);
        }
    }
    Ok(())
}

/// Prints the median of some runs, and tells its sum.
fn print(what: &str, mut runs: Vec<Loading>) -> f64 {
    runs.sort_by(|a, b| a.sum().total_cmp(&b.sum()));
    let median = runs[runs.len() / 2];
    let (Loading { language, tag, sentiment, answer }, sum) = (median, median.sum());
    println!("{what:<3} {language:8.2} {tag:16.2} {sentiment:10.2} {answer:13.2} {sum:7.2}");
    sum
}

/// What all models take in the program, in bytes.
fn model_bytes() -> Result<usize> {
    let mut bytes = language::card()?.0;
    bytes += models::cards()?.iter().map(|(_, _, bytes, _)| bytes).sum::<usize>();
    for language in Language::ALL {
        bytes += sentiment::card(language)?.0;
    }
    Ok(bytes)
}

/// Loads the models of some languages in a process of its own: how long it took in all, and KiB of memory at most.
fn in_fresh_process(languages: &[Language]) -> Result<(Loading, u64)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(FRESH);
    for language in languages {
        command.args(["--language", language.code()]);
    }
    let output = command.output()?;
    let told = String::from_utf8(output.stdout)?;
    let numbers = told.split_whitespace().map(str::parse::<f64>);
    let numbers = numbers.collect::<std::result::Result<Vec<_>, _>>()?;
    let [language, tag, sentiment, answer, kib] = numbers[..] else {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    };
    Ok((Loading { language, tag, sentiment, answer }, kib as u64))
}

/// What a process of its own does: loads the models of some languages, uses them, and prints milliseconds and KiB.
pub(crate) fn fresh(options: &Options) -> Result<()> {
    let mut samples = Vec::new();
    for language in &options.languages {
        let line = lines::of(*language)?.into_iter().next();
        samples.push((*language, line.map_or(String::new(), |(line, _)| line)));
    }
    let mut loading = Loading::default();
    let mut desk = Desk::default();
    for (language, text) in &samples {
        loading.language += ms(|| detect(text));
        loading.tag += ms(|| models::engine(*language));
        loading.sentiment += ms(|| sentiment::analyser(*language));
        loading.answer += ms(|| answer(text, &ALL, &mut desk));
    }
    use_all(&options.languages)?;
    let Loading { language, tag, sentiment, answer } = loading;
    println!("{language} {tag} {sentiment} {answer} {}", peak_kib()?);
    Ok(())
}

/// How long something takes, in milliseconds.
fn ms<T>(work: impl FnOnce() -> T) -> f64 {
    1e3 * took(|| {
        black_box(work());
    })
}

/// Uses the models of some languages on their development lines, and on their short texts, by some threads.
fn use_all(languages: &[Language]) -> Result<()> {
    for language in languages {
        let lines = lines::of(*language)?.into_iter().filter(|(_, development)| *development);
        let sets = opinions::sets(&[*language], Part::Development)?.into_iter();
        let short = sets.flat_map(|set| set.rows).map(|(_, text)| text);
        // In the language that was named, whatever it seems to be.
        let wants = Wants { language: Some(*language), ..ALL };
        let work = |desk: &mut Desk, text: String| {
            black_box(detect(&text));
            black_box(answer(&text, &wants, desk));
        };
        in_order(lines.map(|(line, _)| line).chain(short), CORES, Desk::default, work, |()| true);
    }
    Ok(())
}

/// The most memory that this process had at a time, in KiB, as the kernel counted it.
fn peak_kib() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
    kib.ok_or("this system does not tell how much memory a process had at most".into())
}
