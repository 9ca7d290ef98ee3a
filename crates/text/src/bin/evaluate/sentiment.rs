//! `evaluate sentiment`: macro-F1, and how fast.

use crate::data::{Options, Part, Result};
use crate::opinions::{self, Answers, Set};
use std::time::{Duration, Instant};
use strongroom_text::Language;
use strongroom_text::language::detect;
use strongroom_text::sentiment::{Label, Scratch, analyser};

/// Speed is measured over so long.
const MEASURED: Duration = Duration::from_secs(1);
/// What fastText comes to on the test splits of UMSAB, in percent (Barbieri, Espinosa Anke and Camacho-Collados 2022).
const FAST_TEXT: [(Language, f64); 7] = [
    (Language::En, 50.85),
    (Language::Ar, 45.98),
    (Language::De, 59.56),
    (Language::Fr, 54.82),
    (Language::Es, 50.06),
    (Language::It, 54.65),
    (Language::Pt, 55.05),
];

pub(crate) fn evaluate(options: &Options) -> Result<()> {
    for file in &options.files {
        let rows = opinions::rows(file)?;
        let given = match options.languages[..] {
            [language] => Some(language),
            _ => None,
        };
        let answers = judge(given, &rows, None);
        println!(
            "{}: {} rows, macro-F1 {:.2}, accuracy {:.2}",
            file.display(),
            rows.len(),
            answers.macro_f1(),
            answers.accuracy()
        );
    }
    if !options.files.is_empty() {
        return Ok(());
    }
    println!(
        "sentiment, development sets: macro-F1, accuracy; of sets without neutral texts, of two labels"
    );
    let sets = opinions::sets(&options.languages, Part::Development)?;
    let (mut mean, mut count) = (0.0, 0);
    for set in &sets {
        let two = set.has_two_labels().then_some(());
        let answers = judge(Some(set.language), &set.rows, two);
        let published = FAST_TEXT.iter().find(|row| row.0 == set.language && set.is_benchmark());
        let beside = published.map(|(_, fast)| format!("   fastText {fast:.1}"));
        println!(
            "{}  {:<20} {:6} rows  {:6.2} {:6.2}{}",
            set.language,
            set.file.set(),
            set.rows.len(),
            answers.macro_f1(),
            answers.accuracy(),
            beside.unwrap_or_default()
        );
        if set.is_benchmark() {
            mean += answers.macro_f1();
            count += 1;
        }
    }
    println!(
        "mean of {count} languages, {}: {:.2}",
        opinions::BENCHMARK,
        mean / f64::from(count.max(1))
    );
    calibration(&sets);
    speed(&sets);
    Ok(())
}

/// Counts answers; with `two`, the likelier one of positive and negative.
fn judge(language: Option<Language>, rows: &[(Label, String)], two: Option<()>) -> Answers {
    let mut answers = Answers::default();
    let mut scratch = Scratch::default();
    for (label, text) in rows {
        let language = language.or_else(|| detect(text).language).unwrap_or(Language::En);
        let found = analyser(language).judge(text, None, &mut scratch);
        answers.add(
            *label,
            match two {
                Some(()) if found.score > 0.0 => Label::Positive,
                Some(()) => Label::Negative,
                None => found.label,
            },
        );
    }
    answers
}

/// How confidence and the share of right answers go together.
fn calibration(sets: &[Set]) {
    let mut bins = [(0, 0.0, 0); 10];
    let mut scratch = Scratch::default();
    for set in sets.iter().filter(|set| set.is_benchmark()) {
        for (label, text) in &set.rows {
            let found = analyser(set.language).judge(text, None, &mut scratch);
            let bin = &mut bins[((found.confidence * 10.0) as usize).min(9)];
            bin.0 += 1;
            bin.1 += found.confidence;
            bin.2 += u32::from(found.label == *label);
        }
    }
    let all: u32 = bins.iter().map(|bin| bin.0).sum();
    let gap: f32 = bins.iter().map(|bin| (bin.1 - bin.2 as f32).abs()).sum();
    let shown = bins.iter().filter(|bin| bin.0 > 0);
    let shown = shown
        .map(|(n, sum, right)| format!("{:.2}→{:.2}", sum / *n as f32, *right as f32 / *n as f32));
    println!(
        "confidence→right: {}; mean gap {:.3}",
        shown.collect::<Vec<_>>().join(" "),
        gap / all as f32
    );
}

/// Texts per second on one core, their languages known.
fn speed(sets: &[Set]) {
    let texts: Vec<(Language, &str)> = sets
        .iter()
        .filter(|set| set.is_benchmark())
        .flat_map(|set| set.rows.iter().map(|(_, text)| (set.language, text.as_str())))
        .collect();
    let mut scratch = Scratch::default();
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < MEASURED && !texts.is_empty() {
        for (language, text) in &texts {
            std::hint::black_box(analyser(*language).judge(text, None, &mut scratch));
        }
        count += texts.len();
    }
    let chars: usize = texts.iter().map(|(_, text)| text.chars().count()).sum();
    println!(
        "speed: {:.0} texts/s on one core, {:.1} characters each",
        count as f64 / start.elapsed().as_secs_f64(),
        chars as f64 / texts.len().max(1) as f64
    );
}
