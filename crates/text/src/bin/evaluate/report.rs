//! What is asked of the models, beside what they come to here.

use std::fmt;

/// What a figure should be, at least or at most.
#[derive(Clone, Copy)]
enum Sense {
    AtLeast,
    AtMost,
}

/// A figure that something is asked of.
struct Row {
    what: String,
    sense: Sense,
    /// What it must be, where that was said.
    must: Option<f64>,
    /// What it is aimed to be, likewise.
    aim: Option<f64>,
    here: f64,
}

/// Figures in the order in which they were found.
#[derive(Default)]
pub(crate) struct Report(Vec<Row>);

impl Report {
    /// A figure that must be no less.
    pub(crate) fn at_least(&mut self, what: impl Into<String>, must: f64, here: f64) {
        let (what, must) = (what.into(), Some(must));
        self.0.push(Row { what, sense: Sense::AtLeast, must, aim: None, here });
    }

    /// A figure that must be no more.
    pub(crate) fn at_most(&mut self, what: impl Into<String>, must: f64, here: f64) {
        let (what, must) = (what.into(), Some(must));
        self.0.push(Row { what, sense: Sense::AtMost, must, aim: None, here });
    }

    /// A figure that is aimed to be no less.
    pub(crate) fn aims_at(&mut self, what: impl Into<String>, aim: f64, here: f64) {
        let (what, aim) = (what.into(), Some(aim));
        self.0.push(Row { what, sense: Sense::AtLeast, must: None, aim, here });
    }
}

impl Row {
    fn reaches(&self, asked: Option<f64>) -> bool {
        asked.is_none_or(|asked| match self.sense {
            Sense::AtLeast => self.here >= asked,
            Sense::AtMost => self.here <= asked,
        })
    }

    fn met(&self) -> &'static str {
        match (self.reaches(self.must), self.reaches(self.aim)) {
            (true, true) => "yes",
            (true, false) => "not the aim",
            (false, _) => "NO",
        }
    }

    fn asked(&self, asked: Option<f64>) -> String {
        let sense = match self.sense {
            Sense::AtLeast => "≥",
            Sense::AtMost => "≤",
        };
        asked.map_or("-".to_owned(), |asked| format!("{sense} {}", number(asked)))
    }
}

/// A line for each figure; nothing where there are none.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        writeln!(f, "{:<60} {:>11} {:>11} {:>11}  met", "what", "must", "aim", "here")?;
        self.0.iter().try_for_each(|row| {
            let (must, aim, here) = (row.asked(row.must), row.asked(row.aim), number(row.here));
            writeln!(f, "{:<60} {must:>11} {aim:>11} {here:>11}  {}", row.what, row.met())
        })
    }
}

/// A share with its decimals, a count with spaces between thousands.
pub(crate) fn number(of: f64) -> String {
    if of < 1000.0 {
        return format!("{of:.2}");
    }
    let (mut rest, mut out) = (of.round() as u64, String::new());
    while rest >= 1000 {
        out = format!(" {:03}{out}", rest % 1000);
        rest /= 1000;
    }
    format!("{rest}{out}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_compared_in_its_sense() {
        let mut report = Report::default();
        report.at_least("enough", 1e6, 1_234_567.0);
        report.at_least("too few", 95.5, 95.49);
        report.at_most("too much", 50.0, 50.01);
        report.aims_at("not there", 97.0, 96.0);
        let shown = report.to_string();
        let rows: Vec<&str> = shown.lines().skip(1).collect();
        let ends = ["1 234 567  yes", "95.49  NO", "50.01  NO", "96.00  not the aim"];
        assert_eq!(rows.len(), ends.len());
        for (row, end) in rows.iter().zip(ends) {
            assert!(row.ends_with(end), "{row}");
        }
        assert!(rows[0].contains("≥ 1 000 000") && rows[2].contains("≤ 50.00"));
    }

    #[test]
    fn numbers_have_spaces_between_thousands() {
        for (of, expected) in
            [(0.5, "0.50"), (999.0, "999.00"), (1000.0, "1 000"), (1_020_003.4, "1 020 003")]
        {
            assert_eq!(number(of), expected);
        }
    }
}
