//! What goes to stdout: lines and tables for people, JSON for programs.

use crate::errors::Failure;
use serde_json::Value;
use std::fmt::Display;
use std::io::Write as _;

/// Writes data to stdout, in the form that was asked for.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Output {
        Output { json }
    }

    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// One value, as JSON or as lines.
    pub(crate) fn value(self, json: &Value, lines: impl Display) -> Result<(), Failure> {
        match self.json {
            true => self.line(format_args!("{json:#}")),
            false => self.line(lines),
        }
    }

    /// A line.
    pub(crate) fn line(self, line: impl Display) -> Result<(), Failure> {
        writeln!(std::io::stdout().lock(), "{line}").map_err(|e| Failure::stdout(&e))
    }

    /// A list whose rows are printed as they come, so that it may be longer than memory.
    pub(crate) fn list(self) -> List {
        List { out: self, rows: 0 }
    }

    /// A table of few rows: as JSON the values, else columns under a head.
    pub(crate) fn table(
        self,
        head: &[&str],
        rows: impl IntoIterator<Item = (Value, Vec<String>)>,
    ) -> Result<(), Failure> {
        let (values, cells): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        match self.json {
            true => self.line(format_args!("{:#}", Value::Array(values))),
            false => self.columns(head, &cells),
        }
    }

    /// Columns under a head; nothing where there are no rows.
    pub(crate) fn columns(self, head: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
        if rows.is_empty() {
            return Ok(());
        }
        let width = |i: usize| {
            let cells = rows.iter().map(|row| row[i].chars().count());
            cells.max().unwrap_or(0).max(head[i].chars().count())
        };
        let widths: Vec<_> = (0..head.len()).map(width).collect();
        let text = |cells: &mut dyn Iterator<Item = &str>| {
            let padded: Vec<_> =
                cells.zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
            padded.join("  ").trim_end().to_string()
        };
        self.line(text(&mut head.iter().copied()))?;
        for row in rows {
            self.line(text(&mut row.iter().map(String::as_str)))?;
        }
        Ok(())
    }
}

/// A list that is being printed.
pub(crate) struct List {
    out: Output,
    rows: u64,
}

impl List {
    /// One more row.
    pub(crate) fn row(&mut self, json: &Value, line: impl Display) -> Result<(), Failure> {
        self.rows += 1;
        match (self.out.json, self.rows) {
            (false, _) => self.out.line(line),
            (true, 1) => self.out.line(format_args!("[{json}")),
            (true, _) => self.out.line(format_args!(",{json}")),
        }
    }

    /// The end of it; how many rows there were.
    pub(crate) fn end(self) -> Result<u64, Failure> {
        match (self.out.json, self.rows) {
            (false, _) => {}
            (true, 0) => self.out.line("[]")?,
            (true, _) => self.out.line("]")?,
        }
        Ok(self.rows)
    }
}

/// Bytes for a person, such as `1.5 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let (mut value, mut unit) = (count as f64 / 1024.0, 0);
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `1 file`, `2 files`.
pub(crate) fn count(count: u64, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

/// The first digits of an identifier, enough to name it again.
pub(crate) fn short(id: impl Display) -> String {
    let text = id.to_string();
    text.get(..SHORT_DIGITS).unwrap_or(&text).to_string()
}

/// 40 bits: one in a million that two of a thousand things share them.
const SHORT_DIGITS: usize = 10;

/// A time, or how JSON has it, as people read it: UTC to the second.
pub(crate) fn time(time: impl Display) -> String {
    let text = time.to_string();
    match text.get(..19) {
        Some(seconds) => format!("{}Z", seconds.replace('T', " ")),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_for_people() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(bytes(count), text, "{count}");
        }
        assert_eq!((count(1, "file"), count(0, "file")), ("1 file".into(), "0 files".into()));
    }
}
