//! fetch.txt: payload files that lie elsewhere. Its entries are checked, and never fetched.

use std::io::{self, Read};

use crate::declaration::Declaration;
use crate::path;
use crate::problem::Problem;
use crate::text::Lines;

/// The name of the file.
pub const NAME: &str = "fetch.txt";

/// fetch.txt may have so many lines.
pub const FETCH_LINES_MAX: u64 = 10_000_000;

/// One file that lies elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Where it lies, as written.
    pub url: String,
    /// Its length in bytes, if it is told.
    pub length: Option<u64>,
    /// Where in the bag it belongs.
    pub path: Vec<u8>,
    /// The number of the line, from one.
    pub line: u64,
}

/// Reads all entries. What is wrong is pushed to `problems`.
///
/// # Errors
/// What the reader says.
pub fn parse(
    input: impl Read,
    declaration: Declaration,
    problems: &mut Vec<Problem>,
) -> io::Result<Vec<Entry>> {
    let mut lines = Lines::new(input, declaration.encoding);
    let mut line = Vec::new();
    let mut entries = Vec::new();
    loop {
        let number = match lines.next_line(&mut line) {
            Ok(Some(number)) => number,
            Ok(None) => return Ok(entries),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                problems.push(Problem::error("bad-fetch-line", NAME, error.to_string()));
                return Ok(entries);
            }
            Err(error) => return Err(error),
        };
        if number > FETCH_LINES_MAX {
            let detail = format!("has more than {FETCH_LINES_MAX} lines");
            problems.push(Problem::error("tag-file-too-large", NAME, detail));
            return Ok(entries);
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match parse_line(&line, number, declaration) {
            Ok(entry) => {
                if let Err(reason) = path::check(&entry.path) {
                    let detail = format!("line {number}: {}: {reason}", path::show(&entry.path));
                    problems.push(Problem::error("unsafe-path", NAME, detail));
                } else if !entry.path.starts_with(b"data/") {
                    let shown = path::show(&entry.path);
                    let detail = format!("line {number}: expected a path under data/, found {shown}");
                    problems.push(Problem::error("outside-payload", NAME, detail));
                } else {
                    entries.push(entry);
                }
            }
            Err(reason) => {
                let detail = format!("line {number}: {reason}");
                problems.push(Problem::error("bad-fetch-line", NAME, detail));
            }
        }
    }
}

fn parse_line(line: &[u8], number: u64, declaration: Declaration) -> Result<Entry, String> {
    let expected = "expected '<URL> <length or -> <path>'";
    let (url, rest) = field(line).ok_or(expected)?;
    let (length, rest) = field(rest).ok_or(expected)?;
    let url = String::from_utf8_lossy(url).into_owned();
    if !url.contains(':') {
        return Err(format!("expected a URL, found '{url}'"));
    }
    let length = match length {
        b"-" => None,
        digits => {
            let text = std::str::from_utf8(digits).unwrap_or_default();
            let parsed = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok());
            Some(parsed.flatten().ok_or("expected a length in bytes, or '-'")?)
        }
    };
    let mut written = rest;
    while let Some(rest) = written.strip_prefix(b"./") {
        written = rest;
    }
    let path = path::decode(written, declaration.version).into_owned();
    Ok(Entry { url, length, path, line: number })
}

/// The bytes up to white space, and what follows that.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = |b: &u8| matches!(b, b' ' | b'\t');
    let end = line.iter().position(space)?;
    let next = line[end..].iter().position(|b| !space(b))?;
    (end > 0).then_some((&line[..end], &line[end + next..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_checked_and_kept_when_they_are_safe() {
        let text = "http://h/a%20b - data/a b\nhttp://h/b 12 data/b\nhttp://h/c x data/c\n\
                    http://h/d - ../d\nhttp://h/e - ~/e\nhttp://h/f - C:\\f\nnothing\n- - data/g\n";
        let mut problems = Vec::new();
        let entries = parse(text.as_bytes(), Declaration::default(), &mut problems).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].path, b"data/a b");
        assert_eq!((entries[0].length, entries[1].length), (None, Some(12)));
        let codes: Vec<_> = problems.iter().map(|p| p.code).collect();
        let bad = "bad-fetch-line";
        assert_eq!(codes, [bad, "unsafe-path", "unsafe-path", "outside-payload", bad, bad]);
    }
}
