//! `evaluate sentiment`: macro-F1.

use crate::data::{self, Options, Part, Result};
use crate::measure::Calibration;
use crate::opinions::{self, Answers, Set};
use crate::report::Report;
use std::path::Path;
use strongroom_text::Language;
use strongroom_text::language::detect;
use strongroom_text::sentiment::{Label, Scratch, analyser};

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

/// What the mean of the languages in [`FAST_TEXT`] must be.
const MUST: f64 = 60.0;

pub(crate) fn evaluate(options: &Options, report: &mut Report) -> Result<()> {
    if !options.files.is_empty() {
        return options.files.iter().try_for_each(|file| of_file(file, &options.languages));
    }
    let sets = opinions::sets(&options.languages, Part::Development)?;
    if let Some(folder) = &options.write_items {
        write_items(&sets, folder)?;
    }
    println!(
        "sentiment, development sets: macro-F1, accuracy; of sets without neutral texts, of two labels"
    );
    let (mut sum, mut count, mut calibration) = (0.0, 0, Calibration::default());
    for set in &sets {
        let mut aside = Calibration::default();
        let calibration = if set.is_benchmark() { &mut calibration } else { &mut aside };
        let answers = judge(Some(set.language), &set.rows, calibration);
        let published = FAST_TEXT.iter().find(|row| row.0 == set.language && set.is_benchmark());
        println!(
            "{}  {:<20} {:6} rows  {:6.2} {:6.2}{}",
            set.language,
            set.file.set(),
            set.rows.len(),
            answers.macro_f1(),
            answers.accuracy(),
            published.map_or(String::new(), |(_, fast)| format!("   fastText {fast:.1}"))
        );
        if let Some((_, fast)) = published {
            let what = format!("sentiment, UMSAB {}, macro-F1, above fastText", set.language);
            report.at_least(what, *fast, answers.macro_f1());
            sum += answers.macro_f1();
            count += 1;
        }
    }
    let mean = sum / f64::from(count.max(1));
    println!("mean of {count} languages, {}: {mean:.2}", opinions::BENCHMARK);
    if count as usize == FAST_TEXT.len() {
        report.at_least("sentiment, UMSAB, macro-F1, mean of seven", MUST, mean);
    }
    println!("{calibration}");
    Ok(())
}

/// Counts answers; where no text is neutral, the likelier one of positive and negative.
fn judge(
    language: Option<Language>,
    rows: &[(Label, String)],
    calibration: &mut Calibration,
) -> Answers {
    let (mut answers, mut scratch) = (Answers::default(), Scratch::default());
    let two = opinions::have_two_labels(rows);
    for (label, text) in rows {
        let language = language.or_else(|| detect(text).language).unwrap_or(Language::En);
        let found = analyser(language).judge(text, None, &mut scratch);
        calibration.add(found.confidence, found.label == *label);
        answers.add(
            *label,
            match two {
                true if found.score > 0.0 => Label::Positive,
                true => Label::Negative,
                false => found.label,
            },
        );
    }
    answers
}

/// A file of `label<TAB>text` in the one language that was named, else in whatever each text seems to be in.
fn of_file(file: &Path, languages: &[Language]) -> Result<()> {
    let rows = opinions::rows(file)?;
    let given = match languages {
        [language] => Some(*language),
        _ => None,
    };
    let mut calibration = Calibration::default();
    let answers = judge(given, &rows, &mut calibration);
    println!(
        "{}: {} rows{}, macro-F1 {:.2}, accuracy {:.2}",
        file.display(),
        rows.len(),
        if opinions::have_two_labels(&rows) { " of two labels" } else { "" },
        answers.macro_f1(),
        answers.accuracy()
    );
    println!("{calibration}");
    Ok(())
}

/// Writes each set as a file that [`of_file`] reads.
fn write_items(sets: &[Set], folder: &Path) -> Result<()> {
    sets.iter().try_for_each(|set| {
        let name = format!("sentiment-{}-{}.tsv", set.language, set.file.set());
        let rows = set.rows.iter().map(|(label, text)| (label.name(), text.as_str()));
        data::write_labelled(&folder.join(name), rows)
    })
}
