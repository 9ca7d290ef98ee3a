//! `evaluate language`: shares of texts whose language is told rightly.

use crate::data::{self, Options, Result};
use crate::lines::{self, Drawn};
use crate::measure::Calibration;
use crate::report::Report;
use crate::speed;
use std::collections::BTreeMap;
use std::path::Path;
use strongroom_text::Language;
use strongroom_text::language::detect;

/// Texts in languages that are not known, with their codes.
const FOREIGN: &str = include_str!("../../language/foreign.tsv");

/// What the means over all languages must be, by the names of the sets, in percent.
const MUST: [(&str, f64); 3] = [("sentences", 99.5), ("word pairs", 92.0), ("single words", 80.0)];

pub(crate) fn evaluate(options: &Options, report: &mut Report) -> Result<()> {
    if !options.files.is_empty() {
        return options.files.iter().try_for_each(|file| of_file(file));
    }
    let drawn = options.languages.iter().map(|language| Ok((*language, lines::drawn(*language)?)));
    let drawn = drawn.collect::<Result<Vec<_>>>()?;
    if let Some(folder) = &options.write_items {
        write_items(&drawn, folder)?;
    }
    println!(
        "language, percent told rightly, development lines of lid/ and what is drawn from them"
    );
    let names = Drawn::default().sets().map(|(name, _)| name);
    println!("    {}", names.map(|name| format!("{name:>18}")).concat());
    let (mut sums, mut calibration) = ([0.0; 5], Calibration::default());
    for (language, drawn) in &drawn {
        let shares = drawn.sets().map(|(_, texts)| {
            let texts = texts.iter().map(|text| (Some(*language), text.as_str()));
            share(texts, &mut calibration)
        });
        println!("{language}  {}", shares.map(|share| format!("{share:18.1}")).concat());
        sums.iter_mut().zip(shares).for_each(|(sum, share)| *sum += share);
    }
    let means = sums.map(|sum| sum / drawn.len() as f64);
    println!("mean{}", means.map(|mean| format!("{mean:18.2}")).concat());
    println!("{calibration}");
    of_foreign();
    if drawn.len() == Language::ALL.len() {
        for ((name, must), mean) in MUST.into_iter().zip(means) {
            report.at_least(format!("language, {name}, % right, mean of ten"), must, mean);
        }
    }
    Ok(())
}

/// Percent of texts that are told rightly.
fn share<'a>(
    texts: impl Iterator<Item = (Option<Language>, &'a str)>,
    calibration: &mut Calibration,
) -> f64 {
    let (mut right, mut all) = (0, 0);
    for (language, text) in texts {
        let found = detect(text);
        let is_right = found.language == language;
        calibration.add(found.confidence, is_right);
        right += usize::from(is_right);
        all += 1;
    }
    100.0 * right as f64 / f64::from(all.max(1))
}

/// How often a language that is none of ours is told to be none.
fn of_foreign() {
    let texts = FOREIGN.lines().filter_map(|line| line.split_once('\t'));
    let texts: Vec<&str> = texts.flat_map(|(_, text)| text.split_inclusive(['.', '。'])).collect();
    let unknown = share(texts.iter().map(|text| (None, *text)), &mut Calibration::default());
    let others = FOREIGN.lines().count();
    println!("unknown: {unknown:.1} of {} sentences in {others} other languages", texts.len());
}

/// A file of `code<TAB>text`; a code that is none of ours stands for an unknown language.
fn of_file(file: &Path) -> Result<()> {
    let rows = data::labelled(file)?;
    let mut by_code: BTreeMap<&str, Vec<(Option<Language>, &str)>> = BTreeMap::new();
    for (_, code, text) in &rows {
        by_code.entry(code).or_default().push((Language::parse(code), text));
    }
    println!("{}: {} rows, percent told rightly", file.display(), rows.len());
    let (mut sum, mut calibration) = (0.0, Calibration::default());
    for (code, texts) in &by_code {
        let share = share(texts.iter().copied(), &mut calibration);
        let unknown = if Language::parse(code).is_none() { ", as unknown" } else { "" };
        println!("{code}    {share:.2} of {}{unknown}", texts.len());
        sum += share;
    }
    println!("mean  {:.2}", sum / by_code.len() as f64);
    println!("{calibration}");
    let texts: Vec<&str> = rows.iter().map(|(_, _, text)| text.as_str()).collect();
    speed::print_heading();
    speed::languages("language", &texts);
    Ok(())
}

/// Writes each set as a file that [`of_file`] reads.
fn write_items(drawn: &[(Language, Drawn)], folder: &Path) -> Result<()> {
    for (at, (name, _)) in Drawn::default().sets().into_iter().enumerate() {
        let rows = drawn.iter().flat_map(|(language, drawn)| {
            drawn.sets()[at].1.iter().map(|text| (language.code(), text.as_str()))
        });
        let path = folder.join(format!("language-{}.tsv", name.replace(' ', "-")));
        data::write_labelled(&path, rows)?;
    }
    Ok(())
}
