//! bag-info.txt, package-info.txt and other tag files of labels and values.

use std::io::{self, Read};

use crate::problem::Problem;
use crate::text::{Encoding, Lines};

/// A file of labels and values may hold so many bytes of text.
pub const INFO_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The names that the file has had: since 0.96, and before.
pub const NAMES: [&str; 2] = ["bag-info.txt", "package-info.txt"];

/// Labels and values in the order of the file. A label may come several times.
pub type Info = Vec<(String, String)>;

/// Reads labels and values. A line that begins with white space goes on with the value before it.
/// What is wrong is pushed to `problems` under the name `file`.
///
/// # Errors
/// What the reader says.
pub fn parse(
    input: impl Read,
    encoding: Encoding,
    file: &[u8],
    problems: &mut Vec<Problem>,
) -> io::Result<Info> {
    let mut lines = Lines::new(input, encoding);
    let mut line = Vec::new();
    let mut info = Info::new();
    let mut total = 0usize;
    loop {
        let number = match lines.next_line(&mut line) {
            Ok(Some(number)) => number,
            Ok(None) => break,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                problems.push(Problem::error("bad-info-line", file, error.to_string()));
                break;
            }
            Err(error) => return Err(error),
        };
        total += line.len();
        if total > INFO_BYTES_MAX {
            let detail = format!("is longer than {INFO_BYTES_MAX} bytes");
            problems.push(Problem::error("tag-file-too-large", file, detail));
            break;
        }
        let text = String::from_utf8_lossy(&line);
        if text.trim().is_empty() {
            continue;
        }
        if text.starts_with([' ', '\t']) {
            if let Some((_, value)) = info.last_mut() {
                value.push(' ');
                value.push_str(text.trim());
                continue;
            }
        }
        match text.split_once(':') {
            Some((label, value)) if !label.trim().is_empty() => {
                info.push((label.trim().to_owned(), value.trim().to_owned()));
            }
            _ => {
                let shown: String = text.chars().take(60).collect();
                let detail = format!("line {number}: expected 'Label: value', found '{shown}'");
                problems.push(Problem::error("bad-info-line", file, detail));
            }
        }
    }
    if lines.had_errors() {
        let detail = format!("holds bytes that are not {}", encoding.name());
        problems.push(Problem::warning("not-in-encoding", file, detail));
    }
    Ok(info)
}

/// The file for these labels and values. Line breaks inside a value become folded lines.
pub fn write<'a>(info: impl IntoIterator<Item = &'a (String, String)>) -> String {
    let mut text = String::new();
    for (label, value) in info {
        let mut parts = value.split(['\n', '\r']).map(str::trim).filter(|part| !part.is_empty());
        text.push_str(&format!("{label}: {}\n", parts.next().unwrap_or_default()));
        for part in parts {
            text.push_str(&format!("  {part}\n"));
        }
    }
    text
}

/// Payload-Oxum: how many bytes and files the payload has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Oxum {
    /// Bytes of all payload files together.
    pub bytes: u64,
    /// Payload files.
    pub files: u64,
}

/// The label of an [`Oxum`].
pub const OXUM: &str = "Payload-Oxum";

impl Oxum {
    /// Reads `bytes.files`.
    pub fn parse(text: &str) -> Option<Oxum> {
        let number = |s: &str| s.bytes().all(|b| b.is_ascii_digit()).then(|| s.parse().ok())?;
        let (bytes, files) = text.trim().split_once('.')?;
        Some(Oxum { bytes: number(bytes)?, files: number(files)? })
    }
}

impl std::fmt::Display for Oxum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.bytes, self.files)
    }
}

/// All values of a label; labels are the same in any case.
pub fn values<'a>(info: &'a [(String, String)], label: &'a str) -> impl Iterator<Item = &'a str> {
    info.iter().filter(move |(l, _)| l.eq_ignore_ascii_case(label)).map(|(_, v)| v.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_repeated_and_oddly_spaced_labels_are_read_in_order() {
        let text = "A: 1\r\nB : x\r\n   y\r\n\tz\r\nA:2\r\n\r\nbroken\r\nURL: http://x\r\n";
        let mut problems = Vec::new();
        let info = parse(text.as_bytes(), Encoding::Utf8, b"bag-info.txt", &mut problems).unwrap();
        let pairs: Vec<_> = info.iter().map(|(l, v)| (l.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("A", "1"), ("B", "x y z"), ("A", "2"), ("URL", "http://x")]);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].detail.starts_with("line 7:"), "{}", problems[0]);
        assert_eq!(values(&info, "a").collect::<Vec<_>>(), ["1", "2"]);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let info = vec![("A".to_owned(), "one\ntwo".to_owned()), ("B".to_owned(), String::new())];
        let mut problems = Vec::new();
        let text = write(&info);
        assert_eq!(text, "A: one\n  two\nB: \n");
        let read = parse(text.as_bytes(), Encoding::Utf8, b"x", &mut problems).unwrap();
        assert_eq!(read[0].1, "one two");
        assert!(problems.is_empty());
    }

    #[test]
    fn an_oxum_is_two_numbers() {
        assert_eq!(Oxum::parse("25.5"), Some(Oxum { bytes: 25, files: 5 }));
        for wrong in ["", "25", "25.", ".5", "-1.5", "1.5 KB", "99999999999999999999.1"] {
            assert_eq!(Oxum::parse(wrong), None, "{wrong}");
        }
    }
}
