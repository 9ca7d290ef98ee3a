//! `evaluate language`: shares of texts whose language is told rightly, and how fast.

use crate::data::{self, Options, Result};
use crate::lines;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use strongroom_text::Language;
use strongroom_text::language::detect;

/// Speed is measured over so long.
const MEASURED: Duration = Duration::from_secs(1);

/// Texts in languages that are not known, with their codes.
const FOREIGN: &str = include_str!("../../language/foreign.tsv");

pub(crate) fn evaluate(options: &Options) -> Result<()> {
    for file in &options.files {
        let rows = data::rows(file)?.into_iter();
        let rows = rows.map(|row| {
            (row[0].clone(), row.get(1).map_or_else(String::new, |t| data::unescape(t)))
        });
        of_file(&file.display().to_string(), &rows.collect::<Vec<_>>());
    }
    if !options.files.is_empty() {
        return Ok(());
    }
    println!(
        "language, percent told rightly, development lines of lid/ and what is drawn from them"
    );
    let mut sums = [0.0; 5];
    let mut lines = Vec::new();
    for language in &options.languages {
        let drawn = lines::drawn(*language)?;
        if *language == options.languages[0] {
            println!("    {}", drawn.sets().map(|(name, _)| format!("{name:>18}")).concat());
        }
        let sets = drawn.sets();
        let shares =
            sets.map(|(_, texts)| share(texts.iter().map(|text| (Some(*language), text.as_str()))));
        println!("{language}  {}", shares.map(|share| format!("{share:18.1}")).concat());
        sums.iter_mut().zip(shares).for_each(|(sum, share)| *sum += share);
        lines.extend(sets[0].1.to_vec());
    }
    let count = options.languages.len() as f64;
    println!("mean{}", sums.map(|sum| format!("{:18.2}", sum / count)).concat());
    let foreign = FOREIGN.lines().filter_map(|line| line.split_once('\t'));
    let foreign: Vec<&str> =
        foreign.flat_map(|(_, text)| text.split_inclusive(['.', '。'])).collect();
    let unknown = share(foreign.iter().map(|text| (None, *text)));
    let others = FOREIGN.lines().count();
    println!("unknown: {unknown:.1} of {} sentences in {others} other languages", foreign.len());
    calibration(options)?;
    let (speed, letters) = speed(&lines);
    println!("speed: {speed:.0} sentences/s on one core, {letters:.1} characters each");
    Ok(())
}

/// Percent of texts that are told rightly.
fn share<'a>(texts: impl Iterator<Item = (Option<Language>, &'a str)>) -> f64 {
    let (mut right, mut all) = (0, 0);
    for (language, text) in texts {
        right += usize::from(detect(text).language == language);
        all += 1;
    }
    100.0 * right as f64 / f64::from(all.max(1))
}

/// A file of `code<TAB>text`; a code that is none of ours stands for an unknown language.
fn of_file(name: &str, rows: &[(String, String)]) {
    let mut by_code: BTreeMap<&str, Vec<(Option<Language>, &str)>> = BTreeMap::new();
    for (code, text) in rows {
        by_code.entry(code).or_default().push((Language::parse(code), text));
    }
    println!("{name}: {} rows, percent told rightly", rows.len());
    let shares = by_code.iter().map(|(code, rows)| {
        let share = share(rows.iter().copied());
        println!("{code}    {share:.2} of {}", rows.len());
        share
    });
    let mean = shares.sum::<f64>() / by_code.len().max(1) as f64;
    println!("mean  {mean:.2}");
    let texts: Vec<String> = rows.iter().map(|(_, text)| text.clone()).collect();
    let (speed, letters) = speed(&texts);
    println!("speed: {speed:.0} texts/s on one core, {letters:.1} characters each");
}

/// Texts per second on one core, and their mean length in characters.
fn speed(texts: &[String]) -> (f64, f64) {
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < MEASURED {
        for text in texts {
            std::hint::black_box(detect(std::hint::black_box(text)));
        }
        count += texts.len();
    }
    let letters: usize = texts.iter().map(|text| text.chars().count()).sum();
    (count as f64 / start.elapsed().as_secs_f64(), letters as f64 / texts.len().max(1) as f64)
}

/// How confidence and the share of right answers go together, over everything that is drawn.
fn calibration(options: &Options) -> Result<()> {
    let mut bins = [(0, 0.0, 0); 10];
    for language in &options.languages {
        for (_, texts) in lines::drawn(*language)?.sets() {
            for text in texts {
                let found = detect(text);
                let bin = &mut bins[((found.confidence * 10.0) as usize).min(9)];
                bin.0 += 1;
                bin.1 += found.confidence;
                bin.2 += u32::from(found.language == Some(*language));
            }
        }
    }
    let all: u32 = bins.iter().map(|bin| bin.0).sum();
    let error: f32 = bins.iter().map(|bin| (bin.1 - bin.2 as f32).abs()).sum();
    let shown = bins.iter().filter(|bin| bin.0 > 0);
    let shown = shown
        .map(|(n, sum, right)| format!("{:.2}→{:.2}", sum / *n as f32, *right as f32 / *n as f32));
    println!(
        "confidence→right: {}; mean gap {:.3}",
        shown.collect::<Vec<_>>().join(" "),
        error / all as f32
    );
    Ok(())
}
